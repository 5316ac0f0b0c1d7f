"""A process that goes on with a run and hangs where it is told to, so that a test can kill it exactly there."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import driving
import scenario

from backend_crew.crew.embed import BackendCrew
from backend_crew.crew.gates import Packet
from backend_crew.crew.recording import Reply
from backend_crew.tools import apply, git


def hang(ready: Path) -> NoReturn:
    """Say that the place is reached, then wait to be killed."""
    ready.write_text(str(os.getpid()))
    while True:
        threading.Event().wait(60)


class Logged(scenario.Script):
    """A script that writes every request down and hangs at one of them."""

    place = ("", 0)
    log = ready = Path()

    def ask(self, turn: Any) -> Reply:
        """The next step, or the end of the road."""
        with self.log.open("a") as log:
            log.write(f"{turn.task} {turn.ordinal}\n")
        if (turn.task, turn.ordinal) == self.place:
            hang(self.ready)
        return super().ask(turn)


def before(function: Callable[..., Any], ready: Path) -> Callable[..., Any]:
    """Hang instead of the call."""
    return lambda *args, **kwargs: hang(ready)


def after(function: Callable[..., Any], ready: Path) -> Callable[..., Any]:
    """Hang when the call is done."""

    def run(*args: Any, **kwargs: Any) -> NoReturn:
        function(*args, **kwargs)
        hang(ready)

    return run


def main(home: str, run: str, place: str, log: str, ready: str) -> None:
    """`place` is task:ordinal, gate:name, or one of apply-before, apply-after, publish-after."""
    where, _, number = place.partition(":")
    script = Logged()
    script.log, script.ready = Path(log), Path(ready)
    person: Callable[[Packet], Any] = scenario.approve_all
    if where == "gate":

        def person(packet: Packet) -> Any:
            return hang(script.ready) if packet.gate == number else scenario.approve_all(packet)

    elif where == "apply-before":
        apply.apply_sqlite = before(apply.apply_sqlite, script.ready)
    elif where == "apply-after":
        apply.apply_sqlite = after(apply.apply_sqlite, script.ready)
    elif where == "publish-after":
        git.publish = after(git.publish, script.ready)
    else:
        script.place = (where, int(number))
    BackendCrew(run=run, approver=person, model=script, home=Path(home)).kickoff()


if __name__ == "__main__":
    assert driving
    main(*sys.argv[1:])
