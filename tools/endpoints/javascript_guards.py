"""Which middleware of JavaScript asks who is asking: by what its code answers, or else by its name."""

import re

from tree_sitter import Node

from backend_crew.tools.static.javascript import JavaScript, JsNode
from backend_crew.tools.static.javascript_tree import FUNCTIONS, JsModule, arguments, written

_NAMES = re.compile(
    r"auth(?!or)|login|jwt|token|passport|permission|role|admin|protect|guard|require|session|api_?key|acl|can\b|owner",
    re.I,
)
_HARMLESS = re.compile(
    r"validat|csrf|cookie|parser|limit|author(?!i[sz])|optional|create|refresh|^require$|passport\.(initialize|session)",
    re.I,
)
_REFUSES = re.compile(r"\b40[13]\b|unauthori[sz]ed|forbidden", re.I)


def guard_name(values: JavaScript, node: Node, module: JsModule) -> str:
    """The name of a middleware that guards, as written without its arguments; "" for any other."""
    target = node
    if node.type == "call_expression":
        callee = node.child_by_field_name("function")
        target = callee if callee is not None else node
    if target.type not in ("identifier", "member_expression"):
        return ""
    name = written(target)
    functions = [one for one in values.of(target, module) if isinstance(one, JsNode) and one.node.type in FUNCTIONS]
    if functions and any(_REFUSES.search(written(one.node)) for one in functions):
        return name
    return name if _NAMES.search(name) and not _HARMLESS.search(name) else ""


def handler_name(node: Node) -> str:
    """The name of what answers: of the innermost function that wrappers are put around; "inline" for one written here."""
    if node.type == "call_expression":
        given = arguments(node)
        callee = node.child_by_field_name("function")
        if written(callee).endswith(".bind") and callee is not None:
            inner = callee.child_by_field_name("object")
            return handler_name(inner) if inner is not None else written(node)
        return (
            handler_name(given[-1])
            if given and given[-1].type in ("identifier", "member_expression", *FUNCTIONS)
            else written(callee)
        )
    if node.type in FUNCTIONS:
        return "inline"
    return written(node).removeprefix("this.")
