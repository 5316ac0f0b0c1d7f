"""What a check of the finished change found: one shape for tests, contract and security."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ChangeFinding:
    """One finding at a line (from 1; 0 where it has none) of a path; `error` blocks "finished", `warning` is shown.

    `text` says what was found, with the code's own names; `fix` what would settle it.
    """

    check: Literal["tests", "contract", "security"]
    rule: str
    severity: Literal["error", "warning", "note"]
    path: str
    line: int
    text: str
    fix: str
