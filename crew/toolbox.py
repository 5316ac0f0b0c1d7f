"""The tools that agents get: thin CrewAI adapters over functions that check permission in their own code."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crewai.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from backend_crew.crew import checks, databases, gates, render, settings, verdict
from backend_crew.crew.artifacts import ARTIFACTS, Artifact
from backend_crew.crew.errors import BackendCrewError
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import sha256
from backend_crew.crew.model import Status, Stop
from backend_crew.crew.permissions import layer_of
from backend_crew.crew.plaintext import visible
from backend_crew.crew.roles import TaskSpec
from backend_crew.crew.session import Session
from backend_crew.tools import alembic_draft, git, search, testrun
from backend_crew.tools.deny import is_read_denied, is_write_denied
from backend_crew.tools.errors import ToolError, ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.workspace import DELETE, WRITE, clean_path

OUTPUT_LIMIT = 12_000
ATTEMPTS = 10


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListFiles(_Input):
    """List files of the repository, most of them at once; narrow it with a folder."""

    folder: str = Field(default="", description="Repository-relative; empty for everything.")


class ReadFile(_Input):
    """Read a part of a file with line numbers, at most 400 lines a call."""

    path: str
    start: int = Field(default=1, ge=1)
    end: int | None = Field(default=None, ge=1)


class Search(_Input):
    """Search file contents with a regular expression (ripgrep syntax)."""

    pattern: str = Field(min_length=1, max_length=500)
    glob: str | None = Field(default=None, description="For example *.py")
    literal: bool = False


class FindSymbol(_Input):
    """Find where a class, function, type or constant is defined."""

    name: str = Field(min_length=1, max_length=100)


class GitLog(_Input):
    """The last commits, of one file or of the whole repository."""

    path: str | None = None
    limit: int = Field(default=10, ge=1, le=50)


class WriteFile(_Input):
    """Create a file, or replace one that you have read, with exactly this text."""

    path: str
    text: str = Field(max_length=400_000)


class EditFile(_Input):
    """Replace one exact piece of text in a file that you have read; the piece must occur exactly once."""

    path: str
    old: str = Field(min_length=1)
    new: str


class DeleteFile(_Input):
    """Delete a file that the plan deletes."""

    path: str


class RunChecks(_Input):
    """Compile, import and lint the files that changed."""


class RunTests(_Input):
    """Run the repository's tests in a sandbox, all of them or some paths; the result comes from the report file."""

    paths: list[str] = Field(default_factory=list, max_length=20)


class MakeMigration(_Input):
    """Let the migration tool write a new migration from the changed models; then read and correct it."""

    message: str = Field(min_length=3, max_length=80, pattern=r"^[A-Za-z0-9 _-]+$")


class RequestScopeChange(_Input):
    """Ask the person for permission to change one file outside the approved plan. The run waits for the answer."""

    path: str
    reason: str = Field(min_length=10, max_length=500)
    delete: bool = Field(default=False, description="True asks to delete the file, and for nothing else.")


def _list_files(session: Session, given: ListFiles) -> str:
    paths = session.workspace.list(given.folder, limit=500)
    return "\n".join(paths) or f"no files under {given.folder!r}"


def _read_file(session: Session, given: ReadFile) -> str:
    text = session.workspace.read(given.path, given.start, given.end)
    lines = [f"{number:5} {line}" for number, line in enumerate(text.lines, start=text.start)]
    last = text.start + len(text.lines) - 1
    return f"{text.path}, lines {text.start}-{last} of {text.total}\n" + "\n".join(lines)


def _search(session: Session, given: Search) -> str:
    hits = search.search(
        session.clone.tree,
        given.pattern,
        glob=given.glob,
        literal=given.literal,
        limit=80,
        hides=session.workspace.hides,
        redact=session.redact,
    )
    return "\n".join(f"{hit.path}:{hit.line}: {hit.text}" for hit in hits) or "nothing found"


def _find_symbol(session: Session, given: FindSymbol) -> str:
    hits = search.find_symbol(
        session.clone.tree, given.name, limit=40, hides=session.workspace.hides, redact=session.redact
    )
    return "\n".join(f"{hit.path}:{hit.line}: {hit.text}" for hit in hits) or f"{given.name} is not defined here"


def _git_log(session: Session, given: GitLog) -> str:
    return git.log(session.clone, given.path, given.limit)


def _write_file(session: Session, given: WriteFile) -> str:
    known = session.workspace.seen(given.path)
    if known is None and session.workspace.exists(given.path):
        session.permissions.check_write(clean_path(given.path))  # reading a file outside the plan would not help
        raise ToolRetry(f"{given.path} exists; read it first, then write or edit it")
    session.workspace.write(given.path, given.text, expected=known)
    return f"{given.path}: written, {len(given.text.splitlines())} lines"


def _edit_file(session: Session, given: EditFile) -> str:
    session.workspace.edit(given.path, given.old, given.new)
    return f"{given.path}: edited"


def _delete_file(session: Session, given: DeleteFile) -> str:
    session.workspace.delete(given.path)
    return f"{given.path}: deleted"


def _run_checks(session: Session, given: RunChecks) -> str:
    changes = git.changes(session.clone, session.start_commit)
    paths = [change.path for change in changes if change.status != "deleted"]
    found = checks.checked(session, paths)
    lint = "lint: ruff" if found.linted else "not linted: ruff did not run"
    lines = [f"{one.path}:{one.line}: {one.text}" for one in found.problems]
    lines = lines or [f"no problems (syntax, imports; {lint}) in {len(paths)} changed files: {', '.join(paths)}"]
    if (check := verdict.run_check(session)) is not None:
        lines.append(f"`{check['command']}`: {check['status']}, {check['reason']}\n{check['output_tail']}".rstrip())
    return "\n".join(lines)


def _run_tests(session: Session, given: RunTests) -> str:
    known = session.tests is not None and testrun.reports(session.tests, session.clone.tree)
    paths = (
        tuple(_test_path(session.clone.tree, one) for one in given.paths) if known else ()
    )  # what another command would make of a path is not known
    run = verdict.run_tests(session, paths)
    counts = (
        ", ".join(f"{number} {word}" for word, number in verdict.counts(run).items())
        if run.counts_known
        else "counts unknown"
    )
    blamed, old = verdict.blamed(session, run)
    red = [f"- {case.id}: {verdict.clipped(case.message, 800)}" for case in blamed]
    ids = [case.id for case in run.cases if case.outcome == "passed"]
    parts = [f"{run.status}: {counts}. {run.reason}".strip(), *red[:12]]
    parts += [f"… and {len(red) - 12} more"] if len(red) > 12 else []
    if old:
        parts.append(verdict.as_before(old))
    elif not red and (not run.counts_known or run.status != "passed"):
        parts.append(run.output_tail[-3000:])
    if paths and ids:
        parts += ["passed:", *ids[:100]]
    if not known and run.status != "not run":
        parts.append(
            "This command is judged by its exit code alone, and all tests were run. It names no test ids that are "
            "read: give tests as file and test name."
        )
    return "\n".join(parts)


def _test_path(tree: Path, text: str) -> str:
    """A file, folder or test id, and nothing that a test runner would take for an option or a file of options.

    A dotted label, as Django and unittest take them, is the path that it stands for.
    """
    if text.startswith(("-", "@")) or "\0" in text:
        raise ToolRetry(f"{text!r} is no path: give files, folders or test ids such as tests/test_x.py::test_y")
    path, separator, name = text.partition("::")
    place = tree / (path := clean_path(path))
    if place.is_file() or place.is_dir():
        return path + separator + name
    if found := testrun.label_path(tree, text):
        return found
    raise ToolRetry(f"{text!r}: there is no file or folder {path!r}. Give paths, such as tests/test_x.py or app/tests")


def _make_migration(session: Session, given: MakeMigration) -> str:
    tool = session.migrations
    if tool is None or not alembic_draft.can_draft(tool):
        newest = databases.newest_migration(session)
        style = f", in the style of its neighbours (the newest is {newest}: read it first)" if newest else ""
        raise ToolRefused(f"no tool writes migrations here: write the planned file by hand with write_file{style}")
    if isinstance(session.sandbox, NoSandbox):
        raise ToolFault(f"no sandbox: {session.sandbox.reason}")
    number = len(git.changes(session.clone, session.clone.base))
    drift = _drift(session, session.sandbox, tool)
    with databases.scratch(session, session.sandbox, tool, session.clone.tree) as scratch:
        made = alembic_draft.make_migration(
            scratch,
            tool,
            message=given.message,
            rev_id=_revision(session, given.message, number),
            database_env=_variables(session),
            baseline=drift,
        )
    session.workspace.write(made.path, made.text, expected=None)
    text = f"{made.path}: written. Read it and correct it: constraint names, server defaults, indexes, downgrade().\n\n{made.text}"
    if made.left_out:
        text += f"\nLeft out, because models and migrations differed so before the change: {'; '.join(made.left_out)}"
    return text


def _works(session: Session, name: str) -> bool:
    """Whether a tool can do here what it is for: one that never can is not offered."""
    if name != "make_migration" or session.migrations is None:  # the change can bring a tool
        return True
    return alembic_draft.can_draft(session.migrations)


def _drift(session: Session, sandbox: Sandbox, tool: MigrationTool) -> alembic_draft.Drift:
    """What models and migrations differed in before the change; asked once, because it costs two Alembic commands."""
    if session.drift is None:
        try:
            with tempfile.TemporaryDirectory(prefix="base-") as folder:
                tree = Path(folder) / "tree"
                git.export(session.clone, session.clone.base, tree)
                with databases.scratch(session, sandbox, tool, tree) as scratch:
                    found = alembic_draft.find_drift(scratch, tool, database_env=_variables(session))
        except ToolRetry as error:  # a tree on which Alembic did not work yet: then nothing can be subtracted
            _check_going_on(session)
            session.note("drift not known", reason=str(error))
            found = alembic_draft.Drift(frozenset(), frozenset())
        session.drift = found
    return session.drift


def _revision(session: Session, message: str, number: int) -> str:
    """A deterministic id: the same run makes the same file."""
    return sha256(f"{session.run.inputs}{message}{number}")[:12]


def _variables(session: Session) -> dict[str, str]:
    """Led to the scratch database; the URL as it is tells which engine and which driver the project uses."""
    name = session.database_env
    return {name: settings.get(name) or session.sandbox_env.get(name, "")} if name else {}


def _request_scope(session: Session, given: RequestScopeChange) -> str:
    task, path = session.permissions.task, clean_path(given.path)
    if reason := is_read_denied(path) or is_write_denied(path):
        raise ToolRefused(f"{path}: {reason}")
    if task is None or not (layer := layer_of(task)):
        raise ToolRefused(f"{path}: this task changes no files")
    act = DELETE if given.delete else WRITE
    text = visible(session.redact(_scope_words(path, act, task.name, given.reason)))
    bound = {"path": path, "act": act, "layer": layer}
    packet = Packet(session.id, gates.SCOPE.name, gates.SCOPE.question, text, bound)
    row = session.journal.open_gate(session.id, gates.SCOPE.name, packet.as_json(), packet.digest)
    if session.journal.decision(session.id, gates.SCOPE.name, row.digest):
        raise ToolRefused(f"{path}: this was asked and answered before")
    session.stop.set(Stop(Status.WAITING, "a file outside the approved plan is wanted", gate=gates.SCOPE.name))
    return "asked; the run waits for the person"


def _scope_words(path: str, act: str, task: str, reason: str) -> str:
    """What the gate shows: the agent's words stand on one line of a block, so they can pose as nothing else."""
    wanted = "DELETE this file" if act == DELETE else "create or change this file; not to delete it"
    return (
        f"# A file outside the approved plan\n\nThe task {task} wants to {wanted}:\n\n{render.fenced('', path)}\n"
        f"Its reason, in the agent's own words:\n\n{render.fenced('', ' '.join(reason.split()))}"
    )


_Work = Callable[[Session, Any], str]
CATALOGUE: dict[str, tuple[type[_Input], _Work]] = {
    "list_files": (ListFiles, _list_files),
    "read_file": (ReadFile, _read_file),
    "search": (Search, _search),
    "find_symbol": (FindSymbol, _find_symbol),
    "git_log": (GitLog, _git_log),
    "write_file": (WriteFile, _write_file),
    "edit_file": (EditFile, _edit_file),
    "delete_file": (DeleteFile, _delete_file),
    "run_checks": (RunChecks, _run_checks),
    "run_tests": (RunTests, _run_tests),
    "make_migration": (MakeMigration, _make_migration),
    "request_scope_change": (RequestScopeChange, _request_scope),
}


class CrewTool(BaseTool):
    """One tool of ours: permission is checked in its own code, output is bounded and redacted, errors say why."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _session: Session = PrivateAttr()
    max_usage_count: int | None = 1_000_000
    """Out of reach; a tool that has one makes CrewAI do the calls of a turn one after another, in their order."""
    _work: _Work = PrivateAttr()
    _calls: int = PrivateAttr(default=0)

    @classmethod
    def of(cls, session: Session, name: str) -> "CrewTool":
        """The tool of that name for a session."""
        schema, work = CATALOGUE[name]
        tool = cls(name=name, description=(schema.__doc__ or name).strip(), args_schema=schema)
        tool._session, tool._work = session, work
        return tool

    def _validate_kwargs(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Left to _run: CrewAI would refuse input here without a word in the journal."""
        return kwargs

    def _run(self, **given: Any) -> str:
        session = self._session
        with session.lock:
            self._calls += 1
            try:
                _check_going_on(session)
                session.permissions.check_tool(self.name)
                assert self.args_schema is not None
                text = self._work(session, self.args_schema.model_validate(given))
            except (ToolError, ValidationError) as error:
                session.note("tool refused", tool=self.name, reason=_words(error), **_where(given))
                if isinstance(error, ToolFault):
                    session.stop.set(Stop(Status.FAILED, str(error)))
                raise ToolRetry(session.as_data(_words(error), _bounded)) from error
            except BackendCrewError as error:
                session.stop.set(Stop(Status.FAILED, str(error)))
                raise
            session.note("tool", tool=self.name, **_where(given))
            # CrewAI ends a task on the fifth identical result, and reading or testing again is legitimate work;
            # loops are noticed by the model door.
            return f"{session.as_data(text, _bounded)}\n(call {self._calls})"


def _check_going_on(session: Session) -> None:
    """Once the run is to stop, the other calls of the same turn do nothing."""
    if session.stop:
        raise ToolRefused("the run is stopping; nothing was done")


class Submit(BaseTool):
    """Hands in the result of the task; only what is accepted here is ever recorded."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    result_as_answer: bool = True
    _session: Session = PrivateAttr()
    _task: TaskSpec = PrivateAttr()

    @classmethod
    def of(cls, session: Session, task: TaskSpec) -> "Submit":
        """The hand-in tool of a task; its schema is the artifact's model."""
        assert task.artifact is not None
        schema = ARTIFACTS[task.artifact]
        tool = cls(
            name="submit", description=f"Hand in the {schema.heading.lower()}. {schema.__doc__}", args_schema=schema
        )
        tool._session, tool._task = session, task
        return tool

    def _validate_kwargs(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Left to _run: what CrewAI refuses here is neither recorded nor counted as an attempt."""
        return kwargs

    def _run(self, **given: Any) -> str:
        session, task = self._session, self._task
        with session.lock:
            try:
                _check_going_on(session)
                session.permissions.check_tool("submit")
                if session.permissions.task != task or session.payload(task.name) is not None:
                    raise ToolRefused(f"task {task.name!r} is not open for a hand-in")
                assert task.artifact is not None
                value, facts = checks.check(session, task, ARTIFACTS[task.artifact].model_validate(given))
            except (ToolError, ValidationError) as error:
                self._refused(error)
                # numbered, because CrewAI ends a task on the fifth identical result
                count = f"\n(hand-in {session.attempts} of {ATTEMPTS})"
                raise ToolRetry(session.as_data(_words(error), _bounded) + count) from error
            record(session, task, value, facts)
            return "accepted"

    def _refused(self, error: Exception) -> None:
        session, task = self._session, self._task
        session.attempts += 1
        words = session.clean(_words(error))
        session.note("hand-in refused", task=task.name, attempt=session.attempts, reason=words[:1500])
        if isinstance(error, ToolFault):
            session.stop.set(Stop(Status.FAILED, str(error), task=task.name))
        elif session.attempts >= ATTEMPTS:
            reason = f"task {task.name!r}: {ATTEMPTS} hand-ins failed their checks; the last: {words[:500]}"
            session.stop.set(Stop(Status.FAILED, reason, task=task.name))


def record(session: Session, task: TaskSpec, value: Artifact, facts: dict[str, Any]) -> None:
    """Keep an accepted hand-in: first the commit that it left, then the row that names it."""
    payload = value.model_dump(mode="json")
    commit = None
    if task.layer or task.artifact == "TestReport":
        title = (task.layer or "tests").replace("_", " ")
        trailers = {"Backend-Crew-Run": session.id, "Backend-Crew-Task": task.name}
        commit = git.commit(session.clone, f"{session.run.title}: {title}", trailers=trailers)
    session.journal.record(session.id, task.name, type(value).__name__, {**payload, "facts": facts}, commit)
    session.note("recorded", task=task.name, artifact=type(value).__name__)


def build(session: Session, task: TaskSpec) -> list[BaseTool]:
    """The tools of one task: those its YAML names, and submit."""
    names = task.tools or session.spec.roles[task.agent].tools
    offered = [name for name in names if name in CATALOGUE and _works(session, name)]
    tools: list[BaseTool] = [CrewTool.of(session, name) for name in offered]
    if "FileReadTool" in names:
        tools.append(_library_reader(session))
    return [*tools, Submit.of(session, task)]


def _library_reader(session: Session) -> BaseTool:
    """crewai_tools' FileReadTool, confined to the private tree and behind our deny list."""
    from backend_crew.crew.library import GuardedFileReadTool

    return GuardedFileReadTool.of(session)


def _where(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("path", "pattern", "name", "folder") if isinstance(given.get(name), str)}


def _bounded(text: str) -> str:
    if len(text) <= OUTPUT_LIMIT:
        return text
    half = OUTPUT_LIMIT // 2
    return f"{text[:half]}\n… {len(text) - OUTPUT_LIMIT} characters left out; ask for less at once …\n{text[-half:]}"


def _words(error: Exception) -> str:
    """An error in words for the model: where in the input, what was expected."""
    if not isinstance(error, ValidationError):
        return str(error)
    lines = []
    for one in error.errors()[:15]:
        place = ".".join(str(part) for part in one["loc"]) or "the input"
        found = "" if one["type"] in ("missing", "extra_forbidden") else f" (found {str(one.get('input'))[:120]!r})"
        lines.append(f"- {place}: {one['msg']}{found}")
    return "not accepted:\n" + "\n".join(lines)
