"""Rows that break the rules which a migration adds: a database may hold such rows, and made-up ones rarely do."""

import re
from collections.abc import Iterator
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


def violations(before: DatabaseFacts, up: DatabaseFacts, dialect: str) -> tuple[Violation, ...]:
    """The rules that an upgrade laid on columns which were there before, and rows that would break each."""
    added = [line for line in up.schema if line not in before.schema]
    found = [one for line in added for one in _of_line(line, before, dialect)]
    return tuple(one for one in found if one.scripts)


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
        same = ", ".join(f"{key} = (SELECT {key} FROM {name} WHERE {key} IS NOT NULL LIMIT 1)" for key in keys)
        count = f"SELECT {listed}, count(*) FROM {name} GROUP BY {listed} HAVING count(*) > 1"
        words = " and ".join(columns)
        script = _script(f"UPDATE {name} SET {same}")
        yield Violation(f"{table} ({', '.join(columns)}) unique", f"two have the same {words}", count, (script,))


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
    columns = [one for one in facts.non_null if re.search(rf"\b{re.escape(one)}\b", condition, re.I)] if facts else []
    broken = f"EXISTS (SELECT 1 FROM {name} WHERE NOT ({condition}))"
    # Fails unless the update made a row that breaks the rule: SQLite divides by zero without a word.
    proof = f"CASE WHEN {broken} THEN 1 ELSE json('none') END" if dialect == SQLITE else f"1 / {broken}::int"
    scripts = [
        _script(f"UPDATE {name} SET {_quoted(column)} = {value}", f"SELECT {proof}")
        for column in columns
        for value in (_NUMBERS if _NUMBER.search(_type(_line_of(before, table, column))) else _TEXTS)
    ]
    count = f"SELECT count(*) FROM {name} WHERE NOT ({condition})"
    yield Violation(f"{table}: {condition}", f"NOT ({condition})", count, tuple(scripts))


def _line_of(facts: DatabaseFacts, table: str, column: str) -> str:
    return next((line for line in facts.schema if line.startswith(f"column {table}.{column} ")), "")


def _type(line: str) -> str:
    return line.split(" ", 2)[2] if line.count(" ") > 1 else ""


def _quoted(name: str) -> str:
    """A table, perhaps with its schema, or a column as an SQL identifier."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _script(*statements: str) -> Script:
    return Script((Segment("".join(f"{one};\n" for one in statements)),))
