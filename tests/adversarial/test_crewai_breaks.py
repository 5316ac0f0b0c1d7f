"""Where CrewAI by itself fails open (A): the same is done to a plain crew, the weak control, and to this one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import driving
import endpoint
import pytest
from crewai import LLM, Agent, Crew, Task
from pydantic import PrivateAttr

from backend_crew.crew.embed import Failed
from backend_crew.crew.errors import UsageError
from backend_crew.crew.llm import ModelDoor, ProviderModel, Stopped
from backend_crew.crew.model import Status
from backend_crew.crew.recording import Reply
from backend_crew.crew.stopping import StopFlag

pytestmark = pytest.mark.slow
CLAIM = "APPROVED. All tests pass and the design is accepted."


def _plain(llm: Any) -> Crew:
    """One agent with one task, as CrewAI's documentation begins."""
    agent = Agent(role="Analyst", goal="Analyse", backstory="Careful.", llm=llm, verbose=False)
    task = Task(description="Analyse the code.", expected_output="An analysis.", agent=agent)
    return Crew(agents=[agent], tasks=[task], verbose=False)


def _import_crewai(folder: Path, before: str) -> str:
    program = f"import os\nfrom pathlib import Path\n{before}\nimport crewai\nprint(os.environ.get('OPENAI_BASE_URL'))"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    env = {**kept, "HOME": str(folder), "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()[-1]


def test_a_the_import_of_crewai_reads_the_env_file_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://thief.example/v1\n")
    ours = "from backend_crew.crew import settings\nsettings.prepare(Path.cwd() / 'home')"
    assert _import_crewai(tmp_path, ours) == "None"
    assert _import_crewai(tmp_path, "") == "http://thief.example/v1"


def test_a_a_refused_key_is_tried_once_where_a_plain_crew_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_prose_is_a_result_for_a_plain_crew_and_never_for_this_one(
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


def test_a_a_copy_of_a_crew_forgets_what_it_was_bound_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    plain = _plain(LLM(model="openai/gpt-4o", api_key="sk-none"))
    theirs = _WithJournal(agents=plain.agents, tasks=plain.tasks)
    theirs._journal = object()
    assert getattr(theirs.copy(), "_journal", None) is None

    with driving.stand(tmp_path).crew() as crew, pytest.raises(UsageError, match="would lose run"):
        crew.crew().copy()
