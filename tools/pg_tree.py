"""PostgreSQL's own parser (libpg_query, by way of pgparse) and small questions about the trees that it gives."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend_crew.tools import process
from backend_crew.tools.errors import ToolError

#: A node's own fields, as libpg_query's JSON has them.
Fields = dict[str, Any]
_PLPGSQL = """
import json, sys, pgparse
try:
    print(json.dumps(pgparse.parse_pgsql(sys.stdin.buffer.read().decode())))
except pgparse.PGQueryError as error:
    sys.exit(str(error))
"""


class UnreadableSQL(ValueError):
    """PostgreSQL's parser does not take the text; the message is the parser's own."""


def parse(sql: str) -> list[tuple[str, Fields, int]]:
    """The statements of a text as (node name, fields, offset in characters). Raises UnreadableSQL."""
    try:
        import pgparse  # type: ignore[import-not-found]  # compiled, has no types; 50 ms, where PostgreSQL is linted
    except ImportError as error:
        raise UnreadableSQL("PostgreSQL's parser is not installed here (PyPI: pgparse)") from error
    try:
        found = pgparse.parse(sql)
    except (pgparse.PGQueryError, ValueError, RecursionError) as error:
        raise UnreadableSQL(str(error)) from error
    raw = sql.encode()
    return [(*_node(one["stmt"]), len(raw[: one.get("stmt_location", 0)].decode("utf-8", "ignore"))) for one in found]


def plpgsql(sql: str) -> Any:
    """The tree of a CREATE FUNCTION, CREATE PROCEDURE or DO in PL/pgSQL. Raises UnreadableSQL.

    This part of the parser ends its process on some texts, so it gets one of its own (about 0.1 s).
    """
    argv = [sys.executable, "-I", "-c", _PLPGSQL]
    try:
        done = process.run(argv, cwd=Path("/"), env={}, timeout_s=20, output_limit=20_000_000, stdin=sql.encode())
    except ToolError as error:
        raise UnreadableSQL(str(error)) from error
    if not done.ok or done.truncated:
        raise UnreadableSQL(done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "the parser failed")
    return json.loads(done.stdout)


def _node(wrapped: Fields) -> tuple[str, Fields]:
    return next(iter(wrapped.items()))


def inner(wrapped: Any) -> tuple[str, Fields]:
    """What a wrapped node holds; ("", {}) for none."""
    return _node(wrapped) if isinstance(wrapped, dict) and wrapped else ("", {})


def walk(tree: Any, name: str) -> Iterator[Fields]:
    """Every node of a name, at any depth."""
    pending = [tree]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if isinstance(one.get(name), dict):
                yield one[name]
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)


def relation(fields: Fields | None) -> str:
    """A RangeVar's name; the schema public is left out, so that both ways to write a table are one."""
    if not fields:
        return ""
    schema = fields.get("schemaname", "")
    name = str(fields.get("relname", ""))
    return f"{schema}.{name}" if schema and schema != "public" else name


def names(items: Any) -> list[str]:
    """The strings of a list of String nodes."""
    return [str(string.get("sval", "")) for one in items or () for kind, string in [inner(one)] if kind == "String"]


def dropped(fields: Fields) -> list[str]:
    """What a DropStmt names, each joined with dots."""
    found = []
    for one in fields.get("objects", ()):
        kind, node = inner(one)
        parts = (
            names([one]) if kind == "String" else names(node.get("items") or node.get("objname") or node.get("names"))
        )
        found.append(".".join(parts[1:] if len(parts) > 1 and parts[0] == "public" else parts))
    return found


def function_name(call: Fields) -> str:
    """The last part of a FuncCall's name."""
    return (names(call.get("funcname")) or [""])[-1]


def option(fields: Fields, name: str) -> Any:
    """The argument of a DefElem among `options` or `args`; None where it is not given."""
    for one in [*fields.get("options", ()), *fields.get("args", ())]:
        kind, element = inner(one)
        if kind == "DefElem" and element.get("defname") == name:
            return element.get("arg", True)
    return None


def text_of(node: Any) -> str:
    """The string of a String node, or of a list of them (the body of a function); "" for anything else."""
    kind, fields = inner(node)
    if kind == "String":
        return str(fields.get("sval", ""))
    return (names(fields.get("items")) or [""])[0] if kind == "List" else ""


def type_name(fields: Fields | None) -> str:
    """The last part of a TypeName, such as int4, varchar, text."""
    return (names((fields or {}).get("names")) or [""])[-1]


def always_true(where: Any) -> bool:
    """Whether a WHERE keeps every row: there is none, or it is TRUE or a constant equal to itself."""
    if not where:
        return True
    kind, fields = inner(where)
    if kind == "A_Const":
        return bool(fields.get("boolval", {}).get("boolval"))
    if kind == "A_Expr" and fields.get("kind") == "AEXPR_OP" and names(fields.get("name")) == ["="]:
        left, right = inner(fields.get("lexpr")), inner(fields.get("rexpr"))
        return left[0] == right[0] == "A_Const" and _plain(left[1]) == _plain(right[1])
    return False


def _plain(constant: Fields) -> Fields:
    return {key: value for key, value in constant.items() if key != "location"}


def literal(expression: str) -> str | None:
    """The value of an SQL expression that is one string literal; None for anything that is built at run time."""
    try:
        found = parse(f"SELECT {expression}")
    except UnreadableSQL:
        return None
    if len(found) != 1:
        return None
    target = [inner(one)[1].get("val") for one in found[0][1].get("targetList", ())]
    kind, fields = inner(target[0]) if len(target) == 1 else ("", {})
    value = fields.get("sval", {}).get("sval") if kind == "A_Const" else None
    return value if isinstance(value, str) else None


def line_in(text: str, offset: int) -> int:
    """How many line ends stand before an offset."""
    return text.count("\n", 0, offset)
