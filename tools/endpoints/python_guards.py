"""Which decorators and classes of Python ask who is asking, by what they do or else by their names."""

import ast
import re
from collections.abc import Iterator, Sequence

from backend_crew.tools.static.python_modules import Block
from backend_crew.tools.static.python_objects import Class, Function
from backend_crew.tools.static.python_values import Values

_NAMES = re.compile(
    r"login|auth|jwt|token|permission|role|admin|staff|api_?key|protected|scope|passes_test|privilege|^requires$", re.I
)
_HARMLESS = re.compile(r"csrf|author(?!i[sz])|optional|exempt|anonymous|update_token", re.I)
_REFUSES = re.compile(
    r"\b(abort|HttpResponseForbidden|PermissionDenied|Unauthorized|Forbidden|NotAuthorized)\b|\b40[13]\b"
)

_ROUTES = frozenset({"route", "get", "post", "put", "patch", "delete", "register", "before_request", "action"})


def decorator_guards(values: Values, decorators: Sequence[ast.expr], block: Block) -> Iterator[str]:
    """The names of the decorators that guard, as written, without their arguments."""
    for one in decorators:
        target = one.func if isinstance(one, ast.Call) else one
        name = ast.unparse(target)
        if isinstance(target, ast.Attribute) and target.attr in _ROUTES:
            continue
        if name.endswith("method_decorator") and isinstance(one, ast.Call) and one.args:
            yield from decorator_guards(values, one.args[:1], block)
        elif is_guard(values, target, block):
            yield name


def is_guard(values: Values, target: ast.expr, block: Block) -> bool:
    """Whether a function or class guards: its code refuses, or nothing but its name is known and sounds so."""
    for value in values.of(target, block):
        if isinstance(value, Function):
            return refuses(value)
        if isinstance(value, Class):
            return bool(_REFUSES.search(ast.unparse(value.node)))
    name = ast.unparse(target)
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)


def refuses(function: Function) -> bool:
    """Whether a function's own code answers 401 or 403, or calls what is named for it."""
    text = ast.unparse(function.node)
    found = {match.group() for match in _REFUSES.finditer(text)}
    return bool(found - {"abort"}) or bool(found and re.search(r"UNAUTHORIZED|FORBIDDEN", text))
