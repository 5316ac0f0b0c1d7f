"""The self-test against programs that call themselves bubblewrap and isolate less, or nothing."""

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

import backend_crew.tools.sandbox as sandbox_module
from backend_crew.tools import selftest
from backend_crew.tools.bubblewrap import Bubblewrap
from backend_crew.tools.process import run
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox

BARE_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def program_of(sandbox: Sandbox) -> Path:
    """The bubblewrap that passed."""
    assert isinstance(sandbox.engine, Bubblewrap)
    return sandbox.engine.program


PRETENDER = """#!{python}
import os, subprocess, sys
if "--version" in sys.argv:
    print("bubblewrap 0.11.0")
    sys.exit()
status = int(sys.argv[sys.argv.index("--json-status-fd") + 1])
arguments = open(int(sys.argv[sys.argv.index("--args") + 1]), "rb").read().decode().split("\\0")[:-1]
command = sys.argv[sys.argv.index("--") + 1:]
{body}
"""
BARE_BODY = """
variables = {arguments[n + 1]: arguments[n + 2] for n, word in enumerate(arguments) if word == "--setenv"}
folder = arguments[arguments.index("--bind") + 1]
code = subprocess.run(command[command.index("--") + 1 :], env=variables, cwd=folder).returncode
os.write(status, b'{"exit-code": %d}' % code)
sys.exit(code)
"""
NET_BODY = """
kept = [word for word in arguments if word != "--unshare-net"]
os.set_inheritable(status, True)
os.execv({bwrap!r}, ["bwrap", "--json-status-fd", str(status), *kept, "--", *command])
"""


def pretender(folder: Path, body: str) -> Path:
    program = folder / "bwrap"
    program.write_text(PRETENDER.format(python=sys.executable, body=body))
    program.chmod(0o755)
    return program


def test_a_bwrap_that_does_not_isolate_is_found_out(tmp_path: Path) -> None:
    found = find_sandbox(candidates=[pretender(tmp_path, BARE_BODY)])
    assert isinstance(found, NoSandbox)
    for words in ("canary is True", "host_loopback is True", "host_abstract is True"):
        assert words in found.reason


def test_a_bwrap_that_shares_the_network_is_found_out(tmp_path: Path, sandbox: Sandbox) -> None:
    found = find_sandbox(candidates=[pretender(tmp_path, NET_BODY.format(bwrap=str(program_of(sandbox))))])
    assert isinstance(found, NoSandbox)
    assert "host_loopback is True" in found.reason
    assert "canary is True" not in found.reason


def test_the_next_candidate_is_tried_and_each_failure_is_told(tmp_path: Path, sandbox: Sandbox) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)
    bad = [tmp_path / "missing", Path("/bin/false"), old]
    assert find_sandbox(candidates=[*bad, program_of(sandbox)]) == sandbox
    found = find_sandbox(candidates=bad)
    assert isinstance(found, NoSandbox)
    for words in ("missing: Program not found", "/bin/false: does not tell its version", "0.6.1; 0.8 or newer"):
        assert words in found.reason
    nothing = find_sandbox(candidates=[])
    assert isinstance(nothing, NoSandbox)
    assert "Install bubblewrap" in nothing.fix


def test_it_holds_for_an_ordinary_user_too(sandbox: Sandbox) -> None:
    """As root, the same self-test once more from a process that has given root up, with user namespaces."""
    if os.geteuid() != 0:  # then the sandbox of all tests here is the ordinary user's, and passed its self-test
        assert "setpriv=None" in repr(sandbox)
        return
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("needs a system Python that anybody may run")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "backend_crew").mkdir()
        (folder / "backend_crew" / "tools").symlink_to(Path(sandbox_module.__file__).parent)
        code = (
            "import sys; from pathlib import Path; from backend_crew.tools.sandbox import find_sandbox\n"
            "found = find_sandbox(candidates=[Path(sys.argv[1])]); print(sys.version_info >= (3, 11), found)"
        )
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(python), "-B", "-c", code]
        done = run([*argv, str(program_of(sandbox))], cwd=folder, env=BARE_ENV | {"PYTHONPATH": name})
    if not done.ok and ("PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr):
        pytest.skip("this checkout or its packages cannot be read by an ordinary user")
    assert done.ok, done.stderr
    assert done.stdout.startswith("True Sandbox("), done.stdout
    assert "setpriv=None" in done.stdout


def test_elsewhere_than_on_linux_files_environment_signals_and_network_still_count() -> None:
    """As macOS would report: nothing of /proc, the host's interfaces, no system calls tried."""
    report = {
        "uid": 501,
        "capabilities": "?",
        "no_new_privs": "?",
        "seccomp": "?",
        "environment": ["PATH"],
        "interfaces": ["en0", "lo0"],
        "processes": 0,
        "host_loopback": False,
        "host_sockets": [],
        "own_loopback": False,
        "canary": False,
        "root_writable": False,
        "copy_writable": True,
        "temporary_writable": True,
        "signalled": False,
        "parent_environment": False,
        "io_uring": "not tried",
    }

    def found(linux: bool = False, **changed: object) -> tuple[str, ...]:
        said = json.dumps({**report, **changed})
        known = frozenset({"PATH"})
        return selftest.faults(said, expected_uid=501, environment=known, namespaces=False, linux=linux)

    assert found() == ()
    assert found(linux=True), "the same report is not enough on Linux"
    leaks = {"canary": True, "host_loopback": True, "signalled": True, "root_writable": True}
    for name, value in leaks.items():
        assert any(name in fault for fault in found(**{name: value}))
    assert any("SECRET" in fault for fault in found(environment=["PATH", "SECRET"]))
