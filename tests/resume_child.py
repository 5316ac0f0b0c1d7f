"""Processes that go on with a run and hang where they are told to, so that a test can kill them exactly there.

One process imports everything, which takes longer than what is tested, and forks a child for each line that it reads.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import driving
import scenario

from backend_crew.crew import verdict
from backend_crew.crew.embed import BackendCrew
from backend_crew.crew.gates import Packet
from backend_crew.crew.recording import Reply
from backend_crew.crew.settings import Options
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
    """`place` is task:ordinal, gate:name, clone:repository, or one of those below."""
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
    elif where == "commit-after":  # and before the row that names it
        git.commit = after(git.commit, script.ready)
    elif where == "verify-after":
        verdict.verified = after(verdict.verified, script.ready)
    elif where == "clone":
        git.clone = after(git.clone, script.ready)
        BackendCrew(number, scenario.FEATURE, home=Path(home), options=Options(python=scenario.PYTHON, checks="quick"))
    else:
        script.place = (where, int(number))
    BackendCrew(run=run, approver=person, model=script, home=Path(home)).kickoff()


def serve() -> None:
    """For each line a child: its id is written at once, how it ended when it ended."""
    for line in sys.stdin:
        given = json.loads(line)
        child = os.fork()
        if child == 0:
            sink = os.open(given["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.environ.update(given["env"])
            try:
                main(*given["arguments"])
            except BaseException:
                traceback.print_exc()
            os._exit(3)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    assert driving
    serve()
