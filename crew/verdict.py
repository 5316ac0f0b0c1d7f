"""Test runs of the private tree, and what they mean against the run before the change."""

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backend_crew.crew import choosing
from backend_crew.crew.reporting import in_words
from backend_crew.crew.session import Session
from backend_crew.tools import git, testrun
from backend_crew.tools.sandbox import Limits
from backend_crew.tools.stack import detect

LIMITS = Limits(timeout_s=600)
#: Failing tests are run again, together and without the others; more of them at once are no matter of luck.
RERUNS, RERUN_TESTS, RERUN_LIMITS = 2, 10, Limits(timeout_s=180)
_RED = ("failed", "error")
#: Runs the others.
_HOOKS = "pre-commit"


def run_tests(session: Session, paths: Sequence[str] = ()) -> testrun.TestRun:
    """Run the repository's tests on a disposable copy of the private tree; what they said comes without secrets."""
    tree = "" if paths else git.tree_now(session.clone)
    run = _run(session, paths, LIMITS)
    if session.tests is not None:
        session.note("tests", status=run.status, reason=run.reason, counts=counts(run), seconds=round(run.seconds, 1))
    if not paths:
        session.tested = (tree, run)
    return run


def run_as_it_is(session: Session) -> testrun.TestRun:
    """All tests on the tree as it is: the run that a hand-in was judged by, if nothing was changed since, else a new one."""
    if session.tested is not None and session.tested[0] == git.tree_now(session.clone):
        return session.tested[1]
    return run_tests(session)


def _run(session: Session, paths: Sequence[str], limits: Limits) -> testrun.TestRun:
    if session.tests is None:
        return testrun.not_run(choosing.unconfirmed(session.clone.tree))
    run = testrun.run_tests(
        session.sandbox,
        session.clone.tree,
        session.root,
        session.runtime,
        session.tests,
        paths=paths,
        limits=limits,
        stop=lambda: bool(session.stop),
    )
    return _without_secrets(session, run)


def run_again(session: Session, run: testrun.TestRun, ids: Sequence[str]) -> dict[str, list[str]]:
    """Failed tests that also passed when they were run again, each with its outcomes in order."""
    if not run.complete or not ids or len(ids) > RERUN_TESTS:
        return {}
    outcomes = {name: ["failed"] for name in ids}
    for _ in range(RERUNS):
        again = {case.id: case.outcome for case in _run(session, ids, RERUN_LIMITS).cases}
        for name, seen in outcomes.items():
            # What was not reported has not passed.
            seen.append("passed" if again.get(name) == "passed" else "failed")
    flaky = {name: seen for name, seen in outcomes.items() if "passed" in seen}
    session.note("failed tests run again", tests=len(ids), flaky=sorted(flaky))
    return flaky


def before_change(session: Session) -> dict[str, Any]:
    """The tests as they stand before the change, with those of the failing ones that sometimes pass."""
    run = run_tests(session)
    flaky = run_again(session, run, [case.id for case in run.cases if case.outcome in _RED])
    return {**summarised(run), **({"flaky": flaky} if flaky else {})}


def _without_secrets(session: Session, run: testrun.TestRun) -> testrun.TestRun:
    """A run as all that comes after may use it, ids included: they are compared with recorded ones."""
    clean = session.redact
    cases = tuple(replace(case, id=clean(case.id), message=clean(case.message)) for case in run.cases)
    return replace(run, cases=cases, reason=clean(run.reason), output_tail=clean(run.output_tail))


def run_check(session: Session) -> dict[str, Any] | None:
    """The check command that the person named, on the tree as it is; None where there is none."""
    named = session.run.options.get("check_command")
    if not named:
        return None
    argv = testrun.with_interpreter(tuple(named), session.runtime)
    tree, stop = session.clone.tree, session.stop
    run = testrun.run_check(
        session.sandbox, tree, session.root, session.runtime, argv, limits=LIMITS, stop=lambda: bool(stop)
    )
    run = _without_secrets(session, run)
    session.note("check", status=run.status, reason=run.reason, seconds=round(run.seconds, 1))
    return {
        "status": run.status,
        "reason": run.reason,
        "command": in_words(argv),
        "output_tail": run.output_tail[-3000:] if run.status == "failed" else "",
    }


def linters(session: Session) -> list[dict[str, Any]]:
    """Linters and type checkers that the repository declares, each with the line that says so."""
    found: dict[str, dict[str, Any]] = {}
    for fact in detect(session.clone.tree):
        if fact.kind == "lint" and not session.workspace.hides(fact.path):
            found.setdefault(fact.value, {"name": fact.value, "path": fact.path, "line": fact.line})
    return list(found.values())


def unchecked(session: Session) -> list[dict[str, Any]]:
    """Those of the recorded linters that this run's check command does not name."""
    known = (session.payload("baseline") or {}).get("linters", ())
    named = " ".join(session.run.options.get("check_command") or ())
    if re.search(_word(_HOOKS), named):
        return []
    return [one for one in known if one["name"] != _HOOKS and not re.search(_word(one["name"]), named)]


def _word(name: str) -> str:
    return rf"(?<![\w-]){re.escape(name)}(?![\w-])"


def check_problem(session: Session) -> str | None:
    """What the check command has against the tree as it is; what it had before the change does not count."""
    now = run_check(session)
    before = (session.payload("baseline") or {}).get("check") or {}
    if now is None or now["status"] != "failed" or before.get("status") == "failed":
        return None
    return f"`{now['command']}`: {now['reason']}, and it held before the change\n{now['output_tail']}"


def clipped(text: str, limit: int) -> str:
    """A message's beginning and end, where a failure says most; what is left out is marked."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 3]}\n[… {len(text) - limit} characters …]\n{text[-(limit - limit // 3) :]}"


def counts(run: testrun.TestRun) -> dict[str, int]:
    """Cases by outcome."""
    result = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for case in run.cases:
        result[case.outcome] += 1
    return result


def summarised(run: testrun.TestRun) -> dict[str, Any]:
    """A run as it is recorded: verdict, counts, and every case's outcome."""
    return {
        "status": run.status,
        "reason": run.reason,
        "counts_known": run.counts_known,
        "counts": counts(run),
        "cases": {case.id: case.outcome for case in run.cases},
        "messages": {case.id: case.message for case in run.cases if case.outcome in _RED},
        "command": list(run.command),
        "seconds": round(run.seconds, 2),
        "exit_code": run.exit_code,
        "complete": run.complete,
        "output_tail": run.output_tail[-2000:] if run.status == "failed" else "",
    }


def against(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """What changed between two recorded runs, by test id; nothing is known unless both counted their tests.

    A test that failed and is new counts as newly failing, and so does one that sometimes passed before and now fails each
    time; one that ran before and is skipped now counts as missing.
    """
    known = bool(now.get("counts_known")) and baseline.get("counts_known") is not False
    before, after = (baseline.get("cases", {}), now.get("cases", {})) if known else ({}, {})
    unsteady = baseline.get("flaky", {})
    worse = {i for i in unsteady if i not in now.get("flaky", {})}
    failed = {i for i, o in before.items() if o in _RED}
    red = [i for i, o in after.items() if o in _RED]
    return {
        "newly failing": sorted(i for i in red if i not in failed or i in worse),
        "already failing": sorted(i for i in red if i in failed and i not in worse),
        "newly passing": sorted(i for i, o in after.items() if o == "passed" and i in failed and i not in unsteady),
        "missing": sorted(i for i, o in before.items() if o != "skipped" and after.get(i, "skipped") == "skipped"),
        "new tests": sorted(i for i in after if i not in before),
    }


def blamed(session: Session, run: testrun.TestRun) -> tuple[list[testrun.TestCase], int]:
    """The red cases that were not red before the change, and how many are as red as they were."""
    red = [case for case in run.cases if case.outcome in ("failed", "error")]
    old = set(against(session.payload("baseline") or {}, summarised(run))["already failing"])
    new = [case for case in red if case.id not in old]
    return new, len(red) - len(new)


def as_before(number: int) -> str:
    """A line about failures that nobody has to mend, or nothing."""
    return (
        f"{number} tests that failed before the change fail as they did; they are not yours to repair" if number else ""
    )


def _by_exit_code(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    if now["status"] == "passed" and baseline.get("counts_known"):
        return "unclear", f"{now['reason']}; before the change each test was known, and now none is"
    if now["status"] == "passed":
        return "green", "exit code 0, counts unknown"
    if baseline.get("status") == "failed":
        return "unclear", f"{now['reason']}, as it did before the change; which tests fail is not known"
    return "red", str(now["reason"])


def without_lost(baseline: Mapping[str, Any], now: Mapping[str, Any], accounted: Collection[str]) -> dict[str, Any]:
    """The verdict once tests are no loss that are gone for a reason which the code shows: a rename, a split."""
    compared = {**now["against"], "missing": [one for one in now["against"]["missing"] if one not in accounted]}
    word, reason = verdict(baseline, now, compared)
    return {"verdict": word, "why": reason, "against": compared}


def verdict(
    baseline: Mapping[str, Any], now: Mapping[str, Any], compared: Mapping[str, list[str]] | None = None
) -> tuple[str, str]:
    """'green', 'red', 'unclear' or 'not run', and why; what failed before the change does not count against it."""
    if now["status"] == "not run":
        return "not run", str(now["reason"])
    if not now["counts_known"]:
        return _by_exit_code(baseline, now)
    change, flaky = against(baseline, now) if compared is None else compared, now.get("flaky", {})
    failing = [name for name in change["newly failing"] if name not in flaky]
    if failing:
        return "red", f"{len(failing)} tests fail that did not fail before"
    if change["missing"]:
        return "red", f"{len(change['missing'])} tests that ran before the change did not run"
    if unsteady := [name for name in change["newly failing"] if name in flaky]:
        return (
            "unclear",
            f"flaky: {_named(unsteady)} failed, then passed alone; before the change nothing was seen of it",
        )
    if now["status"] == "passed":
        return "green", "every test passes" + _not_run(now)
    if change["already failing"] and now["complete"]:
        told = f"; flaky before and now: {_named(sorted(flaky))}" if flaky else ""
        failed = len(change["already failing"])
        return "green", f"only tests fail that failed before the change ({failed}){told}{_not_run(now)}"
    return "red", str(now["reason"])


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _not_run(now: Mapping[str, Any]) -> str:
    """Which tests had no server to talk to, in the words of the run."""
    return f"; {now['reason']}" if "not run:" in str(now["reason"]) else ""


def _keep_report(session: Session, run: testrun.TestRun) -> None:
    """Put the test runner's report into the run's folder, without secrets; one that is not UTF-8 could hide them."""
    with contextlib.suppress(UnicodeDecodeError):
        if run.junit:
            text = session.redact(run.junit.decode("utf-8"))
            (session.folder / "junit.xml").write_text(text, encoding="utf-8", newline="")


def verified(session: Session) -> dict[str, Any]:
    """The verdict on the tree as it is now."""
    run, before = run_as_it_is(session), session.payload("baseline") or {}
    _keep_report(session, run)
    now = summarised(run)
    # What counts against the change, and what was unsteady before: it may fail for good now.
    flaky = run_again(session, run, against(before, now)["newly failing"])
    now |= {"flaky": flaky} if flaky else {}
    return {**judged(session, now), "check": run_check(session)}


def judged(session: Session, now: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded run with its verdict against the one before the change."""
    before = session.payload("baseline") or {}
    word, reason = verdict(before, now)
    return {**now, "verdict": word, "why": reason, "against": against(before, now)}
