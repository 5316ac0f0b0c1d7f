"""A few made-up rows for every empty table of a PostgreSQL database, as SQL that one session runs."""

import json
import re
import secrets
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.pg_facts import OURS, free, listed

# An ordinary one, one with edge values, one with NULL wherever it is allowed: as on SQLite, so that a migration meets the
# same on both. Rows that break a rule are `violations`' to try.
ROWS = 3
NUMBERS = (1, 2, 4)  # with a gap, as wherever a row was ever deleted: the number of rows is no free key
_EDGE, _NOTHING, _TAME = 1, 2, 3
_UNICODE = "Zoë O'Brien — 東京 🎉 %s"
_MOMENTS = ("2024-02-29 23:59:59.999999", "1999-12-31 00:00:00", "2038-01-19 03:14:08")
_LARGEST = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}

_TABLES = f"""SELECT 'table', c.oid::bigint, n.nspname, c.relname, c.relispartition, CASE c.relkind WHEN 'p' THEN
    (SELECT array_agg(pg_get_expr(p.relpartbound, p.oid)) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid
      WHERE i.inhparent = c.oid) END, pg_get_partkeydef(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND {OURS} AND {free("pg_class", "c.oid")}"""
# A domain is followed to the type below it, an array to its elements.
_COLUMNS = f"""WITH RECURSIVE below(oid, base, typmod, required, rules) AS (
    SELECT t.oid, t.oid, -1, false, ARRAY[]::text[] FROM pg_type t
    UNION ALL SELECT b.oid, d.typbasetype, CASE WHEN b.typmod = -1 THEN d.typtypmod ELSE b.typmod END,
      b.required OR d.typnotnull, b.rules || ARRAY(SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o
        WHERE o.contypid = d.oid AND o.contype = 'c')
      FROM below b JOIN pg_type d ON d.oid = b.base AND d.typtype = 'd')
  SELECT 'column', a.attrelid::bigint, a.attname, t.typname, t.typcategory, t.typtype,
    CASE WHEN b.typmod = -1 THEN a.atttypmod ELSE b.typmod END, a.attnotnull OR b.required,
    EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey)),
    e.typname, e.typtype,
    (SELECT json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_enum l
      WHERE l.enumtypid = CASE WHEN t.typcategory = 'A' THEN e.oid ELSE t.oid END),
    array_to_json(b.rules || ARRAY(SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o
      WHERE o.conrelid = a.attrelid AND o.contype = 'c' AND o.conkey = ARRAY[a.attnum]))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN below b ON b.oid = a.atttypid JOIN pg_type t ON t.oid = b.base AND t.typtype <> 'd'
  LEFT JOIN pg_type e ON e.oid = t.typelem
  LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  WHERE c.relkind IN ('r', 'p') AND {OURS} AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attidentity = '' AND a.attgenerated = '' AND coalesce(pg_get_expr(f.adbin, f.adrelid), '') NOT LIKE 'nextval(%'
  ORDER BY a.attrelid, a.attnum"""
_REFERENCES = f"""SELECT 'reference', o.conrelid::bigint, o.confrelid::bigint,
    (SELECT json_agg(a.attname ORDER BY p.place) FROM unnest(o.conkey) WITH ORDINALITY p(number, place)
      JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = p.number),
    (SELECT json_agg(a.attname ORDER BY p.place) FROM unnest(o.confkey) WITH ORDINALITY p(number, place)
      JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = p.number)
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE o.contype = 'f' AND {OURS} ORDER BY o.oid"""
#: What psql has to run, as a role that sees everything, for `tables_of` to read.
QUESTIONS = "".join(f"{listed(query)}\n" for query in (_TABLES, _COLUMNS, _REFERENCES))


# A number of each sequence of a table is given to no row.
_SKIPPED = """
PERFORM nextval(s.name) FROM (SELECT pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname) AS name
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = %d AND a.attnum > 0 AND NOT a.attisdropped) s WHERE s.name IS NOT NULL;"""


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str  # as PostgreSQL names it inside: int4, varchar, _text
    array: bool
    modifier: int  # a length or precision as PostgreSQL packs it, -1 for none
    required: bool
    distinct: bool  # part of a primary key or unique index
    choices: tuple[str, ...]  # what an enum or a CHECK … IN (…) allows


@dataclass(frozen=True)
class _Reference:
    table: int
    columns: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table and what its rows have to obey."""

    oid: int
    schema: str
    name: str
    partition: bool
    columns: tuple[_Column, ...]
    references: tuple[_Reference, ...]

    @property
    def title(self) -> str:
        """As people write it."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """As SQL writes it."""
        return f"{_quoted(self.schema)}.{_quoted(self.name)}"


def tables_of(output: str, left_out: Collection[str]) -> tuple[Table, ...]:
    """The tables that `QUESTIONS` told of, parents first; those named in `left_out` (lower case) are no part of it."""
    rows = [json.loads(line) for line in output.splitlines() if line]
    columns: dict[int, list[_Column]] = {}
    references: dict[int, list[_Reference]] = {}
    bounds = {row[1]: (row[6], row[5]) for row in rows if row[0] == "table" and row[5]}
    for kind, oid, *row in rows:
        if kind == "column":
            columns.setdefault(oid, []).append(_column(row, bounds.get(oid)))
        elif kind == "reference":
            references.setdefault(oid, []).append(_Reference(row[0], tuple(row[1]), tuple(row[2])))
    found = {
        oid: Table(oid, row[0], row[1], row[2], tuple(columns.get(oid, ())), tuple(references.get(oid, ())))
        for kind, oid, *row in sorted(rows, key=lambda one: (str(one[2]), str(one[3])))
        if kind == "table" and str(row[1]).lower() not in left_out
    }
    return tuple(_parents_first(found))


def script(tables: Sequence[Table]) -> str:
    """Fills each empty table row by row; prints [number, whether it holds rows, why a row was refused] for each."""
    known = {table.oid: table for table in tables}
    parts = ["\\set ON_ERROR_STOP 0"]
    for number, table in enumerate(tables):
        # A partition gets its rows through the table that it is a part of.
        if not table.partition:
            parts.append(_filling(table, known))
        why = "nullif(current_setting('scratch.why', true), '')"
        parts.append(f"SELECT json_build_array({number}, EXISTS (SELECT 1 FROM {table.quoted}), {why});")
    return "\n".join(parts) + "\n"


def left_empty(output: str, tables: Sequence[Table]) -> Mapping[str, str]:
    """The tables that hold nothing after `script`, and why."""
    told = {row[0]: (row[1], row[2]) for row in map(json.loads, filter(None, output.splitlines()))}
    empty: dict[str, str] = {}
    for number, table in enumerate(tables):
        filled, why = told.get(number, (False, "its rows could not be read"))
        if not filled and not table.partition:
            empty[table.title] = why or "no value fits"
    return empty


def _column(row: Sequence[Any], bounds: tuple[str, Sequence[str]] | None) -> _Column:
    name, kind, category, how, modifier, required, distinct, element, element_how, labels, rules = row
    array = category == "A"
    choices = tuple(labels or ()) or _choices(rules)
    if not choices and bounds and bounds[0].split("(", 1)[-1].rstrip(")").strip('"') == name:
        choices = tuple(_partition_values(bounds[1]))
    enum = "e" in (how, element_how)
    return _Column(name, "enum" if enum else element if array else kind, array, modifier, required, distinct, choices)


def _choices(rules: Sequence[str]) -> tuple[str, ...]:
    """The literals of `column IN (…)`, which PostgreSQL keeps as `= ANY (ARRAY[…])` or `=`; others are met by trying."""
    for rule in rules:
        match = re.search(r"= ANY \(+(?:ARRAY\[)(?P<items>.*?)\]", rule, re.DOTALL)
        match = match or re.fullmatch(r"CHECK \(\(+[^=<>]* = (?P<items>'(?:[^']|'')*'[^=<>]*|-?\d+)\)+", rule)
        if match:
            found = re.findall(r"'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?)", match["items"])
            return tuple((text or number).replace("''", "'") for text, number in found)
    return ()


def _partition_values(bounds: Sequence[str]) -> Iterator[str]:
    for bound in bounds:
        if match := re.search(r"\((?:'((?:[^']|'')*)'|(-?\d+))", bound):
            yield (match[1] or match[2] or "").replace("''", "'")


def _parents_first(tables: Mapping[int, Table]) -> Iterator[Table]:
    """What a table points at comes before it; a cycle is cut where it is entered."""
    entered: set[int] = set()

    def visit(oid: int) -> Iterator[Table]:
        if oid in entered or oid not in tables:
            return
        entered.add(oid)
        for reference in tables[oid].references:
            yield from visit(reference.table)
        yield tables[oid]

    for oid in tables:
        yield from visit(oid)


def _filling(table: Table, known: Mapping[int, Table]) -> str:
    tag = f"$scratch{secrets.token_hex(8)}$"  # no value can close it
    inserts = "\n".join(
        _attempts(table, row, known) + (_SKIPPED % table.oid if row == 1 else "") for row in range(ROWS)
    )
    return (
        f"DO {tag} BEGIN\nPERFORM set_config('scratch.why', '', false);\n"
        f"IF EXISTS (SELECT 1 FROM {table.quoted}) THEN RETURN; END IF;\n{inserts}\nEND {tag};"
    )


def _attempts(table: Table, row: int, known: Mapping[int, Table]) -> str:
    """One row as it was meant, and if it is refused with tame values."""
    kept = "EXCEPTION WHEN OTHERS THEN PERFORM set_config('scratch.why', SQLERRM, false);"
    tries = [_insert(table, row, variant, known) + " SET CONSTRAINTS ALL IMMEDIATE;" for variant in (row, _TAME)]
    return f"BEGIN {tries[0]} {kept}\n  BEGIN {tries[1]} {kept} END; END;"


def _insert(table: Table, row: int, variant: int, known: Mapping[int, Table]) -> str:
    values: dict[str, str] = {}
    for column in table.columns:
        nothing = variant == _NOTHING and not column.required
        values[column.name] = "NULL" if nothing else _value(column, row, variant)
    for reference in table.references:
        values |= _pointing(table, reference, row, variant, known)
    if not values:
        return f"INSERT INTO {table.quoted} DEFAULT VALUES;"
    names = ", ".join(_quoted(name) for name in values)
    return f"INSERT INTO {table.quoted} ({names}) VALUES ({', '.join(values.values())});"


def _pointing(
    table: Table, reference: _Reference, row: int, variant: int, known: Mapping[int, Table]
) -> dict[str, str]:
    """Values that lead to a row of the other table, another one for each row; NULL where that is allowed and meant."""
    own = {column.name: column for column in table.columns}
    required = any(own[name].required for name in reference.columns if name in own)
    other = known.get(reference.table)
    itself = reference.table == table.oid
    if not required and (variant == _NOTHING or other is None or (itself and row == 0)):
        return {name: "NULL" for name in reference.columns if name in own}
    if other is None or (itself and row == 0):
        # The first row of a tree can only point at itself.
        pairs = zip(reference.columns, reference.targets, strict=True)
        return {name: _value(own[target], row, variant) for name, target in pairs if name in own and target in own}
    order = ", ".join(_quoted(name) for name in reference.targets)
    place = f"OFFSET {row} % (SELECT greatest(count(*), 1) FROM {other.quoted})"
    return {
        name: f"(SELECT {_quoted(target)} FROM {other.quoted} ORDER BY {order} LIMIT 1 {place})"
        for name, target in zip(reference.columns, reference.targets, strict=True)
        if name in own
    }


def _value(column: _Column, row: int, variant: int) -> str:
    """A value for one cell as an SQL literal, whose type PostgreSQL finds out by itself."""
    text = column.choices[row % len(column.choices)] if column.choices else _text_for(column, row, variant)
    if column.array:
        if variant == _EDGE:
            return "'{}'"
        text = '{"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"}'
    return _literal(text)


def _text_for(column: _Column, row: int, variant: int) -> str:
    kind, edge = column.kind, variant == _EDGE
    if kind in _LARGEST:
        return str(_LARGEST[kind] if edge and not column.distinct else NUMBERS[row])
    if kind == "numeric":
        return _numeric(column.modifier, row, edge)
    if kind in _OTHERS:
        return _OTHERS[kind][row % len(_OTHERS[kind])]
    if kind in {"timestamp", "timestamptz", "date", "time", "timetz"}:
        moment = _MOMENTS[row]
        return moment[11:] if kind.startswith("time") and "stamp" not in kind else moment
    if kind == "uuid":
        return str(uuid.UUID(int=row + 1))
    if kind in {"bit", "varbit"}:
        return format(row, "b").zfill(max(column.modifier, 1))[: max(column.modifier, 1)]
    return _words(column, row, variant)


_OTHERS: Mapping[str, tuple[str, ...]] = {
    "bool": ("false", "true"),
    "float4": ("0.5", "12345.67", "2.5", "3.5"),
    "float8": ("0.5", "1e300", "2.5", "3.5"),
    "money": ("0.50", "12345.67"),
    "json": ('{"name": "Zoë", "tags": []}', "{}", "[]", "null"),
    "jsonb": ('{"name": "Zoë", "tags": []}', "{}", "[]", "null"),
    "bytea": ("\\x00ff", "\\x", "\\x01", "\\x02"),
    "interval": ("1 day", "-1 mon", "00:00:00.000001", "2 days"),
    "inet": ("192.0.2.1", "2001:db8::1", "192.0.2.3", "192.0.2.4"),
    "cidr": ("192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24", "203.0.113.0/24"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04", "08:00:2b:01:02:05", "08:00:2b:01:02:06"),
    "oid": ("1", "2", "3", "4"),
    "xml": ("<a/>", "<b/>"),
    "tsvector": ("zoë tokyo", ""),
    "tsquery": ("zoë", "tokyo"),
    "point": ("(0,0)", "(1.5,-2)"),
    "hstore": ("a=>1", ""),
    "ltree": ("a.b", "a", "a.c", "a.d"),
    "int4range": ("[1,2)", "[3,4)", "[5,6)", "[7,8)"),
    "int8range": ("[1,2)", "[3,4)", "[5,6)", "[7,8)"),
    "numrange": ("[1,2)", "[3,4)", "[5,6)", "[7,8)"),
    "daterange": ("[2024-01-01,2024-02-01)", "[2025-01-01,2025-02-01)", "[2026-01-01,)", "empty"),
    "tsrange": ("[2024-01-01,2024-02-01)", "[2025-01-01,2025-02-01)", "[2026-01-01,)", "empty"),
    "tstzrange": ("[2024-01-01,2024-02-01)", "[2025-01-01,2025-02-01)", "[2026-01-01,)", "empty"),
}


def _numeric(modifier: int, row: int, edge: bool) -> str:
    """Within numeric(precision, scale), the edge being its largest value."""
    if modifier < 4:
        return "12345678901234567890.123456789" if edge else str(row + 0.5)
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale -= 2048 if scale > 1023 else 0
    whole = max(precision - scale, 0)
    if edge and 0 <= scale <= precision:
        return ("9" * whole or "0") + ("." + "9" * scale if scale else "")
    return str(row + 1) if whole else "0"


def _words(column: _Column, row: int, variant: int) -> str:
    size = column.modifier - 4 if column.kind in {"varchar", "bpchar"} and column.modifier >= 4 else 0
    if "email" in column.name.lower():
        text = f"person{row}@example.org"
    elif variant == _EDGE:
        text = _UNICODE % row
    elif variant == _NOTHING and not column.distinct:
        text = ""
    else:
        text = f"{row} {column.name}"
    return text if not size or len(text) <= size else f"{row}{text}"[:size]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
