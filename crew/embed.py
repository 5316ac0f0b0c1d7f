"""The crew as a library: one object for one run, typed results, events as they happen."""

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from backend_crew.crew import approvers, outcome, reporting, roles, runner, settings
from backend_crew.crew import policy as rules
from backend_crew.crew.chain import key_here
from backend_crew.crew.errors import UsageError
from backend_crew.crew.gates import Packet, packet_of
from backend_crew.crew.journal import Journal, Run
from backend_crew.crew.model import EXIT_CODES, Status, Stop
from backend_crew.crew.recording import Model
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from backend_crew.crew.nested import NestedCrew

Approve = Callable[[Packet], approvers.Verdict | None]


@dataclass(frozen=True)
class Result:
    """What every result has: the run, why it stopped, what it recorded, what it cost."""

    run: str
    reason: str
    branch: str | None
    artifacts: Mapping[str, Mapping[str, Any]]
    """Task name to recorded hand-in."""
    usage: Mapping[str, Any]
    status: Status = field(init=False)

    @property
    def exit_code(self) -> int:
        """What the command line would have exited with."""
        return EXIT_CODES[self.status]


@dataclass(frozen=True)
class Finished(Result):
    """The branch is there and its tests are green."""

    summary: Mapping[str, Any] = field(default_factory=dict)
    status: Status = field(default=Status.FINISHED, init=False)


@dataclass(frozen=True)
class Unverified(Result):
    """The branch is there; its tests are red or could not run, as `reason` says."""

    summary: Mapping[str, Any] = field(default_factory=dict)
    status: Status = field(default=Status.UNVERIFIED, init=False)


@dataclass(frozen=True)
class Waiting(Result):
    """A person has to decide; call `resume` afterwards."""

    packet: Packet | None = None
    digest: str = ""
    status: Status = field(default=Status.WAITING, init=False)


@dataclass(frozen=True)
class Rejected(Result):
    """A person rejected the design."""

    status: Status = field(default=Status.REJECTED, init=False)


@dataclass(frozen=True)
class Failed(Result):
    """The run could not go on; what was recorded stays, and `resume` tries again."""

    status: Status = field(default=Status.FAILED, init=False)


@dataclass(frozen=True)
class ModelRefused(Result):
    """No usable model: a key, a provider or its tool calls are missing."""

    status: Status = field(default=Status.MODEL, init=False)


@dataclass(frozen=True)
class BudgetReached(Result):
    """A cap is used up; resume with a larger one."""

    status: Status = field(default=Status.BUDGET, init=False)


@dataclass(frozen=True)
class Interrupted(Result):
    """The run was stopped from outside."""

    status: Status = field(default=Status.INTERRUPTED, init=False)


_PLAIN: Mapping[Status, type[Result]] = {
    Status.REJECTED: Rejected,
    Status.FAILED: Failed,
    Status.MODEL: ModelRefused,
    Status.BUDGET: BudgetReached,
    Status.INTERRUPTED: Interrupted,
}


class BackendCrew:
    """Adds one feature to one repository; `approver` decides at the gates, or the run waits there."""

    def __init__(  # noqa: PLR0913  # keywords, each a different thing that a program can give
        self,
        repo: str | Path = "",
        feature: str = "",
        *,
        brief: str = "",
        approver: Approve | None = None,
        options: Options | None = None,
        model: Model | None = None,
        home: Path | None = None,
        run: str | None = None,
        policy: str | Path | None = None,
        sandbox_env: Mapping[str, str] | None = None,
    ) -> None:
        """Give repo and feature for a new run, or `run` to go on with a recorded one.

        `policy` is a file with rules, or FILE@sha256:HASH; they decide before `approver` is asked.

        `sandbox_env` holds made-up variables that the repository's commands get in the sandbox, of a new run.

        `model` replaces every role's model (a `Scripted` or `Replay`, in tests); `options` holds what the command
        line's flags hold. Raises UsageError and ToolRefused for input that cannot be used.
        """
        settings.prepare(home)
        self._journal = Journal(home or settings.state_home(), settings.get("BACKEND_CREW_JOURNAL_URL"), key_here())
        self._stop = StopFlag()
        with ExitStack() as failing:
            failing.callback(self.close)
            if run is not None:
                if sandbox_env:
                    raise UsageError(f"sandbox_env is of a new run: backend-crew resume {run} --sandbox-env NAME=VALUE")
                self._run = self._journal.run(run)
            else:
                rules.checked(str(policy) if policy else None, Path(repo))
                if not repo or not feature:
                    raise UsageError("BackendCrew needs a repo and a feature, or the id of a run to go on with")
                given = options or Options()
                given = replace(given, sandbox_env={**given.sandbox_env, **(sandbox_env or {})})
                self._run = runner.start(self._journal, Path(repo), feature, brief=brief, options=given)
            self._models = runner.Models(self._run, only=model)
            person = approvers.Callback(approver, "approver callback") if approver else None
            taken = rules.take(str(policy) if policy else None, self._journal, self._run.id, lambda _: None)
            self._approver = rules.behind(taken, person)
            failing.pop_all()

    def close(self) -> None:
        """Give the journal's database handle back; what the crew does after that opens it again."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def run(self) -> Run:
        """The run as it is recorded now."""
        return self._journal.run(self._run.id)

    def kickoff(self) -> Result:
        """Go on until the run ends or waits for somebody who is not here."""
        return self._result(runner.advance(self._journal, self._run.id, self._models, self._approver, self._stop))

    async def akickoff(self) -> Result:
        """The same without blocking the event loop."""
        return await asyncio.to_thread(self.kickoff)

    def resume(self) -> Result:
        """Go on after a decision, a failure or an interruption; what is recorded is not paid for again."""
        self._stop = StopFlag()
        return self.kickoff()

    def stop(self) -> None:
        """Ask a running kickoff to stop; it returns Interrupted, and the run can be resumed."""
        self._stop.set(Stop(Status.INTERRUPTED, "stopped by the host program"))

    def decide(
        self, verdict: str, *, digest: str, reason: str = "", to_stage: str = "", actor: str | None = None
    ) -> None:
        """Record a person's decision at the gate where the run waits."""
        row = approvers.waiting(self._journal, self._run.id)
        by = approvers.By("library", actor or approvers.person())
        approvers.decide(self._journal, self._run.id, row, approvers.Ruling(verdict, reason, to_stage, digest), by)

    def answer(self, answers: Mapping[str, Any], *, confirm: bool = False, actor: str | None = None) -> None:
        """Record a person's answers; with `confirm`, the recommendations for those left to us as well."""
        row = approvers.waiting(self._journal, self._run.id)
        by = approvers.By("library", actor or approvers.person())
        reading = approvers.answer(self._journal, self._run.id, row, answers, by)
        if reading.delegated and confirm:
            approvers.confirm(self._journal, self._run.id, row, by)

    def stream(self) -> "Stream":
        """Kick off in a thread and iterate over its events; `.result` is there when they end."""
        return Stream(self)

    def crew(self) -> "NestedCrew":
        """A CrewAI crew for a Flow or a bigger program; at a gate its kickoff raises `Stopped`."""
        from backend_crew.crew.nested import NestedCrew

        return NestedCrew.of(self._journal, self._run.id, self._models, self._approver, self._stop)

    def as_tool(self) -> "BaseTool":
        """A tool for another crew's agent; it says "waiting" where a raised gate would be swallowed."""
        from backend_crew.crew.nested import FeatureTool

        return FeatureTool.of(self)

    def _result(self, stop: Stop) -> Result:
        run = self.run
        outputs = {one.task: one.payload for one in self._journal.outputs(run.id)}
        totals = self._journal.totals(run.id)
        base = (run.id, stop.reason, run.branch if "summarise" in outputs else None, outputs, vars(totals))
        if stop.status is Status.WAITING:
            row = approvers.waiting(self._journal, run.id)
            return Waiting(*base, packet=packet_of(row), digest=row.digest)
        if stop.status in (Status.FINISHED, Status.UNVERIFIED):
            kind = Finished if stop.status is Status.FINISHED else Unverified
            return kind(*base, summary=reporting.recorded(self._journal.folder(run.id)))
        return _PLAIN[stop.status](*base)

    def as_json(self) -> str:
        """The object that `--json` prints."""
        run = self.run
        spec = roles.load(run.options.get("config"))
        return json.dumps(outcome.as_json(self._journal, run, spec), ensure_ascii=False)


class Stream:
    """Events of a kickoff, each a mapping with `event` and its data; iterate once."""

    def __init__(self, crew: BackendCrew) -> None:
        self._crew = crew
        self._events: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._result: Result | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        journal = self._crew._journal
        journal.listener = lambda run, kind, data: self._events.put({"event": kind, "run": run, **data})
        thread = threading.Thread(target=self._work, name="backend-crew", daemon=True)
        thread.start()
        try:
            while (event := self._events.get()) is not None:
                yield event
        finally:
            journal.listener = None
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._result = self._crew.kickoff()
        except BaseException as error:  # noqa: BLE001  # a boundary: raised again in the thread that iterates
            self._error = error
        finally:
            self._events.put(None)

    @property
    def result(self) -> Result:
        """How the kickoff ended; raises UsageError while its events were not read to the end."""
        if self._result is None:
            raise UsageError("read the events to their end before asking for the result")
        return self._result
