"""What the run's stage, plan and decisions allow, checked at the moment of use."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from backend_crew.crew import gates, stages
from backend_crew.crew.artifacts import Design, PlannedFile
from backend_crew.crew.journal import Journal, canonical, sha256
from backend_crew.crew.roles import LIBRARY_TOOLS, CrewSpec, TaskSpec
from backend_crew.tools.errors import ToolRefused


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


def granted_paths(journal: Journal, run: str) -> tuple[str, ...]:
    """Paths outside the plan that a person allowed, one by one."""
    newest: dict[str, str] = {}
    for row in journal.gates(run, gates.SCOPE.name):
        decision = journal.decision(run, gates.SCOPE.name, row.digest)
        if decision:
            newest[str(gates.packet_of(row).bound["path"])] = decision.verdict
    return tuple(path for path, verdict in newest.items() if verdict == gates.APPROVE)


def planned(design: Design, path: str) -> PlannedFile | None:
    """The plan's entry for a path; a * in a planned name stands for a generated id within one folder."""
    for file in design.files:
        if file.path == path or ("*" in file.path and re.fullmatch(_pattern(file.path), path)):
            return file
    return None


def _pattern(planned_path: str) -> str:
    """Only * is special, and it stays within one folder."""
    return "[^/]*".join(re.escape(part) for part in planned_path.split("*"))


def layers_open_to(task: TaskSpec) -> frozenset[str]:
    """The planned layers whose files a task may change: its own and those before it."""
    if task.layer == stages.REPAIR:
        return frozenset({*stages.LAYERS, stages.TESTS})
    if task.stage == "testing":
        return frozenset({stages.TESTS})
    if task.layer in stages.LAYERS:
        return frozenset(stages.LAYERS[: stages.LAYERS.index(task.layer) + 1])
    return frozenset()


class Permissions:
    """The write scope of the workspace and the tool check of every tool; it asks the journal each time.

    What the journal cannot answer is not allowed: its errors go through, and nothing is done.
    """

    def __init__(self, journal: Journal, run: str, spec: CrewSpec, is_migration: Callable[[str], bool]) -> None:
        self._journal, self._run, self._spec = journal, run, spec
        self.is_migration = is_migration
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
        offered = task.tools or self._spec.roles[task.agent].tools
        if name not in offered or not (name in stages.BY_NAME[task.stage].tools or name in LIBRARY_TOOLS):
            raise ToolRefused(f"{name} is not allowed in stage {task.stage!r}")

    def check_write(self, path: str) -> None:
        """Whether the task at hand may change a path; raises ToolRefused, and nothing is written then."""
        task = self._task
        if task is None or not stages.BY_NAME[task.stage].writes:
            where = f"stage {task.stage!r}" if task else "no stage"
            raise ToolRefused(f"{path}: files cannot be changed in {where}")
        self._journal.check_held(self._run)
        approval = approved_design(self._journal, self._run, self._spec)
        if self.is_migration(path) and task.stage != "implementation":
            raise ToolRefused(f"{path}: migrations cannot be changed after they were shown for approval")
        if path in granted_paths(self._journal, self._run):
            return
        entry = planned(approval.design, path)
        if entry is None:
            raise ToolRefused(
                f"{path}: not in the approved plan; use request_scope_change with a reason, or keep to: "
                + ", ".join(file.path for file in approval.design.files)
            )
        if entry.layer not in layers_open_to(task):
            raise ToolRefused(f"{path}: planned for the layer {entry.layer!r}, which is not open to task {task.name!r}")
