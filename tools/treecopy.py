"""A disposable copy of a tree, and access to it afterwards without trusting what ran in it."""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from backend_crew.tools.errors import ToolFault, ToolRetry

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 16 * 1024 * 1024


def copy_tree(source: Path, target: Path, *, ignore: Callable[[str], bool], owner: int | None) -> None:
    """Copies files, folders and links (as links, never followed) into the new folder `target`; mtime and x bit kept.

    Left out: what `ignore` (repository-relative path) says, `.git`, sockets, pipes and devices.
    `owner` is the user and group id that gets the copy. Raises ToolFault on what cannot be read.
    """
    try:
        target.mkdir(mode=0o700)
        _copy_folder(source, target, "", ignore, owner)
        _give(target, owner)
    except OSError as error:
        raise ToolFault(f"Copying {source} stopped at {error.filename}: {error.strerror}. Correct it.") from error


def _copy_folder(source: Path, target: Path, prefix: str, ignore: Callable[[str], bool], owner: int | None) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            rel = prefix + entry.name
            if entry.name == ".git" or ignore(rel):
                continue
            goal = target / entry.name
            if entry.is_symlink():
                goal.symlink_to(Path(entry.path).readlink())
            elif entry.is_dir(follow_symlinks=False):
                goal.mkdir(mode=0o755)
                _copy_folder(Path(entry.path), goal, rel + "/", ignore, owner)
            elif entry.is_file(follow_symlinks=False):
                _copy_file(entry.path, goal)
            else:
                continue
            _give(goal, owner)


def _copy_file(source: str, target: Path) -> None:
    # O_NONBLOCK and the second look: the entry may have become a pipe since it was listed.
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as reader:  # noqa: PTH123  # a descriptor, not a path
        facts = os.fstat(reader.fileno())
        if not stat.S_ISREG(facts.st_mode):
            return
        mode = 0o755 if facts.st_mode & 0o111 else 0o644
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as writer:  # noqa: PTH123  # a descriptor, not a path
            try:
                # Shares the blocks (a reflink) by itself where the file system can, which copies nothing.
                while os.copy_file_range(reader.fileno(), writer.fileno(), _CHUNK):
                    pass
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                shutil.copyfileobj(reader, writer)
            writer.flush()
            os.utime(writer.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _give(path: Path, owner: int | None) -> None:
    if owner is not None:
        os.chown(path, owner, owner, follow_symlinks=False)


def read_file(root: Path, rel: str, limit: int) -> bytes | None:
    """The bytes of a regular file below `root`, None when missing; ToolFault on links, pipes, folders, over `limit`."""
    parts = parts_of(rel)
    try:
        with open_folder(root, parts[:-1], rel) as folder:
            descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolFault(f"{rel} is not a regular file ({error.strerror}); it was not read.") from error
    return read_descriptor(descriptor, rel, limit)


def read_descriptor(descriptor: int, rel: str, limit: int) -> bytes:
    """The bytes of an open regular file, which is closed; ToolFault for anything else and for one over `limit`."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ToolFault(f"{rel} is not a regular file; it was not read.")
    with open(descriptor, "rb") as file:  # a descriptor, not a path
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ToolFault(f"{rel} is larger than {limit} bytes; it was not read.")
    return data


def put_file(root: Path, rel: str, data: bytes, *, owner: int | None) -> None:
    """Writes a file below `root`, folders included; replaces a link, never follows it. ToolFault when it cannot."""
    parts = parts_of(rel)
    temporary = f".put-{secrets.token_hex(8)}"
    try:
        with open_folder(root, parts[:-1], rel, create=True, owner=owner) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with open(os.open(temporary, flags, 0o644, dir_fd=folder), "wb") as file:  # noqa: PTH123  # as above
                    file.write(data)
                    if owner is not None:
                        os.fchown(file.fileno(), owner, owner)
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise
    except OSError as error:
        raise ToolFault(f"{rel} could not be written into the copy: {error.strerror}.") from error


def ensure_folder(root: Path, rel: str, *, create: bool, owner: int | None) -> None:
    """Checks that `rel` is a real folder below `root` with no link on the way, making it when `create`.

    Raises ToolFault naming what is there instead, FileNotFoundError when missing and not `create`.
    """
    parts = () if rel in ("", ".") else parts_of(rel)
    with open_folder(root, parts, rel, create=create, owner=owner):
        pass


def has_folder(root: Path, rel: str) -> bool:
    """Whether `rel` is a real folder below `root`; ToolFault for a link or a file on the way."""
    try:
        ensure_folder(root, rel, create=False, owner=None)
    except FileNotFoundError:
        return False
    return True


def size_of(folder: Path) -> int:
    """The bytes on the disk of all files below `folder`; what cannot be read counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118  # a hundred thousand times
    return total


def file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on, as the kernel names it; "" where that cannot be told."""
    best, kind = Path(), ""
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            place = Path(line.split()[1])
            if folder.resolve().is_relative_to(place) and len(place.parts) >= len(best.parts):
                best, kind = place, line.split()[2]
    return kind


@contextmanager
def open_folder(
    root: Path, parts: tuple[str, ...], rel: str, *, create: bool = False, owner: int | None = None
) -> Iterator[int]:
    """A descriptor of the folder, reached one O_NOFOLLOW step at a time; what is missing is made when `create`."""
    current = os.open(root, _FOLDER)
    try:
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
                    if owner is not None:
                        os.chown(part, owner, owner, dir_fd=current, follow_symlinks=False)
            try:
                following = os.open(part, _FOLDER, dir_fd=current)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise ToolFault(f"{rel}: {part!r} on the way is a link or no folder; it was not followed.") from error
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def parts_of(rel: str) -> tuple[str, ...]:
    """The names on the way to `rel`; ToolRetry when it is no path inside."""
    path = PurePosixPath(rel)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in rel:
        raise ToolRetry(f"{rel!r} is not a path inside the repository. Give a relative one without '..'.")
    return path.parts


def remove_tree(folder: Path) -> None:
    """Removes a copy with everything in it, folders made unreadable included. Raises ToolFault when something stays."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ToolFault(f"The copy {folder} could not be removed: {error.strerror}. Remove it by hand.") from error
