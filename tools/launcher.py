"""The helper that starts every command: it forks a small runner for each, which ends whatever the command leaves.

`process.py` runs this file as a script (`python -I -S`), once a process; nothing but the standard library is at hand.
A runner adopts orphans (Linux), so a process that leaves the session and forks twice is still ended with its command,
and it notices when the caller dies, by the end of the control pipe. Nothing here runs in the caller's own process.

A request on the socket: eight bytes of length with the descriptors, then a marshalled mapping. Descriptors: stdin,
stdout, stderr, control, status, and those to hand on. Lines on the status pipe: `error ERRNO WHAT` (not started),
`network` (a confined command asked for a socket), `exit CODE` (negative: a signal).
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import marshal
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

_FDS = 64
_END_S = 10.0
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 38, 36
# The numbers are the same on x86_64 and aarch64, but for seccomp.
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_NOTIFY_RECEIVE, _NOTIFY_SEND = 0xC0502100, 0xC0182101
_NOTIFICATION, _ANSWER = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")


def serve(channel: socket.socket) -> None:
    """Start a runner for every request until the caller closes its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(b"+")
    while True:
        head, fds, _, _ = socket.recv_fds(channel, 8, _FDS)
        if len(head) < 8:
            return
        for descriptor in fds:
            os.set_inheritable(descriptor, False)
        body = bytearray()
        size = int.from_bytes(head, "big")
        while len(body) < size:
            part = channel.recv(min(size - len(body), 1 << 20))
            if not part:
                return
            body += part
        if os.fork() == 0:
            channel.close()
            _runner(marshal.loads(bytes(body)), fds)  # from the process that started us, on a private socket
        for descriptor in fds:
            os.close(descriptor)


def _runner(request: dict[str, Any], fds: list[int]) -> NoReturn:
    control, status = fds[3], fds[4]
    try:
        _watch(request, fds, control, status)
    except OSError as error:
        os.write(status, f"error {error.errno} runner\n".encode())
    finally:
        os._exit(0)


def _watch(request: dict[str, Any], fds: list[int], control: int, status: int) -> None:
    confine = request["confine"]
    if sys.platform == "linux":
        _libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    here, there = socket.socketpair()
    root = os.fork()
    if root == 0:
        here.close()
        _command(request, fds, there)
    there.close()
    for descriptor in (*fds[:3], *fds[5:]):
        os.close(descriptor)
    listener = _listener(here) if confine and confine["listen"] else -1
    code = _wait(root, (control, woken, listener), status)
    _end(root, confine)
    if code is not None:
        os.write(status, f"exit {code}\n".encode())


def _wait(root: int, sources: tuple[int, int, int], status: int) -> int | None:
    """Until the command ends (its exit code) or the caller has had enough of it or is gone (None)."""
    control, woken, listener = sources
    poller = select.poll()
    for descriptor in sources:
        if descriptor >= 0:
            poller.register(descriptor, select.POLLIN)
    code: int | None = None
    while code is None:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if control in ready:
            return None
        if woken in ready:
            os.read(woken, 4096)
            code = _reap(root)
        if listener in ready:
            _refuse(listener, status)
    return code


def _reap(root: int) -> int | None:
    """Collects what has ended; the exit code of the command when it is among it."""
    code = None
    while True:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == root:
            code = os.waitstatus_to_exitcode(found)


def _end(root: int, confine: dict[str, Any] | None) -> None:
    """Kills everything below this runner, adopted orphans included, until nothing is left."""
    if sys.platform != "linux":  # neither adoption nor /proc: the session has to do
        _signal(-root, signal.SIGKILL)
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if confine is not None and confine["uid"] is not None:
            _kill_user(confine["uid"])
        # Stopped first: what is stopped cannot fork away from the kill.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in tuple(_descendants(os.getpid())):
                _signal(pid, number)
        time.sleep(0.001)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _kill_user(uid: int) -> None:
    """Kills every process of a user who is only this command's: in one step, so nothing can fork away from it."""
    if os.fork() == 0:
        try:
            os.setresuid(uid, uid, uid)
            _signal(-1, signal.SIGKILL)
        finally:
            os._exit(0)


def _descendants(root: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")  # noqa: PTH208  # pathlib takes longer to import than everything else here
    except OSError:
        return
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  # as above
                    # The command name in parentheses may itself hold spaces and parentheses.
                    parents.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
            except (OSError, ValueError, IndexError):
                continue
    waiting = [root]
    while waiting:
        children = parents.pop(waiting.pop(), [])
        yield from children
        waiting += children


def _command(request: dict[str, Any], fds: list[int], there: socket.socket) -> NoReturn:
    status, what = fds[4], "cwd"
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for name in ("SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.chdir(request["cwd"])
        what = "descriptors"
        # Out of the way first: a received number may be one of those that the command expects.
        highest = max((2, *request["pass"])) + 1
        status, *given = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, highest) for one in (status, *fds[:3], *fds[5:]))
        for source, target in zip(given, (0, 1, 2, *request["pass"]), strict=True):
            os.dup2(source, target)
        what = "confine"
        if request["confine"]:
            _confine(request["confine"], there)
        what = "program"
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        os.write(status, f"error {error.errno} {what}\n".encode())
    finally:
        os._exit(255)


# ---- confinement without namespaces ----


def _confine(rules: dict[str, Any], there: socket.socket) -> None:
    """Limits, another user where there is one, no new privileges, Landlock and seccomp, for good."""
    for name, value in rules["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if rules["uid"] is not None:
        os.setgroups([])
        os.setresgid(*(rules["uid"],) * 3)
        os.setresuid(*(rules["uid"],) * 3)
    if not rules["program"]:
        return
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if rules["landlock"]:
        _restrict(rules["landlock"])
    listener = _filter(rules["program"], rules["listen"])
    if rules["listen"]:
        socket.send_fds(there, [b"+"], [listener])
        os.close(listener)


def _restrict(rules: dict[str, Any]) -> None:
    """Everything is denied but what `paths` (path, rights) allow; a path out of reach allows nothing."""
    attributes = struct.pack("QQQ", rules["files"], rules["net"], rules["scope"])[: rules["size"]]
    ruleset = _syscall(_LANDLOCK_CREATE, ctypes.c_char_p(attributes), len(attributes), 0)
    for path, rights in rules["paths"]:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue
        _syscall(_LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(struct.pack("=Qi", rights, descriptor)), 0)
        os.close(descriptor)
    _syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def _filter(code: bytes, listen: bool) -> int:
    program = _Program(len(code) // 8, code)
    return _syscall(_SECCOMP[os.uname().machine], 1, 8 if listen else 0, ctypes.byref(program))


def _listener(here: socket.socket) -> int:
    """The descriptor on which the kernel asks about sockets; -1 when the command never got that far."""
    _, ancillary, _, _ = here.recvmsg(1, socket.CMSG_SPACE(4))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            return array.array("i", data)[0]
    return -1


def _refuse(listener: int, status: int) -> None:
    """Answers one question with EPERM and notes that it was asked."""
    asked = bytearray(_NOTIFICATION.size)
    # The process that asked may be gone by now.
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _NOTIFY_RECEIVE, asked)
        os.write(status, b"network\n")
        fcntl.ioctl(listener, _NOTIFY_SEND, _ANSWER.pack(_NOTIFICATION.unpack(asked)[0], 0, -errno.EPERM, 0))


def _syscall(number: int, *arguments: Any) -> int:
    return _libc("syscall", number, *arguments)


def _libc(name: str, *arguments: Any) -> int:
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    found = int(function(*words))
    if found < 0:
        raise OSError(ctypes.get_errno(), f"{name} {arguments[0]}")
    return found


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
