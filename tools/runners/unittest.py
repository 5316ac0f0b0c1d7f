"""unittest and Django's own runner, which writes no report: a reporter of ours runs them (`unittest_reporter.py`)."""

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from backend_crew.tools.runners import lines
from backend_crew.tools.runners.protocol import Argv, Place, Plan, Report, Runner, is_python, split_id

_CODES = {2: "the command was not understood"}


def _is_unittest(argv: Argv) -> bool:
    return is_python(argv) and "-m" in argv[:-1] and argv[argv.index("-m") + 1] == "unittest"


def _unittest_plan(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    at = argv.index("-m")
    return _plan(argv[:at], argv[at + 2 :], None, paths, report, argv)


def _is_django(argv: Argv) -> bool:
    return is_python(argv) and len(argv) > 2 and PurePosixPath(argv[1]).name == "manage.py" and argv[2] == "test"


def _django_plan(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    return _plan(argv[:1], argv[2:], argv[1], paths, report, argv)


def _plan(
    interpreter: Argv, arguments: Argv, manage: str | None, paths: Sequence[str], report: str, argv: Argv
) -> Plan:
    given = json.dumps({"report": report, "only": list(paths), "manage": manage})
    # The tests are loaded as the command loads them, and then chosen from: their ids stay the same.
    return Plan((*interpreter, "-c", _reporter(), given, *arguments), report, (*argv, *paths))


@functools.cache
def _reporter() -> str:
    return Path(__file__).with_name("unittest_reporter.py").read_text(encoding="utf-8")


def _read(data: bytes, place: Place) -> Report:
    report = lines.read(data, place)
    files = dict.fromkeys(split_id(case.id)[0] for case in report.cases)
    strange = next((file for file in files if file.endswith(".py") and not place.holds(file)), None)
    if strange is None or report.problem:
        return report
    return Report(
        report.cases, problem=f"the report names tests of a file that the repository does not have: {strange}"
    )


UNITTEST = Runner(
    name="unittest",
    owns=_is_unittest,
    plan=_unittest_plan,
    read=_read,
    codes=_CODES,
    none_found=frozenset({0, 5}),
    names_files=False,
)
DJANGO = replace(UNITTEST, name="django", owns=_is_django, plan=_django_plan, module="django")
