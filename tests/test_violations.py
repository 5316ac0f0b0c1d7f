"""Rows that break a new rule: which are made, how they are counted, and what is said of an upgrade that meets them."""

import sqlite3
from collections.abc import Mapping

import pytest

from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Script
from backend_crew.tools.rehearsal_findings import of_violation
from backend_crew.tools.violations import ACCEPTED, REFUSED, Violation, laid, tried, violations

USERS = ("column users.id INTEGER NOT NULL PK 1", "column users.name TEXT", "column users.age INTEGER", "table users")
TEAMS = ("column teams.id INTEGER NOT NULL PK 1", "table teams")


def facts(*schema: str, rows: Mapping[str, int] | None = None) -> DatabaseFacts:
    """A database with these schema lines."""
    tables = {
        name: TableFacts(count, {"id": count, "name": count, "age": count}) for name, count in (rows or {}).items()
    }
    return DatabaseFacts((), tuple(sorted(schema)), tables, {})


BEFORE = facts(*USERS, *TEAMS, rows={"users": 3, "teams": 3})


def found(*lines: str, dialect: str = SQLITE, without: str = "") -> tuple[Violation, ...]:
    """The rules that these lines add."""
    schema = [line for line in BEFORE.schema if line != without]
    return violations(BEFORE, facts(*schema, *lines), dialect)


def people() -> sqlite3.Connection:
    """users and teams with three rows each."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.executescript(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER); CREATE TABLE teams (id INTEGER PRIMARY KEY);"
        "INSERT INTO users VALUES (1, 'a', 1), (2, 'b', 2), (3, NULL, 3); INSERT INTO teams VALUES (1), (2), (3);"
    )
    return database


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("column users.name TEXT NOT NULL", "users.name NOT NULL"),
        ("unique on users (name)", "users (name) unique"),
        ("unique one_name on users (name, age)", "users (name, age) unique"),
        ("foreign key users references teams update NO ACTION delete NO ACTION: age>id", "users.age references teams"),
        ("check users: age > 0", "users: age > 0"),
        ("check users: length(name) < 100", "users: length(name) < 100"),
    ],
)
def test_rows_that_break_a_rule_are_made_and_counted_by_the_select_that_is_shown(line: str, rule: str) -> None:
    (one,) = found(line, without="column users.name TEXT" if line.startswith("column") else "")
    assert one.rule == rule
    database = people()
    # The select counts (or lists) nothing before and something behind: NULL in `name` is there before.
    database.execute("UPDATE users SET name = 'c' WHERE name IS NULL")
    assert not any(count for *_, count in database.execute(one.count))
    for script in one.scripts:
        try:
            database.executescript(script.text)
            break
        except sqlite3.Error:
            continue
    else:
        pytest.fail(f"none of {one.scripts} runs")
    assert any(count for *_, count in database.execute(one.count))


def test_a_check_is_not_believed_broken_by_rows_that_keep_it() -> None:
    (one,) = found("check users: age > -5")
    with pytest.raises(sqlite3.Error):
        people().executescript(one.scripts[1].text)  # 0 is above -5
    (one,) = found("check users: age > -5", dialect=POSTGRESQL)
    assert "1 / EXISTS" in one.scripts[0].text


def test_rules_of_what_is_new_or_was_there_break_on_no_row() -> None:
    assert found("table pets", "column pets.name TEXT NOT NULL", "unique on pets (name)") == ()
    assert found("column users.nick TEXT NOT NULL", "unique on users (nick)") == ()
    assert violations(BEFORE, BEFORE, SQLITE) == ()
    # The column was NOT NULL already; its type is what changed.
    assert found("column teams.id BIGINT NOT NULL PK 1", without=TEAMS[0]) == ()


def test_names_are_written_so_that_none_can_be_a_statement() -> None:
    before = facts('table odd" name', 'column odd" name.a TEXT', rows={'odd" name': 1})
    (one,) = violations(before, facts(*before.schema, 'unique on odd" name (a)'), SQLITE)
    assert '"odd"" name"' in one.count and '"odd"" name"' in one.scripts[0].text


def test_what_an_upgrade_does_with_such_rows_is_told() -> None:
    (one,) = found("unique on users (name)")
    (failed,) = of_violation(one, BEFORE, None, "UNIQUE constraint failed: users.name", "error")
    assert failed.severity == "error" and "fails on" in failed.text and one.count in failed.text
    fewer = facts(*BEFORE.schema, rows={"users": 1, "teams": 3})
    (removed,) = of_violation(one, BEFORE, fewer, "", "error")
    assert removed.severity == "warning" and "removes rows" in removed.text and "2 of users" in removed.text
    (kept,) = of_violation(one, BEFORE, BEFORE, "", "error")
    assert (kept.severity, kept.text) == (
        "info",
        "the upgrade goes through on the new rule users (name) unique, where two have the same name",
    )


NOTES = (
    "check notes: stars > 0",
    "check notes: 1 = 1",
    "column notes.flag BOOL NOT NULL",
    "column notes.id INTEGER NOT NULL PK 1",
    "column notes.stars INTEGER",
    "column notes.user_id INTEGER",
    "foreign key notes references users update NO ACTION delete NO ACTION: user_id>id",
    "table notes",
    "unique on notes (user_id)",
    "unique one_flag on notes (stars) create unique index one_flag on notes (stars) where flag",
)


def _notes(rules: str) -> dict[str, str]:
    """What becomes of the rules that a new table brings, on a database that holds to these."""
    up = DatabaseFacts(
        (),
        (*USERS, *NOTES),
        {"users": TableFacts(3, {}), "notes": TableFacts(2, {"id": 2, "stars": 2, "user_id": 2, "flag": 2})},
        {},
    )
    before = facts(*USERS, rows={"users": 3})

    def run(script: Script) -> tuple[bool, str]:
        database = people()
        database.executescript(
            f"PRAGMA foreign_keys=ON;"
            f"CREATE TABLE notes (id INTEGER PRIMARY KEY, stars INTEGER, user_id INTEGER, flag BOOL{rules});"
            "INSERT INTO notes VALUES (1, 3, 1, 0), (2, 4, 2, 0);"
        )
        if rules:
            database.execute("CREATE UNIQUE INDEX one_flag ON notes (stars) WHERE flag")
        try:
            database.executescript(f"BEGIN; {script.text} COMMIT;")
        except sqlite3.Error as error:
            return False, str(error)
        return True, ""

    return {one.rule: one.outcome for one in tried(laid(before, up, SQLITE), up, run)}


def test_the_rules_of_a_new_table_are_tried_on_what_the_upgrade_left() -> None:
    found = _notes(", CHECK (stars > 0), UNIQUE (user_id), FOREIGN KEY (user_id) REFERENCES users (id)")
    assert found.pop("notes: 1 = 1").startswith("not tried: no row that breaks it")
    assert found == {
        "notes: stars > 0": REFUSED,
        "notes.user_id references users": REFUSED,
        "notes (user_id) unique": REFUSED,
        "notes (stars) unique where flag": REFUSED,
    }


def test_a_rule_that_does_not_hold_is_told_as_accepted_and_one_without_rows_as_not_tried() -> None:
    found = _notes("")
    assert found["notes: stars > 0"] == found["notes (user_id) unique"] == ACCEPTED
    assert found["notes.user_id references users"] == ACCEPTED
    up = DatabaseFacts((), (*USERS, *NOTES), {"users": TableFacts(3, {}), "notes": TableFacts(1, {"user_id": 1})}, {})
    outcomes = [
        one.outcome for one in tried(laid(BEFORE, up, SQLITE), up, lambda _: (True, "")) if "unique" in one.rule
    ]
    assert outcomes and all(one.startswith("not tried: too few rows") for one in outcomes)


def test_a_check_that_another_one_covers_is_not_said_to_have_refused() -> None:
    lines = ("check users: age > 0", "check users: age > -2")
    up = DatabaseFacts((), (*USERS, *lines), {"users": TableFacts(3, {"id": 3, "name": 2, "age": 3})}, {})

    def run(script: Script) -> tuple[bool, str]:
        database = people()
        database.executescript("ALTER TABLE users ADD COLUMN kept INTEGER CHECK (age > 0)")
        try:
            database.executescript(script.text)
        except sqlite3.Error as error:
            return False, str(error)
        return True, ""

    outcomes = {one.rule: one.outcome for one in tried(laid(BEFORE, up, SQLITE), up, run)}
    assert outcomes["users: age > 0"] == REFUSED
    assert outcomes["users: age > -2"].startswith("not tried")  # what breaks it would break the other too
