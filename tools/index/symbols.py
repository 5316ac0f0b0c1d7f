"""The definitions of a source file, read from its syntax tree."""

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, QueryCursor

from backend_crew.tools.index.grammars import parse, query
from backend_crew.tools.index.queries import CONTAINERS, DEFINITIONS

_MOST = 5_000
_SIGNATURE = 160
_MATCH_LIMIT = 65_536
_BODIES = ("body", "value", "right")
_FUNCTION_VALUES = frozenset({"arrow_function", "function_expression"})


@dataclass(frozen=True, slots=True)
class Symbol:
    """One definition; `line` counts from 1, `parent` is the dotted name of what it stands in, "" at the top."""

    name: str
    kind: str
    line: int
    signature: str
    parent: str

    @property
    def qualified(self) -> str:
        """The name with its parent."""
        return f"{self.parent}.{self.name}" if self.parent else self.name


def symbols(language: str, data: bytes) -> tuple[Symbol, ...]:
    """The definitions of a text in source order, what is local to a function left out; broken code gives what is left."""
    cursor = QueryCursor(query(language, DEFINITIONS[language]), match_limit=_MATCH_LIMIT)
    found: dict[int, tuple[str, Node, Node]] = {}
    for _, captures in cursor.matches(parse(language, data).root_node):
        whole = captures.pop("whole")[0]
        for kind, nodes in captures.items():
            found[nodes[0].start_byte] = (kind, nodes[0], whole)
    return tuple(_nested([found[at] for at in sorted(found)][:_MOST], data))


def _nested(found: list[tuple[str, Node, Node]], data: bytes) -> Iterator[Symbol]:
    """Each with what it stands in: definitions come in source order, so those that are still open are around it."""
    around: list[tuple[int, str, str]] = []
    for kind, name, whole in found:
        while around and around[-1][0] <= name.start_byte:
            around.pop()
        local = bool(around) and around[-1][1] not in CONTAINERS
        text = _text(name)
        parent = around[-1][2] if around else ""
        if kind == "method" and not parent:
            parent = _receiver(whole)
        around.append((whole.end_byte, kind, f"{parent}.{text}" if parent else text))
        if not local:
            inside = kind == "function" and bool(parent)
            yield Symbol(
                text, "method" if inside else kind, name.start_point[0] + 1, _signature(kind, whole, data), parent
            )


def _receiver(whole: Node) -> str:
    """The type that a method of Go belongs to."""
    receiver = whole.child_by_field_name("receiver")
    words = _text(receiver).strip("()").replace("*", " ").split() if receiver else []
    return words[-1].partition("[")[0] if words else ""


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace")[:100] if node else ""


def _signature(kind: str, whole: Node, data: bytes) -> str:
    """The definition up to its body, on one line."""
    body = next((found for name in _BODIES if (found := whole.child_by_field_name(name))), None)
    if body is not None and body.type in _FUNCTION_VALUES and (inner := body.child_by_field_name("body")):
        body = inner  # a constant that is a function: what it takes is what it is
    end = _before(body) if body is not None and body.start_byte > whole.start_byte else whole.end_byte
    text = data[whole.start_byte : min(end, whole.start_byte + 4 * _SIGNATURE)].decode("utf-8", "replace")
    if kind == "type" and not text.startswith("type"):  # Go's, whose fields would be all of it
        text = f"type {text.partition('{')[0]}"
    joined = " ".join(text.split()).removesuffix("{").removesuffix(" end").rstrip(" =:;").removesuffix(" =>")
    return joined if len(joined) <= _SIGNATURE else joined[: _SIGNATURE - 1] + "…"


def _before(body: Node) -> int:
    """Where a signature ends: before its body, and before comments in front of that."""
    before = body.prev_sibling
    while before is not None and before.type == "comment":
        before = before.prev_sibling
    return before.end_byte if before is not None else body.start_byte
