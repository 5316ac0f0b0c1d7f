"""The one door to other programs: an argv, a whole environment, a deadline, bounded output, nothing left running."""

import atexit
import contextlib
import errno
import marshal
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.errors import ToolFault, ToolRetry

#: Where programs of the system are looked for; never on a person's own PATH, which a repository can be on.
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
_POLL_S = 0.05
_CHUNK = 65_536
_STATUS_LIMIT = 1_000_000
# How long a pipe is still read after the command is gone: something out of reach may hold it open for ever.
_DRAIN_S = 1.0
# How long a runner may take to end what a command left; it gives up by itself a little earlier.
_END_S = 15.0
_LAUNCHER = Path(__file__).with_name("launcher.py")


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
    # A command that is confined without a network of its own asked for a socket, and was refused.
    network_refused: bool = False
    # Killed because it filled the disk.
    overfull: bool = False

    @property
    def ok(self) -> bool:
        """True when the command ended by itself with exit code 0."""
        return self.exit_code == 0


@dataclass(frozen=True)
class Confinement:
    """What the runner takes from a command for good, before it starts; for systems without namespaces.

    `limits` maps names of the resource module to values; `user` is the user and group id to become. `program` is a
    seccomp filter and `landlock` what `landlock.rules` gives, both for Linux; empty, they leave the command as it is.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    user: int | None = None
    program: bytes = field(default=b"", repr=False)
    landlock: Mapping[str, object] = field(default_factory=dict, repr=False)
    # The filter asks about sockets, and the runner refuses and reports them.
    asks: bool = False


@dataclass(frozen=True)
class Extras:
    """What few commands need: descriptors to hand on under their own numbers, and confinement."""

    pass_fds: tuple[int, ...] = ()
    confinement: Confinement | None = None


class _Capture:
    """The head and the tail of a stream in whole lines, at most `limit` bytes in memory however much is written."""

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
        if not self.dropped:
            return bytes(self._head + self._tail)
        # Whole lines, because half a line could be half a secret, which nobody would recognise.
        head, tail = self._head[: self._head.rfind(b"\n") + 1], self._tail[self._tail.find(b"\n") + 1 :]
        tail = tail if b"\n" in self._tail else bytearray()
        left_out = self.dropped + len(self._head) - len(head) + len(self._tail) - len(tail)
        return bytes(head) + f"\n[... {left_out} bytes left out ...]\n".encode() + bytes(tail)


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float = 60,
    output_limit: int = 200_000,
    stdin: bytes | None = None,
    stop: Callable[[], bool] | None = None,
    extras: Extras | None = None,
) -> Completed:
    """Run argv (no shell) with exactly `env`, at most `timeout_s` seconds and `output_limit` bytes a stream.

    Everything that the command started dies with it: at its end, on timeout, when `stop()` turns true, and when this
    process is killed. Raises ToolFault when the program or `cwd` is missing, ToolRetry on an argument that no program
    can receive.
    """
    started = time.monotonic()
    _check(argv, cwd, env)
    verdict = ""
    with _launched(argv, cwd, env, stdin, output_limit, extras or Extras()) as pump:
        try:
            verdict = _watch(pump, started + timeout_s, stop)
        finally:
            pump.finish()
    code = _exit_code(argv, env, pump.status)
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
        network_refused=b"network" in pump.status.split(b"\n"),
    )


def _check(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    if not argv or not argv[0]:
        raise ToolRetry("The command is empty. Give a program and its arguments.")
    if any("\0" in word for word in (*argv, *env.keys(), *env.values())):
        raise ToolRetry(f"An argument or variable of {argv[0]!r} holds a NUL character. Remove it.")
    if not cwd.is_dir():
        raise ToolFault(f"Cannot run {argv[0]!r}: the folder {cwd} does not exist. Create it or name another one.")


def _exit_code(argv: Sequence[str], env: Mapping[str, str], status: bytes) -> int | None:
    """From the runner's lines; None when the command was killed before its end. Raises ToolFault: never started."""
    for line in status.decode(errors="replace").splitlines():
        match line.split():
            case ["error", number, "program"] if int(number) == errno.ENOENT:
                looked = argv[0] if "/" in argv[0] else f"{argv[0]} in PATH={env.get('PATH', '(unset)')}"
                raise ToolFault(f"Program not found: {looked}. Install it or correct the path.")
            case ["error", number, what]:
                raise ToolFault(f"Program {argv[0]!r} could not be started: {os.strerror(int(number))} ({what}).")
            case ["exit", code]:
                return int(code)
    return None


def _watch(pump: "_Pump", deadline: float, stop: Callable[[], bool] | None) -> str:
    """Waits for the end: "" by itself, "timeout", or "stop"."""
    polled = 0.0
    while not pump.ended:
        now = time.monotonic()
        if now >= deadline:
            return "timeout"
        if stop is not None and now - polled >= _POLL_S:
            polled = now
            if stop():
                return "stop"
        pump.step(min(_POLL_S if stop is not None else deadline - now, deadline - now))
    return ""


class _Pump:
    """Moves bytes between the pipes of one command and bounded buffers without ever blocking."""

    def __init__(self, pipes: "_Pipes", stdin: bytes | None, limit: int) -> None:
        self.out, self.err, self.status = _Capture(limit), _Capture(limit), b""
        self.ended = False
        self._pipes = pipes
        self._pending = memoryview(stdin or b"")
        self._selector = selectors.DefaultSelector()
        for descriptor, read in ((pipes.out, self.out.add), (pipes.err, self.err.add), (pipes.status, self._told)):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, read)
        if pipes.stdin is not None:
            os.set_blocking(pipes.stdin, False)
            self._selector.register(pipes.stdin, selectors.EVENT_WRITE, None)

    def step(self, timeout: float) -> None:
        """Moves what is ready within `timeout` seconds."""
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._write()
            else:
                self._read(key)

    def _told(self, data: bytes) -> None:
        self.status = (self.status + data)[:_STATUS_LIMIT]

    def _read(self, key: selectors.SelectorKey) -> None:
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            key.data(data)
            return
        self._selector.unregister(key.fd)
        # Only the runner holds the other end of this one, and it goes last.
        self.ended = self.ended or key.fd == self._pipes.status

    def _write(self) -> None:
        stdin = self._pipes.stdin
        if stdin is None:
            return
        try:
            if self._pending:
                self._pending = self._pending[os.write(stdin, self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._pending = self._pending[:0]
        if not self._pending:
            self._selector.unregister(stdin)
            self._pipes.close("stdin")

    def finish(self) -> None:
        """Has the runner end whatever is left, and reads on until the outputs are closed, for a bounded time."""
        self._pipes.close("control")
        self._pending = self._pending[:0]
        self._write()
        deadline = time.monotonic() + _END_S
        while not self.ended and time.monotonic() < deadline:
            self.step(_POLL_S)
        deadline = time.monotonic() + _DRAIN_S
        while self._selector.get_map() and time.monotonic() < deadline:
            self.step(_POLL_S)
        self._selector.close()


class _Pipes:
    """Our ends of the pipes of one command."""

    def __init__(self, stdin: bytes | None) -> None:
        self.theirs: list[int] = []
        self.stdin: int | None = None
        if stdin is None:
            self.theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        else:
            reader, self.stdin = os.pipe()
            self.theirs.append(reader)
        self.out, self.err = self._receiving(), self._receiving()
        reader, self.control = os.pipe()
        self.theirs.append(reader)
        self.status = self._receiving()
        self._open = {"control": self.control, "out": self.out, "err": self.err, "status": self.status}
        if self.stdin is not None:
            self._open["stdin"] = self.stdin

    def _receiving(self) -> int:
        reader, writer = os.pipe()
        self.theirs.append(writer)
        return reader

    def close(self, name: str) -> None:
        """Closes one of our ends; again is no fault."""
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)
        if name == "stdin":
            self.stdin = None

    def handed_over(self) -> None:
        """The other ends belong to the runner now."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close_all(self) -> None:
        """Closes what is open."""
        self.handed_over()
        for name in tuple(self._open):
            self.close(name)


@contextlib.contextmanager
def _launched(  # the parts of one command, handed on once
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes | None,
    output_limit: int,
    extras: Extras,
) -> Iterator[_Pump]:
    confinement = extras.confinement
    request = {
        # As bytes: the helper may have another locale than we have.
        "argv": [os.fsencode(word) for word in argv],
        "env": {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        "cwd": os.fsencode(cwd),
        "pass": list(extras.pass_fds),
        "confine": None
        if confinement is None
        else {
            "limits": dict(confinement.limits),
            "uid": confinement.user,
            "program": confinement.program,
            "landlock": dict(confinement.landlock),
            "listen": confinement.asks,
        },
    }
    pipes = _Pipes(stdin)
    try:
        _HELPER.start(marshal.dumps(request), (*pipes.theirs, *extras.pass_fds))
        pipes.handed_over()
        yield _Pump(pipes, stdin, output_limit)
    finally:
        pipes.close_all()


class _Helper:
    """Our end of the helper process that forks the runners; it is started at the first command and dies with us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def start(self, request: bytes, descriptors: Sequence[int]) -> None:
        """Has a runner started. Raises ToolFault when the helper cannot be started."""
        with self._lock:
            for attempt in (1, 2):
                channel = self._connected()
                try:
                    socket.send_fds(channel, [len(request).to_bytes(8, "big")], list(descriptors))
                    channel.sendall(request)
                    return
                except OSError as error:
                    self.close()
                    if attempt == 2:
                        raise ToolFault(f"The helper process for commands does not answer: {error}.") from error

    def _connected(self) -> socket.socket:
        # After a fork of ours the helper is still the parent's: two writers would mix their requests.
        if self._channel is not None and self._owner == os.getpid():
            return self._channel
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_LAUNCHER), str(theirs.fileno())],
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                ours.close()
                raise ToolFault(f"{sys.executable} could not be started: {error.strerror}.") from error
        if ours.recv(1) != b"+":
            ours.close()
            raise ToolFault(f"{sys.executable} did not run {_LAUNCHER}: check the installation.")
        if not self._owner:
            atexit.register(self.close)
        self._channel, self._owner = ours, os.getpid()
        return ours

    def close(self) -> None:
        """Ends the helper; commands that still run are ended by the pipes of their own."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None and self._owner == os.getpid():
            self._process.wait()
            self._process = None


_HELPER = _Helper()
# The helper stays the parent's, and a lock that another thread held would stay locked for ever.
os.register_at_fork(after_in_child=_HELPER.__init__)  # type: ignore[misc]  # a new start is exactly what is meant
