"""Scratch databases without a sandbox, for SQL that the tests themselves wrote."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from backend_crew.tools.facts import Bookkeeping, DatabaseFacts
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Script
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box
from backend_crew.tools.sql_statements import split


class Plain:
    """What both have in common: nothing runs in a box, and nothing is filled."""

    dialect = ""

    @property
    def box(self) -> Box:
        raise AssertionError("plain SQL needs no box")

    def url(self, driver: str | None = None) -> str:
        raise AssertionError("plain SQL needs no URL")

    def parts(self) -> Mapping[str, str]:
        raise AssertionError("plain SQL needs no settings")

    def run(self, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, cwd: str = ".") -> Completed:
        raise AssertionError("plain SQL runs no program")

    def create(self) -> None:
        raise AssertionError("each test has a database of its own")

    def load(self, source: Path) -> None:
        raise AssertionError("nothing is loaded")

    def save(self, target: Path) -> None:
        raise AssertionError("nothing is saved")

    def fill(self, book: Bookkeeping) -> Mapping[str, str]:
        return {}

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def schema(self) -> list[str]:
        raise NotImplementedError

    def facts(self, book: Bookkeeping) -> DatabaseFacts | None:
        lines = [line for line in self.schema() if not any(name in line.lower() for name in book.tables)]
        return DatabaseFacts(book.recorded(self.ask), tuple(sorted(lines)), {}, {})

    def execute(self, script: Script) -> Completed:
        try:
            for segment in script.segments:
                self._one(segment.sql, segment.transactional)
        except Exception as error:
            return _done(1, f"{type(error).__name__}: {error}")
        return _done(0, "")

    def _one(self, sql: str, transactional: bool) -> None:
        raise NotImplementedError


class SqliteScratch(Plain):
    """A SQLite file."""

    dialect = SQLITE

    def __init__(self, path: Path) -> None:
        self.path = path

    def _connected(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self.path, isolation_level=None))

    def _one(self, sql: str, transactional: bool) -> None:
        with self._connected() as connection:
            for part in ("BEGIN", sql, "COMMIT") if transactional else (sql,):
                for statement in split(part, SQLITE):
                    connection.execute(statement.text)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            try:
                return connection.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def schema(self) -> list[str]:
        rows = self.ask("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        return [re.sub(r"\s+", " ", f"{kind} {name} {sql}") for kind, name, sql in rows if name != "version_unique"]


class PostgresqlScratch(Plain):
    """A database of a running server."""

    dialect = POSTGRESQL

    def __init__(self, address: str) -> None:
        self._address = address

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        with contextlib.closing(psycopg.connect(self._address, autocommit=True)) as connection:
            yield connection

    def _one(self, sql: str, transactional: bool) -> None:
        with self._connected() as connection:
            if transactional:
                with connection.transaction():
                    connection.execute(sql)
                return
            for statement in split(sql, POSTGRESQL):
                connection.execute(statement.text)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            try:
                return list(connection.execute(sql).fetchall())
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return []

    def schema(self) -> list[str]:
        columns = (
            "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || "
            "coalesce(column_default, '') FROM information_schema.columns WHERE table_schema IN ('public', 'drizzle')"
        )
        indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'drizzle')"
        return [row[0] for row in (*self.ask(columns), *self.ask(indexes))]


def _done(code: int, stderr: str) -> Completed:
    return Completed(
        argv=(), exit_code=code, stdout="", stderr=stderr, seconds=0.0, timed_out=False, stopped=False, truncated=False
    )
