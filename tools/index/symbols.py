"""The definitions of a source file, read from its syntax tree."""

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, QueryCursor

from backend_crew.tools.index.grammars import parse, query
from backend_crew.tools.index.queries import CONTAINERS, DEFINITIONS

_MOST = 5_000
_SIGNATURE = 160
_MATCH_LIMIT = 65_536


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
            yield Symbol(text, "method" if inside else kind, name.start_point[0] + 1, _signature(whole, data), parent)


def _receiver(whole: Node) -> str:
    """The type that a method of Go belongs to."""
    receiver = whole.child_by_field_name("receiver")
    words = _text(receiver).strip("()").replace("*", " ").split() if receiver else []
    return words[-1].partition("[")[0] if words else ""


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace")[:100] if node else ""


def _signature(whole: Node, data: bytes) -> str:
    """The definition up to its body, on one line."""
    body = whole.child_by_field_name("body") or whole.child_by_field_name("value") or whole.child_by_field_name("right")
    end = body.start_byte if body and body.start_byte > whole.start_byte else whole.end_byte
    text = data[whole.start_byte : min(end, whole.start_byte + 4 * _SIGNATURE)].decode("utf-8", "replace")
    joined = " ".join(text.split()).removesuffix("{").rstrip(" =:")
    return joined if len(joined) <= _SIGNATURE else joined[: _SIGNATURE - 1] + "…"
