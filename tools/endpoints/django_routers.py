"""What a router of the repository's own puts before the prefixes that are registered on it."""

import ast
from collections.abc import Iterator

from backend_crew.tools.static.python_modules import FUNCTIONS, called, keywords
from backend_crew.tools.static.python_objects import Class, Made
from backend_crew.tools.static.python_values import Values


def own_prefix(values: Values, router: Made) -> str | None:
    """The text that its register() puts first, "" where it is REST framework's; None where the source does not tell."""
    function = next(_methods(values, router, "register"), None)
    if function is None:
        return ""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and _is_super(node)]
    names = [one.arg for one in function.args.args]
    if len(calls) != 1 or len(names) < 2:
        return None
    given = next(iter(calls[0].args[:1]), None) or keywords(calls[0]).get("prefix")
    pieces = list(_pieces(given)) if given is not None else []
    if not pieces or not isinstance(pieces[-1], ast.Name) or pieces[-1].id != names[1]:
        return None
    texts = [_text(values, router, one) for one in pieces[:-1]]
    return None if None in texts else "".join(one for one in texts if one is not None)


def _methods(values: Values, router: Made, name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for one in values.ancestors(router.of) if isinstance(router.of, Class) else ():
        if isinstance(one, Class):
            yield from (node for node in one.node.body if isinstance(node, FUNCTIONS) and node.name == name)


def _is_super(node: ast.Call) -> bool:
    function = node.func
    return called(node) == "register" and isinstance(function, ast.Attribute) and "super()" in ast.unparse(function)


def _pieces(node: ast.expr) -> Iterator[ast.expr]:
    """The parts that a text is put together of, in order."""
    if isinstance(node, ast.JoinedStr):
        for one in node.values:
            yield from _pieces(one.value if isinstance(one, ast.FormattedValue) else one)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _pieces(node.left)
        yield from _pieces(node.right)
    else:
        yield node


def _text(values: Values, router: Made, node: ast.expr) -> str | None:
    """A part as text: itself, or an attribute that the router was made with."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return _attribute(values, router, node.attr)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _attribute(values: Values, router: Made, name: str) -> str | None:
    for function in _methods(values, router, "__init__"):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and any(ast.unparse(one) == f"self.{name}" for one in node.targets):
                return _given(values, router, function, node.value)
    found = values.attribute(router.of, name) if isinstance(router.of, Class) else None
    text = values.text(found[0].to, found[1]) if found is not None and isinstance(found[0].to, ast.expr) else None
    return text.value if text is not None and text.certain else None


def _given(
    values: Values, router: Made, function: ast.FunctionDef | ast.AsyncFunctionDef, value: ast.expr
) -> str | None:
    """What __init__ keeps: a text, or the argument that the router was made with."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else None
    names = [one.arg for one in function.args.args][1:]
    if not isinstance(value, ast.Name) or not isinstance(router.node, ast.Call):
        return None
    argument = keywords(router.node).get(value.id)
    if argument is None and value.id in names and names.index(value.id) < len(router.node.args):
        argument = router.node.args[names.index(value.id)]
    text = values.text(argument, router.block)
    return text.value if text is not None and text.certain else None
