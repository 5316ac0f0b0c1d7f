"""Runs, gates and decisions written straight into a journal, for tests that need no crew."""

from pathlib import Path
from typing import Any

from backend_crew.crew import gates
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import Decision, GateRow, Journal, Run, now
from backend_crew.crew.model import Status


def make_run(name: str = "r-1", **changed: Any) -> Run:
    """A run that nobody is working on."""
    values: dict[str, Any] = {
        "id": name,
        "created": now(),
        "repo": "/nowhere",
        "feature": "Archive notes",
        "brief": "",
        "options": {},
        "profile": {},
        "base": "0" * 40,
        "branch": f"backend-crew/{name}",
        "inputs": "0" * 64,
        "status": Status.RUNNING,
        "reason": "",
        "epoch": 0,
    }
    return Run(**{**values, **changed})


def make_journal(home: Path, *names: str) -> Journal:
    """A journal with these runs in it."""
    journal = Journal(home)
    for name in names or ("r-1",):
        journal.create(make_run(name))
    return journal


def open_gate(
    journal: Journal, gate: str, text: str = "# Packet", *, run: str = "r-1", **more: dict[str, Any]
) -> GateRow:
    """A gate that waits, with a packet that holds this text."""
    packet = Packet(run, gate, gates.gate_named(gate).question, text, more.get("bound", {}), more.get("data", {}))
    return journal.open_gate(run, gate, packet.as_json(), packet.digest)


def ruling(
    row: GateRow, verdict: str = "approve", *, run: str = "r-1", reason: str = "", to_stage: str = ""
) -> Decision:
    """A decision about what a gate shows now."""
    return Decision(run, row.gate, row.round, row.digest, verdict, reason, to_stage, actor="ann", channel="test")


def scope(path: str, act: str = "write", layer: str = "business_logic") -> dict[str, str]:
    """What a request for a file outside the plan binds."""
    return {"path": path, "act": act, "layer": layer}
