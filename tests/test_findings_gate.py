"""The gate of the findings: what a check found in the finished change is settled by a repair or by a person alone."""

from pathlib import Path

import driving
import pytest
import scenario
from scenario import call, submit, use

from backend_crew.crew.embed import Finished, Unverified, Waiting
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.recording import Reply, Turn

SKIPPED = scenario.NEW_TESTS.replace(
    "def test_an_unknown_note_is_an_error(session: Session) -> None:\n",
    'def test_an_unknown_note_is_an_error(session: Session) -> None:\n    pytest.skip("later")\n',
)
ACCEPT = {"verdict": "approve", "reason": "The next release shows it."}


@pytest.fixture
def stand(tmp_path: Path) -> driving.Stand:
    """A run whose tester skips the test of one criterion, and whose implementer leaves that to the person."""
    made = driving.stand(tmp_path)
    steps = made.script.steps
    steps["test"] = [use(call("write_file", path="tests/test_archive.py", text=SKIPPED)), submit(**scenario.REPORT)]
    steps["repair"] = [submit(summary="The test is skipped on purpose; the product is as it should be.")]
    return made


def test_a_criterion_without_a_passing_test_waits_for_a_person_whose_reason_is_reported(stand: driving.Stand) -> None:
    stand.person.decisions["findings"] = [None]
    result = stand.kickoff()
    assert isinstance(result, Waiting)
    (packet,) = stand.person.packets("findings")
    assert "AC2 is not shown by a passing test" in packet.text
    assert "only skipped tests were named for it" in packet.text
    stand.person.decisions["findings"] = [{"verdict": "approve"}]
    with pytest.raises(DecisionRefused, match="approve needs a reason at this gate"):
        stand.again().kickoff()
    stand.person.decisions["findings"] = [ACCEPT]
    result = stand.again().kickoff()
    assert isinstance(result, Finished), result.reason
    report = stand.on_branch(f"{result.summary['documents']}/report.md")
    assert "The next release shows it." in report
    assert "AC2 is not shown by a passing test" in report


def test_findings_that_a_person_rejects_leave_the_run_unverified(stand: driving.Stand) -> None:
    stand.person.decisions["findings"] = [{"verdict": "reject", "reason": "No."}]
    result = stand.kickoff()
    assert isinstance(result, Unverified)
    assert result.reason.startswith("not accepted: ")


def test_changes_asked_for_at_the_findings_go_back_to_the_tester(stand: driving.Stand) -> None:
    first, write = (
        stand.script.steps["test"][0],
        call("write_file", path="tests/test_archive.py", text=scenario.NEW_TESTS),
    )

    def write_again(turn: Turn) -> Reply:
        return use(write) if turn.round > 1 else submit(**scenario.REPORT)

    def begin(turn: Turn) -> Reply:
        assert isinstance(first, Reply)
        return use(call("read_file", path="tests/test_archive.py")) if turn.round > 1 else first

    stand.script.steps["test"] = [begin, write_again, submit(**scenario.REPORT)]
    stand.person.decisions["findings"] = [{"verdict": "request-changes", "reason": "Do not skip it."}]
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason
    assert len(stand.person.packets("findings")) == 1
    assert any("Do not skip it." in str(turn.messages) for turn in stand.script.seen if turn.task == "test")


def test_the_gate_does_not_open_where_nothing_was_found(tmp_path: Path) -> None:
    clean = driving.stand(tmp_path)
    result = clean.kickoff()
    assert isinstance(result, Finished), result.reason
    assert clean.person.packets("findings") == []
    assert clean.payload("approve_findings") == {"reason": "no check found anything that would have to be accepted"}
