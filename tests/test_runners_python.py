"""unittest and Django's runner, for real in the sandbox: our reporter's ids, outcomes, choices, and what it is told wrongly."""

import sys
from pathlib import Path

import pytest

from backend_crew.tools.runners.protocol import TestCommand
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Limits, Sandbox
from backend_crew.tools.testrun import TestRun, run_tests

UNITTEST = TestCommand((sys.executable, "-m", "unittest", "discover"), "unittest", "setup.py:1")
DJANGO = TestCommand((sys.executable, "manage.py", "test"), "django", "manage.py:1")
MIXED = """
import unittest

class Base:
    def test_shared(self): pass

class Orders(Base, unittest.TestCase):
    def test_red(self): self.assertEqual(1, 2, "one is not two")
    def test_error(self): raise RuntimeError("no order")
    @unittest.skip("later")
    def test_later(self): pass
    @unittest.expectedFailure
    def test_known(self): self.fail()
    @unittest.expectedFailure
    def test_mended(self): pass
    def test_parts(self):
        for part in (1, 2):
            with self.subTest(part=part):
                self.assertEqual(part, 1)
    class Inner(unittest.TestCase): pass

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("no database")
    def test_never(self): pass

class Absent(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("no service")
    def test_never(self): pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    return folder


def put(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(sandbox: Sandbox, tree: Path, command: TestCommand, *paths: str) -> TestRun:
    runtime = find_runtime(tree, python=Path(sys.executable))
    return run_tests(sandbox, tree, tree, runtime, command, paths=paths, limits=Limits(timeout_s=60))


def outcomes(result: TestRun) -> dict[str, str]:
    return {case.id: case.outcome for case in result.cases}


def test_unittest_is_told_test_by_test(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"tests/__init__.py": "", "tests/test_orders.py": MIXED, "tests/test_bad.py": "import nowhere_at_all\n"})
    result = run(sandbox, tree, UNITTEST)
    assert (result.status, result.complete) == ("failed", True), result
    assert {name.removeprefix("tests/test_orders.py::"): one for name, one in outcomes(result).items()} == {
        "Orders::test_shared": "passed",
        "Orders::test_red": "failed",
        "Orders::test_error": "error",
        "Orders::test_later": "skipped",
        "Orders::test_known": "skipped",
        "Orders::test_mended": "failed",
        "Orders::test_parts": "failed",
        "Broken::setUpClass": "error",
        "Broken::test_never": "skipped",
        "Absent::setUpClass": "skipped",
        "Absent::test_never": "skipped",
        "tests/test_bad.py": "error",
    }
    messages = {case.id: case.message for case in result.cases}
    assert "one is not two" in messages["tests/test_orders.py::Orders::test_red"]
    assert "part=2" in messages["tests/test_orders.py::Orders::test_parts"]
    assert result.command == UNITTEST.argv, "the reporter's own text is nothing for people"
    again = run(sandbox, tree, UNITTEST, "tests/test_orders.py::Orders::test_shared")
    assert (again.status, outcomes(again)) == ("passed", {"tests/test_orders.py::Orders::test_shared": "passed"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import os\nos._exit(0)\n", "report"),
        ("import os, unittest\nclass A(unittest.TestCase):\n    def test_a(self): os._exit(0)\n", "no end"),
        ("import atexit, os, unittest\natexit.register(os._exit, 0)\nclass A(unittest.TestCase):\n    def test_a(self): self.fail()\n", "says success"),
    ],
)  # fmt: skip
def test_code_that_ends_the_process_with_success_passes_nothing(
    sandbox: Sandbox, tree: Path, body: str, says: str
) -> None:
    put(tree, {"test_a.py": body})
    result = run(sandbox, tree, UNITTEST)
    assert (result.status, result.exit_code, says in result.reason) == ("failed", 0, True), result


SETTINGS = """
SECRET_KEY = "tests"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"""
PROJECT = {
    "manage.py": """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "site_settings.py": SETTINGS,
    "shop/__init__.py": "",
    "shop/models.py": "from django.db import models\nclass Order(models.Model):\n    number = models.IntegerField()\n",
    "shop/tests.py": """
from django.test import TestCase
from shop.models import Order

class OrderTests(TestCase):
    def test_saved(self):
        Order.objects.create(number=1)
        self.assertEqual(Order.objects.count(), 1)
    def test_none(self):
        self.assertEqual(Order.objects.count(), 1)
""",
}


def test_django_runs_in_one_process_with_the_repositorys_own_runner(sandbox: Sandbox, tree: Path) -> None:
    own = "from django.test.runner import DiscoverRunner\nclass Own(DiscoverRunner):\n"
    own += "    def setup_test_environment(self, **k):\n        super().setup_test_environment(**k)\n        print('own runner')\n"
    put(tree, {**PROJECT, "site_settings.py": SETTINGS + 'TEST_RUNNER = "own.Own"\n', "own.py": own})
    result = run(sandbox, tree, TestCommand((*DJANGO.argv, "--parallel", "4"), "django", "manage.py:1"))
    assert outcomes(result) == {
        "shop/tests.py::OrderTests::test_saved": "passed",
        "shop/tests.py::OrderTests::test_none": "failed",
    }, result
    assert (result.reason, "own runner" in result.output_tail) == ("1 of 2 tests failed", True)
    only = run(sandbox, tree, DJANGO, "shop/tests.py::OrderTests::test_saved")
    assert (only.status, len(only.cases)) == ("passed", 1), only


def test_a_runner_of_another_kind_is_judged_by_its_exit_code(sandbox: Sandbox, tree: Path) -> None:
    other = "class Other:\n    def __init__(self, **k): pass\n    def run_tests(self, labels, **k): return {}\n"
    put(tree, {**PROJECT, "site_settings.py": SETTINGS + 'TEST_RUNNER = "other.Other"\n', "other.py": other.format(0)})
    good = run(sandbox, tree, DJANGO)
    assert (good.status, good.counts_known) == ("passed", False), good
    put(tree, {"other.py": other.format(2)})
    assert run(sandbox, tree, DJANGO).status == "failed"
    put(tree, {"other.py": "import sys\nsys.exit(0)\n"})
    ended = run(sandbox, tree, DJANGO)
    assert (ended.status, ended.exit_code) == ("failed", 0), ended
