"""What a person's PostgreSQL holds, counted cheaply around a migration, and what of it this session took away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from psycopg import sql

from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.pg_identity import Connection
from backend_crew.tools.rehearsal_findings import after_up, kind_of

#: Tables larger than this are not read: their rows are what PostgreSQL's statistics say.
LARGE_BYTES = 32 * 1024 * 1024
_TABLES = """
SELECT c.oid::bigint, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname, n.nspname::text,
  c.relname::text, pg_relation_filenode(c.oid)::bigint, pg_relation_size(c.oid), greatest(c.reltuples, 1)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND has_table_privilege(c.oid, 'SELECT')
"""
_COLUMNS = """
SELECT attrelid::bigint, attnum, attname::text FROM pg_attribute
WHERE attnum > 0 AND NOT attisdropped AND attrelid = ANY(%s::oid[]) ORDER BY 1, 2
"""
_NULLS = "SELECT attname::text, null_frac FROM pg_stats WHERE schemaname = %s AND tablename = %s"
_OURS = """
SELECT relid::bigint, greatest(n_tup_del - n_tup_ins, 0) FROM pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""


@dataclass(frozen=True)
class Table:
    """A table by what a renaming leaves alone: `file` changes when it is rewritten or truncated."""

    name: str
    file: int
    bytes: int
    rows: int
    exact: bool
    columns: Mapping[int, tuple[str, int]]  # name and values that are not null, by PostgreSQL's number of the column


Survey = Mapping[int, Table]


def survey(
    connection: Connection, own: frozenset[str], before: Survey | None = None, ours: Mapping[int, int] | None = None
) -> Survey:
    """Every table but the tool's `own`; counted in the way that it was `before`, so that the two compare.

    Within a transaction `ours` (see `our_changes`) tells which tables need no second look.
    """
    rows = [row for row in connection.execute(cast(Any, _TABLES)).fetchall() if str(row[3]).lower() not in own]
    columns: dict[int, dict[int, str]] = {int(row[0]): {} for row in rows}
    for oid, number, name in connection.execute(_COLUMNS, (list(columns),)).fetchall():
        columns[oid][number] = name
    found: dict[int, Table] = {}
    for oid, shown, schema, name, file, size, estimate in rows:
        known = before.get(oid) if before else None
        exact = known.exact if known else size <= LARGE_BYTES
        if known and ours is not None and oid not in ours and known.file == (file or 0):
            counts = known.rows, {number: (each, _had(known, number)) for number, each in columns[oid].items()}
        elif exact:
            counts = _counted(connection, schema, name, columns[oid])
        else:
            nulls: dict[str, float] = dict(connection.execute(_NULLS, (schema, name)).fetchall())
            counts = estimate, {at: (each, _values(estimate, nulls.get(each))) for at, each in columns[oid].items()}
        found[oid] = Table(shown, file or 0, size, counts[0], exact, counts[1])
    return found


def _counted(
    connection: Connection, schema: str, name: str, columns: Mapping[int, str]
) -> tuple[int, dict[int, tuple[str, int]]]:
    wanted = [sql.SQL("count(*)"), *(sql.SQL("count({})").format(sql.Identifier(each)) for each in columns.values())]
    query = sql.SQL("SELECT {} FROM ONLY {}").format(sql.SQL(", ").join(wanted), sql.Identifier(schema, name))
    row = connection.execute(query).fetchone() or ()
    return int(row[0]), {number: (each, row[at]) for at, (number, each) in enumerate(columns.items(), 1)}


def _values(rows: int, nulls: float | None) -> int:
    """Where there are no statistics, any value counts as one that can be lost."""
    return 0 if nulls == 1 else max(1, round(rows * (1 - (nulls or 0))))


def _had(table: Table, number: int) -> int:
    return table.columns[number][1] if number in table.columns else 0


def our_changes(connection: Connection) -> dict[int, int] | None:
    """The tables that the open transaction wrote to, with how many rows it took from each, whatever others do meanwhile.

    None where the server keeps no count.
    """
    if connection.execute("SELECT current_setting('track_counts')").fetchone() != ("on",):
        return None
    return {int(oid): int(count) for oid, count in connection.execute(cast(Any, _OURS)).fetchall()}


def losses(before: Survey, after: Survey, ours: Mapping[int, int] | None, shown: frozenset[str]) -> list[str]:
    """What is gone and was not among the findings `shown` (as `kind_of` gives them), in the words of a rehearsal.

    Seen by what a thing is, a renaming takes nothing away; seen by its name, as the rehearsal saw it, a table that is
    built anew under the old name does not. What is gone is gone in both views.
    """
    new = {table.name: _new(before.get(oid), table, oid, ours) for oid, table in after.items()}
    views = []
    for renamed in (True, False):
        now = after if renamed else {}
        old = {now.get(oid, table).name: _old(table, now.get(oid)) for oid, table in before.items()}
        found = after_up(DatabaseFacts((), (), old, {}), DatabaseFacts((), (), new, {}))
        views.append([one.text for one in found if one.severity == "error" and not _was_shown(one.text, shown)])
    return views[0] if all(views) else []


def not_left_alone(before: Survey, after: Survey, ours: Mapping[int, int] | None) -> str:
    """Which tables that were there the open transaction wrote rows to or replaced, whatever the rows; "" for none."""
    if ours is None:
        return "the server does not count (track_counts is off), so whether rows were left alone cannot be told"
    touched = sorted(table.name for oid, table in before.items() if oid in ours or oid not in after)
    return f"rows of {', '.join(touched)} were written" if touched else ""


def _was_shown(text: str, shown: frozenset[str]) -> bool:
    """Also when the rehearsal saw the values arrive under another name, which takes checksums to tell."""
    subject = " ".join(kind_of(text).split()[:2])
    return kind_of(text) in shown or (
        " is dropped" in text and any(one.startswith(f"{subject} became ") for one in shown)
    )


def _old(table: Table, after: Table | None) -> TableFacts:
    names = {number: after.columns[number][0] for number in after.columns} if after else {}
    return TableFacts(table.rows, {names.get(number, name): count for number, (name, count) in table.columns.items()})


def _new(before: Table | None, after: Table, oid: int, ours: Mapping[int, int] | None) -> TableFacts:
    values = {name: count for name, count in after.columns.values()}
    if before is None:
        return TableFacts(after.rows, values)
    gone = (ours or {}).get(oid, 0)
    kept = {after.columns[number][0]: count for number, (_, count) in before.columns.items() if number in after.columns}
    if not after.exact:
        rows = 0 if before.bytes and not after.bytes else max(before.rows - gone, 0)
        return TableFacts(rows, values | kept)
    if ours is None or before.file != after.file:
        return TableFacts(after.rows, values)
    # Others go on working: what they delete is no loss of ours, and what they add hides none.
    others = before.rows - gone - after.rows
    corrected = {
        name: min(count + others, kept.get(name, count)) if others > 0 else count for name, count in values.items()
    }
    return TableFacts(before.rows - gone, corrected)
