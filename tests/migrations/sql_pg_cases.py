"""Plain SQL on PostgreSQL."""

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
from migrations.sql_base import sql_case
from sql_projects import POSTGRESQL

_case = partial(sql_case, POSTGRESQL)
_OUTSIDE = "-- +goose NO TRANSACTION\n"
_PHONE = ("ALTER TABLE users ADD COLUMN phone TEXT", "ALTER TABLE users DROP COLUMN phone")
_INDEX = ("CREATE INDEX CONCURRENTLY orders_status ON orders (status)", "DROP INDEX CONCURRENTLY orders_status")

SQL_POSTGRESQL: tuple[Case, ...] = (
    _case(SAFE, "add-nullable-column", Verdict(CLEAN), _PHONE),
    _case(
        SAFE,
        "add-table",
        Verdict(CLEAN),
        (
            "CREATE TABLE refunds (id BIGSERIAL PRIMARY KEY, amount NUMERIC(10, 2) NOT NULL);\n"
            "CREATE INDEX refunds_amount ON refunds (amount)",
            "DROP TABLE refunds",
        ),
        tool="flyway",
    ),
    _case(
        SAFE,
        "add-column-with-constant-default",
        Verdict(CLEAN),
        (
            "ALTER TABLE orders ADD COLUMN paid BOOLEAN NOT NULL DEFAULT false",
            "ALTER TABLE orders DROP COLUMN paid",
        ),
        tool="yoyo",
    ),
    _case(SAFE, "concurrent-index-in-goose", Verdict(CLEAN), _INDEX, mark=_OUTSIDE),
    _case(SAFE, "concurrent-index-in-golang-migrate", Verdict(CLEAN), _INDEX, tool="golang-migrate"),
    _case(
        SAFE,
        "foreign-key-in-two-steps",
        Verdict(CLEAN),
        (
            "ALTER TABLE coupons ADD COLUMN user_id BIGINT;\n"
            "ALTER TABLE coupons ADD CONSTRAINT owner FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
            "ALTER TABLE coupons DROP COLUMN user_id",
        ),
        ("ALTER TABLE coupons VALIDATE CONSTRAINT owner", "SELECT 1"),
        tool="golang-migrate",
    ),
    _case(
        SAFE,
        "not-null-by-a-check",
        Verdict(CLEAN),
        ("UPDATE orders SET note = '' WHERE note IS NULL", "SELECT 1"),
        (
            "ALTER TABLE orders ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID",
            "ALTER TABLE orders DROP CONSTRAINT note_there",
        ),
        (
            "ALTER TABLE orders VALIDATE CONSTRAINT note_there;\nALTER TABLE orders ALTER COLUMN note SET NOT NULL;\n"
            "ALTER TABLE orders DROP CONSTRAINT note_there",
            "ALTER TABLE orders ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID;\n"
            "ALTER TABLE orders ALTER COLUMN note DROP NOT NULL",
        ),
    ),
    _case(
        SAFE,
        "unique-by-a-concurrent-index",
        Verdict(CLEAN),
        ("CREATE UNIQUE INDEX CONCURRENTLY one_order ON coupons (order_id)", "DROP INDEX CONCURRENTLY one_order"),
        (
            "ALTER TABLE coupons ADD CONSTRAINT one_order UNIQUE USING INDEX one_order",
            "ALTER TABLE coupons DROP CONSTRAINT one_order;\nCREATE UNIQUE INDEX one_order ON coupons (order_id)",
        ),
        mark=_OUTSIDE,
    ),
    _case(
        SAFE,
        "widen-varchar",
        Verdict(CLEAN),
        (
            "ALTER TABLE users ALTER COLUMN name TYPE VARCHAR(200)",
            "ALTER TABLE users ALTER COLUMN name TYPE VARCHAR(80)",
        ),
    ),
    _case(
        SAFE,
        "check-in-two-steps",
        Verdict(CLEAN),
        (
            "ALTER TABLE orders ADD CONSTRAINT total_there CHECK (total >= 0) NOT VALID",
            "ALTER TABLE orders DROP CONSTRAINT total_there",
        ),
        ("ALTER TABLE orders VALIDATE CONSTRAINT total_there", "SELECT 1"),
        tool="golang-migrate",
    ),
    _case(
        SAFE,
        "fill-a-column-of-the-file-before",
        Verdict(CLEAN),
        _PHONE,
        ("UPDATE users SET phone = 'unknown'", "SELECT 1"),
    ),
    _case(
        UNSAFE,
        "not-null-after-its-check-is-gone",
        Verdict(FINDINGS, "set-not-null"),
        ("UPDATE orders SET note = '' WHERE note IS NULL", "SELECT 1"),
        (
            "ALTER TABLE orders ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID",
            "ALTER TABLE orders DROP CONSTRAINT IF EXISTS note_there",
        ),
        (
            "ALTER TABLE orders VALIDATE CONSTRAINT note_there;\nALTER TABLE orders DROP CONSTRAINT note_there",
            "ALTER TABLE orders ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID",
        ),
        ("ALTER TABLE orders ALTER COLUMN note SET NOT NULL", "ALTER TABLE orders ALTER COLUMN note DROP NOT NULL"),
    ),
    _case(
        UNSAFE,
        "generated-column-that-rewrites",
        Verdict(FINDINGS, "orders is rewritten under an exclusive lock"),
        (
            "ALTER TABLE orders ADD COLUMN cents BIGINT GENERATED ALWAYS AS (total::bigint * 100) STORED",
            "ALTER TABLE orders DROP COLUMN cents",
        ),
    ),
    _case(
        UNSAFE,
        "moments-become-zoned",
        Verdict(FINDINGS, "change-type"),
        (
            "ALTER TABLE orders ALTER COLUMN placed TYPE TIMESTAMPTZ",
            "ALTER TABLE orders ALTER COLUMN placed TYPE TIMESTAMP",
        ),
    ),
    _case(
        UNSAFE,
        "not-null-without-default",
        Verdict(FAILED, "'up'"),
        ("ALTER TABLE users ADD COLUMN phone TEXT NOT NULL", "ALTER TABLE users DROP COLUMN phone"),
    ),
    _case(
        UNSAFE,
        "set-not-null-where-nulls-are",
        Verdict(FAILED, "'up'"),
        (
            "ALTER TABLE orders ALTER COLUMN note SET NOT NULL",
            "ALTER TABLE orders ALTER COLUMN note DROP NOT NULL",
        ),
    ),
    _case(
        UNSAFE,
        "index-that-blocks-writes",
        Verdict(FINDINGS, "index-not-concurrent"),
        ("CREATE INDEX orders_status ON orders (status)", "DROP INDEX orders_status"),
    ),
    _case(UNSAFE, "concurrently-in-a-transaction", Verdict(FAILED, "'up'"), _INDEX),
    _case(
        UNSAFE,
        "type-change-that-rewrites",
        Verdict(FINDINGS, "change-type"),
        (
            "ALTER TABLE orders ALTER COLUMN total TYPE BIGINT",
            "ALTER TABLE orders ALTER COLUMN total TYPE INTEGER",
        ),
        tool="dbmate",
    ),
    _case(
        UNSAFE,
        "default-that-rewrites",
        Verdict(FINDINGS, "table-rewrite"),
        (
            "ALTER TABLE users ADD COLUMN token UUID NOT NULL DEFAULT gen_random_uuid()",
            "ALTER TABLE users DROP COLUMN token",
        ),
    ),
    _case(
        UNSAFE,
        "foreign-key-at-once",
        Verdict(FINDINGS, "foreign-key-not-safe"),
        (
            "UPDATE coupons SET order_id = NULL WHERE order_id NOT IN (SELECT id FROM orders);\n"
            "ALTER TABLE coupons ADD CONSTRAINT coupons_order FOREIGN KEY (order_id) REFERENCES orders (id)",
            "ALTER TABLE coupons DROP CONSTRAINT coupons_order",
        ),
        tool="flyway",
    ),
    _case(
        UNSAFE,
        "unique-without-dedupe",
        Verdict(FINDINGS, "unique-not-safe"),
        (
            "ALTER TABLE orders ADD CONSTRAINT one_note UNIQUE (note)",
            "ALTER TABLE orders DROP CONSTRAINT one_note",
        ),
    ),
    _case(
        UNSAFE,
        "check-at-once",
        Verdict(FINDINGS, "check-not-safe"),
        (
            "ALTER TABLE orders ADD CONSTRAINT total_positive CHECK (total > 0)",
            "ALTER TABLE orders DROP CONSTRAINT total_positive",
        ),
        tool="golang-migrate",
    ),
    _case(IRREVERSIBLE, "tool-without-a-way-back", Verdict(CLEAN, "is irreversible"), (_PHONE[0], None), tool="prisma"),
    _case(
        IRREVERSIBLE,
        "way-back-raises",
        Verdict(CLEAN, "is irreversible"),
        (
            _PHONE[0],
            "-- +goose StatementBegin\nDO $$ BEGIN RAISE EXCEPTION 'there is no way back'; END $$;\n"
            "-- +goose StatementEnd\n-- ;",
        ),
    ),
    _case(
        IRREVERSIBLE,
        "way-back-raises-with-a-hint",
        Verdict(CLEAN, "is irreversible"),
        (
            _PHONE[0],
            "-- Back up first.\nDO $back$\nBEGIN\n  RAISE EXCEPTION 'no way back; ask %', 'us' USING HINT = 'END;';\nEND;\n$back$",
        ),
        tool="golang-migrate",
    ),
    _case(
        IRREVERSIBLE,
        "way-back-only-tells",
        Verdict(FAILED, "does not restore the schema"),
        (_PHONE[0], "DO $$ BEGIN RAISE NOTICE 'nothing is done'; END $$"),
        tool="golang-migrate",
    ),
    _case(
        IRREVERSIBLE,
        "way-back-raises-under-a-condition",
        Verdict(FAILED, "'down'"),
        (
            _PHONE[0],
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM users) THEN RAISE EXCEPTION 'not with rows'; END IF; END $$;\n"
            "ALTER TABLE users DROP COLUMN phone",
        ),
        tool="golang-migrate",
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
        LOSSY,
        "drop-column",
        Verdict(FINDINGS, "column users.name is dropped"),
        ("ALTER TABLE users DROP COLUMN name", "ALTER TABLE users ADD COLUMN name VARCHAR(80)"),
    ),
    _case(
        LOSSY,
        "drop-table-cascade",
        Verdict(FINDINGS, "table users is dropped"),
        ("DROP TABLE users CASCADE", None),
        tool="prisma",
    ),
    _case(
        LOSSY,
        "delete-duplicates",
        Verdict(FINDINGS, "delete-rows"),
        ("DELETE FROM orders a USING orders b WHERE a.id > b.id AND a.note = b.note", "SELECT 1"),
    ),
    _case(
        LOSSY,
        "delete-in-a-with",
        Verdict(FINDINGS, "delete-rows"),
        (
            "CREATE TABLE old_orders (LIKE orders);\nWITH gone AS (DELETE FROM orders WHERE total > 5000 RETURNING *)\n"
            "INSERT INTO old_orders SELECT * FROM gone",
            "INSERT INTO orders SELECT * FROM old_orders;\nDROP TABLE old_orders",
        ),
    ),
    _case(LOSSY, "truncate", Verdict(FINDINGS, "truncate"), ("TRUNCATE coupons", "SELECT 1"), tool="dbmate"),
    _case(
        LOSSY,
        "drop-in-a-block",
        Verdict(FINDINGS, "drop-in-body"),
        (
            "DO $$ BEGIN\n  IF (SELECT count(*) FROM coupons) > 1000 THEN\n    DROP TABLE coupons;\n  END IF;\nEND $$",
            "SELECT 1",
        ),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "sql-built-in-a-block",
        Verdict(FINDINGS, "opaque-statement"),
        (
            "DO $$ DECLARE name text; BEGIN\n  FOR name IN SELECT tablename FROM pg_tables WHERE tablename LIKE 'tmp_%' LOOP\n"
            "    EXECUTE 'DROP TABLE ' || quote_ident(name);\n  END LOOP;\nEND $$",
            "SELECT 1",
        ),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "overwrite-from-another-table",
        Verdict(FINDINGS, "values of orders.status"),
        (
            "UPDATE orders SET status = u.email FROM users u WHERE u.id = orders.user_id AND length(u.email) < 21",
            "SELECT 1",
        ),
        tool="golang-migrate",
    ),
    _case(
        LOSSY,
        "shorten-with-left",
        Verdict(FINDINGS, "values of orders.status"),
        (
            "ALTER TABLE orders ALTER COLUMN status TYPE VARCHAR(4) USING left(status, 4)",
            "ALTER TABLE orders ALTER COLUMN status TYPE VARCHAR(20)",
        ),
    ),
    _case(
        LOSSY,
        "text-to-integer",
        Verdict(FINDINGS, "orders.note"),
        (
            "ALTER TABLE orders ALTER COLUMN note TYPE INTEGER USING nullif(regexp_replace(note, '\\D', '', 'g'), '')::int",
            "ALTER TABLE orders ALTER COLUMN note TYPE TEXT",
        ),
    ),
    _case(
        LOSSY,
        "moment-to-day",
        Verdict(FINDINGS, "values of orders.placed"),
        (
            "ALTER TABLE orders ALTER COLUMN placed TYPE DATE",
            "ALTER TABLE orders ALTER COLUMN placed TYPE TIMESTAMP",
        ),
        tool="flyway",
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
        (f"{_INDEX[0]};\nINSERT INTO orders (user_id, status) VALUES (1, 'open')", _INDEX[1]),
        mark=_OUTSIDE,
    ),
    _case(
        RACING,
        "moments-and-random-keys-for-a-new-column",
        Verdict(CLEAN),
        (
            "ALTER TABLE users ADD COLUMN token UUID, ADD COLUMN seen TIMESTAMPTZ;\n"
            "UPDATE users SET token = gen_random_uuid(), seen = clock_timestamp() WHERE token IS NULL",
            "ALTER TABLE users DROP COLUMN token, DROP COLUMN seen",
        ),
    ),
    _case(
        RACING,
        "sequence-from-the-rows",
        Verdict(CLEAN),
        ("SELECT setval('users_id_seq', (SELECT max(id) FROM users))", "SELECT 1"),
        tool="dbmate",
    ),
    _case(
        RACING,
        "loss-only-where-there-is-much",
        Verdict(FINDINGS, "delete-without-where"),
        (
            "DO $$ BEGIN\n  IF (SELECT count(*) FROM coupons) > 1000 THEN\n    DELETE FROM coupons;\n  END IF;\nEND $$",
            "SELECT 1",
        ),
        tool="golang-migrate",
    ),
    beside(
        _case(
            STRUCTURE,
            "two-files-of-one-version",
            Verdict(NOT_REHEARSED, "both have version 2"),
            _PHONE,
            tool="flyway",
        ),
        {"sql/V2.0__other.sql": "SELECT 1;\n"},
    ),
    beside(
        _case(
            STRUCTURE,
            "statement-without-an-end",
            Verdict(NOT_REHEARSED, "has no end"),
            _PHONE,
        ),
        {"db/migrations/00003_open.sql": "-- +goose Up\nCREATE TABLE t (id int)\n\n-- +goose Down\nDROP TABLE t;\n"},
    ),
)
