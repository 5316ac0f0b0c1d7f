"""Runs that were killed, interrupted or started twice: nothing recorded is lost, repeated or paid for again."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from scenario import use

from backend_crew.crew import approvers, commands, runner
from backend_crew.crew.embed import Finished, Interrupted, Waiting
from backend_crew.crew.errors import DecisionRefused, LeaseLost
from backend_crew.crew.journal import Journal
from backend_crew.crew.model import Status
from backend_crew.crew.progress import Progress
from backend_crew.crew.recording import Reply, Turn
from backend_crew.crew.terminal import Terminal
from backend_crew.tools import apply, git, rehearsal

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PATIENCE_S = 120.0


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> driving.Stand:
    """A fresh repository, database and home."""
    monkeypatch.setenv(scenario.ENV, "")
    return driving.stand(tmp_path)


@pytest.fixture(scope="module")
def forks() -> Iterator["subprocess.Popen[str]"]:
    """The process that forks those that are killed."""
    argv = [sys.executable, str(HERE / "resume_child.py")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server


@dataclass
class Killer:
    """Starts processes that go on with a run, and kills them where they hang."""

    forks: "subprocess.Popen[str]"
    stand: driving.Stand
    log: Path
    folder: Path
    killed: list[str] = field(default_factory=list)

    def _said(self) -> int:
        assert self.forks.stdout is not None
        return int(self.forks.stdout.readline())

    def start(self, place: str) -> int:
        """The id of a process that hangs at a place, once it is there."""
        ready = self.folder / f"ready-{len(self.killed)}"
        errors = self.folder / f"errors-{len(self.killed)}"
        arguments = [str(self.stand.home), self.stand.run, place, str(self.log), str(ready)]
        env = {scenario.ENV: os.environ[scenario.ENV]}
        assert self.forks.stdin is not None and self.forks.stdout is not None
        self.forks.stdin.write(json.dumps({"arguments": arguments, "errors": str(errors), "env": env}) + "\n")
        self.forks.stdin.flush()
        child, deadline = self._said(), time.monotonic() + PATIENCE_S
        while not ready.exists():
            ended = bool(select.select([self.forks.stdout], [], [], 0.02)[0])
            if ended or time.monotonic() > deadline:
                if not ended:
                    os.kill(child, signal.SIGKILL)
                self._said()
                pytest.fail(f"{place} was not reached: {errors.read_text()[-1500:]}")
        return child

    def kill(self, place: str) -> None:
        """Let a process come to a place and kill it there."""
        self.end(self.start(place), place)

    def end(self, child: int, place: str) -> None:
        """Kill a process that hangs."""
        os.kill(child, signal.SIGKILL)
        assert self._said() == -signal.SIGKILL
        self.killed.append(place)

    def asked(self) -> Counter[str]:
        """How often each request was made by the processes that were killed, as 'task ordinal'."""
        return Counter(self.log.read_text().splitlines())


@pytest.fixture
def killer(forks: "subprocess.Popen[str]", stand: driving.Stand, tmp_path: Path) -> Killer:
    """Processes of the stand's run."""
    log = tmp_path / "requests"
    log.touch()
    return Killer(forks, stand, log, tmp_path)


def test_killed_while_a_run_starts_there_is_no_run_and_the_next_start_works(
    stand: driving.Stand, killer: Killer
) -> None:
    before = stand.fingerprint()
    killer.kill(f"clone:{stand.repo}")
    with stand.journal() as journal:
        assert journal.runs() == ()
    assert stand.fingerprint() == before
    assert stand.branches() == {"main"}
    [left] = (stand.home / "runs").iterdir()
    with stand.crew() as crew:
        assert crew.run.id != left.name
    with stand.journal() as journal:
        assert [run.id for run in journal.runs()] == [stand.run]


def test_killed_from_analysis_to_implementation_nothing_recorded_is_asked_again(
    stand: driving.Stand, killer: Killer
) -> None:
    stand.crew()
    killer.kill("analyse:1")
    killer.kill("specify:0")
    child = killer.start("design:0")
    with pytest.raises(LeaseLost, match="another process"):
        stand.again().kickoff()
    killer.end(child, "design:0")
    killer.kill("gate:design")
    killer.kill("commit-after")
    with stand.journal() as journal:
        assert journal.output(stand.run, "implement_data_access") is None
    killer.kill("implement_business_logic:3")

    asked = killer.asked()
    assert asked["analyse 0"] == 2  # the killed attempt and the one that was recorded
    assert [asked[name] for name in ("ask 0", "specify 0", "design 0")] == [1, 2, 2]
    # a commit that no row names does not count: the layer began once more from the commit before it
    assert asked["implement_data_access 0"] == 2
    # the half-done layer is in the tree, and in no commit
    assert "def archive" in (stand.tree / "app/service.py").read_text()

    found: list[str] = []

    def first(turn: Any) -> Reply:
        found.append((stand.tree / "app/service.py").read_text())
        reply = scenario.BUSINESS_LOGIC[0]
        assert isinstance(reply, Reply)
        return reply

    stand.script.steps["implement_business_logic"] = [first, *scenario.BUSINESS_LOGIC[1:]]
    stand.person.decisions["migrations"] = [None]
    assert isinstance(stand.again().kickoff(), Waiting)
    assert found == [scenario.SERVICE]
    assert stand.script.tasks == ["implement_business_logic", "review_security", "review_migrations"]
    assert [packet.gate for packet in stand.person.seen] == ["migrations"]
    assert "archived" in (stand.tree / "app/models.py").read_text()
    titles = scenario.git(stand.folder / "repository.git", "log", "--format=%s", f"{_base(stand)}..HEAD").splitlines()
    assert titles.count("Archive notes: data access") == 1


def _base(stand: driving.Stand) -> str:
    with stand.journal() as journal:
        return journal.run(stand.run).base


def test_killed_from_migrations_to_summary_the_database_is_migrated_once_and_the_branch_published_once(
    stand: driving.Stand, killer: Killer
) -> None:
    stand.person.decisions["migrations"] = [None]
    assert isinstance(stand.kickoff(), Waiting)
    killer.kill("apply-before")
    assert stand.revision == "0001"
    assert not (stand.folder / "backups").exists()
    killer.kill("apply-after")
    assert stand.revision == "0002"
    killer.kill("test:1")
    applied = stand.payload("apply")
    assert (applied["status"], applied["note"]) == ("applied", "found applied after an interruption")
    assert len(list((stand.folder / "backups").iterdir())) == 1
    killer.kill("verify-after")
    with stand.journal() as journal:
        assert journal.output(stand.run, "verify") is None
    killer.kill("publish-after")
    published = scenario.git(stand.repo, "rev-parse", stand.branch)

    asked = len(stand.script.seen)
    result = stand.again().kickoff()
    assert isinstance(result, Finished), result.reason
    assert len(stand.script.seen) == asked
    assert killer.asked() == Counter({"test 0": 2, "test 1": 2})
    assert scenario.git(stand.repo, "rev-parse", stand.branch) == published
    assert result.summary["commit"] == published.strip()
    assert stand.revision == "0002"
    assert result.summary["migrations"]["to"] == "0002"
    assert (stand.folder / "backups").is_dir()
    assert result.summary["tests"]["counts"]["passed"] == 3


MODELS = ["analyse", "specify", "design", "implement_data_access", "review_migrations", "test"]


@dataclass
class Places:
    """Where Ctrl-C is pressed: each is reached, and passed on from there once it was pressed."""

    reached: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    pressed: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    released: threading.Event = field(default_factory=threading.Event)

    def hang(self, step: scenario.Step) -> scenario.Step:
        """A model that does not answer the first request of its task."""

        def hanging(turn: Turn) -> Reply:
            if not self.reached[turn.task].is_set():
                self.reached[turn.task].set()
                self.released.wait(PATIENCE_S)
            return step(turn) if callable(step) else step

        return hanging

    def pause(self, name: str, function: Callable[..., Any], *, until_pressed: bool) -> Callable[..., Any]:
        """Trusted code that reaches its place; it is in the middle of it when Ctrl-C comes, or just at its start."""

        def paused(*args: Any, **kwargs: Any) -> Any:
            if not self.reached[name].is_set():
                self.reached[name].set()
                if until_pressed:
                    assert self.pressed[name].wait(PATIENCE_S)
            return function(*args, **kwargs)

        return paused


class Keyboard(io.StringIO):
    """A terminal at which nobody types: a read of it goes on after a signal, as Python's do, unless its handler raises."""

    def __init__(self, at_prompt: threading.Event) -> None:
        super().__init__()
        self._at_prompt = at_prompt

    def readline(self, *_: Any) -> str:  # type: ignore[override]  # the base of all files gives bytes in typeshed
        """Nothing for a long time, then the end. In short waits: a signal just before a long one would not end it."""
        self._at_prompt.set()
        never, deadline = threading.Event(), time.monotonic() + 30
        while time.monotonic() < deadline:
            never.wait(0.05)
        return ""


def test_ctrl_c_in_each_stage_returns_within_two_seconds_and_loses_nothing(
    stand: driving.Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places()
    for name in MODELS:
        first, *others = stand.script.steps[name]
        stand.script.steps[name] = [places.hang(first), *others]
    # code that only tries things is stopped in the middle; code that changes something outside is not, it comes to its end
    for module, function, name in (
        (rehearsal, "rehearse", "rehearse"),
        (apply, "_swap", "apply"),
        (git, "publish", "publish"),
    ):
        paused = places.pause(name, getattr(module, function), until_pressed=name != "rehearse")
        monkeypatch.setattr(module, function, paused)
    stand.crew()
    try:
        for name in [
            *MODELS[:3],
            "gate",
            "implement_data_access",
            "rehearse",
            *MODELS[4:5],
            "apply",
            "test",
            "publish",
        ]:
            code, seconds = (_interrupted_at_a_gate if name == "gate" else _interrupted)(stand, places, name)
            assert code == 130, name
            assert name not in (*MODELS, "gate") or seconds < 2, (name, seconds)
            with stand.journal() as journal:
                status = Status.WAITING if name == "gate" else Status.INTERRUPTED
                assert journal.run(stand.run).status is status, name
        assert stand.revision == "0002"
        assert stand.branch in stand.branches()
        assert _drive(stand) == 0
    finally:
        places.released.set()
    asked = Counter(turn.task for turn in stand.script.seen if turn.ordinal == 0)
    assert {name: asked[name] for name in ("ask", "implement_business_logic", "review_security")} == {
        "ask": 1,
        "implement_business_logic": 1,
        "review_security": 1,
    }
    assert {asked[name] for name in MODELS} == {2}
    assert stand.revision == "0002"
    assert stand.payload("apply")["note"] == "found applied after an interruption"
    assert len(list((stand.folder / "backups").iterdir())) == 1
    assert "resume" in capsys.readouterr().err


Seat = Callable[[Progress], approvers.Approver]


def _drive(stand: driving.Stand, seat: Seat | None = None) -> int:
    """What `backend-crew resume` does, with the scripted model and person."""
    with stand.journal() as journal, pytest.raises(SystemExit) as left:
        run = journal.run(stand.run)
        person = approvers.Callback(stand.person, "a person")
        commands.drive(journal, run, runner.Models(run, only=stand.script), seat or (lambda _: person), as_json=False)
    return int(str(left.value.code))


def _interrupted(
    stand: driving.Stand,
    places: Places,
    name: str,
    seat: Seat | None = None,
    by: signal.Signals = signal.SIGINT,
) -> tuple[int, float]:
    """Drive until a place is reached, press Ctrl-C there, or end it as a service manager does; the exit code, and the seconds."""
    pressed: list[float] = []

    def press() -> None:
        if places.reached[name].wait(PATIENCE_S):
            pressed.append(time.monotonic())
            os.kill(os.getpid(), by)
            places.pressed[name].set()

    thread = threading.Thread(target=press)
    thread.start()
    code = _drive(stand, seat)
    thread.join()
    return code, time.monotonic() - pressed[0]


def _interrupted_at_a_gate(stand: driving.Stand, places: Places, name: str) -> tuple[int, float]:
    """The same where a person sits at the prompt of a gate: nothing is decided, and the gate stays open."""
    with pytest.MonkeyPatch.context() as patch, Keyboard(places.reached[name]) as keyboard:
        patch.setattr(sys, "stdin", keyboard)
        found = _interrupted(stand, places, name, lambda progress: Terminal(commands.stderr(), progress))
    with stand.journal() as journal:
        row = journal.gate(stand.run, "design")
        assert row is not None and row.open
        assert [one.gate for one in journal.decisions(stand.run)] == ["answers"]
    return found


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_command_in_the_sandbox_with_its_children(stand: driving.Stand, by: signal.Signals) -> None:
    stand.crew(test_command=("sleep", "61.25"))
    places, done = Places(), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            if _sleepers():
                places.reached["tests"].set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        code, seconds = _interrupted(stand, places, "tests", by=by)
    finally:
        done.set()
        thread.join()
    assert code == 130
    with stand.journal() as journal:
        assert journal.run(stand.run).status is Status.INTERRUPTED
    assert seconds < 2, seconds
    assert _sleepers() == []


def _sleepers() -> list[str]:
    """Processes that run the marked command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"61.25" in words and words[0].endswith(b"sleep"):
            found.append(path.parent.name)
    return found


def test_a_host_program_can_stop_a_run_and_resume_it(stand: driving.Stand) -> None:
    reached, released = threading.Event(), threading.Event()

    def hang(turn: Any) -> Reply:
        reached.set()
        released.wait(PATIENCE_S)
        return use(scenario.call("list_files"))

    analyse = stand.script.steps["analyse"]
    stand.script.steps["analyse"] = [hang, *analyse]
    stand.person.decisions["answers"] = [None]
    crew = stand.crew()

    def stop() -> None:
        reached.wait(PATIENCE_S)
        crew.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        assert isinstance(crew.kickoff(), Interrupted)
    finally:
        released.set()
        thread.join()
    stand.script.steps["analyse"] = analyse
    assert isinstance(crew.resume(), Waiting)


def test_of_two_decisions_at_once_exactly_one_counts(stand: driving.Stand) -> None:
    stand.person.decisions["design"] = [None]
    assert isinstance(stand.kickoff(), Waiting)
    start, said = threading.Barrier(2), []

    def decide(verdict: str) -> None:
        journal = Journal(stand.home)
        try:
            row = approvers.waiting(journal, stand.run)
            start.wait()
            approvers.decide(journal, stand.run, row, approvers.Ruling(verdict, "why"), approvers.By("test", verdict))
            said.append(verdict)
        except DecisionRefused as error:
            said.append(str(error))
        finally:
            journal.close()

    threads = [threading.Thread(target=decide, args=(word,)) for word in ("approve", "reject")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [word for word in said if word in ("approve", "reject")]
    assert len(won) == 1
    assert any(f"already decided: {won[0]}" in word for word in said)
    with stand.journal() as journal:
        assert [one.verdict for one in journal.decisions(stand.run) if one.gate == "design"] == won
        journal.verify(stand.run)
