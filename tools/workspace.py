"""Files of one folder, read and written without ever following a link out of it."""

import difflib
import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from backend_crew.tools.deny import fold, is_env_file, is_read_denied, is_write_denied
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry

__all__ = [
    "READ_LIMIT",
    "WRITE_LIMIT",
    "FileText",
    "MissingPathError",
    "ReadOnly",
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

READ_LIMIT = 2_000_000
WRITE_LIMIT = 1_000_000
LINES_A_CALL = 400
LINE_WIDTH = 2_000
_JUNK = ".git .hg .svn .venv venv node_modules __pycache__ .mypy_cache .ruff_cache .pytest_cache .tox .nox"
JUNK_FOLDERS = frozenset(_JUNK.split())
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class WriteScope(Protocol):
    """Says which paths may be written now."""

    def check_write(self, path: str) -> None:
        """Return when the relative path may be written; raise ToolRefused with the reason when not."""


class ReadOnly:
    """A write scope that refuses every path."""

    def check_write(self, path: str) -> None:
        """Raise ToolRefused."""
        raise ToolRefused(f"{path!r} cannot be written: this step only reads. Describe the change in what you submit.")


class MissingPathError(ToolRetry):
    """There is no such file; the message names close ones."""


@dataclass(frozen=True)
class FileText:
    """Lines `start`.. of a file of `total` lines, without line ends; `sha256` is that of the whole file."""

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


def read_file(root: Path, path: str, limit: int = READ_LIMIT) -> tuple[bytes, int]:
    """Read a regular file below root without following links; give its bytes and permission bits.

    Raises MissingPathError, or ToolRefused for links, devices, hard links, holes and files over `limit` bytes.
    """
    with open_parent(root, clean_path(path)) as (parent, name):
        return _read_at(parent, name, path, limit)


class Workspace:
    """Reads and writes the files of one folder; writing asks the scope and the deny list first."""

    def __init__(self, root: Path, scope: WriteScope) -> None:
        """Work below `root`, which has to exist."""
        self.root = root
        self._scope = scope
        self._seen: dict[str, str] = {}

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
        lines = _split_lines(_decode(data, clean))
        total = len(lines)
        if start < 1 or (end is not None and end < start):
            raise ToolRetry(f"lines {start}..{end} make no range: count from 1, with start <= end.")
        if start > max(total, 1):
            raise ToolRetry(f"{clean} has {total} lines: start={start} lies behind its end.")
        last = min(total, start + LINES_A_CALL - 1, total if end is None else end)
        self._seen[clean] = _sha256(data)
        shown = tuple(line if len(line) <= LINE_WIDTH else line[:LINE_WIDTH] + "…" for line in lines[start - 1 : last])
        return FileText(clean, self._seen[clean], shown, start, total)

    def seen(self, path: str) -> str | None:
        """Give the sha256 of a file as it was last read or written here; None when it was not."""
        return self._seen.get(clean_path(path))

    def exists(self, path: str) -> bool:
        """Say whether there is a regular file at the path."""
        clean = self._readable(path)
        try:
            with open_parent(self.root, clean) as (parent, name):
                os.close(_open_plain(parent, name, clean))
        except MissingPathError:
            return False
        return True

    def list(self, prefix: str = "", *, limit: int = 500) -> tuple[str, ...]:
        """Name the files below the folder `prefix`, sorted, `limit` at most; denied ones and links are left out."""
        clean = self._readable(prefix) if clean_path(prefix) else ""
        try:
            with _folder(self.root, clean) as found:
                return tuple(sorted(_walk(found, f"{clean}/" if clean else ""))[:limit])
        except MissingPathError:
            raise MissingPathError(self._missing(clean)) from None

    def write(self, path: str, text: str, *, expected: str | None) -> str:
        """Write a whole file at once and give its new sha256; `expected` is the sha256 read, None = must not exist."""
        clean = self._writable(path)
        data = _encode(text, clean)
        with open_parent(self.root, clean, create=True) as (parent, name):
            if expected is None:
                _create(parent, name, data, clean)
            else:
                old, mode = _read_at(parent, name, clean, READ_LIMIT)
                if _sha256(old) != expected:
                    raise ToolRetry(
                        f"{clean} is not what you read: its sha256 is {_sha256(old)}, you expected {expected}. "
                        "Read it again before you write it."
                    )
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
        return self.write(clean, _replaced(_decode(data, clean), old, new, clean), expected=self._seen[clean])

    def delete(self, path: str) -> None:
        """Remove a regular file."""
        clean = self._writable(path)
        try:
            with open_parent(self.root, clean) as (parent, name):
                os.close(_open_plain(parent, name, clean))
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
        return clean

    def _writable(self, path: str) -> str:
        clean = self._readable(path)
        if reason := is_write_denied(clean):
            raise ToolRefused(f"{clean!r} may not be changed by agents: {reason}.")
        self._scope.check_write(clean)
        return clean

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


@contextmanager
def _folder(root: Path, path: str, create: bool = False) -> Iterator[int]:
    """Open a folder below root, one component after another, on root's own file system."""
    try:
        current = os.open(root, _FOLDER)
    except OSError as error:
        raise ToolFault(f"the folder {root} cannot be opened: {error.strerror}.") from None
    try:
        device = os.fstat(current).st_dev
        for part in path.split("/") if path else ():
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
            inner = _open_part(current, part, path)
            os.close(current)
            current = inner
            if os.fstat(current).st_dev != device:
                raise ToolRefused(f"{path!r} lies on another file system than the repository.")
        yield current
    finally:
        os.close(current)


@contextmanager
def open_parent(root: Path, path: str, create: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder that holds the path, without following links; give its descriptor and the last name."""
    folder, _, name = path.rpartition("/")
    with _folder(root, folder, create) as parent:
        yield parent, name


def _open_part(parent: int, part: str, path: str) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        raise MissingPathError(f"there is no folder {path!r}.") from None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise ToolRefused(f"{path!r} cannot be opened: {error.strerror}.") from None
        raise ToolRefused(f"{path!r} goes through {part!r}, which is {_kind(parent, part)}, not a folder.") from None


def _open_plain(parent: int, name: str, path: str) -> int:
    """Open a file for reading when it is regular, of one name, without holes and on its folder's file system."""
    try:
        opened = os.open(name, _FILE, dir_fd=parent)
    except FileNotFoundError:
        raise MissingPathError(f"there is no file {path!r}.") from None
    except OSError as error:
        found = _kind(parent, name) if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV) else error.strerror
        raise ToolRefused(f"{path!r} is refused: {found}. Only regular files are read and written.") from None
    problem = _problem(opened, parent)
    if problem is None:
        return opened
    os.close(opened)
    raise ToolRefused(f"{path!r} is refused: it is {problem}. Only regular files are read and written.")


def _problem(opened: int, parent: int) -> str | None:
    facts = os.fstat(opened)
    if not stat.S_ISREG(facts.st_mode):
        return _kind_of(facts.st_mode)
    if facts.st_nlink > 1:
        return f"a hard link: {facts.st_nlink} names share its bytes"
    if facts.st_dev != os.fstat(parent).st_dev:
        return "on another file system than its folder"
    if facts.st_size and os.lseek(opened, 0, os.SEEK_HOLE) < facts.st_size:
        return "a sparse file"
    os.lseek(opened, 0, os.SEEK_SET)
    return None


def _read_at(parent: int, name: str, path: str, limit: int) -> tuple[bytes, int]:
    opened = _open_plain(parent, name, path)
    with os.fdopen(opened, "rb") as file:
        data = file.read(limit + 1)
        if len(data) > limit:
            raise ToolRefused(f"{path!r} is larger than {limit:,} bytes: search in it instead.")
        return data, stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def _kind(parent: int, name: str) -> str:
    try:
        return _kind_of(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError as error:
        return str(error.strerror)


def _kind_of(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _walk(folder: int, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = [
            (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)) for entry in entries
        ]
    for name, is_folder, is_file in found:
        path = prefix + name
        if is_read_denied(path) or not name.isprintable():
            continue
        if is_file:
            yield path
        elif is_folder and name not in JUNK_FOLDERS:
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except OSError:  # it vanished, or became something else since the scan
                continue
            try:
                yield from _walk(inner, f"{path}/")
            finally:
                os.close(inner)


def _temporary(parent: int, data: bytes, mode: int) -> str:
    name = f".backend-crew-{token_hex(8)}.tmp"
    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    with os.fdopen(opened, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    return name


def _create(parent: int, name: str, data: bytes, path: str) -> None:
    """Make a new file; link() loses to whoever made one in between, where rename() would overwrite it."""
    temporary = _temporary(parent, data, 0o644)
    try:
        os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        found = _kind(parent, name)
        raise ToolRetry(f"{path} exists already ({found}): read it, then edit it or write with its sha256.") from None
    finally:
        os.unlink(temporary, dir_fd=parent)


def replace_file(parent: int, name: str, data: bytes, mode: int) -> None:
    """Write a whole file into an open folder at once, over whatever file or link has that name."""
    temporary = _temporary(parent, data, mode & 0o777)
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        os.unlink(temporary, dir_fd=parent)
        raise


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


def _replaced(text: str, old: str, new: str, path: str) -> str:
    if not old or old == new:
        raise ToolRetry("the old text is empty or equals the new one: send the exact text to replace.")
    if "\r\n" in text:
        # Models see lines without their ends; the file keeps the ends that it has.
        if (places := _places(text, old)) == []:
            old, new = _with_crlf(old), _with_crlf(new)
        elif "\n" not in text.replace("\r\n", ""):
            new = _with_crlf(new)
    places = _places(text, old)
    if len(places) == 1:
        return text[: places[0]] + new + text[places[0] + len(old) :]
    if places:
        at = ", ".join(str(text.count("\n", 0, place) + 1) for place in places[:10])
        raise ToolRetry(f"the old text stands {len(places)} times in {path}, at lines {at}: add lines around it.")
    raise ToolRetry(f"the old text is not in {path}. {_nearest(text, old)}")


def _with_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _places(text: str, old: str) -> list[int]:
    places: list[int] = []
    at = text.find(old)
    while at >= 0:
        places.append(at)
        at = text.find(old, at + 1)
    return places


def _nearest(text: str, old: str) -> str:
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = _split_lines(text)
    same = [number for number, line in enumerate(lines, 1) if wanted and line.strip() == wanted][:5]
    if same:
        numbers = ", ".join(map(str, same))
        return f"Its first line is at line {numbers}, but what follows or the white space differs: read it again."
    close = difflib.get_close_matches(wanted, [line.strip() for line in lines[:5_000]], n=1, cutoff=0.6)
    if close:
        number = next(number for number, line in enumerate(lines, 1) if line.strip() == close[0])
        return f"The closest line is {number}: {close[0][:200]!r}. Copy the text exactly."
    return f"It has {len(lines)} lines, none like it: read the file again."
