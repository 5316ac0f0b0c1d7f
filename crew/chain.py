"""The chain of a run's decisions: each link covers the one before; with a key, only its holder can make one."""

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_crew.crew import settings
from backend_crew.crew.errors import JournalError, UsageError
from backend_crew.crew.rows import canonical, sha256

GENESIS = "0" * 64
"""What the first decision of a chain without a key stands on."""
LINKED = ("run", "gate", "round", "digest", "verdict", "reason", "to_stage", "payload", "actor", "channel", "at")
KEY_FILE = "BACKEND_CREW_KEY_FILE"
_SHORTEST, _LONGEST = 16, 4096


def read_small(what: str, path: Path, limit: int, mode: int = 0) -> bytes:
    """A file's bytes, one more than `limit` at most; raises UsageError unless it is an ordinary file without `mode`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"{what}: {path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{what}: {path} is no ordinary file")
        if status.st_mode & mode:
            raise UsageError(f"{what}: others may read {path}; chmod 600 it")
        parts: list[bytes] = []
        while (left := limit + 1 - sum(len(one) for one in parts)) and (part := os.read(handle, left)):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def read_key(path: Path) -> bytes:
    """The key in a file that only its owner may read: 16 to 4096 bytes, line ends cut off; raises UsageError."""
    key = read_small(KEY_FILE, path, _LONGEST, mode=0o077).rstrip(b"\r\n")
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise UsageError(
            f"{KEY_FILE}: {path} holds {len(key)} bytes, a key has {_SHORTEST} to {_LONGEST}; "
            f"make one with: openssl rand -hex 32 > {path}"
        )
    return key


def key_here() -> bytes | None:
    """The key that the environment names, or None; raises UsageError for a file that is none."""
    path = settings.key_file()
    return read_key(path) if path is not None else None


class Chain:
    """How the links of one run are made and checked."""

    def __init__(self, run: str, key: bytes | None) -> None:
        self.run, self._key = run, key

    @property
    def genesis(self) -> str:
        """What the first decision stands on; it tells whether, and with which key, a chain was begun."""
        return GENESIS if self._key is None else self._sealed(["backend-crew", "chain", self.run])

    def link(self, values: Mapping[str, Any]) -> str:
        """The hash of one decision, over all of its columns and the hash before it."""
        return self._sealed([values["previous"], *(values[name] for name in LINKED)])

    def check(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The head of the chain that these rows form; raises JournalError naming the first broken link."""
        previous = self.genesis
        for number, row in enumerate(rows, start=1):
            whole = hmac.compare_digest(str(row["hash"]), self.link(row))
            if row["run"] != self.run or row["previous"] != previous or not whole:
                raise JournalError(
                    f"decision {number} of run {self.run} was changed, moved or removed after it was recorded"
                    + (self._other_key(str(row["previous"])) if number == 1 else "")
                )
            previous = str(row["hash"])
        return previous

    def _other_key(self, previous: str) -> str:
        if self._key is None and previous != GENESIS:
            return f", or the chain was begun with a key: name it with {KEY_FILE}"
        if self._key is not None and previous == GENESIS:
            return f", or the chain was begun without a key: unset {KEY_FILE} to go on with this run"
        return f", or {KEY_FILE} names another key" if previous != self.genesis else ""

    def _sealed(self, parts: list[Any]) -> str:
        text = canonical(parts)
        if self._key is None:
            return sha256(text)
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
