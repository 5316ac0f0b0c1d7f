"""Finding what to mount: real and made-up environments, and hostile ones that want more mounted than they need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.runtime import find_runtime

ELF = b"\x7fELF and more"


def make_prefix(prefix: Path) -> Path:
    """A made-up Python installation; the interpreter's path."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib" / "python3.11").mkdir(parents=True)
    python = prefix / "bin" / "python3.11"
    python.write_bytes(ELF)
    python.chmod(0o755)
    return python


def make_venv(venv: Path, python: Path, home: Path | None = None) -> Path:
    """A made-up virtual environment of that interpreter, made without running it."""
    (venv / "bin").mkdir(parents=True)
    (venv / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(python)
    (venv / "pyvenv.cfg").write_text(f"home = {home or python.parent}\nversion = 3.11.7\n")
    return venv


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "projects" / "repo"
    folder.mkdir(parents=True)
    return folder


def test_a_real_environment_is_read_and_not_executed(root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / ".venv")], check=True)
    (root / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    runtime = find_runtime(root)
    assert runtime.kind == "python"
    assert runtime.python == root / ".venv" / "bin" / "python"
    assert runtime.overlays == (".venv",)
    assert runtime.path[0] == root / ".venv" / "bin"
    assert runtime.env["VIRTUAL_ENV"] == str(root / ".venv")
    real = runtime.python.resolve()
    assert real.is_relative_to("/usr") or any(real.is_relative_to(mount) for mount in runtime.mounts)
    assert not (tmp_path / "ran").exists()


def test_only_the_prefix_of_the_interpreter_is_mounted(root: Path, tmp_path: Path) -> None:
    python = make_prefix(tmp_path / "versions" / "3.11.7")
    make_prefix(tmp_path / "versions" / "3.12.1")
    make_venv(root / ".venv", python)
    assert find_runtime(root).mounts == (tmp_path / "versions" / "3.11.7",)


def test_every_place_that_the_links_pass_through_is_mounted(root: Path, tmp_path: Path) -> None:
    python = make_prefix(tmp_path / "managed" / "cpython-3.11.9")
    (tmp_path / "managed" / "cpython-3.11").symlink_to("cpython-3.11.9")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "python").symlink_to(tmp_path / "managed" / "cpython-3.11" / "bin" / "python3.11")
    make_venv(root / ".venv", tmp_path / "alone" / "python", home=python.parent)
    mounts = find_runtime(root).mounts
    assert set(mounts) == {
        tmp_path / "managed" / "cpython-3.11.9",
        tmp_path / "managed" / "cpython-3.11",
        tmp_path / "alone" / "python",
    }


def test_an_environment_elsewhere_is_mounted_where_it_is(root: Path, tmp_path: Path) -> None:
    python = make_prefix(tmp_path / "python")
    venv = make_venv(tmp_path / "envs" / "shop", python)
    runtime = find_runtime(root, virtual_env=venv)
    assert runtime.overlays == ()
    assert set(runtime.mounts) == {venv, tmp_path / "python"}
    assert find_runtime(root, python=venv / "bin" / "python") == runtime


def test_an_explicit_interpreter_wins_over_what_the_repository_holds(root: Path, tmp_path: Path) -> None:
    make_venv(root / ".venv", make_prefix(tmp_path / "old"))
    python = make_prefix(tmp_path / "new")
    runtime = find_runtime(root, python=python)
    assert (runtime.python, runtime.mounts, runtime.overlays) == (python, (tmp_path / "new",), ())


def test_one_nested_environment_is_taken_and_of_two_none_is_guessed(root: Path, tmp_path: Path) -> None:
    python = make_prefix(tmp_path / "python")
    make_venv(root / "backend" / ".venv", python)
    assert find_runtime(root).overlays == ("backend/.venv",)
    make_venv(root / "other" / ".venv", python)
    assert find_runtime(root).overlays == ()


def test_a_home_or_a_parent_of_the_repository_is_never_mounted_whole(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "someone"
    python = make_prefix(home)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_rsa").write_text("secret")
    make_venv(root / ".venv", python)
    mounts = find_runtime(root).mounts
    assert set(mounts) == {python, home / "lib" / "python3.11"}
    # The naive rule, the parent of the folder that pyvenv.cfg names, would have mounted the key.
    assert (python.parent.parent / ".ssh" / "id_rsa").exists()

    above = make_prefix(tmp_path / "projects")
    assert set(find_runtime(root, python=above).mounts) == {above, tmp_path / "projects" / "lib" / "python3.11"}


def test_an_interpreter_link_to_a_private_file_is_refused(root: Path, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "private" / "id_rsa"
    key.parent.mkdir(parents=True)
    key.write_text("secret")
    make_venv(root / ".venv", key, home=make_prefix(tmp_path / "python").parent)
    with pytest.raises(ToolFault, match="not an interpreter binary"):
        find_runtime(root)


def test_a_configuration_that_names_a_folder_without_python_is_refused(root: Path, tmp_path: Path) -> None:
    python = make_prefix(tmp_path / "python")
    (tmp_path / "documents" / "bin").mkdir(parents=True)
    make_venv(root / ".venv", python, home=tmp_path / "documents" / "bin")
    with pytest.raises(ToolFault, match="documents is not a Python installation"):
        find_runtime(root)


@pytest.mark.parametrize("home", ["/no/such/bin", "relative/bin"])
def test_a_broken_configuration_says_what_to_do(root: Path, tmp_path: Path, home: str) -> None:
    venv = make_venv(root / ".venv", make_prefix(tmp_path / "python"))
    (venv / "pyvenv.cfg").write_text(f"home = {home}\n")
    with pytest.raises(ToolFault, match="Create the environment again"):
        find_runtime(root)


def test_a_shim_script_is_refused(root: Path, tmp_path: Path) -> None:
    shim = tmp_path / "shims" / "python"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexec something\n")
    with pytest.raises(ToolFault, match="shim script"):
        find_runtime(root, python=shim)


def test_circular_links_are_refused(root: Path, tmp_path: Path) -> None:
    venv = make_venv(root / ".venv", make_prefix(tmp_path / "python"))
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("python")
    with pytest.raises(ToolFault, match="more than 40 links"):
        find_runtime(root)


def test_a_named_folder_that_is_no_environment_is_refused(root: Path) -> None:
    with pytest.raises(ToolFault, match=r"no pyvenv\.cfg"):
        find_runtime(root, virtual_env=root)


def test_node_dependencies_are_overlays_and_links_are_not(root: Path) -> None:
    (root / "package.json").write_text("{}")
    (root / "node_modules" / ".bin").mkdir(parents=True)
    (root / "packages" / "api" / "node_modules").mkdir(parents=True)
    (root / "packages" / "evil").mkdir()
    (root / "packages" / "evil" / "node_modules").symlink_to("/")
    runtime = find_runtime(root)
    assert runtime.kind == "node"
    assert runtime.overlays == ("node_modules", "packages/api/node_modules")
    assert root / "node_modules" / ".bin" in runtime.path
    # The naive check takes the whole disk for an installed folder.
    assert (root / "packages" / "evil" / "node_modules").is_dir()


def test_a_named_node_brings_its_own_prefix_only(root: Path, tmp_path: Path) -> None:
    node = tmp_path / "node-v20" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_bytes(ELF)
    (tmp_path / "node-v20" / "lib" / "node_modules").mkdir(parents=True)
    runtime = find_runtime(root, node=node)
    assert runtime.mounts == (tmp_path / "node-v20",)
    assert runtime.path == (node.parent,)


def test_a_linked_environment_is_entered_under_both_names(root: Path, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "envs" / "shop", make_prefix(tmp_path / "python"))
    (root / ".venv").symlink_to(venv)
    runtime = find_runtime(root)
    assert runtime.overlays == (".venv",)
    assert set(runtime.mounts) == {venv, tmp_path / "python"}


def test_other_languages_get_a_plain_runtime(root: Path) -> None:
    (root / "go.mod").write_text("module shop\n")
    runtime = find_runtime(root)
    assert (runtime.kind, runtime.python, runtime.mounts, runtime.overlays) == ("other", None, (), ())


def test_a_python_project_without_environment_uses_the_systems(root: Path) -> None:
    (root / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    runtime = find_runtime(root)
    assert runtime.python is None or (runtime.python.is_relative_to("/usr") and os.access(runtime.python, os.X_OK))
