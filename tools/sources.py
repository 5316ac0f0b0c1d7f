"""A database that a person named: where it is, what was applied to it, and copies of it. It is only ever read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend_crew.tools.facts import Bookkeeping
from backend_crew.tools.migrators.protocol import SQLITE
from backend_crew.tools.sqlite import recorded_in, snapshot


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
        """Bytes, about."""

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

    def recorded(self, book: Bookkeeping) -> tuple[str, ...]:
        """Read without leaving a file beside it."""
        return recorded_in(self.path, book)

    def copy(self, target: Path) -> None:
        """By SQLite's backup API."""
        snapshot(self.path, target)
