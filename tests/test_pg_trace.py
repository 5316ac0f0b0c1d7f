"""What statements lock and rewrite, on a copy of the scratch database."""

from pathlib import Path

import pytest
from postgres_scratch import look, run_sql, scratch_in

from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.migrators.protocol import Script, Segment
from backend_crew.tools.pg_trace import trace
from backend_crew.tools.postgres import find_postgres
from backend_crew.tools.sandbox import Sandbox

TABLES = """
CREATE SCHEMA app;
CREATE TABLE users (id int PRIMARY KEY, n int);
CREATE TABLE app.orders (id int PRIMARY KEY, user_id int);
INSERT INTO users SELECT n, n FROM generate_series(1, 100) n;
"""


def test_locks_and_rewrites_are_told_statement_by_statement(sandbox: Sandbox, tmp_path: Path) -> None:
    try:
        installation = find_postgres()
    except ToolFault as fault:
        pytest.skip(str(fault))
    with scratch_in(sandbox, tmp_path, installation) as scratch:
        scratch.create()
        assert run_sql(scratch, TABLES).ok
        before = look(scratch)
        told = trace(
            scratch,
            Script(
                (
                    Segment(
                        "BEGIN;\nSELECT 1;\nALTER TABLE users ADD a int;\nALTER TABLE users ALTER n TYPE bigint;\n"
                        "CREATE INDEX ix ON app.orders (user_id);\nALTER TABLE app.orders ADD FOREIGN KEY (user_id) "
                        "REFERENCES users (id);\nCREATE TABLE fresh (id int);\nINSERT INTO fresh VALUES (1);\nCOMMIT;"
                    ),
                    Segment("UPDATE users SET n = 1;"),
                    Segment("CREATE INDEX CONCURRENTLY ic ON users (n);", transactional=False),
                    Segment("SELECT nothing; SELECT 2"),
                )
            ),
        )
        assert [(one.lock, one.table, one.rewritten, one.held, one.outside) for one in told.statements] == [
            ("", "", (), False, False),
            ("AccessExclusiveLock", "users", (), False, False),
            ("AccessExclusiveLock", "users", ("users",), True, False),
            ("ShareLock", "app.orders", (), False, False),
            ("AccessExclusiveLock", "users", (), True, False),
            ("", "", (), False, False),
            ("", "", (), False, False),
            ("RowExclusiveLock", "users", (), False, False),
            ("", "", (), False, True),
        ]
        assert [one.line for one in told.statements[:4]] == [2, 3, 4, 5]
        assert told.statements[1].sql == "ALTER TABLE users ADD a int"
        assert 'column "nothing" does not exist' in told.error
        # The scratch database itself is as it was, and a second trace sees the same.
        assert look(scratch) == before
        assert trace(scratch, Script((Segment("DROP TABLE users"),))).statements[0].lock == "AccessExclusiveLock"
        with pytest.raises(ToolRefused, match="only psql understands"):
            trace(scratch, Script((Segment("\\! id"),)))
