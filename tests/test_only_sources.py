"""Compiled files of a repository are never run in the box; those of installed libraries are."""

import py_compile
import sys
from pathlib import Path

import pytest

from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.process import Completed
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Sandbox

SAY = "import sys, json; sys.path.insert(0, {folder!r}); import shop; print(shop.SAID, json.__cached__ is not None)"


def compiled(tree: Path, target: Path | None = None) -> Path:
    """A tree whose shop.py says "source", and whose compiled file says "compiled" without looking at the source."""
    source = tree / "real" / "shop.py"
    source.parent.mkdir()
    source.write_text("SAID = 'compiled'\n")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(target) if target else None, doraise=True, invalidation_mode=unchecked)
    source.write_text("SAID = 'source'\n")
    (tree / "link").symlink_to("real")
    return tree


def run(sandbox: Sandbox, tree: Path, folder: str, *, guarded: bool) -> Completed:
    """Imports shop from a folder that is written into sys.path as it is given."""
    runtime = find_runtime(tree, python=Path(sys.executable))
    program = SAY.format(folder=folder)
    with sandbox.box(tree, tree, runtime) as box:
        return box.run((str(runtime.python), "-c", only_sources(box, program) if guarded else program))


@pytest.mark.parametrize("folder", ["real", "./real", "link"])
def test_the_source_is_run(sandbox: Sandbox, tmp_path: Path, folder: str) -> None:
    tree = compiled(tmp_path)
    assert run(sandbox, tree, folder, guarded=True).stdout == "source True\n"
    assert run(sandbox, tree, folder, guarded=False).stdout == "compiled True\n"  # the weak way


def test_a_compiled_file_without_its_source_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    tree = compiled(tmp_path, tmp_path / "real" / "shop.pyc")
    (tree / "real/shop.py").unlink()
    done = run(sandbox, tree, "real", guarded=True)
    assert not done.ok and "shop.pyc is compiled, and only sources can be reviewed" in done.stderr
    assert run(sandbox, tree, "real", guarded=False).stdout == "compiled True\n"


def test_the_folder_it_runs_in_stands_in_for_no_library(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('theirs')\n")
    assert run(sandbox, compiled(tmp_path), "real", guarded=True).stdout == "source True\n"
    assert "theirs" in run(sandbox, tmp_path, "real", guarded=False).stderr
