"""Short ways to what a rehearsal of an Alembic project needs."""

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from backend_crew.tools import sqlite
from backend_crew.tools.facts import DatabaseFacts
from backend_crew.tools.migrations import MigrationTool, detect
from backend_crew.tools.migrators.alembic import AlembicMigrator
from backend_crew.tools.migrators.protocol import SQLITE, Pointing, Scratch
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.scratches import Place, scratch_of

BOOK = AlembicMigrator(Path(), MigrationTool("alembic", None, None, True, (), ""))


def sqlite_revision(database: Path) -> str | None:
    """The one Alembic revision that a SQLite file is at."""
    found = sqlite.recorded_in(database, BOOK)
    assert len(found) < 2, found
    return found[0] if found else None


def facts(connection: sqlite3.Connection) -> DatabaseFacts:
    """The facts of an Alembic project's database."""
    return sqlite.facts(connection, BOOK)


def place(
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path | None = None,
    runtime: Runtime | None = None,
    stop: Callable[[], bool] | None = None,
) -> Place | NoSandbox:
    """Where commands of this tree run, with the interpreter of the tests."""
    if isinstance(sandbox, NoSandbox):
        return sandbox
    return Place(sandbox, tree, at or tree, runtime or find_runtime(tree, python=Path(sys.executable)), stop)


def migrator(
    tree: Path, env_name: str | None = "DATABASE_URL", env: Mapping[str, str] | None = None
) -> AlembicMigrator:
    """Alembic as it is found in a tree, led by this variable."""
    return AlembicMigrator(tree, detect(tree)[0], Pointing((env_name,) if env_name else (), env or {}))


@contextmanager
def scratch(sandbox: Sandbox, tree: Path, private: Path, at: Path | None = None) -> Iterator[Scratch]:
    """A box of this tree with a scratch database, still to be made."""
    found = place(sandbox, tree, at)
    assert isinstance(found, Place)
    with scratch_of(found, SQLITE, private, whole=True) as made:
        yield made
