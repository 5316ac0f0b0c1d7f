"""Cases 63 and 64: decisions that are replayed, used twice, moved, forged, expired, and a log that is edited.

Every attack writes to the journal's database behind the journal, or races it; the weak control beside it is what a
check without that protection would have let through.
"""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scenario
from records import make_journal, open_gate, ruling

from backend_crew.crew import ledger, proof
from backend_crew.crew.chain import GENESIS, Chain
from backend_crew.crew.errors import DecisionExpired, DecisionRefused, JournalError
from backend_crew.crew.journal import GateRow, Journal, now

KEY = b"0123456789abcdef" * 2
TRIALS = 200


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextlib.contextmanager
def behind(home: Path) -> Iterator[sqlite3.Connection]:
    """A hand on the database that does not go through the journal."""
    connection = sqlite3.connect(home / "journal.db", isolation_level=None, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def approve(journal: Journal, text: str = "# Packet", gate: str = "migrations", run: str = "r-1") -> GateRow:
    """A gate that was shown and approved."""
    row = open_gate(journal, gate, text, run=run)
    journal.decide(ruling(row, run=run))
    return row


def use(journal: Journal, row: GateRow, *, run: str = "r-1", gate: str = "", hours: float | None = 1.0) -> str:
    """Try to use an approval; '' when it was let through, else why not."""
    try:
        journal.consume(run, gate or row.gate, row.digest, "apply", hours=hours, detail={})
    except (DecisionRefused, JournalError) as error:
        return str(error)
    return ""


# -- 63: one use ---------------------------------------------------------------------------------------------------


def naive_use(home: Path, grant: str) -> bool:
    """The weak control: look whether it was used, then write that it is; each by itself is one safe statement."""
    with behind(home) as database:
        if database.execute("SELECT 1 FROM uses WHERE key = ?", (grant,)).fetchone():
            return False
        database.execute("INSERT INTO uses VALUES (?)", (grant,))
        return True


def race(attempt: Callable[[int], bool], threads: int = 4) -> int:
    """How many of several threads that start together come through."""
    start = threading.Barrier(threads)

    def one(number: int) -> bool:
        start.wait()
        return attempt(number)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(threads)))


def test_63_threads_use_an_approval_once_in_two_hundred_races(home: Path) -> None:
    journal = make_journal(home)
    counted: Counter[int] = Counter()
    with journal.lease("r-1"):
        for number in range(TRIALS):
            row = approve(journal, f"packet {number}")
            counted[race(lambda _, row=row: use(journal, row) == "")] += 1  # type: ignore[misc]  # bound per trial
    journal.close()
    assert counted == {1: TRIALS}


def test_63_a_check_and_a_mark_apart_are_raced(home: Path) -> None:
    make_journal(home).close()
    with behind(home) as database:
        database.execute("CREATE TABLE uses (key TEXT)")
    assert any(race(lambda _, n=n: naive_use(home, str(n))) > 1 for n in range(TRIALS))  # type: ignore[misc]  # as above


_USER = """
import sys
from pathlib import Path
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    try:
        journal.consume("r-1", "migrations", line.strip(), "apply", hours=1.0, detail={})
        print("used", flush=True)
    except DecisionRefused:
        print("refused", flush=True)
"""


def test_63_processes_use_an_approval_once_in_two_hundred_races(home: Path) -> None:
    journal = make_journal(home)
    argv = [sys.executable, "-c", _USER, str(home)]
    with contextlib.ExitStack() as stack:
        users = [
            stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(4)
        ]
        streams = [(one.stdin, one.stdout) for one in users]
        assert all(out is not None and out.readline() == "ready\n" for _, out in streams)
        counted: Counter[tuple[str, ...]] = Counter()
        for number in range(TRIALS):
            row = approve(journal, f"packet {number}")
            for given, _ in streams:
                assert given is not None
                given.write(f"{row.digest}\n")
                given.flush()
            counted[tuple(sorted(out.readline().strip() for _, out in streams if out))] += 1
        for given, _ in streams:
            assert given is not None
            given.close()
    journal.close()
    assert counted == {("refused", "refused", "refused", "used"): TRIALS}


def test_63_what_a_dead_process_began_is_taken_up_once_by_the_next_holder(home: Path) -> None:
    journal = make_journal(home)
    with journal.lease("r-1"):
        row = approve(journal)
        assert use(journal, row) == ""
        assert "used already" in use(journal, row)  # the same holder does not get it twice
    assert "used already" in use(journal, row)  # nor anybody who does not hold the run
    with journal.lease("r-1"):
        assert use(journal, row) == ""
        assert "used already" in use(journal, row)
        journal.settle("r-1", "apply", journal.decisions("r-1")[0].hash, "done", {})
    with journal.lease("r-1"):
        assert "good for one use" in use(journal, row)  # what was done is not begun again by anybody
    journal.close()


def test_63_one_approval_is_not_one_use_for_each_effect(home: Path) -> None:
    journal = make_journal(home)
    row = approve(journal)
    assert use(journal, row) == ""
    with pytest.raises(DecisionRefused, match="used already"):
        journal.consume("r-1", "migrations", row.digest, "publish", hours=1.0, detail={})
    journal.close()


def test_63_an_approval_counts_for_its_run_its_gate_and_its_newest_packet(home: Path) -> None:
    journal = make_journal(home, "r-1", "r-2")
    row = approve(journal)
    other = open_gate(journal, "migrations", run="r-2")
    assert "does not show" in use(journal, row, run="r-2")
    assert "has no approval" in use(journal, other, run="r-2")
    design = approve(journal, gate="design")
    assert "does not show" in use(journal, design, gate="migrations")
    assert "does not show" in use(journal, replace(row, digest="f" * 64))
    open_gate(journal, "migrations", "# Another packet")
    assert "does not show" in use(journal, row)  # the older approval is not for what is shown now
    # the weak control: any approval of that digest, wherever it was given
    assert any(one.digest == row.digest and one.verdict == "approve" for one in journal.decisions("r-1"))
    journal.close()


@pytest.mark.parametrize("verdict", ["reject", "request-changes"])
def test_63_only_an_approval_can_be_used(home: Path, verdict: str) -> None:
    journal = make_journal(home)
    row = open_gate(journal, "migrations")
    journal.decide(ruling(row, verdict, reason="no", to_stage="implementation" if "changes" in verdict else ""))
    assert "has no approval" in use(journal, row)
    journal.close()


def test_63_a_decision_copied_to_another_run_breaks_that_run(home: Path) -> None:
    journal = make_journal(home, "r-1", "r-2")
    approve(journal)
    target = open_gate(journal, "migrations", run="r-2")
    with behind(home) as database:
        row = dict(database.execute("SELECT * FROM decisions").fetchone())
        row |= {"seq": 50, "run": "r-2", "digest": target.digest}
        _insert(database, row)
        found = database.execute("SELECT verdict FROM decisions WHERE run = 'r-2' AND digest = ?", (target.digest,))
        assert found.fetchone()[0] == "approve"  # the weak control: a look into the table finds an approval
    assert "decision 1 of run r-2 was changed" in use(journal, target, run="r-2")
    journal.close()


def _insert(database: sqlite3.Connection, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    database.execute(f"INSERT INTO decisions ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def _forge(home: Path, target: GateRow, chain: Chain, previous: str | None = None) -> None:
    """An approval that nobody gave, with a hash made as this program makes it."""
    with behind(home) as database:
        last = database.execute("SELECT hash FROM decisions WHERE run = 'r-1' ORDER BY seq DESC").fetchone()
        row = {**vars(ruling(target)), "payload": "{}", "at": now()}
        row["previous"] = previous or (last[0] if last else chain.genesis)
        row["hash"] = chain.link(row)
        _insert(database, row)


def test_63_a_forged_approval_with_a_plain_hash_is_found_when_the_chain_is_keyed(home: Path) -> None:
    make_journal(home).close()
    keyed = Journal(home, key=KEY)
    approve(keyed, gate="design")
    target = open_gate(keyed, "migrations")
    _forge(home, target, Chain("r-1", None))
    assert "decision 2 of run r-1 was changed" in use(keyed, target)
    with pytest.raises(JournalError, match="decision 2"):
        keyed.verify("r-1")
    with pytest.raises(JournalError, match="decision 2"):
        keyed.decide(ruling(open_gate(keyed, "scope", bound={"path": "x"})))  # a broken chain is not built upon
    keyed.close()


def test_63_without_a_key_the_same_forgery_is_whole_and_verify_says_so(home: Path) -> None:
    """The weak control: a hash without a key is one that whoever writes the database can make."""
    journal = make_journal(home)
    approve(journal, gate="design")
    target = open_gate(journal, "migrations")
    _forge(home, target, Chain("r-1", None))
    assert use(journal, target) == ""
    assert "not keyed" in proof.verified(journal, journal.run("r-1"))[1]
    journal.close()


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_63_an_approval_that_is_too_old_or_from_the_future_is_void(
    home: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    journal = make_journal(home)
    with monkeypatch.context() as earlier:
        earlier.setattr(ledger, "now", lambda: at)
        row = approve(journal)
    with pytest.raises(DecisionExpired, match="good for 72 hours; look at it again and approve it anew"):
        journal.consume("r-1", "migrations", row.digest, "apply", hours=72, detail={})
    assert journal.intent("r-1", "apply", journal.decisions("r-1")[0].hash) is None
    assert use(journal, row, hours=None) == ""  # the weak control: no bound
    journal.close()


# -- 64: the log ---------------------------------------------------------------------------------------------------


def _relinked(home: Path, chain: Chain, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Rewrite the whole log and make every hash anew, as somebody who read this program would."""
    with behind(home) as database:
        rows = [dict(row) for row in database.execute("SELECT * FROM decisions WHERE run = 'r-1' ORDER BY seq")]
        database.execute("DELETE FROM decisions WHERE run = 'r-1'")
        previous = chain.genesis
        for number, row in enumerate(change(rows), start=1):
            row |= {"seq": number, "previous": previous}
            row["hash"] = previous = chain.link(row)
            _insert(database, row)


def _edited(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*rows[:-1], {**rows[-1], "verdict": "approve", "reason": ""}]


REWRITES: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "edit": _edited,
    "drop": lambda rows: rows[1:],
    "reorder": lambda rows: [rows[1], rows[0], *rows[2:]],
    "truncate": lambda rows: rows[:-1],
}


def _three(journal: Journal) -> None:
    for number, gate in enumerate(("design", "scope", "migrations")):
        row = open_gate(journal, gate, f"packet {number}", bound={"path": "x"})
        journal.decide(ruling(row, "reject" if gate == "migrations" else "approve", reason="no"))


@pytest.mark.parametrize("how", list(REWRITES))
def test_64_a_log_rewritten_with_new_hashes_is_found_when_keyed(home: Path, how: str) -> None:
    make_journal(home).close()
    journal = Journal(home, key=KEY)
    _three(journal)
    kept = journal.verify("r-1")
    _relinked(home, Chain("r-1", None), REWRITES[how])
    with pytest.raises(JournalError, match=r"decision 1 of run r-1 .*begun without a key"):
        journal.verify("r-1")
    _relinked(home, Chain("r-1", b"another key that is long enough"), REWRITES[how])
    with pytest.raises(JournalError, match="names another key"):
        journal.verify("r-1")
    plain = Journal(home)
    _relinked(home, Chain("r-1", None), lambda rows: rows)
    assert (
        plain.verify("r-1") != kept
    )  # the weak control: without the key the rewritten log is whole, with another head
    plain.close()
    journal.close()


def test_64_a_keyed_chain_is_not_read_without_its_key(home: Path) -> None:
    make_journal(home).close()
    keyed, plain = Journal(home, key=KEY), Journal(home)
    row = approve(keyed)
    with pytest.raises(JournalError, match=r"begun with a key: name it with BACKEND_CREW_KEY_FILE"):
        plain.verify("r-1")
    assert "begun with a key" in use(plain, row)
    assert keyed.verify("r-1") == keyed.decisions("r-1")[0].hash
    text = (home / "journal.db").read_bytes() + (home / "journal.db-wal").read_bytes()
    assert KEY not in text and KEY.hex().encode() not in text
    plain.close()
    keyed.close()


@pytest.mark.parametrize("column", ["packet", "digest"])
def test_64_what_a_decision_was_about_cannot_be_changed_behind_it(home: Path, column: str) -> None:
    journal = make_journal(home)
    row = approve(journal)
    forged = json.dumps({**row.packet, "text": "# Harmless"}) if column == "packet" else "e" * 64
    with behind(home) as database:
        database.execute(f"UPDATE gates SET {column} = ?", (forged,))
    assert "does not show" in use(journal, row)
    with pytest.raises(JournalError, match=r"what decision 1 of run r-1 was about .* was changed or removed"):
        journal.verify("r-1")
    with behind(home) as database:  # the weak control: the links alone are whole
        assert Chain("r-1", None).check([dict(one) for one in database.execute("SELECT * FROM decisions")])
    journal.close()


def _published(journal: Journal, repo: Path) -> str:
    """A commit in the person's repository that carries the head, as publishing leaves it."""
    head = journal.verify("r-1")
    scenario.git(repo, "checkout", "-qb", "backend-crew/r-1")
    message = f"Specification\n\nBackend-Crew-Run: r-1\nBackend-Crew-Decisions: {head}"
    scenario.git(repo, "commit", "-q", "--allow-empty", "-m", message)
    scenario.git(repo, "checkout", "-q", "main")
    return head


@pytest.fixture
def published(home: Path, tmp_path: Path) -> tuple[Journal, Path]:
    """A journal with three decisions, and the repository that carries their head."""
    repo = scenario.make_repository(tmp_path / "notes", {"a.txt": "a"})
    journal = make_journal(home)
    with behind(home) as database:
        database.execute("UPDATE runs SET repo = ?", (str(repo),))
    _three(journal)
    return journal, repo


@pytest.mark.parametrize("how", list(REWRITES))
def test_64_after_publishing_no_rewrite_fits_the_branch(published: tuple[Journal, Path], home: Path, how: str) -> None:
    journal, repo = published
    _published(journal, repo)
    assert "anchored: commit" in proof.verified(journal, journal.run("r-1"))[2]
    _relinked(home, Chain("r-1", None), REWRITES[how])
    journal.verify("r-1")  # the weak control: the log alone is whole again
    with pytest.raises(JournalError, match="decisions were removed or rewritten"):
        proof.verified(journal, journal.run("r-1"))
    journal.close()


def test_64_log_and_head_put_back_together_do_not_fit_the_branch(published: tuple[Journal, Path], home: Path) -> None:
    journal, repo = published
    journal.close()
    shutil.copytree(home, home.with_name("kept"))
    journal = Journal(home)
    approve(journal, "later")
    _published(journal, repo)
    journal.close()
    shutil.rmtree(home)
    home.with_name("kept").rename(home)
    journal = Journal(home)
    journal.verify("r-1")  # the weak control: an earlier state of the whole journal is a whole journal
    with pytest.raises(JournalError, match="the journal was put back"):
        proof.verified(journal, journal.run("r-1"))
    journal.close()


def test_64_the_anchor_is_found_where_the_branch_went(published: tuple[Journal, Path]) -> None:
    journal, repo = published
    _published(journal, repo)
    scenario.git(repo, "merge", "-q", "--no-ff", "-m", "Merge", "backend-crew/r-1")
    scenario.git(repo, "branch", "-qD", "backend-crew/r-1")
    assert "anchored: commit" in proof.verified(journal, journal.run("r-1"))[2]
    approve(journal, "after publishing")
    with pytest.raises(JournalError, match="decisions were added after it was published"):
        proof.verified(journal, journal.run("r-1"))
    journal.close()


def test_64_reading_the_anchor_runs_nothing_of_the_repository(published: tuple[Journal, Path], tmp_path: Path) -> None:
    journal, repo = published
    _published(journal, repo)
    program = tmp_path / "spy"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    for name, value in (
        ("log.showSignature", "true"), ("gpg.program", str(program)), ("core.pager", str(program)),
        ("core.fsmonitor", str(program)), ("core.alternateRefsCommand", str(program)),
    ):  # fmt: skip
        scenario.git(repo, "config", name, value)
    signed = "tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\nBackend-Crew-Run: r-1\n"
    (tmp_path / "commit").write_text(signed.format(tree=scenario.git(repo, "rev-parse", "main^{tree}").strip()))
    sha = scenario.git(repo, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")).strip()
    scenario.git(repo, "update-ref", "refs/heads/signed", sha)
    assert "anchored" in proof.verified(journal, journal.run("r-1"))[2]
    assert not (tmp_path / "ran").exists()
    with contextlib.suppress(subprocess.CalledProcessError):
        scenario.git(repo, "log", "--all")
    assert (tmp_path / "ran").exists()  # the weak control: the command that people use runs it
    journal.close()


def test_64_a_head_that_was_kept_shows_a_truncation_before_publishing(
    published: tuple[Journal, Path], home: Path
) -> None:
    journal, _ = published
    kept = journal.verify("r-1")
    assert "not anchored" in proof.verified(journal, journal.run("r-1"), kept)[2]
    with behind(home) as database:
        database.execute("DELETE FROM decisions WHERE seq = (SELECT max(seq) FROM decisions)")
    proof.verified(journal, journal.run("r-1"))  # the weak control: nothing is compared
    with pytest.raises(JournalError, match="is not in the chain"):
        proof.verified(journal, journal.run("r-1"), kept)
    journal.close()


def test_64_an_empty_chain_is_whole_and_says_nothing(home: Path) -> None:
    journal = make_journal(home)
    assert journal.verify("r-1") == GENESIS
    assert "0 decisions" in proof.verified(journal, journal.run("r-1"))[0]
    journal.close()
