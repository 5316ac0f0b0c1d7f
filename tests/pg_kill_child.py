"""Applies to PostgreSQL in processes that kill themselves at every point; run by test_pg_apply.py."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pg_applying
import psycopg
from pg_applying import Case, Notes

from backend_crew.tools.migrators.protocol import Script, Segment
from backend_crew.tools.pg_apply import Approved

RESET = b"UPDATE counter SET n = 0; UPDATE alembic_version SET version_num = 'a'; DROP INDEX IF EXISTS ix_email"
STATE = "SELECT n, version_num FROM counter, alembic_version"


def case_of(url: str, digest: str, script: Script, notes: str) -> Case:
    """The same approval that the test made."""
    return Case(url, Approved(script, pg_applying.identity_of(url), ("a",), ("b",), digest), Notes(Path(notes)))


def once(url: str, digest: str, notes: str, segments: str) -> None:
    """Applies, for a test that kills from outside."""
    script = Script(tuple(Segment(each) for each in json.loads(segments)))
    case_of(url, digest, script, notes).apply()


class Points:
    """Counts everything that reaches the server or the journal and dies before one of them, which is after the last."""

    def __init__(self, fatal: int) -> None:
        self.left = fatal

    def wrap(self, function: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.hit()
            return function(*arguments, **named)

        return wrapped

    def hit(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


def victim(this: Case, fatal: int) -> bool:
    """Forks a process that applies and dies at a point; False when it came through."""
    child = os.fork()
    if child == 0:
        points = Points(fatal)
        psycopg.Connection.execute = points.wrap(psycopg.Connection.execute)  # type: ignore[method-assign]  # the child dies in it
        for name in ("before", "done"):
            setattr(this.notes, name, points.wrap(getattr(this.notes, name)))
        this.apply()
        points.hit()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, status
    return os.WIFSIGNALED(status)


def main(url: str, digest: str, script: str, notes: str) -> None:
    """One result for each point: what the killed one left, and what the next try made of it."""
    this = case_of(url, digest, getattr(pg_applying, script), notes)
    results: list[dict[str, object]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            connection.execute(RESET)
            this.notes.path.unlink(missing_ok=True)
            if not victim(this, len(results)):
                break
            killed = connection.execute(STATE).fetchone()
            this.apply()
            results.append({"killed": killed, "end": connection.execute(STATE).fetchone()})
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
