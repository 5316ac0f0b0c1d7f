"""Test runs: real pytest in the real sandbox; forged, missing and contradicting reports are caught."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.junit import read_report
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import Limits, NoSandbox, Sandbox
from backend_crew.tools.testrun import (
    TestCommand,
    TestRun,
    find_command,
    propose_commands,
    run_tests,
)

SKIPPED = "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"
MIXED = """
import pytest, unittest

class TestOrder:
    class TestInner:
        def test_deep(self): pass
    @pytest.mark.parametrize("value", ["a.b", "c::d"])
    def test_each(self, value): pass

class Case(unittest.TestCase):
    def test_unit(self): pass

def test_red(): assert 1 == 2, "one is not two"
@pytest.mark.skip(reason="later")
def test_later(): pass
@pytest.fixture
def broken(): raise RuntimeError("no fixture")
def test_error(broken): pass
@pytest.fixture
def leaves(): yield; raise RuntimeError("teardown")
def test_both(leaves): assert False
@pytest.mark.xfail
def test_known(): assert False
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def runtime(tree: Path) -> Runtime:
    return find_runtime(tree, python=Path(sys.executable))


PYTEST = TestCommand((sys.executable, "-m", "pytest"), "pytest", "pytest.ini:1")


def put(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(sandbox: Sandbox, tree: Path, command: TestCommand = PYTEST, *paths: str, **env: str) -> TestRun:
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env}  # plugins of this project's own environment only take time
    return run_tests(sandbox, tree, tree, runtime(tree), command, paths=paths, env=env, limits=Limits(timeout_s=60))


def naive(tree: Path) -> int:
    """The weak control: what the exit code alone says, without a sandbox."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(argv, cwd=tree, capture_output=True, check=False, timeout=60).returncode


def test_a_mixed_run_has_pytests_own_ids_and_outcomes(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"tests/test_mixed.py": MIXED, "tests/test_bad.py": "import nowhere_at_all\n"})
    result = run(sandbox, tree, PYTEST, "--continue-on-collection-errors")
    assert (result.status, result.exit_code, result.counts_known) == ("failed", 1, True)
    assert {case.id.removeprefix("tests/test_mixed.py::"): case.outcome for case in result.cases} == {
        "TestOrder::TestInner::test_deep": "passed",
        "TestOrder::test_each[a.b]": "passed",
        "TestOrder::test_each[c::d]": "passed",
        "Case::test_unit": "passed",
        "test_red": "failed",
        "test_later": "skipped",
        "test_error": "error",
        "test_both": "error",
        "test_known": "skipped",
        "tests/test_bad.py": "error",
    }
    assert result.reason == "4 of 10 tests failed"
    red = next(case for case in result.cases if case.id.endswith("test_red"))
    assert "one is not two" in red.message
    again = run(sandbox, tree, PYTEST, "--continue-on-collection-errors")
    assert {case.id: case.outcome for case in again.cases} == {case.id: case.outcome for case in result.cases}


def test_an_id_can_be_given_back_to_pytest_and_inherited_tests_keep_their_file(sandbox: Sandbox, tree: Path) -> None:
    put(
        tree,
        {
            "tests/__init__.py": "",
            "tests/base.py": "class Base:\n    def test_shared(self): pass\n",
            "tests/test_a.py": "from tests.base import Base\nclass TestA(Base): pass\n",
        },
    )
    only = "tests/test_a.py::TestA::test_shared"
    result = run(sandbox, tree, PYTEST, only)
    assert (result.status, [case.id for case in result.cases]) == ("passed", [only]), result.output_tail
    assert not list(tree.glob(".report*")), "the report is written in the copy alone"
    assert result.junit is not None


@pytest.mark.parametrize(
    ("files", "status", "reason"),
    [
        ({}, "not run", "no tests were found"),
        ({"test_a.py": SKIPPED}, "not run", "all 1 tests were skipped"),
        ({"test_a.py": "def test_a(:\n"}, "failed", "interrupted"),
        ({"test_a.py": "def test_a(): pass\n", "pytest.ini": "[pytest]\naddopts = --nonsense\n"}, "failed", "unrecognized arguments: --nonsense"),
        ({"test_a.py": "import time\ndef test_a(): time.sleep(60)\n"}, "failed", "did not end within"),
    ],
)  # fmt: skip
def test_what_is_no_success_has_a_reason(
    sandbox: Sandbox, tree: Path, files: dict[str, str], status: str, reason: str
) -> None:
    put(tree, files)
    limits = Limits(timeout_s=3 if "did not end" in reason else 60)
    result = run_tests(sandbox, tree, tree, runtime(tree), PYTEST, limits=limits)
    assert (result.status, reason in result.reason) == (status, True), result.reason


def test_a_conftest_that_ends_the_process_with_success_is_caught(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"conftest.py": "import os\nos._exit(0)\n", "test_a.py": "def test_a(): assert False\n"})
    assert naive(tree) == 0
    result = run(sandbox, tree)
    assert result.status == "failed"
    assert "no report was written" in result.reason


FORGER = """
import os, sys
def pytest_configure(config):
    target = next(word.partition("=")[2] for word in sys.argv if word.startswith("--junitxml="))
    with open(target, "w") as file:
        file.write({report!r})
    os._exit(0)
"""
CASE = '<testcase classname="{name}" name="test_a" time="0.1">{inside}</testcase>'


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("", "not XML"),
        ("<testsuites><testsuite tests='1'>", "not XML"),
        ("<testsuites/>", "no tests were found"),
        (f"<testsuite>{CASE.format(name='test_elsewhere', inside='')}</testsuite>", "does not have: test_elsewhere"),
        (f"<testsuite>{CASE.format(name='../../etc/passwd', inside='')}</testsuite>", "does not have"),
        (f"<testsuite>{CASE.format(name='x' * 5000, inside='')}</testsuite>", "does not have"),
        (f"<testsuite failures='1'>{CASE.format(name='test_a', inside='')}</testsuite>", "report holds 1 failures"),
        (f"<testsuite>{CASE.format(name='test_a', inside='<failure/>')}</testsuite>", "report holds 1 failures"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><testsuite/>', "declares a document type"),
    ],
)
def test_a_forged_report_that_contradicts_is_caught(sandbox: Sandbox, tree: Path, report: str, reason: str) -> None:
    put(tree, {"conftest.py": FORGER.format(report=report), "test_a.py": "def test_a(): assert False\n"})
    result = run(sandbox, tree)
    assert result.status != "passed"
    assert reason in result.reason


@pytest.mark.parametrize("trick", ["os.symlink('/etc/hostname', target)", "os.mkfifo(target)", "os.mkdir(target)"])
def test_a_report_that_is_no_plain_file_is_not_followed(sandbox: Sandbox, tree: Path, trick: str) -> None:
    forger = FORGER.format(report="").partition("    with")[0] + f"    {trick}\n    os._exit(0)\n"
    put(tree, {"conftest.py": forger, "test_a.py": "def test_a(): pass\n"})
    result = run(sandbox, tree)
    assert result.status == "failed"
    assert result.junit is None


def test_all_passed_below_a_failing_exit_code_is_a_failure(sandbox: Sandbox, tree: Path) -> None:
    hook = "def pytest_sessionfinish(session):\n    session.exitstatus = 1\n"
    put(tree, {"conftest.py": hook, "test_a.py": "def test_a(): pass\n"})
    result = run(sandbox, tree)
    assert (result.status, [case.outcome for case in result.cases]) == ("failed", ["passed"])


def test_tests_see_the_given_environment_and_no_env_file(
    sandbox: Sandbox, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://person@live/db")
    body = "import os\ndef test_a():\n    assert os.environ.get('DATABASE_URL') == {}\n"
    body += "    assert not os.path.exists('.env')\n"
    put(tree, {".env": "DATABASE_URL=x\n", "test_a.py": body.format("None")})
    assert naive(tree) == 1, "without the sandbox the person's settings are there"
    assert run(sandbox, tree).status == "passed"
    put(tree, {"test_a.py": body.format("'sqlite://'")})
    assert run(sandbox, tree, PYTEST, DATABASE_URL="sqlite://").status == "passed"


def test_a_generic_command_gives_its_exit_code_alone(sandbox: Sandbox, tree: Path) -> None:
    ends = [TestCommand((sys.executable, "-c", f"raise SystemExit({code})"), "generic", "x:1") for code in (0, 3)]
    good, bad = (run(sandbox, tree, command) for command in ends)
    assert (good.status, good.counts_known, good.cases) == ("passed", False, ())
    assert (bad.status, bad.reason) == ("failed", "the command ended with exit code 3")
    missing = run(sandbox, tree, TestCommand(("no-such-runner",), "generic", "x:1"))
    assert (missing.status, "not available" in missing.reason) == ("not run", True)


def test_pytest_named_as_a_generic_command_still_reports(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_a.py": "def test_a(): pass\n"})
    result = run(sandbox, tree, TestCommand(PYTEST.argv, "generic", "--test-command"))
    assert (result.status, result.counts_known) == ("passed", True)


def test_an_interpreter_without_pytest_is_not_a_failure_of_the_code(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_a.py": "def test_a(): pass\n"})
    venv.create(tree / ".venv", symlinks=True)
    bare = find_command(tree, find_runtime(tree))
    assert bare is not None
    assert bare.argv == (str(tree / ".venv/bin/python"), "-m", "pytest")
    result = run_tests(sandbox, tree, tree, find_runtime(tree), bare)
    assert (result.status, "not installed" in result.reason) == ("not run", True), result


def test_node_reports_counts(sandbox: Sandbox, tree: Path) -> None:
    body = "const test = require('node:test')\ntest.describe('cart', () => { test('adds', () => {})\n"
    body += "test('sums', () => { throw new Error('wrong sum') }) })\n"
    put(tree, {"package.json": '{"scripts": {"test": "node --test"}}', "cart.test.js": body})
    found = find_command(tree, find_runtime(tree))
    assert found == TestCommand(("node", "--test"), "node", "package.json:1")
    result = run_tests(sandbox, tree, tree, find_runtime(tree), found)
    if "not available" in result.reason:
        pytest.skip("no node in this machine's system folders")
    assert {case.id: case.outcome for case in result.cases} == {
        "cart.test.js::cart::adds": "passed",
        "cart.test.js::cart::sums": "failed",
    }
    assert result.status == "failed"


def test_without_a_sandbox_nothing_runs(tree: Path) -> None:
    put(tree, {"test_a.py": "open('ran', 'w')\ndef test_a(): pass\n"})
    result = run_tests(NoSandbox("none works", "install one"), tree, tree, runtime(tree), PYTEST)
    assert (result.status, result.exit_code) == ("not run", None)
    assert "none works" in result.reason
    assert not (tree / "ran").exists()


def test_a_stopped_run_is_no_verdict(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_a.py": "import time\ndef test_a(): time.sleep(60)\n"})
    result = run_tests(sandbox, tree, tree, runtime(tree), PYTEST, stop=lambda: True)
    assert (result.status, "stopped" in result.reason) == ("not run", True)


@pytest.mark.parametrize(
    ("files", "argv", "runner"),
    [
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ("-m", "pytest"), "pytest"),
        ({"requirements-dev.txt": "pytest>=8\n"}, ("-m", "pytest"), "pytest"),
        ({"manage.py": '"DJANGO_SETTINGS_MODULE"\n', "requirements.txt": "django\n"}, ("manage.py", "test"), "django"),
        ({"setup.py": "", "tests/test_a.py": "import unittest\nclass A(unittest.TestCase): pass\n"}, ("-m", "unittest", "discover"), "unittest"),
    ],
)  # fmt: skip
def test_the_command_is_found_with_its_evidence(
    tmp_path: Path, files: dict[str, str], argv: tuple[str, ...], runner: str
) -> None:
    put(tmp_path, files)
    found = find_command(tmp_path, find_runtime(tmp_path, python=Path(sys.executable)))
    assert found is not None
    assert (found.argv[1:], found.runner) == (argv, runner)
    path, line = found.evidence.split(":")
    assert len((tmp_path / path).read_text().split("\n")) >= int(line)


def test_proposals_for_other_languages(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "package.json": '{"scripts": {"test": "jest && x"}}',
            "go.mod": "module x\n",
            "mvnw": "",
            "pom.xml": "<project>\n",
        },
    )
    assert {command.argv for command in propose_commands(tmp_path)} == {
        ("npm", "test", "--silent"),
        ("go", "test", "./..."),
        ("./mvnw", "-q", "-o", "test"),
    }
    (tmp_path / "empty").mkdir()
    assert propose_commands(tmp_path / "empty") == ()


def test_a_report_that_unfolds_entities_is_refused() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><testsuite><testcase name="&l8;"/></testsuite>'
    with pytest.raises(ToolRetry, match="document type"):
        read_report(bomb.encode(), lambda attributes, suites: attributes["name"])
    many = b"<testsuite>" + b'<testcase name="a"/>' * 50_001 + b"</testsuite>"
    with pytest.raises(ToolRetry, match="more than 50000"):
        read_report(many, lambda attributes, suites: attributes["name"])


def test_a_conftest_that_cannot_be_loaded_is_said_and_not_called_an_option(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"tests/conftest.py": "import nowhere_at_all\n", "tests/test_a.py": "def test_a(): pass\n"})
    result = run(sandbox, tree, PYTEST, "tests")
    assert (result.status, result.exit_code) == ("failed", 4)
    assert result.reason.startswith("pytest could not load conftest.py: ModuleNotFoundError: No module named 'nowhere_")
    assert "refused its options" not in result.reason


def test_what_pytest_says_of_an_option_and_a_missing_file_is_repeated(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_a.py": "def test_a(): pass\n"})
    assert "unrecognized arguments: --no-such-option" in run(sandbox, tree, PYTEST, "--no-such-option").reason
    assert "file or directory not found: nowhere.py" in run(sandbox, tree, PYTEST, "nowhere.py").reason


@pytest.mark.parametrize("file", ["conftest.py", "test_a.py"])
def test_variables_that_settings_lack_are_named_with_the_way_to_give_them(
    sandbox: Sandbox, tree: Path, file: str
) -> None:
    settings = "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    shop_token: str\nS()\n"
    put(tree, {"test_a.py": "def test_a(): pass\n", file: settings + "def test_a(): pass\n"})
    result = run(sandbox, tree)
    assert result.status == "failed" and "SHOP_TOKEN, which is not set here" in result.reason
    assert "--sandbox-env SHOP_TOKEN=VALUE" in result.reason
    assert run(sandbox, tree, SHOP_TOKEN="made-up").status == "passed"
