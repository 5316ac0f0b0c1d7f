"""Rows that break the rules which a migration adds: a database may hold such rows, and made-up ones rarely do."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from backend_crew.tools.facts import DatabaseFacts
from backend_crew.tools.migrators.protocol import SQLITE, Script, Segment

_NUMBER = re.compile(r"INT|NUM|DEC|REAL|FLOA|DOUB|SERIAL|MONEY", re.IGNORECASE)
# What a CHECK is most often about: a sign, a size, a length, a list of words.
_NUMBERS = ("-1", "0", "1000000000")
_TEXTS = ("''", "'no such value'", "'" + "x" * 300 + "'")


@dataclass(frozen=True)
class Violation:
    """One added rule: the rows that break it in words, how to count them, and ways to make one, the first that works."""

    rule: str
    rows: str
    count: str
    scripts: tuple[Script, ...]


REFUSED, ACCEPTED = "refused", "accepted"
# How the lines of added rules begin, and how both engines say that such a rule refused a row.
_KINDS = {
    "column": ("NOT NULL constraint", "not-null constraint"),
    "unique": ("UNIQUE constraint", "unique constraint"),
    "foreign key": ("FOREIGN KEY constraint", "foreign key constraint"),
    "check": ("CHECK constraint", "check constraint"),
}
_WAYS = 8
_PARTIAL = re.compile(r"unique \S+ on (?P<table>.+?) \((?P<columns>[^()]+)\).* where (?P<condition>.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Laid:
    """A rule that an upgrade adds, and ways to break it in a table of at least so many rows.

    `said` are the words of which a database that holds to this very rule uses one.
    """

    text: str
    said: tuple[str, ...]
    table: str
    rows: int
    scripts: tuple[Script, ...]


@dataclass(frozen=True)
class Rule:
    """What became of a row that breaks an added rule: REFUSED, ACCEPTED, or "not tried: " and why."""

    rule: str
    outcome: str


def violations(before: DatabaseFacts, up: DatabaseFacts, dialect: str) -> tuple[Violation, ...]:
    """The rules that an upgrade laid on columns which were there before, and rows that would break each."""
    added = [line for line in up.schema if line not in before.schema]
    found = [one for line in added for one in _of_line(line, before, dialect)]
    return tuple(one for one in found if one.scripts)


def laid(before: DatabaseFacts, up: DatabaseFacts, dialect: str) -> tuple[Laid, ...]:
    """Every rule that an upgrade adds, on new tables too; what a new table's own columns demand of NULL is left out."""
    lines = [line for line in up.schema if line not in before.schema]
    found = [(line, kind) for line in lines for kind in _KINDS if line.startswith(f"{kind} ")]
    return tuple(rule for line, kind in found if (rule := _laid(line, kind, before, up, dialect)))


def _laid(line: str, kind: str, before: DatabaseFacts, up: DatabaseFacts, dialect: str) -> Laid | None:
    # NOT NULL counts where a column was there; the rest can be tried on what the upgrade made
    ways = list(_of_line(line, before if kind == "column" else up, dialect))
    if match := _PARTIAL.match(line):
        ways = list(_partly_unique(match["table"], match["columns"].split(", "), match["condition"], up, dialect))
    if not ways:
        return None if kind == "column" else Laid(line, (), "", 0, ())
    (one,) = ways
    spot = line.partition(" on ")[2] if kind == "unique" else line.removeprefix(f"{kind} ")
    named = [name for name in up.tables if spot.startswith((f"{name} ", f"{name}.", f"{name}:"))]
    table = max(named, key=len, default="")
    said = _KINDS[kind]
    if kind == "unique":
        columns = [column.removesuffix(" desc") for column in spot.removeprefix(f"{table} (").split(")")[0].split(", ")]
        keys = ", ".join(f"{table}.{column}" for column in columns)
        # PostgreSQL names the index, which the line of a constraint does not: there it has to be the table's only one
        alone = sum(other.startswith("unique") and f" on {table} (" in other for other in up.schema) == 1
        name = line.partition(" on ")[0].removeprefix("unique").strip()
        words = f'unique constraint "{name}"' if name else "violates unique constraint" if alone else f"UNIQUE {keys}"
        return Laid(one.rule, (f"UNIQUE constraint failed: {keys}\n", words), table, 2, one.scripts)
    scripts = one.scripts
    if kind == "check":
        scripts = tuple(_check_alone(table, spot.removeprefix(f"{table}: "), up, dialect))
    elif kind == "foreign key":  # every row with the same value would break a key first
        scripts = tuple(_script(f"{script.text.rstrip(chr(10) + ';')}{_first(table, dialect)}") for script in scripts)
    return Laid(one.rule, said, table, 1, scripts)


def _first(table: str, dialect: str) -> str:
    """The condition that leaves one row of a table."""
    row = "rowid" if dialect == SQLITE else "ctid"
    return f" WHERE {row} = (SELECT {row} FROM {_quoted(table)} LIMIT 1)"


def _check_alone(table: str, condition: str, up: DatabaseFacts, dialect: str) -> Iterator[Script]:
    """Changes of one row that break this CHECK and keep the others of its table, which is shown before they are made."""
    name, columns = _quoted(table), list(up.tables[table].non_null)
    others = [line.removeprefix(f"check {table}: ") for line in up.schema if line.startswith(f"check {table}: ")]
    kept = "".join(
        f" AND coalesce(({one}), TRUE)" for one in others if one != condition and not one.startswith("EXCLUDE")
    )
    for column in _named(condition, columns):
        for value in (*(_NUMBERS if _NUMBER.search(_type(_line_of(up, table, column))) else _TEXTS), "NULL"):
            row = ", ".join(f"{value if one == column else _quoted(one)} AS {_quoted(one)}" for one in columns)
            changed = f"(SELECT {row} FROM {name}{_first(table, dialect)}) AS {_quoted(table.rpartition('.')[2])}"
            proof = _proof(f"EXISTS (SELECT 1 FROM {changed} WHERE NOT ({condition}){kept})", dialect)
            yield _script(f"SELECT {proof}", f"UPDATE {name} SET {_quoted(column)} = {value}{_first(table, dialect)}")


def tried(rules: Sequence[Laid], filled: DatabaseFacts, run: Callable[[Script], tuple[bool, str]]) -> tuple[Rule, ...]:
    """What a database that the upgrade left, filled, makes of a row that breaks each rule; `run` undoes what went through."""
    return tuple(Rule(rule.text, _outcome(rule, filled, run)) for rule in rules)


def _outcome(rule: Laid, filled: DatabaseFacts, run: Callable[[Script], tuple[bool, str]]) -> str:
    table = filled.tables.get(rule.table)
    if rule.scripts and (table is None or table.rows < rule.rows):
        return f"not tried: too few rows could be made up for {rule.table}"
    why = "no row that breaks it could be made up"
    for script in rule.scripts[:_WAYS]:
        done, said = run(script)
        if done:
            return ACCEPTED
        if any(words in f"{said}\n" for words in rule.said):
            return REFUSED
        if any(words in said for kind in _KINDS.values() for words in kind):
            why = "another rule refuses such a row first"
    return f"not tried: {why}"


def _of_line(line: str, before: DatabaseFacts, dialect: str) -> Iterator[Violation]:
    if match := re.match(r"column (?P<table>.+)\.(?P<column>[^.\s]+) .*\bNOT NULL\b", line):
        yield from _not_null(match["table"], match["column"], before)
    elif match := re.match(r"unique(?: (?P<name>\S+))? on (?P<table>.+?) \((?P<columns>[^()]+)\)$", line):
        yield from _unique(match["table"], match["columns"].split(", "), before)
    elif match := re.match(
        r"foreign key (?P<table>.+?) references (?P<other>.+?) update .*?: (?P<pair>\S+>\S+)$", line
    ):
        column, target = match["pair"].split(">")
        yield from _reference(match["table"], column, match["other"], target, before)
    elif match := re.match(r"check (?P<table>.+?): (?P<condition>.+)", line):
        yield from _check(match["table"], match["condition"], before, dialect)


def _not_null(table: str, column: str, before: DatabaseFacts) -> Iterator[Violation]:
    old = _line_of(before, table, column)
    if old and " NOT NULL" not in old:
        name, key = _quoted(table), _quoted(column)
        count = f"SELECT count(*) FROM {name} WHERE {key} IS NULL"
        yield Violation(
            f"{table}.{column} NOT NULL",
            f"{table}.{column} is NULL",
            count,
            (_script(f"UPDATE {name} SET {key} = NULL"),),
        )


def _unique(table: str, columns: list[str], before: DatabaseFacts) -> Iterator[Violation]:
    keys = [_quoted(column.removesuffix(" desc")) for column in columns]
    if all(_line_of(before, table, column.removesuffix(" desc")) for column in columns):
        name, listed = _quoted(table), ", ".join(keys)
        count = f"SELECT {listed}, count(*) FROM {name} GROUP BY {listed} HAVING count(*) > 1"
        words = " and ".join(columns)
        script = _script(f"UPDATE {name} SET {_same(name, keys)}")
        yield Violation(f"{table} ({', '.join(columns)}) unique", f"two have the same {words}", count, (script,))


def _partly_unique(
    table: str, columns: list[str], condition: str, up: DatabaseFacts, dialect: str
) -> Iterator[Violation]:
    """An index over some rows; a condition is mostly about a flag that is set or a value that is missing."""
    name, keys = _quoted(table), [_quoted(column.removesuffix(" desc")) for column in columns]
    facts = up.tables.get(table)
    named = [one for one in _named(condition, facts.non_null if facts else ()) if _quoted(one) not in keys]
    values = {one: _meant(condition, one, _type(_line_of(up, table, one))) for one in named}
    changes = ", ".join([_same(name, keys), *(f"{_quoted(one)} = {value}" for one, value in values.items())])
    proof = _proof(f"((SELECT count(*) FROM {name} WHERE {condition}) > 1)", dialect)
    rule, rows = (
        f"{table} ({', '.join(columns)}) unique where {condition}",
        f"two have the same {' and '.join(columns)}",
    )
    yield Violation(rule, rows, "", (_script(f"UPDATE {name} SET {changes}", f"SELECT {proof}"),))


def _meant(condition: str, column: str, kind: str) -> str:
    """The value that a condition most likely asks of a column."""
    if match := re.search(rf"\b{re.escape(column)}\b\W*=\s*('(?:[^']|'')*'|\d+)", condition, re.IGNORECASE):
        return match[1]
    return "TRUE" if "BOOL" in kind.upper() else "NULL"


def _same(table: str, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} = (SELECT {key} FROM {table} WHERE {key} IS NOT NULL LIMIT 1)" for key in keys)


def _proof(true: str, dialect: str) -> str:
    """Fails unless it holds: SQLite divides by zero without a word."""
    return f"CASE WHEN {true} THEN 1 ELSE json('none') END" if dialect == SQLITE else f"1 / {true}::int"


def _reference(table: str, column: str, other: str, target: str, before: DatabaseFacts) -> Iterator[Violation]:
    line = _line_of(before, table, column)
    if line and other in before.tables:
        name, key, parent, aim = _quoted(table), _quoted(column), _quoted(other), _quoted(target)
        count = f"SELECT count(*) FROM {name} WHERE {key} IS NOT NULL AND {key} NOT IN (SELECT {aim} FROM {parent})"
        values: tuple[str, ...] = (f"(SELECT coalesce(max({aim}), 0) + 1000 FROM {parent})",)
        if not _NUMBER.search(_type(line)):
            values = ("'no such row'", "'00000000-0000-4000-8000-00000000dead'")
        scripts = tuple(_script(f"UPDATE {name} SET {key} = {value}") for value in values)
        yield Violation(
            f"{table}.{column} references {other}", f"{table}.{column} points at no {other}", count, scripts
        )


def _check(table: str, condition: str, before: DatabaseFacts, dialect: str) -> Iterator[Violation]:
    name = _quoted(table)
    facts = before.tables.get(table)
    columns = _named(condition, facts.non_null) if facts else []
    proof = _proof(f"EXISTS (SELECT 1 FROM {name} WHERE NOT ({condition}))", dialect)
    scripts = [
        _script(f"UPDATE {name} SET {_quoted(column)} = {value}", f"SELECT {proof}")
        for column in columns
        for value in (_NUMBERS if _NUMBER.search(_type(_line_of(before, table, column))) else _TEXTS)
    ]
    count = f"SELECT count(*) FROM {name} WHERE NOT ({condition})"
    yield Violation(f"{table}: {condition}", f"NOT ({condition})", count, tuple(scripts))


def _named(condition: str, columns: Iterable[str]) -> list[str]:
    return [one for one in columns if re.search(rf"\b{re.escape(one)}\b", condition, re.IGNORECASE)]


def _line_of(facts: DatabaseFacts, table: str, column: str) -> str:
    return next((line for line in facts.schema if line.startswith(f"column {table}.{column} ")), "")


def _type(line: str) -> str:
    return line.split(" ", 2)[2] if line.count(" ") > 1 else ""


def _quoted(name: str) -> str:
    """A table, perhaps with its schema, or a column as an SQL identifier."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _script(*statements: str) -> Script:
    return Script((Segment("".join(f"{one};\n" for one in statements)),))
