"""A few made-up rows for every table of a SQLite database, so that a rehearsal without data still meets data."""

import contextlib
import re
import sqlite3
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.sqlite import checks, quoted, table_names

Value = int | float | str | bytes | None

ROWS = 3  # an ordinary one, one with edge values, one with NULL wherever it is allowed
# With a gap, as wherever a row was ever deleted: the number of rows is no free key.
NUMBERS = (1, 2, 4)
_TAME = 2  # the variant without edge values, for tables whose CHECK refuses them
_BARE = 4  # the same with nothing wherever that is allowed, and the first of listed values: columns can hang together
_DEADLINE_S = 20.0
_UNICODE = "Zoë O'Brien — 東京 🎉 %s"
_MOMENTS = ("2024-02-29 23:59:59.999999", "1999-12-31 00:00:00.000000", "2038-01-19 03:14:08.000000")
_JSON = ('{"name": "Zoë", "tags": []}', "{}", "[]")


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str  # the declared type in capitals
    required: bool
    distinct: bool  # part of a primary key or unique index
    literals: tuple[str, ...]  # the values that a CHECK ... IN (...) allows, as SQL literals
    size: int  # declared length, 0 when there is none


@dataclass(frozen=True)
class _Reference:
    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class _Table:
    name: str
    columns: tuple[_Column, ...]
    references: tuple[_Reference, ...]


def fill(database: Path, own: Collection[str] = ()) -> Mapping[str, str]:
    """Adds up to three rows to every empty table but those that the tool calls its `own`; returns those left empty."""
    empty: dict[str, str] = {}
    deadline = time.monotonic() + _DEADLINE_S
    try:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")  # the schema was made by code that is not trusted
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 100_000)
            tables = {name: _table(connection, name) for name in table_names(connection) if name.lower() not in own}
            for name in _parents_first(tables):
                if reason := _fill_table(connection, tables[name]):
                    empty[name] = reason
    except sqlite3.Error as error:
        raise ToolFault(f"could not generate rows for the rehearsal: {error}") from error
    return empty


def _fill_table(connection: sqlite3.Connection, table: _Table) -> str | None:
    """None when the table holds rows afterwards, else why it does not."""
    if connection.execute(f"SELECT 1 FROM {quoted(table.name)} LIMIT 1").fetchone():
        return None
    if not table.columns:
        return "it has no columns that can be written"
    names = ", ".join(quoted(column.name) for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    added, reason = 0, "no value fits"
    for row in range(ROWS):
        for variant in (row, _TAME + 1, _BARE):
            values = _row(connection, table, row, variant)
            try:
                connection.execute(
                    f"INSERT INTO {quoted(table.name)} ({names}) VALUES ({marks})",
                    [values[column.name] for column in table.columns],
                )
            except sqlite3.IntegrityError as error:
                reason = str(error)
                continue
            added += 1
            break
    return None if added else reason


def _row(connection: sqlite3.Connection, table: _Table, row: int, variant: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for column in table.columns:
        nothing = variant in (_TAME, _BARE) and not column.required
        values[column.name] = None if nothing else _value(column, row, variant)
    for reference in table.references:
        required = any(column.required for column in table.columns if column.name in reference.columns)
        if variant in (_TAME, _BARE) and not required:
            continue
        parent = _parent(connection, table, reference, row)
        if parent is None and reference.table == table.name and len(reference.columns) == 1:
            # The first row of a tree can only point at itself.
            parent = (values.get(reference.targets[0]) if required else None,)
        if parent is None and not required:
            parent = (None,) * len(reference.columns)
        if parent is not None:
            values.update(zip(reference.columns, parent, strict=True))
    return values


def _parent(connection: sqlite3.Connection, table: _Table, reference: _Reference, row: int) -> tuple[Value, ...] | None:
    if reference.table == table.name and row == 0:
        return None
    targets = ", ".join(quoted(name) for name in reference.targets)
    try:
        found = connection.execute(f"SELECT {targets} FROM {quoted(reference.table)} LIMIT {ROWS}").fetchall()
    except sqlite3.OperationalError:
        return None  # the table it points at does not exist; SQLite allows that
    return tuple(found[row % len(found)]) if found else None


def _value(column: _Column, row: int, variant: int) -> Value:
    """A value for one cell; `variant` 1 is the edge one, above 2 a tame one."""
    if column.literals:
        literal = column.literals[0 if variant == _BARE else row % len(column.literals)]
        return literal[1:-1].replace("''", "'") if literal.startswith("'") else float(literal)
    if any(word in column.kind for word in ("DATE", "TIME")):
        return _moment(column.kind, row)
    if "JSON" in column.kind:
        return _JSON[row]
    if "BLOB" in column.kind or "BINARY" in column.kind:
        return bytes([row, 0, 255])
    number = _number(column, row, variant)
    return _text(column, row, variant) if number is None else number


def _moment(kind: str, row: int) -> str:
    # The form in which SQLAlchemy stores and reads them back.
    if "DATETIME" in kind or "TIMESTAMP" in kind:
        return _MOMENTS[row]
    return _MOMENTS[row][:10] if "DATE" in kind else _MOMENTS[row][11:]


def _number(column: _Column, row: int, variant: int) -> int | float | None:
    kind, edge = column.kind, variant == 1
    if "BOOL" in kind:
        return row % 2
    if "INT" in kind:
        largest = 32_767 if "SMALL" in kind else 2**53 if "BIG" in kind else 2**31 - 1
        return largest if edge and not column.distinct else NUMBERS[row]
    if any(word in kind for word in ("NUM", "DEC", "REAL", "FLOA", "DOUB")):
        return 12_345.67 if edge else row + 0.5
    return None


def _text(column: _Column, row: int, variant: int) -> str:
    if "UUID" in column.kind or (column.size in {32, 36} and "VAR" not in column.kind):
        name = uuid.UUID(int=row + 1)
        return str(name) if column.size == 36 else name.hex
    if "email" in column.name.lower():
        text = f"person{row}@example.org"
    elif variant == 1:
        text = _UNICODE % row
    elif variant == _TAME and not column.distinct:
        text = ""
    else:
        text = f"{row} {column.name}"
    return text if not column.size or len(text) <= column.size else f"{row}{text}"[: column.size]


def _parents_first(tables: Mapping[str, _Table]) -> list[str]:
    """Table names so that what a table points at comes before it; a cycle is cut where it is entered."""
    order: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in entered or name not in tables:
            return
        entered.add(name)
        for reference in tables[name].references:
            visit(reference.table)
        order[name] = None

    for name in tables:
        visit(name)
    return list(order)


def _table(connection: sqlite3.Connection, name: str) -> _Table:
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE type='table' AND name=?", (name,)).fetchone()[0]
    conditions = checks(sql)
    distinct = _distinct(connection, name)
    columns: list[_Column] = []
    for _, column, kind, required, _, key, hidden in connection.execute(f"PRAGMA table_xinfo({quoted(name)})"):
        if hidden:
            continue
        length = re.search(r"\((\d+)\)", kind)
        columns.append(
            _Column(
                name=column,
                kind=str(kind).upper(),
                required=bool(required or key),
                distinct=bool(key) or column in distinct,
                literals=_literals(column, conditions),
                size=int(length[1]) if length else 0,
            )
        )
    return _Table(name, tuple(columns), tuple(_references(connection, name)))


def _distinct(connection: sqlite3.Connection, table: str) -> set[str]:
    found: set[str] = set()
    for _, index, unique, _, _ in connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        if unique:
            found |= {str(row[2]) for row in connection.execute(f"PRAGMA index_info({quoted(index)})")}
    return found


def _references(connection: sqlite3.Connection, table: str) -> list[_Reference]:
    keys: dict[int, list[tuple[str, str, str | None]]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})").fetchall():
        keys.setdefault(row[0], []).append((row[2], row[3], row[4]))
    found: list[_Reference] = []
    for parts in keys.values():
        other = parts[0][0]
        targets = [part[2] for part in parts]
        if None in targets:  # the parent's primary key is meant
            rows = connection.execute(f"PRAGMA table_info({quoted(other)})").fetchall()
            targets = [row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]]
        named = tuple(str(target) for target in targets)
        if len(named) == len(parts):
            found.append(_Reference(tuple(part[1] for part in parts), other, named))
    return found


def _literals(column: str, conditions: Sequence[str]) -> tuple[str, ...]:
    """The literals of `column IN (...)`; other conditions are met by trying."""
    for condition in conditions:
        match = re.fullmatch(rf"\(?{re.escape(column.lower())}\)? in \((?P<items>.*)\)", condition, re.DOTALL)
        if match:
            return tuple(re.findall(r"'(?:[^']|'')*'|-?\d+(?:\.\d+)?", match["items"]))
    return ()
