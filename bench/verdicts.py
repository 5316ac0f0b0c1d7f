"""The migration guard's verdicts on the corpus of tests/migrations: how many are right, by family and engine.

Positive is what must not be clean. Beside the guard stand its two halves alone: the lint of the files (an error), and the
rehearsal (a step that fails or an error). Usage: python bench/verdicts.py [WORD ...], each WORD a part of a case's name
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measure
from migrations.cases import CLEAN, Case
from migrations.corpus import CORPUS, judge, told

from backend_crew.tools.guard import Guarded
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox

WORKERS = 2


@dataclass(frozen=True)
class Judged:
    """One case, what the guard said, and how long it took."""

    case: Case
    found: Guarded
    seconds: float

    @property
    def positive(self) -> bool:
        """Whether it must not be clean."""
        return self.case.must.status != CLEAN


def _lint_alone(one: Judged) -> bool:
    return any(found.severity == "error" and found.rule != "rehearsal" for found in one.found.findings)


def _rehearsal_alone(one: Judged) -> bool:
    return one.found.rehearsal is None or one.found.rehearsal.status != "passed"


#: Whether each would have stopped a pipeline.
STOPS: dict[str, Callable[[Judged], bool]] = {
    "guard": lambda one: one.found.status != CLEAN,
    "lint": _lint_alone,
    "rehearsal": _rehearsal_alone,
}


def examined(sandbox: Sandbox, case: Case) -> Judged:
    """One case on a repository of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = judge(case, sandbox, Path(folder))
    return Judged(case, found, time.perf_counter() - started)


def shares(judged: Sequence[Judged], stops: Callable[[Judged], bool]) -> tuple[str, str]:
    """Precision and recall, "-" where there is nothing to divide by."""
    right = sum(one.positive and stops(one) for one in judged)
    stopped, positive = sum(map(stops, judged)), sum(one.positive for one in judged)
    return tuple(f"{right / of:.2f}" if of else "-" for of in (stopped, positive))  # type: ignore[return-value]  # two


def row(name: str, judged: Sequence[Judged]) -> list[object]:
    """Cases, positives, false alarms, misses, shares of the guard, verdicts right to the reason, and both halves."""
    stops = STOPS["guard"]
    alarms = sum(stops(one) and not one.positive for one in judged)
    missed = sum(one.positive and not stops(one) for one in judged)
    exact = sum(told(one.found, one.case.must) for one in judged)
    halves = ["/".join(shares(judged, STOPS[half])) for half in ("lint", "rehearsal")]
    positives = sum(one.positive for one in judged)
    seconds = sum(one.seconds for one in judged)
    return [name, len(judged), positives, alarms, missed, *shares(judged, stops), exact, *halves, f"{seconds:.0f} s"]


def main(words: Sequence[str]) -> None:
    """Judge and print."""
    measure.machine()
    sandbox = find_sandbox()
    if isinstance(sandbox, NoSandbox):
        raise SystemExit(f"no sandbox here: {sandbox.reason}")
    cases = [case for case in CORPUS if not words or any(word in case.title for word in words)]
    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        judged = list(pool.map(partial(examined, sandbox), cases))
    places = dict.fromkeys((case.family, case.engine) for case in cases)
    rows = [
        row(" ".join(place), [one for one in judged if (one.case.family, one.case.engine) == place]) for place in places
    ]
    head = ["", "cases", "positive", "false alarms", "missed", "precision", "recall", "exact", "lint alone",
            "rehearsal alone", "time"]  # fmt: skip
    measure.table("Verdicts (precision/recall for the halves)", head, [*rows, row("all", judged)])
    kinds = dict.fromkeys(case.kind for case in cases)
    by_kind = [row(kind, [one for one in judged if one.case.kind == kind]) for kind in kinds]
    measure.table("By kind", head, by_kind)
    print(f"\n{len(cases)} cases in {time.perf_counter() - started:.0f} s with {WORKERS} workers\n")
    for one in judged:
        if not told(one.found, one.case.must):
            said = f"must be {one.case.must.status}, is {one.found.status}"
            print(f"{one.case.title}: {said}. {one.case.miss or 'NOT KNOWN BEFORE'}")


if __name__ == "__main__":
    main(sys.argv[1:])
