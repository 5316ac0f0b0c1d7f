"""The side-by-side table of docs/security.md: verdicts of both sides, from real runs; the plain crew is the weak control."""

import re
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.append(str(BENCH))

import breaks  # noqa: E402  # found on the path only now
import faults_ours  # noqa: E402  # as above
import faults_plain_runs  # noqa: E402  # as above
import scenario  # noqa: E402  # as above
from faults import row  # noqa: E402  # as above
from faults_person import FAULTS, MISSED, NAMED, RAW, STOPPED, Outcome, alarmed, judge  # noqa: E402  # as above

PLAIN = {
    "a": STOPPED,
    "b": STOPPED,
    "c": MISSED,
    "d": RAW,
    "e": RAW,
    "f": RAW,
    "g": RAW,
    "h": RAW,
    "i": MISSED,
    "j": MISSED,
}
#: The others take a whole run with its sandbox each; `python bench/faults.py` runs all.
OURS = {"a": STOPPED, "c": STOPPED, "e": NAMED, "h": STOPPED, "j": STOPPED}


@pytest.mark.slow
@pytest.mark.parametrize("letter", PLAIN)
def test_what_a_plain_crew_lets_through(letter: str, tmp_path: Path) -> None:
    found = faults_plain_runs.RUNS[letter](tmp_path)
    assert found.verdict == PLAIN[letter], found.observed
    assert found.questions


@pytest.mark.slow
@pytest.mark.parametrize("letter", OURS)
def test_what_this_crew_does_with_the_same_fault(letter: str, tmp_path: Path) -> None:
    found = faults_ours.RUNS[letter](tmp_path)
    assert found.verdict == OURS[letter], found.observed


@pytest.mark.slow
def test_without_a_fault_the_plain_crew_builds_tests_and_migrates(tmp_path: Path) -> None:
    """Else every fault of its would look stopped."""
    ground = faults_plain_runs.Ground(tmp_path)
    plain = ground.run(faults_plain_runs.happy())
    assert plain.error is None
    assert breaks.revision(ground.database) == "0002"
    assert ground.changed() == [
        "app/models.py",
        "app/service.py",
        scenario.MIGRATION,
        "tests/test_archive.py",
    ]
    assert any("app/models.py, app/service.py" in text for text in plain.console.asked)  # the design was on the screen


def test_the_document_has_the_verdicts_that_the_runs_give() -> None:
    text = (BENCH.parent / "docs/security.md").read_text(encoding="utf-8")
    verdicts = dict(
        re.findall(r"^\| \(([a-j])\) .*? \| \*\*[a-z ]+\*\*: .*? \| (\*\*[a-z ]+\*\*): ", text, re.MULTILINE)
    )
    assert verdicts == {letter: f"**{verdict}**" for letter, verdict in PLAIN.items()}
    mine = dict(re.findall(r"^\| \(([a-j])\) .*? \| (\*\*[a-z ]+\*\*): ", text, re.MULTILINE))
    assert {letter: mine[letter] for letter in OURS} == {letter: f"**{verdict}**" for letter, verdict in OURS.items()}


def test_verdicts_follow_from_what_was_observed() -> None:
    assert judge(False) == judge(False, raw=True) == STOPPED
    assert judge(True) == MISSED
    assert judge(True, raw=True) == RAW
    assert judge(True, named=True) == judge(False, named=True, raw=True) == NAMED


def test_the_person_reads_words_and_not_code() -> None:
    assert alarmed("- error: 3 of 3 values of notes.text are gone after the upgrade")
    assert not alarmed('op.drop_column("notes", "text")')
    assert not alarmed("ModuleNotFoundError: no alembic")


def test_a_row_keeps_its_columns() -> None:
    one = Outcome(STOPPED, "a | b", 1)
    assert row(FAULTS[0], one, one).count(" | ") == 3
