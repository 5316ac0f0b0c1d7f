"""Runners that no Python package brings, for real in the sandbox: each with the same few tests, whole and one by one.

Not in the default run (`-m tool`): a fresh machine has none of these programs. Their reports, as recorded from these very
runs, are read in `test_runners_reports.py`.
"""

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import runner_samples as samples

from backend_crew.tools.build_caches import with_caches
from backend_crew.tools.runners.protocol import TestCommand
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Limits, Sandbox
from backend_crew.tools.testrun import TestRun, propose_commands, run_tests

pytestmark = pytest.mark.tool
Make = Callable[[str], Path]


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """jest, vitest and mocha as npm installs them; needs its registry."""
    folder = tmp_path_factory.mktemp("npm")
    argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "jest@30", "vitest@4", "mocha@11"]
    if shutil.which("npm") is None or subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("npm, or its registry, is not to be had")
    return folder / "node_modules"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home with what Maven would have downloaded: Debian's packages of it."""
    packaged, folder = Path("/usr/share/maven-repo"), tmp_path_factory.mktemp("home")
    if packaged.is_dir():
        shutil.copytree(packaged, folder / ".m2" / "repository")
    return folder


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """A sample's tree; its dependencies are where npm puts them."""

    def tree(name: str) -> Path:
        folder = tmp_path / "work" / name
        for path, text in samples.FILES[name].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        if name in ("jest", "vitest", "mocha"):
            shutil.copytree(request.getfixturevalue("modules"), folder / "node_modules", symlinks=True)
        return folder

    return tree


@pytest.fixture
def run(sandbox: Sandbox, home: Path) -> Callable[..., TestRun]:
    return functools.partial(_run, sandbox, home)


def _run(sandbox: Sandbox, home: Path, tree: Path, command: TestCommand, *paths: str) -> TestRun:
    runtime = with_caches(find_runtime(tree), tree, home)
    return run_tests(sandbox, tree, tree, runtime, command, paths=paths, limits=Limits(timeout_s=120))


@pytest.mark.parametrize("name", ["node", "jest", "vitest", "mocha", "go", "maven", "gradle"])
def test_a_sample_is_counted_whole_and_one_by_one(run: Callable[..., TestRun], make: Make, name: str) -> None:
    program = samples.PROGRAM.get(name, "node")
    if not any(Path(folder, program).exists() for folder in ("/usr/local/bin", "/usr/bin")):
        pytest.skip(f"no {program} in this machine's system folders")
    tree = make(name)
    (command,) = propose_commands(tree)
    assert command.runner == name
    whole = run(tree, command)
    assert {case.id: case.outcome for case in whole.cases} == samples.OUTCOMES[name], whole
    assert (whole.status, whole.complete, whole.counts_known) == ("failed", True, True)
    good, bad = (next(one for one in samples.OUTCOMES[name] if one.endswith(end)) for end in samples.SINGLE[name])
    alone = run(tree, command, good)
    assert (alone.status, {case.id: case.outcome for case in alone.cases}) == ("passed", {good: "passed"}), alone
    again = run(tree, command, bad)
    assert (again.status, {case.id: case.outcome for case in again.cases}) == ("failed", {bad: "failed"}), again
    for path in samples.TESTS[name]:
        (tree / path).unlink()
    assert run(tree, command).status != "passed", "no tests are no success"


def test_a_runner_that_was_never_installed_is_said(run: Callable[..., TestRun], make: Make, modules: Path) -> None:
    tree = make("jest")
    shutil.rmtree(tree / "node_modules")
    result = run(tree, TestCommand(("npx", "jest"), "jest", "package.json:1"))
    assert (result.status, "not available in the sandbox" in result.reason) == ("not run", True), result
