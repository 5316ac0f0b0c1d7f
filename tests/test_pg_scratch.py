"""A scratch PostgreSQL in a box: what the repository's code may do there, what is told of it, and rows made up for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_scratch import BOOK, look, run_sql, scratch_in

from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.migrators.protocol import Segment
from backend_crew.tools.pg_facts import read
from backend_crew.tools.pg_scratch import PostgresScratch
from backend_crew.tools.postgres import installations
from backend_crew.tools.rehearsal_findings import after_down, after_up
from backend_crew.tools.sandbox import Sandbox

SHOP = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a002');
CREATE TABLE users (id serial PRIMARY KEY, email varchar(120) NOT NULL UNIQUE, name text);
CREATE SCHEMA app;
CREATE TABLE app.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  status varchar(10) NOT NULL CHECK (status IN ('open', 'paid')), total numeric(10, 2) CHECK (total >= 0));
CREATE INDEX ix_orders ON app.orders (user_id, total DESC) WHERE total > 0;
INSERT INTO users (email, name) VALUES ('a@example.org', 'Ann'), ('b@example.org', NULL);
INSERT INTO app.orders (user_id, status, total) VALUES (1, 'open', 1.5), (2, 'paid', 2);
"""
EVERYTHING = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN quantity AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE things (id serial PRIMARY KEY, mood mood DEFAULT 'sad' NOT NULL, moods mood[], u uuid NOT NULL UNIQUE,
  doc jsonb, raw json, tags text[] NOT NULL, at timestamptz DEFAULT now(), day date, price numeric(4, 2), big bigint,
  small smallint NOT NULL, code char(3) NOT NULL, quantity quantity NOT NULL, up text GENERATED ALWAYS AS (code || 'x') STORED,
  kind varchar(9) CHECK (kind IN ('it''s', 'b')), level int CHECK (level IN (10, 20)), blob bytea, span int4range,
  home inet, parent int REFERENCES things (id), lasts interval, flag bool NOT NULL, EXCLUDE USING gist (span WITH &&));
CREATE TABLE events (day date NOT NULL, n int) PARTITION BY RANGE (day);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE strict (id int PRIMARY KEY, v text NOT NULL CHECK (v ~ '^[0-9]{8}$'));
CREATE TABLE child (strict_id int NOT NULL REFERENCES strict (id));
CREATE TABLE "Odd ""name" ("a b" int);
CREATE VIEW v AS SELECT code FROM things WHERE kind IN ('it''s', 'b');
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM things;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER tr BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION f();
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE RULE quiet AS ON DELETE TO strict DO INSTEAD NOTHING;
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON things USING (flag);
GRANT SELECT ON things TO PUBLIC;
CREATE STATISTICS st ON id, code FROM things;
CREATE SEQUENCE lone START 5 INCREMENT 2;
CREATE UNIQUE INDEX uq ON things (lower(code)) INCLUDE (big);
CREATE INDEX g ON things USING gin (doc);
"""


@pytest.fixture(scope="module", params=installations() or [None], ids=lambda one: one.version if one else "none")
def scratch(
    request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresScratch]:
    if request.param is None:
        pytest.skip("no PostgreSQL here")
    with scratch_in(sandbox, tmp_path_factory.mktemp("tree"), request.param) as found:
        yield found


@pytest.fixture
def shop(scratch: PostgresScratch) -> PostgresScratch:
    """A new database with two tables and four rows."""
    scratch.create()
    done = run_sql(scratch, SHOP)
    assert done.ok, done.stderr
    return scratch


def test_what_it_holds_is_told_in_the_lines_that_every_engine_has(shop: PostgresScratch) -> None:
    found = look(shop)
    assert found.recorded == ("a002",)
    assert {
        "column users.id INTEGER NOT NULL DEFAULT nextval('public.users_id_seq'::regclass) KEY 1",
        "column app.orders.id BIGINT NOT NULL KEY 1 IDENTITY ALWAYS",
        "column users.email CHARACTER VARYING(120) NOT NULL",
        "check app.orders: ((total >= (0)::numeric))",
        "foreign key app.orders references users update NO ACTION delete CASCADE: user_id>id",
        "unique on users (email)",
        "index ix_orders on app.orders (user_id, total desc) WHERE (total > (0)::numeric)",
        "table users",
        "schema app",
    } <= set(found.schema)
    assert not [line for line in found.schema if "alembic_version" in line]
    assert set(found.tables) == {"users", "app.orders"}
    users = found.tables["users"]
    assert (users.rows, users.non_null) == (2, {"id": 2, "email": 2, "name": 1})


def test_the_findings_of_a_rehearsal_read_these_lines(shop: PostgresScratch) -> None:
    before = look(shop)
    up = look(
        shop,
        "ALTER TABLE users DROP COLUMN name; DELETE FROM app.orders WHERE id = 1; "
        "ALTER TABLE users DROP CONSTRAINT users_email_key; ALTER TABLE app.orders DROP CONSTRAINT orders_user_id_fkey",
    )
    told = [finding.text for finding in after_up(before, up)]
    assert "1 of 2 rows of app.orders are gone after the upgrade" in told
    assert "column users.name is dropped: 1 values gone, and a downgrade brings none back" in told
    assert "the upgrade removes the rule: unique on users (email)" in told
    assert any("the upgrade removes the rule: foreign key app.orders references users" in text for text in told)
    down = look(shop, "ALTER TABLE users ADD name text")
    assert any("the downgrade does not restore the schema" in finding.text for finding in after_down(before, up, down))


def test_the_same_schema_reached_in_another_way_gives_the_same_lines(shop: PostgresScratch, tmp_path: Path) -> None:
    before = look(shop)
    moved = look(
        shop,
        "ALTER TABLE users DROP COLUMN email; ALTER TABLE users ADD email varchar(120) UNIQUE; "
        "UPDATE users SET email = (ARRAY['a', 'b'])[id] || '@example.org'; ALTER TABLE users ALTER email SET NOT NULL; "
        "ALTER TABLE app.orders DROP CONSTRAINT orders_status_check; GRANT SELECT ON users TO PUBLIC; "
        "REVOKE SELECT ON users FROM PUBLIC; "
        "ALTER TABLE app.orders ADD CHECK (status = ANY (ARRAY['open'::varchar::text, 'paid'::varchar::text]))",
    )
    assert set(moved.schema) ^ set(before.schema) == set()
    assert moved.tables == before.tables
    assert {name: table.checksums for name, table in moved.tables.items()} == {
        name: table.checksums for name, table in before.tables.items()
    }
    changed = look(shop, "UPDATE users SET name = 'Anna' WHERE name = 'Ann'")
    assert changed.tables["users"].checksums != before.tables["users"].checksums


def test_nothing_of_a_schema_is_missed_and_a_saved_copy_is_the_same(shop: PostgresScratch, tmp_path: Path) -> None:
    first = look(shop, EVERYTHING)
    kinds = {line.split()[0] for line in first.schema}
    assert kinds >= {
        "aggregate", "check", "column", "domain", "enum", "foreign", "function", "grant", "index", "materialized", "policy",
        "schema", "sequence", "statistics", "table", "trigger", "type", "unique", "view",
    } - {"aggregate"}  # fmt: skip
    # Each is seen: altering it changes exactly its lines.
    altered = {
        "ALTER TYPE mood ADD VALUE 'mad'": "enum mood",
        "ALTER SEQUENCE lone INCREMENT 3": "sequence lone",
        "ALTER TABLE things DISABLE TRIGGER tr": "trigger tr on things",
        "ALTER TABLE things DISABLE ROW LEVEL SECURITY": "table things",
        "ALTER DOMAIN quantity SET DEFAULT 1": "domain quantity",
        "DROP AGGREGATE total (int)": "function total",
        "DROP RULE quiet ON strict": "trigger quiet on strict",
        "DROP INDEX uq": "unique uq on things",
        "ALTER POLICY p ON things TO scratch": "policy p on things",
        "REVOKE SELECT ON things FROM PUBLIC": "grant SELECT on table things",
        "DROP STATISTICS st": "statistics st",
    }
    changed = set(first.schema) ^ set(look(shop, "; ".join(altered)).schema)
    starts = [[start for start in altered.values() if line.startswith(start)] for line in changed]
    assert all(starts), changed
    assert {start for found in starts for start in found} == set(altered.values())
    shop.fill(BOOK)
    full = look(shop)
    shop.save(tmp_path / "saved")
    shop.load(tmp_path / "saved")
    again = look(shop)
    assert set(again.schema) ^ set(full.schema) == set()
    assert again == full
    assert {n: t.checksums for n, t in again.tables.items()} == {n: t.checksums for n, t in full.tables.items()}
    # What was restored belongs to the role that migrates.
    assert run_sql(shop, "ALTER TABLE things ADD more int; DROP TYPE pair; DROP SCHEMA app CASCADE").ok


def test_made_up_rows_obey_what_the_tables_ask_for(scratch: PostgresScratch) -> None:
    scratch.create()
    assert run_sql(scratch, SHOP.split("INSERT INTO users", maxsplit=1)[0], EVERYTHING).ok
    empty = scratch.fill(BOOK)
    assert set(empty) == {"strict", "child"}
    assert "violates check constraint" in empty["strict"] and "null value" in empty["child"]
    found = look(scratch)
    rows = {name: table.rows for name, table in found.tables.items() if table.rows}
    assert rows == {name: 3 for name in ("users", "app.orders", "things", "events", "events_2024", 'Odd "name')}
    things = found.tables["things"].non_null
    assert things["u"] == 3 and things["doc"] == 2 and things["parent"] < 3
    # Rows that are there are left alone.
    scratch.fill(BOOK)
    assert look(scratch) == found


def test_the_tools_commands_reach_the_database_as_a_role_without_power(shop: PostgresScratch) -> None:
    psql = (shop.server.installation.program("psql"), "-X", "-A", "-t")
    done = shop.run(
        (*psql, shop.url(), "-c", "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
    )
    assert (done.exit_code, done.stdout) == (0, "scratch|f\n"), done.stderr
    for harm in ("COPY users TO PROGRAM 'id'", "COPY users FROM '/etc/passwd'", "CREATE ROLE boss SUPERUSER"):
        assert "permission denied" in (said := run_sql(shop, harm).stderr) or "must be superuser" in said
    # Our own roles cannot log in while the repository's command runs.
    for role, password in shop.server.passwords.items():
        url = shop.url().replace(f"{shop.parts()['USER']}:{shop.parts()['PASSWORD']}", f"{role}:{password}")
        done = shop.run((*psql, url, "-c", "SELECT 1"))
        assert done.ok == (role == shop.parts()["USER"])
    assert shop.run(("/bin/sh", "-c", "exit 7")).exit_code == 7
    assert shop.run(("/no/such/program",)).exit_code == 127
    assert not [name for name in shop.server.passwords.values() if name in shop.run(("env",)).stdout]


def test_settings_that_a_command_leaves_count_for_nothing(shop: PostgresScratch) -> None:
    place = shop.server.place("data")
    bad = f"echo 'shared_preload_libraries = evil' | tee {place}/postgresql.conf >{place}/postgresql.auto.conf; kill -9 $PPID"
    shop.run(("/bin/sh", "-c", bad))
    assert look(shop).recorded == ("a002",)


def test_sql_runs_segment_by_segment_until_one_fails(shop: PostgresScratch) -> None:
    done = run_sql(
        shop,
        "CREATE TABLE a (id int)",
        Segment("CREATE INDEX CONCURRENTLY ix_a ON a (id);\nVACUUM a;", transactional=False),
        "CREATE TABLE b (id int);\nSELECT nothing;",
        "CREATE TABLE c (id int)",
    )
    assert not done.ok and 'column "nothing" does not exist' in done.stderr
    found = look(shop)
    assert {"a", "b", "c"} & set(found.tables) == {"a"}
    assert "index ix_a on a (id)" in found.schema


@pytest.mark.parametrize("sql", ["SELECT 1 \\! id", "\\copy users from x", "COPY users FROM stdin;\n1\n\\.\n"])
def test_what_only_psql_understands_is_refused(shop: PostgresScratch, sql: str) -> None:
    with pytest.raises(ToolRefused, match="only psql understands"):
        run_sql(shop, sql)


def test_references_that_were_never_checked_are_counted(shop: PostgresScratch) -> None:
    found = look(
        shop,
        "ALTER TABLE app.orders DROP CONSTRAINT orders_user_id_fkey; INSERT INTO app.orders (user_id, status) VALUES (9, 'open'); "
        "ALTER TABLE app.orders ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID",
    )
    assert found.broken == {"app.orders": 1}
    assert any(line.endswith("user_id>id not valid") for line in found.schema)


def test_reading_runs_no_cast_of_the_repository(shop: PostgresScratch) -> None:
    trap = (
        "CREATE TYPE m AS ENUM ('x'); CREATE TABLE t (m m); INSERT INTO t VALUES ('x'); "
        "CREATE FUNCTION boom(m) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'boom'; END $$; "
        "CREATE CAST (m AS text) WITH FUNCTION boom(m)"
    )
    found = look(shop, trap)
    assert found.tables["t"].rows == 1
    assert "boom" in run_sql(shop, "SELECT m::text FROM t").stderr


def test_a_database_that_is_gone_has_no_facts(shop: PostgresScratch, tmp_path: Path) -> None:
    done = shop.server.psql(
        shop.server.put("x.sql", "ALTER DATABASE scratch RENAME TO other;"), role="postgres", database="scratch"
    )
    assert not done.ok  # nobody renames the database that he is in
    shop.server.put("x.sql", "CREATE DATABASE aside TEMPLATE scratch;\n\\connect aside\nDROP DATABASE scratch;")
    assert shop.server.psql(shop.server.place("x.sql"), role="postgres").ok
    assert shop.facts(BOOK) is None
    with pytest.raises(ToolFault, match="does not exist"):
        shop.save(tmp_path / "saved")


def test_two_columns_of_one_name_both_count() -> None:
    told = read('["asked", 0]\n{"a": 1, "a": null}\n', frozenset())
    assert told.asked == {0: [(1, None)]}
