"""`backend-crew rehearse`: the migration guard alone, on real repositories, and the exit code that a pipeline gets."""

import hashlib
import json
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import scenario
from click.testing import CliRunner

from backend_crew.crew.cli import cli
from backend_crew.tools.sarif import to_sarif

LOSSY = scenario.SECOND.replace(
    'op.add_column("notes", sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))',
    'op.drop_column("notes", "text")',
).replace('op.drop_column("notes", "archived")', 'op.add_column("notes", sa.Column("text", sa.String(200)))')
BROKEN = LOSSY.replace('op.drop_column("notes", "text")', 'op.drop_column("notes", "never")')


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample with its second migration written and not committed, and a database that is at the first."""
    folder = scenario.make_repository(tmp_path / "notes")
    database = scenario.make_database(folder / "notes.db")
    monkeypatch.setenv(scenario.ENV, f"sqlite:///{database}")
    (folder / scenario.MIGRATION).write_text(scenario.SECOND)
    return folder


def rehearse(repo: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the one object on stdout."""
    named = ("--python", sys.executable, "--database-url-env", scenario.ENV, "--json")
    said = CliRunner().invoke(cli, ["rehearse", str(repo), *named, *flags])
    assert said.exception is None or isinstance(said.exception, SystemExit), said.output
    return int(said.exit_code), json.loads(said.stdout)


@pytest.mark.slow
def test_a_sound_migration_is_clean_and_the_named_database_is_only_read(repo: Path) -> None:
    before = hashlib.sha256((repo / "notes.db").read_bytes()).hexdigest()
    code, said = rehearse(repo)
    (tool,) = said["tools"]
    assert (code, said["status"], said["exit_code"]) == (0, "clean", 0)
    assert (tool["from"], tool["to"], tool["data"]) == ("0001", "0002", "copy of the database")
    assert tool["files"] == [scenario.MIGRATION]
    assert [(one["name"], one["ok"]) for one in tool["steps"]] == [("up", True), ("down", True), ("up again", True)]
    assert not [one for one in tool["findings"] if one["severity"] == "error"]
    assert hashlib.sha256((repo / "notes.db").read_bytes()).hexdigest() == before
    assert sorted(path.name for path in repo.glob("notes.db*")) == ["notes.db"]


@pytest.mark.slow
def test_lost_data_is_exit_6_with_the_place_and_in_sarif(repo: Path, tmp_path: Path) -> None:
    assert "drop_column" in LOSSY
    (repo / scenario.MIGRATION).write_text(LOSSY)
    code, said = rehearse(repo, "--sarif", str(tmp_path / "found.sarif"))
    (tool,) = said["tools"]
    errors = [one for one in tool["findings"] if one["severity"] == "error"]
    line = 1 + LOSSY.splitlines().index('    op.drop_column("notes", "text")')
    assert (code, said["status"]) == (6, "findings")
    assert [(one["path"], one["line"]) for one in errors if one["rule"] == "drop-column"] == [
        (scenario.MIGRATION, line)
    ]
    assert any(one["rule"] == "rehearsal" and "notes.text" in one["text"] for one in errors)
    (run,) = json.loads((tmp_path / "found.sarif").read_text())["runs"]
    assert len(run["results"]) == len(tool["findings"])
    assert {one["ruleId"] for one in run["results"]} >= {"drop-column", "rehearsal"}
    assert to_sarif([], "0")["runs"][0]["results"] == []


@pytest.mark.slow
def test_a_migration_that_does_not_run_is_exit_1(repo: Path) -> None:
    (repo / scenario.MIGRATION).write_text(BROKEN)
    code, said = rehearse(repo)
    assert (code, said["status"]) == (1, "failed")
    assert "'up'" in said["tools"][0]["reason"]


@pytest.mark.slow
def test_from_and_to_choose_the_revisions(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scenario.ENV)
    code, said = rehearse(repo, "--from", "base", "--to", "0001")
    (tool,) = said["tools"]
    assert (code, tool["from"], tool["to"], tool["data"]) == (0, None, "0001", "generated rows")
    code, said = rehearse(repo, "--to", "0009")
    assert (code, said["status"]) == (7, "not rehearsed")
    assert "0009 is no revision" in said["tools"][0]["reason"]


def test_nothing_pending_is_clean(repo: Path) -> None:
    (repo / scenario.MIGRATION).unlink()
    code, said = rehearse(repo)
    assert (code, said["tools"][0]["reason"], said["tools"][0]["files"]) == (0, "nothing is pending", [])


def test_another_engine_is_linted_as_what_it_is_and_never_passed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, "postgresql://nobody@localhost/notes")
    code, said = rehearse(repo)
    (tool,) = said["tools"]
    assert (code, tool["status"], tool["dialect"]) == (7, "not rehearsed", "postgresql")
    (repo / scenario.MIGRATION).write_text(LOSSY)
    code, said = rehearse(repo)
    assert (code, said["status"]) == (6, "findings")
    assert "not rehearsed: the project uses PostgreSQL" in said["tools"][0]["reason"]


def test_tools_that_cannot_be_rehearsed_are_listed_with_their_files(tmp_path: Path) -> None:
    files = {"schema.prisma": "", "migrations/1_init/migration.sql": "CREATE TABLE a (id int);\n"}
    folder = scenario.make_repository(tmp_path / "node", files)
    code, said = rehearse(folder)
    assert (code, said["status"]) == (7, "not rehearsed")
    assert said["tools"][0]["files"] == ["migrations/1_init/migration.sql"]
    code, said = rehearse(scenario.make_repository(tmp_path / "bare", {"a.py": "x = 1\n"}))
    assert (code, said) == (7, {"status": "not rehearsed", "exit_code": 7, "tools": []})


def test_without_alembic_the_way_out_is_named(repo: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    said = CliRunner().invoke(cli, ["rehearse", str(repo), "--python", str(tmp_path / "bare/bin/python")])
    assert said.exit_code == 7
    assert "has no Alembic" in said.stdout and "--python" in said.stdout
    assert said.stdout.rstrip().endswith("not rehearsed (exit 7)")
