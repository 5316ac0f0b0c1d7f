"""Rehearsed on one version of PostgreSQL and applied to another, whose words for the same schema differ."""

from pathlib import Path

import psycopg
import pytest
from pg_applying import Notes, identity_of
from places import place
from postgres_server import Server, fresh_database
from sql_projects import write

from backend_crew.tools import pg_schema
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.lint_context import BOOKKEEPING
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.protocol import Script
from backend_crew.tools.migrators.sql import SqlMigrator
from backend_crew.tools.pg_apply import Approved, apply_postgresql
from backend_crew.tools.pg_identity import parse_postgresql_url
from backend_crew.tools.pg_source import PostgresSource
from backend_crew.tools.postgres import installations
from backend_crew.tools.rehearsal import COPY, rehearse
from backend_crew.tools.sandbox import Sandbox

# Of views and of what they join PostgreSQL 16 tells in fewer words than 15, and 18 knows more of NOT NULL.
OLD = """
CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO schema_migrations VALUES (1, false);
CREATE TABLE users (id bigserial PRIMARY KEY, email text NOT NULL UNIQUE, age int CHECK (age BETWEEN 0 AND 150));
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, total numeric(10, 2));
CREATE VIEW spent AS SELECT users.email, sum(orders.total) AS total FROM users JOIN orders ON orders.user_id = users.id
  GROUP BY users.email;
CREATE VIEW old_users AS SELECT email, age FROM users WHERE age > 60;
INSERT INTO users (email, age) VALUES ('a@example.org', 30), ('b@example.org', NULL);
INSERT INTO orders (user_id, total) VALUES (1, 9.5);
"""
UP = """
ALTER TABLE users ADD COLUMN phone varchar(30) CONSTRAINT phone_long CHECK (length(phone) > 3);
CREATE TABLE refunds (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
  why text NOT NULL DEFAULT 'late', kind varchar(10) CHECK (kind IN ('part', 'whole')));
CREATE INDEX refunds_why ON refunds (lower(why)) WHERE why <> '';
DROP INDEX IF EXISTS nothing;
"""
DOWN = "DROP TABLE refunds; ALTER TABLE users DROP COLUMN phone;"


def test_what_was_rehearsed_on_another_version_is_applied(sandbox: Sandbox, postgres: Server, tmp_path: Path) -> None:
    others = [one for one in installations() if one.major > postgres.major]
    if not others:
        pytest.skip(f"no PostgreSQL newer than {postgres.major} here")
    root = write(tmp_path / "repo", {"m/1_a.up.sql": "SELECT 1", "m/2_b.up.sql": UP, "m/2_b.down.sql": DOWN})
    migrator = SqlMigrator(root, MigrationTool("golang-migrate", None, "m", False, (), "m:1"))
    url = fresh_database(postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(OLD)
    source = PostgresSource(parse_postgresql_url(url), others[0], BOOKKEEPING)
    found = rehearse(place(sandbox, root), migrator, source=source)
    assert (found.status, found.data) == ("passed", COPY), found.findings
    assert any(f"your server is {postgres.major}." in one.text for one in found.findings)
    assert found.change is not None and found.change.major == others[0].major

    def apply(approved: Approved) -> int:
        def lines(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[str, ...]:
            return pg_schema.schema_lines(connection, migrator.tables)

        return apply_postgresql(source.address, approved, migrator, lines, Notes(tmp_path / "notes")).steps

    approved = Approved(
        Script(found.segments), identity_of(url), found.start, found.goal, found.steps[0].schema, change=found.change
    )
    with pytest.raises(ToolRefused, match="another schema"):
        apply(Approved(approved.script, approved.identity, found.start, found.goal, approved.schema))
    assert source.recorded(migrator) == found.start
    assert apply(approved) == len(found.segments)
    assert source.recorded(migrator) == found.goal
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*), count(phone) FROM users").fetchone() == (2, 0)
