"""Two processes that apply to one SQLite file at the same moment, again and again; run by test_apply_races.py."""

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent))

from backend_crew.tools import apply
from backend_crew.tools.errors import ToolError
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.protocol import Move
from backend_crew.tools.process import Completed
from backend_crew.tools.sqlite import facts, opened

OLD = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a');
CREATE TABLE counter (n INTEGER NOT NULL);
INSERT INTO counter VALUES (0);
"""
CHANGE = "UPDATE counter SET n = n + 1; UPDATE alembic_version SET version_num = 'b'"


class InPlace:
    """What a migrator and its scratch database do, without a sandbox: the file is changed by a script of ours."""

    tables = frozenset({"alembic_version"})
    runs_code = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"scratch-{os.getpid()}"

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        return tuple(sorted(str(row[0]) for row in ask("SELECT version_num FROM alembic_version")))

    def load(self, source: Path) -> None:
        shutil.copyfile(source, self._file)

    def save(self, target: Path) -> None:
        shutil.copyfile(self._file, target)

    def up(self, *_: object) -> Completed:
        with contextlib.closing(sqlite3.connect(self._file)) as connection:
            connection.executescript(CHANGE)
        return Completed((), 0, "", "", 0, False, False, False)


def make(path: Path) -> None:
    """A small database at the old place."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.executescript(OLD)


def applied(live: Path, work: Path) -> str:
    """The real thing."""
    tool = InPlace(work)

    @contextlib.contextmanager
    def scratch_of(*_: object, **__: object) -> Iterator[InPlace]:
        yield tool

    setattr(apply, "scratch_of", scratch_of)  # noqa: B010  # the sandbox alone is left out
    with opened(live) as connection:
        schema = facts(connection, tool).digest
    status = live.stat()
    shown = apply.Shown(status.st_dev, status.st_ino, schema, frozenset())
    place = cast(Any, type("Place", (), {"stop": None}))
    apply.apply_sqlite(
        place, cast(Any, tool), Move(("a",), ("b",), ()), database=live, shown=shown, backup_dir=work / "backups",
        lock_timeout_s=30,
    )  # fmt: skip
    return "applied"


def naive(live: Path, work: Path) -> str:
    """A look, a copy, a migration, and the copy in its place: without the lock."""
    tool = InPlace(work)
    with contextlib.closing(sqlite3.connect(live, timeout=30)) as connection:
        if connection.execute("SELECT version_num FROM alembic_version").fetchone() != ("a",):
            return "refused"
    tool.load(live)
    tool.up()
    tool.save(live.with_suffix(f".{os.getpid()}"))
    live.with_suffix(f".{os.getpid()}").replace(live)
    return "applied"


def contest(way: Any, live: Path, work: Path, start: int, answers: int) -> None:
    """In a process of its own: at each start, applies and says on a line how it went."""
    while os.read(start, 1):
        try:
            said = way(live, work)
        except ToolError as error:
            said = "refused" if " is at b, " in str(error) else str(error)
        os.write(answers, (said + "\n").encode())
    os._exit(0)


def main(way: str, trials: str) -> None:
    """What both said in each trial, as JSON; the database is made anew for each."""
    memory = Path("/dev/shm")  # where it exists, backups need no disk
    results = []
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        work, live = Path(folder), Path(folder) / "live" / "shop.sqlite3"
        live.parent.mkdir()
        answers, tell = os.pipe()
        starts: list[int] = []
        for _ in range(2):
            start, go = os.pipe()
            if os.fork() == 0:
                for each in (go, *starts):
                    os.close(each)
                contest({"apply": applied, "naive": naive}[way], live, work, start, tell)
            os.close(start)
            starts.append(go)
        os.close(tell)
        with open(answers) as lines:  # noqa: PTH123  # a pipe
            for _ in range(int(trials)):
                make(live)
                for go in starts:
                    os.write(go, b"!")
                said = [lines.readline().strip() for _ in starts]
                with contextlib.closing(sqlite3.connect(live)) as connection:
                    end = connection.execute("SELECT n, version_num FROM counter, alembic_version").fetchone()
                results.append((said, end))
        for go in starts:
            os.close(go)
        for _ in starts:
            os.wait()
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
