"""Files of one folder, read and written without ever following a link out of it."""

import difflib
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend_crew.tools.confine import (
    MissingPathError,
    create_file,
    open_folder,
    open_inner,
    open_parent,
    open_plain,
    read_at,
    replace_file,
)
from backend_crew.tools.deny import SECRET_MARK, fold, is_env_file, is_read_denied, is_write_denied
from backend_crew.tools.errors import ToolRefused, ToolRetry

__all__ = [
    "DELETE",
    "READ_LIMIT",
    "WRITE",
    "WRITE_LIMIT",
    "FileText",
    "MissingPathError",
    "ReadOnly",
    "Redacts",
    "Workspace",
    "WriteScope",
    "clean_path",
    "fold",
    "is_env_file",
    "is_read_denied",
    "is_write_denied",
    "open_parent",
    "read_file",
    "replace_file",
]

WRITE, DELETE = "write", "delete"
"""What can be done to a file: bring it into being or change it; take it away."""
READ_LIMIT = 2_000_000
WRITE_LIMIT = 1_000_000
LINES_A_CALL = 400
LINE_WIDTH = 2_000
_JUNK = ".git .hg .svn .venv venv node_modules __pycache__ .mypy_cache .ruff_cache .pytest_cache .tox .nox"
JUNK_FOLDERS = frozenset(_JUNK.split())


class WriteScope(Protocol):
    """Says what may be done to which paths now."""

    def check_write(self, path: str, act: str = WRITE) -> None:
        """Return when the act, WRITE or DELETE, is allowed on the relative path; raise ToolRefused when not."""


class ReadOnly:
    """A write scope that refuses every path."""

    def check_write(self, path: str, act: str = WRITE) -> None:
        """Raise ToolRefused."""
        raise ToolRefused(f"{path!r} cannot be written: this step only reads. Describe the change in what you submit.")


class Redacts(Protocol):
    """Takes secrets out of text."""

    def __call__(self, text: str) -> str:
        """Give the text with a mark in the place of each secret."""

    def mask(self, text: str) -> str:
        """Give a text of the same length and lines with NUL for each character of a secret."""

    def patterns(self) -> tuple[str, ...]:
        """Give ripgrep's patterns for the lines that may hold a secret."""


class NoSecrets:
    """Takes nothing out; for where there is nothing to hide."""

    def __call__(self, text: str) -> str:
        """Give the text as it is."""
        return text

    def mask(self, text: str) -> str:
        """Give the text as it is."""
        return text

    def patterns(self) -> tuple[str, ...]:
        """Give none."""
        return ()


@dataclass(frozen=True)
class FileText:
    """Lines `start`.. of a file of `total` lines, as agents may see them: without line ends and secrets.

    `sha256` is that of the whole file as it is.
    """

    path: str
    sha256: str
    lines: tuple[str, ...]
    start: int
    total: int


def clean_path(path: str) -> str:
    """Give the path relative and without `./`; raise ToolRefused for what could lead elsewhere or hide its name."""
    shown = repr(path)[:200]
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in path):
        raise ToolRefused(f"{shown} holds control, bidirectional or invisible characters: use a plain path.")
    if path.startswith(("/", "~")) or "\\" in path or (len(path) > 1 and path[1] == ":"):
        raise ToolRefused(f"{shown} is not relative to the repository root: use a path such as 'app/models.py'.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for part in parts:
        # Look-alikes of dots and slashes fold to the real ones on some systems.
        if fold(part) in ("", "..") or "/" in fold(part):
            raise ToolRefused(f"{shown} leads out of its folder: `..` is not allowed.")
        if part != part.rstrip(". ") or len(part.encode()) > 255:
            raise ToolRefused(f"{shown} has a name that ends in a dot or blank, or is longer than 255 bytes.")
    return "/".join(parts)


def shown_lines(masked: str) -> list[str]:
    """Give the lines of a masked text with a mark for each secret; a part of one that goes over lines has its own."""
    return [re.sub("\0+", SECRET_MARK, line) for line in _split_lines(masked)]


def read_file(root: Path, path: str, limit: int = READ_LIMIT) -> tuple[bytes, int]:
    """Read a regular file below root without following links; give its bytes and permission bits.

    Raises MissingPathError, or ToolRefused for links, devices, hard links, holes and files over `limit` bytes.
    """
    with open_parent(root, clean_path(path)) as (parent, name):
        return read_at(parent, name, path, limit)


class Workspace:
    """Reads and writes the files of one folder; writing asks the scope and the deny list first."""

    def __init__(
        self,
        root: Path,
        scope: WriteScope,
        *,
        ignored: Callable[[str], bool] | None = None,
        redact: Redacts | None = None,
    ) -> None:
        """Work below `root`, which has to exist.

        Paths that are `ignored` are as if denied. What `redact` finds is neither shown nor compared with what an agent
        says. Text with more secrets than the file had is not written, nor with more of the marks that stand for one.
        """
        self.root = root
        self._scope = scope
        self._ignored = ignored or (lambda _: False)
        self._redact = redact or NoSecrets()
        self._seen: dict[str, str] = {}

    def forget(self) -> None:
        """Start anew: nothing counts as read."""
        self._seen.clear()

    def hides(self, path: str) -> bool:
        """Say whether a path is kept from agents, by the deny list or an ignore file."""
        return is_read_denied(path) is not None or self._ignored(path)

    def read_bytes(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Give a file's bytes; raises ToolRetry when it is missing, ToolRefused when it is denied or not plain."""
        clean = self._readable(path)
        try:
            return read_file(self.root, clean, limit)[0]
        except MissingPathError:
            raise MissingPathError(self._missing(clean)) from None

    def read(self, path: str, start: int = 1, end: int | None = None) -> FileText:
        """Give lines start..end (1-based, inclusive, 400 at most) of a UTF-8 text file."""
        clean = self._readable(path)
        data = self.read_bytes(clean)
        # The whole file at once: a range could begin or end inside of a secret.
        lines = shown_lines(self._redact.mask(_decode(data, clean)))
        total = len(lines)
        if start < 1 or (end is not None and end < start):
            raise ToolRetry(f"lines {start}..{end} make no range: count from 1, with start <= end.")
        if start > max(total, 1):
            raise ToolRetry(f"{clean} has {total} lines: start={start} lies behind its end.")
        last = min(total, start + LINES_A_CALL - 1, total if end is None else end)
        self._seen[clean] = _sha256(data)
        shown = tuple(line if len(line) <= LINE_WIDTH else line[:LINE_WIDTH] + "…" for line in lines[start - 1 : last])
        return FileText(clean, self._seen[clean], shown, start, total)

    def lines(self, path: str) -> list[str]:
        """Give all lines of a text file as agents see them; what cannot be decoded stands as a replacement sign."""
        text = self.read_bytes(path).decode("utf-8", "replace").replace("\0", "\ufffd")
        return shown_lines(self._redact.mask(text))

    def seen(self, path: str) -> str | None:
        """Give the sha256 of a file as it was last read or written here; None when it was not."""
        return self._seen.get(clean_path(path))

    def exists(self, path: str) -> bool:
        """Say whether there is a regular file at the path."""
        clean = self._readable(path)
        try:
            with open_parent(self.root, clean) as (parent, name):
                os.close(open_plain(parent, name, clean))
        except MissingPathError:
            return False
        return True

    def list(self, prefix: str = "", *, limit: int = 500) -> tuple[str, ...]:
        """Name the files below the folder `prefix`, sorted, `limit` at most; denied ones and links are left out."""
        clean = self._readable(prefix) if clean_path(prefix) else ""
        try:
            with open_folder(self.root, clean) as found:
                return tuple(sorted(self._walk(found, f"{clean}/" if clean else ""))[:limit])
        except MissingPathError:
            raise MissingPathError(self._missing(clean)) from None

    def write(self, path: str, text: str, *, expected: str | None) -> str:
        """Write a whole file at once and give its new sha256; `expected` is the sha256 read, None = must not exist."""
        clean = self._writable(path)
        data = _encode(text, clean)
        if expected is None:
            self._check_secrets("", text, clean)
        with open_parent(self.root, clean, create=expected is None) as (parent, name):
            if expected is None:
                create_file(parent, name, data, clean)
            else:
                old, mode = read_at(parent, name, clean, READ_LIMIT)
                if _sha256(old) != expected:
                    raise ToolRetry(
                        f"{clean} is not what you read: its sha256 is {_sha256(old)}, you expected {expected}. "
                        "Read it again before you write it."
                    )
                self._check_secrets(old.decode("utf-8", "replace"), text, clean)
                replace_file(parent, name, data, mode)
        self._seen[clean] = _sha256(data)
        return self._seen[clean]

    def edit(self, path: str, old: str, new: str) -> str:
        """Replace the one place where `old` stands by `new`; give the new sha256. The file has to be read before."""
        clean = self._writable(path)
        data = self.read_bytes(clean)
        if clean not in self._seen:
            raise ToolRetry(f"{clean} was not read yet: read it, then edit what you saw.")
        if self._seen[clean] != _sha256(data):
            raise ToolRetry(f"{clean} changed since you read it: read it again, then edit.")
        text = _decode(data, clean)
        return self.write(clean, _replaced(text, self._redact.mask(text), old, new, clean), expected=self._seen[clean])

    def delete(self, path: str) -> None:
        """Remove a regular file."""
        clean = self._writable(path, DELETE)
        try:
            with open_parent(self.root, clean) as (parent, name):
                os.close(open_plain(parent, name, clean))
                os.unlink(name, dir_fd=parent)
        except MissingPathError:
            raise MissingPathError(self._missing(clean)) from None
        self._seen.pop(clean, None)

    def _readable(self, path: str) -> str:
        clean = clean_path(path)
        if not clean:
            raise ToolRetry("the path is empty: name a file relative to the repository root.")
        if reason := is_read_denied(clean):
            raise ToolRefused(f"{clean!r} is not accessible to agents: it is {reason}.")
        if self._ignored(clean):
            raise ToolRefused(
                f"{clean!r} is not accessible to agents: .crewignore names it, or the run's policy is kept there."
            )
        return clean

    def _writable(self, path: str, act: str = WRITE) -> str:
        clean = self._readable(path)
        if reason := is_write_denied(clean):
            raise ToolRefused(f"{clean!r} may not be changed by agents: {reason}.")
        self._scope.check_write(clean, act)
        return clean

    def _check_secrets(self, old: str, new: str, path: str) -> None:
        """Refuse text that would put a secret into the file, or the mark of one where its value stands."""
        if new.count(SECRET_MARK) > old.count(SECRET_MARK):
            raise ToolRefused(
                f"the text for {path} holds {SECRET_MARK}, which stands for a value that is not shown to you: "
                "edit around it, or read the value from the environment."
            )
        marks = self._redact(new).count(SECRET_MARK)
        if marks > new.count(SECRET_MARK) and marks > self._redact(old).count(SECRET_MARK):
            raise ToolRefused(
                f"the text for {path} holds what looks like a password or key: read it from the environment, "
                "and use short made-up words in tests and examples."
            )

    def _walk(self, folder: int, prefix: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            found = [
                (one.name, one.is_dir(follow_symlinks=False), one.is_file(follow_symlinks=False)) for one in entries
            ]
        for name, is_folder, is_file in found:
            path = prefix + name
            if not name.isprintable() or self.hides(f"{path}/" if is_folder else path):
                continue
            if is_file:
                yield path
            elif is_folder and name not in JUNK_FOLDERS and (inner := open_inner(folder, name)) is not None:
                try:
                    yield from self._walk(inner, f"{path}/")
                finally:
                    os.close(inner)

    def _missing(self, path: str) -> str:
        names = self.list(limit=5_000)
        base = path.rsplit("/", 1)[-1]
        same = [name for name in names if name.rsplit("/", 1)[-1] == base]
        near = (same + [name for name in difflib.get_close_matches(path, names, n=5, cutoff=0.5) if name not in same])[
            :5
        ]
        return f"there is no file {path!r}. " + (
            f"Close: {', '.join(near)}." if near else "List the folder to see names."
        )


def _decode(data: bytes, path: str) -> str:
    if b"\0" in data:
        raise ToolRefused(f"{path!r} is a binary file: only text can be read.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolRefused(f"{path!r} is not UTF-8 text (byte {error.start}): it cannot be read or edited.") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _encode(text: str, path: str) -> bytes:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolRetry(f"the text for {path} holds lone surrogates: send plain Unicode text.") from None
    if b"\0" in data:
        raise ToolRetry(f"the text for {path} holds a NUL character: only text files can be written.")
    if len(data) > WRITE_LIMIT:
        raise ToolRetry(f"the text for {path} has {len(data):,} bytes, {WRITE_LIMIT:,} are allowed: split the file.")
    return data


def _split_lines(text: str) -> list[str]:
    """Split at newlines only, as git and ripgrep count lines; a carriage return before one is left out."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _replaced(text: str, masked: str, old: str, new: str, path: str) -> str:
    """The text with the one place replaced; looked for where no secret stands, so that no guess is confirmed."""
    if "\0" in old:
        raise ToolRetry("the old text holds a NUL character: send the exact text to replace.")
    if not old or old == new:
        raise ToolRetry("the old text is empty or equals the new one: send the exact text to replace.")
    if "\r\n" in text:
        # Models see lines without their ends; the file keeps the ends that it has.
        if (places := _places(masked, old)) == []:
            old, new = _with_crlf(old), _with_crlf(new)
        elif "\n" not in text.replace("\r\n", ""):
            new = _with_crlf(new)
    places = _places(masked, old)
    if len(places) == 1:
        return text[: places[0]] + new + text[places[0] + len(old) :]
    if places:
        at = ", ".join(str(text.count("\n", 0, place) + 1) for place in places[:10])
        raise ToolRetry(f"the old text stands {len(places)} times in {path}, at lines {at}: add lines around it.")
    raise ToolRetry(f"the old text is not in {path}. {_nearest(shown_lines(masked), old)}")


def _with_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _places(text: str, old: str) -> list[int]:
    places: list[int] = []
    at = text.find(old)
    while at >= 0:
        places.append(at)
        at = text.find(old, at + 1)
    return places


def _nearest(lines: list[str], old: str) -> str:
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    same = [number for number, line in enumerate(lines, 1) if wanted and line.strip() == wanted][:5]
    if same:
        numbers = ", ".join(map(str, same))
        return f"Its first line is at line {numbers}, but what follows or the white space differs: read it again."
    close = difflib.get_close_matches(wanted, [line.strip() for line in lines[:5_000]], n=1, cutoff=0.6)
    if close:
        number = next(number for number, line in enumerate(lines, 1) if line.strip() == close[0])
        return f"The closest line is {number}: {close[0][:200]!r}. Copy the text exactly."
    return f"It has {len(lines)} lines, none like it: read the file again."
