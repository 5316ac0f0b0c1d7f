"""The migration gate against what hides beside a migration: older revisions, imported code, rows, a new tool."""

import copy
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario
from scenario import Script, call, submit, use

from backend_crew.crew.embed import BackendCrew, Result
from backend_crew.crew.gates import Packet
from backend_crew.crew.settings import Options
from backend_crew.tools import apply

SECRET = "tk9-supersecret-value-123"
COLUMN = call(
    "edit_file", path="app/models.py", old="    text: Mapped[str]", new=scenario.COLUMN + "    text: Mapped[str]"
)
WARY = {
    **scenario.REVIEW,
    "recommendation": "do not run",
    "risks": [{"severity": "high", "risk": "Rows are lost.", "mitigation": "None."}],
}


class Run:
    """One run to its end, with every packet that was shown."""

    def __init__(self, folder: Path, files: dict[str, str], steps: dict[str, Any], rows: int = 3) -> None:
        self.repo = scenario.make_repository(folder / "notes", files)
        self.database = scenario.make_database(folder / "notes.db", rows)
        os.environ[scenario.ENV] = f"sqlite:///{self.database}"
        self.packets: list[Packet] = []
        self.script = Script(steps=steps)
        self.home = folder / "home"
        options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick")
        self.crew = BackendCrew(
            self.repo, scenario.FEATURE, approver=self.decide, model=self.script, home=self.home, options=options
        )

    def decide(self, packet: Packet) -> dict[str, Any]:
        self.packets.append(packet)
        return scenario.approve_all(packet)

    def finish(self) -> Result:
        return self.crew.kickoff()

    def gate(self) -> str:
        return next(packet.text for packet in self.packets if packet.gate == "migrations")

    def asked(self) -> str:
        return json.dumps([turn.messages for turn in self.script.seen], default=str)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, "")


def _written(*calls: Any, design: dict[str, Any] | None = None) -> dict[str, Any]:
    steps: dict[str, Any] = scenario.happy()
    steps["implement_data_access"] = [scenario.DATA_ACCESS[0], use(COLUMN, *calls), scenario.DATA_ACCESS[2]]
    if design:
        steps["design"] = [submit(**design)]
    return steps


def test_an_older_revision_that_would_run_too_is_shown_whole(tmp_path: Path) -> None:
    older = scenario.SECOND.replace("0002", "0001b").split("def upgrade")[0] + (
        'def upgrade() -> None:\n    op.execute("delete from notes where id > 1")\n\n\ndef downgrade() -> None:\n    pass\n'
    )
    files = {**scenario.FILES, "migrations/versions/0001b_old.py": older}
    mine = call("write_file", path=scenario.MIGRATION, text=scenario.SECOND.replace('"0001"', '"0001b"'))
    run = Run(tmp_path, files, {**_written(mine), "review_migrations": [submit(**WARY)]})
    run.finish()
    assert "delete from notes where id > 1" in run.gate()
    assert "not yet applied to this database" in run.gate()


def test_code_that_the_migration_imports_is_shown(tmp_path: Path) -> None:
    design = copy.deepcopy(scenario.DESIGN)
    design["files"].append({"path": "app/ops.py", "action": "create", "layer": "data_access", "purpose": "helpers"})
    helper = (
        "from alembic import context\n\n\ndef tidy(op):\n"
        "    if not context.is_offline_mode():\n        op.execute(\"update notes set text = 'HELPERBYTES'\")\n"
    )
    migration = scenario.SECOND.replace(
        "def upgrade() -> None:\n", "def upgrade() -> None:\n    from app.ops import tidy\n\n    tidy(op)\n", 1
    )
    calls = (
        call("write_file", path=scenario.MIGRATION, text=migration),
        call("write_file", path="app/ops.py", text=helper),
    )
    run = Run(
        tmp_path, dict(scenario.FILES), {**_written(*calls, design=design), "review_migrations": [submit(**WARY)]}
    )
    run.finish()
    assert "HELPERBYTES" in run.gate()
    assert "the rendered SQL and the tool's own run differ" in run.gate()
    assert "executed when applying" in run.gate()


def test_rows_and_secrets_reach_neither_the_model_nor_the_branch(tmp_path: Path) -> None:
    spy = scenario.SECOND.replace(
        "def upgrade() -> None:\n",
        "def upgrade() -> None:\n    import os\n    import sqlite3\n\n    from alembic import context\n\n"
        '    path = os.environ["NOTES_DATABASE_URL"].removeprefix("sqlite:///")\n'
        '    rows = sqlite3.connect(path).execute("select text from notes").fetchall() if context.is_offline_mode() else []\n'
        '    op.execute(f"-- {rows}")\n',
        1,
    )
    files = {**scenario.FILES, "app/models.py": f'TOKEN = "{SECRET}"\n{scenario.MODELS}'}
    files[".gitignore"] += ".env\n"
    steps = _written(call("write_file", path=scenario.MIGRATION, text=spy))
    run = Run(tmp_path, files, steps)
    (run.repo / ".env").write_text(f"API_TOKEN={SECRET}\n")
    again = BackendCrew(run=run.crew.run.id, approver=run.decide, model=run.script, home=run.home)  # reads the new .env
    again.kickoff()
    assert "note 2" not in run.asked() and "note 2" not in run.gate()
    assert SECRET not in run.asked()
    assert SECRET in (run.repo / "app/models.py").read_text()  # control: the value is there to be found
    branch = scenario.git(run.repo, "log", "-p", f"main..{run.crew.run.branch}", "--", "specs")
    assert branch and "note 2" not in branch


def test_a_migration_tool_that_the_run_brings_along_opens_the_gate(tmp_path: Path) -> None:
    brought = ("alembic.ini", "migrations/env.py", "migrations/versions/0001_notes.py")
    gone = (*brought, "migrations/script.py.mako")
    files = {name: text for name, text in scenario.FILES.items() if name not in gone}
    design = copy.deepcopy(scenario.DESIGN)
    design["files"] = [one for one in design["files"] if "versions" not in one["path"]]
    design["files"] += [
        {"path": path, "action": "create", "layer": "data_access", "purpose": "Alembic"} for path in brought
    ]
    steps = _written(*(call("write_file", path=path, text=scenario.FILES[path]) for path in brought), design=design)
    analysis = copy.deepcopy(scenario.ANALYSIS)
    analysis["findings"][2]["evidence"] = [
        {"path": "app/models.py", "line": 1, "quote": "from sqlalchemy import Boolean"}
    ]
    run = Run(tmp_path, files, {**steps, "analyse": [submit(**analysis)], "review_migrations": [submit(**WARY)]})
    run.finish()
    assert [packet.gate for packet in run.packets] == ["answers", "design", "migrations"]
    assert "migrations/versions/0001_notes.py" in run.gate()


def test_after_an_interrupted_apply_another_database_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, dict(scenario.FILES), scenario.happy())

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(apply, "apply_sqlite", die)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    run.database.rename(tmp_path / "shown.db")
    scenario.make_database(run.database, notes=50)
    BackendCrew(run=run.crew.run.id, approver=run.decide, model=run.script, home=run.home).kickoff()
    with sqlite3.connect(run.database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    connection.close()
    payload = run.crew._journal.output(run.crew.run.id, "apply")
    assert payload is not None and payload.payload["status"] == "refused"
