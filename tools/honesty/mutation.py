"""The mutation check: which small faults in the changed lines the tests let live, within so many tries and seconds."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.mutants import Mutant, mutants_of
from backend_crew.tools.honesty.newly import Trees
from backend_crew.tools.honesty.trial import RunTests, passed, trial
from backend_crew.tools.testrun import TestRun

ENOUGH = 5
"""From so many mutants on it means something that none was killed."""
_SLOWEST = 4.0
_LONGER = 3.0
_LEAST_SECONDS = 10.0


@dataclass(frozen=True)
class Tried:
    """What became of a mutant; `killers` are the tests that no longer passed, where the runner names them."""

    mutant: Mutant
    outcome: Literal["killed", "survived", "unknown"]
    killers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mutation:
    """The mutants tried, out of `possible`, and `reason` where not all, or none, were."""

    tried: tuple[Tried, ...] = ()
    possible: int = 0
    seconds: float = 0.0
    reason: str = ""

    def count(self, outcome: str) -> int:
        """How many mutants had this outcome."""
        return sum(one.outcome == outcome for one in self.tried)


def mutate(trees: Trees, files: Sequence[str], run: RunTests, limit: int, seconds: float) -> Mutation:
    """Runs the tests in `files`, all where there are none, on the changed tree with one fault at a time."""
    started = time.monotonic()
    chosen, possible = mutants_of(trees.before, trees.after, limit)
    if not chosen:
        return Mutation(reason="the change has no line in which a fault could be made")
    tried: list[Tried] = []
    try:
        with trial(trees.tree, {}) as copy:
            control = run(copy.tree, files, seconds)
            if control.status != "passed" and not passed(control):
                return Mutation(possible=possible, reason=f"the tests do not pass as they are: {control.reason}")
            each = max(_LEAST_SECONDS, _SLOWEST * control.seconds)
            for mutant in chosen:
                left = seconds - (time.monotonic() - started)
                # A few are tried in any case: of fewer than these, survivors would say nothing.
                if left < control.seconds and (len(tried) >= ENOUGH or left + _LONGER * seconds < control.seconds):
                    break
                with copy.with_file(mutant.path, mutant.text, trees.after[mutant.path]) as tree:
                    tried.append(_judged(mutant, control, run(tree, files, each)))
    except ToolError as error:
        return Mutation(tuple(tried), possible, time.monotonic() - started, str(error))
    spent = time.monotonic() - started
    reason = f"{len(tried)} of {possible} mutants were tried" if len(tried) < possible else ""
    return Mutation(tuple(tried), possible, spent, reason)


def _judged(mutant: Mutant, control: TestRun, run: TestRun) -> Tried:
    # What was ended by its time limit says nothing of what the tests look at: a slow machine does the same.
    if run.status == "not run" or run.exit_code is None:
        return Tried(mutant, "unknown")
    lost = tuple(sorted(passed(control) - passed(run)))
    if control.counts_known and run.counts_known:
        return Tried(mutant, "killed" if lost else "survived", lost)
    if run.status == "failed" and control.status == "passed":
        return Tried(mutant, "killed", lost)  # a fault may keep the runner from its report
    return Tried(mutant, "survived" if run.status == "passed" else "unknown")


def judge(mutation: Mutation) -> Iterator[ChangeFinding]:
    """A warning for each survivor; an error where the tests noticed none of enough faults."""
    survivors = [one.mutant for one in mutation.tried if one.outcome == "survived"]
    if not mutation.count("killed") and len(survivors) >= ENOUGH:
        first = survivors[0]
        text = f"none of {len(survivors)} faults in the changed lines was noticed by the tests"
        yield finding("nothing-noticed", "error", first.path, first.line, text, "Assert what the changed lines do.")
    for one in survivors:
        text = f"no test notices when `{_short(one.was)}` is `{_short(one.now)}` ({one.operator})"
        yield finding(
            "fault-not-noticed", "warning", one.path, one.line, text, "Add a test that fails with that fault."
        )


def _short(code: str) -> str:
    flat = " ".join(code.split())
    return flat if len(flat) <= 100 else flat[:99] + "…"
