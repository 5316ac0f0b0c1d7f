"""What a sandbox has to prove before anything is run in it: bait outside, a probe inside, and the judgement."""

import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolFault

#: The limit of processes below which the probe runs, and the number of forks that it tries.
PROCESSES = 24
_FORKS = 64

# Runs inside under the interpreter that runs us; reports facts and judges nothing.
_PROBE = r"""
import ctypes, json, os, signal, socket, sys
def reached(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            client.connect(address)
    except OSError:
        return False
    return True
def makes(family):
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except PermissionError:
        return False
    except OSError:
        return "unknown"
    return True
def readable(path):
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
def written(path):
    try:
        with open(path, "w") as file:
            file.write("inside")
    except OSError:
        return False
    return True
def own_loopback():
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return reached(socket.AF_INET, server.getsockname())
    except OSError:
        return False
def interfaces():
    try:
        return sorted(name for _, name in socket.if_nameindex())
    except OSError:
        return []
def status():
    try:
        with open("/proc/self/status") as file:
            return dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return {}
def visible():
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
def signals(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
def call(*words):
    if sys.platform != "linux":
        return "not tried"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    found = libc.syscall(*(ctypes.c_long(word) for word in words))
    return "done" if found >= 0 else os.strerror(ctypes.get_errno())
def forks(count):
    children = []
    for _ in range(count):
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            signal.pause()
        children.append(pid)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(children)
given = json.loads(sys.argv[1])
status, pids = status(), visible()
# A number that a process inside has as well says nothing about the host's.
host = given["pid"] if given["pid"] not in pids else 0
print(json.dumps({
    "uid": os.geteuid(), "capabilities": status.get("CapEff", "?").strip().strip("0"),
    "no_new_privs": status.get("NoNewPrivs", "?").strip(), "seccomp": status.get("Seccomp", "?").strip(),
    "environment": sorted(os.environ), "interfaces": interfaces(), "processes": len(pids),
    "host_loopback": reached(socket.AF_INET, ("127.0.0.1", given["port"])),
    "host_abstract": reached(socket.AF_UNIX, "\0" + given["abstract"]),
    "host_sockets": [path for path in given["sockets"] if reached(socket.AF_UNIX, path)],
    "unix_sockets": makes(socket.AF_UNIX), "vsock": makes(40), "own_loopback": own_loopback(),
    "canary": readable(given["canary"]), "root_writable": written("/probe"), "copy_writable": written("written"),
    "temporary_writable": written(os.environ["TMPDIR"] + "/probe"),
    "signalled": bool(host) and signals(host), "parent_environment": bool(host) and readable(f"/proc/{host}/environ"),
    "io_uring": call(425, 1, 0), "new_user": call(given["unshare"], 0x10000000), "ptrace": call(given["ptrace"], 16, 0),
    "forks": forks(given["forks"]),
}))
"""
_CALLS = {"x86_64": (272, 101), "aarch64": (97, 117)}  # unshare and ptrace
# Where services of a host usually listen.
_KNOWN_SOCKETS = (
    *("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"),
    *("/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/stdout", "/tmp/.X11-unix/X0"),
    *("/tmp/.s.PGSQL.5432", "/var/run/postgresql/.s.PGSQL.5432", "/run/mysqld/mysqld.sock", "/run/redis/redis.sock"),
)
# What only Linux has, or says in /proc: elsewhere nothing can be expected of it.
_LINUX = frozenset({"capabilities", "no_new_privs", "seccomp", "host_abstract", "unix_sockets", "vsock", "interfaces"})
_REFUSED = ("Operation not permitted", "Function not implemented")


@dataclass(frozen=True)
class Bait:
    """What must stay out of reach: a readable file, a listening port and two sockets of the host, and ourselves."""

    canary: Path
    port: int
    abstract: str
    named: Path


@contextmanager
def bait() -> Iterator[Bait]:
    """Lays the bait out and proves from this side that it could be taken. Raises OSError when it could not."""
    with tempfile.TemporaryDirectory(prefix="bait-") as name, socket.create_server(("127.0.0.1", 0)) as server:
        folder = Path(name)
        # Open to every user, so that only the missing mount can protect it.
        folder.chmod(0o755)
        canary = folder / "canary"
        canary.write_text("outside")
        canary.chmod(0o644)
        with _listening("\0" + folder.name), _listening(str(folder / "socket")):
            (folder / "socket").chmod(0o777)
            port = int(server.getsockname()[1])
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                yield Bait(canary, port, folder.name, folder / "socket")


@contextmanager
def _listening(address: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        if address.startswith("\0") and not os.path.exists("/proc/self"):  # noqa: PTH110  # only Linux has abstract ones
            yield
            return
        server.bind(address)
        server.listen()
        yield


def probe_argv(python: Path, bait: Bait) -> tuple[str, ...]:
    """The command to run inside, from a writable current folder."""
    unshare, ptrace = _CALLS.get(platform.machine(), (0, 0))
    given = {
        "pid": os.getpid(),
        "port": bait.port,
        "canary": str(bait.canary),
        "abstract": bait.abstract,
        "sockets": [str(bait.named), *_KNOWN_SOCKETS],
        "unshare": unshare,
        "ptrace": ptrace,
        "forks": _FORKS,
    }
    return (str(python), "-I", "-S", "-c", _PROBE, json.dumps(given))


def faults(
    stdout: str,
    *,
    expected_uid: int,
    environment: frozenset[str],
    namespaces: bool = True,
    unix_sockets: bool = False,
    linux: bool = sys.platform == "linux",
) -> tuple[str, ...]:
    """What the probe found wrong, in words; empty when the sandbox holds. Raises ToolFault on an unreadable report.

    `namespaces` and `unix_sockets` say what the sandbox claims to have and was asked to allow. Where this is not
    `linux`, files, environment, signals and the network count; limits and system calls cannot be told from inside.
    """
    try:
        report = json.loads(stdout)
    except ValueError as error:
        raise ToolFault(f"The sandbox probe printed {stdout[:200]!r} where JSON was expected.") from error
    if not isinstance(report, dict):
        raise ToolFault(f"The sandbox probe printed {stdout[:200]!r} where an object was expected.")
    expected: dict[str, object] = {
        "uid": expected_uid,
        "capabilities": "",
        "no_new_privs": "1",
        "seccomp": "2",
        "host_loopback": False,
        "host_abstract": False,
        "host_sockets": [],
        "unix_sockets": unix_sockets,
        "vsock": False,
        "own_loopback": namespaces,
        "interfaces": ["lo"] if namespaces else [],
        "canary": False,
        "root_writable": False,
        "copy_writable": True,
        "temporary_writable": True,
        "signalled": False,
        "parent_environment": False,
    }
    asked = {name: value for name, value in expected.items() if linux or name not in _LINUX}
    return (*_differences(report, asked, environment), *(_of_linux(report) if linux else ()))


def _differences(
    report: Mapping[str, object], expected: Mapping[str, object], environment: frozenset[str]
) -> Iterator[str]:
    for name, value in expected.items():
        if report.get(name) != value:
            yield f"{name} is {report.get(name)!r} and must be {value!r}"
    names = report.get("environment")
    extra = set(names) - environment if isinstance(names, list) else {"(no list)"}
    if extra:
        yield f"variables came in from outside: {', '.join(sorted(map(str, extra)))}"


def _of_linux(report: Mapping[str, object]) -> Iterator[str]:
    for name in ("io_uring", "new_user", "ptrace"):
        if report.get(name) not in _REFUSED:
            yield f"{name} said {report.get(name)!r} and must be refused"
    processes = report.get("processes")
    if not isinstance(processes, int) or processes > 4:
        yield f"{processes!r} processes are visible and only its own were expected"
    forks = report.get("forks")
    if not isinstance(forks, int) or forks >= _FORKS:
        yield f"{forks!r} processes were started, and at most {PROCESSES} should have been possible"
