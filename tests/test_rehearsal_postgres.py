"""A person's PostgreSQL is rehearsed on as a copy: what is found there, and that it stays as it was."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
import sql_projects
from places import place
from postgres_server import Server, fresh_database

from backend_crew.tools.migrations import detect
from backend_crew.tools.migrators.protocol import Pointing
from backend_crew.tools.migrators.sql import SqlMigrator
from backend_crew.tools.rehearsal import COPY, SCHEMA, Rehearsal, rehearse
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.sources import Source, source_of

LOSSY = """-- +goose Up
DELETE FROM orders WHERE total > 15;
UPDATE users SET email = lower(email);
ALTER TABLE orders ALTER COLUMN total TYPE integer USING total::integer;
-- +goose Down
SELECT 1;
"""
HERE = """
CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL,
  tstamp timestamp DEFAULT now());
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true);
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE orders (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), total numeric(10, 2) NOT NULL);
INSERT INTO users (email) VALUES ('Ann@example.org'), ('bo@example.org');
INSERT INTO orders (user_id, total) VALUES (1, 10.25), (2, 20.50), (2, 30.75);
"""


@pytest.fixture
def url(postgres: Server) -> str:
    """A database at the first migration, with rows."""
    found = fresh_database(postgres)
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute(HERE)
    return found


def state(server: Server, url: str) -> Mapping[str, str]:
    """The catalogue and every row, and what else a write would leave: transaction ids and sizes."""
    dump = subprocess.run([server.binaries / "pg_dump", url], capture_output=True, check=True).stdout
    lines = [line for line in dump.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT xact_commit >= 0, tup_inserted, tup_updated, tup_deleted, pg_database_size(oid), "
            "(SELECT array_agg(oid::text || ':' || pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE relkind = 'r')"
            " FROM pg_stat_database JOIN pg_database USING (datname) WHERE datname = current_database()"
        ).fetchone()
    return {"dump": hashlib.sha256(b"\n".join(lines)).hexdigest(), "else": repr(row)}


def tried(sandbox: Sandbox, repo: Path, source: Source | None) -> Rehearsal:
    """The rehearsal of a goose repository."""
    (tool,) = detect(repo)
    return rehearse(place(sandbox, repo), SqlMigrator(repo, tool, Pointing()), source=source)


def test_losses_are_told_apart_and_the_named_database_stays_as_it_was(
    sandbox: Sandbox, postgres: Server, url: str, tmp_path: Path
) -> None:
    first = "-- +goose Up\nSELECT 1::int;\n"
    repo = sql_projects.write(tmp_path, {"db/migrations/00001_a.sql": first, "db/migrations/00002_b.sql": LOSSY})
    source, before = source_of(url, repo), state(postgres, url)
    found = tried(sandbox, repo, source)
    assert (found.status, found.data, found.dialect) == ("failed", COPY, "postgresql")
    texts = [f"{one.severity}: {one.text}" for one in found.findings]
    assert "error: 2 of 3 rows of orders are gone after the upgrade" in texts
    assert "info: the upgrade changes values of users.email" in texts
    assert any("00002_b.sql has an empty downgrade" in one or "does not restore the schema" in one for one in texts), (
        texts
    )
    traced = [(one.lock, one.table, one.rewritten) for one in found.trace]
    assert ("AccessExclusiveLock", "orders", ("orders",)) in traced, "the change of type rewrites the table"
    assert state(postgres, url) == before
    with psycopg.connect(url, autocommit=True) as connection:  # the control: one row more is seen
        connection.execute("INSERT INTO users (email) VALUES ('cy@example.org')")
    assert state(postgres, url) != before


def test_of_a_large_database_the_schema_comes_along_and_rows_are_made_up(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    files = {"db/migrations/00001_a.sql": "-- +goose Up\nSELECT 1::int;\n"}
    files["db/migrations/00002_b.sql"] = (
        "-- +goose Up\nALTER TABLE users ADD note text;\n-- +goose Down\nALTER TABLE users DROP note;\n"
    )
    repo = sql_projects.write(tmp_path, files)
    source = source_of(url, repo)
    assert source is not None
    object.__setattr__(source, "limit", 0)
    found = tried(sandbox, repo, source)
    assert (found.status, found.data) == ("passed", SCHEMA), found.reason
    assert found.steps[0].tables["users"].rows > 2, "made-up rows, none of the person's"


def test_rules_of_a_new_table_are_tried_with_rows_that_break_them(sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    first = "-- +goose Up\nSELECT 1::int;\n"
    table = (
        "CREATE TABLE reviews (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id),"
        " stars integer NOT NULL CHECK (stars > 0), UNIQUE (user_id));\n"
    )
    second = f"-- +goose Up\n{table}-- +goose Down\nDROP TABLE reviews;\n"
    repo = sql_projects.write(tmp_path, {"db/migrations/00001_a.sql": first, "db/migrations/00002_b.sql": second})
    found = tried(sandbox, repo, source_of(url, repo))
    assert found.status == "passed", found.reason
    assert {one.rule: one.outcome for one in found.rules} == {
        "reviews: ((stars > 0))": "refused",
        "reviews.user_id references users": "refused",
        "reviews (user_id) unique": "refused",
    }
