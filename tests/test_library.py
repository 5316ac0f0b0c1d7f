"""The allow-listed tool of crewai_tools reads through the workspace's door, and through no other."""

import re
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from crewai_tools import FileReadTool

from backend_crew.crew.errors import BackendCrewError
from backend_crew.crew.library import GuardedFileReadTool
from backend_crew.crew.session import open_session
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools.errors import ToolError

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
FILES = {
    **scenario.FILES,
    ".crewignore": "plans/\n",
    "plans/secret.md": "of the person\n",
    "app/keys.py": f'KEY = "{KEY}"\n',
    "app/long.py": "".join(f"line_{number} = 1\n" for number in range(1, 1_001)),
}


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session at its analysis, its guarded reader, and CrewAI's own over the same tree."""
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path, FILES)
    crew = stand.crew()
    session = open_session(crew._journal, stand.run, StopFlag())
    monkeypatch.setattr(session.permissions, "check_tool", lambda name: None)
    (session.clone.tree / ".env").write_text("KEY=of-the-person\n")
    (session.clone.tree / "alias.txt").symlink_to(".env")
    return session, GuardedFileReadTool.of(session), FileReadTool(base_dir=str(session.clone.tree))


@pytest.mark.parametrize("path", [".env", "alias.txt", "plans/secret.md", "./.env"])
def test_a14_what_the_workspace_refuses_is_refused_here_too(held: Any, path: str) -> None:
    session, guarded, naive = held
    assert "of the person" in naive._run(path).replace("-", " "), "the control: CrewAI's own tool prints it"
    with pytest.raises((ToolError, BackendCrewError), match=r"accessible|symbolic link"):
        guarded._run(path)
    with pytest.raises(ToolError):
        session.workspace.read(path)


@pytest.mark.parametrize("path", ["../journal.db", "/etc/passwd", "", "app/none.py"])
def test_paths_outside_and_missing_ones_are_refused(held: Any, path: str) -> None:
    with pytest.raises(ToolError):
        held[1]._run(path)


def test_it_gives_the_lines_that_were_asked_for_as_data_and_without_secrets(held: Any) -> None:
    session, guarded, naive = held
    assert naive._run("app/keys.py") == f'KEY = "{KEY}"\n', "the control: CrewAI's own tool prints it"
    assert re.fullmatch(r'<data (\w{8})>\nKEY = "\[secret\]"\n\n</data \1>', guarded._run("app/keys.py"))
    window = naive._run("app/long.py", 5, 3)
    assert guarded._run("app/long.py", 5, 3).split("\n")[1:-1] == session.as_data(window).split("\n")[1:-1]
    assert len(guarded._run("app/long.py", 1, 10_000).splitlines()) < 410


def test_it_asks_for_the_path_that_it_takes(held: Any) -> None:
    _, guarded, naive = held
    assert "Full path" in str(naive.args_schema.model_json_schema()), "the control: CrewAI's own words"
    said = f"{guarded.description} {guarded.args_schema.model_json_schema()}"
    assert "Full path" not in said and "relative to the repository" in said


def test_the_file_is_never_opened_by_its_name(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, guarded, naive = held
    opened: list[str] = []
    real = open

    def listening(path: Any, *rest: Any, **more: Any) -> Any:
        opened.append(str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr("builtins.open", listening)
    guarded._run("app/models.py")
    assert not [path for path in opened if path.endswith("models.py")]
    naive._run("app/models.py")
    assert [path for path in opened if path.endswith("models.py")], "the control: CrewAI's own tool does"


def test_an_ignore_file_holds_for_every_tool_and_for_the_facts(held: Any) -> None:
    from backend_crew.crew import grounding

    session = held[0]
    assert (session.clone.tree / "plans/secret.md").is_file(), "the control: it is in the tree, and commands see it"
    assert not [path for path in session.workspace.list() if path.startswith("plans/")]
    assert "plans/secret" not in grounding.ground(session)
