"""Repositories that are not Alembic with pytest, through all stages: what a person and an agent see must be true."""

import dataclasses
import os
import pty
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generic_scenarios as generic
import node_scenarios as node
import pytest
import scenario
from driving import Stand
from scenario import Script, Step

from backend_crew.crew import choosing, render, reporting, runner, summary, verdict
from backend_crew.crew.embed import Finished, Unverified
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import definitions, migrations, runtime, stack
from backend_crew.tools.sandbox import NoSandbox, find_sandbox
from backend_crew.tools.testrun import TestCommand

NODE = shutil.which("node", path=f"{os.environ.get('PATH', '')}:{os.defpath}") is not None


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs these tests decides nothing."""
    for name in ("VIRTUAL_ENV", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MODEL"):
        monkeypatch.delenv(name, raising=False)


def prepared(folder: Path, files: dict[str, str], steps: dict[str, list[Step]]) -> Stand:
    repo = scenario.make_repository(folder / "notes", files)
    return Stand(repo, repo / "nothing.db", folder / "home", Script(steps))


def results(script: Script, task: str) -> str:
    """What the tools answered to the agent of a task."""
    texts = [str(m.get("content")) for turn in script.seen if turn.task == task for m in turn.messages]
    return "\n".join(dict.fromkeys(texts))


def report(stand: Stand) -> str:
    return (stand.folder / "report.md").read_text()


def checked_out(stand: Stand, folder: Path) -> Path:
    """The published branch as a person gets it."""
    scenario.git(stand.repo, "clone", "-q", "-b", stand.branch, str(stand.repo), str(folder))
    return folder


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [scenario.PYTHON, "manage.py", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_django_repository_reaches_a_truthful_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = prepared(tmp_path, generic.DJANGO, generic.django())
    database = stand.repo / "db.sqlite3"
    with sqlite3.connect(database) as made:
        made.executescript(generic.DJANGO_DATABASE)
    made.close()
    monkeypatch.setenv("NOTES_URL", f"sqlite:///{database}")
    result = stand.kickoff(
        database_env="NOTES_URL",
        # in a way of which no runner can be told: the run goes by the exit code
        test_command=("sh", "-c", "(python manage.py test)"),
        check_command=("python", "manage.py", "check"),
    )
    assert isinstance(result, Finished), result.reason

    (design,) = stand.person.packets("design")
    assert "Tests: `(python manage.py test)` (named by the person)" in design.text
    assert "After each layer: `python manage.py check`" in design.text
    assert "Migrations (django, manage.py:4): tried on a copy before you are asked" in design.text
    (gate,) = stand.person.packets("migrations")
    assert generic.ARCHIVED.rstrip() in gate.text, "the migration is shown whole"
    by_hand = "NOTES_URL=… python manage.py migrate notes 0002_note_archived"
    assert f"Database: {database}" in gate.text and f"By hand: `{by_hand}`" in gate.text
    assert "Rehearsal passed, on copy of the database, notes: 0001_initial → 0002_note_archived" in gate.text
    assert "notes_note 2" in gate.text, "on the person's rows"
    assert "INSERT INTO django_migrations" in gate.text, "the SQL is whole"
    assert gate.text.index("INSERT INTO django_migrations") < gate.text.index(generic.ARCHIVED.rstrip())

    seen = results(stand.script, "test")
    assert "the test command fails" in seen, "a red exit code goes back to the tester"
    assert "judged by its exit code alone, and all tests were run" in seen

    text = report(stand)
    assert f"{generic.DJANGO_MIGRATION}: rehearsal passed; applied" in text
    with sqlite3.connect(database) as after:
        assert after.execute("SELECT text, archived FROM notes_note ORDER BY id").fetchall() == [
            ("milk", 0),
            ("tea", 0),
        ]
    after.close()
    assert "green: exit code 0, counts unknown" in text and "`(python manage.py test)`: counts unknown" in text
    assert "NOT KNOWN **AC1**" in text and "- shown **AC" not in text
    assert "check `python manage.py check`: passed" in text
    assert "`POST /notes/{id}/archive/`" in text
    theirs = checked_out(stand, tmp_path / "theirs")
    assert manage(theirs, "test").returncode == 0, "what was called green is green for the person too"
    assert manage(theirs, "makemigrations", "--check", "--dry-run").returncode == 0
    (theirs / generic.DJANGO_MIGRATION).unlink()
    assert manage(theirs, "makemigrations", "--check", "--dry-run").returncode != 0, "the control"


@pytest.mark.slow
def test_an_express_repository_reaches_a_truthful_summary(tmp_path: Path) -> None:
    stand = prepared(tmp_path, node.EXPRESS, node.express())
    check = ("node", "--check", "src/server.js")
    result = stand.kickoff(database_env=None, python=None, test_command=("node", "--test"), check_command=check)

    (gate,) = stand.person.packets("migrations")
    assert node.SECOND_SQL.rstrip() in gate.text and "**Not rehearsed**" in gate.text
    assert "By hand: `npm run migrate`" in gate.text and "nothing is applied by this run" in gate.text
    text = report(stand)
    assert f"{node.SQL_MIGRATION}: not rehearsed; approved, not applied" in text
    assert "by hand: `npm run migrate`" in text
    altered = [one["name"] for one in stand.payload("summarise")["altered"]]
    assert altered == ["src/handlers.js", "src/server.js", "src/sqlite-store.js"], "one entry a file, and no more"
    assert "`src/server.js`:8 (the file as a whole)" in text
    if NODE:
        assert isinstance(result, Finished), result.reason
        assert "0 error, 0 failed, 3 passed, 0 skipped" in text, "node's report is read, so tests are counted"
        assert f"  - {node.NODE_IDS[0]}: passed" in text and "- shown **AC1**" in text
        assert "SyntaxError" in results(stand.script, "implement_business_logic")
    else:
        assert isinstance(result, Unverified)
        assert "`node --test" in result.reason and "not available in the sandbox" in result.reason
        assert "NOT SHOWN **AC1**" in text

    theirs = checked_out(stand, tmp_path / "theirs")
    with sqlite3.connect(":memory:") as database:
        for path in sorted((theirs / "migrations").iterdir()):
            database.executescript(path.read_text())
        assert "archived" in [row[1] for row in database.execute("PRAGMA table_info(notes)")]
    database.close()


@pytest.mark.slow
def test_a_prisma_repository_is_rehearsed_by_its_sql_and_its_tests_are_not_run(tmp_path: Path) -> None:
    """No tests are wanted either: the run goes on without them and says so."""
    stand = prepared(tmp_path, node.PRISMA, node.prisma())
    result = stand.kickoff(database_env=None, python=None, test_command=choosing.NO_TESTS)
    assert isinstance(result, Unverified)
    why = 'no test command was confirmed; name it with --test-command, for example --test-command "node --test"'
    assert result.reason.startswith(f"tests: not run - {why} (package.json:")
    (design,), (gate,) = stand.person.packets("design"), stand.person.packets("migrations")
    assert f"Tests: none will be run; {why}" in design.text
    assert "Migrations (prisma, prisma/schema.prisma:1): tried on a copy before you are asked" in design.text
    assert "Rehearsal passed, on generated rows" in gate.text and "irreversible" in gate.text
    assert node.SECOND_SQL.rstrip() in gate.text and "By hand: `npx prisma migrate deploy`" in gate.text
    text = report(stand)
    assert f"{node.PRISMA_MIGRATION}: rehearsal passed; approved, not applied" in text
    assert f"- not run: {why}" in text and "counts unknown" not in text
    assert "run the tests yourself before you merge" in text and "NOT SHOWN **AC1**" in text
    assert stand.events("tests") == [], "a command that nobody confirmed is not run"


@pytest.mark.parametrize("files", [generic.DJANGO, node.EXPRESS, node.PRISMA], ids=["django", "express", "prisma"])
def test_a_backend_is_found_by_what_is_declared(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert stack.has_backend(stack.detect(tmp_path))


def test_a_page_without_a_server_is_no_backend(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"left-pad": "1"}, "scripts": {"test": "node --test"}}')
    (tmp_path / "index.js").write_text("document.title = 'x'\n")
    assert not stack.has_backend(stack.detect(tmp_path))


def tool(folder: Path, name: str, files: dict[str, str]) -> migrations.MigrationTool:
    repo = scenario.make_repository(folder / name, files)
    return next(one for one in migrations.detect(repo) if one.name == name)


def test_django_files_are_known_in_every_application_of_its_folder(tmp_path: Path) -> None:
    nested = {f"backend/{path}": text for path, text in generic.DJANGO.items()}
    found = tool(tmp_path, "django", {**nested, "tools/migrations/0001_x.py": ""})
    changed = [
        "backend/notes/migrations/0002_note_archived.py",
        "backend/shop/migrations/0001_initial.py",  # an application that had none before
        "backend/notes/migrations/__init__.py",
        "backend/notes/models.py",
        "tools/migrations/0002_y.py",
    ]
    assert migrations.new_files(found, changed) == tuple(changed[:2])


def test_plain_sql_files_are_known_up_and_down_and_by_the_repository_s_own_command(tmp_path: Path) -> None:
    found = tool(tmp_path, "sql", node.EXPRESS)
    changed = ["migrations/002_b.sql", "migrations/002_b.down.sql", "migrations/readme.md", "db/schema.sql"]
    assert migrations.new_files(found, changed) == tuple(changed[:2])
    assert found.apply_command == ("npm", "run", "migrate")
    bare = {**node.EXPRESS, "package.json": '{"dependencies": {"express": "4"}}'}
    assert tool(tmp_path / "bare", "sql", bare).apply_command == ()


def test_where_no_command_is_known_the_report_says_so() -> None:
    facts = {"files": ["a.sql"], "rehearsal": "not rehearsed", "status": "approved, not applied", "command": ""}
    first, second = reporting.migration_lines({**facts, "reason": "yours to run"})
    assert first == "a.sql: not rehearsed; approved, not applied"
    assert second == f"yours to run; by hand: {reporting.NO_COMMAND}"


def test_an_edited_migration_is_said_where_nothing_was_rehearsed() -> None:
    finding = {"severity": "error", "text": "migrations that existed before were changed: a.sql"}
    text = render.rehearsal({"status": "not rehearsed", "reason": "plain SQL", "findings": [finding]})
    assert "**Not rehearsed**: plain SQL" in text and "error: migrations that existed before were changed" in text


def test_a_changed_javascript_file_is_one_entry() -> None:
    old = "\n".join(f"function f{n} () {{ return {n} }}" for n in range(50))
    new = old.replace("return", "return 1 +") + "\nfunction g () {}\n"
    (found,) = definitions.altered({"a.js": old}, {"a.js": new})
    assert (found.name, found.kind) == ("a.js", "file")
    assert reporting.definition({**vars(found), "reason": "x"}) == "`a.js`:1 (the file as a whole)"


RED, GREEN = (
    {"status": status, "counts_known": False, "reason": reason, "exit_code": code}
    for status, reason, code in (("failed", "the command ended with exit code 1", 1), ("passed", "exit code 0", 0))
)


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        (GREEN, GREEN, "green"),
        (GREEN, RED, "red"),
        ({"status": "not run"}, RED, "red"),
        (RED, RED, "unclear"),
        (RED, GREEN, "green"),
        (GREEN, {"status": "not run", "reason": "no sandbox"}, "not run"),
    ],
)
def test_the_verdict_of_an_exit_code(before: dict[str, Any], now: dict[str, Any], word: str) -> None:
    assert verdict.verdict(before, now)[0] == word


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An open run over the notes, with a check that a file of the application can break."""
    journal = Journal(tmp_path / "home")
    check = choosing.parse("! grep -r FORBIDDEN app", "--check-command")
    options = Options(python=scenario.PYTHON, checks="quick", check_command=check)
    run = runner.start(journal, scenario.make_repository(tmp_path / "notes"), scenario.FEATURE, options=options)
    yield open_session(journal, run.id, StopFlag())
    journal.close()


def test_the_person_s_own_check_counts_where_it_held_before(session: Session) -> None:
    before = verdict.run_check(session)
    assert before is not None and (before["status"], before["command"]) == ("passed", "! grep -r FORBIDDEN app")
    session.journal.record(session.id, "baseline", "Baseline", {"check": before}, None)
    assert verdict.check_problem(session) is None
    (session.clone.tree / "app/service.py").write_text("FORBIDDEN = 1\n")
    problem = verdict.check_problem(session)
    assert problem is not None and "`! grep -r FORBIDDEN app`: the check ended with exit code 1" in problem
    assert "app/service.py:FORBIDDEN = 1" in problem, "its output comes with it"
    assert summary._unverified(session, {"verdict": "green", "check": verdict.run_check(session)}, {}, {}) == (
        "check `! grep -r FORBIDDEN app`: the check ended with exit code 1"
    )
    red = {"status": "failed", "reason": "x", "command": "x", "output_tail": ""}
    session.journal.record(session.id, "baseline", "Baseline", {"check": red}, None)
    assert verdict.check_problem(session) is None, "what failed before the change is not the change's fault"


def test_a_check_that_cannot_be_run_is_said_and_refuses_nothing(session: Session) -> None:
    session.run = dataclasses.replace(session.run, options={"check_command": ["no-such-linter", "."]})
    done = verdict.run_check(session)
    assert done is not None and done["status"] == "not run" and "no-such-linter" in done["reason"]
    assert verdict.check_problem(session) is None
    assert "not run: `no-such-linter .` ended with exit code 127" in summary._unverified(
        session, {"verdict": "green", "check": done}, {}, {}
    )


def test_node_runs_where_the_repository_is_also_python(tmp_path: Path) -> None:
    """Node reserves far more addresses than Python is allowed."""
    repo = scenario.make_repository(tmp_path / "notes", node.EXPRESS)
    found = runtime.find_runtime(repo, python=Path(scenario.PYTHON), node=runtime.find_node(repo, os.defpath))
    sandbox = find_sandbox()
    assert found.kind == "python" and not isinstance(sandbox, NoSandbox)
    with sandbox.box(repo, repo, found) as box:
        done = box.run(("node", "-e", "console.log(6 * 7)"))
        assert (done.exit_code, done.stdout) == ((0, "42\n") if NODE else (127, ""))
        limit = "import resource; print(resource.getrlimit(resource.RLIMIT_AS)[0] > 0)"
        assert box.run((scenario.PYTHON, "-c", limit)).stdout == "True\n", "the limit of Python stays"


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python manage.py test", ("python", "manage.py", "test")),
        ("pytest -k 'a|b'", ("pytest", "-k", "a|b")),
        ("cd api && npm test", ("sh", "-c", "cd api && npm test")),
        ("NODE_ENV=test npm test", ("sh", "-c", "NODE_ENV=test npm test")),
        ("node --test test/*.js", ("sh", "-c", "node --test test/*.js")),
    ],
)
def test_a_command_is_read_as_a_person_writes_it(text: str, argv: tuple[str, ...]) -> None:
    assert choosing.parse(text, "--test-command") == argv


@pytest.mark.parametrize("text", ["pytest 'x", "", "  "])
def test_a_command_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--test-command"):
        choosing.parse(text, "--test-command")


def test_a_person_chooses_by_number_in_own_words_or_none() -> None:
    proposed = (TestCommand(("npm", "test"), "generic", "package.json:3"), TestCommand(("make",), "generic", "x:1"))
    said: list[str] = []

    def asked(*words: str) -> tuple[str, ...]:
        lines = iter(words)
        return choosing.at_terminal(lambda _: next(lines), said.append)("How?", proposed)

    assert asked("2") == ("make",)
    assert asked("7", "'x", "none") == ()
    assert asked("go test ./...") == ("go", "test", "./...")
    assert "  1. npm test   (package.json:3)" in said and "There are 2 proposals." in said


def test_the_first_usable_node_is_taken_and_shims_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    shim, real = tmp_path / "shims" / "node", tmp_path / "node-v20" / "bin" / "node"
    for path, data in ((shim, b"#!/bin/sh\n"), (real, b"\x7fELF")):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        path.chmod(0o755)
    (real.parent.parent / "lib" / "node_modules").mkdir(parents=True)
    search = f"relative:{shim.parent}:{real.parent}"
    assert runtime.find_node(tmp_path / "repo", search) is None, "no package.json, no node"
    (tmp_path / "repo" / "package.json").write_text("{}")
    assert runtime.find_node(tmp_path / "repo", search) == real
    found = runtime.find_runtime(tmp_path / "repo", node=real)
    assert found.mounts == (real.parent.parent,) and found.path == (real.parent,)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str], list[str]]]:
    """A repository whose tests are not counted, the environment of a person without a key, and their command."""
    repo = scenario.make_repository(tmp_path / "notes", generic.UNCOUNTED)
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "BACKEND_CREW_HOME": str(tmp_path / "home"), "TERM": "dumb"}
    code = "from backend_crew.crew.main import main; main()"
    yield repo, env, [sys.executable, "-c", code, "run", "Archive notes", "--repo", str(repo)]


def options_of(home: Path) -> dict[str, Any]:
    journal = Journal(home)
    try:
        (run,) = journal.runs()
        return dict(run.options)
    finally:
        journal.close()


@pytest.mark.slow
def test_off_a_terminal_the_run_stops_and_says_which_flag(shell: tuple[Path, dict[str, str], list[str]]) -> None:
    _, env, command = shell

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        argv = [*command, *more]
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 2, done.stderr
    assert "no test command was confirmed; name it with --test-command, for example" in done.stderr
    assert '--test-command "npm test --silent" (package.json:2)' in done.stderr
    done = run("--test-command", "none")
    assert done.returncode == 4, done.stderr  # no model key: it went on to the first model call
    assert options_of(Path(env["BACKEND_CREW_HOME"]))["test_command"] == ["none"]


@pytest.mark.slow
def test_on_a_terminal_the_person_is_asked_and_the_choice_is_kept(
    shell: tuple[Path, dict[str, str], list[str]],
) -> None:
    _, env, command = shell
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown = ""
    try:
        for expected in ("How are the tests", "Which check"):
            shown += read_until(master, f"{expected}", shown)
            shown += read_until(master, "or 'none'", shown[shown.index(expected) :])
            os.write(master, b"1\n")
        shown += drained(master)
        assert process.wait(60) == 4, shown
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "1. npm test --silent   (package.json:2)" in shown
    kept = options_of(Path(env["BACKEND_CREW_HOME"]))
    assert kept["test_command"] == ["npm", "test", "--silent"]
    assert kept["check_command"] == ["npm", "run", "--silent", "lint"]


def read_until(master: int, words: str, already: str) -> str:
    """What a terminal shows until the words are there, from `already` on; fails after a minute."""
    text, deadline = "", time.monotonic() + 60
    while words not in already + text:
        assert time.monotonic() < deadline, already + text
        if select.select([master], [], [], 1)[0]:
            text += os.read(master, 4096).decode(errors="replace")
    return text


def drained(master: int) -> str:
    """What a terminal shows until the program has closed it."""
    text = ""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            return text
        if not data:
            return text
        text += data.decode(errors="replace")
