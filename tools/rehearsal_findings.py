"""What a rehearsal has to tell a person: data that is gone, downgrades that do not restore, tables that vanished."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.migrations import MigrationFile
from backend_crew.tools.migrators.history import History
from backend_crew.tools.violations import Violation

_LISTED = 8


@dataclass(frozen=True)
class Finding:
    """One observation: "error" (data lost, a step or a downgrade that lies), "warning", or "info"."""

    severity: str
    text: str


def kind_of(text: str) -> str:
    """A finding without its counts, which change with every row: the same for the same loss on a later day."""
    return re.sub(r"(?<![\w.])\d+(?![\w.])", "N", text)


def of_files(history: History, new: Sequence[MigrationFile]) -> list[Finding]:
    """What the new files' own text tells about going back."""
    found: list[Finding] = []
    for file in new:
        if file.revision in history.irreversible:
            found.append(Finding("warning", f"{file.path} is irreversible: its downgrade is missing or only raises"))
        elif file.revision in history.empty_downgrades:
            found.append(Finding("warning", f"{file.path} has an empty downgrade: going back undoes nothing"))
    return found


def not_compared(before: DatabaseFacts) -> list[Finding]:
    """Tables in which a value that was replaced by another is not seen."""
    large = sorted(name for name, table in before.tables.items() if table.rows and table.checksums is None)
    text = (
        f"values of {_listed(large)} are counted, not compared: there are too many, so a change of values is not seen"
    )
    return [Finding("info", text)] if large else []


def after_up(before: DatabaseFacts, after: DatabaseFacts) -> list[Finding]:
    """What the upgrade took away or changed."""
    found: list[Finding] = []
    for name, old in before.tables.items():
        new = after.tables.get(name)
        if new is None:
            found.append(_gone_table(name, old, before, after))
            continue
        if new.rows < old.rows:
            found.append(
                Finding("error", f"{old.rows - new.rows} of {old.rows} rows of {name} are gone after the upgrade")
            )
        found += _columns(name, old, new)
        found += _rules_gone(name, before, after)
    found += _broken(before, after, "upgrade")
    return found


def after_down(before: DatabaseFacts, up: DatabaseFacts, down: DatabaseFacts) -> list[Finding]:
    """Where the downgrade does not lead back to what was there before the upgrade."""
    found: list[Finding] = []
    if before.digest != down.digest:
        missing = _listed(set(before.schema) - set(down.schema))
        extra = _listed(set(down.schema) - set(before.schema))
        text = "the downgrade does not restore the schema"
        found.append(Finding("error", f"{text}; missing: {missing or 'nothing'}; left over: {extra or 'nothing'}"))
    for name, old in before.tables.items():
        new, between = down.tables.get(name), up.tables.get(name)
        if new is None or between is None:
            continue
        if new.rows < min(old.rows, between.rows):
            found.append(Finding("error", f"the downgrade loses {between.rows - new.rows} rows of {name}"))
        elif new.rows == old.rows:
            found += _unrestored(name, old, between, new)
    found += _broken(before, down, "downgrade")
    return found


def without_down(before: DatabaseFacts, up: DatabaseFacts) -> list[Finding]:
    """Values that an upgrade without a way back turned into others."""
    return [
        Finding("error", f"the upgrade overwrites values of {name}.{column}, and nothing brings them back")
        for name, old in before.tables.items()
        if name in up.tables
        for column in old.non_null
        if _overwritten(old, up.tables[name], column)
    ]


def after_again(first: DatabaseFacts, again: DatabaseFacts) -> list[Finding]:
    """Whether the second upgrade led to another schema than the first."""
    if first.digest == again.digest:
        return []
    differing = _listed(set(first.schema) ^ set(again.schema))
    return [Finding("warning", f"upgrading again after the downgrade gives another schema: {differing}")]


def of_script(
    before: DatabaseFacts, up: DatabaseFacts, again: DatabaseFacts | None, executed: DatabaseFacts | None, why: str
) -> list[Finding]:
    """Where the rendered SQL, run alone, does something else than the tool did: a person would approve the wrong text."""
    if executed is None:
        return [Finding("error", f"the rendered SQL fails where the tool's own run does not: {why}")]
    differing: list[str] = []
    if executed.recorded != up.recorded:
        differing.append(f"it records {', '.join(executed.recorded) or 'nothing'}")
    if executed.digest != up.digest:
        differing.append(f"schema: {_listed(set(executed.schema) ^ set(up.schema))}")
    for name, table in up.tables.items():
        other = executed.tables.get(name)
        if other is None or other.rows != table.rows or other.non_null != table.non_null:
            differing.append(f"rows or values of {name}")
            continue
        differing += [
            f"values of {name}.{column}"
            for column in table.non_null
            if _sum(table, column) != _sum(other, column) and not _changing(name, column, before, up, again)
        ]
    return (
        [Finding("error", f"the rendered SQL and the tool's own run differ: {_listed(differing)}")] if differing else []
    )


def of_violation(
    one: Violation, before: DatabaseFacts, after: DatabaseFacts | None, error: str, severity: str
) -> list[Finding]:
    """What an upgrade does with rows that break a rule which it adds; `severity` is that of an upgrade which fails on them.

    On PostgreSQL the lint tells rules that are added in the safe sequence from others. SQLite has no such sequence, and
    the text of a rebuilt table does not say which of its rules are new.
    """
    where = f"the new rule {one.rule}, where {one.rows}"
    count = f"Count such rows first: {one.count}"
    if error or after is None:
        return [Finding(severity, f"the upgrade fails on {where} ({error[:160]}). {count}")]
    gone = {name: old.rows - after.tables[name].rows for name, old in before.tables.items() if name in after.tables}
    if lost := [f"{number} of {name}" for name, number in gone.items() if number > 0]:
        return [Finding("warning", f"the upgrade removes rows to keep {where}: {', '.join(lost)}. {count}")]
    return [Finding("info", f"the upgrade goes through on {where}")]


def _changing(table: str, column: str, before: DatabaseFacts, up: DatabaseFacts, again: DatabaseFacts | None) -> bool:
    """Whether a column holds something else at every run: the time, a random id."""
    old = before.tables.get(table)
    if old is not None and column in old.non_null and _sum(old, column) == _sum(up.tables[table], column):
        return False  # the upgrade left it alone
    repeated = again.tables.get(table) if again else None
    if repeated is None or _sum(repeated, column) != _sum(up.tables[table], column):
        return True
    line = next((line for line in up.schema if line.startswith(f"column {table}.{column} ")), "")
    return re.search(r"date|time|uuid|random|now\b|current_", line, re.IGNORECASE) is not None


def _gone_table(name: str, old: TableFacts, before: DatabaseFacts, after: DatabaseFacts) -> Finding:
    for other, facts in after.tables.items():
        same = facts.rows == old.rows and facts.checksums is not None and facts.checksums == old.checksums
        if same and other not in before.tables:
            return Finding("info", f"table {name} became {other}, with its {old.rows} rows")
    if old.rows:
        return Finding("error", f"table {name} is dropped with {old.rows} rows")
    return Finding("warning", f"table {name} is dropped (it was empty)")


def _columns(table: str, old: TableFacts, new: TableFacts) -> Iterator[Finding]:
    for column, count in old.non_null.items():
        name = f"{table}.{column}"
        if column not in new.non_null:
            yield _gone_column(table, column, old, new)
            continue
        # Values that went with their rows are told once, with the rows.
        lost = count - new.non_null[column] - max(old.rows - new.rows, 0)
        if lost > 0:
            yield Finding("error", f"{lost} of {count} values of {name} are gone after the upgrade")
        elif old.rows == new.rows and _sum(old, column) != _sum(new, column):
            yield Finding("info", f"the upgrade changes values of {name}")


def _gone_column(table: str, column: str, old: TableFacts, new: TableFacts) -> Finding:
    count = old.non_null[column]
    if not count:
        return Finding("warning", f"column {table}.{column} is dropped (it held no values)")
    for other in new.non_null:
        if other not in old.non_null and _sum(new, other) is not None and _sum(old, column) == _sum(new, other):
            return Finding("info", f"column {table}.{column} became {table}.{other}, with its {count} values")
    return Finding(
        "error", f"column {table}.{column} is dropped: {count} values gone, and a downgrade brings none back"
    )


def _unrestored(table: str, old: TableFacts, between: TableFacts, new: TableFacts) -> Iterator[Finding]:
    for column in old.non_null:
        # A column that the upgrade dropped has been told already.
        if column in between.non_null and column in new.non_null and _sum(old, column) != _sum(new, column):
            severity = "error" if _overwritten(old, between, column) else "warning"
            yield Finding(severity, f"the downgrade does not bring back the values of {table}.{column}")


def _overwritten(old: TableFacts, new: TableFacts, column: str) -> bool:
    """Whether values that were there became others; where NULLs were filled as well, that cannot be told."""
    same = old.rows == new.rows and old.non_null[column] == new.non_null.get(column)
    return same and _sum(old, column) != _sum(new, column)


def _rules_gone(table: str, before: DatabaseFacts, after: DatabaseFacts) -> Iterator[Finding]:
    """Constraints that vanish although what they speak of is still there: a rebuilt table may forget them."""
    columns = after.tables[table].non_null
    for line in before.schema:
        if line in after.schema:
            continue
        kept = line.startswith(f"check {table}: ")
        if line.startswith(f"foreign key {table} references "):
            kept = line.removeprefix(f"foreign key {table} references ").split(" update ")[0] in after.tables
        elif line.startswith("unique") and f" on {table} (" in line:
            names = line.split(f" on {table} (", 1)[1].split(")", 1)[0].split(", ")
            kept = all(name in columns for name in names)
        if kept:
            yield Finding("warning", f"the upgrade removes the rule: {line}")


def _broken(before: DatabaseFacts, after: DatabaseFacts, leg: str) -> Iterator[Finding]:
    for table, count in after.broken.items():
        more = count - before.broken.get(table, 0)
        if more > 0:
            yield Finding("error", f"after the {leg}, {more} rows of {table} point at rows that do not exist")


def _sum(facts: TableFacts, column: str) -> int | None:
    return facts.checksums.get(column) if facts.checksums else None


def _listed(lines: Iterable[str]) -> str:
    found = sorted(lines)
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return "; ".join(line[:200] for line in found[:_LISTED]) + more
