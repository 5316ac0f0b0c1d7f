"""Migrations that try to pass for harmless ones before a policy: what it reads is what code found, not what it looks like."""

import os
from pathlib import Path

import pytest
import scenario
from approved import approved, ask, naively, notes

from backend_crew.crew.policy import Rule

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
