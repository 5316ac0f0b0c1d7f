"""SQL cut into statements as the databases cut it."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_crew.tools.sql_statements import DIALECTS, split

SIGNS = [
    "'",
    '"',
    "`",
    "[",
    "]",
    "$",
    "$a$",
    "$$",
    "--",
    "/*",
    "*/",
    "\\",
    "\n",
    ";",
    "(",
    ")",
    "E'",
    " ",
    "é",
    "\0",
    ".",
]
WORDS = (
    "BEGIN ATOMIC END CASE CREATE TRIGGER FUNCTION COPY FROM STDIN SELECT ON TABLE INDEX DROP EXPLAIN REPLACE INSERT 1"
)
PIECES = st.sampled_from([*SIGNS, *WORDS.split()])
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(" ".join))


@given(sql=TEXTS, dialect=st.sampled_from(DIALECTS))
def test_no_character_is_lost(sql: str, dialect: str) -> None:
    found = split(sql, dialect)
    assert [one.start for one in found] == [0, *(one.end for one in found)][: len(found)]
    for one in found:
        assert one.text in sql[one.start : one.end]
        assert sql[: sql.index(one.text, one.start)].count("\n") + 1 == one.line
    rest = sql[found[-1].end if found else 0 :]
    assert split(rest, dialect) == ()


@given(st.lists(st.sampled_from(["SELECT 'a;''b'", 'SELECT ";"', "SELECT 1 -- ;\n", "SELECT /* ; */ 2", "SELECT [;]"])))
def test_as_many_statements_as_were_joined(statements: list[str]) -> None:
    assert len(split(";".join(statements), "sqlite")) == len(statements)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("-- a;b\nSELECT 'x;y';\nDROP TABLE t", [(2, "query", ""), (3, "ddl", "t")]),
        ("UPDATE public.\"T\" SET a = $x$;$$;$x$;DELETE FROM ONLY u", [(1, "data", "public.T"), (1, "data", "u")]),
        ("SELECT 1 /* a /* ; */ ; */; SELECT E'\\';'; SELECT 1", [(1, "query", "")] * 3),
        ("\\restrict x\nSELECT 1 \\gexec\nSELECT 2", [(1, "meta", ""), (2, "query", ""), (2, "meta", ""), (3, "query", "")]),
        ("COPY t (a) FROM stdin;\nx;y\n\\.\nSELECT 1;", [(1, "data", "t"), (2, "rows", ""), (4, "query", "")]),
        ("CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1", [(1, "ddl", ""), (1, "query", "")]),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 1",
            [(1, "ddl", ""), (1, "query", "")],
        ),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t (a)", [(1, "ddl", "s.t")]),
        ("DO $$ BEGIN; END $$; CALL p(); VACUUM t; SET a = 1; COMMIT", [(1, kind, "") for kind in
         ("opaque", "opaque", "maintenance", "session", "transaction")]),
    ],
)  # fmt: skip
def test_postgresql(sql: str, expected: list[tuple[int, str, str]]) -> None:
    assert [(one.line, one.kind, one.table) for one in split(sql, "postgresql")] == expected


def test_sqlite() -> None:
    sql = (
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN\n DELETE FROM u; SELECT CASE WHEN 1 THEN 2 END;\nEND;\n"
        "DROP TABLE [a;b]; INSERT OR REPLACE INTO `q` VALUES (';'); PRAGMA foreign_keys = OFF; ATTACH 'x' AS y;"
    )
    found = [(one.line, one.kind, one.table) for one in split(sql, "sqlite")]
    assert found == [(1, "ddl", ""), (4, "ddl", "a;b"), (4, "data", "q"), (4, "session", ""), (4, "opaque", "")]


def test_sqlite_agrees_where_a_statement_ends() -> None:
    """The weak control, a cut at every semicolon, hands SQLite halves."""
    sql = "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END; INSERT INTO t VALUES (';');"
    database = sqlite3.connect(":memory:")
    for one in split(sql, "sqlite"):
        database.execute(one.text)
    assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)
    database.close()
    naive = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError):
        for text in sql.split(";"):
            naive.execute(text)
    naive.close()


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="dialect is 'mysql'; expected one of sqlite, postgresql"):
        split("SELECT 1", "mysql")
