"""Opens what lies beneath a folder: no link is followed, no other file system entered, no race lost.

Linux resolves a whole path at once (openat2); where that call is missing, it is walked name by name. Both refuse alike.
"""

import ctypes
import errno
import functools
import os
import platform
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The call has this number on every architecture that Linux gained it on; on others we walk.
_OPENAT2 = 437
_MACHINES = ("x86_64", "aarch64")
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV
_AGAIN = 20
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


class MissingPathError(ToolRetry):
    """There is no such file; the message names close ones where they are known."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def has_openat2() -> bool:
    """Say whether the kernel has openat2 and lets us call it: a container's seccomp filter may answer EPERM or ENOSYS."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    try:
        folder = os.open("/", _FOLDER)
    except OSError:
        return False
    try:
        os.close(_openat2(folder, ".", _FOLDER))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(folder: int, path: str, flags: int) -> int:
    how = _How(flags, 0, _RESOLVE)
    name = os.fsencode(path)
    for _ in range(_AGAIN):
        opened = int(_libc().syscall(_OPENAT2, folder, name, ctypes.byref(how), ctypes.sizeof(how)))
        if opened >= 0:
            return opened
        # The kernel says "again" when a rename or mount elsewhere keeps it from being sure.
        if (code := ctypes.get_errno()) not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code), path)


@contextmanager
def open_folder(root: Path, path: str, create: bool = False) -> Iterator[int]:
    """Open the folder `path` (relative, clean, "" for root itself) below root; `create` makes what is missing.

    Raises MissingPathError, ToolRefused for links and other file systems, ToolFault when root cannot be opened.
    """
    try:
        current = os.open(root, _FOLDER)
    except OSError as error:
        raise ToolFault(f"the folder {root} cannot be opened: {error.strerror}.") from None
    try:
        if path:
            found = _whole(current, path) if has_openat2() and not create else _walked(current, path, create)
            os.close(current)
            current = found
        yield current
    finally:
        os.close(current)


@contextmanager
def open_parent(root: Path, path: str, create: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder that holds the path, without following links; give its descriptor and the last name."""
    folder, _, name = path.rpartition("/")
    with open_folder(root, folder, create) as parent:
        yield parent, name


def _whole(root: int, path: str) -> int:
    try:
        return _openat2(root, path, _FOLDER)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise MissingPathError(f"there is no folder {path!r}.") from None
    # Refused; walking says at which name and why.
    os.close(_walked(root, path, create=False))
    raise ToolRefused(f"{path!r} changed while it was opened.")


def _walked(root: int, path: str, create: bool) -> int:
    """Open a folder one name after another, each on the mount of root; root itself stays open."""
    mount, current = _mount(root), os.dup(root)
    try:
        for part in path.split("/"):
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
            inner = _open_part(current, part, path)
            os.close(current)
            current = inner
            if _mount(current) != mount:
                raise ToolRefused(f"{path!r} lies on another file system than the repository.")
    except BaseException:
        os.close(current)
        raise
    return current


def _open_part(parent: int, part: str, path: str) -> int:
    try:
        return _openat2(parent, part, _FOLDER) if has_openat2() else os.open(part, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        raise MissingPathError(f"there is no folder {path!r}.") from None
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise ToolRefused(f"{path!r} lies on another file system than the repository.") from None
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise ToolRefused(f"{path!r} cannot be opened: {error.strerror}.") from None
        raise ToolRefused(f"{path!r} goes through {part!r}, which is {kind_at(parent, part)}, not a folder.") from None


def _mount(opened: int) -> tuple[int, str]:
    """What tells mounts apart: the device, and the mount's number where /proc shows it (a bind mount has one device)."""
    number = ""
    with suppress(OSError):
        facts = Path(f"/proc/self/fdinfo/{opened}").read_text(encoding="ascii")
        number = next((line for line in facts.splitlines() if line.startswith("mnt_id:")), "")
    return os.fstat(opened).st_dev, number


def open_plain(parent: int, name: str, path: str) -> int:
    """Open a file for reading when it is regular, of one name, without holes and on its folder's file system.

    Raises MissingPathError, or ToolRefused naming what it is instead; `path` is what the message shows.
    """
    try:
        opened = _openat2(parent, name, _FILE) if has_openat2() else os.open(name, _FILE, dir_fd=parent)
    except FileNotFoundError:
        raise MissingPathError(f"there is no file {path!r}.") from None
    except OSError as error:
        found = kind_at(parent, name) if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV) else error.strerror
        found = "on another file system than its folder" if error.errno == errno.EXDEV else found
        raise ToolRefused(f"{path!r} is refused: {found}. Only regular files are read and written.") from None
    problem = _problem(opened, parent)
    if problem is None:
        return opened
    os.close(opened)
    raise ToolRefused(f"{path!r} is refused: it is {problem}. Only regular files are read and written.")


def _problem(opened: int, parent: int) -> str | None:
    facts = os.fstat(opened)
    if not stat.S_ISREG(facts.st_mode):
        return _KINDS.get(stat.S_IFMT(facts.st_mode), "no regular file")
    if facts.st_nlink > 1:
        return f"a hard link: {facts.st_nlink} names share its bytes"
    if _mount(opened) != _mount(parent):
        return "on another file system than its folder"
    if facts.st_size and os.lseek(opened, 0, os.SEEK_HOLE) < facts.st_size:
        return "a sparse file"
    os.lseek(opened, 0, os.SEEK_SET)
    return None


def read_at(parent: int, name: str, path: str, limit: int) -> tuple[bytes, int]:
    """Read a plain file of an open folder; give its bytes and permission bits. Over `limit` bytes: ToolRefused."""
    opened = open_plain(parent, name, path)
    with os.fdopen(opened, "rb") as file:
        data = file.read(limit + 1)
        if len(data) > limit:
            raise ToolRefused(f"{path!r} is larger than {limit:,} bytes: search in it instead.")
        return data, stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def kind_at(parent: int, name: str) -> str:
    """Name what an entry of an open folder is, in words: "a symbolic link", "a FIFO"."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except OSError as error:
        return str(error.strerror)
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


def open_inner(parent: int, name: str) -> int | None:
    """Open a folder of an open folder for listing it; None when it is a link, a mount, gone, or closed to us."""
    try:
        opened = _openat2(parent, name, _FOLDER) if has_openat2() else os.open(name, _FOLDER, dir_fd=parent)
    except OSError:
        return None
    if _mount(opened) == _mount(parent):
        return opened
    os.close(opened)
    return None


def _temporary(parent: int, data: bytes, mode: int) -> str:
    name = f".backend-crew-{token_hex(8)}.tmp"
    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    with os.fdopen(opened, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    return name


def create_file(parent: int, name: str, data: bytes, path: str) -> None:
    """Make a new file at once; ToolRetry when something has that name, also when it appeared a moment ago."""
    temporary = _temporary(parent, data, 0o644)
    try:
        # link() loses to whoever made one in between, where rename() would overwrite it.
        os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        found = kind_at(parent, name)
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
