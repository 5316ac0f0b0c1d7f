"""Canary secrets planted in a repository and a shell: a whole run, and none of them in anything that leaves or stays."""

import base64
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import driving
import pytest
import scenario
from scenario import call, submit, use

from backend_crew.crew import main
from backend_crew.crew.embed import Finished, Result
from backend_crew.crew.recording import Reply, Turn
from backend_crew.tools.secrets import Redactor

pytestmark = pytest.mark.slow
# Written in parts, so that no scanner takes them for real ones and no test output of ours holds them by accident.
SHELL = "our environment and the feature's text"
CANARIES = {
    ".env": "c4nary-env/" + "Zk3v9+pQm2xN8",
    ".env, a database's URL": "c4nary~url~" + "pw0!x",
    "a configuration file": "c4nary-yaml-" + "81mmvv02",
    "a URL in a configuration file": "c4nary.ini." + "pw7",
    "a constant in the source": "AKIA" + "C4NARYKEYOFSHOP0",
    "a model key in the source": "sk-" + "ant-api03-c4naryAbCd1234567890efghIJ",
    "a commit message": "ghp_" + "c4naryA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6",
    SHELL: "c4nary-shell-" + "55pay",
}
LEAK = """\
import base64
import pathlib
import urllib.parse

from app import keys


def test_that_failed_before_and_tells_everything() -> None:
    text = pathlib.Path("config/settings.yaml").read_text() + pathlib.Path("config/db.ini").read_text()
    word = text.split("db_password: ")[1].split()[0]
    told = [text, keys.AWS, keys.MODEL, base64.b64encode(word.encode()).decode(), urllib.parse.quote(word, safe="")]
    raise AssertionError(" ".join(told))
"""


def lay_out(folder: Path) -> driving.Stand:
    """The notes service with a canary wherever a secret is usually found."""
    files = {
        **scenario.FILES,
        ".gitignore": scenario.FILES[".gitignore"] + ".env\n",
        "config/settings.yaml": f"log: info\ndb_password: {CANARIES['a configuration file']}\n",
        "config/db.ini": f"[db]\nurl = postgresql://shop:{CANARIES['a URL in a configuration file']}@db/shop\n",
        "app/keys.py": f'AWS = "{CANARIES["a constant in the source"]}"\n'
        f'MODEL = "{CANARIES["a model key in the source"]}"\n',
        "tests/test_leak.py": LEAK,
    }
    stand = driving.stand(folder, files)
    key, password = CANARIES[".env"], CANARIES[".env, a database's URL"]
    (stand.repo / ".env").write_text(f"SECRET_KEY='{key}'\nDATABASE_URL=postgresql://shop:{password}@db/x\n")
    scenario.git(stand.repo, "commit", "-q", "--allow-empty", "-m", f"Deploy with {CANARIES['a commit message']}")
    return stand


def _seen(turn: Turn) -> str:
    """What smells of a secret in all that a model was told; an indiscreet model repeats it."""
    text = "\n".join(str(message.get("content")) for message in turn.messages)
    found = re.findall(r"db_password: \S+|url = \S+|AWS = \S+|MODEL = \S+|Deploy with \S+|payment key is \S+", text)
    return " | ".join(sorted({one.replace('"', "") for one in found}))[:300]


def indiscreet() -> dict[str, list[scenario.Step]]:
    """A model that reads whatever it can and writes it into everything that it hands in."""
    steps = scenario.happy()
    failed: list[str] = []

    def unreachable_at_first(turn: Turn) -> Reply:
        if not failed:
            failed.append("once")
            raise ConnectionError(f"https://api.example/?key={CANARIES[SHELL]}")
        return use(
            *(
                call("read_file", path=path)
                for path in ("config/settings.yaml", "config/db.ini", "app/keys.py", ".env")
            ),
            call("search", pattern="password|AKIA|postgresql"),
            call("git_log"),
        )

    def analysis(turn: Turn) -> Reply:
        return submit(**{**scenario.ANALYSIS, "overview": _seen(turn)})

    def design(turn: Turn) -> Reply:
        decision = {**scenario.DESIGN["decisions"][0], "trade_off": _seen(turn)}
        return submit(**{**scenario.DESIGN, "overview": _seen(turn), "decisions": [decision]})

    def code(turn: Turn) -> Reply:
        return use(call("write_file", path="app/service.py", text=f'"""{_seen(turn)}"""\n{scenario.SERVICE}'))

    steps["analyse"] = [unreachable_at_first, analysis]
    steps["design"] = [design]
    read, *rest = scenario.BUSINESS_LOGIC
    steps["implement_business_logic"] = [use(call("read_file", path="app/service.py"), call("run_tests")), code, *rest]
    assert read
    return steps


def forms(value: str) -> list[bytes]:
    """A value as it is and in the forms in which it usually travels."""
    plain = value.encode()
    encoded = base64.b64encode(plain).rstrip(b"=")[:-1]
    return [plain, encoded, base64.urlsafe_b64encode(plain).rstrip(b"=")[:-1], quote(value, safe="").encode()]


def sinks(stand: driving.Stand, told: list[str], result: Result) -> dict[str, bytes]:
    """Everything that left for a model or a person, or that stays, as raw bytes."""
    requests = "\n".join(str((turn.messages, turn.tools)) for turn in stand.script.seen)
    packets = "\n".join(str(packet) for packet in stand.person.seen)
    journal = b"".join(path.read_bytes() for path in stand.home.glob("journal.db*"))
    new = scenario.git(stand.repo, "rev-list", "--objects", f"main..{stand.branch}").splitlines()
    objects = [_object(stand.repo, line.split()[0]) for line in new]
    reports = b"".join((stand.folder / name).read_bytes() for name in ("report.md", "summary.json"))
    kept = [path for path in sorted(stand.folder.rglob("*")) if path.is_file() and _is_kept(path, stand)]
    assert stand.folder / "junit.xml" in kept
    return {
        "model requests": requests.encode(),
        "packets at gates": packets.encode(),
        "the journal": journal,
        "events": (stand.folder / "events.jsonl").read_bytes(),
        "the test runner's report": (stand.folder / "junit.xml").read_bytes(),
        "the run's folder": b"".join(path.read_bytes() for path in kept),
        "progress": "\n".join(told).encode(),
        "reports": reports + str(result).encode(),
        "commits": b"".join(objects),
    }


def _is_kept(path: Path, stand: driving.Stand) -> bool:
    """Whether a file is none of the private clone and tree, which are the repository itself."""
    return not any(path.is_relative_to(one) for one in (stand.tree, stand.tree.parent / "repository.git"))


def _object(repo: Path, sha: str) -> bytes:
    kind = scenario.git(repo, "cat-file", "-t", sha).strip()
    return subprocess.run(["git", "cat-file", kind, sha], cwd=repo, check=True, capture_output=True).stdout


def played(folder: Path) -> tuple[dict[str, bytes], Result, driving.Stand]:
    """A whole run over the canaries; what each sink holds."""
    stand = lay_out(folder)
    stand.script.steps = indiscreet()
    told: list[str] = []
    key = CANARIES[SHELL]
    crew = stand.crew(feature=f"{scenario.FEATURE}\n\nThe payment key is {key}.")

    def listen(run: str, kind: str, data: Mapping[str, Any]) -> None:
        told.append(f"{kind} {dict(data)}")

    crew._journal.listener = listen
    result = crew.kickoff()
    assert isinstance(result, Finished), result.reason
    return sinks(stand, told, result), result, stand


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's shell, with a key in it."""
    monkeypatch.setenv(scenario.ENV, "")
    monkeypatch.setenv("PAYMENT_API_KEY", CANARIES[SHELL])


def found_in(held: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Which canaries each sink holds, in any form."""
    return {
        sink: {name for name, value in CANARIES.items() if any(form in data for form in forms(value))}
        for sink, data in held.items()
    }


def test_66_no_canary_is_in_anything_that_leaves_or_stays(tmp_path: Path, shell: None) -> None:
    held, _, stand = played(tmp_path)
    assert {sink: names for sink, names in found_in(held).items() if names} == {}
    for sink, data in held.items():
        assert b"[secret]" in data, f"{sink} holds no mark, so nothing that this test is about passed through it"
    assert "is not accessible to agents" in held["model requests"].decode(), ".env was asked for"
    # the person's files stay what they are
    assert CANARIES["a configuration file"] in (stand.repo / "config/settings.yaml").read_text()
    assert CANARIES["a configuration file"] in stand.on_branch("config/settings.yaml")


def test_66_the_control_without_redaction_every_sink_holds_canaries(
    tmp_path: Path, shell: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Redactor, "__call__", lambda self, text: text)
    monkeypatch.setattr(Redactor, "mask", lambda self, text: text)
    held, _, _ = played(tmp_path)
    leaks = found_in(held)
    assert all(leaks.values()), leaks
    assert leaks["model requests"] >= {
        "a configuration file",
        "a URL in a configuration file",
        "a constant in the source",
        "a model key in the source",
        "a commit message",
        SHELL,
    }
    # what no redaction is needed for: the file that nobody may open
    assert not any(names & {".env", ".env, a database's URL"} for names in leaks.values())


def test_66_a_traceback_in_a_log_is_redacted(tmp_path: Path, shell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path))
    key = os.environ["PAYMENT_API_KEY"]

    def fault() -> None:
        raise ZeroDivisionError(f"refused: {key} and {CANARIES['a model key in the source']}")

    with pytest.raises(SystemExit) as left:
        main._leave(fault)
    assert left.value.code == main.BUG
    (log,) = tmp_path.glob("bug-*.log")
    assert "refused: [secret] and [secret]" in log.read_text()
    assert key not in log.read_text()
