"""Runs in the box as the text of `python -c`: unittest, or Django's `test`, with each outcome written as it is known.

Suites get a result that hands everything on to the real one, so any result class, suite class and TEST_RUNNER that builds
on unittest is reported. Imports nothing of this program and needs no newer Python than Django 3.2 does.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import sys
import time
import traceback
import unittest
from collections.abc import Iterator
from typing import Any

_MESSAGE = 4_000


class Report:
    """The file that is written; nothing is kept until the end, because a test can end the process."""

    def __init__(self, name: str, only: list[str]) -> None:
        # Opened at once, and by its descriptor from then on: tests change their folder.
        self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._root = os.getcwd()  # noqa: PTH109  # pathlib is no shorter here
        self._only = only

    def line(self, **entry: Any) -> None:
        """Writes one line."""
        text = json.dumps(entry) + "\n"
        os.write(self._file, text.encode("ascii"))

    def id_of(self, test: Any) -> str:
        """`path::Class::method`, which other runners use too; unittest's own id for what is written otherwise."""
        test = getattr(test, "test_case", test)  # a subtest counts for its test
        method = getattr(test, "_testMethodName", None)
        if type(test).__name__ == "_FailedTest":
            return self._file_of(str(method)) or str(method)
        if hasattr(test, "description") and method is None:  # setUpClass (tests.test_x.Case)
            return self._holder(str(test.description))
        module = sys.modules.get(type(test).__module__)
        file = self._relative(getattr(module, "__file__", None))
        if file is None or method is None or not hasattr(test, method):
            return str(test.id())
        return "::".join([file, *type(test).__qualname__.split("."), method])

    def wanted(self, name: str) -> bool:
        """Whether an id is one of those that were asked for."""
        return not self._only or any(
            name == one or name.startswith((one + "::", one.rstrip("/") + "/")) for one in self._only
        )

    def _holder(self, description: str) -> str:
        what, _, dotted = description.rstrip(")").partition(" (")
        for cut in range(len(parts := dotted.split(".")), 0, -1):
            if file := self._file_of(".".join(parts[:cut])):
                return "::".join([file, *parts[cut:], what])
        return description

    def _file_of(self, dotted: str) -> str | None:
        loaded = self._relative(getattr(sys.modules.get(dotted), "__file__", None))
        path = dotted.replace(".", "/")
        written = (path + ".py", path + "/__init__.py")
        return loaded or next((one for one in written if os.path.isfile(os.path.join(self._root, one))), None)  # noqa: PTH113, PTH118  # as above

    def _relative(self, file: Any) -> str | None:
        inside = isinstance(file, str) and os.path.abspath(file).startswith(self._root + os.sep)  # noqa: PTH100  # as above
        return os.path.relpath(file, self._root) if inside else None


class Result:
    """A test result that writes what it is told, and hands everything on to the real one."""

    def __init__(self, real: Any, report: Report) -> None:
        self.__dict__.update(_real=real, _report=report, _began=0.0, _told=set(), _worse="")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    @property  # type: ignore[misc]  # object's own can be set; nobody sets this one
    def __class__(self) -> Any:
        """What it stands for: frameworks ask."""
        return type(self._real)

    def startTest(self, test: Any) -> None:
        self.__dict__.update(_began=time.monotonic())
        self._real.startTest(test)

    def addSuccess(self, test: Any) -> None:
        self._tell(test, "passed")
        self._real.addSuccess(test)

    def addFailure(self, test: Any, error: Any) -> None:
        self._tell(test, "failed", error)
        self._real.addFailure(test, error)

    def addError(self, test: Any, error: Any) -> None:
        self._tell(test, "error", error)
        self._real.addError(test, error)

    def addSkip(self, test: Any, reason: Any) -> None:
        self._tell(test, "skipped", reason)
        self._real.addSkip(test, reason)

    def addExpectedFailure(self, test: Any, error: Any) -> None:
        self._tell(test, "skipped", "it fails, as it is expected to")
        self._real.addExpectedFailure(test, error)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._tell(test, "failed", "it passes, and is marked as failing")
        self._real.addUnexpectedSuccess(test)

    def addSubTest(self, test: Any, subtest: Any, error: Any) -> None:
        if error is not None:
            failed = issubclass(error[0], test.failureException)
            self._tell(test, "failed" if failed else "error", error, str(subtest) + "\n")
        self._real.addSubTest(test, subtest, error)

    def _tell(self, test: Any, outcome: str, why: Any = "", what: str = "") -> None:
        name = self._report.id_of(test)
        text = (
            why
            if isinstance(why, str)
            else "".join(traceback.format_exception(*why))
            if isinstance(why, tuple)
            else str(why)
        )
        if len(text) > _MESSAGE:
            text = text[: _MESSAGE // 4] + "\n[...]\n" + text[-(_MESSAGE // 4 * 3) :]
        seconds = time.monotonic() - self._began if self._began else 0.0
        self._told.add(name)
        self._report.line(id=name, outcome=outcome, seconds=round(seconds, 4), message=what + text)


def main() -> None:
    """`{"report": NAME, "only": [IDS], "manage": PATH or null}`, then the arguments of the command."""
    given, arguments = json.loads(sys.argv[1]), sys.argv[2:]
    report = Report(given["report"], given["only"])
    _follow_suites(report)
    if given["manage"]:
        _django(given["manage"], arguments, report)
    else:
        sys.argv[:] = ["python -m unittest", *arguments]
        unittest.main(module=None)


def _follow_suites(report: Report) -> None:
    """The outermost suite is reported, with those of its tests that nothing was told of as not run."""
    usual = unittest.TestSuite.run

    @functools.wraps(usual)
    def run(self: Any, result: Any, *rest: Any, **named: Any) -> Any:
        if type(result) is Result:  # not what it says of itself: it stands for the real one
            return usual(self, result, *rest, **named)  # type: ignore[arg-type]  # it has all that a suite asks for
        _keep(self, report)
        names = [report.id_of(test) for test in _tests(self)]
        seen: Any = Result(result, report)
        usual(self, seen, *rest, **named)
        for name in names:
            if name not in seen._told:
                report.line(id=name, outcome="skipped", seconds=0.0, message="it was collected and did not run")
        report.line(end=True)
        return result

    unittest.TestSuite.run = run  # type: ignore[method-assign]  # every suite comes through here


def _tests(suite: Any) -> Iterator[Any]:
    for one in suite:
        if isinstance(one, unittest.BaseTestSuite):
            yield from _tests(one)
        else:
            yield one


def _keep(suite: Any, report: Report) -> None:
    """Takes out of a suite what was not asked for."""
    kept = []
    for one in suite:
        if isinstance(one, unittest.BaseTestSuite):
            _keep(one, report)
            kept.append(one)
        elif report.wanted(report.id_of(one)):
            kept.append(one)
    suite._tests = kept


def _django(manage: str, arguments: list[str], report: Report) -> None:
    """manage.py test, with the repository's own runner class where it builds on Django's, in one process."""
    sys.argv[:] = [manage, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(manage))  # noqa: PTH100, PTH120  # as Python does for a script
    from django.test import utils

    usual = utils.get_runner

    def get_runner(*given: Any, **named: Any) -> Any:
        return _reported(usual(*given, **named), report)

    utils.get_runner = get_runner
    runpy.run_path(manage, run_name="__main__")


def _reported(runner: Any, report: Report) -> Any:
    from django.test.runner import DiscoverRunner

    def start(self: Any, *given: Any, **named: Any) -> None:
        runner.__init__(self, *given, **named)
        self.parallel, self.interactive = 1, False

    def run_tests(self: Any, *given: Any, **named: Any) -> Any:
        failures = runner.run_tests(self, *given, **named)
        report.line(end=True, unknown=True)
        return failures

    own = {"__init__": start} if issubclass(runner, DiscoverRunner) else {"run_tests": run_tests}
    return type(runner)(runner.__name__, (runner,), {**own, "__module__": runner.__module__})


if __name__ == "__main__":
    main()
