"""The corpus of stacks: expected facts as data, and how what was found compares with them."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.stack_facts import Fact

HERE = Path(__file__).parent
Key = tuple[str, str]


@dataclass(frozen=True)
class Expected:
    """A repository with its facts: those that must be found, and those that may be; `files` where it is a small one."""

    name: str
    commit: str
    held_out: bool
    facts: frozenset[Key]
    also: frozenset[Key]
    traps: frozenset[str]
    services: Mapping[str, str]
    files: Mapping[str, str]

    def put(self, root: Path) -> Path:
        """Write the files of a small repository into a folder."""
        for name, text in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root


@dataclass(frozen=True)
class Score:
    """What was right, what was found and should not be, and what should be found and was not."""

    right: frozenset[Key]
    wrong: frozenset[Key]
    missed: frozenset[Key]


def public() -> tuple[Expected, ...]:
    """The public repositories, whose files are elsewhere."""
    return tuple(_read("public.toml"))


def small() -> tuple[Expected, ...]:
    """The small repositories, which hold their files."""
    return tuple(one for name in sorted(HERE.glob("small*.toml")) for one in _read(name.name))


def score(expected: Expected, found: Iterable[Fact]) -> Score:
    """Compare facts by kind and value; what may be found counts neither way."""
    keys = {(fact.kind, fact.value) for fact in found}
    return Score(
        frozenset(keys & expected.facts),
        frozenset(keys - expected.facts - expected.also),
        expected.facts - keys,
    )


def ratios(scores: Iterable[Score]) -> tuple[float, float]:
    """Precision and recall over all facts of several repositories."""
    kept = list(scores)
    right = sum(len(one.right) for one in kept)
    wrong = sum(len(one.wrong) for one in kept)
    missed = sum(len(one.missed) for one in kept)
    return right / max(right + wrong, 1), right / max(right + missed, 1)


def _read(name: str) -> Iterator[Expected]:
    document = tomllib.loads((HERE / name).read_text(encoding="utf-8"))
    for one in document["repository"]:
        yield Expected(
            one["name"],
            one.get("commit", ""),
            one.get("held_out", False),
            _keys(one["facts"]),
            _keys(one.get("also", {})),
            frozenset(one.get("traps", ())),
            one.get("services", {}),
            one.get("files", {}),
        )


def _keys(tables: Mapping[str, list[str]]) -> frozenset[Key]:
    return frozenset((kind, value) for kind, values in tables.items() for value in values)
