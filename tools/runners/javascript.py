"""jest, vitest and mocha: their own JSON reports."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.junit import CASE_LIMIT, TestCase, merged
from backend_crew.tools.runners import lines
from backend_crew.tools.runners.protocol import Argv, Place, Plan, Report, Runner, file_id, program, split_id

_WATCH = ("--watch", "--watchAll", "-w")
# "disabled" and "focused" are jest's words for tests that a sibling's `only` left out.
_OUTCOMES = {"passed": "passed", "failed": "failed"}
_LEFT_OUT = ("pending", "skipped", "todo", "disabled", "focused")


def _owner(*names: str) -> Callable[[Argv], bool]:
    """Whether a command is one of these programs, started by itself or as a script of node."""

    def owns(argv: Argv) -> bool:
        scripts = argv if program(argv) == "node" else argv[:1]
        return any(PurePosixPath(word).name in names for word in scripts)

    return owns


_is_jest = _owner("jest", "jest.js")


def _owns_jest(argv: Argv) -> bool:
    return _is_jest(argv) or (program(argv) == "react-scripts" and "test" in argv)


def _jest(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    words = tuple(word for word in argv if word not in _WATCH)
    # As in CI: a snapshot that is not there is a failure, not written.
    options = ("--ci", "--watchAll=false", "--json", f"--outputFile={report}")
    files, names = _chosen(paths, " ")
    named = ("--testNamePattern", names) if names else ()
    only = ("--runTestsByPath", *files) if files else ()
    return Plan((*words, *options, *named, *only), report, (*argv, *paths))


def _vitest(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    words = tuple(word for word in argv if word not in (*_WATCH, "watch", "dev"))
    options = ("--run", "--reporter=default", "--reporter=json", f"--outputFile.json={report}")
    files, names = _chosen(paths, " ")
    return Plan((*words, *options, *(("-t", names) if names else ()), *files), report, (*argv, *paths))


def _mocha(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    words = tuple(word for word in argv if word not in _WATCH)
    options = ("--reporter", "json", "--reporter-option", f"output={report}")
    files, names = _chosen(paths, " ")
    return Plan((*words, *options, *(("--grep", names) if names else ()), *files), report, (*argv, *paths))


def _chosen(paths: Sequence[str], between: str) -> tuple[Argv, str]:
    """The files, and a pattern of full names where nothing but single tests was asked for."""
    parts = [split_id(path) for path in paths]
    files = tuple(dict.fromkeys(file for file, _ in parts))
    names = [between.join(rest.split("::")) for _, rest in parts if rest]
    exact = f"^({'|'.join(_escaped(name) for name in names)})$" if names and len(names) == len(parts) else ""
    return files, exact


def _escaped(name: str) -> str:
    return re.sub(r"([\\^$.*+?()[\]{}|/])", r"\\\1", name)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ToolRetry(f"the report is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ToolRetry("the report is not the one that was asked for: it is no object")
    return document


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; raises ToolRetry where there is something else."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ToolRetry("the report is not the one that was asked for: a list of objects is missing")
    if len(value) > CASE_LIMIT:
        raise ToolRetry(f"the report has more than {CASE_LIMIT} cases; run fewer tests at a time")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_jest(data: bytes, place: Place) -> Report:
    document = _document(data)
    claimed = max(lines.number(document.get(key)) for key in ("numFailedTests", "numFailedTestSuites"))
    interrupted = "the run was interrupted before its end" if document.get("wasInterrupted") is True else ""
    cases = (case for suite in _objects(document.get("testResults")) for case in _suite(suite, place))
    return Report(tuple(merged(cases)), claimed, interrupted)


def _suite(suite: dict[str, Any], place: Place) -> Iterator[TestCase]:
    file = place.relative(_text(suite.get("name")))
    tests = _objects(suite.get("assertionResults"))
    # A file that could not be loaded has no tests, and one whose teardown failed has only good ones.
    if suite.get("status") == "failed" and all(one.get("status") != "failed" for one in tests):
        yield TestCase(file, "error", 0.0, lines.message(suite.get("message")))
    for one in tests:
        enclosing = one.get("ancestorTitles")
        names = [*(enclosing if isinstance(enclosing, list) else ()), one.get("title")]
        status = _text(one.get("status"))
        if status not in _OUTCOMES and status not in _LEFT_OUT:
            raise ToolRetry(f"the report has an outcome that is not known: {status[:40]!r}")
        failed = one.get("failureMessages")
        said = "\n".join(_text(text) for text in failed) if isinstance(failed, list) else ""
        duration = lines.seconds(one.get("duration")) / 1000
        yield TestCase(
            file_id(file, map(_text, names)), _OUTCOMES.get(status, "skipped"), duration, lines.message(said)
        )


def _read_mocha(data: bytes, place: Place) -> Report:
    document = _document(data)
    stats = document.get("stats")
    claimed = lines.number(stats.get("failures")) if isinstance(stats, dict) else 0
    outcomes = {"passes": "passed", "pending": "skipped", "failures": "failed"}
    cases = (
        _mocha_case(one, outcome, place) for key, outcome in outcomes.items() for one in _objects(document.get(key))
    )
    return Report(tuple(merged(cases)), claimed)


def _mocha_case(one: dict[str, Any], outcome: str, place: Place) -> TestCase:
    error = one.get("err")
    said = (error.get("stack") or error.get("message")) if isinstance(error, dict) else ""
    # The names of what encloses a test come as one text with its own.
    name = file_id(place.relative(_text(one.get("file"))), [_text(one.get("fullTitle"))])
    return TestCase(name, outcome, lines.seconds(one.get("duration")) / 1000, lines.message(said))


JEST = Runner(name="jest", owns=_owns_jest, plan=_jest, read=_read_jest, none_found=frozenset({0, 1}))
VITEST = Runner(
    name="vitest", owns=_owner("vitest", "vitest.mjs"), plan=_vitest, read=_read_jest, none_found=frozenset({0, 1})
)
MOCHA = Runner(
    name="mocha",
    owns=_owner("mocha", "mocha.js", "mocha.cjs", "_mocha"),
    plan=_mocha,
    read=_read_mocha,
    none_found=frozenset({0, 1}),
    # the number of failures
    red=None,
)
