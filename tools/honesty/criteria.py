"""Acceptance criteria, each with the tests that show it and the lines that do it; one that no test shows is red."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backend_crew.tools.honesty.mutation import Mutation
from backend_crew.tools.honesty.newly import Shown
from backend_crew.tools.honesty.testids import key_of

_LINES = 12


@dataclass(frozen=True)
class CriterionShown:
    """One criterion: the tests that were named for it and passed, changed lines (path:line) that they depend on.

    `reason` says why it is red; for a shown one, what is not known.
    """

    id: str
    status: Literal["shown", "red"]
    reason: str
    tests: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What is known of tests: outcomes before and after, why a test is weak, and what the trials said.

    An empty `before` means that the run before the change knew no tests one by one.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    weak: Mapping[str, str]
    shown: Shown
    mutation: Mutation


def trace(
    criteria: Sequence[str], named: Mapping[str, Sequence[str]], evidence: Evidence
) -> tuple[CriterionShown, ...]:
    """Judges each criterion by the tests that were named for it; ids as the report has them, or a test's without cases."""
    return tuple(_traced(one, named.get(one, ()), evidence) for one in criteria)


def _traced(criterion: str, named: Sequence[str], evidence: Evidence) -> CriterionShown:
    ids = [found for one in named for found in _in_report(one, evidence.after)]
    green = [one for one in ids if evidence.after[one] == "passed"]
    if not green:
        return CriterionShown(criterion, "red", _why_none(named, ids, evidence), (), ())
    failed = [one for one in ids if evidence.after[one] in ("failed", "error")]
    if failed:
        return CriterionShown(criterion, "red", f"{failed[0]} fails", tuple(green), ())
    reasons = {one: why for one in green if (why := _why_not(one, evidence))}
    good = tuple(one for one in green if one not in reasons)
    if not good:
        return CriterionShown(criterion, "red", "; ".join(f"{one}: {why}" for one, why in reasons.items()), (), ())
    lines = _lines(good, evidence.mutation)
    return CriterionShown(criterion, "shown", "" if lines else "which lines do it is not known", good, lines)


def _in_report(named: str, after: Mapping[str, str]) -> list[str]:
    """The cases that a named test stands for: itself, or all its parameters."""
    if named in after:
        return [named]
    key = key_of(named)
    return [one for one in after if key_of(one) == key] if "[" not in named else []


def _why_none(named: Sequence[str], ids: Sequence[str], evidence: Evidence) -> str:
    if not evidence.after:
        return "no run named its tests one by one, so none is known to pass"
    if not named:
        return "no test was named for it"
    if not ids:
        return f"{', '.join(named[:3])}: not in the report of the tests"
    if all(evidence.after[one] == "skipped" for one in ids):
        return "only skipped tests were named for it"
    return f"no test that was named for it passes: {', '.join(ids[:3])}"


def _why_not(test_id: str, evidence: Evidence) -> str:
    """Why a passing test does not show a criterion, "" where it does or where nothing speaks against it."""
    if why := evidence.weak.get(test_id):
        return why
    shown = evidence.shown
    if test_id in shown.idle and shown.whole:
        was = "existed before the change" if test_id in evidence.before else "passes on the code before the change"
        was = "cannot be run on the code before the change" if test_id in shown.unknown else was
        return f"it {was}, and reaches no line that the change added"
    return ""


def _lines(tests: Sequence[str], mutation: Mutation) -> tuple[str, ...]:
    """The changed lines in which a fault makes one of the tests fail."""
    held = [one.mutant for one in mutation.tried if set(one.killers) & set(tests)]
    return tuple(dict.fromkeys(f"{one.path}:{one.line}" for one in sorted(held, key=lambda one: (one.path, one.line))))[
        :_LINES
    ]
