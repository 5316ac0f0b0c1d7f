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
    "column": re.compile(r"NOT NULL constraint|not-null constraint"),
    "unique": re.compile(r"UNIQUE constraint|unique constraint"),
    "foreign key": re.compile(r"FOREIGN KEY constraint|foreign key constraint"),
    "check": re.compile(r"CHECK constraint|check constraint|exclusion constraint"),
}
_PARTIAL = re.compile(r"unique \S+ on (?P<table>.+?) \((?P<columns>[^()]+)\).* where (?P<condition>.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Laid:
    """A rule that an upgrade adds, and ways to break it."""

    text: str
    kind: str
    table: str
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
    found: list[Laid] = []
    for line in up.schema:
        kind = next((kind for kind in _KINDS if line.startswith(kind)), "")
        if line in before.schema or not kind:
            continue
        # NOT NULL counts where a column was there; the rest can be tried on what the upgrade made
        ways = list(_of_line(line, before if kind == "column" else up, dialect))
        if match := _PARTIAL.match(line):
            ways = list(_partly_unique(match["table"], match["columns"].split(", "), match["condition"], up, dialect))
        if not ways and kind != "column":
            found.append(Laid(line, kind, "", ()))
        table = _table(line, up)
        scripts = tuple(script for one in ways for script in one.scripts)
        if kind != "unique":  # every row with the same value would break a key first
            scripts = tuple(_one_row(script, table, dialect) for script in scripts)
        found += [Laid(one.rule, kind, table, scripts) for one in ways]
    return tuple(found)


def tried(rules: Sequence[Laid], filled: DatabaseFacts, run: Callable[[Script], tuple[bool, str]]) -> tuple[Rule, ...]:
    """What a database that the upgrade left, filled, makes of a row that breaks each rule; `run` undoes what went through."""
    return tuple(_tried(rule, filled, run) for rule in rules)


def _tried(rule: Laid, filled: DatabaseFacts, run: Callable[[Script], tuple[bool, str]]) -> Rule:
    table = filled.tables.get(rule.table)
    if not rule.scripts:
        return Rule(rule.text, "not tried: no row that breaks it could be made up")
    if table is None or table.rows < (2 if rule.kind == "unique" else 1):
        return Rule(rule.text, f"not tried: too few rows could be made up for {rule.table}")
    for script in rule.scripts:
        done, said = run(script)
        if done:
            return Rule(rule.text, ACCEPTED)
        if _KINDS[rule.kind].search(said):
            return Rule(rule.text, REFUSED)
    return Rule(rule.text, "not tried: no row that breaks it could be made up")


def _one_row(script: Script, table: str, dialect: str) -> Script:
    """The same for one row: an UPDATE of all of them comes first in each script."""
    update, _, rest = script.text.partition(";\n")
    row = "rowid" if dialect == SQLITE else "ctid"
    return Script((Segment(f"{update} WHERE {row} = (SELECT {row} FROM {_quoted(table)} LIMIT 1);\n{rest}"),))


def _table(line: str, facts: DatabaseFacts) -> str:
    """The table of a schema line; the longest name, as one name can begin another."""
    spot = line.partition(" on ")[2] if line.startswith("unique") else line.split(" ", 2 if line[0] == "f" else 1)[-1]
    named = [name for name in facts.tables if spot.startswith((f"{name} ", f"{name}.", f"{name}:"))]
    return max(named, key=len, default="")


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
    flags = [one for one in _named(condition, facts.non_null if facts else ()) if _quoted(one) not in keys]
    set_to = {one: "TRUE" if "BOOL" in _type(_line_of(up, table, one)).upper() else "NULL" for one in flags}
    changes = ", ".join([_same(name, keys), *(f"{_quoted(one)} = {value}" for one, value in set_to.items())])
    proof = _proof(f"((SELECT count(*) FROM {name} WHERE {condition}) > 1)", dialect)
    rule, rows = (
        f"{table} ({', '.join(columns)}) unique where {condition}",
        f"two have the same {' and '.join(columns)}",
    )
    yield Violation(rule, rows, "", (_script(f"UPDATE {name} SET {changes}", f"SELECT {proof}"),))


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
