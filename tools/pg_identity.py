"""A person's PostgreSQL: what its URL names, a connection to exactly that, and which database was reached."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import conninfo, errors

from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.facts import Ask

Connection = psycopg.Connection[tuple[Any, ...]]
Row = tuple[Any, ...]

#: What a URL may set besides its five parts; the rest belongs to drivers and pools, and libpq would not take it.
_PASSED = frozenset(
    (
        "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "sslpassword", "channel_binding",
        "ssl_min_protocol_version", "gssencmode", "krbsrvname", "require_auth", "connect_timeout", "keepalives",
        "keepalives_idle", "options", "passfile", "client_encoding", "hostaddr",
    )
)  # fmt: skip
# Parts of an address that some drivers take after the question mark.
_PARTS = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "dbname": "dbname",
    "database": "dbname",
}
_SCHEMES = re.compile(r"(?:postgres|postgresql|postgis|pgsql|timescale)(?:\+\w+)?\Z")
_NAME = "backend-crew"


@dataclass(frozen=True)
class Address:
    """Where a PostgreSQL database is and who logs in; an empty part is what libpq makes of it (~/.pgpass, a socket)."""

    database: str
    host: str = ""
    port: int = 5432
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """For messages: never with the password."""
        who = f"{self.user}@" if self.user else ""
        return f"{who}{self.host or 'the local socket'}:{self.port}/{self.database}"

    @property
    def dsn(self) -> str:
        """What libpq takes."""
        parts: dict[str, Any] = {"dbname": self.database, "host": self.host, "port": self.port, "user": self.user,
                                 "password": self.password, **self.options}  # fmt: skip
        return conninfo.make_conninfo("", **{name: value for name, value in parts.items() if value})


@dataclass(frozen=True)
class Identity:
    """Which database it is: of which cluster (equal in a physical copy, hence host and port), and which one in it."""

    system_identifier: str
    oid: int
    name: str
    host: str
    port: int

    @property
    def text(self) -> str:
        """One line; equal for the same database reached in the same way."""
        return f"postgresql {self.system_identifier} {self.oid} {self.name} {self.host}:{self.port}"


def is_postgresql_url(url: str) -> bool:
    """Whether the scheme is one that projects write for PostgreSQL, with or without a driver."""
    return bool(_SCHEMES.match(url.strip().partition("://")[0].lower()))


def parse_postgresql_url(url: str) -> Address:
    """Reads what SQLAlchemy, Django, libpq and the usual drivers take; ToolRetry names what cannot be meant."""
    if not is_postgresql_url(url):
        raise ToolRetry("the URL is not one of PostgreSQL; expected postgresql://user:password@host:port/database")
    try:
        split = urlsplit(url.strip())
        port = split.port
    except ValueError:
        # Not its own words: they can hold a part of the password.
        raise ToolRetry(
            "the PostgreSQL URL cannot be read (host or port): percent-encode special characters in user and password"
        ) from None
    asked = dict(parse_qsl(split.query, keep_blank_values=True))
    # Not `hostname`, which is in lower case: a socket's folder is a path.
    host = re.sub(r":\d*\Z", "", split.netloc.rpartition("@")[2]).strip("[]")
    found: dict[str, str] = {
        "host": unquote(host), "port": "" if port is None else str(port), "user": unquote(split.username or ""),
        "password": unquote(split.password or ""), "dbname": unquote(split.path.removeprefix("/")),
    }  # fmt: skip
    for name, value in asked.items():
        if name in _PARTS and value:
            found[_PARTS[name]] = value
    if split.netloc.rpartition("@")[2].count(",") or "," in found["host"] + found["port"]:
        raise ToolRetry("the PostgreSQL URL names several hosts; name the one that takes writes")
    if not found["dbname"]:
        raise ToolRetry("the PostgreSQL URL names no database; expected postgresql://user@host:port/database")
    if found["port"] and not (found["port"].isdigit() and 0 < int(found["port"]) < 65_536):
        raise ToolRetry(f"the PostgreSQL URL names the port {found['port'][:20]!r}; expected 1 to 65535")
    options = {name: value for name, value in asked.items() if name in _PASSED}
    if asked.get("ssl") and "sslmode" not in options:  # as asyncpg and pg8000 say it
        options["sslmode"] = {"true": "require", "1": "require", "false": "disable"}.get(asked["ssl"], asked["ssl"])
    port_number = int(found["port"] or 5432)
    return Address(found["dbname"], found["host"], port_number, found["user"], found["password"], options)


@contextlib.contextmanager
def connected(address: Address, *, timeout_s: int = 10, name: str = _NAME) -> Iterator[Connection]:
    """A connection in which each statement commits by itself; ToolFault when there is none.

    Refused through a pooler: it may hand our session's locks and settings to somebody else.
    """
    try:
        connection: Connection = psycopg.connect(
            address.dsn, autocommit=True, prepare_threshold=None, connect_timeout=timeout_s, application_name=name
        )
    except psycopg.Error as error:
        raise ToolFault(f"the PostgreSQL database {address.shown} cannot be reached: {said(error)}") from error
    with contextlib.closing(connection):
        yield connection


def refuse_pooler(connection: Connection) -> None:
    """ToolRefused when something between us and the server shares sessions: a lock or a setting would not be ours."""
    if one(connection, "SELECT pg_backend_pid()")[0] != connection.info.backend_pid:
        raise ToolRefused(
            "the connection goes through a pooler (PgBouncer or alike), where a session's locks belong to nobody; "
            "name the server itself in the URL. Nothing was changed"
        )


def identity(connection: Connection) -> Identity:
    """Asks the server itself; ToolFault when it may not tell."""
    try:
        row = one(
            connection,
            "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), oid::bigint, datname::text"
            " FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
        )
    except psycopg.Error as error:
        raise ToolFault(
            f"which database this is cannot be told: {said(error)}. Grant EXECUTE ON FUNCTION pg_control_system() to the role"
        ) from error
    return Identity(str(row[0]), int(row[1]), str(row[2]), connection.info.host, connection.info.port)


def in_recovery(connection: Connection) -> bool:
    """Whether this is a standby, which takes no writes."""
    return bool(one(connection, "SELECT pg_catalog.pg_is_in_recovery()")[0])


def asking(connection: Connection) -> Ask:
    """How a migrator reads its own table here; works within a transaction too."""

    def ask(query: str) -> list[Row]:
        try:
            # A binary cursor takes one statement only, and a savepoint keeps an error from ending our transaction.
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                return cursor.execute(cast(Any, query)).fetchall()
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            return []
        except psycopg.Error as error:
            raise ToolFault(f"what was applied cannot be read: {said(error)}") from error

    return ask


def lock_key(database: Identity) -> int:
    """The advisory lock that everyone takes who applies to this database."""
    value = hashlib.sha256(f"backend-crew apply {database.system_identifier} {database.oid}".encode()).digest()
    return int.from_bytes(value[:8], "big", signed=True)


def one(connection: Connection, query: str, *values: Any) -> Row:
    """The one row of a query of ours."""
    row = connection.execute(cast(Any, query), values or None).fetchone()
    if row is None:
        raise ToolFault(f"the database answered nothing to: {query[:80]}")
    return row


def said(error: psycopg.Error) -> str:
    """PostgreSQL's own words on one line; libpq never puts a password into them."""
    primary = error.diag.message_primary or str(error)
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return " ".join(f"{primary}{detail}".split())
