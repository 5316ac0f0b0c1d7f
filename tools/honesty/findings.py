"""Findings of this check, made in one place: bounded, on one line."""

from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding

_LIMIT = 600


def finding(
    rule: str, severity: Literal["error", "warning", "note"], path: str, line: int, text: str, fix: str
) -> ChangeFinding:
    """A finding of the check "tests"."""
    flat = " ".join(text.split())
    return ChangeFinding(
        "tests", rule, severity, path, line, flat if len(flat) <= _LIMIT else flat[: _LIMIT - 1] + "…", fix
    )
