"""What the stack detectors look for: `stack_rules.toml` as frozen rules, indexed by what a path can show."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

_IMPORTS = ("py", "js", "jvm", "rb", "php", "rs", "cs", "ex")
_WILD = re.compile(r"[*?\[]")
TEXT = re.compile(r"\S")
_SEPARATORS = {"py": ".", "js": "/", "go": "/", "jvm": ".", "rb": "/", "php": "\\", "rs": "::", "cs": ".", "ex": "."}


@dataclass(frozen=True)
class Library:
    """A library under its names: `pypi:`, `npm:`, … declare it, `py:`, `js:`, … import it (prefixes); `go:` does both.

    `npm:` and `cargo:` packages are imported under their own names, so those need no second name.
    """

    kind: str
    value: str
    names: tuple[str, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """The names that a manifest may declare, as ecosystem:name."""
        return tuple(name for name in self.names if name.partition(":")[0] not in _IMPORTS)

    @property
    def imports(self) -> tuple[str, ...]:
        """The module prefixes whose import proves the use, as dialect:prefix."""
        own = [name for name in self.names if name.partition(":")[0] in (*_IMPORTS, "go")]
        own += [f"js:{name[4:]}" for name in self.names if name.startswith("npm:")]
        own += [f"rs:{name[6:].replace('-', '_')}" for name in self.names if name.startswith("cargo:")]
        return tuple(dict.fromkeys(own))


@dataclass(frozen=True, eq=False)
class Mark:
    """What shows a fact in a file that a glob matches: a line, or with the default line that the file says anything."""

    kind: str
    value: str
    rule: str
    globs: tuple[str, ...]
    line: re.Pattern[str]
    needs: tuple[str, ...] = ()
    also: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    likely: bool = False

    def possible(self, text: str) -> bool:
        """Whether a text holds one of the substrings without which the line cannot be there."""
        for word in self.needs:  # a loop: this is asked for every mark of every file
            if word in text:
                return True
        return not self.needs


@dataclass(frozen=True)
class Rules:
    """All rules, and for each question that a file asks the table that answers it."""

    languages: Mapping[str, str]
    dialects: Mapping[str, str]
    skipped: frozenset[str]
    locks: frozenset[str]
    libraries: tuple[Library, ...]
    marks: tuple[Mark, ...]
    under: Mapping[str, tuple[str, ...]]
    beside: Mapping[str, tuple[frozenset[str], ...]]
    declared: Mapping[str, tuple[Library, ...]] = field(default_factory=dict)
    imported: Mapping[str, Mapping[str, tuple[Library, ...]]] = field(default_factory=dict)

    def dialect(self, path: str) -> str | None:
        """The language part of import rules that a source's path asks for."""
        return self.dialects.get(self.languages.get(suffix(path), ""))

    def declares(self, name: str) -> tuple[Library, ...]:
        """The libraries of a declared package; a Go module may carry its major version or be a folder: …/echo/v4."""
        if not name.startswith("go:"):
            return self.declared.get(name, ())
        return tuple(one for prefix in prefixes(name, "/") for one in self.declared.get(prefix, ()))

    def imports(self, dialect: str, name: str) -> Iterator[Library]:
        """The libraries whose import a module's name proves."""
        table = self.imported.get(dialect)
        if table:
            for prefix in prefixes(name, _SEPARATORS[dialect]):
                yield from table.get(prefix, ())


def suffix(path: str) -> str:
    """The last suffix of a path's name with its dot, as pathlib says it, but quickly."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""


def prefixes(name: str, separator: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while name:
        yield name
        name = name.rpartition(separator)[0]


@cache
def document() -> Mapping[str, Any]:
    """`stack_rules.toml` as it stands, read once."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@cache
def rules() -> Rules:
    """The rules of libraries, languages and marks."""
    data = document()
    libraries = tuple(_libraries(data["libraries"]))
    declared: dict[str, tuple[Library, ...]] = {}
    imported: dict[str, dict[str, tuple[Library, ...]]] = {}
    for library in libraries:
        for package in library.packages:
            declared[package] = (*declared.get(package, ()), library)
        for name in library.imports:
            dialect, _, prefix = name.partition(":")
            table = imported.setdefault(dialect, {})
            table[prefix] = (*table.get(prefix, ()), library)
    return Rules(
        data["languages"],
        data["dialects"],
        frozenset(data["skipped"].split()),
        frozenset(data["locks"].split()),
        libraries,
        tuple(_marks(data["marks"], data["groups"])),
        {child: tuple(parents) for child, parents in data["under"].items()},
        {kind: tuple(map(frozenset, groups)) for kind, groups in data["beside"].items()},
        declared,
        imported,
    )


def _libraries(tables: Mapping[str, Mapping[str, str]]) -> Iterator[Library]:
    for kind, values in tables.items():
        for value, names in values.items():
            yield Library(kind, value, tuple(names.split()))


def _marks(tables: Mapping[str, Mapping[str, list[dict[str, Any]]]], groups: Mapping[str, str]) -> Iterator[Mark]:
    for kind, values in tables.items():
        for value, marks in values.items():
            for one in marks:
                globs = " ".join(groups[glob[1:]] if glob[0] == "@" else glob for glob in one["at"].split()).split()
                yield Mark(
                    kind,
                    value,
                    rule_id(kind, value, one["by"]),
                    tuple(globs),
                    re.compile(one.get("line", r"\S"), re.MULTILINE),
                    tuple(one.get("needs", ())),
                    re.compile(one["also"], re.MULTILINE) if "also" in one else None,
                    re.compile(one["unless"], re.MULTILINE) if "unless" in one else None,
                    one.get("likely", False),
                )


def rule_id(kind: str, value: str, way: str) -> str:
    """A rule's stable name."""
    return f"{kind}.{re.sub(r'[^a-z0-9+]+', '-', value.lower()).strip('-')}.{way}"


@dataclass(frozen=True)
class Globs:
    """Marks by what their globs ask for, so that a path meets few of them."""

    names: Mapping[str, tuple[Mark, ...]]
    plain: Mapping[str, tuple[Mark, ...]]
    suffixes: Mapping[str, tuple[tuple[re.Pattern[str], bool, Mark], ...]]
    starts: tuple[str, ...]
    rest: tuple[tuple[re.Pattern[str], bool, Mark], ...]

    def of(self, path: str) -> tuple[Mark, ...]:
        """The marks whose globs match a path, each once."""
        name = path.rpartition("/")[2]
        ending = suffix(name)
        rest = self.rest if name.startswith(self.starts) else ()
        found = [*self.names.get(name, ()), *self.plain.get(ending, ())]
        for pattern, whole, mark in (*self.suffixes.get(ending, ()), *rest):
            if pattern.match(path if whole else name):
                found.append(mark)
        return tuple(dict.fromkeys(found))


@cache
def globs() -> Globs:
    """The index of all marks by path."""
    names: dict[str, list[Mark]] = {}
    plain: dict[str, list[Mark]] = {}
    suffixes: dict[str, list[tuple[re.Pattern[str], bool, Mark]]] = {}
    rest: list[tuple[re.Pattern[str], bool, Mark]] = []
    starts: set[str] = set()
    for mark in rules().marks:
        for glob in mark.globs:
            ending = suffix(glob)
            whole = "/" in glob
            entry = (re.compile("(?:.*/)?" + translate(glob) if whole else translate(glob)), whole, mark)
            if not whole and not _WILD.search(glob):
                names.setdefault(glob, []).append(mark)
            elif glob == f"*{ending}":
                plain.setdefault(ending, []).append(mark)
            elif ending and not _WILD.search(ending):
                suffixes.setdefault(ending, []).append(entry)
            else:
                rest.append(entry)
                starts.add(_WILD.split(glob.rpartition("/")[2])[0])
    return Globs(
        {name: tuple(marks) for name, marks in names.items()},
        {suffix: tuple(marks) for suffix, marks in plain.items()},
        {suffix: tuple(entries) for suffix, entries in suffixes.items()},
        tuple(sorted(starts)),
        tuple(rest),
    )
