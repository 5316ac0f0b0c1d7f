"""The model door: every way in which a model can fail ends in one stop with one reason, soon, and is written down."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai
import pytest
import quiet  # noqa: F401  # sets crewai's switches before the import below

from backend_crew.crew import llm
from backend_crew.crew.errors import ModelError
from backend_crew.crew.llm import NUDGES, RETRIES, SAME_CALLS, ModelDoor, ProviderModel, Stopped
from backend_crew.crew.model import Status, Stop
from backend_crew.crew.recording import Model, Reply, ToolCall, Turn
from backend_crew.crew.stopping import StopFlag

REQUEST = httpx.Request("POST", "http://127.0.0.1/")
MESSAGES = [{"role": "user", "content": "go on"}]
Answer = Reply | Exception


def uses(name: str = "search", arguments: str = "{}") -> Reply:
    """A reply that calls one tool."""
    return Reply(None, (ToolCall(name, arguments),), 10, 2)


def failed(status: int, text: str = "no") -> Exception:
    """A provider's error with an HTTP status."""
    return anthropic.APIStatusError(text, response=httpx.Response(status, request=REQUEST), body=None)


class HurriedFlag(StopFlag):
    """A stop flag whose waits are written down instead of waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Only look."""
        self.waits.append(seconds)
        return bool(self)


@dataclass
class Listed:
    """A model that gives these answers one after the other, the last one for ever."""

    answers: list[Answer]
    name: str = "fake/model"
    turns: list[Turn] = field(default_factory=list)

    def ask(self, turn: Turn) -> Reply:
        """The next answer."""
        self.turns.append(turn)
        answer = self.answers[min(len(self.turns), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Stand:
    """A door with everything that it reports to."""

    model: Model
    flag: StopFlag = field(default_factory=HurriedFlag)
    cap: Callable[[], Stop | None] = lambda: None
    spent: list[Reply] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def door(self, task: str = "design") -> ModelDoor:
        """A door in which a task's conversation has begun."""
        door = ModelDoor.around(
            self.model,
            stop=self.flag,
            check=self.cap,
            spent=lambda _name, reply, _seconds: self.spent.append(reply),
            note=lambda kind, **data: self.events.append((kind, data)),
        )
        door.begin(task, 1)
        return door

    def stop(self, door: ModelDoor | None = None) -> Stop:
        """The stop that a call ends in."""
        with pytest.raises(Stopped) as caught:
            (door or self.door()).call(MESSAGES)
        return caught.value.stop


def names(answer: Any) -> list[str]:
    """The tools that an answer to CrewAI calls."""
    return [call["function"]["name"] for call in answer]


def test_tool_calls_come_out_as_crewai_expects_them() -> None:
    stand = Stand(Listed([Reply("thinking", (ToolCall("a", '{"x": 1}'), ToolCall("b", "{}")), 5, 1)]))
    answer = stand.door().call(MESSAGES, [{"type": "function"}])
    assert names(answer) == ["a", "b"]
    assert answer[0]["function"]["arguments"] == '{"x": 1}'
    assert len({call["id"] for call in answer}) == 2
    assert stand.spent[0].prompt_tokens == 5


def test_requests_are_numbered_within_a_task_and_begin_again_with_the_next() -> None:
    model = Listed([uses("a"), uses("b"), uses("c")])
    door = Stand(model).door("design")
    door.call("a plain text")
    door.call(MESSAGES)
    door.begin("test", 2)
    door.call(MESSAGES)
    assert [(turn.task, turn.round, turn.ordinal) for turn in model.turns] == [("design", 1, 0), ("design", 1, 1), ("test", 2, 0)]  # fmt: skip
    assert model.turns[0].messages == [{"role": "user", "content": "a plain text"}]


def test_the_same_from_an_event_loop() -> None:
    stand = Stand(Listed([uses()]))
    assert names(asyncio.run(stand.door().acall(MESSAGES))) == ["search"]
    with pytest.raises(Stopped):
        asyncio.run(Stand(Listed([failed(401)])).door().acall(MESSAGES))


# -- errors --------------------------------------------------------------------------------------------------------


def passing() -> list[Exception]:
    """Errors that may pass, as the providers' clients raise them."""
    wrapped = RuntimeError("wrapped by a client")
    wrapped.__cause__ = failed(503)
    return [
        *(failed(status) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        anthropic.APITimeoutError(REQUEST),
        anthropic.APIConnectionError(request=REQUEST),
        openai.APITimeoutError(REQUEST),
        httpx.ReadTimeout("slow", request=REQUEST),
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        wrapped,
    ]


@pytest.mark.parametrize(
    "error", passing(), ids=lambda error: f"{type(error).__name__}{getattr(error, 'status_code', '')}"
)
def test_what_may_pass_is_tried_again_and_written_down(error: Exception) -> None:
    model = Listed([error, error, uses()])
    stand = Stand(model)
    assert names(stand.door().call(MESSAGES)) == ["search"]
    assert len(model.turns) == 3
    assert [(kind, data["attempt"], data["final"]) for kind, data in stand.events] == [
        ("model error", 1, False),
        ("model error", 2, False),
    ]
    assert len(stand.spent) == 1
    assert isinstance(stand.flag, HurriedFlag)
    assert stand.flag.waits == [2.0, 4.0]


@pytest.mark.parametrize(
    "error", [failed(429), failed(500), anthropic.APITimeoutError(REQUEST)], ids=["429", "500", "time"]
)
def test_but_not_for_ever(error: Exception) -> None:
    model = Listed([error])
    stand = Stand(model)
    stop = stand.stop()
    assert len(model.turns) == RETRIES + 1
    assert stop.status is Status.FAILED
    assert f"after {RETRIES + 1} attempts" in stop.reason
    assert stand.events[-1][1]["final"] is True
    assert stand.spent == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_never_tried_again(status: int) -> None:
    model = Listed([failed(status, "invalid x-api-key")])
    stop = Stand(model).stop()
    assert len(model.turns) == 1
    assert (stop.status, stop.exit_code) == (Status.MODEL, 4)
    assert "refused the key for fake/model" in stop.reason


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (failed(404, "model: no"), Status.MODEL, "does not know the model fake/model"),
        (failed(400, "this model does not support tools"), Status.MODEL, "no native tool calls"),
        (failed(400, "prompt too long"), Status.FAILED, "prompt too long"),
        (ValueError("ANTHROPIC_API_KEY is required"), Status.MODEL, "Set ANTHROPIC_API_KEY, or name a file that holds it with --env-file"),
        (ModelError("no such extra"), Status.MODEL, "no such extra"),
        (KeyError("choices"), Status.FAILED, "KeyError"),
        (RuntimeError(""), Status.FAILED, "RuntimeError"),
    ],
)  # fmt: skip
def test_what_will_not_pass_is_said_once(error: Exception, status: Status, says: str) -> None:
    model = Listed([error])
    stop = Stand(model).stop()
    assert len(model.turns) == 1
    assert stop.status is status
    assert says in stop.reason


def test_the_reason_of_a_stop_is_not_in_its_message() -> None:
    """CrewAI tries again whatever mentions a rate limit."""
    with pytest.raises(Stopped) as caught:
        Stand(Listed([failed(429, "rate limit")])).door().call(MESSAGES)
    assert "rate" not in str(caught.value).lower()
    assert "rate limit" in caught.value.stop.reason


# -- answers that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Here is what I would do …", "", None])
def test_prose_is_nudged_inside_the_conversation(text: str | None) -> None:
    model = Listed([Reply(text, (), 10, 2), uses("submit")])
    stand = Stand(model)
    assert names(stand.door().call(MESSAGES)) == ["submit"]
    assert [message["role"] for message in model.turns[1].messages] == ["user", "assistant", "user"]
    assert model.turns[1].messages[1]["content"]  # providers refuse an empty message
    assert "submit" in model.turns[1].messages[2]["content"]
    assert len(stand.spent) == 2  # a useless answer is paid for as well
    assert [kind for kind, _ in stand.events] == ["nudged"]


def test_endless_prose_stops_the_run() -> None:
    model = Listed([Reply("I am done.")])
    stop = Stand(model).stop()
    assert len(model.turns) == NUDGES + 1
    assert stop.status is Status.FAILED
    assert f"answered {NUDGES + 1} times in a form that cannot be used in task 'design'" in stop.reason
    assert stop.reason.endswith("; the last time: it wrote text and called no tool")


def test_prose_between_tools_does_not_add_up() -> None:
    prose = Reply("hm")
    door = Stand(Listed([prose, uses("a"), prose, prose, uses("b"), prose, prose, prose, uses("c")])).door()
    assert [names(door.call(MESSAGES)) for _ in range(3)] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"path": "app/x.py", "text": "cut o', "not valid JSON: Unterminated string"),
        ("", "not valid JSON: Expecting value"),
        ("path=app/x.py", "not valid JSON"),
        ('["app/x.py"]', "Expected a JSON object, found list"),
        ("null", "found NoneType"),
        ("[" * 100_000, "nested too deeply"),
        ('{"text": "' + "x" * 5_000, "xxx' … 'xxx"),
    ],
)
def test_arguments_that_cannot_be_read_are_recorded_and_answered(arguments: str, says: str) -> None:
    broken = Reply("writing", (ToolCall("list_files", "{}"), ToolCall("write_file", arguments)), 10, 2)
    model = Listed([broken, uses("write_file", '{"path": "app/x.py"}')])
    stand = Stand(model)
    assert names(stand.door().call(MESSAGES)) == ["write_file"], "no call of the broken turn is done"
    [(kind, data), (after, _)] = stand.events
    assert (kind, after) == ("unusable call", "nudged")
    assert (data["task"], data["tool"]) == ("design", "write_file")
    answer = str(model.turns[1].messages[-1]["content"])
    assert says in answer and len(answer) < 1_000
    assert data["reason"] in answer and "`write_file`" in answer
    assert len(stand.spent) == 2


def test_arguments_that_are_never_readable_stop_the_run() -> None:
    model = Listed([uses("submit", f"{{{number}") for number in range(9)])
    stop = Stand(model).stop()
    assert (stop.status, len(model.turns)) == (Status.FAILED, NUDGES + 1)
    assert "in a form that cannot be used" in stop.reason
    assert "the last time: Nothing was done: the arguments of your call of `submit` cannot be read." in stop.reason
    assert "\n" not in stop.reason and len(stop.reason) < 600


def test_the_same_call_for_ever_is_told_and_then_stopped() -> None:
    model = Listed([uses("search", '{"pattern": "x"}')])
    stand = Stand(model)
    door = stand.door()
    for _ in range(SAME_CALLS - 1):
        door.call(MESSAGES)
    stop = stand.stop(door)
    assert stop.status is Status.FAILED
    assert len(model.turns) == SAME_CALLS + NUDGES
    assert f"exactly this tool call {SAME_CALLS} times" in model.turns[SAME_CALLS].messages[-1]["content"]


def test_a_model_that_heeds_the_warning_goes_on() -> None:
    door = Stand(Listed([*[uses()] * SAME_CALLS, uses("submit")])).door()
    for _ in range(SAME_CALLS - 1):
        door.call(MESSAGES)
    assert names(door.call(MESSAGES)) == ["submit"]


def test_the_same_tool_with_other_arguments_is_no_loop() -> None:
    door = Stand(Listed([uses("read_file", f'{{"start": {number}}}') for number in range(20)])).door()
    for _ in range(20):
        assert names(door.call(MESSAGES)) == ["read_file"]


# -- caps and stops ------------------------------------------------------------------------------------------------


def test_a_cap_is_asked_before_each_request() -> None:
    model = Listed([uses("a"), uses("b"), uses("c")])
    stand = Stand(model)
    stand.cap = lambda: Stop(Status.BUDGET, "2 of 2 calls") if len(stand.spent) >= 2 else None
    door = stand.door()
    door.call(MESSAGES)
    assert names(door.call(MESSAGES)) == ["b"]  # the call that uses the cap up is paid for, so it counts
    stop = stand.stop(door)
    assert (stop.status, stop.exit_code) == (Status.BUDGET, 5)
    assert len(model.turns) == 2
    assert stand.flag.stop == stop


def test_nudges_and_retries_count_against_the_caps() -> None:
    stand = Stand(Listed([Reply("prose")]))
    stand.cap = lambda: Stop(Status.BUDGET, "used") if len(stand.spent) >= 2 else None
    assert stand.stop().status is Status.BUDGET
    stand = Stand(Listed([failed(500)]))
    stand.cap = lambda: Stop(Status.BUDGET, "used") if len(stand.events) >= 2 else None
    assert stand.stop().status is Status.BUDGET


def test_a_cap_that_a_slow_answer_crosses_does_not_lose_the_answer() -> None:
    late: list[bool] = []
    stand = Stand(Listed([uses()]))
    stand.cap = lambda: Stop(Status.BUDGET, "minutes") if late else None

    class Slow(Listed):
        def ask(self, turn: Turn) -> Reply:
            late.append(True)
            return super().ask(turn)

    stand.model = Slow([uses()])
    door = stand.door()
    assert names(door.call(MESSAGES)) == ["search"]
    assert len(stand.spent) == 1
    assert stand.stop(door).status is Status.BUDGET


def test_an_answer_that_arrives_with_the_stop_is_counted_but_not_acted_upon() -> None:
    stand = Stand(Listed([uses()]))
    door = stand.door()

    def spent(_name: str, reply: Reply, _seconds: float) -> None:
        stand.spent.append(reply)
        stand.flag.set(Stop(Status.INTERRUPTED, "Ctrl-C"))

    door._spent = spent
    assert stand.stop(door).status is Status.INTERRUPTED
    assert len(stand.spent) == 1


@dataclass
class Hanging:
    """A model that does not answer until it is let go."""

    asked: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    name: str = "fake/hanging"

    def ask(self, turn: Turn) -> Reply:
        """Nothing, for a long time."""
        self.asked.set()
        self.let_go.wait(60)
        return uses()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    model = Hanging()
    yield model
    model.let_go.set()


def test_a3_the_stop_flag_is_obeyed_while_a_model_hangs(hanging: Hanging) -> None:
    stand = Stand(hanging, StopFlag())
    seen: list[float] = []

    def interrupt() -> None:
        hanging.asked.wait(30)
        seen.append(time.monotonic())
        stand.flag.set(Stop(Status.INTERRUPTED, "Ctrl-C"))

    threading.Thread(target=interrupt).start()
    stop = stand.stop()
    assert time.monotonic() - seen[0] < 2
    assert stop.status is Status.INTERRUPTED
    assert stand.spent == []


def test_the_stop_flag_is_obeyed_between_retries() -> None:
    stand = Stand(Listed([failed(500)]), StopFlag())
    door = stand.door()
    threading.Timer(0.2, lambda: stand.flag.set(Stop(Status.INTERRUPTED, "Ctrl-C"))).start()
    started = time.monotonic()
    assert stand.stop(door).status is Status.INTERRUPTED
    assert time.monotonic() - started < 2  # the pause after the first failure alone would be two seconds


def test_after_a_stop_no_request_is_made() -> None:
    model = Listed([uses()])
    stand = Stand(model)
    stand.flag.set(Stop(Status.WAITING, "scope", gate="scope"))
    assert stand.stop().gate == "scope"
    assert model.turns == []


# -- opening a provider's model ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("claude-sonnet-4-6", "names no provider; write it as provider/model"),
        ("anthropic/", "names no provider"),
        ("", "names no provider"),
        ("nosuch/model", "no provider is called 'nosuch'; there are: openai, anthropic"),
        ("anthropic/nosuch", "anthropic has no model of that name; check its spelling"),
        ("bedrock/anthropic.claude-3", "its provider is not installed; pip install 'crewai[bedrock]'"),
        ("gemini/gemini-2.0-flash", "its provider is not installed; pip install 'crewai[google-genai]'"),
    ],
)
@pytest.mark.filterwarnings("default")  # crewai's imports of optional clients warn
def test_a_model_that_cannot_be_opened_says_what_to_do(name: str, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        ProviderModel(name).check()
    assert says in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["anthropic/claude-sonnet-4-6", "openai/gpt-4o"])
def test_a_missing_key_is_a_refused_model_and_names_the_variable(name: str) -> None:
    stop = Stand(ProviderModel(name)).stop()
    assert (stop.status, stop.exit_code) == (Status.MODEL, 4)
    assert f"Set {name.split('/', maxsplit=1)[0].upper()}_API_KEY" in stop.reason


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"function": {"name": "a", "arguments": '{"x": 1}'}}, ToolCall("a", '{"x": 1}')),
        ({"name": "a", "input": {"x": 1}}, ToolCall("a", '{"x": 1}')),
        (anthropic.types.ToolUseBlock(id="i", name="a", input={"x": 1}, type="tool_use"), ToolCall("a", '{"x": 1}')),
    ],
)
def test_a_call_is_read_in_every_form_in_which_clients_return_it(call: Any, expected: ToolCall) -> None:
    assert llm._tool_call(call) == expected
