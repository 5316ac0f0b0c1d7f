"""What code checks before a hand-in counts; each check returns facts or raises ToolRetry naming every problem."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from backend_crew.crew import choosing, grounding, repairing, stages
from backend_crew.crew.artifacts import (
    AREAS,
    REQUIRED_TOPICS,
    Analysis,
    Artifact,
    ChangeSet,
    Design,
    Evidence,
    MigrationReview,
    PlannedFile,
    Question,
    Questions,
    Requirements,
    SecurityReview,
    TestReport,
)
from backend_crew.crew.evidence import check_absence, locate
from backend_crew.crew.permissions import NOT_YET, approved_design, layers_open_to, planned
from backend_crew.crew.roles import TaskSpec
from backend_crew.crew.session import Session
from backend_crew.crew.verdict import blamed, check_problem, run_as_it_is, summarised
from backend_crew.tools import definitions, git, openapi, search, syntax
from backend_crew.tools.contract.applications import find_applications
from backend_crew.tools.deny import is_read_denied, is_write_denied
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.importcheck import Beside
from backend_crew.tools.workspace import clean_path

_MISSING = re.compile(r"No module named '([\w.]+)'|cannot import name '\w+' from (?:\D*module )?'([\w.]+)'")
FOLLOW_UP_ROUNDS = 2

Facts = dict[str, Any]


def check(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    """The hand-in, corrected where code knows better, and the facts that go with it; raises ToolRetry."""
    return _CHECKS[type(value).__name__](session, task, value)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        shown = [*problems[:20], *([f"… and {len(problems) - 20} more"] if len(problems) > 20 else [])]
        raise ToolRetry("not accepted:\n" + "\n".join(f"- {problem}" for problem in shown))


def _analysis(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, Analysis)
    problems: list[str] = []
    if not value.has_backend:
        return value, {}
    topics = {finding.topic for finding in value.findings}
    problems += [f"no finding has the topic {topic!r}" for topic in REQUIRED_TOPICS if topic not in topics]
    findings = []

    def find(pattern: str) -> Sequence[search.Match]:
        hides = session.workspace.hides
        return search.search(session.clone.tree, pattern, limit=3, redact=session.redact, hides=hides)

    for finding in value.findings:
        with _collected(problems):
            check_absence(finding, find)
        evidence = tuple(_corrected(session, one, problems) for one in finding.evidence)
        findings.append(finding.model_copy(update={"evidence": evidence}))
    problems += [
        f"{path}: there is no such file" for path in value.relevant_files if not session.workspace.exists(path)
    ]
    _refuse(problems)
    moved = sum(a != b for old, new in zip(value.findings, findings, strict=True) for a, b in _pairs(old, new))
    return value.model_copy(update={"findings": tuple(findings)}), {
        "citations": sum(len(finding.evidence) for finding in findings),
        "line numbers corrected": moved,
    }


def _pairs(old: Any, new: Any) -> Any:
    return zip(old.evidence, new.evidence, strict=True)


def _corrected(session: Session, evidence: Evidence, problems: list[str]) -> Evidence:
    with _collected(problems):
        return locate(session.workspace, evidence)
    return evidence


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Keep the message of what is wrong, to go on and tell all at once."""
    try:
        yield
    except ToolError as error:
        problems.append(str(error))


def _questions(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, Questions)
    problems = _question_problems(value.items, "Q")
    source = _flat(f"{session.run.feature}\n{session.run.brief}")
    for settled in value.settled:
        if _flat(settled.quote) not in source:
            problems.append(f"{settled.area}: the quote {settled.quote!r} is not in the feature text or brief")
    covered = {item.area for item in value.items} | {item.area for item in value.settled}
    problems += [
        f"area {area!r}: ask about it, or mark it settled with a quote" for area in AREAS if area not in covered
    ]
    problems += _service_question(session, value)
    _refuse(problems)
    return value, {}


def _service_question(session: Session, value: Questions) -> list[str]:
    """Where several services could be meant, a person says which, unless the feature's own words are quoted for it."""
    folders, choice = grounding.services(session)
    if len(folders) < 2 or choice.service is not None:
        return []
    asked = any(sum(folder in " ".join(item.options) for folder in folders) > 1 for item in value.items)
    told = any(folder in settled.quote for settled in value.settled for folder in folders)
    if asked or told:
        return []
    return [
        f"{choice.reason}: ask with these folders as options, the likeliest recommended, or quote the words that settle it"
    ]


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _question_problems(items: Sequence[Question], letter: str) -> list[str]:
    problems = []
    expected = [f"{letter}{number}" for number in range(1, len(items) + 1)]
    if [item.id for item in items] != expected:
        problems.append(f"ids must be {', '.join(expected)}, found {', '.join(item.id for item in items)}")
    for item in items:
        if item.recommended not in item.options:
            problems.append(f"{item.id}: 'recommended' must be one of its options, word for word")
    return problems


def _requirements(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, Requirements)
    expected = [f"AC{number}" for number in range(1, len(value.criteria) + 1)]
    found = [criterion.id for criterion in value.criteria]
    problems = (
        [] if found == expected else [f"ids must be {expected[0]}, AC2, … without gaps, found {', '.join(found)}"]
    )
    problems += _question_problems(value.follow_up, "F")
    if value.follow_up and len(session.journal.gates(session.id, "answers")) > FOLLOW_UP_ROUNDS:
        problems.append("no more follow-up questions can be asked; decide, and say so in the criteria")
    _refuse(problems)
    return value, {}


def _design(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, Design)
    requirements = session.only(Requirements)
    known = {criterion.id for criterion in requirements.criteria} if requirements else set()
    covered = {one.criterion for one in value.coverage}
    problems = [f"{name}: not covered" for name in sorted(known - covered)]
    problems += [f"{name}: there is no such criterion" for name in sorted(covered - known)]
    problems += _contract_problems(value)
    seen: set[str] = set()
    for file in value.files:
        problems += _file_problems(session, file)
        if file.path in seen:
            problems.append(f"{file.path}: planned twice")
        seen.add(file.path)
    problems += _plan_problems(session, value)
    problems += [
        f"decision {one.title!r}: 'choice' must be one of its options"
        for one in value.decisions
        if one.choice not in one.options
    ]
    _refuse(problems)
    operations = openapi.operations(value.api.document) if value.api.kind == "openapi" else ()
    return value, {
        "endpoints": [{"method": one.method, "path": one.path, "summary": one.summary} for one in operations]
    }


def _contract_problems(value: Design) -> list[str]:
    if value.api.kind == "none":
        return [] if value.api.reason else ["api: kind none needs a reason"]
    if not value.api.document.strip():
        return [f"api: kind {value.api.kind} needs a document"]
    if value.api.kind != "openapi":
        return []
    return [f"api: {problem}" for problem in openapi.check_contract(value.api.document)]


def _file_problems(session: Session, file: PlannedFile) -> list[str]:
    try:
        path = clean_path(file.path.replace("*", "x"))
    except ToolError as error:
        return [str(error)]
    if reason := is_read_denied(path) or is_write_denied(path):
        return [f"{file.path}: {reason}"]
    if special := git.special_paths(session.clone).get(path):
        return [f"{file.path}: lies in a {special}, which this crew does not change"]
    if path.startswith("specs/"):
        return [f"{file.path}: specs/ is written from the records when the run ends; leave it out of the plan"]
    if "*" in file.path and not session.permissions.is_migration(path):
        return [f"{file.path}: only a new migration may have a * in its name"]
    exists = "*" not in file.path and session.workspace.exists(file.path)
    if file.action == "create" and exists:
        return [f"{file.path}: is to be created, but exists; plan to modify it"]
    if file.action != "create" and not exists:
        return [f"{file.path}: is to be changed, but there is no such file"]
    return []


def _plan_problems(session: Session, value: Design) -> list[str]:
    problems = []
    changed = [entity.name for entity in value.data_model.entities if entity.change != "unchanged"]
    plans_migration = any(session.permissions.is_migration(file.path.replace("*", "x")) for file in value.files)
    if session.migrations and value.migration.needed and not plans_migration:
        problems.append(
            f"a migration is needed, but no file of {session.migrations.name} is planned (a * may stand for its id)"
        )
    if session.migrations and changed and not value.migration.needed:
        problems.append(f"the data model changes {', '.join(changed)}, but no migration is planned")
    if value.migration.needed and not value.migration.steps:
        problems.append("a migration is needed, but has no steps")
    problems += grounding.off_plan(session, value)
    if session.tests and not any(file.layer == stages.TESTS for file in value.files):
        problems.append("no file of layer 'tests' is planned")
    return problems


def _change_set(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, ChangeSet)
    changes = git.changes(session.clone, session.start_commit)
    problems = [] if task.layer == stages.REPAIR else _left_unchanged(session, task)
    altered = altered_definitions(session, [change.path for change in changes])
    reasons = {(one.path, one.name): one.reason for one in value.altered} | _earlier_reasons(session)
    for one in altered:
        if (one.path, one.name) not in reasons:
            problems.append(
                f"existing {one.kind} `{one.name}` in {one.path}:{one.line} changed ({one.what}); give its reason in 'altered'"
            )
    known = {(one.path, one.name) for one in altered}
    touched = {change.path for change in git.changes(session.clone, session.clone.base)}
    for reason in value.altered:
        # what was only added to needs no reason, and one that is given does no harm
        if reason.path not in touched:
            problems.append(
                f"'altered' names {reason.name!r} in {reason.path}, which did not change; existing definitions that did: {sorted(known) or 'none'}"
            )
    paths = [change.path for change in changes if change.status != "deleted"]
    problems += [f"{one.path}:{one.line}: {one.text}" for one in _syntax(session, paths)]
    _refuse(problems or _check_command(session))
    if task.layer == stages.REPAIR:
        # Only now: what was sent back above was not tested, and comes again without another change.
        if repairing.verdict_before(session) == "red":
            repairing.refuse_unchanged_repair(session, changes)
        repairing.refuse_red_repair(session)
    needed = tuple(one for one in value.altered if (one.path, one.name) in known)
    return value.model_copy(update={"altered": needed}), {
        "files": [vars(change) for change in changes],
        "altered": [{**vars(one), "reason": reasons[one.path, one.name]} for one in altered],
    }


def _left_unchanged(session: Session, task: TaskSpec) -> list[str]:
    """Planned files of this layer that nothing has touched since the run began."""
    design = approved_design(session.journal, session.id, session.spec).design
    touched = {change.path for change in git.changes(session.clone, session.clone.base)}
    missing = []
    for file in design.files:
        done = any(planned(design, path) == file for path in touched)
        if file.layer == task.layer and not done:
            missing.append(f"{file.path}: planned ({file.action}: {file.purpose}), but unchanged")
    return missing


def altered_definitions(session: Session, paths: Sequence[str]) -> tuple[definitions.Altered, ...]:
    """Definitions that existed before the run and read differently now."""
    old, new = {}, {}
    for path in paths:
        before = git.show(session.clone, session.clone.base, path)
        if before is None:
            continue
        old[path] = before.decode("utf-8", "replace")
        if session.workspace.exists(path):
            new[path] = session.workspace.read_bytes(path).decode("utf-8", "replace")
    return definitions.altered(old, new)


def _earlier_reasons(session: Session) -> dict[tuple[str, str], str]:
    reasons = {}
    for output in session.journal.outputs(session.id):
        for one in output.payload.get("facts", {}).get("altered", ()):
            reasons[one["path"], one["name"]] = one["reason"]
    return reasons


def checked(session: Session, paths: Sequence[str]) -> syntax.Checked:
    """Changed files read, imported and linted; failures that were there before the change are none of its own."""
    tree, clone = session.clone.tree, session.clone
    beside = Beside(
        before=lambda folder: git.export(clone, clone.base, folder),
        entries=lambda: [(one.folder, one.module) for one in find_applications(tree) if one.framework != "Django"],
    )
    at, runtime, stop = session.root, session.runtime, lambda: bool(session.stop)
    found = syntax.checked(session.sandbox, tree, at, runtime, paths, beside=beside, stop=stop)
    return replace(found, problems=tuple(_with_the_order(session, one) for one in found.problems))


def _with_the_order(session: Session, problem: syntax.Problem) -> syntax.Problem:
    """A failed import of a planned file that only a later task makes, with what to do instead."""
    task, missing = session.permissions.task, _MISSING.search(problem.text)
    if task is None or missing is None or task.layer not in stages.LAYERS:
        return problem
    place = next(one for one in missing.groups() if one).replace(".", "/")
    design = approved_design(session.journal, session.id, session.spec).design
    for one in design.files:
        is_later = one.layer in stages.LAYERS and one.layer not in layers_open_to(task)
        if is_later and one.path.removesuffix(".py").removesuffix("/__init__").endswith(place):
            return replace(
                problem, text=f"{problem.text}. {one.path} is planned for the layer {one.layer!r}. {NOT_YET}"
            )
    return problem


def _syntax(session: Session, paths: Sequence[str]) -> Sequence[syntax.Problem]:
    return checked(session, paths).problems


def _check_command(session: Session) -> list[str]:
    """What the person's own check says; asked last, because it can take long."""
    problem = check_problem(session)
    return [problem] if problem else []


def layer_problems(session: Session, task: TaskSpec) -> list[str]:
    """Whether a layer that was done before a fix-up still holds: its files compile and import."""
    payload = session.payload(task.name) or {}
    paths = [one["path"] for one in payload.get("facts", {}).get("files", ()) if one["status"] != "deleted"]
    problems = [f"{path}: vanished" for path in paths if not session.workspace.exists(path)]
    problems = problems or [f"{one.path}:{one.line}: {one.text}" for one in _syntax(session, paths)]
    return problems or _check_command(session)


def _security(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, SecurityReview)
    problems: list[str] = []
    findings = [
        one.model_copy(update={"evidence": _corrected(session, one.evidence, problems)}) for one in value.findings
    ]
    _refuse(problems)
    return value.model_copy(update={"findings": tuple(findings)}), {}


def _note(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    return value, {}


def _review(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, MigrationReview)
    facts = session.payload("rehearse") or {}
    if facts.get("status") == "failed" and value.recommendation == "run":
        raise ToolRetry(f"the rehearsal failed ({facts.get('reason')}); recommending 'run' is not possible")
    severe = [one["text"] for one in facts.get("findings", ()) if one["severity"] == "error"]
    if severe and not any(risk.severity == "high" for risk in value.risks):
        raise ToolRetry("the rehearsal found errors; name them as risks of severity high: " + "; ".join(severe))
    return value, {}


def _test_report(session: Session, task: TaskSpec, value: Artifact) -> tuple[Artifact, Facts]:
    assert isinstance(value, TestReport)
    if value.no_test_setup:
        if session.tests is not None:
            raise ToolRetry(f"there is a test setup: {' '.join(session.tests.argv)} ({session.tests.evidence})")
        if not value.recommendation:
            raise ToolRetry("without a test setup, say in 'recommendation' which one to add and how")
        return value, {"tests": {"status": "not run", "reason": choosing.unconfirmed(session.clone.tree)}}
    changes = git.changes(session.clone, session.start_commit)
    problems = [
        f"{one.path}:{one.line}: {one.text}"
        for one in _syntax(session, [c.path for c in changes if c.status != "deleted"])
    ]
    problems += _left_unchanged_tests(session)
    requirements = session.only(Requirements)
    known = [criterion.id for criterion in requirements.criteria] if requirements else []
    shown = {one.criterion: one.tests for one in value.shown}
    problems += [f"{name}: no test shows it" for name in known if name not in shown]
    problems += [f"{name}: there is no such criterion" for name in shown if name not in known]
    _refuse(problems or _check_command(session))
    run = run_as_it_is(session)
    facts = {"files": [vars(change) for change in changes], "tests": summarised(run)}
    if run.status == "not run" or not run.counts_known:
        repairing.refuse_red_command(session, run)
        return value, facts
    ids = {case.id: case for case in run.cases}
    _refuse(
        [
            f"{name}: {test!r} was not run; copy ids as run_tests prints them"
            for name, tests in shown.items()
            for test in tests
            if test not in ids
        ]
    )
    red, old = blamed(session, run)
    if red and session.attempts < repairing.RED_REPORTS and not repairing.as_handed_in_before(session, changes):
        raise ToolRetry(
            "these tests fail; correct a test that is wrong. If the product is wrong, submit again as it is, "
            "and the implementer repairs it:\n" + repairing.told(red, old)
        )
    return value, facts


def _left_unchanged_tests(session: Session) -> list[str]:
    design = approved_design(session.journal, session.id, session.spec).design
    touched = {change.path for change in git.changes(session.clone, session.clone.base)}
    files = [file for file in design.files if file.layer == stages.TESTS]
    return [f"{file.path}: planned ({file.purpose}), but unchanged" for file in files if file.path not in touched]


_CHECKS: Mapping[str, Callable[[Session, TaskSpec, Artifact], tuple[Artifact, Facts]]] = {
    "Analysis": _analysis,
    "Questions": _questions,
    "Requirements": _requirements,
    "Design": _design,
    "ChangeSet": _change_set,
    "SecurityReview": _security,
    "Note": _note,
    "MigrationReview": _review,
    "TestReport": _test_report,
}
