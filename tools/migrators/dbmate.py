"""dbmate: NUMBER_name.sql with `-- migrate:up` and `-- migrate:down` in one file."""

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
    late,
    literal,
    strangers,
    twins,
    with_row,
)
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment

_NAME = re.compile(r"([0-9]+).*\.sql")
_MARK = re.compile(r"^--\s*migrate:(up|down)(?:\s*$|[ \t]+\S.*$)", re.MULTILINE)
_TABLE = "schema_migrations"


@dataclass(frozen=True)
class Dbmate:
    """dbmate v2 with its usual table."""

    folder: Folder
    tables = frozenset({_TABLE})
    cumulative = False
    together = False

    def load(self) -> Loaded:
        """In the order of the names as texts: 10_x comes before 9_x, as for the tool."""
        names = [(name, match) for name in self.folder.names() if (match := _NAME.fullmatch(name))]
        twins([(match[1], self.folder.path(name)) for name, match in names], "version")
        others = [name for name in self.folder.names() if name.endswith(".sql") and not _NAME.fullmatch(name)]
        warnings = [f"{self.folder.path(name)} does not begin with a number: never run" for name in others]
        if len({len(match[1]) for _, match in names}) > 1:
            warnings.append(f"the numbers in {self.folder.place} differ in length, and they are sorted as texts")
        return Loaded(tuple(self._step(name, match[1]) for name, match in names), tuple(warnings))

    def _step(self, name: str, version: str) -> Step:
        path, text = self.folder.path(name), self.folder.text(name)
        marks = list(_MARK.finditer(text))
        kinds = [mark[1] for mark in marks]
        if kinds != ["up", "down"] * (len(kinds) // 2) or not kinds:
            raise ToolRetry(
                f"{path} has the blocks {kinds}: write `-- migrate:up` and then `-- migrate:down`, in pairs"
            )
        if any(line.strip() and not line.lstrip().startswith("--") for line in text[: marks[0].start()].split("\n")):
            raise ToolRetry(f"{path} has SQL before its first `-- migrate:up`: move it below that line")
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        blocks = [_block(mark, text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
        # Several pairs of one file are undone from the last to the first.
        return Step(
            file=self.folder.file(name, version, ()),
            up=tuple(blocks[::2]),
            down=tuple(blocks[1::2][::-1]),
            facts={},
            paths=(path,),
        )

    def settings(self) -> tuple[str, ...]:
        """It reads the environment alone (and a .env, which is nobody's to read here)."""
        return ()

    def engine(self) -> str | None:
        """Only the environment names one."""
        return None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """Every version is a row; dbmate runs late ones without a word."""
        recorded = tuple(sorted(str(row[0]) for row in ask(f"SELECT version FROM {_TABLE}")))
        concerns = [
            f"{step.file.path} is older than what this database has had: it runs now, after younger ones"
            for step in late(loaded, recorded)
        ]
        concerns += [f"version {name} was applied here and has no file" for name in strangers(loaded, recorded)]
        return Standing(recorded, tuple(concerns))

    def start(self, dialect: str) -> str:
        """As its drivers write it."""
        kind = "varchar" if dialect == POSTGRESQL else "varchar(128)"
        return f'CREATE TABLE IF NOT EXISTS "{_TABLE}" (version {kind} primary key);\n'

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """Each block in a transaction of its own unless it says `transaction:false`; the row goes with the last."""
        version = literal(step.file.revision)
        if direction == "up":
            return with_row(step.up, f'INSERT INTO "{_TABLE}" (version) VALUES ({version});', dialect)
        return with_row(step.down or (), f'DELETE FROM "{_TABLE}" WHERE version = {version};', dialect)

    def command(self, move: Move, direction: str) -> str:
        """It goes up to the end only, and back one at a time."""
        base = f"dbmate --migrations-dir {self.folder.place}"
        return f"{base} migrate" if direction == "up" else " && ".join([f"{base} rollback"] * len(move.files))


def _block(mark: re.Match[str], sql: str) -> Body:
    options = dict(pair.split(":", 1) for pair in mark[0].split()[1:] if pair.count(":") == 1)
    return Body(sql.lstrip("\n"), options.get("transaction") != "false")
