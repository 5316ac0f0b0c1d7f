"""The eight stages as data: their order, what must be handed in, who decides, and which tools are allowed."""

from dataclasses import dataclass

READ_TOOLS = frozenset({"list_files", "read_file", "search", "find_symbol", "git_log"})
CHECK_TOOLS = frozenset({"run_checks", "run_tests"})
WRITE_TOOLS = frozenset({"write_file", "edit_file", "delete_file", "request_scope_change"})
MIGRATION_TOOLS = frozenset({"make_migration"})

LAYERS = ("data_access", "business_logic", "presentation", "cross_cutting")
REPAIR = "repair"
TESTS = "tests"


@dataclass(frozen=True)
class Stage:
    """One stage: its number, its words and the tools that its tasks may use."""

    name: str
    number: int
    title: str
    tools: frozenset[str]

    @property
    def writes(self) -> bool:
        """Whether tasks of this stage may change files at all."""
        return bool(self.tools & WRITE_TOOLS)


STAGES: tuple[Stage, ...] = (
    Stage("analysis", 1, "Analysis", READ_TOOLS),
    Stage("clarification", 2, "Clarification", READ_TOOLS),
    Stage("design", 3, "Design", READ_TOOLS),
    Stage("approval", 4, "Design approval", frozenset()),
    Stage("implementation", 5, "Implementation", READ_TOOLS | CHECK_TOOLS | WRITE_TOOLS | MIGRATION_TOOLS),
    Stage("migrations", 6, "Migration approval", READ_TOOLS),
    Stage("testing", 7, "Testing", READ_TOOLS | CHECK_TOOLS | WRITE_TOOLS),
    Stage("summary", 8, "Summary", frozenset()),
)
BY_NAME: dict[str, Stage] = {stage.name: stage for stage in STAGES}
ALL_TOOLS = READ_TOOLS | CHECK_TOOLS | WRITE_TOOLS | MIGRATION_TOOLS


@dataclass(frozen=True)
class Gate:
    """A point where only a person's decision lets the run go on."""

    name: str
    stage: str
    question: str
    routes: tuple[str, ...]
    """Stages to which `request-changes` can send the work back; the first is the default."""


GATES: tuple[Gate, ...] = (
    Gate("answers", "clarification", "Please answer these questions before the design starts.", ("clarification",)),
    Gate(
        "design",
        "approval",
        "Does this design look good? Any changes before I start implementing?",
        ("design", "clarification", "analysis"),
    ),
    Gate("migrations", "migrations", "Can I run these database migrations?", ("implementation",)),
    Gate(
        "findings",
        "testing",
        "These findings keep the run from being called finished. Do you accept them as they are?",
        ("testing",),
    ),
)
GATE_BY_NAME: dict[str, Gate] = {gate.name: gate for gate in GATES}


@dataclass(frozen=True)
class Must:
    """A task that a crew cannot do without, recognised by what it hands in, its gate or its layer."""

    stage: str
    artifact: str | None = None
    layer: str | None = None
    gate: str | None = None

    def __str__(self) -> str:
        if self.gate:
            return f"the gate {self.gate!r} (agent: human, human_input: true)"
        layer = f" with layer: {self.layer}" if self.layer else ""
        return f"a task with output_pydantic: {self.artifact}{layer}"


_LAYERS = tuple(Must("implementation", "ChangeSet", layer=layer) for layer in LAYERS)
_REVIEW = Must("migrations", "MigrationReview")
_TEST_REPORT = Must("testing", "TestReport")
_REPAIR = Must("testing", "ChangeSet", layer=REPAIR)

#: In this order, whatever else a crew's YAML adds between them.
SKELETON: tuple[Must, ...] = (
    Must("analysis", "Analysis"),
    Must("clarification", "Questions"),
    Must("clarification", gate="answers"),
    Must("clarification", "Requirements"),
    Must("design", "Design"),
    Must("approval", gate="design"),
    *_LAYERS,
    _REVIEW,
    Must("migrations", gate="migrations"),
    _TEST_REPORT,
    _REPAIR,
    Must("testing", gate="findings"),
)


@dataclass(frozen=True)
class CodeStep:
    """A step that trusted code does; YAML can neither move nor remove it."""

    name: str
    stage: str
    before: Must | None
    """The skeleton task that it comes directly before; None for the very end."""


CODE_STEPS: tuple[CodeStep, ...] = (
    CodeStep("baseline", "implementation", _LAYERS[0]),
    CodeStep("rehearse", "migrations", _REVIEW),
    CodeStep("apply", "migrations", _TEST_REPORT),
    CodeStep("verify", "testing", _REPAIR),
    CodeStep("recheck", "testing", Must("testing", gate="findings")),
    CodeStep("summarise", "summary", None),
)
