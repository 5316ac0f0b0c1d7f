"""Recordings: what is replayed is what was recorded, or an error."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_crew.crew.errors import RecordingError
from backend_crew.crew.recording import Inputs, Recorder, Recording, Replay, Reply, Scripted, ToolCall, Turn

INPUTS = Inputs("f" * 64, "r" * 64, "s" * 64)
HEAD = {"recording": 1, "made": "2026-01-01", "source": "a person", "inputs": vars(INPUTS)}


def turn(task: str = "design", round: int = 1, ordinal: int = 0, text: str = "do it") -> Turn:
    """One request."""
    return Turn(task, round, ordinal, [{"role": "user", "content": text}], [])


def answer(turn: Turn) -> Reply:
    """A reply that names its request."""
    arguments = json.dumps({"n": turn.ordinal, "task": turn.task})
    return Reply(None, (ToolCall("submit", arguments),), 10, 2)


def record(path: Path, *turns: Turn) -> Recording:
    """A file with the replies to these requests."""
    recorder = Recorder(Scripted(answer), path, HEAD)
    for one in turns:
        recorder.ask(one)
    return Recording.load(path)


def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    turns = [turn(), turn(ordinal=1), turn("test", 2)]
    replay = Replay(record(tmp_path / "r.jsonl", *turns), INPUTS)
    assert replay.name == "recorded/a person"
    assert [replay.ask(one) for one in turns] == [answer(one) for one in turns]
    assert replay.drift == []


@pytest.mark.parametrize("name", ["feature", "roles", "sample"])
def test_other_inputs_are_an_error_and_not_a_guess(tmp_path: Path, name: str) -> None:
    recording = record(tmp_path / "r.jsonl", turn())
    with pytest.raises(RecordingError, match=f"made with another {name};"):
        Replay(recording, Inputs(**{**vars(INPUTS), name: "0" * 64}))
    with pytest.raises(RecordingError, match="another feature and another roles and another sample"):
        Replay(recording, Inputs("", "", ""))


@pytest.mark.parametrize("asked", [turn(ordinal=1), turn(round=2), turn("test")])
def test_a_reply_that_was_never_recorded_is_an_error(tmp_path: Path, asked: Turn) -> None:
    replay = Replay(record(tmp_path / "r.jsonl", turn()), INPUTS)
    with pytest.raises(RecordingError, match=f"request {asked.ordinal} of task {asked.task!r}, round {asked.round}"):
        replay.ask(asked)


def test_a_task_that_was_begun_again_replaces_its_earlier_replies(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    earlier = Recorder(Scripted(lambda _: Reply("first attempt")), path, HEAD)
    for ordinal in range(3):
        earlier.ask(turn(ordinal=ordinal))
    earlier.ask(turn("test"))
    replay = Replay(record(path, turn()), INPUTS)
    assert replay.ask(turn()) == answer(turn())
    with pytest.raises(RecordingError):  # of the first attempt's three replies none is left to be mixed in
        replay.ask(turn(ordinal=1))
    assert replay.ask(turn("test")).content == "first attempt"


def test_other_words_are_noted_as_drift_and_replayed(tmp_path: Path) -> None:
    replay = Replay(record(tmp_path / "r.jsonl", turn(), turn(ordinal=1)), INPUTS)
    replay.ask(turn(text="do something else"))
    replay.ask(turn(ordinal=1))
    assert replay.drift == [("design", 1, 0)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("took 1.25 s", "took 13.5 seconds", True),
        ("tree 53deb1c0", "tree 9fa56c3d", True),
        ("at 2026-01-02T03:04:05+00:00", "at 2027-01-02 03:04:05.123", True),
        ("log:\n53deb1c 2026-01-02 Ann", "log:\n9fa56c3 2027-01-03 Ann", True),
        ("3 tests passed", "4 tests passed", False),
        ("took 1.25 s", "took 1.25 m", False),
        ("0002_refunds.py", "0003_refunds.py", False),
    ],
)
def test_only_what_means_nothing_is_left_out_of_the_digest(one: str, other: str, same: bool) -> None:
    assert (turn(text=one).digest == turn(text=other).digest) is same


def test_a_request_is_also_its_tools_and_the_calls_in_it() -> None:
    plain = turn()
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "x1", "function": {"name": "a"}}]}
    renamed = {**called, "tool_calls": [{"id": "x2", "function": {"name": "b"}}]}
    other_id = {**called, "tool_calls": [{"id": "x2", "function": {"name": "a"}}]}
    digests = [Turn("t", 1, 0, [message], []).digest for message in (called, renamed, other_id)]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]  # ids are made up by the door
    assert Turn("t", 1, 0, plain.messages, [{"name": "submit"}]).digest != plain.digest


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", '{"inputs": {}}', '{"inputs": {"feature": "f"}, "made": "m", "source": "s"}', "\x00"]
    + [json.dumps(HEAD) + "\n" + row for row in ("{}", "[]", "1", '{"task": "a"', '{"task": "a", "round": 1}')],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.jsonl").write_text(text)
    with pytest.raises(RecordingError, match=r"broken\.jsonl is not a recording"):
        Recording.load(tmp_path / "broken.jsonl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.jsonl is not a recording: FileNotFoundError"):
        Recording.load(tmp_path / "none.jsonl")


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_a_model_writes_survives_the_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Line separators of Unicode and halves of characters included."""
    path = tmp_path_factory.mktemp("recording") / "r.jsonl"
    reply = Reply(text, (ToolCall("submit", text),), 1, 1)
    Recorder(Scripted(lambda _: reply), path, HEAD).ask(turn())
    assert Replay(Recording.load(path), INPUTS).ask(turn()) == reply


def test_a_recording_that_holds_a_line_separator_as_it_is_can_be_read(tmp_path: Path) -> None:
    row = {"task": "t", "round": 1, "ordinal": 0, "request": "", "content": "a\u2028b\x85c", "tool_calls": []}
    row |= {"prompt_tokens": 0, "completion_tokens": 0}
    text = json.dumps(HEAD) + "\n" + json.dumps(row, ensure_ascii=False) + "\n"
    (tmp_path / "r.jsonl").write_text(text, encoding="utf-8")
    assert Recording.load(tmp_path / "r.jsonl").replies["t", 1, 0][1].content == "a\u2028b\x85c"


def test_a_recording_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    Recorder(Scripted(lambda _: Reply("first")), path, HEAD).ask(turn())
    before = path.read_bytes()
    other = {**HEAD, "inputs": {"feature": "f", "roles": "others", "sample": "s"}}
    with pytest.raises(RecordingError, match="holds the recording of another run"):
        Recorder(Scripted(lambda _: Reply("second")), path, other)
    assert path.read_bytes() == before
