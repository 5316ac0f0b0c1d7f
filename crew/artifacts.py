"""What agents hand in: typed, bounded artifacts; nothing else that a model says is kept."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
#: What a runner prints has no usual length: parametrized tests carry their values.
TestId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
RepoPath = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]

Area = Literal[
    "business rules",
    "data",
    "endpoints",
    "edge cases and errors",
    "integrations, performance, security",
]
AREAS: tuple[Area, ...] = (
    "business rules",
    "data",
    "endpoints",
    "edge cases and errors",
    "integrations, performance, security",
)
Topic = Literal["stack", "architecture", "database", "api", "schemas", "conventions", "tests", "auth", "integration"]
REQUIRED_TOPICS: tuple[Topic, ...] = ("stack", "architecture", "database", "api", "conventions", "tests")


class Artifact(BaseModel):
    """The base of everything that is handed in: unknown keys are errors, values do not change afterwards."""

    # built when they are first used: commands that only name artifacts start without building thirty validators
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    heading: ClassVar[str] = "Result"

    @classmethod
    def recorded(cls, payload: Mapping[str, Any]) -> Self:
        """The artifact in a recorded output, without the facts that code put beside it."""
        return cls.model_validate({name: value for name, value in payload.items() if name != "facts"})


class Evidence(Artifact):
    """A line of the repository that shows something."""

    path: RepoPath
    line: Annotated[int, Field(ge=1)]
    quote: Annotated[str, StringConstraints(min_length=3, max_length=300)] = Field(
        description="The line's text, copied exactly (a part of the line is enough)."
    )


class Finding(Artifact):
    """One thing that is true of the repository, with the lines that show it, or with the search that finds nothing."""

    topic: Topic
    statement: Short
    evidence: Annotated[tuple[Evidence, ...], Field(max_length=5)] = Field(
        default=(), description="At least one line, unless the finding is that something is absent."
    )
    absent: Annotated[str, StringConstraints(min_length=4, max_length=200)] | None = Field(
        default=None,
        description="For a finding that something is absent: a regular expression that would find it. It is searched for.",
    )


class Analysis(Artifact):
    """Stage 1: what the repository is and which of its conventions the feature must follow."""

    heading: ClassVar[str] = "Analysis"
    has_backend: bool = Field(description="False when the repository holds no backend to extend.")
    overview: Text
    findings: Annotated[tuple[Finding, ...], Field(max_length=40)]
    relevant_files: Annotated[tuple[RepoPath, ...], Field(max_length=40)] = ()


class Question(Artifact):
    """One question to the person, answerable by choosing an option or in own words."""

    id: Annotated[str, StringConstraints(pattern=r"^[QF][1-9]\d?$")] = Field(
        description="Q1, Q2, … (F1, F2, F3 for follow-up questions in the requirements)"
    )
    area: Area
    question: Short
    why: Short
    options: Annotated[tuple[Short, ...], Field(min_length=2, max_length=5)]
    recommended: Short = Field(description="One of the options, word for word.")
    reason: Short = Field(description="Why that option is recommended.")


class Settled(Artifact):
    """An area in which nothing is open, shown by a quote from the feature text or brief."""

    area: Area
    quote: Annotated[str, StringConstraints(min_length=8, max_length=300)]


class Questions(Artifact):
    """Stage 2: what must be asked before anything is designed."""

    heading: ClassVar[str] = "Questions"
    items: Annotated[tuple[Question, ...], Field(min_length=1, max_length=15)]
    settled: tuple[Settled, ...] = ()


class Answer(Artifact):
    """A person's answer to one question."""

    id: str
    answer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    source: Literal["own words", "option", "recommendation, confirmed"]


class Answers(Artifact):
    """What the person answered; recorded by the gate, never by a model."""

    heading: ClassVar[str] = "Answers"
    items: tuple[Answer, ...]


class Criterion(Artifact):
    """One numbered thing that can be tested."""

    id: Annotated[str, StringConstraints(pattern=r"^AC[1-9]\d?$")]
    text: Short


class Requirements(Artifact):
    """What will be built, in testable words."""

    heading: ClassVar[str] = "Requirements"
    overview: Text
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1, max_length=30)]
    out_of_scope: tuple[Short, ...] = ()
    follow_up: Annotated[tuple[Question, ...], Field(max_length=3)] = Field(
        default=(), description="Only what the answers opened and the design cannot do without; ids F1, F2, F3."
    )


class ApiContract(Artifact):
    """The interface that is promised to callers."""

    kind: Literal["openapi", "graphql", "proto", "none"]
    document: Annotated[str, StringConstraints(max_length=60_000)] = Field(
        default="", description="OpenAPI 3.1 as YAML or JSON for kind openapi; SDL or proto text otherwise."
    )
    reason: Short | None = Field(default=None, description="Required for kind none.")
    authentication: Short
    error_format: Short


class Column(Artifact):
    """One column or field."""

    name: Short
    type: Short
    nullable: bool
    default: str | None = None
    constraints: tuple[Short, ...] = ()


class Entity(Artifact):
    """One table or document type, new or changed; list only the columns that are new or changed."""

    name: Short
    table: Short
    change: Literal["new", "changed", "unchanged"]
    columns: tuple[Column, ...] = ()
    indexes: tuple[Short, ...] = ()
    relations: tuple[Short, ...] = Field(default=(), description='For example "Order 1-N Refund (refunds.order_id)".')


class DataModel(Artifact):
    """The data that the feature needs."""

    entities: Annotated[tuple[Entity, ...], Field(max_length=20)]
    notes: Text | None = None


class MigrationPlan(Artifact):
    """How the schema gets there and back."""

    needed: bool
    reason: Short
    steps: tuple[Short, ...] = Field(default=(), description="In the order in which they run.")
    rollback: Text
    data_impact: Short


class PlannedFile(Artifact):
    """A file that the implementation may touch; nothing outside this list can be written."""

    path: RepoPath = Field(description="Repository-relative. A new migration may use one * for its generated id.")
    action: Literal["create", "modify", "delete"]
    layer: Literal["data_access", "business_logic", "presentation", "cross_cutting", "tests"]
    purpose: Short


class Dependency(Artifact):
    """A package that the feature would add."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9@][A-Za-z0-9@/._\[\]-]*$", max_length=100)]
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 .,<>=!~^*+-]*$", max_length=60)] = ""
    reason: Short


class Coverage(Artifact):
    """Where in the design a criterion is met."""

    criterion: Annotated[str, StringConstraints(pattern=r"^AC[1-9]\d?$")]
    by: Short


class Choice(Artifact):
    """A decision of the design, with what was weighed."""

    title: Short
    options: Annotated[tuple[Short, ...], Field(min_length=2, max_length=5)]
    choice: Short
    trade_off: Short


class Design(Artifact):
    """Stage 3: everything that a person must see before a line is written."""

    heading: ClassVar[str] = "Design"
    overview: Text
    presentation: Text
    business_logic: Text
    data_access: Text
    cross_cutting: Text
    api: ApiContract
    data_model: DataModel
    migration: MigrationPlan
    files: Annotated[tuple[PlannedFile, ...], Field(min_length=1, max_length=60)]
    integration_points: tuple[Short, ...] = ()
    new_dependencies: tuple[Dependency, ...] = ()
    coverage: tuple[Coverage, ...]
    decisions: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=12)]


class Reason(Artifact):
    """Why an existing definition had to change."""

    path: RepoPath
    name: Short
    reason: Short


class ChangeSet(Artifact):
    """Stage 5: what one layer did. The files are read from the diff; this adds only words."""

    heading: ClassVar[str] = "Change set"
    summary: Text
    altered: tuple[Reason, ...] = Field(
        default=(),
        description="One entry for each existing definition that this layer changed; one that was only added to needs none.",
    )


class SecurityFinding(Artifact):
    """A weakness in the change."""

    severity: Literal["high", "medium", "low"]
    problem: Short
    evidence: Evidence
    fix: Short


class SecurityReview(Artifact):
    """What a reviewer saw in the change; shown to the person, never used to dismiss anything."""

    heading: ClassVar[str] = "Security review"
    overview: Text
    findings: Annotated[tuple[SecurityFinding, ...], Field(max_length=20)] = ()


class Note(Artifact):
    """Free text, for tasks that users add to a stage."""

    heading: ClassVar[str] = "Note"
    text: Text


class Risk(Artifact):
    """Something that can go wrong when the migration runs, and what to do about it."""

    severity: Literal["high", "medium", "low"]
    risk: Short
    mitigation: Short


class MigrationReview(Artifact):
    """Stage 6: impact, risk and rollback in words; the facts beside it come from the rehearsal."""

    heading: ClassVar[str] = "Migration review"
    impact: Text
    locks: Short
    risks: tuple[Risk, ...]
    rollback: Text
    recommendation: Literal["run", "do not run"]
    reason: Short


class Shown(Artifact):
    """The tests that show a criterion."""

    criterion: Annotated[str, StringConstraints(pattern=r"^AC[1-9]\d?$")]
    tests: Annotated[tuple[TestId, ...], Field(min_length=1, max_length=20)] = Field(
        description="Test ids exactly as run_tests prints them."
    )


class TestReport(Artifact):
    """Stage 7: which tests were written for what. Whether they pass is read from the runner's report file."""

    __test__ = False  # pytest would otherwise try to collect it
    heading: ClassVar[str] = "Test report"
    overview: Text
    shown: tuple[Shown, ...] = ()
    no_test_setup: bool = False
    recommendation: Short | None = Field(default=None, description="Required when there is no test setup.")


ARTIFACTS: dict[str, type[Artifact]] = {
    kind.__name__: kind
    for kind in (
        Analysis,
        Questions,
        Requirements,
        Design,
        ChangeSet,
        SecurityReview,
        Note,
        MigrationReview,
        TestReport,
    )
}
