"""JavaScript and TypeScript as syntax trees: short ways to what the other readers ask of a node."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from tree_sitter import Node

from backend_crew.tools.index.grammars import BY_SUFFIX, parse

_LIMIT = 640
FUNCTIONS = frozenset(
    {
        "arrow_function",
        "function_expression",
        "function_declaration",
        "method_definition",
        "generator_function",
        "generator_function_declaration",
        "function",
    }
)
_LITERALS = frozenset(
    {"number", "string", "template_string", "true", "false", "null", "undefined", "regex", "object", "array"}
)


def root_of(path: str, text: str) -> Node | None:
    """The tree of a file, None for another language; broken code gives a tree with errors in it."""
    language = BY_SUFFIX.get(PurePosixPath(path).suffix)
    if language is None:
        return None
    return parse(language, text.encode("utf-8", "surrogatepass")).root_node


def source(node: Node | None) -> str:
    """A node's code on one line, bounded."""
    if node is None or node.text is None:
        return ""
    return " ".join(node.text[: 4 * _LIMIT].decode("utf-8", "replace").split())[:_LIMIT]


def line_of(node: Node) -> int:
    """The line of a node, from 1."""
    return int(node.start_point[0]) + 1


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(reversed(one.named_children))


def arguments(call: Node) -> list[Node]:
    """The arguments of a call, comments apart."""
    given = call.child_by_field_name("arguments")
    if given is None or given.type != "arguments":
        return []
    return [one for one in given.named_children if one.type != "comment"]


def callee(call: Node) -> Node | None:
    """What is called."""
    return call.child_by_field_name("function")


def chain(node: Node | None) -> list[str]:
    """The names of `a.b(…).c` in their order, calls on the way included by name; [] for another root."""
    parts: list[str] = []
    while node is not None:
        if node.type in ("identifier", "this", "super", "property_identifier"):
            parts.append(source(node))
            return parts[::-1]
        if node.type == "member_expression":
            parts.append(source(node.child_by_field_name("property")))
            node = node.child_by_field_name("object")
        elif node.type in ("call_expression", "await_expression", "parenthesized_expression", "non_null_expression"):
            node = (
                callee(node)
                if node.type == "call_expression"
                else node.named_children[0]
                if node.named_children
                else None
            )
        else:
            return []
    return []


def string_of(node: Node | None) -> str | None:
    """The text of a string written out, None for anything else."""
    if node is None or node.type not in ("string", "template_string"):
        return None
    return source(node)[1:-1]


def is_literal(node: Node) -> bool:
    """Whether code is a value written out."""
    return node.type in _LITERALS or (
        node.type == "unary_expression" and bool(node.named_children) and is_literal(node.named_children[0])
    )


def names_in(*nodes: Node | None) -> frozenset[str]:
    """Properties, texts and called functions; plain variables where there is nothing else."""
    found: set[str] = set()
    plain: set[str] = set()
    for root in nodes:
        for node in walk(root) if root is not None else ():
            if node.type in ("property_identifier", "shorthand_property_identifier"):
                found.add(source(node))
            elif node.type == "string":
                found.add(source(node)[1:-1])
            elif node.type == "identifier":
                parent = node.parent
                called = parent is not None and parent.type == "call_expression" and callee(parent) == node
                (found if called else plain).add(source(node))
    return frozenset(found or plain)


def words_in(node: Node) -> frozenset[str]:
    """All names and values written out below a node."""
    kinds = (
        "identifier",
        "property_identifier",
        "shorthand_property_identifier",
        "number",
        "string",
        "template_string",
    )
    return frozenset(source(one).strip("'\"`")[:200] for one in walk(node) if one.type in kinds)


def body_of(function: Node) -> Node | None:
    """A function's block, or the expression that an arrow gives."""
    return function.child_by_field_name("body")


def statements(block: Node) -> list[Node]:
    """The statements of a block, comments apart."""
    return [one for one in block.named_children if one.type != "comment"]


def functions_in(root: Node) -> Iterator[tuple[str, Node]]:
    """Named functions of a file: declarations, methods, functions kept in a variable or an exported property."""
    for node in walk(root):
        if node.type in ("function_declaration", "generator_function_declaration", "method_definition"):
            yield source(node.child_by_field_name("name")), node
        elif node.type == "variable_declarator":
            value = node.child_by_field_name("value")
            if value is not None and value.type in FUNCTIONS:
                yield source(node.child_by_field_name("name")), value
        elif node.type == "assignment_expression":
            right, left = node.child_by_field_name("right"), node.child_by_field_name("left")
            if right is not None and right.type in FUNCTIONS and left is not None:
                yield source(left).rpartition(".")[2], right


def definitions(path: str, text: str) -> Iterator[tuple[str, str]]:
    """Name and code of each named function of a file."""
    root = root_of(path, text)
    for name, node in functions_in(root) if root is not None else ():
        yield name, (node.text or b"").decode("utf-8", "replace")


def imports_of(root: Node) -> dict[str, tuple[str, str]]:
    """What each imported name stands for: the module as it is written, and the name in it ("" for the module)."""
    found: dict[str, tuple[str, str]] = {}
    for node in walk(root):
        if node.type == "import_statement":
            module = string_of(node.child_by_field_name("source")) or ""
            for one in walk(node):
                if one.type == "import_specifier":
                    name, alias = one.child_by_field_name("name"), one.child_by_field_name("alias")
                    found[source(alias or name)] = (module, source(name))
                elif (
                    one.type == "identifier"
                    and one.parent is not None
                    and one.parent.type in ("import_clause", "namespace_import")
                ):
                    found[source(one)] = (module, "")
        elif node.type == "variable_declarator":
            found |= _required(node)
    return found


def _required(node: Node) -> dict[str, tuple[str, str]]:
    value, name = node.child_by_field_name("value"), node.child_by_field_name("name")
    if value is not None and value.type == "await_expression" and value.named_children:
        value = value.named_children[0]
    if value is None or name is None or value.type != "call_expression":
        return {}
    given = arguments(value)
    if source(callee(value)) not in ("require", "import") or not given or (module := string_of(given[0])) is None:
        return {}
    if name.type == "identifier":
        return {source(name): (module, "")}
    found: dict[str, tuple[str, str]] = {}
    for one in name.named_children:
        if one.type == "shorthand_property_identifier_pattern":
            found[source(one)] = (module, source(one))
        elif one.type == "pair_pattern":
            found[source(one.child_by_field_name("value"))] = (module, source(one.child_by_field_name("key")))
    return found
