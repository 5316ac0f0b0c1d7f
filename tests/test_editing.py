"""Editing a design: a person's version passes the same checks, is recorded as theirs, and approves nothing."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import scenario
from records import open_gate, ruling

from backend_crew.crew import editing, runner
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal
from backend_crew.crew.settings import Options


@dataclass
class Stand:
    """A run over a real repository, recorded up to its design."""

    journal: Journal
    run: str

    def record(self, task: str, artifact: str, payload: dict[str, Any]) -> str:
        """What an agent handed in; returns its digest."""
        return self.journal.record(self.run, task, artifact, {**payload, "facts": {}}, None).digest

    def edited(self, **changed: Any) -> str:
        """The design's text with these fields changed."""
        return json.dumps({**json.loads(editing.text_of(self.journal, self.run)), **changed})

    def refusal(self, text: str) -> str:
        """Why an edited text is not taken; nothing is recorded then."""
        before = self.journal.outputs(self.run, "design")
        with pytest.raises(UsageError) as caught:
            editing.apply(self.journal, self.run, text)
        assert self.journal.outputs(self.run, "design") == before
        return str(caught.value)


@pytest.fixture(scope="module")
def designed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with the run in it, and the run's id."""
    folder = tmp_path_factory.mktemp("editing")
    repo = scenario.make_repository(folder / "notes")
    journal = Journal(folder / "home")
    run = runner.start(journal, repo, scenario.FEATURE, options=Options(python=scenario.PYTHON, checks="quick"))
    made = Stand(journal, run.id)
    made.record("analyse", "Analysis", scenario.ANALYSIS)
    made.record("specify", "Requirements", scenario.REQUIREMENTS)
    made.record("design", "Design", scenario.DESIGN)
    journal.close()
    return folder / "home", run.id


@pytest.fixture
def stand(designed: tuple[Path, str], tmp_path: Path) -> Iterator[Stand]:
    home, run = designed
    journal = Journal(Path(shutil.copytree(home, tmp_path / "home")))
    yield Stand(journal, run)
    journal.close()


def test_the_text_is_the_design_and_an_unchanged_text_is_taken(stand: Stand) -> None:
    body = json.loads(editing.text_of(stand.journal, stand.run))
    assert body["overview"] == scenario.DESIGN["overview"]
    assert "facts" not in body
    editing.apply(stand.journal, stand.run, editing.text_of(stand.journal, stand.run))


def test_an_edit_is_a_new_round_and_is_recorded_as_a_persons(stand: Stand) -> None:
    editing.apply(stand.journal, stand.run, stand.edited(overview="A table of archived notes."))
    output = stand.journal.output(stand.run, "design")
    assert output is not None
    assert output.round == 2
    assert output.payload["overview"] == "A table of archived notes."
    assert output.payload["facts"]["edited by"] == "a person"
    assert [one["task"] for one in stand.journal.events(stand.run, "edited")] == ["design"]


def test_an_edit_voids_a_decision_about_the_version_before_it(stand: Stand) -> None:
    output = stand.journal.output(stand.run, "design")
    assert output is not None
    row = open_gate(stand.journal, "design", run=stand.run, bound={"design": output.digest})
    stand.journal.decide(ruling(row, run=stand.run))
    editing.apply(stand.journal, stand.run, stand.edited(overview="Another."))
    edited = stand.journal.output(stand.run, "design")
    assert edited is not None
    assert edited.digest != output.digest


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"files": []}, "files"),
        ({"overview": ""}, "overview"),
        ({"approved": True}, "approved"),
        ({"coverage": []}, "AC1"),
        ({"files": [{"path": "../outside.py", "action": "create", "layer": "tests", "purpose": "x"}]}, "../outside.py"),
        ({"files": [{"path": ".github/workflows/ci.yml", "action": "create", "layer": "tests", "purpose": "x"}]}, ".github"),
        ({"files": [{"path": "app/none.py", "action": "modify", "layer": "data_access", "purpose": "x"}]}, "app/none.py"),
    ],
)  # fmt: skip
def test_an_edit_passes_the_checks_of_an_agents_design(stand: Stand, changed: dict[str, Any], says: str) -> None:
    assert says in stand.refusal(stand.edited(**changed))


@pytest.mark.parametrize("text", ["", "no json", "[]", "null", '{"overview": 1}', '{"a": ', "\x00"])
def test_what_is_no_design_is_refused(stand: Stand, text: str) -> None:
    assert "the edited design was not taken" in stand.refusal(text)


def test_without_a_design_there_is_nothing_to_edit(stand: Stand) -> None:
    stand.journal.invalidate(stand.run, ("design",))
    with pytest.raises(UsageError, match="has no design to edit yet"):
        editing.text_of(stand.journal, stand.run)


def test_after_the_gate_the_design_stays(stand: Stand) -> None:
    text = stand.edited(overview="Too late.")
    stand.record("approve_design", "Decision", {"verdict": "approve"})
    assert "was approved already; request changes at the next gate" in stand.refusal(text)
