"""The one door to other programs: an argv, a whole environment, a deadline, bounded output, nothing left running."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.errors import ToolFault, ToolRetry

_POLL_S = 0.05
_CHUNK = 65_536
# How long a pipe is still read after its process is gone: an orphan that left the session may hold it open for ever.
_DRAIN_S = 1.0


@dataclass(frozen=True)
class Completed:
    """What one command did; `exit_code` is None when we killed it, negative when another signal ended it."""

    argv: tuple[str, ...]
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool
    stopped: bool
    truncated: bool
    # stdout before decoding, for commands that print binary content; bounded like stdout.
    raw: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """True when the command ended by itself with exit code 0."""
        return self.exit_code == 0


class _Capture:
    """The head and the tail of a stream, at most `limit` bytes in memory however much is written."""

    def __init__(self, limit: int) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._head_limit = max(limit, 2) // 2
        self._tail_limit = max(limit, 2) - self._head_limit
        self.dropped = 0

    def add(self, data: bytes) -> None:
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self.dropped += excess

    def value(self) -> bytes:
        gap = f"\n[... {self.dropped} bytes left out ...]\n".encode() if self.dropped else b""
        return bytes(self._head) + gap + bytes(self._tail)


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float = 60,
    output_limit: int = 200_000,
    stdin: bytes | None = None,
    stop: Callable[[], bool] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run argv (no shell) with exactly `env`, at most `timeout_s` seconds and `output_limit` bytes a stream.

    Kills its session and its descendants on timeout, when `stop()` turns true, and when it ended leaving some behind.
    A process that detached from both is out of reach here: only the sandbox's process namespace catches it.
    Raises ToolFault when the program or `cwd` is missing, ToolRetry on an argument that no program can receive.
    """
    started = time.monotonic()
    with _start(argv, cwd=cwd, env=env, has_stdin=stdin is not None, pass_fds=pass_fds) as process:
        pump = _Pump(process, stdin, output_limit)
        verdict = ""
        try:
            verdict = _watch(process, pump, started + timeout_s, stop)
        finally:
            _kill_tree(process)
            pump.drain(time.monotonic() + _DRAIN_S)
            pump.close()
            code = process.wait()
    return Completed(
        argv=tuple(argv),
        exit_code=None if verdict else code,
        stdout=pump.out.value().decode("utf-8", "replace"),
        stderr=pump.err.value().decode("utf-8", "replace"),
        seconds=time.monotonic() - started,
        timed_out=verdict == "timeout",
        stopped=verdict == "stop",
        truncated=bool(pump.out.dropped or pump.err.dropped),
        raw=pump.out.value(),
    )


def _start(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], has_stdin: bool, pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    if not argv or not argv[0]:
        raise ToolRetry("The command is empty. Give a program and its arguments.")
    if any("\0" in word for word in (*argv, *env.keys(), *env.values())):
        raise ToolRetry(f"An argument or variable of {argv[0]!r} holds a NUL character. Remove it.")
    if not cwd.is_dir():
        raise ToolFault(f"Cannot run {argv[0]!r}: the folder {cwd} does not exist. Create it or name another one.")
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if has_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        looked = argv[0] if "/" in argv[0] else f"{argv[0]} in PATH={env.get('PATH', '(unset)')}"
        raise ToolFault(f"Program not found: {looked}. Install it or correct the path.") from error
    except OSError as error:
        raise ToolFault(f"Program {argv[0]!r} could not be started: {error.strerror}.") from error


class _Pump:
    """Moves bytes between the pipes of one process and bounded buffers without ever blocking."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None, limit: int) -> None:
        self.out, self.err = _Capture(limit), _Capture(limit)
        self._pending = memoryview(stdin or b"")
        self._stdin = process.stdin
        self._selector = selectors.DefaultSelector()
        for pipe, capture in ((process.stdout, self.out), (process.stderr, self.err)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, capture)
        if self._stdin is not None:
            os.set_blocking(self._stdin.fileno(), False)
            self._selector.register(self._stdin, selectors.EVENT_WRITE, None)

    def step(self, timeout: float) -> bool:
        """Moves what is ready within `timeout` seconds; False, at once, when every pipe is closed."""
        if not self._selector.get_map():
            return False
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._write()
            else:
                self._read(key)
        return any(key.data is not None for key in self._selector.get_map().values())

    def _read(self, key: selectors.SelectorKey) -> None:
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            key.data.add(data)
        else:
            self._selector.unregister(key.fileobj)

    def _write(self) -> None:
        if self._stdin is None:
            return
        try:
            if self._pending:
                self._pending = self._pending[os.write(self._stdin.fileno(), self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._pending = self._pending[:0]
        if not self._pending:
            self._selector.unregister(self._stdin)
            self._stdin.close()
            self._stdin = None

    def drain(self, deadline: float) -> None:
        """Reads on until both outputs are closed or `deadline` (monotonic seconds) has passed."""
        if self._stdin is not None:
            self._pending = self._pending[:0]
            self._write()
        while self.step(_POLL_S) and time.monotonic() < deadline:
            pass

    def close(self) -> None:
        self._selector.close()


def _watch(process: subprocess.Popen[bytes], pump: _Pump, deadline: float, stop: Callable[[], bool] | None) -> str:
    """Waits for the end: "" by itself, "timeout", or "stop"."""
    polled = 0.0
    while not _has_ended(process):
        now = time.monotonic()
        if now >= deadline:
            return "timeout"
        if stop is not None and now - polled >= _POLL_S:
            polled = now
            if stop():
                return "stop"
        if not pump.step(min(_POLL_S, deadline - now)):
            time.sleep(0.001)
    return ""


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    # WNOWAIT keeps the zombie, so that its id cannot be given to a stranger before the group is killed.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    descendants = tuple(_descendants(process.pid))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in descendants:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(root: int) -> Iterator[int]:
    """Process ids below `root` and in its session, from /proc; nothing where there is no /proc."""
    table = dict(_process_table())
    known = {root}
    grew = True
    while grew:
        more = {pid for pid, (parent, session) in table.items() if parent in known or session == root} - known
        known |= more
        grew = bool(more)
    yield from known - {root}


def _process_table() -> Iterator[tuple[int, tuple[int, int]]]:
    proc = Path("/proc")
    for name in os.listdir(proc) if proc.is_dir() else ():  # noqa: PTH208  # iterdir builds a Path for every process
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The command name in parentheses may itself hold spaces and parentheses.
                fields = (proc / name / "stat").read_text().rpartition(")")[2].split()
                yield int(name), (int(fields[1]), int(fields[3]))
