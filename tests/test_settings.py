"""Settings: which environment is read, and that a .env of somebody else's is not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend_crew.crew import settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the environment back as it was, whatever a test puts into it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def load(tmp_path: Path, text: str | bytes) -> dict[str, str]:
    """What a file put into the environment."""
    path = tmp_path / "my.env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {name: os.environ[name] for name in settings.load_env_file(path)}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("BC_T=plain", "plain"),
        ("  BC_T = spaced out  ", "spaced out"),
        ("export BC_T=exported", "exported"),
        ('BC_T="in quotes"', "in quotes"),
        ("BC_T='single # no comment'", "single # no comment"),
        ('BC_T="quoted" # comment', "quoted"),
        ("BC_T=sk-key # comment", "sk-key"),
        ("BC_T=a#b", "a#b"),
        ("BC_T=# only a comment", ""),
        ("BC_T=", ""),
        ("BC_T=a=b=c", "a=b=c"),
        ('BC_T="it\'s"', "it's"),
        ("BC_T=it's", "it's"),
        ('BC_T="open', '"open'),
        ("\ufeffBC_T=after a mark", "after a mark"),
        ("BC_T=carriage\r", "carriage"),
        ("BC_T=a\0b", "ab"),
        ("BC_T=$HOME", "$HOME"),
    ],
)
def test_a_line_of_an_env_file(tmp_path: Path, line: str, value: str) -> None:
    assert load(tmp_path, line + "\n") == {"BC_T": value}


@pytest.mark.usefixtures("environment")
def test_lines_that_set_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "# BC_T=no\n\nBC-T=no\n=no\nBC_T\n1BC=no\nexport\n") == {}


@pytest.mark.usefixtures("environment")
def test_what_is_set_already_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BC_T", "mine")
    assert load(tmp_path, "BC_T=theirs\n") == {"BC_T": "mine"}


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BC_T", "")
    assert settings.get("BC_T") is None


def test_the_home_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path))
    assert settings.state_home() == tmp_path
    monkeypatch.setenv("BACKEND_CREW_HOME", "relative")
    assert settings.state_home().is_absolute()
    monkeypatch.delenv("BACKEND_CREW_HOME")
    assert settings.state_home().name == "backend-crew"


@pytest.mark.usefixtures("environment")
def test_prepare_switches_off_what_talks_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings._QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("CREWAI_STORAGE_DIR", raising=False)
    settings.prepare(tmp_path)
    assert os.environ["PYTHON_DOTENV_DISABLED"] == "1"
    assert os.environ["CREWAI_DISABLE_TELEMETRY"] == "true"
    assert os.environ["CREWAI_TRACING_ENABLED"] == "false"
    assert os.environ["CREWAI_STORAGE_DIR"] == str(tmp_path / "crewai")


@pytest.mark.usefixtures("environment")
def test_a_user_may_turn_telemetry_on_but_never_the_loading_of_env_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "false")
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "0")
    settings.prepare()
    assert os.environ["CREWAI_DISABLE_TELEMETRY"] == "false"
    assert os.environ["PYTHON_DOTENV_DISABLED"] == "1"


@pytest.mark.parametrize(("prepare", "expected"), [("settings.prepare(Path.cwd() / 'home')", "None"), ("", "http://evil.example/")])  # fmt: skip
def test_a_repositorys_env_file_is_not_read(tmp_path: Path, prepare: str, expected: str) -> None:
    """The second case is the control: without `prepare`, the library that crewai calls does load the file."""
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://evil.example/\n")
    program = (
        f"import os\nfrom pathlib import Path\nfrom backend_crew.crew import settings\n{prepare}\n"
        "from dotenv import load_dotenv\nload_dotenv(Path.cwd() / '.env')\nprint(os.environ.get('OPENAI_BASE_URL'))\n"
    )
    clean = {
        name: value for name, value in os.environ.items() if name not in ("OPENAI_BASE_URL", "PYTHON_DOTENV_DISABLED")
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == expected
