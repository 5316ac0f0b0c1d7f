"""Landlock and seccomp, where namespaces are not available (a default Docker container): on a copy, without a network.

Landlock only allows, so everything that agents may not read has to be missing from the copy. No command gets a socket
of any kind: the runner refuses it and says that it was asked for. The copy stays where it lies, as nothing can be
mounted; installed folders are links to the originals, which can be read and not written.
"""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools import relocation, seccomp
from backend_crew.tools.engine import SYSTEM_LINKS, Command, Layout, caps_addresses, shared_etc
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.process import Completed, Confinement, Extras, run

_CREATE = 444
_VERSION_FLAG = 1
# Before version 3 any file of the same user could be truncated, and before version 6 any process of theirs signalled.
_OLDEST, _OLDEST_SAME_USER = 3, 6
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_NODES = 1 << 6 | 1 << 9 | 1 << 11  # making devices and sockets
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP = 3
_SCOPES = 3  # abstract sockets and signals
_DEVICES = ("null", "zero", "full", "random", "urandom")
_MACHINE_FACTS = ("cpuinfo", "meminfo", "stat", "version", "loadavg", "filesystems", "self")


@dataclass(frozen=True)
class Landlock:
    """The kernel's version of Landlock, and whether commands can be given a user of their own (as root)."""

    version: int
    drops: bool

    loopback = False
    mounts = False
    layers = False

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"Landlock {self.version} with seccomp"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What it cannot do."""
        common = (
            "no network at all, so tests that talk to a server of their own cannot run",
            "no named semaphores (multiprocessing.Lock) and no shared memory",
            "the names of files outside can be asked for, not their content",
        )
        return common if self.drops else (*common, "changes of mode and time of files are ignored")

    def prepare(self, layout: Layout) -> None:
        """Makes HOME and TMPDIR, and links to what is installed."""
        relocation.prepare(layout)

    def homes(self, layout: Layout) -> tuple[Path, Path]:
        """In the box's folder."""
        return relocation.homes(layout)

    def run(self, layout: Layout, command: Command) -> Completed:
        """Runs one command; raises ToolFault when it could not be confined."""
        limits = command.limits
        allowed = limits.processes if layout.user is not None else limits.processes + _own_tasks()
        rlimits = {
            "RLIMIT_DATA": limits.memory_bytes,
            "RLIMIT_NPROC": allowed,
            "RLIMIT_FSIZE": limits.file_bytes,
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 4096,
        }
        if caps_addresses(layout, command.argv[0]):
            rlimits["RLIMIT_AS"] = limits.memory_bytes
        confinement = Confinement(
            limits=rlimits,
            user=layout.user,
            program=seccomp.confined_program(same_user=layout.user is None),
            landlock=_rules(layout, self.version),
            asks=True,
        )
        try:
            done = run(
                relocation.argv(layout, command.argv),
                cwd=layout.files / command.cwd,
                env=relocation.variables(layout, command.variables),
                timeout_s=limits.timeout_s,
                output_limit=limits.output_bytes,
                stop=command.stop,
                extras=Extras(confinement=confinement),
            )
        except ToolFault as error:
            denied, ours = "Permission denied" in str(error), Path(command.argv[0]).is_relative_to(layout.original)
            if denied and ours:  # a file of the copy that is no program, as a shell says it
                return Completed(command.argv, 126, "", f"{error}\n", 0.0, False, False, False)
            if denied and layout.user is not None:
                raise ToolFault(
                    f"{command.argv[0]} lies where only root can reach it, and commands run as another user here. "
                    "Install it (or the virtual environment, and what it links to) where everybody can read it."
                ) from error
            if not str(error).startswith("Program not found"):
                raise
            # As a shell says it, and as it is in the other sandboxes.
            return Completed(command.argv, 127, "", f"{error}\n", 0.0, False, False, False)
        return replace(done, argv=command.argv)


def find() -> Landlock:
    """What this kernel offers. Raises ToolFault when that is not enough to hold a command, with the fix."""
    version = _version()
    if version < _OLDEST:
        found = f"is version {version}" if version > 0 else "is not there"
        raise ToolFault(f"Landlock {found}; version {_OLDEST} (Linux 6.2) or newer is needed")
    root = os.geteuid() == 0
    if root and not _can_change_user():
        raise ToolFault("as root, commands need a user of their own, and this container may not change its user")
    if not root and version < _OLDEST_SAME_USER:
        raise ToolFault(
            f"Landlock is version {version} and cannot keep a command from signalling your processes; "
            f"version {_OLDEST_SAME_USER} (Linux 6.12) or newer is needed, or to be started as root"
        )
    seccomp.confined_program(same_user=not root)
    return Landlock(version, drops=root)


def _version() -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION_FLAG)))


def _can_change_user() -> bool:
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    held = int(effective.split()[1], 16)
    needed = (1 << 0) | (1 << 6) | (1 << 7)  # CAP_CHOWN, CAP_SETGID, CAP_SETUID
    return held & needed == needed


def _rules(layout: Layout, version: int) -> dict[str, object]:
    files = (1 << (16 if version >= 5 else 15)) - 1
    sizes = {3: 8, 4: 16, 5: 16}
    return {
        "files": files,
        "net": _TCP if version >= 4 else 0,
        "scope": _SCOPES if version >= 6 else 0,
        "size": sizes.get(version, 24),
        "paths": [(os.fsencode(path), rights & files) for path, rights in _paths(layout)],
    }


def _paths(layout: Layout) -> Iterator[tuple[Path, int]]:
    readable = [
        *(Path("/") / name for name in ("usr", *SYSTEM_LINKS)),
        *shared_etc(),
        *layout.runtime.mounts,
        *(layout.original / overlay for overlay in layout.overlays),
        *(Path("/proc") / name for name in _MACHINE_FACTS),
        Path("/sys/devices/system/cpu"),
    ]
    for path in readable:
        yield path, _EXECUTE | _READ | (_LIST if path.is_dir() else 0)
    for name in _DEVICES:
        yield Path("/dev") / name, _READ | _WRITE
    # Attributes that Landlock has no right for are out of reach by the filter and by the owner.
    for path in (layout.files, *relocation.homes(layout)):
        yield path, ~(_NODES | _IOCTL)


def _own_tasks() -> int:
    """How many processes and threads the user has: the kernel counts those against a command's limit too."""
    found, user = 0, os.geteuid()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid == user:
                found += sum(1 for _ in (folder / "task").iterdir())
        except OSError:
            continue
    return found
