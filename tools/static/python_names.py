"""Which names can stand for some classes in a repository, by the text alone: what has to be parsed and looked up.

A name too many costs time, one that is missing a finding: so what may be one is one.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from backend_crew.tools.static.sources import Sources

_CLASS = re.compile(rb"\bclass\s+(\w+)[^(:]{0,200}\(((?:[^()]++|\([^()]*+\))*+)")
_RENAMED = re.compile(rb"\b(\w+)\s+as\s+(\w+)")
_ASSIGNED = re.compile(rb"\b([A-Z]\w*)[ \t]*(?::[^=\n]*)?=(?!=)([^\n]*)")
_WORD = re.compile(rb"\w+")
_NOT_CALLED = re.compile(rb"\b(\w+)\b(?!\s*[(.])")


def heirs(
    sources: Sources, paths: Iterable[str], package: tuple[bytes, ...], roots: Iterable[str], makers: Iterable[str] = ()
) -> frozenset[str]:
    """The names of `roots`, of their subclasses, and other names for them; `makers` are functions that return a root.

    The roots count in files that mention their package, what comes from them in all of `paths`.
    """
    made = frozenset(name.encode() for name in makers)
    known = set(made.union(name.encode() for name in roots))
    later: dict[bytes, set[bytes]] = {}  # name → the names that come from it
    fresh: set[bytes] = set()
    for path in paths:
        data = sources.read(path)
        ours = any(word in data for word in package)
        for name, sources_of in _origins(data, made):
            if ours and not known.isdisjoint(sources_of):
                fresh.add(name)
            for one in sources_of:
                later.setdefault(one, set()).add(name)
    while fresh:
        known |= fresh
        fresh = set().union(*(later.get(name, ()) for name in fresh)) - known
    return frozenset(name.decode("utf-8", "replace") for name in known)


def _origins(data: bytes, makers: frozenset[bytes]) -> Iterator[tuple[bytes, frozenset[bytes]]]:
    """Each name that a text gives to something, with the names that it may come from."""
    for found in _CLASS.finditer(data):
        yield found[1], frozenset(_WORD.findall(found[2]))
    for found in _RENAMED.finditer(data):
        yield found[2], frozenset((found[1],))
    for found in _ASSIGNED.finditer(data):
        yield found[1], frozenset(_NOT_CALLED.findall(found[2])) | makers.intersection(_WORD.findall(found[2]))


def mentions(names: Iterable[str], *more: str) -> Callable[[bytes], bool]:
    """Whether a text has any of the names as a word, or one of the other patterns."""
    words = "|".join(sorted(map(re.escape, names)))
    found = re.compile("|".join((rf"\b(?:{words})\b", *more)).encode()).search
    return lambda data: found(data) is not None


def derives(names: Iterable[str], *more: str) -> Callable[[bytes], bool]:
    """Whether a text has a class with one of the names among its bases, or one of the other patterns."""
    known = frozenset(name.encode() for name in names)
    other = re.compile("|".join(more).encode()).search

    def found(data: bytes) -> bool:
        if other(data) is not None:
            return True
        return any(not known.isdisjoint(_WORD.findall(one[2])) for one in _CLASS.finditer(data))

    return found
