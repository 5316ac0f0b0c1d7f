"""What a trace of PostgreSQL's statements adds to the findings, and what it takes back."""

import pytest

from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.migration_lint import lint_files
from backend_crew.tools.pg_trace import Traced
from backend_crew.tools.trace_findings import rewrites, settled


def seen(sql: str, *rewritten: str) -> Traced:
    """One statement that was traced."""
    return Traced(1, sql, "AccessExclusiveLock", "users", rewritten, 1.0)


def before(rows: int) -> DatabaseFacts:
    """A database with the table users."""
    return DatabaseFacts((), (), {"users": TableFacts(rows, {})}, {})


@pytest.mark.parametrize(
    ("one", "rows", "whole", "severity"),
    [
        (seen("ALTER TABLE users ALTER id TYPE BIGINT", "users"), 3, False, "error"),
        (seen("ALTER TABLE users ALTER id TYPE BIGINT", "users"), 3, True, "warning"),
        (seen("ALTER TABLE users ALTER id TYPE BIGINT", "users"), 10_001, True, "error"),
        (seen("ALTER TABLE users ADD c INT"), 3, False, ""),
        (seen("ALTER TABLE new ALTER id TYPE BIGINT", "new"), 3, False, ""),  # this migration makes it
        (seen("TRUNCATE users", "users"), 3, False, ""),  # that its rows are gone is told elsewhere
        (seen("REFRESH MATERIALIZED VIEW users", "users"), 3, False, ""),
    ],
)
def test_a_rewrite_of_what_was_there_is_told(one: Traced, rows: int, whole: bool, severity: str) -> None:
    found = rewrites([one], before(rows), whole)
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all("users is rewritten" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("sql", "traced", "severity"),
    [
        ("ALTER TABLE users ALTER COLUMN name TYPE VARCHAR(200)", (), "warning"),
        ('ALTER TABLE "public"."users" ALTER "name" SET DATA TYPE VARCHAR(200)', (), "warning"),
        ("ALTER TABLE users ADD c INT, ALTER COLUMN name TYPE VARCHAR(200)", (), "warning"),
        ("ALTER TABLE users ALTER COLUMN name TYPE VARCHAR(20)", ("users",), "error"),
        ("ALTER TABLE users ALTER COLUMN name TYPE TIMESTAMP WITH TIME ZONE", (), "error"),
        ("ALTER TABLE users ALTER COLUMN name TYPE TIMESTAMPTZ", (), "error"),
    ],
)
def test_a_change_of_type_that_rewrites_nothing_is_a_warning(sql: str, traced: tuple[str, ...], severity: str) -> None:
    found = lint_files([("1.sql", f"{sql};")], "goose", "postgresql") or ()
    assert [one.severity for one in found if one.rule == "change-type"] == ["error"]
    now = settled(found, [seen(sql, *traced)])
    assert [one.severity for one in now if one.rule == "change-type"] == [severity]
    assert [one for one in now if one.rule != "change-type"] == [one for one in found if one.rule != "change-type"]


def test_what_was_not_traced_stays_as_it_is() -> None:
    found = list(
        lint_files([("1.sql", "ALTER TABLE users ALTER COLUMN name TYPE VARCHAR(200);")], "goose", "postgresql") or ()
    )
    others = [
        seen("ALTER TABLE users ALTER COLUMN nickname TYPE VARCHAR(200)"),
        seen("ALTER TABLE old_users ALTER name SET NOT NULL"),
    ]
    assert settled(found, others) == settled(found, []) == found
