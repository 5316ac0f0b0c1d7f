"""What a PostgreSQL URL names, and which database was reached."""

import socket
import threading

import postgres_server
import psycopg
import pytest

from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.pg_identity import (
    Address,
    asking,
    connected,
    identity,
    in_recovery,
    is_postgresql_url,
    lock_key,
    one,
    parse_postgresql_url,
    refuse_pooler,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://u:p@h:6543/d", Address("d", "h", 6543, "u", "p")),
        ("postgres://u@h/d", Address("d", "h", 5432, "u")),
        ("postgresql+asyncpg://u:p%40s%2F@h/d%20b", Address("d b", "h", 5432, "u", "p@s/")),
        ("postgis:///d", Address("d")),
        ("postgresql:///d?host=/run/pg&port=5433&user=u", Address("d", "/run/pg", 5433, "u")),
        ("postgresql://[::1]:5432/d", Address("d", "::1")),
        ("postgresql://u@%2FRun%2Fpg:5433/d", Address("d", "/Run/pg", 5433, "u")),
        (
            "postgresql://h/d?sslmode=verify-full&sslrootcert=/c.pem&pool_size=5&prepared_statement_cache_size=0",
            Address("d", "h", options={"sslmode": "verify-full", "sslrootcert": "/c.pem"}),
        ),
        ("postgresql+asyncpg://h/d?ssl=true", Address("d", "h", options={"sslmode": "require"})),
        ("  postgresql://h/d\n", Address("d", "h")),
    ],
)
def test_urls_as_projects_write_them(url: str, address: Address) -> None:
    assert parse_postgresql_url(url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:secret@h/d", "not one of PostgreSQL"),
        ("", "not one of PostgreSQL"),
        ("postgresql://u:secret@h", "names no database"),
        ("postgresql://u:secret@h:x/d", "percent-encode"),
        ("postgresql://u:se/cret@h/d", "percent-encode"),
        ("postgresql://u:secret@h1,h2/d", "several hosts"),
        ("postgresql://h/d?host=h1,h2&password=secret", "several hosts"),
        ("postgresql://u:secret@h/d?port=0", "port"),
        ("postgresql://u:secret@h:0/d", "port"),
        ("postgresql://u:secret@[::1/d", "cannot be read"),
    ],
)
def test_urls_that_cannot_be_meant(url: str, words: str) -> None:
    with pytest.raises(ToolRetry, match=words) as raised:
        parse_postgresql_url(url)
    assert "cret" not in str(raised.value)


def test_the_scheme_tells_the_engine() -> None:
    assert is_postgresql_url("POSTGRESQL+psycopg2://h/d")
    assert not is_postgresql_url("postgresqlx://h/d")
    assert not is_postgresql_url("sqlite:///postgresql.db")


def test_the_password_is_never_shown(postgres: postgres_server.Server) -> None:
    address = parse_postgresql_url(postgres.url("nowhere"))
    assert postgres.password not in f"{address!r}{address.shown}"
    with pytest.raises(ToolFault, match=r"cannot be reached.*nowhere") as raised, connected(address):
        pass
    assert postgres.password not in str(raised.value)
    closed = Address("d", "127.0.0.1", 1, "u", "hidden")
    with pytest.raises(ToolFault, match="refused") as raised, connected(closed):
        pass
    assert "hidden" not in str(raised.value)


def test_a_database_is_told_from_its_copy_and_its_namesake(postgres: postgres_server.Server, postgres_url: str) -> None:
    address = parse_postgresql_url(postgres_url)
    with connected(address) as connection, connected(address) as again:
        first = identity(connection)
        assert first == identity(again)
        assert first.name == address.database
        assert (first.host, first.port) == ("127.0.0.1", postgres.port)
        assert not in_recovery(connection)
        refuse_pooler(connection)
    with postgres.connect() as owner:
        owner.execute(f'CREATE DATABASE "{address.database}_copy" TEMPLATE "{address.database}"')
        owner.execute(f'DROP DATABASE "{address.database}"')
        owner.execute(f'CREATE DATABASE "{address.database}"')
    with connected(address) as connection:
        namesake = identity(connection)
    with connected(parse_postgresql_url(postgres.url(f"{address.database}_copy"))) as connection:
        copy = identity(connection)
    assert len({first, namesake, copy}) == 3
    assert len({lock_key(each) for each in (first, namesake, copy)}) == 3
    assert first.name == namesake.name


def test_a_role_without_rights_can_tell_which_database_it_is(
    postgres: postgres_server.Server, postgres_url: str
) -> None:
    address = parse_postgresql_url(postgres_url)
    with postgres.connect() as owner:
        owner.execute(f"CREATE ROLE \"{address.database}\" LOGIN PASSWORD 'x'")
    with connected(address) as connection:
        expected = identity(connection)
    plain = Address(address.database, address.host, address.port, address.database, "x")
    with connected(plain) as connection:
        assert identity(connection) == expected


def test_asking_runs_one_statement_and_survives_a_missing_table(postgres_url: str) -> None:
    with connected(parse_postgresql_url(postgres_url)) as connection:
        ask = asking(connection)
        connection.execute("CREATE TABLE t (v text)")
        connection.execute("INSERT INTO t VALUES ('100%')")
        assert ask("SELECT v FROM t WHERE v LIKE '1%'") == [("100%",)]
        for missing in ("SELECT v FROM gone", "SELECT v FROM no.t"):
            assert ask(missing) == []
        with pytest.raises(ToolFault, match="multiple commands"):
            ask("SELECT 1; DROP TABLE t")
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES ('new')")
            assert ask("SELECT v FROM gone") == []
            assert len(ask("SELECT v FROM t")) == 2
        assert len(ask("SELECT v FROM t")) == 2


class Relay:
    """Passes bytes on but gives out a cancel key of its own, as a pooler does."""

    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self._target = port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self.listening.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65_536):
            key = data.find(b"K\0\0\0\x0c")
            if source.getpeername()[1] == self._target and key >= 0:
                data = data[: key + 5] + b"\0\0\0\x01" + data[key + 9 :]
            target.sendall(data)
        target.close()


def test_a_pooler_is_refused(postgres: postgres_server.Server, postgres_url: str) -> None:
    relay = Relay(postgres.port)
    address = parse_postgresql_url(postgres_url.replace(str(postgres.port), str(relay.port)))
    with relay.listening, connected(address) as connection:
        assert one(connection, "SELECT 1") == (1,)
        with pytest.raises(ToolRefused, match="pooler"):
            refuse_pooler(connection)


def test_a_role_that_may_not_ask_is_told_what_to_grant(postgres: postgres_server.Server, postgres_url: str) -> None:
    address = parse_postgresql_url(postgres_url)
    with postgres.connect(address.database) as owner:
        owner.execute(f"CREATE ROLE \"{address.database}\" LOGIN PASSWORD 'x'")
        owner.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    with (
        connected(Address(address.database, address.host, address.port, address.database, "x")) as connection,
        pytest.raises(ToolFault, match="Grant EXECUTE"),
    ):
        identity(connection)
    with psycopg.connect(postgres_url) as plain:
        assert plain.execute("SELECT 1").fetchone() == (1,)
