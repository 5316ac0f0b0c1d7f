"""The index of a repository: what there is, what matters in it, and how its parts build on each other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from backend_crew.tools.index import graph, repomap, sources
from backend_crew.tools.index.asides import is_test
from backend_crew.tools.index.facts import Index
from backend_crew.tools.index.graph import Node
from backend_crew.tools.index.layering import layering
from backend_crew.tools.index.outline import Outline, outline
from backend_crew.tools.index.resolve import Resolver
from backend_crew.tools.index.sources import Inventory, Skips, Source
from backend_crew.tools.index.store import Store
from backend_crew.tools.index.symbols import Symbol, symbols
from backend_crew.tools.index.words import feature_words

_PART_BYTES = 4_000_000
_GO_MODULE = re.compile(rb"(?m)^module\s+(\S+)")


def build(listed: Inventory, store: Store, feature: str = "", budget: int = 2_000) -> Index:
    """Index a listed repository; the map has at most `budget` tokens and leans to the words of `feature`."""
    skips = Skips.of(listed.skipped)
    found, outlines = _read(listed, store, skips)
    modules = _go_modules(listed)
    resolver = Resolver([one.path for one in found], modules)
    nodes = [
        Node(one.path, one.language, known, _imports(resolver, one, known))
        for one, known in zip(found, outlines, strict=True)
    ]
    ranked = graph.rank(nodes, feature_words(feature))
    places = repomap.choose(nodes, ranked, lambda number: _symbols(listed, found[number]), budget)
    return Index(
        files=len(listed.files),
        languages=listed.languages(),
        skipped=skips.result(),
        complete=listed.complete,
        definitions=sum(len(node.outline.defined) for node in nodes),
        layering=layering(nodes),
        places=places,
    )


def _read(listed: Inventory, store: Store, skips: Skips) -> tuple[list[Source], list[Outline]]:
    """The files that are fit, without their bytes, and the outline of each, from the cache where it has it."""
    found: list[Source] = []
    outlines: list[Outline] = []
    named: list[bytes] = []
    defined: dict[bytes, bytes] = {}
    made: dict[bytes, bytes] = {}
    for part in _parts(listed):
        known = store.many([_key(one) for one in part])
        for one in part:
            if one.unfit:
                skips.add(one.unfit, one.path)
                continue
            key = _key(one)
            kept = _unpacked(known.get(key))
            if kept is None:
                kept = outline(one.language, one.data)
                made[key] = kept.pack()
            found.append(replace(one, data=b""))
            known_here = tuple(defined.setdefault(name, name) for name in kept.defined)
            outlines.append(Outline(known_here, (), kept.imports))
            named.append(b" ".join(kept.named))
        store.put(made)
        made.clear()
    # What nobody defines is nobody's name: nine words in ten, which would take most of the memory.
    for number, words in enumerate(named):
        kept_here = tuple(defined[word] for word in words.split() if word in defined)
        outlines[number] = replace(outlines[number], named=kept_here)
    return found, outlines


def _parts(listed: Inventory) -> Iterator[list[Source]]:
    """The sources in parts of bounded size: not all of a repository is in memory at once."""
    part: list[Source] = []
    size = 0
    # Tests use everything and are used by nobody: reading them would double the time and change no rank.
    for one in sources.read(listed, lambda file: file.is_code and not is_test(file.path)):
        part.append(one)
        size += len(one.data)
        if size > _PART_BYTES:
            yield part
            part, size = [], 0
    yield part


def _key(source: Source) -> bytes:
    return b"outline " + source.language.encode() + b" " + source.digest


def _unpacked(packed: bytes | None) -> Outline | None:
    try:
        return Outline.unpack(packed) if packed is not None else None
    except ValueError:
        return None


def _imports(resolver: Resolver, source: Source, known: Outline) -> Sequence[int]:
    names = (name.decode("utf-8", "replace") for name in known.imports)
    targets = (target for name in names for target in resolver.targets(source.path, source.language, name))
    return tuple(dict.fromkeys(targets))


def _symbols(listed: Inventory, source: Source) -> Sequence[Symbol]:
    """The symbols of one file, while it is what was read before."""
    data = sources.read_one(listed, source.path)
    return symbols(source.language, data) if data else ()


def _go_modules(listed: Inventory) -> list[tuple[str, str]]:
    """The modules that go.mod files name, with their folders."""
    found = []
    for source in sources.read(listed, lambda file: file.path.rpartition("/")[2] == "go.mod"):
        if named := _GO_MODULE.search(source.data):
            found.append((named[1].decode("utf-8", "replace"), source.path.rpartition("/")[0]))
    return found
