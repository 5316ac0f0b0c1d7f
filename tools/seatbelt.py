"""macOS: sandbox-exec with a generated profile. Written by its documentation and untested: no Mac was at hand.

Default deny; the copy can be written, the repository's own path cannot even be read, and there is no network, because
the loopback of a Mac is shared with the databases of its owner.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools import relocation
from backend_crew.tools.engine import Command, Layout
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.process import Completed, Confinement, Extras, run

PROGRAM = Path("/usr/bin/sandbox-exec")
_SYSTEM = ("/usr", "/bin", "/sbin", "/System", "/Library/Frameworks", "/Library/Developer", "/opt/homebrew", "/dev/fd")
_ETC = ("localtime", "protocols", "services", "ssl")
_DEVICES = ("null", "zero", "random", "urandom")


@dataclass(frozen=True)
class Seatbelt:
    """The system's own program."""

    program: Path = PROGRAM

    loopback = False
    mounts = False
    layers = False
    drops = False
    gaps = (
        "untested: it was written without a Mac at hand",
        "no network at all, so tests that talk to a server of their own cannot run",
        "a process that leaves its session is not ended with its command, and memory is not limited",
    )

    @property
    def title(self) -> str:
        """Its name."""
        return "sandbox-exec (untested)"

    def prepare(self, layout: Layout) -> None:
        """Makes HOME and TMPDIR, and links to what is installed."""
        relocation.prepare(layout)

    def homes(self, layout: Layout) -> tuple[Path, Path]:
        """In the box's folder."""
        return relocation.homes(layout)

    def run(self, layout: Layout, command: Command) -> Completed:
        """Runs one command under the profile."""
        limits = command.limits
        rlimits = {"RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 4096}
        argv = relocation.argv(layout, command.argv)
        done = run(
            (str(self.program), "-p", profile(layout), "/usr/bin/env", "--", *argv),
            cwd=layout.files / command.cwd,
            env=relocation.variables(layout, command.variables),
            timeout_s=limits.timeout_s,
            output_limit=limits.output_bytes,
            stop=command.stop,
            extras=Extras(confinement=Confinement(limits=rlimits)),
        )
        # Whether it asked for a network is not told here, so a failure may always be for that.
        return replace(done, argv=command.argv, network_refused=True)


def find() -> Seatbelt:
    """The program, where there is one. Raises ToolFault elsewhere."""
    if sys.platform != "darwin" or not PROGRAM.is_file():
        raise ToolFault(f"{PROGRAM} is only on macOS and this is {sys.platform}")
    return Seatbelt()


def profile(layout: Layout) -> str:
    """The profile of one box. Of rules that match, the last one counts."""
    return "\n".join(_lines(layout)) + "\n"


def _lines(layout: Layout) -> Iterator[str]:
    yield from ("(version 1)", "(deny default)", "(deny network*)")
    yield from ("(allow process-fork)", "(allow signal (target same-sandbox))", "(allow sysctl-read)")
    yield '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))'
    # Names on the way to what is allowed: programs look at every folder of their path.
    yield "(allow file-read-metadata)"
    readable = [*map(Path, _SYSTEM), *(Path("/private/etc") / name for name in _ETC), *layout.runtime.mounts]
    yield from _allowed("file-read* process-exec", readable)
    yield from _allowed("file-read* file-write-data", [Path("/dev") / name for name in _DEVICES])
    # Below this line the repository itself is closed, whatever was opened above it.
    yield f"(deny file-read* file-write* process-exec (subpath {_quoted(layout.original)}))"
    overlays = [layout.original / overlay for overlay in layout.overlays]
    yield from _allowed("file-read* process-exec", overlays)
    yield from _allowed("file-read* file-write* process-exec", [layout.files, *relocation.homes(layout)])


def _allowed(rights: str, paths: list[Path]) -> Iterator[str]:
    for path in dict.fromkeys((*paths, *(path.resolve() for path in paths))):
        yield f"(allow {rights} (subpath {_quoted(path)}))"


def _quoted(path: Path) -> str:
    """A path as a string of the profile language; one that could end the string is refused."""
    text = str(path)
    if not text.isprintable():
        raise ToolFault(f"the path {text!r} holds characters that cannot stand in a sandbox profile")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
