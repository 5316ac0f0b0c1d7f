"""The end of a run: verdict, summary and branch, built from the records and from nothing else."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend_crew.crew import budget, checks, findings, gates, packets, render, reporting, verdict
from backend_crew.crew.artifacts import Analysis, ChangeSet, Design, Questions, Requirements, SecurityReview
from backend_crew.crew.model import Status
from backend_crew.crew.plaintext import literal, visible
from backend_crew.crew.rows import Decision
from backend_crew.crew.session import Session
from backend_crew.tools import git
from backend_crew.tools.honesty.testpaths import is_test_path

Payload = dict[str, Any]


def summarise(session: Session) -> tuple[str, Payload]:
    """Look at the tree a last time, write the records for people, and publish the branch."""
    facts = collect(session, session.payload("recheck") or {})
    folder = _spec_folder(session)
    facts["documents"] = folder
    facts["next"] = _next_steps(session, facts)
    facts = session.redact.deep(facts)
    facts["commit"] = _publish(session, folder, facts)
    (session.folder / "summary.json").write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    return "Summary", facts


def _publish(session: Session, folder: str, facts: Payload) -> str:
    """Commit the documents and publish the branch; what a killed attempt committed is published, not made anew."""
    branch = session.run.branch
    begun = session.journal.intent(session.id, "publish", branch)
    if begun:
        git.reset(session.clone, begun[1]["commit"])
    else:
        _write_documents(session, folder, facts)
        trailers = {"Backend-Crew-Run": session.id, "Backend-Crew-Decisions": session.journal.verify(session.id)}
        title = f"{session.run.title}: specification and report"
        commit = git.commit(session.clone, title, trailers=trailers)
        session.journal.intend(session.id, "publish", branch, {"commit": commit})
    commit = git.head(session.clone)
    git.publish(session.clone, session.repository, branch)
    session.journal.settle(session.id, "publish", branch, "done", {"commit": commit})
    return commit


def collect(session: Session, final: Mapping[str, Any]) -> Payload:
    """Everything the summary says, each value read from a record."""
    applied, rehearsed = session.payload("apply") or {}, session.payload("rehearse") or {}
    design = session.only(Design)
    changes = [one for one in git.changes(session.clone, session.clone.base) if not one.path.startswith("specs/")]
    why = _unverified(session, final, applied, rehearsed)
    totals = session.journal.totals(session.id)
    return {
        "run": session.id,
        "title": session.run.title,
        "branch": session.run.branch,
        "status": (Status.UNVERIFIED if why else Status.FINISHED).value,
        "why": why,
        "endpoints": _endpoints(session),
        "files": [vars(one) for one in changes],
        "entities": [f"{one.name} ({one.change})" for one in design.data_model.entities] if design else [],
        "services": [one.path for one in design.files if one.layer == "business_logic"] if design else [],
        "migrations": {
            "files": [one["path"] for one in rehearsed.get("files", ())],
            "rehearsal": rehearsed.get("status"),
            **applied,
        },
        "altered": packets.all_altered(session),
        "tests_changed": _changed_tests(session, changes),
        "security": _security(session),
        "repair": _repair(session),
        "changed_since": _changed_since(session),
        "decisions": [one.model_dump(mode="json") for one in design.decisions] if design else [],
        "tests": {
            name: final.get(name)
            for name in ("status", "reason", "counts_known", "counts", "verdict", "why", "against", "command", "check")
        }
        | {
            "flaky before": sorted((session.payload("baseline") or {}).get("flaky", ())),
            "flaky": sorted(final.get("flaky", ())),
        },
        "criteria": list(final.get("criteria", ())),
        "findings": list(final.get("findings", ())),
        "accepted": _accepted(session),
        "checks": dict(final.get("checks", {})),
        "unchecked": verdict.unchecked(session),
        "records": _records(session),
        "dependencies": (session.payload("baseline") or {}).get("dependencies", {}),
        "gates": [
            {
                "gate": one.gate,
                "round": one.round,
                "verdict": one.verdict,
                "by": one.actor,
                "channel": one.channel,
                "at": one.at,
                "reason": one.reason,
            }
            for one in session.journal.decisions(session.id)
        ],
        "usage": {**vars(totals), "cost_words": budget.cost_words(totals)},
    }


def _changed_tests(session: Session, changes: Sequence[git.Change]) -> list[Payload]:
    """Existing definitions that the diff changes and no layer gave a reason for: those of the tests."""
    told = {(one["path"], one["name"]) for one in packets.all_altered(session)}
    found = checks.altered_definitions(session, [one.path for one in changes if one.status != "added"])
    return [vars(one) for one in found if (one.path, one.name) not in told]


def _repair(session: Session) -> str:
    """What was repaired after the tests were red, in the implementer's words; empty when nothing was changed."""
    task = next(task.name for task in session.spec.tasks if task.layer == "repair")
    change, facts = session.typed(task, ChangeSet), (session.payload(task) or {}).get("facts", {})
    return change.summary if change and facts.get("files") else ""


def _changed_since(session: Session) -> dict[str, list[str]]:
    """Files that differ now from what the security review saw, and from what was shown at the migration gate."""
    seen: dict[str, str] = {}
    commit = session.clone.base
    for output in session.journal.outputs(session.id):
        if output.artifact == "SecurityReview":
            seen["the security review"] = commit
        commit = output.commit or commit
    row = session.journal.gate(session.id, "migrations")
    if row is not None:
        seen["the migration gate"] = str(gates.packet_of(row).bound["commit"])
    changed = {
        what: [
            one.path
            for one in git.changes(session.clone, then)
            if not one.path.startswith("specs/") and not is_test_path(one.path)  # tests are always written later
        ]
        for what, then in seen.items()
    }
    return {what: paths for what, paths in changed.items() if paths}


def _security(session: Session) -> list[Payload]:
    """What security reviews found; only a person can dismiss it, so all of it is reported."""
    found = []
    for task in session.spec.tasks:
        review = session.typed(task.name, SecurityReview) if task.artifact == "SecurityReview" else None
        found += [one.model_dump(mode="json") for one in review.findings] if review else []
    return found


def _unverified(
    session: Session, final: Mapping[str, Any], applied: Mapping[str, Any], rehearsed: Mapping[str, Any]
) -> str:
    """Why a finished run cannot be called verified; empty when it can."""
    dependencies = (session.payload("baseline") or {}).get("dependencies", {})
    if dependencies.get("status") == "not installed":
        return f"not verified: dependency {', '.join(dependencies['packages'])} - {dependencies['reason']}"
    if why := findings.unsettled(final, _accepted(session)):
        return why
    check, before = final.get("check") or {}, (session.payload("baseline") or {}).get("check") or {}
    if check.get("status") == "failed" and before.get("status") != "failed":
        return f"check `{check['command']}`: {check['reason']}"
    if check.get("status") == "not run":
        return f"check `{check['command']}` not run: {check['reason']}"
    if rehearsed.get("status") == "failed":
        return f"migration rehearsal failed: {rehearsed.get('reason')}"
    if applied.get("status") in ("failed", "refused"):
        return f"migration {applied['status']}: {applied.get('reason')}"
    return ""


#: Which record each part of the report is read from.
_PARTS = {
    "endpoints, models, services, decisions": "Design",
    "the tests before the change": "baseline",
    "rehearsal of the migrations": "rehearse",
    "migrations": "apply",
    "tests, criteria, checks, findings": "recheck",
}


def _records(session: Session) -> list[Payload]:
    """The records behind the parts of the report, as `verify` checks them."""
    found = []
    for part, name in _PARTS.items():
        task = session.spec.producing(name).name if name == "Design" else name
        if output := session.journal.output(session.id, task):
            found.append({"part": part, "task": task, "round": output.round, "sha256": output.digest})
    return found


def _accepted(session: Session) -> Mapping[str, Any] | None:
    """A person's decision about the findings; None where the gate did not open."""
    output = session.journal.output(session.id, session.spec.at_gate(gates.FINDINGS).name)
    return output.payload if output is not None and output.artifact == "Decision" else None


def _endpoints(session: Session) -> list[Payload]:
    """What the approved contract names."""
    output = session.journal.output(session.id, session.spec.producing("Design").name)
    return list(output.payload["facts"].get("endpoints", ())) if output else []


def _spec_folder(session: Session) -> str:
    numbers = [int(match[1]) for path in git.tracked(session.clone) if (match := re.match(r"specs/(\d{3})-", path))]
    return f"specs/{max(numbers, default=0) + 1:03}-{session.id}"


def _write_documents(session: Session, folder: str, facts: Payload) -> None:
    """The records as documents on the branch; written by trusted code into the private tree."""
    design, requirements = session.only(Design), session.only(Requirements)
    analysis = session.only(Analysis)
    later = _asked_later(session)
    spec = f"# {session.run.title}\n\n{session.run.feature.strip()}\n{later}"
    spec += f"\n## Requirements\n\n{render.requirements(requirements)}" if requirements else ""
    spec += _asked(session)
    spec += "".join(_clarifications(session))
    spec += f"\n## Analysis\n\n{render.analysis(analysis)}" if analysis else ""
    documents = {"spec.md": spec, "report.md": reporting.report(facts), "migrations.md": _migrations(session)}
    if design:
        documents |= {
            "plan.md": f"# Plan\n{later}\n{render.design(design)}",
            "data-model.md": f"# Data model\n{later}\n{render.data_model(design.data_model)}",
        }
        if design.api.document:
            name = {"openapi": "openapi.yaml", "graphql": "schema.graphql", "proto": "service.proto"}[design.api.kind]
            documents[f"contracts/{name}"] = design.api.document.rstrip() + "\n"
    for name, text in documents.items():
        path = session.clone.tree / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        prose = literal(text) if name.endswith(".md") else text
        # the branch is for everybody; where this machine keeps the run is not
        path.write_text(visible(session.redact(prose)).replace(str(session.folder), "<run>"), encoding="utf-8")
    (session.folder / "report.md").write_text(visible(session.redact(documents["report.md"])), encoding="utf-8")


def _requests(session: Session) -> list[Decision]:
    return [one for one in session.journal.decisions(session.id) if one.verdict == gates.CHANGES]


def _asked(session: Session) -> str:
    """What people asked to be changed, at every gate."""
    lines = [f"- {one.gate}, round {one.round}: {one.reason}\n" for one in _requests(session)]
    return f"\n## Changes asked for\n\n{''.join(lines)}" if lines else ""


def _asked_later(session: Session) -> str:
    """What was asked for after requirements and plan were approved, above what it can contradict."""
    lines = [f"> - round {one.round}: {one.reason}\n" for one in _requests(session) if one.gate == "migrations"]
    if not lines:
        return ""
    above = (
        "> Changes were asked for at the gate of the migrations, after what follows was approved; where they differ,"
    )
    return f"\n{above} these and the code are right:\n>\n{''.join(lines)}"


def _clarifications(session: Session) -> Iterator[str]:
    """Every round of questions that was answered, with its answers: follow-up questions do not replace the first."""
    for row in session.journal.gates(session.id, "answers"):
        decision = session.journal.decision(session.id, "answers", row.digest)
        if decision is None or decision.verdict != gates.ANSWERED:
            continue
        questions = Questions.model_validate(row.packet["data"])
        texts = {one.id: one.question for one in questions.items}
        answers = {**decision.payload["answers"], "facts": {"questions": texts}}
        heading = "## Clarifications" + (f", round {row.round}" if row.round > 1 else "")
        yield f"\n{heading}\n\n{render.questions(questions)}\n\n{render.output('Answers', answers)}"


def _migrations(session: Session) -> str:
    row = session.journal.gate(session.id, "migrations")
    if row is None:
        return f"# Migrations\n\nNone: {(session.payload('rehearse') or {}).get('reason')}\n"
    facts = session.payload("rehearse") or {}
    if not all(step["ok"] for step in facts.get("steps", ())) and str(facts.get("data")).startswith("copy"):
        # a failing migration can print rows of the person's database; the branch is for everybody
        return f"# Migrations\n\nThe rehearsal failed. What it printed stays with the run: `backend-crew show {session.id}`\n"
    return str(row.packet["text"])


def _next_steps(session: Session, facts: Mapping[str, Any]) -> list[str]:
    """The commands that review, merge or discard the branch, and what is still open."""
    branch = session.run.branch
    when = "merge" if facts["status"] == Status.FINISHED.value else "merge, once what is open is settled"
    steps = [
        f"review: `git diff {session.repository.branch or session.run.base[:12]}...{branch}`",
        f"{when}: `git merge {branch}`",
    ]
    steps.append(f"discard: `backend-crew discard {session.id}`")
    if facts["migrations"].get("status") not in ("applied", "no migrations", None):
        command = facts["migrations"].get("command")
        steps.append(f"migrations are pending: {f'`{command}`' if command else reporting.NO_COMMAND}")
    if facts["tests"].get("status") == "not run":
        steps.append("run the tests yourself before you merge; this run has not run any")
    steps += [reporting.still_open(one) for one in facts["criteria"] if not one["shown"]]
    return steps
