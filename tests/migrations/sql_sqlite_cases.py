"""Plain SQL on SQLite."""

from functools import partial

from migrations.cases import (
    CLEAN,
    FAILED,
    FINDINGS,
    HALF_WAY,
    IRREVERSIBLE,
    LOSSY,
    NOT_REHEARSED,
    RACING,
    SAFE,
    STRUCTURE,
    UNSAFE,
    Case,
    Verdict,
    beside,
)
from migrations.sql_base import base, drizzle, sql_case
from sql_projects import SQLITE

_case = partial(sql_case, SQLITE)
_ORDERS = (
    "user_id BIGINT NOT NULL REFERENCES users (id), status VARCHAR(20) NOT NULL, total INTEGER NOT NULL, "
    "note TEXT, placed TIMESTAMP"
)
_COLUMNS = "id, user_id, status, total, note, placed"
# What a database looks like that goose, Flyway, golang-migrate or Prisma brought to the first migration.
_ROWS = "INSERT INTO users (email) VALUES ('a@example.org'), ('b@example.org');\n"
_PLACED = f"{_ROWS}INSERT INTO orders (user_id, status, total) VALUES (1, 'open', 5), (2, 'sent', 7);\n"
_GOOSE = (
    "CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, "
    "is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));\n"
    "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1);\n"
)
_FLYWAY = (
    'CREATE TABLE flyway_schema_history ("installed_rank" INT NOT NULL PRIMARY KEY, "version" VARCHAR(50), '
    '"description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL, "script" VARCHAR(1000) NOT NULL, '
    '"checksum" INT, "installed_by" VARCHAR(100) NOT NULL, "installed_on" TEXT, "execution_time" INT NOT NULL, '
    '"success" BOOLEAN NOT NULL);\n'
    "INSERT INTO flyway_schema_history VALUES (1, '1', 'base', 'SQL', 'V1__base.sql', 4711, '', '2026-01-01', 5, 1);\n"
)
_PRISMA = (
    'CREATE TABLE "_prisma_migrations" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL, "finished_at" '
    'DATETIME, "migration_name" TEXT NOT NULL, "logs" TEXT, "rolled_back_at" DATETIME, "started_at" DATETIME NOT NULL '
    'DEFAULT current_timestamp, "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0);\n'
    'INSERT INTO "_prisma_migrations" (id, checksum, finished_at, migration_name) '
    "VALUES ('1', 'of another text', '2026-01-01', '20240101120000_base');\n"
)
_PHONE = ("ALTER TABLE users ADD COLUMN phone TEXT", "ALTER TABLE users DROP COLUMN phone")


def _rebuilt(columns: str, copied: str, *, taken: str = "*", rest: str = "") -> str:
    """SQLite's way to change a table: a new one, its rows, and its name."""
    return (
        f"CREATE TABLE orders_new (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns});\n"
        f"INSERT INTO orders_new ({copied}) SELECT {copied if taken == '*' else taken} FROM orders{rest};\n"
        "DROP TABLE orders;\nALTER TABLE orders_new RENAME TO orders;\n"
    )


_SAME = _rebuilt(_ORDERS, _COLUMNS)

SQL_SQLITE: tuple[Case, ...] = (
    _case(SAFE, "add-nullable-column", Verdict(CLEAN), _PHONE),
    _case(
        SAFE,
        "add-table",
        Verdict(CLEAN),
        (
            "CREATE TABLE refunds (id INTEGER PRIMARY KEY, order_id BIGINT NOT NULL REFERENCES orders (id));\n"
            "CREATE INDEX refunds_order ON refunds (order_id)",
            "DROP TABLE refunds",
        ),
        tool="golang-migrate",
    ),
    _case(
        SAFE,
        "add-index",
        Verdict(CLEAN),
        ("CREATE INDEX orders_status ON orders (status)", "DROP INDEX orders_status"),
        tool="dbmate",
    ),
    _case(
        SAFE,
        "add-column-with-constant-default",
        Verdict(CLEAN),
        (
            "ALTER TABLE orders ADD COLUMN paid INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE orders DROP COLUMN paid",
        ),
        tool="yoyo",
    ),
    _case(
        SAFE,
        "rename-by-expand",
        Verdict(CLEAN),
        (
            "ALTER TABLE users ADD COLUMN display_name VARCHAR(80)",
            "ALTER TABLE users DROP COLUMN display_name",
        ),
        ("UPDATE users SET display_name = name WHERE display_name IS NULL", "SELECT 1"),
    ),
    _case(
        SAFE,
        "widen-by-rebuild",
        Verdict(CLEAN, "table-rebuild"),
        (_rebuilt(_ORDERS.replace("VARCHAR(20)", "VARCHAR(40)"), _COLUMNS), _SAME),
        tool="golang-migrate",
    ),
    _case(
        SAFE,
        "fill-nulls",
        Verdict(CLEAN),
        ("UPDATE orders SET note = '' WHERE note IS NULL", "SELECT 1"),
    ),
    _case(
        SAFE,
        "view-and-trigger-free-table",
        Verdict(CLEAN),
        (
            "CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE status = 'open'",
            "DROP VIEW open_orders",
        ),
        tool="dbmate",
    ),
    _case(
        UNSAFE,
        "not-null-without-default",
        Verdict(FAILED, "'up'"),
        ("ALTER TABLE users ADD COLUMN phone TEXT NOT NULL", "ALTER TABLE users DROP COLUMN phone"),
    ),
    _case(
        UNSAFE,
        "not-null-where-nulls-are",
        Verdict(FAILED, "'up'"),
        (_rebuilt(_ORDERS.replace("note TEXT", "note TEXT NOT NULL"), _COLUMNS), _SAME),
    ),
    _case(
        UNSAFE,
        "unique-without-dedupe",
        Verdict(FINDINGS, "unique-not-safe"),
        ("CREATE UNIQUE INDEX orders_one_note ON orders (note)", "DROP INDEX orders_one_note"),
    ),
    _case(
        SAFE,
        "check-by-rebuild-after-a-repair",
        Verdict(CLEAN),
        (
            "UPDATE orders SET total = 0 WHERE total < 0 OR total IS NULL;\n"
            + _rebuilt(f"{_ORDERS}, CHECK (total >= 0)", _COLUMNS),
            _SAME,
        ),
    ),
    _case(
        UNSAFE,
        "check-by-rebuild",
        Verdict(FINDINGS, "total >= 0"),
        (_rebuilt(f"{_ORDERS}, CHECK (total >= 0)", _COLUMNS), _SAME),
    ),
    _case(
        UNSAFE,
        "rename-column-in-place",
        Verdict(FINDINGS, "rename-column"),
        (
            "ALTER TABLE users RENAME COLUMN name TO display_name",
            "ALTER TABLE users RENAME COLUMN display_name TO name",
        ),
    ),
    _case(IRREVERSIBLE, "says-so", Verdict(CLEAN, "is irreversible"), (_PHONE[0], None)),
    _case(IRREVERSIBLE, "tool-without-a-way-back", Verdict(CLEAN, "is irreversible"), (_PHONE[0], None), tool="prisma"),
    _case(IRREVERSIBLE, "empty-way-back", Verdict(FAILED, "does not restore the schema"), (_PHONE[0], "SELECT 1")),
    _case(
        LOSSY,
        "drop-column",
        Verdict(FINDINGS, "column users.name is dropped"),
        ("ALTER TABLE users DROP COLUMN name", "ALTER TABLE users ADD COLUMN name VARCHAR(80)"),
    ),
    _case(LOSSY, "drop-table", Verdict(FINDINGS, "table coupons is dropped"), ("DROP TABLE coupons", None)),
    _case(
        LOSSY,
        "delete-some",
        Verdict(FINDINGS, "rows of orders are gone"),
        ("DELETE FROM orders WHERE placed < '2001-01-01'", "SELECT 1"),
        tool="dbmate",
    ),
    _case(
        LOSSY,
        "delete-some-that-made-up-rows-lack",
        Verdict(FINDINGS, "delete-rows"),
        ("DELETE FROM orders WHERE status = 'cancelled' AND total > 100", "SELECT 1"),
    ),
    _case(
        LOSSY,
        "delete-all",
        Verdict(FINDINGS, "delete-without-where"),
        ("DELETE FROM coupons", "SELECT 1"),
        tool="yoyo",
    ),
    _case(
        LOSSY,
        "overwrite-all",
        Verdict(FINDINGS, "update-without-where"),
        ("UPDATE users SET email = lower(email)", "SELECT 1"),
    ),
    _case(
        LOSSY,
        "overwrite-some",
        Verdict(FINDINGS, "values of orders.status"),
        ("UPDATE orders SET status = 'closed' WHERE status <> 'open'", "SELECT 1"),
    ),
    _case(
        LOSSY,
        "overwrite-some-without-a-way-back",
        Verdict(FINDINGS, "values of orders.status"),
        ("UPDATE orders SET status = 'closed' WHERE status <> 'open'", None),
        tool="prisma",
    ),
    _case(
        LOSSY,
        "shorten-by-rebuild",
        Verdict(FINDINGS, "values of orders.status"),
        (
            _rebuilt(
                _ORDERS.replace("VARCHAR(20)", "VARCHAR(4)"),
                _COLUMNS,
                taken=_COLUMNS.replace("status", "substr(status, 1, 4)"),
            ),
            _SAME,
        ),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "text-to-integer-by-rebuild",
        Verdict(FINDINGS, "values of orders.note"),
        (
            _rebuilt(
                _ORDERS.replace("note TEXT", "note INTEGER"),
                _COLUMNS,
                taken=_COLUMNS.replace("note", "CAST(note AS INTEGER)"),
            ),
            _SAME,
        ),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "rebuild-leaves-rows-out",
        Verdict(FINDINGS, "rebuild-filters-rows"),
        (_rebuilt(_ORDERS, _COLUMNS, rest=" WHERE placed IS NOT NULL"), _SAME),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "rebuild-forgets-a-column",
        Verdict(FINDINGS, "values of orders.note are gone"),
        (_rebuilt(_ORDERS, _COLUMNS.replace("note, ", "")), _SAME),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "replace-a-row-that-is-there",
        Verdict(FINDINGS, "values of users.name are gone"),
        (
            "INSERT OR REPLACE INTO coupons (code, percent) VALUES ('WELCOME', 5);\n"
            "INSERT OR REPLACE INTO users (id, email) VALUES (1, 'admin@example.org')",
            "SELECT 1",
        ),
    ),
    _case(
        LOSSY,
        "way-back-loses-rows",
        Verdict(FINDINGS, "the downgrade loses"),
        ("ALTER TABLE coupons ADD COLUMN until TEXT", "DELETE FROM coupons;\nALTER TABLE coupons DROP COLUMN until"),
    ),
    _case(
        HALF_WAY,
        "second-statement-fails",
        Verdict(FAILED, "'up'"),
        (f"{_PHONE[0]};\nCREATE INDEX users_nick ON users (nick)", _PHONE[1]),
    ),
    _case(
        HALF_WAY,
        "second-statement-fails-outside-a-transaction",
        Verdict(FAILED, "'up'"),
        (f"{_PHONE[0]};\nINSERT INTO orders (user_id, status) VALUES (1, 'open')", _PHONE[1]),
        mark="-- +goose NO TRANSACTION\n",
    ),
    _case(
        HALF_WAY,
        "second-file-fails",
        Verdict(FAILED, "'up'"),
        _PHONE,
        ("INSERT INTO users (id, email) VALUES (1, 'system@example.org')", "DELETE FROM users WHERE id = 1"),
        tool="golang-migrate",
    ),
    _case(
        HALF_WAY,
        "way-back-fails",
        Verdict(FAILED, "'down'"),
        (_PHONE[0], "ALTER TABLE users DROP COLUMN telephone"),
        tool="dbmate",
    ),
    _case(
        RACING,
        "random-values-for-a-new-column",
        Verdict(CLEAN),
        (
            "ALTER TABLE users ADD COLUMN token TEXT;\nUPDATE users SET token = hex(randomblob(8)) WHERE token IS NULL",
            "ALTER TABLE users DROP COLUMN token",
        ),
    ),
    _case(
        RACING,
        "key-from-the-number-of-rows",
        Verdict(FAILED, "'up'"),
        (
            "INSERT INTO users (id, email) SELECT count(*) + 1, 'system@example.org' FROM users",
            "DELETE FROM users WHERE email = 'system@example.org'",
        ),
    ),
    _case(
        RACING,
        "key-from-the-number-of-rows-on-a-copy",
        Verdict(FAILED, "'up'"),
        (
            "INSERT INTO users (id, email) SELECT count(*) + 1, 'system@example.org' FROM users",
            "DELETE FROM users WHERE email = 'system@example.org'",
        ),
        live=f"{base(SQLITE)}{_GOOSE}{_ROWS}DELETE FROM users WHERE id = 1;\n",
    ),
    _case(
        LOSSY,
        "delete-on-a-copy",
        Verdict(FINDINGS, "1 of 2 rows of orders are gone"),
        ("DELETE FROM orders WHERE status = 'sent'", "SELECT 1"),
        live=f"{base(SQLITE)}{_GOOSE}{_PLACED}",
    ),
    _case(
        STRUCTURE,
        "applied-file-was-changed",
        Verdict(NOT_REHEARSED, "is not as it was when this database had it"),
        _PHONE,
        tool="flyway",
        live=f"{base(SQLITE)}{_FLYWAY}{_ROWS}",
    ),
    _case(
        STRUCTURE,
        "applied-file-was-changed-and-the-tool-goes-on",
        Verdict(CLEAN, "is not as it was when this database had it"),
        (_PHONE[0], None),
        tool="prisma",
        live=f"{base(SQLITE)}{_PRISMA}{_ROWS}",
    ),
    beside(
        _case(
            STRUCTURE,
            "two-files-of-one-number",
            Verdict(NOT_REHEARSED, "both have version 2"),
            _PHONE,
        ),
        {"db/migrations/00002_other.sql": "-- +goose Up\nSELECT 1;\n"},
    ),
    _case(
        STRUCTURE,
        "older-than-what-was-applied",
        Verdict(NOT_REHEARSED, "goose refuses that"),
        _PHONE,
        live=f"{base(SQLITE)}{_GOOSE}{_ROWS}INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, 1);\n",
    ),
    _case(
        STRUCTURE,
        "dirty",
        Verdict(NOT_REHEARSED, "is dirty"),
        _PHONE,
        tool="golang-migrate",
        live=f"{base(SQLITE)}CREATE TABLE schema_migrations (version uint64, dirty bool);\n"
        "INSERT INTO schema_migrations VALUES (2, 1);\n",
    ),
    Case(
        "journal-names-a-missing-file",
        "sql",
        SQLITE,
        STRUCTURE,
        Verdict(NOT_REHEARSED, "0001_gone"),
        partial(drizzle, dialect=SQLITE, missing=True),
        {},
    ),
)
