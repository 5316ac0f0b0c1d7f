"""What the run's stage, plan and decisions allow, checked at the moment of use."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backend_crew.crew import gates, stages
from backend_crew.crew.artifacts import Design, PlannedFile
from backend_crew.crew.journal import Journal, canonical, sha256
from backend_crew.crew.roles import LIBRARY_TOOLS, CrewSpec, TaskSpec
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.workspace import DELETE, WRITE


@dataclass(frozen=True)
class Approval:
    """A design together with the decision that covers exactly it."""

    design: Design
    decision: str
    """Hash of the decision in the chain."""


def approved_design(journal: Journal, run: str, spec: CrewSpec) -> Approval:
    """The design that a person approved and that has not changed since; raises ToolRefused."""
    output = journal.output(run, spec.producing("Design").name)
    row = journal.gate(run, "design")
    if output is None or row is None:
        raise ToolRefused("no file can be written before a person has approved the design")
    packet = gates.packet_of(row)
    decision = journal.decision(run, "design", row.digest)
    if decision is None or decision.verdict != gates.APPROVE:
        raise ToolRefused("no file can be written before a person has approved the design")
    # made anew: a payload that was changed in the database would keep its old digest beside it
    if packet.bound.get("design") != sha256(canonical(output.payload)):
        raise ToolRefused("the design changed after it was approved; it has to be approved again")
    return Approval(Design.recorded(output.payload), decision.hash)


def granted(journal: Journal, run: str) -> Mapping[str, tuple[str, str]]:
    """What a person allowed outside the plan: path by path, in which layer, and whether to WRITE or to DELETE it."""
    newest: dict[str, tuple[str, str] | None] = {}
    for row in journal.gates(run, gates.SCOPE.name):
        if decision := journal.decision(run, gates.SCOPE.name, row.digest):
            bound = gates.packet_of(row).bound
            shown = (str(bound.get("layer", "")), str(bound.get("act", "")))
            newest[str(bound["path"])] = shown if decision.verdict == gates.APPROVE else None
    return {path: grant for path, grant in newest.items() if grant}


def planned(design: Design, path: str) -> PlannedFile | None:
    """The plan's entry for a path; a * in a planned name stands for a generated id within one folder."""
    exact = next((file for file in design.files if file.path == path), None)
    stars = (file for file in design.files if "*" in file.path and re.fullmatch(_pattern(file.path), path))
    return exact or next(stars, None)


def _pattern(planned_path: str) -> str:
    """Only * is special, and it stays within one folder."""
    return "[^/]*".join(re.escape(part) for part in planned_path.split("*"))


#: What a task does about a file that a later task makes.
NOT_YET = (
    "Layers are built in the order data access, business logic, presentation, cross-cutting, and code may only import what "
    "exists by then: leave that file to its own task, import nothing from it here, and define what this layer needs of it "
    "in a planned file of this layer"
)


def layers_open_to(task: TaskSpec) -> frozenset[str]:
    """The planned layers whose files a task may change: its own and those before it."""
    if task.layer == stages.REPAIR:
        return frozenset({*stages.LAYERS, stages.TESTS, stages.REPAIR})
    if task.stage == "testing":
        return frozenset({stages.TESTS})
    if task.layer in stages.LAYERS:
        return frozenset(stages.LAYERS[: stages.LAYERS.index(task.layer) + 1])
    return frozenset()


def _later(entry: PlannedFile, task: TaskSpec) -> str:
    """What to do about a file of a layer that is built after the task's."""
    return f". {NOT_YET}" if task.layer in stages.LAYERS and entry.layer in stages.LAYERS else ""


def layer_of(task: TaskSpec) -> str:
    """The layer that a task's own files belong to; "" for a task that writes none."""
    return task.layer or (stages.TESTS if task.stage == "testing" else "")


class Permissions:
    """The write scope of the workspace and the tool check of every tool; it asks the journal each time.

    What the journal cannot answer is not allowed: its errors go through, and nothing is done.
    """

    def __init__(
        self,
        journal: Journal,
        run: str,
        spec: CrewSpec,
        is_migration: Callable[[str], bool],
        existed: Callable[[str], bool],
    ) -> None:
        """`existed` tells whether a path was there before the run: what was, a plan that creates does not open."""
        self._journal, self._run, self._spec = journal, run, spec
        self.is_migration, self._existed = is_migration, existed
        self._lock = threading.Lock()
        self._task: TaskSpec | None = None

    @property
    def task(self) -> TaskSpec | None:
        """The task that is being worked on."""
        return self._task

    def enter(self, task: TaskSpec) -> None:
        """Work on a task starts; only one at a time."""
        with self._lock:
            self._task = task

    def leave(self) -> None:
        """Work on the task ended: from here on nothing is allowed."""
        with self._lock:
            self._task = None

    def check_tool(self, name: str) -> None:
        """Whether the task at hand may use a tool; raises ToolRefused."""
        task = self._task
        if task is None:
            raise ToolRefused(f"{name} cannot be used: no task is being worked on")
        self._journal.check_held(self._run)
        if name == "submit":
            return
        if name not in self._offered(task) or not (name in stages.BY_NAME[task.stage].tools or name in LIBRARY_TOOLS):
            raise ToolRefused(f"{name} is not allowed in stage {task.stage!r}")

    def _offered(self, task: TaskSpec) -> Sequence[str]:
        return task.tools or self._spec.roles[task.agent].tools

    def check_write(self, path: str, act: str = WRITE) -> None:
        """Whether the task at hand may WRITE or DELETE a path; raises ToolRefused, and nothing is done then."""
        task = self._task
        if task is None or not stages.BY_NAME[task.stage].writes:
            where = f"stage {task.stage!r}" if task else "no stage"
            raise ToolRefused(f"{path}: files cannot be changed in {where}")
        self._journal.check_held(self._run)
        approval = approved_design(self._journal, self._run, self._spec)
        if self.is_migration(path) and task.stage != "implementation":
            raise ToolRefused(f"{path}: migrations cannot be changed after they were shown for approval")
        layer, allowed = granted(self._journal, self._run).get(path, ("", ""))
        if allowed == act and layer in layers_open_to(task):
            return
        if problem := self._unplanned(approval.design, path, act, task):
            raise ToolRefused(f"{path}: {problem}")

    def _unplanned(self, design: Design, path: str, act: str, task: TaskSpec) -> str:
        """Why the plan does not let a task do this to a path; empty when it does."""
        entry = planned(design, path)
        if entry is None:
            ask = "use request_scope_change with a reason, or " if "request_scope_change" in self._offered(task) else ""
            return f"not in the approved plan; {ask}keep to: {', '.join(file.path for file in design.files)}"
        if entry.layer not in layers_open_to(task):
            return (
                f"planned for the layer {entry.layer!r}, which is not open to task {task.name!r}{_later(entry, task)}"
            )
        if entry.action == "create" and self._existed(path):
            return f"the plan creates {entry.path}, and this file was there before: it cannot be changed or deleted"
        # what the run itself brought into being it may also take back
        if act == DELETE and entry.action == "modify":
            return "the plan changes this file and does not delete it"
        if act == WRITE and entry.action == "delete":
            return "the plan deletes this file and does not change it"
        return ""
