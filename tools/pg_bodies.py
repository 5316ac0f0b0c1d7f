"""The SQL inside DO blocks and functions, as far as it can be read without running it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend_crew.tools import pg_tree
from backend_crew.tools.pg_tree import Fields

_DYNAMIC = frozenset({"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"})
# How PL/pgSQL reads an expression: as a statement, as a value (2), as an assignment (3 and more).
_WHOLE, _ASSIGNMENT = 0, 3
_ASSIGNED = re.compile(r"\A[^:=]*:?=")


@dataclass(frozen=True)
class Query:
    """One statement of a body, `line` lines below the first of the whole; `sql` is None where it cannot be read."""

    sql: str | None
    line: int
    why: str = ""


def queries(sql: str, fields: Fields) -> Iterator[Query]:
    """Every statement in the body of a DoStmt or CreateFunctionStmt whose text is `sql`."""
    body = pg_tree.text_of(pg_tree.option(fields, "as"))
    standard = "sql" if "funcname" in fields else "plpgsql"
    language = pg_tree.text_of(pg_tree.option(fields, "language")).lower() or standard
    start = pg_tree.line_in(sql, max(sql.find(body), 0)) if body else 0
    if language == "sql":
        # A body in BEGIN ATOMIC is part of the tree, so what it writes has been seen with the statement itself.
        if body:
            yield Query(body, start)
    elif language != "plpgsql" or not body:
        yield Query(None, start, f"holds code in {language} that is not read")
    else:
        try:
            yield from _statements(pg_tree.plpgsql(sql), start)
        except pg_tree.UnreadableSQL as error:
            yield Query(None, start, f"has a body that is not understood ({error})")


def _statements(tree: Any, start: int) -> Iterator[Query]:
    """Every expression of PL/pgSQL's tree: a statement, SQL that is run from a string, or a value."""
    pending: list[tuple[Any, str, str, int]] = [(tree, "", "", start)]
    while pending:
        one, owner, key, line = pending.pop()
        if isinstance(one, list):
            pending.extend((item, owner, key, line) for item in reversed(one))
        elif isinstance(one, dict) and isinstance(one.get("PLpgSQL_expr"), dict):
            yield from _expression(
                one["PLpgSQL_expr"], key == "dynquery" or (owner in _DYNAMIC and key == "query"), line
            )
        elif isinstance(one, dict):
            line = start + one["lineno"] - 1 if isinstance(one.get("lineno"), int) else line
            for name, value in reversed(one.items()):
                named = name.startswith("PLpgSQL_")
                pending.append((value, name if named else owner, "" if named else name, line))


def _expression(fields: Fields, dynamic: bool, line: int) -> Iterator[Query]:
    query, mode = str(fields.get("query", "")), fields.get("parseMode", 0)
    if dynamic:
        yield Query(pg_tree.literal(query), line, "runs SQL that it builds at run time")
    elif mode == _WHOLE:
        yield Query(query, line)
    else:
        value = _ASSIGNED.sub("", query, count=1) if mode >= _ASSIGNMENT else query
        # a value can still call a function that reaches far
        if "(" in value:
            yield Query(f"SELECT 1 WHERE ({value}) IS NULL", line)
