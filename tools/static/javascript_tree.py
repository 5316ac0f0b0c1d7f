"""The syntax of JavaScript and TypeScript files: what a module declares, imports and exports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

FUNCTIONS = frozenset(
    {
        "function_declaration",
        "function_expression",
        "arrow_function",
        "method_definition",
        "generator_function_declaration",
    }
)
CLASSES = frozenset({"class_declaration", "abstract_class_declaration", "class"})


@dataclass(eq=False)
class JsModule:
    """One parsed file. Exports lead to nodes of it, or to (module, name) of another."""

    path: str
    root: Node
    exports: dict[str, Node | tuple[str, str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    scopes: dict[int, dict[str, Node]] = field(default_factory=dict)
    calls: list[Node] = field(default_factory=list)
    classes: list[Node] = field(default_factory=list)


def written(node: Node | None) -> str:
    """The source of a node; "" for none."""
    return node.text.decode("utf-8", "replace") if node is not None and node.text is not None else ""


def arguments(call: Node) -> list[Node]:
    """The arguments of a call."""
    given = call.child_by_field_name("arguments")
    return [one for one in given.named_children if one.type != "comment"] if given is not None else []


def pair(node: Node, name: str) -> Node | None:
    """The value of a property of an object literal."""
    for one in node.named_children:
        if one.type == "pair" and written(one.child_by_field_name("key")).strip("'\"") == name:
            return one.child_by_field_name("value")
        if one.type == "shorthand_property_identifier" and written(one) == name:
            return one
        if one.type == "method_definition" and written(one.child_by_field_name("name")) == name:
            return one
    return None


def descendants(node: Node, *kinds: str) -> Iterator[Node]:
    """The nodes of some kinds below a node, in the order of the source."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.type in kinds:
            yield one
        waiting.extend(reversed(one.named_children))


def enclosing(node: Node, kinds: frozenset[str]) -> Node | None:
    """The nearest node around a node that is of one of the kinds."""
    place = node.parent
    while place is not None and place.type not in kinds:
        place = place.parent
    return place


def loop_items(function: Node) -> Node | None:
    """The array of `array.forEach(function)` or `.map`."""
    call = function.parent.parent if function.parent is not None and function.parent.type == "arguments" else None
    callee = call.child_by_field_name("function") if call is not None else None
    if callee is None or callee.type != "member_expression":
        return None
    name = written(callee.child_by_field_name("property"))
    return callee.child_by_field_name("object") if name in ("forEach", "map") else None


def returns(function: Node) -> Iterator[Node]:
    """What a function returns, as expressions."""
    body = function.child_by_field_name("body")
    if body is None:
        return
    if body.type != "statement_block":
        yield body
        return
    waiting = list(body.named_children)
    while waiting:
        one = waiting.pop(0)
        if one.type == "return_statement" and one.named_children:
            yield one.named_children[0]
        elif one.type not in FUNCTIONS and one.type not in CLASSES:
            waiting[:0] = one.named_children


def parameter_index(function: Node, name: str) -> int | None:
    """The place of a parameter of this name."""
    single = function.child_by_field_name("parameter")
    if single is not None:
        return 0 if written(single) == name else None
    given = function.child_by_field_name("parameters")
    for index, one in enumerate(given.named_children if given is not None else ()):
        pattern = one.child_by_field_name("pattern") or one.child_by_field_name("left") or one
        if written(pattern) == name:
            return index
    return None


def import_names(node: Node) -> Iterator[tuple[str, str]]:
    """(local, imported) names of an import; the imported name is "default" or "*" for the whole."""
    for clause in (one for one in node.named_children if one.type in ("import_clause", "import_require_clause")):
        for one in clause.named_children:
            if one.type == "identifier":
                yield written(one), "default" if clause.type == "import_clause" else "*"
            elif one.type == "namespace_import":
                yield (written(one.named_children[0]) if one.named_children else ""), "*"
            elif one.type == "named_imports":
                for part in one.named_children:
                    name, alias = part.child_by_field_name("name"), part.child_by_field_name("alias")
                    yield written(alias if alias is not None else name), written(name)


def declarations(node: Node) -> Iterator[tuple[str, Node]]:
    if node.type in ("lexical_declaration", "variable_declaration"):
        for one in node.named_children:
            pattern = one.child_by_field_name("name") if one.type == "variable_declarator" else None
            if pattern is not None and pattern.type == "identifier":
                yield written(pattern), one
            elif pattern is not None and pattern.type == "object_pattern":
                for part in pattern.named_children:
                    local = part.child_by_field_name("value") if part.type == "pair_pattern" else part
                    yield written(local), one
    elif node.type == "import_statement":
        for shown, _ in import_names(node):
            yield shown, node
    elif node.type in FUNCTIONS or node.type in CLASSES:
        yield written(node.child_by_field_name("name")), node


def pattern_key(pattern: Node, name: str) -> str:
    for part in pattern.named_children:
        if part.type == "pair_pattern" and written(part.child_by_field_name("value")) == name:
            return written(part.child_by_field_name("key"))
    return name


def spreads(node: Node) -> Iterator[Node]:
    for one in node.named_children:
        if one.type == "spread_element" and one.named_children:
            yield one.named_children[0]


def parameter_property(node: Node, name: str) -> Node | None:
    """A constructor's parameter that TypeScript makes a field: `constructor(private router: Router)`."""
    for method in descendants(node, "method_definition"):
        if written(method.child_by_field_name("name")) == "constructor":
            given = method.child_by_field_name("parameters")
            for one in given.named_children if given is not None else ():
                pattern = one.child_by_field_name("pattern")
                if pattern is not None and written(pattern) == name:
                    return pattern
    return None


def read_module(path: str, root: Node) -> JsModule:
    module = JsModule(path, root)
    for node in descendants(root, "call_expression", "new_expression", *CLASSES):
        (module.classes if node.type in CLASSES else module.calls).append(node)
    for child in root.named_children:
        if child.type == "export_statement":
            _export(child, module)
        elif child.type == "expression_statement":
            for one in descendants(child, "assignment_expression"):
                _commonjs(one, module)
    return module


def _export(node: Node, module: JsModule) -> None:
    source = node.child_by_field_name("source")
    origin = written(source).strip("'\"") if source is not None else ""
    value = node.child_by_field_name("value") or node.child_by_field_name("declaration")
    marks = {one.type for one in node.children}
    if "=" in marks and node.named_children:
        module.exports["="] = node.named_children[-1]
    elif value is not None and "default" in marks:
        module.exports["default"] = value
    elif value is not None:
        module.exports.update({name: _name_node(value, name) for name, _ in declarations(value)})
    for clause in node.named_children:
        if clause.type == "export_clause":
            _clause(clause, origin, module)
        elif clause.type == "namespace_export":
            module.exports[written(clause.named_children[0])] = (origin, "*")
    if origin and "*" in marks:
        module.stars.append(origin)


def _clause(clause: Node, origin: str, module: JsModule) -> None:
    """`{ a, b as c }`, with or without `from`."""
    for one in clause.named_children:
        inner, alias = one.child_by_field_name("name"), one.child_by_field_name("alias")
        if inner is not None:
            shown = written(alias if alias is not None else inner)
            module.exports[shown] = (origin, written(inner)) if origin else inner


def _name_node(declaration: Node, name: str) -> Node:
    """The node whose value an exported declaration of a name is."""
    if declaration.type in ("lexical_declaration", "variable_declaration"):
        for one in declaration.named_children:
            pattern, value = one.child_by_field_name("name"), one.child_by_field_name("value")
            if pattern is not None and value is not None and written(pattern) == name:
                return value
    return declaration


def _commonjs(node: Node, module: JsModule) -> None:
    left, right = written(node.child_by_field_name("left")), node.child_by_field_name("right")
    if right is None:
        return
    if left == "module.exports":
        module.exports["="] = right
    else:
        match = re.fullmatch(r"(?:module\.)?exports\.(\w+)", left)
        if match:
            module.exports[match[1]] = right
