"""Which test command a run takes, and the variables that a person makes up for the repository's commands."""

from collections.abc import Sequence
from pathlib import Path

import generic_scenarios as generic
import opened
import pytest
import scenario

from backend_crew.crew import choosing, commands, packets, verdict
from backend_crew.crew.embed import BackendCrew
from backend_crew.crew.errors import UsageError
from backend_crew.crew.settings import Options
from backend_crew.tools import testrun
from backend_crew.tools.testrun import TestCommand

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


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (scenario.FILES, "python -m pytest (pyproject.toml:"),
        (generic.DJANGO, "python manage.py test (manage.py:6)"),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, "node --test (package.json:1)"),
        ({"package.json": '{"scripts": {"test": "FLAG=1 jest"}}'}, "npm test --silent (package.json:1)"),
        ({"package.json": '{"devDependencies": {"vitest": "3"}}'}, "vitest (package.json:1)"),
    ],
)
def test_runners_whose_reports_are_read_are_taken_without_a_question(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    asked: list[str] = []
    said: list[str] = []

    def ask(question: str, proposed: Sequence[TestCommand]) -> tuple[str, ...]:
        asked.append(question)
        return ("wrong",)

    repo = scenario.make_repository(tmp_path / "notes", files)
    options = Options(python=None if "package.json" in files else scenario.PYTHON, checks="quick")
    for somebody in (None, ask):
        assert choosing.settled(repo, options, somebody, said.append, assumed=True) == options
    assert not asked and said[0] == said[1] and said[0].startswith(f"tests: {words}"), said
    found = choosing.test_command(repo, choosing.runtime_of(repo, options.python), ())
    assert found is not None and testrun.reports(found, repo)
    assert choosing.test_command(repo, choosing.runtime_of(repo, options.python), choosing.NO_TESTS) is None


def test_what_is_guessed_or_not_counted_is_asked_or_stops_the_run(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(question: str, proposed: Sequence[TestCommand]) -> tuple[str, ...]:
        asked.append(question)
        return proposed[0].argv

    repo = scenario.make_repository(tmp_path / "notes", generic.UNCOUNTED)
    options = Options(python=scenario.PYTHON, checks="quick")
    with pytest.raises(UsageError, match="no test command was confirmed") as caught:
        choosing.settled(repo, options, None, asked.append)
    assert '--test-command "npm test --silent" (package.json:2)' in str(caught.value)
    assert str(caught.value).endswith("To go on without tests: --test-command none")
    chosen = choosing.settled(repo, options, ask, asked.append)
    assert (chosen.test_command, chosen.check_command) == (
        ("npm", "test", "--silent"),
        ("npm", "run", "--silent", "lint"),
    )
    assert len(asked) == 2
    assert choosing.settled(repo, options, lambda *_: (), asked.append).test_command == choosing.NO_TESTS
    named = Options(test_command=("make", "test"))
    assert choosing.settled(repo, named, ask, asked.append) == named
    without = Options(test_command=choosing.parse("none", "--test-command"))
    assert choosing.settled(repo, without, None, asked.append) == without
