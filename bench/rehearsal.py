"""A rehearsal against the same steps by the bare tools, and its memory. Usage: python bench/rehearsal.py [--big 2]"""

import argparse
import contextlib
import functools
import os
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
import postgres_server
import psycopg
from places import migrator, place

from backend_crew.tools import process
from backend_crew.tools.pg_source import PostgresSource
from backend_crew.tools.rehearsal import Rehearsal, rehearse
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox
from backend_crew.tools.sources import Source, SqliteSource, source_of

USERS, ORDERS, ROUNDS = 20_000, 50_000, 3
MOST_RATIO, MOST_MB = 1.5, 300.0
NEW = '''"""A phone number."""

import sqlalchemy as sa
from alembic import op

revision = "a003"
down_revision = "a002"


def upgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.String(30)))


def downgrade() -> None:
    op.drop_column("users", "phone")
'''
_ROWS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users}) "
    "INSERT INTO users (id, email, name) SELECT i, 'person' || i || '@example.org', 'Person ' || i FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {orders}) "
    "INSERT INTO orders (id, user_id, status, total, placed_at) "
    "SELECT i, 1 + i % {users}, 'paid', 12.5, '2026-01-01 00:00:00' FROM n",
)


def alembic(shop: Path, url: str, *arguments: str) -> str:
    """One command of the bare tool."""
    env = {"DATABASE_URL": url, "PATH": os.defpath, "HOME": str(shop.parent)}
    done = process.run((sys.executable, "-m", "alembic", *arguments), cwd=shop, env=env, timeout_s=600)
    if not done.ok:
        raise SystemExit(f"alembic {arguments} failed: {done.stderr[-500:]}")
    return done.stdout


def bare_sqlite(shop: Path, live: Path, folder: Path) -> None:
    """Copy, up, down, up, the SQL of both directions, and that SQL on a second copy, with the rows counted after each."""
    copy, second = folder / "copy.db", folder / "second.db"
    shutil.copyfile(live, copy)
    url = f"sqlite:///{copy}"
    for step in (("upgrade", "a003"), ("downgrade", "a002"), ("upgrade", "a003")):
        alembic(shop, url, *step)
        _count(copy)
    sql = alembic(shop, url, "upgrade", "a002:a003", "--sql")
    alembic(shop, url, "downgrade", "a003:a002", "--sql")
    shutil.copyfile(live, second)
    with contextlib.closing(sqlite3.connect(second)) as connection:
        connection.executescript(sql)
    _count(second)


def _count(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table in ("users", "orders"):
            connection.execute(f"SELECT count(*), count(id) FROM {table}").fetchone()


def bare_postgresql(shop: Path, server: postgres_server.Server, live: str, folder: Path) -> None:
    """The same on a server that is up: dump and restore by PostgreSQL's own programs, then the bare tool."""
    dump, programs = folder / "dump", server.binaries
    env = {"PATH": os.defpath, "HOME": str(folder)}
    process.run((str(programs / "pg_dump"), "-Fc", f"--file={dump}", live), cwd=folder, env=env, timeout_s=600)
    copies = [postgres_server.fresh_database(server) for _ in range(2)]
    for copy in copies:
        process.run((str(programs / "pg_restore"), f"--dbname={copy}", str(dump)), cwd=folder, env=env, timeout_s=600)
    url = copies[0].replace("postgresql://", "postgresql+psycopg://", 1)
    for step in (("upgrade", "a003"), ("downgrade", "a002"), ("upgrade", "a003")):
        alembic(shop, url, *step)
    sql = alembic(shop, url, "upgrade", "a002:a003", "--sql")
    alembic(shop, url, "downgrade", "a003:a002", "--sql")
    with psycopg.connect(copies[1], autocommit=True) as connection:
        connection.execute(sql.encode())


def ours(shop: Path, source: Source, url: str = "") -> Rehearsal:
    """The whole rehearsal, as gate 6 and `backend-crew rehearse` do it, once a sandbox was found (bench/sandbox.py)."""
    done = rehearse(place(_sandbox(), shop), migrator(shop, env={"DATABASE_URL": url}), source=source)
    if done.status != "passed":
        raise SystemExit(f"the rehearsal did not pass: {done.reason}")
    return done


@functools.cache
def _sandbox() -> Sandbox | NoSandbox:
    return find_sandbox()


def live_sqlite(shop: Path, users: int, orders: int, *, wide: bool = False) -> Path:
    """A database with that many rows, at the revision before the new one; `wide`: orders of a kilobyte each."""
    path = shop.parent / "live.db"
    alembic(shop, f"sqlite:///{path}", "upgrade", "a002")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # Nothing here has to last; an index that is kept up to date row by row would take ten minutes at 2 GB.
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"
        ).fetchall()
        connection.executescript(";".join(f"DROP INDEX {name}" for name, _ in indexes))
        for statement in _ROWS:
            text = statement.format(users=users, orders=orders)
            connection.execute(text.replace("'2026-01-01 00:00:00'", "'x' || hex(zeroblob(500))") if wide else text)
        connection.executescript(";".join(sql for _, sql in indexes))
        connection.commit()
    return path


def big(shop: Path, gigabytes: float) -> None:
    """Peak memory of a rehearsal on a large file, in a process of its own."""
    path = live_sqlite(shop, USERS, int(gigabytes * 2**30 / 1390), wide=True)  # three orders a page
    size = path.stat().st_size / 2**30
    pid = os.fork()
    if pid == 0:
        started = time.perf_counter()
        ours(shop, SqliteSource(path))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"\n{size:.2f} GB in {time.perf_counter() - started:.0f} s")
        measure.verdict(f"peak memory on {size:.2f} GB", peak, MOST_MB, " MB")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--big", type=float, default=0, metavar="GB", help="also a SQLite file of that size")
    given = options.parse_args()
    measure.machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shop = Path(shutil.copytree(measure.ROOT / "tests/data/alembic_shop", folder / "shop"))
        (shop / "migrations/versions/a003_phone.py").write_text(NEW)
        if given.big:
            big(shop, given.big)
            (folder / "live.db").unlink()
        live = live_sqlite(shop, USERS, ORDERS)
        rows, found = [], []
        with postgres_server.running() as server:
            url = postgres_server.fresh_database(server)
            alembic(shop, url.replace("postgresql://", "postgresql+psycopg://", 1), "upgrade", "a002")
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in _ROWS:
                    text = statement.format(users=USERS, orders=ORDERS).replace(
                        "00:00:00' FROM", "00:00:00'::timestamp FROM"
                    )
                    connection.execute(text.encode())
            named = source_of(url, shop)
            assert isinstance(named, PostgresSource)
            sqlalchemy_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
            for title, bare, guarded in (
                ("SQLite", lambda: bare_sqlite(shop, live, folder), lambda: ours(shop, SqliteSource(live))),
                (
                    f"PostgreSQL {server.major}",
                    lambda: bare_postgresql(shop, server, url, folder),
                    lambda: ours(shop, named, sqlalchemy_url),
                ),
            ):
                times: list[list[float]] = [[], []]
                for turn in range(ROUNDS + 1):
                    for work, kept in zip((bare, guarded), times, strict=True):
                        started = time.perf_counter()
                        work()
                        if turn:
                            kept.append(time.perf_counter() - started)
                one, two = (statistics.median(each) for each in times)
                rows.append((title, f"{one:.1f}", f"{two:.1f}", f"{two / one:.2f}x"))
                found.append((title, two / one))
    measure.table(f"s a rehearsal of an added column, {USERS + ORDERS:,} rows", ("", "bare", "ours", "ratio"), rows)
    print()
    for title, ratio in found:
        measure.verdict(f"rehearsal on {title}", ratio, MOST_RATIO, "x")


if __name__ == "__main__":
    main()
