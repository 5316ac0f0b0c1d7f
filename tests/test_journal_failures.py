"""When the disk or the database says no: one clear sentence, and nothing is half-written."""

import contextlib
import io
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scenario
import sqlalchemy as sa
from records import make_journal, open_gate, ruling

from backend_crew.crew import journal as journals
from backend_crew.crew import main as doors
from backend_crew.crew.errors import JournalError
from backend_crew.crew.journal import Journal
from backend_crew.crew.model import Status


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = make_journal(tmp_path)
    yield opened
    opened.close()


def test_a_locked_journal_is_said_to_be_locked(journal: Journal, tmp_path: Path) -> None:
    journal.close()  # the next connection takes up the short patience below

    @sa.event.listens_for(journal._engine, "connect")
    def impatient(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="cannot be written: database is locked"):
            journal.record("r-1", "design", "Note", {}, None)
        database.execute("ROLLBACK")
    assert journal.record("r-1", "design", "Note", {}, None).round == 1


def full(journal: Journal) -> None:
    """Let the database not grow by another page, as on a full disk."""
    journal.close()

    @sa.event.listens_for(journal._engine, "connect")
    def small(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite raises it to the pages that are there already


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_written(journal: Journal, tmp_path: Path) -> None:
    journal.decide(replace(ruling(open_gate(journal, "design")), reason="because"))
    journal.record("r-1", "design", "Note", {"n": 1}, None)
    row = open_gate(journal, "migrations", "the last one")
    full(journal)
    big = {"text": "x" * 200_000}
    for write in (
        lambda: journal.record("r-1", "design", "Note", big, None),
        lambda: journal.event("r-1", "tool", **big),
        lambda: journal.decide(replace(ruling(row), payload=big)),
        lambda: open_gate(journal, "design", big["text"]),
    ):
        with pytest.raises(JournalError, match="cannot be written: database or disk is full"):
            write()
    # each of these began with an update that would have taken the old row out of force
    current, gate = journal.output("r-1", "design"), journal.gate("r-1", "migrations")
    assert current is not None
    assert current.payload == {"n": 1}
    assert gate is not None
    assert gate.open
    assert journal.events("r-1") == ()
    assert not (tmp_path / "runs" / "r-1" / "events.jsonl").exists()
    assert len(journal.decisions("r-1")) == 1
    journal.verify("r-1")


def test_a_full_disk_below_the_event_log_is_a_clear_error(journal: Journal) -> None:
    (journal.folder("r-1") / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(JournalError, match=r"events\.jsonl cannot be written: No space left on device"):
        journal.event("r-1", "tool", tool="search")
    assert len(journal.events("r-1")) == 1  # the database has it; the log beside it is only a copy


def test_a_home_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"cannot be opened: .*"):
        Journal(tmp_path / "file")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file" / "below")


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("this is no database at all" * 100)
    with pytest.raises(JournalError, match="cannot be opened: file is not a database"):
        Journal(tmp_path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql+pymysql://u:sesame@localhost/x", r"needs a driver: pip install pymysql$"),
        ("postgresql+psycopg://u:sesame@localhost:1/x", r"cannot be opened: connection failed"),
        ("nosuch://localhost/x", "cannot be opened: .*nosuch"),
        ("sqlite://localhost:port/x", "cannot be opened: "),
        ("this is no url", "cannot be opened: Could not parse"),
    ],
)
def test_a_journal_url_that_cannot_be_used_is_a_clear_error(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(JournalError, match=says) as caught:
        Journal(tmp_path, url)
    assert "sesame" not in str(caught.value)


def test_half_a_character_is_kept_or_refused_but_never_a_traceback(journal: Journal) -> None:
    journal.event("r-1", "tool", text="a\ud800b")
    assert journal.events("r-1")[0]["text"] == "a\ud800b"
    with pytest.raises(JournalError, match="cannot be written"):
        journal.set_status("r-1", Status.FAILED, "a\ud800b")


@pytest.mark.parametrize(
    ("pragma", "held", "words"),
    [
        ("busy_timeout=50", True, "database is locked"),
        ("max_page_count=1", False, "database or disk is full"),  # SQLite raises it to the pages that are there
    ],
)
def test_a_history_that_cannot_be_written_is_exit_1_and_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pragma: str,
    held: bool,
    words: str,
) -> None:
    repo = scenario.make_repository(tmp_path / "notes")
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    Journal(tmp_path / "home").close()
    tune = journals._tune_sqlite

    def tuned(engine: sa.Engine) -> None:
        tune(engine)
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}"))

    with contextlib.closing(sqlite3.connect(tmp_path / "home/journal.db", isolation_level=None)) as other:
        if held:
            other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patch:
            patch.setattr(journals, "_tune_sqlite", tuned)
            with pytest.raises(SystemExit) as left:
                doors.main(["run", "Archive notes " * 3_000, "--repo", str(repo), "--python", sys.executable])
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (1, ""), err
    assert f"cannot be written: {words}" in err
    assert "Traceback" not in err
    with contextlib.closing(Journal(tmp_path / "home")) as journal:
        assert journal.runs() == ()
    assert scenario.git(repo, "branch", "--format=%(refname:short)").split() == ["main"]
