"""Approved migrations reach the database wholly or not at all."""

import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from places import facts, migrator, place, sqlite_revision

from backend_crew.tools.apply import Applied, Shown, apply_sqlite
from backend_crew.tools.bubblewrap import Bubblewrap
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.migrators.protocol import Move
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox
from backend_crew.tools.sqlite import opened

SHOP = Path(__file__).parent / "data" / "alembic_shop"
OLD = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a001');
CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, email VARCHAR(120) NOT NULL UNIQUE, name VARCHAR(80));
INSERT INTO users VALUES (1, 'a@example.org', 'Ann'), (2, 'b@example.org', NULL);
"""
# What a002 adds, as a rehearsal would find it.
ADDED = """
CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),
  status VARCHAR(10) NOT NULL CHECK (status IN ('open', 'paid', 'sent')), total NUMERIC(10, 2) NOT NULL,
  placed_at DATETIME NOT NULL);
CREATE INDEX ix_orders_user_id ON orders (user_id);
"""
MODES = pytest.mark.parametrize("mode", ["DELETE", "WAL"])
# Takes the place of everything before the swap, so that the kills fall into it.
SWAP = """
import sqlite3, sys
from pathlib import Path
from places import BOOK
from backend_crew.tools.apply import _locked, _swap
from backend_crew.tools.migrators.protocol import Move
new, old = sqlite3.connect(sys.argv[1]), Path(sys.argv[2])
with _locked(old, 5) as original:
    print("ready", flush=True)
    _swap(new, original, BOOK, Move(("a001",), ("new",), ()), old)
print("done", flush=True)
"""
NAIVE = """
import os, sys
print("ready", flush=True)
with open(sys.argv[1], "rb") as new, open(sys.argv[2], "r+b") as old:
    while data := new.read(65536):
        old.write(data)
        old.flush()
        os.fsync(old.fileno())
print("done", flush=True)
"""
WHOLE = """
import sys
from pathlib import Path
from places import migrator, place
from backend_crew.tools.apply import Shown, apply_sqlite
from backend_crew.tools.migrators.protocol import Move
from backend_crew.tools.sandbox import find_sandbox
shop, live, backups = map(Path, sys.argv[1:])
shown = Shown(live.stat().st_dev, live.stat().st_ino, "SCHEMA", frozenset())
at, alembic = place(find_sandbox(), shop), migrator(shop)
move = Move(("a001",), ("a002",), alembic.history().between(("a001",), ("a002",)))
print("ready", flush=True)
apply_sqlite(at, alembic, move, database=live, shown=shown, backup_dir=backups)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(found.reason)
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


def make(path: Path, script: str = OLD, mode: str = "DELETE") -> Path:
    """A database made by this script."""
    path.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.executescript(script)
    return path


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The schema at a002."""
    with opened(make(tmp_path_factory.mktemp("schema") / "new.sqlite3", OLD + ADDED)) as connection:
        return facts(connection).digest


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(
    sandbox: Sandbox | NoSandbox,
    shop: Path,
    live: Path,
    *,
    expected: str | None = "a001",
    target: str = "a002",
    stop: Callable[[], bool] | None = None,
    schema: str = "",
) -> Applied:
    """Applies the shop's migrations to `live`, as if a rehearsal had shown this schema and no loss."""
    status = live.stat() if live.exists() else os.stat_result(range(10))
    alembic = migrator(shop)
    start, goal = (expected,) if expected else (), (target,)
    return apply_sqlite(
        place(sandbox, shop, stop=stop),
        alembic,
        Move(start, goal, alembic.history().between(start, goal)),
        database=live,
        shown=Shown(status.st_dev, status.st_ino, schema, frozenset()),
        backup_dir=shop.parent / "backups",
        lock_timeout_s=0.3,
    )


@MODES
def test_a_migration_is_applied_with_a_backup_and_others_wait(
    sandbox: Sandbox, shop: Path, schema: str, mode: str
) -> None:
    live = make(shop.parent / "live" / "shop.sqlite3", mode=mode)
    inode, attempts = live.stat().st_ino, []

    def write_meanwhile() -> bool:
        with contextlib.closing(sqlite3.connect(live, timeout=0)) as other:
            try:
                other.execute("INSERT INTO users VALUES (9, 'late@example.org', NULL)")
                other.commit()
                attempts.append("written")
            except sqlite3.OperationalError as error:
                attempts.append(str(error))
        return False

    done = run(sandbox, shop, live, stop=write_meanwhile, schema=schema)
    assert set(attempts) == {"database is locked"}
    assert (done.start, done.goal, sqlite_revision(live)) == (("a001",), ("a002",), "a002")
    assert (live.stat().st_ino, sorted(item.name for item in live.parent.iterdir())) == (inode, ["shop.sqlite3"])
    with contextlib.closing(sqlite3.connect(live)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode.lower(),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sqlite_revision(done.backup) == "a001"
    assert stat.S_IMODE(done.backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(done.backup.parent.stat().st_mode) == 0o700


def test_the_naive_way_loses_what_is_written_meanwhile(tmp_path: Path) -> None:
    live = make(tmp_path / "live.sqlite3")
    shutil.copyfile(live, tmp_path / "copy.sqlite3")
    with contextlib.closing(sqlite3.connect(live)) as other, other:
        other.execute("INSERT INTO users VALUES (9, 'late@example.org', NULL)")
    shutil.copyfile(tmp_path / "copy.sqlite3", live)
    with contextlib.closing(sqlite3.connect(live)) as connection:
        assert connection.execute("SELECT count(*) FROM users WHERE id = 9").fetchone() == (0,)


@MODES
def test_a_failed_migration_leaves_every_byte(sandbox: Sandbox, shop: Path, mode: str) -> None:
    live = make(shop.parent / "live" / "shop.sqlite3", mode=mode)
    before = digest(live)
    file = shop / "migrations/versions/a002_orders.py"
    file.write_text(
        file.read_text().replace('op.create_index("ix', 'op.execute("DELETE FROM users"); op.drop_table("ix')
    )
    with pytest.raises(ToolRefused, match=r"failed on a copy; shop\.sqlite3 is unchanged"):
        run(sandbox, shop, live)
    assert digest(live) == before
    assert [item.name for item in live.parent.iterdir()] == ["shop.sqlite3"]


def test_a_migration_that_leaves_rows_pointing_nowhere_is_refused(sandbox: Sandbox, shop: Path) -> None:
    live = make(shop.parent / "live" / "shop.sqlite3")
    before = digest(live)
    file = shop / "migrations/versions/a002_orders.py"
    insert = "INSERT INTO orders VALUES (1, 77, 'open', 1, '2026-01-01')"
    file.write_text(
        file.read_text().replace("    op.create_index(", f'    op.execute("{insert}")\n    op.create_index(')
    )
    with pytest.raises(ToolRefused, match="1 rows of orders point at missing rows"):
        run(sandbox, shop, live)
    assert digest(live) == before


def test_what_must_not_start_does_not(shop: Path, tmp_path: Path) -> None:
    # None of these gets as far as the sandbox, so a broken one must do.
    broken = Sandbox(Bubblewrap(Path("/nonexistent"), "0", Path("/nonexistent"), None))
    live = make(tmp_path / "live.sqlite3")
    before = digest(live)
    with pytest.raises(ToolRefused, match="is at a001, and the approval was for a database at a000"):
        run(broken, shop, live, expected="a000")
    with pytest.raises(ToolRefused, match="at no revision"):
        run(broken, shop, live, expected=None)
    with pytest.raises(ToolFault, match="does not exist"):
        run(broken, shop, tmp_path / "gone.sqlite3")
    assert not (tmp_path / "gone.sqlite3").exists()
    with pytest.raises(ToolFault, match="no working sandbox: off"):
        run(NoSandbox("off", "Turn it on"), shop, live)
    assert digest(live) == before


@MODES
def test_a_database_in_use_is_a_clear_fault(shop: Path, tmp_path: Path, mode: str) -> None:
    broken = Sandbox(Bubblewrap(Path("/nonexistent"), "0", Path("/nonexistent"), None))
    live = make(tmp_path / "live.sqlite3", mode=mode)
    with contextlib.closing(sqlite3.connect(live)) as other:
        other.execute("INSERT INTO users VALUES (9, 'busy@example.org', NULL)")
        with pytest.raises(ToolFault, match="in use and stayed locked"):
            run(broken, shop, live)


def killed_after(script: str, arguments: tuple[Path, ...], delay_s: float | None) -> float:
    """Runs a script in another process, kills it `delay_s` after it is ready (None: lets it end); seconds it took."""
    beside = str(Path(__file__).parent)
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(arguments[-1].parent), "PYTHONPATH": beside}
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        started = time.monotonic()
        if delay_s is not None:
            time.sleep(delay_s)  # the moment of the kill is what varies
            child.send_signal(signal.SIGKILL)
        child.wait()
        return time.monotonic() - started


def state(path: Path) -> str:
    """ "a001" or "new" for a sound database that holds all of one state, else what is wrong."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
            (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            marks = {row[0] for row in connection.execute("SELECT DISTINCT substr(data, 1, 3) FROM big")}
    except sqlite3.DatabaseError as error:
        return str(error)
    return str(version) if sound == "ok" and marks == {version[:3]} else f"{sound} {version} {marks}"


def big(path: Path, version: str, mode: str) -> Path:
    """About 12 MB that all belong to one version."""
    return make(
        path,
        f"CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('{version}');"
        "CREATE TABLE big (id INTEGER PRIMARY KEY, data TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
        f"FROM n WHERE i < 6000) INSERT INTO big SELECT i, '{version[:3]}' || hex(randomblob(1000)) FROM n;",
        mode,
    )


@MODES
def test_a_kill_in_the_swap_leaves_the_old_or_the_new(tmp_path: Path, mode: str) -> None:
    old, new = big(tmp_path / "old", "a001", mode), big(tmp_path / "new", "new", "DELETE")
    live = tmp_path / "live" / "shop.sqlite3"
    live.parent.mkdir()
    shutil.copyfile(old, live)
    whole = killed_after(SWAP, (new, live), None)
    assert state(live) == "new"
    seen, interrupted = set(), 0
    for part in range(8):
        shutil.copyfile(old, live)
        killed_after(SWAP, (new, live), whole * part / 8)
        interrupted += len(list(live.parent.iterdir())) > 1
        assert sqlite_revision(live) in {"a001", "new"}
        seen.add(state(live))
        for left in live.parent.glob("*-*"):
            left.unlink()
    assert seen <= {"a001", "new"}
    assert "a001" in seen
    assert interrupted, "no kill fell into the swap"


def test_a_kill_in_a_naive_copy_tears_the_database(tmp_path: Path) -> None:
    old, new = big(tmp_path / "old", "a001", "DELETE"), big(tmp_path / "new", "new", "DELETE")
    live = tmp_path / "live"
    shutil.copyfile(old, live)
    whole = killed_after(NAIVE, (new, live), None)
    states = []
    for part in range(1, 8):
        shutil.copyfile(old, live)
        killed_after(NAIVE, (new, live), whole * part / 8)
        states.append(state(live))
    assert set(states) - {"a001", "new"}


def test_a_kill_anywhere_leaves_the_old_or_the_new(sandbox: Sandbox, shop: Path, schema: str) -> None:
    assert sandbox
    for part in range(1, 4):
        live = make(shop.parent / "live" / f"{part}.sqlite3")
        killed_after(WHOLE.replace("SCHEMA", schema), (shop, live, shop.parent / "backups"), part * 0.7)
        with contextlib.closing(sqlite3.connect(live)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)
        expected = {"a001": {"alembic_version", "users"}, "a002": {"alembic_version", "users", "orders"}}
        assert tables == expected[sqlite_revision(live) or ""]
