"""The named entries of a dependency manifest or a TOML file, so that a change can be said entry by entry."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from backend_crew.tools.manifests import python_requirements, requirement_name

_NPM = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
_REQUIREMENT_LISTS = ("project.dependencies", "project.optional-dependencies", "dependency-groups")


@dataclass(frozen=True)
class Entry:
    """One entry's value in one spelling, and the line (from 1) where its name stands."""

    value: str
    line: int


def entries(path: str, text: str) -> Mapping[str, Entry] | None:
    """Entries by name: packages by their own name, settings by dotted key; None for other files and broken ones."""
    name = PurePosixPath(path).name
    try:
        if re.fullmatch(r"requirements.*\.(txt|in)", name) or re.search(r"(^|/)requirements/[^/]+\.(txt|in)$", path):
            return _requirements(text)
        if name == "pyproject.toml":
            return _pyproject(tomllib.loads(text), text)
        if name == "package.json":
            return _package_json(json.loads(text), text)
    except (ValueError, RecursionError):
        return None
    return None


def _requirements(text: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        entry = " ".join(re.sub(r"(^|\s)#.*", "", line).split())
        if entry:
            found[requirement_name(entry) or entry] = Entry(entry, number)
    return found


def _pyproject(document: Mapping[str, object], text: str) -> dict[str, Entry]:
    values: dict[str, str] = {}
    for where, name, requirement in python_requirements(document):
        # The same package may be named in several groups, each with its own version.
        values[name if where == "project.dependencies" else f"{name} ({where})"] = " ".join(requirement.split())
    for key, value in _leaves(document, ""):
        if not key.startswith(_REQUIREMENT_LISTS) and not re.match(r"tool\.poetry\.(.*\.)?(dev-)?dependencies\.", key):
            values[key] = value
    return _with_lines(values, text)


def _package_json(document: object, text: str) -> dict[str, Entry] | None:
    if not isinstance(document, dict):
        return None
    values: dict[str, str] = {}
    for key, value in _leaves(document, ""):
        table, _, name = key.partition(".")
        values[name if table == "dependencies" else f"{name} ({table})" if table in _NPM else key] = value
    return _with_lines(values, text)


def _leaves(value: object, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _with_lines(values: Mapping[str, str], text: str) -> dict[str, Entry]:
    lines = text.split("\n")
    return {name: Entry(value, _line(name, lines)) for name, value in values.items()}


def _line(name: str, lines: list[str]) -> int:
    """The first line that holds an entry's name or the last part of its key, 1 where it is spelled otherwise."""
    wanted = [name.partition(" (")[0]]
    wanted.append(wanted[0].rpartition(".")[2])
    for word in wanted:
        spelled = "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", word))
        pattern = re.compile(rf"(?<![\w-]){spelled}(?![\w-])", re.IGNORECASE)
        for number, line in enumerate(lines, start=1):
            if pattern.search(line):
                return number
    return 1
