"""Which way files are opened is found out by trying, once; a kernel or a filter that says no leaves the walk."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from backend_crew.tools import confine
from backend_crew.tools.errors import ToolRefused

# Installs a real seccomp filter that answers one system call with an errno, as container engines do.
FILTERED = """\
import ctypes, struct, sys
errno = int(sys.argv[2])
words = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | errno), (0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("HBBI", *word) for word in words)
buffer = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(words), ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
from pathlib import Path
from backend_crew.tools import confine
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import ReadOnly, Workspace
files = Workspace(Path(sys.argv[1]), ReadOnly())
print(confine.has_openat2(), files.read("app/x.py").lines)
for path in ("link/x.py", "../outside/x.py"):
    try:
        files.read(path)
    except ToolError as error:
        print(error)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "app").mkdir(parents=True)
    (root / "app/x.py").write_text("mine\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.py").write_text("theirs\n")
    (root / "link").symlink_to(tmp_path / "outside")
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.parametrize("errno", [1, 38], ids=["EPERM", "ENOSYS"])
def test_where_a_filter_forbids_the_call_the_walk_holds_the_same(root: Path, errno: int) -> None:
    argv = [sys.executable, "-c", FILTERED, str(root), str(errno)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    available, link, dots = done.stdout.splitlines()
    assert available == "False ('mine',)"
    assert "'link', which is a symbolic link" in link
    assert "leads out" in dots


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="the call's number is known for two machines"
)
def test_the_kernel_refuses_what_a_plain_open_follows(root: Path) -> None:
    if not confine.has_openat2():
        pytest.skip("this kernel, or its seccomp filter, has no openat2")
    assert (root / "link/x.py").read_text() == "theirs\n", "the control: opening by name follows"
    with pytest.raises(ToolRefused, match="symbolic link"), confine.open_folder(root, "link"):
        pass
    with confine.open_folder(root, "app") as folder:
        assert confine.read_at(folder, "x.py", "app/x.py", 10)[0] == b"mine\n"


def test_other_machines_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    confine.has_openat2.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    try:
        assert not confine.has_openat2()
    finally:
        confine.has_openat2.cache_clear()
