"""What an agent is told: what it needs for its task, once, within a bound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opened
import pytest
import scenario

from backend_crew.crew import prompts
from backend_crew.crew.session import Session
from backend_crew.tools import git

COLUMN = "archived: Boolean default false"
OPTIONS = [{"title": "Flag or table", "options": ["flag", "a table of states"], "choice": "flag", "trade_off": "Simple."}]  # fmt: skip
API = {**scenario.DESIGN["api"], "kind": "openapi", "document": "openapi: 3.1.0\npaths: {}\n"}
DESIGN = {**scenario.DESIGN, "decisions": OPTIONS, "api": API}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with opened.implementing(tmp_path) as session:
        session.journal.record(session.id, "design", "Design", DESIGN, None)
        yield session


def told(session: Session, task: str) -> str:
    """The context of a task."""
    return prompts.context(session, session.spec.task(task))


def build(session: Session, **files: str) -> None:
    """The data access layer, handed in; a file named a__b is a/b."""
    for name, text in files.items():
        path = session.clone.tree / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit = git.commit(session.clone, "The data access")
    session.journal.record(session.id, "implement_data_access", "ChangeSet", {"summary": "Built it."}, commit)


def lines(count: int, word: str) -> str:
    return "".join(f"{word} = {number}\n" for number in range(count))


def test_who_builds_is_told_what_was_chosen_and_not_what_was_not(session: Session) -> None:
    text = told(session, "implement_data_access")
    assert "Flag or table: flag. Simple." in text
    assert "a table of states" not in text
    assert "app/models.py (modify): the column" in text
    assert "AC1: listed() filters" in text


def test_the_plan_of_a_layer_gives_way_to_what_was_built(session: Session) -> None:
    plan = ["notes.archived, with a server default.", COLUMN, "Rollback: Drop the column."]
    before = [told(session, task) for task in ("implement_data_access", "implement_business_logic")]
    assert [part for text in before for part in plan if part not in text] == []
    build(session)
    after = told(session, "implement_business_logic")
    assert [part for part in plan if part in after] == []
    assert "Built it." in after and "archive() sets the flag." in after
    assert COLUMN in told(session, "implement_data_access")  # sent back, it needs its plan again


def test_the_tester_has_the_whole_promise_and_the_contract(session: Session) -> None:
    build(session, app__models=scenario.MODELS.replace("text:", "words:"))
    text = told(session, "test")
    assert "archive() sets the flag." in text and "openapi: 3.1.0" in text
    assert "+    words:" in text


def test_the_contract_goes_to_the_presentation_alone_of_the_layers(session: Session) -> None:
    having = [task for task in ("data_access", "business_logic", "presentation", "cross_cutting")
              if "openapi: 3.1.0" in told(session, f"implement_{task}")]  # fmt: skip
    assert having == ["presentation"]


def test_a_diff_is_shown_whole_or_its_new_file_is_only_named(session: Session) -> None:
    build(session, app__small=lines(5, "SMALL"), app__long=lines(4_000, "LONG"), app__service=lines(4_000, "BIG"))
    text = told(session, "review_security")
    assert "+SMALL = 4" in text
    assert "app/long.py: a long new file, not shown here; read it" in text and "+LONG" not in text
    assert "+BIG = 1" in text and "the diff is cut here" in text  # what changed in a known file is in no file
    assert len(text) < prompts.CHANGE_LIMIT + 4_000


def test_small_diffs_leave_their_room_to_others(session: Session) -> None:
    build(session, app__small=lines(5, "SMALL"), app__half=lines(900, "HALF"))
    text = told(session, "review_security")
    assert len(lines(900, "+HALF")) > prompts.CHANGE_LIMIT / 2
    assert "+HALF = 899" in text


def test_the_guard_sees_the_diffs_of_the_data_access_and_the_names_of_all(session: Session) -> None:
    build(session, app__models=lines(3, "MODEL"), app__service=lines(3, "SERVICE"))
    text = told(session, "review_migrations")
    assert "+MODEL = 2" in text and "+SERVICE" not in text
    assert "app/service.py modified" in text


def test_what_has_to_be_handed_in_again_is_told_whole_and_not_drawn(session: Session) -> None:
    from backend_crew.crew import approvers, gates, packets

    packet = packets.build(session, "design")
    row = session.journal.open_gate(session.id, "design", packet.as_json(), packet.digest)
    ruling = approvers.Ruling(gates.CHANGES, reason="An index, please.", to_stage="design", digest=row.digest)
    approvers.decide(session.journal, session.id, row, ruling, approvers.By("library", "a person"))
    text = told(session, "design")
    assert "An index, please." in text and "a table of states" in text and "openapi: 3.1.0" in text
    assert "mermaid" not in text


def test_tests_that_were_broken_before_the_change_are_told_to_who_builds(session: Session) -> None:
    assert "the tests before the change" not in told(session, "implement_data_access")
    broken = {"status": "failed", "reason": "pytest could not load conftest.py", "messages": {}, "output_tail": "E   X"}
    session.journal.record(session.id, "baseline", "Baseline", broken, None)
    text = told(session, "implement_data_access")
    assert "failed: pytest could not load conftest.py\nE   X" in text
    red = {**broken, "reason": "12 of 20 tests failed", "messages": {f"t.py::t{n:02}": "X" for n in range(12)}}
    session.journal.record(session.id, "baseline", "Baseline", red, None)
    assert "- t.py::t09\n… and 2 more" in told(session, "implement_data_access")


def test_a_layer_that_is_sent_back_sees_what_it_wrote(session: Session) -> None:
    from backend_crew.crew import approvers, gates

    build(session, app__models=scenario.MODELS.replace("text:", "words:"))
    assert "+    words:" not in told(session, "implement_data_access")
    packet = gates.Packet(session.id, "migrations", "?", "# Migrations\n", {})
    row = session.journal.open_gate(session.id, "migrations", packet.as_json(), packet.digest)
    ruling = approvers.Ruling(gates.CHANGES, "An index, please.", "implementation", row.digest)
    approvers.decide(session.journal, session.id, row, ruling, approvers.By("library", "a person"))
    text = told(session, "implement_data_access")
    assert "your earlier files are in the tree" in text and "+    words:" in text and "An index, please." in text


def test_answered_questions_are_told_once(session: Session) -> None:
    session.journal.record(session.id, "ask", "Questions", {**scenario.QUESTIONS, "facts": {}}, None)
    assert "Why it matters" in told(session, "specify")
    given = {"items": [{"id": "Q1", "answer": "No", "source": "option"}], "facts": {"questions": {"Q1": "Kept?"}}}
    session.journal.record(session.id, "answer", "Answers", given, None)
    text = told(session, "specify")
    assert "Why it matters" not in text and "Q1 (data): Yes; No" in text and "Q1 (Kept?): No" in text


KNOWN = 'op.create_unique_constraint("uq_users", "users", ["email"])'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) UNIQUE constraint failed: users.email",
            "sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) UNIQUE constraint failed: users.email",
        ),
        (
            'sqlalchemy.exc.DataError: (psycopg.errors.DataError) invalid input syntax for type integer: "hunter2"',
            'sqlalchemy.exc.DataError: (psycopg.errors.DataError) invalid input syntax for type integer: "…"',
        ),
        ("sqlite3.OperationalError: no such column: hunter2", "sqlite3.OperationalError: no such column: …"),
        ("ValueError: ada owes 12", "ValueError"),
        ("app.errors.BadRowError: ada@example.com", "app.errors.BadRowError"),
        ("sqlalchemy.exc.InternalError: (psycopg.errors.RaiseException) ada", "sqlalchemy.exc.InternalError"),
        ("NameError: name 'users' is not defined", "NameError: name 'users' is not defined"),
        ("Traceback\nKeyError: 'ada'\nsqlite3.IntegrityError: ada", "sqlite3.IntegrityError: …"),
        ("ada owes 12", "no error of a known form"),
    ],
)
def test_of_an_error_on_real_rows_a_model_sees_the_kind_and_no_value(text: str, said: str) -> None:
    assert prompts.raised(text, KNOWN) == said


def test_the_guard_is_told_how_a_step_failed_on_real_rows_and_not_with_which(session: Session) -> None:
    raised = "sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) NOT NULL constraint failed: notes.archived"
    step = {"name": "up", "ok": False, "seconds": 0.1, "tables": {}, "detail": f"Traceback of ada\n{raised}"}
    facts: dict[str, Any] = {
        "status": "failed",
        "reason": f"the step 'up' fails: {raised}",
        "data": "copy of the database",
    }
    facts |= {"findings": [{"severity": "error", "text": "the step 'down' fails: ada owes 12"}], "steps": [step]}
    facts |= {"files": [{"path": "m.py", "text": scenario.SECOND}], "sql_up": None, "sql_down": None}
    facts |= {"from_revision": "0001", "to_revision": "0002"}
    session.journal.record(session.id, "rehearse", "Rehearsal", facts, None)
    text = told(session, "review_migrations")
    assert text.count("NOT NULL constraint failed: notes.archived") == 2 and "ada" not in text
    assert "the step 'down' fails: no error of a known form" in text
