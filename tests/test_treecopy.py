"""The copy and what comes back from it, against code that plants links, pipes and locked folders."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolFault, ToolRetry
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Box, Sandbox


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text("VALUE = 1\n")
    return folder


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(kind="other")


@pytest.fixture
def box(sandbox: Sandbox, tree: Path, runtime: Runtime) -> Iterator[Box]:
    with sandbox.box(tree, tree, runtime) as opened:
        yield opened


def test_read_never_follows_what_the_code_planted(box: Box, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("outside")
    plant = (
        f"ln -s {canary} link && ln -s {tmp_path} folder && mkfifo pipe && mkdir plain && head -c 2000 /dev/zero > big"
    )
    assert box.run(["sh", "-c", plant]).ok
    for path in ("link", "folder/canary", "pipe", "plain"):
        with pytest.raises(ToolFault, match=path):
            box.read(path)
    with pytest.raises(ToolFault, match="larger than 1000"):
        box.read("big", limit=1000)
    assert box.read("missing") is None
    assert box.read("missing/deeper") is None
    assert box.read("app.py") == b"VALUE = 1\n"
    for path in ("../canary", "/etc/passwd", ""):
        with pytest.raises(ToolRetry, match="not a path inside"):
            box.read(path)
    # Opened the naive way, from the host, the planted links give the outside away.
    assert (box.files / "link").read_text() == "outside"
    assert (box.files / "folder" / "canary").read_text() == "outside"


def test_put_never_follows_what_the_code_planted(box: Box, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("outside")
    assert box.run(["sh", "-c", f"ln -s {canary} link && ln -s {tmp_path} folder && mkdir plain"]).ok
    box.put("link", b"mine")
    assert box.read("link") == b"mine"
    with pytest.raises(ToolFault, match="folder"):
        box.put("folder/canary", b"mine")
    with pytest.raises(ToolFault, match="plain"):
        box.put("plain", b"mine")
    assert canary.read_text() == "outside"
    assert [path for path in box.files.iterdir() if path.name.startswith(".put-")] == []
    (box.files / "again").symlink_to(canary)
    (box.files / "again").write_text("followed")
    assert canary.read_text() == "followed"


def test_what_is_put_can_be_changed_inside(box: Box) -> None:
    box.put("deep/er/file", b"one")
    assert box.run(["sh", "-c", "echo two > deep/er/file && rm app.py"]).ok
    assert box.read("deep/er/file") == b"two\n"
    assert box.read("app.py") is None


def test_the_copy_keeps_what_matters_and_leaves_out_the_rest(sandbox: Sandbox, tree: Path, runtime: Runtime) -> None:
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("secret")
    (tree / ".env").write_text("TOKEN=1")
    (tree / "data").mkdir()
    (tree / "data" / "shop.sqlite3").write_text("rows")
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o700)
    (tree / "dangling").symlink_to("nowhere")
    (tree / "empty").mkdir()
    os.mkfifo(tree / "pipe")
    os.utime(tree / "app.py", (1_000_000, 1_000_000))
    left_out = {".env", "data/shop.sqlite3"}
    with sandbox.box(tree, tree, runtime, ignore=left_out.__contains__) as box:
        held = sorted(path.relative_to(box.files).as_posix() for path in box.files.rglob("*"))
        assert held == ["app.py", "dangling", "data", "empty", "run.sh"]
        assert box.run(["./run.sh"]).stdout == "ran\n"
        assert (box.files / "app.py").stat().st_mtime == 1_000_000
        assert (box.files / "app.py").stat().st_ino != (tree / "app.py").stat().st_ino


def test_the_copy_is_removed_whatever_the_code_did_to_it(
    sandbox: Sandbox, tree: Path, runtime: Runtime, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "canary").write_text("outside")
    with replace(sandbox, scratch=scratch).box(tree, tree, runtime) as box:
        spoil = f"mkdir -p locked/in && touch locked/in/x && ln -s {tmp_path} out && chmod 0 locked/in locked ."
        assert box.run(["sh", "-c", spoil]).ok
        assert list(scratch.iterdir()) == [box.files.parent]
    assert list(scratch.iterdir()) == []
    assert (tmp_path / "canary").read_text() == "outside"
