"""What may be written: nothing before the approval, then the approved plan, layer by layer, asked at each use."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import scenario
from records import make_journal, open_gate, ruling, scope

from backend_crew.crew import permissions, roles, stages
from backend_crew.crew.artifacts import Design
from backend_crew.crew.journal import GateRow, Journal
from backend_crew.crew.permissions import Permissions
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.workspace import Workspace

SPEC = roles.load()
SERVICE, MODELS, TEST = "app/service.py", "app/models.py", "tests/test_archive.py"
OLD = "migrations/versions/0001_archived.py"
BEFORE = {SERVICE, MODELS, OLD}
"""What is there before a run begins."""


@dataclass
class Stand:
    """A journal with a designed run, and the permissions over it."""

    journal: Journal
    permissions: Permissions
    workspace: Workspace

    def design(self, **changed: Any) -> str:
        """Record a design, as an agent or a person who edits does; returns its digest."""
        return self.journal.record("r-1", "design", "Design", {**scenario.DESIGN, **changed, "facts": {}}, None).digest

    def show(self, digest: str) -> GateRow:
        """Open the design gate about a design."""
        return open_gate(self.journal, "design", bound={"design": digest})

    def approve(self) -> None:
        """Design, gate and approval."""
        self.journal.decide(ruling(self.show(self.design())))

    def refusal(self, path: str, task: str = "implement_business_logic") -> str:
        """Why a path may not be written in a task."""
        self.permissions.enter(SPEC.task(task))
        with pytest.raises(ToolRefused) as caught:
            self.workspace.write(path, "x", expected=None)
        assert not (self.workspace.root / path).exists()
        return str(caught.value)

    def check(self, path: str, act: str, task: str = "implement_business_logic") -> str:
        """'' when an act on a path is allowed in a task, else why not."""
        self.permissions.enter(SPEC.task(task))
        try:
            self.permissions.check_write(path, act)
        except ToolRefused as error:
            return str(error)
        return ""

    def write(self, path: str, task: str = "implement_business_logic") -> None:
        """Write a path in a task; it must be allowed."""
        self.permissions.enter(SPEC.task(task))
        self.workspace.write(path, "x", expected=None)
        assert (self.workspace.root / path).read_text() == "x"


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    journal = make_journal(tmp_path / "home", "r-1", "r-2")
    permitted = Permissions(
        journal, "r-1", SPEC, lambda path: path.startswith("migrations/versions/"), BEFORE.__contains__
    )
    (tmp_path / "tree").mkdir()
    with journal.lease("r-1"):
        yield Stand(journal, permitted, Workspace(tmp_path / "tree", permitted))
    journal.close()


# -- before and after the approval ---------------------------------------------------------------------------------


def test_nothing_is_written_before_there_is_a_design(stand: Stand) -> None:
    assert "before a person has approved the design" in stand.refusal(SERVICE)


def test_nothing_is_written_before_the_design_is_approved(stand: Stand) -> None:
    row = stand.show(stand.design())
    assert "before a person has approved the design" in stand.refusal(SERVICE)
    stand.journal.decide(ruling(row, "request-changes", reason="smaller", to_stage="design"))
    assert "before a person has approved the design" in stand.refusal(SERVICE)


def test_a_rejected_design_opens_nothing(stand: Stand) -> None:
    stand.journal.decide(ruling(stand.show(stand.design()), "reject", reason="no"))
    assert "before a person has approved" in stand.refusal(SERVICE)


def test_the_approved_plan_can_be_written(stand: Stand) -> None:
    """The control of every refusal in this file: the very same write goes through once it is approved."""
    assert stand.refusal(SERVICE)
    stand.approve()
    stand.write(SERVICE)


def test_a_design_that_changed_after_its_approval_is_not_approved(stand: Stand) -> None:
    stand.approve()
    stand.permissions.enter(SPEC.task("implement_business_logic"))
    files = [*copy.deepcopy(scenario.DESIGN["files"]), {"path": "app/backdoor.py", "action": "create", "layer": "business_logic", "purpose": "x"}]  # fmt: skip
    stand.design(files=files)
    assert "the design changed after it was approved" in stand.refusal("app/backdoor.py")
    assert "the design changed after it was approved" in stand.refusal(SERVICE)


def test_an_approval_of_an_earlier_round_does_not_cover_a_later_one(stand: Stand) -> None:
    stand.approve()
    stand.show(stand.design(overview="Another design."))
    assert "before a person has approved" in stand.refusal(SERVICE)


def test_an_approval_that_was_taken_out_of_force_is_gone_at_the_next_write(stand: Stand) -> None:
    stand.approve()
    stand.write(SERVICE)
    stand.journal.invalidate("r-1", ("design",))
    assert "before a person has approved" in stand.refusal("app/other.py")


def test_an_approval_of_another_run_is_none(stand: Stand, tmp_path: Path) -> None:
    stand.approve()
    other = Permissions(stand.journal, "r-2", SPEC, lambda _: False, lambda _: False)
    other.enter(SPEC.task("implement_business_logic"))
    with stand.journal.lease("r-2"), pytest.raises(ToolRefused, match="before a person has approved"):
        other.check_write(SERVICE)


# -- the plan and its layers ---------------------------------------------------------------------------------------


def test_a_path_outside_the_plan_is_refused_with_what_is_in_it(stand: Stand) -> None:
    stand.approve()
    said = stand.refusal("app/other.py")
    assert "not in the approved plan; use request_scope_change" in said
    assert SERVICE in said
    assert "not in the approved plan; keep to: " in stand.refusal("app/other.py", "test"), "it has no such tool"


def test_a_repair_may_ask_for_a_test_that_the_change_overtakes(stand: Stand) -> None:
    stand.approve()
    stand.permissions.enter(SPEC.task("repair"))
    stand.permissions.check_tool("request_scope_change")
    assert "use request_scope_change" in stand.refusal("tests/test_old.py", "repair")
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound=scope("tests/test_old.py", layer="repair"))))
    stand.write("tests/test_old.py", "repair")


@pytest.mark.parametrize(
    "path", ["app/service.py/x", "app/SERVICE.py", "app/service.pyc", "service.py", "app/service.py "]
)
def test_a_path_that_only_looks_planned_is_refused(stand: Stand, path: str) -> None:
    stand.approve()
    stand.permissions.enter(SPEC.task("implement_business_logic"))
    with pytest.raises(ToolRefused):
        stand.permissions.check_write(path)


@pytest.mark.parametrize(
    ("task", "path", "allowed"),
    [
        ("implement_data_access", MODELS, True),
        ("implement_data_access", SERVICE, False),
        ("implement_data_access", TEST, False),
        ("implement_business_logic", MODELS, True),
        ("implement_presentation", SERVICE, True),
        ("implement_presentation", TEST, False),
        ("test", TEST, True),
        ("test", SERVICE, False),
        ("repair", SERVICE, True),
        ("repair", TEST, True),
    ],
)
def test_a_task_writes_its_own_layer_and_those_before_it(stand: Stand, task: str, path: str, allowed: bool) -> None:
    stand.approve()
    if allowed:
        stand.write(path, task)
    else:
        assert f"which is not open to task {task!r}" in stand.refusal(path, task)


@pytest.mark.parametrize("task", ["analyse", "ask", "specify", "design", "review_migrations", "review_security"])
def test_tasks_that_only_read_write_nothing_even_after_the_approval(stand: Stand, task: str) -> None:
    stand.approve()
    assert stand.refusal(SERVICE, task)


def test_when_no_task_is_at_work_nothing_is_written(stand: Stand) -> None:
    stand.approve()
    stand.write(SERVICE)
    stand.permissions.leave()
    with pytest.raises(ToolRefused, match="files cannot be changed in no stage"):
        stand.permissions.check_write(SERVICE)
    with pytest.raises(ToolRefused, match="no task is being worked on"):
        stand.permissions.check_tool("submit")


# -- the star ------------------------------------------------------------------------------------------------------


def _design(*paths: str, layer: str = "data_access") -> Design:
    files = [{"path": path, "action": "create", "layer": layer, "purpose": "x"} for path in paths]
    return Design.model_validate({**scenario.DESIGN, "files": files})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("migrations/versions/0002_archived.py", True),
        ("migrations/versions/_archived.py", True),
        ("migrations/versions/deep/0002_archived.py", False),
        ("migrations/0002_archived.py", False),
        ("migrations/versions/0002_archived.py.bak", False),
        ("migrations/versions/0002_other.py", False),
        ("other/versions/0002_archived.py", False),
        ("Migrations/versions/0002_archived.py", False),
    ],
)
def test_a_star_stands_for_a_part_of_one_name_in_one_folder(path: str, found: bool) -> None:
    assert (permissions.planned(_design("migrations/versions/*_archived.py"), path) is not None) is found


def test_without_a_star_brackets_and_question_marks_are_letters() -> None:
    design = _design("app/[id]/route.ts", "app/what?.py")
    assert permissions.planned(design, "app/[id]/route.ts")
    assert permissions.planned(design, "app/i/route.ts") is None
    assert permissions.planned(design, "app/whats.py") is None


# -- migrations and granted files ----------------------------------------------------------------------------------


def test_migrations_can_be_written_in_the_implementation_only(stand: Stand) -> None:
    stand.approve()
    stand.write("migrations/versions/0002_archived.py", "implement_data_access")
    for task in ("test", "repair"):
        assert "after they were shown for approval" in stand.refusal("migrations/versions/0003_archived.py", task)


def test_a_granted_path_and_only_that_is_added_to_the_plan(stand: Stand) -> None:
    stand.approve()
    row = open_gate(stand.journal, "scope", bound=scope("app/extra.py"))
    assert "not in the approved plan" in stand.refusal("app/extra.py")
    stand.journal.decide(ruling(row))
    stand.write("app/extra.py")
    assert "not in the approved plan" in stand.refusal("app/extra2.py")


def test_a_declined_path_stays_out(stand: Stand) -> None:
    stand.approve()
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound=scope("app/x.py")), "reject", reason="no"))
    assert "not in the approved plan" in stand.refusal("app/x.py")
    assert permissions.granted(stand.journal, "r-1") == {}


def test_a_grant_needs_the_approved_design_and_leaves_migrations_closed(stand: Stand) -> None:
    path = "migrations/versions/0009_more.py"
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound=scope(path, layer="data_access"))))
    assert "before a person has approved the design" in stand.refusal(path)
    stand.approve()
    assert "after they were shown" in stand.refusal(path, "test")


# -- what may be done to a file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "path", "write", "delete"),
    [
        ("modify", SERVICE, "", "the plan changes this file and does not delete it"),
        ("delete", SERVICE, "the plan deletes this file and does not change it", ""),
        ("create", SERVICE, "this file was there before", "this file was there before"),
        ("create", "app/new.py", "", ""),  # what the run itself brought into being it may take back
    ],
)
def test_a_file_is_treated_as_the_plan_says(stand: Stand, action: str, path: str, write: str, delete: str) -> None:
    files = [{"path": path, "action": action, "layer": "business_logic", "purpose": "x"}]
    stand.journal.decide(ruling(stand.show(stand.design(files=files))))
    for act, why in (("write", write), ("delete", delete)):
        said = stand.check(path, act)
        assert (why in said) if why else said == ""


def test_a_star_creates_and_opens_no_migration_that_was_there(stand: Stand) -> None:
    stand.approve()
    for act in ("write", "delete"):
        said = stand.check(OLD, act, "implement_data_access")
        assert f"{OLD}: the plan creates migrations/versions/*_archived.py, and this file was there before" in said
        assert stand.check("migrations/versions/0002_archived.py", act, "implement_data_access") == ""
    assert permissions.planned(Design.recorded(scenario.DESIGN), OLD)  # the weak control: the name alone


def test_a_file_that_is_planned_by_its_name_is_not_taken_for_one_with_a_star(stand: Stand) -> None:
    files = [*scenario.DESIGN["files"], {"path": OLD, "action": "modify", "layer": "data_access", "purpose": "x"}]
    stand.journal.decide(ruling(stand.show(stand.design(files=files))))
    assert stand.check(OLD, "write", "implement_data_access") == ""
    assert "does not delete it" in stand.check(OLD, "delete", "implement_data_access")


@pytest.mark.parametrize("asked", ["write", "delete"])
def test_a_grant_covers_what_was_asked_in_the_layer_that_asked(stand: Stand, asked: str) -> None:
    stand.approve()
    other = "delete" if asked == "write" else "write"
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound=scope("app/extra.py", asked))))
    assert stand.check("app/extra.py", asked) == ""
    assert "not in the approved plan" in stand.check("app/extra.py", other)
    assert "not in the approved plan" in stand.check("app/extra.py", asked, "implement_data_access")
    assert "not in the approved plan" in stand.check("app/extra.py", asked, "test")
    assert stand.check("app/extra.py", asked, "implement_presentation") == ""


def test_a_grant_of_a_planned_file_adds_to_what_the_plan_allows(stand: Stand) -> None:
    stand.approve()
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound=scope(SERVICE, "delete"))))
    assert stand.check(SERVICE, "write") == stand.check(SERVICE, "delete") == ""
    assert "does not delete it" in stand.check(MODELS, "delete")


def test_a_grant_whose_record_says_neither_layer_nor_act_grants_nothing(stand: Stand) -> None:
    stand.approve()
    stand.journal.decide(ruling(open_gate(stand.journal, "scope", bound={"path": "app/extra.py"})))
    assert "not in the approved plan" in stand.check("app/extra.py", "write")


# -- tools ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [task for task in SPEC.tasks if task.artifact], ids=lambda task: task.name)
def test_a_task_uses_what_its_role_and_its_stage_both_allow(stand: Stand, task: roles.TaskSpec) -> None:
    stand.permissions.enter(task)
    stand.permissions.check_tool("submit")
    offered = task.tools or SPEC.roles[task.agent].tools
    for name in [*stages.ALL_TOOLS, "FileReadTool", "bash", ""]:
        if name in offered:
            stand.permissions.check_tool(name)
        else:
            with pytest.raises(ToolRefused, match="is not allowed in stage"):
                stand.permissions.check_tool(name)


def test_a_stage_stands_above_what_a_spec_says(stand: Stand) -> None:
    """Even a spec that never went through `load` cannot lend a stage another one's tools."""
    task = SPEC.task("analyse")
    stand.permissions.enter(roles.TaskSpec(**{**vars(task), "tools": ("write_file", "search")}))
    stand.permissions.check_tool("search")
    with pytest.raises(ToolRefused):
        stand.permissions.check_tool("write_file")


def test_a_later_refusal_takes_a_granted_path_back(stand: Stand) -> None:
    for text, verdict, reason in (("first", "approve", ""), ("second", "reject", "no longer")):
        row = open_gate(stand.journal, "scope", text, bound=scope("app/other.py"))
        stand.journal.decide(ruling(row, verdict, reason=reason))
        granted = permissions.granted(stand.journal, "r-1")
        assert granted == ({"app/other.py": ("business_logic", "write")} if verdict == "approve" else {})
