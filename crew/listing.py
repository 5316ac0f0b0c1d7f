"""The list of runs, read without the library that writes the journal: it takes longer to load than all of this."""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.crew import settings
from backend_crew.crew.model import Status

DISCARDED = "discarded"


@dataclass(frozen=True)
class Listed:
    """A run in the list; `created` is a time in UTC as the journal has it."""

    run: str
    status: str
    created: str
    repo: str


def runs() -> Sequence[Listed]:
    """Every run, newest first. Raises JournalError where the journal cannot be read."""
    found = None if settings.get("BACKEND_CREW_JOURNAL_URL") else _in_file(settings.state_home() / "journal.db")
    if found is not None:
        return found
    from backend_crew.crew import commands  # says what is wrong with it, and knows other databases

    with commands.opened() as journal:
        return [Listed(one.id, word(one.status, one.reason), one.created, one.repo) for one in journal.runs()]


def word(status: str, reason: str) -> str:
    """How a run stands, in a list: one that a person discarded is recorded as rejected, with that as its reason."""
    return DISCARDED if status == Status.REJECTED and reason == DISCARDED else str(Status(status).value)


def _in_file(path: Path) -> list[Listed] | None:
    if not path.is_file():
        return None
    with (
        contextlib.suppress(sqlite3.Error, ValueError),
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
    ):
        rows = connection.execute("SELECT id, status, reason, created, repo FROM runs ORDER BY created DESC, id")
        return [Listed(run, word(status, reason), created, repo) for run, status, reason, created, repo in rows]
    return None
