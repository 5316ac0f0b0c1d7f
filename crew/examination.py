"""The finished change under every check: tests, their honesty, criteria, contract, security; what is found is recorded.

A check that could not be made says so in its own record; it never counts as one that found nothing.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend_crew.crew import databases, reporting, settings, verdict
from backend_crew.crew.artifacts import Design, Requirements, TestReport
from backend_crew.crew.session import Session
from backend_crew.tools import git, testrun
from backend_crew.tools.audit import check as audit_check
from backend_crew.tools.audit.guards import guarded
from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.contract import check as contract_check
from backend_crew.tools.contract.exercise import Bounds as ExerciseBounds
from backend_crew.tools.contract.exercise import Subject, exercise
from backend_crew.tools.contract.operations import operations_of
from backend_crew.tools.contract.static_routes import scan_routes
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolError
from backend_crew.tools.honesty.examine import Bounds, Change, Examined, examine
from backend_crew.tools.migrators.protocol import Pointing
from backend_crew.tools.sandbox import Limits, NoSandbox
from backend_crew.tools.scratches import Place

Payload = dict[str, Any]

QUICK = "quick"
#: How long all trials may take together, as a multiple of one run of the tests, and in seconds at least and at most.
_TRIALS, _LEAST, _MOST = 2.5, 10.0, 300.0


def verified(session: Session) -> Payload:
    """A fresh verdict on the tree as it is now, with what every check found."""
    tests = verdict.verified(session)
    return _examined(session, tests, tries=_tries(session, tests))


def standing(session: Session, run: testrun.TestRun) -> list[str]:
    """The errors that the checks find now, in words, after this run of the tests; nothing is run once more for it."""
    tests = verdict.judged(session, verdict.summarised(run))
    found = _examined(session, tests, tries=False)["findings"]
    return [reporting.finding_line(one) for one in found if one["severity"] == "error"]


def _examined(session: Session, tests: Payload, *, tries: bool) -> Payload:
    with _base(session) as base, ThreadPoolExecutor(1) as beside:
        # It only waits for a program of its own, while the tests wait for theirs.
        trial = beside.submit(_exercise, session, dict(tests), tries=tries)
        honest = _honesty(session, tests, base, tries=tries)
        tests |= verdict.without_lost(session.payload("baseline") or {}, tests, honest.accounted)
        criteria = _criteria(session, tests, honest)
        contract, of_contract = _contract(session, base)
        security, of_audit = _audit(session, base)
        tried, of_trial = trial.result()
    found = [*honest.findings, *_missing(tests), *_not_shown(tests, criteria), *of_contract, *of_trial, *of_audit]
    record = {
        "criteria": criteria,
        "findings": [vars(one) for one in dict.fromkeys(found)],
        "checks": {
            "mutation": _mutation(honest),
            "contract": contract,
            "application": tried,
            "security": security,
        },
    }
    return {**tests, **session.redact.deep(record)}


@contextlib.contextmanager
def _base(session: Session) -> Iterator[Path]:
    """The tree before the change, in a folder of ours."""
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        tree = Path(folder) / "tree"
        git.export(session.clone, session.clone.base, tree)
        yield tree


def _changed(session: Session) -> list[str]:
    return [one.path for one in git.changes(session.clone, session.clone.base)]


def _tries(session: Session, tests: Mapping[str, Any]) -> bool:
    """Whether tests and application are run once more: not where the person wants it quick, nor on a red tree."""
    return session.run.options.get("checks") != QUICK and tests.get("verdict") in ("green", "unclear")


def _seconds(tests: Mapping[str, Any]) -> float:
    return min(_MOST, max(_LEAST, _TRIALS * float(tests.get("seconds") or 0.0)))


def _honesty(session: Session, tests: Mapping[str, Any], base: Path, *, tries: bool) -> Examined:
    requirements, report = session.only(Requirements), session.only(TestReport)
    before = (session.payload("baseline") or {}).get("cases") or {}
    change = Change(
        base=base,
        tree=session.clone.tree,
        paths=_changed(session),
        before=before,
        after=tests.get("cases") or {},
        criteria=[one.id for one in requirements.criteria] if requirements else [],
        named={one.criterion: one.tests for one in report.shown} if report else {},
    )
    bounds = Bounds(seconds=_seconds(tests))
    runs = tries and session.tests is not None and not isinstance(session.sandbox, NoSandbox)

    def run(tree: Path, paths: Sequence[str], limit: float) -> testrun.TestRun:
        assert session.tests is not None
        session.note("trial", what="the tests of the change, on the code before it or with a fault in the code")
        return testrun.run_tests(
            session.sandbox,
            tree,
            session.root,
            session.runtime,
            session.tests,
            paths=paths,
            limits=Limits(timeout_s=limit),
            stop=lambda: bool(session.stop),
        )

    return examine(change, run if runs else None, bounds)


def _mutation(honest: Examined) -> Payload:
    """How many small faults in the changed lines the tests noticed, and which they did not."""
    tried = honest.mutation
    survivors = [
        {"path": one.mutant.path, "line": one.mutant.line, "change": f"{one.mutant.was} → {one.mutant.now}"}
        for one in tried.tried
        if one.outcome == "survived"
    ]
    counted = {name: tried.count(name) for name in ("killed", "survived", "unknown")}
    return {**counted, "possible": tried.possible, "reason": tried.reason, "survivors": survivors}


def _criteria(session: Session, tests: Mapping[str, Any], honest: Examined) -> list[Payload]:
    """Each criterion with its tests and their recorded outcome, the lines that do it, and why it is not shown."""
    requirements, report = session.only(Requirements), session.only(TestReport)
    named = {one.criterion: one.tests for one in report.shown} if report else {}
    # Of a run that only gave its exit code it is not known which tests it held.
    cases, otherwise = tests.get("cases", {}), "not run"
    if tests.get("status") != "not run" and not tests.get("counts_known"):
        otherwise = reporting.UNKNOWN
    traced = {one.id: one for one in honest.criteria}
    rows = []
    for one in requirements.criteria if requirements else ():
        judged = traced[one.id]
        rows.append(
            {
                "id": one.id,
                "text": one.text,
                "tests": [{"id": test, "outcome": cases.get(test, otherwise)} for test in named.get(one.id, ())],
                "shown": judged.status == "shown",
                "reason": judged.reason,
                "lines": list(judged.lines),
            }
        )
    return rows


def _missing(tests: Mapping[str, Any]) -> Iterator[ChangeFinding]:
    for name in (tests.get("against") or {}).get("missing", ()):
        path = str(name).partition("::")[0]
        text = f"{name} ran before the change and did not run after it"
        yield ChangeFinding("tests", "test-missing", "error", path, 0, text, "bring the test back, or say why it goes")


def _not_shown(tests: Mapping[str, Any], criteria: Sequence[Mapping[str, Any]]) -> Iterator[ChangeFinding]:
    """Criteria that no test shows; where none ran, or none is known one by one, that is said elsewhere, and is no error."""
    if tests["verdict"] == "not run":
        return
    for row in criteria:
        if not row["shown"] and {test["outcome"] for test in row["tests"]} != {reporting.UNKNOWN}:
            text = f"{row['id']} is not shown by a passing test: {row['reason']}"
            yield ChangeFinding("tests", "criterion-not-shown", "error", "", 0, text, "write a test that shows it")


def _contract(session: Session, base: Path) -> tuple[Payload, Sequence[ChangeFinding]]:
    """The interface that the tree has against the approved one."""
    design = session.only(Design)
    if design is None or not design.api.document or design.api.kind not in ("openapi", "graphql"):
        return {"status": "not compared", "reason": _why_none(design)}, ()
    kind: contract_check.Kind = "graphql" if design.api.kind == "graphql" else "openapi"
    place, before = databases.place(session), databases.place(session, base)
    try:
        done = contract_check.check(design.api.document, place, before, kind=kind, env=session.sandbox_env)
    except ToolError as error:
        return {"status": "not compared", "reason": str(error)}, ()
    facts = {name: getattr(done, name) for name in ("status", "reason", "source", "framework", "operations")}
    return facts, done.findings


def _why_none(design: Design | None) -> str:
    """Why there is no contract to hold the code against."""
    if design is None or not design.api.document:
        return (design.api.reason if design else None) or "the design promises no interface"
    return f"a contract of kind {design.api.kind} is not compared with the code"


def _openapi(session: Session) -> str:
    """The approved OpenAPI document, or "" where there is none."""
    design = session.only(Design)
    return design.api.document if design is not None and design.api.kind == "openapi" else ""


def _exercise(session: Session, tests: Mapping[str, Any], *, tries: bool) -> tuple[Payload, Sequence[ChangeFinding]]:
    """The application started on a scratch database, and the promised operations called."""
    document = _openapi(session)
    if not document:
        return {"status": "not run", "reason": "no OpenAPI document was approved, so no call can be made from it"}, ()
    if not tries:
        why = "quick checks were asked for" if tests.get("verdict") == "green" else "the tests are not green"
        return {"status": "not run", "reason": why}, ()
    place = databases.place(session)
    session.note("trial", what="the application is started and called")
    try:
        subject = place if isinstance(place, NoSandbox) else _subject(session, place)
        done = exercise(document, subject, bounds=ExerciseBounds(seconds=round(_seconds(tests))))
    except ToolError as error:
        return {"status": "not run", "reason": str(error)}, ()
    facts = {name: getattr(done, name) for name in ("status", "reason", "called", "generated", "fuzz_reason")}
    return facts, done.findings


def _subject(session: Session, place: Place) -> Subject:
    name = session.database_env
    pointing = Pointing((name,) if name else (), session.sandbox_env)
    return Subject(place, databases.migrator(session), pointing, settings.tool_environment("schemathesis"))


def _audit(session: Session, base: Path) -> tuple[Payload, Sequence[ChangeFinding]]:
    """What the change brings in that an attacker could use."""
    design, tree = session.only(Design), session.clone.tree
    reasons = {one.name: one.reason for one in design.new_dependencies} if design else {}
    routes = audit_check.Routes(guarded(scan_routes(base)), guarded(scan_routes(tree)), _public(session))
    done = audit_check.audit(base, tree, _changed(session), reasons=reasons, routes=routes)
    facts = {name: value for name, value in asdict(done).items() if name != "findings"}
    return facts, done.findings


def audited(session: Session) -> str:
    """What the security rules find in the change as it is now, for those who judge it; only a person dismisses it."""
    with _base(session) as base:
        _, found = _audit(session, base)
    clean = [session.redact.deep(vars(one)) for one in found]
    return "\n".join(f"- {reporting.finding_line(one)}" for one in clean)


def _public(session: Session) -> frozenset[tuple[str, str]]:
    """The operations that the approved contract opens to everyone."""
    text = _openapi(session)
    if not text:
        return frozenset()
    with contextlib.suppress(ToolError):
        document = read_document(text)
        if isinstance(document, Mapping):
            return frozenset(one.key for one in operations_of(document) if not one.protected)
    return frozenset()
