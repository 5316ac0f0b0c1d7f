"""A default Docker container, simulated: no namespaces, no mounts, its list of capabilities. What still holds there.

The simulation is a seccomp filter and a bounding set in front of our own process; a real Docker was not at hand.
"""

import json
import os

import attacks
import ordinary
import pytest

# Docker's default profile for a container without CAP_SYS_ADMIN, as far as it concerns sandboxes; more on demand.
DOCKER = """
import os, sys
from backend_crew.tools import launcher, seccomp
seccomp._NUMBERS.update(landlock=(444, 444))
names = ("unshare", "setns", "mount", "umount2", "pivot_root", "bpf", "perf_event_open", "keyctl", "add_key",
         *(("landlock",) if sys.argv[1] == "old-kernel" else ()))
table = seccomp._Table(None)
steps = [*table.head(), *table.refused(names, seccomp._ERRNO | 38 if sys.argv[1] == "old-kernel" else seccomp._ERRNO | 1),
         *table.namespaces(), seccomp._returned(seccomp.ALLOW)]
if os.geteuid() != 0:
    launcher._libc("prctl", 38, 1, 0, 0, 0)
launcher._filter(seccomp._assembled(steps), False)
os.execvp(sys.argv[2], sys.argv[2:])
"""
HELD = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,setfcap"

FIND = """
import os, sys, socket, subprocess, tempfile, time
from pathlib import Path
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Limits, NoSandbox, find_sandbox
import backend_crew.tools.sandbox as module
module._SYSTEM_BWRAPS = (Path(sys.argv[1]),)
found = find_sandbox()
tree = Path("tree").resolve()
tree.mkdir(exist_ok=True)
(tree / "app.py").write_text("VALUE = 1\\n")
(tree / ".env").write_text("TOKEN=sk-of-the-person\\n")
runtime = find_runtime(tree, python=Path(sys.executable))
"""


def contained(code: str, *words: object, drop: bool, kernel: str = "docker") -> list[str]:
    """What `code` prints in the simulated container, as its root or as another user."""
    python = str(ordinary.python())
    bounding: tuple[str, ...] = ()
    if not drop:
        bounding = (
            "setpriv",
            f"--bounding-set=-all,{','.join('+' + name for name in HELD.split(','))}",
            "--inh-caps=-all",
        )
    before = (python, "-B", "-c", DOCKER, kernel, *bounding)
    done = ordinary.execute(FIND + code, ordinary.program(), *words, before=before, drop=drop)
    assert done.ok, done.stderr
    return done.stdout.splitlines()


# Only root can play a container's root.
@pytest.fixture(params=["root", "user"] if os.geteuid() == 0 else ["user"])
def drop(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "user")


def test_c4_the_fallback_is_chosen_and_says_what_it_cannot_do(drop: bool) -> None:
    said = contained("print(found.title, found.loopback, found.overlay, found.unix_sockets)\nprint(found.engine.gaps)\n"
                     "print(found.instead)", drop=drop)  # fmt: skip
    assert said[0].startswith("Landlock") and said[0].endswith("False False False")
    assert "no network at all" in said[1]
    assert "NoSandbox" in said[2] and "bwrap" in said[2]


def test_without_landlock_too_nothing_runs_and_the_fix_is_named(drop: bool) -> None:
    said = "\n".join(
        contained("print(type(found).__name__, found.reason, '\\nFIX', found.fix)", drop=drop, kernel="old-kernel")
    )
    assert said.startswith("NoSandbox")
    assert "Landlock is not there" in said
    assert "no command of the repository is run" in said.partition("FIX")[2]


def test_escapes_are_refused(drop: bool) -> None:
    """The same programs run bare in the same container are the control."""
    said = contained(
        """
import json
codes = json.loads(sys.argv[2])
outside = Path(tempfile.mkdtemp()); outside.chmod(0o755)
(outside / "canary").write_text("outside"); (outside / "canary").chmod(0o644)
server = socket.socket(socket.AF_UNIX); server.bind(str(outside / "s")); server.listen(); (outside / "s").chmod(0o777)
tcp = socket.create_server(("127.0.0.1", 0))
victim = subprocess.Popen(["sleep", "300"], env={"TOKEN": "sk-of-the-victim"})
tries = {
    "read": (codes["read"], str(outside / "canary")),
    "original": ("import sys; print(open(sys.argv[1][::-1]).read())", str(tree / "app.py")[::-1]),
    "secret": (codes["read"], ".env"),
    "write": (codes["write"], str(outside / "canary")),
    "chmod": ("import os, sys; os.chmod(sys.argv[1], 0o600)", str(outside / "canary")),
    "environ": (codes["read"], f"/proc/{victim.pid}/environ"),
    "parent": (codes["read"], f"/proc/{os.getpid()}/environ"),
    "limits": ("import resource, sys; resource.prlimit(int(sys.argv[1]), resource.RLIMIT_CPU, (9, 9))", str(victim.pid)),
    "tcp": (codes["connect"], "tcp", str(tcp.getsockname()[1])),
    "unix": (codes["connect"], "unix", str(outside / "s")),
    "kill": ("import os, sys; os.kill(int(sys.argv[1]), 9)", str(victim.pid)),
}
def held(name):
    mode = (outside / "canary").stat().st_mode & 0o777
    return (outside / "canary").read_text() == "outside" and mode == 0o644 and victim.poll() is None
results = {}
with found.box(tree, tree, runtime) as box:
    for name, (code, *words) in tries.items():
        done = box.run([sys.executable, "-I", "-S", "-c", code, *words])
        results[name] = [done.ok, held(name), done.network_refused]
    calls = box.run([sys.executable, "-I", "-S", "-c", codes["calls"]])
    forked = box.run([sys.executable, "-I", "-S", "-c", codes["forks"], "300"], limits=Limits(processes=30)).stdout
    mark = f"orphan-of-{os.getpid()}-"
    orphan = box.run([sys.executable, "-I", "-S", "-c", codes["orphan"], mark, "stay"], limits=Limits(timeout_s=1.5))
    def marked():
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found += [path] if path.read_bytes().startswith(mark.encode()) else []
            except OSError:
                continue
        return found
    deadline = time.monotonic() + 10
    while (left := marked()) and time.monotonic() < deadline:
        time.sleep(0.02)
    plain = box.run([sys.executable, "-c", "import asyncio, app; asyncio.run(asyncio.sleep(0)); open('made', 'w').write(str(app.VALUE))"])
    made = box.read("made")
naive = {}
for name, (code, *words) in tries.items():
    naive[name] = subprocess.run([sys.executable, "-I", "-S", "-c", code, *words], cwd=tree, capture_output=True).returncode == 0
print(json.dumps([results, calls.stdout, int(forked), orphan.timed_out, len(left), plain.ok, (made or b"").decode(), naive]))
victim.kill(); victim.wait()
""",
        json.dumps(
            {
                "read": "import sys; print(open(sys.argv[1]).read())",
                "write": "import sys; open(sys.argv[1], 'w').write('changed')",
                "connect": attacks.CONNECT,
                "calls": attacks.CALLS,
                "forks": attacks.FORKS,
                "orphan": attacks.ORPHAN,
            }
        ),
        drop=drop,
    )
    results, calls, forked, timed_out, left, plain, made, naive = json.loads(said[-1])
    # As another user's, changing a mode fails; as the person's own, it succeeds and changes nothing.
    assert all(not ok for name, (ok, _, _) in results.items() if name != "chmod"), results
    assert all(held for _, held, _ in results.values()), results
    assert results["tcp"][2] and results["unix"][2] and not results["read"][2]
    answers = dict(line.split() for line in calls.splitlines())
    assert answers.pop("stream_pair") == "done" and "done" not in answers.values()
    assert forked < 60 and timed_out and left == 0
    assert plain and made == "1"
    assert all(naive.values()), naive


def test_tests_that_need_a_network_are_not_run_and_others_count(drop: bool) -> None:
    said = contained(
        """
from backend_crew.tools.testrun import TestCommand, run_tests
needs = "import socket; socket.create_server(('127.0.0.1', 0))"
for code in (needs, "assert False", "pass"):
    done = run_tests(found, tree, tree, runtime, TestCommand((sys.executable, "-c", code), "generic", "x:1"))
    print(done.status, done.reason[:11])
""",
        drop=drop,
    )
    assert said == ["not run no loopback", "failed the command", "passed exit code 0"]


def test_an_editable_install_imports_the_copy(drop: bool) -> None:
    """Nothing can be mounted over the original, which the fallback therefore keeps closed."""
    said = contained(
        """
subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tree / ".venv")], check=True)
site = next((tree / ".venv/lib").glob("python3*/site-packages"))
(site / "it.pth").write_text(str(tree) + "\\n")
(Path("clone")).mkdir(); Path("clone/app.py").write_text("VALUE = 2\\n")
argv = [str(tree / ".venv/bin/python"), "-c", "import app; print(app.VALUE)"]
with found.box(Path("clone").resolve(), tree, find_runtime(tree)) as box:
    done = box.run(argv)
    print(done.stdout.strip() or done.stderr)
print(subprocess.run(argv, capture_output=True, text=True, cwd="/").stdout.strip())
""",
        drop=drop,
    )
    assert said == ["2", "1"]
