"""Builds the CrewAI crew of a run and takes one pass over it; nothing above this file sees CrewAI's exceptions."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from crewai import Crew, Process, Task
from crewai.events.event_context import EventContextConfig, MismatchBehavior, _event_context_config
from crewai.hooks import HookAborted, InterceptionPoint
from crewai.hooks.dispatch import register_scoped, scoped_hooks
from crewai.tools.tool_failure import ToolExecutionFailedError
from pydantic import PrivateAttr

from backend_crew.crew import budget
from backend_crew.crew.agents import CodeAgent, HumanAgent, RoleAgent
from backend_crew.crew.artifacts import ARTIFACTS
from backend_crew.crew.errors import BackendCrewError, UsageError
from backend_crew.crew.llm import ModelDoor, Stopped
from backend_crew.crew.model import EXIT_CODES, Status, Stop
from backend_crew.crew.recording import Model, Reply
from backend_crew.crew.roles import HUMAN, CrewSpec, RoleSpec, TaskSpec
from backend_crew.crew.session import Session
from backend_crew.tools.errors import ToolError

ModelFor = Callable[[RoleSpec], Model]
_LIBRARY_NAMES = {"file_read_tool": "FileReadTool"}


class RunCrew(Crew):
    """A crew bound to one run; whatever would lose that run is refused."""

    _session: Session = PrivateAttr()

    def copy(self) -> NoReturn:  # type: ignore[override]  # refusing is the point
        """A copy would lose the journal."""
        self._refuse("copy")

    def train(self, *_: Any, **__: Any) -> NoReturn:
        """Training turns every task into a prompt on stdin."""
        self._refuse("train")

    def test(self, *_: Any, **__: Any) -> NoReturn:
        """Testing runs copies."""
        self._refuse("test")

    def replay(self, *_: Any, **__: Any) -> NoReturn:
        """Resuming is the same kickoff again."""
        self._refuse("replay")

    def kickoff_for_each(self, *_: Any, **__: Any) -> NoReturn:
        """One crew is one run."""
        self._refuse("kickoff_for_each")

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(f"{what} would lose run {self._session.id}; make a new BackendCrew for each run")


def build(session: Session, model_for: ModelFor, kind: type[RunCrew] = RunCrew) -> RunCrew:
    """The crew of a run, in YAML order, gates and steps of code included."""
    spec = session.spec
    roles = {name: _role(session, role, model_for) for name, role in spec.roles.items() if name != HUMAN}
    person = HumanAgent(**_texts(spec, HUMAN), llm=_no_model(), max_retry_limit=0).bind(session)
    code = CodeAgent(
        role="Trusted code",
        goal="Do what no model may do",
        backstory="Not a model.",
        llm=_no_model(),
        max_retry_limit=0,
    )
    code.bind(session)
    agents = {**roles, HUMAN: person, "code": code}
    tasks = [_task(task, agents[task.agent]) for task in spec.tasks]
    crew = kind(
        agents=list(agents.values()),
        tasks=tasks,
        process=Process.sequential,
        verbose=False,
        memory=False,
        cache=False,
        planning=False,
        tracing=False,
    )
    crew._session = session
    return crew


def _texts(spec: CrewSpec, name: str) -> dict[str, str]:
    role = spec.roles[name]
    return {"role": role.role, "goal": role.goal, "backstory": role.backstory}


def _role(session: Session, role: RoleSpec, model_for: ModelFor) -> RoleAgent:
    agent = RoleAgent(
        role=role.role,
        goal=role.goal,
        backstory=role.backstory,
        llm=_door(session, model_for(role)),
        max_retry_limit=0,
        max_iter=100_000,
        allow_delegation=False,
        verbose=False,
        respect_context_window=True,
        cache=False,
    )
    agent.bind(session)
    return agent


def _door(session: Session, model: Model) -> ModelDoor:
    free = model.name.startswith(("recorded/", "scripted/"))

    def spent(name: str, reply: Reply, seconds: float) -> None:
        tokens = (reply.prompt_tokens, reply.completion_tokens)
        session.spend(name, *tokens, 0.0 if free else budget.cost_of(name, *tokens), seconds)

    return ModelDoor.around(
        model,
        stop=session.stop,
        check=session.over_budget,
        spent=spent,
        note=session.note,
        redact=session.redact,
    )


class _NoModel:
    """The model of agents that have none."""

    name = "none/none"

    def ask(self, turn: Any) -> Reply:
        raise BackendCrewError("an agent without a model asked one")


def _no_model() -> ModelDoor:
    from backend_crew.crew.stopping import StopFlag

    return ModelDoor.around(
        _NoModel(), stop=StopFlag(), check=lambda: None, spent=lambda *_: None, note=lambda *_, **__: None
    )


class _Told(Task):
    """A task in its own words alone."""

    def prompt(self) -> str:
        """Without CrewAI's order to return the whole content as the final answer: results are handed in."""
        return f"{self.description}\n\nExpected: {self.expected_output}"


def _task(spec: TaskSpec, agent: Any) -> Task:
    expected = spec.expected_output or f"What {spec.name} recorded."
    task = _Told(
        name=spec.name,
        description=spec.description or f"Trusted code: {spec.name}.",
        expected_output=expected,
        agent=agent,
        human_input=spec.gate is not None,
        context=[],
    )
    assert spec.artifact is None or spec.artifact in ARTIFACTS
    return task


def run_pass(session: Session, model_for: ModelFor) -> Stop:
    """Go over the crew until a gate, the end or a failure; what is recorded is not done again."""
    crew = build(session, model_for)
    with guarded(session):
        try:
            crew.kickoff(inputs={"feature": session.run.feature})
        except Stopped as stopped:
            return stopped.stop
        except (ToolError, ToolExecutionFailedError) as error:
            return Stop(Status.FAILED, str(error))
    return ending(session)


def ending(session: Session) -> Stop:
    """How a run that went through all its tasks stands, from its summary."""
    summary = session.payload("summarise") or {}
    if session.stop.stop:
        return session.stop.stop
    status = Status(summary["status"])
    assert status in EXIT_CODES
    return Stop(status, str(summary.get("why", "")))


@contextlib.contextmanager
def guarded(session: Session) -> Iterator[None]:
    """What every kickoff of a run happens within."""
    with _quiet(), _second_layer(session):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep CrewAI's warnings about a pass that stopped at a gate off stdout."""
    token = _event_context_config.set(
        EventContextConfig(mismatch_behavior=MismatchBehavior.SILENT, empty_pop_behavior=MismatchBehavior.SILENT)
    )
    logger = logging.getLogger("crewai.flow.runtime")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        _event_context_config.reset(token)


@contextlib.contextmanager
def _second_layer(session: Session) -> Iterator[None]:
    """Hooks that check every tool call once more; any exception in them ends the pass (CrewAI would fail open)."""

    def before_tool(context: Any) -> None:
        try:
            if context.tool is None:  # CrewAI itself answers the model
                session.note("tool refused", tool=str(context.tool_name)[:100], reason="the task has no such tool")
            else:
                session.permissions.check_tool(_LIBRARY_NAMES.get(context.tool_name, context.tool_name))
        except ToolError as error:
            session.note("tool blocked", tool=str(context.tool_name), reason=str(error))
            raise HookAborted(reason=str(error), source="backend-crew") from error
        except Exception as error:  # a boundary: CrewAI runs the tool when a hook fails
            raise HookAborted(reason=repr(error), source="backend-crew") from error

    with scoped_hooks():
        register_scoped(InterceptionPoint.PRE_TOOL_CALL, before_tool)
        yield
