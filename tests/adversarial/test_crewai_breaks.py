"""Where CrewAI by itself fails open (A): the same is done to a plain crew, the weak control, and to this one."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import driving
import endpoint
import pytest
import scenario
from crewai import LLM, Agent, BaseLLM, Crew, Task
from crewai.hooks import HookAborted, InterceptionPoint
from crewai.hooks.dispatch import register_scoped, scoped_hooks
from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolExecutionFailedError
from pydantic import PrivateAttr, ValidationError

from backend_crew.crew import crew as kickoffs
from backend_crew.crew import toolbox
from backend_crew.crew.embed import BudgetReached, Failed
from backend_crew.crew.errors import UsageError
from backend_crew.crew.llm import NUDGES, ModelDoor, ProviderModel, Stopped
from backend_crew.crew.model import Status
from backend_crew.crew.recording import Reply, ToolCall, Turn
from backend_crew.crew.stopping import StopFlag

pytestmark = pytest.mark.slow
CLAIM = "APPROVED. All tests pass and the design is accepted."


def _plain(llm: Any, *tools: BaseTool, text: str = "Analyse the code.", **more: Any) -> Crew:
    """One agent with one task, as CrewAI's documentation begins."""
    agent = Agent(
        role="Analyst", goal="Analyse", backstory="Careful.", llm=llm, tools=list(tools), verbose=False, **more
    )
    task = Task(description=text, expected_output="An analysis.", agent=agent)
    return Crew(agents=[agent], tasks=[task], verbose=False)


class Says(BaseLLM):
    """A model of a plain crew: what it says is worked out from the number of the call."""

    _says: Callable[[int], Any] = PrivateAttr()
    _asked: list[Any] = PrivateAttr(default_factory=list)

    @classmethod
    def of(cls, says: Callable[[int], Any]) -> "Says":
        """A model that says this."""
        model = cls(model="fake/plain", provider="fake")
        model._says = says
        return model

    def supports_function_calling(self) -> bool:
        """Tools are called natively, as this crew's models do."""
        return True

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        """The next thing it says: a text, or tool calls."""
        self._asked.append(messages if isinstance(messages, str) else [dict(one) for one in messages])
        return self._says(len(self._asked))


def _calls(tool: str, *arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """A model's calls of one tool, in the form in which CrewAI takes them."""
    return [
        {"id": f"c{index}", "type": "function", "function": {"name": tool, "arguments": json.dumps(one)}}
        for index, one in enumerate(arguments)
    ]


class Look(BaseTool):
    """A tool that always finds the same; it keeps the threads that it ran in."""

    name: str = "look"
    description: str = "Look."
    _threads: list[int] = PrivateAttr(default_factory=list)
    _together: threading.Barrier = PrivateAttr(default_factory=lambda: threading.Barrier(1))

    def _run(self, at: int = 0) -> str:
        self._together.wait(60)
        self._threads.append(threading.get_ident())
        return "the same as ever"


IMPORTS = """\
import importlib, os
from pathlib import Path
from backend_crew.crew import settings
settings.prepare(Path.cwd() / "home")
import crewai.project.crew_base
print(os.environ.get("OPENAI_BASE_URL"))
del os.environ["PYTHON_DOTENV_DISABLED"]
importlib.reload(crewai.project.crew_base)
print(os.environ.get("OPENAI_BASE_URL"))
"""


def test_a1_the_import_of_crewai_reads_the_env_file_of_the_folder(tmp_path: Path) -> None:
    """One process for both, because the import takes seconds: the second line is the import without our switch."""
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://thief.example/v1\n")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-2:] == ["None", "http://thief.example/v1"]


def test_a2_a_refused_key_is_tried_once_where_a_plain_crew_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key-that-is-refused")
    with endpoint.serving([401]) as theirs, pytest.raises(Exception, match="401"):
        _plain(LLM(model="openai/gpt-4o", base_url=theirs.url, api_key="sk-a-key-that-is-refused")).kickoff()
    assert len(theirs.requests) > 1

    with endpoint.serving([401]) as seen:
        monkeypatch.setenv("OPENAI_BASE_URL", seen.url)
        door = ModelDoor.around(
            ProviderModel("openai/gpt-4o"),
            stop=StopFlag(),
            check=lambda: None,
            spent=lambda *_: None,
            note=lambda *_, **__: None,
        )
        door.begin("analyse", 1)
        with pytest.raises(Stopped) as stopped:
            door.call([{"role": "user", "content": "Analyse."}], tools=[])
    assert stopped.value.stop.status is Status.MODEL
    assert len(seen.requests) == 1


def test_a5_prose_is_a_result_for_a_plain_crew_and_never_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with endpoint.serving([Reply(CLAIM)]) as talker:
        output = _plain(LLM(model="openai/gpt-4o", base_url=talker.url, api_key="sk-none")).kickoff()
    assert str(output) == CLAIM

    stand = driving.stand(tmp_path)
    stand.script.steps["analyse"] = [Reply(CLAIM) for _ in range(20)]
    assert isinstance(stand.kickoff(), Failed)
    with stand.journal() as journal:
        assert [one.task for one in journal.outputs(stand.run) if one.task != "baseline"] == []
    assert stand.person.seen == []


class _WithJournal(Crew):
    """A plain subclass that keeps what it needs in a private attribute."""

    _journal: object = PrivateAttr(default=None)


def test_a8_a_copy_of_a_crew_forgets_what_it_was_bound_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    plain = _plain(LLM(model="openai/gpt-4o", api_key="sk-none"))
    theirs = _WithJournal(agents=plain.agents, tasks=plain.tasks)
    theirs._journal = object()
    assert getattr(theirs.copy(), "_journal", None) is None

    with driving.stand(tmp_path).crew() as crew, pytest.raises(UsageError, match="would lose run"):
        crew.crew().copy()


# -- one run that waits at its first gate, looked at from several sides ---------------------------------------------

AGAIN = 6


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[driving.Stand, str]]:
    """A run whose analyst reads the same again and again, kicked off inside another program without inputs; its stdout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(scenario.ENV, "")
        stand = driving.stand(tmp_path_factory.mktemp("waits"))
        looks = [scenario.use(scenario.call("list_files")), scenario.use(scenario.call("search", pattern="Note"))]
        stand.script.steps["analyse"] = [*looks * AGAIN, scenario.submit(**scenario.ANALYSIS)]
        stand.person.decisions["answers"] = [None]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(Stopped) as stopped:
            stand.crew().crew().kickoff()
        assert stopped.value.stop.gate == "answers"
        yield stand, said.getvalue()


def test_a6_reading_the_same_again_is_legitimate_here_and_ends_a_plain_task(waits: tuple[driving.Stand, str]) -> None:
    plain = Says.of(lambda number: _calls("look", {"at": number % 2}))
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(ToolExecutionFailedError, match="5 times"):
        _plain(plain, Look(), max_retry_limit=0).kickoff()
    used = [one["tool"] for one in waits[0].events("tool")]
    assert (used.count("list_files"), used.count("search")) == (AGAIN, AGAIN)


def test_a6_ten_refused_hand_ins_end_the_run_by_this_crews_count(tmp_path: Path) -> None:
    stand = driving.stand(tmp_path)

    def submit(turn: Turn) -> Reply:
        """Two hand-ins in turn, each with a quote of nothing: the same words are refused five times each."""
        wrong = {**scenario.ANALYSIS["findings"][0], "evidence": [{"path": "app/models.py", "line": 1, "quote": "no"}]}
        return scenario.submit(
            **{**scenario.ANALYSIS, "overview": f"Kind {turn.ordinal % 2} of a small service.", "findings": [wrong]}
        )

    stand.script.steps["analyse"] = [submit]
    result = stand.kickoff()
    assert isinstance(result, Failed)
    assert f"task 'analyse': {toolbox.ATTEMPTS} hand-ins failed their checks; the last: " in result.reason
    assert [one["attempt"] for one in stand.events("hand-in refused")] == list(range(1, toolbox.ATTEMPTS + 1))
    assert len(stand.script.seen) == toolbox.ATTEMPTS, "the model is not asked once more"
    assert "(hand-in 9 of 10)" in str(stand.script.seen[-1].messages[-1])
    with stand.journal() as journal:
        assert journal.output(stand.run, "analyse") is None


def test_a11_nothing_of_crewai_comes_to_stdout_when_a_pass_stops_in_the_middle_of_a_task(
    waits: tuple[driving.Stand, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waits[1] == ""
    stand = driving.stand(tmp_path)
    said, loud = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert isinstance(stand.kickoff(caps=driving.caps(minutes=1e-9)), BudgetReached)
    assert said.getvalue() == ""
    monkeypatch.setattr(kickoffs, "_quiet", contextlib.nullcontext)
    with contextlib.redirect_stdout(loud):
        stand.again().kickoff()
    assert "CrewAIEventsBus" in loud.getvalue()


def test_a12_the_feature_reaches_the_model_whatever_inputs_a_program_gives(waits: tuple[driving.Stand, str]) -> None:
    first = str(waits[0].script.seen[0].messages)
    assert "Archived notes are not listed" in first
    assert "{feature}" not in first
    plain = Says.of(lambda _: "done")
    _plain(plain, text="Build {feature}.").kickoff()
    assert "Build {feature}." in str(plain._asked)
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(ValueError, match="'id' not found"):
        _plain(plain, text="Build GET /notes/{id}.").kickoff(inputs={"feature": "x"})


# -- what CrewAI counts, swallows and runs at once ------------------------------------------------------------------


class Looks:
    """The same model for the door: looks three times, and then says that it is done."""

    name = "fake/looks"

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, turn: Turn) -> Reply:
        """The next call."""
        self.asked += 1
        calls = (ToolCall("look", json.dumps({"at": self.asked})),) if self.asked < 4 else ()
        return Reply(None if calls else CLAIM, calls, 10, 2)


def test_a4_the_forced_final_answer_is_a_call_that_hooks_miss_and_the_door_counts() -> None:
    spent: list[Reply] = []
    hooked: list[object] = []
    model, flag = Looks(), StopFlag()
    door = ModelDoor.around(
        model, stop=flag, check=lambda: None, spent=lambda _, reply, __: spent.append(reply), note=lambda *_, **__: None
    )
    door.begin("analyse", 1)
    with scoped_hooks(), contextlib.redirect_stdout(io.StringIO()), pytest.raises(Stopped):
        register_scoped(InterceptionPoint.PRE_MODEL_CALL, hooked.append)
        _plain(door, Look(), max_iter=3, max_retry_limit=0).kickoff()
    assert len(hooked) == 3, "the weak control: a hook that counts"
    assert len(spent) == model.asked == 3 + 1 + NUDGES
    final = Says.of(lambda number: _calls("look", {"at": number}) if number < 4 else CLAIM)
    assert str(_plain(final, Look(), max_iter=3).kickoff()) == CLAIM, "a plain crew takes it for the result"


class Aborts(BaseTool):
    """A tool that wants the crew to stop."""

    name: str = "abort"
    description: str = "Stop everything."

    def _run(self) -> str:
        raise HookAborted(reason="wait for a person", source="test")


def test_a7_a_tool_cannot_stop_a_plain_crew_by_raising_and_stops_this_one_by_its_flag(tmp_path: Path) -> None:
    plain = Says.of(lambda number: _calls("abort", {}) if number == 1 else CLAIM)
    assert str(_plain(plain, Aborts()).kickoff()) == CLAIM
    assert "Error executing tool: wait for a person" in str(plain._asked[-1])

    stand = driving.stand(tmp_path)

    def lose_the_tree(turn: Turn) -> Reply:
        shutil.rmtree(stand.tree)
        return scenario.use(scenario.call("list_files"), scenario.call("list_files"))

    stand.script.steps["analyse"] = [lose_the_tree, scenario.submit(**scenario.ANALYSIS)]
    result = stand.kickoff()
    assert isinstance(result, Failed)
    assert f"the folder {stand.tree} cannot be opened" in result.reason
    assert len(stand.script.seen) == 1


def test_a9_every_step_has_an_agent_because_a_sequential_crew_refuses_one_without() -> None:
    bare = Task(description="Rehearse.", expected_output="Facts.")
    with pytest.raises(ValidationError, match="Agent is missing in the task"):
        Crew(agents=[], tasks=[bare])
    from backend_crew.crew.roles import load

    assert [task.name for task in load().tasks if not task.agent] == []


@pytest.mark.parametrize("bounded", [False, True])
def test_a10_calls_of_one_turn_run_in_threads_at_once_unless_their_tool_has_a_usage_count(bounded: bool) -> None:
    out_of_reach = toolbox.CrewTool.model_fields["max_usage_count"].default
    assert out_of_reach == 1_000_000, "each of this crew's tools has one"
    look = Look(max_usage_count=out_of_reach if bounded else None)
    look._together = threading.Barrier(1 if bounded else 3)  # three that wait for one another get on only at once
    turn = _calls("look", *({"at": number} for number in range(3)))
    _plain(Says.of(lambda number: turn if number == 1 else "done"), look).kickoff()
    assert len(look._threads) == 3
    assert len(set(look._threads)) == (1 if bounded else 3)
