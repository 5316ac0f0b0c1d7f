"""Repair of what lies outside the plan: an old test that the feature contradicts is changed only after a person allowed it."""

from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from scenario import call, submit, use

from backend_crew.crew.embed import Finished, Unverified

pytestmark = pytest.mark.slow
OLD = "tests/test_limit.py"
LIMIT = """\
from app import service


def test_what_the_service_offers() -> None:
    assert sorted(name for name in vars(service) if name.islower() and not name.startswith("_")) == {}
"""
BEFORE = LIMIT.format('["add", "listed", "select"]')
AFTER = LIMIT.format('["add", "count", "listed", "select"]')
CHANGED = {"path": OLD, "name": "test_what_the_service_offers", "reason": "There is one more function."}
ASK = use(
    call("request_scope_change", path=OLD, reason="It lists the functions of the service, and there is one more.")
)


@pytest.fixture
def stand(tmp_path: Path) -> driving.Stand:
    """A feature that breaks a test of the repository, which is in no plan, and an implementer who asks for it."""
    made = driving.stand(tmp_path, {**scenario.FILES, OLD: BEFORE})
    made.script.steps = driving.without_migration()

    def repair(turn: Any) -> Any:
        if f"{OLD}: approve" in str(turn.messages):
            return [
                use(call("read_file", path=OLD)),
                use(call("write_file", path=OLD, text=AFTER)),
                submit(summary="The test lists the new function too."),
                submit(summary="The test lists the new function too.", altered=[CHANGED]),
            ][min(turn.ordinal, 3)]
        return submit(summary="I may not change it.") if f"{OLD}: reject" in str(turn.messages) else ASK

    made.script.steps["repair"] = [repair] * 5
    return made


def test_an_old_test_that_the_feature_breaks_is_changed_once_a_person_allows_it(stand: driving.Stand) -> None:
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason
    [packet] = stand.person.packets("scope")
    assert packet.bound == {"path": OLD, "act": "write", "layer": "repair"}
    assert "there is one more" in packet.text
    assert stand.on_branch(OLD) == AFTER
    refused = [one["reason"] for one in stand.events("hand-in refused") if one["task"] == "repair"]
    assert ["give its reason in 'altered'" in one for one in refused] == [True]
    assert ("There is one more function.", OLD) in [(one["reason"], one["path"]) for one in result.summary["altered"]]


def test_without_leave_it_stays_and_the_run_is_unverified(stand: driving.Stand) -> None:
    stand.person.decisions["scope"] = [{"verdict": "reject", "reason": "Leave it."}]
    result = stand.kickoff()
    assert isinstance(result, Unverified)
    assert result.reason == "tests: red - 1 tests fail that did not fail before"
    assert stand.on_branch(OLD) == BEFORE
