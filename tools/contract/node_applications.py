"""Where a repository's Node application starts, found by reading its configuration; nothing is loaded."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import read_file

_SIZE = 500_000
_STARTS = re.compile(r"(?:^|[\s;&])(?:node|nodemon|ts-node|ts-node-dev|tsx)\s+(?:-\S+\s+)*([\w./-]+\.[cm]?[jt]s)\b")
_USUAL = ("src/main.ts", "src/server.ts", "src/server.js", "src/index.ts", "src/index.js", "src/app.js", "server.js",
          "index.js", "app.js")  # fmt: skip


@dataclass(frozen=True)
class NodeApplication:
    """The framework and the file that starts the service, relative to the repository."""

    framework: Literal["NestJS", "Express"]
    entry: str


def find_node_application(root: Path) -> NodeApplication | None:
    """The application of a tree whose package.json names NestJS with its generator, or Express; None for any other."""
    package = _json(root, "package.json")
    names = {name for key in ("dependencies", "devDependencies") for name in _mapping(package.get(key))}
    if "@nestjs/core" in names:
        if "@nestjs/swagger" not in names:
            return None
        config = _json(root, "nest-cli.json")
        folder, file = config.get("sourceRoot") or "src", config.get("entryFile") or "main"
        return _first("NestJS", root, [f"{folder}/{file}.ts", "src/main.ts"])
    if "express" in names:
        return _first("Express", root, _entries(package))
    return None


def _entries(package: Mapping[str, Any]) -> Iterator[str]:
    scripts = _mapping(package.get("scripts"))
    for name in ("start", "dev", "start:dev", "serve"):
        yield from _STARTS.findall(str(scripts.get(name, "")))
    if isinstance(package.get("main"), str):
        yield str(package["main"])
    yield from _USUAL


def _first(
    framework: Literal["NestJS", "Express"], root: Path, entries: Iterator[str] | list[str]
) -> NodeApplication | None:
    for one in entries:
        entry = one.removeprefix("./")
        if ".." not in entry.split("/") and not entry.startswith("/") and (root / entry).is_file():
            return NodeApplication(framework, entry)
    return None


def _json(root: Path, path: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(read_file(root, path, _SIZE)[0]))
    except (ToolError, OSError, ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
