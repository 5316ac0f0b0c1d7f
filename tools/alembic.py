"""Alembic revisions read without running them: the graph, what applying would execute, and new drafts."""

import ast
import hashlib
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.alembic_config import read_config
from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.imports import closure, shadows
from backend_crew.tools.migrations import MigrationFile, MigrationTool
from backend_crew.tools.migrators.history import History

_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__"}
_NOT_CODE = (".db", ".sqlite", ".sqlite3", ".db-wal", ".db-shm", ".log", ".pyc")


@dataclass(frozen=True)
class _Source:
    """What one revision file says by its literals."""

    file: MigrationFile
    depends: tuple[str, ...]
    labels: tuple[str, ...]
    upgrades: bool
    downgrades: str  # "yes", "empty" or "refuses"


def graph(root: Path, tool: MigrationTool) -> History:
    """The revisions of the repository, from literals alone; ToolRetry names what is dynamic, missing or ambiguous."""
    config = read_config(root, _config_of(tool))
    paths = [path for folder in config.versions for path in _revision_paths(root, folder, config.recursive)]
    sources: dict[str, _Source] = {}
    for path in dict.fromkeys(paths):
        source = read_revision(path, _bytes(root, path))
        twin = sources.setdefault(source.file.revision, source)
        if twin is not source:
            raise ToolRetry(
                f"{path} and {twin.file.path} both have revision {source.file.revision!r}: give one a new id"
            )
    ordered = _ordered(sources)
    heads = _heads(ordered)
    if len(heads) > 1:
        where = ", ".join(f"{item.revision} ({item.path})" for item in heads)
        raise ToolRetry(f"there are {len(heads)} heads: {where}. Set down_revision so that one follows the other")
    return History(
        files=tuple(ordered),
        heads=tuple(head.revision for head in heads),
        empty_downgrades=frozenset(
            name for name, item in sources.items() if item.upgrades and item.downgrades == "empty"
        ),
        irreversible=frozenset(name for name, item in sources.items() if item.downgrades == "refuses"),
        cumulative=True,
    )


def manifest(root: Path, tool: MigrationTool) -> tuple[tuple[str, str], ...]:
    """(path, SHA-256) of every repository file that applying would execute or read, sorted; ToolRefused for a link.

    That is script_location with everything in it, the configuration, the import closure of all of these inside the
    repository, and modules that could stand in for a library. Where that code imports or opens something computed,
    which files it uses cannot be known, and the whole repository is listed.
    """
    config = read_config(root, _config_of(tool))
    folders = {config.folder, *config.versions}
    paths = {path for folder in folders for path in _walk(root, folder)}
    for name in ("alembic.ini", "pyproject.toml", "setup.cfg"):
        path = posixpath.join(config.base, name)
        if (root / path).is_file():
            paths.add(path)
    paths.add(config.path)
    search = (*config.search, *(item for item in ("", "src") if item not in config.search))
    entries = sorted(path for path in paths if path.endswith(".py") and _below(path, folders))
    found = closure(root, entries, search)
    digests = {path: _sha256(_bytes(root, path)) for path in paths | set(found.files)}
    for path in (*shadows(root, config.search), *(_walk(root, "") if found.opaque else ())):
        if path not in digests:
            digests[path] = _sha256(_link_or_bytes(root / path))
    return tuple(sorted(digests.items()))


def read_revision(path: str, data: bytes) -> _Source:
    """One revision file by its literals; ToolRetry when an id is missing or computed."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError) as error:
        raise ToolRetry(f"{path} does not parse: {error}") from error
    values = {name: _literal(path, tree, name) for name in _NAMES}
    revision = values["revision"]
    if not revision or len(revision) != 1:
        raise ToolRetry(f'{path} has no revision: write revision = "<id>" as a plain string')
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "upgrade" not in functions:
        raise ToolRetry(f"{path} has no upgrade() function")
    down = functions.get("downgrade")
    return _Source(
        file=MigrationFile(path, revision[0], values["down_revision"] or (), _sha256(data)),
        depends=values["depends_on"] or (),
        labels=values["branch_labels"] or (),
        upgrades=bool(effects(functions["upgrade"])),
        downgrades=_direction(down),
    )


def effects(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function that do something: no docstring, pass or bare constant."""
    return [
        node
        for node in function.body
        if not isinstance(node, ast.Pass) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def _direction(function: ast.FunctionDef | None) -> str:
    if function is None:
        return "refuses"
    body = effects(function)
    if not body or (isinstance(body[0], ast.Return) and body[0].value is None):
        return "empty"
    return "refuses" if isinstance(body[0], ast.Raise) else "yes"


def _literal(path: str, tree: ast.Module, name: str) -> tuple[str, ...] | None:
    """The strings a module-level name is set to, None when it is unset or None; ToolRetry unless set once, plainly."""
    stores = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name and _is_store(node)]
    values = [value for node in tree.body if (value := _assigned(node, name)) is not None]
    if not stores and name != "down_revision":
        return None
    if len(stores) != 1 or len(values) != 1:
        what = "is not set" if not stores else "is not set exactly once at the top of the file"
        raise ToolRetry(f"{path}: {name} {what}; write it once, as a plain string or None")
    try:
        value = ast.literal_eval(values[0])
    except ValueError as error:
        raise ToolRetry(f"{path}:{values[0].lineno} computes {name}; write it as a plain string or None") from error
    items = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(items, tuple | list | set) or not all(isinstance(item, str) for item in items):
        raise ToolRetry(f"{path}:{values[0].lineno}: {name} is {value!r}; a string, strings or None was expected")
    return tuple(items) or None


def _is_store(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def _assigned(node: ast.stmt, name: str) -> ast.expr | None:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
        return node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        return node.value if isinstance(target, ast.Name) and target.id == name else None
    return None


def _ordered(sources: Mapping[str, _Source]) -> list[MigrationFile]:
    """Parents before children; ToolRetry for a missing parent or a circle."""
    labels = {label: name for name, item in sources.items() for label in item.labels}
    done: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in done:
            return
        item = sources[name]
        if name in entered:
            raise ToolRetry(f"{item.file.path} follows itself through its down_revision: break the circle")
        entered.add(name)
        for parent in (*item.file.parents, *(labels.get(one, one) for one in item.depends)):
            if parent not in sources:
                raise ToolRetry(f"{item.file.path} follows {parent!r}, which no file in the versions folder has")
            visit(parent)
        done[name] = None

    for name in sorted(sources, key=lambda one: sources[one].file.path):
        visit(name)
    return [sources[name].file for name in done]


def _heads(files: Sequence[MigrationFile]) -> list[MigrationFile]:
    parents = {parent for file in files for parent in file.parents}
    return [file for file in files if file.revision not in parents]


def _config_of(tool: MigrationTool) -> str:
    if tool.name != "alembic" or tool.config is None:
        raise ToolRefused(f"{tool.name} ({tool.evidence}) is not an Alembic project")
    return tool.config


def _revision_paths(root: Path, folder: str, recursive: bool) -> list[str]:
    start = f"{folder}/" if folder else ""
    return [
        path
        for path in _walk(root, folder)
        if path.endswith(".py")
        and not posixpath.basename(path).startswith((".#", "__init__"))
        and (recursive or "/" not in path.removeprefix(start))
    ]


def _walk(root: Path, folder: str) -> list[str]:
    """Files below a folder, sorted, links included so that they are met and refused."""
    found: list[str] = []
    for place, folders, names in os.walk(root / folder):
        start = Path(place).relative_to(root)
        folders[:] = [name for name in folders if name not in _SKIPPED]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(start / name).as_posix() for name in (*names, *links) if not name.lower().endswith(_NOT_CODE)]
    return sorted(found)


def _below(path: str, folders: set[str]) -> bool:
    return any(path.startswith(f"{folder}/") or not folder for folder in folders)


def _bytes(root: Path, path: str) -> bytes:
    target = root / path
    if target.is_symlink() or not target.is_file():
        raise ToolRefused(
            f"{path} is a link or no plain file; what runs in a migration has to be a file of the repository"
        )
    return target.read_bytes()


def _link_or_bytes(path: Path) -> bytes:
    if path.is_symlink():
        return b"link to " + os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
