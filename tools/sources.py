"""A database that a person named: where it is, what was applied to it, and copies of it. It is only ever read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend_crew.tools.facts import Bookkeeping
from backend_crew.tools.lint_context import BOOKKEEPING
from backend_crew.tools.migrators.protocol import SQLITE
from backend_crew.tools.pg_identity import is_postgresql_url, parse_postgresql_url
from backend_crew.tools.pg_source import PostgresSource, version
from backend_crew.tools.postgres import find_postgres
from backend_crew.tools.sqlite import parse_sqlite_url, recorded_in, snapshot


class Source(Protocol):
    """One database of the person's."""

    @property
    def dialect(self) -> str:
        """SQLITE or POSTGRESQL."""

    @property
    def name(self) -> str:
        """What messages call it; never a password."""

    @property
    def size(self) -> int:
        """Bytes of what a copy brings along, about."""

    @property
    def whole(self) -> bool:
        """Whether a copy holds the rows too; if not, the rehearsal makes some up."""

    @property
    def major(self) -> int | None:
        """The major version of PostgreSQL that copies are tried on."""

    @property
    def difference(self) -> str:
        """What to tell where that is another version than the person's server; else "" """

    def recorded(self, book: Bookkeeping) -> tuple[str, ...]:
        """What the migration tool recorded there."""

    def copy(self, target: Path) -> None:
        """Writes a file that `Scratch.load` takes."""


@dataclass(frozen=True)
class SqliteSource:
    """One SQLite file."""

    path: Path

    @property
    def dialect(self) -> str:
        """SQLITE."""
        return SQLITE

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    @property
    def size(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    @property
    def whole(self) -> bool:
        """Always."""
        return True

    @property
    def major(self) -> int | None:
        """None: SQLite is a library of whoever opens the file."""
        return None

    @property
    def difference(self) -> str:
        """None is known."""
        return ""

    def recorded(self, book: Bookkeeping) -> tuple[str, ...]:
        """Read without leaving a file beside it."""
        return recorded_in(self.path, book)

    def copy(self, target: Path) -> None:
        """By SQLite's backup API."""
        snapshot(self.path, target)


def source_of(url: str, root: Path) -> Source | None:
    """The database that a URL names, relative files below `root`; None for other engines and for a missing file.

    Raises ToolFault when a PostgreSQL server cannot be reached, ToolRefused for a version that is not supported here.
    """
    if is_postgresql_url(url):
        address = parse_postgresql_url(url)
        return PostgresSource(address, find_postgres(int(version(address).split(".")[0])), BOOKKEEPING)
    path = parse_sqlite_url(url, root)
    return SqliteSource(path) if path and path.is_file() else None
