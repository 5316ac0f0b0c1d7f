"""Which files and definitions matter: PageRank over who names and imports what, leaning to the words of a feature."""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend_crew.tools.index.asides import is_aside
from backend_crew.tools.index.outline import Outline

DAMPING = 0.85
_ROUNDS = 25
_TOLERANCE = 1e-5
_MOST_EDGES, _MOST_NAMES = 80, 150
# A name that many files define tells little about which of them is meant.
_DEFINERS = 4
_IMPORT_WEIGHT = 2.0
_ASKED = 3.0
"""How much more a name counts that an import itself names."""
_PACKAGE = re.compile(r"(^|/)(__init__\.py|index\.[cm]?[jt]sx?)$")
_FAMILY = {"TypeScript": "JavaScript", "TSX": "JavaScript"}


@dataclass(frozen=True)
class Node:
    """A file in the graph: what it defines and names, and the numbers of the files that it imports."""

    path: str
    language: str
    outline: Outline
    imports: Sequence[int]


@dataclass(frozen=True)
class Ranked:
    """The rank of each file, and (file, name) of definitions with their scores, best first."""

    files: Sequence[float]
    definitions: Sequence[tuple[int, bytes, float]]


def rank(nodes: Sequence[Node], words: Sequence[str] = ()) -> Ranked:
    """Rank the files and their definitions; the same input gives the same result, to the last digit."""
    if not nodes:
        return Ranked((), ())
    definers = _definers(nodes)
    weights: dict[bytes, float] = {}
    edges: list[_Uses] = []
    merged: list[_Shares] = []
    for number in range(len(nodes)):
        found = _edges(number, nodes, definers, weights)
        merged.append(_merged(found))
        edges.append(_packed(found))
    liked = [_likes(node, words) for node in nodes]
    ranks = _iterate(merged, _start(nodes, liked))
    return Ranked(ranks, _definitions(nodes, edges, ranks, words))


_Shares = tuple["array[int]", "array[float]"]
_Uses = tuple["array[int]", tuple[bytes, ...], "array[float]"]
_Definers = Mapping[str, Mapping[bytes, tuple[list[int], frozenset[int]]]]


def _definers(nodes: Sequence[Node]) -> _Definers:
    """By family of languages, the files that define a name, in their order and as a set."""
    found: dict[str, dict[bytes, list[int]]] = {}
    for number, node in enumerate(nodes):
        names = found.setdefault(_FAMILY.get(node.language, node.language), {})
        for name in node.outline.defined:
            names.setdefault(name, []).append(number)
    few: frozenset[int] = frozenset()
    return {
        family: {name: (where, frozenset(where) if len(where) > _DEFINERS else few) for name, where in names.items()}
        for family, names in found.items()
    }


def _packed(found: Sequence[tuple[int, bytes, float]]) -> _Uses:
    """The same in a fifth of the memory."""
    return (
        array("l", [one[0] for one in found]),
        tuple([one[1] for one in found]),
        array("d", [one[2] for one in found]),
    )


def _edges(
    number: int, nodes: Sequence[Node], definers: _Definers, weights: dict[bytes, float]
) -> list[tuple[int, bytes, float]]:
    """(file, name, weight) for what a file uses of others; b"" stands for the import alone."""
    node = nodes[number]
    imported = set(node.imports) - {number}
    defined = definers.get(_FAMILY.get(node.language, node.language), {})
    found = [(target, b"", _IMPORT_WEIGHT) for target in sorted(imported)]
    # Who imports a package can mean what it imports in turn.
    imported.update(*(nodes[one].imports for one in imported if _PACKAGE.search(nodes[one].path)))
    ordered = sorted(imported)
    own = set(node.outline.defined)
    asked = {name.rpartition(b":")[2] for name in node.outline.imports if b":" in name}
    for name in node.outline.named:
        known = defined.get(name)
        if known is None or name in own:
            continue
        where, everywhere = known
        weight = weights.get(name) or weights.setdefault(name, _weight(name))
        # A common name counts where its file is imported; a rare one that somebody made up speaks for itself.
        if everywhere:
            meant = [one for one in ordered if one in everywhere]
        else:
            meant = [one for one in where if one in imported] or (where if weight >= 1 else [])
        weight *= _ASKED if name in asked else 1
        found += [(one, name, weight / len(meant)) for one in meant if one != number]
    # A file that names half of the repository says little about any of it, and would take most of the memory.
    return found if len(found) <= _MOST_NAMES else sorted(found, key=lambda one: (-one[2], one[:2]))[:_MOST_NAMES]


def _weight(name: bytes) -> float:
    """Made-up names say more than words of English; private ones are nobody else's business."""
    if name.startswith(b"_"):
        return 0.1
    made = b"_" in name or (name != name.lower() and name != name.upper())
    return (3.0 if len(name) >= 8 else 1.0) if made else 0.2


def _merged(found: Sequence[tuple[int, bytes, float]]) -> _Shares:
    """The weights by file as shares of one, the heaviest few."""
    sums: dict[int, float] = {}
    for target, _, weight in found:
        sums[target] = sums.get(target, 0.0) + weight
    kept = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:_MOST_EDGES]
    total = sum(weight for _, weight in kept)
    return array("l", [target for target, _ in kept]), array("d", [weight / total for _, weight in kept])


def _likes(node: Node, words: Sequence[str]) -> float:
    """How much a file has to do with the words: its path says more than its names."""
    if not words:
        return 0.0
    path = node.path.lower()
    names = b" ".join(node.outline.defined).lower()
    return sum(3.0 * (word in path) + 1.0 * (word.encode() in names) for word in words)


def _start(nodes: Sequence[Node], liked: Sequence[float]) -> list[float]:
    """Where a reader begins: half of the time at a file that the words name, where there are such files."""
    base = [0.1 if is_aside(node.path) else 1.0 for node in nodes]
    liked = [like * weight for like, weight in zip(liked, base, strict=True)]
    all_base, all_liked = sum(base), sum(liked)
    share = 0.5 if all_liked else 0.0
    return [
        (1 - share) * weight / all_base + (share * like / all_liked if all_liked else 0.0)
        for weight, like in zip(base, liked, strict=True)
    ]


def _iterate(edges: Sequence[_Shares], start: Sequence[float]) -> list[float]:
    ranks = list(start)
    for _ in range(_ROUNDS):
        lost = sum(one for one, out in zip(ranks, edges, strict=True) if not out[0])
        new = [(1 - DAMPING + DAMPING * lost) * one for one in start]
        for value, out in zip(ranks, edges, strict=True):
            share = DAMPING * value
            for target, weight in zip(*out, strict=True):
                new[target] += share * weight
        moved = sum(abs(one - other) for one, other in zip(new, ranks, strict=True))
        ranks = new
        if moved < _TOLERANCE:
            break
    return ranks


def _definitions(
    nodes: Sequence[Node],
    edges: Sequence[_Uses],
    ranks: Sequence[float],
    words: Sequence[str],
) -> list[tuple[int, bytes, float]]:
    """The rank of each file, handed on to the names that it uses; what nobody names gets a little of its own file's."""
    scores: dict[tuple[int, bytes], float] = {}
    for number, node in enumerate(nodes):
        own = 0.2 * ranks[number] / max(len(node.outline.defined), 1)
        scores.update({(number, name): own * _weight(name) for name in node.outline.defined})
    for number, found in enumerate(edges):
        total = sum(found[2])
        for target, name, weight in zip(*found, strict=True):
            if (target, name) in scores:
                scores[target, name] += ranks[number] * weight / total
    encoded = [word.encode() for word in words]
    if encoded:
        for (number, name), score in scores.items():
            lower = name.lower()
            if hits := sum(word in lower for word in encoded):
                scores[number, name] = score * (1 + 3 * hits)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(number, name, score) for (number, name), score in ordered]
