"""The library: typed results, a callback as the person, a crew inside a Flow, a tool for another crew."""

import asyncio
import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from endpoint import serving
from scenario import Script

from backend_crew.crew import BackendCrew
from backend_crew.crew.embed import Failed, Finished, Rejected, Waiting
from backend_crew.crew.errors import DecisionRefused, LeaseLost, UsageError
from backend_crew.crew.gates import Packet
from backend_crew.crew.model import Status
from backend_crew.crew.settings import Caps, Options


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    repo = scenario.make_repository(tmp_path / "notes")
    database = scenario.make_database(repo / "notes.db")
    monkeypatch.setenv(scenario.ENV, f"sqlite:///{database}")
    return repo


def _crew(repo: Path, model: Script, **more: Any) -> BackendCrew:
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick")
    return BackendCrew(repo, scenario.FEATURE, model=model, home=repo.parent / "home", options=options, **more)


def test_a_callback_decides_and_the_result_is_typed(repo: Path) -> None:
    # test_flow.py has the whole path with a migration
    result = _crew(repo, Script(driving.without_migration()), approver=scenario.approve_all).kickoff()
    assert isinstance(result, Finished)
    assert (result.status, result.exit_code) == (Status.FINISHED, 0)
    assert result.branch in scenario.git(repo, "branch", "--list", "--format=%(refname:short)").split()
    assert result.summary["tests"]["verdict"] == "green"


def test_a_role_is_asked_of_the_model_that_it_names_and_every_other_of_the_run_s(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Path(shutil.copytree(Path(__file__).parent.parent / "config", tmp_path / "config"))
    agents = config / "agents.yaml"
    agents.write_text(agents.read_text().replace("  role: Backend analyst\n", "  role: A\n  llm: openai/gpt-4o-mini\n"))
    artifacts = (scenario.ANALYSIS, scenario.QUESTIONS, scenario.REQUIREMENTS, scenario.DESIGN)
    options = Options(model="openai/gpt-4.1", config=str(config), python=scenario.PYTHON, checks="quick")
    answers = {"answers": scenario.ANSWERS}
    with serving([scenario.submit(**one) for one in artifacts]) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-not-a-key")
        crew = BackendCrew(
            repo,
            scenario.FEATURE,
            home=tmp_path / "home",
            options=options,
            approver=lambda packet: answers if packet.gate == "answers" else None,
        )
        result = crew.kickoff()
    assert isinstance(result, Waiting), result.reason
    assert [request["model"] for request in endpoint.requests] == [*["gpt-4o-mini"] * 3, "gpt-4.1"]


def test_without_an_approver_it_waits_and_goes_on_after_a_decision(repo: Path) -> None:
    model = Script()
    crew = _crew(repo, model)
    first = crew.kickoff()
    assert isinstance(first, Waiting) and first.packet is not None
    assert (first.packet.gate, first.exit_code, model.tasks) == ("answers", 8, ["analyse", "ask"])
    crew.answer(scenario.ANSWERS, actor="Ann")
    second = crew.resume()
    assert isinstance(second, Waiting) and second.packet is not None and second.packet.gate == "design"
    assert model.tasks == ["analyse", "ask", "specify", "design"]
    with pytest.raises(DecisionRefused, match="digest"):
        crew.decide("approve", digest="0" * 64)
    crew.decide("reject", digest=second.digest, reason="Not now.", actor="Ann")
    last = crew.resume()
    assert isinstance(last, Rejected) and last.reason == "Not now." and last.branch is None


def test_the_same_run_can_be_opened_from_another_object(repo: Path) -> None:
    first = _crew(repo, Script())
    assert isinstance(first.kickoff(), Waiting)
    model = Script()
    again = BackendCrew(run=first.run.id, model=model, home=repo.parent / "home")
    assert isinstance(again.kickoff(), Waiting)
    assert model.seen == []


def test_stream_gives_events_and_then_the_result(repo: Path) -> None:
    stream = _crew(repo, Script()).stream()
    with pytest.raises(UsageError, match="end"):
        _ = stream.result
    kinds = [event["event"] for event in stream]
    assert kinds[0] == "task started" and "gate opened" in kinds
    assert isinstance(stream.result, Waiting)


def test_akickoff_leaves_the_event_loop_free(repo: Path) -> None:
    async def work() -> tuple[Any, int]:
        ticks = 0
        task = asyncio.create_task(_crew(repo, Script()).akickoff())
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.01)
        return task.result(), ticks

    result, ticks = asyncio.run(work())
    assert isinstance(result, Waiting)
    assert ticks > 3


@pytest.mark.parametrize(
    ("caps", "calls", "flag"),
    [
        (Caps(calls=1), 1, "--max-calls"),
        (Caps(stage_tokens=240), 2, "--max-stage-tokens"),
        (Caps(stage_minutes=1e-9), 0, "--max-stage-minutes"),
    ],
)
def test_a_cap_pauses_the_run(repo: Path, caps: Caps, calls: int, flag: str) -> None:
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick", caps=caps)
    model = Script()
    listing = scenario.use(scenario.call("list_files"))
    model.steps["analyse"] = [listing, *model.steps["analyse"]]
    result = BackendCrew(repo, scenario.FEATURE, model=model, home=repo.parent / "home", options=options).kickoff()
    assert (result.status, result.exit_code, len(model.seen)) == (Status.BUDGET, 5, calls)
    assert flag in result.reason
    assert model.tasks == ["analyse"][:calls]


def test_the_crew_runs_inside_a_flow_and_its_gate_comes_out(repo: Path) -> None:
    from crewai.flow.flow import Flow, start

    from backend_crew.crew.llm import Stopped

    crew = _crew(repo, Script())
    nested = crew.crew()

    class Outer(Flow[Any]):
        @start()
        def build(self) -> Any:
            return nested.kickoff()

    with pytest.raises(Stopped) as caught:
        Outer().kickoff()
    assert caught.value.stop.gate == "answers"
    assert crew.run.status is Status.WAITING
    crew.answer(scenario.ANSWERS)
    with pytest.raises(Stopped) as caught:
        asyncio.run(crew.crew().akickoff())
    assert caught.value.stop.gate == "design"


def test_the_nested_crew_asks_its_approver(repo: Path) -> None:
    crew = _crew(repo, Script(driving.without_migration()), approver=scenario.approve_all)
    output = crew.crew().kickoff()
    assert json.loads(output.raw)["status"] == "finished"
    assert crew.run.status is Status.FINISHED


@pytest.mark.parametrize("verb", ["copy", "train", "test", "replay", "kickoff_for_each"])
def test_what_would_lose_the_run_is_refused(repo: Path, verb: str) -> None:
    nested = _crew(repo, Script()).crew()
    with pytest.raises(UsageError, match="would lose run"):
        getattr(nested, verb)()


def test_other_inputs_are_refused(repo: Path) -> None:
    with pytest.raises(UsageError, match="feature"):
        _crew(repo, Script()).crew().kickoff(inputs={"feature": "Something else"})


def test_as_a_tool_it_says_waiting_and_never_decides(repo: Path) -> None:
    crew = _crew(repo, Script())
    tool = crew.as_tool()
    said = json.loads(tool.run())
    assert (said["status"], said["gate"]) == ("waiting", "answers")
    assert json.loads(tool.run())["status"] == "waiting"
    crew.answer(scenario.ANSWERS)
    assert json.loads(tool.run())["gate"] == "design"


def test_two_crews_in_one_process_do_not_mix(repo: Path, tmp_path: Path) -> None:
    other_repo = scenario.make_repository(tmp_path / "other")
    first, second = Script(), Script()
    one = _crew(repo, first)
    two = BackendCrew(
        other_repo,
        scenario.FEATURE,
        model=second,
        home=tmp_path / "home2",
        options=Options(python=scenario.PYTHON, checks="quick"),
    )

    async def both() -> list[Any]:
        return list(await asyncio.gather(one.akickoff(), two.akickoff()))

    results = asyncio.run(both())
    assert all(isinstance(result, Waiting) for result in results)
    assert first.tasks == second.tasks == ["analyse", "ask"]
    assert results[0].run != results[1].run


def test_a_second_kickoff_of_a_run_at_work_is_refused(repo: Path) -> None:
    crew = _crew(repo, Script())
    other = BackendCrew(run=crew.run.id, model=Script(), home=repo.parent / "home")
    with crew._journal.lease(crew.run.id), pytest.raises(LeaseLost):
        other.kickoff()


def test_a_callback_that_fails_decides_nothing(repo: Path) -> None:
    def broken(_: Packet) -> dict[str, Any]:
        raise RuntimeError("the approval service is down")

    crew = _crew(repo, Script(), approver=broken)
    with pytest.raises(RuntimeError, match="down"):
        crew.kickoff()
    assert crew._journal.decisions(crew.run.id) == ()


def test_a_model_that_never_uses_a_tool_ends_the_run(repo: Path) -> None:
    from backend_crew.crew.recording import Reply

    result = _crew(repo, Script(steps={"analyse": [Reply("I think it is a Python project.")]})).kickoff()
    assert isinstance(result, Failed)
    assert "form that cannot be used" in result.reason


def _handles(home: Path) -> list[str]:
    """Files of the journal that this process has open."""
    links = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the handle that lists this very folder
            links.append(str(one.readlink()))
    return [link for link in links if link.startswith(str(home / "journal.db"))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open handles are looked up in /proc")
def test_closing_gives_the_journal_back(repo: Path) -> None:
    home = repo.parent / "home"
    with _crew(repo, Script()) as crew:
        assert isinstance(crew.kickoff(), Waiting)
        assert _handles(home)
    assert _handles(home) == []
    assert crew.run.status is Status.WAITING, "it opens again when it is asked"
    crew.close()
    with pytest.raises(UsageError, match="no single run"):
        BackendCrew(run="nothing-1234", home=home)
    assert _handles(home) == [], "nor does a crew that could not be made keep it"


def test_repo_and_feature_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="repo and a feature"):
        BackendCrew(home=tmp_path)


def test_the_host_environment_is_left_alone(repo: Path) -> None:
    before = {
        name: value for name, value in os.environ.items() if not name.startswith(("CREWAI", "OTEL", "PYTHON_DOTENV"))
    }
    _crew(repo, Script()).kickoff()
    after = {
        name: value for name, value in os.environ.items() if not name.startswith(("CREWAI", "OTEL", "PYTHON_DOTENV"))
    }
    assert {name for name in after if after[name] != before.get(name)} <= {"PYTEST_CURRENT_TEST"}
