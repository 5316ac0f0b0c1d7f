"""The words that every part shares: how a run can stand, and how a pass over it can stop."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    UNVERIFIED = "unverified"
    REJECTED = "rejected"
    FAILED = "failed"
    MODEL = "model refused"
    BUDGET = "budget reached"
    INTERRUPTED = "interrupted"


EXIT_CODES: dict[Status, int] = {
    Status.FINISHED: 0,
    Status.FAILED: 1,
    Status.REJECTED: 3,
    Status.MODEL: 4,
    Status.BUDGET: 5,
    Status.UNVERIFIED: 6,
    Status.WAITING: 8,
    Status.INTERRUPTED: 130,
    Status.RUNNING: 1,  # only seen when a run is asked about while nobody runs it
}

#: How a run stands after an error with that exit code; code 2 is the caller's mistake and changes no run.
STATUS_OF_EXIT = {code: status for status, code in EXIT_CODES.items() if status is not Status.RUNNING}

#: Statuses after which nothing more will happen to a run.
ENDED = frozenset({Status.FINISHED, Status.UNVERIFIED, Status.REJECTED})


@dataclass(frozen=True)
class Stop:
    """Why a pass over the crew ended."""

    status: Status
    reason: str = ""
    gate: str | None = None
    task: str | None = None

    @property
    def exit_code(self) -> int:
        """The process exit code that this stop means."""
        return EXIT_CODES[self.status]
