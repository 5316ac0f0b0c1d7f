"""What the commands share: the journal, a run driven on with its progress shown, and how it stands when it stops."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend_crew.crew import settings
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal, Run
from backend_crew.crew.model import ENDED, EXIT_CODES, Status, Stop

if TYPE_CHECKING:  # what listing runs does not need is imported where it is used
    from rich.console import Console

    from backend_crew.crew import approvers
    from backend_crew.crew.progress import Progress
    from backend_crew.crew.roles import CrewSpec
    from backend_crew.crew.runner import Models
    from backend_crew.crew.stopping import StopFlag


def by(channel: str) -> "approvers.By":
    """The person at this machine, through a channel."""
    from backend_crew.crew import approvers

    return approvers.By(channel, approvers.person())


def stderr() -> "Console":
    """Where progress and questions go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def journal_here() -> Journal:
    """The journal that this process's environment names."""
    return Journal(settings.state_home(), settings.get("BACKEND_CREW_JOURNAL_URL"))


@contextmanager
def opened() -> Iterator[Journal]:
    """The journal, closed afterwards."""
    journal = journal_here()
    try:
        yield journal
    finally:
        journal.close()


def spec_of(run: Run) -> "CrewSpec":
    """The roles and tasks that a run was started with."""
    from backend_crew.crew import roles

    return roles.load(Path(run.options["config"]) if run.options.get("config") else None)


def go_on(journal: Journal, name: str, *, as_json: bool, record: Path | None = None) -> None:
    """Advance a run with whoever sits at this terminal, show how it stands, and leave with its exit code."""
    from backend_crew.crew.terminal import Terminal

    run = journal.run(name)
    somebody = sys.stdin.isatty() and not as_json
    drive(journal, run, _models(run, record), lambda p: Terminal(stderr(), p) if somebody else None, as_json=as_json)


def drive(
    journal: Journal,
    run: Run,
    models: "Models",
    seat: "Callable[[Progress], approvers.Approver | None]",
    *,
    as_json: bool,
) -> None:
    """Advance a run with these models and whoever `seat` puts at its gates, and leave with its exit code."""
    from backend_crew.crew import runner
    from backend_crew.crew.progress import Progress
    from backend_crew.crew.stopping import StopFlag

    progress = Progress(stderr(), journal, spec_of(run))
    journal.listener = progress.event
    stop = StopFlag()
    with _interruptible(stop), progress.watching(run.id):
        ended = runner.advance(journal, run.id, models, seat(progress), stop)
    _report(journal, run.id, ended, as_json=as_json)


def _models(run: Run, record: Path | None) -> "Models":
    from backend_crew.crew import demo, runner

    if run.options.get("replay"):
        return demo.replaying(run)
    return runner.Models(run, record=record)


@contextmanager
def _interruptible(stop: "StopFlag") -> Iterator[None]:
    """The first Ctrl-C asks the run to stop and keeps what is recorded; the second ends the process."""

    def interrupt(_: int, __: Any) -> None:
        stop.set(Stop(Status.INTERRUPTED, "interrupted; resume it when you like"))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread: the host program handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _report(journal: Journal, name: str, ended: Stop, *, as_json: bool) -> None:
    from backend_crew.crew import approvers, outcome
    from backend_crew.crew.terminal import how_to_answer

    run = journal.run(name)
    if as_json:
        click.echo(json.dumps(outcome.as_json(journal, run, spec_of(run)), ensure_ascii=False))
    else:
        click.echo("\n".join(outcome.lines(journal, run)))
    if run.status is Status.WAITING:
        click.echo("\n" + how_to_answer(run.id, approvers.waiting(journal, run.id)), err=True)
    elif run.status in (Status.FINISHED, Status.UNVERIFIED) and not as_json:
        click.echo("\n" + _commands(run), err=True)
    elif run.status not in ENDED:
        click.echo(f"\nbackend-crew resume {run.id}", err=True)
    raise SystemExit(EXIT_CODES[ended.status])


def _commands(run: Run) -> str:
    return (
        f"review:   git -C {run.repo} diff HEAD...{run.branch}\n"
        f"merge:    git -C {run.repo} merge {run.branch}\n"
        f"discard:  backend-crew discard {run.id}"
    )


def decide(run_id: str, verdict: str, digest: str | None, reason: str = "", to_stage: str = "") -> None:
    """Record a decision at the gate where a run waits, and say how to go on."""
    from backend_crew.crew import approvers

    with opened() as journal:
        run = journal.run(run_id)
        row = approvers.waiting(journal, run.id)
        if digest is None and not sys.stdin.isatty():
            raise UsageError(
                f"name what you decide about: --digest {row.digest[:16]} (see `backend-crew show {run.id}`)"
            )
        approvers.decide(journal, run.id, row, approvers.Ruling(verdict, reason, to_stage, digest), by("command"))
        click.echo(f"{row.gate}: {verdict} recorded\n\nbackend-crew resume {run.id}", err=True)
