"""How a service is cut, by its folders and by the imports between them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from backend_crew.tools import stack_rules
from backend_crew.tools.stack_facts import Fact, Trap
from backend_crew.tools.stack_files import read

_READ_LIMIT = 60
_IMPORT = re.compile(
    r"""^[^\n]*?\b(import|from|require|require_relative|use|using)\b[^\n]*|^[ \t]+(\w+ )?"[\w./-]+"$""", re.MULTILINE
)

_WORDS = re.compile(r"[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Pattern:
    """A way to cut a service: the folders of each part, and between which of them an import proves or breaks it."""

    value: str
    parts: Mapping[str, frozenset[str]]
    imports: tuple[str, str]
    never: tuple[str, str] | None
    files: bool

    def names(self, part: str) -> frozenset[str]:
        """The folder names of a part, or of several joined by "|"."""
        return frozenset().union(*(self.parts[one] for one in part.split("|")))


@cache
def _known() -> tuple[Pattern, ...]:
    return tuple(
        Pattern(
            value,
            {name: frozenset(names.split()) for name, names in one["parts"].items()},
            (one["imports"][0], one["imports"][1]),
            (one["never"][0], one["never"][1]) if "never" in one else None,
            one.get("files", False),
        )
        for value, one in stack_rules.document()["patterns"].items()
    )


def patterns(root: Path, sources: Sequence[str]) -> tuple[tuple[Fact, ...], tuple[Trap, ...]]:
    """The patterns that a unit's sources show, each with an import that proves it, and imports that break one."""
    folders: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for path in sources:
        for place in dict.fromkeys(path.split("/")[:-1]):
            folders.setdefault(place, []).append(path)
        for place in dict.fromkeys(_places(path)):
            places.setdefault(place, []).append(path)
    facts: list[Fact] = []
    traps: list[Trap] = []
    for pattern in _known():
        by_place = places if pattern.files else folders
        if not all(names & by_place.keys() for names in pattern.parts.values()):
            continue
        fact = _import(root, pattern, pattern.imports, by_place, f"architecture.{_slug(pattern.value)}.imports")
        if fact is not None:
            facts.append(fact)
            if pattern.never and (
                broken := _import(root, pattern, pattern.never, by_place, "trap.inner-imports-outer")
            ):
                traps.append(Trap(broken.rule, f"{pattern.value}: the inside imports the outside", (broken,)))
    if (modules := _modules(root, sources)) is not None:
        facts.append(modules)
    values = {fact.value for fact in facts}
    # The stricter cut says it all.
    if values & {"hexagonal", "clean architecture"}:
        facts = [fact for fact in facts if fact.value != "layered"]
    return tuple(facts), tuple(traps)


def _places(path: str) -> Iterator[str]:
    """What a source's place says: its folders, and its own name where a part is one file."""
    yield from path.split("/")[:-1]
    yield PurePosixPath(path).name.split(".")[0]


def _slug(value: str) -> str:
    return value.lower().replace(" ", "-")


def _import(
    root: Path, pattern: Pattern, way: tuple[str, str], by_place: Mapping[str, list[str]], rule: str
) -> Fact | None:
    """The first import from one part into another, likely where it is only by name."""
    targets = pattern.names(way[1])
    word = re.compile(rf"(?<![a-zA-Z])({'|'.join(sorted(map(re.escape, targets), key=len, reverse=True))})(?![a-zA-Z])")
    starts = pattern.names(way[0])
    paths = sorted(
        {path for name in starts for path in by_place.get(name, ()) if _last(path, starts) > _last(path, targets)}
    )
    for path in paths[:_READ_LIMIT]:
        file = read(root, path)
        if file is None:
            continue
        for match in _IMPORT.finditer(file.text):
            if word.search(match.group()):
                start = match.start() + len(match.group()) - len(match.group().lstrip())
                return file.fact("architecture", pattern.value, file.line_at(start), rule)
    return None


def _last(path: str, names: Iterable[str]) -> int:
    """The depth of the innermost place of a path that has one of the names, -1 where none has."""
    wanted = frozenset(names)
    return max((depth for depth, place in enumerate(_places(path)) if place in wanted), default=-1)


def _modules(root: Path, sources: Sequence[str]) -> Fact | None:
    """Whether two or more sibling folders each hold a way in and what lies behind it."""
    words = {key: frozenset(text.split()) for key, text in stack_rules.document()["modules"].items()}
    parts: dict[str, dict[str, str]] = {}
    for path in sources:
        folder, _, name = path.rpartition("/")
        for word in _WORDS.findall(name.rpartition(".")[0]):
            for part, names in words.items():
                if word.lower() in names:
                    parts.setdefault(folder, {}).setdefault(part, path)
    whole: dict[str, list[str]] = {}
    for folder, found in sorted(parts.items()):
        if len(found) == 2 and len(set(found.values())) == 2:
            whole.setdefault(folder.rpartition("/")[0], []).append(found["front"])
    for fronts in whole.values():
        if (
            len(fronts) > 1
            and (file := read(root, fronts[0])) is not None
            and (text := stack_rules.TEXT.search(file.text))
        ):
            line = file.line_at(text.start())
            return file.fact("architecture", "feature modules", line, "architecture.feature-modules.folders")
    return None
