"""A person's named PostgreSQL, only ever read: what was applied to it, which one it is, and copies for the rehearsal."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import conninfo

from backend_crew.tools import pg_dumps, process
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.facts import Bookkeeping
from backend_crew.tools.migrators.protocol import POSTGRESQL
from backend_crew.tools.pg_identity import (
    Address,
    Connection,
    Identity,
    asking,
    connected,
    identity,
    in_recovery,
    one,
    said,
)
from backend_crew.tools.postgres import SUPPORTED, Installation

#: Above it the copy holds the schema and what the migration tool recorded, and the rehearsal makes up the rows.
WHOLE = 256 * 1024**2
_DUMP_S = 600.0
_PATIENCE = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '5s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)
# Tables with rows of their own: a partition's are dumped with the partition.
_TABLES = """SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2"""
_SIZE = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"


@dataclass(frozen=True)
class PostgresSource:
    """`Source` of PostgreSQL. `kept` are the tables whose rows come along even when the others' do not."""

    address: Address
    installation: Installation
    kept: frozenset[str] = frozenset()
    limit: int = WHOLE
    timeout_s: float = field(default=_DUMP_S)

    @property
    def dialect(self) -> str:
        """POSTGRESQL."""
        return POSTGRESQL

    @property
    def name(self) -> str:
        """What messages call it; without the password."""
        return self.address.shown

    @property
    def size(self) -> int:
        """Bytes of what a copy brings along."""
        with self._reading() as connection:
            found = int(one(connection, _SIZE)[0])
        return found if found <= self.limit else 0

    @property
    def whole(self) -> bool:
        """Whether a copy holds the rows too; if not, the rehearsal has to make some up."""
        with self._reading() as connection:
            return int(one(connection, _SIZE)[0]) <= self.limit

    @property
    def major(self) -> int | None:
        """Of the programs that the rehearsal runs."""
        return self.installation.major

    @property
    def difference(self) -> str:
        """What to tell when the rehearsal runs on another major version than this server's; "" when it does not."""
        return self.installation.difference(version(self.address))

    def identity(self) -> tuple[Identity, bool]:
        """Which database this is, and whether it is a standby."""
        with self._reading() as connection:
            return identity(connection), in_recovery(connection)

    def recorded(self, book: Bookkeeping) -> tuple[str, ...]:
        """Read in a transaction that cannot write."""
        with self._reading() as connection:
            return book.recorded(asking(connection))

    def copy(self, target: Path) -> None:
        """Writes a file that `PostgresScratch.load` takes. Raises ToolFault with pg_dump's words when it cannot."""
        with self._reading() as connection:
            needs = pg_dumps.needs_of(_version(connection), one(connection, pg_dumps.QUESTION)[0])
            left_out = [] if int(one(connection, _SIZE)[0]) <= self.limit else self._without_rows(connection)
            # What libpq found by itself (~/.pgpass) is asked of the connection.
            user, password = connection.info.user, connection.info.password
        with tempfile.TemporaryDirectory(prefix="dump-") as private:
            archive = Path(private) / "archive"
            self._dump(user, password, archive, left_out)
            pg_dumps.write(target, needs, archive)

    def _without_rows(self, connection: Connection) -> list[str]:
        rows = connection.execute(cast(Any, _TABLES)).fetchall()
        return [f"--exclude-table-data={_pattern(schema)}.{_pattern(name)}" for schema, name in rows
                if name.lower() not in self.kept]  # fmt: skip

    def _dump(self, user: str, password: str, target: Path, more: Sequence[str]) -> None:
        # The password goes where no list of processes shows it.
        parts = {
            name: value for name, value in conninfo.conninfo_to_dict(self.address.dsn).items() if name != "password"
        }
        dsn = conninfo.make_conninfo("", **cast(Any, parts | {"user": user, "application_name": "backend-crew"}))
        argv = (self.installation.program("pg_dump"), "--no-password", *pg_dumps.DUMP, f"--file={target}", *more, dsn)
        env = {"LC_ALL": "C", "PATH": process.SEARCH_PATH, **({"PGPASSWORD": password} if password else {})}
        done = process.run(argv, cwd=target.parent, env=env, timeout_s=self.timeout_s)
        if not done.ok:
            why = f"it took more than {self.timeout_s:.0f} s" if done.timed_out else done.stderr.strip()[-500:]
            raise ToolFault(f"{self.name} could not be copied for the rehearsal: {why}")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment and cannot write."""
        with connected(self.address) as connection:
            try:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                for statement in _PATIENCE:
                    connection.execute(cast(Any, statement))
                with connection.transaction():
                    _version(connection)
                    yield connection
            except psycopg.Error as error:
                raise ToolFault(f"{self.name} could not be read: {said(error)}") from error


def version(address: Address) -> str:
    """The version of the server, as in "15.18". Raises ToolRefused for one that is not supported."""
    with connected(address) as connection:
        return _version(connection)


def _version(connection: Connection) -> str:
    number = connection.info.server_version
    major, minor = divmod(number, 10_000)
    if major not in SUPPORTED:
        raise ToolRefused(
            f"the server is PostgreSQL {major}.{minor}; supported are {SUPPORTED[0]} to {SUPPORTED[-1]}. "
            "Nothing was read from it"
        )
    return f"{major}.{minor}"


def _pattern(name: str) -> str:
    """A name as pg_dump's patterns take it, where quotes take their meaning from every sign but themselves."""
    return '"' + name.replace('"', '""') + '"'
