"""The entry points: what `crewai run` starts, and the one door through which the process leaves."""

from pathlib import Path

import pytest

from backend_crew.crew import main, settings

NAMES = ("FEATURE", "REPO", "MODEL", "ENV_FILE", "DATABASE_URL_ENV", "TEST_COMMAND", "CHECK_COMMAND")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what the test sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_without_feature_and_repo_it_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.run_crew()
    assert left.value.code == 2
    assert 'FEATURE="Order refunds" REPO=../shop crewai run' in capsys.readouterr().err


def test_the_file_that_env_file_names_is_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.env").write_text(f"FEATURE=Refunds\nREPO={tmp_path / 'nowhere'}\n")
    monkeypatch.setenv("ENV_FILE", "mine.env")
    with pytest.raises(SystemExit) as left:
        main.run_crew()
    assert left.value.code == 2
    assert "nowhere" in capsys.readouterr().err
    assert settings.get("FEATURE") == "Refunds"


def test_a_file_that_is_not_there_is_an_error_not_a_guess(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENV_FILE", "missing.env")
    with pytest.raises(SystemExit) as left:
        main.run_crew()
    assert left.value.code == 2
    assert "ENV_FILE names missing.env" in capsys.readouterr().err


def test_a_bug_leaves_a_log_and_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENV_FILE", "mine.env")
    monkeypatch.setattr(settings, "load_env_file", lambda _: 1 / 0)
    with pytest.raises(SystemExit) as left:
        main.run_crew()
    assert left.value.code == main.BUG
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert "division by zero" in next((tmp_path / "home").glob("bug-*.log")).read_text()
