"""The journal: nothing is decided twice, nothing is changed unseen, and every failure is one clear sentence."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_journal, make_run, open_gate, ruling

from backend_crew.crew.chain import Chain
from backend_crew.crew.errors import DecisionRefused, JournalError, LeaseLost, UsageError
from backend_crew.crew.journal import GENESIS, PARTIAL, Journal, canonical
from backend_crew.crew.model import Status


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def journal(home: Path) -> Iterator[Journal]:
    opened = make_journal(home)
    yield opened
    opened.close()


@contextlib.contextmanager
def behind(home: Path) -> Iterator[sqlite3.Connection]:
    """A hand on the database that does not go through the journal."""
    connection = sqlite3.connect(home / "journal.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


# -- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_id_or_the_start_of_it(home: Path) -> None:
    journal = make_journal(home, "refunds-1", "refunds-12", "notes-7")
    assert journal.run("notes").id == "notes-7"
    assert journal.run("refunds-1").id == "refunds-1"  # an exact id wins over a longer one that starts the same
    with pytest.raises(UsageError, match=r"'refunds': refunds-1, refunds-12"):
        journal.run("refunds")
    for name in ("nothing", "", "%", "_", "refunds-1%", "'; DROP TABLE runs; --"):
        with pytest.raises(UsageError, match="no single run is called"):
            journal.run(name)
    with pytest.raises(UsageError, match="backend-crew runs"):
        journal.run("nothing")
    journal.close()


def test_the_newest_run_comes_first_and_reads_back_as_written(journal: Journal) -> None:
    run = make_run("r-2", created="2999-01-01T00:00:00+00:00", options={"caps": {"calls": 3}}, feature="{braces} ☃")
    journal.create(run)
    assert [one.id for one in journal.runs()] == ["r-2", "r-1"]
    assert journal.run("r-2") == run


def test_the_state_is_private(journal: Journal, home: Path) -> None:
    assert home.stat().st_mode & 0o077 == 0
    assert journal.folder("r-1").stat().st_mode & 0o077 == 0


# -- outputs -------------------------------------------------------------------------------------------------------


def test_the_newest_round_counts_and_earlier_ones_stay_readable(journal: Journal) -> None:
    assert journal.round("r-1", "design") == 1
    journal.record("r-1", "design", "Design", {"n": 1}, "a" * 40)
    assert journal.round("r-1", "design") == 2
    journal.record("r-1", "design", "Design", {"n": 2}, "b" * 40)
    current = journal.output("r-1", "design")
    assert current is not None
    assert (current.round, current.payload) == (2, {"n": 2})
    assert [one.payload["n"] for one in journal.outputs("r-1", "design")] == [1, 2]
    assert len(journal.outputs("r-1")) == 1


def test_invalidating_takes_out_of_force_and_keeps_the_round_counting(journal: Journal) -> None:
    for task in ("analyse", "design", "test"):
        journal.record("r-1", task, "Note", {"text": task}, None)
    journal.invalidate("r-1", ("design", "test"))
    assert [one.task for one in journal.outputs("r-1")] == ["analyse"]
    assert journal.output("r-1", "design") is None
    assert journal.round("r-1", "design") == 2
    assert journal.record("r-1", "design", "Note", {"text": "again"}, None).round == 2
    assert [one.round for one in journal.outputs("r-1", "design")] == [1, 2]


def test_invalidating_one_run_leaves_the_others(home: Path) -> None:
    journal = make_journal(home, "r-1", "r-2")
    for run in ("r-1", "r-2"):
        journal.record(run, "design", "Note", {}, None)
    journal.invalidate("r-1", ("design",))
    assert journal.output("r-2", "design") is not None
    journal.close()


def test_the_head_is_the_newest_commit_whether_or_not_it_counts(journal: Journal) -> None:
    assert journal.head("r-1") is None
    journal.record("r-1", "data", "ChangeSet", {}, "a" * 40)
    journal.record("r-1", "logic", "ChangeSet", {}, "b" * 40)
    journal.record("r-1", "logic.partial", PARTIAL, {}, "c" * 40)
    journal.record("r-1", "verify", "Verdict", {}, None)
    journal.invalidate("r-1", ("logic",))
    assert journal.head("r-1") == "c" * 40
    assert journal.head("r-1", partial=False) == "b" * 40


# -- gates and decisions -------------------------------------------------------------------------------------------


def test_the_same_packet_keeps_its_round_and_another_opens_a_new_one(journal: Journal) -> None:
    first = open_gate(journal, "design", "one")
    assert open_gate(journal, "design", "one").round == first.round == 1
    second = open_gate(journal, "design", "two")
    assert second.round == 2
    assert [row.open for row in journal.gates("r-1", "design")] == [False, True]


def test_a_decision_about_what_is_no_longer_shown_is_refused(journal: Journal) -> None:
    first = open_gate(journal, "design", "one")
    open_gate(journal, "design", "two")
    with pytest.raises(DecisionRefused, match=r"now shows .*`backend-crew show r-1`"):
        journal.decide(ruling(first))
    assert journal.decisions("r-1") == ()


def test_a_decision_names_exactly_one_digest(journal: Journal) -> None:
    row = open_gate(journal, "design")
    with pytest.raises(DecisionRefused, match="the decision is about digest ffff"):
        journal.decide(replace(ruling(row), digest="f" * 64))
    with pytest.raises(DecisionRefused, match="has not been reached"):
        journal.decide(replace(ruling(row), gate="migrations"))
    with pytest.raises(DecisionRefused, match="has not been reached"):
        journal.decide(replace(ruling(row), run="r-9"))
    assert journal.decisions("r-1") == ()


def test_the_second_decision_hears_who_took_the_first(journal: Journal) -> None:
    row = open_gate(journal, "design")
    journal.decide(ruling(row))
    with pytest.raises(DecisionRefused, match="already decided: approve by ann at"):
        journal.decide(ruling(row, "reject", reason="no"))
    assert [one.verdict for one in journal.decisions("r-1")] == ["approve"]


def test_eight_threads_decide_once(journal: Journal) -> None:
    row = open_gate(journal, "design")
    start = threading.Barrier(8)

    def decide(number: int) -> str:
        start.wait()
        try:
            return journal.decide(replace(ruling(row), actor=f"person {number}")).actor
        except DecisionRefused:
            return ""

    with ThreadPoolExecutor(8) as pool:
        taken = [actor for actor in pool.map(decide, range(8)) if actor]
    assert [one.actor for one in journal.decisions("r-1")] == taken
    assert len(taken) == 1


_DECIDER = """
import sys
from pathlib import Path
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.journal import Decision, Journal
home, verdict, round, digest = sys.argv[1:]
journal = Journal(Path(home))
decision = Decision("r-1", "design", int(round), digest, verdict, reason="so", actor="x", channel="test")
print("ready", flush=True)
sys.stdin.readline()
try:
    journal.decide(decision)
    print("taken")
except DecisionRefused as error:
    print("refused", error)
"""


def test_two_processes_decide_once(journal: Journal, home: Path) -> None:
    row = open_gate(journal, "design")

    def start(verdict: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", _DECIDER, str(home), verdict, str(row.round), row.digest]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    both = [start(verdict) for verdict in ("approve", "reject")]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:  # both are past their imports: what follows is the race itself
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    said = sorted(one.communicate(timeout=60)[0].split()[0] for one in both)
    assert said == ["refused", "taken"]
    assert len(journal.decisions("r-1")) == 1


def test_a_draft_is_kept_with_its_round_only(journal: Journal) -> None:
    row = open_gate(journal, "answers", "one")
    journal.save_draft("r-1", row, {"answers": {"Q1": "x"}})
    current = journal.gate("r-1", "answers")
    assert current is not None
    assert current.draft == {"answers": {"Q1": "x"}}
    again = open_gate(journal, "answers", "two")
    assert again.draft is None


# -- the chain -----------------------------------------------------------------------------------------------------


@pytest.fixture
def decided(journal: Journal) -> Journal:
    """A journal with three decisions."""
    for number, gate in enumerate(("design", "migrations", "design")):
        row = open_gate(journal, gate, f"packet {number}")
        journal.decide(replace(ruling(row), payload={"n": number}, reason="because"))
    return journal


def test_an_untouched_chain_is_whole_and_its_head_is_the_last_decision(decided: Journal) -> None:
    assert decided.verify("r-1") == decided.decisions("r-1")[-1].hash
    assert decided.verify("r-9") == GENESIS


_TAMPERED = {
    "run": "r-2",
    "gate": "scope",
    "round": 7,
    "digest": "f" * 64,
    "verdict": "reject",
    "reason": "another",
    "to_stage": "analysis",
    "payload": "{}",
    "actor": "mallory",
    "channel": "web",
    "at": "1999-01-01T00:00:00+00:00",
    "previous": "e" * 64,
    "hash": "d" * 64,
}


@pytest.mark.parametrize("column", list(_TAMPERED))
@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_column_breaks_the_chain(decided: Journal, home: Path, column: str, number: int) -> None:
    with behind(home) as database:
        database.execute(f"UPDATE decisions SET {column} = ? WHERE seq = ?", (_TAMPERED[column], number))
    with pytest.raises(JournalError, match=r"decision [12] of run r-1 was changed, moved or removed"):
        decided.verify("r-1")


def test_every_column_of_a_decision_is_covered(home: Path, decided: Journal) -> None:
    with behind(home) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(decisions)")}
    assert columns - {"seq"} == set(_TAMPERED)


@pytest.mark.parametrize("number", [1, 2])
def test_a_removed_decision_breaks_the_chain(decided: Journal, home: Path, number: int) -> None:
    with behind(home) as database:
        database.execute("DELETE FROM decisions WHERE seq = ?", (number,))
    with pytest.raises(JournalError, match=f"decision {number} of run r-1"):
        decided.verify("r-1")


def test_removing_the_last_decision_changes_the_head_that_the_branch_carries(decided: Journal, home: Path) -> None:
    # the chain alone cannot show it: the head that was written into the published commit does
    head = decided.verify("r-1")
    with behind(home) as database:
        database.execute("DELETE FROM decisions WHERE seq = 3")
    assert decided.verify("r-1") != head


def test_decisions_that_change_places_break_the_chain(decided: Journal, home: Path) -> None:
    with behind(home) as database:
        database.executescript(
            "UPDATE decisions SET seq = 99 WHERE seq = 1; UPDATE decisions SET seq = 1 WHERE seq = 2;"
            "UPDATE decisions SET seq = 2 WHERE seq = 99;"
        )
    with pytest.raises(JournalError, match="decision 1 of run r-1"):
        decided.verify("r-1")


def test_a_row_that_hashes_itself_is_not_enough(decided: Journal, home: Path) -> None:
    """The weak control: recomputing one row's own hash hides a change in it, until the next row is looked at."""
    with behind(home) as database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM decisions WHERE seq = 1").fetchone())
        row["verdict"] = "reject"
        database.execute(
            "UPDATE decisions SET verdict = 'reject', hash = ? WHERE seq = 1", (Chain("r-1", None).link(row),)
        )
    with pytest.raises(JournalError, match="decision 2 of run r-1"):
        decided.verify("r-1")


# -- the lease -----------------------------------------------------------------------------------------------------

_HOLDER = """
import sys
from pathlib import Path
from backend_crew.crew.errors import LeaseLost
from backend_crew.crew.journal import Journal
journal = Journal(Path(sys.argv[1]))
try:
    with journal.lease("r-1"):
        print("held", flush=True)
        sys.stdin.readline()
except LeaseLost as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_second_process_is_refused_until_the_first_ends(journal: Journal, home: Path) -> None:
    argv = [sys.executable, "-c", _HOLDER, str(home)]
    with journal.lease("r-1"):
        done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "being worked on by another process" in done.stdout
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LeaseLost), journal.lease("r-1"):
            pass
        other.kill()  # a killed process leaves no lock behind
    with journal.lease("r-1"):
        journal.set_status("r-1", Status.RUNNING)


def test_a_lease_that_was_taken_over_writes_nothing_more(journal: Journal, home: Path) -> None:
    other = Journal(home)
    with journal.lease("r-1"):
        journal.record("r-1", "analyse", "Note", {}, None)
        (home / "runs" / "r-1" / "lock").unlink()  # as a network file system forgets a lock
        with other.lease("r-1"):
            for write in (
                lambda: journal.record("r-1", "design", "Note", {}, None),
                lambda: journal.event("r-1", "late"),
                lambda: journal.spend("r-1", stage="", task="", model="m", prompt_tokens=1, completion_tokens=1, cost=0, seconds=0),
                lambda: journal.set_status("r-1", Status.FAILED),
                lambda: journal.intend("r-1", "apply", "k", {}),
                lambda: open_gate(journal, "design"),
                lambda: journal.invalidate("r-1", ("analyse",)),
            ):  # fmt: skip
                with pytest.raises(LeaseLost, match="taken over by another process"):
                    write()
            other.record("r-1", "design", "Note", {"by": "the new holder"}, None)
    assert [one.task for one in journal.outputs("r-1")] == ["analyse", "design"]
    assert journal.events("r-1") == ()
    assert journal.run("r-1").status is Status.RUNNING
    other.close()


def test_a_refused_lease_does_not_loosen_the_one_that_is_held(journal: Journal, home: Path) -> None:
    other = Journal(home)
    with journal.lease("r-1"):
        with pytest.raises(LeaseLost), journal.lease("r-1"):
            pass
        (home / "runs" / "r-1" / "lock").unlink()
        with other.lease("r-1"), pytest.raises(LeaseLost):
            journal.record("r-1", "design", "Note", {}, None)
    other.close()


def test_each_lease_has_an_epoch_of_its_own(journal: Journal) -> None:
    for expected in (1, 2, 3):
        with journal.lease("r-1"):
            assert journal.run("r-1").epoch == expected


@given(st.dictionaries(st.text(), st.text(st.characters()) | st.integers() | st.lists(st.booleans())))
def test_canonical_text_reads_back_equal_and_does_not_depend_on_order(value: dict[str, Any]) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(dict(reversed(value.items()))) == text
    text.encode()


# -- intents, events, usage ----------------------------------------------------------------------------------------


def test_an_effect_is_begun_once(journal: Journal) -> None:
    assert journal.intent("r-1", "apply", "k") is None
    assert journal.intend("r-1", "apply", "k", {"to": "0002"})
    assert not journal.intend("r-1", "apply", "k", {"to": "0003"})
    assert journal.intent("r-1", "apply", "k") == ("begun", {"to": "0002"})
    journal.settle("r-1", "apply", "k", "done", {"to": "0002", "backup": "b"})
    assert journal.intent("r-1", "apply", "k") == ("done", {"to": "0002", "backup": "b"})
    assert journal.intend("r-1", "apply", "another decision", {})


def test_events_are_kept_in_order_and_listeners_hear_them_after_they_are(journal: Journal) -> None:
    heard: list[tuple[str, int]] = []
    journal.listener = lambda run, kind, data: heard.append((kind, len(journal.events(run))))
    journal.event("r-1", "tool", tool="search")
    journal.event("r-1", "recorded", task="design")
    assert heard == [("tool", 1), ("recorded", 2)]
    assert [one["event"] for one in journal.events("r-1")] == ["tool", "recorded"]
    assert [one["task"] for one in journal.events("r-1", "recorded")] == ["design"]
    lines = (journal.folder("r-1") / "events.jsonl").read_text().split("\n")
    assert [json.loads(line)["event"] for line in lines if line] == ["tool", "recorded"]


def spend(journal: Journal, stage: str, cost: float | None) -> None:
    journal.spend(
        "r-1", stage=stage, task="t", model="m", prompt_tokens=100, completion_tokens=10, cost=cost, seconds=1.0
    )


def test_one_unknown_price_makes_the_sum_unknown(journal: Journal) -> None:
    assert journal.totals("r-1").cost == 0.0
    spend(journal, "design", 0.5)
    spend(journal, "testing", None)
    total, design = journal.totals("r-1"), journal.totals("r-1", "design")
    assert (total.calls, total.tokens, total.cost) == (2, 220, None)
    assert (design.calls, design.tokens, design.cost) == (1, 110, 0.5)
    assert journal.totals("r-1", "testing").cost is None
    assert journal.totals("r-9").calls == 0
