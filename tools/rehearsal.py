"""Migrations tried on a throw-away copy that holds data: up, down, up again, and what that did to schema and data."""

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools.additive import added_only
from backend_crew.tools.alembic_box import excerpt, reason_in
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.facts import Ask, DatabaseFacts, SchemaChange, TableFacts
from backend_crew.tools.migrations import MigrationFile
from backend_crew.tools.migrators.history import History
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Migrator, Move, Scratch, Script, Segment
from backend_crew.tools.pg_scratch import PostgresScratch
from backend_crew.tools.pg_trace import Traced, trace
from backend_crew.tools.process import Completed
from backend_crew.tools.rehearsal_findings import (
    Finding,
    after_again,
    after_down,
    after_up,
    not_compared,
    of_files,
    of_script,
    of_violation,
    without_down,
)
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place, scratch_of
from backend_crew.tools.sources import Source
from backend_crew.tools.trace_findings import rewrites
from backend_crew.tools.violations import Laid, Rule, laid, tried, violations

COPY = "copy of the database"
SCHEMA = "generated rows in a copy of the schema"
GENERATED = "generated rows"
NOTHING = "no rows, as nothing was there before"
_VIOLATIONS = 6  # each costs a run of the tool
_RULES = 12  # each costs a program in a box
_ELSEWHERE = (
    "the migration tool ended without an error, but the database it was led to is not where it should be: "
    "the repository's code seems to take its URL from elsewhere. Name the variable it reads"
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
    data: str = GENERATED  # or COPY, SCHEMA where the database is large, NOTHING before the first migration
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    sql_up: str | None = None
    sql_down: str | None = None
    segments: tuple[Segment, ...] = ()  # of `sql_up`, as they would be applied
    from_revision: str | None = None  # in words for a person; `start` and `goal` are what the tool's table says
    to_revision: str | None = None
    start: tuple[str, ...] = ()
    goal: tuple[str, ...] = ()
    dialect: str = SQLITE
    trace: tuple[Traced, ...] = ()  # PostgreSQL: what each statement locked and rewrote
    change: SchemaChange | None = None  # what the upgrade did to the schema
    rules: tuple[Rule, ...] = ()  # what the upgrade adds, each tried on what it left with a row that breaks it
    added_only: bool = False  # the upgrade left everything that was there as it was, rows and values too


@dataclass(frozen=True)
class Plan:
    """From where to where, over what, and with which data."""

    history: History
    move: Move
    dialect: str
    data: str
    # False: a downgrade to the start leaves another branch in place, so it cannot be compared with what was there.
    one_line: bool
    empty: dict[str, str] = field(default_factory=dict)  # tables for which no row could be made, and why


class _NotRehearsed(Exception):
    """Why nothing was tried."""


class _NothingNew(_NotRehearsed):
    """There is nothing to try."""


def rehearse(
    place: Place | NoSandbox,
    migrator: Migrator,
    *,
    source: Source | None = None,
    before: Sequence[str] | None = None,
    target: str | None = None,
) -> Rehearsal:
    """Upgrades from `before` to `target`, back, and again, in a box, on a copy of `source` or on generated rows.

    `before` is what the tool's table says there, () for an empty database; None means where `source` is, or without one
    all but the newest migration. `target` None means the heads.
    """
    data = COPY if source else GENERATED
    if isinstance(place, NoSandbox):
        return Rehearsal("not rehearsed", f"there is no working sandbox: {place.reason}. {place.fix}", data)
    try:
        plan = _plan(migrator, before, target, source)
        with tempfile.TemporaryDirectory(prefix="rehearsal-") as private:
            return _Rehearsing(place, migrator, plan, source, Path(private)).all()
    except (_NotRehearsed, ToolError) as error:
        return Rehearsal("not rehearsed", str(error), data)


def pending(
    migrator: Migrator, *, source: Source | None, before: Sequence[str] | None, target: str | None
) -> tuple[MigrationFile, ...]:
    """The files that a rehearsal from and to the same places would run, in order; ToolRetry says why none can."""
    try:
        return _move(migrator, migrator.history(), before, target, source).files
    except _NothingNew:
        return ()
    except _NotRehearsed as error:
        raise ToolRetry(str(error)) from error


def _plan(migrator: Migrator, before: Sequence[str] | None, target: str | None, source: Source | None) -> Plan:
    """From where to where; raises _NotRehearsed when there is nothing to try or no place to start."""
    dialect = source.dialect if source else migrator.engine()
    if dialect not in (SQLITE, POSTGRESQL):
        raise _NotRehearsed(f"the project uses {dialect}, and only SQLite and PostgreSQL can be rehearsed")
    history = migrator.history()
    move = _move(migrator, history, before, target, source)
    one_line = not history.cumulative or all(
        history.follows(file.revision, one) for file in move.files for one in move.start
    )
    data = (GENERATED if move.start else NOTHING) if source is None else COPY if source.whole else SCHEMA
    return Plan(history, move, dialect, data, one_line)


def _move(
    migrator: Migrator, history: History, before: Sequence[str] | None, target: str | None, source: Source | None
) -> Move:
    ends = history.heads if target in (None, "head") else (str(target),)
    if not ends:
        raise _NotRehearsed("there are no migrations")
    if unknown := [name for name in ends if not history.knows(name)]:
        raise _NotRehearsed(f"the target {unknown[0]} is no migration of this repository")
    start = _start(migrator, history, before, ends, source)
    if history.cumulative and (unknown := [name for name in start if not history.knows(name)]):
        raise _NotRehearsed(f"the start {unknown[0]} is no migration of this repository")
    files = history.between(start, ends)
    if not files:
        raise _NothingNew(f"nothing is new: {history.label(start)} is at or after {', '.join(ends)}")
    goal = history.after(start, files)
    if history.cumulative and len(goal) > 1:
        raise _NotRehearsed(f"{', '.join(ends)} does not follow {history.label(start)}: name a target that does")
    return Move(start, goal, files, source.recorded(_Others(migrator)) if source else None)


def _start(
    migrator: Migrator, history: History, before: Sequence[str] | None, ends: Sequence[str], source: Source | None
) -> tuple[str, ...]:
    if source is not None:
        found = source.recorded(migrator)
        if before is not None and found != tuple(before):
            at, wanted = history.label(found), history.label(before)
            raise _NotRehearsed(f"{source.name} is at {at}, and {wanted} was expected")
        return found
    if before is not None:
        return tuple(before)
    newest = history.between((), ends)[-1]
    if history.cumulative and len(newest.parents) > 1:
        raise _NotRehearsed(
            f"the target {newest.revision} merges {', '.join(newest.parents)}: name the one to start from"
        )
    return history.after((), [file for file in history.between((), ends) if file is not newest])


@dataclass(frozen=True)
class _Scripts:
    """The SQL by direction, why one has none, and what "up" did where it was run alone (`None`: it was not)."""

    rendered: Mapping[str, Script | str]
    executed: DatabaseFacts | None = None
    why: str = ""  # it failed
    traced: tuple[Traced, ...] = ()
    remarks: tuple[str, ...] = ()

    def of(self, direction: str) -> Script | None:
        """One direction, where it can be written as SQL."""
        script = self.rendered.get(direction)
        return script if isinstance(script, Script) else None


@dataclass(frozen=True)
class _Rehearsing:
    """One rehearsal: the same base of data is moved by the tool in one box, and by its rendered SQL in another."""

    place: Place
    migrator: Migrator
    plan: Plan
    source: Source | None
    private: Path
    seen: dict[str, DatabaseFacts] = field(default_factory=dict)

    def all(self) -> Rehearsal:
        """The legs, what they did, and whether the SQL that a person reads does the same."""
        plan = self.plan
        base = self._base()
        findings = self._beforehand()
        # Neither knows of the other, so the SQL has the second core while the tool has the first.
        with self._beside(base) as scripts_of, self._scratch("legs", code=self.migrator.runs_code) as scratch:
            _make(scratch, base)
            before = scratch.facts(self.migrator)
            steps = self._legs(scratch)
            up, down, again = (self.seen.get(name) for name in ("up", "down", "up again"))
            scripts = scripts_of() if before and up else _Scripts({})
            rules = laid(before, up, plan.dialect) if before and up and all(step.ok for step in steps) else ()
            if rules:
                scratch.save(self.private / "left")
        failed = [(step.name, reason_in(step.detail)) for step in steps if not step.ok]
        findings += [Finding("error", f"the step {name!r} fails: {why}") for name, why in failed]
        if before and up:
            findings += [*not_compared(before), *after_up(before, up)]
        if before and up and down:
            findings += after_down(before, up, down)
        elif before and up and plan.one_line and not failed:
            findings += without_down(before, up)
        if up and again:
            findings += after_again(up, again)
        sql_up, sql_down = scripts.of("up"), scripts.of("down") if down else None
        shown = {"up", "down"} if down else {"up"}
        texts = [text for way, text in scripts.rendered.items() if way in shown and isinstance(text, str)]
        findings += [Finding("info", text) for text in texts]
        # Which of them stop a run is for the rules here to say: they know what the rows and the engine make of it.
        findings += [Finding("warning", one) for one in scripts.remarks]
        if before and up and sql_up and self.migrator.runs_code:
            findings += of_script(before, up, again, scripts.executed, scripts.why)
        if before:
            findings += rewrites(scripts.traced, before, plan.data == COPY)
        if before and up and base and plan.data != COPY:
            findings += self._violated(base, before, up)
        major = self.source.major if self.source else None
        bad = [finding.text for finding in findings if finding.severity == "error"]
        passed = f"{len(plan.move.files)} new revisions went through {', '.join(step.name for step in steps)}"
        return Rehearsal(
            status="failed" if bad else "passed",
            reason=bad[0] if bad else passed,
            data=plan.data,
            steps=tuple(steps),
            findings=tuple(findings),
            sql_up=sql_up.text if sql_up else None,
            sql_down=sql_down.text if sql_down else None,
            segments=sql_up.segments if sql_up else (),
            from_revision=plan.history.label(plan.move.start) if plan.move.start else None,
            to_revision=plan.history.label(plan.move.goal),
            start=plan.move.start,
            goal=plan.move.goal,
            dialect=plan.dialect,
            trace=scripts.traced,
            change=SchemaChange.between(before.schema, up.schema, major) if before and up else None,
            rules=self._tried(rules),
            added_only=before is not None and up is not None and added_only(before, up),
        )

    def _beforehand(self) -> list[Finding]:
        """What is known before anything moves: from the files, of the rows, of the person's database."""
        plan = self.plan
        findings = of_files(plan.history, plan.move.files)
        findings += [
            Finding("warning", f"no row could be generated for {name}: {why}") for name, why in plan.empty.items()
        ]
        concerns = [*self.migrator.warnings, *(self.source.recorded(_Concerns(self.migrator)) if self.source else ())]
        findings += [Finding("warning", text) for text in concerns]
        if self.source and self.source.difference:
            findings.append(Finding("info", self.source.difference))
        if not plan.one_line:
            text = "going back was not tried: the new files join another branch; a start before the fork would try it"
            findings.append(Finding("warning", text))
        return findings

    @contextlib.contextmanager
    def _beside(self, base: Path | None) -> Iterator[Callable[[], _Scripts]]:
        """The SQL rendered and run in a thread of its own, which is stopped when the block ends without asking for it."""
        ended, asked = threading.Event(), self.place.stop
        place = replace(self.place, stop=lambda: ended.is_set() or (asked is not None and asked()))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(replace(self, place=place)._scripts, base)
            try:
                yield waiting.result
            finally:
                ended.set()

    def _scratch(self, name: str, *, code: bool) -> contextlib.AbstractContextManager[Scratch]:
        size = self.source.size if self.source else 0
        major = self.source.major if self.source else None
        return scratch_of(self.place, self.plan.dialect, self.private / name, code=code, size=size, major=major)

    def _base(self) -> Path | None:
        """What every box starts from: a copy of the person's database, or made-up rows in what older files make."""
        start, base = self.plan.move.start, self.private / "base"
        if self.source:
            self.source.copy(base)
            if self.plan.data == SCHEMA:
                with self._scratch("filled", code=False) as scratch:
                    scratch.load(base)
                    self.plan.empty.update(scratch.fill(self.migrator))
                    scratch.save(base)
            return base
        if not start:
            return None
        with self._scratch("older", code=self.migrator.runs_code) as scratch:
            scratch.create()
            files = tuple(file for file in self.plan.history.files if file.revision in self.plan.history.had(start))
            done = self.migrator.up(scratch, Move((), start, files))
            if not done.ok:
                raise _NotRehearsed(f"the earlier revisions do not run on an empty database:\n{excerpt(done)}")
            found = scratch.facts(self.migrator)
            if found is None or found.recorded != start:
                raise _NotRehearsed(_ELSEWHERE)
            self.plan.empty.update(scratch.fill(self.migrator))
            scratch.save(base)
        return base

    def _legs(self, scratch: Scratch) -> list[Step]:
        """The legs until one fails; what each that did not fail left behind goes to `seen`."""
        move = self.plan.move
        legs = [("up", self.migrator.up, move.goal)]
        if self._goes_back:
            legs += [("down", self.migrator.down, move.start), ("up again", self.migrator.up, move.goal)]
        steps: list[Step] = []
        for name, step, goal in legs:
            done = step(scratch, move)
            if done.stopped:
                raise _NotRehearsed("it was stopped")
            found = self._after(scratch, done)
            arrived = found is not None and found.recorded == goal
            if done.ok and not steps and found and found.recorded == move.start:
                raise _NotRehearsed(_ELSEWHERE)
            detail = "" if done.ok and arrived else excerpt(done) if not done.ok else _ELSEWHERE
            digest, tables = (found.digest, found.tables) if found else ("", {})
            steps.append(Step(name, not detail, done.seconds, detail, digest, tables))
            if detail or found is None:
                break
            self.seen[name] = found
        return steps

    def _after(self, scratch: Scratch, done: Completed) -> DatabaseFacts | None:
        """What a move left; where it failed, a tool's own table may be such that nobody can go on from it."""
        try:
            return scratch.facts(self.migrator)
        except ToolRetry:
            if done.ok:
                raise
            return None

    @property
    def _goes_back(self) -> bool:
        """A downgrade that says it cannot go back is believed."""
        plan = self.plan
        return plan.one_line and not any(file.revision in plan.history.irreversible for file in plan.move.files)

    def _scripts(self, base: Path | None) -> _Scripts:
        """The SQL of each direction, and what "up" does and locks with nothing of the repository around it."""
        # Rendered where no data is: the code that renders it could print rows instead.
        with self._scratch("rendering", code=self.migrator.runs_code) as scratch:
            if self.migrator.runs_code:
                scratch.create()
            ways = ("up", "down") if self._goes_back else ("up",)
            rendered: dict[str, Script | str] = {}
            remarks: tuple[str, ...] = ()
            for way in ways:
                rendered[way] = self.migrator.render(scratch, self.plan.move, way)
                remarks = remarks or self.migrator.remarks(scratch)
            found = _Scripts(rendered, remarks=remarks)
        script = found.of("up")
        if script is None or not (self.migrator.runs_code or self.plan.dialect == POSTGRESQL):
            return found
        with self._scratch("rendered", code=False) as scratch:
            _make(scratch, base)
            traced = trace(scratch, script).statements if isinstance(scratch, PostgresScratch) else ()
            if not self.migrator.runs_code:  # the legs ran this very script
                return replace(found, traced=traced)
            done = scratch.execute(script)
            why = "" if done.ok else reason_in(excerpt(done))
            executed = scratch.facts(self.migrator) if done.ok else None
            return replace(found, executed=executed, why=why, traced=traced)

    def _violated(self, base: Path, before: DatabaseFacts, up: DatabaseFacts) -> list[Finding]:
        """What becomes of rows that break the rules which the upgrade adds; a person's own copy shows its own rows."""
        findings: list[Finding] = []
        found = violations(before, up, self.plan.dialect)
        for number, one in enumerate(found[:_VIOLATIONS]):
            broken = self.private / f"broken-{number}"
            if not any(self._made(base, script, broken, f"{number}-{part}") for part, script in enumerate(one.scripts)):
                findings.append(Finding("info", f"no row that breaks the new rule {one.rule} could be made"))
                continue
            with self._scratch(f"violated-{number}", code=self.migrator.runs_code) as scratch:
                scratch.load(broken)
                done = self.migrator.up(scratch, self.plan.move)
                severity = "error" if self.plan.dialect == SQLITE else "warning"
                said = excerpt(done) if not done.ok else ""
                findings += of_violation(one, before, self._after(scratch, done), said, severity)
        if len(found) > _VIOLATIONS:
            text = f"{len(found) - _VIOLATIONS} more new rules were not tried with rows that break them"
            findings.append(Finding("info", text))
        return findings

    def _tried(self, rules: Sequence[Laid]) -> tuple[Rule, ...]:
        """Rows that break each new rule, put into what the upgrade left, in a box of its own; filled where it is empty."""
        if not rules:
            return ()
        filled = self.private / "left-filled"
        first = (Segment("PRAGMA foreign_keys=ON;\n", False),) if self.plan.dialect == SQLITE else ()
        try:
            with self._scratch("rules", code=False) as scratch:
                scratch.load(self.private / "left")
                scratch.fill(self.migrator)
                scratch.save(filled)
                found = scratch.facts(self.migrator)

                def run(script: Script) -> tuple[bool, str]:
                    done = scratch.execute(Script((*first, *script.segments)))
                    if done.ok:
                        scratch.load(filled)
                    return done.ok, excerpt(done)

                more = tuple(Rule(one.text, f"not tried: more than {_RULES} rules are new") for one in rules[_RULES:])
                return (tried(rules[:_RULES], found, run) if found else ()) + more
        except ToolError as error:
            return tuple(Rule(one.text, f"not tried: {error}") for one in rules)

    def _made(self, base: Path, script: Script, target: Path, name: str) -> bool:
        """Whether a script could be run on the base; `target` holds the outcome."""
        with self._scratch(f"breaking-{name}", code=False) as scratch:
            scratch.load(base)
            done = scratch.execute(script)
            if done.ok:
                scratch.save(target)
            return done.ok


@dataclass(frozen=True)
class _Concerns:
    """Asks a database what its migrator worries about there, in the way that it is asked what was recorded."""

    migrator: Migrator

    @property
    def tables(self) -> frozenset[str]:
        return self.migrator.tables

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        return self.migrator.concerns(ask)


@dataclass(frozen=True)
class _Others:
    """The same for what is not the repository's."""

    migrator: Migrator

    @property
    def tables(self) -> frozenset[str]:
        return self.migrator.tables

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        return self.migrator.others(ask)


def _make(scratch: Scratch, base: Path | None) -> None:
    if base is None:
        scratch.create()
    else:
        scratch.load(base)
