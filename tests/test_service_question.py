"""Several backend services in one repository: the feature's words tell which one is meant, or a person is asked."""

from pathlib import Path

import driving
import pytest
import scenario
from scenario import submit

from backend_crew.crew.embed import Waiting

pytestmark = pytest.mark.slow
PYPROJECT = '[project]\nname = "{name}"\nversion = "1"\ndependencies = ["fastapi>=0.115"]\n'
MAIN = 'from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/{name}")\ndef {name}() -> list[int]:\n    return []\n'
TWO = {
    **scenario.FILES,
    **{f"services/{name}/pyproject.toml": PYPROJECT.format(name=name) for name in ("billing", "shipping")},
    **{f"services/{name}/main.py": MAIN.format(name=name) for name in ("billing", "shipping")},
}
WHICH = {
    **scenario.QUESTIONS["items"][0],
    "id": "Q5",
    "question": "Which service does it belong in?",
    "options": ["services/billing", "services/shipping"],
    "recommended": "services/billing",
}


ROUTES = {"path": "services/billing/main.py", "line": 3, "quote": "app = FastAPI()"}
FINDINGS = [
    {"topic": "api", "statement": "FastAPI in two services", "evidence": [ROUTES]} if one["topic"] == "api" else one
    for one in scenario.ANALYSIS["findings"]
]


def asked(folder: Path, feature: str) -> list[str]:
    """Why the questions were sent back; the second hand-in asks which service is meant."""
    stand = driving.stand(folder, TWO)
    more = {**scenario.QUESTIONS, "items": [*scenario.QUESTIONS["items"], WHICH]}
    stand.script.steps["analyse"] = [submit(**{**scenario.ANALYSIS, "findings": FINDINGS})]
    stand.script.steps["ask"] = [submit(**scenario.QUESTIONS), submit(**more)]
    stand.person.decisions["answers"] = [None]
    assert isinstance(stand.kickoff(feature=feature), Waiting)
    return [str(one["reason"]) for one in stand.events("hand-in refused")]


def test_a_person_is_asked_which_service_is_meant(tmp_path: Path) -> None:
    (refused,) = asked(tmp_path, "Archive things\n\nThings can be archived. Business rule: archiving twice is fine.")
    assert "services/billing, services/shipping" in refused
    assert "ask with these folders as options" in refused


def test_nobody_is_asked_where_the_words_name_it(tmp_path: Path) -> None:
    assert asked(tmp_path, "Archive billing records\n\nBusiness rule: archiving twice is fine.") == []
