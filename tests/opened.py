"""An open run with an approved design, and no model before it: for what code does in the middle of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario

from backend_crew.crew import approvers, packets, runner
from backend_crew.crew.gates import APPROVE
from backend_crew.crew.journal import Journal
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag


@contextmanager
def implementing(
    folder: Path,
    files: Mapping[str, str] = scenario.FILES,
    database_env: str | None = scenario.ENV,
    sandbox_env: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """An open run whose design was approved, at its first layer."""
    journal = Journal(folder / "home")
    try:
        options = Options(database_env=database_env, python=scenario.PYTHON, sandbox_env=sandbox_env or {})
        repo = scenario.make_repository(folder / "notes", files)
        run = runner.start(journal, repo, scenario.FEATURE, options=options)
        with journal.lease(run.id):
            session = open_session(journal, run.id, StopFlag())
            journal.record(run.id, "design", "Design", scenario.DESIGN, None)
            packet = packets.build(session, "design")
            row = journal.open_gate(run.id, "design", packet.as_json(), packet.digest)
            ruling = approvers.Ruling(APPROVE, digest=row.digest)
            approvers.decide(journal, run.id, row, ruling, approvers.By("library", "a person"))
            session.begin(session.spec.task("implement_data_access"))
            yield session
    finally:
        journal.close()
