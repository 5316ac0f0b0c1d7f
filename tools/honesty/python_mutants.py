"""Faults for Python code, and the points where it can be made to raise, by its syntax tree."""

import ast
import copy
from collections.abc import Iterator, Sequence

from backend_crew.tools.honesty import python_tests
from backend_crew.tools.honesty.fault import Fault
from backend_crew.tools.honesty.python_assertions import dotted

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_TELLING = frozenset({"log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER", "print", "warnings"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Block = Sequence[ast.stmt]


class _Places:
    """Byte offsets of a source's lines, and of nodes in it."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        for line in text.encode("utf-8", "surrogatepass").split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def of(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where a node begins and ends."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[last - 1] + column

    def line(self, number: int) -> int:
        """Where a line begins."""
        return self._starts[number - 1]


def faults(_: str, text: str, lines: set[int]) -> Iterator[Fault]:
    """Faults for the code in some lines; annotations, decorators, docstrings and logging are left as they are."""
    tree = python_tests.parse(text)
    if tree is None:
        return
    places = _Places(text)
    for node in _code(tree):
        if not isinstance(node, (ast.expr, ast.stmt)) or node.lineno not in lines:
            continue
        for operator, code in _replaced(node):
            start, end = places.of(node)
            yield Fault(start, end, code.encode("utf-8", "surrogatepass"), node.lineno, operator)


def _code(root: ast.AST) -> Iterator[ast.AST]:
    """The nodes in which a fault is a fault: conditions first, so that each line's first mutant changes what it does."""
    for field, value in ast.iter_fields(root):
        if field in ("annotation", "returns", "decorator_list", "type_comment", "bases", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
                continue
            if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
                continue
            if isinstance(node, ast.Expr) and _tells(node.value):
                continue
            yield node
            yield from _code(node)


def _tells(node: ast.expr) -> bool:
    """Whether an expression by itself is a docstring, or only says something."""
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Call) and dotted(node.func).partition(".")[0] in _TELLING
    )


def _replaced(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What may stand in a node's place, as code."""
    match node:
        case ast.Compare(ops=[op]):
            others = [table[type(op)] for table in (_COMPARE, _BOUNDARY) if type(op) in table]
            yield from (("comparison", _unparsed(node, ops=[other()])) for other in others)
        case ast.BoolOp(op=op):
            yield "and/or", _unparsed(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "negation", f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            if not (_is_text(left) or _is_text(right)):
                yield "arithmetic", _unparsed(node, op=_ARITHMETIC[type(op)]())
        case ast.IfExp(body=body, orelse=orelse):
            yield from (("condition", f"({ast.unparse(one)})") for one in (body, orelse))
        case ast.Constant():
            yield from _constant(node)
        case ast.stmt():
            yield from _statement(node)


def _statement(node: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield "return", "return None"
    elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Await)):
        yield "call removed", "pass"
    elif isinstance(node, ast.Raise) and node.exc is not None:
        yield "raise removed", "pass"
    elif isinstance(node, ast.AugAssign):
        yield "assignment removed", "pass"


def _constant(node: ast.Constant) -> Iterator[tuple[str, str]]:
    if isinstance(node.value, bool):
        yield "constant", str(not node.value)
    elif isinstance(node.value, int) and abs(node.value) < 10**12:
        yield "constant", f"({node.value + 1})"
    elif isinstance(node.value, float) and abs(node.value) < 1e12:
        yield "constant", f"({node.value + 1!r})"


def _unparsed(node: ast.expr, **fields: object) -> str:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return f"({ast.unparse(other)})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def raising(_: str, text: str, lines: set[int]) -> tuple[str, bool]:
    """The source with a `raise` before the code that a change added inside functions.

    The second value says whether all added code is inside functions: outside, nothing can raise and nothing be told.
    """
    tree = python_tests.parse(text)
    if tree is None:
        return text, False
    points = {node.lineno: node.col_offset for node in _first_changed(tree.body, lines, False)}
    rows = text.split("\n")
    for number in sorted(points, reverse=True):
        rows.insert(number - 1, " " * points[number] + "raise RuntimeError('this line was added')")
    whole = all(_inside(node, lines) for node in tree.body)
    changed = "\n".join(rows)
    return (changed, whole) if python_tests.parse(changed) is not None else (text, False)


def _first_changed(body: _Block, lines: set[int], inside: bool) -> Iterator[ast.stmt]:
    """In each block of a function, the first statement of which the change added a line."""
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        blocks = _blocks(node)
        head = {*range(node.lineno, (blocks[0][0].lineno if blocks else (node.end_lineno or node.lineno) + 1))}
        is_definition = isinstance(node, (*_FUNCTIONS, ast.ClassDef))
        if inside and not is_definition and head & lines:
            yield node
            return  # what follows in the block is reached no more
        found = list(_inner(node, blocks, lines, inside))
        yield from found


def _inner(node: ast.stmt, blocks: Sequence[_Block], lines: set[int], inside: bool) -> Iterator[ast.stmt]:
    for block in blocks:
        # A block on its header's line has no line of its own to stand before.
        if block[0].lineno != node.lineno:
            yield from _first_changed(block, lines, inside or isinstance(node, _FUNCTIONS))


def _blocks(node: ast.stmt) -> list[_Block]:
    found: list[_Block] = [block for name in ("body", "orelse", "finalbody") if (block := getattr(node, name, None))]
    found += [one.body for name in ("handlers", "cases") for one in getattr(node, name, ())]
    return sorted((block for block in found if isinstance(block, list)), key=lambda block: block[0].lineno)


def _inside(node: ast.stmt, lines: set[int]) -> bool:
    """Whether nothing of a statement at the top of a module was added but functions and imports."""
    if isinstance(node, (*_FUNCTIONS, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.ClassDef):
        return all(_inside(one, lines) for one in node.body)
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or not lines & {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
