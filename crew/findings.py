"""What recorded findings mean for a run: what blocks it, what a person may accept, and what is left unsettled."""

from collections.abc import Mapping
from typing import Any


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
    found = blocking(payload)
    if found and not accepted:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return f"not accepted: {found[0]['text']}{more}"
    return ""
