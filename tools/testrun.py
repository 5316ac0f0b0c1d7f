"""A repository's tests, run in the sandbox; the verdict comes from the exit code and the report file, never from text.

What is left: test code runs in the test runner's own process, so it can learn the report's name and forge a whole
report. Contradictions are caught (code, report, and the tests that the tree holds); a consistent forgery shows in the
diff of the test files alone.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from backend_crew.tools import unset
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.excerpt import tail
from backend_crew.tools.junit import TestCase, written
from backend_crew.tools.process import Completed
from backend_crew.tools.runners.find import Found, runner_of
from backend_crew.tools.runners.protocol import Place, Plan, Report, Runner, TestCommand, is_python, split_id
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Box, Limits, NoSandbox, Sandbox
from backend_crew.tools.services import NOT_STARTED, Services, not_reached, services_for, words
from backend_crew.tools.testcommand import find_command, label_path, propose_checks, propose_commands, with_interpreter

__all__ = [
    "TestCase",
    "TestCommand",
    "TestRun",
    "find_command",
    "label_path",
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
_NO_LOOPBACK = (
    "no loopback: tests failed after asking for a network, and the sandbox that works here has none of its own, so "
    "whether they fail for that reason is not known; `backend-crew doctor` says what to change"
)


@dataclass(frozen=True)
class TestRun:
    """One run: `status` "passed", "failed" or "not run" with its reason; `junit` is the report, or what it says as one in JUnit XML.

    Where `counts_known` is false there are no cases, and the exit code is all that is known. `complete`: every test that
    was found ran to its end, and exit code and report agree on how.
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
    complete: bool = False
    services: tuple[str, ...] = ()


def not_run(reason: str) -> TestRun:
    """A run that did not happen, and why."""
    return TestRun("not run", reason)


def reports(command: TestCommand, tree: Path) -> bool:
    """Whether a report of the command is read, so that tests are known one by one and can be run by path."""
    return runner_of(command.argv, tree) is not None


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
    known = runner_of(command.argv, tree)
    runner = known.runner if known else None
    plan = _plan(command, known, paths)
    limits = limits or Limits()
    if runner and plan.report is None:
        limits = replace(limits, output_bytes=_REPORT_LIMIT)
    try:
        servers = services_for(tree, sandbox, runtime, at)
        given = {**servers.env, **(env or {})}
        with sandbox.box(tree, at, servers.runtime, layered=True) as box:
            done = box.run((*servers.before, *plan.argv), env=given, limits=limits, stop=stop, unix_sockets=True)
            found = _read_report(box, plan, done) if runner else None
            missing = _missing_runner(box, runner, command, found, done)
            place = Place(tree, box.layout.at)
    except ToolRetry as error:
        return not_run(str(error))
    run = TestRun(
        status="failed",
        reason="",
        services=servers.started,
        exit_code=done.exit_code,
        command=plan.shown,
        seconds=done.seconds,
        output_tail=_tail(done),
        junit=found if isinstance(found, bytes) and found.startswith(b"<?xml") else None,
    )
    if done.stopped:
        return replace(run, status="not run", reason="stopped before the tests ended")
    if missing := missing or _no_server(done):
        return replace(run, status="not run", reason=missing)
    if done.timed_out or done.overfull:
        return replace(run, reason=_cut_short(done, "tests"))
    judged = _without_servers(_with_missing_variables(_judge(run, found, place, runner, paths)), servers)
    if judged.status == "failed" and done.network_refused and not sandbox.loopback:
        return replace(judged, status="not run", reason=_NO_LOOPBACK)
    return judged


def _no_server(done: Completed) -> str | None:
    if done.exit_code == 125 and done.stderr.startswith(NOT_STARTED):
        return done.stderr.strip()[:600]
    return None


def _without_servers(run: TestRun, servers: Services) -> TestRun:
    """With the tests that failed for want of a server that cannot be had as not run; the others decide."""
    cases = tuple(
        replace(case, outcome="skipped", message=f"not run: {words(servers)}") if not_reached(case, servers) else case
        for case in run.cases
    )
    if cases == run.cases:
        return run
    left = sum(one != two for one, two in zip(cases, run.cases, strict=True))
    red, passed = (sum(case.outcome in wanted for case in cases) for wanted in (_RED, ("passed",)))
    reason = f"{left} of {len(cases)} tests not run: {words(servers)}"
    if red or not run.complete:
        return replace(run, cases=cases, reason=f"{red} of {len(cases)} tests failed; {reason}" if red else run.reason)
    return replace(run, cases=cases, status="passed" if passed else "not run", reason=reason)


def _plan(command: TestCommand, known: Found | None, paths: Sequence[str]) -> Plan:
    if known is None:  # what it would make of a path is not known
        return Plan(command.argv, None, command.argv)
    # The name cannot be guessed by code that was written before the run.
    plan = known.runner.plan(known.argv, paths, f".report-{secrets.token_hex(16)}.xml")
    if known.argv == command.argv:
        return plan
    return Plan((*known.before, *plan.argv), plan.report, (*command.argv, *paths))


def _judge(
    run: TestRun, found: bytes | str | None, place: Place, runner: Runner | None, paths: Sequence[str]
) -> TestRun:
    if runner is None:
        return _by_exit_code(run)
    if not isinstance(found, bytes):
        return _without_report(run, found, runner)
    return _by_report(run, found, place, runner, paths)


def _cut_short(done: Completed, what: str) -> str:
    if done.overfull:
        return f"the {what} wrote more to the disk than they may, and were ended"
    return f"the {what} did not end within {done.seconds:.0f} s"


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


def _read_report(box: Box, plan: Plan, done: Completed) -> bytes | str | None:
    """The report's bytes, None where there is none, or why it cannot be read."""
    if plan.report is None:
        return (
            "the tests printed more than is kept, and their output is the report"
            if done.truncated
            else done.stdout.encode()
        )
    try:
        return box.read(plan.report, _REPORT_LIMIT)
    except ToolError as error:
        return f"the report cannot be read: {error}"


def _missing_runner(
    box: Box, runner: Runner | None, command: TestCommand, report: bytes | str | None, done: Completed
) -> str | None:
    """Why nothing was run, where the runner itself is not there."""
    if done.exit_code == 127:
        return _missing_program(command.argv)
    module = runner.module if runner else ""
    if not module or report or done.exit_code != 1 or not is_python(command.argv):
        return None
    look = f"import importlib.util, sys; sys.exit(0 if importlib.util.find_spec({module!r}) else 3)"
    interpreter = command.argv[: command.argv.index("-m")] if "-m" in command.argv else command.argv[:1]
    if box.run((*interpreter, "-c", look), limits=Limits(timeout_s=30)).exit_code == 3:
        return f"{module} is not installed for {command.argv[0]}; install the repository's test dependencies"
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


def _without_report(run: TestRun, problem: str | None, runner: Runner) -> TestRun:
    if problem is not None:
        return replace(run, reason=problem)
    if run.exit_code == 0:
        return replace(run, reason="exit code 0, but no report was written: the runner was ended before its end")
    said = runner.cause(run.exit_code, run.output_tail) or _meaning(runner, run.exit_code)
    return replace(run, reason=f"{said}, and no report was written")


def _meaning(runner: Runner, exit_code: int | None) -> str:
    return runner.codes.get(exit_code or 0, f"the runner ended with exit code {exit_code}")


def _with_missing_variables(run: TestRun) -> TestRun:
    """With the names of variables that the code wanted, where no test was run for want of them."""
    if run.status != "failed" or run.exit_code not in (2, 4):
        return run
    lines = [line for line in run.output_tail.splitlines() if line.strip()]
    last = max((number for number, line in enumerate(lines) if line.startswith("E   ")), default=-1)
    said = unset.told([line.removeprefix("E   ") for line in lines[: last + 1]])
    return replace(run, reason=f"{run.reason}; {said}") if said else run


def _by_report(run: TestRun, data: bytes, place: Place, runner: Runner, paths: Sequence[str]) -> TestRun:
    try:
        report = _asked(runner.read(data, place), paths)
    except ToolRetry as error:
        return replace(run, reason=str(error))
    if not report.counted:
        return _by_exit_code(run)
    known = replace(run, cases=report.cases, counts_known=True, junit=run.junit or written(report.cases))
    if report.problem:
        return replace(known, reason=report.problem)
    status, reason = _judged(run.exit_code, report, runner)
    if status == "passed" and runner.names_files and (strange := _not_in_tree(report.cases, place)):
        return replace(known, reason=f"the report names tests of a file that the repository does not have: {strange}")
    whole = status == "passed" or (status == "failed" and _is_red(run.exit_code, runner) and _red(report) > 0)
    # pytest may write an empty report although it did not begin.
    cause = "" if report.cases else runner.cause(run.exit_code, run.output_tail)
    return replace(known, status=status, reason=cause or reason, complete=whole)


def _asked(report: Report, paths: Sequence[str]) -> Report:
    """Without what some runners report as skipped because single tests were asked for."""
    if not any("::" in path for path in paths):
        return report
    asked = tuple(f"{path.rstrip('/')}{end}" for path in paths for end in ("::", "/"))
    cases = [one for one in report.cases if one.outcome != "skipped" or one.id in paths or one.id.startswith(asked)]
    return replace(report, cases=tuple(cases))


def _red(report: Report) -> int:
    return sum(case.outcome in _RED for case in report.cases)


def _is_red(exit_code: int | None, runner: Runner) -> bool:
    """Whether it is the exit code that follows failed tests."""
    return exit_code is not None and exit_code > 0 if runner.red is None else exit_code == runner.red


def _judged(exit_code: int | None, report: Report, runner: Runner) -> tuple[str, str]:
    """Status and reason from the exit code and the report together; a contradiction is a failure."""
    cases, red = report.cases, _red(report)
    passed = sum(case.outcome == "passed" for case in cases)
    if not cases and not report.claimed and exit_code in runner.none_found:
        return "not run", "no tests were found"
    if exit_code == 0 and (red or report.claimed):
        return "failed", f"the exit code says success, but the report holds {red or report.claimed} failures"
    if exit_code == 0:
        return ("passed", f"{passed} tests passed") if passed else ("not run", f"all {len(cases)} tests were skipped")
    if red and _is_red(exit_code, runner):
        return "failed", f"{red} of {len(cases)} tests failed"
    if exit_code == 1:
        return "failed", "no test failed, but the runner ended with exit code 1, as it does below a coverage limit"
    return "failed", _meaning(runner, exit_code)


def _not_in_tree(cases: Sequence[TestCase], place: Place) -> str | None:
    """A file that cases name and the tree does not hold, which a real run cannot report."""
    files = dict.fromkeys(split_id(case.id)[0] for case in cases)
    return next((file for file in files if not place.holds(file)), None)
