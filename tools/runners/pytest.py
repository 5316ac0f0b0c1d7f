"""pytest: its JUnit XML, with pytest's own ids made from it."""

import re
from collections.abc import Callable, Sequence

from backend_crew.tools.junit import read_report
from backend_crew.tools.runners.protocol import Argv, Place, Plan, Report, Runner, is_python, program

_REASON = 300
_CONFTEST = re.compile(r"while loading conftest '(?:.*/)?([^/']*conftest\.py)'")
_CODES = {
    2: "pytest was interrupted, as it is when a test file cannot be imported",
    3: "pytest had an internal error",
    4: "pytest refused its options, did not find the named tests, or could not load a conftest.py",
}


def _owns(argv: Argv) -> bool:
    return program(argv) in ("pytest", "py.test") or (is_python(argv) and argv[1:3] == ("-m", "pytest"))


def _plan(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    # The older family names each test's file, which makes its id exact.
    options = ("-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1", "-q")
    whole = (*argv, *options, *paths)
    return Plan(whole, report, whole)


def _read(data: bytes, place: Place) -> Report:
    return Report(*read_report(data, _id(place)))


def _id(place: Place) -> Callable[[dict[str, str], tuple[str, ...]], str]:
    """Makes pytest's own id from a case: the file where it is collected, its classes, its name with parameters."""

    def name(attributes: dict[str, str], _: tuple[str, ...]) -> str:
        case, dotted, file = (attributes.get(key, "") for key in ("name", "classname", "file"))
        if not dotted:  # a file that could not be collected: its dotted path stands as the name
            return _module_path(place, case.split(".")) or case
        module = re.sub(r"\.py$", "", file).replace("/", ".")
        if file and (dotted == module or dotted.startswith(module + ".")):
            classes = dotted[len(module) + 1 :]
        else:  # the file is where an inherited test was written, not where it was collected
            file = _module_path(place, dotted.split(".")) or dotted
            classes = dotted[len(re.sub(r"\.py$", "", file)) + 1 :]
        return "::".join([file, *(part for part in classes.split(".") if part), case])

    return name


def _module_path(place: Place, parts: Sequence[str]) -> str | None:
    """The longest beginning of a dotted name that is a Python file of the tree."""
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length]) + ".py"
        if place.holds(path):
            return path
    return None


def _cause(code: int | None, output: str) -> str:
    """What pytest says of why it did not begin; "" where it says nothing of the kind."""
    if code != 4:
        return ""
    lines = [line for line in output.splitlines() if line.strip()]
    if conftest := next((found[1] for line in lines if (found := _CONFTEST.search(line))), ""):
        raised = [line.removeprefix("E").strip() for line in lines if line.startswith("E   ")]
        return f"pytest could not load {conftest}: {_clipped(' '.join(raised[:3]) or lines[-1])}"
    errors = [line for line in lines if re.match(r"ERROR: (?!usage)|.*: error: ", line)]
    return f"pytest did not begin: {_clipped(errors[0])}" if errors else ""


def _clipped(text: str) -> str:
    return text if len(text) <= _REASON else f"{text[:_REASON]}…"


PYTEST = Runner(
    name="pytest",
    owns=_owns,
    plan=_plan,
    read=_read,
    codes=_CODES,
    none_found=frozenset({0, 5}),
    module="pytest",
    cause=_cause,
)
