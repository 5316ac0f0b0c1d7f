"""Flyway: V1_2__name.sql, their U undo files, R repeatable files, and a history table with CRC32 checksums."""

import re
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrations import MigrationFile
from backend_crew.tools.migrators.forms import (
    Body,
    Folder,
    Loaded,
    Standing,
    Step,
    joined,
    literal,
    with_row,
)
from backend_crew.tools.migrators.protocol import POSTGRESQL, Move, Segment
from backend_crew.tools.sql_statements import outside, split

_NAME = re.compile(r"(?:([VUB])([0-9]+(?:[._][0-9]+)*)|(R))__(.*)\.(sql|java)")
_LOOKS = re.compile(r"[VUBR][0-9_].*\.sql")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_URL = re.compile(r"jdbc:(\w+):")
_TABLE = "flyway_schema_history"
_CONFIGS = ("flyway.toml", "flyway.conf", "conf/flyway.toml", "conf/flyway.conf")


@dataclass(frozen=True)
class Flyway:
    """Flyway with its usual prefixes and suffixes, one location, validating before it migrates."""

    folder: Folder
    cumulative = False
    together = False

    @property
    def tables(self) -> frozenset[str]:
        """One."""
        return frozenset({self._table.lower()})

    @property
    def _table(self) -> str:
        return self._options().get("table", _TABLE)

    def _options(self) -> Mapping[str, str]:
        """What its configuration files say, names in lower case and without "flyway."."""
        found: dict[str, str] = {}
        for path in self.settings():
            text = self.folder.config(path)
            found |= _toml(path, text) if path.endswith(".toml") else _properties(text)
        return {key.lower().removeprefix("flyway."): value for key, value in found.items()}

    def load(self) -> Loaded:
        """By version, part by part as numbers; repeatable files behind all of them, by description."""
        names = [name for name in self.folder.names(deep=True) if _NAME.fullmatch(name.rsplit("/", 1)[-1])]
        files = [(name, _matched(name)) for name in names]
        warnings = [
            f"{self.folder.path(name)} is no name that Flyway knows (V1_2__text.sql, R__text.sql): never run"
            for name in self.folder.names(deep=True)
            if name not in names and _LOOKS.fullmatch(name.rsplit("/", 1)[-1])
        ]
        warnings += [
            f"{self.folder.path(name)} is a baseline file, which Flyway takes for an empty database instead of all "
            "before it; here all before it are run"
            for name, match in files
            if match[1] == "B"
        ]
        undo = self._by_version(files, "U")
        steps: list[Step] = []
        for key, (name, match) in sorted(self._by_version(files, "V").items()):
            parents = (steps[-1].file.revision,) if steps else ()
            steps.append(self._versioned(name, match, parents, undo.pop(key, None)))
        warnings += [f"{self.folder.path(name)} has no V file of its version" for name, _ in undo.values()]
        repeatable = sorted((match[4].replace("_", " "), name) for name, match in files if match[3])
        steps += [self._repeatable(name, description) for description, name in repeatable]
        return Loaded(tuple(steps), tuple(warnings))

    def _by_version(
        self, files: Sequence[tuple[str, re.Match[str]]], kind: str
    ) -> dict[tuple[int, ...], tuple[str, re.Match[str]]]:
        found: dict[tuple[int, ...], tuple[str, re.Match[str]]] = {}
        for name, match in files:
            if match[1] == kind:
                key = version_key(match[2])
                if key in found:
                    raise ToolRetry(
                        f"{self.folder.path(found[key][0])} and {self.folder.path(name)} both have version "
                        f"{match[2].replace('_', '.')}: give one another"
                    )
                found[key] = (name, match)
        return found

    def _versioned(
        self, name: str, match: re.Match[str], parents: tuple[str, ...], undo: tuple[str, re.Match[str]] | None
    ) -> Step:
        sql, whole, refused = self._script(name)
        facts = {
            "version": match[2].replace("_", "."),
            "description": match[4].replace("_", " "),
            "script": name,
            "checksum": str(checksum(self.folder.text(name))),
        }
        down = None
        if undo is not None:
            text, one, why = self._script(undo[0])
            down, refused = (Body(text, one),), refused or why
            facts |= {
                "undo": undo[0],
                "undo description": undo[1][4].replace("_", " "),
                "undo checksum": str(checksum(self.folder.text(undo[0]))),
            }
        others = (undo[0],) if undo else ()
        file = self.folder.file(name, facts["version"], parents, *others)
        paths = tuple(self.folder.path(one) for one in (name, *others))
        return Step(file, (Body(sql, whole),), down, facts, refused, paths)

    def _repeatable(self, name: str, description: str) -> Step:
        sql, whole, refused = self._script(name)
        facts = {"description": description, "script": name, "checksum": str(checksum(sql))}
        path = self.folder.path(name)
        # No parents: it runs behind all others, and stands on none of them.
        file = MigrationFile(path, f"R {description}", (), self.folder.file(name, "", ()).sha256)
        return Step(file, (Body(sql, whole),), None, facts, refused, (path,))

    def _script(self, name: str) -> tuple[str, bool, str]:
        """The SQL, whether it runs in a transaction, and why it cannot be known."""
        path = self.folder.path(name)
        if name.endswith(".java"):
            return "", True, f"{path} is Java: only the program that it is built into can run it"
        text = self.folder.text(name).removeprefix("\ufeff")
        own = _properties(self.folder.config(f"{path}.conf"))
        if "shouldExecute" in own:
            return text, True, f"{path}.conf decides by shouldExecute whether the file runs: that is not known here"
        replaces = own.get("placeholderReplacement", self._options().get("placeholderreplacement", "true")) == "true"
        values = {
            key.removeprefix("placeholders."): value
            for key, value in self._options().items()
            if key.startswith("placeholders.")
        }
        unknown = [name for name in _PLACEHOLDER.findall(text) if name.lower() not in values] if replaces else []
        if unknown:
            return (
                text,
                True,
                f"{path} has the placeholder ${{{unknown[0]}}}, whose value is not in a configuration file",
            )
        if replaces:
            text = _PLACEHOLDER.sub(lambda match: values[match[1].lower()], text)
        return text, own.get("executeInTransaction", self._options().get("executeintransaction", "true")) != "false", ""

    def settings(self) -> tuple[str, ...]:
        """Its configuration in the folder and all folders above, and the .conf files beside scripts."""
        found: list[str] = []
        parts = (self.folder.tool.folder or "").split("/")
        for count in range(len(parts) + 1):
            place = "/".join(part for part in parts[:count] if part)
            found += [f"{place}/{name}" if place else name for name in _CONFIGS]
        beside = [self.folder.path(name) for name in self.folder.names(deep=True) if name.endswith(".sql.conf")]
        return tuple(path for path in dict.fromkeys((*found, *beside)) if (self.folder.root / path).is_file())

    def engine(self) -> str | None:
        """What its JDBC URL names."""
        named = [match[1] for path in self.settings() if (match := _URL.search(self.folder.config(path)))]
        return named[0].lower() if named else None

    def standing(self, ask: Ask, loaded: Loaded) -> Standing:
        """The versions whose last row is a success, the repeatable files whose last checksum is theirs."""
        rows = ask(
            f'SELECT version, description, type, script, checksum, success FROM "{self._table}" ORDER BY installed_rank'
        )
        applied: dict[tuple[int, ...], tuple[str, object]] = {}
        repeated: dict[str, object] = {}
        baseline: tuple[int, ...] = ()
        for version, description, kind, script, crc, success in rows:
            if success not in (True, 1, "1", "t", "true"):
                raise ToolRetry(
                    f"{self._table} says that {script} failed: look at what of it is there, undo that by hand, then "
                    "`flyway repair`"
                )
            if version is None:
                repeated[str(description)] = crc
            elif str(kind).startswith(("UNDO", "DELETE")):
                applied.pop(version_key(str(version)), None)
            elif "BASELINE" in str(kind):
                baseline = version_key(str(version))
            else:
                applied[version_key(str(version))] = (str(version), crc)
        return self._compared(loaded, applied, repeated, baseline)

    def _compared(
        self,
        loaded: Loaded,
        applied: dict[tuple[int, ...], tuple[str, object]],
        repeated: dict[str, object],
        baseline: tuple[int, ...],
    ) -> Standing:
        recorded: list[str] = []
        newest = max(applied, default=())
        known: set[tuple[int, ...]] = set()
        for step in loaded.steps:
            if "version" not in step.facts:
                if str(repeated.get(step.facts["description"])) == step.facts["checksum"]:
                    recorded.append(step.file.revision)
                continue
            key = version_key(step.facts["version"])
            known.add(key)
            if key in applied:
                crc = applied[key][1]
                if crc is not None and str(crc) != step.facts["checksum"]:
                    raise ToolRetry(
                        f"{step.file.path} is not as it was when this database had it (checksum {crc}, now "
                        f"{step.facts['checksum']}): Flyway refuses that. Write the change into a new version"
                    )
                recorded.append(step.file.revision)
            elif baseline and key <= baseline:
                recorded.append(step.file.revision)
            elif key < newest:
                raise ToolRetry(
                    f"{step.file.path} is older than version {applied[newest][0]}, which this database has had: Flyway "
                    "refuses that (outOfOrder). Give the file a later version"
                )
        gone = [text for key, (text, _) in sorted(applied.items()) if key not in known]
        if gone and version_key(gone[0]) < max(known, default=()):
            raise ToolRetry(f"version {gone[0]} was applied here and has no file: Flyway refuses that. Bring it back")
        concerns = tuple(f"version {one} was applied here and has no file" for one in gone)
        return Standing(tuple(sorted((*recorded, *gone))), concerns)

    def start(self, dialect: str) -> str:
        """As its databases write it."""
        table, postgresql = self._table, dialect == POSTGRESQL
        number = "INTEGER" if postgresql else "INT"
        moment = (
            "TIMESTAMP NOT NULL DEFAULT now()"
            if postgresql
            else "TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f','now'))"
        )
        key = f'CONSTRAINT "{table}_pk" PRIMARY KEY' if postgresql else "PRIMARY KEY"
        return (
            f'CREATE TABLE IF NOT EXISTS "{table}" ("installed_rank" INT NOT NULL {key}, "version" VARCHAR(50), '
            '"description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL, "script" VARCHAR(1000) NOT NULL, '
            f'"checksum" {number}, "installed_by" VARCHAR(100) NOT NULL, "installed_on" {moment}, '
            f'"execution_time" {number} NOT NULL, "success" BOOLEAN NOT NULL);\n'
            f'CREATE INDEX IF NOT EXISTS "{table}_s_idx" ON "{table}" ("success");\n'
        )

    def run(self, step: Step, direction: str, dialect: str) -> tuple[Segment, ...]:
        """The script and its row; a way back adds a row too."""
        facts = step.facts
        if direction == "up":
            bodies, row = step.up, ("SQL", facts["description"], facts["script"], facts["checksum"])
        else:
            row = ("UNDO_SQL", facts["undo description"], facts["undo"], facts["undo checksum"])
            bodies = step.down or ()
        version = literal(facts["version"]) if "version" in facts else "NULL"
        kind, description, script, crc = row
        by, yes = ("current_user", "true") if dialect == POSTGRESQL else ("''", "1")
        insert = (
            f'INSERT INTO "{self._table}" ("installed_rank", "version", "description", "type", "script", "checksum", '
            '"installed_by", "execution_time", "success") '
            f"SELECT coalesce(max(\"installed_rank\"), 0) + 1, {version}, {literal(description)}, '{kind}', "
            f'{literal(script)}, {crc}, {by}, 0, {yes} FROM "{self._table}";'
        )
        return with_row([alone for body in bodies for alone in _alone(body, dialect)], insert, dialect)

    def command(self, move: Move, direction: str) -> str:
        """To the version of the last file, or to that of the one below the first (undo is part of a paid edition)."""
        base = f"flyway -locations=filesystem:{self.folder.place}"
        versions = [file.revision for file in move.files if not file.revision.startswith("R ")]
        if direction == "up":
            return f"{base} -target={versions[-1]} migrate" if versions else f"{base} migrate"
        return f"{base} -target={versions[0]} undo" if versions else ""


def version_key(text: str) -> tuple[int, ...]:
    """A version as Flyway compares it: parts as numbers, zeros at the end without meaning."""
    try:
        parts = [int(part) for part in re.split(r"[._]", text)]
    except ValueError as error:
        raise ToolRetry(f"{text!r} is no version that Flyway knows: numbers with dots or _ between them") from error
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def checksum(text: str) -> int:
    """Flyway's: CRC32 over the lines without their ends, as a signed number."""
    crc = 0
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    for line in lines:
        crc = zlib.crc32(line.encode(), crc)
    return crc - 2**32 if crc >= 2**31 else crc


def _matched(name: str) -> re.Match[str]:
    match = _NAME.fullmatch(name.rsplit("/", 1)[-1])
    if match is None:
        raise AssertionError(name)
    return match


def _alone(body: Body, dialect: str) -> list[Body]:
    """Flyway leaves the transaction away where PostgreSQL would refuse every statement of the script in one."""
    statements = split(body.sql, dialect)
    alone = dialect == POSTGRESQL and bool(statements) and all(outside(one.text) for one in statements)
    if body.transactional and not alone:
        return [body] if statements else []
    return [Body(joined((one.text,), dialect), False) for one in statements]


def _properties(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "!")) and "=" in line:
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def _toml(path: str, text: str) -> dict[str, str]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ToolRetry(f"{path} is not TOML: {error}") from error
    found: dict[str, str] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}{key}.", inner)
        elif isinstance(value, bool | int | str):
            found[prefix[:-1]] = str(value).lower() if isinstance(value, bool) else str(value)

    walk("", document)
    return found
