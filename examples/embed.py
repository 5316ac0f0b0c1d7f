"""The crew inside another program: typed results, a callback as the person, events while it works.

    python examples/embed.py

It plays the bundled demo (recorded model, real files, migration and tests). With a model of your own, drop `model=`.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from backend_crew.crew import BackendCrew, demo
from backend_crew.crew.embed import Finished, Unverified, Waiting
from backend_crew.crew.gates import Packet
from backend_crew.crew.settings import Options


class Reviewer:
    """Your approval service; here it plays the decisions that were made with the recording."""

    def __init__(self) -> None:
        self.left = demo.decisions()

    def __call__(self, packet: Packet) -> dict[str, Any] | None:
        """Decide about what the packet shows; None would leave the run waiting."""
        print(f"gate {packet.gate}: {packet.question} ({packet.digest[:12]})")
        ruling = self.left[packet.gate].pop(0)
        return {"confirm": True, **ruling} if packet.gate == "answers" else dict(ruling)


def main() -> int:
    """Run the demo as a library would."""
    folder = Path(tempfile.mkdtemp(prefix="backend-crew-embed-"))
    demo.lay_out(folder / "shop")
    os.environ[demo.DATABASE] = demo.url(folder / "shop")
    crew = BackendCrew(
        repo=folder / "shop",
        feature=demo.feature(),
        approver=Reviewer(),
        options=Options(database_env=demo.DATABASE, python=sys.executable),
        model=demo.model(),
        home=folder / "state",
    )
    with crew:
        stream = crew.stream()
        for event in stream:
            if event["event"] == "task started":
                print(f"{event['role']}: {event['task']}")
    match stream.result:
        case Finished(summary=summary, branch=branch):
            print(f"finished on {branch}: {summary['tests']['why']}")
            return 0
        case Unverified(reason=reason):
            print(f"unverified: {reason}")
        case Waiting(run=run, packet=packet):
            print(f"run {run} waits at gate {packet.gate if packet else '?'}")
        case other:
            print(f"{other.status}: {other.reason}")
    return stream.result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
