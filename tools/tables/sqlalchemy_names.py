"""The name of a mapped class's table: a text, or built from the class's name in a declared attribute."""

import ast
import re
from collections.abc import Sequence

from backend_crew.tools.static.python_modules import FUNCTIONS, Block
from backend_crew.tools.static.python_objects import Class, Function
from backend_crew.tools.static.python_values import Values


def tablename(values: Values, model: Class, own: Sequence[Class]) -> str | None:
    """What `__tablename__` (or the Table in `__table__`) gives the model; `own` are the classes it may stand in."""
    for one in own:
        body = values.body(one)
        for binding in body.bindings.get("__tablename__", ())[-1:]:
            if isinstance(binding.to, FUNCTIONS):
                return _returned(values, Function(binding.to, body), model.node.name)
            if isinstance(binding.to, ast.expr):
                text = values.text(binding.to, body)
                return text.value if text is not None else None
    return None


def _returned(values: Values, function: Function, name: str) -> str | None:
    inner = values.body(function)
    for node in ast.walk(function.node):
        if isinstance(node, ast.Return) and node.value is not None:
            return _built(values, node.value, inner, name)
    return None


def _built(values: Values, node: ast.expr, block: Block, name: str) -> str | None:
    """The text of an expression in which `cls.__name__` is the model's name; None for what else it may do."""
    match node:
        case ast.Attribute(attr="__name__"):
            return name
        case ast.Call(func=ast.Attribute(value=inner, attr="lower" | "upper" as how), args=[]):
            text = _built(values, inner, block, name)
            return None if text is None else text.lower() if how == "lower" else text.upper()
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_built(values, one, block, name) for one in (left, right)]
        case ast.JoinedStr(values=pieces):
            inner_parts = [one.value if isinstance(one, ast.FormattedValue) else one for one in pieces]
            parts = [_built(values, one, block, name) for one in inner_parts]
        case ast.Call(func=called, args=[ast.Attribute(attr="__name__")]):
            return _split(values, called, block, name)
        case _:
            known = values.text(node, block)
            return known.value if known is not None else None
    return None if None in parts else "".join(one for one in parts if one is not None)


def _split(values: Values, called: ast.expr, block: Block, name: str) -> str | None:
    """What a function that splits a name before each capital and joins it by underscores makes of it."""
    for value in values.of(called, block):
        if isinstance(value, Function):
            text = ast.unparse(value.node)
            if "re.split('(?=[A-Z])'" in text and "'_'.join" in text and ".lower()" in text:
                return "_".join(one.lower() for one in re.split("(?=[A-Z])", name) if one)
    return None
