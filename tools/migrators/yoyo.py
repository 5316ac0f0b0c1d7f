"""yoyo: NAME.sql with NAME.rollback.sql, ordered by `-- depends:`; its Python files are listed and not run."""

import hashlib
import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrators.forms import (
    Body,
    Folder,
    Loaded,
    Standing,
    Step,
    blank,
    late,
    literal,
    strangers,
    uuid,
    with_row,
)
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment
from backend_crew.tools.sql_statements import split

_UNDO = ".rollback.sql"
_DIRECTIVE = re.compile(r"\s*--\s*(transactional|depends)\s*:\s*(.*)")
_PYTHON_DEPENDS = re.compile(r"^__depends__\s*=\s*([\[({].*?[\])}]|\"[^\"]*\"|'[^']*')", re.MULTILINE | re.DOTALL)
_URL = re.compile(r"^\s*database\s*=\s*([a-z0-9+]+):", re.MULTILINE | re.IGNORECASE)
_TABLE = "_yoyo_migration"


@dataclass(frozen=True)
class Yoyo:
    """yoyo 6 and later (the second version of its tables)."""

    folder: Folder
    cumulative = False
    together = False

    @property
    def _table(self) -> str:
        named = re.search(r"^\s*migration_table\s*=\s*(\S+)", self._settings, re.MULTILINE)
        return named[1] if named else _TABLE

    @property
    def _settings(self) -> str:
        return "".join(self.folder.config(path) for path in self.settings())

    @property
    def tables(self) -> frozenset[str]:
        """All four of them."""
        return frozenset({self._table.lower(), "_yoyo_log", "_yoyo_version", "yoyo_lock"})

    def load(self) -> Loaded:
        """In the order of their names, each behind what it depends on."""
        every = [name for name in self.folder.names() if name.endswith((".sql", ".py")) and name != "__init__.py"]
        names = [name for name in every if not name.endswith(_UNDO)]
        warnings = [
            f"{self.folder.path(name)} has no migration beside it: never run"
            for name in every
            if name.endswith(_UNDO) and f"{name.removesuffix(_UNDO)}.sql" not in names
        ]
        steps: dict[str, Step] = {}
        for name in names:
            identity = name.rsplit(".", 1)[0]
            if identity in steps:
                raise ToolRetry(
                    f"{self.folder.path(name)} has the same name as {steps[identity].file.path}: rename one"
                )
            steps[identity] = self._step(name, identity, every)
        if any(identity.startswith("post-apply") for identity in steps):
            warnings.append("post-apply files are run after every yoyo apply; they are not run here")
            steps = {name: step for name, step in steps.items() if not name.startswith("post-apply")}
        return Loaded(tuple(_sorted(steps)), tuple(warnings))

    def _step(self, name: str, identity: str, every: Sequence[str]) -> Step:
        path, text = self.folder.path(name), self.folder.text(name)
        if name.endswith(".py"):
            why = f"{path} is Python (step()): yoyo's own program has to run it"
            found = _PYTHON_DEPENDS.search(text)
            depends = tuple(sorted(re.findall(r"[\"']([^\"']+)[\"']", found[1]))) if found else ()
            return Step(self.folder.file(name, identity, depends), (), None, {}, why, (path,))
        said = _directives(text)
        transactional = said.get("transactional", "true").strip().lower()
        if transactional not in {"true", "false"}:
            raise ToolRetry(f"{path} says `-- transactional: {transactional}`: write true or false")
        undo = f"{identity}{_UNDO}"
        others = (undo,) if undo in every else ()
        whole = transactional == "true"
        return Step(
            file=self.folder.file(name, identity, tuple(sorted(set(said.get("depends", "").split()))), *others),
            up=(Body(text, whole),),
            down=(Body(self.folder.text(undo), whole),) if others else None,
            facts={},
            paths=(path, *(self.folder.path(other) for other in others)),
        )

    def settings(self) -> tuple[str, ...]:
        """yoyo.ini, where the tool was found by it."""
        config = self.folder.tool.config
        return (config,) if config is not None and config.endswith(".ini") else ()

    def engine(self) -> str | None:
        """What the URL in yoyo.ini begins with."""
        found = _URL.search(self._settings)
        return found[1].lower().split("+")[0] if found else None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """A row for each migration, by its name; its contents are not recorded."""
        rows = ask(f'SELECT migration_id FROM "{self._table}"')
        recorded = tuple(sorted(str(row[0]) for row in rows))
        concerns = [f"{name} was applied here and has no file" for name in strangers(loaded, recorded)]
        concerns += [
            f"{step.file.path} comes before what this database has had: it runs now, after them"
            for step in late(loaded, recorded)
        ]
        return Standing(recorded, tuple(concerns))

    def start(self, dialect: str) -> str:
        """As its internal migrations write it."""
        moment = _now(dialect)
        return (
            'CREATE TABLE IF NOT EXISTS "yoyo_lock" ("locked" INT DEFAULT 1, "ctime" TIMESTAMP,"pid" INT NOT NULL,'
            'PRIMARY KEY ("locked"));\n'
            'CREATE TABLE IF NOT EXISTS "_yoyo_log" ( "id" VARCHAR(36), "migration_hash" VARCHAR(64), '
            '"migration_id" VARCHAR(255), "operation" VARCHAR(10), "username" VARCHAR(255), "hostname" VARCHAR(255), '
            '"comment" VARCHAR(255), "created_at_utc" TIMESTAMP, PRIMARY KEY ("id") );\n'
            'CREATE TABLE IF NOT EXISTS "_yoyo_version" ( "version" INT NOT NULL PRIMARY KEY, '
            '"installed_at_utc" TIMESTAMP );\n'
            f'CREATE TABLE IF NOT EXISTS "{self._table}" ( "migration_hash" VARCHAR(64), '
            '"migration_id" VARCHAR(255), "applied_at_utc" TIMESTAMP, PRIMARY KEY ("migration_hash") );\n'
            f'INSERT INTO "_yoyo_version" SELECT 2, {moment} '
            'WHERE NOT EXISTS (SELECT 1 FROM "_yoyo_version");\n'
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """The statements in one transaction (without one: each alone), its row and a line in its log."""
        name = step.file.revision
        key = literal(hashlib.sha256(name.encode()).hexdigest())
        moment, word = _now(dialect), "apply" if direction == "up" else "rollback"
        rows = (
            'INSERT INTO "_yoyo_log" ("id", "migration_hash", "migration_id", "operation", "created_at_utc") '
            f"VALUES ({uuid(dialect)}, {key}, {literal(name)}, '{word}', {moment});\n"
        )
        if direction == "up":
            rows += (
                f'INSERT INTO "{self._table}" ("migration_hash", "migration_id", "applied_at_utc") '
                f"VALUES ({key}, {literal(name)}, {moment});\n"
            )
        else:
            rows += f'DELETE FROM "{self._table}" WHERE "migration_hash" = {key};\n'
        bodies = [
            one
            for body in (step.up if direction == "up" else step.down or ())
            for one in ([body] if body.transactional else _alone(body.sql, dialect))
            if not blank(one.sql, dialect)
        ]
        return with_row(bodies, rows, dialect)

    def command(self, move: Move, direction: str) -> str:
        """Up to the last file; back with what depends on the first."""
        word, file = ("apply", move.files[-1]) if direction == "up" else ("rollback", move.files[0])
        if len(move.files) > 1 and direction == "up":
            return f'yoyo apply --batch --database "$DATABASE_URL" {self.folder.place}'
        return f'yoyo {word} --batch --database "$DATABASE_URL" --revision {file.revision} {self.folder.place}'


def _alone(sql: str, dialect: str) -> list[Body]:
    return [Body(f"{statement.text};", False) for statement in split(sql, dialect)]


def _now(dialect: str) -> str:
    return "now() AT TIME ZONE 'utc'" if dialect == POSTGRESQL else "strftime('%Y-%m-%dT%H:%M:%f','now')"


def _directives(text: str) -> dict[str, str]:
    """What the comments above the first statement say."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match:
            found[match[1]] = f"{found[match[1]]} {match[2]}" if match[1] in found else match[2]
        elif line.strip() and not line.lstrip().startswith("--"):
            break
    return found


def _sorted(steps: Mapping[str, Step]) -> list[Step]:
    """yoyo's order: by name, but each behind what it depends on, taken up as soon as that has run."""
    order = {name: place for place, name in enumerate(steps)}
    for name, step in steps.items():
        for parent in step.file.parents:
            if parent not in steps:
                raise ToolRetry(f"{step.file.path} depends on {parent!r}, and there is no such migration beside {name}")
    waiting = [(place, name) for name, place in order.items()]
    heapq.heapify(waiting)
    done: list[str] = []
    held: dict[str, None] = {}
    while waiting:
        _, name = heapq.heappop(waiting)
        if not set(steps[name].file.parents) <= set(done):
            held[name] = None
            continue
        done.append(name)
        for other in [one for one in held if set(steps[one].file.parents) <= set(done)]:
            del held[other]
            heapq.heappush(waiting, (order[other], other))
    if held:
        raise ToolRetry(f"{', '.join(steps[name].file.path for name in held)} depend on one another in a circle")
    return [steps[name] for name in done]
