"""Faults for JavaScript and TypeScript code, and the points where it can be made to throw, by its syntax tree."""

from collections.abc import Iterator

from tree_sitter import Node

from backend_crew.tools.honesty.fault import Fault
from backend_crew.tools.honesty.javascript_code import (
    FUNCTIONS,
    body_of,
    callee,
    chain,
    line_of,
    root_of,
    source,
    statements,
    walk,
)

_SIGNS = {
    "===": "!==", "!==": "===", "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">",
    "&&": "||", "||": "&&", "??": "&&", "-": "+", "*": "+", "/": "*", "%": "*",
}  # fmt: skip
_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_TELLING = frozenset({"console", "log", "logger", "debug"})
_TYPES = frozenset(
    {
        "type_annotation",
        "interface_declaration",
        "type_alias_declaration",
        "import_statement",
        "enum_declaration",
        "type_arguments",
    }
)
_REMOVED = frozenset({"call_expression", "await_expression", "augmented_assignment_expression"})
_THROW = b"throw new Error('this line was added');"


def faults(path: str, text: str, lines: set[int]) -> Iterator[Fault]:
    """Faults for the code in some lines; types, imports and logging are left as they are."""
    root = root_of(path, text)
    waiting = [root] if root is not None and not root.has_error else []
    while waiting:
        node = waiting.pop()
        if node.type in _TYPES or _tells(node):
            continue
        if line_of(node) in lines:
            yield from _replaced(node)
        waiting.extend(reversed(node.named_children))


def _tells(node: Node) -> bool:
    inner = node.named_children[0] if node.type == "expression_statement" and node.named_children else None
    return inner is not None and inner.type == "call_expression" and bool(_TELLING & set(chain(callee(inner))[:2]))


def _replaced(node: Node) -> Iterator[Fault]:
    if node.type == "binary_expression" and (sign := node.child_by_field_name("operator")) is not None:
        for table in (_SIGNS, _BOUNDARY):
            if (other := table.get(source(sign))) is not None:
                yield _at(sign, other, "comparison" if source(sign)[0] in "=!<>" else "operator")
    elif node.type == "unary_expression" and source(node).startswith("!") and node.named_children:
        yield _at(node, f"({source(node.named_children[0])})", "negation")
    elif node.type == "number" and source(node).replace(".", "", 1).isdigit():
        yield _at(node, f"({source(node)} + 1)", "constant")
    elif node.type in ("true", "false"):
        yield _at(node, "false" if node.type == "true" else "true", "constant")
    elif node.type.endswith("_statement"):
        yield from _statement(node)


def _statement(node: Node) -> Iterator[Fault]:
    inner = node.named_children[0] if node.named_children else None
    if node.type == "if_statement" and (condition := node.child_by_field_name("condition")) is not None:
        yield _at(condition, "(true)", "condition")
        yield _at(condition, "(false)", "condition")
    elif node.type == "return_statement" and inner is not None and source(inner) != "undefined":
        yield _at(node, "return undefined;", "return")
    elif node.type == "throw_statement":
        yield _at(node, ";", "throw removed")
    elif node.type == "expression_statement" and inner is not None and inner.type in _REMOVED:
        yield _at(node, ";", "call removed")


def _at(node: Node, code: str, operator: str) -> Fault:
    return Fault(node.start_byte, node.end_byte, code.encode(), line_of(node), operator)


def raising(path: str, text: str, lines: set[int]) -> tuple[str, bool]:
    """The source with a `throw` before the code that a change added inside functions.

    The second value says whether all added code is inside functions: outside, nothing can throw and nothing be told.
    """
    root = root_of(path, text)
    if root is None or root.has_error:
        return text, False
    code = text.encode("utf-8", "surrogatepass")
    inserts: list[tuple[int, int, bytes]] = []
    for node in walk(root):
        if node.type in FUNCTIONS and (body := body_of(node)) is not None:
            if body.type == "statement_block":
                inserts += _first_changed(body, lines)
            elif _rows(body) & lines:
                inserts.append((body.start_byte, body.end_byte, b"(() => { " + _THROW + b" })()"))
    outermost: list[tuple[int, int, bytes]] = []
    for one in sorted(set(inserts), key=lambda item: (item[0], -item[1])):
        if not outermost or one[0] >= outermost[-1][1]:
            outermost.append(one)
    for start, end, replacement in reversed(outermost):
        code = code[:start] + replacement + code[end:]
    whole = all(_inside(node, lines) for node in statements(root))
    changed = code.decode("utf-8", "surrogatepass")
    again = root_of(path, changed)
    return (changed, whole) if again is not None and not again.has_error else (text, False)


def _first_changed(block: Node, lines: set[int]) -> list[tuple[int, int, bytes]]:
    """Where the first statement of a block stands of which the change added a line, inner blocks before outer ones."""
    for node in statements(block):
        if not _rows(node) & lines or node.type in ("function_declaration", "class_declaration"):
            continue
        inner = [one for one in walk(node) if one.type == "statement_block" and not _in_function(one, node)]
        head = _rows(node) - {row for one in inner for row in range(line_of(one) + 1, int(one.end_point[0]) + 2)}
        if not inner or head & lines:
            return [(node.start_byte, node.start_byte, _THROW)]
        found = [point for one in inner for point in _first_changed(one, lines)]
        if found:
            return found
    return []


def _in_function(block: Node, top: Node) -> bool:
    around = block.parent
    while around is not None and around != top:
        if around.type in FUNCTIONS:
            return True
        around = around.parent
    return False


def _rows(node: Node) -> set[int]:
    return {*range(line_of(node), int(node.end_point[0]) + 2)}


def _inside(node: Node, lines: set[int]) -> bool:
    """Whether nothing of a statement at the top of a file was added but functions, types and imports."""
    if not _rows(node) & lines or node.type in _TYPES or node.type == "function_declaration":
        return True
    held: set[int] = set()
    for one in walk(node):
        if one.type in FUNCTIONS:
            held |= _rows(one)
    exports = source(node).startswith(("module.exports", "exports.", "export ", "const {")) or "require(" in source(
        node
    )
    return exports or not (_rows(node) & lines) - held
