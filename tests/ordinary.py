"""Runs code of a test as an ordinary user with user namespaces, when the tests themselves run as root."""

import os
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from backend_crew.tools import sandbox
from backend_crew.tools.process import Completed, run

USER = 65534
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def program() -> Path:
    """The bubblewrap of the wheel or the system."""
    found = sandbox.find_sandbox()
    assert isinstance(found, sandbox.Sandbox), found
    return Path(getattr(found.engine, "program", "/nonexistent"))


def python() -> Path:
    """An interpreter that anybody may run."""
    if os.geteuid() != 0:
        return Path(sys.executable)
    system = Path("/usr/bin/python3")
    if not system.exists():
        pytest.skip("as root this needs a system Python that anybody may run")
    return system


def execute(code: str, *arguments: object, before: tuple[str, ...] = (), drop: bool = True) -> Completed:
    """Runs `code` with backend_crew.tools importable; `before` goes in front of it, `drop` gives root up first.

    The folder that it runs in belongs to the user.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(Path(sandbox.__file__).parent, folder / "backend_crew" / "tools")
        home = folder / "home"
        home.mkdir()
        become: tuple[str, ...] = ()
        if os.geteuid() == 0 and drop:
            os.chown(home, USER, USER)
            become = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
        argv = (*become, *before, str(python()), "-B", "-c", textwrap.dedent(code), *map(str, arguments))
        done = run(argv, cwd=home, env=ENV | {"PYTHONPATH": name, "HOME": str(home)}, timeout_s=120)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("the system Python lacks a package that the tools need")
    return done
