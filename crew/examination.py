"""What the checks say of the finished change, beside the tests' own verdict; an error keeps a run from being finished."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend_crew.crew import reporting, verdict
from backend_crew.crew.artifacts import Requirements, TestReport
from backend_crew.crew.session import Session
from backend_crew.tools.change_finding import ChangeFinding

Payload = dict[str, Any]


def verified(session: Session) -> Payload:
    """A fresh verdict on the tree as it is now, with what every check found."""
    tests = verdict.verified(session)
    criteria = criteria_of(session, tests)
    findings = [*_missing(tests), *_not_shown(criteria)]
    return {**tests, "criteria": criteria, "findings": [session.redact.deep(vars(one)) for one in findings]}


def blocking(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The recorded findings that only a repair or a person's acceptance settles."""
    return [one for one in payload.get("findings", ()) if one["severity"] == "error"]


def acceptable(payload: Mapping[str, Any]) -> bool:
    """Whether a person's acceptance would make the run a finished one: nothing that ran is newly red."""
    if payload.get("verdict") == "green":
        return True
    change = payload.get("against") or {}
    return bool(change.get("missing")) and not change.get("newly failing") and payload.get("status") == "passed"


def nothing_to_accept(payload: Mapping[str, Any]) -> str:
    """Why a person need not be asked about findings; empty where they have to be."""
    if not blocking(payload):
        return "no check found anything that would have to be accepted"
    if not acceptable(payload):
        return f"the tests are {payload.get('verdict')}, which no acceptance changes: {payload.get('why')}"
    return ""


def unsettled(payload: Mapping[str, Any], decision: Mapping[str, Any] | None) -> str:
    """Why the verdict and the findings keep a run from being finished; empty when they do not."""
    accepted = decision is not None and decision.get("verdict") == "approve"
    if payload.get("verdict") != "green" and not (accepted and acceptable(payload)):
        return f"tests: {payload.get('verdict')} - {payload.get('why')}"
    open_ones = blocking(payload)
    if open_ones and not accepted:
        more = f" and {len(open_ones) - 1} more" if len(open_ones) > 1 else ""
        return f"not accepted: {open_ones[0]['text']}{more}"
    return ""


def criteria_of(session: Session, tests: Mapping[str, Any]) -> list[Payload]:
    """Each criterion with the tests that show it and their recorded outcome."""
    requirements, report = session.only(Requirements), session.only(TestReport)
    shown = {one.criterion: one.tests for one in report.shown} if report else {}
    # Of a run that only gave its exit code it is not known which tests it held.
    cases, otherwise = tests.get("cases", {}), "not run"
    if tests.get("status") != "not run" and not tests.get("counts_known"):
        otherwise = reporting.UNKNOWN
    rows = []
    for one in requirements.criteria if requirements else ():
        named = [{"id": test, "outcome": cases.get(test, otherwise)} for test in shown.get(one.id, ())]
        passed = bool(named) and all(test["outcome"] == "passed" for test in named)
        rows.append({"id": one.id, "text": one.text, "tests": named, "shown": passed})
    return rows


def _missing(tests: Mapping[str, Any]) -> Iterator[ChangeFinding]:
    for name in (tests.get("against") or {}).get("missing", ()):
        path = str(name).partition("::")[0]
        text = f"{name} ran before the change and did not run after it"
        yield ChangeFinding(
            "tests", "test-missing", "error", path, 0, text, "bring the test back, or say why it had to go"
        )


def _not_shown(criteria: Sequence[Mapping[str, Any]]) -> Iterator[ChangeFinding]:
    """Criteria without a passing test; where no test is known one by one, that is said elsewhere, and is no error."""
    for row in criteria:
        outcomes = {test["outcome"] for test in row["tests"]}
        if row["shown"] or outcomes == {reporting.UNKNOWN}:
            continue
        how = ", ".join(f"{test['id']}: {test['outcome']}" for test in row["tests"]) or "no test was named for it"
        text = f"{row['id']} is not shown by a passing test ({how})"
        yield ChangeFinding("tests", "criterion-not-shown", "error", "", 0, text, "write a test that shows it")
