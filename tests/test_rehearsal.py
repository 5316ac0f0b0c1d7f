"""Migrations tried on copies: what is found, and that the person's database is only read."""

import contextlib
import hashlib
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from places import BOOK, facts, migrator, place, scratch, sqlite_revision

from backend_crew.tools import sample_rows, sqlite
from backend_crew.tools.bubblewrap import Bubblewrap
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.facts import DatabaseFacts
from backend_crew.tools.rehearsal import COPY, GENERATED, Rehearsal, rehearse
from backend_crew.tools.rehearsal_findings import after_down, after_up, of_script, without_down
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox
from backend_crew.tools.scratch import DATABASE
from backend_crew.tools.sources import SqliteSource
from backend_crew.tools.sqlite import opened, parse_sqlite_url, snapshot

SHOP = Path(__file__).parent / "data" / "alembic_shop"
HEAD = 'import sqlalchemy as sa\nfrom alembic import op\nrevision = "a003"\ndown_revision = "a002"\n'
SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a002');
CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, email VARCHAR(120) NOT NULL UNIQUE, name VARCHAR(80));
CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),
  status VARCHAR(10) NOT NULL CONSTRAINT ck_orders_status CHECK (status IN ('open', 'paid', 'sent')),
  total NUMERIC(10, 2) NOT NULL, placed_at DATETIME NOT NULL);
CREATE INDEX ix_orders_user_id ON orders (user_id);
INSERT INTO users VALUES (1, 'a@example.org', 'Ann'), (2, 'b@example.org', 'Bo'), (3, 'c@example.org', NULL);
INSERT INTO orders VALUES (1, 1, 'open', 1.5, '2026-01-01'), (2, 2, 'sent', 2, '2026-01-02'), (3, 2, 'sent', 3, '2026');
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(found.reason)
    return found


def database(folder: Path, script: str = SCHEMA, *, wal: bool = False) -> Path:
    """A SQLite file made by this script."""
    path = folder / "live.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
        connection.executescript(script)
    return path


def look(folder: Path, script: str) -> DatabaseFacts:
    """The facts of a database made by this script."""
    folder.mkdir()
    with opened(database(folder, script)) as connection:
        return facts(connection)


def add(shop: Path, up: str, down: str) -> None:
    """The new revision a003."""
    text = f"{HEAD}def upgrade():\n    {up}\ndef downgrade():\n    {down}\n"
    (shop / "migrations/versions/a003_new.py").write_text(text)


def tried(
    sandbox: Sandbox | NoSandbox, shop: Path, *, live: Path | None = None, env_name: str | None = "DATABASE_URL"
) -> Rehearsal:
    """The rehearsal of the repository as it is."""
    source = SqliteSource(live) if live else None
    return rehearse(place(sandbox, shop), migrator(shop, env_name), source=source)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_sound_migration_passes_on_generated_rows(sandbox: Sandbox, shop: Path) -> None:
    add(shop, 'op.add_column("users", sa.Column("phone", sa.String(30)))', 'op.drop_column("users", "phone")')
    found = tried(sandbox, shop)
    assert (found.status, found.data, found.findings) == ("passed", GENERATED, ())
    assert (found.from_revision, found.to_revision) == ("a002", "a003")
    assert [(step.name, step.ok) for step in found.steps] == [("up", True), ("down", True), ("up again", True)]
    assert found.steps[0].schema == found.steps[2].schema != found.steps[1].schema
    assert found.steps[0].tables["users"].rows == 3
    assert found.steps[0].tables["users"].non_null["name"] == 2
    assert "ADD COLUMN phone" in (found.sql_up or "")
    assert "DROP COLUMN phone" in (found.sql_down or "")


def test_losses_are_found_and_the_database_is_only_read(sandbox: Sandbox, shop: Path, tmp_path: Path) -> None:
    live = database(tmp_path, wal=True)
    before = digests(tmp_path)
    # alembic.ini leads to the live file, and no variable is named: the copy must be used even so.
    ini = shop / "alembic.ini"
    ini.write_text(ini.read_text().replace("sqlite:///shop.db", f"sqlite:///{live}"))
    add(
        shop,
        "op.execute(\"DELETE FROM orders WHERE status = 'sent'\"); op.drop_column('users', 'name')",
        "sa.inspect(op.get_bind()); op.add_column('users', sa.Column('name', sa.String(80)))",
    )
    found = tried(sandbox, shop, live=live, env_name=None)
    errors = [finding.text for finding in found.findings if finding.severity == "error"]
    assert (found.status, found.data) == ("failed", COPY)
    assert errors == [
        "2 of 3 rows of orders are gone after the upgrade",
        "column users.name is dropped: 2 values gone, and a downgrade brings none back",
    ]
    # The weak way, comparing schemas, calls this reversible.
    assert all(step.ok for step in found.steps)
    assert found.sql_down is None
    assert any("cannot be rendered" in finding.text for finding in found.findings if finding.severity == "info")
    assert digests(tmp_path) == before


def test_a_column_that_cannot_be_null_fails_on_rows(sandbox: Sandbox, shop: Path) -> None:
    add(
        shop,
        'with op.batch_alter_table("users") as b: b.alter_column("name", existing_type=sa.String(80), nullable=False)',
        'with op.batch_alter_table("users") as b: b.alter_column("name", existing_type=sa.String(80), nullable=True)',
    )
    found = tried(sandbox, shop)
    assert (found.status, [step.ok for step in found.steps]) == ("failed", [False])
    assert "NOT NULL constraint failed" in found.steps[0].detail
    assert "[parameters:" not in found.steps[0].detail


def test_rules_of_a_new_table_are_tried_with_rows_that_break_them(sandbox: Sandbox, shop: Path, tmp_path: Path) -> None:
    columns = "sa.Column('id', sa.Integer, primary_key=True), sa.Column('stars', sa.Integer, nullable=False)"
    keys = "sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id'), nullable=False), sa.UniqueConstraint('user_id')"
    add(
        shop,
        f"op.create_table('reviews', {columns}, {keys}, sa.CheckConstraint('stars BETWEEN 1 AND 5'))",
        "op.drop_table('reviews')",
    )
    found = tried(sandbox, shop, live=database(tmp_path))
    assert {one.rule: one.outcome for one in found.rules} == {
        "reviews: stars between 1 and 5": "refused",
        "reviews.user_id references users": "refused",
        "reviews (user_id) unique": "refused",
    }
    assert found.status == "passed" and found.findings == ()


def test_a_url_written_into_env_is_noticed(sandbox: Sandbox, shop: Path) -> None:
    env = shop / "migrations/env.py"
    env.write_text(env.read_text().replace("url = os.environ", 'url = "sqlite:///other.db" or os.environ'))
    add(shop, "op.execute('DELETE FROM users')", "pass")
    live = database(shop, SCHEMA)
    live = live.rename(shop / "other.db")
    before = digests(shop)
    found = tried(sandbox, shop, live=live)
    assert (found.status, found.steps) == ("not rehearsed", ())
    assert "take its URL from elsewhere" in found.reason
    assert digests(shop) == before


def test_a_link_that_the_migration_leaves_is_not_followed(sandbox: Sandbox, shop: Path, tmp_path: Path) -> None:
    secret = database(tmp_path, "CREATE TABLE secret (word TEXT); INSERT INTO secret VALUES ('xyzzy');")
    env = shop / "migrations/env.py"
    swap = f"path = url.removeprefix('sqlite:///')\nos.remove(path)\nos.symlink({str(secret)!r}, path)\n"
    env.write_text(f"{env.read_text()}\n{swap}")
    add(shop, "op.execute('SELECT 1')", "op.execute('SELECT 1')")
    found = tried(sandbox, shop)
    assert (found.status, found.steps) == ("not rehearsed", ())
    assert "not a plain file" in found.reason
    # The weak way opens what the path leads to.
    (tmp_path / "box").symlink_to(secret)
    with opened(tmp_path / "box") as weak:
        assert weak.execute("SELECT word FROM secret").fetchone() == ("xyzzy",)


def test_the_sql_that_is_tried_beside_ends_with_the_tools_own_run(sandbox: Sandbox, shop: Path) -> None:
    add(shop, "(__import__('time').sleep(100) if op.get_context().as_sql else op.execute('broken'))", "pass")
    started = time.monotonic()
    found = tried(sandbox, shop)
    assert (found.status, [step.ok for step in found.steps]) == ("failed", [False])
    assert time.monotonic() - started < 50
    assert found.sql_up is None and not [one for one in found.findings if "rendered" in one.text]


@pytest.mark.parametrize("left", ["-wal", "-journal"])
def test_what_an_interrupted_write_left_in_the_box_is_finished_or_undone(
    sandbox: Sandbox, shop: Path, tmp_path: Path, left: str
) -> None:
    # A reader in the box could not make it any other way than by being killed in the middle.
    writes = {
        "-wal": "PRAGMA journal_mode=WAL; UPDATE users SET name = 'Cy'",
        "-journal": "PRAGMA cache_spill=1; PRAGMA cache_size=1; BEGIN; UPDATE users SET name = hex(randomblob(40))",
    }
    kill = "import os, sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).executescript(sys.argv[2]); os._exit(0)"
    many = "WITH RECURSIVE n(i) AS (SELECT 9 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
    live = database(tmp_path, f"{SCHEMA}{many} INSERT INTO users SELECT i, i, 'Di' FROM n;")
    with scratch(sandbox, shop, tmp_path / "private") as made:
        made.load(live)
        python, path = str(made.box.runtime.python), made.url().removeprefix("sqlite:///")
        before = made.facts(BOOK)
        assert made.run((python, "-c", kill, path, writes[left])).ok
        assert made.box.read(f"{DATABASE}{left}")
        after, again = made.facts(BOOK), made.facts(BOOK)
        made.save(tmp_path / "saved")
    assert before is not None and after is not None and after == again
    assert (after.tables["users"] == before.tables["users"]) == (left == "-journal")
    with opened(tmp_path / "saved") as saved:
        assert facts(saved).tables == after.tables
    assert not list((tmp_path / "private").glob("outside*"))


def test_tables_that_are_only_counted_are_named(
    sandbox: Sandbox, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CHECKSUM_CELLS", 10)
    add(shop, "op.execute(\"UPDATE users SET name = 'x' WHERE id = 1\")", "pass")
    found = tried(sandbox, shop, live=database(tmp_path))
    assert [(one.severity, one.text.split(", not")[0]) for one in found.findings if "counted" in one.text] == [
        ("info", "values of orders are counted")
    ]
    assert any("overwr" in one.text or "bring back" in one.text for one in found.findings), "users are compared"
    assert not found.added_only


def test_a_checksum_tells_types_apart_and_takes_any_bytes(tmp_path: Path) -> None:
    cells = ["1", "1.0", "'1'", "x'31'", "NULL", "''", "-1", "-2", "'a' || char(0)", "CAST(x'ff' AS TEXT)", "x'ff'"]
    sums = []
    for number, cell in enumerate(cells):
        found = look(tmp_path / str(number), f"CREATE TABLE t (a); INSERT INTO t VALUES ({cell}), ('z')")
        sums.append((found.tables["t"].checksums or {})["a"])
    assert len(set(sums)) == len(cells)
    there = look(tmp_path / "there", "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)")
    moved = look(tmp_path / "moved", "CREATE TABLE t (a); INSERT INTO t VALUES (0), (2), (4)")
    order = look(tmp_path / "order", "CREATE TABLE t (a); INSERT INTO t VALUES (3), (1), (2)")
    assert there.tables == order.tables and there.tables != moved.tables


def test_an_irreversible_migration_is_believed(sandbox: Sandbox, shop: Path, tmp_path: Path) -> None:
    add(shop, 'op.drop_index("ix_orders_user_id", "orders")', "raise NotImplementedError")
    found = tried(sandbox, shop, live=database(tmp_path))
    assert (found.status, [step.name for step in found.steps]) == ("passed", ["up"])
    assert [(one.severity, "irreversible" in one.text) for one in found.findings] == [("warning", True)]


def test_without_anything_to_try_nothing_is_claimed(shop: Path, tmp_path: Path) -> None:
    # None of these gets as far as the sandbox, so a broken one must do.
    broken = Sandbox(Bubblewrap(Path("/nonexistent"), "0", Path("/nonexistent"), None))
    found = tried(NoSandbox("namespaces are off", "Allow them"), shop)
    assert (found.status, "namespaces are off. Allow them" in found.reason) == ("not rehearsed", True)
    live = database(tmp_path)
    assert "nothing is new: a002" in tried(broken, shop, live=live).reason
    with contextlib.closing(sqlite3.connect(live)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'gone'")
    assert "gone is no migration" in tried(broken, shop, live=live).reason
    ini = shop / "alembic.ini"
    ini.write_text(ini.read_text().replace("sqlite:///shop.db", "mysql://db/shop"))
    assert "the project uses MySQL" in tried(broken, shop).reason


def test_a_rule_that_a_rebuilt_table_forgets_is_told(tmp_path: Path) -> None:
    # Alembic's batch mode rebuilds a table from what SQLAlchemy reflects, and an unnamed UNIQUE is not among it.
    before = look(tmp_path / "before", SCHEMA)
    after = look(tmp_path / "after", SCHEMA.replace(" UNIQUE", "").replace("REFERENCES users (id)", ""))
    assert [(one.severity, one.text) for one in after_up(before, after)] == [
        (
            "warning",
            "the upgrade removes the rule: foreign key orders references users update NO ACTION delete NO ACTION: "
            "user_id>id",
        ),
        ("warning", "the upgrade removes the rule: unique on users (email)"),
    ]


def test_an_empty_downgrade_is_told_apart_by_schema_and_by_data(tmp_path: Path) -> None:
    before = look(tmp_path / "before", SCHEMA)
    up = look(tmp_path / "up", SCHEMA + "ALTER TABLE users ADD phone TEXT; UPDATE users SET name = 'x' WHERE id < 3;")
    assert [one.text for one in after_up(before, up)] == ["the upgrade changes values of users.name"]
    assert [(one.severity, one.text) for one in after_down(before, up, up)] == [
        ("error", "the downgrade does not restore the schema; missing: nothing; left over: column users.phone TEXT"),
        ("error", "the downgrade does not bring back the values of users.name"),
    ]


def test_tables_that_vanish_and_tables_that_are_renamed(tmp_path: Path) -> None:
    before = look(tmp_path / "before", SCHEMA)
    renamed = look(tmp_path / "renamed", SCHEMA + "ALTER TABLE users RENAME TO people;"
                   "ALTER TABLE orders RENAME COLUMN total TO amount;")  # fmt: skip
    assert [(one.severity, one.text) for one in after_up(before, renamed)] == [
        ("info", "column orders.total became orders.amount, with its 3 values"),
        ("info", "table users became people, with its 3 rows"),
    ]
    dropped = look(tmp_path / "dropped", SCHEMA + "DROP TABLE users;")
    assert [(one.severity, one.text) for one in after_up(before, dropped)] == [
        ("error", "table users is dropped with 3 rows"),
        ("error", "after the upgrade, 3 rows of orders point at rows that do not exist"),
    ]


def test_the_schema_digest_ignores_spelling_and_sees_constraints(tmp_path: Path) -> None:
    plain = look(tmp_path / "a", "CREATE TABLE t (a INTEGER CHECK (a > 0), b TEXT UNIQUE);")
    spelled = look(tmp_path / "b", 'CREATE TABLE "t" (b  text CONSTRAINT u UNIQUE, "a" integer check (a > 0));')
    looser = look(tmp_path / "c", "CREATE TABLE t (a INTEGER, b TEXT UNIQUE);")
    single = look(tmp_path / "d", "CREATE TABLE t (a INTEGER CHECK (a > 0), b TEXT);")
    assert plain.digest == spelled.digest
    assert len({plain.digest, looser.digest, single.digest}) == 3


def test_rows_are_generated_for_difficult_tables(tmp_path: Path) -> None:
    path = database(tmp_path, """
        CREATE TABLE node (id INTEGER PRIMARY KEY, parent_id INTEGER NOT NULL REFERENCES node (id));
        CREATE TABLE tag (a_id CHAR(32) NOT NULL REFERENCES thing, n INTEGER REFERENCES node (id),
            PRIMARY KEY (a_id, n));
        CREATE TABLE thing (id CHAR(32) PRIMARY KEY, kind VARCHAR(3) CHECK (kind IN ('a''b', 'c')), ok BOOLEAN NOT NULL,
            at DATETIME NOT NULL, price NUMERIC(5, 2) NOT NULL CHECK (price < 100), code VARCHAR(2) NOT NULL UNIQUE,
            twice INTEGER GENERATED ALWAYS AS (ok * 2), note TEXT CHECK (length(note) > 0), data JSON, raw BLOB);
        CREATE TABLE never (x INTEGER NOT NULL CHECK (x > 5 AND x < 5));
        CREATE TABLE left_out (id INTEGER REFERENCES missing (id));
        CREATE TABLE chicken (id INTEGER PRIMARY KEY, egg INTEGER NOT NULL REFERENCES egg (id));
        CREATE TABLE egg (id INTEGER PRIMARY KEY, chicken INTEGER REFERENCES chicken (id));
    """)  # fmt: skip
    empty = sample_rows.fill(path)
    assert list(empty) == ["never"]
    assert "CHECK" in empty["never"]
    with opened(path) as connection:
        found = facts(connection)
    assert {name: table.rows for name, table in found.tables.items() if name != "never"} == {
        "chicken": 3, "egg": 3, "left_out": 3, "node": 3, "tag": 3, "thing": 3,
    }  # fmt: skip
    assert found.broken == {}
    assert found.tables["thing"].non_null["data"] == 2


def test_reading_leaves_no_file_and_undoes_no_write(tmp_path: Path) -> None:
    live = database(tmp_path, wal=True)
    before = digests(tmp_path)
    assert sqlite_revision(live) == "a002"
    assert digests(tmp_path) == before
    # The weak way leaves two files in the person's folder.
    with contextlib.closing(sqlite3.connect(f"file:{live}?mode=ro", uri=True)) as weak:
        weak.execute("SELECT count(*) FROM users").fetchone()
    assert len(digests(tmp_path)) == 3


def test_a_snapshot_is_taken_while_another_program_writes(tmp_path: Path) -> None:
    live = database(tmp_path, wal=True)
    with contextlib.closing(sqlite3.connect(live)) as writer:
        writer.execute("INSERT INTO users VALUES (4, 'd@example.org', NULL)")
        writer.commit()
        writer.execute("INSERT INTO users VALUES (5, 'e@example.org', NULL)")  # not committed
        snapshot(live, tmp_path / "copy")
    with opened(tmp_path / "copy") as copy:
        assert copy.execute("SELECT count(*) FROM users").fetchone() == (4,)


def test_what_is_no_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, but it is long enough")
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(ToolFault, match=path.name):
            sqlite_revision(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///shop.db", "/r/shop.db"),
        ("sqlite:////var/shop.db", "/var/shop.db"),
        ("sqlite+aiosqlite:///./db/shop.db?timeout=5", "/r/db/shop.db"),
        ("sqlite:///file:shop.db?mode=ro&uri=true", "/r/shop.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://db/shop", None),
    ],
)
def test_sqlite_urls(url: str, path: str | None) -> None:
    assert parse_sqlite_url(url, Path("/r")) == (Path(path) if path else None)


def test_rendered_sql_that_does_something_else_is_an_error(tmp_path: Path) -> None:
    before = look(tmp_path / "before", SCHEMA)
    up = look(tmp_path / "up", f"{SCHEMA} ALTER TABLE users ADD phone TEXT; UPDATE users SET name = 'Al' WHERE id = 1;")
    assert of_script(before, up, up, up, "") == []
    without = {
        "schema: column users.phone TEXT; column users.phone VARCHAR(9)": "ALTER TABLE users ADD phone VARCHAR(9); "
        "UPDATE users SET name = 'Al' WHERE id = 1;",
        "values of users.name": "ALTER TABLE users ADD phone TEXT; UPDATE users SET name = 'Bo' WHERE id = 1;",
        "rows or values of users": "ALTER TABLE users ADD phone TEXT; UPDATE users SET name = NULL WHERE id = 1;",
        "rows or values of orders": "ALTER TABLE users ADD phone TEXT; UPDATE users SET name = 'Al' WHERE id = 1;"
        "DELETE FROM orders WHERE id = 1;",
        "it records a009": "ALTER TABLE users ADD phone TEXT; UPDATE users SET name = 'Al' WHERE id = 1;"
        "UPDATE alembic_version SET version_num = 'a009';",
    }
    for number, (said, script) in enumerate(without.items()):
        (one,) = of_script(before, up, up, look(tmp_path / str(number), SCHEMA + script), "")
        assert (one.severity, one.text) == ("error", f"the rendered SQL and the tool's own run differ: {said}")
    (failed,) = of_script(before, up, up, None, "no such table: a")
    assert failed.severity == "error" and "no such table: a" in failed.text


def test_values_that_differ_at_every_run_are_no_difference(tmp_path: Path) -> None:
    before = look(tmp_path / "before", SCHEMA)
    first, second, rendered = (
        look(tmp_path / name, f"{SCHEMA} ALTER TABLE users ADD token TEXT; UPDATE users SET token = '{name}' || id;")
        for name in ("first", "second", "rendered")
    )
    assert of_script(before, first, second, rendered, "") == []
    # Twice the same by the tool, something else by its SQL: that is another text.
    (one,) = of_script(before, first, first, rendered, "")
    assert one.severity == "error" and "values of users.token" in one.text


def test_what_an_upgrade_without_a_way_back_overwrites_is_an_error_and_what_it_fills_is_none(tmp_path: Path) -> None:
    before = look(tmp_path / "before", SCHEMA)
    filled = look(tmp_path / "filled", f"{SCHEMA} UPDATE users SET name = 'x' WHERE name IS NULL;")
    assert without_down(before, filled) == []
    other = look(tmp_path / "other", f"{SCHEMA} UPDATE users SET name = 'x' WHERE name = 'Bo';")
    (one,) = without_down(before, other)
    assert (one.severity, one.text) == (
        "error",
        "the upgrade overwrites values of users.name, and nothing brings them back",
    )
