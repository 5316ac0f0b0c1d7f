"""Which expressions of a Python function come from a caller, followed through its own assignments alone."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend_crew.tools.audit.rules import words
from backend_crew.tools.python_literals import last_name

_OF_REQUEST = words(
    """
    args form values json data files cookies headers query_params path_params GET POST body META stream
    query_string view_args COOKIES FILES content get_json get_data
    """
)
#: Methods of routers and decorators that make a function a handler.
ROUTES = words("get post put patch delete head options route api_route websocket api_view action")
# Values of these types cannot carry a path or an address.
_PLAIN = words("int float bool UUID UUID4 date datetime Decimal Literal Enum IntEnum StrEnum")
_NOT_INPUT = words(
    """
    self cls db session conn connection request req user current_user account service repo repository
    settings background_tasks response cache client
    """
)
_PASSING = words(
    """
    str bytes unquote strip lower lstrip rstrip decode encode join format get getlist items values copy
    dict list Path PurePath abspath normpath expanduser joinpath resolve get_json json pop replace read
    body form
    """
)


@dataclass
class Input:
    """The names of one function that hold what a caller sent; `raw` those whose fields nobody named."""

    names: set[str] = field(default_factory=set)
    raw: set[str] = field(default_factory=set)

    def has(self, node: ast.AST | None) -> bool:
        """Whether the value of an expression is made of what a caller sent."""
        parts: list[ast.expr] = []
        match node:
            case ast.Name(id=name):
                return name in self.names
            case ast.Call():
                return self._call(node)
            case ast.Attribute(value=value, attr=attr):
                if _is_request(node):
                    return True
                # Path(x).name is the last part alone
                parts = [] if attr in ("name", "stem") and isinstance(value, ast.Call) else [value]
            case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                parts = [value]
            case ast.FormattedValue(value=value) | ast.NamedExpr(value=value):
                parts = [value]
            case ast.JoinedStr(values=values) | ast.BoolOp(values=values) | ast.Dict(values=values):
                parts = values
            case ast.Tuple(elts=values) | ast.List(elts=values):
                parts = values
            case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
                parts = [left, right]
        return any(self.has(one) for one in parts)

    def _call(self, node: ast.Call) -> bool:
        name = last_name(node.func)
        if name not in _PASSING:
            return False
        inside = node.func.value if isinstance(node.func, ast.Attribute) else None
        return _is_request(node.func) or self.has(inside) or any(self.has(one) for one in node.args)

    def is_raw(self, node: ast.AST | None) -> bool:
        """Whether it is a whole mapping as a caller sent it, whose keys nothing has checked."""
        if isinstance(node, ast.Name):
            return node.id in self.raw
        if isinstance(node, ast.Await):
            return self.is_raw(node.value)
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in ("dict", "to_dict", "copy", "items", "dict_items"):
                inside = node.func.value if isinstance(node.func, ast.Attribute) else None
                return self.is_raw(inside) or any(self.is_raw(one) for one in node.args)
            return name in ("get_json", "json", "loads") and (_is_request(node.func) or self.has_request(node))
        return isinstance(node, ast.Attribute) and _is_request(node) and node.attr in (
            "json", "form", "values", "args", "data", "POST", "GET", "query_params"
        )  # fmt: skip

    def has_request(self, node: ast.Call) -> bool:
        """Whether a call is given the request's own bytes, or is of the request itself."""
        inside = node.func.value if isinstance(node.func, ast.Attribute) else None
        return (
            last_name(inside) in ("request", "req") if inside is not None else any(self.has(one) for one in node.args)
        )


def input_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Input:
    """What in a function comes from a caller: of a handler its parameters, of any function the request."""
    found = Input()
    if is_handler(function):
        for one in (*function.args.args, *function.args.kwonlyargs):
            kind = _kind(one)
            if one.arg not in _NOT_INPUT and kind != "plain":
                found.names.add(one.arg)
                if kind == "raw":
                    found.raw.add(one.arg)
    for _ in range(3):  # a name that is set from one that is set further down needs another look
        for node in ast.walk(function):
            for target, value in _assigned(node):
                if found.has(value) or found.is_raw(value):
                    found.names.add(target)
                if found.is_raw(value):
                    found.raw.add(target)
    return found


def is_handler(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator, or how Django and Flask write views, makes it answer requests."""
    for one in function.decorator_list:
        call = one.func if isinstance(one, ast.Call) else one
        if (isinstance(call, ast.Attribute) and call.attr in ROUTES) or last_name(call) in (
            "api_view",
            "action",
            "route",
        ):
            return True
    return any(one.arg == "request" for one in function.args.args)


def _kind(parameter: ast.arg) -> str:
    """ "plain" where no text can be in it, "raw" for a mapping with any keys, else "text"."""
    note = parameter.annotation
    if note is None:
        return "text"
    names = {last_name(one) for one in ast.walk(note) if isinstance(one, ast.Name | ast.Attribute)}
    if "Depends" in names or "Security" in names or "BackgroundTasks" in names or "Request" in names:
        return "plain"
    if names & {"dict", "Dict", "Mapping", "Any"}:
        return "raw"
    return "plain" if names & _PLAIN and "str" not in names else "text"


def _is_request(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in _OF_REQUEST
        and isinstance(node.value, ast.Name | ast.Attribute)
        and last_name(node.value) in ("request", "req")
    )


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from ((one.id, value) for one in ast.walk(target) if isinstance(one, ast.Name))
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            | ast.NamedExpr(target=ast.Name(id=name), value=value)
        ):
            yield name, value
        case ast.AugAssign(target=ast.Name(id=name), value=value):
            yield name, value
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield from ((one.id, value) for one in ast.walk(target) if isinstance(one, ast.Name))
