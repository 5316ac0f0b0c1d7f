"""What every way of confining a command has in common: limits, where things lie, and the environment inside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.process import Completed
from backend_crew.tools.runtime import Runtime

# Of /etc only what programs need to start and to talk on the loopback; no accounts, no hosts, no credentials.
_ETC = ("ld.so.cache", "alternatives", "localtime", "mime.types", "protocols", "services")
_ETC_SSL = ("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "ca-certificates")
SYSTEM_LINKS = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_COVERED = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libexec", "/usr/share")
_RESERVED = (*_COVERED, "/usr/local/bin", "/usr/local/lib", "/etc", "/proc", "/sys", "/dev", "/boot", "/bin", "/sbin")
# setpriv starts with the right to change its user: nothing of the repository may be linked into it.
_LINKER = ("LD_", "DYLD_", "GLIBC_", "GCONV_", "LOCPATH", "NLSPATH")


@dataclass(frozen=True)
class Limits:
    """What one command may use; memory and processes as enforced by the kernel, memory per process."""

    timeout_s: float = 120
    memory_bytes: int = 2 * 1024**3
    processes: int = 512
    # The largest file, and the size of the private /tmp.
    file_bytes: int = 512 * 1024**2
    # Kept of each output stream.
    output_bytes: int = 200_000
    # All that the command may leave on the disk; looked at while it runs, so it can be passed by a moment's writing.
    disk_bytes: int = 4 * 1024**3


@dataclass(frozen=True)
class Layout:
    """Where the parts of one box lie on the host, and where its commands see the copy.

    With a `lower` folder, which is only ever read, `files` holds what differs from it.
    """

    folder: Path
    files: Path
    at: Path
    # The repository's own path; the same as `at` where mounts are possible.
    original: Path
    runtime: Runtime
    overlays: tuple[str, ...] = ()
    # User and group id that commands run with; None: ours.
    user: int | None = None
    lower: Path | None = None


@dataclass(frozen=True)
class Command:
    """One command as an engine gets it."""

    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)
    limits: Limits
    cwd: str = "."
    stop: Callable[[], bool] | None = None
    unix_sockets: bool = False


class Engine(Protocol):
    """One way to confine commands."""

    @property
    def title(self) -> str:
        """Its name and version, for people."""

    @property
    def loopback(self) -> bool:
        """Whether commands have a network of their own, so that a test can talk to its server."""

    @property
    def mounts(self) -> bool:
        """Whether the copy can be seen at the repository's own path; else commands run where the copy lies."""

    @property
    def drops(self) -> bool:
        """Whether commands run as a user who exists for this box only."""

    @property
    def layers(self) -> bool:
        """Whether it may be able to lay changes over a folder instead of copying it."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """What it cannot do, in words for people."""

    def prepare(self, layout: Layout) -> None:
        """Makes what it needs in the box's folder, once, after the copy."""

    def homes(self, layout: Layout) -> tuple[Path, Path]:
        """HOME and TMPDIR as commands see them."""

    def run(self, layout: Layout, command: Command) -> Completed:
        """Runs one command; raises ToolFault when the confinement itself did not start."""


def check_place(at: Path) -> None:
    """Raises ToolRefused when a copy mounted at `at` would cover the system or is no absolute, plain path."""
    places = (at, at.resolve())
    plain = at.is_absolute() and ".." not in at.parts
    covers = any(Path(reserved).is_relative_to(place) for place in places for reserved in (*_RESERVED, "/tmp/home"))
    inside = any(place.is_relative_to(reserved) for place in places for reserved in (*_RESERVED, "/lib", "/lib64"))
    if not plain or covers or inside:
        raise ToolRefused(
            f"A repository at {at} would cover parts of the system inside the sandbox. Move it elsewhere."
        )


def environment(runtime: Runtime, homes: tuple[Path, Path], extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment inside. Raises ToolRefused for linker variables, ToolRetry for values nobody can pass."""
    path = [str(folder) for folder in runtime.path]
    variables = {
        "HOME": str(homes[0]),
        "LANG": "C.UTF-8",
        "LOGNAME": "sandbox",
        "PATH": ":".join([*path, "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(homes[1]),
        "USER": "sandbox",
        **runtime.env,
        **extra,
    }
    for name, value in variables.items():
        check_variable(name, value)
    return variables


def check_variable(name: str, value: str) -> None:
    """Raises ToolRefused for linker variables, ToolRetry for what nobody can pass to a program."""
    if name.startswith(_LINKER):
        raise ToolRefused(f"The variable {name} is not allowed in the sandbox: it changes what programs load.")
    if not name or "=" in name or "\0" in name + value:
        raise ToolRetry(f"The variable {name!r} cannot be passed to a program. Remove '=' and NUL characters.")


@cache
def shared_etc() -> tuple[Path, ...]:
    """The files and folders of /etc that commands may read, where they exist."""
    etc = Path("/etc")
    named = (*(etc / name for name in (*_ETC, *_ETC_SSL)), *sorted(etc.glob("java*")))
    return tuple(path for path in named if path.exists())


def caps_addresses(layout: Layout, program: str) -> bool:
    """Whether the address space of a program can be limited: V8, Go and the JVM reserve far more than they use."""
    return layout.runtime.kind == "python" and Path(program).name.startswith(("python", "pytest"))
