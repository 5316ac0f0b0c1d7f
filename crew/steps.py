"""What trusted code does between the agents' tasks: baseline, rehearsal, apply, verification."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_crew.crew import gates, render, settings, verdict
from backend_crew.crew.artifacts import Design
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import canonical, sha256
from backend_crew.crew.rows import Decision
from backend_crew.crew.session import Session
from backend_crew.crew.summary import summarise
from backend_crew.tools import alembic, apply, environment, git, migrations, rehearsal, sqlite
from backend_crew.tools.errors import ToolError
from backend_crew.tools.rehearsal_findings import kind_of
from backend_crew.tools.sandbox import NoSandbox

Payload = dict[str, Any]


def baseline(session: Session) -> tuple[str, Payload]:
    """The tests as they stand before the change, and the new packages that the person approved."""
    design = session.only(Design)
    packages = [f"{one.name}{one.version}" for one in design.new_dependencies] if design else []
    installed: Payload = {}
    if packages:
        done = environment.install(session.runtime, packages, session.folder / "packages", settings.package_index())
        installed = vars(done)
        session.note("dependencies", **installed)
        session.use_packages(done.folder)
    # a command that is named late is asked about the tree before the change, too
    git.reset(session.clone, session.clone.base)
    tests, check = verdict.summarised(verdict.run_tests(session)), verdict.run_check(session)
    git.reset(session.clone, session.head())
    return "Baseline", {**tests, "check": check, "dependencies": installed}


def rehearse(session: Session) -> tuple[str, Payload]:
    """Run the new migrations on a throw-away copy: up, down, up; never on the person's database."""
    changes = git.changes(session.clone, session.clone.base)
    session.detect_migrations()
    files = [change.path for change in changes if session.permissions.is_migration(change.path)]
    edited = [one.path for one in changes if one.path in files and one.status != "added"]
    claiming = [tool for tool in session.tools if migrations.new_files(tool, files)]
    tool = next((one for one in reversed(claiming) if one.can_rehearse), claiming[0] if claiming else None)
    if not files or tool is None:
        reason = f"none of the {len(changes)} changed files is a migration" + (
            "" if session.tools else "; no migration tool was found"
        )
        return "Rehearsal", {"status": "no migrations", "reason": reason, "files": []}
    pending = _pending(session, tool, files)
    facts: Payload = {"files": [_file(session, path) for path in files], "tool": tool.name}
    facts["pending"] = [_file(session, path) for path in pending]
    facts["executed"] = [_file(session, path) for path in _executed(session, changes, files)]
    facts["apply_command"] = _by_hand(tool)
    facts["target"] = _target(session)
    facts |= _rehearsed(session, tool, files)
    foreign = [path for path in files if not migrations.new_files(tool, [path])]
    if foreign:
        text = f"not of {tool.name}, so neither rehearsed nor applied: {', '.join(foreign)}"
        facts["findings"] = [*facts.get("findings", []), {"severity": "error", "text": text}]
    if edited:
        text = f"migrations that existed before were changed: {', '.join(edited)}; databases that ran them will not run them again"
        facts["findings"] = [*facts.get("findings", []), {"severity": "error", "text": text}]
    facts["manifest"] = manifest(session, files)
    return "Rehearsal", facts


def _pending(session: Session, tool: migrations.MigrationTool, files: list[str]) -> list[str]:
    """Revisions that were in the repository before, and that applying would run too: the database has not had them."""
    database = _existing(session.database())
    if not tool.can_rehearse or database is None:
        return []
    try:
        ahead = alembic.graph(session.clone.tree, tool).ahead_of(apply.sqlite_revision(database))
    except ToolError:
        return []  # the rehearsal names what is wrong with the revisions
    return [file.path for file in ahead if file.path not in files]


def _executed(session: Session, changes: Sequence[git.Change], files: list[str]) -> list[str]:
    """Other files that this run changed and that applying would execute: what migrations and env.py import."""
    tool = session.migrations
    if tool is None or not tool.can_rehearse:
        return []
    runs = {path for path, _ in alembic.manifest(session.clone.tree, tool)}
    return [one.path for one in changes if one.path in runs and one.path not in files]


def _rehearsed(session: Session, tool: migrations.MigrationTool, files: list[str]) -> Payload:
    if not tool.can_rehearse:
        return _not_rehearsed(migrations.why_not_rehearsed(tool))
    if isinstance(session.sandbox, NoSandbox):
        return _not_rehearsed(f"no sandbox: {session.sandbox.reason}")
    try:
        result = rehearsal.rehearse(
            session.sandbox,
            session.clone.tree,
            session.root,
            session.runtime,
            tool,
            before=_before(session, tool, files),
            database=_existing(session.database()),
            env_name=session.database_env,
            env={},
            stop=lambda: bool(session.stop),
        )
    except ToolError as error:
        return {**_not_rehearsed(str(error)), "status": "failed"}
    plain = _plain(result)
    if plain["data"].startswith("copy") and plain["steps"] and not _rows(plain["steps"][0]):
        text = "every table of the copy is empty: the rehearsal met no data, so it shows nothing about data"
        plain["findings"].append({"severity": "warning", "text": text})
    return plain


def _rows(step: Mapping[str, Any]) -> int:
    return sum(facts["rows"] for facts in step["tables"].values())


def _plain(result: rehearsal.Rehearsal) -> Payload:
    """The rehearsal as JSON values, the schema digests included, the data never."""
    plain = dataclasses.asdict(result)
    return {**plain, "steps": list(plain["steps"]), "findings": list(plain["findings"])}


def _not_rehearsed(reason: str) -> Payload:
    blank: Payload = {
        "steps": [],
        "findings": [],
        "sql_up": None,
        "sql_down": None,
        "from_revision": None,
        "to_revision": None,
    }
    return {"status": "not rehearsed", "reason": reason, "data": "none", **blank}


def _by_hand(tool: migrations.MigrationTool) -> str:
    """What a person would run, from the repository's top folder; empty when it is not known."""
    at_config = tool.name == "django" or tool.apply_command[:1] == ("alembic",)
    folder = (tool.config or "").rpartition("/")[0] if at_config else ""
    command = " ".join(tool.apply_command)
    return f"cd {folder} && {command}" if folder and command else command


def _existing(path: Path | None) -> Path | None:
    return path if path and path.is_file() else None


def _before(session: Session, tool: migrations.MigrationTool, files: list[str]) -> str | None:
    """Where the rehearsal starts: None for where the person's database is, else just before the new files."""
    if _existing(session.database()):
        return None
    return alembic.graph(session.clone.tree, tool).before(files) or "base"


def _file(session: Session, path: str) -> Payload:
    there = session.workspace.exists(path)
    data = session.workspace.read_bytes(path) if there else b""
    text = data.decode("utf-8", "replace")  # whole: what is approved must be what was shown
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "text": text, "gone": not there}


def _target(session: Session) -> Payload:
    """Which database would be changed; never its password."""
    name, database, tool = session.database_env, session.database(), session.migrations
    if tool is not None and not tool.can_rehearse:
        return {"kind": "none", "reason": "only Alembic's migrations are applied by this crew; these are yours to run"}
    if name is None:
        return {"kind": "none", "reason": "no database was named (--database-url-env)"}
    if settings.get(name) is None:
        return {"kind": "none", "reason": f"the environment variable {name} is not set"}
    if database is None:
        return {"kind": "other", "reason": f"{name} does not name a SQLite file; apply by hand"}
    if not database.is_file():
        return {"kind": "none", "reason": f"{database} does not exist"}
    status = database.stat()
    identity = {"path": str(database), "device": status.st_dev, "inode": status.st_ino}
    return {"kind": "sqlite", **identity, "revision": apply.sqlite_revision(database), "variable": name}


def manifest(session: Session, files: list[str]) -> str:
    """SHA-256 over every repository file that applying would execute."""
    entries: list[tuple[str, str]] = [(one["path"], one["sha256"]) for one in (_file(session, path) for path in files)]
    if session.migrations and session.migrations.can_rehearse:
        entries += alembic.manifest(session.clone.tree, session.migrations)
    return sha256(canonical(sorted(set(entries))))


def apply_migrations(session: Session) -> tuple[str, Payload]:
    """Apply exactly what a person approved, once, to exactly the database that was shown."""
    facts = session.payload("rehearse") or {}
    if not facts.get("files"):
        return "Applied", {"status": "no migrations"}
    row = session.journal.gate(session.id, "migrations")
    decision = session.journal.decision(session.id, "migrations", row.digest) if row else None
    if row is None or decision is None or decision.verdict != gates.APPROVE:
        return "Applied", {"status": "declined", "command": facts["apply_command"]}
    target = facts["target"]
    if target["kind"] != "sqlite" or not render.runnable(facts):
        reason = target.get("reason") or f"the rehearsal: {facts['status']}, {facts['reason']}"
        return "Applied", {"status": "approved, not applied", "reason": reason, "command": facts["apply_command"]}
    bound = gates.packet_of(row).bound
    same = (
        manifest(session, [one["path"] for one in facts["files"]]) == bound["manifest"]
        and git.head(session.clone) == bound["commit"]
        and bound["record"] == sha256(canonical(facts))
        and _target(session) == target
    )
    if not same and not _already_applied(session, facts, decision.hash):
        reason = "the files or the database changed after they were approved; approve them again"
        return "Applied", {"status": "refused", "reason": reason, "command": facts["apply_command"]}
    return "Applied", _apply_once(session, facts, decision, str(bound["commit"]))


def _already_applied(session: Session, facts: Mapping[str, Any], grant: str) -> bool:
    """Whether an interrupted apply of this very grant had come through: then the same file is at the new revision."""
    target = facts["target"]
    path = Path(target["path"])
    if session.journal.intent(session.id, "apply", grant) is None or not path.is_file():
        return False
    status = path.stat()
    same_file = (status.st_dev, status.st_ino) == (target["device"], target["inode"])
    return same_file and _migrated(path, facts)


def _migrated(database: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a database is what the approved upgrade makes: the revision alone can be written by hand."""
    if apply.sqlite_revision(database) != facts["to_revision"]:
        return False
    with sqlite.reading(database) as connection:
        return sqlite.facts(connection).digest == str(facts["steps"][0]["schema"])


def _shown(facts: Mapping[str, Any]) -> apply.Shown:
    losses = frozenset(kind_of(one["text"]) for one in facts["findings"] if one["severity"] == "error")
    target = facts["target"]
    schema, added = str(facts["steps"][0]["schema"]), facts.get("added_only") is True
    return apply.Shown(target["device"], target["inode"], schema, losses, added)


def _apply_once(session: Session, facts: Mapping[str, Any], decision: Decision, commit: str) -> Payload:
    """The approval's one use is recorded first; after a crash the database itself says whether it happened."""
    assert session.migrations is not None and not isinstance(session.sandbox, NoSandbox)
    target, variable, grant = facts["target"], str(facts["target"]["variable"]), decision.hash
    database = Path(target["path"])
    if session.journal.intent(session.id, "apply", grant) is not None and _migrated(database, facts):
        now = facts["to_revision"]
        session.journal.settle(session.id, "apply", grant, "done", {"found": now})
        return {
            "status": "applied",
            "from": target["revision"],
            "to": now,
            "note": "found applied after an interruption",
        }
    hours, aim = session.run.options.get("decision_hours"), {"target": target["path"], "to": facts["to_revision"]}
    try:
        session.journal.consume(session.id, "migrations", decision.digest, "apply", hours=hours, detail=aim)
    except DecisionRefused as error:
        return {"status": "refused", "reason": str(error), "command": facts["apply_command"]}
    try:
        # Not the tree, which is a folder that anything may write to: the approved commit's own bytes.
        with tempfile.TemporaryDirectory(prefix="approved-") as private:
            tree = Path(private) / "tree"
            git.export(session.clone, commit, tree)
            done = apply.apply_sqlite(
                session.sandbox,
                tree,
                session.root,
                session.runtime,
                session.migrations,
                database=database,
                env_name=variable,
                target=str(facts["to_revision"]),
                expected_revision=target["revision"],
                shown=_shown(facts),
                backup_dir=session.folder / "backups",
                stop=lambda: bool(session.stop),
            )
    except ToolError as error:
        session.journal.settle(session.id, "apply", grant, "failed", {"reason": str(error)})
        return {"status": "failed", "reason": str(error), "command": facts["apply_command"]}
    session.journal.settle(session.id, "apply", grant, "done", {"to": done.to_revision, "backup": str(done.backup)})
    words = {"from": done.from_revision, "to": done.to_revision, "backup": str(done.backup)}
    return {"status": "applied", **words, "seconds": round(done.seconds, 2)}


def verify(session: Session) -> tuple[str, Payload]:
    """The whole test suite after the change, against the one before it."""
    return "Verification", verdict.verified(session)


STEPS: Mapping[str, Callable[[Session], tuple[str, Payload]]] = {
    "baseline": baseline,
    "rehearse": rehearse,
    "apply": apply_migrations,
    "verify": verify,
    "summarise": summarise,
}
