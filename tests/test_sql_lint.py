"""The rules on SQL, each on the smallest text that breaks it, and safe sequences that break none."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_crew.tools import sql_lint, squawk
from backend_crew.tools.lint_context import Context
from backend_crew.tools.lint_rules import RULES, LintFinding

Found = set[tuple[str, str, int]]


def _ours(sql: str, dialect: str, transactional: bool = True) -> Found:
    """(rule, severity, line) without squawk's, and without the word on lock_timeout that nearly all have."""
    found = sql_lint.lint(sql, dialect, path="m.sql", transactional=transactional)
    return {
        (one.rule, one.severity, one.line)
        for one in found
        if not one.rule.startswith("squawk/") and one.rule != "lock-timeout-missing"
    }


def _errors(*rules: str, line: int = 1) -> Found:
    return {(rule, RULES[rule].severity, line) for rule in rules}


POSTGRESQL = [
    ("DELETE FROM t WHERE id = 7", ["delete-rows"]),
    ("WITH gone AS (DELETE FROM t WHERE id > 7 RETURNING *) INSERT INTO n SELECT * FROM gone", ["delete-rows"]),
    ("DO $$ BEGIN DELETE FROM t WHERE id = 7; END $$", ["delete-rows"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t WHERE id = 7; SELECT 1'", ["create-function"]),
    ("DELETE FROM t", ["delete-without-where"]),
    ("DELETE FROM t WHERE 1 = 1", ["delete-without-where"]),
    ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", ["delete-without-where"]),
    ("UPDATE t SET a = 1 WHERE true", ["update-without-where"]),
    ("ALTER TABLE t ADD COLUMN a int; UPDATE t SET a = 1", ["backfill-in-one-statement", "mixed-data-schema"]),
    ("TRUNCATE t, u", ["truncate"]),
    ("DROP TABLE IF EXISTS s.t", ["drop-table"]),
    ("DROP SCHEMA s CASCADE", ["drop-schema"]),
    ("DROP VIEW v", ["drop-object"]),
    ("DROP INDEX i", ["drop-index-not-concurrent"]),
    ("ALTER TABLE t DROP COLUMN c", ["drop-column"]),
    ("ALTER TABLE t DROP CONSTRAINT c", ["drop-constraint"]),
    ("ALTER TABLE t RENAME TO u", ["rename-table"]),
    ("ALTER TABLE t RENAME COLUMN a TO b", ["rename-column"]),
    ("ALTER TABLE t ALTER COLUMN c TYPE int", ["change-type"]),
    ("ALTER TABLE t ALTER COLUMN c TYPE text", ["widen-type"]),
    ("ALTER TABLE t ADD COLUMN c int NOT NULL", ["add-not-null"]),
    ("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT NULL", ["add-not-null"]),
    ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", ["table-rewrite"]),
    ("ALTER TABLE t ADD COLUMN c bigserial", ["table-rewrite"]),
    ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", ["set-not-null"]),
    ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", ["unique-not-safe"]),
    ("ALTER TABLE t ADD COLUMN a int UNIQUE", ["unique-not-safe"]),
    ("CREATE UNIQUE INDEX i ON t (a)", ["unique-not-safe"]),
    ("ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id)", ["foreign-key-not-safe"]),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", ["check-not-safe"]),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c", ["validate-with-add"]),
    ("CREATE INDEX i ON t (a)", ["index-not-concurrent"]),
    ("CREATE INDEX CONCURRENTLY i ON t (a)", ["needs-no-transaction"]),
    ("ALTER TABLE t DISABLE TRIGGER ALL", ["constraints-off"]),
    ("SET session_replication_role = replica", ["constraints-off"]),
    ("VACUUM FULL t", ["maintenance", "needs-no-transaction"]),
    ("COPY t FROM PROGRAM 'curl x'", ["copy-program"]),
    ("COPY t TO '/tmp/x'", ["server-file"]),
    ("SELECT pg_catalog.pg_read_file('x')", ["server-function"]),
    ("SELECT lo_import('x')", ["server-function"]),
    ("SELECT * FROM dblink('a', 'b') AS t (a int)", ["server-function"]),
    ("SELECT tidy_up()", ["calls-function"]),
    ("LOAD 'x'", ["load-extension"]),
    ("ALTER SYSTEM SET a = 1", ["alter-system", "needs-no-transaction"]),
    ("CREATE ROLE r SUPERUSER", ["cluster-wide"]),
    ("CREATE SERVER s FOREIGN DATA WRAPPER w", ["external-connection"]),
    ("CREATE EXTENSION x", ["create-extension"]),
    ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", ["create-trigger"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'", ["create-function", "delete-without-where"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'x'", ["create-function", "opaque-statement"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql BEGIN ATOMIC SELECT 1; END", ["create-function", "opaque-statement"]),
    ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT 1; END", ["create-function", "delete-without-where"]),
    ("DO $$ BEGIN DROP TABLE t; END $$", ["drop-in-body"]),
    ("DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$", ["drop-in-body"]),
    ("DO $$ BEGIN EXECUTE format('DROP TABLE %I', 't'); END $$", ["opaque-statement"]),
    ("DO $$ BEGIN IF lo_import('x') > 1 THEN NULL; END IF; END $$", ["server-function"]),
    ("DO $$ not plpgsql $$", ["opaque-statement"]),
    ("DO LANGUAGE plperlu 'x'", ["opaque-statement"]),
    ("CALL p()", ["opaque-statement"]),
    ("PREPARE p AS DELETE FROM t", ["delete-without-where", "opaque-statement"]),
    ("DROPP TABLE t", ["opaque-statement"]),
    ("\\i other.sql", ["psql-command"]),
    ("COMMIT", ["transaction-control"]),
    ("SET ROLE admin", ["changes-role"]),
    ("INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN c int", ["mixed-data-schema"]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "rules"), POSTGRESQL)
def test_postgresql(sql: str, rules: list[str]) -> None:
    assert _ours(sql, "postgresql") == _errors(*rules)


SQLITE = [
    ("DELETE FROM t WHERE id = 7", ["delete-rows"]),
    ("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM u WHERE id = 7; END", ["create-trigger"]),
    ("ALTER TABLE t ADD COLUMN c TEXT; ALTER TABLE t DROP COLUMN c", []),
    ("DELETE FROM t", ["delete-without-where"]),
    ("UPDATE OR IGNORE t SET a = 1 WHERE 1 = 1", ["update-without-where"]),
    ("ALTER TABLE t ADD COLUMN a INT; UPDATE t SET a = 1", ["backfill-in-one-statement", "mixed-data-schema"]),
    ("DROP TABLE t", ["drop-table"]),
    ("CREATE TABLE n (a); INSERT INTO n SELECT a FROM u; DROP TABLE t; ALTER TABLE n RENAME TO t", ["drop-table"]),
    ("DROP VIEW v", ["drop-object"]),
    ("ALTER TABLE t DROP COLUMN c", ["drop-column"]),
    ("ALTER TABLE t RENAME TO u", ["rename-table"]),
    ("ALTER TABLE t RENAME COLUMN a TO b", ["rename-column"]),
    ("ALTER TABLE t ADD COLUMN c INT NOT NULL", ["add-not-null"]),
    ("ALTER TABLE t ADD COLUMN c TEXT DEFAULT CURRENT_TIMESTAMP", ["add-not-null"]),
    ("CREATE UNIQUE INDEX i ON t (a)", ["unique-not-safe"]),
    ("ATTACH 'x' AS y", ["attach-database"]),
    ("SELECT load_extension('x')", ["load-extension"]),
    ("SELECT writefile('x', 'y')", ["server-function"]),
    ("PRAGMA foreign_keys = OFF", ["foreign-keys-off"]),
    ("PRAGMA main.foreign_keys(0)", ["foreign-keys-off"]),
    ("PRAGMA writable_schema = ON", ["writable-schema"]),
    ("UPDATE sqlite_master SET sql = 'x' WHERE name = 't'", ["writable-schema"]),
    ("PRAGMA journal_mode = WAL", ["database-pragma"]),
    ("VACUUM", ["maintenance", "needs-no-transaction"]),
    ("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM u; END", ["create-trigger", "delete-without-where"]),
    ("COMMIT", ["transaction-control"]),
    ("blah blah", ["opaque-statement"]),
    ("SELECT 1 FROM WHERE", ["opaque-statement"]),
    ("INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN c INT", ["mixed-data-schema"]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "rules"), SQLITE)
def test_sqlite(sql: str, rules: list[str]) -> None:
    assert _ours(sql, "sqlite") == _errors(*rules)


SAFE = [
    "SET lock_timeout = '5s'; ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ADD COLUMN d int NOT NULL DEFAULT 0",
    "ALTER TABLE t ADD COLUMN c timestamptz NOT NULL DEFAULT now()",
    "CREATE TABLE t (id int PRIMARY KEY); CREATE UNIQUE INDEX i ON t (id); INSERT INTO t VALUES (1); "
    "ALTER TABLE public.t ADD CHECK (id > 0); ALTER TABLE t ALTER id TYPE bigint; DELETE FROM t; DROP TABLE t",
    "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id) NOT VALID",
    "ALTER TABLE t VALIDATE CONSTRAINT c",
    "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
    "DELETE FROM alembic_version WHERE version_num = 'a'",
    "CREATE TABLE n (id int); DELETE FROM n WHERE id = 7",
    "UPDATE t SET a = u.a FROM u WHERE u.id = t.id",
    "BEGIN; UPDATE alembic_version SET version_num = 'b' WHERE version_num = 'a'; ALTER TABLE t ADD c int; COMMIT",
    "COPY t (a) FROM stdin;\n1;DROP TABLE t\n\\.\n",
    "SELECT setval('s', 1); COMMENT ON TABLE t IS 'DROP TABLE t'; GRANT SELECT ON t TO r",
    "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM t) THEN INSERT INTO t VALUES (1); END IF; END $$",
]


@pytest.mark.parametrize("sql", SAFE)
def test_safe_sequences_are_left_alone(sql: str) -> None:
    assert _ours(sql, "postgresql") == set()


def test_not_null_by_way_of_a_validated_check() -> None:
    steps = [
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID",
        "UPDATE t SET a = 0 WHERE a IS NULL",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE t DROP CONSTRAINT c",
    ]
    assert _ours(";\n".join(steps), "postgresql", transactional=False) == set()
    del steps[2]
    assert _ours(";\n".join(steps), "postgresql", transactional=False) == _errors("set-not-null", line=3)


@pytest.mark.parametrize("copy", ["_alembic_tmp_t", "new_t", "new__t", "__new_t"])
def test_a_rebuild_in_sqlite_is_told_as_one(copy: str) -> None:
    sql = (
        f'PRAGMA foreign_keys=ON;\nCREATE TABLE "{copy}" (id INTEGER NOT NULL) WITHOUT ROWID;\n'
        f'INSERT INTO "{copy}" (id) SELECT t.id FROM t;\nDROP TABLE t;\nALTER TABLE "{copy}" RENAME TO "t";\n'
        "CREATE UNIQUE INDEX i ON t (id);"
    )
    expected = {("table-rebuild", "info", 2), ("unique-not-safe", "error", 6)}
    assert _ours(sql, "sqlite") == expected
    assert _ours(sql.replace("FROM t;", "FROM t WHERE id > 3;"), "sqlite") == {
        *expected, ("rebuild-filters-rows", "error", 3)
    }  # fmt: skip


FOURTEEN = """SET statement_timeout = '1min';
ALTER TABLE users ADD COLUMN age int NOT NULL;
ALTER TABLE users DROP COLUMN nick;
DROP TABLE logs;
CREATE INDEX i ON users (mail);
ALTER TABLE users ALTER COLUMN id TYPE bigint;
ALTER TABLE users ADD CONSTRAINT f FOREIGN KEY (org) REFERENCES orgs (id);
ALTER TABLE users RENAME COLUMN a TO b;
ALTER TABLE users ALTER COLUMN mail SET NOT NULL;
TRUNCATE events;
DELETE FROM orders;
UPDATE orders SET total = 0;
DO $$
BEGIN
  DROP TABLE hidden;
END $$;
COPY users FROM PROGRAM 'x';
"""


def test_fourteen_problems_in_one_file() -> None:
    found = sql_lint.lint(FOURTEEN, "postgresql", path="m.sql", first_line=101)
    lines = {one.rule: one.line - 100 for one in found}
    assert lines == {
        "lock-timeout-missing": 2, "add-not-null": 2, "squawk/prefer-bigint-over-int": 2, "drop-column": 3,
        "drop-table": 4, "index-not-concurrent": 5, "change-type": 6, "foreign-key-not-safe": 7, "rename-column": 8,
        "set-not-null": 9, "truncate": 10, "mixed-data-schema": 10, "delete-without-where": 11,
        "update-without-where": 12, "drop-in-body": 15, "copy-program": 17,
    }  # fmt: skip
    assert [one.line for one in found] == sorted(one.line for one in found)


def test_a_naive_search_misses_what_is_hidden() -> None:
    """The weak control: a pattern finds a DROP in a comment or a string, and none that is built at run time."""
    naive = re.compile(r"(?i)\bdrop\s+table\b|\bdelete\s+from\s+\w+\s*(?:;|\Z)")
    hidden = "DO $$ BEGIN EXECUTE 'DR' || 'OP TABLE t'; END $$; DELETE FROM t AS x WHERE 2 = 2"
    harmless = "COMMENT ON TABLE t IS 'drop table t'"
    assert not naive.search(hidden)
    assert naive.search(harmless)
    assert _ours(hidden, "postgresql") == _errors("opaque-statement", "delete-without-where")
    assert _ours(harmless, "postgresql") == set()


def test_what_squawk_alone_knows_is_added() -> None:
    found = sql_lint.lint("\nBEGIN;\nALTER TABLE t ADD COLUMN c int;", "postgresql", path="m.sql", transactional=False)
    assert {(one.rule, one.line, one.severity) for one in found} >= {
        ("squawk/ban-uncommitted-transaction", 2, "warning"),
        ("squawk/prefer-bigint-over-int", 3, "info"),
    }


@pytest.mark.parametrize(
    ("script", "said"),
    [(None, "the program is not installed"), ("echo oh no >&2; exit 3", "oh no"), ("echo '{}'", "is not the list")],
)
def test_squawk_that_does_not_run_is_said(
    script: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "squawk"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(squawk, "_program", lambda: str(program) if script else None)
    [found] = sql_lint.lint("UPDATE t SET a = 1 WHERE id = 1", "postgresql", path="m.sql", first_line=4)
    assert (found.rule, found.severity, found.line) == ("not-run", "info", 4)
    assert "squawk not run" in found.text
    assert said in found.text


def test_squawk_sees_no_settings_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".squawk.toml").write_text('pg_version = "none of its own"\n')  # squawk would stop at it
    monkeypatch.chdir(tmp_path)
    found = sql_lint.lint("ALTER TABLE t ADD COLUMN c int", "postgresql", path="m.sql")
    assert "squawk/prefer-bigint-over-int" in {one.rule for one in found}


def test_every_finding_says_why_and_what_to_do() -> None:
    found = [one for sql, _ in POSTGRESQL[:12] for one in sql_lint.lint(sql, "postgresql", path="m.sql")]
    assert all(isinstance(one, LintFinding) and one.text.endswith(".") and one.advice for one in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([sql for sql, _ in SQLITE] + ["'", "(", ";", "/*", "SELECT", "\0", "é"])).map(" ".join))
def test_no_text_stops_the_lint(sql: str) -> None:
    for one in sql_lint.lint(sql, "sqlite", path="m.sql"):
        assert 1 <= one.line <= sql.count("\n") + 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([sql for sql, _ in POSTGRESQL if "DO " not in sql and "plpgsql" not in sql]
                                + ["'", "(", ";", "/*", "$a$", "\\", "SELECT", "\0", "é", "E'"])).map(" ".join))  # fmt: skip
def test_no_text_stops_the_lint_of_postgresql(sql: str) -> None:
    context = Context("m.sql", transactional=True)
    sql_lint.judge(sql, context, 1)
    assert all(1 <= one.line <= sql.count("\n") + 1 for one in context.found)
