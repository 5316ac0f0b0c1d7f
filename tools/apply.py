"""The one place where approved migrations reach a person's SQLite database: migrated as a copy, swapped in whole."""

import contextlib
import os
import random
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backend_crew.tools.additive import added_only
from backend_crew.tools.alembic_box import excerpt
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.facts import Bookkeeping
from backend_crew.tools.migrators.protocol import SQLITE, Migrator, Move
from backend_crew.tools.rehearsal_findings import after_up, kind_of
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place, scratch_of
from backend_crew.tools.sqlite import (
    broken_references,
    copy_into,
    facts,
    opened,
    parse_sqlite_url,
    problems,
    recorded,
    row_counts,
)

__all__ = ["Applied", "Shown", "apply_sqlite", "parse_sqlite_url"]

_LOCK_S = 10.0


@dataclass(frozen=True)
class Applied:
    """What was applied; `backup` is a verified copy of the database as it was, readable by its owner only."""

    start: tuple[str, ...]
    goal: tuple[str, ...]
    backup: Path
    seconds: float


@dataclass(frozen=True)
class Shown:
    """What a person was shown before they approved: the database file, and what the upgrade did to a copy of it."""

    device: int
    inode: int
    schema: str  # SHA-256 of the schema after the upgrade
    losses: frozenset[str]  # the errors that the rehearsal found, as `kind_of` gives them
    added_only: bool = False  # the rehearsal left everything that was there as it was


def apply_sqlite(
    place: Place | NoSandbox,
    migrator: Migrator,
    move: Move,
    *,
    database: Path,
    shown: Shown,
    backup_dir: Path,
    lock_timeout_s: float = _LOCK_S,
) -> Applied:
    """Brings `database` from `move.start` (what the tool's own table says) to `move.goal`, wholly or not at all.

    The database is locked from the copy to the swap, so no other program's write is lost; repository code only ever
    sees the copy. ToolRefused when the database is another one or elsewhere, when the migration fails, or when it does
    to the copy what was not `shown`; ToolFault when the database is missing, busy longer than `lock_timeout_s` or
    damaged. In each case it holds what it held before.
    """
    if isinstance(place, NoSandbox):
        raise ToolFault(f"there is no working sandbox: {place.reason}. {place.fix}")
    started = time.monotonic()
    with _locked(database, lock_timeout_s) as original, tempfile.TemporaryDirectory(prefix="apply-") as folder:
        _check_same_file(database, shown)
        _check_start(original, database, migrator, move)
        private, size = Path(folder), database.stat().st_size
        copy, migrated = private / "copy.sqlite3", private / "migrated.sqlite3"
        copy_into(original, copy)
        with scratch_of(place, SQLITE, private / "scratch", code=migrator.runs_code, size=size) as scratch:
            scratch.load(copy)
            copy.unlink()
            done = migrator.up(scratch, move)
            if not done.ok:
                raise ToolRefused(f"the migration failed on a copy; {database.name} is unchanged:\n{excerpt(done)}")
            scratch.save(migrated)
        with opened(migrated) as new:
            _check_migrated(original, new, migrator, move)
            backup = _keep(original, database, migrator, backup_dir)
            _check_as_shown(backup, migrated, migrator, shown)
            if place.stop is not None and place.stop():
                raise ToolRefused(f"stopped before anything was applied; {database.name} is unchanged")
            _swap(new, original, migrator, move, backup)
    return Applied(move.start, move.goal, backup, time.monotonic() - started)


@contextlib.contextmanager
def _locked(database: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """A connection that alone may use the database until it is closed; recovers what a killed writer left."""
    # Nothing may open and close this file by other means meanwhile: POSIX then drops the locks of the whole process.
    if not database.is_file():
        raise ToolFault(f"the database {database} does not exist; nothing was applied")
    uri = f"{database.resolve().as_uri()}?mode=rw"
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")  # in this mode the lock outlives the transaction
            except sqlite3.Error as error:
                _check_busy(error, database, deadline, timeout_s)
            else:
                yield connection
                return
        # Anew each time, and not in step: in this mode a try that failed keeps the lock for reading, and two that keep
        # it wait for one another.
        time.sleep(random.uniform(0.005, 0.05))


def _check_busy(error: sqlite3.Error, database: Path, deadline: float, timeout_s: float) -> None:
    """Returns when it is worth another try."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
        raise ToolFault(f"the database {database} cannot be opened: {error}") from error
    if time.monotonic() > deadline:
        raise ToolFault(
            f"{database.name} is in use and stayed locked for {timeout_s:.0f} s: stop the programs that "
            "have it open and apply again; nothing was applied"
        ) from error


def _check_same_file(database: Path, shown: Shown) -> None:
    """Asked with the lock held: what was renamed into the approved one's place before is found here."""
    status = database.stat()
    if (status.st_dev, status.st_ino) != (shown.device, shown.inode):
        raise ToolRefused(
            f"{database} is another file than the one that the approval was for; nothing was applied. "
            "Rehearse and approve again"
        )


def _check_start(original: sqlite3.Connection, database: Path, book: Bookkeeping, move: Move) -> None:
    found = recorded(original, book)
    if found != move.start:
        raise ToolRefused(
            f"{database.name} is at {_place(found)}, and the approval was for a database at {_place(move.start)}; "
            "nothing was applied. Rehearse and approve again"
        )
    if damage := problems(original):
        raise ToolFault(f"{database.name} is damaged ({damage[0]}); nothing was applied. Repair it first")


def _place(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no revision"


def _check_migrated(original: sqlite3.Connection, new: sqlite3.Connection, book: Bookkeeping, move: Move) -> None:
    found = recorded(new, book)
    if found != move.goal:
        raise ToolRefused(f"the copy ended at {_place(found)} instead of {_place(move.goal)}; nothing was applied")
    if damage := problems(new):
        raise ToolRefused(f"the migrated copy is damaged ({damage[0]}); nothing was applied")
    known = broken_references(original)
    for table, count in broken_references(new).items():
        if count > known.get(table, 0):
            raise ToolRefused(
                f"in the migrated copy {count} rows of {table} point at missing rows; nothing was applied"
            )
    sizes = [connection.execute("PRAGMA page_size").fetchone()[0] for connection in (original, new)]
    if sizes[0] != sizes[1]:
        raise ToolRefused(f"the migration changed the page size from {sizes[0]} to {sizes[1]}; nothing was applied")


def _check_as_shown(before: Path, migrated: Path, book: Bookkeeping, shown: Shown) -> None:
    """Compares what happened with what was approved: a migration can do something else the second time it runs."""
    with opened(before) as old, opened(migrated) as new:
        was, now = facts(old, book), facts(new, book)
    if now.digest != shown.schema:
        raise ToolRefused(
            "the migrations made another schema than in the rehearsal that was approved; nothing was applied. "
            "Rehearse and approve again"
        )
    errors = [one.text for one in after_up(was, now) if one.severity == "error"]
    if new_losses := [text for text in errors if kind_of(text) not in shown.losses]:
        raise ToolRefused(
            f"what the rehearsal did not show: {'; '.join(new_losses)}. Nothing was applied. Rehearse and approve again"
        )
    if shown.added_only and not added_only(was, now):
        raise ToolRefused(
            "the rehearsal that was approved only added, and now values that were there changed; nothing was applied. "
            "Rehearse and approve again"
        )


def _keep(original: sqlite3.Connection, database: Path, book: Bookkeeping, folder: Path) -> Path:
    """A backup of the locked database that was opened again, checked, and found to hold every row."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"{database.stem}-{moment}-{secrets.token_hex(3)}.sqlite3"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    copy_into(original, path)
    with opened(path) as copy:
        if (
            problems(copy)
            or row_counts(copy) != row_counts(original)
            or recorded(copy, book) != recorded(original, book)
        ):
            raise ToolFault(f"the backup {path} does not hold what {database.name} holds; nothing was applied")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _swap(new: sqlite3.Connection, original: sqlite3.Connection, book: Bookkeeping, move: Move, backup: Path) -> None:
    """Replaces the content in one SQLite transaction; a process killed in it leaves a journal that undoes it."""
    try:
        new.backup(original)
    except sqlite3.Error as error:
        raise ToolFault(f"applying failed and was rolled back ({error}); a backup is {backup}") from error
    if recorded(original, book) == move.goal and not problems(original):
        return
    with opened(backup) as old:
        old.backup(original)
    raise ToolFault(f"after applying, the database was not sound; it was put back to what the backup {backup} holds")
