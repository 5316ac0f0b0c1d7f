"""What was read once, kept by content: a cache that is thrown away whenever anything about it is in doubt."""

import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from backend_crew.tools.errors import ToolFault

_PACKAGES = (
    "grimp", "identify", "tree_sitter", "tree_sitter_go", "tree_sitter_java", "tree_sitter_javascript",
    "tree_sitter_php", "tree_sitter_python", "tree_sitter_ruby", "tree_sitter_typescript",
)  # fmt: skip
_TOOLS = Path(__file__).parent.parent
_MOST_BYTES = 500_000_000
_AT_ONCE = 500
_WAIT_S = 2.0
_TABLE = "CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, sum BLOB NOT NULL, value BLOB NOT NULL) WITHOUT ROWID"


@cache
def edition() -> str:
    """Names the code and the grammars that make the entries: another edition never sees what this one kept.

    By the files of the packages: reading their versions takes longer than a scan may take that finds all in the cache.
    """
    made = blake2b(sys.version.encode(), digest_size=8)
    for name in _PACKAGES:
        for path in sorted(_folder(name).glob("*")):
            facts = path.stat()
            made.update(f"{name}/{path.name} {facts.st_size} {facts.st_mtime_ns};".encode())
    for path in sorted(_TOOLS.rglob("*.py")):
        made.update(path.read_bytes())
    return made.hexdigest()


def _folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ToolFault(f"the package {package} is not installed: run `pip install --force-reinstall backend-crew`.")
    return Path(found.origin).parent


class Store:
    """A table of bytes by key in one file; without a folder, or with one that cannot be used, it is empty.

    Several processes may use it at once. A value that is not what was put in, by its checksum, is not there.
    """

    def __init__(self, folder: Path | None) -> None:
        """Keep entries below `folder`, which is made where it is missing; None keeps nothing."""
        self._path = folder / f"index-{edition()}.db" if folder else None

    def many(self, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """The values of those keys that are there."""
        wanted = list(keys)
        found: dict[bytes, bytes] = {}

        def look(database: sqlite3.Connection) -> None:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                found.update(_sound(database.execute(f"SELECT key, sum, value FROM kept WHERE key IN ({marks})", part)))

        self._do(look)
        return found

    def one(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self.many([key]).get(key)

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep all of them or, where that does not work, none."""
        rows = [(key, _sum(key, value), value) for key, value in values.items()]
        if rows:
            self._do(lambda database: database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows))

    def _do(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Work on the database; what it cannot do is left undone, and a file that is damaged is removed."""
        path = self._path
        if path is None:
            return
        try:
            _prepare(path)
            with closing(sqlite3.connect(path, timeout=_WAIT_S)) as database, database:
                # A cache that a power cut tears is thrown away like any other that is damaged.
                database.execute("PRAGMA synchronous=OFF")
                database.execute(_TABLE)
                work(database)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                self._path = None  # waiting for the other process again would only take longer
            else:
                _remove(path)
        except OSError:
            self._path = None


def _prepare(path: Path) -> None:
    """Make the folder, and take away what other editions left or what has grown too big."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in path.parent.glob("index-*.db*"):
            if not old.name.startswith(path.name):
                old.unlink(missing_ok=True)
    elif path.stat().st_size > _MOST_BYTES:
        _remove(path)


def _remove(path: Path) -> None:
    for tail in ("", "-journal"):
        with suppress(OSError):
            path.with_name(path.name + tail).unlink(missing_ok=True)


def _sum(key: bytes, value: bytes) -> bytes:
    return blake2b(key + value, digest_size=8).digest()


def _sound(rows: Iterable[tuple[object, object, object]]) -> Iterator[tuple[bytes, bytes]]:
    for key, checksum, value in rows:
        if isinstance(key, bytes) and isinstance(value, bytes) and checksum == _sum(key, value):
            yield key, value
