"""What a test run means against the one before the change."""

from pathlib import Path
from typing import Any

import opened
import pytest
import scenario

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
    broken = verdict.summarised(TestRun("failed", "no report was written", exit_code=1))
    assert verdict.verdict({**BEFORE, "status": "passed"}, broken)[0] == "red", "it goes to the repair"


def test_a_test_that_fails_and_then_passes_is_named_and_never_green_by_that() -> None:
    now = made(a="failed", b="failed", c="passed", d="error", e="passed")
    assert verdict.verdict(BEFORE, now)[0] == "red"
    word, why = verdict.verdict(BEFORE, {**now, "flaky": {"a": ["failed", "passed", "passed"]}})
    assert (word, "flaky: a failed, then passed alone" in why) == ("unclear", True)


def test_what_was_flaky_before_counts_once_it_fails_each_time() -> None:
    before = {**BEFORE, "flaky": {"b": ["failed", "passed", "failed"]}}
    now = made(a="passed", b="failed", c="passed", d="error", e="passed")
    assert verdict.against(before, now)["newly failing"] == ["b"]
    assert verdict.verdict(before, now)[0] == "red"
    unsteady = {**now, "flaky": {"b": ["failed", "failed", "passed"]}}
    assert (
        verdict.verdict(before, unsteady)[0] == "green"
        and "flaky before and now: b" in verdict.verdict(before, unsteady)[1]
    )
    passes = made("failed", a="passed", b="passed", c="passed", d="error", e="passed")
    assert "b" not in verdict.against(before, passes)["newly passing"], "it passed before, too"


def test_what_had_no_server_is_said_where_the_rest_is_green() -> None:
    now = made("passed", 0, **dict.fromkeys("abcde", "passed"), f="skipped")
    now["reason"] = "1 of 6 tests not run: Redis is not there: none"
    assert verdict.verdict(BEFORE, now) == ("green", f"every test passes; {now['reason']}")


SOMETIMES = """
import pathlib, tempfile

def test_sometimes():
    assert pathlib.Path("seen").exists(), "it is there the second time only"

def test_never():
    assert 1 == 2
"""


def test_failed_tests_are_run_again_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened.implementing(tmp_path, {**scenario.FILES, "tests/test_luck.py": SOMETIMES}) as session:
        before = verdict.before_change(session)
        ids = ["tests/test_luck.py::test_never", "tests/test_luck.py::test_sometimes"]
        assert sorted(before["messages"]) == ids and "flaky" not in before
        monkeypatch.setattr(verdict, "_run", _seen_between(verdict._run))
        again = verdict.before_change(session)
        assert again["flaky"] == {ids[1]: ["failed", "passed", "passed"]}
        (event,) = session.journal.events(session.id, "failed tests run again")[-1:]
        assert event["flaky"] == [ids[1]]


def _seen_between(usual: Any) -> Any:
    """Runs of single tests find a file that the first run did not have: as a race that is won the second time."""

    def run(session: Any, paths: Any, limits: Any) -> Any:
        seen = session.clone.tree / "seen"
        if paths:
            seen.write_text("")
        found = usual(session, paths, limits)
        seen.unlink(missing_ok=True)
        return found

    return run
