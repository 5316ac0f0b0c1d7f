"""Which decorators and classes of Python ask who is asking, by what they do or else by their names."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from backend_crew.tools.static.python_modules import Block
from backend_crew.tools.static.python_objects import Class, Function
from backend_crew.tools.static.python_values import Values

_NAMES = re.compile(
    r"login|auth|jwt|token|permission|role|admin|staff|api_?key|protected|scope|passes_test|privilege|^requires$", re.I
)
_HARMLESS = re.compile(r"csrf|author(?!i[sz])|optional|exempt|anonymous|update_token", re.I)
_REFUSES = re.compile(
    r"\b(abort|HttpResponseForbidden|PermissionDenied|NotAuthorized|\w*Unauthorized|\w*Forbidden)\b|\b40[13]\b"
)

_ROUTES = frozenset({"route", "get", "post", "put", "patch", "delete", "register", "before_request", "action"})
# What RESTX, Smorest and APIFlask hang on a handler to describe it, whatever the namespace is called.
_DESCRIBES = frozenset(
    {"alt_response", "arguments", "deprecated", "doc", "errorhandler", "expect", "header", "hide", "input",
     "marshal_list_with", "marshal_with", "model", "output", "paginate", "param", "produces", "response", "vendor"}
)  # fmt: skip
_CALLS = 20


def decorator_guards(values: Values, decorators: Sequence[ast.expr], block: Block) -> Iterator[str]:
    """The names of the decorators that guard, as written, without their arguments."""
    for one in decorators:
        target = one.func if isinstance(one, ast.Call) else one
        name = ast.unparse(target)
        if isinstance(target, ast.Attribute) and target.attr in _ROUTES | _DESCRIBES:
            continue
        if name.endswith("method_decorator") and isinstance(one, ast.Call) and one.args:
            yield from decorator_guards(values, one.args[:1], block)
        elif is_guard(values, target, block):
            yield name


def is_guard(values: Values, target: ast.expr, block: Block) -> bool:
    """Whether a function or class guards: its code refuses, or nothing but its name is known and sounds so."""
    for value in values.of(target, block):
        if isinstance(value, Function):
            return refuses(value) or any(refuses(one) for one in _called(values, ast.walk(value.node), value))
        if isinstance(value, Class):
            return bool(_REFUSES.search(ast.unparse(value.node)))
    name = ast.unparse(target)
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)


def called_guards(values: Values, function: Function) -> Iterator[str]:
    """The guards of the functions that a handler calls in any case: in a statement of its own, below no condition."""
    plain = [one for one in function.node.body if isinstance(one, ast.Return | ast.Expr | ast.Assign | ast.AnnAssign)]
    for one in _called(values, (node for statement in plain for node in ast.walk(statement)), function):
        yield from decorator_guards(values, one.node.decorator_list, one.block)


def _called(values: Values, nodes: Iterable[ast.AST], function: Function) -> Iterator[Function]:
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    for call in calls[:_CALLS]:
        yield from (value for value in values.of(call.func, function.block) if isinstance(value, Function))


def refuses(function: Function) -> bool:
    """Whether a function's own code answers 401 or 403, or calls what is named for it."""
    text = ast.unparse(function.node)
    found = {match.group() for match in _REFUSES.finditer(text)}
    return bool(found - {"abort"}) or bool(found and re.search(r"UNAUTHORIZED|FORBIDDEN", text))
