"""Alembic, by its own command line in the box, led to the scratch database by alembic.ini and the named variables."""

import posixpath
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import alembic
from backend_crew.tools.alembic_box import AlembicRun, engine_of, excerpt, plain_config, point_at, reason_in
from backend_crew.tools.alembic_box import alembic as call
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.history import History
from backend_crew.tools.migrators.protocol import Led, Move, Pointing, Scratch, Script
from backend_crew.tools.migrators.rendered import script_of
from backend_crew.tools.process import Completed


@dataclass(frozen=True)
class AlembicMigrator:
    """One Alembic project of a tree. `alembic_version` names the heads, each standing for all that it follows."""

    tree: Path
    tool: MigrationTool
    pointing: Pointing = field(default_factory=Pointing, repr=False)

    @property
    def tables(self) -> frozenset[str]:
        """alembic_version alone."""
        return frozenset({"alembic_version"})

    @property
    def runs_code(self) -> bool:
        """Revisions are Python."""
        return True

    def history(self) -> History:
        """The revisions as their literals say; ToolRetry for several heads and whatever cannot be known."""
        return alembic.graph(self.tree, self.tool)

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        """The rows of alembic_version."""
        return tuple(sorted(str(row[0]) for row in ask("SELECT version_num FROM alembic_version")))

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what is wrong with the files ends the reading."""
        return ()

    def concerns(self, ask: Ask) -> tuple[str, ...]:
        """None: no checksums are recorded."""
        return ()

    def others(self, ask: Ask) -> tuple[str, ...]:
        """None: all migrations are the repository's."""
        return ()

    def engine(self) -> str:
        """What the named variable or sqlalchemy.url says, else what the revisions take from a dialect."""
        return engine_of(plain_config(self.tree, self.tool), self.pointing, self.texts())

    def texts(self) -> tuple[str, ...]:
        """The revision files as text; none where the history cannot be read, which is told elsewhere."""
        try:
            paths = [file.path for file in alembic.graph(self.tree, self.tool).files]
        except ToolRetry:
            return ()
        return tuple((self.tree / path).read_text(encoding="utf-8", errors="replace") for path in paths)

    def lead(self, scratch: Scratch) -> Led:
        """By the box's alembic.ini and the named variables."""
        return Led(self._run(scratch).env)

    def up(self, scratch: Scratch, move: Move) -> Completed:
        """`alembic upgrade`."""
        return self._call(scratch, "upgrade", *move.goal)

    def down(self, scratch: Scratch, move: Move) -> Completed:
        """`alembic downgrade`."""
        return self._call(scratch, "downgrade", *(move.start or ("base",)))

    def render(self, scratch: Scratch, move: Move, direction: str) -> Script | str:
        """`--sql`, which writes alembic_version's rows too. It needs no database, and fails where a revision does."""
        ends = (move.start, move.goal) if direction == "up" else (move.goal, move.start)
        first, last = (end[0] if end else "base" for end in ends)
        command = "upgrade" if direction == "up" else "downgrade"
        done = self._call(scratch, command, f"{first}:{last}", "--sql")
        if not done.ok:
            return f"the SQL of the {command} cannot be rendered without a database: {reason_in(excerpt(done))}"
        if done.truncated:
            return f"the SQL of the {command} is longer than can be shown"
        return script_of(done.stdout, scratch.dialect)

    def remarks(self, scratch: Scratch) -> tuple[str, ...]:
        """None: there is no such linter."""
        return ()

    def manifest(self) -> tuple[tuple[str, str], ...]:
        """env.py, the revisions, the configuration and the import closure of all of these."""
        return alembic.manifest(self.tree, self.tool)

    def command(self, move: Move, direction: str) -> str:
        """In the folder of the configuration."""
        words = list(self.tool.apply_command)
        if direction == "up" and move.goal and words[-1:] == ["head"]:
            words[-1] = move.goal[0]
        elif direction == "down":
            words = ["downgrade" if word == "upgrade" else word for word in words[:-1]]
            words.append(move.start[0] if move.start else "base")
        folder = posixpath.dirname(self.tool.config or "")
        text = " ".join(words)
        return f"cd {folder} && {text}" if folder else text

    def to(self, scratch: Scratch, command: str, revision: str) -> Completed:
        """`upgrade` or `downgrade` to a revision."""
        return self._call(scratch, command, revision)

    def draft(self, scratch: Scratch, message: str, revision: str) -> Completed:
        """`alembic revision --autogenerate`."""
        return self._call(scratch, "revision", "--autogenerate", f"--message={message}", f"--rev-id={revision}")

    def _call(self, scratch: Scratch, command: str, *arguments: str) -> Completed:
        return call(self._run(scratch), command, *arguments)

    def _run(self, scratch: Scratch) -> AlembicRun:
        return point_at(scratch, plain_config(self.tree, self.tool), self.pointing)
