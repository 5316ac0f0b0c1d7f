"""The tests' own PostgreSQL: real, password-protected, and gone with the process that asked for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import postgres_server
import psycopg
import pytest

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import postgres_server
with postgres_server.running() as server:
    print(server.pid, server.data.parent, flush=True)
    sys.stdin.read()
"""


def test_each_database_is_new_and_asks_for_a_password(postgres: postgres_server.Server) -> None:
    first, second = postgres_server.fresh_database(postgres), postgres_server.fresh_database(postgres)
    with psycopg.connect(first) as one, psycopg.connect(second) as other:
        one.execute("CREATE TABLE t (i int)")
        one.commit()
        assert other.execute("SELECT to_regclass('t')").fetchone() == (None,)
        assert one.info.server_version // 10_000 == postgres.major
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=postgres.host, port=postgres.port, user=postgres.user, password="wrong", dbname="postgres")


def test_it_ends_with_the_process_that_started_it(postgres: postgres_server.Server) -> None:
    tests = str(Path(postgres_server.__file__).parent)
    argv = [sys.executable, "-c", CHILD, tests]
    children = [subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for child, ended in zip(children, (signal.SIGKILL, None), strict=True):
        assert child.stdout is not None
        number, folder = child.stdout.readline().split()
        os.kill(int(number), 0)
        if ended is not None:
            child.send_signal(ended)
        child.communicate()
        deadline = time.monotonic() + 30
        while Path(folder).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(folder).exists()
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)


def test_a_standby_is_in_recovery() -> None:
    with postgres_server.running(standby=True) as server, server.connect() as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_a_server_that_cannot_start_is_skipped_with_its_own_words() -> None:
    with (
        pytest.raises(pytest.skip.Exception, match="no_such_setting"),
        postgres_server.running(no_such_setting="1"),
    ):
        pass


@pytest.mark.parametrize("binaries", postgres_server.installations(), ids=str)
def test_every_installation_here_works(binaries: Path) -> None:
    with postgres_server.running(binaries) as server, server.connect() as connection:
        assert connection.info.server_version // 10_000 == postgres_server.version_of(binaries)
