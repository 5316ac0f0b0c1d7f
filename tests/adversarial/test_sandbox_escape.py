"""Cases 32 to 45 of the list of attacks, and the ways past earlier sandboxes (C), each shown to work without ours."""

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import attacks
import pytest

from backend_crew.tools import seccomp
from backend_crew.tools.engine import Command, Engine, Layout
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.process import Completed, Confinement, Extras, run
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Box, Limits, Sandbox

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
EPERM, ENOSYS = 1, 38
Code = Callable[..., Completed]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text("VALUE = 1\n")
    return folder


@pytest.fixture
def box(sandbox: Sandbox, tree: Path) -> Iterator[Box]:
    with sandbox.box(tree, tree, find_runtime(tree, python=Path(sys.executable))) as opened:
        yield opened


def argv(code: str, *words: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *map(str, words)]


@pytest.fixture
def inside(box: Box) -> Code:
    def execute(code: str, *words: object, limits: Limits | None = None, unix: bool = False) -> Completed:
        return box.run(argv(code, *words), limits=limits, unix_sockets=unix)

    return execute


@pytest.fixture
def bare(tmp_path: Path) -> Code:
    """The weak control: the same code as an ordinary child process."""

    def execute(code: str, *words: object, confinement: Confinement | None = None) -> Completed:
        return run(argv(code, *words), cwd=tmp_path, env=ENV, extras=Extras(confinement=confinement))

    return execute


def named(marker: str) -> list[int]:
    """Host ids of processes that call themselves `marker`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(marker.encode() + b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def gone(marker: str) -> bool:
    deadline = time.monotonic() + 5
    while named(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not named(marker)


def answers(done: Completed) -> dict[str, str]:
    assert done.ok, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


# ---- resources ----


def test_32_fork_bomb(inside: Code, bare: Code) -> None:
    done = inside(attacks.FORKS, 200, limits=Limits(processes=40))
    assert 5 < int(done.stdout) < 40, done.stderr
    assert bare(attacks.FORKS, 200).stdout == "200\n"


def test_33_memory(inside: Code, bare: Code) -> None:
    code = "x = bytearray(700 * 1024 * 1024); print('allocated')"
    assert "MemoryError" in inside(code, limits=Limits(memory_bytes=512 * 1024**2)).stderr
    assert bare(code).stdout == "allocated\n"


def test_34_disk_fill(box: Box) -> None:
    code = """
    import os, sys, time
    for number in range(int(sys.argv[1])):
        with open(f"big{number}", "wb") as file:
            file.write(os.urandom(1 << 20) * 4)
            os.fsync(file.fileno())
        time.sleep(0.02)
    time.sleep(float(sys.argv[2]))
    """
    limits = Limits(disk_bytes=40 << 20, file_bytes=8 << 20, timeout_s=60)
    # The control: the same program with every other limit in place fills more than that, and nothing ends it.
    free = box.run(argv(code, 12, 0), limits=replace(limits, disk_bytes=1 << 30))
    assert free.ok and not free.overfull
    assert sum(path.stat().st_size for path in box.files.glob("big*")) == 12 * (4 << 20)
    for path in box.files.glob("big*"):
        path.unlink()
    done = box.run(argv(code, 40, 30), limits=limits)
    assert done.overfull and done.exit_code is None and not done.timed_out
    assert "written to the disk" in done.stderr
    written = sum(path.stat().st_size for path in box.files.glob("big*"))
    # Each file alone is small enough for the kernel's own limit on files. Exactly ten files are the least that reaches the limit: what the file system writes for them counts as well.
    assert written >= 40 << 20
    assert max(path.stat().st_size for path in box.files.glob("big*")) < 8 << 20


def test_35_output_flood(box: Box) -> None:
    flood = ["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' y >&2"]
    done = box.run(flood, limits=Limits(output_bytes=1_000))
    assert done.truncated and len(done.stdout) < 1_200 and len(done.stderr) < 1_200
    # The controls: in the same box with a wider limit all of it arrives, and an ordinary call keeps all of it in memory.
    free = box.run(flood, limits=Limits(output_bytes=20_000_000))
    assert (free.truncated, len(free.stdout), len(free.stderr)) == (False, 5_000_000, 5_000_000)
    assert len(subprocess.run(flood, capture_output=True, check=True).stdout) == 5_000_000


@pytest.mark.parametrize("end", ["stay", "leave"])
def test_36_setsid_and_double_fork(inside: Code, tmp_path: Path, end: str) -> None:
    marker = f"orphan-{end}-{os.getpid()}"
    limits = Limits(timeout_s=1.5)
    done = inside(attacks.ORPHAN, marker, end, limits=limits)
    assert done.timed_out == (end == "stay")
    assert done.stdout == "left\n"
    assert gone(marker)
    # Outside of a process namespace, as git is run: the runner adopts it and ends it.
    assert run(argv(attacks.ORPHAN, marker, end), cwd=tmp_path, env=ENV, timeout_s=1.5).stdout == "left\n"
    assert gone(marker)
    # The control: killing the session misses what has left it.
    with subprocess.Popen(argv(attacks.ORPHAN, marker, end), stdout=subprocess.PIPE, start_new_session=True) as naive:
        assert naive.stdout is not None and naive.stdout.readline() == b"left\n"
        deadline = time.monotonic() + 5
        while not named(marker) and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(naive.pid, signal.SIGKILL)
    survivors = named(marker)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert len(survivors) == 1


def test_37_timeout_ignored(inside: Code) -> None:
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
    done = inside(code, limits=Limits(timeout_s=1.5))
    assert done.timed_out and done.seconds < 20
    with subprocess.Popen(argv(code), stdout=subprocess.PIPE) as naive:
        assert naive.stdout is not None and naive.stdout.readline() == b"up\n"
        naive.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            naive.wait(0.3)
        naive.kill()


# ---- the person's processes ----


@pytest.fixture
def victim() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "print(flush=True); import time; time.sleep(300)"],
                          env={"TOKEN": "sk-of-the-victim"}, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_38_environment_of_others(inside: Code, bare: Code, victim: int) -> None:
    code = "import sys; print(open(f'/proc/{sys.argv[1]}/environ').read())"
    for pid in (victim, os.getpid(), os.getppid()):
        assert "sk-of-the-victim" not in inside(code, pid).stdout
        assert "PATH=" not in inside(code, pid).stdout
    assert "sk-of-the-victim" in bare(code, victim).stdout


def test_39_signals(inside: Code, bare: Code, victim: int) -> None:
    code = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2])); print('sent')"
    inside(code, victim, 9)
    inside(code, -1, 9)
    assert bare(code, victim, 0).stdout == "sent\n", "the control: it is alive, and outside it can be signalled"


# ---- the network ----


def test_40_tcp_and_udp(inside: Code, bare: Code) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(0.5)
        assert not inside(attacks.CONNECT, "tcp", tcp.getsockname()[1]).ok
        inside(attacks.CONNECT, "udp", udp.getsockname()[1])
        with pytest.raises(TimeoutError):
            udp.recv(10)
        assert bare(attacks.CONNECT, "tcp", tcp.getsockname()[1]).stdout == "reached\n"
        bare(attacks.CONNECT, "udp", udp.getsockname()[1])
        assert udp.recv(10) == b"stolen"


@pytest.fixture
def listeners() -> Iterator[list[str]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as two,
    ):
        Path(folder).chmod(0o755)
        one.bind(f"{folder}/docker.sock")
        two.bind("\0" + folder)
        for server in (one, two):
            server.listen()
        Path(folder, "docker.sock").chmod(0o777)
        yield [f"{folder}/docker.sock", f"@{folder}"]


@pytest.mark.parametrize("unix", [False, True])
def test_41_unix_sockets(inside: Code, bare: Code, listeners: list[str], unix: bool) -> None:
    for address in listeners:
        done = inside(attacks.CONNECT, "unix", address, unix=unix)
        assert not done.ok
        assert ("PermissionError" in done.stderr) == (not unix), "the first wall is the filter, the second the mounts"
        assert bare(attacks.CONNECT, "unix", address).stdout == "reached\n"


def test_41_docker_socket_is_not_there(inside: Code) -> None:
    """Without a control: whether this machine has Docker is not ours to say."""
    code = "import os; print([p for p in ('/run', '/var', '/var/run/docker.sock') if os.path.exists(p)])"
    assert inside(code).stdout == "[]\n"


def test_41_an_engine_cannot_be_asked_for_sockets_that_the_self_test_did_not_clear(
    sandbox: Sandbox, tree: Path
) -> None:
    code = argv("import socket; socket.socket(socket.AF_UNIX)")
    runtime = find_runtime(tree, python=Path(sys.executable))
    for cleared in (False, True):
        with replace(sandbox, unix_sockets=cleared).box(tree, tree, runtime) as box:
            assert box.run(code, unix_sockets=True).ok == cleared
            assert not box.run(code).ok


def naive_filter() -> Confinement:
    """What one would write first: socket() is refused, and nothing else."""
    table = seccomp._Table(None)
    steps = [*table.head(), *table.refused(("socket",)), seccomp._returned(seccomp.ALLOW)]
    return Confinement(program=seccomp._assembled(steps))


def test_c2_io_uring_makes_sockets_that_no_filter_of_socket_sees(
    inside: Code, bare: Code, listeners: list[str]
) -> None:
    path = listeners[0]
    weak = naive_filter()
    assert "PermissionError" in bare(attacks.CONNECT, "unix", path, confinement=weak).stderr
    passed = bare(attacks.IO_URING, path, confinement=weak)
    if "Function not implemented" in passed.stderr or "Operation not permitted" in passed.stderr:
        pytest.skip("this kernel has no io_uring for us")
    assert passed.stdout == "reached\n", passed.stderr
    for unix in (False, True):
        assert "Operation not permitted" in inside(attacks.IO_URING, path, unix=unix).stderr


# ---- the kernel ----


def test_42_43_44_calls_that_lead_out(inside: Code, bare: Code) -> None:
    """User namespaces, ptrace and x32; where x32 is not built in, the control says ENOSYS instead of EPERM."""
    refused = answers(inside(attacks.CALLS))
    free = answers(bare(attacks.CALLS))
    assert refused.pop("stream_pair") == "done"
    assert refused.pop("x32_getpid") == str(EPERM if platform.machine() == "x86_64" else ENOSYS)
    assert set(refused.values()) == {str(EPERM)}, refused
    assert free["ptrace"] == free["unshare_new_user"] == free["clone_new_user"] == free["datagram_pair"] == "done"
    assert all(free[name] != str(EPERM) for name in ("x32_getpid", "process_vm_readv", "bpf", "io_uring_setup"))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only this machine answers calls of another one")
def test_44_calls_of_a_32_bit_program(inside: Code, bare: Code) -> None:
    done = inside(attacks.FOREIGN)
    assert done.exit_code == 128 + signal.SIGSYS
    # Answered, or a fault where 32-bit programs are not supported: never the filter.
    assert bare(attacks.FOREIGN).exit_code in (0, -signal.SIGSEGV)


# ---- what comes back, and what is shared ----


def test_45_a_planted_link_is_not_read_on_the_host(box: Box, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("outside")
    assert box.run(["sh", "-c", f"ln -s {tmp_path}/canary report.xml; ln -s {tmp_path} folder"]).ok
    for path in ("report.xml", "folder/canary"):
        with pytest.raises(ToolFault, match=r"link|regular"):
            box.read(path)
        assert (box.files / path).read_text() == "outside", "the control: opened in the ordinary way it is followed"


def test_c5_hard_links_would_alias_the_source(sandbox: Sandbox, tree: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    subprocess.run(["cp", "-al", tree, linked], check=True)
    change = "open('app.py', 'r+').write('CHANGED')"
    with sandbox.box(tree, tree, find_runtime(tree, python=Path(sys.executable))) as box:
        assert box.run(argv(change)).ok
        assert (box.read("app.py") or b"").startswith(b"CHANGED")
    assert (tree / "app.py").read_text() == "VALUE = 1\n"
    assert run(argv(change), cwd=linked, env=ENV).ok
    assert (tree / "app.py").read_text().startswith("CHANGED"), "the control: a linked copy writes through"


class Elsewhere:
    """The naive sandbox: the copy is mounted where it lies, and the repository stays readable at its own path."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def run(self, layout: Layout, command: Command) -> Completed:
        moved = replace(layout.runtime, mounts=(*layout.runtime.mounts, layout.original))
        return self._engine.run(replace(layout, at=layout.files, runtime=moved, overlays=()), command)


def test_c1_an_editable_install_imports_the_new_code(sandbox: Sandbox, tmp_path: Path) -> None:
    repo, changed = tmp_path / "shop", tmp_path / "clone"
    for folder, value in ((repo, "old"), (changed, "new")):
        (folder / "src" / "shop").mkdir(parents=True)
        (folder / "src" / "shop" / "__init__.py").write_text(f"VALUE = {value!r}\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", repo / ".venv"], check=True)
    site = next((repo / ".venv" / "lib").glob("python3.*/site-packages"))
    (site / "shop.pth").write_text(f"{repo / 'src'}\n")
    look = [str(repo / ".venv/bin/python"), "-c", "import shop; print(shop.VALUE)"]
    for engine, value in ((sandbox.engine, "new"), (Elsewhere(sandbox.engine), "old")):
        with replace(sandbox, engine=engine).box(changed, repo, find_runtime(repo)) as box:  # type: ignore[arg-type]  # it hands on what it does not change
            done = box.run(look)
            assert done.stdout == f"{value}\n", done.stderr
