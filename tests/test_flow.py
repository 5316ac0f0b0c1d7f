"""Whole runs with a scripted model on a real repository: what they leave behind, and every way they can go."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from scenario import call, submit, use

from backend_crew.crew import budget, editing
from backend_crew.crew.embed import BudgetReached, Failed, Finished, Rejected, Unverified, Waiting
from backend_crew.crew.errors import UsageError
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import PARTIAL
from backend_crew.crew.permissions import approved_design
from backend_crew.crew.recording import Reply
from backend_crew.crew.roles import load
from backend_crew.tools import git

pytestmark = pytest.mark.slow
CODE_TASKS = {"baseline", "rehearse", "apply", "verify", "summarise"}


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> driving.Stand:
    """A fresh repository, database and home."""
    monkeypatch.setenv(scenario.ENV, "")
    return driving.stand(tmp_path)


def rounds(stand: driving.Stand, task: str) -> list[int]:
    """The rounds of a task that asked the model."""
    return list(dict.fromkeys(turn.round for turn in stand.script.seen if turn.task == task))


def added(packet: Packet) -> list[str]:
    """The added lines of the difference that a gate shows."""
    found = re.search(r"(`{3,})diff\n(.*?)\1", packet.text, re.DOTALL)
    assert found, packet.text
    return [line for line in found[2].splitlines() if line.startswith("+")]


def rows(database: Path) -> list[tuple[Any, ...]]:
    """The notes as they are in a database."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT * FROM notes ORDER BY id").fetchall()
    finally:
        connection.close()


def test_the_whole_path_ends_in_a_branch_a_migrated_database_and_a_true_summary(stand: driving.Stand) -> None:
    kept: dict[str, Any] = {}

    def decide(packet: Packet) -> Any:
        if packet.gate == "migrations":
            # neither what the person edits meanwhile nor what happens in the private tree is what was approved
            (stand.repo / "app/models.py").write_text(scenario.MODELS + "# the person works on\n")
            (stand.repo / "new.txt").write_text("theirs")
            migration = stand.tree / scenario.MIGRATION
            migration.write_text(migration.read_text().replace("archived", "hacked"))
            kept.update(stand.fingerprint())
            assert stand.revision == "0001"
        return scenario.approve_all(packet)

    stand.person.default = decide
    before = stand.fingerprint()
    result = stand.kickoff(checks="full")

    assert isinstance(result, Finished), result.reason
    assert result.exit_code == 0
    facts = result.summary
    branch = str(result.branch)
    assert stand.branches() == {"main", branch}
    _the_person_s_work_is_untouched(stand, before, kept)
    _files_are_those_of_the_branch(stand, facts, branch)
    _database_is_migrated_once_with_a_backup(stand, facts)
    assert facts["tests"]["counts"] == {"passed": 3, "failed": 0, "error": 0, "skipped": 0}
    assert [one["shown"] for one in facts["criteria"]] == [True, True]
    assert [(one["path"], one["name"]) for one in facts["altered"]] == [("app/service.py", "listed")]
    assert [one["gate"] for one in facts["gates"]] == ["answers", "design", "migrations"]
    assert facts["usage"]["calls"] == len(stand.script.seen) == result.usage["calls"]
    assert facts["usage"]["prompt_tokens"] == 100 * len(stand.script.seen)
    assert facts["endpoints"] == []
    mutants = facts["checks"]["mutation"]
    assert mutants["killed"] >= 1 and mutants["survived"] + mutants["killed"] <= mutants["possible"]
    assert all(one["lines"] for one in facts["criteria"] if one["id"] == "AC1")
    _documents_are_on_the_branch(stand, facts, branch)


def _the_person_s_work_is_untouched(stand: driving.Stand, before: dict[str, Any], kept: dict[str, Any]) -> None:
    after = stand.fingerprint()
    assert after == kept
    assert {name: after[name] for name in ("HEAD", "index", "config", "head")} == {
        name: before[name] for name in ("HEAD", "index", "config", "head")
    }
    assert scenario.git(stand.repo, "status", "--porcelain").splitlines() == [" M app/models.py", "?? new.txt"]


def _files_are_those_of_the_branch(stand: driving.Stand, facts: Any, branch: str) -> None:
    told = {one["path"]: (one["added"], one["removed"]) for one in facts["files"]}
    lines = scenario.git(stand.repo, "diff", "--numstat", f"main...{branch}").splitlines()
    real = {path: (int(added), int(removed)) for added, removed, path in (line.split("\t") for line in lines)}
    documents = {path for path in real if path.startswith(f"{facts['documents']}/")}
    assert told == {path: counts for path, counts in real.items() if path not in documents}
    assert set(told) == {"app/models.py", "app/service.py", scenario.MIGRATION, "tests/test_archive.py"}
    assert stand.on_branch(scenario.MIGRATION) == scenario.SECOND
    assert stand.on_branch("tests/test_archive.py") == scenario.NEW_TESTS
    assert scenario.ARCHIVE in stand.on_branch("app/service.py")
    assert scenario.git(stand.repo, "rev-parse", branch).strip() == facts["commit"]
    titles = scenario.git(stand.repo, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines()
    wanted = ["data access", "business logic", "tests", "specification and report"]
    assert titles == [f"Archive notes: {title}" for title in wanted]
    with stand.journal() as journal:
        assert f"Backend-Crew-Decisions: {journal.verify(stand.run)}" in scenario.git(
            stand.repo, "log", "-1", "--format=%B", branch
        )


def _database_is_migrated_once_with_a_backup(stand: driving.Stand, facts: Any) -> None:
    assert stand.revision == "0002"
    assert rows(stand.database) == [(1, "note 0", 0), (2, "note 1", 0), (3, "note 2", 0)]
    migrations = facts["migrations"]
    assert (migrations["status"], migrations["from"], migrations["to"]) == ("applied", "0001", "0002")
    backups = list((stand.folder / "backups").iterdir())
    assert [str(path) for path in backups] == [migrations["backup"]]
    assert rows(backups[0]) == [(1, "note 0"), (2, "note 1"), (3, "note 2")]
    assert backups[0].stat().st_mode & 0o077 == 0


def _documents_are_on_the_branch(stand: driving.Stand, facts: Any, branch: str) -> None:
    listed = scenario.git(stand.repo, "ls-tree", "-r", "--name-only", branch, f"{facts['documents']}/").split()
    names = {path.rsplit("/", 1)[1] for path in listed}
    assert names == {"spec.md", "plan.md", "data-model.md", "migrations.md", "report.md"}
    report = stand.on_branch(f"{facts['documents']}/report.md")
    assert "3 passed" in report
    assert str(stand.database) not in stand.on_branch(f"{facts['documents']}/spec.md")


def test_requested_changes_of_the_design_reopen_only_what_lies_downstream_and_show_a_difference(
    stand: driving.Stand,
) -> None:
    second = {**scenario.DESIGN, "business_logic": "archive() sets the flag and logs it."}

    def design(turn: Any) -> Any:
        return submit(**(scenario.DESIGN if turn.round == 1 else second))

    stand.script.steps["design"] = [design]
    changes = {"verdict": "request-changes", "reason": "Please log it.", "to_stage": "design"}
    stand.person.decisions["design"] = [changes, None]
    result = stand.kickoff()

    assert isinstance(result, Waiting)
    assert rounds(stand, "design") == [1, 2]
    assert rounds(stand, "specify") == rounds(stand, "ask") == rounds(stand, "analyse") == [1]
    first, again = stand.person.packets("design")
    assert first.digest != again.digest
    assert "```diff" not in first.text
    assert "You asked for: Please log it." in again.text
    assert any("archive() sets the flag and logs it." in line for line in added(again))
    asked = next(turn for turn in stand.script.seen if (turn.task, turn.round) == ("design", 2))
    assert "Please log it." in str(asked.messages)
    earlier = next(turn for turn in stand.script.seen if (turn.task, turn.round) == ("design", 1))
    assert "Please log it." not in str(earlier.messages)


def test_a_design_that_ignores_the_request_is_shown_again_instead_of_sent_back_for_ever(stand: driving.Stand) -> None:
    changes = {"verdict": "request-changes", "reason": "Please log it."}
    stand.person.decisions["design"] = [changes, None]
    assert isinstance(stand.kickoff(caps=driving.caps(calls=12)), Waiting)
    assert rounds(stand, "design") == [1, 2]
    first, again = stand.person.packets("design")
    assert first.digest != again.digest
    assert "nothing changed" in again.text


def test_changes_sent_back_to_the_analysis_reopen_everything_after_it(stand: driving.Stand) -> None:
    changes = {"verdict": "request-changes", "reason": "Look again.", "to_stage": "analysis"}
    stand.person.decisions["design"] = [changes, None]
    assert isinstance(stand.kickoff(), Waiting)
    assert {rounds(stand, task) == [1, 2] for task in ("analyse", "ask", "specify", "design")} == {True}
    assert len(stand.person.packets("answers")) == 2


def test_requested_changes_of_the_migrations_are_a_fix_up_and_reopen_only_layers_that_break(
    stand: driving.Stand,
) -> None:
    marked = scenario.COLUMN.rstrip("\n") + "  # kept for ever\n"

    def fix(turn: Any) -> Any:
        if turn.round == 1:
            return scenario.DATA_ACCESS[turn.ordinal]
        old, new = (scenario.COLUMN, marked) if turn.round == 2 else ("class Note(Base)", "class Memo(Base)")
        reason = {"path": "app/models.py", "name": "Note", "reason": "Renamed on request."}
        steps = [
            use(call("read_file", path="app/models.py")),
            use(call("edit_file", path="app/models.py", old=old, new=new)),
            submit(summary="As requested.", altered=[] if turn.round == 2 else [reason]),
        ]
        return steps[min(turn.ordinal, 2)]

    def logic(turn: Any) -> Any:
        if turn.round == 1:
            return scenario.BUSINESS_LOGIC[turn.ordinal]
        text = scenario.SERVICE.replace("select(Note)", "select(Note).where(~Note.archived)") + scenario.ARCHIVE
        text = text.replace("import Note", "import Memo as Note")
        steps = [
            use(call("read_file", path="app/service.py")),
            use(call("write_file", path="app/service.py", text=text)),
            submit(
                summary="Follows the model.",
                altered=[{"path": "app/service.py", "name": "listed", "reason": "Archived notes are left out."}],
            ),
        ]
        return steps[min(turn.ordinal, 2)]

    stand.script.steps["implement_data_access"] = [fix] * 3
    stand.script.steps["implement_business_logic"] = [logic] * 4
    sent_back = {"verdict": "request-changes", "reason": "Say how long it is kept."}
    rename = {"verdict": "request-changes", "reason": "Call it Memo."}
    stand.person.decisions["migrations"] = [sent_back, rename, None]
    result = stand.kickoff()

    assert isinstance(result, Waiting), result.reason
    assert rounds(stand, "implement_data_access") == [1, 2, 3]
    # after the comment everything still imports; after the rename the service does not
    assert rounds(stand, "implement_business_logic") == [1, 2]
    assert [one["task"] for one in stand.events("layer reopened")] == ["implement_business_logic"]
    reopened = [turn.task for turn in stand.script.seen]
    assert reopened.index("review_security") < reopened.index("review_migrations")
    assert rounds(stand, "review_migrations") == [1, 2, 3]
    assert rounds(stand, "design") == [1]
    packets = stand.person.packets("migrations")
    assert len({packet.bound["commit"] for packet in packets}) == 3
    assert "class Memo(Base)" in (stand.tree / "app/models.py").read_text()
    assert "kept for ever" in (stand.tree / "app/models.py").read_text()
    assert stand.revision == "0001"


def test_a_rejected_design_ends_the_run_with_nothing_published_or_applied(stand: driving.Stand) -> None:
    before = stand.fingerprint()
    stand.person.decisions["design"] = [{"verdict": "reject", "reason": "Not now."}]
    result = stand.kickoff()
    assert isinstance(result, Rejected)
    assert (result.exit_code, result.reason, result.branch) == (3, "Not now.", None)
    assert stand.branches() == {"main"}
    assert stand.fingerprint() == before
    assert stand.revision == "0001"
    asked = len(stand.script.seen)
    assert isinstance(stand.again().kickoff(), Rejected)
    assert len(stand.script.seen) == asked


def test_rejected_migrations_stay_pending_and_tests_and_summary_still_happen(stand: driving.Stand) -> None:
    stand.person.decisions["migrations"] = [{"verdict": "reject", "reason": "On Sunday."}]
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason
    assert result.summary["migrations"]["status"] == "declined"
    assert result.summary["tests"]["counts"]["passed"] == 3
    assert stand.revision == "0001"
    assert not (stand.folder / "backups").exists()
    assert any(line.startswith("migrations are pending") for line in result.summary["next"])
    assert stand.on_branch(scenario.MIGRATION) == scenario.SECOND


def test_follow_up_questions_are_asked_once_more_and_all_answers_count(stand: driving.Stand) -> None:
    question = {**scenario.QUESTIONS["items"][0], "id": "F1", "question": "May a note be unarchived?"}

    def specify(turn: Any) -> Any:
        more = {"follow_up": [question]} if turn.round == 1 else {}
        return submit(**scenario.REQUIREMENTS, **more)

    stand.script.steps["specify"] = [specify]
    stand.person.decisions["answers"] = [{"answers": scenario.ANSWERS}, {"answers": {"F1": "Never"}}]
    stand.person.decisions["design"] = [None]
    assert isinstance(stand.kickoff(), Waiting)
    first, second = stand.person.packets("answers")
    assert "May a note be unarchived?" in second.text
    assert "May a note be unarchived?" not in first.text
    answers = {one["id"]: one["answer"] for one in stand.payload("answer")["items"]}
    assert answers == {"Q1": "No", "Q2": "No", "Q3": "Yes, a KeyError", "Q4": "No", "F1": "Never"}
    assert rounds(stand, "specify") == [1, 2]
    assert rounds(stand, "ask") == [1]


def test_follow_up_questions_are_bounded(stand: driving.Stand) -> None:
    question = {**scenario.QUESTIONS["items"][0], "id": "F1"}
    stand.script.steps["specify"] = [
        lambda turn: submit(**scenario.REQUIREMENTS, **({} if turn.ordinal else {"follow_up": [question]}))
    ]
    own = [{"answers": {"F1": "In May"}}, {"answers": {"F2": "In June"}}]
    stand.person.decisions["answers"] = [{"answers": scenario.ANSWERS}, *own]
    stand.person.decisions["design"] = [None]
    assert isinstance(stand.kickoff(), Waiting)
    assert len(stand.person.packets("answers")) == 3
    # the same words asked again are another question: neither its number nor its answer is used again
    answers = {one["id"]: one["answer"] for one in stand.payload("answer")["items"]}
    assert (answers["F1"], answers["F2"], len(answers)) == ("In May", "In June", 6)
    assert "no more follow-up questions" in str(stand.events("hand-in refused")[-1]["reason"])


EXTRA = use(call("write_file", path="app/extra.py", text="LIMIT = 10\n"))
ASK = use(call("request_scope_change", path="app/extra.py", reason="The limit belongs into a module of its own."))


def with_extra() -> dict[str, list[scenario.Step]]:
    """Half of the work, then a file outside the plan: refused, asked for, tried again."""
    steps = driving.without_migration()
    read, write, done = steps["implement_business_logic"]

    def work(turn: Any) -> Any:
        asked = "app/extra.py: approve" in str(turn.messages) or "app/extra.py: reject" in str(turn.messages)
        mine = [EXTRA, done] if asked else [read, write, EXTRA, ASK]
        return mine[min(turn.ordinal, len(mine) - 1)]

    steps["implement_business_logic"] = [work] * 5
    return steps


def test_a_file_outside_the_plan_is_written_only_after_a_person_allowed_it(stand: driving.Stand) -> None:
    stand.script.steps = with_extra()
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason
    [packet] = stand.person.packets("scope")
    assert packet.bound == {"path": "app/extra.py", "act": "write", "layer": "business_logic"}
    assert "The limit belongs into a module of its own." in packet.text
    assert [one["path"] for one in stand.events("tool refused")] == ["app/extra.py"]
    assert stand.on_branch("app/extra.py") == "LIMIT = 10\n"
    # what the layer had before it asked was kept
    assert "def count" in stand.on_branch("app/service.py")
    assert {one["path"] for one in result.summary["files"]} == {
        "app/service.py",
        "app/extra.py",
        "tests/test_archive.py",
    }


def test_a_refused_file_outside_the_plan_stays_unwritten(stand: driving.Stand) -> None:
    stand.script.steps = with_extra()
    stand.person.decisions["scope"] = [{"verdict": "reject", "reason": "Keep it in the service."}]
    stand.script.steps["test"] = [lambda turn: Reply("enough")]
    result = stand.kickoff()
    assert isinstance(result, Failed)
    assert [one["path"] for one in stand.events("tool refused")] == ["app/extra.py"] * 2
    assert not (stand.tree / "app/extra.py").exists()
    assert "def count" in (stand.tree / "app/service.py").read_text()


WRONG = driving.COUNT.replace("len(listed(session))", "len(listed(session)) + 1")


def broken() -> dict[str, list[scenario.Step]]:
    """A product with a fault that the tests show."""
    steps = driving.without_migration()
    read, _, done = steps["implement_business_logic"]
    steps["implement_business_logic"] = [
        read,
        use(call("write_file", path="app/service.py", text=scenario.SERVICE + WRONG)),
        done,
    ]
    return steps


def test_a_failing_product_is_repaired_and_the_verdict_is_that_of_the_tests_after_it(stand: driving.Stand) -> None:
    stand.script.steps = broken()
    stand.script.steps["repair"] = [
        submit(summary="Nothing to do."),
        use(call("read_file", path="app/service.py")),
        use(call("write_file", path="app/service.py", text=scenario.SERVICE + WRONG + "# counted\n")),
        submit(summary="Now it counts."),
        submit(summary="Now it counts, does it not?"),
        use(call("write_file", path="app/service.py", text=scenario.SERVICE + driving.COUNT)),
        submit(summary="The count was one too high."),
    ]
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason
    assert stand.payload("verify")["verdict"] == "red"
    assert result.summary["tests"]["verdict"] == "green"
    refused = [str(one["reason"]) for one in stand.events("hand-in refused") if one["task"] == "repair"]
    assert ["round 1 of 3" in one for one in refused] == [False, True, False], refused
    for unchanged in (refused[0], refused[2]):
        assert "nothing was changed since the tests were red" in unchanged
    report = stand.on_branch(f"{result.summary['documents']}/report.md")
    assert "## Repaired after red tests\n\nThe count was one too high." in report
    assert "nobody reviewed the repaired code" in report
    assert "Changed after the security review: `app/service.py`" in report
    assert "app/service.py" in result.summary["changed_since"]["the security review"]
    repair = next(turn for turn in stand.script.seen if turn.task == "repair")
    assert "test_nothing_counts_as_zero" in str(repair.messages)
    assert "+ 1" not in stand.on_branch("app/service.py")


def test_a_product_that_nobody_repairs_ends_unverified_and_says_so(stand: driving.Stand) -> None:
    stand.script.steps = broken()
    stand.script.steps["repair"] = [submit(summary="It is fine.")]
    result = stand.kickoff()
    assert isinstance(result, Unverified), result.reason
    assert result.exit_code == 6
    assert result.summary["tests"]["counts"]["failed"] == 1
    refused = [str(one["reason"]) for one in stand.events("hand-in refused") if one["task"] == "repair"]
    assert len(refused) == 2, "the third is taken, before the model door sees a loop"
    assert result.summary["repair"] == "", "a hand-in without a change repaired nothing"
    assert [one["shown"] for one in result.summary["criteria"]] == [False, False]
    assert "AC1 is not shown by a passing test" in result.summary["next"]
    assert re.search(r"\*\*unverified\*\*.*1 tests fail", stand.on_branch(f"{result.summary['documents']}/report.md"))
    assert result.branch in stand.branches()


def test_without_a_named_database_the_approval_is_recorded_and_nothing_is_applied(stand: driving.Stand) -> None:
    result = stand.kickoff(database_env=None)
    assert isinstance(result, Finished), result.reason
    assert result.summary["migrations"]["status"] == "approved, not applied"
    assert "--database-url-env" in result.summary["migrations"]["reason"]
    # this env.py reads its URL from a variable that nobody named, so there was nothing to rehearse with either
    assert result.summary["migrations"]["rehearsal"] == "not rehearsed"
    assert stand.revision == "0001"
    assert "nothing is applied by this run" in stand.person.packets("migrations")[0].text


def test_an_edited_design_reopens_the_gate_on_the_person_s_version(stand: driving.Stand) -> None:
    stand.person.decisions["design"] = [None, None]
    first = stand.kickoff()
    assert isinstance(first, Waiting)
    with stand.journal() as journal:
        text = editing.text_of(journal, stand.run)
        with pytest.raises(UsageError, match="not covered"):
            editing.apply(journal, stand.run, json.dumps({**json.loads(text), "coverage": []}))
        editing.apply(journal, stand.run, text.replace("archive() sets the flag.", "archive() sets the flag, twice."))
    crew = stand.again()
    with pytest.raises(Exception, match="digest"):
        crew.decide("approve", digest=str(first.digest)[::-1])
    second = crew.kickoff()
    assert isinstance(second, Waiting)
    assert second.packet is not None
    assert second.digest != first.digest
    assert any("archive() sets the flag, twice." in line for line in added(second.packet))
    assert rounds(stand, "design") == [1]
    crew.decide("approve", digest=second.digest)
    with stand.journal() as journal:
        design = approved_design(journal, stand.run, load()).design
    assert design.business_logic == "archive() sets the flag, twice."


def test_a_cap_pauses_the_run_and_only_a_larger_one_lets_it_go_on(stand: driving.Stand) -> None:
    stand.person.decisions["design"] = [None]
    result = stand.kickoff(caps=driving.caps(calls=3))
    assert isinstance(result, BudgetReached)
    assert (result.exit_code, len(stand.script.seen)) == (5, 3)
    assert "--max-calls" in result.reason
    assert isinstance(stand.again().resume(), BudgetReached)
    assert len(stand.script.seen) == 3
    with stand.journal() as journal:
        run = journal.run(stand.run)
        with pytest.raises(UsageError, match="must be larger"):
            budget.larger(budget.caps_from(run.options), {"calls": 3})
        journal.set_options(run.id, {**run.options, "caps": vars(driving.caps(calls=10))})
    assert isinstance(stand.again().resume(), Waiting)
    assert len(stand.script.seen) == 5
    assert rounds(stand, "analyse") == [1]


def test_bytes_that_differ_from_the_approved_ones_are_not_applied(stand: driving.Stand) -> None:
    def decide(packet: Packet) -> Any:
        if packet.gate == "migrations" and len(stand.person.packets("migrations")) == 1:
            _slip_in(stand)
        return scenario.approve_all(packet)

    stand.person.default = decide
    result = stand.kickoff()
    assert isinstance(result, Unverified), result.reason
    # the first approval was void before it was used, and the second one was of bytes that are not there any more
    first, second = stand.person.packets("migrations")
    assert first.bound["commit"] != second.bound["commit"]
    assert result.summary["migrations"]["status"] == "refused"
    assert "changed after they were approved" in result.summary["migrations"]["reason"]
    assert stand.revision == "0001"
    assert rows(stand.database) == [(1, "note 0"), (2, "note 1"), (3, "note 2")]


def _slip_in(stand: driving.Stand) -> None:
    """A commit after the packet was shown, recorded as if it belonged to the run."""
    with stand.journal() as journal:
        clone = git.open_clone(stand.folder, journal.run(stand.run).base)
        migration = stand.tree / scenario.MIGRATION
        migration.write_text(migration.read_text() + "\n# one byte more\n")
        commit = git.commit(clone, "slipped in")
        journal.record(stand.run, "slipped.partial", PARTIAL, {}, commit)
