"""A person's own version of a design: validated, recorded as theirs, and shown at the gate again."""

import json
from contextlib import nullcontext

from pydantic import ValidationError

from backend_crew.crew import checks
from backend_crew.crew.artifacts import Design
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal
from backend_crew.crew.session import open_session
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import git
from backend_crew.tools.errors import ToolError


def text_of(journal: Journal, run: str) -> str:
    """The design as JSON that can be edited."""
    output = next((one for one in journal.outputs(run) if one.artifact == "Design"), None)
    if output is None:
        raise UsageError(f"run {run} has no design to edit yet")
    body = {name: value for name, value in output.payload.items() if name != "facts"}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def apply(journal: Journal, run: str, text: str) -> None:
    """Record an edited design after the same checks as an agent's; raises UsageError naming what is wrong."""
    try:
        design = Design.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"the edited design was not taken: {error}") from error
    # at the gate of a running kickoff the run is ours already; from another shell it must not be at work
    with nullcontext() if journal.holds(run) else journal.lease(run):
        _record(journal, run, design)


def _record(journal: Journal, run: str, design: Design) -> None:
    session = open_session(journal, run, StopFlag())
    task = session.spec.producing("Design")
    decided = session.journal.output(run, session.spec.at_gate("design").name)
    if decided is not None:
        raise UsageError(f"the design of run {run} was approved already; request changes at the next gate instead")
    try:
        git.reset(session.clone, session.head())
        value, facts = checks.check(session, task, design)
    except ToolError as error:
        raise UsageError(f"the edited design was not taken: {error}") from error
    journal.record(
        run, task.name, "Design", {**value.model_dump(mode="json"), "facts": {**facts, "edited by": "a person"}}, None
    )
    journal.event(run, "edited", task=task.name)
