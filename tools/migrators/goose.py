"""goose: NUMBER_name.sql with `-- +goose Up` and `-- +goose Down`, cut into statements by goose's own rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.forms import Body, Folder, Loaded, Standing, Step, twins, with_row
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment

_NAME = re.compile(r"\+?([0-9]+)_.*\.(sql|go)")
_TABLE = "goose_db_version"
_MARKS = ("Up", "Down", "StatementBegin", "StatementEnd", "NO TRANSACTION", "ENVSUB ON", "ENVSUB OFF")


class _Parsed:
    """A file cut as goose cuts it: at lines whose last word ends with a semicolon, or at StatementEnd."""

    def __init__(self, path: str, text: str) -> None:
        self.statements: dict[str, list[str]] = {}  # by "Up" and "Down"
        self.transactional = True
        self.environment = False
        self._way, self._block = "", False
        self._lines: list[str] = []
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            self._where = f"{path}:{number}"
            if self._way or line.strip():
                self._take(line)
        if not self._way:
            raise ToolRetry(f"{path} has no `-- +goose Up`: write it above its SQL")
        if self._block:
            raise ToolRetry(f"{path} ends inside StatementBegin: write `-- +goose StatementEnd`")
        self._check_finished()

    def _take(self, line: str) -> None:
        mark = _mark(self._where, line)
        if mark in {"Up", "Down"}:
            self._check_finished()
            if (mark == "Up" and self._way) or (mark == "Down" and self._way != "Up") or self._block:
                raise ToolRetry(f"{self._where}: write one `-- +goose Up`, then at most one `-- +goose Down`")
            self._way, self.statements[mark] = mark, []
        elif mark in {"StatementBegin", "StatementEnd"}:
            if not self._way or (mark == "StatementBegin") == self._block:
                raise ToolRetry(f"{self._where}: {mark} does not fit here: write it in pairs below Up or Down")
            self._block = not self._block
            if not self._block:
                self._finish()
        elif mark == "NO TRANSACTION":
            self.transactional = False
        elif mark:
            self.environment = self.environment or mark == "ENVSUB ON"
        elif self._lines or not (line.strip().startswith("--") or not line):
            self._add(line)

    def _add(self, line: str) -> None:
        if not self._way:
            raise ToolRetry(f"{self._where}: there is SQL before `-- +goose Up`: move it below that line")
        self._lines.append(line)
        if not self._block and _ends(line):
            self._finish()

    def _finish(self) -> None:
        self.statements[self._way].append("\n".join(self._lines).strip())
        self._lines.clear()

    def _check_finished(self) -> None:
        if "\n".join(self._lines).strip():
            begin = self._lines[0].strip()[:60]
            raise ToolRetry(f"{self._where}: the statement before it has no end: end {begin!r} with a semicolon")


@dataclass(frozen=True)
class Goose:
    """goose v3 with its usual table."""

    folder: Folder
    tables = frozenset({_TABLE})
    cumulative = False
    together = False

    def load(self) -> Loaded:
        """By number; Go files are listed and not run."""
        found: list[tuple[int, str]] = []
        warnings: list[str] = []
        for name in self.folder.names():
            match = _NAME.fullmatch(name)
            if match and int(match[1]) > 0 and not name.endswith("_test.go"):
                found.append((int(match[1]), name))
            elif name.endswith(".sql"):
                warnings.append(f"{self.folder.path(name)} does not begin with a number above 0 and _: never run")
        twins([(number, self.folder.path(name)) for number, name in found], "version")
        steps: list[Step] = []
        for number, name in sorted(found):
            steps.append(self._step(name, str(number), (steps[-1].file.revision,) if steps else ()))
        return Loaded(tuple(steps), tuple(warnings))

    def _step(self, name: str, version: str, parents: tuple[str, ...]) -> Step:
        path, file = self.folder.path(name), self.folder.file(name, version, parents)
        if name.endswith(".go"):
            return Step(file, (), None, {}, f"{path} is Go: only the program that it is built into can run it", (path,))
        parsed = _Parsed(path, self.folder.text(name))
        down = parsed.statements.get("Down")
        return Step(
            file=file,
            up=_bodies(parsed.statements["Up"], parsed.transactional),
            down=None if down is None else _bodies(down, parsed.transactional),
            facts={},
            refused=f"{path} takes values from the environment (ENVSUB ON): its SQL is not known here"
            if parsed.environment
            else "",
            paths=(path,),
        )

    def settings(self) -> tuple[str, ...]:
        """It reads the environment alone (and a .env, which is nobody's to read here)."""
        return ()

    def engine(self) -> str | None:
        """Only the environment and the command line name one."""
        return None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """The versions whose last row says that they are applied; goose itself refuses to go on past a gap."""
        last: dict[str, bool] = {}
        for version, applied in ask(f"SELECT version_id, is_applied FROM {_TABLE} ORDER BY id"):
            last[str(version)] = applied in (True, 1, "1", "t", "true")
        recorded = tuple(sorted(version for version, applied in last.items() if applied and version != "0"))
        numbers = [int(version) for version in recorded]
        missing = [step for step in loaded.steps if int(step.file.revision) < max(numbers, default=0)]
        missing = [step for step in missing if step.file.revision not in recorded]
        if missing:
            raise ToolRetry(
                f"{missing[0].file.path} is older than version {max(numbers)}, which this database has had: goose "
                "refuses that. Give the file a later number, or run goose with -allow-missing yourself"
            )
        known = loaded.by_revision()
        gone = [version for version in recorded if version not in known]
        return Standing(recorded, tuple(f"version {version} was applied here and has no file" for version in gone))

    def start(self, dialect: str) -> str:
        """As its dialects write it, with the row of version 0."""
        if dialect == POSTGRESQL:
            columns = (
                "id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL, "
                "is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now()"
            )
        else:
            columns = (
                "id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, "
                "is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now'))"
            )
        return (
            f"CREATE TABLE IF NOT EXISTS {_TABLE} ({columns});\n"
            f"INSERT INTO {_TABLE} (version_id, is_applied) SELECT 0, {_yes(dialect)} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {_TABLE});\n"
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """The statements and the row in one transaction, unless the file says NO TRANSACTION."""
        version = step.file.revision
        if direction == "up":
            row = f"INSERT INTO {_TABLE} (version_id, is_applied) VALUES ({version}, {_yes(dialect)});"
            return with_row(step.up, row, dialect)
        return with_row(step.down or (), f"DELETE FROM {_TABLE} WHERE version_id = {version};", dialect)

    def command(self, move: Move, direction: str) -> str:
        """To the number of the last file, or of the one below the first."""
        first, last = move.files[0], move.files[-1]
        target = last.revision if direction == "up" else (first.parents or ("0",))[0]
        return f"goose -dir {self.folder.place} {direction}-to {target}"


def _yes(dialect: str) -> str:
    return "true" if dialect == POSTGRESQL else "1"


def _bodies(statements: Sequence[str], transactional: bool) -> tuple[Body, ...]:
    if transactional:
        return (Body("".join(f"{one}\n" for one in statements)),) if statements else ()
    return tuple(Body(one, False) for one in statements)


def _mark(where: str, line: str) -> str:
    """The annotation of a line, "" for none."""
    if not line.strip().startswith("--") or "+goose" not in line:
        return ""
    said = line.replace("--", "").replace("+goose", "", 1).strip()
    found = next((mark for mark in _MARKS if mark.lower() == said.lower()), None)
    if found is None or line[:1] in {" ", "\t"}:
        raise ToolRetry(
            f"{where}: {line.strip()!r} is none of goose's annotations ({', '.join(_MARKS)}), at a line's start"
        )
    return found


def _ends(line: str) -> bool:
    last = ""
    for word in line.split():
        if word.startswith("--"):
            break
        last = word
    return last.endswith(";")
