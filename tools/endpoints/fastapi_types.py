"""What a FastAPI handler takes, answers and is guarded by, read from its signature and its dependencies."""

import ast
import re
from collections.abc import Iterator

from backend_crew.tools.static.python_modules import FUNCTIONS, Block, keywords
from backend_crew.tools.static.python_objects import Class, External, Function, Made
from backend_crew.tools.static.python_values import Values

#: Only for what is not of the repository: its name is all there is.
_SOUNDS_LIKE_AUTH = re.compile(r"auth|current_user|current_active|login|permission|jwt|token|api_?key|security", re.I)
_MODELS = frozenset({"pydantic.BaseModel", "sqlmodel.SQLModel", "pydantic.main.BaseModel", "pydantic.RootModel"})
_BODIES = frozenset({"Body", "Form", "File"})
_NOT_BODIES = frozenset({"Depends", "Security", "Query", "Path", "Header", "Cookie"})
_DEEP = 12


class Guards:
    """Which dependencies ask who is asking: what leads to a security scheme, or answers 401 or 403 itself."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._known: dict[int, bool] = {}

    def listed(self, node: ast.expr | None, block: Block) -> tuple[str, ...]:
        """The names of the guards in a `dependencies=[…]`."""
        items = self._values.items(node, block)
        return tuple(name for part in (items.parts if items else ()) for name in self._guard(*part))

    def of_function(self, function: Function) -> tuple[str, ...]:
        """The names of the guards among a handler's parameters."""
        return tuple(name for node, block in self._dependencies(function) for name in self._guard(node, block))

    def _dependencies(self, function: Function) -> Iterator[tuple[ast.expr, Block]]:
        """Every expression that may hold a Depends(…): annotations, as far as aliases lead, and defaults."""
        arguments = function.node.args
        for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if parameter.annotation is not None:
                yield from self._annotated(parameter.annotation, function.block, 0)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                yield default, function.block

    def _annotated(self, node: ast.expr, block: Block, depth: int) -> Iterator[tuple[ast.expr, Block]]:
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Annotated"):
            for part in node.slice.elts[1:] if isinstance(node.slice, ast.Tuple) else ():
                yield part, block
        elif isinstance(node, (ast.Name, ast.Attribute)) and depth < _DEEP:
            for alias, place in self._values.written(node, block):
                yield from self._annotated(alias, place, depth + 1)

    def _guard(self, node: ast.expr, block: Block) -> Iterator[str]:
        if not isinstance(node, ast.Call):
            for alias, place in self._values.written(node, block):
                if isinstance(alias, ast.Call):
                    yield from self._guard(alias, place)
            return
        name = ast.unparse(node.func).rpartition(".")[2]
        if name not in ("Depends", "Security"):
            return
        target = next(iter(node.args[:1]), None) or keywords(node).get("dependency")
        if target is None:
            return
        if name == "Security" or self._asks(target, block, 0):
            yield ast.unparse(target)

    def _asks(self, target: ast.expr, block: Block, depth: int) -> bool:
        if depth > _DEEP:
            return False
        values = self._values.of(target, block)
        if isinstance(target, ast.Call) and any(
            isinstance(one, Function) for one in self._values.of(target.func, block)
        ):
            made = [one for one in self._values.of(target.func, block) if isinstance(one, Function)]
            if any(self._function_asks(one, depth) for one in made):
                return True
        if not values:
            return bool(_SOUNDS_LIKE_AUTH.search(ast.unparse(target)))
        return any(self._value_asks(one, depth) for one in values)

    def _value_asks(self, value: object, depth: int) -> bool:
        match value:
            case Function():
                return self._function_asks(value, depth)
            case External(name=name):
                return bool(_SOUNDS_LIKE_AUTH.search(name))
            case Made(of=External(name=name)):
                return name.startswith("fastapi.security.") or bool(_SOUNDS_LIKE_AUTH.search(name))
            case Made(of=Class() as made):
                if any(one.startswith("fastapi.security.") for one in self._values.types(made)):
                    return True
                return self._method_asks(made, "__call__", depth)
            case Class():
                return self._method_asks(value, "__init__", depth)
        return False

    def _method_asks(self, of: Class, name: str, depth: int) -> bool:
        found = self._values.attribute(of, name)
        if found is None or not isinstance(found[0].to, FUNCTIONS):
            return False
        return self._function_asks(Function(found[0].to, found[1]), depth)

    def _function_asks(self, function: Function, depth: int) -> bool:
        key = id(function.node)
        if key not in self._known:
            self._known[key] = False  # while it is looked at
            self._known[key] = _refuses(function) or any(
                self._leads_on(node, block, depth) for node, block in self._dependencies(function)
            )
        return self._known[key]

    def _leads_on(self, node: ast.expr, block: Block, depth: int) -> bool:
        """Whether a parameter's Depends(…) or Security(…) asks who is asking."""
        if not isinstance(node, ast.Call):
            return False
        name = ast.unparse(node.func).rpartition(".")[2]
        return name == "Security" or (
            name == "Depends" and bool(node.args) and self._asks(node.args[0], block, depth + 1)
        )


def _refuses(function: Function) -> bool:
    """Whether it answers 401 or 403 itself."""
    for node in ast.walk(function.node):
        if isinstance(node, ast.Raise) and node.exc is not None:
            text = ast.unparse(node.exc)
            if re.search(r"HTTPException\(.*\b(40[13]\b|HTTP_40[13]_|UNAUTHORIZED|FORBIDDEN)", text):
                return True
    return False


def body_types(values: Values, function: Function, path: str) -> Iterator[str]:
    """The annotations of the parameters that come in the request's body."""
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: dict[str, ast.expr] = {
        one.arg: value for one, value in zip(positional[::-1], arguments.defaults[::-1], strict=False)
    }
    defaults.update(
        {one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value}
    )
    for parameter in (*positional, *arguments.kwonlyargs):
        if parameter.annotation is None or re.search(rf"{{{parameter.arg}[:}}]", path):
            continue
        plain, marks = _unwrapped(parameter.annotation)
        default = defaults.get(parameter.arg)
        marks += [ast.unparse(default.func).rpartition(".")[2]] if isinstance(default, ast.Call) else []
        if set(marks) & _NOT_BODIES:
            continue
        if set(marks) & _BODIES or _is_model(values, plain, function.block):
            yield ast.unparse(plain)


def _unwrapped(annotation: ast.expr) -> tuple[ast.expr, list[str]]:
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Annotated"):
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        calls = [one.func if isinstance(one, ast.Call) else one for one in parts[1:]]
        return parts[0], [ast.unparse(one).rpartition(".")[2] for one in calls]
    return annotation, []


def _is_model(values: Values, node: ast.expr, block: Block) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_model(values, node.left, block) or _is_model(values, node.right, block)
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return any(_is_model(values, one, block) for one in inner) or _is_model(values, node.value, block)
    for one in values.of(node, block):
        if isinstance(one, Class) and values.types(one) & _MODELS:
            return True
        if isinstance(one, External) and one.name in ("fastapi.UploadFile", "starlette.datastructures.UploadFile"):
            return True
    return False


def response_type(model: ast.expr | None, function: Function | None) -> str:
    """The type of the answer: `response_model`, else the annotation of what is returned."""
    if model is not None:
        return "" if isinstance(model, ast.Constant) and model.value is None else ast.unparse(model)
    returned = function.node.returns if function is not None else None
    return "" if returned is None else ast.unparse(returned)
