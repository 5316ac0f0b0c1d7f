"""A crew as CrewAI's own documentation builds one, with a model that answers at once and keeps what it was sent."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import measure  # noqa: F401  # puts the tests' folder on the path

from backend_crew.crew import settings

settings.prepare(Path(os.environ.get("BACKEND_CREW_HOME", "/tmp")) / "bench-crewai")

from crewai import Agent, BaseLLM, Crew, Process, Task  # noqa: E402  # its switches have to be set before
from crewai.core.providers.human_input import SyncHumanInputProvider, set_provider  # noqa: E402  # as above
from crewai.tools import BaseTool  # noqa: E402  # as above
from pydantic import BaseModel, ConfigDict, PrivateAttr  # noqa: E402  # as above

Answer = str | list[dict[str, Any]]


@dataclass
class Kept:
    """One request: when it came, when it was answered, and what was sent."""

    task: int
    came: float
    left: float
    sent: "Size"


@dataclass(frozen=True)
class Size:
    """Characters of a request: the prompt, what the model and its tools said since, and the tools' schemas."""

    prompt: int
    history: int
    tools: int

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> "Size":
        """Measure a request; whatever comes after the first user message is history."""
        first = 1 + next((at for at, one in enumerate(messages) if one.get("role") == "user"), 0)
        schemas = len(json.dumps(list(tools))) if tools else 0
        return cls(sum(map(_length, messages[:first])), sum(map(_length, messages[first:])), schemas)

    @property
    def total(self) -> int:
        """All of it."""
        return self.prompt + self.history + self.tools


def _length(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls")
    return len(str(message.get("content") or "")) + (len(json.dumps(calls, default=str)) if calls else 0)


class InstantModel(BaseLLM):
    """Answers from a list for each task."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _answers: list[list[Answer]] = PrivateAttr(default_factory=list)
    _at: list[int] = PrivateAttr(default_factory=lambda: [0, 0])
    _kept: list[Kept] = PrivateAttr(default_factory=list)

    @classmethod
    def of(cls, answers: list[list[Answer]]) -> "InstantModel":
        """A model for tasks in order."""
        model = cls(model="instant", provider="bench")
        model._answers = answers
        return model

    @property
    def kept(self) -> list[Kept]:
        """Every request so far."""
        return self._kept

    def supports_function_calling(self) -> bool:
        """Tools are called natively, as ours are."""
        return True

    def get_context_window_size(self) -> int:
        """Nothing is cut or summarised, as with ours."""
        return 10_000_000

    def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
        """Not counted, as with ours."""
        return 0

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The next answer of the task at hand."""
        came = time.perf_counter()
        task, ordinal = self._at
        answer = self._answers[task][ordinal]
        last = ordinal + 1 == len(self._answers[task])
        self._at[:] = [task + 1, 0] if last else [task, ordinal + 1]
        sent = Size.of(messages if isinstance(messages, list) else [{"role": "user", "content": messages}], tools or ())
        self._kept.append(Kept(task, came, time.perf_counter(), sent))
        return answer


def tool_call(name: str, arguments: str, number: int) -> dict[str, Any]:
    """A tool call as providers send it."""
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


class PlainTool(BaseTool):
    """A tool that is a function."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _work: Callable[..., str] = PrivateAttr()

    @classmethod
    def of(cls, name: str, description: str, schema: type[BaseModel], work: Callable[..., str]) -> Self:
        """That function as a tool."""
        tool = cls(name=name, description=description, args_schema=schema)
        tool._work = work
        return tool

    def _run(self, **given: Any) -> str:
        return self._work(**given)


class OrderedTool(PlainTool):
    """A tool whose calls of one turn are done in their order, as ours are; CrewAI does others at once."""

    max_usage_count: int | None = 1_000_000


@dataclass(frozen=True)
class Role:
    """The words of an agent."""

    role: str
    goal: str
    backstory: str


@dataclass(frozen=True)
class Work:
    """The words of a task, who does it, and with which tools."""

    agent: str
    description: str
    expected_output: str
    tools: Sequence[BaseTool] = field(default_factory=tuple)
    output: type[BaseModel] | None = None
    feedback: Sequence[str] = ()
    """What the person says to the results of the task, one after another; CrewAI's own `human_input` hands it on."""


class _Person(SyncHumanInputProvider):
    """CrewAI's own loop of feedback, without a terminal."""

    def __init__(self, feedback: Iterator[str]) -> None:
        self._feedback = feedback

    def _prompt_input(self, crew: Crew | None) -> str:  # type: ignore[override]  # CrewAI calls it on the instance
        return next(self._feedback, "")


def crew(model: InstantModel, roles: Mapping[str, Role], works: Sequence[Work], *, cache: bool = True) -> Crew:
    """A sequential crew with CrewAI's defaults: every task is given the output of all tasks before it.

    With CrewAI's cache, a file that is read again is answered as it was before it was edited.
    """
    agents = {
        name: Agent(
            role=one.role, goal=one.goal, backstory=one.backstory, llm=model, max_iter=1000, verbose=False, cache=False
        )
        for name, one in roles.items()
    }
    tasks = [
        Task(
            description=one.description,
            expected_output=one.expected_output,
            agent=agents[one.agent],
            tools=list(one.tools),
            output_pydantic=one.output,
            human_input=bool(one.feedback),
        )
        for one in works
    ]
    set_provider(_Person(word for one in works for word in (*one.feedback, "") if one.feedback))
    return Crew(agents=list(agents.values()), tasks=tasks, process=Process.sequential, verbose=False, cache=cache)
