"""The migrations of a run as `tools` know them: which tool, which database the person named, where they are tried."""

import contextlib
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend_crew.crew import settings
from backend_crew.crew.session import Session
from backend_crew.tools import git, migrations
from backend_crew.tools.errors import ToolError
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.find import migrator_of
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Migrator, Pointing, Scratch
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.scratches import Place, scratch_of
from backend_crew.tools.sources import Source, source_of


def place(session: Session, tree: Path | None = None) -> Place | NoSandbox:
    """Where commands of this run's repository run; `tree` None is the private clone's."""
    if isinstance(session.sandbox, NoSandbox):
        return session.sandbox
    return _place(session, session.sandbox, tree or session.clone.tree)


def migrator(session: Session, tool: MigrationTool | None = None, tree: Path | None = None) -> Migrator | None:
    """What moves databases in this run; None where there is no tool, or one that is only shown."""
    wanted, name = tool or session.migrations, session.database_env
    url = settings.get(name) if name else None
    pointing = Pointing((name,) if name else (), {**session.sandbox_env, **({name: url} if name and url else {})})
    return migrator_of(tree or session.clone.tree, wanted, pointing) if wanted else None


def source(session: Session) -> Source | None:
    """The database that the person named, None where it is missing or of an engine that is not read here.

    Raises ToolError where PostgreSQL does not answer.
    """
    url = settings.get(session.database_env) if session.database_env else None
    return source_of(url, session.root) if url else None


def newest_migration(session: Session) -> str:
    """The last migration file of the tree, as its tool or else its name has the order; "" where there is none."""
    tool = session.migrations
    if tool is None:
        return ""
    with contextlib.suppress(ToolError):
        found = migrator(session, tool)
        files = found.history().files if found else ()
        if files:
            return files[-1].path
    return max(migrations.new_files(tool, git.tracked(session.clone)), key=posixpath.basename, default="")


@contextmanager
def scratch(session: Session, sandbox: Sandbox, tool: MigrationTool, tree: Path) -> Iterator[Scratch]:
    """A box of `tree` with a scratch database of the engine that the project uses, still to be made."""
    dialect = SQLITE
    with contextlib.suppress(ToolError):  # what is wrong with the configuration is told by the tool's own run
        found = migrator(session, tool, tree)
        dialect = POSTGRESQL if found and found.engine() == POSTGRESQL else SQLITE
    with tempfile.TemporaryDirectory(prefix="scratch-") as private:
        at = _place(session, sandbox, tree)
        with scratch_of(at, dialect, Path(private), whole=True) as made:
            yield made


def _place(session: Session, sandbox: Sandbox, tree: Path) -> Place:
    return Place(sandbox, tree, session.root, session.runtime, lambda: bool(session.stop))
