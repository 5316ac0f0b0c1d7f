"""A plain CrewAI crew for the comparison, as its documentation builds one, and the person at its console.

Roles and tasks in YAML; each role has only the tools that it needs; `human_input` on the design; the documented
"Human Approval Gate" (a `before_tool_call` hook) in front of every tool that changes something: writing, deleting and
running commands, which is more than the documentation's example asks about.
"""

import builtins
import contextlib
import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import breaks  # noqa: F401  # first: it puts the tests on the path and sets CrewAI's switches
import yaml
from crewai import Agent, BaseLLM, Crew, Process, Task
from crewai.events import crewai_event_bus
from crewai.hooks import (
    ToolCallHookContext,
    register_before_tool_call_hook,
    unregister_before_tool_call_hook,
)
from crewai.tools import BaseTool, tool
from crewai_tools import FileReadTool, FileWriterTool
from faults_person import alarmed
from pydantic import BaseModel, ConfigDict, PrivateAttr

logging.getLogger("crewai.flow.runtime").setLevel(logging.CRITICAL)  # it prints what it raises as well
HERE = Path(__file__).parent / "plain"
APPROVAL_REQUIRED = ("file_writer_tool", "delete_file", "run_command")
CONVERT = "convert"
"""The script's name for the call that turns a final answer into `output_pydantic`."""
Answer = str | list[dict[str, Any]]
Step = Answer | Exception | Callable[[], Answer]


class Design(BaseModel):
    """The design as the program after the crew reads it: CrewAI's documented structured output."""

    overview: str
    files: list[str]
    endpoints: list[str]


class ScriptedModel(BaseLLM):
    """Answers from a list for each task, the last one again when it is used up; an exception is raised."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _steps: Mapping[str, list[Step]] = PrivateAttr(default_factory=dict)
    _seen: list[tuple[str, str]] = PrivateAttr(default_factory=list)

    @classmethod
    def of(cls, steps: Mapping[str, list[Step]]) -> "ScriptedModel":
        """A model with these steps by task."""
        model = cls(model="scripted", provider="bench")
        model._steps = steps
        return model

    @property
    def seen(self) -> list[tuple[str, str]]:
        """Every request: its task, and its messages as text."""
        return self._seen

    def supports_function_calling(self) -> bool:
        """Tools are called natively."""
        return True

    def get_context_window_size(self) -> int:
        """Nothing is cut or summarised."""
        return 10_000_000

    def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
        """Not counted."""
        return 0

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The next answer of the task at hand."""
        task = kwargs.get("from_task")
        name = task.name if isinstance(task, Task) and task.name else CONVERT
        done = sum(one == name for one, _ in self._seen)
        self._seen.append((name, str(messages)))
        step = self._steps[name][min(done, len(self._steps[name]) - 1)]
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step


@dataclass
class Console:
    """The person at the terminal: reads what was printed since the last question, and types."""

    screen: io.StringIO
    words: list[str] = field(default_factory=list)
    """What to type at the questions about the design, in order; then Enter, which is how CrewAI is told yes."""
    refused: tuple[str, ...] = ()
    """Commands that the person says no to."""
    asked: list[str] = field(default_factory=list)
    _read: int = 0

    def __call__(self, prompt: object = "") -> str:
        """Stands for `input`."""
        crewai_event_bus.flush()  # a person reads once the screen is still
        whole = re.sub(r"\x1b\[[0-9;]*m", "", self.screen.getvalue())
        text, self._read = whole[self._read :], len(whole)
        self.asked.append(text)
        gate = re.search(r"Approve (\w+)\?\s+(Input:.*)", text, re.DOTALL)
        if gate is None:
            return self.words.pop(0) if self.words else ""
        no = alarmed(text) or any(command in gate[2] for command in self.refused)
        return "no" if no else "yes"

    def showed(self, pattern: str) -> bool:
        """Whether a question had something on the screen, apart from frames and line breaks."""
        flat = (re.sub(r"[\s│╭╮╰╯─]+|\\n", " ", text) for text in self.asked)
        return any(re.search(pattern, re.sub(" +", " ", text)) for text in flat)


@dataclass
class Plain:
    """One crew over one repository, and what came of it."""

    repo: Path
    steps: Mapping[str, list[Step]]
    console: Console = field(default_factory=lambda: Console(io.StringIO()))
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.model = ScriptedModel.of(self.steps)

    def kickoff(self) -> "Plain":
        """The whole crew, from its first task; what it raises is kept."""
        self.error = None
        person = mock.patch.object(builtins, "input", self.console)
        # CrewAI's output files are relative to where the crew is started: in the repository, as a person would
        with contextlib.chdir(self.repo), _approvals(), contextlib.redirect_stdout(self.console.screen), person:
            try:
                self._crew().kickoff()
            except Exception as error:  # noqa: BLE001  # a boundary: however the crew dies is what is measured
                self.error = error
            crewai_event_bus.flush()
        return self

    @property
    def said(self) -> str:
        """What the crew reports at its end."""
        report = self.repo / "specs/report.md"
        return report.read_text() if report.exists() else ""

    def _crew(self) -> Crew:
        roles = yaml.safe_load((HERE / "agents.yaml").read_text())
        texts = yaml.safe_load((HERE / "tasks.yaml").read_text())
        tools = _tools(self.repo)
        has = {
            "analyst": ("read",),
            "architect": ("read",),
            "developer": ("read", "write", "delete", "command"),
            "tester": ("read", "write", "command"),
        }
        agents = {
            name: Agent(**words, llm=self.model, tools=[tools[one] for one in has[name]], verbose=True)
            for name, words in roles.items()
        }
        tasks = [self._task(name, dict(one), agents) for name, one in texts.items() if name in self.steps]
        return Crew(agents=list(agents.values()), tasks=tasks, process=Process.sequential, verbose=True)

    def _task(self, name: str, given: dict[str, Any], agents: Mapping[str, Agent]) -> Task:
        given["agent"] = agents[given["agent"]]
        given["description"] = given["description"].replace("{feature}", "Archive notes")
        if name == "design":
            given["output_pydantic"] = Design
        return Task(name=name, **given)


def _tools(repo: Path) -> dict[str, BaseTool]:
    """CrewAI's file tools confined to the repository, and two custom tools in the documented form."""

    @tool("delete_file")
    def delete_file(path: str) -> str:
        """Delete a file of the repository."""
        (repo / path).unlink()
        return f"{path} is deleted"

    @tool("run_command")
    def run_command(command: str) -> str:
        """Run a command in the repository and return its output."""
        # as in a shell whose virtual environment is active
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(shlex.split(command), cwd=repo, env=env, capture_output=True, text=True, check=False)
        return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"

    return {
        "read": FileReadTool(base_dir=str(repo)),
        "write": FileWriterTool(base_dir=str(repo)),
        "delete": delete_file,
        "command": run_command,
    }


@contextlib.contextmanager
def _approvals() -> Iterator[None]:
    """The documentation's approval hook, registered for one kickoff."""

    def require_approval(context: ToolCallHookContext) -> bool | None:
        if context.tool_name in APPROVAL_REQUIRED:
            response = context.request_human_input(
                prompt=f"Approve {context.tool_name}?",
                default_message=f"Input: {context.tool_input}\nType 'yes' to approve:",
            )
            if response.lower() != "yes":
                return False
        return None

    register_before_tool_call_hook(require_approval)
    try:
        yield
    finally:
        unregister_before_tool_call_hook(require_approval)


def use(name: str, **arguments: Any) -> Answer:
    """An answer that calls one tool."""
    return [{"id": "call_0", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]


def write(path: str, text: str) -> Answer:
    """An answer that writes a file."""
    return use("file_writer_tool", filename=path, content=text, overwrite=True)
