"""Runs that were killed, interrupted or started twice: nothing recorded is lost, repeated or paid for again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
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
from backend_crew.crew.recording import Reply, Turn

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PATIENCE_S = 120.0


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> driving.Stand:
    """A fresh repository, database and home."""
    monkeypatch.setenv(scenario.ENV, "")
    return driving.stand(tmp_path)


@dataclass
class Killer:
    """Starts processes that go on with a run, and kills them where they hang."""

    stand: driving.Stand
    log: Path
    folder: Path
    killed: list[str] = field(default_factory=list)

    def start(self, place: str) -> "subprocess.Popen[bytes]":
        """A process that hangs at a place, once it is there."""
        ready = self.folder / f"ready-{len(self.killed)}"
        errors = self.folder / f"errors-{len(self.killed)}"
        argv = [sys.executable, str(HERE / "resume_child.py"), str(self.stand.home), self.stand.run, place]
        with errors.open("wb") as sink:
            child = subprocess.Popen([*argv, str(self.log), str(ready)], stdout=sink, stderr=sink)
        deadline = time.monotonic() + PATIENCE_S
        while not ready.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                child.kill()
                child.wait()
                pytest.fail(f"{place} was not reached: {errors.read_text()[-1500:]}")
            time.sleep(0.02)
        return child

    def kill(self, place: str) -> None:
        """Let a process come to a place and kill it there."""
        child = self.start(place)
        self.end(child, place)

    def end(self, child: "subprocess.Popen[bytes]", place: str) -> None:
        """Kill a process that hangs."""
        child.send_signal(signal.SIGKILL)
        assert child.wait(20) == -signal.SIGKILL
        self.killed.append(place)

    def asked(self) -> Counter[str]:
        """How often each request was made by the processes that were killed, as 'task ordinal'."""
        return Counter(self.log.read_text().splitlines())


@pytest.fixture
def killer(stand: driving.Stand, tmp_path: Path) -> Killer:
    """Processes of the stand's run."""
    log = tmp_path / "requests"
    log.touch()
    return Killer(stand, log, tmp_path)


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
    killer.kill("implement_business_logic:3")

    asked = killer.asked()
    assert asked["analyse 0"] == 2  # the killed attempt and the one that was recorded
    assert [asked[name] for name in ("ask 0", "specify 0", "design 0")] == [1, 2, 2]
    assert asked["implement_data_access 0"] == 1
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


def test_ctrl_c_in_each_stage_returns_within_two_seconds_and_loses_nothing(
    stand: driving.Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["analyse", "specify", "design", "implement_data_access", "review_migrations", "test"]
    reached = {name: threading.Event() for name in places}
    released = threading.Event()
    for name in places:
        first = stand.script.steps[name][0]

        def step(turn: Turn, first: scenario.Step = first) -> Reply:
            if not reached[turn.task].is_set():
                reached[turn.task].set()
                released.wait(PATIENCE_S)
            return first(turn) if callable(first) else first

        stand.script.steps[name] = [step, *stand.script.steps[name][1:]]
    stand.crew()
    try:
        for name in places:
            code, seconds = _interrupted(stand, reached[name])
            assert code == 130, name
            assert seconds < 2, (name, seconds)
            with stand.journal() as journal:
                assert journal.run(stand.run).status is Status.INTERRUPTED
        assert _drive(stand) == 0
    finally:
        released.set()
    asked = Counter(turn.task for turn in stand.script.seen if turn.ordinal == 0)
    assert {name: asked[name] for name in ("ask", "implement_business_logic", "review_security")} == {
        "ask": 1,
        "implement_business_logic": 1,
        "review_security": 1,
    }
    assert {asked[name] for name in places} == {2}
    assert stand.revision == "0002"
    assert "resume" in capsys.readouterr().err


def _drive(stand: driving.Stand) -> int:
    """What `backend-crew resume` does, with the scripted model and person."""
    with stand.journal() as journal, pytest.raises(SystemExit) as left:
        run = journal.run(stand.run)
        person = approvers.Callback(stand.person, "a person")
        commands.drive(journal, run, runner.Models(run, only=stand.script), lambda _: person, as_json=False)
    return int(str(left.value.code))


def _interrupted(
    stand: driving.Stand, reached: threading.Event, by: signal.Signals = signal.SIGINT
) -> tuple[int, float]:
    """Drive until a place is reached, press Ctrl-C there, or end it as a service manager does; the exit code, and the seconds until it came."""
    pressed: list[float] = []

    def press() -> None:
        if reached.wait(PATIENCE_S):
            pressed.append(time.monotonic())
            os.kill(os.getpid(), by)

    thread = threading.Thread(target=press)
    thread.start()
    code = _drive(stand)
    thread.join()
    return code, time.monotonic() - pressed[0]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_command_in_the_sandbox_with_its_children(stand: driving.Stand, by: signal.Signals) -> None:
    stand.crew(test_command=("sleep", "61.25"))
    reached = threading.Event()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            if _sleepers():
                reached.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        code, seconds = _interrupted(stand, reached, by)
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
