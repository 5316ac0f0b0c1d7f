"""An agent that says at one stage that all is well without having done the work: no such run ends as finished."""

from collections.abc import Callable
from pathlib import Path

import driving
import pytest
import scenario
from scenario import Step, call, submit, use

from backend_crew.crew.embed import Finished

pytestmark = pytest.mark.slow
Script = dict[str, list[Step]]
TRUE = "def test_an_archived_note_is_not_listed() -> None:\n    assert True\n"
IDLE = """\
from app import service


def test_an_archived_note_is_not_listed() -> None:
    assert service.archive is not None


def test_an_unknown_note_is_an_error() -> None:
    assert service.listed is not None
"""
FAILS = scenario.SECOND.replace(", server_default=sa.false()", "")
WRONG = scenario.ARCHIVE.replace("note.archived = True", "note.archived = False")
DONE = "Everything is done, and all tests pass."


def report(*tests: str) -> dict[str, object]:
    """A report that names these tests for every criterion."""
    return {"overview": DONE, "shown": [{"criterion": one, "tests": list(tests)} for one in ("AC1", "AC2")]}


def analysis_without_evidence(steps: Script) -> None:
    found = [{**one, "evidence": [{"path": "app/api.py", "line": 1, "quote": "app = FastAPI()"}]} for one in
             scenario.ANALYSIS["findings"] if "evidence" in one]  # fmt: skip
    steps["analyse"] = [submit(**{**scenario.ANALYSIS, "findings": found})]


def nothing_asked(steps: Script) -> None:
    steps["ask"] = [submit(items=[], settled=[])]


def no_criteria(steps: Script) -> None:
    steps["specify"] = [submit(overview=DONE, criteria=[])]


def a_design_without_files(steps: Script) -> None:
    steps["design"] = [submit(**{**scenario.DESIGN, "files": []})]


def no_data_access(steps: Script) -> None:
    steps["implement_data_access"] = [submit(summary=DONE)]


def no_business_logic(steps: Script) -> None:
    steps["implement_business_logic"] = [submit(summary=DONE)]


def logic_that_does_not_work(steps: Script) -> None:
    text = scenario.SERVICE.replace("select(Note)", "select(Note).where(~Note.archived)") + WRONG
    steps["implement_business_logic"] = [
        use(call("read_file", path="app/service.py")),
        use(call("write_file", path="app/service.py", text=text)),
        scenario.BUSINESS_LOGIC[-1],
    ]


def a_migration_that_fails(steps: Script) -> None:
    steps["implement_data_access"] = [
        scenario.DATA_ACCESS[0],
        use(
            call(
                "edit_file",
                path="app/models.py",
                old="    text: Mapped[str]",
                new=scenario.COLUMN + "    text: Mapped[str]",
            ),
            call("write_file", path=scenario.MIGRATION, text=FAILS),
        ),
        submit(summary=DONE),
    ]
    steps["review_migrations"] = [submit(**{**scenario.REVIEW, "reason": "The rehearsal passed. " + DONE})]


def no_tests(steps: Script) -> None:
    steps["test"] = [submit(**report("tests/test_archive.py::test_an_archived_note_is_not_listed"))]


def unrelated_tests(steps: Script) -> None:
    steps["test"] = [submit(**report("tests/test_notes.py::test_added_notes_are_listed"))]


def only_true_tests(steps: Script) -> None:
    steps["test"] = [
        use(call("write_file", path="tests/test_archive.py", text=TRUE)),
        submit(**report("tests/test_archive.py::test_an_archived_note_is_not_listed")),
    ]


def idle_tests(steps: Script) -> None:
    names = ("test_an_archived_note_is_not_listed", "test_an_unknown_note_is_an_error")
    steps["test"] = [
        use(call("write_file", path="tests/test_archive.py", text=IDLE)),
        submit(**report(*(f"tests/test_archive.py::{one}" for one in names))),
    ]


def a_repair_that_repairs_nothing(steps: Script) -> None:
    logic_that_does_not_work(steps)
    steps["repair"] = [submit(summary=DONE)]


CLAIMS: tuple[Callable[[Script], None], ...] = (
    analysis_without_evidence, nothing_asked, no_criteria, a_design_without_files, no_data_access, no_business_logic,
    logic_that_does_not_work, a_migration_that_fails, no_tests, unrelated_tests, only_true_tests,
    idle_tests, a_repair_that_repairs_nothing,
)  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda one: one.__name__)
def test_a_run_in_which_success_is_only_claimed_is_not_finished(
    tmp_path: Path, claim: Callable[[Script], None]
) -> None:
    stand = driving.stand(tmp_path)
    before = stand.fingerprint()
    claim(stand.script.steps)
    # Only tests that call nothing need trials to be found out.
    result = stand.kickoff(checks="full" if claim is idle_tests else "quick")
    assert not isinstance(result, Finished)
    assert result.exit_code != 0
    assert stand.fingerprint() == before
    assert DONE not in result.reason


def test_the_control_does_the_work_and_is_finished(tmp_path: Path) -> None:
    result = driving.stand(tmp_path).kickoff()
    assert isinstance(result, Finished), result.reason
