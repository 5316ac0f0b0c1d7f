"""A tiny real repository, a feature for it, and a scripted model that builds it: the ground of the crew's tests."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend_crew.crew.recording import Reply, ToolCall, Turn

FEATURE = (
    "Archive notes\n\nA note can be archived. Archived notes are not listed. Business rule: archiving twice is fine."
)
ENV = "NOTES_DATABASE_URL"

MODELS = """\
from sqlalchemy import Boolean, Integer, String, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    text: Mapped[str] = mapped_column(String(200), nullable=False)
"""
SERVICE = """\
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Note


def add(session: Session, text: str) -> Note:
    note = Note(text=text)
    session.add(note)
    session.flush()
    return note


def listed(session: Session) -> list[Note]:
    return list(session.scalars(select(Note).order_by(Note.id)))
"""
TESTS = """\
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app import service
from app.models import Base


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_added_notes_are_listed(session: Session) -> None:
    service.add(session, "milk")
    assert [note.text for note in service.listed(session)] == ["milk"]
"""
ENV_PY = """\
import os

from alembic import context
from sqlalchemy import create_engine

from app.models import Base

engine = create_engine(os.environ["NOTES_DATABASE_URL"])
if context.is_offline_mode():
    context.configure(url=os.environ["NOTES_DATABASE_URL"], target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
"""
FIRST = '''\
"""Notes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(200), nullable=False))


def downgrade() -> None:
    op.drop_table("notes")
'''
SECOND = '''\
"""Archived notes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("notes", sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("notes", "archived")
'''
MIGRATION = "migrations/versions/0002_archived.py"
FILES = {
    "app/__init__.py": "",
    "app/models.py": MODELS,
    "app/service.py": SERVICE,
    "tests/test_notes.py": TESTS,
    "migrations/env.py": ENV_PY,
    "migrations/script.py.mako": "",
    "migrations/versions/0001_notes.py": FIRST,
    "alembic.ini": "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n",
    "pyproject.toml": '[project]\nname = "notes"\nversion = "1"\ndependencies = ["sqlalchemy>=2", "alembic"]\n\n'
    '[tool.pytest.ini_options]\ntestpaths = ["tests"]\npythonpath = ["."]\n'
    # plugins of the environment in which these tests run too; loading them takes longer than the three tests
    'addopts = "-p no:hypothesispytest -p no:anyio -p no:socket -p no:xdist -p no:platformdirs"\n',
    ".gitignore": "*.db\n__pycache__/\n",
}


def git(folder: Path, *argv: str) -> str:
    """Run git the way a person would, with an identity of its own."""
    env = {"PATH": os.defpath, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *argv], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout


def make_repository(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    """A committed repository with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Notes as they are")
    return folder


def make_database(path: Path, notes: int = 3) -> Path:
    """The service's database at revision 0001, with some notes in it."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE notes (id INTEGER NOT NULL PRIMARY KEY, text VARCHAR(200) NOT NULL);"
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('0001');"
        )
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [(f"note {n}",) for n in range(notes)])
    connection.close()
    return path


def call(name: str, **arguments: Any) -> ToolCall:
    """One tool call of a model."""
    return ToolCall(name, json.dumps(arguments))


def submit(**artifact: Any) -> Reply:
    """A reply that hands something in."""
    return Reply(None, (call("submit", **artifact),), 100, 20)


def use(*calls: ToolCall) -> Reply:
    """A reply that uses tools."""
    return Reply(None, calls, 100, 20)


def _finding(topic: str, statement: str, path: str, line: int, quote: str) -> dict[str, Any]:
    return {"topic": topic, "statement": statement, "evidence": [{"path": path, "line": line, "quote": quote}]}


ANALYSIS: dict[str, Any] = {
    "has_backend": True,
    "overview": "A small notes service with SQLAlchemy models, a service module and Alembic migrations.",
    "findings": [
        _finding("stack", "Python with SQLAlchemy", "pyproject.toml", 4, "sqlalchemy>=2"),
        _finding(
            "architecture", "Functions in a service module", "app/service.py", 7, "def add(session: Session, text: str)"
        ),
        _finding("database", "Alembic migrations", "alembic.ini", 2, "script_location = migrations"),
        {"topic": "api", "statement": "No FastAPI or Flask routes yet", "absent": "fastapi|flask"},
        _finding("conventions", "Models declare their columns typed", "app/models.py", 12, "id: Mapped[int]"),
        _finding("tests", "pytest with an in-memory database", "tests/test_notes.py", 13, 'create_engine("sqlite://")'),
    ],
    "relevant_files": ["app/models.py", "app/service.py"],
}


def _question(number: int, area: str, text: str) -> dict[str, Any]:
    return {
        "id": f"Q{number}",
        "area": area,
        "question": text,
        "why": "It decides the data model.",
        "options": ["Yes", "No"],
        "recommended": "No",
        "reason": "It is simpler.",
    }


QUESTIONS: dict[str, Any] = {
    "items": [
        _question(1, "data", "Shall the time of archiving be kept?"),
        _question(2, "endpoints", "Shall there be an endpoint?"),
        _question(3, "edge cases and errors", "Is an unknown note an error?"),
        _question(4, "integrations, performance, security", "Is an index on archived needed?"),
    ],
    "settled": [{"area": "business rules", "quote": "archiving twice is fine"}],
}
ANSWERS = {"Q1": "No", "Q2": 2, "Q3": "Yes, a KeyError", "Q4": "no"}
REQUIREMENTS: dict[str, Any] = {
    "overview": "Notes can be archived.",
    "criteria": [
        {"id": "AC1", "text": "An archived note is not listed."},
        {"id": "AC2", "text": "Archiving an unknown note raises KeyError."},
    ],
}
DESIGN: dict[str, Any] = {
    "overview": "A flag on notes, a service function, a filter in the list.",
    "presentation": "None.",
    "business_logic": "archive() sets the flag.",
    "data_access": "notes.archived, with a server default.",
    "cross_cutting": "Nothing.",
    "api": {
        "kind": "none",
        "reason": "The service has no HTTP layer.",
        "authentication": "none",
        "error_format": "KeyError",
    },
    "data_model": {
        "entities": [
            {
                "name": "Note",
                "table": "notes",
                "change": "changed",
                "columns": [{"name": "archived", "type": "Boolean", "nullable": False, "default": "false"}],
            }
        ]
    },
    "migration": {
        "needed": True,
        "reason": "A new column.",
        "steps": ["add notes.archived with a server default"],
        "rollback": "Drop the column.",
        "data_impact": "Existing notes are not archived.",
    },
    "files": [
        {"path": "app/models.py", "action": "modify", "layer": "data_access", "purpose": "the column"},
        {
            "path": "migrations/versions/*_archived.py",
            "action": "create",
            "layer": "data_access",
            "purpose": "the migration",
        },
        {"path": "app/service.py", "action": "modify", "layer": "business_logic", "purpose": "archive and filter"},
        {"path": "tests/test_archive.py", "action": "create", "layer": "tests", "purpose": "tests"},
    ],
    "coverage": [{"criterion": "AC1", "by": "listed() filters"}, {"criterion": "AC2", "by": "archive() raises"}],
    "decisions": [
        {
            "title": "Flag or table",
            "options": ["flag", "table"],
            "choice": "flag",
            "trade_off": "No history, but simple.",
        }
    ],
}
COLUMN = "    archived: Mapped[bool] = mapped_column(Boolean, nullable=False, default=False, server_default=false())\n"
ARCHIVE = """\


def archive(session: Session, note_id: int) -> None:
    note = session.get(Note, note_id)
    if note is None:
        raise KeyError(note_id)
    note.archived = True
    session.flush()
"""
NEW_TESTS = """\
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app import service
from app.models import Base


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_an_archived_note_is_not_listed(session: Session) -> None:
    note = service.add(session, "milk")
    service.archive(session, note.id)
    assert service.listed(session) == []


def test_an_unknown_note_is_an_error(session: Session) -> None:
    with pytest.raises(KeyError):
        service.archive(session, 99)
"""
REVIEW: dict[str, Any] = {
    "impact": "One boolean column is added; existing rows get false.",
    "locks": "SQLite locks the file for the duration.",
    "risks": [{"severity": "low", "risk": "None of note.", "mitigation": "A backup is taken."}],
    "rollback": "alembic downgrade 0001 drops the column.",
    "recommendation": "run",
    "reason": "The rehearsal passed.",
}
REPORT: dict[str, Any] = {
    "overview": "Two tests.",
    "shown": [
        {"criterion": "AC1", "tests": ["tests/test_archive.py::test_an_archived_note_is_not_listed"]},
        {"criterion": "AC2", "tests": ["tests/test_archive.py::test_an_unknown_note_is_an_error"]},
    ],
}

Step = Reply | Callable[[Turn], Reply]
DATA_ACCESS: list[Step] = [
    use(call("read_file", path="app/models.py")),
    use(
        call("edit_file", path="app/models.py", old="    text: Mapped[str]", new=COLUMN + "    text: Mapped[str]"),
        call("write_file", path=MIGRATION, text=SECOND),
    ),
    submit(summary="The column and its migration."),
]
BUSINESS_LOGIC: list[Step] = [
    use(call("read_file", path="app/service.py")),
    use(
        call(
            "edit_file",
            path="app/service.py",
            old="select(Note).order_by",
            new="select(Note).where(~Note.archived).order_by",
        ),
    ),
    use(
        call(
            "write_file",
            path="app/service.py",
            text=SERVICE.replace("select(Note)", "select(Note).where(~Note.archived)") + ARCHIVE,
        )
    ),
    submit(
        summary="archive() and the filter.",
        altered=[{"path": "app/service.py", "name": "listed", "reason": "Archived notes are not listed (AC1)."}],
    ),
]


def happy() -> dict[str, list[Step]]:
    """What a good model does, task by task."""
    return {
        "analyse": [use(call("list_files")), submit(**ANALYSIS)],
        "ask": [submit(**QUESTIONS)],
        "specify": [submit(**REQUIREMENTS)],
        "design": [submit(**DESIGN)],
        "implement_data_access": list(DATA_ACCESS),
        "implement_business_logic": list(BUSINESS_LOGIC),
        "review_security": [submit(overview="Nothing to report.")],
        "review_migrations": [submit(**REVIEW)],
        "test": [use(call("write_file", path="tests/test_archive.py", text=NEW_TESTS)), submit(**REPORT)],
        "repair": [submit(summary="The product is as it should be.")],
    }


@dataclass
class Script:
    """A model that follows a script by task; the requests it saw are kept."""

    steps: dict[str, list[Step]] = field(default_factory=happy)
    name: str = "scripted/tests"
    seen: list[Turn] = field(default_factory=list)

    def ask(self, turn: Turn) -> Reply:
        """The next step of the task at hand; the last one again when the script is at its end."""
        self.seen.append(turn)
        steps = self.steps[turn.task]
        step = steps[min(turn.ordinal, len(steps) - 1)]
        return step(turn) if callable(step) else step

    @property
    def tasks(self) -> list[str]:
        """The tasks that asked, in order, each once."""
        return list(dict.fromkeys(turn.task for turn in self.seen))


def approve_all(packet: Any) -> dict[str, Any]:
    """A person who answers and approves everything, but for findings: accepting one needs a reason of its own."""
    if packet.gate == "findings":
        return {"verdict": "reject", "reason": "Not as it is."}
    return {"answers": ANSWERS} if packet.gate == "answers" else {"verdict": "approve"}


PYTHON = sys.executable
