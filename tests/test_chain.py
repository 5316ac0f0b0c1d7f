"""The key that seals decisions: where it may lie, what it must be, and what verifying says with and without it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from records import make_journal, open_gate, ruling

from backend_crew.crew import chain, reach
from backend_crew.crew.chain import GENESIS, Chain
from backend_crew.crew.cli import cli
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal

KEY = b"0123456789abcdef" * 2


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with a key, named in the environment."""
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    monkeypatch.setenv("BACKEND_CREW_KEY_FILE", str(path))
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    yield path


def test_the_key_is_what_the_file_holds_without_the_line_end(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chain.key_here() == KEY
    monkeypatch.delenv("BACKEND_CREW_KEY_FILE")
    assert chain.key_here() is None


def test_a_file_that_is_no_key_is_refused(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "short").write_bytes(b"fifteen letters")
    (tmp_path / "long").write_bytes(b"x" * 5000)
    (tmp_path / "open").write_bytes(KEY)
    for name in ("short", "long"):
        (tmp_path / name).chmod(0o600)
    (tmp_path / "open").chmod(0o640)
    for name, said in (
        ("none", "cannot be read"),
        ("fifo", "no ordinary file"),
        ("short", "holds 15 bytes, a key has 16 to 4096; make one with: openssl rand -hex 32"),
        ("long", "a key has 16 to 4096"),
        ("open", "others may read .*; chmod 600 it"),
    ):
        monkeypatch.setenv("BACKEND_CREW_KEY_FILE", str(tmp_path / name))
        with pytest.raises(UsageError, match=said):
            chain.key_here()


def test_a_key_within_reach_of_a_run_is_refused(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reach.check_key((tmp_path / "repo",))
    with pytest.raises(UsageError, match=r"BACKEND_CREW_KEY_FILE: .* lies in"):
        reach.check_key((tmp_path,))
    (tmp_path / "elsewhere").symlink_to(key)
    monkeypatch.setenv("BACKEND_CREW_KEY_FILE", str(tmp_path / "elsewhere"))
    with pytest.raises(UsageError, match="lies in"):
        reach.check_key((key,))


def test_the_first_link_tells_the_key_and_the_run() -> None:
    begun = {Chain(run, key).genesis for run in ("r-1", "r-2") for key in (KEY, b"another key of enough")}
    assert len(begun) == 4
    assert GENESIS not in begun
    assert Chain("r-1", None).genesis == GENESIS


def verify(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["verify", "r-1", *arguments])
    return (
        (0, done.output) if done.exception is None else (getattr(done.exception, "exit_code", 1), str(done.exception))
    )


def test_verify_says_what_it_could_check(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_journal(tmp_path / "home").close()
    journal = Journal(tmp_path / "home", key=KEY)
    journal.decide(ruling(open_gate(journal, "design")))
    head = journal.verify("r-1")
    journal.close()
    code, said = verify("--head", head)
    assert code == 0
    assert (
        f"r-1: 1 decisions, chain intact, head {head}\nsealed with the key\nnot anchored: there is no repository"
        in said
    )
    assert verify("--head", "f" * 64)[0] == 1
    monkeypatch.delenv("BACKEND_CREW_KEY_FILE")
    code, said = verify()
    assert (code, "begun with a key: name it with BACKEND_CREW_KEY_FILE" in said) == (1, True)


def test_verify_without_a_key_says_that_there_is_none(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKEND_CREW_KEY_FILE")
    journal = make_journal(tmp_path / "home")
    journal.decide(ruling(open_gate(journal, "design")))
    journal.close()
    code, said = verify()
    assert (code, "not keyed: who can write the journal could rewrite it" in said) == (0, True)
    monkeypatch.setenv("BACKEND_CREW_KEY_FILE", str(key))
    code, said = verify()
    assert (code, "begun without a key: unset BACKEND_CREW_KEY_FILE" in said) == (1, True)
