"""The command line: exit codes, one JSON object on stdout, and a clear error for everything that can be put in wrong."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from endpoint import serving
from scenario import git, make_repository

from backend_crew.crew import main as doors
from backend_crew.crew.embed import Waiting
from backend_crew.crew.gates import Packet

JSON_KEYS = {"run", "status", "reason", "stage", "gate", "branch", "artifacts", "usage", "exit_code"}


@dataclass
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one object that it is."""
        [line] = self.out.splitlines()
        return json.loads(line)


Call = Callable[..., Said]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, through its own door, with a home of its own and nobody at the terminal."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MODEL", "FEATURE", "REPO", "BACKEND_CREW_JOURNAL_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(scenario.ENV, "")

    def run(*argv: object, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            doors.main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return Said(int(str(left.value.code)), out, err)

    return run


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A committed repository with a backend."""
    return make_repository(tmp_path / "notes")


@pytest.fixture
def stand(call: Call, tmp_path: Path) -> driving.Stand:
    """The same with a database and a scripted model, for runs that the command line then looks at."""
    return driving.stand(tmp_path)


def waits_at(stand: driving.Stand, gate: str) -> Waiting:
    """A run that waits at a gate."""
    stand.person.decisions[gate] = [None]
    result = stand.kickoff()
    assert isinstance(result, Waiting), result.reason
    return result


# -- what cannot be run ---------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_worked_on_is_a_usage_error_with_a_way_out(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    plain = tmp_path / "plain"
    plain.mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    git(make_repository(tmp_path / "whole"), "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{tmp_path / 'whole'}", "partial")
    no_backend = make_repository(tmp_path / "site", {"index.html": "<p>hi</p>\n", "style.css": "p {}\n"})
    cases: Mapping[Path, str] = {
        file: "is not a folder",
        tmp_path / "missing": "is not a folder",
        plain: "git init",
        empty: "has no commits yet",
        no_backend: "no backend was found",
        tmp_path / "partial": "partial clone",
    }
    for folder, words in cases.items():
        said = call("run", "A feature", "--repo", folder)
        assert (said.code, said.out) == (2, ""), folder
        assert words in said.err, folder
        assert "Traceback" not in said.err
    assert call("runs", "--json").json == []


def test_a_dirty_tree_off_a_terminal_needs_a_word(call: Call, repo: Path) -> None:
    (repo / "app/models.py").write_text("# mine\n")
    said = call("run", "A feature", "--repo", repo)
    assert said.code == 2
    assert "--include-dirty or --ignore-dirty" in said.err
    assert "app/models.py" in said.err
    assert (repo / "app/models.py").read_text() == "# mine\n"
    assert call("run", "A feature", "--repo", repo, "--ignore-dirty").code == 4  # as far as the missing key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("\x01\x02\u202e", "is empty"),
        ("x" * 50_001, "50001 characters"),
        ("caf\udce9", "not valid UTF-8"),
    ],
)
def test_feature_text_that_cannot_be_used(call: Call, repo: Path, text: str, words: str) -> None:
    said = call("run", text, "--repo", repo)
    assert (said.code, said.out) == (2, "")
    assert words in said.err


def test_the_feature_comes_from_one_place(call: Call, repo: Path, tmp_path: Path) -> None:
    file = tmp_path / "feature.md"
    file.write_bytes(b"\xff\xfe")
    assert "not both" in call("run", "A feature", "--feature-file", file, "--repo", repo).err
    assert "not both" in call("run", "--repo", repo).err
    assert "cannot be read as UTF-8" in call("run", "--feature-file", file, "--repo", repo).err
    assert "cannot be read" in call("run", "--feature-file", tmp_path / "none", "--repo", repo).err
    assert "cannot be read" in call("run", "A feature", "--env-file", tmp_path / "none", "--repo", repo).err


def test_flags_with_wrong_values(call: Call, repo: Path) -> None:
    for argv, words in (
        (["--max-calls", "many"], "expected a number or 'none'"),
        (["--max-cost", "-1"], "must be above 0"),
        (["--databse-url-env", "X"], "--database-url-env"),
        (["--config", str(repo)], "the file is missing"),
    ):
        said = call("run", "A feature", "--repo", repo, *argv)
        assert said.code == 2, argv
        assert words in said.err, said.err
    assert call("rnu").code == 2


# -- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("anthropic/claude-sonnet-4-6", "ANTHROPIC_API_KEY"),
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        ("gemini/gemini-2.5-pro", "pip install"),
        ("nosuchprovider/some-model", "cannot be used"),
        ("claude-sonnet-4-6", "names no provider"),
    ],
)
def test_a_model_that_cannot_be_used_is_exit_4_and_nothing_is_lost(
    call: Call, repo: Path, model: str, words: str
) -> None:
    said = call("run", "Archive notes", "--repo", repo, "--model", model, "--json", "--python", sys.executable)
    assert said.code == 4, said.err
    assert said.json["status"] == "model refused"
    assert words in said.json["reason"]
    assert said.json["usage"]["calls"] == 0
    assert f"backend-crew resume {said.json['run']}" in said.err
    assert git(repo, "branch", "--format=%(refname:short)").split() == ["main"]


@pytest.mark.slow
def test_what_a_provider_s_client_logs_goes_to_the_run_s_folder(call: Call, repo: Path, tmp_path: Path) -> None:
    key = "sk-proj-Zk3v9pQm2xN8sT4uWb7y"
    with serving([401]) as endpoint:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "BACKEND_CREW_HOME": str(tmp_path / "home"),
            "OPENAI_API_KEY": key,
            "OPENAI_BASE_URL": endpoint.url,
        }
        argv = ["run", "Archive notes", "--repo", str(repo), "--model", "openai/gpt-4o", "--python", sys.executable]
        program = "import json, sys; from backend_crew.crew.main import main; main(json.loads(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(argv)],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 4, done.stderr
    assert "the provider refused the key" in done.stdout
    assert "ERROR:root:" not in done.stderr
    (log,) = tmp_path.glob("home/runs/*/libraries.log")
    assert " ERROR root: " in log.read_text()
    assert key not in log.read_text() + done.stdout + done.stderr


@pytest.mark.slow
def test_a_detached_head_works(call: Call, repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    said = call("run", "Archive notes", "--repo", repo, "--json", "--python", sys.executable)
    assert said.code == 4
    assert said.json["run"].startswith("archive-notes-")


# -- feature texts that are strange, and fine -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "feature",
    [
        "Archive {notes} by {id} {{twice}} {feature} {0} {}\n\narchiving twice is fine",
        "Archive notes\n\narchiving twice is fine. " + "long " * 9_980,
        "Archive\x07 notes\x1b[31m\n\narchiving twice\u202e is fine",
    ],
)
def test_strange_feature_texts_reach_the_model_as_they_are(stand: driving.Stand, feature: str) -> None:
    assert len(feature) <= 50_000
    stand.person.decisions["answers"] = [None]
    crew = stand.crew(feature=feature)
    assert isinstance(crew.kickoff(), Waiting)
    clean = feature.replace("\x07", "").replace("\x1b", "").replace("\u202e", "")
    assert crew.run.feature == clean
    asked = str([message["content"] for message in stand.script.seen[0].messages])
    assert repr(clean.strip())[1:-1] in asked


# -- gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_closed_stdin_the_run_waits_at_each_gate_and_says_how_to_answer(stand: driving.Stand, call: Call) -> None:
    waits_at(stand, "answers")
    said = call("resume", stand.run, "--json")
    assert (said.code, set(said.json), said.json["gate"]["name"]) == (8, JSON_KEYS, "answers")
    assert said.json["exit_code"] == 8
    assert f"backend-crew answer {stand.run} --file" in said.err
    text = json.dumps(scenario.ANSWERS)
    said = call("answer", stand.run, "--file", "-", stdin=text)
    assert (said.code, said.out) == (0, "")
    waits_at_again(stand, "design")
    said = call("resume", stand.run)
    assert said.code == 8
    digest = call("show", stand.run, "--json").json["gate"]["digest"]
    for word in ("approve", "request-changes", "reject"):
        assert f"backend-crew {word} {stand.run} --digest {digest[:16]}" in said.err
    assert call("approve", stand.run).code == 2  # off a terminal it says what it is about
    assert call("approve", stand.run, "--digest", digest[:16]).code == 0
    waits_at_again(stand, "migrations")
    said = call("resume", stand.run)
    assert said.code == 8
    assert "--digest" in said.err
    assert "Can I run these database migrations?" in call("show", stand.run).out


def waits_at_again(stand: driving.Stand, gate: str) -> None:
    """Go on with the scripted model up to a gate."""
    stand.person.decisions[gate] = [None]
    result = stand.again().kickoff()
    assert isinstance(result, Waiting), result.reason
    assert result.packet is not None
    assert result.packet.gate == gate


@pytest.mark.slow
def test_decisions_that_do_not_fit_are_refused(stand: driving.Stand, call: Call) -> None:
    first = waits_at(stand, "design")
    other = "0" * 16
    said = call("approve", stand.run, "--digest", other)
    assert said.code == 2
    assert f"shows {first.digest[:12]}; look at it with `backend-crew show {stand.run}`" in said.err
    assert call("approve", stand.run, "--digest", first.digest[:4]).code == 2
    assert call("reject", stand.run, "--digest", first.digest, "--reason", " ").code == 2
    wrong = call("request-changes", stand.run, "--digest", first.digest, "--reason", "x", "--to", "testing")
    assert wrong.code == 2
    assert "can send the work back to design" in wrong.err
    assert call("answer", stand.run, "--file", "-", stdin="Q1: 1").code == 2
    assert call("confirm", stand.run).code == 2
    with stand.journal() as journal:
        assert [one.gate for one in journal.decisions(stand.run)] == ["answers"]
    assert call("request-changes", stand.run, "--digest", first.digest, "--reason", "Log it.").code == 0
    again = call("approve", stand.run, "--digest", first.digest)
    assert again.code == 2
    assert "was decided (request-changes)" in again.err
    head = call("verify", stand.run)
    assert (head.code, "2 decisions, chain intact" in head.out) == (0, True)


@pytest.mark.slow
def test_answer_files_are_read_strictly(stand: driving.Stand, call: Call, tmp_path: Path) -> None:
    waits_at(stand, "answers")
    file = tmp_path / "answers.yaml"
    for text, words in (
        ("Q1: 1\nQ2: 1\nQ3: 1\nQ4: 1\nQ9: 1\n", "Q9: there is no such question"),
        ("Q1: 1\nQ2: 1\n", "Q3: not answered"),
        ("Q1: 1\nQ2: 1\nQ3: [a]\nQ4: true\n", "Q3: expected text or an option's number, found list"),
        ("Q1: 7\nQ2: 1\nQ3: 1\nQ4: 1\n", "option 7 does not exist"),
        ("Q1: 1\nQ1: 2\n", "appears twice"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("Q1: [\n", "not valid YAML"),
        ("", "expected a mapping"),
    ):
        file.write_text(text)
        said = call("answer", stand.run, "--file", file)
        assert said.code == 2, text
        assert words in said.err, said.err
    assert call("answer", stand.run).code == 2
    assert call("answer", stand.run, "--file", tmp_path / "none").code == 2
    assert stand.events("gate passed") == []
    file.write_text("Q1: you decide\nQ2: 2\nQ3: own words\nQ4: 1\n")
    said = call("answer", stand.run, "--file", file)
    assert (said.code, "Q1: No" in said.out) == (8, True)
    with stand.journal() as journal:
        assert journal.decisions(stand.run) == ()
    assert call("confirm", stand.run).code == 0
    assert call("confirm", stand.run).code == 2


@pytest.mark.slow
def test_a_test_command_can_be_named_late_and_is_asked_about_the_tree_before_the_change_too(
    stand: driving.Stand, call: Call
) -> None:
    waits_at(stand, "migrations")
    assert stand.payload("baseline")["counts"]["passed"] == 1
    late = "grep -q archived app/models.py"  # holds only after the change
    for _ in range(2):
        said = call("resume", stand.run, "--test-command", late, "--json")
        assert (said.code, said.json["gate"]["name"]) == (8, "migrations"), said.err
        assert stand.payload("baseline")["command"] == late.split()
        assert stand.payload("baseline")["status"] == "failed"
    assert [one["test_command"] for one in stand.events("options changed")] == [late.split()]
    assert "archived" in (stand.tree / "app/models.py").read_text(), "the work is back in place"
    result = stand.again().resume()
    assert stand.payload("verify")["verdict"] == "green", result.reason
    over = call("resume", stand.run, "--check-command", "true")
    assert (over.code, "has ended" in over.err) == (2, True)


def test_help_says_what_flags_take_and_what_is_the_default(call: Call) -> None:
    for command in ("run", "resume", "approve", "request-changes", "reject", "show", "report", "runs"):
        lines = [line.strip() for line in call(command, "--help").out.splitlines()]
        bare = [line for line in lines if line.startswith("--") and len(line.split()) < 3]
        assert bare == [], command
    text = " ".join(call("run", "--help").out.split())
    assert "Pause at this many model calls: a number, or 'none'; default: 400." in text
    assert "Pause at this many US dollars: a number, or 'none'; default: none." in text
    assert "default: as before." in " ".join(call("resume", "--help").out.split())


# -- looking at runs ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_finished_run_can_be_listed_shown_reported_verified_and_discarded(stand: driving.Stand, call: Call) -> None:
    stand.script.steps = driving.without_migration()

    def decide(packet: Packet) -> Any:
        early = call("report", stand.run)
        assert (early.code, f"`backend-crew show {stand.run}`" in early.err) == (2, True)
        return scenario.approve_all(packet)

    stand.person.default = decide
    assert stand.kickoff().exit_code == 0
    shown = call("show", stand.run, "--json").json
    assert set(shown) == JSON_KEYS
    assert (shown["status"], shown["gate"], shown["branch"]) == ("finished", None, stand.branch)
    assert shown["usage"]["calls"] == len(stand.script.seen)
    assert call("resume", stand.run, "--json").json == shown
    assert [one["run"] for one in call("runs", "--json").json] == [stand.run]
    assert stand.run in call("runs").out
    assert "2 passed" in call("report", stand.run).out
    assert call("report", stand.run, "--json").json["tests"]["counts"]["passed"] == 2
    assert "2 decisions, chain intact" in call("verify", stand.run).out
    assert call("show", stand.run[:-1]).code == 0  # a prefix is enough while it is clear
    assert call("discard", stand.run).code == 2
    assert stand.branch in stand.branches()
    assert call("discard", stand.run, "--yes").code == 0
    assert "discarded" in call("runs").out and "rejected" not in call("runs").out
    assert stand.branches() == {"main"} and not stand.tree.exists()


@pytest.mark.parametrize(
    "command",
    ["show", "report", "resume", "verify", "confirm", "edit", "answer", "approve", "request-changes --reason x", "reject --reason x", "discard --yes"],
)  # fmt: skip
def test_an_unknown_run_is_a_usage_error(call: Call, command: str) -> None:
    for name in ("nothing-1234", "", "%", "a/../b"):
        said = call(*command.split(), name)
        assert (said.code, said.out) == (2, ""), name
        assert "no single run is called" in said.err


def test_the_shipped_roles_are_valid_and_a_broken_folder_names_file_and_line(call: Call, tmp_path: Path) -> None:
    said = call("validate")
    assert said.code == 0
    assert "gates in effect: answers, design, migrations, findings" in said.out
    said = call("validate", tmp_path)
    assert said.code == 2
    assert "agents.yaml:1: the file is missing" in said.out


def test_doctor_names_what_it_found(call: Call) -> None:
    said = call("doctor")
    assert said.code == 0, said.out
    for what in ("Python", "git", "sandbox", "ripgrep", "state", "crewai", "model"):
        assert f" {what}: " in said.out
    assert "is not set" in said.out


def test_a_home_that_cannot_be_used_is_one_clear_error(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("BACKEND_CREW_HOME", str(file / "home"))
    said = call("runs")
    assert said.code == 1
    assert "cannot be opened" in said.err
    assert "Traceback" not in said.err


def test_the_history_can_lie_in_another_database(
    call: Call, stand: driving.Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKEND_CREW_JOURNAL_URL", f"sqlite:///{tmp_path / 'history.sqlite3'}")
    run = stand.crew().run.id
    assert [one["run"] for one in call("runs", "--json").json] == [run]
    assert (stand.home / "runs" / run / "repository.git").is_dir()
    assert not (stand.home / "journal.db").exists()
    monkeypatch.delenv("BACKEND_CREW_JOURNAL_URL")
    assert call("runs", "--json").json == []


# -- as a process ---------------------------------------------------------------------------------------------------

PROGRAM = """\
import json, sys
from backend_crew.crew.main import main
codes = {}
for argv in json.loads(sys.argv[1]):
    try:
        main(argv)
    except SystemExit as left:
        codes[argv[0]] = left.code
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules} & {"crewai", "litellm", "openai"})]))
"""


@pytest.mark.slow
def test_commands_that_need_no_crew_never_import_crewai_and_live_with_a_closed_stdin(
    stand: driving.Stand, call: Call, tmp_path: Path
) -> None:
    first = waits_at(stand, "design")
    commands = [
        ["runs"],
        ["show", stand.run],
        ["report", stand.run],
        ["verify", stand.run],
        ["validate"],
        ["doctor"],
        ["init", str(tmp_path / "project")],
        ["answer", stand.run, "--file", str(tmp_path / "none")],
        ["confirm", stand.run],
        ["edit", stand.run],
        ["discard", stand.run],
        ["request-changes", stand.run, "--digest", "0" * 16, "--reason", "x"],
        ["reject", stand.run, "--digest", "0" * 16, "--reason", "x"],
        ["approve", stand.run, "--digest", first.digest],
    ]
    argv = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *argv]
    done = subprocess.run(shell, env={**os.environ}, capture_output=True, text=True, timeout=120, check=False)
    codes, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    wanted = dict.fromkeys(("runs", "show", "verify", "validate", "doctor", "init", "approve"), 0)
    refused = ("report", "answer", "confirm", "edit", "discard", "request-changes", "reject")
    assert codes == {**wanted, **dict.fromkeys(refused, 2)}, done.stderr
    with stand.journal() as journal:
        assert [one.verdict for one in journal.decisions(stand.run)] == ["answered", "approve"]
