"""Which Python files of a repository run when some of its files run: the static import closure."""

import ast
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# What these do at run time cannot be read from the source, so their user may run or read any file.
_OPAQUE_NAMES = {"exec", "eval", "compile", "open", "import_string"}
_OPAQUE_ATTRIBUTES = {
    "read_text",
    "read_bytes",
    "open",
    "glob",
    "rglob",
    "iterdir",
    "scandir",
    "listdir",
    "exec_module",
}
_OPAQUE_MODULES = {"builtins", "ctypes", "imp", "pkgutil", "runpy", "subprocess", "zipimport"}
_IMPORTERS = {"import_module", "__import__"}


@dataclass(frozen=True)
class Closure:
    """Repository files that run, sorted, and the first line ("path:line what") that makes the list incomplete."""

    files: tuple[str, ...]
    opaque: str | None


def closure(root: Path, entries: Sequence[str], search: Sequence[str]) -> Closure:
    """Everything the `entries` import from inside `root`, with `search` standing for sys.path; names no library."""
    seen: dict[str, None] = {}
    waiting = list(entries)
    opaque: str | None = None
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = None
        tree = _parse(root / path)
        if tree is None:
            continue
        opaque = opaque or _opaque(path, tree)
        for name in _imported(tree, _package_of(path, search)):
            waiting += _resolve(root, name, search)
    return Closure(tuple(sorted(seen)), opaque)


def shadows(root: Path, search: Sequence[str]) -> tuple[str, ...]:
    """Modules at the top of a search folder: each could stand in for a library that a library imports."""
    found: list[str] = []
    for folder in search:
        place = root / folder
        if not place.is_dir():
            continue
        for item in sorted(place.iterdir()):
            path = posixpath.join(folder, item.name)
            if item.suffix == ".py":
                found.append(path)
            elif (item / "__init__.py").is_file():
                found.append(f"{path}/__init__.py")
    return tuple(found)


def _parse(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _package_of(path: str, search: Sequence[str]) -> str:
    """The dotted package a file belongs to, for relative imports; the longest matching search folder wins."""
    folder = posixpath.dirname(path)
    starts = [item for item in search if item in ("", folder) or folder.startswith(f"{item}/")]
    start = max(starts, key=len, default="")
    return folder[len(start) :].strip("/").replace("/", ".")


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that might be modules: `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            above = parts[: len(parts) - (node.level - 1)] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" if name else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTERS:
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def _resolve(root: Path, name: str, search: Iterable[str]) -> list[str]:
    """The files that importing `name` runs: the packages above it and itself, in every search folder that has it."""
    found: list[str] = []
    parts = [part for part in name.removesuffix(".*").split(".") if part.isidentifier()]
    for folder in search:
        for depth in range(1, len(parts) + 1):
            stem = posixpath.join(folder, *parts[:depth])
            found += [item for item in (f"{stem}.py", f"{stem}/__init__.py") if (root / item).is_file()]
    return found


def _opaque(path: str, tree: ast.Module) -> str | None:
    for node in ast.walk(tree):
        if what := _hides(node):
            return f"{path}:{getattr(node, 'lineno', 1)} {what}"
    return None


def _hides(node: ast.AST) -> str | None:
    """What in this node keeps the closure from being read, None when nothing does."""
    if isinstance(node, ast.Name):
        return node.id if node.id in _OPAQUE_NAMES else None
    if isinstance(node, ast.Attribute):
        hidden = node.attr in _OPAQUE_ATTRIBUTES or (
            ast.unparse(node) == "sys.path" and isinstance(node.ctx, ast.Store)
        )
        return ast.unparse(node) if hidden else None
    if isinstance(node, ast.Import):
        return next((item.name for item in node.names if item.name.split(".")[0] in _OPAQUE_MODULES), None)
    if isinstance(node, ast.ImportFrom):
        return node.module if node.module in _OPAQUE_MODULES else None
    return _hidden_call(node) if isinstance(node, ast.Call) else None


def _hidden_call(node: ast.Call) -> str | None:
    if _called(node) in _IMPORTERS:
        literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
        return None if literal else f"{_called(node)}() of a computed name"
    function = node.func
    if isinstance(function, ast.Attribute) and ast.unparse(function.value) == "sys.path":
        return f"sys.path.{function.attr}()"
    return None


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""
