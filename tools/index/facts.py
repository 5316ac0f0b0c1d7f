"""What the index says of a repository; light to import, since most scans find it in the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHARACTERS = 4
"""Of one token, on average; what a budget is counted in."""


@dataclass(frozen=True)
class Place:
    """A definition in the map."""

    path: str
    line: int
    kind: str
    name: str
    signature: str


@dataclass(frozen=True)
class Against:
    """Imports that go against the layers: files of `importer` use `imported`; `path` is one of them, `target` what it uses."""

    importer: str
    imported: str
    imports: int
    path: str
    target: str


@dataclass(frozen=True)
class Layering:
    """The folders and files below `base`, the lowest layer last; `against` is what stands in a circle's way."""

    base: str
    layers: tuple[tuple[str, ...], ...]
    against: tuple[Against, ...]


@dataclass(frozen=True)
class Index:
    """What the code of a repository says about itself.

    `definitions` counts what looks like one in files that are no tests; the places of the map were read from the syntax.
    """

    files: int
    languages: Mapping[str, int]
    skipped: Mapping[str, tuple[int, tuple[str, ...]]]
    complete: bool
    definitions: int
    layering: Layering | None
    places: tuple[Place, ...]


def render(places: Sequence[Place]) -> str:
    """The map as text: a path, and below it the lines with their signatures."""
    lines: list[str] = []
    before = ""
    for place in places:
        if place.path != before:
            lines.append(f"{place.path}:")
            before = place.path
        lines.append(f"{place.line:5} {'  ' * place.name.count('.')}{place.signature}")
    return "\n".join(lines)
