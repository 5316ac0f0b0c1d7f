"""Migrations that try to pass for harmless ones before a policy: what it reads is what code found, not what it looks like."""

import hashlib
import os
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from approved import approved, ask, naively, notes

from backend_crew.crew import policy, prompts, render, runner
from backend_crew.crew.journal import Journal, canonical, sha256
from backend_crew.crew.policy import Rule
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag
from backend_crew.crew.toolbox import CrewTool
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import ReadOnly, Workspace

WANTED = Rule("additive migrations", "migrations", {"additive": True, "reversible": True, "lint_clean": True})
BOMB = "CREATE TRIGGER bomb AFTER INSERT ON/**/notes BEGIN DELETE FROM notes; END"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, os.environ.get(scenario.ENV, ""))


def second(upgrade: str, downgrade: str, head: str = "") -> str:
    """A second migration with these bodies."""
    start = scenario.SECOND.split("def upgrade")[0].replace(
        "from alembic import op\n", f"from alembic import op\n{head}"
    )
    return f"{start}def upgrade() -> None:\n    {upgrade}\n\n\ndef downgrade() -> None:\n    {downgrade}\n"


def test_the_harmless_migration_is_what_the_rule_is_for(tmp_path: Path) -> None:
    """The control of this file."""
    with approved(tmp_path) as it:
        assert WANTED.fails(it.packet.data["facts"]) == ""


@pytest.mark.parametrize(
    ("upgrade", "head"),
    [
        (f'op.create_index("i", "notes", ["text"], info=Text("{BOMB}"))', "from alembic.op import execute as Text\n"),
        (f'op.create_index("i", "notes", ["text"], info=op.execute("{BOMB}"))', ""),
    ],
)
def test_a_trigger_behind_another_name_is_no_addition(tmp_path: Path, upgrade: str, head: str) -> None:
    text = second(upgrade, 'op.drop_index("i", "notes")\n    op.execute("DROP TRIGGER bomb")', head)
    assert "op.create_index(" in text  # the weak control: a look for what is called op.something finds an addition
    with approved(tmp_path, {scenario.MIGRATION: text}) as it:
        facts = it.packet.data["facts"]
        assert (facts["additive"], it.session.payload("rehearse")["added_only"]) == (False, False)  # type: ignore[index]  # it was rehearsed
        assert WANTED.fails(facts) == "additive: does not hold"
        # what it does to a database in which it is let run: the next note takes all others with it
        copy = naively(it.tree, it.database, tmp_path)
        assert ask(copy, "SELECT name FROM sqlite_master WHERE type = 'trigger'") == [("bomb",)]
        assert notes(it.database) == 3


UPDATE = "UPDATE notes SET text = text"


def _pending(stand: driving.Stand) -> None:
    """An older revision that this database has not had, committed before the run."""
    older = second(f'op.execute("{UPDATE}")', 'op.drop_index("i", "notes")').replace("0002", "0001b")
    older = older.replace("    op.execute", '    op.create_index("i", "notes", ["text"])\n    op.execute', 1)
    (stand.repo / "migrations/versions/0001b_older.py").write_text(older)
    scenario.git(stand.repo, "add", "-A")
    scenario.git(stand.repo, "commit", "-qm", "Older")


def test_what_only_the_linters_see_is_shown_and_is_not_clean(tmp_path: Path) -> None:
    """A statement over every row, in a file that waits beside the new one: it changes nothing on the copy."""
    text = scenario.SECOND.replace('down_revision = "0001"', 'down_revision = "0001b"')
    with approved(tmp_path, {scenario.MIGRATION: text}, before_approval=_pending) as it:
        facts, packet = it.session.payload("rehearse"), it.packet
        assert facts is not None
        assert (facts["status"], facts["findings"]) == ("passed", [])  # the weak control: the rehearsal alone
        older = "migrations/versions/0001b_older.py"
        assert {(one["rule"], one["path"]) for one in facts["lint"]} == {
            ("update-without-where", older),
            ("mixed-data-schema", older),
        }
        line = render.lint(facts)
        assert "error update-without-where, `migrations/versions/0001b_older.py`:12: " in line
        assert "Safe way: Expand, backfill, contract" in line
        assert f"## What the linters found\n\n{line}" in packet.text
        assert line in prompts._migration(it.session)
        assert packet.bound["record"] == sha256(canonical(facts)) != sha256(canonical({**facts, "lint": []}))
        assert WANTED.fails(packet.data["facts"]) in ("additive: does not hold", "lint_clean: does not hold")
        assert packet.data["facts"]["lint_clean"] is False


# -- a policy that lies in the repository -----------------------------------------------------------------------------


def _look(session: Session, name: str, **given: Any) -> str:
    session.permissions.enter(session.spec.task("analyse"))
    try:
        return CrewTool.of(session, name)._run(**given)
    except ToolError as error:
        return str(error)


def test_a_pinned_policy_in_the_repository_is_out_of_agents_sight(tmp_path: Path) -> None:
    rule = "rules:\n  - name: plans of mine\n    gate: design\n    when: {max_files: 17}\n"
    stand = driving.stand(tmp_path, {**scenario.FILES, "ci/policy.yaml": rule, "ci/other.yaml": "other: 17\n"})
    (tmp_path / "link").symlink_to(stand.repo, target_is_directory=True)
    journal = Journal(stand.home)
    pin = hashlib.sha256(rule.encode()).hexdigest()
    for repo in (stand.repo, tmp_path / "link", stand.repo / "app" / ".."):
        given = policy.checked(f"{repo / 'ci/policy.yaml'}@sha256:{pin}", stand.repo)
        options = Options(policy=given, python=scenario.PYTHON, checks="quick")
        run = runner.start(journal, stand.repo, scenario.FEATURE, options=options)
        with journal.lease(run.id):
            session = open_session(journal, run.id, StopFlag())
            for path in ("ci/policy.yaml", "ci/Policy.YAML", "./ci//policy.yaml"):
                assert "not accessible to agents" in _look(session, "read_file", path=path)
            assert "policy.yaml" not in _look(session, "list_files", folder="ci")
            found = _look(session, "search", pattern="17")
            assert "ci/other.yaml:1" in found and "policy.yaml" not in found
            weak = Workspace(session.clone.tree, ReadOnly())  # the weak control: the deny list alone
            assert "max_files: 17" in "".join(weak.read("ci/policy.yaml").lines)
    journal.close()
