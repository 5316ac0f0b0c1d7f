"""A repository that attacks whoever works on it: none of its code runs outside the sandbox, none of its settings count."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import driving
import endpoint
import pytest
import scenario
from scenario import call, submit, use

from backend_crew.crew.embed import Finished

pytestmark = pytest.mark.slow
HOOKS = (
    "pre-commit commit-msg post-commit post-checkout post-merge reference-transaction post-index-change pre-push update"
)
EVIL = """\
import os, socket, sqlite3, sys
from contextlib import suppress

with suppress(OSError):
    open({fired!r}, "a").write("{name} pid %d\\n" % os.getpid())
with suppress(OSError):
    socket.create_connection(("127.0.0.1", {port}), timeout=1).close()
with suppress(sqlite3.Error):
    connection = sqlite3.connect({database!r})
    connection.execute("INSERT INTO notes (text) VALUES ('hostile')")
    connection.commit()
    connection.close()
"""


SETTINGS = """\
[core]
	fsmonitor = {script}
	sshCommand = {script}
[filter "evil"]
	clean = {script}
	smudge = {script}
[diff]
	external = {script}
[diff "evil"]
	command = {script}
	textconv = {script}
[gpg]
	program = {script}
[commit]
	gpgSign = true
"""


@dataclass
class Canaries:
    """What the repository's code would change if it ran where it could do harm."""

    fired: Path
    port: int
    connections: list[str] = field(default_factory=list)


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    """A file and a listener on loopback that nobody may touch."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Canaries(tmp_path / "fired", server.getsockname()[1])

        def listen() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                found.connections.append(str(address))
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def lay_out(folder: Path, canaries: Canaries) -> driving.Stand:
    """The notes service with every trap that a repository can set."""
    database = folder / "notes" / "notes.db"

    def evil(name: str) -> str:
        return EVIL.format(fired=str(canaries.fired), port=canaries.port, database=str(database), name=name)

    files = {
        **scenario.FILES,
        "sitecustomize.py": evil("sitecustomize"),
        "conftest.py": evil("conftest"),
        ".gitattributes": "* filter=evil diff=evil\n",
        ".gitignore": scenario.FILES[".gitignore"] + ".env\n",
    }
    stand = driving.stand(folder, files)
    script = folder / "evil.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {canaries.fired}\ncat\n')
    script.chmod(0o755)
    for name in HOOKS.split():
        shutil.copy(script, stand.repo / ".git" / "hooks" / name)
    with (stand.repo / ".git" / "config").open("a") as config:
        config.write(SETTINGS.format(script=script))
    return stand


def test_a_whole_run_fires_none_of_the_traps_and_the_same_traps_fire_without_the_crew(
    tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    stand = lay_out(tmp_path / "work", canaries)
    result = stand.kickoff()
    assert not canaries.fired.exists(), canaries.fired.read_text()
    assert canaries.connections == []
    assert isinstance(result, Finished), result.reason
    assert result.summary["tests"]["counts"]["passed"] == 3
    assert result.summary["migrations"]["status"] == "applied"
    assert _notes(stand.database) == ["note 0", "note 1", "note 2"]

    # the weak control: the person's own tools, without the crew's doors
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=stand.repo, env=env, capture_output=True, check=False)
    assert "conftest" in canaries.fired.read_text()
    assert canaries.connections
    assert "hostile" in _notes(stand.database)
    subprocess.run(["git", "status"], cwd=stand.repo, capture_output=True, check=False)
    assert "evil.sh" in canaries.fired.read_text()


def _notes(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return [str(text) for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]
    finally:
        connection.close()


PROGRAM = """\
import json, os, sys
from backend_crew.crew.main import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as left:
    code = left.code
print(json.dumps({"code": code, "canary": os.environ.get("NOTES_CANARY"), "url": os.environ.get("OPENAI_BASE_URL"),
                  "crewai": "crewai" in sys.modules}), file=sys.stderr)
"""


def test_the_command_inside_the_repository_reads_neither_its_env_file_nor_its_modules(
    tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    stand = lay_out(tmp_path / "work", canaries)
    replies = [
        use(call("list_files")),
        submit(**scenario.ANALYSIS),
        submit(**scenario.QUESTIONS),
    ]
    (stand.repo / "tools").mkdir()
    (stand.repo / "tools" / "__init__.py").write_text("raise SystemExit('hostile tools were imported')\n")
    with endpoint.serving(replies) as real, endpoint.serving([500]) as theirs:
        (stand.repo / ".env").write_text(f"OPENAI_BASE_URL={theirs.url}\nNOTES_CANARY=1\nOPENAI_API_KEY=stolen\n")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "BACKEND_CREW_HOME": str(stand.home),
            "OPENAI_API_KEY": "the-person-s",
            "OPENAI_API_BASE": real.url,
        }
        argv = [
            "run",
            scenario.FEATURE,
            "--model",
            "openai/gpt-4o",
            "--ignore-dirty",
            "--json",
            "--python",
            sys.executable,
        ]
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(argv)],
            cwd=stand.repo,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    said = json.loads(done.stderr.strip().splitlines()[-1])
    assert said == {"code": 8, "canary": None, "url": None, "crewai": True}, done.stderr[-2000:]
    assert json.loads(done.stdout)["gate"]["name"] == "answers"
    assert theirs.requests == []
    assert len(real.requests) == 3
    assert all("the-person-s" in key for key in real.keys)
    assert not canaries.fired.exists(), canaries.fired.read_text()
    assert canaries.connections == []
    # the weak control: whoever loads .env files would have been caught
    loaded = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import dotenv, os; dotenv.load_dotenv('.env'); print(os.environ['OPENAI_BASE_URL'])",
        ],
        cwd=stand.repo,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == theirs.url
