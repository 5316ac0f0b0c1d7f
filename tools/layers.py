"""A box whose copy is an overlay: the source lies below and is only read, what differs lies in a folder above.

What may not be seen is whited out in the upper folder before the mount, which costs a walk and no copying. The code
inside cannot take a whiteout away: the kernel shows it as a missing name, and removing nothing fails. The walk is
repeated for folders that changed before every command, so that a file which appears later is hidden too.
"""

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.treecopy import open_folder, parts_of, read_descriptor

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"


class Layers:
    """The two folders of one box, and what of the lower one is hidden."""

    def __init__(self, lower: Path, upper: Path, hidden: Callable[[str], bool]) -> None:
        """Makes `upper` and hides. Raises ToolFault for what cannot be read or hidden."""
        self.lower, self.upper = lower, upper
        self._hidden = hidden
        self._seen: dict[str, int] = {}
        try:
            upper.mkdir(mode=0o755)
            self._hide("")
        except OSError as error:
            raise ToolFault(f"Laying over {lower} stopped at {error.filename}: {error.strerror}.") from error

    def refresh(self) -> None:
        """Hides what has appeared in the lower folder since; only folders that changed are looked through."""
        for rel, changed in tuple(self._seen.items()):
            with suppress(FileNotFoundError, NotADirectoryError):
                if os.lstat(self.lower / rel).st_mtime_ns != changed:
                    self._hide(rel)

    def _hide(self, rel: str) -> None:
        waiting = [rel]
        while waiting:
            folder = waiting.pop()
            # Before it is listed: what appears meanwhile changes it again.
            self._seen[folder] = os.lstat(self.lower / folder).st_mtime_ns
            with os.scandir(self.lower / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if self._is_hidden(path, entry):
                        self._white_out(path)
                    elif entry.is_dir(follow_symlinks=False) and path not in self._seen:
                        waiting.append(path)

    def _is_hidden(self, path: str, entry: "os.DirEntry[str]") -> bool:
        if entry.name == ".git" or self._hidden(path):
            return True
        return not (entry.is_symlink() or entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))

    def _white_out(self, path: str) -> None:
        parts = parts_of(path)
        # A link or a file of the commands on the way covers the lower folder as well.
        with suppress(ToolFault, FileExistsError), open_folder(self.upper, parts[:-1], path, create=True) as folder:
            os.mknod(parts[-1], stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)

    def read(self, rel: str, limit: int) -> bytes | None:
        """As `treecopy.read_file`, for the two folders together."""
        parts = parts_of(rel)
        descriptor = self._open(parts, rel, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        return None if descriptor is None else read_descriptor(descriptor, rel, limit)

    def has_folder(self, rel: str) -> bool:
        """Whether there is a real folder in the two together. Raises ToolFault for a link or a file on the way."""
        parts = () if rel in ("", ".") else parts_of(rel)
        descriptor = self._open(parts, rel, _FOLDER)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _open(self, parts: tuple[str, ...], rel: str, flags: int) -> int | None:
        """A descriptor of what is seen at `rel`, None when nothing is; every step without following links."""
        with ExitStack() as opened:
            upper = _kept(opened, os.open(self.upper, _FOLDER))
            lower = _kept(opened, os.open(self.lower, _FOLDER))
            for depth, part in enumerate(parts, 1):
                wanted = flags if depth == len(parts) else _FOLDER
                above, covered = _step(upper, part, wanted, rel)
                upper = _kept(opened, above)
                if covered or self._hidden("/".join(parts[:depth])):
                    lower = None
                below, _ = _step(lower, part, wanted, rel, strict=upper is None)
                lower = _kept(opened, below)
            chosen = lower if upper is None else upper
            return None if chosen is None else os.dup(chosen)


def _kept(opened: ExitStack, descriptor: int | None) -> int | None:
    if descriptor is not None:
        opened.callback(os.close, descriptor)
    return descriptor


def _step(folder: int | None, name: str, flags: int, rel: str, *, strict: bool = True) -> tuple[int | None, bool]:
    """What `name` is in a folder: its descriptor or None, and whether it covers what lies below it."""
    if folder is None:
        return None, False
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
            return None, True
        found = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None, False
    except OSError as error:
        if not strict:
            return None, False
        raise ToolFault(f"{rel}: {name!r} is a link or no plain file or folder; it was not followed.") from error
    return found, not stat.S_ISDIR(facts.st_mode) or _is_opaque(found)


def _is_opaque(folder: int) -> bool:
    """Whether a folder was made anew, so that what lies below it is not seen."""
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False
