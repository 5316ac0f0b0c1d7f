"""Prisma: NAME/migration.sql, applied by name, recorded with their SHA-256; there is no way back."""

import hashlib
import re
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.forms import (
    Body,
    Folder,
    Loaded,
    Standing,
    Step,
    blank,
    joined,
    late,
    literal,
    one_call,
    strangers,
    uuid,
)
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment

_FILE = "migration.sql"
_TABLE = "_prisma_migrations"
_LOCK = "migration_lock.toml"


@dataclass(frozen=True)
class Prisma:
    """Prisma Migrate's folder, as `prisma migrate deploy` runs it."""

    folder: Folder
    tables = frozenset({_TABLE})
    cumulative = False
    together = False

    def load(self) -> Loaded:
        """By name."""
        names = self.folder.names(deep=True)
        found = [name for name in names if name.endswith(f"/{_FILE}") and name.count("/") == 1]
        warnings = [
            f"{self.folder.path(name)} is not NAME/{_FILE}: never run"
            for name in names
            if name.endswith(".sql") and name not in found
        ]
        return Loaded(tuple(self._step(name) for name in sorted(found)), tuple(warnings))

    def _step(self, name: str) -> Step:
        text, path = self.folder.text(name), self.folder.path(name)
        facts = {"checksum": hashlib.sha256(text.encode()).hexdigest()}
        return Step(self.folder.file(name, name.split("/", maxsplit=1)[0], ()), (Body(text),), None, facts, "", (path,))

    def settings(self) -> tuple[str, ...]:
        """The schema, and the lock that names the provider."""
        config = self.folder.tool.config
        paths = (*((config,) if config else ()), self.folder.path(_LOCK))
        return tuple(path for path in paths if (self.folder.root / path).is_file())

    def engine(self) -> str | None:
        """`provider` of the lock, else of the schema's datasource."""
        text = self.folder.config(self.folder.path(_LOCK))
        found = re.search(r"^\s*provider\s*=\s*\"(\w+)\"", text, re.MULTILINE)
        schema = self.folder.config(self.folder.tool.config)
        found = found or re.search(r"\bdatasource\s+\w+\s*\{[^}]*?\bprovider\s*=\s*\"(\w+)\"", schema, re.DOTALL)
        return found[1].lower() if found else None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """The names that finished and were not marked as rolled back; one that failed stops Prisma."""
        rows = ask(f'SELECT migration_name, checksum, finished_at, rolled_back_at FROM "{_TABLE}" ORDER BY started_at')
        sums: dict[str, str] = {}
        for name, checksum, finished, undone in rows:
            if undone is not None:
                continue
            if finished is None:
                raise ToolRetry(
                    f"{_TABLE} says that {name} began and did not finish: look at what of it is there, then `npx prisma "
                    f"migrate resolve --rolled-back {name}` or `--applied {name}`"
                )
            sums[str(name)] = str(checksum)
        recorded = tuple(sorted(sums))
        concerns = [
            f"{step.file.path} is not as it was when this database had it"
            for step in loaded.steps
            if sums.get(step.file.revision, step.facts["checksum"]) != step.facts["checksum"]
        ]
        concerns += [
            f"{step.file.path} comes before what this database has had: it runs now, after them"
            for step in late(loaded, recorded)
        ]
        concerns += [f"{name} was applied here and has no file" for name in strangers(loaded, recorded)]
        return Standing(recorded, tuple(concerns))

    def start(self, dialect: str) -> str:
        """As its schema engine writes it."""
        if dialect == POSTGRESQL:
            return (
                f'CREATE TABLE IF NOT EXISTS "{_TABLE}" (id VARCHAR(36) PRIMARY KEY NOT NULL, '
                "checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL, "
                "logs TEXT, rolled_back_at TIMESTAMPTZ, started_at TIMESTAMPTZ NOT NULL DEFAULT now(), "
                "applied_steps_count INTEGER NOT NULL DEFAULT 0);\n"
            )
        return (
            f'CREATE TABLE IF NOT EXISTS "{_TABLE}" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL, '
            '"finished_at" DATETIME, "migration_name" TEXT NOT NULL, "logs" TEXT, "rolled_back_at" DATETIME, '
            '"started_at" DATETIME NOT NULL DEFAULT current_timestamp, '
            '"applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0);\n'
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """The file as one call, and its row.

        Prisma writes the row before the file and finishes it behind. Where PostgreSQL makes one transaction of the file,
        the row goes into it, finished; else both are written as by Prisma.
        """
        name, checksum = literal(step.file.revision), literal(step.facts["checksum"])
        sql = "".join(body.sql for body in step.up)
        begun = (
            f'INSERT INTO "{_TABLE}" (id, checksum, migration_name, started_at) '
            f"VALUES ({uuid(dialect)}, {checksum}, {name}, {_now(dialect)});\n"
        )
        finished = (
            f'UPDATE "{_TABLE}" SET finished_at = {_now(dialect)}, applied_steps_count = 1 '
            f"WHERE migration_name = {name} AND finished_at IS NULL AND rolled_back_at IS NULL;\n"
        )
        if blank(sql, dialect):
            return (Segment(begun + finished),)
        file = one_call(sql, dialect)
        if file.transactional:
            return (Segment(joined((begun, sql, finished), dialect)),)
        return (Segment(begun), file, Segment(finished))

    def command(self, move: Move, direction: str) -> str:
        """There is no way back."""
        return "npx prisma migrate deploy" if direction == "up" else ""


def _now(dialect: str) -> str:
    return "now()" if dialect == POSTGRESQL else "strftime('%Y-%m-%dT%H:%M:%f+00:00','now')"
