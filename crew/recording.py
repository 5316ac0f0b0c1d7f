"""Models for tests and demos: record real exchanges, replay them, or let a Python function answer.

CrewAI has no such helper; `Recorder`, `Recording`, `Replay` and `Scripted` are public API for crews that embed this one.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from backend_crew.crew.errors import RecordingError

Message = Mapping[str, Any]

#: Parts of a request that differ from run to run without meaning anything.
_VOLATILE = (
    (re.compile(r"\b\d+\.\d+ ?(ms|s|seconds)\b"), "<seconds>"),
    (re.compile(r"(/[\w.+~-]+)+/(?=[\w.+~-])"), "<folder>/"),
    (re.compile(r"\bline \d+, in\b"), "line <n>, in"),
    (re.compile(r"(?:\b|(?<=\\n))[0-9a-f]{7,64}\b"), "<hex>"),  # as JSON, a line begins after the letter n
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d[^\s\"]*)?"), "<time>"),
)


@dataclass(frozen=True)
class ToolCall:
    """One tool that the model wants to use; arguments as the JSON text that it wrote."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """One answer of a model."""

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Turn:
    """One request to a model, and where in the run it stands."""

    task: str
    round: int
    ordinal: int
    """0 for the first request of the task in this round."""
    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """SHA-256 over what the model sees, without what differs from run to run."""
        parts = [(m.get("role"), m.get("content"), _calls(m)) for m in self.messages]
        text = json.dumps([parts, self.tools], sort_keys=True, ensure_ascii=False, default=str)
        for pattern, word in _VOLATILE:
            text = pattern.sub(word, text)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _calls(message: Message) -> list[Any]:
    return [call.get("function") for call in message.get("tool_calls") or () if isinstance(call, Mapping)]


class Model(Protocol):
    """Something that answers requests; behind the model door there is always one of these."""

    name: str

    def ask(self, turn: Turn) -> Reply:
        """Answer one request."""
        ...


@dataclass
class Scripted:
    """A model that is a Python function: deterministic, offline, free."""

    answer: Callable[[Turn], Reply]
    name: str = "scripted/function"

    def ask(self, turn: Turn) -> Reply:
        """Let the function answer."""
        return self.answer(turn)


@dataclass(frozen=True)
class Inputs:
    """Digests of what a recording was made from; a replay must start from the same."""

    feature: str
    roles: str
    sample: str


@dataclass
class Recording:
    """Real exchanges in a JSON Lines file: a header, then one line for each reply."""

    inputs: Inputs
    made: str
    source: str
    """Who answered, in words that are shown wherever the recording is replayed."""
    replies: dict[tuple[str, int, int], tuple[str, Reply]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read a file; a task that was begun again replaces what was recorded of its earlier attempt."""
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            head, rows = lines[0], lines[1:]
            recording = cls(Inputs(**head["inputs"]), head["made"], head["source"])
            for row in rows:
                recording._add(row)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise RecordingError(f"{path.name} is not a recording: {error!r}") from error
        return recording

    def _add(self, row: Mapping[str, Any]) -> None:
        task, number, ordinal = row["task"], row["round"], row["ordinal"]
        if ordinal == 0:
            for key in [key for key in self.replies if key[:2] == (task, number)]:
                del self.replies[key]
        calls = tuple(ToolCall(**call) for call in row["tool_calls"])
        reply = Reply(row["content"], calls, row["prompt_tokens"], row["completion_tokens"])
        self.replies[task, number, ordinal] = (row["request"], reply)


class Replay:
    """Answers from a recording, by task, round and ordinal; inputs that changed are an error, not a guess."""

    def __init__(self, recording: Recording, inputs: Inputs | None = None) -> None:
        self.name = f"recorded/{recording.source}"
        self._recording = recording
        self.asked = 0
        self.drift: list[tuple[str, int, int]] = []
        """Requests that were not word for word the recorded ones (a tool printed something else, for example)."""
        if inputs is not None:
            self.check(inputs)

    def check(self, inputs: Inputs) -> None:
        """Whether a run starts from what the recording was made from; raises RecordingError. A run always asks."""
        recording = self._recording
        changed = [name for name, value in vars(inputs).items() if value != getattr(recording.inputs, name)]
        if changed:
            raise RecordingError(
                f"the recording was made with another {' and another '.join(changed)}; "
                "make it again, or replay it with what it was made from"
            )

    def ask(self, turn: Turn) -> Reply:
        """The recorded reply; raises RecordingError when the run asks for what was never recorded."""
        key = (turn.task, turn.round, turn.ordinal)
        if key not in self._recording.replies:
            raise RecordingError(
                f"the recording holds no reply for request {turn.ordinal} of task {turn.task!r}, round {turn.round}: "
                "the run took another way than the recorded one"
            )
        request, reply = self._recording.replies[key]
        self.asked += 1
        if request != turn.digest:
            self.drift.append(key)
        return reply


class Recorder:
    """Passes requests on to a model and writes every exchange down."""

    def __init__(self, model: Model, path: Path, head: Mapping[str, Any]) -> None:
        self.name = model.name
        self._model, self._path, self._lock = model, path, threading.Lock()
        if not path.exists():
            path.write_text(json.dumps(head, ensure_ascii=False) + "\n", encoding="utf-8")
        elif Recording.load(path).inputs != Inputs(**head["inputs"]):
            # a resumed run goes on in its own file; behind another run's head nothing could be replayed
            raise RecordingError(f"{path} holds the recording of another run; name a file that does not exist yet")

    def ask(self, turn: Turn) -> Reply:
        """Ask the model and append the exchange."""
        reply = self._model.ask(turn)
        row = {"task": turn.task, "round": turn.round, "ordinal": turn.ordinal, "request": turn.digest}
        row |= {"content": reply.content, "tool_calls": [vars(call) for call in reply.tool_calls]}
        row |= {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
        with self._lock, self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")  # ASCII: a model can write half a character
        return reply
