"""The lint of one SQL migration: what can lose data, stop the service, or hide what it does."""

from dataclasses import replace

from backend_crew.tools import pg_lint, sqlite_lint, squawk
from backend_crew.tools.lint_context import Context, Known
from backend_crew.tools.lint_rules import LintFinding, finding
from backend_crew.tools.sql_statements import Statement, split

# Far beyond any migration that a person reads.
_MAX_CHARACTERS = 5_000_000


def lint(
    sql: str,
    dialect: str,
    *,
    path: str,
    first_line: int = 1,
    transactional: bool = True,
    known: Known | None = None,
) -> tuple[LintFinding, ...]:
    """The findings in `sql`, by line; `dialect` is "sqlite" or "postgresql", `path` the file as findings name it.

    `first_line` is the line of `path` where the text begins. `transactional` says that the migration tool runs the
    text inside a transaction of its own. To what earlier files did, `known`, its own is added. Nothing is run and no
    database is asked. Raises ValueError on another dialect.
    """
    context = Context(path, transactional, dialect, known=known or Known())
    if len(sql) > _MAX_CHARACTERS:
        return (finding("opaque-statement", path, first_line, f"The text has more than {_MAX_CHARACTERS} characters"),)
    statements = judge(sql, context, first_line)
    context.transaction_over()
    found = context.found
    if dialect == "postgresql" and statements:
        text = squawk.Text(sql, path, first_line, transactional)
        found = [*found, *squawk.lint(text, statements, found, context.known.created)]
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda one: (one.line, one.rule, one.text)))


def judge(sql: str, context: Context, first_line: int) -> tuple[Statement, ...]:
    """Adds to `context` what a part of a migration does, and returns its statements; squawk sees whole texts only."""
    statements = tuple(replace(one, line=one.line + first_line - 1) for one in split(sql, context.dialect))
    if context.dialect == "sqlite":
        sqlite_lint.lint_statements(statements, context)
    else:
        for statement in statements:
            pg_lint.lint_statement(statement, context)
    return statements
