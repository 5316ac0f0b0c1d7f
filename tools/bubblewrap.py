"""Bubblewrap, the first choice on Linux: namespaces of its own, allow-listed mounts, no privileges, a seccomp filter."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools import seccomp
from backend_crew.tools.boxargs import bwrap_argv
from backend_crew.tools.engine import Command, Layout, caps_addresses, shared_etc
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.process import Completed, Confinement, Extras, run

_TOOL_FOLDERS = (Path("/usr/bin"), Path("/usr/sbin"), Path("/bin"), Path("/sbin"))
_OLDEST = (0, 8)  # the first version with --disable-userns
_FIRST_WITH_LAYERS = (0, 11)


@dataclass(frozen=True)
class Bubblewrap:
    """One program; whether it confines anything is for the self-test to find out."""

    program: Path
    version: str
    prlimit: Path
    # Set when we are root: bwrap then makes no user namespace and setpriv drops to a user id that nobody has.
    setpriv: Path | None

    loopback = True
    mounts = True
    gaps = ()

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"bubblewrap {self.version}"

    @property
    def drops(self) -> bool:
        """As root; else the user namespace does it."""
        return self.setpriv is not None

    @property
    def layers(self) -> bool:
        """Not as root: what lies below would stay root's, and the user that commands run as could not change it."""
        return not self.drops and _numbers(self.version) >= _FIRST_WITH_LAYERS

    def prepare(self, layout: Layout) -> None:
        """Makes the /etc of the box: few files are made up, others copied; one mount of all is faster than one each."""
        user = os.geteuid() if layout.user is None else layout.user
        group = os.getegid() if layout.user is None else layout.user
        contents = {
            "passwd": f"root:x:0:0:root:/:/bin/false\nsandbox:x:{user}:{group}:sandbox:/tmp/home:/bin/sh\n",
            "group": f"root:x:0:\nsandbox:x:{group}:\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        }
        etc = layout.folder / "etc"
        etc.mkdir(mode=0o755)
        for name, text in contents.items():
            (etc / name).write_text(text)
        for path in shared_etc():
            _share(path, etc / path.relative_to("/etc"))
        for path in etc.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if layout.lower is not None:
            (layout.folder / "work").mkdir(mode=0o700)

    def homes(self, layout: Layout) -> tuple[Path, Path]:
        """In a private /tmp, the same for every box."""
        return Path("/tmp/home"), Path("/tmp")

    def run(self, layout: Layout, command: Command) -> Completed:
        """Runs one command; raises ToolFault when bubblewrap did not get as far as starting it."""
        setup = bwrap_argv(
            layout, command.variables, as_root=self.drops, tmp_bytes=command.limits.file_bytes, cwd=command.cwd
        )
        # The set-up goes through a descriptor: the values of variables do not belong into the host's process list.
        arguments = b"".join(os.fsencode(word) + b"\0" for word in setup)
        filtered = seccomp.program(unix_sockets=command.unix_sockets)
        with _file("arguments", arguments) as given, _file("seccomp", filtered) as rules, _file("status") as status:
            fds = ("--json-status-fd", str(status), "--args", str(given), "--seccomp", str(rules))
            done = run(
                (str(self.program), *fds, "--", *self._launcher(layout, command), "--", *command.argv),
                cwd=layout.folder,
                env={},
                timeout_s=command.limits.timeout_s,
                output_limit=command.limits.output_bytes,
                stop=command.stop,
                extras=Extras((given, rules, status), self._confinement(layout, command)),
            )
            if not (done.timed_out or done.stopped) and not _reached_command(os.pread(status, 65_536, 0)):
                raise ToolFault(f"The sandbox did not start: {done.stderr.strip()[:500] or 'no message'}.")
        return replace(done, argv=command.argv)

    def _launcher(self, layout: Layout, command: Command) -> tuple[str, ...]:
        if self.setpriv is not None:
            identity = (f"--reuid={layout.user}", f"--regid={layout.user}", "--clear-groups")
            caps = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs")
            return (str(self.setpriv), *identity, *caps)
        limits = _limits(layout, command)
        words = (f"--{name.removeprefix('RLIMIT_').lower()}={value}" for name, value in limits.items())
        return (str(self.prlimit), *words)

    def _confinement(self, layout: Layout, command: Command) -> Confinement | None:
        # Before bubblewrap only as root: else its own start would count with all other processes of the user.
        return Confinement(limits=_limits(layout, command)) if self.drops else None


def _share(source: Path, target: Path) -> None:
    """A copy of a file, a mount point for a folder, nothing for what is not ours to read."""
    if source.is_dir():
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            shutil.copyfile(source, target)


def _limits(layout: Layout, command: Command) -> dict[str, int]:
    found = {
        "RLIMIT_DATA": command.limits.memory_bytes,
        "RLIMIT_NPROC": command.limits.processes,
        "RLIMIT_FSIZE": command.limits.file_bytes,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 4096,
    }
    if caps_addresses(layout, command.argv[0]):
        found["RLIMIT_AS"] = command.limits.memory_bytes
    return found


def find(program: Path) -> Bubblewrap:
    """The program with its version and its helpers. Raises ToolFault when it is none, too old, or a helper is missing."""
    shown = run((str(program), "--version"), cwd=Path("/"), env={}, timeout_s=10)
    match = re.search(r"(\d+)\.(\d+)[.\d]*", shown.stdout)
    if not shown.ok or match is None:
        raise ToolFault(f"does not tell its version ({(shown.stderr or shown.stdout).strip()[:200]})")
    if _numbers(match[0]) < _OLDEST:
        raise ToolFault(f"is version {match[0]}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed")
    setpriv = _system_tool("setpriv") if os.geteuid() == 0 else None
    return Bubblewrap(program, match[0], _system_tool("prlimit"), setpriv)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)[:2]


def _system_tool(name: str) -> Path:
    for folder in _TOOL_FOLDERS:
        # Resolved, because only what lies below /usr is mounted under its own name everywhere.
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise ToolFault(f"{name} is missing; install the package util-linux")


@contextlib.contextmanager
def _file(name: str, content: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create(name)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _reached_command(status: bytes) -> bool:
    """True when bwrap reported the exit code of a command, which it does only for one that it started."""
    for line in status.splitlines():
        try:
            if "exit-code" in json.loads(line):
                return True
        except ValueError:
            continue
    return False
