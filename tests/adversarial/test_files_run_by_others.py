"""Files that somebody else runs or reads, cases 22-27 and 45: hooks, settings, start-up files, workflows, our state."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import scenario
from naive import Anything, Naive

from backend_crew.crew import runner, settings
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal
from backend_crew.tools import testrun
from backend_crew.tools.errors import ToolError, ToolRefused
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, find_sandbox
from backend_crew.tools.workspace import Workspace


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of the person, who works in it with plain git."""
    return scenario.make_repository(tmp_path / "notes", {"app/main.py": "x = 1\n"})


def _canary(repo: Path) -> tuple[Path, str]:
    fired = repo.parent / "fired"
    return fired, f"#!/bin/sh\n: > {fired}\ncat\n"


def test_22_hooks_are_not_written(repo: Path) -> None:
    fired, script = _canary(repo)
    for path in (".git/hooks/pre-commit", ".husky/pre-commit", ".githooks/pre-commit", "x/.GIT/hooks/pre-commit"):
        with pytest.raises(ToolRefused):
            Workspace(repo, Anything()).write(path, script, expected=None)
    Naive(repo, denied=(".env",)).write(".git/hooks/pre-commit", script)
    (repo / ".git/hooks/pre-commit").chmod(0o755)
    (repo / "app/main.py").write_text("x = 2\n")
    assert not fired.exists()
    scenario.git(repo, "commit", "-qam", "mine")
    assert fired.exists(), "the control: the person's next commit ran it"


def test_23_git_settings_are_not_written(repo: Path) -> None:
    fired, script = _canary(repo)
    (repo.parent / "monitor").write_text(script)
    (repo.parent / "monitor").chmod(0o755)
    text = (repo / ".git/config").read_text() + f"[core]\n\tfsmonitor = {repo.parent / 'monitor'}\n"
    for path in (".git/config", ".gitmodules", ".gitconfig", ".git/info/attributes"):
        with pytest.raises(ToolRefused):
            Workspace(repo, Anything()).write(path, text, expected=None)
    Naive(repo, denied=(".env",)).write(".git/config", text)
    scenario.git(repo, "status")
    assert fired.exists(), "the control: looking at the status ran it"


def test_24_attributes_that_choose_a_filter_are_not_written(repo: Path) -> None:
    fired, script = _canary(repo)
    (repo.parent / "filter").write_text(script)
    (repo.parent / "filter").chmod(0o755)
    scenario.git(repo, "config", "filter.theirs.clean", str(repo.parent / "filter"))
    for path in (".gitattributes", "app/.gitattributes", "app/.GitAttributes"):
        with pytest.raises(ToolRefused, match="git settings"):
            Workspace(repo, Anything()).write(path, "* filter=theirs\n", expected=None)
    Naive(repo).write(".gitattributes", "* filter=theirs\n")
    scenario.git(repo, "add", "-A")
    assert fired.exists(), "the control: the person's own program ran on files that it was not meant for"


def test_25_what_the_interpreter_runs_at_its_start_is_not_written(repo: Path) -> None:
    fired = repo.parent / "fired"
    code = f"open({str(fired)!r}, 'w').close()\n"
    names = ("sitecustomize.py", "app/usercustomize.py", "lib/evil.pth", "SiteCustomize.py", "x.PTH",
             "sitecustomize/__init__.py", "sitecustomize.pyc", "usercustomize.cpython-312-x86_64-linux-gnu.so")  # fmt: skip
    for path in names:
        with pytest.raises(ToolRefused, match="interpreter runs it"):
            Workspace(repo, Anything()).write(path, code, expected=None)
    Naive(repo).write("sitecustomize.py", code)
    env = {"PATH": os.defpath, "PYTHONPATH": str(repo)}
    subprocess.run([sys.executable, "-c", "pass"], env=env, check=True)
    assert fired.exists(), "the control: any Python with this folder on its path ran it"


def test_26_workflows_of_ci_are_not_written(repo: Path) -> None:
    """The control ends with the file in place: the service that would run it, with its secrets, is not ours to start."""
    for path in (
        ".github/workflows/x.yml",
        ".gitlab-ci.yml",
        ".circleci/config.yml",
        "Jenkinsfile",
        ".woodpecker.yml",
        ".woodpecker.yaml",
        ".tekton/push.yaml",
        ".GITHUB/Workflows/x",
    ):
        with pytest.raises(ToolRefused, match="CI workflows"):
            Workspace(repo, Anything()).write(path, "on: push\n", expected=None)
    Naive(repo).write(".github/workflows/x.yml", "on: push\n")
    assert "x.yml" in scenario.git(repo, "status", "--porcelain", "-uall")


def test_26_what_bots_and_tools_of_the_person_run_is_not_written(repo: Path) -> None:
    """The control ends with the file in place, as above; a yarn release is a program that the next `yarn` starts."""
    for path in (
        ".github/dependabot.yml",
        ".GitHub/Dependabot.yaml",
        ".yarn/releases/yarn-4.cjs",
        ".yarn/plugins/x.cjs",
        ".pnp.cjs",
        ".mise.toml",
        "app/mise.local.toml",
        ".mise/config.toml",
        "mise/config.toml",
        ".config/mise.toml",
    ):
        with pytest.raises(ToolRefused, match=r"of the person|what a shell runs"):
            Workspace(repo, Anything()).write(path, "x\n", expected=None)
    Workspace(repo, Anything()).write(".github/ISSUE_TEMPLATE/bug.md", "x\n", expected=None)
    Workspace(repo, Anything()).write("app/customize.py", "x = 1\n", expected=None)
    Naive(repo).write(".yarn/releases/yarn-4.cjs", "hostile\n")
    assert "yarn-4.cjs" in scenario.git(repo, "status", "--porcelain", "-uall")


def test_27_our_own_state_is_neither_in_the_tree_nor_within_reach(repo: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    journal = Journal(state)
    files = Workspace(repo, Anything())
    for path in (
        str(state / "journal.db"),
        "../state/journal.db",
        ".backend-crew/policy.yaml",
        ".crewignore",
        "journal.db",
    ):
        with pytest.raises(ToolRefused):
            files.write(path, "hostile", expected=None)
    journal.close()
    assert (repo / "../state/journal.db").read_bytes().startswith(b"SQLite"), "the control: joining reaches it"
    inside = Journal(repo / ".state")
    with pytest.raises(UsageError, match="lies in the repository"):
        runner.start(inside, repo, "x", options=settings.Options(), assume_backend=True)
    inside.close()


def test_45_a_link_that_a_command_leaves_for_the_host_is_not_followed(tmp_path: Path) -> None:
    """Repository code runs in a real sandbox and replaces its report, and files, by links to a file of the host."""
    secret = tmp_path / "secret.xml"
    secret.write_text('<testsuite tests="1"><testcase name="test_of_the_host" file="tests/test_x.py"/></testsuite>')
    plant = f"""\
import atexit, os, pathlib
def plant():
    for path in (*pathlib.Path(".").glob(".report-*"), pathlib.Path("made.txt")):
        path.unlink(missing_ok=True)
        path.symlink_to({str(secret)!r})
atexit.register(plant)
def test_x():
    pathlib.Path("made.txt").write_text("x")
"""
    repo = scenario.make_repository(tmp_path / "notes", {"tests/test_x.py": plant, "app/main.py": "x = 1\n"})
    sandbox = find_sandbox()
    assert not isinstance(sandbox, NoSandbox), sandbox
    runs = find_runtime(repo, python=Path(sys.executable))
    command = testrun.TestCommand((sys.executable, "-m", "pytest", "tests"), "pytest", "x:1")
    done = testrun.run_tests(sandbox, repo, repo, runs, command)
    assert done.status == "failed" and "cannot be read" in done.reason, done
    assert done.junit is None and done.cases == ()
    with sandbox.box(repo, repo, runs) as box:
        box.run((sys.executable, "-c", f"import os; os.symlink({str(secret)!r}, 'made.txt')"))
        assert (box.files / "made.txt").read_text() == secret.read_text(), "the control: opening by name follows it"
        with pytest.raises(ToolError, match="not a regular file"):
            box.read("made.txt")
        box.put("made.txt", b"ours")
    assert "test_of_the_host" in secret.read_text()
