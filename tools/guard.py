"""The migration guard: what is pending in a repository, rehearsed and linted, with one verdict over both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import migration_lint, migrations
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.lint_rules import LintFinding
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.find import migrator_of
from backend_crew.tools.migrators.protocol import Migrator, Pointing
from backend_crew.tools.rehearsal import Rehearsal, pending, rehearse
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place
from backend_crew.tools.sources import Source
from backend_crew.tools.trace_findings import settled

CLEAN, FINDINGS, NOT_REHEARSED, FAILED = "clean", "findings", "not rehearsed", "failed"
EXIT_CODES: Mapping[str, int] = {CLEAN: 0, FAILED: 1, FINDINGS: 6, NOT_REHEARSED: 7}
_ORDER = (FAILED, FINDINGS, NOT_REHEARSED, CLEAN)


@dataclass(frozen=True)
class Asked:
    """What a person asked for: from where, to where, and which variable names the database (None: generated rows)."""

    start: str | None = None
    target: str | None = None
    env_name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    source: Source | None = None
    unreadable: str = ""  # why the database that was named cannot be read: then nothing is rehearsed
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


def guard(place: Place | NoSandbox, tree: Path, tool: MigrationTool, asked: Asked) -> Guarded:
    """Rehearses and lints what is pending of one tool in `tree`, a private copy.

    Nothing of the repository runs outside the sandbox, and `asked.source` is only read.
    """
    pointing = Pointing((asked.env_name,) if asked.env_name else (), asked.env)
    migrator = migrator_of(tree, tool, pointing)
    if migrator is None:
        files = migrations.new_files(tool, _paths(tree))
        return Guarded(tool, NOT_REHEARSED, migrations.why_not_rehearsed(tool), files)
    try:
        engine = migrator.engine()
        source = asked.source if asked.source and asked.source.dialect == engine else None
        start = _from(migrator, asked) if asked.start else None if source else _before_uncommitted(migrator, asked)
        new = pending(migrator, source=source, before=start, target=asked.target)
    except ToolError as error:
        return Guarded(tool, NOT_REHEARSED, str(error))
    files, dialect = tuple(one.path for one in new), migration_lint.DIALECTS.get(engine)
    if not files:
        return Guarded(tool, CLEAN, "nothing is pending", dialect=dialect)
    texts = [(path, (tree / path).read_text(encoding="utf-8", errors="replace")) for path in files]
    found = list(migration_lint.lint_files(texts, tool.name, engine) or ())
    if asked.unreadable:
        done = Rehearsal("not rehearsed", asked.unreadable)
    else:
        done = rehearse(place, migrator, source=source, before=start, target=asked.target)
    found = settled(found, done.trace)
    # What a rehearsal sees is the work of all files together; it is shown at the last of them.
    found += [_as_lint(one.severity, one.text, files[-1]) for one in done.findings]
    status, reason = _status(done, found)
    if start is None and source is None:
        reason += "; only the newest revision was looked at, --from names an earlier start"
    return Guarded(tool, status, reason, files, dialect, tuple(found), done)


def _before_uncommitted(migrator: Migrator, asked: Asked) -> tuple[str, ...] | None:
    """Where a database is that lacks the files nobody has committed yet; None when every file is committed."""
    added = migrations.new_files(migrator.tool, asked.uncommitted)
    return migrator.history().before(added) if added and asked.target is None else None


def _from(migrator: Migrator, asked: Asked) -> tuple[str, ...]:
    """What the tool's table says where the person's --from is the newest that ran; "base" is an empty database."""
    if asked.start == "base":
        return ()
    history, start = migrator.history(), str(asked.start)
    if not history.knows(start):
        raise ToolRetry(f"the start {start} is no migration of this repository")
    return history.after((), history.between((), (start,)))


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


def _as_lint(severity: str, text: str, path: str) -> LintFinding:
    return LintFinding(
        "rehearsal", severity, path, 1, text, "See what the rehearsal counted, and change the migration."
    )


def _paths(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
