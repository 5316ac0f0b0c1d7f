"""Boxes that copy nothing: what must not be seen is not, and results are read without following anybody's links.

An overlay that commands may write to needs an ordinary user; as root, the copy is handed to another one instead.
"""

import ast
import os
import stat
from pathlib import Path

import ordinary
import pytest

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.layers import Layers
from backend_crew.tools.treecopy import put_file

SETUP = """
import os, sys, time
from pathlib import Path
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import find_sandbox
from backend_crew.tools.errors import ToolError
found = find_sandbox(candidates=[Path(sys.argv[1])])
if not getattr(found, "overlay", False):
    print("NO OVERLAY", found)
    sys.exit()
tree = Path("tree").resolve()
(tree / "app" / "deep").mkdir(parents=True)
(tree / ".git").mkdir()
for path in ("app.py", "app/main.py", "app/deep/old.py", ".env", "app/.env.production", "app/deep/shop.sqlite3",
             ".git/config", "server.key"):
    (tree / path).write_text("below")
os.mkfifo(tree / "pipe")
bare = Runtime(kind="other")
"""


def told(code: str) -> str:
    done = ordinary.execute(SETUP + code, ordinary.program())
    assert done.ok, done.stderr
    if done.stdout.startswith("NO OVERLAY"):
        pytest.skip("no overlay for ordinary users here")
    return done.stdout


def test_secrets_are_not_seen_and_changes_stay_above() -> None:
    said = told(
        """
with found.box(tree, tree, bare, layered=True) as box:
    print(box.run(["find", ".", "-not", "-type", "d"]).stdout.split())
    print(box.run(["cat", ".env", "app/.env.production", "server.key"]).exit_code)
    done = box.run(["sh", "-c", "echo x > app/main.py; rm -r app/deep; mkdir app/deep; echo n > app/deep/new; rm .env"])
    print([box.read(p) for p in ("app/main.py", "app/deep/new", "app/deep/old.py", "app.py", ".env", "server.key")])
    print(sorted(str(p.relative_to(box.files)) for p in box.files.rglob("*") if p.is_file()))
    box.put("app.py", b"put")
    print(box.run(["cat", "app.py"]).stdout, box.run(["pwd"], cwd="app").ok)
print([(tree / p).read_text() for p in ("app/main.py", "app/deep/old.py", "app.py", ".env")])
with found.box(tree, tree, bare, layered=False) as box:
    print(sorted(str(p.relative_to(box.files)) for p in box.files.rglob("*") if p.is_file()))
"""
    ).splitlines()
    assert sorted(ast.literal_eval(said[0])) == ["./app.py", "./app/deep/old.py", "./app/main.py"]
    assert said[1] == "1"
    assert said[2] == repr([b"x\n", b"n\n", None, b"below", None, None])
    assert said[3] == "['app/deep/new', 'app/main.py']"
    assert said[4] == "put True"
    assert said[5] == repr(["below"] * 4)
    assert said[6] == "['app.py', 'app/deep/old.py', 'app/main.py']", "the control: a copy holds everything else"


def test_the_naive_overlay_shows_the_secrets() -> None:
    said = told(
        """
from backend_crew.tools import layers
layers.Layers._hide = lambda self, rel: None
with found.box(tree, tree, bare, layered=True) as box:
    print(box.run(["cat", ".env"]).stdout)
"""
    )
    assert said == "below\n"


def test_what_appears_later_is_hidden_before_the_next_command() -> None:
    said = told(
        """
with found.box(tree, tree, bare, layered=True) as box:
    box.run(["true"])
    (tree / "app" / ".env").write_text("late"); (tree / "new").mkdir(); (tree / "new" / "late.key").write_text("late")
    print(box.run(["sh", "-c", "cat app/.env new/late.key; ls new"]).stdout == "")
    # A link that a command made must not lead the hiding elsewhere.
    box.run(["sh", "-c", "rm -r app && ln -s /tmp app"])
    (tree / "app" / ".env.more").write_text("late")
    print(box.run(["true"]).ok, os.path.lexists("/tmp/.env.more"))
"""
    ).splitlines()
    assert said == ["True", "True False"]


def test_links_made_inside_are_not_followed_outside() -> None:
    said = told(
        """
Path("outside").write_text("outside")
with found.box(tree, tree, bare, layered=True) as box:
    box.run(["sh", "-c", f"ln -s {Path('outside').resolve()} link; rm -r app; ln -s {Path('.').resolve()} app; mkfifo p"])
    for path in ("link", "app/outside", "p"):
        try:
            print(box.read(path))
        except ToolError as error:
            print("refused")
    try:
        box.put("app/outside", b"changed")
    except ToolError as error:
        print("refused")
print(Path("outside").read_text())
"""
    ).splitlines()
    assert said == ["refused"] * 4 + ["outside"]


def test_the_two_folders_are_read_as_one(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "a" / "b").mkdir(parents=True)
    (lower / "a" / "b" / "file").write_text("below")
    (lower / "key.pem").write_text("secret")
    (lower / "plain").write_text("below")
    layers = Layers(lower, upper, lambda rel: rel.endswith(".pem"))
    assert stat.S_ISCHR((upper / "key.pem").lstat().st_mode)
    assert layers.read("a/b/file", 10) == b"below"
    assert layers.read("key.pem", 10) is None
    assert layers.read("a/none/file", 10) is None
    assert layers.has_folder("a/b") and not layers.has_folder("a/c")
    put_file(upper, "a/b/file", b"above", owner=None)
    assert layers.read("a/b/file", 10) == b"above"
    with pytest.raises(ToolFault, match="plain"):
        layers.has_folder("plain/deeper")
    (lower / "link").symlink_to("plain")
    with pytest.raises(ToolFault, match="not followed"):
        layers.read("link", 10)
    os.mkfifo(upper / "pipe")
    with pytest.raises(ToolFault, match=r"no plain file|not a regular file"):
        layers.read("pipe", 10)
