"""How the parts of a repository build on each other: layers from the imports between its folders, and what breaks them.

The imports are those that were read here; grimp, which can read packages itself, only gets the graph. It would need the
repository on sys.path, where a file of its own could stand in for one of ours.
"""

from collections.abc import Mapping, Sequence

from backend_crew.tools.index.facts import Against, Layering
from backend_crew.tools.index.graph import Node

_DOMINANT = 0.6
_MOST_PARTS = 60
_SHOWN = 12


def layering(nodes: Sequence[Node]) -> Layering | None:
    """The layers of the part of a repository that holds most of its code; None where nothing imports anything."""
    ours = [node.path for node in nodes]
    base: str | None = ""
    while base is not None:
        biggest, share = _biggest(base, ours)
        if share < _DOMINANT and (between := _between(base, nodes)):
            return _layering(base, between, nodes)
        below = f"{base}{biggest}/" if biggest else None
        # One folder holds nearly everything: its entries are the parts, unless these have nothing to do with another.
        if (
            share >= _DOMINANT
            and below is not None
            and not _between(below, nodes)
            and (between := _between(base, nodes))
        ):
            return _layering(base, between, nodes)
        base = below
    return None


def _layering(
    base: str, between: Mapping[tuple[str, str], list[tuple[int, int]]], nodes: Sequence[Node]
) -> Layering | None:
    names = sorted({name for pair in between for name in pair})
    if len(names) > _MOST_PARTS:
        return None
    broken = _breakers(names, between)
    rest = {pair: imports for pair, imports in between.items() if pair not in broken}
    against = [
        Against(*pair, len(between[pair]), nodes[between[pair][0][0]].path, nodes[between[pair][0][1]].path)
        for pair in sorted(broken, key=lambda pair: (-len(between[pair]), pair))
    ]
    return Layering(base, _levels(names, rest), tuple(against[:_SHOWN]))


def _between(base: str, nodes: Sequence[Node]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """The imports between the entries of a folder: (importing, imported) → the files of each."""
    parts = {number: part for number, node in enumerate(nodes) if (part := _part(base, node.path))}
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, part in parts.items():
        for target in nodes[number].imports:
            other = parts.get(target)
            if other is not None and other != part:
                found.setdefault((part, other), []).append((number, target))
    return found


def _biggest(base: str, paths: Sequence[str]) -> tuple[str, float]:
    """The entry of a folder that holds most of the code below it, and its share."""
    below = [path[len(base) :] for path in paths if path.startswith(base)]
    counts: dict[str, int] = {}
    for path in below:
        folder, slash, _ = path.partition("/")
        if slash:
            counts[folder] = counts.get(folder, 0) + 1
    best = max(sorted(counts), key=lambda name: counts[name], default="")
    return (best, counts[best] / len(below)) if best else ("", 0.0)


def _part(base: str, path: str) -> str:
    """The entry of the base folder that a path lies in; a file stands for itself."""
    top = path.endswith("/__init__.py") and path.count("/") == base.count("/")
    if top or not path.startswith(base):
        return ""
    return path[len(base) :].partition("/")[0]


def _breakers(
    names: Sequence[str], between: Mapping[tuple[str, str], Sequence[tuple[int, int]]]
) -> set[tuple[str, str]]:
    """The pairs without whose imports there would be no circle, as few imports as can be had quickly."""
    from grimp import ImportGraph

    graph = ImportGraph()
    numbers = {name: f"all.p{number}" for number, name in enumerate(names)}
    for (part, other), imports in sorted(between.items()):
        for importer, imported in imports:
            graph.add_import(importer=f"{numbers[part]}.f{importer}", imported=f"{numbers[other]}.f{imported}")
    for name in ("all", *numbers.values()):
        graph.add_module(name)
    back = {number: name for name, number in numbers.items()}
    return {
        (back[importer.rpartition(".")[0]], back[imported.rpartition(".")[0]])
        for importer, imported in graph.nominate_cycle_breakers("all")
    }


def _levels(names: Sequence[str], uses: Mapping[tuple[str, str], object]) -> tuple[tuple[str, ...], ...]:
    """Each name one layer above the highest that it uses; the top first."""
    below: dict[str, set[str]] = {name: set() for name in names}
    for importer, imported in uses:
        below[importer].add(imported)
    level: dict[str, int] = {}
    while len(level) < len(below):
        ready = [name for name in names if name not in level and all(other in level for other in below[name])]
        if not ready:  # a pair broken in part only: what is left counts as one layer
            top = 1 + max(level.values(), default=-1)
            level.update((name, top) for name in names if name not in level)
            break
        level.update((name, 1 + max((level[other] for other in below[name]), default=-1)) for name in ready)
    return tuple(
        tuple(name for name in names if level[name] == number) for number in sorted(set(level.values()), reverse=True)
    )
