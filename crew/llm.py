"""The only door to models: it counts, caps, retries, nudges, notices loops, and obeys the stop flag."""

import asyncio
import contextvars
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from crewai import LLM, BaseLLM
from crewai.hooks import HookAborted
from pydantic import ConfigDict, PrivateAttr

from backend_crew.crew.errors import ModelError
from backend_crew.crew.model import Status, Stop
from backend_crew.crew.recording import Model, Reply, ToolCall, Turn
from backend_crew.crew.stopping import StopFlag

RETRIES = 3
NUDGES = 3
SAME_CALLS = 4
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
#: CrewAI opens a client without a key and only says so at the first request.
_MISSING_KEY = re.compile(r"\b([A-Z][A-Z0-9_]*_API_KEY) is required")
#: What the providers' own clients raise for a request that never got through; none of them is an OSError.
_UNREACHED = frozenset({"APIConnectionError", "APITimeoutError", "ConnectError", "ReadTimeout", "ConnectTimeout"})
_NUDGE = (
    "That was text, and text is not recorded. Use one of the tools: go on with the work, "
    "or hand in the result with the tool `submit`."
)
_PROSE, _TOLD = "it wrote text and called no tool", 400
_BROKEN = (
    "Nothing was done: the arguments of your call of `{tool}` cannot be read. {fault}. Found: {found}\n"
    "Give one JSON object with the arguments that the tool's schema names, whole, and make your calls again."
)
_LOOP = (
    "You have made exactly this tool call {count} times in a row. Its answer will not change. "
    "Do something else, or hand in what you have with `submit`."
)


class Stopped(HookAborted):
    """Carries a Stop through CrewAI, which passes HookAborted on without retrying."""

    def __init__(self, stop: Stop) -> None:
        # The message stays empty of the reason: CrewAI retries whatever mentions a rate limit.
        super().__init__(reason="stopped", source="backend-crew")
        self.stop = stop


class ProviderModel:
    """A real model behind CrewAI's own client, which is made when it is first needed: making one takes a tenth of a second."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _llm(self) -> LLM | BaseLLM:
        return _client(self.name)

    def check(self) -> None:
        """Raise ModelError for a name that cannot be used."""
        self._llm  # noqa: B018  # making the client is the check

    def ask(self, turn: Turn) -> Reply:
        """One request to the provider; its errors come out as they are."""
        before = self._llm.get_token_usage_summary()
        answer = self._llm.call(list(turn.messages), tools=list(turn.tools) or None)  # type: ignore[arg-type]  # plain dicts of the same shape
        after = self._llm.get_token_usage_summary()
        tokens = (after.prompt_tokens - before.prompt_tokens, after.completion_tokens - before.completion_tokens)
        if isinstance(answer, list):
            return Reply(None, tuple(_tool_call(call) for call in answer), *tokens)
        return Reply(None if answer is None else str(answer), (), *tokens)


def _client(name: str) -> LLM | BaseLLM:
    provider, separator, model = name.partition("/")
    if not separator or not model:
        raise ModelError(f"the model {name!r} names no provider; write it as provider/model, anthropic/… for example")
    try:
        client = LLM(model=name, timeout=600, max_retries=0, temperature=None)
    except ImportError as error:
        raise ModelError(f"the model {name!r} cannot be used: {_advice(provider, str(error))}") from error
    except ValueError as error:
        raise ModelError(f"the model {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    if client.provider not in {provider, provider.replace("google", "gemini")}:
        raise ModelError(f"the model {name!r} would be served by {client.provider!r}, not {provider!r}; check its name")
    if not client.supports_function_calling():
        raise ModelError(f"the model {name!r} has no native tool calls, which every stage needs; choose another")
    return client


def _advice(provider: str, error: str) -> str:
    """What to do about an ImportError or ValueError of CrewAI's client."""
    if key := _MISSING_KEY.search(error):
        return f"no key was found. Set {key[1]}, or name a file that holds it with --env-file"
    if extra := re.search(r"crewai\[([a-z0-9-]+)\]", error) if "native provider not available" in error else None:
        return f"its provider is not installed; pip install 'crewai[{extra[1]}]'"
    if known := re.search(r"supported native provider \(([^)]+)\)", error):
        if provider in known[1].split(", "):
            return f"{provider} has no model of that name; check its spelling"
        return f"no provider is called {provider!r}; there are: {known[1]}"
    return error.splitlines()[0]


def _tool_call(call: Any) -> ToolCall:
    """One call in whichever form the provider's client returns it."""
    if isinstance(call, Mapping):
        body = call.get("function") or call
        name, arguments = body.get("name"), body.get("arguments", body.get("input", {}))
    elif hasattr(call, "function"):
        name, arguments = call.function.name, call.function.arguments
    else:
        name, arguments = call.name, call.input
    return ToolCall(str(name), arguments if isinstance(arguments, str) else json.dumps(arguments))


def _fault(call: ToolCall) -> str | None:
    """Why the arguments of a call cannot be read; None when they are one JSON object."""
    try:
        given = json.loads(call.arguments)
    except ValueError as error:  # cut off by a limit on the reply, or not JSON at all
        return f"They are not valid JSON: {error}"
    except RecursionError:
        return "They are nested too deeply"
    return None if isinstance(given, dict) else f"Expected a JSON object, found {type(given).__name__}"


def _ends(text: str) -> str:
    """The two ends of a text: where a reply was cut off shows at the second."""
    return repr(text) if len(text) <= 200 else f"{text[:100]!r} … {text[-100:]!r}"


class Conversation:
    """What the door knows about the task at hand; begun anew for each attempt."""

    def __init__(self, task: str, round: int) -> None:
        self.task, self.round = task, round
        self.ordinal = 0
        self.nudges = 0
        self.last: tuple[ToolCall, ...] = ()
        self.same = 0


class ModelDoor(BaseLLM):
    """What CrewAI takes for the model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _model: Model = PrivateAttr()
    _stop: StopFlag = PrivateAttr()
    _check: Callable[[], Stop | None] = PrivateAttr()
    _spent: Callable[[str, Reply, float], None] = PrivateAttr()
    _note: Callable[..., None] = PrivateAttr()
    _redact: Callable[[str], str] = PrivateAttr()
    _clean: dict[str, str] = PrivateAttr(default_factory=dict)
    """Messages of this task that were redacted already: a conversation is sent again with each request."""
    _talk: Conversation = PrivateAttr()

    @classmethod
    def around(
        cls,
        model: Model,
        *,
        stop: StopFlag,
        check: Callable[[], Stop | None],
        spent: Callable[[str, Reply, float], None],
        note: Callable[..., None],
        redact: Callable[[str], str] = str,
    ) -> "ModelDoor":
        """A door in front of a model: `check` asks the caps, `spent` records usage, `note` records events.

        Every message passes `redact` on its way out, whatever made it.
        """
        door = cls(model=model.name, provider="backend-crew")
        door._model, door._stop, door._check, door._spent, door._note = model, stop, check, spent, note
        door._redact, door._talk = redact, Conversation("", 0)
        return door

    def begin(self, task: str, round: int) -> None:
        """A task's conversation starts."""
        self._talk = Conversation(task, round)
        self._clean.clear()

    def supports_function_calling(self) -> bool:
        """Models without native tool calls were refused when the model was opened."""
        return True

    def supports_stop_words(self) -> bool:
        """Not used."""
        return False

    def get_context_window_size(self) -> int:
        """Compaction by CrewAI is off; prompts are bounded where they are made."""
        return 10_000_000

    def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
        """Not used: usage comes from the provider."""
        return 0

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Answer CrewAI: a list of tool calls, never prose where a tool is expected."""
        asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        while True:
            reply = self._ask(asked, tools or ())
            complaint = self._complaint(reply)
            if complaint is None:
                return [_as_openai(call, self._talk, index) for index, call in enumerate(reply.tool_calls)]
            self._talk.nudges += 1
            self._note("nudged", task=self._talk.task, count=self._talk.nudges)
            if self._talk.nudges > NUDGES:
                what = f"the model answered {self._talk.nudges} times in a form that cannot be used"
                last = (self._redact(complaint) if reply.tool_calls else _PROSE).splitlines()[0][:_TOLD]
                reason = f"{what} in task {self._talk.task!r}; the last time: {last}"
                raise Stopped(Stop(Status.FAILED, reason, task=self._talk.task))
            asked = [
                *asked,
                {"role": "assistant", "content": reply.content or "(nothing)"},
                {"role": "user", "content": complaint},
            ]

    async def acall(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The same from an event loop, without blocking it."""
        return await asyncio.to_thread(self.call, messages, tools)

    def _complaint(self, reply: Reply) -> str | None:
        """What is wrong with a reply, in words for the model; None when it can be used."""
        talk = self._talk
        if not reply.tool_calls:
            return _NUDGE
        for call in reply.tool_calls:
            if fault := _fault(call):
                # CrewAI would answer this itself, and no record would show that it happened
                self._note("unusable call", task=talk.task, tool=call.name[:100], reason=fault)
                return _BROKEN.format(tool=call.name[:100], fault=fault, found=_ends(call.arguments))
        talk.same = talk.same + 1 if reply.tool_calls == talk.last else 1
        talk.last = reply.tool_calls
        if talk.same >= SAME_CALLS:
            return _LOOP.format(count=talk.same)
        if talk.same == 1:
            talk.nudges = 0
        return None

    def _ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Reply:
        """One request, with bounded retries of what may pass; never of a refused key."""
        failures = 0
        while True:
            self._raise_if_stopped()
            talk = self._talk
            turn = Turn(talk.task, talk.round, talk.ordinal, [self._redacted(one) for one in messages], tools)
            started = time.monotonic()
            reply, error = _in_thread(lambda turn=turn: self._model.ask(turn), self._stop)  # type: ignore[misc]  # mypy cannot type a default of a lambda
            if reply is not None:  # paid for, so it is counted even when the run is being stopped
                talk.ordinal += 1
                self._spent(self._model.name, reply, time.monotonic() - started)
            if self._stop.stop:
                raise Stopped(self._stop.stop)
            if reply is not None:
                return reply
            failures += 1
            stop = _stop_for(error, failures, self._model.name)
            self._note("model error", task=talk.task, attempt=failures, error=_short(error), final=stop is not None)
            if stop is not None:
                raise Stopped(stop)
            self._stop.wait(min(2.0**failures, 20.0))

    def _redacted(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message without secrets; what the model itself wrote in a tool call goes back to it as it was."""
        content = message.get("content")
        if isinstance(content, list):
            parts = [{**part, "text": self._redact(part["text"])} if "text" in part else part for part in content]
            return {**message, "content": parts}
        if not isinstance(content, str):
            return message
        if content not in self._clean:
            self._clean[content] = self._redact(content)
        return {**message, "content": self._clean[content]}

    def _raise_if_stopped(self) -> None:
        stop = self._stop.stop or self._check()
        if stop is not None:
            self._stop.set(stop)
            raise Stopped(stop)


def _in_thread(ask: Callable[[], Reply], stop: StopFlag) -> tuple[Reply | None, Exception | None]:
    """Wait for the model in a thread that can be abandoned: a request that is under way cannot be cancelled."""
    answers: queue.Queue[tuple[Reply | None, Exception | None]] = queue.Queue()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            answers.put((context.run(ask), None))
        except Exception as error:  # noqa: BLE001  # a boundary: whatever a provider's client raises is classified below
            answers.put((None, error))

    threading.Thread(target=work, name="model", daemon=True).start()
    while not stop:
        try:
            return answers.get(timeout=0.1)
        except queue.Empty:
            continue
    return None, None


def _stop_for(error: Exception | None, failures: int, model: str) -> Stop | None:
    """Whether an error ends the run; None means that it may be tried again."""
    if error is None:
        return Stop(Status.FAILED, "the model gave no answer")
    status, text = _status(error), _short(error)
    if isinstance(error, ModelError):
        return Stop(Status.MODEL, text)
    if _MISSING_KEY.search(text):
        return Stop(Status.MODEL, f"the model {model!r} cannot be used: {_advice('', text)}")
    if status in (401, 403):
        return Stop(Status.MODEL, f"the provider refused the key for {model}: {text}")
    if status == 404:
        return Stop(Status.MODEL, f"the provider does not know the model {model}: {text}")
    if "tool" in text.lower() and "support" in text.lower() and status == 400:
        return Stop(Status.MODEL, f"the model {model} has no native tool calls: {text}")
    passing = status in _TRANSIENT or (status is None and (isinstance(error, OSError) or _unreached(error)))
    if passing and failures <= RETRIES:
        return None
    after = f" after {failures} attempts" if failures > 1 else ""
    return Stop(Status.FAILED, f"the model {model} failed{after}: {text}")


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, however deeply a client wrapped it."""
    seen = 0
    while error is not None and seen < 10:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            return status
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def _unreached(error: BaseException) -> bool:
    return any(kind.__name__ in _UNREACHED for kind in type(error).__mro__)


def _short(error: BaseException | None) -> str:
    line = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
    # the sign of a cut, beside which whoever takes secrets out knows a part of one
    return line if len(line) <= 300 else f"{line[:299]}…"


def _as_openai(call: ToolCall, talk: Conversation, index: int) -> dict[str, Any]:
    return {
        "id": f"call_{talk.task}_{talk.round}_{talk.ordinal}_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
