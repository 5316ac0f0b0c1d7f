"""How a run stands, as one JSON object for programs and as a few lines for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend_crew.crew import budget, reporting
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import Journal, Run
from backend_crew.crew.model import EXIT_CODES, Status
from backend_crew.crew.plaintext import safe

if TYPE_CHECKING:  # listing runs reads no YAML
    from backend_crew.crew.roles import CrewSpec


def stage_of(journal: Journal, run: Run, spec: "CrewSpec") -> str:
    """The stage of the first task that has no recorded output."""
    done = {output.task for output in journal.outputs(run.id)}
    return next((task.stage for task in spec.tasks if task.name not in done), "summary")


def gate_of(journal: Journal, run: Run) -> dict[str, Any] | None:
    """The gate that a run waits at."""
    from backend_crew.crew.approvers import waiting

    if run.status is not Status.WAITING:
        return None
    try:
        row = waiting(journal, run.id)
    except DecisionRefused:
        return None
    return {
        "name": row.gate,
        "round": row.round,
        "digest": row.digest,
        "question": row.packet["question"],
        "draft": row.draft,
    }


def as_json(journal: Journal, run: Run, spec: "CrewSpec") -> dict[str, Any]:
    """The object that --json prints."""
    totals = journal.totals(run.id)
    return {
        "run": run.id,
        "status": run.status.value,
        "reason": run.reason,
        "stage": stage_of(journal, run, spec),
        "gate": gate_of(journal, run),
        "branch": run.branch if journal.output(run.id, "summarise") else None,
        "artifacts": {
            output.task: {"kind": output.artifact, "round": output.round, "sha256": output.digest}
            for output in journal.outputs(run.id)
        },
        "usage": {**vars(totals), "minutes": round(budget.seconds_of_passes(journal, run.id) / 60, 2)},
        "exit_code": EXIT_CODES[run.status],
    }


def lines(journal: Journal, run: Run) -> list[str]:
    """What a person reads when a run stops."""
    head = f"{run.id}: {run.status.value}" + (f" - {run.reason}" if run.reason else "")
    totals = journal.totals(run.id)
    spent = f"{totals.calls} model calls, {totals.tokens:,} tokens, {budget.cost_words(totals)}"
    facts = reporting.recorded(journal.folder(run.id))
    more = _finished(facts) if facts and run.status in (Status.FINISHED, Status.UNVERIFIED) else []
    return [safe(line) for line in (head, spent, *more)]


def _finished(facts: Mapping[str, Any]) -> list[str]:
    endpoints = ", ".join(f"{one['method']} {one['path']}" for one in facts["endpoints"]) or "none"
    files = facts["files"]
    shown = sum(one["shown"] for one in facts["criteria"])
    body = [
        f"endpoints:  {endpoints}",
        f"contract:   {reporting.contract_words(facts['checks'], facts['findings'])}",
        f"files:      {len(files)} (+{sum(one['added'] for one in files)} -{sum(one['removed'] for one in files)})",
        *(f"migration:  {line}" for line in reporting.migration_lines(facts["migrations"])),
        *(f"tests:      {line}" for line in reporting.test_lines(facts["tests"])),
        f"criteria:   {shown} of {len(facts['criteria'])} shown by passing tests",
        *(f"security:   {one['severity']}: {one['problem']}" for one in facts["security"]),
        *(f"check:      {line}" for line in reporting.check_lines(facts["checks"]) if not line.startswith("contract:")),
        *(f"finding:    {reporting.finding_line(one)}" for one in facts["findings"] if one["severity"] == "error"),
        *(f"altered:    {one['name']} in {one['path']}: {one['what']}" for one in facts["altered"]),
        *(f"test:       {one['name']} in {one['path']}: {one['what']}" for one in facts.get("tests_changed", ())),
    ]
    return [*body, f"branch:     {facts['branch']}", f"documents:  {facts['documents']}/ on that branch"]
