"""The bundled demo, whole: recorded model, everything else real; compared with a golden record of what it does.

`python tests/test_demo.py` writes the golden record anew; read the difference before you commit it.
"""

import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyte
import pytest
import report_claims
from scenario import git

from backend_crew.crew import budget, demo
from backend_crew.crew.journal import Journal
from backend_crew.crew.model import Status
from backend_crew.tools.audit.check import Routes, audit
from backend_crew.tools.audit.guards import guarded
from backend_crew.tools.contract.check import check
from backend_crew.tools.contract.static_routes import scan_routes
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratches import Place

GOLDEN = Path(__file__).parent / "data" / "demo-golden.json"
#: Of these there are more or fewer with the time that a machine takes.
PLAIN = ("tool", "model call", "pass ended", "trial")


def play(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """The demo as a person starts it, in a process of its own."""
    env = {"PATH": os.defpath, "HOME": str(folder), "BACKEND_CREW_HOME": str(folder / "home")}
    script = Path(sys.executable).parent / "backend-crew"
    argv = [str(script), "demo", "--keep", str(folder / "demo"), *flags]
    return subprocess.run(
        argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )


def record_of(folder: Path) -> dict[str, Any]:
    """What the run did, without what differs from run to run."""
    journal = Journal(folder / "home")
    (run,) = journal.runs()
    summary = json.loads((journal.folder(run.id) / "summary.json").read_text())
    events = [_short(event) for event in journal.events(run.id) if event["event"] not in PLAIN]
    tools = [event["tool"] for event in journal.events(run.id, "tool")]
    journal.close()
    _without_trials(summary)
    text = json.dumps({"summary": summary, "events": events, "tools": tools}, indent=1, sort_keys=True)
    return dict(json.loads(_plain(text, folder, run.id)))


def _without_trials(summary: dict[str, Any]) -> None:
    """Leave out what hangs on how many mutants this machine had the time for."""
    summary["checks"]["mutation"] |= {"killed": 0, "survived": 0, "unknown": 0, "reason": "", "survivors": []}
    summary["findings"] = [one for one in summary["findings"] if one["rule"] != "fault-not-noticed"]
    for one in summary["criteria"]:
        del one["lines"], one["reason"]


def _short(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event whose reason is its first line: what follows is a traceback of the installed libraries."""
    return {name: str(value).splitlines()[0] if name == "reason" and value else value for name, value in event.items()}


def _plain(text: str, folder: Path, run: str) -> str:
    text = text.replace(str(folder.resolve()), "<folder>").replace(str(folder), "<folder>").replace(run, "<run>")
    text = text.replace(sys.prefix, "<python>")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "<time>", text)
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "<stamp>", text)
    text = re.sub(r'"(seconds|minutes)": [\d.]+', r'"\1": 0', text)
    text = re.sub(r"\b\d+\.\d+ ?s\b", "<seconds>", text)
    return re.sub(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})\b", "<hash>", text)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    done = play(folder, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "The model is recorded" in done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.slow
def test_it_does_what_the_golden_record_says(played: tuple[Path, dict[str, Any]]) -> None:
    assert record_of(played[0]) == json.loads(GOLDEN.read_text())


def test_the_readme_says_what_the_demo_spends() -> None:
    usage = json.loads(GOLDEN.read_text())["summary"]["usage"]
    said = (Path(__file__).parent.parent / "README.md").read_text()
    price = budget.cost_of("anthropic/claude-sonnet-4-6", usage["prompt_tokens"], usage["completion_tokens"])
    assert price is not None
    words = f"{usage['calls']} model calls, {usage['prompt_tokens']:,} prompt and {usage['completion_tokens']:,} completion tokens"
    assert words in said
    assert f"${price:.2f}" in said


@pytest.mark.slow
def test_its_result_is_one_json_object(played: tuple[Path, dict[str, Any]]) -> None:
    result = played[1]
    assert {"run", "status", "stage", "gate", "branch", "artifacts", "usage", "exit_code"} <= result.keys()
    assert (result["status"], result["exit_code"], result["gate"]) == ("finished", 0, None)


@pytest.mark.slow
def test_the_branch_the_database_and_the_working_tree_are_what_it_says(played: tuple[Path, dict[str, Any]]) -> None:
    shop, result = played[0] / "demo" / "shop", played[1]
    assert git(shop, "branch", "--show-current").strip() == "main"
    assert git(shop, "status", "--porcelain") == ""
    names = git(shop, "diff", "--name-only", f"main...{result['branch']}").split()
    assert any(name.startswith("migrations/versions/") for name in names)
    with sqlite3.connect(shop / "shop.db") as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        orders = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    connection.close()
    assert "refunds" in tables and orders == 12


@pytest.mark.slow
def test_a_check_failed_and_was_repaired_and_the_person_asked_for_a_change(played: tuple[Path, dict[str, Any]]) -> None:
    journal = Journal(played[0] / "home")
    (run,) = journal.runs()
    assert journal.events(run.id, "hand-in refused")
    assert [one.verdict for one in journal.decisions(run.id) if one.gate == "design"] == ["request-changes", "approve"]
    assert journal.verify(run.id) in git(played[0] / "demo" / "shop", "log", "-1", "--format=%B", run.branch)
    journal.close()


@pytest.mark.slow
def test_off_a_terminal_it_waits_at_the_first_gate(tmp_path: Path) -> None:
    done = play(tmp_path)
    assert done.returncode == 8
    assert "backend-crew answer" in done.stderr
    assert "`demo --yes` plays the recorded decisions" in " ".join(done.stderr.split())


#: Ctrl-C reaches the processes of a session whose terminal it is.
OWN_TERMINAL = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.slow
def test_on_a_terminal_it_shows_its_progress_and_the_first_gate_and_ctrl_c_leaves_it(tmp_path: Path) -> None:
    screen, seen = pyte.HistoryScreen(100, 50, history=1_000), set[str]()
    stream = pyte.ByteStream(screen)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "BACKEND_CREW_HOME": str(tmp_path / "home"), "TERM": "xterm"}
    command = [str(Path(sys.executable).parent / "backend-crew"), "demo", "--keep", str(tmp_path / "demo")]
    argv = [sys.executable, "-c", OWN_TERMINAL, *command]
    with subprocess.Popen(argv, env=env, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        pressed = False
        while data := _read(master):
            stream.feed(data)
            rows = [row.rstrip() for row in screen.display]
            seen.update(rows)
            if not pressed and any(row.startswith("[p]lay it  [q]uit") for row in rows):
                os.write(master, b"\x03")
                pressed = True
        code = process.wait(60)
    os.close(master)
    shown = "\n".join(row for row in screen.display if row.strip())
    assert (pressed, code) == (True, 130), shown
    assert any(re.match(r"▸ 1/8 Analysis +0/1 +analyse$", row) for row in seen), sorted(seen)
    assert any(re.match(r"analyst · \w+.* · \d+ calls · [\d,]+ tokens · ", row) for row in seen)
    assert not any("✓ 1/8" in row for row in screen.display), "the live view is gone"
    assert "backend-crew answer " in shown
    journal = Journal(tmp_path / "home")
    (run,) = journal.runs()
    assert (run.status, journal.decisions(run.id)) == (Status.WAITING, ())
    journal.close()


def _read(master: int) -> bytes:
    """What was printed; empty once nobody can print any more, which Linux tells as an error."""
    try:
        return os.read(master, 65_536)
    except OSError:
        return b""


def test_another_sample_is_an_error_not_a_guess(tmp_path: Path) -> None:
    from backend_crew.crew.errors import RecordingError
    from backend_crew.crew.recording import Inputs

    inputs = demo.model()._recording.inputs
    demo.model().check(inputs)
    with pytest.raises(RecordingError, match="another sample"):
        demo.model().check(Inputs(inputs.feature, inputs.roles, "0" * 40))


def unpacked(played: tuple[Path, dict[str, Any]], folder: Path) -> tuple[Path, str]:
    """The sample's repository and its branch; the trees before and after the change are put into the folder."""
    shop, branch = played[0] / "demo" / "shop", str(played[1]["branch"])
    for name, commit in (("before", "HEAD"), ("after", branch)):
        git(shop, "archive", "-o", str(folder / f"{name}.tar"), commit)
        shutil.unpack_archive(folder / f"{name}.tar", folder / name)
    return shop, branch


@pytest.mark.slow
def test_what_it_built_keeps_its_contract_and_brings_no_weakness_in(
    played: tuple[Path, dict[str, Any]], sandbox: Sandbox, tmp_path: Path
) -> None:
    shop, branch = unpacked(played, tmp_path)
    after, before = (
        Place(sandbox, tree, tree, find_runtime(tree, python=Path(sys.executable)))
        for tree in (tmp_path / "after", tmp_path / "before")
    )
    (contract,) = after.tree.glob("specs/*/contracts/openapi.yaml")
    result = check(contract.read_text(), after, before)
    assert (result.status, result.operations, result.findings) == ("same", 5, ())
    paths = git(shop, "diff", "--name-only", "HEAD", branch).split()
    routes = Routes(guarded(scan_routes(before.tree)), guarded(scan_routes(after.tree)))
    audited = audit(before.tree, after.tree, paths, routes=routes)
    assert (audited.findings, audited.unseen, audited.files) == ((), (), len(paths))


@pytest.mark.slow
def test_each_claim_of_its_report_is_true(played: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shop, branch = unpacked(played, tmp_path)
    before, after = tmp_path / "before", tmp_path / "after"
    (written,) = after.glob("specs/*/report.md")
    report = report_claims.sections(written.read_text())
    report_claims.endpoints(report, before, after)
    report_claims.models(report, before, after, shop / "shop.db")
    report_claims.files(report, shop, branch, after)
    report_claims.tests(report, before, after)
    journal = Journal(played[0] / "home")
    report_claims.records(report, journal, played[1]["run"])
    journal.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print(play(Path(name), "--yes").stderr)
        GOLDEN.write_text(json.dumps(record_of(Path(name)), indent=1, sort_keys=True) + "\n")
