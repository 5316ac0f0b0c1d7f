"""What a tool of plain SQL files has to say for itself: its files in its order, and the rows it writes about them."""

import hashlib
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrations import MigrationFile, MigrationTool
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment
from backend_crew.tools.sql_statements import split
from backend_crew.tools.workspace import MissingPathError, read_file

READ_LIMIT = 16_000_000
_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__"}


@dataclass(frozen=True)
class Body:
    """What the tool runs in one transaction or, without one, sends as one call."""

    sql: str
    transactional: bool = True


@dataclass(frozen=True)
class Step:
    """One migration; `down` is None where there is none, `refused` says why its SQL cannot be known here."""

    file: MigrationFile
    up: tuple[Body, ...]
    down: tuple[Body, ...] | None
    facts: Mapping[str, str]  # what else the tool's own rows hold, named by the form
    refused: str = ""
    paths: tuple[str, ...] = ()  # all its files


@dataclass(frozen=True)
class Loaded:
    """All migrations in the tool's order, and what looks like one of its files and is none."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    def by_revision(self) -> dict[str, Step]:
        """The steps by their id."""
        return {step.file.revision: step for step in self.steps}


@dataclass(frozen=True)
class Standing:
    """Where a database is, and what there disagrees with the files without stopping the tool."""

    recorded: tuple[str, ...]
    concerns: tuple[str, ...] = ()


class Form(Protocol):
    """One tool: its rules for files, and its own table on SQLite and PostgreSQL."""

    @property
    def tables(self) -> frozenset[str]:
        """Its own tables, without their schema, in lower case."""

    @property
    def cumulative(self) -> bool:
        """Its table names only the newest migration."""

    @property
    def together(self) -> bool:
        """It runs all that is pending in one transaction."""

    def load(self) -> Loaded:
        """Every migration in the tool's order; ToolRetry for what the tool would refuse to start with."""

    def settings(self) -> tuple[str, ...]:
        """The configuration files that it reads, from the repository's top folder."""

    def engine(self) -> str | None:
        """The database engine that its configuration names in plain text."""

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """What its table says; ToolRetry where the tool would refuse to go on, with how to repair it."""

    def start(self, dialect: str) -> str:
        """The SQL that makes its own tables where they are missing."""

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """One migration "up" or "down" with the rows about it; `step.down` is there for "down"."""

    def command(self, move: Move, direction: str) -> str:
        """What a person would type; "" where the tool has no such command."""


@dataclass(frozen=True)
class Folder:
    """The files of one tool, read without following a link."""

    root: Path
    tool: MigrationTool

    @property
    def place(self) -> str:
        """The folder from the repository's top, "." for the top itself; for commands."""
        return self.tool.folder or "."

    def path(self, name: str) -> str:
        """The path from the repository's top of a name in the folder."""
        return posixpath.join(self.tool.folder or "", name)

    def names(self, deep: bool = False) -> tuple[str, ...]:
        """The files in the folder, sorted; with `deep` those below it too. Links are listed, so that they are met."""
        top = self.root / (self.tool.folder or "")
        found: list[str] = []
        for place, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED) if deep else []
            start = Path(place).relative_to(top)
            found += [(start / name).as_posix() for name in names]
        return tuple(sorted(found))

    def read(self, name: str) -> bytes:
        """The bytes of a file in the folder; ToolRefused for a link."""
        return self.read_at(self.path(name))

    def text(self, name: str) -> str:
        """The file as text; ToolRetry when it is not UTF-8."""
        return decoded(self.path(name), self.read(name))

    def read_at(self, path: str) -> bytes:
        """The bytes of a file by its path from the repository's top; ToolRefused for a link."""
        return read_file(self.root, path, READ_LIMIT)[0]

    def config(self, path: str | None) -> str:
        """The text of a configuration file by its path from the repository's top; "" when it is missing."""
        if path is None:
            return ""
        try:
            return self.read_at(path).decode("utf-8", "replace")
        except MissingPathError:
            return ""

    def file(self, name: str, revision: str, parents: tuple[str, ...], *others: str) -> MigrationFile:
        """The migration that `name` is; its SHA-256 covers the files that belong to it too."""
        digest = hashlib.sha256(self.read(name))
        for other in others:
            digest.update(hashlib.sha256(self.read(other)).digest())
        return MigrationFile(self.path(name), revision, parents, digest.hexdigest())


def decoded(path: str, data: bytes) -> str:
    """UTF-8 text; ToolRetry for other bytes."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolRetry(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def literal(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("\x00", "").replace("'", "''") + "'"


def uuid(dialect: str) -> str:
    """A new value each time it runs, from a text that is always the same."""
    if dialect == POSTGRESQL:
        return "gen_random_uuid()::text"
    return (
        "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || "
        "substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
    )


def blank(sql: str, dialect: str) -> bool:
    """Whether there is nothing but blanks and comments."""
    return not any(statement.text.strip("; \n\t") for statement in split(sql, dialect))


def closed(sql: str, dialect: str) -> str:
    """The text so that another statement can follow: its last one ends with a semicolon, its last line with a break."""
    text = sql.rstrip() + "\n"
    if blank(text, dialect):
        return text
    # A word behind it joins an open statement and is one of its own behind a closed one.
    ended = len(split(f"{text}x", dialect)) > len(split(text, dialect))
    return text if ended else f"{text};\n"


def joined(texts: Sequence[str], dialect: str) -> str:
    """Several texts as one that runs in order."""
    return "".join(closed(text, dialect) for text in texts if text.strip())


def one_call(sql: str, dialect: str) -> Segment:
    """What one call of a driver does without a transaction of the tool.

    PostgreSQL runs several statements of one call in a transaction of its own making, unless they open or end one.
    """
    statements = split(sql, dialect)
    implicit = dialect == POSTGRESQL and len(statements) > 1
    if implicit and any(statement.kind == "transaction" for statement in statements):
        implicit = False
    return Segment(closed(sql, dialect), transactional=implicit)


def with_row(bodies: Sequence[Body], row: str, dialect: str) -> tuple[Segment, ...]:
    """What runs, and the tool's row: in the transaction of the last one, or behind it."""
    if not bodies:
        return (Segment(closed(row, dialect)),)
    *others, last = bodies
    first = tuple(_segment(body, dialect) for body in others)
    if last.transactional:
        return (*first, Segment(joined((last.sql, row), dialect)))
    return (*first, one_call(last.sql, dialect), Segment(closed(row, dialect)))


def _segment(body: Body, dialect: str) -> Segment:
    return Segment(closed(body.sql, dialect)) if body.transactional else one_call(body.sql, dialect)


def twins(steps: Sequence[tuple[object, str]], what: str) -> None:
    """ToolRetry when two files (given as number, path) have the same number."""
    seen: dict[object, str] = {}
    for key, path in steps:
        if key in seen:
            raise ToolRetry(f"{seen[key]} and {path} both have {what} {key}: give one another number")
        seen[key] = path


def late(loaded: Loaded, recorded: Sequence[str]) -> list[Step]:
    """The steps that a database has not had though it has had a later one."""
    had = [place for place, step in enumerate(loaded.steps) if step.file.revision in set(recorded)]
    newest = max(had, default=-1)
    return [step for step in loaded.steps[: newest + 1] if step.file.revision not in set(recorded)]


def strangers(loaded: Loaded, recorded: Sequence[str]) -> list[str]:
    """What a database has had and no file is there for."""
    known = loaded.by_revision()
    return sorted(name for name in recorded if name not in known)
