"""The sandbox against code that wants out; every escape is first shown to work without it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend_crew.tools.bubblewrap import Bubblewrap
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.process import Completed, run
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import Box, Limits, Sandbox

BARE_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
Code = Callable[..., Completed]


def program_of(sandbox: Sandbox) -> Path:
    """The bubblewrap that passed."""
    assert isinstance(sandbox.engine, Bubblewrap)
    return sandbox.engine.program


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text("VALUE = 1\n")
    return folder


@pytest.fixture
def runtime(tree: Path) -> Runtime:
    return find_runtime(tree, python=Path(sys.executable))


@pytest.fixture
def box(sandbox: Sandbox, tree: Path, runtime: Runtime) -> Iterator[Box]:
    with sandbox.box(tree, tree, runtime) as opened:
        yield opened


@pytest.fixture
def inside(box: Box) -> Code:
    def execute(code: str, *args: object, limits: Limits | None = None) -> Completed:
        return box.run([sys.executable, "-I", "-c", textwrap.dedent(code), *map(str, args)], limits=limits)

    return execute


@pytest.fixture
def bare(tree: Path) -> Code:
    """The weak control: the same code through the command door alone."""

    def execute(code: str, *args: object, timeout_s: float = 30) -> Completed:
        argv = [sys.executable, "-I", "-c", textwrap.dedent(code), *map(str, args)]
        return run(argv, cwd=tree, env=BARE_ENV, timeout_s=timeout_s)

    return execute


# ---- what the code may do ----


def test_code_runs_on_the_copy_at_the_original_path_and_the_original_stays(box: Box, inside: Code, tree: Path) -> None:
    done = inside("import os; open('app.py', 'a').write('changed'); open('new', 'w').write('n'); print(os.getcwd())")
    assert done.ok, done.stderr
    assert done.stdout == f"{tree}\n"
    assert box.read("app.py") == b"VALUE = 1\nchanged"
    assert box.read("new") == b"n"
    assert (tree / "app.py").read_text() == "VALUE = 1\n"
    assert sorted(path.name for path in tree.iterdir()) == ["app.py"]


def test_a_server_on_the_own_loopback_works(inside: Code) -> None:
    done = inside(
        """
        import http.server, threading, urllib.request
        server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(urllib.request.urlopen(f"http://localhost:{server.server_port}/app.py", timeout=5).read().decode())
        """
    )
    assert done.stdout == "VALUE = 1\n\n", done.stderr


def test_the_environment_is_built_from_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "sk-canary")
    done = box.run(["/usr/bin/env"], env={"APP_ENV": "test"})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "APP_ENV=test" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE=1" in done.stdout
    assert names <= {"HOME", "LANG", "LOGNAME", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "USER", "VIRTUAL_ENV"} | {
        "APP_ENV",
        "PWD",
    }
    assert "sk-canary" in subprocess.run(["/usr/bin/env"], capture_output=True, text=True, check=True).stdout


def test_home_and_temporary_folder_are_private_and_gone_afterwards(box: Box, inside: Code) -> None:
    code = "import pathlib, tempfile; p = pathlib.Path.home() / 'x'; p.write_text('1'); print(tempfile.mkdtemp(), p)"
    done = inside(code)
    assert done.ok, done.stderr
    assert not any(Path(word).exists() for word in done.stdout.split())
    assert box.run(["ls", "-A", "/tmp/home"]).stdout == ""


def test_a_program_that_is_missing_inside_is_exit_127_and_a_dash_is_no_option(box: Box) -> None:
    assert box.run(["no-such-program"]).exit_code == 127
    assert box.run(["--version"]).exit_code == 127
    assert box.run(["no-such-program"]).argv == ("no-such-program",)


def test_cwd_is_a_real_folder_of_the_copy(box: Box, tree: Path) -> None:
    box.put("sub/folder/file", b"x")
    assert box.run(["pwd"], cwd="sub/folder").stdout == f"{tree}/sub/folder\n"
    with pytest.raises(ToolRetry, match="does not exist"):
        box.run(["pwd"], cwd="missing")
    with pytest.raises(ToolRetry, match="relative"):
        box.run(["pwd"], cwd="../..")
    assert box.run(["ln", "-s", "/etc", "link"]).ok
    with pytest.raises(ToolFault, match="link"):
        box.run(["pwd"], cwd="link")


# ---- editable installs ----


@pytest.fixture(scope="session")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose ignored .venv holds an editable install of it, with a console script."""
    repo = tmp_path_factory.mktemp("editable") / "shop"
    (repo / "src" / "shop").mkdir(parents=True)
    (repo / "src" / "shop" / "__init__.py").write_text("VALUE = 'old'\n")
    venv = repo / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python3.*/site-packages"))
    (site / "shop.pth").write_text(f"{repo / 'src'}\n")
    script = venv / "bin" / "shop-value"
    script.write_text(f"#!{venv}/bin/python\nimport shop\nprint(shop.__file__, shop.VALUE)\n")
    script.chmod(0o755)
    return repo


@pytest.fixture(scope="session")
def workspace(editable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree where the new code was written: the same repository without what git ignores."""
    folder = tmp_path_factory.mktemp("workspace") / "tree"
    (folder / "src" / "shop").mkdir(parents=True)
    (folder / "src" / "shop" / "__init__.py").write_text("VALUE = 'new'\n")
    return folder


def test_with_an_editable_install_the_new_code_is_what_is_imported(
    sandbox: Sandbox, editable: Path, workspace: Path
) -> None:
    found = find_runtime(editable)
    expected = f"{editable}/src/shop/__init__.py"
    with sandbox.box(workspace, editable, found) as box:
        done = box.run(["shop-value"])
        assert done.stdout == f"{expected} new\n", done.stderr
        assert box.read("src/shop/__init__.py") == b"VALUE = 'new'\n"
    # Bare, and in a copy mounted elsewhere, the same script imports the old code.
    bare = run([str(editable / ".venv/bin/shop-value")], cwd=workspace, env=BARE_ENV)
    assert bare.stdout == f"{expected} old\n"
    elsewhere = replace(found, mounts=(*found.mounts, editable), overlays=())
    with sandbox.box(workspace, workspace, elsewhere) as box:
        assert box.run(["shop-value"]).stdout == f"{expected} old\n"


def test_installed_dependencies_are_read_only_inside(sandbox: Sandbox, editable: Path, workspace: Path) -> None:
    with sandbox.box(workspace, editable, find_runtime(editable)) as box:
        assert not box.run(["sh", "-c", "echo bad > .venv/bin/shop-value"]).ok
        assert not box.run(["rm", "-rf", ".venv"]).ok
    assert (editable / ".venv" / "bin" / "shop-value").exists()


def test_folders_that_the_workspace_tracks_are_not_covered(sandbox: Sandbox, tree: Path, tmp_path: Path) -> None:
    (tree / "vendor").mkdir()
    (tree / "vendor" / "lib.txt").write_text("old")
    other = tmp_path / "workspace"
    (other / "vendor").mkdir(parents=True)
    (other / "vendor" / "lib.txt").write_text("new")
    found = find_runtime(tree)
    assert found.overlays == ("vendor",)
    with sandbox.box(other, tree, found) as box:
        assert box.run(["cat", "vendor/lib.txt"]).stdout == "new"
    with sandbox.box(tree, tree, found) as box:
        assert box.run(["cat", "vendor/lib.txt"]).stdout == "old"
        assert not (box.files / "vendor" / "lib.txt").exists()


def test_a_mount_point_swapped_for_a_link_is_not_followed(sandbox: Sandbox, tree: Path) -> None:
    (tree / "a" / "node_modules").mkdir(parents=True)
    (tree / "a" / "package.json").write_text("{}")
    with sandbox.box(tree, tree, find_runtime(tree)) as box:
        assert box.run(["sh", "-c", "mv a b && ln -s /usr a"]).ok
        with pytest.raises(ToolFault, match="link or no folder"):
            box.run(["true"])


# ---- ways out ----

READ = "import sys; print(open(sys.argv[1]).read())"
CONNECT = """
import socket, sys
family = socket.AF_INET if sys.argv[1].isdigit() else socket.AF_UNIX
address = ("127.0.0.1", int(sys.argv[1])) if family == socket.AF_INET else sys.argv[1].replace("@", "\\0")
client = socket.socket(family, socket.SOCK_STREAM)
client.settimeout(3)
client.connect(address)
print("reached")
"""


def test_a_file_outside_cannot_be_read_or_written(inside: Code, bare: Code, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("outside")
    assert bare(READ, canary).stdout == "outside\n"
    assert not inside(READ, canary).ok
    write = "import sys; open(sys.argv[1], 'w').write('overwritten')"
    # Below /tmp the code may write to a private file of the same name; the host's file is not it.
    inside(write, canary)
    assert canary.read_text() == "outside"
    assert bare(write, canary).ok
    assert canary.read_text() == "overwritten"


def test_a_link_in_the_tree_does_not_lead_outside(
    sandbox: Sandbox, tree: Path, runtime: Runtime, bare: Code, tmp_path: Path
) -> None:
    (tmp_path / "canary").write_text("outside")
    (tree / "link").symlink_to(tmp_path / "canary")
    (tree / "up").symlink_to("../..")
    assert bare(READ, "link").ok
    assert bare(READ, "up/canary").ok
    with sandbox.box(tree, tree, runtime) as box:
        assert (box.files / "link").is_symlink()
        assert not box.run(["cat", "link"]).ok
        assert not box.run(["cat", "up/canary"]).ok


def test_neighbours_homes_and_accounts_are_not_visible(inside: Code, bare: Code, tree: Path) -> None:
    (tree.parent / "neighbour").mkdir()
    look = "import os, sys; print(sorted(os.listdir(sys.argv[1])))"
    assert bare(look, tree.parent).stdout == "['neighbour', 'repo']\n"
    assert inside(look, tree.parent).stdout == "['repo']\n"
    accounts = "print(len(open('/etc/passwd').readlines()))"
    assert int(inside(accounts).stdout) == 2
    assert int(bare(accounts).stdout) > 2
    places = ("/etc/shadow", "/etc/ssh", "/var", "/run", "/home", "/sys")
    exists = f"import os; print([p for p in {places} if os.path.exists(p)])"
    assert inside(exists).stdout == "[]\n"
    assert bare(exists).stdout != "[]\n"


def test_the_hosts_tcp_unix_and_abstract_sockets_are_out_of_reach(inside: Code, bare: Code) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as tcp:
        path = f"{folder}/db.sock"
        with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
            named.bind(path)
            named.listen()
            abstract.bind("\0" + folder)
            abstract.listen()
            for address in (tcp.getsockname()[1], path, f"@{folder}"):
                assert bare(CONNECT, address).stdout == "reached\n"
                assert not inside(CONNECT, address).ok


def test_only_the_loopback_interface_exists(inside: Code) -> None:
    assert inside("import socket; print([name for _, name in socket.if_nameindex()])").stdout == "['lo']\n"


def test_host_processes_cannot_be_seen_or_signalled(inside: Code, bare: Code, tmp_path: Path) -> None:
    victim = subprocess.Popen(["sleep", "300"], env={"TOKEN": "sk-of-the-victim"})
    try:
        environ = "import sys; print(open(f'/proc/{sys.argv[1]}/environ').read())"
        deadline = time.monotonic() + 5
        while "sk-of-the-victim" not in bare(environ, victim.pid).stdout:
            assert time.monotonic() < deadline
        assert "sk-of-the-victim" not in inside(environ, victim.pid).stdout
        kill = "import os, sys; os.kill(int(sys.argv[1]), 9)"
        inside(kill, victim.pid)
        inside("import os; os.kill(-1, 9)")
        assert victim.poll() is None
        assert bare(kill, victim.pid).ok
        assert victim.wait(timeout=5) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()


def test_c3_no_privilege_is_left_and_none_can_be_gained(box: Box, inside: Code) -> None:
    status = box.run(["cat", "/proc/self/status"]).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert "0" not in fields["Uid"].split()
    assert not inside("import os; os.setuid(0)").ok
    assert not inside("import os; os.mknod('dev', 0o020666, os.makedev(1, 3))").ok
    assert not inside("import os; os.chown('app.py', 0, 0)").ok
    assert not box.run(["mount", "-t", "tmpfs", "none", "/tmp"]).ok
    for place in ("/probe", "/usr/probe", "/etc/probe", "/dev/probe", "/proc/sys/kernel/hostname"):
        assert not inside("import sys; open(sys.argv[1], 'w').write('x')", place).ok, place


def test_variables_that_steer_the_linker_are_refused(box: Box) -> None:
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "GCONV_PATH"):
        with pytest.raises(ToolRefused, match=name):
            box.run(["true"], env={name: "evil.so"})
    with pytest.raises(ToolRetry, match="cannot be passed"):
        box.run(["true"], env={"A": "b\0--share-net"})


def test_values_of_variables_do_not_show_in_the_hosts_process_list(box: Box) -> None:
    seen: list[bytes] = []

    def look() -> bool:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    seen.append((folder / "cmdline").read_bytes())
                except OSError:
                    continue
        return any(b"visible-argument" in line for line in seen)

    done = box.run(["sh", "-c", "sleep 300", "visible-argument"], env={"PASSWORD": "hidden-value"}, stop=look)
    assert done.stopped
    assert not any(b"hidden-value" in line for line in seen)


@pytest.mark.parametrize(
    "place", ["/", "/usr", "/etc", "/etc/app", "/usr/bin/app", "/proc/app", "/dev", "/tmp", "relative"]
)
def test_places_that_would_cover_the_system_are_refused(
    sandbox: Sandbox, tree: Path, runtime: Runtime, place: str
) -> None:
    with pytest.raises(ToolRefused, match="cover parts of the system"), sandbox.box(tree, Path(place), runtime):
        pass


# ---- limits ----

ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.execv("/bin/sleep", [sys.argv[1], "300"])
    os._exit(0)
os.wait()
time.sleep(300)
"""


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


def test_a_timeout_kills_the_whole_tree_even_a_detached_orphan(inside: Code) -> None:
    marker = f"orphan-{os.getpid()}"
    done = inside(ORPHAN, marker, limits=Limits(timeout_s=1.5))
    assert done.timed_out
    assert done.exit_code is None
    assert done.seconds < 4
    deadline = time.monotonic() + 5
    while named(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert named(marker) == []
    # Without a runner that adopts it, the same orphan survives the kill of its session.
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(ORPHAN), marker], start_new_session=True) as naive:
        deadline = time.monotonic() + 5
        while not named(marker) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(naive.pid, signal.SIGKILL)
    survivors = named(marker)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert len(survivors) == 1


def test_a_command_that_ends_leaves_nothing_behind(inside: Code) -> None:
    marker = f"left-{os.getpid()}"
    assert inside(ORPHAN.replace("time.sleep(300)", ""), marker).ok
    deadline = time.monotonic() + 5
    while named(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert named(marker) == []


def test_when_we_are_killed_the_command_dies_too(sandbox: Sandbox, tree: Path, tmp_path: Path) -> None:
    code = """
    import sys; from pathlib import Path; from backend_crew.tools import process, sandbox
    tree, scratch, kind, marker = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    argv = ["bash", "-c", f"exec -a {marker} sleep 300"]
    if kind == "naive":
        import subprocess; subprocess.run(argv, start_new_session=True)
    if kind == "supervised":
        process.run(argv, cwd=tree, env={"PATH": "/usr/bin:/bin"}, timeout_s=300)
    found = sandbox.find_sandbox(candidates=[Path(sys.argv[5])], scratch=scratch)
    with found.box(tree, tree, sandbox.Runtime(kind="other")) as box:
        box.run(argv)
    """
    survivors: dict[str, list[int]] = {}
    for kind in ("naive", "supervised", "sandboxed"):
        marker = f"{kind}-{os.getpid()}"
        argv = [sys.executable, "-c", textwrap.dedent(code), tree, tmp_path, kind, marker, program_of(sandbox)]
        ours = subprocess.Popen([str(word) for word in argv])
        deadline = time.monotonic() + 15
        while not named(marker) and time.monotonic() < deadline and ours.poll() is None:
            time.sleep(0.02)
        assert named(marker)
        ours.kill()
        ours.wait()
        deadline = time.monotonic() + (0.3 if kind == "naive" else 5)
        while named(marker) and time.monotonic() < deadline:
            time.sleep(0.02)
        survivors[kind] = named(marker)
    for pid in survivors["naive"]:
        os.kill(pid, signal.SIGKILL)
    assert survivors["sandboxed"] == survivors["supervised"] == []
    assert len(survivors["naive"]) == 1


def test_stop_ends_a_command(box: Box) -> None:
    flag = threading.Event()
    timer = threading.Timer(0.3, flag.set)
    timer.start()
    done = box.run(["sleep", "300"], stop=flag.is_set)
    timer.join()
    assert done.stopped
    assert done.seconds < 3


def test_files_and_the_temporary_folder_are_limited(inside: Code, bare: Code) -> None:
    code = """
    import sys, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for n in range(4):
        with open(f"{sys.argv[1]}/big{n}", "wb") as file:
            file.write(b"x" * int(sys.argv[2]))
    """
    small = Limits(file_bytes=1_000_000)
    assert "File too large" in inside(code, ".", 2_000_000, limits=small).stderr
    assert "No space left" in inside(code, "/tmp", 600_000, limits=small).stderr
    assert bare(code, ".", 2_000_000).ok


def test_output_is_limited(box: Box) -> None:
    done = box.run(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], limits=Limits(output_bytes=1_000))
    assert done.ok
    assert done.truncated
    assert len(done.stdout) < 1_200
