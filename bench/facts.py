"""Stack facts against what people wrote down of repositories: precision and recall, and the time a survey takes.

Usage: python bench/facts.py [--clones FOLDER] [--time FOLDER ...] [--show]
--clones: where the public repositories of tests/analysis/public.toml are, each as owner+name at its commit
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import measure
from analysis.stacks import Expected, Score, public, ratios, score, small

from backend_crew.tools import stack

PRECISION, RECALL = 0.98, 0.95


def main() -> None:
    """Score the small repositories, the public ones where they are at hand, and time what is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clones", type=Path)
    parser.add_argument("--time", type=Path, nargs="*", default=[])
    parser.add_argument("--show", action="store_true", help="name each fact that is wrong or missed")
    given = parser.parse_args()
    groups: dict[str, list[tuple[Expected, Score]]] = {"small": [(one, _small(one)) for one in small()]}
    if given.clones:
        groups["public"] = _public(given.clones, [one for one in public() if not one.held_out])
        groups["held out"] = _public(given.clones, [one for one in public() if one.held_out])
    for title, pairs in groups.items():
        _print(title, pairs, given.show)
    _kinds([pair for pairs in groups.values() for pair in pairs])
    scores = [one for pairs in groups.values() for _, one in pairs]
    precision, recall = ratios(scores)
    print(
        f"\n{len(scores)} repositories: precision {precision:.3f} (goal {PRECISION}), recall {recall:.3f} (goal {RECALL})"
    )
    for folder in given.time:
        _time(folder)
    measure.machine()


def _small(expected: Expected) -> Score:
    with tempfile.TemporaryDirectory() as folder:
        return score(expected, stack.survey(expected.put(Path(folder))).facts)


def _public(clones: Path, expected: Sequence[Expected]) -> list[tuple[Expected, Score]]:
    found = []
    for one in expected:
        folder = clones / one.name.replace("/", "+")
        if folder.is_dir():
            found.append((one, score(one, stack.survey(folder).facts)))
        else:
            print(f"not at hand: {one.name} at {one.commit}")
    return found


def _print(title: str, pairs: Sequence[tuple[Expected, Score]], show: bool) -> None:
    rows: list[Sequence[object]] = []
    for one, result in pairs:
        precision, recall = ratios([result])
        rows.append(
            (one.name, len(result.right), len(result.wrong), len(result.missed), f"{precision:.2f}", f"{recall:.2f}")
        )
    if rows:
        precision, recall = ratios(result for _, result in pairs)
        rows.append(
            ("all", *(sum(int(str(row[at])) for row in rows) for at in (1, 2, 3)), f"{precision:.3f}", f"{recall:.3f}")
        )
        measure.table(title, ("repository", "right", "wrong", "missed", "precision", "recall"), rows)
    for one, result in pairs if show else ():
        for word, keys in (("wrong", result.wrong), ("missed", result.missed)):
            for kind, value in sorted(keys):
                print(f"  {word:6} {one.name}: {kind}: {value}")


def _kinds(pairs: Iterable[tuple[Expected, Score]]) -> None:
    counts: dict[str, list[int]] = {}
    for _, result in pairs:
        for at, keys in enumerate((result.right, result.wrong, result.missed)):
            for kind, _value in keys:
                counts.setdefault(kind, [0, 0, 0])[at] += 1
    rows = [(kind, *three) for kind, three in sorted(counts.items())]
    measure.table("by kind", ("kind", "right", "wrong", "missed"), rows)


def _time(folder: Path) -> None:
    wall, cpu = [], []
    for _ in range(3):
        started, used = time.perf_counter(), time.process_time()
        found = stack.survey(folder)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    print(
        f"\n{folder.name}: {len(found.facts)} facts, {'complete' if found.complete else 'bounded'}; "
        f"first {wall[0]:.2f} s, median {statistics.median(wall):.2f} s, of the processor {statistics.median(cpu):.2f} s"
    )


if __name__ == "__main__":
    main()
