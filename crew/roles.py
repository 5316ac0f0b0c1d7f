"""Roles and tasks: CrewAI's own YAML keys, read strictly into frozen specs; every fault is named with file and line."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend_crew.crew import stages
from backend_crew.crew.artifacts import ARTIFACTS
from backend_crew.crew.errors import ConfigError
from backend_crew.crew.yamlfile import Fault, Lines, Report, closest, read_file, suggestion

#: crewai_tools classes that a role may name; they are built with the workspace as base_dir behind our deny list.
LIBRARY_TOOLS = frozenset({"FileReadTool"})
HUMAN = "human"
CODE = "code"

_AGENT_KEYS = {"role", "goal", "backstory", "llm", "tools"}
_TASK_KEYS = {"description", "expected_output", "agent", "context", "tools", "human_input", "output_pydantic"}
_OWN_TASK_KEYS = {"stage", "layer"}
#: Keys that CrewAI knows and that would weaken a gate, lose a run or spend without a cap.
_UNSUPPORTED = {
    "allow_delegation": "delegation would let one role use another role's tools",
    "max_iter": "loops are bounded by the run's own caps (--max-calls)",
    "max_retry_limit": "a retry would repeat work that is already recorded",
    "max_execution_time": "time is bounded by --max-minutes, which can be resumed",
    "memory": "a run's memory is its journal",
    "guardrail": "checks are code; see crew/checks.py",
    "guardrails": "checks are code; see crew/checks.py",
    "async_execution": "stages run one after another",
    "output_file": "results are published on the branch",
    "output_json": "use output_pydantic with one of our artifacts",
    "callback": "listen to the run's events instead",
    "planning": "the order of the stages is fixed",
    "reasoning": "not used",
    "verbose": "progress is shown by backend-crew itself",
    "cache": "a cached tool result would hide a change",
}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")
_INPUTS = {"feature"}


@dataclass(frozen=True)
class RoleSpec:
    """One role of agents.yaml."""

    name: str
    role: str
    goal: str
    backstory: str
    tools: tuple[str, ...] = ()
    llm: str | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One task of tasks.yaml, or a gate, or a step of trusted code."""

    name: str
    stage: str
    agent: str
    description: str = ""
    expected_output: str = ""
    artifact: str | None = None
    layer: str | None = None
    context: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    gate: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class CrewSpec:
    """A crew that passed every check."""

    roles: dict[str, RoleSpec]
    tasks: tuple[TaskSpec, ...]
    digest: str
    """SHA-256 over both files' bytes."""
    folder: str = ""

    def task(self, name: str) -> TaskSpec:
        """The task of that name."""
        return next(task for task in self.tasks if task.name == name)

    def first_of(self, stage: str) -> TaskSpec:
        """The first task of a stage that an agent does."""
        return next(task for task in self.tasks if task.stage == stage and task.artifact)

    def producing(self, artifact: str) -> TaskSpec:
        """The first task that hands in an artifact of that kind."""
        return next(task for task in self.tasks if task.artifact == artifact)

    def at_gate(self, gate: str) -> TaskSpec:
        """The human task of a gate."""
        return next(task for task in self.tasks if task.gate == gate)


def default_folder() -> Path:
    """The folder of the shipped roles and tasks."""
    from importlib.resources import files

    return Path(str(files("backend_crew.config").joinpath("agents.yaml"))).parent


def load(folder: str | Path | None = None) -> CrewSpec:
    """Read agents.yaml and tasks.yaml of a folder (None: the shipped ones); raises ConfigError that lists every fault."""
    spec, faults = inspect(Path(folder) if folder else default_folder())
    if spec is None:
        raise ConfigError("the crew's YAML is not valid:\n" + "\n".join(f"  {fault}" for fault in faults))
    return spec


def inspect(folder: Path) -> tuple[CrewSpec | None, tuple[Fault, ...]]:
    """The crew, or the list of everything that is wrong with it."""
    agents, tasks = Report("agents.yaml"), Report("tasks.yaml")
    raw_agents, raw_tasks = read_file(folder, agents), read_file(folder, tasks)
    if agents.faults or tasks.faults:
        return None, (*agents.faults, *tasks.faults)
    roles = {name: role for name, body in raw_agents.items() if (role := _role(name, body, raw_agents, agents))}
    specs = [task for name, body in raw_tasks.items() if (task := _task(name, body, raw_tasks, raw_agents, tasks))]
    if not agents.faults and not tasks.faults:
        specs = _with_gates(specs)
        _check_order(specs, raw_tasks, tasks)
        _check_tools(specs, roles, raw_tasks, tasks)
        _check_context(specs, raw_tasks, tasks)
    faults = (*agents.faults, *tasks.faults)
    if faults:
        return None, faults
    digest = hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in ("agents.yaml", "tasks.yaml")))
    return CrewSpec(roles, tuple(_with_code(specs)), digest.hexdigest(), str(folder)), ()


def _known_keys(name: str, body: Lines, allowed: set[str], report: Report) -> Lines:
    """The body as it was meant: under a misspelt key's right name, so that one slip is one fault."""
    meant = Lines()
    for key, value in body.items():
        right = key
        if key in _UNSUPPORTED and key not in allowed:
            report.add(body.at[key], f"{name}: {key!r} cannot be set here: {_UNSUPPORTED[key]}")
        elif key not in allowed:
            report.add(body.at[key], f"{name}: unknown key {key!r}{suggestion(key, allowed)}")
            right = closest(key, allowed - body.keys()) or key
        meant[right], meant.at[right] = value, body.at[key]
    return meant


def _text(name: str, body: Lines, key: str, line: int, report: Report) -> str:
    value = body.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        report.add(body.at.get(key, line), f"{name}: {key!r} is missing")
        return ""
    if not isinstance(value, str):
        report.add(body.at[key], f"{name}: {key!r} must be text, found {type(value).__name__}: {value!r}")
        return ""
    for placeholder in _PLACEHOLDER.findall(value):
        if placeholder not in _INPUTS:
            report.add(
                body.at[key],
                f"{name}: {{{placeholder}}} in {key!r} would be taken for an input of CrewAI; only {{feature}} exists. "
                f"For a path parameter write <{placeholder}> or :{placeholder}",
            )
    return value.strip()


def _names(name: str, body: Lines, key: str, report: Report) -> tuple[str, ...]:
    value = body.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        example = f"; write [{value}]" if isinstance(value, str) else ""
        report.add(body.at[key], f"{name}: {key!r} must be a list of names, found {value!r}{example}")
        return ()
    return tuple(value)


def _tool_names(name: str, body: Lines, report: Report) -> tuple[str, ...]:
    tools = _names(name, body, "tools", report)
    for tool in tools:
        if tool == "submit":
            report.add(body.at["tools"], f"{name}: 'submit' is added by itself; remove it")
        elif tool not in stages.ALL_TOOLS | LIBRARY_TOOLS:
            known = stages.ALL_TOOLS | LIBRARY_TOOLS
            report.add(
                body.at["tools"],
                f"{name}: unknown tool {tool!r}{suggestion(tool, known)}; there are: {', '.join(sorted(known))}",
            )
    return tools


def _role(name: str, body: object, raw: Lines, report: Report) -> RoleSpec | None:
    line = raw.at[name]
    if not isinstance(body, Lines):
        report.add(line, f"{name}: expected a mapping with role, goal and backstory")
        return None
    body = _known_keys(name, body, _AGENT_KEYS, report)
    llm = body.get("llm")
    if llm is not None and not (isinstance(llm, str) and "/" in llm):
        report.add(body.at["llm"], f"{name}: 'llm' must be provider/model, found {llm!r}")
    role, goal, backstory = (_text(name, body, key, line, report) for key in ("role", "goal", "backstory"))
    tools = _tool_names(name, body, report)
    if name == CODE:
        report.add(line, f"{name}: this name belongs to the steps of trusted code; choose another")
    if name == HUMAN and (tools or llm):
        report.add(line, "human: a person has no tools and no llm; remove them")
    return RoleSpec(name, role, goal, backstory, tools, llm if isinstance(llm, str) else None)


def _task(name: str, body: object, raw: Lines, roles: Lines, report: Report) -> TaskSpec | None:
    line = raw.at[name]
    if not isinstance(body, Lines):
        report.add(line, f"{name}: expected a mapping with description, expected_output, agent and stage")
        return None
    before = len(report.faults)
    body = _known_keys(name, body, _TASK_KEYS | _OWN_TASK_KEYS, report)
    description = _text(name, body, "description", line, report)
    expected = _text(name, body, "expected_output", line, report)
    agent, stage = _text(name, body, "agent", line, report), _text(name, body, "stage", line, report)
    if agent and agent not in roles:
        report.add(body.at["agent"], f"{name}: agent {agent!r} is not in agents.yaml{suggestion(agent, roles)}")
    if stage and stage not in stages.BY_NAME:
        report.add(body.at["stage"], f"{name}: unknown stage {stage!r}{suggestion(stage, stages.BY_NAME)}")
    human = body.get("human_input", False)
    if not isinstance(human, bool):
        report.add(body.at["human_input"], f"{name}: 'human_input' must be true or false, found {human!r}")
    elif agent in roles and human != (agent == HUMAN):
        report.add(body.at.get("human_input", line), f"{name}: human_input: true and agent: human belong together")
    if name in {step.name for step in stages.CODE_STEPS}:
        report.add(line, f"{name}: this name belongs to a step of trusted code; choose another")
    artifact, layer = _handed_in(name, body, human is True, line, report)
    context, tools = _names(name, body, "context", report), _tool_names(name, body, report)
    if len(report.faults) > before:
        return None
    return TaskSpec(name, stage, agent, description, expected, artifact, layer, context, tools)


def _handed_in(name: str, body: Lines, human: bool, line: int, report: Report) -> tuple[str | None, str | None]:
    artifact, layer = body.get("output_pydantic"), body.get("layer")
    if human:
        for key in ("output_pydantic", "layer", "tools"):
            if key in body:
                report.add(body.at[key], f"{name}: a gate has no {key!r}")
        return None, None
    if artifact is None:
        report.add(line, f"{name}: 'output_pydantic' is missing; one of: {', '.join(ARTIFACTS)}")
    elif not isinstance(artifact, str) or artifact not in ARTIFACTS:
        report.add(
            body.at["output_pydantic"],
            f"{name}: unknown artifact {artifact!r}{suggestion(str(artifact), ARTIFACTS)}; one of: {', '.join(ARTIFACTS)}",
        )
    layers = (*stages.LAYERS, stages.REPAIR)
    if artifact == "ChangeSet" and layer not in layers:
        report.add(body.at.get("layer", line), f"{name}: a ChangeSet needs 'layer', one of: {', '.join(layers)}")
    elif artifact != "ChangeSet" and layer is not None:
        report.add(body.at["layer"], f"{name}: only a ChangeSet has a 'layer'")
    return artifact if isinstance(artifact, str) else None, layer if isinstance(layer, str) else None


def _with_gates(specs: list[TaskSpec]) -> list[TaskSpec]:
    """Give each human task the gate of its stage."""
    gates = {gate.stage: gate.name for gate in stages.GATES}
    return [
        TaskSpec(**{**vars(spec), "gate": gates.get(spec.stage)}) if spec.agent == HUMAN else spec for spec in specs
    ]


def _matches(spec: TaskSpec, must: stages.Must) -> bool:
    if must.gate:
        return spec.gate == must.gate
    return (spec.stage, spec.artifact, spec.layer) == (must.stage, must.artifact, must.layer)


def _check_order(specs: list[TaskSpec], raw: Lines, report: Report) -> None:
    """Every stage in order, every required hand-in and gate exactly once, in the skeleton's order."""
    highest = stages.STAGES[0]
    for spec in specs:
        stage = stages.BY_NAME[spec.stage]
        if stage.number < highest.number:
            report.add(
                raw.at[spec.name],
                f"{spec.name}: stage {stage.name!r} ({stage.number}) cannot come after {highest.name!r} "
                f"({highest.number}); the order of the stages is fixed",
            )
        highest = max(highest, stage, key=lambda one: one.number)
        if spec.agent == HUMAN and spec.gate is None:
            report.add(raw.at[spec.name], f"{spec.name}: stage {spec.stage!r} has no gate")
    position = -1
    for must in stages.SKELETON:
        found = [index for index, spec in enumerate(specs) if _matches(spec, must)]
        if not found:
            report.add(1, f"stage {must.stage!r} lacks {must}; it cannot be removed")
        elif len(found) > 1:
            report.add(raw.at[specs[found[1]].name], f"{specs[found[1]].name}: {must} appears twice")
        elif found[0] < position:
            report.add(raw.at[specs[found[0]].name], f"{specs[found[0]].name}: {must} is too early in the order")
        else:
            position = found[0]
    _check_extras(specs, raw, report)


def _check_extras(specs: list[TaskSpec], raw: Lines, report: Report) -> None:
    """A task that users add may advise (Note, SecurityReview); it cannot stand in for a required one."""
    for spec in specs:
        if spec.gate or any(_matches(spec, must) for must in stages.SKELETON):
            continue
        if spec.artifact not in {"Note", "SecurityReview"}:
            report.add(
                raw.at[spec.name],
                f"{spec.name}: an added task hands in Note or SecurityReview, not {spec.artifact} in {spec.stage!r}",
            )


def _check_tools(specs: list[TaskSpec], roles: dict[str, RoleSpec], raw: Lines, report: Report) -> None:
    for spec in specs:
        if spec.agent == HUMAN:
            continue
        stage = stages.BY_NAME[spec.stage]
        for tool in spec.tools or roles[spec.agent].tools:
            if tool not in stage.tools and tool not in LIBRARY_TOOLS:
                where = f"task {spec.name}" if spec.tools else f"its role {spec.agent!r}"
                report.add(
                    raw.at[spec.name],
                    f"{spec.name}: {tool!r} (from {where}) is above the permission of stage {stage.name!r}, "
                    f"which allows: {', '.join(sorted(stage.tools)) or 'no tools'}",
                )


def _check_context(specs: list[TaskSpec], raw: Lines, report: Report) -> None:
    seen: set[str] = set()
    names = {spec.name for spec in specs}
    for spec in specs:
        for name in spec.context:
            if name not in names:
                report.add(
                    raw.at[spec.name],
                    f"{spec.name}: context names {name!r}, which is no task{suggestion(name, names)}",
                )
            elif name not in seen:
                report.add(raw.at[spec.name], f"{spec.name}: context names {name!r}, which runs later")
        seen.add(spec.name)


def _with_code(specs: list[TaskSpec]) -> Iterator[TaskSpec]:
    """Put the steps of trusted code where they belong."""
    for spec in specs:
        for step in stages.CODE_STEPS:
            if step.before and _matches(spec, step.before):
                yield TaskSpec(step.name, step.stage, CODE, code=step.name)
        yield spec
    for step in stages.CODE_STEPS:
        if step.before is None:
            yield TaskSpec(step.name, step.stage, CODE, code=step.name)
