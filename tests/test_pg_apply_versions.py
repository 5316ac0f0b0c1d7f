"""Applying to a PostgreSQL of another major version than the rehearsal's, and what a policy that only adds relies on."""

import dataclasses
from pathlib import Path

import pg_applying
import pytest
from pg_applying import BLOCKS, COUNTED, Case, case, one, run
from postgres_server import Server

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.facts import SchemaChange
from backend_crew.tools.migrators.protocol import Script


def changing(postgres: Server, folder: Path, script: Script, major: int = 99) -> Case:
    """An approval whose rehearsal was on another major version, and told of the schema in other words."""
    this = case(postgres, folder, script, digest="of another version")
    change = SchemaChange.between(*pg_applying.schemas(postgres, script), major)
    return dataclasses.replace(this, approved=dataclasses.replace(this.approved, change=change))


MORE = one(COUNTED, "ALTER TABLE users ADD phone text;", "CREATE TABLE IF NOT EXISTS orders (id int);")


@pytest.mark.parametrize(
    ("meanwhile", "refused"),
    [
        ("SELECT 1", ""),
        ("CREATE TABLE side (id int)", ""),
        ("CREATE TABLE orders (id int)", "is not such that the approved change can be made to it; nothing was applied"),
        ("CREATE TABLE orders (id text)", "would have another schema"),
        ("CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN CREATE INDEX extra ON users (name); RETURN NULL;"
         " END'; CREATE TRIGGER more AFTER UPDATE ON counter EXECUTE FUNCTION more()", "would have another schema"),
    ],
)  # fmt: skip
def test_on_another_version_the_change_is_compared(
    postgres: Server, tmp_path: Path, meanwhile: str, refused: str
) -> None:
    this = changing(postgres, tmp_path, MORE)
    run(this.url, meanwhile)
    if refused:
        with pytest.raises(ToolRefused, match=refused):
            this.apply()
        assert this.state == (0, "a")
    else:
        assert this.apply().steps == 1 and this.apply().already


def test_on_the_same_version_the_whole_schema_is_compared(postgres: Server, tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match="would have another schema"):
        changing(postgres, tmp_path, MORE, postgres.major).apply()


def test_on_another_version_what_is_resumed_ends_where_it_was_to_end(postgres: Server, tmp_path: Path) -> None:
    this, asked = changing(postgres, tmp_path, BLOCKS), iter([False, False, True])
    with pytest.raises(ToolRefused, match="stopped; the first 2 of its steps"):
        this.apply(stop=lambda: next(asked))
    assert this.state == (1, "a")
    run(this.url, "CREATE TABLE meanwhile (id int)")
    with pytest.raises(ToolRefused, match="would have another schema"):
        this.apply()
    run(this.url, "DROP TABLE meanwhile")
    assert this.apply().steps == 1 and this.state == (2, "b")


@pytest.mark.parametrize(
    ("statements", "touched"),
    [
        (("ALTER TABLE users ADD phone text DEFAULT 'x';", "CREATE TABLE new (id int);", "INSERT INTO new VALUES (1);"), ""),
        (("UPDATE users SET name = 'x' WHERE id = 2;",), "users"),
        (("UPDATE users SET name = 'x' WHERE id = 99;",), ""),  # rows that are not there
        (("INSERT INTO counter VALUES (1);",), "counter"),
        (("DELETE FROM counter WHERE n = 5; INSERT INTO users VALUES (9, 'i@example.org');",), "users"),
        (("CREATE TABLE twin (LIKE users INCLUDING ALL);", "INSERT INTO twin TABLE users;", "DROP TABLE users;",
          "ALTER TABLE twin RENAME TO users;"), "users"),
    ],
)  # fmt: skip
def test_what_only_added_in_the_rehearsal_only_adds(
    postgres: Server, tmp_path: Path, statements: tuple[str, ...], touched: str
) -> None:
    this = case(postgres, tmp_path, one(*statements))
    this.approved = dataclasses.replace(this.approved, added_only=True)
    if touched:
        with pytest.raises(
            ToolRefused, match=f"only added, and now rows of {touched} were written; nothing was applied"
        ):
            this.apply()
        assert this.state == (0, "a")
    else:
        assert this.apply().steps == 1
