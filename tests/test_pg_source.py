"""A person's PostgreSQL: only read, copied with what it needs, and tried in a scratch of ours."""

import os
from collections.abc import Iterator
from pathlib import Path

import postgres_server
import psycopg
import pytest
from postgres_scratch import BOOK, Book, look, run_sql, scratch_in

from backend_crew.tools import pg_source, process
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.facts import Ask
from backend_crew.tools.pg_identity import parse_postgresql_url
from backend_crew.tools.pg_source import PostgresSource, version
from backend_crew.tools.postgres import Installation, find_postgres
from backend_crew.tools.sandbox import Sandbox

SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a002');
CREATE TABLE users (id serial PRIMARY KEY, email varchar(120) UNIQUE, kind text CHECK (kind IN ('a', 'b')));
INSERT INTO users (email, kind) SELECT 'p' || n || '@example.org', 'a' FROM generate_series(1, 50) n;
CREATE TABLE app."Odd ""name" (id int REFERENCES users (id));
INSERT INTO app."Odd ""name" VALUES (1);
"""


@pytest.fixture
def installation(postgres: postgres_server.Server) -> Installation:
    return find_postgres(postgres.major)


@pytest.fixture
def source(postgres_url: str, installation: Installation) -> PostgresSource:
    """A person's database with two tables and fifty users."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SCHEMA)
    return PostgresSource(parse_postgresql_url(postgres_url), installation)


@pytest.fixture
def role(postgres: postgres_server.Server) -> Iterator[str]:
    """A role of the person's cluster that owns nothing."""
    name = f"reader of {os.getpid()}"
    with postgres.connect() as connection:
        connection.execute(f'CREATE ROLE "{name}"')
        yield name
        connection.execute(f'DROP ROLE "{name}"')


def asked(source: PostgresSource, sql: str) -> None:
    with psycopg.connect(source.address.dsn, autocommit=True) as connection:
        connection.execute(sql)


def test_a_copy_holds_what_the_database_holds(
    source: PostgresSource, sandbox: Sandbox, tmp_path: Path, role: str
) -> None:
    asked(source, f'GRANT SELECT ON users TO "{role}"; ALTER TABLE users ENABLE ROW LEVEL SECURITY; '
                  f'CREATE POLICY p ON users TO "{role}" USING (true)')  # fmt: skip
    try:
        assert source.recorded(BOOK) == ("a002",)
        assert source.whole and source.size > 1_000_000
        source.copy(tmp_path / "copy")
        (tree := tmp_path / "tree").mkdir()
        with scratch_in(sandbox, tree, source.installation) as scratch:
            scratch.load(tmp_path / "copy")
            found = look(scratch)
            assert found.recorded == ("a002",)
            assert {name: table.rows for name, table in found.tables.items()} == {"users": 50, 'app.Odd "name': 1}
            assert f"grant SELECT on table users to {role}" in found.schema
            assert run_sql(scratch, 'ALTER TABLE users ADD x int; DROP TABLE app."Odd ""name"').ok
    finally:
        asked(source, f'DROP POLICY p ON users; REVOKE ALL ON users FROM "{role}"')


def test_the_password_is_in_no_argument_and_in_no_message(
    source: PostgresSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    run = process.run

    def watched(argv: tuple[str, ...], **rest: object) -> object:
        seen.append(argv)
        return run(argv, **rest)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(process, "run", watched)
    source.copy(tmp_path / "copy")
    secret = source.address.password
    assert secret and seen
    assert not [word for argv in seen for word in argv if secret in word]
    assert secret not in repr(source) + source.name
    wrong = PostgresSource(parse_postgresql_url(f"postgresql://nobody:{'s3cr3t'}@127.0.0.1:1/x"), source.installation)
    with pytest.raises(ToolFault) as caught:
        wrong.copy(tmp_path / "copy")
    assert "s3cr3t" not in str(caught.value)


def test_above_the_limit_only_the_tools_own_rows_come_along(
    source: PostgresSource, sandbox: Sandbox, tmp_path: Path
) -> None:
    small = PostgresSource(source.address, source.installation, kept=BOOK.tables, limit=1)
    assert (small.whole, small.size) == (False, 0)
    small.copy(tmp_path / "copy")
    (tree := tmp_path / "tree").mkdir()
    with scratch_in(sandbox, tree, source.installation) as scratch:
        scratch.load(tmp_path / "copy")
        found = look(scratch)
        assert found.recorded == ("a002",)
        assert {table.rows for table in found.tables.values()} == {0}
        assert scratch.fill(BOOK) == {}


def test_nothing_can_be_written_while_reading(source: PostgresSource) -> None:
    class Writing(Book):
        def recorded(self, ask: Ask) -> tuple[str, ...]:
            return tuple(str(row) for row in ask("DELETE FROM users RETURNING id"))

    with pytest.raises(ToolFault, match="read-only transaction"):
        source.recorded(Writing())


def test_it_says_which_database_it_is(source: PostgresSource, postgres: postgres_server.Server) -> None:
    identity, standby = source.identity()
    assert (identity.name, identity.host, identity.port) == (source.address.database, "127.0.0.1", postgres.port)
    assert int(identity.system_identifier) and identity.oid and not standby
    assert version(source.address).startswith(f"{postgres.major}.")
    assert source.difference == ""


def test_what_cannot_be_copied_says_why(source: PostgresSource, role: str, tmp_path: Path) -> None:
    asked(source, f"ALTER ROLE \"{role}\" LOGIN PASSWORD 'x'")
    url = f"postgresql://{role.replace(' ', '%20')}:x@127.0.0.1:{source.address.port}/{source.address.database}"
    with pytest.raises(ToolFault, match=r"could not be copied for the rehearsal: .*permission denied"):
        PostgresSource(parse_postgresql_url(url), source.installation).copy(tmp_path / "copy")


def test_an_extension_that_is_not_here_is_named(source: PostgresSource, sandbox: Sandbox, tmp_path: Path) -> None:
    source.copy(tmp_path / "copy")
    header, _, archive = (tmp_path / "copy").read_bytes().partition(b"\n")
    (tmp_path / "copy").write_bytes(
        header.replace(b'"extensions": []', b'"extensions": [["nowhere", "public"]]') + b"\n" + archive
    )
    (tree := tmp_path / "tree").mkdir()
    why = pytest.raises(ToolFault, match="extension nowhere is not available in the rehearsal's PostgreSQL")
    with scratch_in(sandbox, tree, source.installation) as scratch, why:
        scratch.load(tmp_path / "copy")


def test_extensions_in_schemas_of_their_own_are_there_before_their_tables(
    source: PostgresSource, sandbox: Sandbox, tmp_path: Path
) -> None:
    try:
        asked(source, "CREATE EXTENSION citext SCHEMA app; ALTER TABLE users ADD nick app.citext UNIQUE")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL has no citext")
    source.copy(tmp_path / "copy")
    (tree := tmp_path / "tree").mkdir()
    with scratch_in(sandbox, tree, source.installation) as scratch:
        scratch.load(tmp_path / "copy")
        found = look(scratch)
    assert "column users.nick app.citext" in found.schema
    assert next(line for line in found.schema if line.startswith(("extension", "function"))).startswith(
        "extension citext"
    )


def test_an_unsupported_server_is_refused(source: PostgresSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg_source, "SUPPORTED", range(98, 100))
    with pytest.raises(ToolRefused, match=r"supported are 98 to 99"):
        source.recorded(BOOK)
