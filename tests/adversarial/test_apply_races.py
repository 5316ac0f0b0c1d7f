"""Two that apply the same approval at once: exactly one does, each time; without lock and check both do."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import postgres_server
import psycopg
import pytest
from pg_applying import COUNTED, COUNTING, MOVED, Case, Notes, case, scalar

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.migrators.protocol import Script, Segment

TRIALS = 200
RESET = b"UPDATE counter SET n = 0; UPDATE alembic_version SET version_num = 'a'"
STATE = "SELECT n, version_num FROM counter, alembic_version"
Contestant = Callable[[], str]


def race(
    contestants: tuple[Contestant, ...], trials: int, server: psycopg.Connection
) -> list[tuple[tuple[str, ...], object]]:
    """What each said and what the database held then, for each trial; all start at the same moment."""
    start = threading.Barrier(len(contestants))

    def run(contestant: Contestant) -> str:
        start.wait()
        return contestant()

    results: list[tuple[tuple[str, ...], object]] = []
    with ThreadPoolExecutor(len(contestants)) as pool:
        for _ in range(trials):
            server.execute(RESET)
            said = tuple(sorted(pool.map(run, contestants)))
            results.append((said, server.execute(STATE).fetchone()))
    return results


def applying(this: Case) -> Contestant:
    """The real thing, each time as another crew with a journal of its own."""

    def contest() -> str:
        this.notes.path.unlink(missing_ok=True)
        try:
            return "already applied" if this.apply().already else "applied"
        except ToolRefused as error:
            return str(error)

    return contest


@contextmanager
def naive(url: str) -> Iterator[Contestant]:
    """The same SQL after a look at the place, without the lock and without a second look."""
    with psycopg.connect(url, autocommit=True) as connection:

        def contest() -> str:
            if connection.execute("SELECT version_num FROM alembic_version").fetchone() != ("a",):
                return "already applied"
            with connection.transaction():
                connection.execute(COUNTED.encode())
                connection.execute(MOVED.encode())
            return "applied"

        yield contest


@contextmanager
def like_alembic(url: str) -> Iterator[Contestant]:
    """Somebody's own `alembic upgrade`: knows nothing of our lock, and fails when its row was taken."""
    with psycopg.connect(url, autocommit=True) as connection:

        def contest() -> str:
            with connection.transaction():
                if connection.execute("SELECT version_num FROM alembic_version").fetchone() != ("a",):
                    return "already applied"
                connection.execute(COUNTED.encode())
                if connection.execute(MOVED.encode()).rowcount != 1:
                    raise psycopg.Rollback
                return "applied"
            return "rolled back"

        yield contest


@pytest.fixture
def this(postgres: postgres_server.Server, tmp_path: Path) -> Case:
    """A database at the old place and an approval for it."""
    return case(postgres, tmp_path, COUNTING)


def test_two_at_once_apply_once(this: Case, tmp_path: Path) -> None:
    other = replace(this, notes=Notes(tmp_path / "other.notes"))
    with psycopg.connect(this.url, autocommit=True) as server:
        results = race((applying(this), applying(other)), TRIALS, server)
    assert Counter(results) == {(("already applied", "applied"), (1, "b")): TRIALS}


def test_without_lock_and_check_both_apply(this: Case) -> None:
    """The weak control of the one above."""
    with psycopg.connect(this.url, autocommit=True) as server, naive(this.url) as one, naive(this.url) as other:
        results = race((one, other), TRIALS, server)
    assert (("applied", "applied"), (2, "b")) in results


def test_beside_the_tool_itself_it_is_applied_once(this: Case) -> None:
    with psycopg.connect(this.url, autocommit=True) as server, like_alembic(this.url) as tool:
        results = race((applying(this), tool), TRIALS // 4, server)
    assert {state for _, state in results} == {(1, "b")}
    assert all(sum(one == "applied" for one in said) == 1 for said, _ in results), Counter(results)


@pytest.mark.parametrize("way", ["apply", "naive"])
def test_two_at_once_swap_a_sqlite_database_once(way: str) -> None:
    """The whole of `apply_sqlite` but the sandbox, in two processes: locks of SQLite belong to processes."""
    child = Path(__file__).parents[1] / "sqlite_race_child.py"
    argv = [sys.executable, str(child), way, str(TRIALS)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    results = Counter((tuple(sorted(said)), tuple(end)) for said, end in json.loads(done.stdout))
    if way == "apply":
        assert results == {(("applied", "refused"), (1, "b")): TRIALS}
    else:
        assert results[("applied", "applied"), (1, "b")] > 0, "the weak control: both replaced what was there"


def test_what_the_tool_has_not_committed_yet_is_waited_for(postgres: postgres_server.Server, tmp_path: Path) -> None:
    """Nothing in the migration itself meets the other session: the tool's own table alone keeps the two apart."""
    script = Script((Segment(f"INSERT INTO counter VALUES (7); {MOVED}"),))
    this = case(postgres, tmp_path, script)
    with psycopg.connect(this.url) as tool, ThreadPoolExecutor(1) as pool:
        tool.execute(script.segments[0].sql.encode())
        ours = pool.submit(applying(this))
        deadline = time.monotonic() + 30
        while scalar(this.url, "SELECT count(*) FROM pg_locks WHERE NOT granted") != 1:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        tool.commit()
        assert "is at b, and the approval was for a database at a; nothing was applied" in ours.result()
    assert scalar(this.url, "SELECT count(*) FROM counter") == 2
