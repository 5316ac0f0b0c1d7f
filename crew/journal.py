"""The only writer of history: runs, task outputs, gates, decisions, intents, events and usage."""

import contextlib
import fcntl
import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from backend_crew.crew import ledger, settings
from backend_crew.crew.chain import GENESIS, Chain
from backend_crew.crew.errors import DecisionExpired, DecisionRefused, JournalError, LeaseLost, UsageError
from backend_crew.crew.model import Status
from backend_crew.crew.rows import Decision, GateRow, Output, Run, Totals, canonical, now, sha256
from backend_crew.crew.tables import EVENTS, GATES, INTENTS, METADATA, OUTPUTS, RUNS, USAGE
from backend_crew.tools import secrets

__all__ = [
    "GENESIS",
    "PARTIAL",
    "Decision",
    "GateRow",
    "Journal",
    "Output",
    "Run",
    "Totals",
    "canonical",
    "now",
    "sha256",
]

PARTIAL = "Partial"
"""The kind of an output that only keeps the work of a task that a person interrupted with a decision."""


class Journal:
    """History in SQLite (the default) or any database that a URL names."""

    def __init__(self, home: Path, url: str | None = None, key: bytes | None = None) -> None:
        """`key` seals decisions: without it they can be checked, but whoever writes the database can rewrite them."""
        self.home, self._key = home, key
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._engine = sa.create_engine(url or f"sqlite:///{home / 'journal.db'}")
            # a program that forgets to close it must not be warned about handles that it never saw
            weakref.finalize(self, self._engine.dispose)
            if self._engine.dialect.name == "sqlite":
                _tune_sqlite(self._engine)
            METADATA.create_all(self._engine)
        except ImportError as error:
            raise JournalError(f"the journal's database needs a driver: pip install {error.name}") from error
        except (OSError, DatabaseError, ValueError, sa.exc.ArgumentError) as error:
            raise JournalError(f"the journal in {home} cannot be opened: {_first_line(error)}") from error
        self._epochs: dict[str, int] = {}
        self.redact = secrets.of_environment(settings.environment())
        """Takes secrets out of everything that is recorded; whoever opens a run adds those of its repository."""
        self.listener: Callable[[str, str, Mapping[str, Any]], None] | None = None
        """Told of each event after it is recorded; progress displays and streams hang here."""

    def close(self) -> None:
        """Give the database handle back."""
        self._engine.dispose()

    def folder(self, run: str) -> Path:
        """The run's private folder."""
        folder = self.home / "runs" / run
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"the run's folder {folder} cannot be made: {error.strerror}") from error
        return folder

    # -- runs ---------------------------------------------------------------------------------------------------

    def create(self, run: Run) -> None:
        """Record a new run."""
        values = {**vars(run), "options": canonical(run.options), "profile": canonical(run.profile)}
        with self._write() as connection:
            connection.execute(sa.insert(RUNS).values(**values))

    def run(self, name: str) -> Run:
        """The run of that id, or the only one whose id starts so; raises UsageError."""
        rows = self._all(sa.select(RUNS).where(RUNS.c.id.startswith(name, autoescape=True)))
        exact = [row for row in rows if row.id == name]
        if len(exact or rows) != 1 or not name:
            known = ", ".join(row.id for row in rows[:5]) or "none of that name; `backend-crew runs` lists them"
            raise UsageError(f"no single run is called {name!r}: {known}")
        return _run((exact or rows)[0])

    def runs(self) -> tuple[Run, ...]:
        """Every run, newest first."""
        return tuple(_run(row) for row in self._all(sa.select(RUNS).order_by(RUNS.c.created.desc(), RUNS.c.id)))

    def set_status(self, run: str, status: Status, reason: str = "") -> None:
        """Record how the run stands now."""
        with self._write(run) as connection:
            connection.execute(
                sa.update(RUNS).where(RUNS.c.id == run).values(status=status.value, reason=self.redact(reason)[:2000])
            )

    def set_options(self, run: str, options: Mapping[str, Any]) -> None:
        """Record changed options (larger caps, for example)."""
        with self._write() as connection:
            connection.execute(sa.update(RUNS).where(RUNS.c.id == run).values(options=canonical(options)))

    @contextlib.contextmanager
    def lease(self, run: str) -> Iterator[None]:
        """Hold the run: no second process can write for it meanwhile; raises LeaseLost."""
        path = self.folder(run) / "lock"
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LeaseLost(f"run {run} is being worked on by another process; wait for it or stop it") from error
            with self._write() as connection:
                connection.execute(sa.update(RUNS).where(RUNS.c.id == run).values(epoch=RUNS.c.epoch + 1))
                epoch = connection.execute(sa.select(RUNS.c.epoch).where(RUNS.c.id == run)).scalar_one()
            self._epochs[run] = epoch
            try:
                yield
            finally:
                self._epochs.pop(run, None)
        finally:
            os.close(handle)

    def holds(self, run: str) -> bool:
        """Whether this journal holds the run's lease."""
        return run in self._epochs

    def check_held(self, run: str) -> None:
        """Raises LeaseLost unless this journal, and no later one, is working on the run."""
        epochs = self._all(sa.select(RUNS.c.epoch).where(RUNS.c.id == run))
        if run not in self._epochs or [row.epoch for row in epochs] != [self._epochs[run]]:
            raise LeaseLost(f"run {run} is not being worked on by this program, or another one took it over")

    # -- outputs ------------------------------------------------------------------------------------------------

    def record(self, run: str, task: str, artifact: str, payload: Mapping[str, Any], commit: str | None) -> Output:
        """Record what a task handed in; the newest round counts."""
        text = canonical(self.redact.deep(payload))
        with self._write(run) as connection:
            last = connection.execute(
                sa.select(sa.func.max(OUTPUTS.c.round)).where(OUTPUTS.c.run == run, OUTPUTS.c.task == task)
            ).scalar()
            connection.execute(
                sa.update(OUTPUTS).where(OUTPUTS.c.run == run, OUTPUTS.c.task == task).values(active=False)
            )
            values = {"run": run, "task": task, "round": (last or 0) + 1, "artifact": artifact, "payload": text}
            more = {"digest": sha256(text), "commit_id": commit, "at": now(), "active": True}
            connection.execute(sa.insert(OUTPUTS).values(**values, **more))
        found = self.output(run, task)
        assert found is not None
        return found

    def output(self, run: str, task: str) -> Output | None:
        """The task's output that counts now, if there is one."""
        query = sa.select(OUTPUTS).where(OUTPUTS.c.run == run, OUTPUTS.c.task == task, OUTPUTS.c.active)
        rows = self._all(query)
        return _output(rows[0]) if rows else None

    def outputs(self, run: str, task: str | None = None) -> tuple[Output, ...]:
        """Every active output of a run, or every round of one task, in the order of recording."""
        query = sa.select(OUTPUTS).where(OUTPUTS.c.run == run).order_by(OUTPUTS.c.seq)
        query = query.where(OUTPUTS.c.task == task) if task else query.where(OUTPUTS.c.active)
        return tuple(_output(row) for row in self._all(query))

    def round(self, run: str, task: str) -> int:
        """The round that the task is in: 1 before anything was recorded."""
        query = sa.select(sa.func.max(OUTPUTS.c.round)).where(OUTPUTS.c.run == run, OUTPUTS.c.task == task)
        return int(self._all(query)[0][0] or 0) + 1

    def invalidate(self, run: str, tasks: tuple[str, ...]) -> None:
        """Take tasks' outputs out of force; they stay readable as earlier rounds."""
        with self._write(run) as connection:
            connection.execute(
                sa.update(OUTPUTS).where(OUTPUTS.c.run == run, OUTPUTS.c.task.in_(tasks)).values(active=False)
            )

    def head(self, run: str, *, partial: bool = True) -> str | None:
        """The commit that the newest recorded work left, whether or not it still counts."""
        query = sa.select(OUTPUTS.c.commit_id).where(OUTPUTS.c.run == run, OUTPUTS.c.commit_id.is_not(None))
        query = query if partial else query.where(OUTPUTS.c.artifact != PARTIAL)
        rows = self._all(query.order_by(OUTPUTS.c.seq.desc()).limit(1))
        return str(rows[0][0]) if rows else None

    # -- gates and decisions ------------------------------------------------------------------------------------

    def open_gate(self, run: str, gate: str, packet: Mapping[str, Any], digest: str) -> GateRow:
        """Show a packet at a gate; the same packet again changes nothing, another one opens a new round."""
        current = self.gate(run, gate)
        if current and current.digest == digest:
            return current
        with self._write(run) as connection:
            connection.execute(sa.update(GATES).where(GATES.c.run == run, GATES.c.gate == gate).values(open=False))
            values = {"run": run, "gate": gate, "round": (current.round if current else 0) + 1}
            more = {"packet": canonical(packet), "digest": digest, "at": now(), "open": True}
            connection.execute(sa.insert(GATES).values(**values, **more))
        opened = self.gate(run, gate)
        assert opened is not None
        return opened

    def gate(self, run: str, gate: str) -> GateRow | None:
        """The newest round of a gate."""
        rows = self.gates(run, gate)
        return rows[-1] if rows else None

    def gates(self, run: str, gate: str | None = None) -> tuple[GateRow, ...]:
        """Every round of every gate, in the order of opening."""
        query = sa.select(GATES).where(GATES.c.run == run).order_by(GATES.c.seq)
        return tuple(_gate(row) for row in self._all(query.where(GATES.c.gate == gate) if gate else query))

    def save_draft(self, run: str, row: GateRow, draft: Mapping[str, Any] | None) -> None:
        """Keep answers that the person still has to confirm."""
        with self._write() as connection:
            where = (GATES.c.run == run, GATES.c.gate == row.gate, GATES.c.round == row.round, GATES.c.open)
            connection.execute(sa.update(GATES).where(*where).values(draft=None if draft is None else canonical(draft)))

    def decide(self, decision: Decision) -> Decision:
        """Record a decision about an open gate, once, in one transaction; raises DecisionRefused."""
        with self._decided_once(decision), self._write() as connection:
            ledger.append(connection, Chain(decision.run, self._key), decision)
        return self.decisions(decision.run)[-1]

    def decisions(self, run: str) -> tuple[Decision, ...]:
        """Every decision of a run as it is recorded, oldest first."""
        return tuple(ledger.decision(row) for row in self._all(ledger.decisions_of(run)))

    def decision(self, run: str, gate: str, digest: str) -> Decision | None:
        """The newest decision about exactly that digest at that gate, from a chain that holds; raises JournalError."""
        rows = self._all(ledger.decisions_of(run))
        ledger.check(Chain(run, self._key), rows)
        found = [row for row in rows if row.gate == gate and row.digest == digest]
        return ledger.decision(found[-1]) if found else None

    def verify(self, run: str) -> str:
        """Check the chain of decisions and what each was about; returns its head, raises JournalError."""
        rows = self._all(ledger.decisions_of(run))
        head = ledger.check(Chain(run, self._key), rows)
        ledger.check_shown(run, rows, self._all(sa.select(GATES).where(GATES.c.run == run)))
        return head

    @property
    def keyed(self) -> bool:
        """Whether decisions are sealed with a key."""
        return self._key is not None

    def consume(
        self, run: str, gate: str, digest: str, effect: str, *, hours: float | None, detail: Mapping[str, Any]
    ) -> Decision:
        """Take the one use of an approval, checked and recorded in one transaction; raises DecisionRefused.

        It must be the newest decision at the newest round of the gate, about exactly this digest, and at most `hours`
        old. What a process that died had begun is taken up again by whoever holds the run after it.
        """
        try:
            with self._write(run) as connection:
                decision = ledger.approval(connection, Chain(run, self._key), gate, digest)
                if decision.expired(hours):
                    raise DecisionExpired(
                        f"the approval at gate {gate!r} is of {decision.at} and was good for {hours:g} hours; "
                        "look at it again and approve it anew"
                    )
                epoch = self._epochs.get(run, 0)
                ledger.begin_use(connection, decision, effect, {**self.redact.deep(detail), "epoch": epoch})
                return decision
        except IntegrityError as error:
            raise DecisionRefused(f"the approval at gate {gate!r} of run {run} was used already") from error

    @contextlib.contextmanager
    def _decided_once(self, decision: Decision) -> Iterator[None]:
        """Where a database lets two decisions race, its unique key lets one of them through."""
        try:
            yield
        except IntegrityError as error:
            raise DecisionRefused(f"gate {decision.gate!r} of run {decision.run} is already decided") from error

    # -- intents, events, usage ---------------------------------------------------------------------------------

    def intend(self, run: str, kind: str, key: str, detail: Mapping[str, Any]) -> bool:
        """Record that an effect is about to happen; False when that very effect was begun before."""
        try:
            with self._write(run) as connection:
                values = {
                    "run": run,
                    "kind": kind,
                    "key": key,
                    "detail": canonical(self.redact.deep(detail)),
                    "state": "begun",
                }
                connection.execute(sa.insert(INTENTS).values(**values, at=now()))
        except IntegrityError:
            return False
        return True

    def settle(self, run: str, kind: str, key: str, state: str, detail: Mapping[str, Any]) -> None:
        """Record how an effect ended."""
        with self._write(run) as connection:
            where = (INTENTS.c.run == run, INTENTS.c.kind == kind, INTENTS.c.key == key)
            connection.execute(
                sa.update(INTENTS).where(*where).values(state=state, detail=canonical(self.redact.deep(detail)))
            )

    def intent(self, run: str, kind: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        """The state and detail of an effect that was begun."""
        where = (INTENTS.c.run == run, INTENTS.c.kind == kind, INTENTS.c.key == key)
        rows = self._all(sa.select(INTENTS).where(*where))
        return (str(rows[0].state), json.loads(rows[0].detail)) if rows else None

    def event(self, run: str, kind: str, **data: Any) -> None:
        """Append one line to the run's event log."""
        at, data = now(), self.redact.deep(data)
        with self._write(run, durable=False) as connection:
            connection.execute(sa.insert(EVENTS).values(run=run, at=at, kind=kind, data=canonical(data)))
        line = canonical({"at": at, "event": kind, **data})
        path = self.folder(run) / "events.jsonl"
        try:
            with path.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        except OSError as error:
            raise JournalError(f"{path} cannot be written: {error.strerror}") from error
        if self.listener:
            self.listener(run, kind, data)

    def events(self, run: str, kind: str | None = None) -> tuple[Mapping[str, Any], ...]:
        """The run's events in order, each with `at` and `event`."""
        query = sa.select(EVENTS).where(EVENTS.c.run == run).order_by(EVENTS.c.seq)
        rows = self._all(query.where(EVENTS.c.kind == kind) if kind else query)
        return tuple({"at": row.at, "event": row.kind, **json.loads(row.data)} for row in rows)

    def spend(self, run: str, **values: Any) -> None:
        """Record one model call: stage, task, model, prompt_tokens, completion_tokens, cost, seconds."""
        with self._write(run, durable=False) as connection:
            connection.execute(sa.insert(USAGE).values(run=run, at=now(), **values))
        if self.listener:
            self.listener(run, "model call", values)

    def totals(self, run: str, stage: str | None = None) -> Totals:
        """What was spent so far, by the whole run or in one stage."""
        columns = (USAGE.c.prompt_tokens, USAGE.c.completion_tokens, USAGE.c.cost)
        query = sa.select(*columns).where(USAGE.c.run == run)
        total = Totals()
        for row in self._all(query.where(USAGE.c.stage == stage) if stage else query):
            total = total.plus(*row)
        return total

    # -- the connection -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self, run: str | None = None, *, durable: bool = True) -> Iterator[sa.Connection]:
        """One transaction; with a run, its lease must still be ours.

        What is not `durable` survives a killed process, but not a power cut: good enough for events and usage, which
        are written around every model call.
        """
        try:
            options = {"writes": True, "durable": durable}
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                if run is not None and run in self._epochs:
                    epoch = connection.execute(sa.select(RUNS.c.epoch).where(RUNS.c.id == run)).scalar()
                    if epoch != self._epochs[run]:
                        raise LeaseLost(f"run {run} was taken over by another process")
                yield connection
        except IntegrityError:
            raise
        except (DatabaseError, UnicodeEncodeError) as error:
            raise JournalError(f"the journal in {self.home} cannot be written: {_first_line(error)}") from error

    def _all(self, query: sa.Select[Any]) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(query).all())
        except DatabaseError as error:
            raise JournalError(f"the journal in {self.home} cannot be read: {_first_line(error)}") from error


def _tune_sqlite(engine: sa.Engine) -> None:
    """Write-ahead log, durability as each write asks for, and write locks taken at once instead of half-way through."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writes"):
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options['durable'] else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _run(row: Any) -> Run:
    values = dict(row._mapping)
    values.update(options=json.loads(row.options), profile=json.loads(row.profile), status=Status(row.status))
    return Run(**values)


def _output(row: Any) -> Output:
    return Output(
        row.seq, row.task, row.round, row.artifact, json.loads(row.payload), row.digest, row.commit_id, row.at
    )


def _gate(row: Any) -> GateRow:
    draft = json.loads(row.draft) if row.draft else None
    return GateRow(row.gate, row.round, json.loads(row.packet), row.digest, row.at, draft, bool(row.open))
