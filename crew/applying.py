"""The one place of a run where approved migrations reach a person's database: exactly those, once, or not at all."""

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend_crew.crew import databases, gates, render, settings
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import canonical, sha256
from backend_crew.crew.rows import Decision
from backend_crew.crew.session import Session
from backend_crew.tools import apply, git, pg_apply, pg_schema, sqlite
from backend_crew.tools.errors import ToolError
from backend_crew.tools.facts import SchemaChange
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Migrator, Move, Script, Segment
from backend_crew.tools.pg_identity import Identity
from backend_crew.tools.pg_source import PostgresSource
from backend_crew.tools.rehearsal_findings import kind_of

Payload = dict[str, Any]
_STEP = "apply step"


def target(session: Session) -> Payload:
    """Which database would be changed; never its password."""
    name, tool = session.database_env, session.migrations
    if tool is not None and not tool.can_rehearse:
        return {
            "kind": "none",
            "reason": f"migrations of {tool.name} are not applied by this crew; they are yours to run",
        }
    if name is None:
        return {"kind": "none", "reason": "no database was named (--database-url-env)"}
    if settings.get(name) is None:
        return {"kind": "none", "reason": f"the environment variable {name} is not set"}
    try:
        source, migrator = databases.source(session), databases.migrator(session)
        found = source.recorded(migrator) if source and migrator else ()
    except ToolError as error:
        return {"kind": "other", "reason": f"the database that {name} names cannot be used ({error}); apply by hand"}
    if source is None or migrator is None:
        path = session.database()
        missing = (
            f"{path} does not exist" if path else f"{name} names neither a SQLite file nor PostgreSQL; apply by hand"
        )
        return {"kind": "none" if path else "other", "reason": missing}
    words: str | None = ", ".join(found) or None
    with contextlib.suppress(ToolError):  # what is wrong with the files is told by the rehearsal
        words = migrator.history().label(found) if found else None
    place = {"recorded": list(found), "revision": words, "variable": name}
    if isinstance(source, PostgresSource):
        which, standby = source.identity()
        if standby:
            return {"kind": "other", "reason": f"{source.name} is a standby and takes no writes; name the primary"}
        return {"kind": POSTGRESQL, "path": source.name, "identity": dataclasses.asdict(which), **place}
    path = session.database()
    assert path is not None  # a source that is not PostgreSQL is this file
    status = path.stat()
    return {"kind": SQLITE, "path": str(path), "device": status.st_dev, "inode": status.st_ino, **place}


def manifest(session: Session, files: list[str]) -> str:
    """SHA-256 over every repository file that applying would execute."""
    entries = [(one["path"], one["sha256"]) for one in (shown_file(session, path) for path in files)]
    if (migrator := databases.migrator(session)) is not None:
        with contextlib.suppress(ToolError):  # files that cannot be read are not applied: the rehearsal says so
            entries += migrator.manifest()
    return sha256(canonical(sorted(set(entries))))


def shown_file(session: Session, path: str) -> Payload:
    """A file as a gate shows it: whole, because what is approved must be what was shown."""
    there = session.workspace.exists(path)
    data = session.workspace.read_bytes(path) if there else b""
    text = data.decode("utf-8", "replace")
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "text": text, "gone": not there}


def apply_migrations(session: Session) -> tuple[str, Payload]:
    """Apply exactly what a person approved, once, to exactly the database that was shown."""
    facts = session.payload("rehearse") or {}
    if not facts.get("files"):
        return "Applied", {"status": "no migrations"}
    row = session.journal.gate(session.id, "migrations")
    decision = session.journal.decision(session.id, "migrations", row.digest) if row else None
    command = facts["apply_command"]
    if row is None or decision is None or decision.verdict != gates.APPROVE:
        return "Applied", {"status": "declined", "command": command}
    if reason := render.why_not_applied(facts):
        return "Applied", {"status": "approved, not applied", "reason": reason, "command": command}
    bound, now = gates.packet_of(row).bound, target(session)
    same = (
        manifest(session, [one["path"] for one in facts["files"]]) == bound["manifest"]
        and git.head(session.clone) == bound["commit"]
        and bound["record"] == sha256(canonical(facts))
    )
    # An interrupted apply of this very approval may have moved the database; whether it is the same one is asked again.
    begun = session.journal.intent(session.id, "apply", decision.hash) is not None
    whole = begun and _is_applied(session, facts, now)
    if not whole and not (same and (now == facts["target"] or (begun and _is_same_server(facts, now)))):
        reason = "the files or the database changed after they were approved; approve them again"
        return "Applied", {"status": "refused", "reason": reason, "command": command}
    return "Applied", _apply_once(session, facts, decision, str(bound["commit"]))


def _is_applied(session: Session, facts: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the SQLite file is still the one that was shown, and holds what the approved upgrade makes."""
    shown = facts["target"]
    same = now["kind"] == SQLITE and all(now[name] == shown[name] for name in ("path", "device", "inode"))
    return same and _migrated(session, Path(shown["path"]), facts)


def _is_same_server(facts: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether it is still the PostgreSQL database that was shown: how far an interrupted apply came is in its notes."""
    return bool(now["kind"] == POSTGRESQL and now["identity"] == facts["target"].get("identity"))


def _migrated(session: Session, database: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a SQLite file is what the approved upgrade makes: the revision alone can be written by hand."""
    migrator = databases.migrator(session)
    if migrator is None or sqlite.recorded_in(database, migrator) != tuple(facts["goal"]):
        return False
    with sqlite.reading(database) as connection:
        return sqlite.facts(connection, migrator).digest == str(facts["steps"][0]["schema"])


def _apply_once(session: Session, facts: Mapping[str, Any], decision: Decision, commit: str) -> Payload:
    """The approval's one use is recorded first; after a crash the database itself says whether it happened."""
    shown, grant, now = facts["target"], decision.hash, facts["to_revision"]
    ends = {"from": shown["revision"], "to": now}
    begun = session.journal.intent(session.id, "apply", grant) is not None
    if begun and shown["kind"] == SQLITE and _migrated(session, Path(shown["path"]), facts):
        session.journal.settle(session.id, "apply", grant, "done", {"found": now})
        return {"status": "applied", **ends, "note": "found applied after an interruption"}
    hours, aim = session.run.options.get("decision_hours"), {"target": shown["path"], "to": now}
    try:
        session.journal.consume(session.id, "migrations", decision.digest, "apply", hours=hours, detail=aim)
    except DecisionRefused as error:
        return {"status": "refused", "reason": str(error), "command": facts["apply_command"]}
    try:
        # Not the tree, which is a folder that anything may write to: the approved commit's own bytes.
        with tempfile.TemporaryDirectory(prefix="approved-") as private:
            tree = Path(private) / "tree"
            git.export(session.clone, commit, tree)
            how = _postgresql if shown["kind"] == POSTGRESQL else _sqlite
            told = how(session, facts, tree, grant)
    except ToolError as error:
        # Stopped on the way: the use of the approval stays begun, and whoever resumes the run takes it up.
        if not session.stop:
            session.journal.settle(session.id, "apply", grant, "failed", {"reason": str(error)})
        return {"status": "failed", "reason": str(error), "command": facts["apply_command"]}
    session.journal.settle(session.id, "apply", grant, "done", {"to": now, **told})
    return {"status": "applied", **ends, **told, "rollback": facts.get("rollback_command") or ""}


def _sqlite(session: Session, facts: Mapping[str, Any], tree: Path, _grant: str) -> Payload:
    shown, migrator = facts["target"], _migrator(session, tree)
    schema, added = str(facts["steps"][0]["schema"]), facts.get("added_only") is True
    done = apply.apply_sqlite(
        databases.place(session, tree),
        migrator,
        move(migrator, facts),
        database=Path(shown["path"]),
        shown=apply.Shown(shown["device"], shown["inode"], schema, _losses(facts, "error"), added),
        backup_dir=session.folder / "backups",
    )
    return {"backup": str(done.backup), "seconds": round(done.seconds, 2)}


def _postgresql(session: Session, facts: Mapping[str, Any], tree: Path, grant: str) -> Payload:
    source, migrator = databases.source(session), _migrator(session, tree)
    assert isinstance(source, PostgresSource)  # what `target` called PostgreSQL
    approved = pg_apply.Approved(
        script=Script(tuple(Segment(one["sql"], one["transactional"]) for one in facts["segments"])),
        identity=Identity(**facts["target"]["identity"]),
        start=tuple(facts["start"]),
        goal=tuple(facts["goal"]),
        schema=str(facts["steps"][0]["schema"]),
        shown=_losses(facts, "error", "warning", "info"),
        rollback=facts.get("rollback_command") or "",
        change=_change(facts),
        added_only=facts.get("added_only") is True,
    )
    done = pg_apply.apply_postgresql(
        source.address,
        approved,
        migrator,
        lambda connection: pg_schema.schema_lines(connection, migrator.tables),
        _Notes(session, grant),
        stop=lambda: bool(session.stop),
    )
    told: Payload = {"seconds": round(done.seconds, 2), "backup": "none is made of PostgreSQL"}
    return told | ({"note": "found applied after an interruption"} if done.already else {})


def _change(facts: Mapping[str, Any]) -> SchemaChange | None:
    told = facts.get("change")
    return SchemaChange(tuple(told["added"]), tuple(told["removed"]), told["major"]) if told else None


def _migrator(session: Session, tree: Path) -> Migrator:
    migrator = databases.migrator(session, tree=tree)
    assert migrator is not None  # what was rehearsed has one
    return migrator


def move(migrator: Migrator, facts: Mapping[str, Any]) -> Move:
    """The move that was rehearsed, with the files as they are in the approved commit."""
    start, goal = tuple(facts["start"]), tuple(facts["goal"])
    return Move(start, goal, migrator.history().between(start, goal))


def _losses(facts: Mapping[str, Any], *severities: str) -> frozenset[str]:
    return frozenset(kind_of(one["text"]) for one in facts["findings"] if one["severity"] in severities)


@dataclasses.dataclass(frozen=True)
class _Notes:
    """`pg_apply.Journal` in the run's own: each step is an effect of its own under the approval's hash."""

    session: Session
    grant: str

    def before(self, step: int, mark: str) -> None:
        journal, run, key = self.session.journal, self.session.id, f"{self.grant}:{step}"
        if not journal.intend(run, _STEP, key, {"mark": mark}):
            journal.settle(run, _STEP, key, "begun", {"mark": mark})

    def done(self, step: int) -> None:
        noted = self.session.journal.intent(self.session.id, _STEP, f"{self.grant}:{step}")
        detail = noted[1] if noted else {}
        self.session.journal.settle(self.session.id, _STEP, f"{self.grant}:{step}", "done", detail)

    def tried(self) -> Mapping[int, pg_apply.Tried]:
        found: dict[int, pg_apply.Tried] = {}
        while noted := self.session.journal.intent(self.session.id, _STEP, f"{self.grant}:{len(found)}"):
            state, detail = noted
            found[len(found)] = pg_apply.Tried(str(detail["mark"]), state == "done")
        return found
