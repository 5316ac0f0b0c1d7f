"""A migration that a person has approved, and no model before it: where attacks on applying begin."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import driving
import scenario

from backend_crew.crew import applying, approvers, packets, runner, steps
from backend_crew.crew.gates import APPROVE, Packet
from backend_crew.crew.journal import Journal
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import git

WRITTEN: Mapping[str, str] = {scenario.MIGRATION: scenario.SECOND}


@dataclass
class Approved:
    """One open run at the moment after gate 6, and the packet that was approved there."""

    stand: driving.Stand
    session: Session
    packet: Packet

    @property
    def tree(self) -> Path:
        """The run's private tree."""
        return self.session.clone.tree

    @property
    def database(self) -> Path:
        """The person's database."""
        return self.stand.database

    def apply(self) -> dict[str, Any]:
        """What applying records."""
        return applying.apply_migrations(self.session)[1]

    def put_back(self) -> None:
        """The tree as it was approved."""
        git.reset(self.session.clone, self.session.head())


@contextmanager
def approved(
    folder: Path,
    written: Mapping[str, str] = WRITTEN,
    *,
    files: Mapping[str, str] = scenario.FILES,
    before_approval: Callable[[driving.Stand], None] | None = None,
) -> Iterator[Approved]:
    """Rehearse these files in a new run over a new repository, show them, approve them."""
    stand = driving.stand(folder, files)
    if before_approval:
        before_approval(stand)
    journal = Journal(stand.home)
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick")
    stand.run = runner.start(journal, stand.repo, scenario.FEATURE, options=options).id
    try:
        with journal.lease(stand.run):
            session = open_session(journal, stand.run, StopFlag())
            for path, text in written.items():
                (session.clone.tree / path).write_text(text)
            commit = git.commit(session.clone, "The migration")
            journal.record(stand.run, "implement_data_access", "ChangeSet", {"facts": {}}, commit)
            journal.record(stand.run, "rehearse", *steps.rehearse(session), None)
            packet = packets.build(session, "migrations")
            row = journal.open_gate(stand.run, "migrations", packet.as_json(), packet.digest)
            by = approvers.By("library", "a person")
            approvers.decide(journal, stand.run, row, approvers.Ruling(APPROVE, digest=row.digest), by)
            yield Approved(stand, session, packet)
    finally:
        journal.close()


def naively(tree: Path, database: Path, scratch: Path, **env: str) -> Path:
    """The weak control: `alembic upgrade head` in the tree, on a copy of the database; returns the copy."""
    copy = Path(shutil.copyfile(database, scratch / "naive.sqlite3"))
    upgrade(tree, **{scenario.ENV: f"sqlite:///{copy}", **env})
    return copy


def upgrade(tree: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Alembic as a person would run it in that folder."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *(arguments or ("upgrade", "head"))],
        cwd=tree,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or arguments, done.stderr[-1500:]
    return done


def ask(database: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on a SQLite file."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def change(database: Path, script: str) -> None:
    """Run a script on a SQLite file, in place."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)


def notes(database: Path) -> int:
    """How many notes a database holds."""
    return int(ask(database, "SELECT count(*) FROM notes")[0][0])
