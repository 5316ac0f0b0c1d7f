"""Channels through which a person decides; every one of them ends in `decide` or `answer`."""

import getpass
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    raise DecisionRefused(f"run {run} waits at no gate{last}; see `backend-crew show {run}`")


@dataclass(frozen=True)
class By:
    """Who decides, and through which channel."""

    channel: str
    actor: str
    basis: Mapping[str, Any] = field(default_factory=dict)
    """What it rests on, recorded with the decision: a policy's hash and rule."""

    @classmethod
    def here(cls, channel: str) -> "By":
        """The person at this machine, through a channel."""
        return cls(channel, person())


@dataclass(frozen=True)
class Ruling:
    """What was decided, before it is recorded."""

    verdict: str
    reason: str = ""
    to_stage: str = ""
    digest: str | None = None
    """What the person says they saw; at least eight hex digits."""


def decide(journal: Journal, run: str, row: GateRow, ruling: Ruling, by: By) -> Decision:
    """Record a decision about exactly what `row` showed; raises DecisionRefused when it does not fit."""
    given = ruling.digest
    if given is not None and not (len(given) >= 8 and row.digest.startswith(given)):
        raise DecisionRefused(
            f"the decision names digest {given[:12]}, but gate {row.gate!r} shows {row.digest[:12]}; "
            f"look at it with `backend-crew show {run}`"
        )
    if ruling.verdict == gates.ANSWERED:
        raise DecisionRefused("answers are given with `backend-crew answer`")
    payload = {"path": row.packet["bound"]["path"]} if row.gate == gates.SCOPE.name else {}
    return _record(journal, run, row, ruling, by, payload)


def _record(journal: Journal, run: str, row: GateRow, ruling: Ruling, by: By, payload: Mapping[str, Any]) -> Decision:
    """The one place where a decision of any channel is written."""
    gates.packet_of(row)
    target = gates.check(row.gate, ruling.verdict, ruling.reason, ruling.to_stage)
    return journal.decide(
        Decision(
            run=run,
            gate=row.gate,
            round=row.round,
            digest=row.digest,
            verdict=ruling.verdict,
            reason=journal.redact(ruling.reason.strip()),
            to_stage=target,
            payload=journal.redact.deep({**payload, **by.basis}),
            actor=by.actor,
            channel=by.channel,
        )
    )


def answer(journal: Journal, run: str, row: GateRow, given: Mapping[str, Any], by: By) -> answers.Reading:
    """Take answers; where the person left the choice to us they are kept as a draft until confirmed."""
    if row.gate != "answers":
        raise DecisionRefused(f"run {run} waits at gate {row.gate!r}, which is not answered but approved")
    reading = answers.read(Questions.model_validate(row.packet["data"]), given)
    payload = {"answers": reading.answers.model_dump(mode="json")}
    if reading.delegated:
        journal.save_draft(run, row, journal.redact.deep(payload))
    else:
        _record(journal, run, row, Ruling(gates.ANSWERED), by, payload)
    return reading


def confirm(journal: Journal, run: str, row: GateRow, by: By) -> Decision:
    """Confirm the recommendations that were shown for answers left to us."""
    current = journal.gate(run, row.gate)
    if current is None or current.draft is None or not current.open:
        raise DecisionRefused(f"run {run} has no answers to confirm; give them with `backend-crew answer {run}`")
    return _record(journal, run, current, Ruling(gates.ANSWERED), by, current.draft)


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
        by = By("callback", self._actor)
        if "answers" in verdict:
            reading = answer(journal, run, row, verdict["answers"], by)
            if reading.delegated and verdict.get("confirm") is True:
                confirm(journal, run, row, by)
            return not reading.delegated or verdict.get("confirm") is True
        words = {name: str(verdict.get(name, "")) for name in ("verdict", "reason", "to_stage")}
        decide(journal, run, row, Ruling(**words), by)
        return True
