"""What the gate of migrations shows: how the tests stand, what it asks, and what became of a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opened
import pytest
import scenario

from backend_crew.crew import approvers, gates, packets, steps
from backend_crew.crew.gates import Packet
from backend_crew.crew.session import Session
from backend_crew.tools import git

REVIEW = {
    "impact": "A column.",
    "locks": "None to speak of.",
    "risks": [],
    "rollback": "Drop the column.",
    "recommendation": "run",
    "reason": "It only adds.",
    "facts": {},
}
BASELINE = {"status": "failed", "reason": "pytest could not load conftest.py", "counts": {"passed": 0}, "check": None}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv(scenario.ENV, "")
    with opened.implementing(tmp_path) as session:
        yield session


def reviewed(session: Session, model: str, **rehearsed: Any) -> Packet:
    """The gate after a layer that wrote this model, a rehearsal that was not possible, and a review."""
    (session.clone.tree / "app/models.py").write_text(model)
    commit = git.commit(session.clone, "The data access")
    journal, run = session.journal, session.id
    journal.record(run, "implement_data_access", "ChangeSet", {"summary": "Built it.", "facts": {}}, commit)
    facts: dict[str, Any] = {
        name: [] for name in ("files", "pending", "executed", "steps", "findings", "start", "goal")
    }
    facts |= {"status": "not rehearsed", "reason": "no sandbox", "data": "none", "sql_up": None, "sql_down": None}
    facts |= {"target": {"kind": "none", "reason": "no database was named"}, "apply_command": "alembic upgrade head"}
    facts |= rehearsed
    journal.record(run, "rehearse", "Rehearsal", facts, None)
    journal.record(run, "review_migrations", "MigrationReview", REVIEW, None)
    return packets.build(session, "migrations")


def test_what_this_run_will_not_apply_it_does_not_ask_to_run(session: Session) -> None:
    packet = reviewed(session, scenario.MODELS)
    assert packet.question.startswith("Do you approve these migrations?") and "does not apply them" in packet.question


def test_it_says_that_the_tests_have_not_run_and_how_they_stood(session: Session) -> None:
    text = reviewed(session, scenario.MODELS).text
    assert "has not run on this change yet" in text and "Before the change: not run" in text
    session.journal.record(session.id, "baseline", "Baseline", BASELINE, None)
    text = reviewed(session, scenario.MODELS).text
    assert "Before the change: FAILED; pytest could not load conftest.py" in text
    assert "cannot tell what the change breaks" in text
    passed = {**BASELINE, "status": "passed", "reason": "3 tests passed", "counts": {"passed": 3}}
    session.journal.record(session.id, "baseline", "Baseline", passed, None)
    text = reviewed(session, scenario.MODELS).text
    assert "Before the change: passed; 3 tests passed" in text and "cannot tell" not in text


def test_the_second_round_shows_the_request_and_what_changed_since(session: Session) -> None:
    first = reviewed(session, scenario.MODELS)
    assert "Changed since" not in first.text
    row = session.journal.open_gate(session.id, "migrations", first.as_json(), first.digest)
    ruling = approvers.Ruling(gates.CHANGES, "An index on archived, please.", "implementation", first.digest)
    approvers.decide(session.journal, session.id, row, ruling, approvers.By("library", "a person"))
    second = reviewed(session, scenario.MODELS + "INDEX = 1\n")
    assert "## Changed since round 1" in second.text
    assert "You asked for: An index on archived, please." in second.text and "+INDEX = 1" in second.text


def _shown(path: str, text: str) -> dict[str, Any]:
    return {"path": path, "sha256": "ab" * 32, "text": text, "gone": False}


def test_what_decides_stands_first_and_other_code_last_as_what_changed_in_it(session: Session) -> None:
    model = scenario.MODELS + "INDEX = 1\n"
    migration = "".join(f"line_{number} = {number}\n" for number in range(600))
    executed = [_shown("app/models.py", model), _shown("app/ops.py", "NEW = 'every line'\n")]
    packet = reviewed(
        session,
        model,
        files=[_shown("m/2.py", migration)],
        executed=executed,
        sql_up="ALTER TABLE a;",
        sql_down="DROP b;",
    )
    text = packet.text
    order = [
        "`m/2.py`: new migration",
        "`app/ops.py`: executed",
        "ALTER TABLE a;",
        "DROP b;",
        "## Impact, risks, rollback",
    ]
    order += [
        "## Rehearsal",
        "## Tests",
        "## The migrations, whole",
        "line_599 = 599",
        "executed when applying",
        "+INDEX = 1",
    ]
    places = [text.index(one) for one in order]
    assert places == sorted(places)
    assert "from sqlalchemy import Boolean" in scenario.MODELS  # control: the file has more lines than changed
    assert "from sqlalchemy import Boolean" not in text and "**app/models.py** (changed" in text
    assert "**app/ops.py** (new" in text and "NEW = 'every line'" in text


def test_a_long_new_file_is_bounded_aloud_and_still_bound_to_its_last_line(session: Session) -> None:
    def gate(last: str) -> Packet:
        text = "".join(f"n = {number}\n" for number in range(packets.EXECUTED_LINES + 50)) + last
        return reviewed(session, scenario.MODELS, executed=[_shown("app/long.py", text)])

    one, other = gate("LAST = 1\n"), gate("LAST = 2\n")
    assert "LAST" not in one.text and "**51 more lines are not shown here.**" in one.text
    assert f"show {git.head(session.clone)}:app/long.py`" in one.text
    assert one.digest != other.digest and one.bound["record"] != other.bound["record"]


def test_django_writes_more_than_its_migrations_show(session: Session) -> None:
    step = {"name": "up", "ok": True, "seconds": 1.0, "detail": "", "tables": {"auth_group": {"rows": 0}}}
    more = {"tool": "django", "steps": [step], "from_revision": "a.0001_x", "to_revision": "a.0002_y", "segments": []}
    sqlite = {"kind": "sqlite", "path": "app.db"}
    assert "Django's post_migrate, which writes" in reviewed(session, scenario.MODELS, target=sqlite, **more).text
    assert "post_migrate" not in reviewed(session, scenario.MODELS, target=sqlite, **{**more, "tool": "alembic"}).text
    bare = {**more, "steps": [{**step, "tables": {"notes": {"rows": 0}}}]}
    assert "post_migrate" not in reviewed(session, scenario.MODELS, target=sqlite, **bare).text


def test_a_command_by_hand_names_the_variable_that_leads_it_to_the_database(session: Session) -> None:
    name = scenario.ENV
    assert session.database_env == name
    assert steps._pointed(session, "alembic upgrade 0002") == f"{name}=… alembic upgrade 0002"
    assert steps._pointed(session, "cd api && alembic upgrade 2") == f"cd api && {name}=… alembic upgrade 2"
    assert steps._pointed(session, "") == ""
