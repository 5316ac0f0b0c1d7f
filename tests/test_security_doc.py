"""docs/security.md says which test shows what: every test that it names exists, and every case has one."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOC = TESTS.parent / "docs" / "security.md"
CASES = range(1, 67)


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


def test_the_document_lists_every_case_and_every_promise() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOC.read_text(), re.MULTILINE)
    assert [int(one) for one in rows] == [*range(1, 9), *CASES]
