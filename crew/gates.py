"""Gates as pure functions: what is shown, its digest, and the closed vocabulary in which people decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend_crew.crew import stages
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import GateRow, canonical, sha256

APPROVE, CHANGES, REJECT, ANSWERED = "approve", "request-changes", "reject", "answered"
VERDICTS = (APPROVE, CHANGES, REJECT)

#: The gate at which accepting something is a statement of its own, so that it needs a reason.
FINDINGS = "findings"

#: Opened only when an agent asks for a file outside the approved plan.
SCOPE = stages.Gate("scope", "implementation", "May the implementer also change this file?", ())


@dataclass(frozen=True)
class Packet:
    """What a gate shows, and what a decision about it therefore covers."""

    run: str
    gate: str
    question: str
    text: str
    """Markdown, shown to the person as it is."""
    bound: Mapping[str, Any] = field(default_factory=dict)
    """Digests of everything that the decision lets happen: outputs, files, targets."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The artifact itself, for channels that render it in their own way."""

    def as_json(self) -> dict[str, Any]:
        """The packet as it is kept."""
        return {**vars(self), "bound": dict(self.bound), "data": dict(self.data)}

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: one changed byte is another packet."""
        return sha256(canonical(self.as_json()))


def packet_of(row: GateRow) -> Packet:
    """The packet that a recorded gate showed; raises DecisionRefused when the record was changed."""
    # compared as it is kept: a record with other fields than ours cannot even become a Packet
    if sha256(canonical(row.packet)) != row.digest:
        raise DecisionRefused(f"the packet of gate {row.gate!r} was changed after it was recorded; start a new run")
    return Packet(**row.packet)


def gate_named(name: str) -> stages.Gate:
    """The gate of that name."""
    return SCOPE if name == SCOPE.name else stages.GATE_BY_NAME[name]


def parse(word: str) -> str | None:
    """The verdict that a person typed, or None: nothing but the exact words counts."""
    cleaned = word.strip().lower()
    return cleaned if cleaned in VERDICTS else None


def check(gate: str, verdict: str, reason: str, to_stage: str) -> str:
    """Whether a verdict is complete for a gate; returns the stage that it goes to, raises DecisionRefused."""
    known = gate_named(gate)
    allowed = (APPROVE, REJECT) if gate == SCOPE.name else (CHANGES, REJECT) if gate == "answers" else VERDICTS
    if verdict not in allowed and not (gate == "answers" and verdict == ANSWERED):
        use = "answer it with `backend-crew answer`" if gate == "answers" else f"say one of: {', '.join(allowed)}"
        raise DecisionRefused(f"{verdict!r} is not possible at gate {gate!r}; {use}")
    if not reason.strip() and (verdict in (CHANGES, REJECT) or (verdict == APPROVE and gate == FINDINGS)):
        raise DecisionRefused(f"{verdict} needs a reason" + (" at this gate" if verdict == APPROVE else ""))
    if verdict != CHANGES:
        return ""
    target = to_stage or known.routes[0]
    if target not in known.routes:
        raise DecisionRefused(f"gate {gate!r} can send the work back to {', '.join(known.routes)}, not to {target!r}")
    return target
