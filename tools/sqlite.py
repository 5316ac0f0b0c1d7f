"""SQLite files handled by trusted code: consistent copies, facts about schema and data, nothing written to a source."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.facts import Bookkeeping, DatabaseFacts, TableFacts

_HEADER = b"SQLite format 3\x00"
_CHECKSUM_CELLS = 2_000_000  # above it values are counted, not compared: each cell costs about a microsecond
_ROWS_AT_ONCE = 1_000
_FACTS_S, _BYTES_A_SECOND = 60.0, 2**24  # of the processor's time: a busy machine takes longer, and does no more
_BUSY_S = 5.0


def parse_sqlite_url(url: str, root: Path) -> Path | None:
    """The file a SQLAlchemy SQLite URL names, relative ones below `root`; None for another engine or no file."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///(?P<path>[^?]*)(?:\?.*)?", url.strip())
    path = match["path"].removeprefix("file:") if match else ""
    return None if not path or path.startswith(":memory:") else root / path


def recorded_in(database: Path, book: Bookkeeping) -> tuple[str, ...]:
    """What a migration tool recorded in a SQLite file; () when no migration ever ran."""
    with reading(database) as connection:
        return recorded(connection, book)


def recorded(connection: sqlite3.Connection, book: Bookkeeping) -> tuple[str, ...]:
    """What a migration tool recorded in an open database; () when its table is missing."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError as error:
            if str(error).startswith("no such table"):
                return []
            raise

    with _faults("read what was migrated"):
        return book.recorded(ask)


@contextlib.contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection that leaves no file beside the database; ToolFault when it is no readable database."""
    if Path(f"{database}-journal").exists():
        # A writer may have been killed: only a read-write connection could undo its write, so a copy is undone.
        with _recovered(database) as connection:
            yield connection
        return
    before = _idle_wal(database)
    # A plain read of an idle WAL database would leave -wal and -shm files in the user's folder.
    connection = _connect(database, "mode=ro&immutable=1" if before else "mode=ro")
    try:
        yield connection
    finally:
        connection.close()
    if before and _idle_wal(database) != before:
        raise ToolFault(f"{database.name} was written while it was read: stop the programs that use it and try again")


@contextlib.contextmanager
def _recovered(database: Path) -> Iterator[sqlite3.Connection]:
    """The database as it was before an interrupted write; one that is being written just now is only waited for."""
    try:
        connection = _connect(database, "mode=ro")
    except ToolFault:
        with tempfile.TemporaryDirectory(prefix="recover-") as private:
            copy = Path(private) / "copy.sqlite3"
            shutil.copyfile(database, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{database}-journal", f"{copy}-journal")
            with opened(copy) as recovered:
                if problems(recovered):
                    raise ToolFault(
                        f"{database.name} is being written or damaged: try again when nobody uses it"
                    ) from None
                yield recovered
        return
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file of our own, which may finish or roll back what was interrupted; ToolFault if it cannot."""
    connection = _connect(database, "mode=rw")
    try:
        yield connection
    finally:
        connection.close()


def snapshot(source: Path, target: Path) -> None:
    """Copies a database consistently into `target` (created, or overwritten in place); the source is only read."""
    with reading(source) as connection:
        copy_into(connection, target, synced=False)


def copy_into(connection: sqlite3.Connection, target: Path, *, synced: bool = True) -> None:
    """Copies what an open connection sees into the file `target`, in rollback-journal mode; `synced`: for good."""
    with contextlib.closing(sqlite3.connect(target)) as copy, _faults(f"copy the database to {target.name}"):
        if not synced:
            copy.execute("PRAGMA synchronous=OFF")
        connection.backup(copy, progress=_patience())
        # A WAL copy would need two more files to be complete.
        copy.execute("PRAGMA journal_mode=DELETE")
    if synced:
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def problems(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What integrity_check finds, empty for a sound database."""
    with _faults("check the database"):
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    return () if found == ["ok"] else tuple(found)


def broken_references(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Rows whose foreign key points nowhere, counted by table."""
    counts: dict[str, int] = {}
    with _faults("check the foreign keys"):
        for row in connection.execute("PRAGMA foreign_key_check"):
            counts[str(row[0])] = counts.get(str(row[0]), 0) + 1
    return counts


def row_counts(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Rows of every ordinary table, those of the migration tool included."""
    with _faults("count the rows"):
        return {
            name: connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
            for name in table_names(connection)
        }


def facts(connection: sqlite3.Connection, book: Bookkeeping) -> DatabaseFacts:
    """Schema and contents of a database that untrusted code may have written; bounded to a minute and what its size takes."""
    _guard(connection)
    with _faults("read the migrated database"):
        names = [name for name in table_names(connection) if name.lower() not in book.tables]
        lines = [line for name in names for line in _table_lines(connection, name)]
        lines += _other_lines(connection)
        tables = {name: _table_facts(connection, name) for name in names}
        return DatabaseFacts(recorded(connection, book), tuple(sorted(lines)), tables, broken_references(connection))


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Ordinary tables, sorted; SQLite's own and virtual ones left out."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [str(row[0]) for row in rows]


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def checks(sql: str) -> list[str]:
    """The conditions of the CHECK constraints in a CREATE TABLE, normalised."""
    found: list[str] = []
    text = _normal(sql)
    for match in re.finditer(r"\bcheck\s*\(", text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        found.append(text[match.end() : end - 1].strip())
    return found


def _patience() -> Callable[[int, int, int], None]:
    """Ends a backup that finds its source locked for too long; by itself it would wait for ever."""
    deadline = time.monotonic() + 2 * _BUSY_S

    def check(status: int, _remaining: int, _total: int) -> None:
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline:
            raise ToolFault("the database stayed locked while it was to be copied: stop the programs that write it")

    return check


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    try:
        with database.open("rb") as file:
            header = file.read(16)
    except OSError as error:
        raise ToolFault(f"the database {database} cannot be read: {error.strerror}") from error
    if header and header != _HEADER:
        raise ToolFault(f"{database} is not a SQLite database")
    connection = sqlite3.connect(f"file:{quote(str(database.absolute()))}?{mode}", uri=True, timeout=_BUSY_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise ToolFault(f"the database {database} cannot be read: {error}") from error
    return connection


def _idle_wal(database: Path) -> tuple[int, int, int] | None:
    """Identity of a database that is in WAL mode and that nobody has open, None otherwise."""
    try:
        with database.open("rb") as file:
            header = file.read(20)
        if header[18:19] != b"\x02" or Path(f"{database}-wal").exists():
            return None
        status = database.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _guard(connection: sqlite3.Connection) -> None:
    """Bounds what a hostile file can cost: no attached files, no functions from its schema, a deadline."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    size = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    deadline = time.thread_time() + _FACTS_S + size / _BYTES_A_SECOND
    connection.set_progress_handler(lambda: int(time.thread_time() > deadline), 100_000)
    connection.text_factory = lambda data: data.decode("utf-8", errors="replace")


def _table_facts(connection: sqlite3.Connection, name: str) -> TableFacts:
    columns = _columns(connection, name)
    counts = ", ".join(f"count({quoted(column)})" for column in columns)
    row = connection.execute(f"SELECT count(*), {counts} FROM {quoted(name)}").fetchone()
    few = row[0] * len(columns) <= _CHECKSUM_CELLS
    return TableFacts(
        row[0], dict(zip(columns, row[1:], strict=True)), _checksums(connection, name, columns) if few else None
    )


def _checksums(connection: sqlite3.Connection, name: str, columns: Sequence[str]) -> dict[str, int]:
    """A sum over each column's values, column by column because a loop over single values takes twice as long."""
    lenient = connection.text_factory
    sql = f"SELECT {', '.join(quoted(column) for column in columns)} FROM {quoted(name)}"
    try:
        connection.text_factory = str
        return dict(zip(columns, _sums(connection.execute(sql), len(columns)), strict=True))
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode"):
            raise
    finally:
        connection.text_factory = lenient
    return dict(zip(columns, _sums(connection.execute(sql), len(columns)), strict=True))


def _sums(rows: sqlite3.Cursor, width: int) -> list[int]:
    sums = [0] * width
    while some := rows.fetchmany(_ROWS_AT_ONCE):
        for index, values in enumerate(zip(*some, strict=True)):
            sums[index] += sum(map(zlib.crc32, map(str.encode, map(repr, values))))
    return sums


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})") if row[6] != 1]


def _table_lines(connection: sqlite3.Connection, table: str) -> list[str]:
    """A table by its parts, because batch mode rewrites the text of CREATE TABLE without changing the table."""
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE type='table' AND name=?", (table,)).fetchone()[0]
    tail = _normal(sql.rsplit(")", 1)[-1])
    options = [word for word in ("without rowid", "strict") if word in tail]
    options += [word for word in ("autoincrement", "collate nocase", "collate rtrim") if word in _normal(sql)]
    lines = [f"table {table} {' '.join(options)}".rstrip()]
    for _, column, kind, required, default, key, hidden in connection.execute(f"PRAGMA table_xinfo({quoted(table)})"):
        words = [f"column {table}.{column} {str(kind).upper()}"]
        words += ["NOT NULL"] if required else []
        words += [f"DEFAULT {default}"] if default is not None else []
        words += [f"KEY {key}"] if key else []
        words += ["GENERATED"] if hidden else []
        lines.append(" ".join(words))
    lines += [f"check {table}: {condition}" for condition in checks(sql)]
    return [*lines, *_reference_lines(connection, table), *_index_lines(connection, table)]


def _reference_lines(connection: sqlite3.Connection, table: str) -> list[str]:
    keys: dict[int, list[str]] = {}
    for number, _, other, column, target, update, delete, _ in connection.execute(
        f"PRAGMA foreign_key_list({quoted(table)})"
    ):
        keys.setdefault(number, [f"references {other} update {update} delete {delete}:"]).append(f"{column}>{target}")
    return [f"foreign key {table} {' '.join(parts)}" for parts in keys.values()]


def _index_lines(connection: sqlite3.Connection, table: str) -> list[str]:
    lines: list[str] = []
    for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        if origin == "pk":
            continue
        rows = connection.execute(f"PRAGMA index_xinfo({quoted(name)})").fetchall()
        columns = [f"{row[2] or '(expression)'}{' desc' if row[3] else ''}" for row in rows if row[5]]
        kind = "unique" if unique else "index"
        # A constraint's own index carries a made-up name.
        label = f" {name}" if origin == "c" else ""
        where = ""
        if partial or "(expression)" in columns:
            text = connection.execute("SELECT sql FROM sqlite_master WHERE name=?", (name,)).fetchone()
            where = f" {_normal(str(text[0]))}"
        lines.append(f"{kind}{label} on {table} ({', '.join(columns)}){where}")
    return lines


def _other_lines(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') OR sql LIKE 'CREATE VIRTUAL%'"
    )
    return [f"{kind} {name}: {_normal(str(sql))}" for kind, name, sql in rows]


def _normal(sql: str) -> str:
    """SQL with one spelling for spaces, identifier quotes and, outside strings, case."""
    parts = re.split(r"('(?:[^']|'')*')", sql)
    outside = [re.sub(r"\s+", " ", re.sub(r"[\"`\[\]]", "", part)).lower() for part in parts[::2]]
    inside = parts[1::2]
    return "".join(part for pair in zip(outside, [*inside, ""], strict=True) for part in pair).strip()


@contextlib.contextmanager
def _faults(doing: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise ToolFault(f"could not {doing}: {error}") from error
