"""Channels through which a person decides; every one of them ends in `decide` or `answer`."""

import getpass
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from backend_crew.crew import answers, gates
from backend_crew.crew.artifacts import Questions
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import Decision, GateRow, Journal


class Approver(Protocol):
    """Somebody who may decide at a gate right now."""

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Decide through `decide` or `answer`; False when nothing was decided, and the run waits."""
        ...


def person() -> str:
    """Who is deciding, as the operating system names them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def waiting(journal: Journal, run: str) -> GateRow:
    """The gate at which a run waits; raises DecisionRefused when it waits at none."""
    for row in reversed(journal.gates(run)):
        if row.open and journal.decision(run, row.gate, row.digest) is None:
            return row
    taken = journal.decisions(run)
    last = (
        f"; gate {taken[-1].gate!r} was decided ({taken[-1].verdict}) by {taken[-1].actor} at {taken[-1].at}"
        if taken
        else ""
    )
    raise DecisionRefused(f"run {run} waits at no gate{last}")


def decide(
    journal: Journal,
    run: str,
    row: GateRow,
    verdict: str,
    *,
    reason: str = "",
    to_stage: str = "",
    digest: str | None = None,
    channel: str,
    actor: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Decision:
    """The one function that records a decision; it is about what `row` showed, and raises DecisionRefused otherwise."""
    if digest and not (len(digest) >= 8 and row.digest.startswith(digest)):
        raise DecisionRefused(f"the decision names digest {digest[:12]}, but gate {row.gate!r} shows {row.digest[:12]}")
    gates.packet_of(row)
    target = gates.check(row.gate, verdict, reason, to_stage)
    bound = payload or ({"path": row.packet["bound"]["path"]} if row.gate == gates.SCOPE.name else {})
    return journal.decide(
        Decision(
            run=run,
            gate=row.gate,
            round=row.round,
            digest=row.digest,
            verdict=verdict,
            reason=reason.strip(),
            to_stage=target,
            payload=bound,
            actor=actor or person(),
            channel=channel,
        )
    )


def answer(
    journal: Journal, run: str, row: GateRow, given: Mapping[str, Any], *, channel: str, actor: str | None = None
) -> answers.Reading:
    """Take answers; where the person left the choice to us they are kept as a draft until confirmed."""
    if row.gate != "answers":
        raise DecisionRefused(f"run {run} waits at gate {row.gate!r}, which is not answered but approved")
    reading = answers.read(Questions.model_validate(row.packet["data"]), given)
    payload = {"answers": reading.answers.model_dump(mode="json")}
    if reading.delegated:
        journal.save_draft(run, row, payload)
    else:
        decide(journal, run, row, gates.ANSWERED, channel=channel, actor=actor, payload=payload)
    return reading


def confirm(journal: Journal, run: str, row: GateRow, *, channel: str, actor: str | None = None) -> Decision:
    """Confirm the recommendations that were shown for answers left to us."""
    current = journal.gate(run, row.gate)
    if current is None or current.draft is None or not current.open:
        raise DecisionRefused(
            f"run {run} has no answers that wait for confirmation; give them with `backend-crew answer {run}`"
        )
    return decide(journal, run, current, gates.ANSWERED, channel=channel, actor=actor, payload=current.draft)


Verdict = Mapping[str, Any]
"""{'verdict': …, 'reason': …, 'to_stage': …} or {'answers': {…}, 'confirm': bool}; None leaves the run waiting."""


class Callback:
    """A Python function as the person's channel, for programs that embed the crew."""

    def __init__(self, function: Callable[[Packet], Verdict | None], actor: str) -> None:
        self._function, self._actor = function, actor

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Show the packet to the function and record what it returns."""
        verdict = self._function(gates.packet_of(row))
        if verdict is None:
            return False
        if "answers" in verdict:
            reading = answer(journal, run, row, verdict["answers"], channel="callback", actor=self._actor)
            if reading.delegated and verdict.get("confirm") is True:
                confirm(journal, run, row, channel="callback", actor=self._actor)
            return not reading.delegated or verdict.get("confirm") is True
        decide(
            journal,
            run,
            row,
            str(verdict.get("verdict", "")),
            reason=str(verdict.get("reason", "")),
            to_stage=str(verdict.get("to_stage", "")),
            channel="callback",
            actor=self._actor,
        )
        return True
