"""The one place where approved migrations reach a person's PostgreSQL database: the approved SQL, once, step by step."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from backend_crew.tools.errors import ToolError, ToolFault, ToolRefused
from backend_crew.tools.facts import Bookkeeping, SchemaChange, digest_of
from backend_crew.tools.migrators.protocol import Script
from backend_crew.tools.pg_identity import (
    Address,
    Connection,
    Identity,
    asking,
    connected,
    identity,
    in_recovery,
    lock_key,
    one,
    refuse_pooler,
    said,
)
from backend_crew.tools.pg_steps import Step, finished, invalid_indexes, shortened, steps_of
from backend_crew.tools.pg_survey import Survey, losses, not_left_alone, our_changes, survey

NO_BACKUP = (
    "No backup is made of a PostgreSQL database. A step that fails is rolled back; what was committed stays. "
    "If you have no backup of your own, make one first: pg_dump --format=custom"
)
_ENDED = "the migration ended its own transaction, so what it did was not checked; look at what it left"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.002, 0.25


@dataclass(frozen=True)
class Approved:
    """What a person approved: these bytes, for this database, from this place, and what the rehearsal showed of them.

    `schema` is the digest of the schema afterwards. Another major version than the rehearsal's tells of the same schema in
    other words here and there, so on such a one `change` is what has to happen to it, nothing less and nothing more. `shown` holds the findings of the rehearsal as `kind_of` gives
    them, those about renamed things too; `rollback` is the command that goes back, for messages.
    """

    script: Script
    identity: Identity
    start: tuple[str, ...]
    goal: tuple[str, ...]
    schema: str
    shown: frozenset[str] = frozenset()
    rollback: str = ""
    change: SchemaChange | None = None
    added_only: bool = False  # the rehearsal left every row that was there as it was


@dataclass(frozen=True)
class Limits:
    """How long to wait: for another apply to end, for a lock of any other session, and for one statement."""

    apply_s: float = 10
    lock_s: float = 5
    statement_s: float = 600


@dataclass(frozen=True)
class Tried:
    """What an earlier try noted about a step: `mark` as it was given to `Journal.before`."""

    mark: str
    done: bool = False


class Journal(Protocol):
    """The caller's own durable notes on this one approval; nothing is noted in the person's database."""

    def before(self, step: int, mark: str) -> None:
        """Right before a step can take effect; what was noted is on disk when this returns."""

    def done(self, step: int) -> None:
        """The step has taken effect."""

    def tried(self) -> Mapping[int, Tried]:
        """Everything noted by earlier tries of the same approval, the newest mark of each step."""


@dataclass(frozen=True)
class Applied:
    """What this call did; `already`: nothing, because the database had it all."""

    start: tuple[str, ...]
    goal: tuple[str, ...]
    steps: int
    seconds: float
    already: bool = False


#: The schema as the rehearsal's facts had it: sorted lines.
SchemaOf = Callable[[Connection], Sequence[str]]


def apply_postgresql(
    address: Address,
    approved: Approved,
    book: Bookkeeping,
    schema_of: SchemaOf,
    journal: Journal,
    *,
    limits: Limits | None = None,
    stop: Callable[[], bool] | None = None,
) -> Applied:
    """Runs the approved script on the approved database, exactly once, whatever was interrupted or runs beside it.

    Each transactional segment takes effect wholly or not at all; the last one only if the database then has the schema
    that the rehearsal gave and nothing is gone that it did not show. ToolRefused when this is another database or
    place, or the migration does something else than in the rehearsal; ToolFault when the database cannot be reached,
    is busy, or was left in a state that a person has to look at. The message says what stays and how to go back.
    """
    started, limits = time.monotonic(), limits or Limits()
    steps = steps_of(approved.script)
    with connected(address) as connection:
        try:
            refuse_pooler(connection)
            _check_database(connection, approved.identity)
            _lock(connection, limits, approved.identity)
            _configure(connection, limits)
            run = _Run(connection, approved, book, schema_of, journal, limits)
            count = run.all(steps, stop or (lambda: False))
        except psycopg.Error as error:
            raise ToolFault(f"{approved.identity.name} did not answer as expected: {said(error)}") from error
    return Applied(approved.start, approved.goal, count, time.monotonic() - started, already=not count)


def _check_database(connection: Connection, expected: Identity) -> None:
    found = identity(connection)
    if found != expected:
        raise ToolRefused(
            f"this is another database ({found.text}) than the one that the approval was for ({expected.text}); "
            "nothing was applied. Rehearse and approve again"
        )
    if in_recovery(connection):
        raise ToolRefused(f"{found.name} is a standby (in recovery) and takes no writes; name the primary")


def _lock(connection: Connection, limits: Limits, database: Identity) -> None:
    """One apply at a time; the lock belongs to this session and goes with it, however it ends."""
    deadline, wait = time.monotonic() + limits.apply_s, _FIRST_WAIT_S
    # Not pg_advisory_lock(): a session that waits in it holds a snapshot, for which CREATE INDEX CONCURRENTLY waits.
    while not one(connection, "SELECT pg_try_advisory_lock(%s)", lock_key(database))[0]:
        if time.monotonic() > deadline:
            raise ToolFault(
                f"another apply to {database.name} has been running for {limits.apply_s:g} s; nothing was applied. "
                "Wait for it to end and apply again"
            )
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_S)


def _configure(connection: Connection, limits: Limits) -> None:
    for name, seconds in (("lock_timeout", limits.lock_s), ("statement_timeout", limits.statement_s)):
        one(connection, "SELECT set_config(%s, %s, false)", name, str(max(1, round(seconds * 1000))))
    with contextlib.suppress(psycopg.Error):  # not on every system: the server notices when we are gone
        connection.execute("SET client_connection_check_interval = '1s'")


class _Run:
    """One apply, with the lock held."""

    def __init__(
        self,
        connection: Connection,
        approved: Approved,
        book: Bookkeeping,
        schema_of: SchemaOf,
        journal: Journal,
        limits: Limits,
    ) -> None:
        self._connection, self._approved, self._book = connection, approved, book
        self._schema_of, self._journal, self._limits = schema_of, journal, limits
        self._committed = 0  # steps of this approval that have taken effect, now or in an earlier try
        self._before: Survey = {}
        self._schema = ""  # the digest that it has to end with

    def all(self, steps: tuple[Step, ...], stop: Callable[[], bool]) -> int:
        """How many steps this call ran."""
        first, expected = self._resumed(steps)
        self._schema = self._schema_to_come()
        found, goal = self._recorded(), self._approved.goal
        if first == len(steps) and found == goal and steps[-1].alone:
            self._check_end(found, took_effect=True)
        if found == goal and (expected != goal or first == len(steps)):
            return 0
        self._check_place(found, expected)
        if not self._schema:
            raise ToolRefused(
                f"the schema of {self._approved.identity.name} is not such that the approved change can be made to it; "
                f"{self._standing()}. Rehearse and approve again"
            )
        for step in steps[:first]:
            for setting in step.settings:
                self._connection.execute(cast(Any, setting))
        with self._explained("counting rows", ours=True):
            self._before = survey(self._connection, self._book.tables)
        for number, step in enumerate(steps[first:], first):
            if stop():
                raise ToolRefused(f"stopped; {self._standing()}")
            last = number == len(steps) - 1
            run_it = self._outside if step.alone else self._inside
            expected = run_it(number, step, expected, last)
            self._committed = number + 1
        return len(steps) - first

    def _schema_to_come(self) -> str:
        """The digest of the schema at the end; "" where this database, as it is, cannot be brought there."""
        change, noted = self._approved.change, self._journal.tried().get(0)
        if change is None or change.major in (None, self._connection.info.server_version // 10_000):
            return self._approved.schema
        if noted is not None:  # worked out before the first step
            return str(json.loads(noted.mark).get("schema", self._approved.schema))
        with self._explained("reading the schema", ours=True):
            lines = change.made_on(self._schema_of(self._connection))
        return "" if lines is None else digest_of(lines)

    def _resumed(self, steps: tuple[Step, ...]) -> tuple[int, tuple[str, ...]]:
        """How many steps earlier tries have brought about, and the place that the database was at then."""
        place, tried = self._approved.start, self._journal.tried()
        for number, step in enumerate(steps):
            noted = tried.get(number)
            if noted is None:
                return number, place
            mark: dict[str, Any] = json.loads(noted.mark)
            if not noted.done:
                if not (finished(self._connection, step, True) if step.alone else self._committed_as(mark, step)):
                    return number, place
                self._journal.done(number)
            place = tuple(mark["to"])
            self._committed = number + 1
        return len(steps), place

    def _committed_as(self, mark: Mapping[str, Any], step: Step) -> bool:
        """PostgreSQL remembers of each recent transaction whether it was committed."""
        try:
            status = one(self._connection, "SELECT pg_xact_status(%s::text::xid8)", mark["xid"])[0]
        except psycopg.Error:  # a number that this database has not come to: it was put back to an older state
            status = None
        if status in {"committed", "aborted"}:
            return bool(status == "committed")
        if status is None and mark["to"] != mark["from"]:
            return self._recorded() == tuple(mark["to"])
        raise ToolRefused(
            f"an earlier try was interrupted in {shortened(step.statements[0])!r}, and {self._approved.identity.name} does "
            "not tell any more whether it was committed. Look, finish by hand what is missing, and rehearse again"
        )

    def _recorded(self) -> tuple[str, ...]:
        return self._book.recorded(asking(self._connection))

    def _check_place(self, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
        if found != expected:
            raise ToolRefused(
                f"{self._approved.identity.name} is at {_place(found)}, and the approval was for a database at "
                f"{_place(expected)}; {self._standing()}. Rehearse and approve again"
            )

    def _inside(self, number: int, step: Step, place: tuple[str, ...], last: bool) -> tuple[str, ...]:
        """A step in one transaction; everything is checked before it takes effect."""
        connection = self._connection
        try:
            connection.execute("BEGIN")
            self._hold_bookkeeping()
            self._check_place(self._recorded(), place)
            xid = self._xid()
            for statement in step.statements:
                self._execute(statement)
            if self._xid() != xid:
                raise ToolFault(_ENDED)
            reached = self._recorded()
            if last:
                self._check_end(reached)
            self._check_losses(inside=True)
            self._journal.before(number, self._mark(xid=xid, place=place, reached=reached))
            self._commit()
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        self._journal.done(number)
        return reached

    def _hold_bookkeeping(self) -> None:
        """Nobody else writes the tool's own table until this step has ended, also without knowing of our lock."""
        if not one(self._connection, "SELECT pg_try_advisory_lock(%s)", lock_key(self._approved.identity))[0]:
            raise ToolRefused(f"the migration gave up the lock that keeps others out; {self._standing()}")
        rows = self._connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = ANY(%s) AND has_table_privilege(c.oid, 'UPDATE')"
            " ORDER BY c.oid",
            (list(self._book.tables),),
        ).fetchall()
        for row in rows:
            table = sql.Identifier(str(row[0]), str(row[1]))
            with self._explained(f"LOCK TABLE {row[1]}", ours=True):
                self._connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))

    def _xid(self) -> str:
        if self._connection.info.transaction_status != TransactionStatus.INTRANS:
            raise ToolFault(_ENDED)
        return str(one(self._connection, "SELECT pg_current_xact_id()::text")[0])

    def _execute(self, statement: str) -> None:
        with self._explained(statement):
            self._connection.execute(cast(Any, statement))

    def _commit(self) -> None:
        try:
            with self._explained("COMMIT"):
                self._connection.execute("COMMIT")
        except ToolError:
            if self._connection.broken:
                raise ToolFault(
                    f"the connection to {self._approved.identity.name} was lost at COMMIT: apply again, which finds out "
                    "whether it took effect, and finishes"
                ) from None
            raise

    def _outside(self, number: int, step: Step, place: tuple[str, ...], last: bool) -> tuple[str, ...]:
        """A step that PostgreSQL runs in no transaction: noted, looked up, run."""
        statement = step.statements[0]
        self._check_place(self._recorded(), place)
        begun = number in self._journal.tried()
        there = finished(self._connection, step, begun)
        self._journal.before(number, self._mark(statement=statement, place=place, reached=place))
        if not there:
            invalid = invalid_indexes(self._connection)
            try:
                self._execute(statement)
            except ToolError as error:
                left = self._left(invalid)
                raise type(error)(f"{error}{left}") from error
        if last:
            self._committed = number + 1
            self._check_end(self._recorded(), took_effect=True)
            self._check_losses()
        self._journal.done(number)
        return place

    def _mark(self, place: tuple[str, ...], reached: tuple[str, ...], **more: str) -> str:
        return json.dumps({**more, "from": place, "to": reached, "schema": self._schema})

    def _left(self, before: Mapping[str, str]) -> str:
        """What a failed CONCURRENTLY leaves behind, with the way to be rid of it."""
        if self._connection.broken:
            return ""
        new = sorted(command for name, command in invalid_indexes(self._connection).items() if name not in before)
        return f". It left an INVALID index; remove it with {' '.join(new)} and apply again" if new else ""

    def _check_end(self, reached: tuple[str, ...], took_effect: bool = False) -> None:
        approved, kind = self._approved, ToolFault if took_effect else ToolRefused
        if reached != approved.goal:
            raise kind(f"the script ends at {_place(reached)} instead of {_place(approved.goal)}; {self._standing()}")
        with self._explained("reading the schema", ours=True):
            schema = tuple(self._schema_of(self._connection))
        if digest_of(schema) != self._schema:
            has = "has" if took_effect else "would have"
            raise kind(
                f"{approved.identity.name} {has} another schema than in the rehearsal that was approved; "
                f"{self._standing()}. Rehearse and approve again"
            )

    def _check_losses(self, inside: bool = False) -> None:
        with self._explained("counting rows", ours=True):
            ours = our_changes(self._connection) if inside else None
            now = survey(self._connection, self._book.tables, self._before, ours)
        if inside and self._approved.added_only and (why := not_left_alone(self._before, now, ours)):
            raise ToolRefused(
                f"the rehearsal that was approved only added, and now {why}; {self._standing()}. Rehearse and approve again"
            )
        if new := losses(self._before, now, ours, self._approved.shown):
            kind = ToolRefused if inside else ToolFault
            raise kind(
                f"what the rehearsal did not show: {'; '.join(new)}; {self._standing()}. Rehearse and approve again"
            )

    def _standing(self) -> str:
        """What a person finds in the database now."""
        if not self._committed:
            return "nothing was applied"
        back = f"; to go back: {self._approved.rollback}" if self._approved.rollback else ""
        return f"the first {self._committed} of its steps took effect and stay{back}"

    @contextlib.contextmanager
    def _explained(self, statement: str, ours: bool = False) -> Iterator[None]:
        """PostgreSQL's errors as ours; `ours`: at a statement that is none of the migration's."""
        name = shortened(statement)
        try:
            yield
        except errors.LockNotAvailable as error:
            raise ToolFault(
                f"{name!r} waited {self._limits.lock_s:g} s for a lock that another session holds, and gave up; "
                f"{self._standing()}. End what holds it, or wait for a quieter time, and apply again"
            ) from error
        except (errors.DeadlockDetected, errors.SerializationFailure) as error:
            raise ToolFault(
                f"{name!r} met another session that wanted the same ({said(error)}); {self._standing()}. Apply again"
            ) from error
        except errors.QueryCanceled as error:
            raise ToolFault(
                f"{name!r} was cancelled ({said(error)}; the limit is {self._limits.statement_s:g} s a statement); "
                f"{self._standing()}"
            ) from error
        except psycopg.Error as error:
            if self._connection.broken:
                raise ToolFault(
                    f"the connection was lost at {name!r} ({said(error)}); apply again, which finds out how far it came"
                ) from error
            if ours:
                raise ToolFault(f"{statement} failed: {said(error)}; {self._standing()}") from error
            raise ToolRefused(f"the migration failed at {name!r}: {said(error)}; {self._standing()}") from error


def _place(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no revision"
