"""Which names can stand for some classes in a repository, by the text alone: what has to be parsed and looked up.

A name too many costs time, one that is missing a finding: so what may be one is one.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from backend_crew.tools.static.sources import Sources

_CLASS = re.compile(rb"class\s+(\w+)[^(:]{0,80}\(((?:[^()]++|\([^()]*+\))*+)")
_RENAMED = re.compile(rb"\b(\w+) as (\w+)")
_ASSIGNED = re.compile(
    rb"\b([A-Z]\w*)[ \t]*(?::[^=\n]{0,80})?=[ \t]*(?:([A-Za-z_][\w.]*+)(?![\w(])(?:[ \t]+if\b[^\n]{0,80}?\belse[ \t]+([\w.]+))?|[^\n]*)"
)
_WORD = re.compile(rb"\w+")


def heirs(
    sources: Sources,
    paths: Iterable[str],
    roots: Iterable[str],
    package: tuple[bytes, ...] = (b"",),
    makers: Iterable[str] = (),
) -> frozenset[str]:
    """The names of `roots`, of their subclasses, and other names for them; `makers` are functions that return a root.

    The roots count in files with one of the words of `package`, what comes from them in all of `paths`. A root of the form
    `*Name` stands for all names that end so.
    """
    made = frozenset(name.encode() for name in makers)
    known = set(made.union(name.encode() for name in roots if name[0] != "*"))
    ends = tuple(name[1:].encode() for name in roots if name[0] == "*")
    later: dict[bytes, set[bytes]] = {}  # name → the names that come from it
    fresh: set[bytes] = set()
    for path in paths:
        data = sources.read(path)
        ours = any(word in data for word in package)
        for name, sources_of in _origins(data, made):
            if ours and not known.isdisjoint(sources_of):
                fresh.add(name)
            if ends:
                fresh.update(one for one in sources_of if one.endswith(ends))
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
    for line in data.split(b"\n"):
        if b" as " in line:
            for found in _RENAMED.finditer(line):
                yield found[2], frozenset((found[1],))
    making = any(maker in data for maker in makers)
    for found in _ASSIGNED.finditer(data):
        named = {one.rpartition(b".")[2] for one in found.groups()[1:] if one}
        if making:
            named |= makers.intersection(_WORD.findall(found[0]))
        if named:
            yield found[1], frozenset(named)


def mentions(names: Iterable[str], *more: str) -> Callable[[bytes], bool]:
    """Whether a text has any of the names as a word, or one of the other patterns."""
    words = "|".join(sorted(map(re.escape, names)))
    found = re.compile("|".join((rf"\b(?:{words})\b", *more)).encode()).search
    return lambda data: found(data) is not None


def derives(names: Iterable[str], words: tuple[bytes, ...] = (), telling: str = "") -> Callable[[bytes], bool]:
    """Whether a text has a class with one of the names among its bases, or one of the words and what is telling."""
    known = frozenset(name.encode() for name in names)
    other = re.compile(telling.encode()).search

    def found(data: bytes) -> bool:
        if any(not known.isdisjoint(_WORD.findall(one[2])) for one in _CLASS.finditer(data)):
            return True
        return any(word in data for word in words) and other(data) is not None

    return found
