"""The run as a part of somebody else's CrewAI program: a crew for a Flow, a tool for another crew's agent."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from crewai.tools import BaseTool
from pydantic import BaseModel, ConfigDict, PrivateAttr

from backend_crew.crew import runner
from backend_crew.crew.approvers import Approver
from backend_crew.crew.crew import RunCrew, build, ending, guarded
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal
from backend_crew.crew.llm import Stopped
from backend_crew.crew.model import Status
from backend_crew.crew.session import open_session
from backend_crew.crew.stopping import StopFlag


class NestedCrew(RunCrew):
    """A crew that opens and holds its run itself; a gate that nobody here decides comes out as `Stopped`."""

    _journal: Journal = PrivateAttr()
    _approver: Approver | None = PrivateAttr()

    @classmethod
    def of(
        cls, journal: Journal, run: str, models: runner.Models, approver: Approver | None, stop: StopFlag
    ) -> "NestedCrew":
        """The crew of a run."""
        session = open_session(journal, run, stop)
        crew = build(session, models, kind=cls)
        assert isinstance(crew, cls)
        crew._journal, crew._approver = journal, approver
        return crew

    def kickoff(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Go on with the run; raises Stopped at a gate that nobody here decides, and when the run fails."""
        self._own(inputs)
        with self._held():
            while True:
                try:
                    with guarded(self._session):
                        return self._ended(super().kickoff(inputs={"feature": self._session.run.feature}))
                except Stopped as stopped:
                    if not self._goes_on(stopped):
                        raise

    async def akickoff(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The same on an event loop."""
        self._own(inputs)
        with self._held():
            while True:
                try:
                    with guarded(self._session):
                        return self._ended(await super().akickoff(inputs={"feature": self._session.run.feature}))
                except Stopped as stopped:
                    if not self._goes_on(stopped):
                        raise

    async def kickoff_async(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """CrewAI's older spelling of akickoff."""
        return await self.akickoff(inputs)

    def _own(self, inputs: Any) -> None:
        other = {
            name for name, value in (inputs or {}).items() if (name, value) != ("feature", self._session.run.feature)
        }
        if other:
            raise UsageError(
                f"inputs {', '.join(sorted(other))} are not those of run {self._session.id}; "
                "a run has the feature it was created with, make a new BackendCrew for another"
            )

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._journal.lease(self._session.id):
            self._journal.set_status(self._session.id, Status.RUNNING)
            yield

    def _ended(self, output: Any) -> Any:
        runner.record_stop(self._session, ending(self._session))
        return output

    def _goes_on(self, stopped: Stopped) -> bool:
        if runner.goes_on(self._session, stopped.stop, self._approver):
            return True
        runner.record_stop(self._session, stopped.stop)
        return False


class NoInput(BaseModel):
    """The feature and the repository were fixed when the tool was made."""

    model_config = ConfigDict(extra="forbid")


class FeatureTool(BaseTool):
    """Starts or continues the run and reports how it stands; it never decides."""

    name: str = "add_backend_feature"
    description: str = (
        "Adds the agreed backend feature to the agreed repository, or goes on with that work. "
        "Answers with JSON; status 'waiting' means that a person has to decide before it goes on."
    )
    args_schema: type[BaseModel] = NoInput
    _crew: Any = PrivateAttr()

    @classmethod
    def of(cls, crew: Any) -> "FeatureTool":
        """The tool for a BackendCrew."""
        tool = cls()
        tool._crew = crew
        return tool

    def _run(self) -> str:
        result = self._crew.resume()
        words = {"status": result.status.value, "run": result.run, "reason": result.reason, "branch": result.branch}
        if result.status is Status.WAITING:
            words["gate"] = result.packet.gate
            words["next"] = f"a person decides with: backend-crew show {result.run}"
        return json.dumps(words)
