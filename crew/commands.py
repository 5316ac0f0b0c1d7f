"""What the commands share: the journal, a run driven on with its progress shown, and how it stands when it stops."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend_crew.crew import chain, settings
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


def stderr() -> "Console":
    """Where progress and questions go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def journal_here() -> Journal:
    """The journal that this process's environment names."""
    return Journal(settings.state_home(), settings.get("BACKEND_CREW_JOURNAL_URL"), chain.key_here())


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

    return roles.load(run.options.get("config"))


def go_on(journal: Journal, name: str, *, as_json: bool, record: Path | None = None, rules: str | None = None) -> None:
    """Advance a run with its policy and whoever sits at this terminal, and leave with its exit code."""
    from backend_crew.crew import policy
    from backend_crew.crew.terminal import Terminal

    taken = policy.take(rules, journal, journal.run(name).id, lambda text: click.echo(text, err=True))
    run = journal.run(name)
    somebody = sys.stdin.isatty() and not as_json

    def seat(progress: "Progress") -> "approvers.Approver | None":
        return policy.behind(taken, Terminal(stderr(), progress) if somebody else None)

    drive(journal, run, _models(run, record), seat, as_json=as_json)


def name_commands(
    journal: Journal, name: str, *, tests: str | None, check: str | None, env: Mapping[str, str] | None = None
) -> None:
    """Give a run other commands for tests and checks, or variables; what they said of the tree is asked anew."""
    from backend_crew.crew.choosing import parse

    run = journal.run(name)
    given = {"test_command": (tests, "--test-command"), "check_command": (check, "--check-command")}
    words: dict[str, Any] = {key: list(parse(text, flag)) for key, (text, flag) in given.items() if text is not None}
    changed = {option: argv for option, argv in words.items() if list(run.options.get(option) or ()) != argv}
    had = run.options.get("sandbox_env") or {}
    if env and (more := {**had, **env}) != had:
        _check_variables(run, env)
        changed["sandbox_env"] = more
    if not changed:
        return
    if run.status in ENDED:
        raise UsageError(f"run {run.id} has ended ({run.status.value}); name its commands in a new run")
    with journal.lease(run.id):
        journal.set_options(run.id, {**run.options, **changed})
        journal.invalidate(run.id, _asked_anew(journal, run, tried="sandbox_env" in changed))
        journal.event(run.id, "options changed", **changed)


def _check_variables(run: Run, env: Mapping[str, str]) -> None:
    from backend_crew.crew.choosing import check_variables
    from backend_crew.tools import secrets

    check_variables(env, secrets.redactor(Path(run.repo), settings.environment()))


def _asked_anew(journal: Journal, run: Run, *, tried: bool) -> tuple[str, ...]:
    """Tasks whose outcome hangs on the commands; the rehearsal too (`tried`), unless it was decided about."""
    spec = spec_of(run)
    tasks = [task.name for task in spec.tasks]
    first = "rehearse" if tried and journal.output(run.id, spec.at_gate("migrations").name) is None else "verify"
    return ("baseline", *tasks[tasks.index(first) :])


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

    console = stderr()
    if not console.is_terminal:  # which shows its stages at once; elsewhere CrewAI's start would be a silence
        click.echo(f"run {run.id}: starting", err=True)
    progress = Progress(console, journal, spec_of(run))
    journal.listener = progress.event
    stop = StopFlag()
    with _interruptible(stop), _logged(journal, run.id), progress.watching(run.id):
        ended = runner.advance(journal, run.id, models, seat(progress), stop)
    left = stop.stop is not None and stop.stop.status is Status.INTERRUPTED and ended.status is Status.WAITING
    # Ctrl-C at a gate: the run waits there, as it did before, and the shell is told what happened
    _report(journal, run.id, EXIT_CODES[Status.INTERRUPTED if left else ended.status], as_json=as_json)


def _models(run: Run, record: Path | None) -> "Models":
    from backend_crew.crew import demo, runner

    if run.options.get("replay"):
        return demo.replaying(run)
    return runner.Models(run, record=record)


class _Redacting(logging.Formatter):
    """Log lines without secrets: clients repeat what a provider answered, keys included."""

    def __init__(self, journal: Journal) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        return self._journal.redact(super().format(record))


@contextmanager
def _logged(journal: Journal, run: str) -> Iterator[None]:
    """What libraries log goes into the run's folder: without a handler, logging.error() writes to stderr."""
    handler = logging.FileHandler(journal.folder(run) / "libraries.log", delay=True, encoding="utf-8")
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Redacting(journal))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _interruptible(stop: "StopFlag") -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the run to stop and keeps what is recorded; the second ends the process."""
    second: dict[signal.Signals, Callable[[int, Any], Any] | signal.Handlers] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }

    def interrupt(number: int, _: Any) -> None:
        stop.set(Stop(Status.INTERRUPTED, "interrupted; resume it when you like"))
        signal.signal(number, second[signal.Signals(number)])

    try:
        before = {one: signal.signal(one, interrupt) for one in second}
    except ValueError:  # not the main thread: the host program handles signals
        yield
        return
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _report(journal: Journal, name: str, code: int, *, as_json: bool) -> None:
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
    raise SystemExit(code)


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
        approvers.decide(
            journal, run.id, row, approvers.Ruling(verdict, reason, to_stage, digest), approvers.By.here("command")
        )
        click.echo(f"{row.gate}: {verdict} recorded\n\nbackend-crew resume {run.id}", err=True)
