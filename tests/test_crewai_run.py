"""CrewAI's own door: `crewai run` does the main job and stops at the first gate when nobody is at the terminal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import scenario
from endpoint import serving

from backend_crew.crew.journal import Journal
from backend_crew.crew.model import Status
from backend_crew.crew.recording import Reply

PROJECT = Path(__file__).parent.parent


def _environment(tmp_path: Path, repo: Path, url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', os.defpath)}",
        # the environment of this test run, as it is: no index is asked
        "UV_PROJECT_ENVIRONMENT": sys.prefix,
        "UV_NO_SYNC": "1",
        "UV_OFFLINE": "1",
        "BACKEND_CREW_HOME": str(tmp_path / "home"),
        "FEATURE": scenario.FEATURE,
        "REPO": str(repo),
        "MODEL": "openai/gpt-4.1",
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-test-not-a-key",
        "CREWAI_DISABLE_TELEMETRY": "true",
    }


@pytest.mark.slow
def test_a13_crewai_run_stops_at_the_first_gate(tmp_path: Path) -> None:
    repo = scenario.make_repository(tmp_path / "notes")
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "pyproject.toml", project)
    replies: list[Reply | int] = [scenario.submit(**scenario.ANALYSIS), scenario.submit(**scenario.QUESTIONS)]
    with serving(replies) as endpoint:
        done = subprocess.run(
            [Path(sys.executable).parent / "crewai", "run"],
            cwd=project,
            env=_environment(tmp_path, repo, endpoint.url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    journal = Journal(tmp_path / "home")
    assert journal.runs(), done.stdout + done.stderr
    (run,) = journal.runs()
    assert run.status is Status.WAITING, done.stdout + done.stderr
    gate = journal.gate(run.id, "answers")
    journal.close()
    assert gate is not None and gate.open
    assert len(endpoint.requests) == 2
    assert f"backend-crew answer {run.id}" in done.stderr + done.stdout
    assert done.returncode == 0  # CrewAI's own fault, said in the README: it returns 0 whatever its child returned
    assert (project / "pyproject.toml").read_text() == (PROJECT / "pyproject.toml").read_text()
