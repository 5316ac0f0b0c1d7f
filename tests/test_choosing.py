"""Variables that a person makes up for the repository's commands: where they arrive, and which are refused."""

from pathlib import Path

import opened
import pytest
import scenario

from backend_crew.crew import choosing, commands, packets, verdict
from backend_crew.crew.embed import BackendCrew
from backend_crew.crew.errors import UsageError

NEEDS = {**scenario.FILES, "app/__init__.py": 'import os\nTOKEN = os.environ["NOTES_TOKEN"]\n'}


def test_pairs_are_names_and_values_and_anything_else_is_said() -> None:
    assert choosing.variables(["A=1", "B=x=y", "C=", "A=2"]) == {"A": "2", "B": "x=y", "C": ""}
    for wrong in ("A", "=1", "1A=2", "a b=c", ""):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            choosing.variables([wrong])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LD_PRELOAD", "x.so", "changes what programs load"),
        ("PATH", "/tmp", "the sandbox sets PATH itself"),
        ("TOKEN", "a\0b", "NUL"),
        ("TOKEN", "sesame-of-the-shop-77", "a real secret"),
        ("DATABASE_URL", "postgresql://notes:sesame-of-77@db/notes", "a real secret"),
    ],
)
def test_what_could_do_harm_is_refused_before_anything_runs(tmp_path: Path, name: str, value: str, says: str) -> None:
    repo = scenario.make_repository(tmp_path / "notes")
    (repo / ".env").write_text("SHOP_TOKEN=sesame-of-the-shop-77\n")
    with pytest.raises(UsageError, match=says) as caught:
        BackendCrew(repo, scenario.FEATURE, home=tmp_path / "home", sandbox_env={name: value})
    assert "sesame" not in str(caught.value)


def test_commands_of_the_repository_get_them_and_the_design_gate_shows_them(tmp_path: Path) -> None:
    with opened.implementing(tmp_path / "without", NEEDS) as session:
        before = verdict.run_tests(session)
        assert before.status == "failed" and "--sandbox-env NOTES_TOKEN=VALUE" in before.reason
    with opened.implementing(tmp_path / "with", NEEDS, sandbox_env={"NOTES_TOKEN": "made-up"}) as session:
        assert verdict.run_tests(session).status == "passed"
        assert "`NOTES_TOKEN=made-up`" in packets.build(session, "design").text
        assert session.runtime.env["NOTES_TOKEN"] == "made-up"
    with opened.implementing(tmp_path / "path", sandbox_env={"PYTHONPATH": "src"}) as session:
        session.use_packages("/packages")
        assert session.runtime.env["PYTHONPATH"] == "/packages:src"


def test_a_run_that_goes_on_with_new_variables_asks_its_tests_and_its_rehearsal_anew(tmp_path: Path) -> None:
    with opened.implementing(tmp_path) as session:
        journal, run = session.journal, session.id
        for task in ("baseline", "rehearse", "verify"):
            journal.record(run, task, "Any", {}, None)
    commands.name_commands(journal, run, tests=None, check=None, env={"NOTES_TOKEN": "made-up"})
    assert journal.run(run).options["sandbox_env"] == {"NOTES_TOKEN": "made-up"}
    assert [journal.output(run, task) for task in ("baseline", "rehearse", "verify")] == [None, None, None]
    with journal.lease(run):
        for task in ("rehearse", session.spec.at_gate("migrations").name):
            journal.record(run, task, "Any", {}, None)
    commands.name_commands(journal, run, tests=None, check=None, env={"OTHER": ""})
    assert journal.run(run).options["sandbox_env"] == {"NOTES_TOKEN": "made-up", "OTHER": ""}
    assert journal.output(run, "rehearse") is not None, "what a person decided about stays"
    journal.close()
