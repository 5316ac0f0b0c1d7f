"""What a person sees while a run works: the live view on a terminal, as its screen holds it, and lines elsewhere."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from records import make_journal
from rich.console import Console

from backend_crew.crew import reporting, roles
from backend_crew.crew.journal import Journal
from backend_crew.crew.progress import Progress

RUN = "r-1"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = make_journal(tmp_path)
    yield opened
    opened.close()


def rows(file: io.StringIO) -> list[str]:
    """The screen of a terminal that was sent this, without empty rows."""
    screen = pyte.Screen(100, 40)
    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    return [row.rstrip() for row in screen.display if row.strip()]


def drawn(progress: Progress, file: io.StringIO) -> list[str]:
    """The screen once the view is drawn: it is drawn four times a second, and here at once."""
    assert progress._live is not None
    progress._live.refresh()
    return rows(file)


def watched(journal: Journal, *, terminal: bool) -> tuple[Progress, io.StringIO]:
    """A run in its second stage that has spent something, and where its progress is written."""
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=terminal, highlight=False)
    progress = Progress(console, journal, roles.load())
    journal.listener = progress.event
    return progress, file


def work(journal: Journal) -> None:
    """One task is done, the next one is at a tool."""
    journal.event(RUN, "task started", task="analyse", stage="analysis", role="analyst")
    journal.record(RUN, "analyse", "Analysis", {}, None)
    journal.event(RUN, "recorded", task="analyse", artifact="Analysis")
    journal.event(RUN, "task started", task="ask", stage="clarification", role="analyst")
    journal.event(RUN, "tool", tool="read_file", path="app/models.py")
    used = {"prompt_tokens": 1_200, "completion_tokens": 34, "seconds": 1.0}
    journal.spend(RUN, stage="analysis", task="analyse", model="m", cost=0.25, **used)


def test_the_live_view_ticks_stages_and_says_who_does_what_and_what_it_cost(journal: Journal) -> None:
    progress, file = watched(journal, terminal=True)
    with progress.watching(RUN):
        work(journal)
        live = drawn(progress, file)
    assert live[0].split() == ["✓", "1/8", "Analysis", "1/1"]
    assert live[1].split() == ["▸", "2/8", "Clarification", "0/3", "ask"]
    marks = [row.split()[:2] for row in live[2:8]]
    assert marks == [["·", f"{number}/8"] for number in range(3, 9)]
    assert live[8].startswith("analyst · read_file app/models.py · 1 calls · 1,234 tokens · $0.25 · 0:")
    assert len(live) == 9
    assert rows(file) == [], "nothing of it is left when the pass is over"


def test_the_view_makes_room_for_a_gate_and_comes_back_below_it(journal: Journal) -> None:
    progress, file = watched(journal, terminal=True)
    with progress.watching(RUN):
        work(journal)
        with progress.paused():
            assert rows(file) == []
            file.write("gate: answers\n> ")
            journal.event(RUN, "tool", tool="search", pattern="x")
            assert rows(file) == ["gate: answers", ">"], "it draws nothing over what the person reads"
            file.write("1\n")
        after = drawn(progress, file)
    assert after[:2] == ["gate: answers", "> 1"]
    assert after[2].split()[:2] == ["✓", "1/8"]


def test_an_unknown_price_is_said_to_be_unknown_and_a_new_task_forgets_the_tool(journal: Journal) -> None:
    progress, file = watched(journal, terminal=True)
    used = {"prompt_tokens": 1, "completion_tokens": 1, "seconds": 1.0}
    with progress.watching(RUN):
        work(journal)
        journal.spend(RUN, stage="analysis", task="analyse", model="m", cost=None, **used)
        journal.event(RUN, "task started", task="specify", stage="clarification", role="analyst")
        live = drawn(progress, file)
    assert live[-1].startswith("analyst · 2 calls · 1,236 tokens · cost unknown · 0:")


def test_off_a_terminal_it_is_one_plain_line_an_event(journal: Journal) -> None:
    progress, file = watched(journal, terminal=False)
    with progress.watching(RUN):
        work(journal)
        journal.event(RUN, "unusable call", task="ask", tool="submit", reason="They are not valid JSON")
        tests = {"counts": {"passed": 3, "failed": 1}, "seconds": 2.5, "status": "failed"}
        journal.event(RUN, "tests", reason="1 of 4 tests failed", **tests)
        journal.event(
            RUN, "hand-in refused", task="ask", attempt=1, reason="not accepted:\n- area 'data': ask about it"
        )
        with progress.paused():
            pass
    assert file.getvalue().splitlines() == [
        "analyst: analyse",
        "done: analyse (Analysis)",
        "analyst: ask",
        "unusable call: submit - They are not valid JSON",
        "tests: failed - 1 of 4 tests failed",
        "sent back (1): ask - not accepted: - area 'data': ask about it",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_became_of_the_migrations_stays_on_the_screen(journal: Journal, terminal: bool) -> None:
    progress, file = watched(journal, terminal=terminal)
    applied = {"status": "applied", "from": "0001", "to": "0002", "backup": "/backups/notes.sqlite3"}
    with progress.watching(RUN):
        journal.event(RUN, "outcome", task="apply", words=reporting.outcome_words("apply", applied))
    assert "applied: 0001 → 0002, backup: /backups/notes.sqlite3" in rows(file)


def test_only_what_a_person_has_to_know_at_once_is_an_outcome() -> None:
    words = reporting.outcome_words
    waits = {
        "status": "approved, not applied",
        "reason": "no database was named",
        "command": "URL=… alembic upgrade head",
    }
    assert words("apply", waits) == (
        "migrations approved, not applied - no database was named; by hand: URL=… alembic upgrade head"
    )
    assert words("apply", {"status": "declined", "command": ""}).endswith(f"by hand: {reporting.NO_COMMAND}")
    failed = {"status": "failed", "reason": "pytest could not load conftest.py"}
    assert words("baseline", failed) == "before the change: tests failed - pytest could not load conftest.py"
    silent = [("baseline", {"status": "passed"}), ("apply", {"status": "no migrations"}), ("verify", failed)]
    assert [words(step, payload) for step, payload in silent] == ["", "", ""]
