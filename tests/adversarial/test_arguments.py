"""Hostile arguments and variables, cases 28-31: words of a model or a shell never become options, commands or settings."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario

from backend_crew.crew import toolbox
from backend_crew.tools import git, gitcall, ripgrep, search, testrun
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolError, ToolRefused, ToolRetry
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox


@dataclass
class Place:
    """A repository, our clone of it, and a program whose running leaves a file."""

    repo: Path
    clone: git.Clone
    script: Path
    fired: Path

    def check(self) -> None:
        """Nothing ran so far."""
        assert not self.fired.exists(), self.fired.read_text()

    def ran(self) -> bool:
        """The control ran; forget it."""
        there = self.fired.exists()
        self.fired.unlink(missing_ok=True)
        return there


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Laid out, with the program outside the repository and a copy of it inside, under the names of real programs."""
    repo = scenario.make_repository(
        tmp_path / "notes", {"app/main.py": "x = 1\n", "tests/test_x.py": "def test_x(): ...\n"}
    )
    fired, script = tmp_path / "fired", tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {fired}\n')
    script.chmod(0o755)
    found = git.inspect(repo)
    clone = git.clone(
        found, tmp_path / "run", include_dirty=False, denied=lambda path: is_read_denied(path) is not None
    )
    return Place(repo, clone, script, fired)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    assert not isinstance(found, NoSandbox), found
    return found


@pytest.mark.parametrize("form", ["x; {0} y", "x && {0}", "$({0})", "`{0}`", "x | {0}", "x\n{0}"])
def test_28_what_a_shell_would_run_is_only_text(place: Place, form: str) -> None:
    words = form.format(place.script)
    for act in (
        lambda: search.search(place.repo, words),
        lambda: search.search(place.repo, "x", glob=words),
        lambda: search.find_symbol(place.repo, words),
        lambda: git.log(place.clone, words, 5),
        lambda: git.diff(place.clone, place.clone.base, paths=[words]),
        lambda: git.show(place.clone, "HEAD", words),
        lambda: git.commit(place.clone, words, trailers={"Run": words}),
        lambda: git.publish(place.clone, git.inspect(place.repo), words),
    ):
        try:
            act()
        except ToolError:
            continue
    (place.clone.tree / "app/main.py").write_text("x = 2\n")
    git.commit(place.clone, words)
    place.check()
    subprocess.run(f"echo {words} {place.repo}", shell=True, cwd=place.repo, capture_output=True, check=False)  # noqa: S602  # a shell is the control
    assert place.ran(), "the control: a shell runs it"


def test_29_what_looks_like_an_option_is_only_text(place: Place) -> None:
    rg = ripgrep.find_rg()
    evil = place.repo / "evil.py"
    evil.write_text(f"open({str(place.fired)!r}, 'w').close()\n")
    assert search.search(place.repo, f"--pre={place.script}") == ()
    for words in (f"--output={place.fired}", "--exec=x", "-O", "--no-index"):
        for act in (
            lambda words=words: git.log(place.clone, words, 5),
            lambda words=words: git.diff(place.clone, place.clone.base, paths=[words]),
            lambda words=words: git.show(place.clone, "HEAD", words),
        ):
            try:
                act()
            except ToolError:
                continue
        with pytest.raises(ToolRefused, match="no branch name"):
            git.publish(place.clone, git.inspect(place.repo), words)
    for words in ("--rootdir=/", "-p", "-pevil", "-c", "-cother.ini", "@options.txt", "--junitxml=x", "-o", "a\0b"):
        with pytest.raises(ToolRetry, match="is no path"):
            toolbox._test_path(place.repo, words)
    for words in ("../x.py", "/etc/passwd", "tests/../../x.py::test_x"):
        with pytest.raises(ToolRefused):
            toolbox._test_path(place.repo, words)
    (place.repo / "tests").mkdir(exist_ok=True)
    (place.repo / "tests/test_x.py").touch()
    assert toolbox._test_path(place.repo, "./tests/test_x.py::test_x[--a]") == "tests/test_x.py::test_x[--a]"
    place.check()

    subprocess.run([rg, f"--pre={place.script}", "x"], cwd=place.repo, capture_output=True, check=False)
    assert place.ran(), "the control: ripgrep runs the program that this option names"
    subprocess.run(["git", "log", f"--output={place.fired}"], cwd=place.repo, capture_output=True, check=False)
    assert place.ran(), "the control: git writes where this option says"
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-pevil"]
    subprocess.run(pytest_, cwd=place.repo, env={"PYTHONPATH": str(place.repo)}, capture_output=True, check=False)
    assert place.ran(), "the control: pytest imports the module that this option names"


def test_30_programs_of_the_repository_are_not_taken_for_those_of_the_system(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("git", "rg", "bwrap", "setpriv", "prlimit", "cat", "sh", "python3"):
        shutil.copy(place.script, place.repo / name)
    monkeypatch.setenv("PATH", f".:{place.repo}:{os.environ['PATH']}")
    monkeypatch.chdir(place.repo)
    found = git.inspect(place.repo)
    assert git.log(place.clone, None, 3)
    assert search.search(place.repo, "x = 1")
    here = find_sandbox()
    assert not isinstance(here, NoSandbox), here
    with here.box(place.repo, place.repo, find_runtime(place.repo, python=Path(sys.executable))) as box:
        assert box.run((sys.executable, "-c", "pass")).ok
    assert not found.git.is_relative_to(place.repo)
    assert not gitcall.find_git(f".:{place.repo}:/usr/local/bin:/usr/bin:/bin", outside=place.repo).is_relative_to(
        place.repo
    )
    place.check()
    subprocess.run(["git", "status"], check=False)
    assert place.ran(), "the control: whoever looks along PATH runs the repository's own"


def test_31_variables_of_our_own_process_steer_no_command(
    place: Place, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "sitecustomize.py").write_text(f"open({str(place.fired)!r}, 'w').close()\n")
    (poison / "evil.py").write_text(f"open({str(place.fired)!r}, 'w').close()\n")
    (poison / "ripgreprc").write_text(f"--pre={place.script}\n")
    poisoned = {
        "PYTHONPATH": str(poison),
        "PYTEST_ADDOPTS": "-p evil",
        "GIT_DIR": str(poison),
        "GIT_EXTERNAL_DIFF": str(place.script),
        "GIT_SSH_COMMAND": str(place.script),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(place.script),
        "RIPGREP_CONFIG_PATH": str(poison / "ripgreprc"),
        "BASH_ENV": str(place.script),
    }
    for name, value in poisoned.items():
        monkeypatch.setenv(name, value)
    found = git.inspect(place.repo)
    assert found.dirty == ()
    assert git.diff(place.clone, place.clone.base) == ""
    assert search.search(place.repo, "x = 1")
    runs = find_runtime(place.repo, python=Path(sys.executable))
    command = testrun.TestCommand((sys.executable, "-m", "pytest", "tests"), "pytest", "x:1")
    run = testrun.run_tests(sandbox, place.repo, place.repo, runs, command)
    assert run.status == "passed", run.output_tail
    with sandbox.box(place.repo, place.repo, runs) as box:
        seen = box.run((sys.executable, "-c", "import os; print(sorted(os.environ))")).stdout
    assert not set(poisoned) & set(eval(seen)), seen  # noqa: S307  # a list of names that our own line printed
    place.check()

    env = dict(os.environ)
    subprocess.run([sys.executable, "-c", "pass"], env=env, check=False)
    assert place.ran(), "the control: a child that inherits runs it (PYTHONPATH)"
    subprocess.run([ripgrep.find_rg(), "x"], cwd=place.repo, env=env, capture_output=True, check=False)
    assert place.ran(), "the control: a child that inherits runs it (RIPGREP_CONFIG_PATH)"
    env.pop("GIT_DIR")
    subprocess.run(["git", "status"], cwd=place.repo, env=env, capture_output=True, check=False)
    assert place.ran(), "the control: a child that inherits runs it (GIT_CONFIG_*)"
