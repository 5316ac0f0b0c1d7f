"""golang-migrate: pairs of NNN_name.up.sql and .down.sql, and one row that says the newest number."""

import re
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.forms import (
    Body,
    Folder,
    Loaded,
    Standing,
    Step,
    closed,
    joined,
    one_call,
    twins,
)
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment

_NAME = re.compile(r"([0-9]+)_(.*)\.(down|up)\.(.*)")
_TABLE = "schema_migrations"


@dataclass(frozen=True)
class GolangMigrate:
    """golang-migrate v4 with its usual table."""

    folder: Folder
    tables = frozenset({_TABLE})
    cumulative = True
    together = False

    def load(self) -> Loaded:
        """Pairs by number, whatever the zeros before it; a number without an up file still counts."""
        found: dict[int, dict[str, str]] = {}
        warnings: list[str] = []
        matches = [(name, _NAME.fullmatch(name)) for name in self.folder.names()]
        for way in ("up", "down"):
            theirs = [(int(m[1]), self.folder.path(name)) for name, m in matches if m and m[3] == way]
            twins(theirs, f"an {way} file of version" if way == "up" else "a down file of version")
        for name, match in matches:
            if match:
                found.setdefault(int(match[1]), {})[match[3]] = name
            elif name.endswith(".sql"):
                warnings.append(f"{self.folder.path(name)} is no NUMBER_name.up.sql or .down.sql: never run")
        steps: list[Step] = []
        for number in sorted(found):
            steps.append(self._step(number, found[number], (steps[-1].file.revision,) if steps else ()))
            if "up" not in found[number]:
                warnings.append(f"{steps[-1].file.path} has no up file beside it: version {number} does nothing")
        return Loaded(tuple(steps), tuple(warnings))

    def _step(self, number: int, names: dict[str, str], parents: tuple[str, ...]) -> Step:
        up, down = names.get("up"), names.get("down")
        present = [name for name in (up, down) if name is not None]
        return Step(
            file=self.folder.file(present[0], str(number), parents, *present[1:]),
            up=(Body(self.folder.text(up)),) if up else (),
            down=(Body(self.folder.text(down)),) if down else None,
            facts={},
            paths=tuple(self.folder.path(name) for name in present),
        )

    def settings(self) -> tuple[str, ...]:
        """It has no configuration file."""
        return ()

    def engine(self) -> str | None:
        """Only its command line names one."""
        return None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """The number in its one row; a dirty one is refused, as by the tool."""
        rows = ask(f"SELECT version, dirty FROM {_TABLE}")
        if not rows:
            return Standing(())
        version, dirty = str(rows[0][0]), rows[0][1]
        if dirty in (True, 1, "1", "t", "true"):
            raise ToolRetry(
                f"{_TABLE} says that version {version} is dirty: its file failed half-way. Look at what of it is there, "
                f"finish or undo that by hand, then `migrate -path {self.folder.place} -database … force {version}` "
                "(or the number before it)"
            )
        if version not in loaded.by_revision():
            raise ToolRetry(f"the database is at version {version}, and {self.folder.place} has no file of that number")
        return Standing((version,))

    def start(self, dialect: str) -> str:
        """As its drivers write it."""
        if dialect == POSTGRESQL:
            return (
                f'CREATE TABLE IF NOT EXISTS "{_TABLE}" '
                "(version bigint not null primary key, dirty boolean not null);\n"
            )
        return (
            f"CREATE TABLE IF NOT EXISTS {_TABLE} (version uint64,dirty bool);\n"
            f"CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON {_TABLE} (version);\n"
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """One file and its number.

        The tool marks the number dirty before the file. Where the file is one transaction the number goes into it, so
        that nothing can be left half-done; where it is none the mark is written, as by the tool.
        """
        bodies = step.up if direction == "up" else step.down or ()
        target = step.file.revision if direction == "up" else "".join(step.file.parents)
        after = _at(target, False, dialect)
        if not bodies or not bodies[0].sql.strip():
            return (Segment(after),)
        sql = bodies[0].sql
        file = one_call(sql, dialect) if dialect == POSTGRESQL else Segment(sql)
        if file.transactional:
            return (Segment(joined((sql, after), dialect)),)
        return (Segment(_at(target or "-1", True, dialect)), file, Segment(closed(after, dialect)))

    def command(self, move: Move, direction: str) -> str:
        """By count, which is the same whatever the numbers."""
        base = f'migrate -path {self.folder.place} -database "$DATABASE_URL"'
        return f"{base} {direction} {len(move.files)}"


def _at(version: str, dirty: bool, dialect: str) -> str:
    """The one row; no row for "" (before the first)."""
    mark = ("true" if dirty else "false") if dialect == POSTGRESQL else str(int(dirty))
    insert = f"INSERT INTO {_TABLE} (version, dirty) VALUES ({version}, {mark});\n" if version else ""
    return f"DELETE FROM {_TABLE};\n{insert}"
