"""What trusted code does between the agents' tasks: baseline, rehearsal, apply, verification."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_crew.crew import databases, gates, render, settings, verdict
from backend_crew.crew.artifacts import Design
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import canonical, sha256
from backend_crew.crew.rows import Decision
from backend_crew.crew.session import Session
from backend_crew.crew.summary import summarise
from backend_crew.tools import apply, environment, git, migration_lint, migrations, rehearsal, sqlite
from backend_crew.tools.errors import ToolError
from backend_crew.tools.migrators.protocol import Migrator, Move
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
    facts["lint"] = _lint(session, tool, facts)
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
    """Migrations that were in the repository before, and that applying would run too: the database has not had them."""
    migrator, source = databases.migrator(session, tool), databases.source(session)
    if migrator is None or source is None:
        return []
    try:
        ahead = migrator.history().ahead_of(source.recorded(migrator))
    except ToolError:
        return []  # the rehearsal names what is wrong with them
    return [file.path for file in ahead if file.path not in files]


def _executed(session: Session, changes: Sequence[git.Change], files: list[str]) -> list[str]:
    """Other files that this run changed and that applying would execute: what migrations and env.py import."""
    migrator = databases.migrator(session)
    if migrator is None:
        return []
    runs = {path for path, _ in migrator.manifest()}
    return [one.path for one in changes if one.path in runs and one.path not in files]


def _rehearsed(session: Session, tool: migrations.MigrationTool, files: list[str]) -> Payload:
    migrator, place = databases.migrator(session, tool), databases.place(session)
    if migrator is None:
        return _not_rehearsed(migrations.why_not_rehearsed(tool))
    if isinstance(place, NoSandbox):
        return _not_rehearsed(f"no sandbox: {place.reason}")
    try:
        source = databases.source(session)
        before = None if source else migrator.history().before(files)
        result = rehearsal.rehearse(place, migrator, source=source, before=before)
    except ToolError as error:
        return {**_not_rehearsed(str(error)), "status": "failed"}
    plain = _plain(result)
    if plain["data"].startswith("copy") and plain["steps"] and not _rows(plain["steps"][0]):
        text = "every table of the copy is empty: the rehearsal met no data, so it shows nothing about data"
        plain["findings"].append({"severity": "warning", "text": text})
    return plain


def _lint(session: Session, tool: migrations.MigrationTool, facts: Payload) -> list[Payload] | None:
    """What the linters say about every file that applying would run; None where no linter knows the engine."""
    try:
        engine = facts.get("dialect") or (migrator.engine() if (migrator := databases.migrator(session, tool)) else "")
    except ToolError:
        engine = ""
    there = [(one["path"], one["text"]) for one in (*facts["files"], *facts["pending"]) if not one["gone"]]
    found = migration_lint.lint_files(there, tool.name, engine)
    return None if found is None else [dataclasses.asdict(one) for one in found]


def _rows(step: Mapping[str, Any]) -> int:
    return sum(facts["rows"] for facts in step["tables"].values())


def _plain(result: rehearsal.Rehearsal) -> Payload:
    """The rehearsal as JSON values, the schema digests included, the data never."""
    plain = dataclasses.asdict(result)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _not_rehearsed(reason: str) -> Payload:
    blank: Payload = {
        "steps": [],
        "findings": [],
        "sql_up": None,
        "sql_down": None,
        "segments": [],
        "from_revision": None,
        "to_revision": None,
        "start": [],
        "goal": [],
    }
    return {"status": "not rehearsed", "reason": reason, "data": "none", **blank}


def _by_hand(tool: migrations.MigrationTool) -> str:
    """What a person would run, from the repository's top folder; empty when it is not known."""
    at_config = tool.name == "django" or tool.apply_command[:1] == ("alembic",)
    folder = (tool.config or "").rpartition("/")[0] if at_config else ""
    command = " ".join(tool.apply_command)
    return f"cd {folder} && {command}" if folder and command else command


def _file(session: Session, path: str) -> Payload:
    there = session.workspace.exists(path)
    data = session.workspace.read_bytes(path) if there else b""
    text = data.decode("utf-8", "replace")  # whole: what is approved must be what was shown
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "text": text, "gone": not there}


def _target(session: Session) -> Payload:
    """Which database would be changed; never its password."""
    name, database, tool = session.database_env, session.database(), session.migrations
    if tool is not None and not tool.can_rehearse:
        return {
            "kind": "none",
            "reason": f"migrations of {tool.name} are not applied by this crew; they are yours to run",
        }
    if name is None:
        return {"kind": "none", "reason": "no database was named (--database-url-env)"}
    if settings.get(name) is None:
        return {"kind": "none", "reason": f"the environment variable {name} is not set"}
    if database is None:
        return {"kind": "other", "reason": f"{name} does not name a SQLite file; apply by hand"}
    source, migrator = databases.source(session), databases.migrator(session)
    if source is None or migrator is None:
        return {"kind": "none", "reason": f"{database} does not exist"}
    status = database.stat()
    identity = {"path": str(database), "device": status.st_dev, "inode": status.st_ino}
    found = source.recorded(migrator)
    words = migrator.history().label(found) if found else None
    return {"kind": "sqlite", **identity, "recorded": list(found), "revision": words, "variable": name}


def manifest(session: Session, files: list[str]) -> str:
    """SHA-256 over every repository file that applying would execute."""
    entries: list[tuple[str, str]] = [(one["path"], one["sha256"]) for one in (_file(session, path) for path in files)]
    if (migrator := databases.migrator(session)) is not None:
        entries += migrator.manifest()
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
    return same_file and _migrated(session, path, facts)


def _migrated(session: Session, database: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a database is what the approved upgrade makes: the revision alone can be written by hand."""
    migrator = databases.migrator(session)
    if migrator is None or sqlite.recorded_in(database, migrator) != tuple(facts["goal"]):
        return False
    with sqlite.reading(database) as connection:
        return sqlite.facts(connection, migrator).digest == str(facts["steps"][0]["schema"])


def _shown(facts: Mapping[str, Any]) -> apply.Shown:
    losses = frozenset(kind_of(one["text"]) for one in facts["findings"] if one["severity"] == "error")
    target = facts["target"]
    schema, added = str(facts["steps"][0]["schema"]), facts.get("added_only") is True
    return apply.Shown(target["device"], target["inode"], schema, losses, added)


def _apply_once(session: Session, facts: Mapping[str, Any], decision: Decision, commit: str) -> Payload:
    """The approval's one use is recorded first; after a crash the database itself says whether it happened."""
    target, grant = facts["target"], decision.hash
    database = Path(target["path"])
    if session.journal.intent(session.id, "apply", grant) is not None and _migrated(session, database, facts):
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
            migrator = databases.migrator(session, tree=tree)
            assert migrator is not None  # what was rehearsed has one
            done = apply.apply_sqlite(
                databases.place(session, tree),
                migrator,
                _move(migrator, facts),
                database=database,
                shown=_shown(facts),
                backup_dir=session.folder / "backups",
            )
    except ToolError as error:
        session.journal.settle(session.id, "apply", grant, "failed", {"reason": str(error)})
        return {"status": "failed", "reason": str(error), "command": facts["apply_command"]}
    session.journal.settle(session.id, "apply", grant, "done", {"to": facts["to_revision"], "backup": str(done.backup)})
    words = {"from": target["revision"], "to": facts["to_revision"], "backup": str(done.backup)}
    return {"status": "applied", **words, "seconds": round(done.seconds, 2)}


def _move(migrator: Migrator, facts: Mapping[str, Any]) -> Move:
    """The move that was rehearsed, with the files as they are in the approved commit."""
    start, goal = tuple(facts["start"]), tuple(facts["goal"])
    return Move(start, goal, migrator.history().between(start, goal))


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
