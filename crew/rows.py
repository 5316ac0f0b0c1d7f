"""What the journal holds, as values: runs, outputs, gates, decisions, totals; and the text that digests are made of."""

import hashlib
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from backend_crew.crew.model import Status

_CLOCKS = timedelta(minutes=5)
"""How far the clocks of two machines may differ."""


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # a lone surrogate cannot be stored; written as its JSON escape it reads back as it was
    return text.encode("utf-8", "backslashreplace").decode()


def sha256(text: str) -> str:
    """Hex SHA-256 of UTF-8 text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Run:
    """One run as it is recorded."""

    id: str
    created: str
    repo: str
    feature: str
    brief: str
    options: Mapping[str, Any]
    profile: Mapping[str, Any]
    base: str
    branch: str
    inputs: str
    status: Status
    reason: str
    epoch: int

    @property
    def title(self) -> str:
        """The feature's first line, short and without Markdown."""
        return textwrap.shorten(self.feature.strip().splitlines()[0].lstrip("# "), 60, placeholder="…") or "feature"


@dataclass(frozen=True)
class Output:
    """What one task handed in, in one round."""

    seq: int
    task: str
    round: int
    artifact: str
    payload: Mapping[str, Any]
    digest: str
    commit: str | None
    at: str


@dataclass(frozen=True)
class GateRow:
    """A gate that was opened: what was shown, and whether it still waits."""

    gate: str
    round: int
    packet: Mapping[str, Any]
    digest: str
    at: str
    draft: Mapping[str, Any] | None
    open: bool


@dataclass(frozen=True)
class Decision:
    """What a person decided about exactly one digest."""

    run: str
    gate: str
    round: int
    digest: str
    verdict: str
    reason: str = ""
    to_stage: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    actor: str = ""
    channel: str = ""
    at: str = ""
    hash: str = ""

    def expired(self, hours: float | None) -> bool:
        """Whether it is too old to let anything happen (None: never); one from the future is as little worth."""
        if hours is None:
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(self.at)
        return not -_CLOCKS <= age <= timedelta(hours=hours)


@dataclass(frozen=True)
class Totals:
    """What a run, or one stage of it, has spent."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None as soon as one call's price is unknown."""

    def plus(self, prompt_tokens: int, completion_tokens: int, cost: float | None) -> "Totals":
        """With one more call."""
        known = None if cost is None or self.cost is None else self.cost + cost
        return Totals(
            self.calls + 1, self.prompt_tokens + prompt_tokens, self.completion_tokens + completion_tokens, known
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens
