"""The definitions of a Python text: functions, classes, methods, attributes and constants, as comparable code."""

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

STATEMENT = "<statement>"
_STATEMENT_NAME = 70
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Definition:
    """One definition: `parts` are what can be shown (signature, decorators, bases, value …), `body` is compared only.

    `kind` is "function", "class", "assignment" or "statement"; `members` are a class's attributes in their order.
    """

    kind: str
    line: int
    parts: Mapping[str, str]
    body: str = ""
    members: tuple[str, ...] = field(default=())

    @property
    def code(self) -> tuple[str, tuple[tuple[str, str], ...], str]:
        """All that has to be equal for the definition to be unaltered, but for the order of a class's attributes."""
        return self.kind, tuple(self.parts.items()), self.body


Definitions = Mapping[tuple[str, str], list[Definition]]
_Item = tuple[str, str, Definition]


def read_definitions(text: str) -> Definitions | None:
    """Definitions by (dotted name, slot); None for a text that is not Python of this interpreter's version.

    The slot tells a property's setter from its getter. A statement that defines nothing has its own text as name and
    the slot STATEMENT.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the repository's strings is not our business
            tree = ast.parse(text)
        _drop_docstrings(tree)
        found: dict[tuple[str, str], list[Definition]] = {}
        for name, slot, definition in _in_body(tree.body, "", ()):
            found.setdefault((name, slot), []).append(definition)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found


def _is_bare_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *_FUNCTIONS)) and node.body and _is_bare_constant(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]


def _in_body(body: Sequence[ast.stmt], prefix: str, guards: tuple[str, ...]) -> Iterator[_Item]:
    """Every definition of a module or class body; `guards` are the conditions around it."""
    for node in body:
        if isinstance(node, _FUNCTIONS):
            yield prefix + node.name, _slot(node), _function(node, guards)
        elif isinstance(node, ast.ClassDef):
            yield from _class(node, prefix, guards)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            yield from _assignment(node, prefix, guards)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _block(node, prefix, guards)
        elif not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) and not _is_bare_constant(node):
            yield from _statement(node, prefix, guards)


def _slot(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What sets one function apart from another of the same name that does not replace it."""
    if node.name == "_":
        return _listed(node.decorator_list)
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
            return decorator.attr
        if ast.unparse(decorator).rpartition(".")[2] == "overload":
            return "overload"
    return ""


def _listed(nodes: Sequence[ast.expr]) -> str:
    return ", ".join(map(ast.unparse, nodes))


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, guards: tuple[str, ...]) -> Definition:
    parts = {
        "signature": f"({ast.unparse(node.args)})",
        "return type": ast.unparse(node.returns) if node.returns else "",
        "decorators": _listed(node.decorator_list),
        "calling style": "async" if isinstance(node, ast.AsyncFunctionDef) else "plain",
        "condition": " / ".join(guards),
    }
    return Definition("function", node.lineno, parts, "\n".join(map(ast.dump, node.body)))


def _class(node: ast.ClassDef, prefix: str, guards: tuple[str, ...]) -> Iterator[_Item]:
    bases = [*map(ast.unparse, node.bases), *(f"{key.arg or '**'}={ast.unparse(key.value)}" for key in node.keywords)]
    parts = {
        "bases": f"({', '.join(bases)})",
        "decorators": _listed(node.decorator_list),
        "condition": " / ".join(guards),
    }
    inner = list(_in_body(node.body, f"{prefix}{node.name}.", ()))
    members = tuple(dict.fromkeys(name for name, _, definition in inner if definition.kind == "assignment"))
    yield prefix + node.name, "", Definition("class", node.lineno, parts, members=members)
    yield from inner


def _assignment(
    node: ast.Assign | ast.AnnAssign | ast.AugAssign, prefix: str, guards: tuple[str, ...]
) -> Iterator[_Item]:
    value = ast.unparse(node.value) if node.value else ""
    if isinstance(node, ast.AugAssign):
        value = f"{ast.unparse(node).partition('=')[0].split()[-1]}= {value}"
    parts = {
        "annotation": ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else "",
        "value": value,
        "condition": " / ".join(guards),
    }
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        for part in _flat(target):
            yield prefix + ast.unparse(part), "", Definition("assignment", node.lineno, parts)


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _flat(element)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def _block(node: ast.If | ast.Try | ast.With, prefix: str, guards: tuple[str, ...]) -> Iterator[_Item]:
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        yield from _in_body(node.body, prefix, (*guards, f"if {test}"))
        yield from _in_body(node.orelse, prefix, (*guards, f"if not ({test})"))
    elif isinstance(node, ast.With):
        yield from _in_body(node.body, prefix, (*guards, f"with {', '.join(map(ast.unparse, node.items))}"))
    else:
        yield from _in_body(node.body, prefix, (*guards, "try"))
        for handler in node.handlers:
            caught = f"except {ast.unparse(handler.type) if handler.type else ''}".strip()
            yield from _in_body(handler.body, prefix, (*guards, caught))
        yield from _in_body(node.orelse, prefix, (*guards, "try-else"))
        yield from _in_body(node.finalbody, prefix, (*guards, "finally"))


def _statement(node: ast.stmt, prefix: str, guards: tuple[str, ...]) -> Iterator[_Item]:
    text = ast.unparse(node)
    name = text.split("\n")[0]
    name = name if len(name) <= _STATEMENT_NAME else name[: _STATEMENT_NAME - 1] + "…"
    yield prefix + name, STATEMENT, Definition("statement", node.lineno, {"condition": " / ".join(guards)}, text)
