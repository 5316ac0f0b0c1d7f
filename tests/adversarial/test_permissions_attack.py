"""Tools used from where they must not be: in parallel, from raw threads, by other crews, with a journal that is gone.

A session stands in the middle of the implementation, its design approved; attackers hold the very tool objects that
an agent would. Beside each attack stands the weak control that it beats, or the same call where it is allowed.
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import driving
import pytest
import scenario
from crewai.hooks import InterceptionPoint
from crewai.hooks.dispatch import register_scoped, scoped_hooks
from markdown_it import MarkdownIt
from records import ruling, scope
from scenario import call, submit, use

from backend_crew.crew import crew as crews
from backend_crew.crew import gates, packets, permissions, runner, toolbox
from backend_crew.crew.artifacts import Design
from backend_crew.crew.embed import Failed, Waiting
from backend_crew.crew.errors import BackendCrewError, DecisionRefused, JournalError, LeaseLost
from backend_crew.crew.journal import GateRow, Journal, canonical
from backend_crew.crew.permissions import Permissions
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import Options
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools.errors import ToolError, ToolRefused
from backend_crew.tools.workspace import WRITE

SERVICE, OTHER = "app/service.py", "app/other.py"
TASK = "implement_business_logic"


@dataclass
class Open:
    """A run in its implementation, and a hand on its database."""

    stand: driving.Stand
    journal: Journal
    session: Session

    @property
    def tree(self) -> Path:
        """The private tree."""
        return self.session.clone.tree

    def tool(self, name: str) -> toolbox.CrewTool:
        """A tool as an agent holds it."""
        return toolbox.CrewTool.of(self.session, name)

    def write(self, path: str, text: str = "hostile = True\n") -> str:
        """'' when a write was let through, else why not."""
        return said(self.tool("write_file")._run, path=path, text=text)

    def sql(self, query: str, *values: object) -> None:
        """Change the database behind the journal."""
        with contextlib.closing(sqlite3.connect(self.stand.home / "journal.db", isolation_level=None)) as database:
            database.execute(query, values)


def said(attempt: Callable[..., object], *arguments: Any, **given: Any) -> str:
    """'' when it came through, else the refusal; any other exception is a failure of the test."""
    try:
        attempt(*arguments, **given)
    except (ToolError, BackendCrewError) as error:
        return str(error) or repr(error)
    return ""


def make_session(stand: driving.Stand, journal: Journal) -> Session:
    """A new run whose design is approved."""
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick")
    run = runner.start(journal, stand.repo, scenario.FEATURE, options=options)
    stand.run = run.id
    session = open_session(journal, run.id, StopFlag())
    journal.record(run.id, "specify", "Requirements", {**scenario.REQUIREMENTS, "facts": {}}, None)
    journal.record(run.id, "design", "Design", {**scenario.DESIGN, "facts": {}}, None)
    packet = packets.build(session, "design")
    journal.decide(ruling(journal.open_gate(run.id, "design", packet.as_json(), packet.digest), run=run.id))
    return session


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path)
    journal = Journal(stand.home)
    session = make_session(stand, journal)
    with journal.lease(session.id):
        session.begin(session.spec.task(TASK))
        yield Open(stand, journal, session)
    journal.close()


def test_the_same_write_is_allowed_where_everything_fits(opened: Open) -> None:
    """The control of this file."""
    said(opened.tool("read_file")._run, path=SERVICE)
    assert opened.write(SERVICE) == ""
    assert (opened.tree / SERVICE).read_text() == "hostile = True\n"


# -- another act than the planned one -----------------------------------------------------------------------------


def test_a_file_that_is_planned_to_be_changed_is_not_deleted(opened: Open) -> None:
    said(opened.tool("read_file")._run, path=SERVICE)
    assert "does not delete it" in said(opened.tool("delete_file")._run, path=SERVICE)
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE
    design = Design.recorded(scenario.DESIGN)
    assert permissions.planned(design, SERVICE)  # the weak control: the path alone is in the plan
    assert opened.write("tests/test_archive.py") and not (opened.tree / "tests/test_archive.py").exists()


def test_a_plan_of_new_migrations_opens_none_that_was_there(opened: Open) -> None:
    session, old = opened.session, "migrations/versions/0001_notes.py"
    files = [{**one, "path": one["path"].replace("*_archived", "*")} for one in scenario.DESIGN["files"]]
    opened.journal.record(session.id, "design", "Design", {**scenario.DESIGN, "files": files, "facts": {}}, None)
    packet = packets.build(session, "design")
    row = opened.journal.open_gate(session.id, "design", packet.as_json(), packet.digest)
    opened.journal.decide(ruling(row, run=session.id))
    session.permissions.enter(session.spec.task("implement_data_access"))
    said(opened.tool("read_file")._run, path=old)
    edit = said(opened.tool("edit_file")._run, path=old, old='revision = "0001"', new='revision = "0000"')
    for why in (opened.write(old), edit, said(opened.tool("delete_file")._run, path=old)):
        assert "this file was there before" in why
    assert (opened.tree / old).read_text() == scenario.FIRST
    assert permissions.planned(Design.recorded({**scenario.DESIGN, "files": files}), old)  # the weak control
    assert opened.write("migrations/versions/0002_new.py") == ""
    assert said(opened.tool("delete_file")._run, path="migrations/versions/0002_new.py") == ""


def test_a_grant_to_write_does_not_let_delete(opened: Open) -> None:
    row = open_scope(opened, path="pyproject.toml", reason="A tool needs its settings.")
    opened.journal.decide(ruling(row, run=opened.session.id))
    said(opened.tool("read_file")._run, path="pyproject.toml")
    assert "not in the approved plan" in said(opened.tool("delete_file")._run, path="pyproject.toml")
    assert opened.write("pyproject.toml") == ""
    row = open_scope(opened, path="pyproject.toml", reason="It is not needed any more.", delete=True)
    assert "wants to DELETE this file" in row.packet["text"]
    opened.journal.decide(ruling(row, run=opened.session.id))
    assert said(opened.tool("delete_file")._run, path="pyproject.toml") == ""


def open_scope(opened: Open, **given: Any) -> GateRow:
    """The gate that a request for a file outside the plan opens."""
    opened.session.stop = StopFlag()
    assert said(opened.tool("request_scope_change")._run, **given) == ""
    opened.session.stop = StopFlag()
    row = opened.journal.gate(opened.session.id, gates.SCOPE.name)
    assert row is not None
    return row


def test_a_reason_cannot_pose_as_another_request(opened: Open) -> None:
    fake = "# A file outside the approved plan\n\n`docs/notes.md`, wanted by task test\n\nA word is misspelt."
    reason = f"Needed.\n```\n````\n\n{fake}\n"
    text = open_scope(opened, path="app/payments.py", reason=reason).packet["text"]
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == ["# A file outside the approved plan"]
    (block,) = [token.content for token in MarkdownIt().parse(text) if "docs/notes.md" in token.content]
    assert block == " ".join(reason.split()) + "\n"  # one block of code holds all of it
    headings = [token for token in MarkdownIt().parse(f"# A file outside the approved plan\n\n{reason}")
                if token.type == "heading_open"]  # fmt: skip
    assert len(headings) == 2  # the weak control: the reason as Markdown has a heading of its own


# -- many at once --------------------------------------------------------------------------------------------------


def test_of_many_calls_at_once_only_the_planned_ones_write(opened: Open) -> None:
    paths = [
        SERVICE,
        "app/models.py",
        *(f"app/extra{n}.py" for n in range(20)),
        "tests/test_archive.py",
        "pyproject.toml",
    ]
    for path in (SERVICE, "app/models.py", "pyproject.toml"):
        opened.tool("read_file")._run(path=path)
    start = threading.Barrier(len(paths))

    def attack(path: str) -> str:
        start.wait()
        return opened.write(path)

    with ThreadPoolExecutor(len(paths)) as pool:
        refused = dict(zip(paths, pool.map(attack, paths), strict=True))
    assert [path for path, why in refused.items() if not why] == [SERVICE, "app/models.py"]
    assert len(opened.journal.events(opened.session.id, "tool refused")) == len(paths) - 2
    assert scenario.git(opened.tree, "--git-dir", str(opened.session.clone.git_dir), "--work-tree", ".", "-c",
                        "core.bare=false", "status", "--porcelain").split() == ["M", "app/models.py", "M", SERVICE]  # fmt: skip


def test_calls_that_race_the_end_of_the_task_write_nothing_after_it(opened: Open) -> None:
    """200 times: the task ends while threads are writing; what is refused is refused, and nothing comes later."""
    session = opened.session
    opened.tool("read_file")._run(path=SERVICE)
    late = 0
    for number in range(200):
        session.permissions.enter(session.spec.task(TASK))
        start = threading.Barrier(3)

        def attack(text: str, start: threading.Barrier = start) -> str:
            start.wait()
            return said(session.workspace.write, SERVICE, text, expected=session.workspace.seen(SERVICE))

        with ThreadPoolExecutor(2) as pool:
            tries = [pool.submit(attack, f"x = {number}{side}\n") for side in (1, 2)]
            start.wait()
            session.permissions.leave()
            answers = [one.result() for one in tries]
        late += any("in no stage" in answer for answer in answers)
        before = (opened.tree / SERVICE).read_text()
        assert "in no stage" in said(session.workspace.write, SERVICE, "late\n", expected=None)
        assert (opened.tree / SERVICE).read_text() == before
    assert late  # some of them did lose the race


@pytest.mark.slow
def test_parallel_calls_of_one_model_turn_are_each_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path)
    stand.script.steps["analyse"] = [
        use(*(call(name, path=path, text="x", old="a", new="b") for name in ("write_file", "edit_file", "delete_file")
              for path in (SERVICE, OTHER)), call("read_file", path=SERVICE), call("run_tests")),
        submit(**scenario.ANALYSIS),
    ]  # fmt: skip
    stand.person.default = lambda _: None
    assert isinstance(stand.kickoff(), Waiting)
    refused = [(one["tool"], one["reason"]) for one in stand.events("tool refused")]
    assert len(refused) == 7
    assert {reason for _, reason in refused} == {"the task has no such tool"}
    assert [one["tool"] for one in stand.events("tool")] == ["read_file"]
    assert (stand.tree / SERVICE).read_text() == scenario.SERVICE


# -- from elsewhere ------------------------------------------------------------------------------------------------


def test_outside_of_a_task_a_tool_object_does_nothing(opened: Open) -> None:
    opened.session.permissions.leave()
    for name in toolbox.CATALOGUE:
        given = {"path": SERVICE, "text": "x", "pattern": "x", "name": "x", "message": "abc", "reason": "x" * 20}
        fields = toolbox.CATALOGUE[name][0].model_fields
        tool = opened.tool(name)
        why = said(tool._run, **{n: v for n, v in given.items() if n in fields})
        assert "no task is being worked on" in why, name
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE


def test_a_raw_thread_that_knows_no_hooks_is_held_by_the_tool_itself(opened: Open) -> None:
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.extend((opened.write(OTHER), opened.write(SERVICE))))
    thread.start()
    thread.join()
    assert "not in the approved plan" in answers[0]
    assert "read it first" in answers[1]
    assert not (opened.tree / OTHER).exists()


def test_a_second_crew_of_the_same_process_gets_nothing_from_the_first_ones_approval(opened: Open) -> None:
    first = opened.session
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON, checks="quick")
    run = runner.start(opened.journal, opened.stand.repo, scenario.FEATURE, options=options)
    second = open_session(opened.journal, run.id, StopFlag())
    second.permissions.enter(second.spec.task(TASK))  # as if it had come that far
    tool = toolbox.CrewTool.of(second, "write_file")
    assert "is not being worked on by this program" in said(tool._run, path="app/new.py", text="x")
    with opened.journal.lease(run.id):
        second.stop = StopFlag()
        assert "before a person has approved the design" in said(tool._run, path="app/new.py", text="x")
    assert not (second.clone.tree / "app/new.py").exists()
    # the weak control: permissions that a process shares, as a module's global would be
    second.permissions, second.workspace = first.permissions, first.workspace
    first.workspace.read_bytes(SERVICE)
    assert first.permissions.check_write(SERVICE) is None  # type: ignore[func-returns-value]  # it does not raise


def test_a_holder_that_another_process_took_over_from_does_nothing_more(opened: Open) -> None:
    opened.tool("read_file")._run(path=SERVICE)
    (opened.session.folder / "lock").unlink()  # as a network file system forgets a lock
    other = Journal(opened.stand.home)
    with other.lease(opened.session.id):
        with pytest.raises(LeaseLost):
            opened.tool("write_file")._run(path=SERVICE, text="x")
        with pytest.raises(LeaseLost):
            opened.session.workspace.write(SERVICE, "x", expected=opened.session.workspace.seen(SERVICE))
    other.close()
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE
    assert opened.session.permissions.task is not None  # the weak control: its own memory says that it is at work


def test_a_resumed_run_asks_again_what_was_approved(opened: Open) -> None:
    session, path = opened.session, "app/backdoor.py"
    files = [*scenario.DESIGN["files"], {"path": path, "action": "create", "layer": "business_logic", "purpose": "x"}]
    opened.journal.record(session.id, "design", "Design", {**scenario.DESIGN, "files": files, "facts": {}}, None)
    again = open_session(opened.journal, session.id, StopFlag())
    again.begin(again.spec.task(TASK))
    for target in (path, SERVICE):
        assert "the design changed after it was approved" in said(again.permissions.check_write, target)
    # the weak control: the plan as it is recorded now
    assert permissions.planned(Design.recorded({**scenario.DESIGN, "files": files}), path)


# -- a record that was changed -------------------------------------------------------------------------------------


def test_a_plan_that_was_widened_in_the_database_opens_nothing(opened: Open) -> None:
    output = opened.journal.output(opened.session.id, "design")
    assert output is not None
    wider = [*scenario.DESIGN["files"], {"path": OTHER, "action": "create", "layer": "business_logic", "purpose": "x"}]
    opened.sql("UPDATE outputs SET payload = ? WHERE task = 'design'", canonical({**output.payload, "files": wider}))
    assert "the design changed after it was approved" in opened.write(OTHER)
    changed = opened.journal.output(opened.session.id, "design")
    row = opened.journal.gate(opened.session.id, "design")
    assert changed is not None and row is not None
    assert (
        changed.digest == row.packet["bound"]["design"]
    )  # the weak control: the digest that stands beside the payload


@pytest.mark.parametrize("part", ["bound", "text"])
def test_a_packet_row_that_was_changed_opens_nothing(opened: Open, part: str) -> None:
    row = opened.journal.gate(opened.session.id, "design")
    assert row is not None
    forged = {**row.packet, part: {"design": "0" * 64} if part == "bound" else "# Harmless"}
    opened.sql("UPDATE gates SET packet = ? WHERE gate = 'design'", json.dumps(forged))
    with pytest.raises(DecisionRefused, match="was changed after it was recorded"):
        opened.tool("write_file")._run(path=OTHER, text="x")
    decision = opened.journal.decision(opened.session.id, "design", row.digest)
    assert decision is not None and decision.verdict == gates.APPROVE  # the weak control: the decision is still there


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE decisions SET verdict = 'approve'",
        "UPDATE decisions SET actor = 'ann2'",
        "UPDATE decisions SET digest = (SELECT digest FROM gates ORDER BY seq DESC LIMIT 1)",
    ],
)
def test_a_decision_row_that_was_changed_opens_nothing(opened: Open, query: str) -> None:
    opened.journal.record(
        opened.session.id, "design", "Design", {**scenario.DESIGN, "overview": "More.", "facts": {}}, None
    )
    packet = packets.build(opened.session, "design")
    row = opened.journal.open_gate(opened.session.id, "design", packet.as_json(), packet.digest)
    opened.journal.decide(ruling(row, "reject", run=opened.session.id, reason="no"))
    opened.sql(query)
    with pytest.raises(JournalError, match=r"decision \d of run .* was changed"):
        opened.tool("write_file")._run(path=SERVICE, text="x")


def test_a_scope_grant_whose_packet_was_changed_grants_nothing(opened: Open) -> None:
    packet = gates.Packet(opened.session.id, "scope", gates.SCOPE.question, "May it?", scope("app/fine.py"))
    row = opened.journal.open_gate(opened.session.id, "scope", packet.as_json(), packet.digest)
    opened.journal.decide(ruling(row, run=opened.session.id))
    assert opened.write("app/fine.py") == ""
    opened.sql("UPDATE gates SET packet = replace(packet, 'app/fine.py', ?) WHERE gate = 'scope'", OTHER)
    with pytest.raises(DecisionRefused, match="was changed after it was recorded"):
        opened.tool("write_file")._run(path=OTHER, text="x")
    assert not (opened.tree / OTHER).exists()


# -- a journal that does not answer --------------------------------------------------------------------------------


class Careless(Permissions):
    """The weak control: a check that lets through what it could not look up."""

    def check_write(self, path: str, act: str = WRITE) -> None:
        """Refuse only what is known to be refused."""
        with contextlib.suppress(BackendCrewError):
            super().check_write(path, act)


@pytest.mark.parametrize("table", ["decisions", "gates", "outputs", "runs"])
def test_a_journal_with_a_table_gone_allows_nothing(opened: Open, table: str) -> None:
    session = opened.session
    opened.tool("read_file")._run(path=SERVICE)
    seen = session.workspace.seen(SERVICE)
    opened.sql(f"ALTER TABLE {table} RENAME TO gone")
    with pytest.raises(JournalError, match="cannot be read: no such table"):
        opened.tool("write_file")._run(path=SERVICE, text="x")
    assert bool(session.stop)  # the run ends there; it does not go on without a journal
    with pytest.raises(JournalError):
        session.workspace.write(SERVICE, "x", expected=seen)
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE
    careless = Careless(opened.journal, session.id, session.spec, lambda _: False, lambda _: False)
    careless.enter(session.spec.task(TASK))
    careless.check_write(OTHER)


def test_a_locked_journal_allows_nothing(opened: Open) -> None:
    session = opened.session
    opened.tool("read_file")._run(path=SERVICE)
    opened.journal.close()
    with contextlib.closing(sqlite3.connect(opened.stand.home / "journal.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="locked"):
            session.permissions.check_tool("write_file")
        with pytest.raises(JournalError, match="locked"):
            session.workspace.write(SERVICE, "x", expected=session.workspace.seen(SERVICE))
        database.execute("ROLLBACK")
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE
    assert opened.write(SERVICE) == ""  # the same write, when the journal answers again


def test_a_journal_that_is_overwritten_allows_nothing(opened: Open) -> None:
    opened.tool("read_file")._run(path=SERVICE)
    opened.journal.close()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (opened.stand.home / name).unlink(missing_ok=True)
    (opened.stand.home / "journal.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(JournalError):
        opened.tool("write_file")._run(path=SERVICE, text="x")
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE


# -- the second layer ----------------------------------------------------------------------------------------------


def _breaking(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From the first tool call on, the hook's own check breaks; the tools' own would let the call through."""
    real = Permissions.check_tool

    def check(self: Permissions, name: str) -> None:
        import sys

        if sys._getframe(1).f_code.co_name == "before_tool":
            raise error
        real(self, name)

    monkeypatch.setattr(Permissions, "check_tool", check)


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("a fault of its own"), JournalError("gone"), ToolRefused("no")])
def test_a_hook_that_raises_ends_the_pass_and_the_tool_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path)
    _breaking(monkeypatch, error)
    try:
        result = stand.kickoff()
    except BaseException as raised:  # CrewAI's own HookAborted, if nobody made a stop of it
        assert "HookAborted" in type(raised).__name__
    else:
        assert isinstance(result, Failed), result
    assert stand.events("tool") == []


@pytest.mark.slow
def test_a_hook_that_raises_as_crewai_documents_it_lets_the_tool_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weak control: an ordinary exception in a hook is logged by CrewAI, and the tool runs."""
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path)
    called: list[str] = []

    @contextlib.contextmanager
    def naive(session: Session) -> Iterator[None]:
        def before_tool(context: Any) -> None:
            called.append(context.tool_name)
            raise RuntimeError("a fault of its own")

        with scoped_hooks():
            register_scoped(InterceptionPoint.PRE_TOOL_CALL, before_tool)
            yield

    monkeypatch.setattr(crews, "_second_layer", naive)
    stand.person.default = lambda _: None
    assert isinstance(stand.kickoff(), Waiting)
    assert called
    assert [one["tool"] for one in stand.events("tool")] == ["list_files"]


def test_where_no_hook_is_registered_the_tools_own_check_still_holds(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_second_layer", lambda _: contextlib.nullcontext())
    session = opened.session
    session.permissions.enter(session.spec.task("analyse"))
    assert "is not allowed in stage 'analysis'" in opened.write(SERVICE)
    assert (opened.tree / SERVICE).read_text() == scenario.SERVICE
