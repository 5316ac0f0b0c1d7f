"""Boxes with a scratch PostgreSQL for tests, and what stands in for a migration tool that keeps one table."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.facts import Ask, DatabaseFacts
from backend_crew.tools.migrators.protocol import Script, Segment
from backend_crew.tools.pg_scratch import PostgresScratch
from backend_crew.tools.postgres import Installation
from backend_crew.tools.process import Completed
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Sandbox


@dataclass(frozen=True)
class Book:
    """Bookkeeping as Alembic has it."""

    tables: frozenset[str] = frozenset({"alembic_version"})

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        """The rows of its table."""
        return tuple(sorted(str(row[0]) for row in ask("SELECT version_num FROM alembic_version;")))


BOOK = Book()


@contextlib.contextmanager
def scratch_in(sandbox: Sandbox, folder: Path, installation: Installation) -> Iterator[PostgresScratch]:
    """A box of an empty folder, with a scratch that is still to be made."""
    runtime = installation.mounted(Runtime(kind="other"), folder)
    with sandbox.box(folder, folder, runtime) as box:
        yield PostgresScratch.of(box, installation)


def run_sql(scratch: PostgresScratch, *segments: str | Segment) -> Completed:
    """Runs SQL, each text in a transaction of its own."""
    return scratch.execute(Script(tuple(Segment(one) if isinstance(one, str) else one for one in segments)))


def look(scratch: PostgresScratch, *segments: str) -> DatabaseFacts:
    """The facts after SQL that has to run."""
    if segments:
        done = run_sql(scratch, *segments)
        assert done.ok, done.stderr
    found = scratch.facts(BOOK)
    assert found is not None
    return found
