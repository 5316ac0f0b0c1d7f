"""Decorators of TypeScript: which stand on a class or a member, and what they are given."""

from collections.abc import Iterator

from tree_sitter import Node

from backend_crew.tools.static.javascript_tree import arguments, written


def decorators(node: Node) -> list[Node]:
    """The decorators of a class, method, field or parameter, in their order."""
    found = [one for one in node.children if one.type == "decorator"]
    before = node.prev_sibling
    ahead: list[Node] = []
    while before is not None and before.type in ("decorator", "comment"):
        ahead += [before] if before.type == "decorator" else []
        before = before.prev_sibling
    if node.parent is not None and node.parent.type == "export_statement":
        ahead += [one for one in reversed(node.parent.children) if one.type == "decorator"]
    return [*reversed(ahead), *found]


def decorator_name(node: Node) -> str:
    """The last name of what decorates."""
    return written(_target(node)).rpartition(".")[2]


def decorator_arguments(node: Node) -> list[Node]:
    """What a decorator is given; empty for one without parentheses."""
    call = next((one for one in node.named_children if one.type == "call_expression"), None)
    return arguments(call) if call is not None else []


def named(node: Node, *names: str) -> Iterator[Node]:
    """The decorators of some names on a node."""
    return (one for one in decorators(node) if decorator_name(one) in names)


def _target(node: Node) -> Node | None:
    inner = next((one for one in node.named_children if one.type != "comment"), None)
    return inner.child_by_field_name("function") if inner is not None and inner.type == "call_expression" else inner
