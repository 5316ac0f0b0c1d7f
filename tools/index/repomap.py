"""A map of a repository for a model: the definitions that matter most, by file and line, within a number of tokens."""

from collections.abc import Callable, Mapping, Sequence

from backend_crew.tools.index.facts import CHARACTERS, Place
from backend_crew.tools.index.graph import Node, Ranked
from backend_crew.tools.index.symbols import Symbol

_MOST_FILES = 400
_A_FILE = 14


def choose(
    nodes: Sequence[Node], ranked: Ranked, read: Callable[[int], Sequence[Symbol]], budget: int
) -> tuple[Place, ...]:
    """The best definitions whose text fits into `budget` tokens; `read` gives the symbols of a file by its number.

    Only what the syntax tree has is taken. Files come in the order of their first definition.
    """
    left = budget * CHARACTERS
    taken: dict[int, list[Symbol]] = {}
    known: dict[int, Mapping[str, list[Symbol]]] = {}
    for number, name, _ in ranked.definitions:
        if number not in known:
            if len(known) >= _MOST_FILES:
                break
            known[number] = _by_name(read(number))
        here = taken.get(number, [])
        for symbol in known[number].get(name.decode("utf-8", "replace"), ())[:1]:
            added = [one for one in (*_around(symbol, known[number]), symbol) if one not in here]
            cost = sum(len(_line(one)) for one in added) + (0 if here else len(nodes[number].path) + 2)
            if len(here) + len(added) > _A_FILE:
                continue
            if cost > left:
                return _places(nodes, taken)
            left -= cost
            taken.setdefault(number, []).extend(added)
    return _places(nodes, taken)


def _by_name(found: Sequence[Symbol]) -> Mapping[str, list[Symbol]]:
    names: dict[str, list[Symbol]] = {}
    for symbol in found:
        names.setdefault(symbol.name, []).append(symbol)
    return names


def _around(symbol: Symbol, names: Mapping[str, list[Symbol]]) -> list[Symbol]:
    """The class that a method stands in, where it is in the same file."""
    last = symbol.parent.rpartition(".")[2]
    return [one for one in names.get(last, ()) if one.qualified == symbol.parent][:1]


def _line(symbol: Symbol) -> str:
    return f"{symbol.line:5} {'  ' * symbol.qualified.count('.')}{symbol.signature}\n"


def _places(nodes: Sequence[Node], taken: Mapping[int, list[Symbol]]) -> tuple[Place, ...]:
    return tuple(
        Place(nodes[number].path, one.line, one.kind, one.qualified, one.signature)
        for number, found in taken.items()
        for one in sorted(found, key=lambda symbol: symbol.line)
    )
