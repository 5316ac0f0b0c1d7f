"""Every file of a repository by its SHA-256, where which of them run cannot be read."""

import hashlib
import os
from pathlib import Path

_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__"}
_NOT_CODE = (".db", ".sqlite", ".sqlite3", ".db-wal", ".db-shm", ".log")


def whole_tree(tree: Path) -> tuple[tuple[str, str], ...]:
    """(path, SHA-256) of all files but installed libraries, compiled files that are not read, and databases; sorted."""
    found: dict[str, str] = {}
    for place, folders, names in os.walk(tree):
        start = Path(place)
        folders[:] = [name for name in folders if name not in _SKIPPED]
        links = [name for name in folders if (start / name).is_symlink()]
        for path in (start / name for name in (*names, *links) if not name.lower().endswith(_NOT_CODE)):
            found[path.relative_to(tree).as_posix()] = hashlib.sha256(_link_or_bytes(path)).hexdigest()
    return tuple(sorted(found.items()))


def _link_or_bytes(path: Path) -> bytes:
    if path.is_symlink():
        return b"link to " + os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""
