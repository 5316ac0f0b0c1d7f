"""A repository's tests, run in the sandbox; the verdict comes from the exit code and the report file, never from text.

What is left: test code runs in the test runner's own process, so it can learn the report's name and forge a whole
report. Contradictions are caught (code, report, and the tests that the tree holds); a consistent forgery shows in the
diff of the test files alone.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from backend_crew.tools import unset
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.excerpt import tail
from backend_crew.tools.junit import TestCase, read_report
from backend_crew.tools.process import Completed
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Box, Limits, NoSandbox, Sandbox
from backend_crew.tools.testcommand import (
    TestCommand,
    find_command,
    propose_checks,
    propose_commands,
    runner_of,
    with_interpreter,
)

__all__ = [
    "TestCase",
    "TestCommand",
    "TestRun",
    "find_command",
    "not_run",
    "propose_checks",
    "propose_commands",
    "reports",
    "run_check",
    "run_tests",
    "with_interpreter",
]

_OUTPUT_TAIL = 6_000
_REPORT_LIMIT = 20_000_000
_RED = ("failed", "error")
_REASON = 300
_CONFTEST = re.compile(r"while loading conftest '(?:.*/)?([^/']*conftest\.py)'")
_NO_LOOPBACK = (
    "no loopback: tests failed after asking for a network, and the sandbox that works here has none of its own, so "
    "whether they fail for that reason is not known; `backend-crew doctor` says what to change"
)
_PYTEST_CODES = {
    2: "pytest was interrupted, as it is when a test file cannot be imported",
    3: "pytest had an internal error",
    4: "pytest refused its options, did not find the named tests, or could not load a conftest.py",
}


@dataclass(frozen=True)
class TestRun:
    """One run: `status` "passed", "failed" or "not run" with its reason; `junit` is the report as it was written.

    Where `counts_known` is false there are no cases, and the exit code is all that is known.
    """

    __test__: ClassVar[bool] = False  # the name begins like a test class, and pytest would collect it

    status: str
    reason: str
    counts_known: bool = False
    cases: tuple[TestCase, ...] = ()
    exit_code: int | None = None
    command: tuple[str, ...] = ()
    seconds: float = 0.0
    output_tail: str = ""
    junit: bytes | None = None


def not_run(reason: str) -> TestRun:
    """A run that did not happen, and why."""
    return TestRun("not run", reason)


def reports(command: TestCommand) -> bool:
    """Whether a report of the command is read, so that tests are known one by one and can be run by path."""
    return command.runner in ("pytest", "node") or runner_of(command.argv) != "generic"


def run_tests(  # noqa: PLR0913  # where, what and within which limits: each is the caller's to say
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    command: TestCommand,
    *,
    paths: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    stop: Callable[[], bool] | None = None,
) -> TestRun:
    """Run the tests of `tree` (or only `paths`) on a disposable copy seen at `at`; `env` is all that they are given.

    `.env` and database files are not in the copy, so the person's database cannot be reached by their settings.
    """
    if isinstance(sandbox, NoSandbox):
        return not_run(f"no sandbox works here: {sandbox.reason}. {sandbox.fix}")
    runner = runner_of(command.argv) if command.runner == "generic" else command.runner
    # The name cannot be guessed by code that was written before the run.
    report = f".report-{secrets.token_hex(16)}.xml"
    argv = (*command.argv, *_report_options(runner, report), *paths)
    try:
        with sandbox.box(tree, at, runtime, layered=True) as box:
            done = box.run(argv, env=env, limits=limits, stop=stop, unix_sockets=True)
            found = _read_report(box, report) if runner != "generic" else None
            missing = _missing_runner(box, runner, command, found, done)
    except ToolRetry as error:
        return not_run(str(error))
    run = TestRun(
        status="failed",
        reason="",
        exit_code=done.exit_code,
        command=argv,
        seconds=done.seconds,
        output_tail=_tail(done),
        junit=found if isinstance(found, bytes) else None,
    )
    if done.stopped:
        return replace(run, status="not run", reason="stopped before the tests ended")
    if missing:
        return replace(run, status="not run", reason=missing)
    if done.timed_out or done.overfull:
        return replace(run, reason=_cut_short(done, "tests"))
    judged = _with_missing_variables(_judge(run, found, tree, runner))
    if judged.status == "failed" and done.network_refused and not sandbox.loopback:
        return replace(judged, status="not run", reason=_NO_LOOPBACK)
    return judged


def _judge(run: TestRun, found: bytes | str | None, tree: Path, runner: str) -> TestRun:
    if runner == "generic":
        return _by_exit_code(run)
    return _by_report(run, found, tree, runner) if isinstance(found, bytes) else _without_report(run, found)


def _cut_short(done: Completed, what: str) -> str:
    if done.overfull:
        return f"the {what} wrote more to the disk than they may, and were ended"
    return f"the {what} did not end within {done.seconds:.0f} s"


def _report_options(runner: str, report: str) -> tuple[str, ...]:
    if runner == "pytest":
        # The older family names each test's file, which makes its id exact.
        return ("-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1", "-q")
    if runner == "node":
        spec = ("--test-reporter=spec", "--test-reporter-destination=stdout")
        return (*spec, "--test-reporter=junit", f"--test-reporter-destination={report}")
    return ()


def run_check(
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    argv: Sequence[str],
    *,
    limits: Limits | None = None,
    stop: Callable[[], bool] | None = None,
) -> TestRun:
    """Run a check of the repository (a linter, a type checker) on a disposable copy; its exit code is the verdict."""
    if isinstance(sandbox, NoSandbox):
        return not_run(f"no sandbox works here: {sandbox.reason}. {sandbox.fix}")
    try:
        with sandbox.box(tree, at, runtime, layered=True) as box:
            done = box.run(tuple(argv), limits=limits, stop=stop)
    except ToolRetry as error:
        return not_run(str(error))
    run = TestRun("failed", "", False, (), done.exit_code, tuple(argv), done.seconds, _tail(done))
    if done.stopped:
        return replace(run, status="not run", reason="stopped before the check ended")
    if done.exit_code == 127:
        return replace(run, status="not run", reason=_missing_program(argv))
    if done.timed_out or done.overfull:
        return replace(run, reason=_cut_short(done, "commands of the check"))
    if done.exit_code == 0:
        return replace(run, status="passed", reason="exit code 0")
    return replace(run, reason=f"the check ended with exit code {done.exit_code}")


def _read_report(box: Box, report: str) -> bytes | str | None:
    """The report's bytes, None where there is none, or why it cannot be read."""
    try:
        return box.read(report, _REPORT_LIMIT)
    except ToolError as error:
        return f"the report cannot be read: {error}"


def _missing_runner(
    box: Box, runner: str, command: TestCommand, report: bytes | str | None, done: Completed
) -> str | None:
    """Why nothing was run, where the runner itself is not there."""
    if done.exit_code == 127:
        return _missing_program(command.argv)
    if runner != "pytest" or report is not None or done.exit_code != 1 or "-m" not in command.argv:
        return None
    look = "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('pytest') else 3)"
    interpreter = command.argv[: command.argv.index("-m")]
    if box.run((*interpreter, "-c", look), limits=Limits(timeout_s=30)).exit_code == 3:
        return f"pytest is not installed for {command.argv[0]}; install the repository's test dependencies"
    return None


def _missing_program(argv: Sequence[str]) -> str:
    """In words, exit code 127: the program, or one that it starts, as npm starts a runner that was never installed."""
    return (
        f"`{' '.join(argv)}` ended with exit code 127: {argv[0]}, or a program that it starts, is not available in "
        "the sandbox; install it, and the repository's dependencies, where its own tools look for them"
    )


def _tail(done: Completed) -> str:
    both = "\n".join(part.rstrip() for part in (done.stdout, done.stderr) if part.strip())
    return tail(both, _OUTPUT_TAIL)


def _by_exit_code(run: TestRun) -> TestRun:
    if run.exit_code == 0:
        return replace(run, status="passed", reason="exit code 0; how many tests ran is not known")
    return replace(run, reason=f"the command ended with exit code {run.exit_code}")


def _without_report(run: TestRun, problem: str | None) -> TestRun:
    if problem is not None:
        return replace(run, reason=problem)
    if run.exit_code == 0:
        return replace(run, reason="exit code 0, but no report was written: the runner was ended before its end")
    said = _PYTEST_CODES.get(run.exit_code or 0, f"the runner ended with exit code {run.exit_code}")
    return replace(run, reason=f"{_cause(run) or said}, and no report was written")


def _cause(run: TestRun) -> str:
    """What pytest says of why it did not begin; "" where it says nothing of the kind."""
    if run.exit_code != 4:
        return ""
    lines = [line for line in run.output_tail.splitlines() if line.strip()]
    if conftest := next((found[1] for line in lines if (found := _CONFTEST.search(line))), ""):
        raised = [line.removeprefix("E").strip() for line in lines if line.startswith("E   ")]
        return f"pytest could not load {conftest}: {_clipped(' '.join(raised[:3]) or lines[-1])}"
    errors = [line for line in lines if re.match(r"ERROR: (?!usage)|.*: error: ", line)]
    return f"pytest did not begin: {_clipped(errors[0])}" if errors else ""


def _clipped(text: str) -> str:
    return text if len(text) <= _REASON else f"{text[:_REASON]}…"


def _with_missing_variables(run: TestRun) -> TestRun:
    """With the names of variables that the code wanted, where no test was run for want of them."""
    if run.status != "failed" or run.exit_code not in (2, 4):
        return run
    lines = [line for line in run.output_tail.splitlines() if line.strip()]
    last = max((number for number, line in enumerate(lines) if line.startswith("E   ")), default=-1)
    said = unset.told([line.removeprefix("E   ") for line in lines[: last + 1]])
    return replace(run, reason=f"{run.reason}; {said}") if said else run


def _by_report(run: TestRun, report: bytes, tree: Path, runner: str) -> TestRun:
    try:
        cases, claimed = read_report(report, _pytest_id(tree) if runner == "pytest" else _node_id)
    except ToolRetry as error:
        return replace(run, reason=str(error))
    known = replace(run, cases=cases, counts_known=True)
    status, reason = _judged(run.exit_code, cases, claimed)
    if status == "passed" and runner == "pytest" and (strange := _not_in_tree(cases, tree)):
        return replace(known, reason=f"the report names tests of a file that the repository does not have: {strange}")
    # pytest may write an empty report although it did not begin.
    return replace(known, status=status, reason=_cause(run) or reason)


def _judged(exit_code: int | None, cases: Sequence[TestCase], claimed: int) -> tuple[str, str]:
    """Status and reason from the exit code and the report together; a contradiction is a failure."""
    red = [case for case in cases if case.outcome in _RED]
    passed = sum(case.outcome == "passed" for case in cases)
    if not cases and exit_code in (0, 5):
        return "not run", "no tests were found"
    if exit_code == 0 and (red or claimed):
        return "failed", f"the exit code says success, but the report holds {len(red) or claimed} failures"
    if exit_code == 0:
        return ("passed", f"{passed} tests passed") if passed else ("not run", f"all {len(cases)} tests were skipped")
    if red and exit_code == 1:
        return "failed", f"{len(red)} of {len(cases)} tests failed"
    if exit_code == 1:
        return "failed", "no test failed, but the runner ended with exit code 1, as it does below a coverage limit"
    return "failed", f"{_PYTEST_CODES.get(exit_code or 0, f'the runner ended with exit code {exit_code}')}"


def _pytest_id(tree: Path) -> Callable[[dict[str, str], tuple[str, ...]], str]:
    """Makes pytest's own id from a case: the file where it is collected, its classes, its name with parameters."""

    def name(attributes: dict[str, str], _: tuple[str, ...]) -> str:
        case, dotted, file = (attributes.get(key, "") for key in ("name", "classname", "file"))
        if not dotted:  # a file that could not be collected: its dotted path stands as the name
            return _module_path(tree, case.split(".")) or case
        module = re.sub(r"\.py$", "", file).replace("/", ".")
        if file and (dotted == module or dotted.startswith(module + ".")):
            classes = dotted[len(module) + 1 :]
        else:  # the file is where an inherited test was written, not where it was collected
            file = _module_path(tree, dotted.split(".")) or dotted
            classes = dotted[len(re.sub(r"\.py$", "", file)) + 1 :]
        return "::".join([file, *(part for part in classes.split(".") if part), case])

    return name


def _module_path(tree: Path, parts: Sequence[str]) -> str | None:
    """The longest beginning of a dotted name that is a Python file of the tree."""
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length]) + ".py"
        if _is_in(tree, path):
            return path
    return None


def _is_in(tree: Path, path: str) -> bool:
    """Whether a path out of a report is a file of the tree; names that no file can have are not."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        return False
    try:
        return (tree / path).is_file()
    except (OSError, ValueError):
        return False


def _node_id(attributes: dict[str, str], suites: tuple[str, ...]) -> str:
    file = attributes.get("file", "")
    return "::".join(part for part in (file, *suites, attributes.get("name", "")) if part)


def _not_in_tree(cases: Sequence[TestCase], tree: Path) -> str | None:
    """A file that cases name and the tree does not hold, which a real run cannot report."""
    for file in dict.fromkeys(case.id.partition("::")[0] for case in cases):
        if not _is_in(tree, file):
            return file
    return None
