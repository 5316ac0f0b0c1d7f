"""The migration guard: what is pending in a repository, rehearsed and linted, with one verdict over both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import alembic_box, migration_lint, migrations
from backend_crew.tools.alembic import graph
from backend_crew.tools.errors import ToolError
from backend_crew.tools.lint_rules import LintFinding
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.rehearsal import Rehearsal, pending, rehearse
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox

CLEAN, FINDINGS, NOT_REHEARSED, FAILED = "clean", "findings", "not rehearsed", "failed"
EXIT_CODES: Mapping[str, int] = {CLEAN: 0, FAILED: 1, FINDINGS: 6, NOT_REHEARSED: 7}
_ORDER = (FAILED, FINDINGS, NOT_REHEARSED, CLEAN)
_DIALECTS = {None: "sqlite", "PostgreSQL": "postgresql", "CockroachDB": "postgresql"}


@dataclass(frozen=True)
class Asked:
    """What a person asked for: from where, to where, and which variable names the database (None: generated rows)."""

    start: str | None = None
    target: str | None = None
    env_name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    database: Path | None = None
    uncommitted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guarded:
    """One migration tool's pending files and what was found; "failed" means that a step of the rehearsal failed."""

    tool: MigrationTool
    status: str  # CLEAN, FINDINGS, NOT_REHEARSED or FAILED
    reason: str
    files: tuple[str, ...] = ()
    dialect: str | None = None  # as which SQL was read; None: it was not linted
    findings: tuple[LintFinding, ...] = ()
    rehearsal: Rehearsal | None = None


def worst(found: tuple[Guarded, ...]) -> str:
    """The status of several tools together; without any, nothing was rehearsed."""
    return next((status for status in _ORDER if any(one.status == status for one in found)), NOT_REHEARSED)


def guard(
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    tool: MigrationTool,
    asked: Asked,
    stop: Callable[[], bool] | None = None,
) -> Guarded:
    """Rehearses and lints what is pending of one tool; `tree` is a private copy, `at` where commands see it.

    Nothing of the repository runs outside the sandbox, and `asked.database` is only read.
    """
    if not tool.can_rehearse:
        files = migrations.new_files(tool, _paths(tree))
        return Guarded(tool, NOT_REHEARSED, migrations.why_not_rehearsed(tool), files)
    try:
        config = alembic_box.plain_config(tree, tool)
        engine = alembic_box.other_engine(config, (asked.env_name,) if asked.env_name else (), asked.env)
        place = None if engine else asked.database
        start = asked.start or (None if place else _before_uncommitted(tree, tool, asked))
        new = pending(tree, tool, before=start, target=asked.target, database=place)
    except ToolError as error:
        return Guarded(tool, NOT_REHEARSED, str(error))
    files, dialect = tuple(one.path for one in new), _DIALECTS.get(engine)
    if not files:
        return Guarded(tool, CLEAN, "nothing is pending", dialect=dialect)
    found = [one for path in files for one in _linted(tree, path, tool, dialect)]
    if engine:
        done = Rehearsal("not rehearsed", f"the project uses {engine}, and only SQLite can be rehearsed")
    else:
        done = rehearse(
            sandbox,
            tree,
            at,
            runtime,
            tool,
            before=start,
            target=asked.target,
            database=place,
            env_name=asked.env_name,
            env=asked.env,
            stop=stop,
        )
    # What a rehearsal sees is the work of all files together; it is shown at the last of them.
    found += [_as_lint(one.severity, one.text, files[-1]) for one in done.findings]
    status, reason = _status(done, found)
    if start is None and place is None:
        reason += "; only the newest revision was looked at, --from names an earlier start"
    return Guarded(tool, status, reason, files, dialect, tuple(found), done)


def _before_uncommitted(tree: Path, tool: MigrationTool, asked: Asked) -> str | None:
    """Where a database is that lacks the files nobody has committed yet; None when every file is committed."""
    added = migrations.new_files(tool, asked.uncommitted)
    return (graph(tree, tool).before(added) or "base") if added and asked.target is None else None


def _status(done: Rehearsal, found: list[LintFinding]) -> tuple[str, str]:
    """A failed step first, then errors of either kind, then that nothing was tried."""
    broken = next((step for step in done.steps if not step.ok), None)
    if broken is not None:
        return FAILED, f"the step {broken.name!r} fails"
    errors = sum(one.severity == "error" for one in found)
    if errors:
        rest = "" if done.status != "not rehearsed" else f"; not rehearsed: {done.reason}"
        return FINDINGS, f"{errors} findings of severity error{rest}"
    if done.status == "not rehearsed":
        return NOT_REHEARSED, done.reason
    return CLEAN, done.reason


def _linted(tree: Path, path: str, tool: MigrationTool, dialect: str | None) -> tuple[LintFinding, ...]:
    if dialect is None:
        return ()
    text = (tree / path).read_text(encoding="utf-8", errors="replace")
    return migration_lint.lint_file(path, text, tool.name, dialect)


def _as_lint(severity: str, text: str, path: str) -> LintFinding:
    return LintFinding(
        "rehearsal", severity, path, 1, text, "See what the rehearsal counted, and change the migration."
    )


def _paths(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
