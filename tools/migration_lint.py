"""The lint of one migration file, whatever it is written in: SQL, or Python of Alembic or Django, which is never run."""

import ast
import re
from collections.abc import Iterable

from backend_crew.tools import alembic_lint, django_lint, sql_lint
from backend_crew.tools.lint_context import Known
from backend_crew.tools.lint_rules import LintFinding, finding
from backend_crew.tools.python_literals import with_constants
from backend_crew.tools.sql_statements import outside, split

#: As which SQL an engine's files are read; those of any other engine are not linted.
DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "CockroachDB": "postgresql"}
_LONGEST = 200_000
_GOOSE_BACK = re.compile(r"^--\s*\+goose\s+down\s*$", re.IGNORECASE | re.MULTILINE)
_DBMATE_MARK = re.compile(r"^--\s*migrate:(up|down)(?:\s*$|[ \t]+\S.*$)", re.MULTILINE)
# What a file says when its tool is to run it without a transaction.
_OUTSIDE = {
    "goose": re.compile(r"^--\s*\+goose\s+no\s+transaction\s*$", re.IGNORECASE | re.MULTILINE),
    "yoyo": re.compile(r"^\s*--\s*transactional\s*:\s*false\s*$", re.IGNORECASE | re.MULTILINE),
}


def lint_files(files: Iterable[tuple[str, str]], tool_name: str, engine: str) -> tuple[LintFinding, ...] | None:
    """The findings in migration files given as path and text, file by file; None for an engine that no linter knows.

    A file too long to be read in reasonable time is a red flag, as is one that no rule can read.
    """
    dialect = DIALECTS.get(engine)
    if dialect is None:
        return None
    found: list[LintFinding] = []
    known = Known()
    for path, text in files:
        if len(text) > _LONGEST:
            said = f"The file has {len(text):,} characters, and up to {_LONGEST:,} are read"
            found.append(finding("opaque-statement", path, 1, said))
        else:
            found += lint_file(path, text, tool_name, dialect, known)
    return tuple(found)


def lint_file(
    path: str, text: str, tool_name: str, dialect: str, known: Known | None = None
) -> tuple[LintFinding, ...]:
    """The findings in one migration file, by line.

    `known` is what earlier pending files did: their tables hold no rows yet, and nobody reads them. To it this one's own is
    added. `tool_name` is the name that `migrations.detect` gives a tool; `dialect` is "sqlite" or "postgresql". Python is
    read as text, literals only. A file that no rule can read (another language, a syntax error) is a red flag.
    """
    if path.endswith(".sql"):
        sql = _way_up(text, tool_name)
        alone = _in_transaction(sql, tool_name, dialect)
        return sql_lint.lint(sql, dialect, path=path, transactional=alone, known=known)
    if not path.endswith(".py") or tool_name not in _PYTHON:
        return (finding("opaque-statement", path, 1, f"A migration of {tool_name} in this language is not read"),)
    try:
        found = _PYTHON[tool_name](path, with_constants(ast.parse(text)), dialect, known or Known())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return (finding("opaque-statement", path, line, f"The file is not Python that can be read ({error})"),)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.line, one.rule, one.text)))


def _way_up(text: str, tool_name: str) -> str:
    """The text without what goes back, where a tool keeps both in one file; every line stays where it is."""
    if tool_name == "goose":
        back = _GOOSE_BACK.search(text)
        return text[: back.start()] if back else text
    if tool_name != "dbmate":
        return text
    marks = list(_DBMATE_MARK.finditer(text))
    starts = [0, *(mark.start() for mark in marks)]
    pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    ways = ["up", *(mark[1] for mark in marks)]
    return "".join(piece if way == "up" else "\n" * piece.count("\n") for way, piece in zip(ways, pieces, strict=True))


def _in_transaction(sql: str, tool_name: str, dialect: str) -> bool:
    """Whether the tool runs this file in a transaction."""
    if tool_name in _OUTSIDE:
        return _OUTSIDE[tool_name].search(sql) is None
    if tool_name == "dbmate":
        ups = [mark[0] for mark in _DBMATE_MARK.finditer(sql)]
        return not ups or not all("transaction:false" in one.split() for one in ups)
    if dialect == "postgresql" and tool_name in {"golang-migrate", "prisma"}:
        # They send the file as one call, which is a transaction where there is more than one statement.
        return len(split(sql, dialect)) > 1
    if dialect == "postgresql" and tool_name == "flyway":
        statements = split(sql, dialect)
        return not statements or not all(outside(one.text) for one in statements)
    return True


_PYTHON = {"alembic": alembic_lint.lint_tree, "django": django_lint.lint_tree}
