"""A SQLite file in a box as a scratch database, until the program has its own."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend_crew.tools import sample_rows
from backend_crew.tools.alembic_box import bring_out
from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.migrators.protocol import SQLITE, Ask, Migrator, Script
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box
from backend_crew.tools.sqlite import facts, opened

DATABASE = ".rehearsal/rehearsal.sqlite3"


class SqliteScratch:
    """The Scratch protocol over one file of one box."""

    dialect = SQLITE

    def __init__(self, box: Box) -> None:
        self.box = box
        box.put(DATABASE, b"")

    def url(self, driver: str | None = None) -> str:
        """As SQLAlchemy writes it."""
        return f"sqlite{f'+{driver}' if driver else ''}:///{self.box.layout.at / DATABASE}"

    def parts(self) -> Mapping[str, str]:
        """As Django's DATABASES has it."""
        return {"NAME": str(self.box.layout.at / DATABASE)}

    def run(self, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, cwd: str = ".") -> Completed:
        """Runs a command in the box."""
        return self.box.run(argv, env=env, cwd=cwd)

    def execute(self, script: Script) -> Completed:
        """Runs SQL, segment by segment."""
        error = ""
        with contextlib.closing(sqlite3.connect(self.box.files / DATABASE, isolation_level=None)) as connection:
            try:
                for one in script.segments:
                    sql = f"BEGIN;\n{one.sql}\nCOMMIT;" if one.transactional else one.sql
                    connection.executescript(sql)
            except sqlite3.Error as failed:
                error = str(failed)
        return Completed((), 1 if error else 0, "", error, 0.0, False, False, False)

    def facts(self, migrator: Migrator) -> DatabaseFacts | None:
        """What it holds, without the tool's own tables."""
        with self._copy() as connection:
            if connection is None:
                return None
            found = facts(connection)
        own = migrator.tables
        return DatabaseFacts(
            migrator.recorded(self.ask),
            tuple(line for line in found.schema if not own & set(line.replace(".", " ").split())),
            {name: _as(one) for name, one in found.tables.items() if name not in own},
            found.broken,
        )

    def fill(self, migrator: Migrator) -> Mapping[str, str]:
        """Made-up rows in every empty table."""
        return sample_rows.fill(self.box.files / DATABASE)

    @property
    def ask(self) -> Ask:
        """Runs one SELECT on a copy; no rows where its table is missing."""

        def asked(sql: str) -> list[tuple[Any, ...]]:
            with self._copy() as connection:
                try:
                    return connection.execute(sql).fetchall() if connection else []
                except sqlite3.OperationalError as error:
                    assert "no such table" in str(error)
                    return []

        return asked

    def tables(self) -> dict[str, TableFacts]:
        """All tables, the tool's own too."""
        with self._copy() as connection:
            assert connection is not None
            return {name: _as(one) for name, one in facts(connection).tables.items()}

    @contextlib.contextmanager
    def _copy(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            copy = bring_out(self.box, DATABASE, Path(folder) / "copy.sqlite3")
            if copy is None:
                yield None
                return
            with opened(copy) as connection:
                yield connection


def _as(one: Any) -> TableFacts:
    return TableFacts(one.rows, one.non_null, one.checksums)
