"""Migrations tried on a throw-away copy that holds data: up, down, up again, and what that did to schema and data."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import sample_rows
from backend_crew.tools.additive import added_only
from backend_crew.tools.alembic import AlembicGraph, graph
from backend_crew.tools.alembic_box import (
    DATABASE,
    SCRATCH,
    AlembicRun,
    alembic,
    bring_out,
    excerpt,
    limits_for,
    other_engine,
    plain_config,
    point_at,
)
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.migrations import MigrationFile, MigrationTool
from backend_crew.tools.rehearsal_findings import Finding, after_again, after_down, after_up, of_files
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.sqlite import DatabaseFacts, TableFacts, facts, opened, snapshot, sqlite_revision

COPY = "copy of the database"
GENERATED = "generated rows"
_BASE = f"{SCRATCH}/base.sqlite3"
_ELSEWHERE = (
    "Alembic ended without an error, but the database it was led to is not at the expected revision: "
    "env.py seems to take its URL from elsewhere. Name the variable it reads"
)


@dataclass(frozen=True)
class Step:
    """One leg ("up", "down", "up again"): whether it ended where it should, and the database after it."""

    name: str
    ok: bool
    seconds: float
    detail: str  # why it failed, at most 1,500 characters
    schema: str  # SHA-256 of the normalised schema
    tables: Mapping[str, TableFacts]


@dataclass(frozen=True)
class Rehearsal:
    """The outcome; "failed" means that a step failed or that a finding is an error (lost data, a false downgrade)."""

    status: str  # "passed", "failed" or "not rehearsed"
    reason: str
    data: str = GENERATED  # or COPY
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    sql_up: str | None = None
    sql_down: str | None = None
    from_revision: str | None = None
    to_revision: str | None = None
    added_only: bool = False  # the upgrade left everything that was there as it was, rows and values too


@dataclass(frozen=True)
class _Plan:
    revisions: AlembicGraph
    start: str | None
    target: str
    new: tuple[MigrationFile, ...]
    data: str
    # False: a downgrade to the start leaves another branch in place, so it cannot be compared with what was there.
    one_line: bool
    empty: dict[str, str] = field(default_factory=dict)  # tables for which no row could be made, and why


class _NotRehearsed(Exception):
    """Why nothing was tried."""


class _NothingNew(_NotRehearsed):
    """There is nothing to try."""


def rehearse(  # noqa: PLR0913  # every part is a different thing that the caller has at hand
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    tool: MigrationTool,
    *,
    before: str | None = None,
    target: str | None = None,
    database: Path | None = None,
    env_name: str | None = None,
    env: Mapping[str, str] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Rehearsal:
    """Upgrades from `before` to `target`, back, and again, in a box, on a copy of `database` or on generated rows.

    `before` None means where `database` is, or without one the parent of the target; "base" means empty.
    `target` None means the head.
    `env_name` is the variable that env.py reads its URL from; None: it is sqlalchemy.url of alembic.ini.
    """
    if isinstance(sandbox, NoSandbox):
        return Rehearsal("not rehearsed", f"there is no working sandbox: {sandbox.reason}. {sandbox.fix}")
    names = (env_name,) if env_name else ()
    try:
        config = plain_config(tree, tool)
        if database is None and (engine := other_engine(config, names, env or {})):
            raise _NotRehearsed(f"the project uses {engine}, and only SQLite can be rehearsed")
        plan = _plan(graph(tree, tool), before, target, database)
        with (
            sandbox.box(tree, at, runtime, layered=True) as box,
            sandbox.box(tree, at, runtime, layered=True) as bare,
            tempfile.TemporaryDirectory(prefix="rehearsal-") as private,
        ):
            lead, lead_bare = (
                functools.partial(point_at, one, config, url_names=names, env=env or {}, stop=stop)
                for one in (box, bare)
            )
            run = _with_copy(lead, database) if database else _with_rows(lead, plan, Path(private))
            # SQL is rendered where no data is: the code that renders it could print rows instead.
            renderer = lead_bare(DATABASE)
            bare.put(DATABASE, b"")
            return _rehearse(run, renderer, plan, Path(private))
    except (_NotRehearsed, ToolError) as error:
        return Rehearsal("not rehearsed", str(error), data=COPY if database else GENERATED)


def pending(
    tree: Path, tool: MigrationTool, *, before: str | None, target: str | None, database: Path | None
) -> tuple[MigrationFile, ...]:
    """The files that a rehearsal from and to the same places would run, in order; ToolRetry says why none can."""
    try:
        return _plan(graph(tree, tool), before, target, database).new
    except _NothingNew:
        return ()
    except _NotRehearsed as error:
        raise ToolRetry(str(error)) from error


def _plan(revisions: AlembicGraph, before: str | None, target: str | None, database: Path | None) -> _Plan:
    """From where to where; raises _NotRehearsed when there is nothing to try or no place to start."""
    end = revisions.head if target in (None, "head") else target
    if end is None:
        raise _NotRehearsed("there are no revisions")
    if not revisions.knows(end):
        raise _NotRehearsed(f"the target {end} is no revision of this repository")
    start = None if before == "base" else before
    if database is not None:
        found = sqlite_revision(database)
        if before is not None and found != start:
            raise _NotRehearsed(f"{database.name} is at {found or 'no revision'}, and {before} was expected")
        start = found
    elif before is None:
        parents = next(file.parents for file in revisions.files if file.revision == end)
        if len(parents) > 1:
            raise _NotRehearsed(f"the target {end} merges {', '.join(parents)}: name the revision to start from")
        start = parents[0] if parents else None
    if start is not None and not revisions.knows(start):
        raise _NotRehearsed(f"the start {start} is no revision of this repository")
    new = revisions.between(start, end)
    if not new:
        raise _NothingNew(f"nothing is new: {start} is at or after {end}")
    if start is not None and not revisions.follows(end, start):
        raise _NotRehearsed(f"{end} does not follow {start}: name a target that does")
    one_line = start is None or all(revisions.follows(file.revision, start) for file in new)
    return _Plan(revisions, start, end, new, COPY if database else GENERATED, one_line)


def _with_copy(lead: Callable[[str], AlembicRun], database: Path) -> AlembicRun:
    """A run on a copy of the person's database, which is only read, and that before anything ran in the box."""
    run = lead(DATABASE)
    run.box.put(DATABASE, b"")  # made by the box, so that its user owns it
    snapshot(database, run.box.files / DATABASE)
    return dataclasses.replace(run, limits=limits_for(database))


def _with_rows(lead: Callable[[str], AlembicRun], plan: _Plan, private: Path) -> AlembicRun:
    """A run on a database that the old revisions made and that trusted code put rows into."""
    if plan.start is None:
        run = lead(DATABASE)
        run.box.put(DATABASE, b"")
        return run
    first = lead(_BASE)
    first.box.put(_BASE, b"")
    done = alembic(first, "upgrade", plan.start)
    if not done.ok:
        raise _NotRehearsed(f"the earlier revisions do not run on an empty database:\n{excerpt(done)}")
    base = bring_out(first.box, _BASE, private / "base.sqlite3")
    if base is None or sqlite_revision(base) != plan.start:
        raise _NotRehearsed(_ELSEWHERE)
    plan.empty.update(sample_rows.fill(base))
    clean = private / "clean.sqlite3"
    snapshot(base, clean)
    # Another name, so that nothing the first run left beside its database is taken for a journal of this one.
    run = lead(DATABASE)
    run.box.put(DATABASE, clean.read_bytes())
    return run


def _rehearse(run: AlembicRun, renderer: AlembicRun, plan: _Plan, private: Path) -> Rehearsal:
    findings = of_files(plan.revisions, plan.new)
    findings += [Finding("warning", f"no row could be generated for {name}: {why}") for name, why in plan.empty.items()]
    if not plan.one_line:
        text = "going back was not tried: the new files join another branch; a start before the fork would try it"
        findings.append(Finding("warning", text))
    before = _look(run, private / "before")
    steps, seen = _steps(run, plan, private)
    # The last line is the error itself; the step keeps the rest.
    failed = [(step.name, step.detail.splitlines()[-1]) for step in steps if not step.ok]
    findings += [Finding("error", f"the step {name!r} fails: {why}") for name, why in failed]
    up, down, again = (seen.get(name) for name in ("up", "down", "up again"))
    if before and up:
        findings += after_up(before, up)
    if before and up and down:
        findings += after_down(before, up, down)
    if up and again:
        findings += after_again(up, again)
    sql_up = _sql(renderer, "upgrade", plan.start or "base", plan.target, findings) if up else None
    sql_down = _sql(renderer, "downgrade", plan.target, plan.start or "base", findings) if down else None
    bad = [finding.text for finding in findings if finding.severity == "error"]
    return Rehearsal(
        status="failed" if bad else "passed",
        reason=bad[0]
        if bad
        else f"{len(plan.new)} new revisions went through {', '.join(step.name for step in steps)}",
        data=plan.data,
        steps=tuple(steps),
        findings=tuple(findings),
        sql_up=sql_up,
        sql_down=sql_down,
        from_revision=plan.start,
        to_revision=plan.target,
        added_only=before is not None and up is not None and added_only(before, up),
    )


def _steps(run: AlembicRun, plan: _Plan, private: Path) -> tuple[list[Step], dict[str, DatabaseFacts]]:
    """The legs until one fails, and what each that did not fail left behind."""
    legs: list[tuple[str, tuple[str, str], str | None]] = [("up", ("upgrade", plan.target), plan.target)]
    # A downgrade that says it cannot go back is believed.
    if plan.one_line and not any(file.revision in plan.revisions.irreversible for file in plan.new):
        legs.append(("down", ("downgrade", plan.start or "base"), plan.start))
        legs.append(("up again", ("upgrade", plan.target), plan.target))
    steps: list[Step] = []
    seen: dict[str, DatabaseFacts] = {}
    for name, arguments, goal in legs:
        done = alembic(run, *arguments)
        if done.stopped:
            raise _NotRehearsed("it was stopped")
        found = _look(run, private / name)
        arrived = found is not None and found.revisions == ((goal,) if goal else ())
        if done.ok and not steps and found and found.revisions == ((plan.start,) if plan.start else ()):
            raise _NotRehearsed(_ELSEWHERE)
        detail = "" if done.ok and arrived else excerpt(done) if not done.ok else _ELSEWHERE
        digest, tables = (found.digest, found.tables) if found else ("", {})
        steps.append(Step(name, not detail, done.seconds, detail, digest, tables))
        if detail or found is None:
            break
        seen[name] = found
    return steps, seen


def _look(run: AlembicRun, target: Path) -> DatabaseFacts | None:
    """The facts of the box's database, read from a copy outside; None when it is gone."""
    copy = bring_out(run.box, run.database, target)
    if copy is None:
        return None
    with opened(copy) as connection:
        return facts(connection)


def _sql(run: AlembicRun, command: str, start: str, end: str, findings: list[Finding]) -> str | None:
    """The SQL of one direction as Alembic renders it; None and a finding where it needs a live database."""
    done = alembic(run, command, f"{start}:{end}", "--sql")
    if done.ok and not done.truncated:
        return done.stdout
    why = "it is longer than can be shown" if done.ok else excerpt(done).splitlines()[-1]
    findings.append(Finding("info", f"the SQL of the {command} cannot be rendered without a database: {why}"))
    return None
