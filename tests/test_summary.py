"""What the documents of a finished run say, and what they keep to themselves."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opened
import pytest
import scenario

from backend_crew.crew import approvers, gates, outcome, packets, reporting, summary, verdict
from backend_crew.crew.artifacts import Questions
from backend_crew.crew.session import Session
from backend_crew.tools import git

ROW = "ada@example.com owes 12"
GOLDEN = Path(__file__).parent / "data" / "demo-golden.json"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv(scenario.ENV, "")
    with opened.implementing(tmp_path) as session:
        yield session


def rehearsed(session: Session, data: str, *, ok: bool) -> str:
    """migrations.md after a rehearsal that printed a row of the database it ran on."""
    facts = {"status": "passed" if ok else "failed", "reason": ROW, "data": data, "steps": [{"ok": ok}], "files": []}
    session.journal.record(session.id, "rehearse", "Rehearsal", facts, None)
    packet = gates.Packet(session.id, "migrations", "?", f"# Migrations\n\n{ROW} {data} {ok}\n", {})
    session.journal.open_gate(session.id, "migrations", packet.as_json(), packet.digest)
    return summary._migrations(session)


def test_what_a_failed_rehearsal_printed_of_the_person_s_data_stays_off_the_branch(session: Session) -> None:
    failed = rehearsed(session, "copy of the database", ok=False)
    assert ROW not in failed
    assert f"`backend-crew show {session.id}`" in failed
    assert ROW in rehearsed(session, "copy of the database", ok=True)
    assert ROW in rehearsed(session, "generated rows", ok=False), "generated rows are nobody's"


def test_every_round_of_questions_is_listed_with_its_answers(session: Session) -> None:
    follow_up = {**scenario.QUESTIONS["items"][0], "id": "F1", "question": "And who may see the time?"}
    for asked, given in (
        (scenario.QUESTIONS, scenario.ANSWERS),
        ({"items": [follow_up]}, {"F1": "Only the owner of the note"}),
    ):
        questions = Questions.model_validate(asked)
        session.journal.record(session.id, "ask", "Questions", questions.model_dump(mode="json"), None)
        packet = packets.build(session, "answers")
        row = session.journal.open_gate(session.id, "answers", packet.as_json(), packet.digest)
        approvers.answer(session.journal, session.id, row, given, approvers.By("library", "a person"))
    text = "".join(summary._clarifications(session))
    first, second = text.split("## Clarifications, round 2")
    assert "Shall there be an endpoint?" in first
    assert "Q3 (Is an unknown note an error?): Yes, a KeyError (own words)" in first
    assert "And who may see the time?" in second
    assert "Only the owner of the note (own words)" in second


def test_what_changed_after_the_review_and_after_the_gate_is_named(session: Session) -> None:
    def write(path: str, task: str, artifact: str) -> str:
        (session.clone.tree / path).write_text("x = 1\n")
        commit = git.commit(session.clone, path)
        session.journal.record(session.id, task, artifact, {"facts": {}}, commit)
        return commit

    assert summary._changed_since(session) == {}
    write("app/before.py", "implement_business_logic", "ChangeSet")
    session.journal.record(session.id, "review_security", "SecurityReview", {"overview": "Fine.", "facts": {}}, None)
    assert summary._changed_since(session) == {}
    shown = write("app/between.py", "implement_presentation", "ChangeSet")
    packet = gates.Packet(session.id, "migrations", "?", "# Migrations", {"commit": shown})
    session.journal.open_gate(session.id, "migrations", packet.as_json(), packet.digest)
    write("app/repaired.py", "repair", "ChangeSet")
    write("tests/test_late.py", "test", "TestReport")  # tests are always written after both
    (session.clone.tree / "specs").mkdir()
    (session.clone.tree / "specs/plan.md").write_text("# Ours\n")
    assert summary._changed_since(session) == {
        "the security review": ["app/between.py", "app/repaired.py"],
        "the migration gate": ["app/repaired.py"],
    }


def test_what_was_asked_for_after_the_plan_stands_above_what_it_contradicts(
    session: Session, facts: dict[str, Any]
) -> None:
    (session.clone.tree / "tests/test_notes.py").write_text(scenario.TESTS.replace('["milk"]', '["milk"] * 1'))
    packet = gates.Packet(session.id, "migrations", "?", "# Migrations\n", {})
    row = session.journal.open_gate(session.id, "migrations", packet.as_json(), packet.digest)
    ruling = approvers.Ruling(gates.CHANGES, "An index on archived.", "implementation", row.digest)
    approvers.decide(session.journal, session.id, row, ruling, approvers.By("library", "a person"))
    (one,) = summary._changed_tests(session, git.changes(session.clone, session.clone.base))
    assert (one["path"], one["name"]) == ("tests/test_notes.py", "test_added_notes_are_listed")
    summary._write_documents(session, "specs/001-x", {**facts, "tests_changed": [one]})
    folder = session.clone.tree / "specs/001-x"
    for name in ("spec.md", "plan.md", "data-model.md"):
        top = (folder / name).read_text().split("\n## ")[0]
        assert "round 1: An index on archived." in top, name
    assert "## Changes asked for\n\n- migrations, round 1: An index on archived." in (folder / "spec.md").read_text()
    assert "## Existing tests that changed\n\n- `test_added_notes_are_listed`" in (folder / "report.md").read_text()


@pytest.fixture
def facts() -> dict[str, Any]:
    """The recorded facts of the demo."""
    return dict(json.loads(GOLDEN.read_text())["summary"])


def test_models_and_services_are_in_the_report(facts: dict[str, Any]) -> None:
    text = reporting.report({**facts, "entities": ["Refund (new)"], "services": ["shop/refunds.py"]})
    assert "## Models\n\n- Refund (new)\n\n## Services\n\n- `shop/refunds.py`\n" in text
    assert "## Models\n\n- none\n" in reporting.report({**facts, "entities": []})


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        ("installed", "", "- stripe>=9, httpx: installed"),
        ("not installed", "no wheel", "- stripe>=9, httpx: not installed no wheel"),
    ],
)
def test_new_dependencies_are_in_the_report(facts: dict[str, Any], status: str, reason: str, line: str) -> None:
    assert "New dependencies" not in reporting.report({**facts, "dependencies": {}})
    dependencies = {"packages": ["stripe>=9", "httpx"], "status": status, "reason": reason}
    assert f"## New dependencies\n\n{line}\n" in reporting.report({**facts, "dependencies": dependencies})


def test_the_last_lines_name_changed_tests_and_do_not_call_every_endpoint_new(facts: dict[str, Any]) -> None:
    changed = {"name": "test_ship", "path": "tests/test_orders.py", "what": "body changed"}
    said = outcome._finished({**facts, "tests_changed": [changed]})
    assert "test:       test_ship in tests/test_orders.py: body changed" in said
    assert said[0].startswith("endpoints:  POST /v1/orders")
    assert said[1] == "contract:   same: every operation is as the contract has it, read from openapi (FastAPI)"


def test_flaky_tests_have_lines_of_their_own(facts: dict[str, Any]) -> None:
    facts["tests"] |= {"flaky before": ["tests/test_a.py::test_old"], "flaky": ["tests/test_a.py::test_now"]}
    text = reporting.report(facts)
    assert "- flaky: tests/test_a.py::test_old: sometimes passed before the change\n" in text
    assert "- flaky: tests/test_a.py::test_now: sometimes passes now\n" in text


def test_a_contract_that_the_interface_leaves_open_is_not_called_the_same_without_a_word(facts: dict[str, Any]) -> None:
    note = {"check": "contract", "rule": "limit", "severity": "note", "path": "a.py", "line": 1, "fix": "declare it"}
    open_ones = [{**note, "text": "GET /a: the built API does not say what the contract promises: answer 200.a"}]
    words = "contract: same, as far as the built interface states it, read from openapi (FastAPI)"
    assert f"- {words}\n" in reporting.report({**facts, "findings": open_ones})
    assert words.replace(": ", ":   ", 1) in outcome._finished({**facts, "findings": open_ones})
    assert "same: every operation" in reporting.report({**facts, "findings": [{**note, "text": "has more"}]})
    other = {**facts["checks"], "contract": {"status": "differs", "reason": "one operation is missing"}}
    assert "- contract: differs: one operation" in reporting.report({**facts, "findings": open_ones, "checks": other})


def test_small_faults_are_told_in_one_line_each() -> None:
    long = "op.create_table(\n        'reviews',\n" + "        sa.Column('rating', sa.Integer()),\n" * 20 + "    )"
    survivor = {"path": "a.py", "line": 3, "change": f"{long} → pass"}
    mutation = {"killed": 3, "survived": 2, "unknown": 0, "possible": 50, "survivors": [survivor]}
    told = reporting._mutation_words({**mutation, "reason": "5 of 50 mutants were tried"})
    first, second = told.splitlines()
    assert first == (
        "5 of 50 possible small faults in the changed lines were tried: 3 noticed by a test, 2 not (time was up)"
    )
    assert second.startswith("  - not noticed: a.py:3 op.create_table( 'reviews', ") and second.endswith("… → pass")
    assert len(second) < 140
    many = {**mutation, "killed": 24, "survived": 0, "survivors": [], "reason": "24 of 50 mutants were tried"}
    assert reporting._mutation_words(many).endswith("24 noticed by a test, 0 not")
    assert reporting._mutation_words({**mutation, "reason": "no sandbox"}).startswith("5 of 50 possible")
    assert "; no sandbox" in reporting._mutation_words({**mutation, "reason": "no sandbox"})


def test_checks_that_the_repository_has_and_nobody_named_are_in_the_report(
    session: Session, facts: dict[str, Any]
) -> None:
    (session.clone.tree / "setup.cfg").write_text("[metadata]\nname = x\n[mypy]\n[flake8]\n")
    (session.clone.tree / ".pre-commit-config.yaml").write_text("repos:\n- hooks:\n  - id: black\n")
    journal, run = session.journal, session.id
    journal.record(run, "baseline", "Baseline", {"linters": verdict.linters(session)}, None)
    found = verdict.unchecked(session)
    assert {one["name"]: one["line"] for one in found} == {"mypy": 3, "flake8": 4, "black": 3}
    text = reporting.report({**facts, "unchecked": found})
    part = text.split("## Checks beside the tests")[1].split("\n## ")[0]
    assert "- not run: mypy (setup.cfg:3); name it with --check-command\n" in part
    command = ["python", "-m", "mypy", "app"]
    session.run = dataclasses.replace(session.run, options={**session.run.options, "check_command": command})
    assert {one["name"] for one in verdict.unchecked(session)} == {"flake8", "black"}
    check = {"command": "python -m mypy app", "status": "passed", "reason": "exit code 0"}
    told = reporting.report({**facts, "tests": {**facts["tests"], "check": check}, "unchecked": found[1:2]})
    assert f"- not named in the check `python -m mypy app`: {found[1]['name']} (" in told
    command = ["pre-commit", "run", "--all-files"]
    session.run = dataclasses.replace(session.run, options={**session.run.options, "check_command": command})
    assert verdict.unchecked(session) == []


def test_a_repair_is_in_the_report_and_that_nobody_reviewed_it(facts: dict[str, Any]) -> None:
    without, repaired = (reporting.report({**facts, "repair": text}) for text in ("", "The limit was off by one."))
    assert "Repaired" not in without and "nobody reviewed" not in without
    assert "## Repaired after red tests\n\nThe limit was off by one.\n" in repaired
    assert "nobody reviewed the repaired code" in repaired
    since = {"the security review": ["app/a.py", "tests/test_a.py"], "the migration gate": ["app/a.py"]}
    text = reporting.report({**facts, "changed_since": since})
    assert "Changed after the security review: `app/a.py`, `tests/test_a.py`\n" in text
    assert "Changed after the migration gate: `app/a.py`\n" in text
    assert "Changed after" not in reporting.report({**facts, "changed_since": {}})


def test_a_finding_without_a_remedy_promises_none() -> None:
    one = {"severity": "warning", "check": "contract", "rule": "schema", "text": "x", "path": "a.py", "line": 3}
    assert reporting.finding_line({**one, "fix": "y"}) == "**warning** contract, schema: x (a.py:3). To settle it: y"
    assert reporting.finding_line({**one, "fix": ""}) == "**warning** contract, schema: x (a.py:3)"
