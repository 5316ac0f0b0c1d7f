"""`backend-crew rehearse`: the migration guard alone, on real repositories, and the exit code that a pipeline gets."""

import hashlib
import json
import sqlite3
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import scenario
from click.testing import CliRunner

from backend_crew.crew.cli import cli
from backend_crew.crew.errors import UsageError
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
@pytest.mark.parametrize("path", ["migrations/env.py", scenario.MIGRATION])
def test_a_package_that_is_not_installed_is_no_fault_of_a_migration(repo: Path, path: str) -> None:
    (repo / "src/shop").mkdir(parents=True)
    (repo / "src/shop/__init__.py").touch()
    (repo / path).write_text("import shop\n" + (repo / path).read_text())
    code, said = rehearse(repo)
    assert (code, said["status"]) == (7, "not rehearsed")
    reason = said["tools"][0]["reason"]
    assert "its code imports shop, which is not installed" in reason and "--python" in reason
    assert not [one for one in said["tools"][0]["findings"] if one["rule"] == "rehearsal"]
    assert rehearse(repo, "--sandbox-env", "PYTHONPATH=src")[:1] == (0,)


@pytest.mark.slow
def test_settings_without_their_variable_are_no_fault_of_a_migration(repo: Path) -> None:
    settings = "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    notes_token: str\nS()\n"
    (repo / "migrations/env.py").write_text(settings + scenario.ENV_PY)
    code, said = rehearse(repo)
    reason = said["tools"][0]["reason"]
    assert (code, said["status"]) == (7, "not rehearsed")
    assert "NOTES_TOKEN, which is not set here" in reason
    assert "--sandbox-env NOTES_TOKEN=VALUE" in reason and "--database-url-env" in reason
    assert rehearse(repo, "--sandbox-env", "NOTES_TOKEN=made-up")[0] == 0


@pytest.mark.slow
def test_from_and_to_choose_the_revisions(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scenario.ENV)
    code, said = rehearse(repo, "--from", "base", "--to", "0001")
    (tool,) = said["tools"]
    assert (code, tool["from"], tool["to"], tool["data"]) == (0, None, "0001", "no rows, as nothing was there before")
    code, said = rehearse(repo, "--to", "0009")
    assert (code, said["status"]) == (7, "not rehearsed")
    assert "0009 is no migration" in said["tools"][0]["reason"]


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
    assert (
        "not rehearsed: NOTES_DATABASE_URL: the PostgreSQL database nobody@localhost:5432/notes cannot be"
        in said["tools"][0]["reason"]
    )


def test_tools_that_cannot_be_rehearsed_are_listed_with_their_files(tmp_path: Path) -> None:
    files = {"knexfile.js": "", "migrations/1_init.js": "exports.up = knex => knex.schema\n"}
    folder = scenario.make_repository(tmp_path / "node", files)
    code, said = rehearse(folder)
    assert (code, said["status"]) == (7, "not rehearsed")
    assert said["tools"][0]["files"] == ["migrations/1_init.js"]
    code, said = rehearse(scenario.make_repository(tmp_path / "bare", {"a.py": "x = 1\n"}))
    assert (code, said) == (7, {"status": "not rehearsed", "exit_code": 7, "tools": []})


def test_without_alembic_the_way_out_is_named(repo: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    said = CliRunner().invoke(cli, ["rehearse", str(repo), "--python", str(tmp_path / "bare/bin/python")])
    assert said.exit_code == 7
    assert "has no Alembic" in said.stdout and "--python" in said.stdout
    assert said.stdout.rstrip().endswith("not rehearsed (exit 7)")


JOINED = """\
revision = "0004"
down_revision = ("0002", "0003")


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
"""


def _third(repo: Path, parent: str) -> None:
    text = scenario.SECOND.replace('"0002"', '"0003"').replace('"0001"', f'"{parent}"').replace("archived", "starred")
    (repo / "migrations/versions/0003_starred.py").write_text(text)


@pytest.mark.slow
def test_without_a_database_all_uncommitted_files_are_looked_at(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scenario.ENV)
    (repo / scenario.MIGRATION).write_text(LOSSY)
    _third(repo, "0002")
    code, said = rehearse(repo)
    (tool,) = said["tools"]
    assert code == 6, "the file before the newest one drops a column"
    assert (tool["from"], tool["to"], len(tool["files"])) == ("0001", "0003", 2)


@pytest.mark.slow
def test_where_branches_join_going_back_is_not_tried_and_that_is_said(repo: Path) -> None:
    _third(repo, "0001")
    (repo / "migrations/versions/0004_joined.py").write_text(JOINED)
    scenario.git(repo, "add", "-A")
    scenario.git(repo, "commit", "-qm", "Two branches, joined")
    with sqlite3.connect(repo / "notes.db") as database:
        database.executescript(
            "ALTER TABLE notes ADD archived BOOLEAN; UPDATE alembic_version SET version_num = '0002'"
        )
    database.close()
    code, said = rehearse(repo, "--to", "0003")
    assert (code, "does not follow 0002" in said["tools"][0]["reason"]) == (7, True), said
    code, said = rehearse(repo)
    (tool,) = said["tools"]
    assert (code, [one["name"] for one in tool["steps"]]) == (0, ["up"]), said
    assert any("going back was not tried" in one["text"] for one in tool["findings"])


def test_what_is_asked_wrongly_is_exit_2_before_anything_runs(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = CliRunner().invoke(cli, ["rehearse", str(repo), "--sarif", str(repo / "none" / "x.sarif")])
    assert isinstance(said.exception, UsageError) and "does not exist" in str(said.exception)
    monkeypatch.setenv(scenario.ENV, "hunter2-and-no-url")
    said = CliRunner().invoke(cli, ["rehearse", str(repo), "--database-url-env", scenario.ENV])
    assert isinstance(said.exception, UsageError) and "hunter2" not in str(said.exception)


def test_of_several_services_the_named_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{service}/{path}": text for service in ("a", "b") for path, text in scenario.FILES.items()}
    folder = scenario.make_repository(tmp_path / "mono", files)
    database = scenario.make_database(tmp_path / "a.db")
    monkeypatch.setenv(scenario.ENV, f"sqlite:///{database}")
    code, said = rehearse(folder / "a")
    assert (code, [one["evidence"] for one in said["tools"]]) == (0, ["a/alembic.ini:2"])
    both = CliRunner().invoke(cli, ["rehearse", str(folder), "--database-url-env", scenario.ENV])
    assert isinstance(both.exception, UsageError) and "name the folder of one" in str(both.exception)


@pytest.mark.slow
def test_a_migration_that_writes_to_the_named_database_by_its_path_reaches_a_copy_at_most(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a name that no deny list knows, and inside the repository; run bare, the same migration changes it."""
    database = (repo / "notes.db").rename(repo / "store.bin")
    monkeypatch.setenv(scenario.ENV, f"sqlite:///{database}")
    write = f"sqlite3.connect({str(database)!r}, isolation_level=None).execute('DELETE FROM notes')"
    hostile = scenario.SECOND.replace("def upgrade() -> None:\n", f"def upgrade() -> None:\n    {write}\n")
    (repo / scenario.MIGRATION).write_text("import sqlite3\n" + hostile)
    before = database.read_bytes()
    rehearse(repo)
    assert database.read_bytes() == before
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=repo, capture_output=True, check=False)
    assert database.read_bytes() != before, "the control"
