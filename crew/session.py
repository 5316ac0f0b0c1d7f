"""Everything that one pass over one run works with."""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from backend_crew.crew import budget, choosing, reach, settings
from backend_crew.crew.artifacts import Artifact
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal, Run
from backend_crew.crew.model import Status, Stop
from backend_crew.crew.permissions import Permissions
from backend_crew.crew.reach import PIN
from backend_crew.crew.roles import CrewSpec, TaskSpec, load
from backend_crew.crew.rows import Totals
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import alembic_draft, apply, git, ignored, migrations, runtime, sandbox, secrets, testrun
from backend_crew.tools.deny import fold
from backend_crew.tools.workspace import Workspace

Kind = TypeVar("Kind", bound=Artifact)


@dataclass
class Repair:
    """How the repair at hand goes."""

    rounds: int = 0
    """Hand-ins after which the tests were red."""
    unchanged: int = 0
    """Hand-ins that had changed nothing since the last one."""
    told: bool = False
    """Whether findings that stand with green tests were sent back; they are once, and then a person decides."""
    tried: str = ""
    """The changes that were handed in last; empty for those that a repair came in with, whose tests are red."""


@dataclass
class Session:
    """One open run: its history, its private tree, and the doors through which it acts."""

    journal: Journal
    run: Run
    spec: CrewSpec
    repository: git.Repository
    clone: git.Clone
    permissions: Permissions
    workspace: Workspace
    runtime: runtime.Runtime
    sandbox: sandbox.Sandbox | sandbox.NoSandbox
    tools: list[migrations.MigrationTool]
    """Every migration tool that was ever seen in the tree: one that a run brings along counts, one it removes stays."""
    tests: testrun.TestCommand | None
    redact: secrets.Redactor
    stop: StopFlag
    clock: budget.Clock
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Tools run one at a time: CrewAI calls several in parallel threads."""
    totals: dict[str, Totals] = field(default_factory=dict)
    drift: alembic_draft.Drift | None = None
    """What models and migrations differed in before the change; None until it was asked."""
    start_commit: str = ""
    """What the tree was when the task at hand began."""
    attempts: int = 0
    """Refused submissions of the task at hand."""
    tested: tuple[str, testrun.TestRun] | None = None
    """The last run of all tests, and the id of the tree that it ran on."""
    repair: Repair = field(default_factory=Repair)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def root(self) -> Path:
        """The person's repository; commands see the private tree at this path."""
        return self.repository.root

    @property
    def folder(self) -> Path:
        """The run's private folder."""
        return self.journal.folder(self.run.id)

    def typed(self, task: str, kind: type[Kind]) -> Kind | None:
        """A task's recorded hand-in as its type; None when there is none, or when the task was skipped."""
        output = self.journal.output(self.run.id, task)
        if output is None or output.artifact != kind.__name__:
            return None
        return kind.recorded(output.payload)

    def only(self, kind: type[Kind]) -> Kind | None:
        """The recorded hand-in of the task that produces this kind."""
        return self.typed(self.spec.producing(kind.__name__).name, kind)

    def payload(self, task: str) -> Mapping[str, Any] | None:
        """A task's recorded output as it was written."""
        output = self.journal.output(self.run.id, task)
        return output.payload if output else None

    def head(self) -> str:
        """The commit that the newest recorded work left."""
        return self.journal.head(self.run.id) or self.clone.base

    def note(self, kind: str, **data: Any) -> None:
        """Append an event; the journal takes secrets out."""
        self.journal.event(self.run.id, kind, **data)

    def clean(self, text: str, bound: Callable[[str], str] = str) -> str:
        """Text without secrets and then within a bound: the other way round, a cut would leave a part of a secret."""
        return bound(self.redact(text))

    def as_data(self, text: str, bound: Callable[[str], str] = str) -> str:
        """Text of a repository or a program as models see it: without secrets, between marks that it cannot know.

        Each text has a number of its own: one that was shown before can stand in a file or in what a model handed in.
        """
        clean, mark = self.clean(text, bound), token_hex(4)
        return f"<data {mark}>\n{clean}\n</data {mark}>"

    def begin(self, task: TaskSpec) -> None:
        """A task starts: from the commit that is recorded, whatever a killed attempt left behind."""
        self.start_commit = self.journal.head(self.run.id, partial=False) or self.clone.base
        git.reset(self.clone, self.head())
        self.detect_migrations()
        self.workspace.forget()
        self.attempts, self.repair = 0, Repair()
        self.permissions.enter(task)

    @property
    def migrations(self) -> migrations.MigrationTool | None:
        """The tool that matters: one that can be rehearsed before others, the newest sight of it before older ones."""
        able = [tool for tool in self.tools if tool.can_rehearse]
        return able[-1] if able else self.tools[0] if self.tools else None

    def detect_migrations(self) -> None:
        """Look for migration tools in the tree as it is now."""
        self.tools += [tool for tool in migrations.detect(self.clone.tree) if tool not in self.tools]

    def use_packages(self, folder: str | None) -> None:
        """Put packages that were installed for this run on the import path of its commands."""
        if folder:
            named = self.runtime.env.get("PYTHONPATH")
            env = {**self.runtime.env, "PYTHONPATH": f"{folder}:{named}" if named else folder}
            self.runtime = dataclasses.replace(self.runtime, mounts=(*self.runtime.mounts, Path(folder)), env=env)
            self.tested = None

    def database(self) -> Path | None:
        """The SQLite file that the person named, if it is one."""
        url = settings.get(self.database_env) if self.database_env else None
        return apply.parse_sqlite_url(url, self.root) if url else None

    @property
    def database_env(self) -> str | None:
        """The environment variable that holds the database's URL."""
        return self.run.options.get("database_env")

    @property
    def sandbox_env(self) -> Mapping[str, str]:
        """What the person made up for the repository's commands."""
        return dict(self.run.options.get("sandbox_env") or {})

    def spend(self, model: str, prompt_tokens: int, completion_tokens: int, cost: float | None, seconds: float) -> None:
        """Record one model call of the task at hand."""
        task = self.permissions.task
        stage, name = (task.stage, task.name) if task else ("", "")
        for key in {"", stage}:
            self.totals[key] = self._spent_in(key).plus(prompt_tokens, completion_tokens, cost)
        tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        self.journal.spend(self.run.id, stage=stage, task=name, model=model, **tokens, cost=cost, seconds=seconds)

    def _spent_in(self, stage: str) -> Totals:
        """What was spent in a stage, or by the whole run for ''; read once, then counted here: the run is ours."""
        if stage not in self.totals:
            self.totals[stage] = self.journal.totals(self.run.id, stage or None)
        return self.totals[stage]

    def over_budget(self) -> Stop | None:
        """The stop that the caps demand, if one is reached."""
        task = self.permissions.task
        whole = budget.Spent(self._spent_in(""), self.clock.minutes())
        stage = budget.Spent(self._spent_in(task.stage), self.clock.minutes_in(task.stage)) if task else whole
        reason = budget.reached(budget.caps_from(self.run.options), whole, stage)
        return Stop(Status.BUDGET, reason, task=task.name if task else None) if reason else None


def _hidden(root: Path, tree: Path, policy: str | None) -> Callable[[str], bool]:
    """Which paths are kept from agents: what .crewignore names, and the run's policy where it lies in the repository."""
    ignores = ignored.ignored_by(root, tree)
    names = reach.names_below(root, Path(policy.rpartition(PIN)[0] or policy)) if policy else frozenset[str]()
    kept = {fold(name) for name in names}
    return lambda path: ignores(path) or fold(path) in kept


def open_session(journal: Journal, name: str, stop: StopFlag) -> Session:
    """Open a run as it is recorded; raises UsageError when its repository or roles are gone or changed."""
    run = journal.run(name)
    options = run.options
    spec = load(options.get("config"))
    if spec.digest != run.profile["spec"]:
        raise UsageError(
            f"the roles and tasks in {spec.folder} changed since run {run.id} started; "
            "put them back, or start a new run with the new ones"
        )
    repository = git.inspect(Path(run.repo))
    clone = git.open_clone(journal.folder(run.id), run.base)
    known: list[migrations.MigrationTool] = []
    permissions = Permissions(
        journal,
        run.id,
        spec,
        lambda path: any(migrations.new_files(tool, [path]) for tool in known),
        lambda path: git.show(clone, clone.base, path) is not None,
    )
    # whatever is recorded from now on, by whomever, is without the secrets of this repository
    journal.redact = secrets.redactor(repository.root, settings.environment())
    hidden = _hidden(repository.root, clone.tree, options.get("policy"))
    runs = choosing.runtime_of(repository.root, options.get("python"), options.get("sandbox_env"))
    reach.check_key((repository.root, journal.home, *runs.mounts))
    session = Session(
        journal=journal,
        run=run,
        spec=spec,
        repository=repository,
        clone=clone,
        permissions=permissions,
        workspace=Workspace(clone.tree, permissions, ignored=hidden, redact=journal.redact),
        runtime=runs,
        sandbox=sandbox.find_sandbox(),
        tools=known,
        tests=choosing.test_command(clone.tree, runs, options.get("test_command") or ()),
        redact=journal.redact,
        stop=stop,
        clock=budget.Clock(journal, run.id),
    )
    if left_out := journal.redact.left_out:
        session.note("not searched for secrets", files=list(left_out[:20]), number=len(left_out))
    session.detect_migrations()
    session.use_packages((session.payload("baseline") or {}).get("dependencies", {}).get("folder"))
    return session
