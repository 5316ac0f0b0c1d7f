"""What a sandbox has to prove before anything is run in it: bait outside, a probe inside, and the judgement."""

import json
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolFault

# Runs inside under the interpreter that runs us; reports facts and judges nothing.
_PROBE = r"""
import json, os, socket, sys
def reached(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        try:
            client.connect(address)
        except OSError:
            return False
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
port, canary, abstract = int(sys.argv[1]), sys.argv[2], "\0" + sys.argv[3]
server = socket.create_server(("127.0.0.1", 0))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({
    "uid": os.geteuid(), "capabilities": status["CapEff"].strip().strip("0") + status["CapBnd"].strip().strip("0"),
    "no_new_privs": status["NoNewPrivs"].strip(), "environment": sorted(os.environ),
    "host_loopback": reached(socket.AF_INET, ("127.0.0.1", port)), "host_abstract": reached(socket.AF_UNIX, abstract),
    "own_loopback": reached(socket.AF_INET, server.getsockname()),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "canary": readable(canary), "root_writable": written("/probe"), "copy_writable": written("written"),
    "temporary_writable": written("/tmp/probe"), "processes": sum(name.isdigit() for name in os.listdir("/proc")),
}))
"""


@dataclass(frozen=True)
class Bait:
    """What must stay out of reach: a readable file, a listening port and an abstract socket of the host."""

    canary: Path
    port: int
    abstract: str


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
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract:
            abstract.bind("\0" + folder.name)
            abstract.listen()
            port = int(server.getsockname()[1])
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                yield Bait(canary, port, folder.name)


def probe_argv(python: Path, bait: Bait) -> tuple[str, ...]:
    """The command to run inside, from a writable current folder."""
    return (str(python), "-I", "-S", "-c", _PROBE, str(bait.port), str(bait.canary), bait.abstract)


def faults(stdout: str, *, expected_uid: int, environment: frozenset[str]) -> tuple[str, ...]:
    """What the probe found wrong, in words; empty when the sandbox holds. Raises ToolFault on an unreadable report."""
    try:
        report = json.loads(stdout)
    except ValueError as error:
        raise ToolFault(f"The sandbox probe printed {stdout[:200]!r} where JSON was expected.") from error
    if not isinstance(report, dict):
        raise ToolFault(f"The sandbox probe printed {stdout[:200]!r} where an object was expected.")
    return tuple(_faults(report, expected_uid, environment))


def _faults(report: Mapping[str, object], expected_uid: int, environment: frozenset[str]) -> Iterator[str]:
    expected: dict[str, object] = {
        "uid": expected_uid,
        "capabilities": "",
        "no_new_privs": "1",
        "host_loopback": False,
        "host_abstract": False,
        "own_loopback": True,
        "interfaces": ["lo"],
        "canary": False,
        "root_writable": False,
        "copy_writable": True,
        "temporary_writable": True,
    }
    for name, value in expected.items():
        if report.get(name) != value:
            yield f"{name} is {report.get(name)!r} and must be {value!r}"
    names = report.get("environment")
    extra = set(names) - environment if isinstance(names, list) else {"(no list)"}
    if extra:
        yield f"variables came in from outside: {', '.join(sorted(map(str, extra)))}"
    processes = report.get("processes")
    if not isinstance(processes, int) or processes > 4:
        yield f"{processes!r} processes are visible and only its own were expected"
