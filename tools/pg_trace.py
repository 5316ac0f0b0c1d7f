"""What each statement of a migration locks and rewrites, seen on a copy of the scratch database. No forecast: there the
tables are small and nobody else is at work."""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.migrators.protocol import POSTGRESQL, Script, Segment
from backend_crew.tools.pg_scratch import PostgresScratch, check_sql
from backend_crew.tools.pg_server import ADMIN, DATABASE, OWNER
from backend_crew.tools.sql_statements import Statement, split

#: Said with every trace.
CAVEAT = (
    "seen on the rehearsal's small tables without other sessions; it does not predict times or waiting in production"
)
#: Weakest first; what only reads is left out.
LOCKS = ("RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock",
         "ExclusiveLock", "AccessExclusiveLock")  # fmt: skip
_COPY = "scratch_trace"
_EXCERPT = 200
_SEEN = """json_build_object('locks', (SELECT coalesce(json_agg(json_build_array(l.relation::bigint, l.mode)), '[]')
    FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'),
  'tables', (SELECT coalesce(json_object_agg(c.oid::bigint, json_build_array(n.nspname, c.relname,
      pg_catalog.pg_relation_filenode(c.oid)::bigint)), '{}')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'))"""


@dataclass(frozen=True)
class Traced:
    """One statement and the strongest lock on a table that it touched and that was there before the script.

    `held`: an earlier statement of the transaction took that lock already; it stays until the transaction ends.
    `lock` is "" when there is none, and where nothing can be seen: `outside` a transaction locks are gone at its end.
    """

    line: int
    sql: str
    lock: str
    table: str
    rewritten: tuple[str, ...]
    milliseconds: float
    held: bool = False
    outside: bool = False


@dataclass(frozen=True)
class Trace:
    """The statements until one failed, and PostgreSQL's words about that one, "" when all ran."""

    statements: tuple[Traced, ...]
    error: str = ""


@dataclass(frozen=True)
class _State:
    locks: frozenset[tuple[str, str]]  # (table's oid, mode)
    tables: Mapping[str, tuple[str, int]]  # by oid: its name, and its file, which a rewrite replaces


def trace(scratch: PostgresScratch, script: Script) -> Trace:
    """Runs the script as the database's owner on a copy of the scratch database, which stays as it is.

    Raises ToolFault when the copy cannot be made, ToolRefused for what only psql understands.
    """
    for segment in script.segments:
        check_sql(segment)
    server, mark = scratch.server, secrets.token_hex(8)
    steps = [(segment, one) for segment in script.segments for one in _statements(segment)]
    copy = f"CREATE DATABASE {_COPY} TEMPLATE {DATABASE} OWNER {OWNER};\n"
    made = server.psql(server.put("copy.sql", copy), role=ADMIN)
    if not made.ok:
        raise ToolFault(f"the scratch database could not be copied for the trace: {made.stderr.strip()[-500:]}")
    text = "\n".join(_lines(script, mark, scratch.search_path)) + "\n"
    done = server.psql(server.put("trace.sql", text), role=OWNER, database=_COPY)
    server.psql(server.put("drop.sql", f"DROP DATABASE {_COPY} WITH (FORCE);\n"), role=ADMIN)
    states, times = list(_states(done.stdout, mark)), [float(one) for one in _told(done.stdout, f"{mark} at")]
    known = dict(states[0].tables) if states else {}
    # One look and one time before, one after each statement.
    looks = zip(states[::2], states[1::2], strict=False)
    spent = ((end - start) * 1000 for start, end in zip(times[::2], times[1::2], strict=False))
    error = "" if done.ok else done.stderr.strip()[-1_000:] or "it was stopped or took too long"
    found = (_traced(*step, *look, known, ms) for step, look, ms in zip(steps, looks, spent, strict=False))
    return Trace(tuple(found), error)


def _statements(segment: Segment) -> Iterator[Statement]:
    """Without BEGIN and COMMIT: each segment is one transaction anyhow, and at its end the locks are gone."""
    for one in split(segment.sql, POSTGRESQL):
        if one.words[:1] not in (("BEGIN",), ("START",), ("COMMIT",), ("END",)):
            yield one


def _lines(script: Script, mark: str, search_path: str) -> Iterator[str]:
    look = f"SELECT json_build_object('{mark}', {_SEEN});"
    clock = f"SELECT json_build_object('{mark} at', extract(epoch FROM pg_catalog.clock_timestamp()));"
    yield f"SET search_path = {search_path};"
    for segment in script.segments:
        yield "BEGIN;" if segment.transactional else ""
        for one in _statements(segment):
            yield f"{look}\n{clock}\n{one.text}\n;\n{clock}\n{look}"
        yield "COMMIT;" if segment.transactional else ""


def _told(output: str, mark: str) -> Iterator[Any]:
    """What our own queries printed; whatever the script's print has no mark."""
    for line in output.splitlines():
        if line.startswith(f'{{"{mark}" : '):
            yield json.loads(line)[mark]


def _states(output: str, mark: str) -> Iterator[_State]:
    for seen in _told(output, mark):
        locks = frozenset((str(oid), str(mode)) for oid, mode in seen["locks"])
        yield _State(
            locks, {oid: (_name(schema, name), int(file or 0)) for oid, (schema, name, file) in seen["tables"].items()}
        )


def _traced(
    segment: Segment,
    statement: Statement,
    before: _State,
    after: _State,
    known: Mapping[str, tuple[str, int]],
    milliseconds: float,
) -> Traced:
    new = {oid for oid, mode in after.locks - before.locks if mode in LOCKS}
    # Locks are kept until the end of the transaction, so a second ALTER TABLE shows no new one.
    touched = {oid for oid, (name, _) in known.items() if oid in new or name == _of(statement)}
    taken = sorted(
        (one for one in after.locks if one[0] in touched and one[1] in LOCKS),
        key=lambda one: (LOCKS.index(one[1]), one[0]),
    )
    oid, mode = taken[-1] if taken else ("", "")
    rewritten = [
        name
        for table, (name, file) in before.tables.items()
        if table in after.tables and after.tables[table][1] != file
    ]
    return Traced(
        line=statement.line,
        sql=" ".join(statement.text.split())[:_EXCERPT],
        lock=mode,
        table=known[oid][0] if oid else "",
        rewritten=tuple(sorted(rewritten)),
        milliseconds=round(milliseconds, 1),
        held=bool(taken) and taken[-1] in before.locks,
        outside=not segment.transactional,
    )


def _of(statement: Statement) -> str:
    return statement.table.removeprefix("public.")


def _name(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"
