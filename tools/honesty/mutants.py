"""Small faults put into the lines that a change added, one at a time; tests that check something notice them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backend_crew.tools.honesty import javascript_mutants, python_mutants, testpaths
from backend_crew.tools.honesty.aware import changed_lines


@dataclass(frozen=True)
class Mutant:
    """A file with one fault: `was` and `now` are the code around it, `text` the whole file as it would be."""

    path: str
    line: int
    operator: str
    was: str
    now: str
    text: str


def mutants_of(before: Mapping[str, str], after: Mapping[str, str], limit: int) -> tuple[tuple[Mutant, ...], int]:
    """At most `limit` mutants of the changed lines of product code, and how many there would be.

    The first few are spread as all are: time may end before the last. A migration is judged by its rehearsal instead.
    """
    files: dict[str, list[Mutant]] = {}
    for path in sorted(after):
        if testpaths.is_product_code(path) and not testpaths.is_migration(path) and after[path] != before.get(path):
            lines = changed_lines(before.get(path, ""), after[path])
            files[path] = list(_in_file(path, after[path], lines))
    return tuple(_spread(files.values()))[:limit], sum(map(len, files.values()))


def _in_file(path: str, text: str, lines: set[int]) -> Iterator[Mutant]:
    source = text.encode("utf-8", "surrogatepass")
    make = python_mutants.faults if testpaths.is_python(path) else javascript_mutants.faults
    seen: set[bytes] = set()
    for fault in make(path, text, lines):
        changed = source[: fault.start] + fault.code + source[fault.end :]
        if changed in seen or changed == source:
            continue
        seen.add(changed)
        was = source[fault.start : fault.end].decode("utf-8", "replace")
        now = fault.code.decode("utf-8", "replace")
        yield Mutant(path, fault.line, fault.operator, was, now, changed.decode("utf-8", "surrogatepass"))


def _spread(files: Iterable[Sequence[Mutant]]) -> Iterator[Mutant]:
    """The first fault of each line, then the second of each; in turns of the files, and within one far apart first."""
    placed: list[tuple[int, float, Mutant]] = []
    for every in files:
        lines: dict[int, list[Mutant]] = {}
        for one in every:
            lines.setdefault(one.line, []).append(one)
        order = _apart(sorted(lines))
        placed += [
            (rank, (place + 1) / len(order), one)
            for place, line in enumerate(order)
            for rank, one in enumerate(lines[line])
        ]
    return (one for _, _, one in sorted(placed, key=lambda place: place[:2]))


def _apart(lines: Sequence[int]) -> list[int]:
    """The middle first, then the middles of both halves, and so on."""
    found: list[int] = []
    parts = [lines] if lines else []
    while parts:
        found += [part[len(part) // 2] for part in parts]
        halves = [half for part in parts for half in (part[: len(part) // 2], part[len(part) // 2 + 1 :])]
        parts = [half for half in halves if half]
    return found
