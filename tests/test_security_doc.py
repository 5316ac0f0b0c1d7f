"""docs/security.md says which test shows what: every test that it names exists, and every case has one."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOC = TESTS.parent / "docs" / "security.md"
CASES = range(1, 67)
#: What CrewAI (A), git (B) and sandboxes (C) did when they were tried before this was built: how many of each.
BREAKS = {"A": 14, "B": 3, "C": 6}
NOT_USED = {"C6"}
"""A tool that was tried and is no part of this project: there is nothing to show."""


def _defined() -> dict[str, set[str]]:
    """The test functions of every file, by the file's path below tests/."""
    return {
        path.relative_to(TESTS).as_posix(): set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))
        for path in TESTS.rglob("test_*.py")
    }


def _numbers(name: str) -> set[int]:
    """The cases in a test's name: test_42_43_44_calls, test_case_49_env_py."""
    found = re.match(r"test_(?:case_)?((?:\d\d_)+)", name)
    return {int(one) for one in found[1].split("_") if one} if found else set()


def test_every_test_that_the_document_names_exists() -> None:
    defined = _defined()
    named = re.findall(r"`((?:adversarial/)?test_\w+\.py)(?:::(test_\w+))?`", DOC.read_text())
    assert named
    assert [one for one in named if one[0] not in defined or (one[1] and one[1] not in defined[one[0]])] == []


def test_every_case_of_the_list_has_a_test_that_carries_its_number() -> None:
    shown = {number for names in _defined().values() for name in names for number in _numbers(name)}
    assert sorted(set(CASES) - shown) == []


def _breaks() -> dict[str, str]:
    """The rows of the table of breaks: number to what stands in the column of tests."""
    rows = re.findall(r"^\| ([ABC]\d+) \|.*\| ([^|]*) \|$", DOC.read_text(), re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_the_document_lists_every_break_that_was_seen_before_this_was_built() -> None:
    numbers = [f"{letter}{number}" for letter, last in BREAKS.items() for number in range(1, last + 1)]
    assert list(_breaks()) == numbers


def test_every_break_names_tests_and_one_of_them_carries_its_number() -> None:
    defined = _defined()
    for number, cell in _breaks().items():
        named = re.findall(r"`((?:adversarial/)?test_\w+\.py)::(test_\w+)`", cell)
        assert [one for one in named if one[1] not in defined.get(one[0], set())] == [], number
        carried = any(re.match(rf"test_(?:[abc]\d+_)*{number.lower()}_", name) for _, name in named)
        assert carried != (number in NOT_USED), (number, cell)
    told = {
        match[1].upper() for names in defined.values() for one in names if (match := re.match(r"test_([abc]\d+)_", one))
    }
    assert told == set(_breaks()) - NOT_USED, "a number in a test's name stands in the table"


def test_the_document_lists_every_case_and_every_promise() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOC.read_text(), re.MULTILINE)
    assert [int(one) for one in rows] == [*range(1, 9), *CASES]
