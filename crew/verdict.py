"""Test runs of the private tree, and what they mean against the run before the change."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from backend_crew.crew import choosing
from backend_crew.crew.reporting import in_words
from backend_crew.crew.session import Session
from backend_crew.tools import testrun
from backend_crew.tools.sandbox import Limits

LIMITS = Limits(timeout_s=600)


def run_tests(session: Session, paths: Sequence[str] = ()) -> testrun.TestRun:
    """Run the repository's tests on a disposable copy of the private tree; what they said comes without secrets."""
    if session.tests is None:
        return testrun.not_run(choosing.unconfirmed(session.clone.tree))
    run = testrun.run_tests(
        session.sandbox,
        session.clone.tree,
        session.root,
        session.runtime,
        session.tests,
        paths=paths,
        limits=LIMITS,
        stop=lambda: bool(session.stop),
    )
    run = _without_secrets(session, run)
    session.note("tests", status=run.status, reason=run.reason, counts=counts(run), seconds=round(run.seconds, 1))
    return run


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
        "messages": {case.id: case.message for case in run.cases if case.outcome in ("failed", "error")},
        "command": list(run.command),
        "seconds": round(run.seconds, 2),
        "exit_code": run.exit_code,
        "complete": run.complete,
        "output_tail": run.output_tail[-2000:] if run.status == "failed" else "",
    }


def against(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """What changed between two recorded runs, by test id; nothing is known unless both counted their tests.

    A test that failed and is new counts as newly failing; one that ran before and is skipped now counts as missing.
    """
    known = bool(now.get("counts_known")) and baseline.get("counts_known") is not False
    before, after = (baseline.get("cases", {}), now.get("cases", {})) if known else ({}, {})
    red = ("failed", "error")
    return {
        "newly failing": sorted(i for i, o in after.items() if o in red and before.get(i) not in red),
        "already failing": sorted(i for i, o in after.items() if o in red and before.get(i) in red),
        "newly passing": sorted(i for i, o in after.items() if o == "passed" and before.get(i) in red),
        "missing": sorted(i for i, o in before.items() if o != "skipped" and after.get(i, "skipped") == "skipped"),
        "new tests": sorted(i for i in after if i not in before),
    }


def _by_exit_code(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    if baseline.get("counts_known"):
        return "unclear", f"{now['reason']}; before the change each test was known, and now none is"
    if now["status"] == "passed":
        return "green", "exit code 0, counts unknown"
    if baseline.get("status") == "failed":
        return "unclear", f"{now['reason']}, as it did before the change; which tests fail is not known"
    return "red", str(now["reason"])


def verdict(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    """'green', 'red', 'unclear' or 'not run', and why; what failed before the change does not count against it."""
    if now["status"] == "not run":
        return "not run", str(now["reason"])
    if not now["counts_known"]:
        return _by_exit_code(baseline, now)
    change = against(baseline, now)
    if change["newly failing"]:
        return "red", f"{len(change['newly failing'])} tests fail that did not fail before"
    if change["missing"]:
        return "red", f"{len(change['missing'])} tests that ran before the change did not run"
    if now["status"] == "passed":
        return "green", "every test passes"
    if change["already failing"] and now["complete"]:
        return "green", f"only tests fail that failed before the change ({len(change['already failing'])})"
    return "red", str(now["reason"])


def _keep_report(session: Session, run: testrun.TestRun) -> None:
    """Put the test runner's report into the run's folder, without secrets; one that is not UTF-8 could hide them."""
    with contextlib.suppress(UnicodeDecodeError):
        if run.junit:
            text = session.redact(run.junit.decode("utf-8"))
            (session.folder / "junit.xml").write_text(text, encoding="utf-8", newline="")


def verified(session: Session) -> dict[str, Any]:
    """A fresh verdict on the tree as it is now."""
    now, before = summarised(run := run_tests(session)), session.payload("baseline") or {}
    _keep_report(session, run)
    word, reason = verdict(before, now)
    compared = against(before, now)
    return {**now, "verdict": word, "why": reason, "against": compared, "check": run_check(session)}
