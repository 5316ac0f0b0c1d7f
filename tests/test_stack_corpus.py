"""The corpus of small repositories: exactly the expected facts, traps and services, each with a line that shows it."""

import dataclasses
from pathlib import Path

import pytest
from analysis.stacks import Expected, public, ratios, score, small

from backend_crew.tools import stack, stack_rules
from backend_crew.tools.stack_facts import Fact, Survey

SMALL = small()


def opened(root: Path, facts: tuple[Fact, ...]) -> None:
    """Look each quote up where it says, and its rule among the rules."""
    rules = stack_rules.rules()
    known = {mark.rule for mark in rules.marks}
    known |= {
        stack_rules.rule_id(one.kind, one.value, way) for one in rules.libraries for way in ("declared", "imported")
    }
    for fact in facts:
        assert fact.quote, fact
        assert fact.quote in (root / fact.path).read_text(encoding="utf-8").split("\n")[fact.line - 1], fact
        derived = fact.rule.startswith(("language.", "architecture.", "test_command.", "trap."))
        assert fact.rule in known or derived, fact


@pytest.mark.parametrize("expected", SMALL, ids=lambda one: one.name)
def test_a_small_repository(tmp_path: Path, expected: Expected) -> None:
    found = stack.survey(expected.put(tmp_path))
    result = score(expected, found.facts)
    assert (result.wrong, result.missed) == (frozenset(), frozenset())
    assert {trap.rule for trap in found.traps} == expected.traps, found.traps
    if expected.services:
        assert {one.path: one.role for one in found.services} == expected.services
    opened(tmp_path, found.facts)
    for trap in found.traps:
        assert trap.summary
        opened(tmp_path, trap.evidence)


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    """The weak control: the same comparison with a fact that is not there, and one that is not named."""
    one = SMALL[0]
    told = dataclasses.replace(one, facts=one.facts - {next(iter(one.facts))} | {("framework", "Nonesuch")})
    result = score(told, stack.survey(one.put(tmp_path)).facts)
    assert len(result.wrong) == 1
    assert result.missed == {("framework", "Nonesuch")}
    precision, recall = ratios([result])
    assert precision < 1 > recall


def test_the_corpus_is_large_and_its_kinds_are_known(tmp_path: Path) -> None:
    everyone = [*SMALL, *public()]
    assert len(everyone) >= 30
    assert sum(one.held_out for one in everyone) >= 8
    assert all(len(one.commit) == 40 for one in public())
    kinds = {kind for one in everyone for kind, _ in one.facts | one.also}
    (tmp_path / "x.py").write_text("import flask\n")
    values = {(mark.kind, mark.value) for mark in stack_rules.rules().marks}
    assert kinds <= {kind for kind, _ in values} | {one.kind for one in stack_rules.rules().libraries} | {"language"}


def test_rules_have_names_of_their_own() -> None:
    names = [mark.rule for mark in stack_rules.rules().marks]
    assert sorted(names) == sorted(set(names))
    packages = [(one.kind, name) for one in stack_rules.rules().libraries for name in one.names]
    assert len(packages) == len(set(packages))


def test_prompts_see_what_is_held_back_and_no_newer_kinds(tmp_path: Path) -> None:
    root = next(one for one in SMALL if one.name.startswith("nest")).put(tmp_path)
    prompted, found = stack.detect(root), stack.survey(root)
    assert ("framework", "Express") in {(fact.kind, fact.value) for fact in prompted}
    assert ("framework", "Express") not in {(fact.kind, fact.value) for fact in found.facts}
    assert "configuration" in kinds_of(found)
    assert "configuration" not in {fact.kind for fact in prompted}


def kinds_of(found: Survey) -> set[str]:
    return {fact.kind for fact in found.facts}
