"""Hostile files, cases 1-21: nothing outside the tree is read or written, with openat2 and without it.

Each case stands beside a weak control: what a careful-looking file tool does (`Naive`), which the same attack beats.
"""

import ctypes
import os
import stat
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import pytest
from naive import Anything, Naive
from ways import WAYS, choose, way

from backend_crew.tools.errors import ToolError, ToolRefused, ToolRetry
from backend_crew.tools.workspace import Workspace

__all__ = ["way"]
THEIRS = "what lies outside\n"


@dataclass
class Place:
    """A tree, what lies beside it, and the two doors."""

    root: Path
    outside: Path
    files: Workspace
    naive: Naive

    def refuses(self, path: str, words: str) -> None:
        """Reading, writing, editing and deleting are all refused, with these words, and nothing outside changed."""
        acts: tuple[Callable[[], object], ...] = (
            lambda: self.files.read(path),
            lambda: self.files.read_bytes(path),
            lambda: self.files.write(path, "hostile\n", expected=None),
            lambda: self.files.write(path, "hostile\n", expected="0" * 64),
            lambda: self.files.delete(path),
        )
        for act in acts:
            with pytest.raises((ToolRefused, ToolRetry), match=words):
                act()
        assert (self.outside / "x.py").read_text() == THEIRS
        assert sorted(path.name for path in self.outside.iterdir()) == ["x.py"]


@pytest.fixture
def place(tmp_path: Path, way: str) -> Place:
    """A tree with one module and one secret, and a folder outside it."""
    root, outside = tmp_path / "tree", tmp_path / "outside"
    (root / "app").mkdir(parents=True)
    (root / "app/main.py").write_text("import os\n")
    (root / ".env").write_text("KEY=of-the-person\n")
    outside.mkdir()
    (outside / "x.py").write_text(THEIRS)
    return Place(root, outside, Workspace(root, Anything()), Naive(root))


# -- names -------------------------------------------------------------------------------------------------------


def test_01_dots_lead_nowhere(place: Place) -> None:
    assert (place.root / "../outside/x.py").read_text() == THEIRS, "the control: joining leaves the tree"
    place.refuses("../outside/x.py", "leads out")
    place.refuses("app/../../outside/x.py", "leads out")


def test_02_absolute_paths_are_refused(place: Place) -> None:
    target = str(place.outside / "x.py")
    assert (place.root / target).read_text() == THEIRS, "the control: joining an absolute path forgets the tree"
    place.refuses(target, "not relative")
    place.refuses("~/x.py", "not relative")


def test_12_nul_does_not_cut_a_name(place: Place) -> None:
    path = ".env\0.py"
    assert path.endswith(".py") and path not in place.naive.denied
    libc = ctypes.CDLL(None)
    opened = libc.open(os.fsencode(place.root) + b"/" + path.encode(), os.O_RDONLY)
    assert os.read(opened, 100) == b"KEY=of-the-person\n", "the control: C ends the name at the NUL"
    os.close(opened)
    place.refuses(path, "control")


def test_13_bidirectional_names_are_refused(place: Place) -> None:
    path = "app/\u202eyp.nim"
    place.naive.write(path, "x")
    assert (place.root / path).exists(), "the control: it lies there, and looks like another name"
    place.refuses("app/\u202eyp.mov", "bidirectional")
    assert path not in place.files.list()


@pytest.mark.parametrize(
    ("number", "path"), [(14, ".ENV"), (15, "\uff0egit/config"), (15, "\uff0eenv"), (16, ".env."), (16, ".git /config")]
)
def test_14_15_16_other_spellings_of_a_denied_name_are_denied(place: Place, number: int, path: str) -> None:
    careless = unicodedata.normalize("NFKC", path).casefold().replace(". ", ".").rstrip(". ")
    assert careless.replace(" /", "/").split("/")[0] in place.naive.denied, "some file systems see this name"
    place.naive.write(path, "hostile")
    assert place.naive.read(path) == b"hostile", f"the control for {number}: another spelling passes"
    place.refuses(path, "accessible|ends in a dot")


@pytest.mark.parametrize("path", ["app\\..\\..\\x.py", "C:/x.py", "C:x.py", "\\\\server\\share\\x.py"])
def test_17_backslashes_and_drives_are_refused(place: Place, path: str) -> None:
    windows = PureWindowsPath("D:/tree") / path
    assert ".." in windows.parts or windows.drive != "D:", "the control: joined on Windows it lies elsewhere"
    place.refuses(path, "not relative")


# -- links and other things that are no plain files ---------------------------------------------------------------


def test_03_a_link_to_a_file_outside_is_not_followed(place: Place) -> None:
    (place.root / "link.py").symlink_to(place.outside / "x.py")
    assert (place.root / "link.py").read_text() == THEIRS, "the control: opening by name follows it"
    place.refuses("link.py", "symbolic link")
    assert place.files.list() == ("app/main.py",)


def test_04_a_link_to_a_folder_outside_is_not_followed(place: Place) -> None:
    (place.root / "lib").symlink_to(place.outside)
    assert (place.root / "lib/x.py").read_text() == THEIRS, "the control: opening by name follows it"
    place.refuses("lib/x.py", "symbolic link")
    with pytest.raises(ToolRefused, match="symbolic link"):
        place.files.write("lib/new/deep.py", "hostile", expected=None)
    with pytest.raises(ToolRefused, match="symbolic link"):
        place.files.list("lib")
    assert place.files.list() == ("app/main.py",)


def test_05_a_link_inside_gives_no_other_name_to_a_secret(place: Place) -> None:
    (place.root / "notes.txt").symlink_to(".env")
    assert place.naive.read("notes.txt") == b"KEY=of-the-person\n", (
        "the control: it points inside, and the name is fine"
    )
    place.refuses("notes.txt", "symbolic link")


def test_06_a_hard_link_is_no_file_of_the_tree(place: Place) -> None:
    os.link(place.outside / "x.py", place.root / "hard.py")
    assert place.naive.read("hard.py").decode() == THEIRS, "the control: no path check can see it"
    place.refuses("hard.py", "hard link|exists already")


def test_07_a_fifo_does_not_hang_the_run(place: Place) -> None:
    os.mkfifo(place.root / "pipe")
    place.refuses("pipe", "FIFO")
    hanging = threading.Thread(target=lambda: place.naive.read("pipe"), daemon=True)
    hanging.start()
    while True:  # opening for writing succeeds as soon as somebody hangs in opening for reading, and only then
        try:
            writer = os.open(place.root / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert hanging.is_alive(), "the control: plain reading waits for a writer"
    os.close(writer)
    hanging.join()


def test_08_a_device_is_not_read(place: Place) -> None:
    try:
        os.mknod(place.root / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        place.refuses("zero", "device")
    except PermissionError:  # only root makes devices, and not in every container: there the system's own is read
        devices = Path("/dev")
        place = replace(place, root=devices, files=Workspace(devices, Anything()), naive=Naive(devices))
        with pytest.raises(ToolRefused, match="device"):
            place.files.read("zero")
    try:
        with place.naive._checked("zero").open("rb") as endless:
            assert endless.read(1_000_000) == bytes(1_000_000), "the control: it never ends"
    except PermissionError:
        pytest.skip("devices do not work on this file system; the refusal above is what counts")


def test_09_a_sparse_file_of_5_gb_is_not_read(place: Place) -> None:
    with (place.root / "huge").open("wb") as file:
        file.truncate(5_000_000_000)
    place.refuses("huge", "sparse|exists already")
    assert (place.root / "huge").stat().st_blocks == 0
    with place.naive._checked("huge").open("rb") as file:
        assert file.read(1_000_000) == bytes(1_000_000), "the control: it begins to read 5 GB of nothing"


@pytest.mark.parametrize(("number", "data", "words"), [(10, b"\x7fELF\0\1", "binary"), (11, b"caf\xe9\n", "not UTF-8")])
def test_10_11_what_is_no_text_is_not_taken_for_text(place: Place, number: int, data: bytes, words: str) -> None:
    (place.root / "x").write_bytes(data)
    with pytest.raises(ToolRefused, match=words):
        place.files.read("x")
    with pytest.raises(ToolRetry, match="not read yet"):
        place.files.edit("x", "f", "g")
    assert (place.root / "x").read_bytes() == data
    place.naive.write("x", place.naive.read("x").decode("utf-8", "replace").replace("c", "C"))
    assert b"\xef\xbf\xbd" in (place.root / "x").read_bytes() or number == 10, "the control: an edit destroys bytes"


IN_A_NAMESPACE = """\
import subprocess, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from backend_crew.tools import confine
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import Workspace

class Anything:
    def check_write(self, path, act): pass

root, outside, way = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
(root / "m").mkdir(); (root / "t/deep").mkdir(parents=True); (root / "file.py").write_text("mine")
subprocess.run(["mount", "--bind", str(outside), str(root / "m")], check=True)      # the same device
subprocess.run(["mount", "-t", "tmpfs", "none", str(root / "t/deep")], check=True)  # another one
(root / "t/deep/x.py").write_text("theirs")
subprocess.run(["mount", "--bind", str(outside / "x.py"), str(root / "file.py")], check=True)
confine.has_openat2 = lambda: way == "openat2"
files, held = Workspace(root, Anything()), []
for path in ("m/x.py", "t/deep/x.py", "file.py"):
    for act in (lambda: files.read(path), lambda: files.write(path, "hostile", expected="0" * 64),
                lambda: files.write(path.replace("x.py", "new.py"), "hostile", expected=None), lambda: files.delete(path)):
        try:
            act()
        except ToolError as error:
            held.append(str(error))
for path in ("m/deep/new.py", "t/deep/deeper/new.py"):
    try:
        files.write(path, "hostile", expected=None)
    except ToolError as error:
        held.append(str(error))
print(len(held), sum("another file system" in one for one in held), list(files.list()))
print((root / "m/x.py").resolve().is_relative_to(root), (root / "m/x.py").read_text().strip())
"""


def test_18_other_mounts_are_not_entered_not_even_those_of_the_same_device(place: Place, way: str) -> None:
    script = IN_A_NAMESPACE.format(tests=str(Path(__file__).parent.parent))
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    argv = ["unshare", *own, "--mount", sys.executable, "-c", script, str(place.root), str(place.outside), way]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    held, control = done.stdout.splitlines()
    # file.py cannot be made anew where it exists: that is refused before the mount is seen
    assert held == "14 13 ['app/main.py', 'file.py']", done.stdout + done.stderr
    assert control == f"True {THEIRS.strip()}", "the control: its path resolves inside, and it is read"
    assert (place.outside / "x.py").read_text() == THEIRS
    assert sorted(path.name for path in place.outside.iterdir()) == ["x.py"]


# -- races -------------------------------------------------------------------------------------------------------

SWAP = """\
import ctypes, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None)
print("ready", flush=True)
while True:
    for _ in range(1000):
        libc.renameat2(-100, b"spot", -100, b"link", 2)  # AT_FDCWD, RENAME_EXCHANGE: one changes into the other at once
"""
TRIES, ESCAPES_WANTED, PATIENCE = 2_000, 10, 200_000


def _raced(
    place: Place, read: Callable[[str], bytes], write: Callable[[str], object], number: int
) -> tuple[int, int, int]:
    """Try one read and, every tenth time, one write; give those that were ours, leaked reads and escaped writes."""
    ours, leaked = 0, 0
    with suppress(OSError, ToolError):
        data = read("spot/in/x.py")
        ours, leaked = data == b"mine\n", data == THEIRS.encode()
    if number % 10 == 0:
        with suppress(OSError, ToolError):
            write(f"spot/in/new-{number}.py")
    escaped = [path for path in place.outside.iterdir() if path.name != "x.py"]
    for path in escaped:
        path.unlink()
    return int(ours), int(leaked), len(escaped)


def test_19_a_folder_that_becomes_a_link_meanwhile_never_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real race: another process exchanges folder and link as fast as it can, and every try is counted."""
    root, outside = tmp_path / "tree", tmp_path / "outside"
    # one folder below the one that changes: a path of several names, in which the link is not the last
    for folder, text in ((root / "spot/in", "mine\n"), (outside / "in", THEIRS)):
        folder.mkdir(parents=True)
        (folder / "x.py").write_text(text)
    (root / "link").symlink_to(outside)
    files = Workspace(root, Anything())
    place = Place(root, outside / "in", files, Naive(root))
    with subprocess.Popen([sys.executable, "-c", SWAP, str(root)], stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout is not None and swapper.stdout.readline() == b"ready\n"
            tries, escapes = 0, 0
            while escapes < ESCAPES_WANTED and tries < PATIENCE:
                tries += 1
                _, leaked, escaped = _raced(place, place.naive.read, lambda path: place.naive.write(path, "x"), tries)
                escapes += leaked + escaped
            assert escapes >= ESCAPES_WANTED, (
                f"the control escaped {escapes} times in {tries} tries: no race took place"
            )
            for name in WAYS:
                choose(monkeypatch, name)
                ours = 0
                for number in range(max(TRIES, 2 * tries)):
                    mine, leaked, escaped = _raced(
                        place, files.read_bytes, lambda path: files.write(path, "x", expected=None), number
                    )
                    assert (leaked, escaped) == (0, 0), f"{name}: try {number} led out"
                    ours += mine
                assert ours > 0, f"{name}: no try ever met the folder, so nothing was shown"
        finally:
            swapper.kill()


def test_20_a_file_that_changed_since_it_was_read_is_not_overwritten(place: Place) -> None:
    read = place.files.read("app/main.py")
    (place.root / "app/main.py").write_text("the person's own edit\n")
    with pytest.raises(ToolRetry, match="is not what you read"):
        place.files.write("app/main.py", "hostile\n", expected=read.sha256)
    with pytest.raises(ToolRetry, match="changed since"):
        place.files.edit("app/main.py", "person", "model")
    assert (place.root / "app/main.py").read_text() == "the person's own edit\n"
    place.naive.write("app/main.py", "hostile\n")
    assert (place.root / "app/main.py").read_text() == "hostile\n", "the control: the edit is gone"


def test_21_a_file_that_appears_between_check_and_creation_wins(place: Place) -> None:
    class Late:
        """As somebody else would: makes the file after every check of the door, just before it is made."""

        def check_write(self, path: str, act: str = "") -> None:
            assert not (place.root / path).exists()
            (place.root / path).write_text("the person's\n")

    with pytest.raises(ToolRetry, match="exists already"):
        Workspace(place.root, Late()).write("app/new.py", "hostile\n", expected=None)
    assert (place.root / "app/new.py").read_text() == "the person's\n"
    if not (place.root / "app/other.py").exists():
        Late().check_write("app/other.py")
        place.naive.write("app/other.py", "hostile\n")
    assert (place.root / "app/other.py").read_text() == "hostile\n", "the control: looked first, written afterwards"
    assert not list(place.root.rglob("*.tmp"))
