"""Honest tests: the corpus of cheats and honest changes, and what the comparison makes of broken or hostile code."""

import pytest
from corpus import BLIND, SERVICES, read_cases

from backend_crew.tools.honesty.compare import Sources, compare


def errors(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [one.rule for one in compare(Sources(before, after)).findings if one.severity == "error"]


@pytest.mark.parametrize("service", (*SERVICES, *BLIND))
def test_every_cheat_is_blocked_and_no_honest_change(service: str) -> None:
    cases = [case for case in read_cases(service) if not case.run]
    blocked = {
        case.name: [one for one in compare(case.sources()).findings if one.severity == "error"] for case in cases
    }
    assert {case.name for case in cases if case.cheat and not blocked[case.name]} == set()
    assert {case.name: blocked[case.name] for case in cases if not case.cheat and blocked[case.name]} == {}


def test_the_corpus_has_cheats_and_honest_changes_in_each_language() -> None:
    cases = list(read_cases(*SERVICES))
    assert len({(case.service, case.name) for case in cases}) == len(cases) >= 40
    for service in SERVICES:
        kinds = {bool(case.cheat) for case in cases if case.service == service}
        assert kinds == {True, False}


def test_nothing_is_found_where_nothing_changed() -> None:
    trees = {case.service: case.before for case in read_cases(*SERVICES)}
    assert {name: compare(Sources(tree, tree)).findings for name, tree in trees.items()} == dict.fromkeys(trees, ())


DEEP = "def test_a():\n    assert " + "(" * 2000 + "1" + ")" * 2000
HOSTILE = {
    "tests/test_deep.py": DEEP,
    "tests/test_null.py": "def test_a():\n    assert '\0'\n",
    "tests/test_half.py": "def test_a(:\n",
    "tests/test_numbers.py": "def test_a(self):\n    self.assertAlmostEqual(1, 2, places=-10**9)\n    assert 1 == approx(1, abs=1e999)\n",
    "tests/half.test.js": "test('a', () => { expect(1).toBe(",
    "tests/deep.test.js": "test('a', () => { " + "(" * 20000 + ")",
    "package.json": '{"scripts": {"test": ["jest"]}, "jest": 3}',
    "pyproject.toml": "[tool]\npytest = 3\ncoverage = []\n",
    "setup.cfg": "[pytest\n",
    "jest.config.js": "module.exports = { testMatch: [\ud800] }",
}


def test_code_that_cannot_be_read_raises_nothing() -> None:
    compare(Sources(HOSTILE, HOSTILE))
    compare(Sources({path: "" for path in HOSTILE}, HOSTILE))


def test_a_test_file_that_loses_its_syntax_is_an_error() -> None:
    assert errors({"tests/test_a.py": "def test_a():\n    assert f() == 1\n"}, {"tests/test_a.py": "def test_a(:\n"})


def test_helpers_that_call_one_another_end() -> None:
    calls = "\n".join("    check(x)" for _ in range(60))
    text = f"def check(x):\n{calls}\n    assert x == 1\n\n\ndef test_a():\n    check(2)\n"
    assert errors({"tests/test_a.py": text}, {"tests/test_a.py": text}) == []


EXISTS = """
from app import service
def test_names(): assert service.archive is not None
def test_kinds(): assert callable(service.archive) and hasattr(service, "listed")
def test_value(): assert service.LIMIT == 20
def test_use(client): assert client.get("/notes")
"""
LOOKS = """
const test = require('node:test'), assert = require('node:assert'), notes = require('../src/notes')
test('is there', () => { assert.ok(notes.archive) })
test('is a limit', () => { assert.equal(notes.LIMIT, 20) })
test('is used', () => { assert.ok(notes.archive(1)) })
"""


def test_a_test_that_only_looks_whether_names_exist_shows_nothing() -> None:
    found = compare(Sources({}, {"tests/test_names.py": EXISTS, "test/notes.test.js": LOOKS}))
    assert {name for _, name in found.weak} == {"test_names", "test_kinds", "is there"}
