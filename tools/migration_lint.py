"""The lint of one migration file, whatever it is written in: SQL, or Python of Alembic or Django, which is never run."""

import ast
from collections.abc import Iterable

from backend_crew.tools import alembic_lint, django_lint, sql_lint
from backend_crew.tools.lint_rules import LintFinding, finding
from backend_crew.tools.python_literals import with_constants

#: As which SQL an engine's files are read; those of any other engine are not linted.
DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "CockroachDB": "postgresql"}
_LONGEST = 200_000


def lint_files(files: Iterable[tuple[str, str]], tool_name: str, engine: str) -> tuple[LintFinding, ...] | None:
    """The findings in migration files given as path and text, file by file; None for an engine that no linter knows.

    A file too long to be read in reasonable time is a red flag, as is one that no rule can read.
    """
    dialect = DIALECTS.get(engine)
    if dialect is None:
        return None
    found: list[LintFinding] = []
    for path, text in files:
        if len(text) > _LONGEST:
            said = f"The file has {len(text):,} characters, and up to {_LONGEST:,} are read"
            found.append(finding("opaque-statement", path, 1, said))
        else:
            found += lint_file(path, text, tool_name, dialect)
    return tuple(found)


def lint_file(path: str, text: str, tool_name: str, dialect: str) -> tuple[LintFinding, ...]:
    """The findings in one migration file, by line.

    `tool_name` is the name that `migrations.detect` gives a tool; `dialect` is "sqlite" or "postgresql". Python is
    read as text, literals only. A file that no rule can read (another language, a syntax error) is a red flag.
    """
    if path.endswith(".sql"):
        return sql_lint.lint(text, dialect, path=path)
    if not path.endswith(".py") or tool_name not in _PYTHON:
        return (finding("opaque-statement", path, 1, f"A migration of {tool_name} in this language is not read"),)
    try:
        found = _PYTHON[tool_name](path, with_constants(ast.parse(text)), dialect)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return (finding("opaque-statement", path, line, f"The file is not Python that can be read ({error})"),)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.line, one.rule, one.text)))


_PYTHON = {"alembic": alembic_lint.lint_tree, "django": django_lint.lint_tree}
