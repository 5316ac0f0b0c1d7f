"""What trusted code does between the agents' tasks: baseline, rehearsal, apply, verification."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backend_crew.crew import applying, databases, examination, settings, verdict
from backend_crew.crew.artifacts import Design
from backend_crew.crew.session import Session
from backend_crew.crew.summary import summarise
from backend_crew.tools import environment, git, migration_lint, migrations, rehearsal
from backend_crew.tools.errors import ToolError
from backend_crew.tools.pg_trace import Traced
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.trace_findings import settled

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
    tests, check = verdict.before_change(session), verdict.run_check(session)
    linters = verdict.linters(session)
    git.reset(session.clone, session.head())
    return "Baseline", {**tests, "check": check, "linters": linters, "dependencies": installed}


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
    facts: Payload = {"files": [applying.shown_file(session, path) for path in files], "tool": tool.name}
    facts["pending"] = [applying.shown_file(session, path) for path in pending]
    facts["executed"] = [applying.shown_file(session, path) for path in _executed(session, changes, files)]
    facts["target"] = applying.target(session)
    facts |= _rehearsed(session, tool, files)
    facts["apply_command"] = _by_hand(session, tool, facts, "up")
    facts["rollback_command"] = _by_hand(session, tool, facts, "down")
    facts["lint"] = _lint(session, tool, facts)
    foreign = [path for path in files if not migrations.new_files(tool, [path])]
    if foreign:
        text = f"not of {tool.name}, so neither rehearsed nor applied: {', '.join(foreign)}"
        facts["findings"] = [*facts.get("findings", []), {"severity": "error", "text": text}]
    if edited:
        text = f"migrations that existed before were changed: {', '.join(edited)}; databases that ran them will not run them again"
        facts["findings"] = [*facts.get("findings", []), {"severity": "error", "text": text}]
    facts["manifest"] = applying.manifest(session, files)
    return "Rehearsal", facts


def _pending(session: Session, tool: migrations.MigrationTool, files: list[str]) -> list[str]:
    """Migrations that were in the repository before, and that applying would run too: the database has not had them."""
    migrator = databases.migrator(session, tool)
    try:
        source = databases.source(session)
        if migrator is None or source is None:
            return []
        ahead = migrator.history().ahead_of(source.recorded(migrator))
    except ToolError:
        return []  # the rehearsal names what is wrong with them
    return [file.path for file in ahead if file.path not in files]


def _executed(session: Session, changes: Sequence[git.Change], files: list[str]) -> list[str]:
    """Other files that this run changed and that applying would execute: what migrations and env.py import."""
    migrator = databases.migrator(session)
    if migrator is None:
        return []
    try:
        runs = {path for path, _ in migrator.manifest()}
    except ToolError:
        return []  # the rehearsal names what is wrong with the files
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
    seen = [Traced(**one) for one in facts.get("trace", ())]
    return None if found is None else [dataclasses.asdict(one) for one in settled(found, seen)]


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


def _by_hand(session: Session, tool: migrations.MigrationTool, facts: Mapping[str, Any], direction: str) -> str:
    """What a person would run, from the repository's top folder; empty when it is not known."""
    migrator = databases.migrator(session, tool)
    if migrator is not None and facts.get("goal"):
        with contextlib.suppress(ToolError):  # what is wrong with the files is told by the rehearsal
            return _pointed(session, migrator.command(applying.move(migrator, facts), direction))
    return _pointed(session, " ".join(tool.apply_command)) if direction == "up" else ""


def _pointed(session: Session, command: str) -> str:
    """A command with the variable that leads it to the named database: without it the tool's own settings decide."""
    name, (before, folder, rest) = session.database_env, command.rpartition(" && ")
    return f"{before}{folder}{name}=… {rest}" if name and command else command


def verify(session: Session) -> tuple[str, Payload]:
    """The whole test suite after the change, against the one before it."""
    return "Verification", examination.verified(session)


def recheck(session: Session) -> tuple[str, Payload]:
    """The last word on the tree: the same again after a repair changed it, else what was verified."""
    repair = next(task.name for task in session.spec.tasks if task.layer == "repair")
    output = session.journal.output(session.id, repair)
    changed = output is not None and bool(output.payload.get("facts", {}).get("files"))
    return "Verification", examination.verified(session) if changed else dict(session.payload("verify") or {})


STEPS: Mapping[str, Callable[[Session], tuple[str, Payload]]] = {
    "baseline": baseline,
    "rehearse": rehearse,
    "apply": applying.apply_migrations,
    "verify": verify,
    "recheck": recheck,
    "summarise": summarise,
}
