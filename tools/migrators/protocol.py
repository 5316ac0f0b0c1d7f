"""What every migration tool can be asked, split as Django splits its own: what is there, where a database is, moving it.

Reading (`history`) runs nothing. Where a database is (`recorded`) is what the tool wrote there itself. Moving it (`up`,
`down`) happens on a scratch database that this program made, in the sandbox. What was rendered (`render`) can be run
without the tool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backend_crew.tools.facts import Ask, Bookkeeping, DatabaseFacts
from backend_crew.tools.migrations import MigrationFile, MigrationTool
from backend_crew.tools.migrators.history import History
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True)
class Segment:
    """SQL that runs as one: in a transaction of its own, or (CREATE INDEX CONCURRENTLY) outside any."""

    sql: str
    transactional: bool = True


@dataclass(frozen=True)
class Script:
    """One direction as SQL, with the rows that the tool itself would write into its own table."""

    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole as a person reads it."""
        return "\n".join(one.sql.rstrip("\n") + "\n" for one in self.segments)


@dataclass(frozen=True)
class Move:
    """From one place to another: what the tool's own table says before and after, and the files between, in order."""

    start: tuple[str, ...]
    goal: tuple[str, ...]
    files: tuple[MigrationFile, ...]
    others: tuple[str, ...] | None = None  # what `Migrator.others` says before; None where no database was asked


class Scratch(Protocol):
    """A database that this program made, inside one box; the person's own is never reached from there."""

    @property
    def box(self) -> Box:
        """Where the tool runs."""

    @property
    def dialect(self) -> str:
        """SQLITE or POSTGRESQL."""

    def create(self) -> None:
        """Makes it anew and empty."""

    def load(self, source: Path) -> None:
        """Makes it anew with what a file from `save`, or a copy or dump of the person's database, holds."""

    def save(self, target: Path) -> None:
        """Writes what it holds to a file outside the box; ToolFault when it is gone."""

    def url(self, driver: str | None = None) -> str:
        """What the tool's configuration has to name, as SQLAlchemy writes it; `driver` as in "postgresql+asyncpg"."""

    def parts(self) -> Mapping[str, str]:
        """The same for Django's DATABASES: NAME, and for PostgreSQL also USER, PASSWORD, HOST and PORT."""

    def run(self, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, cwd: str = ".") -> Completed:
        """Runs the tool's command in the box, with the database reachable, within the limits of this rehearsal."""

    def execute(self, script: Script) -> Completed:
        """Runs SQL with nothing of the repository around it, segment by segment, until one fails."""

    def facts(self, book: Bookkeeping) -> DatabaseFacts | None:
        """What it holds now, the tool's own tables left out; None when it is gone."""

    def fill(self, book: Bookkeeping) -> Mapping[str, str]:
        """Puts made-up rows into empty tables; returns the tables left empty and why."""


@dataclass(frozen=True)
class Pointing:
    """What the person named: the variables that hold the database's URL, and what the repository's code has in its
    environment. A migrator gets it when it is made."""

    url_names: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Led:
    """What the application has to be started with to meet the scratch database, where its settings do not lead there.

    `driver` is the text of a module for the box: its `lead(database)` is called before the application is loaded, and
    its `led(application, database)` after.
    """

    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    driver: str = field(default="", repr=False)
    database: object = field(default=None, repr=False)


class Migrator(Bookkeeping, Protocol):
    """One migration tool in one tree."""

    @property
    def tool(self) -> MigrationTool:
        """As `migrations.detect` found it."""

    @property
    def runs_code(self) -> bool:
        """Whether code of the repository moves the database; else its SQL is run as it stands (`Scratch.execute`)."""

    def history(self) -> History:
        """Every migration, from literals alone; ToolRetry names what is dynamic, missing or ambiguous."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person has to know of the files: some would never run, or cannot be understood."""

    def concerns(self, ask: Ask) -> tuple[str, ...]:
        """Where a database's own table does not agree with the files, though the tool would go on."""

    def others(self, ask: Ask) -> tuple[str, ...]:
        """What a database's own table says ran of what is not the repository's: third-party apps of Django."""

    def engine(self) -> str:
        """What the project's own settings name: SQLITE (also where nothing names one), POSTGRESQL, or another's name."""

    def lead(self, scratch: Scratch) -> Led:
        """Makes every way to a database that the repository's code may take end at the scratch one; ToolFault if none."""

    def up(self, scratch: Scratch, move: Move) -> Completed:
        """Brings the scratch database from `move.start` to `move.goal` with the tool itself."""

    def down(self, scratch: Scratch, move: Move) -> Completed:
        """Brings it back from `move.goal` to `move.start`."""

    def render(self, scratch: Scratch, move: Move, direction: str) -> Script | str:
        """The SQL of "up" or "down" with the tool's own rows in it; a text says why there is none."""

    def remarks(self, scratch: Scratch) -> tuple[str, ...]:
        """What a linter in the repository's own environment said of what was rendered last."""

    def manifest(self) -> tuple[tuple[str, str], ...]:
        """(path, SHA-256) of every repository file that moving a database would execute or read, sorted."""

    def command(self, move: Move, direction: str) -> str:
        """What a person would type, from the repository's top folder, to go "up" or "down"; "" when not known."""
