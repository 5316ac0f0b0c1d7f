"""Rendered SQL as segments: what runs in one transaction, and what outside any."""

from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Segment
from backend_crew.tools.migrators.rendered import script_of

ALEMBIC = """\
BEGIN;

-- Running upgrade a002 -> a003

ALTER TABLE users ADD COLUMN phone VARCHAR(30);

COMMIT;

CREATE INDEX CONCURRENTLY by_status ON orders (status);

BEGIN;

UPDATE alembic_version SET version_num='a003' WHERE alembic_version.version_num = 'a002';

COMMIT;
"""


def test_what_stands_between_begin_and_commit_is_one() -> None:
    first, index, last = script_of(ALEMBIC, POSTGRESQL).segments
    assert first.transactional and first.sql.startswith("-- Running upgrade")
    assert "ADD COLUMN phone" in first.sql and "BEGIN" not in first.sql and "COMMIT" not in first.sql
    assert index == Segment("CREATE INDEX CONCURRENTLY by_status ON orders (status);\n", transactional=False)
    assert last.transactional and last.sql.startswith("UPDATE alembic_version")


def test_each_statement_outside_is_one_of_its_own() -> None:
    script = script_of("VACUUM;\nCREATE INDEX CONCURRENTLY i ON t (a)", POSTGRESQL)
    assert script.segments == (
        Segment("VACUUM;\n", transactional=False),
        Segment("CREATE INDEX CONCURRENTLY i ON t (a);\n", transactional=False),
    )


def test_a_body_with_begin_in_it_is_not_cut() -> None:
    text = "BEGIN;\nDO $$ BEGIN COMMIT; END $$;\nSELECT 'COMMIT;';\nEND;\n"
    (one,) = script_of(text, POSTGRESQL).segments
    assert one == Segment("DO $$ BEGIN COMMIT; END $$;\n\nSELECT 'COMMIT;';\n")


def test_a_transaction_that_nothing_ends_is_one_all_the_same() -> None:
    (one,) = script_of("START TRANSACTION;\nSELECT 1;\nSELECT 2", POSTGRESQL).segments
    assert one == Segment("SELECT 1;\n\nSELECT 2;\n")


def test_on_sqlite_the_whole_is_one() -> None:
    (one,) = script_of(
        "ALTER TABLE t ADD a;\n\nCREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END;\n", SQLITE
    ).segments
    assert one.transactional and one.sql.count("CREATE TRIGGER") == 1 and one.sql.endswith("END;\n")


def test_nothing_is_no_segment() -> None:
    assert script_of("", POSTGRESQL).segments == script_of("\n\n", SQLITE).segments == ()
    assert script_of("BEGIN;\nCOMMIT;\n", POSTGRESQL).segments == ()


def test_a_comment_goes_with_what_follows_and_its_text_is_the_whole() -> None:
    script = script_of("-- why\nSELECT 1;\nSELECT 2;\n", SQLITE)
    assert script.text == "-- why\nSELECT 1;\n\nSELECT 2;\n"
