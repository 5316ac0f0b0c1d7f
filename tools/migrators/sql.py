"""Directories of plain SQL behind the `Migrator` protocol: the same script is rendered, rehearsed and applied."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from backend_crew.tools.alembic_box import engine_named
from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.dbmate import Dbmate
from backend_crew.tools.migrators.dialect_hint import dialect_hint
from backend_crew.tools.migrators.drizzle import Drizzle
from backend_crew.tools.migrators.flyway import Flyway
from backend_crew.tools.migrators.forms import Body, Folder, Form, Loaded, Standing, Step, blank
from backend_crew.tools.migrators.golang_migrate import GolangMigrate
from backend_crew.tools.migrators.goose import Goose
from backend_crew.tools.migrators.history import History
from backend_crew.tools.migrators.prisma import Prisma
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Led, Move, Pointing, Scratch, Script, Segment
from backend_crew.tools.migrators.yoyo import Yoyo
from backend_crew.tools.process import Completed
from backend_crew.tools.sql_statements import split

FORMS: dict[str, Callable[[Folder], Form]] = {
    "goose": Goose,
    "golang-migrate": GolangMigrate,
    "dbmate": Dbmate,
    "yoyo": Yoyo,
    "flyway": Flyway,
    "prisma": Prisma,
    "drizzle": Drizzle,
}
# DO with a body that is one RAISE EXCEPTION, with its message and what it formats or adds.
_RAISES = re.compile(
    r"""(?:\s|--[^\n]*\n)*DO\s+(?:LANGUAGE\s+plpgsql\s+)?(?P<tag>\$\w*\$)\s*BEGIN\s+
    RAISE\s+(?:EXCEPTION\s+)?(?!DEBUG|LOG|INFO|NOTICE|WARNING)(?:'(?:[^']|'')*'|[^;'$])*;\s*END\s*;?\s*(?P=tag)""",
    re.IGNORECASE | re.VERBOSE,
)
_SQLITES = {"sqlite", "sqlite3", "libsql", "turso"}
_POSTGRESQLS = {"postgres", "postgresql", "pg", "pgx"}


@dataclass(frozen=True)
class SqlMigrator:
    """One tool's folder. Moving runs what `render` shows: the files' own SQL with the rows that the tool writes.

    The tool itself is never needed. A row goes into the transaction of its file where that has one, even where the tool
    writes it a moment later: the end is the same, and nothing can be left half-done.
    """

    tree: Path
    tool: MigrationTool
    pointing: Pointing = field(default_factory=Pointing, repr=False)

    @cached_property
    def form(self) -> Form:
        """The tool's own rules; ToolRefused for a tool that is none of `FORMS`."""
        make = FORMS.get(self.tool.name)
        if make is None:
            raise ToolRefused(f"{self.tool.name} ({self.tool.evidence}) is none of {', '.join(FORMS)}")
        return make(Folder(self.tree, self.tool))

    @cached_property
    def loaded(self) -> Loaded:
        """All migrations with their SQL; a way back that does nothing but raise is none."""
        loaded = self.form.load()
        return replace(loaded, steps=tuple(replace(one, down=None) if _refuses(one) else one for one in loaded.steps))

    @property
    def tables(self) -> frozenset[str]:
        """The tool's own tables."""
        return self.form.tables

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks like a migration and would never be run, and files whose SQL cannot be known here."""
        refused = (step.refused for step in self.loaded.steps if step.refused)
        return (*self.loaded.warnings, *refused)

    def history(self) -> History:
        """Every migration in the tool's own order."""
        steps = self.loaded.steps
        parents = {parent for step in steps for parent in step.file.parents}
        return History(
            files=tuple(step.file for step in steps),
            heads=tuple(step.file.revision for step in steps if step.file.revision not in parents),
            empty_downgrades=frozenset(
                step.file.revision
                for step in steps
                if step.down is not None and _acts(step.up) and not _acts(step.down)
            ),
            irreversible=frozenset(step.file.revision for step in steps if step.down is None),
            cumulative=self.form.cumulative,
        )

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        """What the tool's table says; ToolRetry where the tool would refuse to go on."""
        return self.form.standing(ask, self.loaded).recorded

    def concerns(self, ask: Ask) -> tuple[str, ...]:
        """What a database's own table says that does not agree with the files, though the tool goes on."""
        return self.standing(ask).concerns

    def standing(self, ask: Ask) -> Standing:
        """Both of the above with one look."""
        return self.form.standing(ask, self.loaded)

    @property
    def runs_code(self) -> bool:
        """No code of the repository runs."""
        return False

    def others(self, ask: Ask) -> tuple[str, ...]:
        """None: all migrations are the repository's."""
        return ()

    def engine(self) -> str:
        """By a named variable, else the configuration, else by what only one engine's SQL looks like."""
        urls = (engine_named(self.pointing.env.get(name, "")) for name in self.pointing.url_names)
        if named := next((one for one in urls if one), None):
            return named
        found = self.form.engine() or dialect_hint(body.sql for step in self.loaded.steps for body in step.up)
        return POSTGRESQL if found in _POSTGRESQLS else SQLITE if found is None or found in _SQLITES else found

    def lead(self, scratch: Scratch) -> Led:
        """By the named variables: no code of the repository moves the database."""
        return Led({**self.pointing.env, **dict.fromkeys(self.pointing.url_names, scratch.url())})

    def up(self, scratch: Scratch, move: Move) -> Completed:
        """Runs what `render` shows."""
        return self._run(scratch, move, "up")

    def down(self, scratch: Scratch, move: Move) -> Completed:
        """Runs what `render` shows."""
        return self._run(scratch, move, "down")

    def render(self, scratch: Scratch, move: Move, direction: str) -> Script | str:
        """The files' SQL in order (back: the last first) with the tool's rows; a text where a file stands against it."""
        return self.script(scratch.dialect, move, direction)

    def script(self, dialect: str, move: Move, direction: str) -> Script | str:
        """The same for a dialect, without a scratch database."""
        known = self.loaded.by_revision()
        steps = [known[file.revision] for file in move.files]
        for step in steps:
            if step.refused:
                return step.refused
            if direction == "down" and step.down is None:
                return f"{step.file.path} has no way back"
        segments = [] if direction == "down" or move.start else [Segment(self.form.start(dialect))]
        ran: list[Segment] = []
        for step in steps if direction == "up" else reversed(steps):
            ran += self.form.run(step, direction, dialect)
        if self.form.together and ran:
            ran = [Segment("".join(one.sql for one in ran))]
        return Script((*segments, *ran))

    def remarks(self, scratch: Scratch) -> tuple[str, ...]:
        """None: there is no such linter."""
        return ()

    def manifest(self) -> tuple[tuple[str, str], ...]:
        """The migration files, whatever lies beside them, and the configuration that says how they run."""
        folder = Folder(self.tree, self.tool)
        paths = {path for step in self.loaded.steps for path in step.paths} | set(self.form.settings())
        return tuple(sorted((path, hashlib.sha256(folder.read_at(path)).hexdigest()) for path in paths))

    def command(self, move: Move, direction: str) -> str:
        """The tool's own command from the repository's top folder."""
        return self.form.command(move, direction) if move.files else ""

    def _run(self, scratch: Scratch, move: Move, direction: str) -> Completed:
        script = self.script(scratch.dialect, move, direction)
        if isinstance(script, str):
            raise ToolRetry(script)
        return scratch.execute(script)


def _refuses(step: Step) -> bool:
    """Whether going back ends in an error that the file itself raises, and nothing else."""
    statements = [one for body in step.down or () for one in split(body.sql, POSTGRESQL) if not blank(one.text, SQLITE)]
    return bool(statements) and all(_RAISES.match(one.text) for one in statements)


def _acts(bodies: Sequence[Body]) -> bool:
    # Blanks and comments look the same in every dialect.
    return any(not blank(body.sql, SQLITE) for body in bodies)
