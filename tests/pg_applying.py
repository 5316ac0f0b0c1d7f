"""What the tests of applying to PostgreSQL share: a small database, a tool's table in it, and a journal in a file."""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import postgres_server
import psycopg
from psycopg import sql

from backend_crew.tools.facts import Ask, digest_of
from backend_crew.tools.migrators.protocol import Script, Segment
from backend_crew.tools.pg_apply import Applied, Approved, Limits, Tried, apply_postgresql
from backend_crew.tools.pg_identity import Connection, Identity, connected, identity, parse_postgresql_url
from backend_crew.tools.sql_statements import split

OLD = """
CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a');
CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL, name text);
INSERT INTO users VALUES (1, 'a@example.org', 'Ann'), (2, 'b@example.org', NULL), (3, 'c@example.org', 'Cid');
CREATE TABLE counter (n int NOT NULL);
INSERT INTO counter VALUES (0);
"""
MOVED = "UPDATE alembic_version SET version_num = 'b' WHERE version_num = 'a';"
COUNTED = "UPDATE counter SET n = n + 1;"
#: Each run of it leaves a trace, and running it again would not fail.
COUNTING = Script((Segment(f"{COUNTED}\n{MOVED}"),))
CONCURRENT = "CREATE INDEX CONCURRENTLY ix_email ON users (email);"
#: What Alembic makes of an autocommit block: the place moves only at the end.
BLOCKS = Script((Segment(COUNTED), Segment(CONCURRENT, transactional=False), Segment(f"{COUNTED}\n{MOVED}")))


class Book:
    """A tool's table as Alembic has it."""

    tables = frozenset({"alembic_version"})

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        return tuple(sorted(str(row[0]) for row in ask("SELECT version_num FROM alembic_version")))


class Notes:
    """A journal in a file, one line a note, on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _note(self, *values: object) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (json.dumps(values) + "\n").encode())
        os.close(descriptor)

    def before(self, step: int, mark: str) -> None:
        self._note(step, mark)

    def done(self, step: int) -> None:
        self._note(step, None)

    def tried(self) -> Mapping[int, Tried]:
        found: dict[int, Tried] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            step, mark = json.loads(line)
            found[step] = Tried(found[step].mark, done=True) if mark is None else Tried(mark)
        return found


def schema(connection: Connection) -> Sequence[str]:
    """Columns and indexes: enough to tell schemas apart here."""
    rows = connection.execute(
        "SELECT 'column ' || relname || '.' || attname || ' ' || atttypid::regtype FROM pg_class c JOIN pg_attribute a"
        " ON a.attrelid = c.oid WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0"
        " AND NOT attisdropped UNION ALL SELECT pg_get_indexdef(oid) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'i'"
    ).fetchall()
    return sorted(str(row[0]) for row in rows)


def run(url: str, *scripts: str) -> None:
    """Executes statements, each in a transaction of its own where there is but one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for script in scripts:
            connection.execute(script.encode())


def scalar(url: str, query: str) -> object:
    """The first value of a query's first row."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def objects(url: str) -> list[object]:
    """Every relation, function and type in the database that is not the server's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT relname::text FROM pg_class WHERE oid >= 16384 AND relname NOT LIKE 'pg\\_toast%'"
            " UNION ALL SELECT proname::text FROM pg_proc WHERE oid >= 16384 ORDER BY 1"
        ).fetchall()  # type: ignore[return-value]  # rows are as good as objects here


@dataclass
class Case:
    """A database at the old place, and an approval for it."""

    url: str
    approved: Approved
    notes: Notes

    def apply(
        self,
        *,
        apply_s: float = 20,
        lock_s: float = 20,
        statement_s: float = 60,
        stop: Callable[[], bool] | None = None,
    ) -> Applied:
        """What is tested."""
        address, limits = parse_postgresql_url(self.url), Limits(apply_s, lock_s, statement_s)
        return apply_postgresql(address, self.approved, Book(), schema, self.notes, limits=limits, stop=stop)

    @property
    def state(self) -> tuple[object, object]:
        """How often it counted, and the place."""
        return scalar(self.url, "SELECT n FROM counter"), scalar(self.url, "SELECT version_num FROM alembic_version")


@functools.cache
def _recycled(server: postgres_server.Server, use: str) -> str:
    return postgres_server.fresh_database(server) if use else ""


def emptied(server: postgres_server.Server, use: str) -> str:
    """One database for each use, without anything in it: making a new one takes a hundred times as long."""
    url = _recycled(server, use)
    with psycopg.connect(url, autocommit=True) as connection:
        for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE oid >= 16384 OR nspname = 'public'"):
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        connection.execute("CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC")
    return url


@functools.cache
def rehearsed(server: postgres_server.Server, script: Script, setup: str = OLD) -> str:
    """The digest of the schema that the script makes, found on a database of its own."""
    return digest_of(schemas(server, script, setup)[1])


@functools.cache
def schemas(server: postgres_server.Server, script: Script, setup: str = OLD) -> tuple[Sequence[str], Sequence[str]]:
    """The schema before and after a script, found on a database of its own."""
    url = emptied(server, "rehearsal")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(setup.encode())
        before = schema(connection)
        for segment in script.segments:
            pieces = (each.text for each in split(segment.sql, "postgresql"))
            for piece in (segment.sql,) if segment.transactional else pieces:
                connection.execute(piece.encode())
        return before, schema(connection)


def case(
    server: postgres_server.Server,
    folder: Path,
    script: Script = COUNTING,
    *,
    setup: str = OLD,
    shown: frozenset[str] = frozenset(),
    digest: str | None = None,
    use: str = "person",
) -> Case:
    """An approval for `script` on a database that holds what `setup` makes, and nothing else."""
    expected = digest or rehearsed(server, script, setup)
    url = emptied(server, use)
    run(url, setup)
    approved = Approved(script, identity_of(url), ("a",), ("b",), expected, shown, "alembic downgrade a")
    return Case(url, approved, Notes(folder / f"{use}.notes"))


def identity_of(url: str) -> Identity:
    """Which database a URL leads to."""
    with connected(parse_postgresql_url(url)) as connection:
        return identity(connection)


def one(*statements: str) -> Script:
    """A script of one transaction that ends at the goal."""
    return Script((Segment("\n".join((*statements, MOVED))),))
