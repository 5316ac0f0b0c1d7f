"""Drizzle: the SQL files that meta/_journal.json lists, run together, and remembered by the newest `when`."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.forms import Body, Folder, Loaded, Standing, Step, blank, joined, literal
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Move, Segment
from backend_crew.tools.sql_statements import split
from backend_crew.tools.workspace import MissingPathError

_JOURNAL = "meta/_journal.json"
_BREAK = "--> statement-breakpoint"
_TABLE, _SCHEMA = "__drizzle_migrations", "drizzle"
_ENGINES = {"turso": "sqlite", "gel": "gel", "singlestore": "singlestore"}


@dataclass(frozen=True)
class Drizzle:
    """drizzle-kit's folder with a journal (up to 0.x), applied by drizzle-orm's migrator."""

    folder: Folder
    cumulative = True
    together = True

    @property
    def _named(self) -> tuple[str, str]:
        text = self.folder.config(self.folder.tool.config)
        block = re.search(r"\bmigrations[\"']?\s*:\s*\{([^}]*)\}", text)
        inside = block[1] if block else ""
        found = {key: re.search(rf"\b{key}[\"']?\s*:\s*[\"'`](\w+)[\"'`]", inside) for key in ("schema", "table")}
        schema, table = found["schema"], found["table"]
        return (schema[1] if schema else _SCHEMA), (table[1] if table else _TABLE)

    @property
    def tables(self) -> frozenset[str]:
        """One, in a schema of its own on PostgreSQL."""
        return frozenset({self._named[1].lower()})

    def load(self) -> Loaded:
        """The journal's order; ToolRetry where it and the folder do not agree."""
        entries = self._entries()
        steps: list[Step] = []
        newest = -1
        for tag, when in entries:
            name = f"{tag}.sql"
            try:
                text = self.folder.text(name)
            except MissingPathError as error:
                raise ToolRetry(f"{self._journal} lists {tag}, and there is no {self.folder.path(name)}") from error
            if any(step.file.revision == tag for step in steps):
                raise ToolRetry(f"{self._journal} lists {tag} twice: remove one entry")
            if when <= newest:
                raise ToolRetry(
                    f"{self._journal}: `when` of {tag} is {when}, and an entry before it has {newest}: a database that "
                    "has had the other would never get this one. Give it a later `when`"
                )
            newest = when
            parents = (steps[-1].file.revision,) if steps else ()
            facts = {"when": str(when), "hash": hashlib.sha256(text.encode()).hexdigest()}
            bodies = tuple(Body(piece) for piece in text.split(_BREAK))
            steps.append(Step(self.folder.file(name, tag, parents), bodies, None, facts, "", (self.folder.path(name),)))
        tags = {tag for tag, _ in entries}
        warnings = [
            f"{self.folder.path(name)} is not in {self._journal}: never run"
            for name in self.folder.names()
            if name.endswith(".sql") and name.removesuffix(".sql") not in tags
        ]
        return Loaded(tuple(steps), (*warnings, *self._crowded(steps)))

    def _crowded(self, steps: list[Step]) -> list[str]:
        if self.engine() != SQLITE:
            return []
        return [
            f"{step.file.path} has several statements between two breakpoints: better-sqlite3 refuses to run them"
            for step in steps
            if any(len(split(body.sql, SQLITE)) > 1 for body in step.up)
        ]

    @property
    def _journal(self) -> str:
        return self.folder.path(_JOURNAL)

    def _entries(self) -> list[tuple[str, int]]:
        try:
            document: Any = json.loads(self.folder.text(_JOURNAL))
        except MissingPathError as error:
            raise ToolRetry(
                f"there is no {self._journal}: drizzle-kit writes it with `generate`; folders without a journal "
                "(drizzle-kit 1.0) are not run here"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ToolRetry(f"{self._journal} is not JSON: {error}") from error
        listed = document.get("entries") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ToolRetry(f'{self._journal} has no list "entries": drizzle-kit writes it with `generate`')
        found: list[tuple[str, int]] = []
        for entry in listed:
            tag, when = (entry.get("tag"), entry.get("when")) if isinstance(entry, dict) else (None, None)
            if not isinstance(tag, str) or "/" in tag or not isinstance(when, int | float):
                raise ToolRetry(f"{self._journal}: an entry needs a tag and a `when`; found {str(entry)[:200]}")
            found.append((tag, int(when)))
        return found

    def settings(self) -> tuple[str, ...]:
        """Its configuration and the journal."""
        config = self.folder.tool.config
        return (*((config,) if config else ()), self._journal)

    def engine(self) -> str | None:
        """`dialect` of its configuration, else of the journal."""
        text = self.folder.config(self.folder.tool.config)
        found = re.search(r"[\"']?\bdialect[\"']?\s*:\s*[\"'`](\w+)", text)
        found = found or re.search(r"\"dialect\"\s*:\s*\"(\w+)\"", self.folder.config(self._journal))
        return (
            _ENGINES.get(found[1], found[1].replace("pg", POSTGRESQL, 1) if found[1] == "pg" else found[1])
            if found
            else None
        )

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """All up to the newest `when` in its table have run, whatever else is there: so the tool decides."""
        schema, table = self._named
        rows = ask(f'SELECT hash, created_at FROM "{schema}"."{table}"') or ask(
            f'SELECT hash, created_at FROM "{table}"'
        )
        if not rows:
            return Standing(())
        newest = max(int(row[1]) for row in rows)
        had = [step for step in loaded.steps if int(step.facts["when"]) <= newest]
        if not had:
            raise ToolRetry(
                f"{table} says {newest}, and every entry of {self._journal} is later: is this its database?"
            )
        hashes = {str(row[0]) for row in rows}
        concerns = tuple(
            f"{step.file.path} is not as it was when this database had it"
            for step in had
            if step.facts["hash"] not in hashes
        )
        return Standing((had[-1].file.revision,), concerns)

    def start(self, dialect: str) -> str:
        """As its migrators write it."""
        schema, table = self._named
        if dialect == POSTGRESQL:
            return (
                f'CREATE SCHEMA IF NOT EXISTS "{schema}";\nCREATE TABLE IF NOT EXISTS "{schema}"."{table}" '
                "(id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint);\n"
            )
        # SERIAL is what it writes on SQLite too, where it stays empty.
        return (
            f'CREATE TABLE IF NOT EXISTS "{table}" (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric);\n'
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """All pieces and the row."""
        schema, table = self._named
        place = f'"{schema}"."{table}"' if dialect == POSTGRESQL else f'"{table}"'
        row = (
            f'INSERT INTO {place} ("hash", "created_at") '
            f"VALUES ({literal(step.facts['hash'])}, {step.facts['when']});\n"
        )
        pieces = [body.sql for body in step.up if not blank(body.sql, dialect)]
        return (Segment(joined((*pieces, row), dialect)),)

    def command(self, move: Move, direction: str) -> str:
        """There is no way back."""
        return "npx drizzle-kit migrate" if direction == "up" else ""
