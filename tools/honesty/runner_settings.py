"""The settings of test runners and coverage in a repository's files, each as name and value, for one comparison."""

import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from tree_sitter import Node

from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.honesty.javascript_code import root_of, source, string_of, walk

Settings = dict[str, tuple[str, ...]]
"""What a file says of its runner: setting → its values, as words."""

_INI_SECTIONS = ("pytest", "tool:pytest", "coverage:report", "report", "coverage:run", "run")
_SCRIPT_CONFIG = re.compile(r"^(jest|vitest|vite|ava|\.mocharc|\.taprc|\.nycrc|\.c8rc|playwright)([.-].*)?$")
_KEYS = frozenset(
    {
        "testPathIgnorePatterns", "testMatch", "testRegex", "roots", "passWithNoTests", "exclude", "include", "retry",
        "retries", "ignore", "spec", "grep", "fgrep", "invert", "testNamePattern", "check-coverage", "files", "bail",
        "branches", "functions", "lines", "statements", "allow-empty-coverage", "disable-coverage", "dangerouslyIgnoreUnhandledErrors",
    }
)  # fmt: skip


def read_settings(path: str, text: str) -> Settings:
    """The settings of one file; nothing for a file that holds none, or that cannot be read."""
    name = PurePosixPath(path).name
    try:
        if name in ("pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", ".coveragerc"):
            return dict(_ini(text))
        if name in ("pyproject.toml", "pytest.toml", ".pytest.toml", ".coveragerc.toml"):
            return dict(_toml(text))
        if name == "package.json":
            return dict(_package(json.loads(text)))
        if _SCRIPT_CONFIG.match(name):
            if name.endswith((".js", ".cjs", ".mjs", ".ts", ".mts", ".cts")):
                root = root_of(path, text)
                return dict(_script(root)) if root is not None else {}
            return dict(_flat("", read_document(text)))
    except (ValueError, configparser.Error, tomllib.TOMLDecodeError, ToolRetry, RecursionError):
        return {}
    return {}


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value, comments=True))
        except ValueError:
            return tuple(value.split())
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    return (str(value),)


def _ini(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(text)
    for section in parser.sections():
        if section in _INI_SECTIONS:
            kind = "coverage" if section in ("coverage:report", "report", "coverage:run", "run") else "pytest"
            for key, value in parser[section].items():
                yield f"{kind}.{key}", _words(value or "")


def _toml(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    document = tomllib.loads(text)
    tool = document.get("tool", {})
    pytest = tool.get("pytest", {}) if isinstance(tool, dict) else {}
    groups: list[tuple[str, Any]] = [("pytest", pytest.get("ini_options", pytest) if isinstance(pytest, dict) else {})]
    coverage = tool.get("coverage", {}) if isinstance(tool, dict) else {}
    groups += [("coverage", one) for one in coverage.values()] if isinstance(coverage, dict) else []
    for kind, table in groups:
        for key, value in table.items() if isinstance(table, dict) else ():
            yield f"{kind}.{key}", _words(value)


def _package(document: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(document, dict):
        return
    scripts = document.get("scripts")
    for key, value in scripts.items() if isinstance(scripts, dict) else ():
        if isinstance(value, str) and re.match(r"^(pre|post)?test($|[:\-])|^(unit|coverage|cov)($|:)", key):
            yield f"script.{key}", _words(value)
    for key in ("jest", "vitest", "mocha", "tap", "ava", "nyc", "c8"):
        yield from _flat("", document.get(key))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        name = f"{prefix}{key}"
        if key in _KEYS:
            yield (f"runner.{name}", _words(inner)) if not isinstance(inner, dict) else (f"runner.{name}", ())
        yield from _flat(f"{name}.", inner)


def _script(root: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in walk(root):
        if node.type != "pair":
            continue
        key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
        name = source(key).strip("'\"")
        if name in _KEYS and value is not None:
            listed = value.named_children if value.type == "array" else [value]
            words = tuple(text if (text := string_of(one)) is not None else source(one) for one in listed)
            yield f"runner.{name}" if not _outer(node) else f"runner.{_outer(node)}.{name}", words


def _outer(node: Node) -> str:
    """The key around a pair where it matters: limits lie below one."""
    around = node.parent
    while around is not None:
        if around.type == "pair":
            name = source(around.child_by_field_name("key")).strip("'\"")
            return name if name in ("coverageThreshold", "thresholds", "global", "coverage") else ""
        around = around.parent
    return ""


def line_with(text: str, key: str) -> int:
    """The line where a setting stands, 1 where it is not found."""
    name = key.rpartition(".")[2]
    found = re.search(rf"""^.*["']?\b{re.escape(name)}\b""", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1
