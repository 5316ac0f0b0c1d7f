"""Small faults put into the lines that a change added, one at a time; tests that check something notice them."""

from collections.abc import Iterator, Mapping, Sequence
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
    """At most `limit` mutants, spread over the changed lines of product code, and how many there would be."""
    every: list[Mutant] = []
    for path in sorted(after):
        if testpaths.is_product_code(path) and after[path] != before.get(path):
            every += _in_file(path, after[path], changed_lines(before.get(path, ""), after[path]))
    return tuple(_spread(every, limit)), len(every)


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


def _spread(every: Sequence[Mutant], limit: int) -> Iterator[Mutant]:
    """One of each line first, then the second of each, until there are enough; lines far apart before near ones."""
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for one in every:
        by_line.setdefault((one.path, one.line), []).append(one)
    rounds = max(map(len, by_line.values()), default=0)
    ordered = [lines[number] for number in range(rounds) for lines in by_line.values() if number < len(lines)]
    first = [one for one in ordered if one is by_line[one.path, one.line][0]]
    if len(first) > limit:
        # More lines than mutants: evenly through the change, not all from its beginning.
        yield from (first[place * len(first) // limit] for place in range(limit))
        return
    yield from ordered[:limit]
