"""What a test run means against the one before the change."""

from typing import Any

import pytest

from backend_crew.crew import verdict
from backend_crew.tools.testrun import TestCase, TestRun, not_run


def made(status: str = "failed", exit_code: int = 1, **outcomes: str) -> dict[str, Any]:
    cases = tuple(TestCase(name, outcome, 0.0, "") for name, outcome in outcomes.items())
    run = TestRun(status, status, counts_known=True, cases=cases, exit_code=exit_code, complete=exit_code < 2)
    return verdict.summarised(run)


BEFORE = made(a="passed", b="failed", c="passed", d="error", e="passed", f="skipped")
NOTHING_KNOWN: dict[str, list[str]] = {
    name: [] for name in ("newly failing", "already failing", "newly passing", "missing", "new tests")
}


def test_what_changed_is_told_by_test_id() -> None:
    now = made(a="failed", b="failed", c="passed", d="passed", e="skipped", g="error", h="passed")
    assert verdict.against(BEFORE, now) == {
        "newly failing": ["a", "g"],
        "already failing": ["b"],
        "newly passing": ["d"],
        "missing": ["e"],
        "new tests": ["g", "h"],
    }
    assert verdict.against(verdict.summarised(not_run("no sandbox")), now) == NOTHING_KNOWN


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (made("passed", 0, **dict.fromkeys("abcde", "passed")), "green"),
        (made(a="passed", b="failed", c="passed", d="passed", e="passed"), "green"),  # failed before, too
        (made(a="failed", b="passed", c="passed", d="passed", e="passed"), "red"),
        (made("passed", 0, **dict.fromkeys("abcd", "passed")), "red"),  # e is gone
        (
            made(exit_code=2, a="passed", b="failed", c="passed", d="passed", e="passed"),
            "red",
        ),  # the runner itself failed
        (verdict.summarised(not_run("stopped")), "not run"),
    ],
)
def test_the_verdict_counts_what_the_change_did(now: dict[str, Any], word: str) -> None:
    assert verdict.verdict(BEFORE, now)[0] == word


def test_counts_that_were_known_before_and_are_not_now_make_no_verdict() -> None:
    unknown = verdict.summarised(TestRun("passed", "exit code 0", exit_code=0))
    assert verdict.verdict(BEFORE, unknown)[0] == "unclear"
    assert verdict.verdict(unknown, unknown)[0] == "green"
