"""Whether changed Python modules can be imported, tried inside the sandbox by the repository's own interpreter.

A failure counts only when it can be the change's fault: a missing setting, an unreachable service or a package that the
environment lacks would fail without the change too. Nor is it one where the module can be imported once the application
was, or where what was there before the change fails in the same way.
"""

import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend_crew.tools.errors import ToolError
from backend_crew.tools.manifests import declared, is_manifest, normal_name
from backend_crew.tools.sandbox import Box, Limits
from backend_crew.tools.source_imports import imported
from backend_crew.tools.workspace import read_file

_LIMITS = Limits(timeout_s=60)
_ROOTS = 5
_NEIGHBOURS, _COMPARED = 3, 8
_SCANNED = 2_000
# Run by their own tools in their own surroundings: importing them alone proves nothing, or does what they are for.
_NOT_IMPORTED = re.compile(
    r"(^|/)(tests?|migrations|alembic|versions|docs|examples|scripts|bin)/"
    r"|(^|/)(test_[^/]*|[^/]*_test|conftest|setup|manage|noxfile|__main__|gunicorn\.conf)\.py$"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_SETTINGS = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")
# What code raises for its surroundings, by name, since the classes are the repository's and not ours.
_SURROUNDINGS = frozenset(
    {
        "AppRegistryNotReady",
        "ImproperlyConfigured",
        "KeyboardInterrupt",
        "NoCredentialsError",
        "OperationalError",
        "SettingsError",
        "SystemExit",
        "UndefinedValueError",
        "ValidationError",
    }
)

# Runs inside. It writes after each module, so that what is known survives a module that ends the process.
_IMPORTER = """
import importlib, json, os, sys, traceback
plan = json.loads(sys.argv[1])
sys.path[:0] = [os.path.abspath(one) for one in (plan["root"], *(folder for folder, _ in plan["first"]), ".")]
if plan["django"]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", plan["django"])
    try:
        import django
        django.setup()
    except BaseException:
        pass
for _, module in plan["first"]:
    try:
        if module:
            importlib.import_module(module)
        elif plan["django"]:
            from django.conf import settings
            importlib.import_module(settings.ROOT_URLCONF)
    except BaseException:
        pass
problems, good = [], []
for path, module in plan["modules"]:
    try:
        importlib.import_module(module)
        good.append(path)
    except BaseException as error:
        here = os.path.abspath(".") + os.sep
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if os.path.abspath(f.filename).startswith(here)]
        lines = [f.lineno for f in own if os.path.abspath(f.filename) == os.path.abspath(path)]
        problems.append({
            "path": path, "line": lines[-1] if lines else 1, "type": type(error).__name__, "text": str(error)[:401],
            "os": isinstance(error, OSError) or "environ" in "".join(f.name + (f.line or "") for f in frames[-2:]),
            "missing": (getattr(error, "name", None) or "") if isinstance(error, ModuleNotFoundError) else "",
            "file": os.path.relpath(own[-1].filename, here) if own else "",
        })
    with open(plan["result"], "w") as file:
        json.dump({"problems": problems, "good": good}, file)
os._exit(0)
"""

_COMPILER = """
import json, sys
good = []
for path in json.loads(sys.argv[2]):
    try:
        compile(open(path, "rb").read(), path, "exec", dont_inherit=True)
        good.append(path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
with open(sys.argv[1], "w") as file:
    json.dump(good, file)
"""


@dataclass(frozen=True)
class Failure:
    """A module that cannot be imported: the line (from 1) in the module and the error."""

    path: str
    line: int
    text: str


Stop = Callable[[], bool] | None


@dataclass(frozen=True)
class Beside:
    """What a failed import is held against.

    `before` writes the tree as it was before the change into a new folder; `entries` are the folders (for sys.path) and
    modules that the application itself imports first, where it is not Django, whose ROOT_URLCONF is asked for.
    """

    before: Callable[[Path], None] | None = None
    entries: Callable[[], Sequence[tuple[str, str]]] = tuple


def compiled(box: Box, python: Path, paths: Sequence[str], stop: Stop) -> tuple[str, ...]:
    """Those of the files that the repository's interpreter compiles."""
    if not paths:
        return ()
    result = _result_name()
    box.run((str(python), "-I", "-c", _COMPILER, result, json.dumps(list(paths))), limits=_LIMITS, stop=stop)
    good = _json(box, result)
    return tuple(path for path in good if path in paths) if isinstance(good, list) else ()


def failures(
    box: Box, tree: Path, python: Path, paths: Sequence[str], stop: Stop, beside: Beside | None = None
) -> Iterator[Failure]:
    """The changed modules that cannot be imported; tests, migrations and scripts are left out."""
    beside = beside or Beside()
    candidates = {path: names for path in paths if (names := _names(tree, path))}
    found, _ = _attempt(box, tree, python, {path: names[0] for path, names in candidates.items()}, stop)
    again = {path: candidates[path][1] for path in found if len(candidates[path]) > 1}
    second, _ = _attempt(box, tree, python, again, stop)
    suspects = {
        path: problem
        for path, problem in found.items()
        if (path not in again or path in second) and _is_at_fault(problem, tree, paths)
    }
    if not suspects:
        return
    first = (("", ""), *beside.entries())  # "" stands for Django's ROOT_URLCONF
    for reading in range(2):
        tried = {path: candidates[path][reading] for path in suspects if len(candidates[path]) > reading}
        _, good = _attempt(box, tree, python, tried, stop, first)
        suspects = {path: problem for path, problem in suspects.items() if path not in good}
    old = _failed_before(box, tree, python, suspects, paths, beside, stop) if beside.before else frozenset()
    for path, problem in suspects.items():
        if path not in old:
            yield Failure(path, _line(problem), f"cannot be imported: {problem.get('type')}: {problem.get('text')}")


def _failed_before(
    box: Box,
    tree: Path,
    python: Path,
    suspects: Mapping[str, Mapping[str, object]],
    changed: Sequence[str],
    beside: Beside,
    stop: Stop,
) -> frozenset[str]:
    """Those that fail as they did before the change, or for new ones as unchanged modules beside them did."""
    if not suspects or beside.before is None:
        return frozenset()
    same: set[str] = set()
    tried = 0
    with tempfile.TemporaryDirectory(prefix="before-") as private:
        earlier = Path(private, "tree")
        beside.before(earlier)
        with box.sandbox.box(earlier, box.layout.original, box.runtime, layered=True) as old:
            for path, problem in suspects.items():
                others = [path] if (earlier / path).is_file() else _neighbours(earlier, path, changed)
                for other in others:
                    tried += 1
                    names = _names(earlier, other)
                    if tried > _COMPARED or not names:
                        break
                    found, _ = _attempt(old, earlier, python, {other: names[0]}, stop)
                    told = found.get(other, {})
                    if told and all(told.get(key) == problem.get(key) for key in ("type", "text")):
                        same.add(path)
                        break
    return frozenset(same)


def _neighbours(tree: Path, path: str, changed: Sequence[str]) -> list[str]:
    """Unchanged modules beside a new one: those of the same name first, then those of its folder."""
    name, folder = PurePosixPath(path).name, (tree / path).parent
    beside = [*sorted(tree.rglob(name)), *(sorted(folder.glob("*.py")) if folder.is_dir() else ())]
    found = dict.fromkeys(one.relative_to(tree).as_posix() for one in beside if one.stat().st_size)
    return [one for one in found if one not in changed and _names(tree, one)][:_NEIGHBOURS]


def _names(tree: Path, path: str) -> list[tuple[str, str]]:
    """Import root and dotted name, the likelier pair first; a folder without __init__.py leaves two readings."""
    if _NOT_IMPORTED.search(path):
        return []
    parts = list(PurePosixPath(path).with_suffix("").parts)
    start = len(parts) - 1
    while start > 0 and (tree.joinpath(*parts[:start]) / "__init__.py").is_file():
        start -= 1
    top = 1 if parts[0] == "src" and len(parts) > 1 else 0
    in_package = start < len(parts) - 1
    readings = [start, top] if in_package or start == top else [top, start]
    pairs = [_pair(parts, reading) for reading in dict.fromkeys(readings)]
    return [pair for pair in pairs if pair is not None]


def _pair(parts: Sequence[str], start: int) -> tuple[str, str] | None:
    module = [*parts[start:-1], *([] if parts[-1] == "__init__" else parts[-1:])]
    if not module or not all(_IDENTIFIER.fullmatch(part) for part in module):
        return None
    return "/".join(parts[:start]) or ".", ".".join(module)


def _attempt(
    box: Box,
    tree: Path,
    python: Path,
    names: Mapping[str, tuple[str, str]],
    stop: Stop,
    first: Sequence[tuple[str, str]] = (),
) -> tuple[dict[str, dict[str, object]], frozenset[str]]:
    """What went wrong by path, and what was imported; one process an import root: two may have packages of a name."""
    problems: dict[str, dict[str, object]] = {}
    good: set[str] = set()
    for root in list(dict.fromkeys(root for root, _ in names.values()))[:_ROOTS]:
        result = _result_name()
        plan = {
            "root": root,
            "modules": [(path, module) for path, (base, module) in names.items() if base == root],
            "django": _django_settings(tree, root),
            "first": list(first),
            "result": str(result),
        }
        box.run((str(python), "-c", _IMPORTER, json.dumps(plan)), limits=_LIMITS, stop=stop)
        told = _json(box, result)
        found = told if isinstance(told, dict) else {}
        for problem in _items(found, "problems"):
            if isinstance(problem, dict) and problem.get("path") in names:
                problems[str(problem["path"])] = problem
        good.update(path for path in _items(found, "good") if isinstance(path, str) and path in names)
    return problems, frozenset(good)


def _items(told: Mapping[str, object], key: str) -> list[object]:
    items = told.get(key)
    return items if isinstance(items, list) else []


def _result_name() -> str:
    return f".result-{secrets.token_hex(16)}.json"


def _json(box: Box, name: str) -> object:
    """What the code inside wrote, None where it wrote nothing that can be read."""
    try:
        data = box.read(name)
        return None if data is None else json.loads(data)
    except (ToolError, ValueError, RecursionError):
        return None


def _django_settings(tree: Path, root: str) -> str:
    try:
        data, _ = read_file(tree, "manage.py" if root == "." else f"{root}/manage.py")
    except (ToolError, OSError):
        return ""
    match = _SETTINGS.search(data.decode("utf-8", errors="replace"))
    return match[1] if match else ""


def _line(problem: Mapping[str, object]) -> int:
    line = problem.get("line")
    return line if isinstance(line, int) and line > 0 else 1


def _is_at_fault(problem: Mapping[str, object], tree: Path, changed: Sequence[str]) -> bool:
    """Whether a failure can come from the change and not from where it was tried."""
    if problem.get("os") or problem.get("type") in _SURROUNDINGS:
        return False
    missing = str(problem.get("missing") or "").partition(".")[0]
    if not missing:
        return True
    if (tree / missing).is_dir() or (tree / f"{missing}.py").is_file() or (tree / "src" / missing).is_dir():
        return True
    return problem.get("file") in changed and not _is_expected(tree, missing, changed)


def _is_expected(tree: Path, name: str, changed: Sequence[str]) -> bool:
    """Whether a package is declared, or imported by unchanged files: then only the environment lacks it."""
    seen = 0
    for folder, folders, files in os.walk(tree):
        folders[:] = [one for one in folders if not one.startswith(".") and one not in ("node_modules", "venv")]
        for file in files:
            path = Path(folder, file).relative_to(tree).as_posix()
            is_source = file.endswith(".py") and path not in changed
            if not (is_source or is_manifest(path)):
                continue
            seen += 1
            if seen > _SCANNED or _mentions(tree, path, name):
                return True
    return False


def _mentions(tree: Path, path: str, name: str) -> bool:
    try:
        data, _ = read_file(tree, path, 500_000)
    except (ToolError, OSError):
        return False
    text = data.decode("utf-8", errors="replace")
    if path.endswith(".py") and not is_manifest(path):
        return any(module.partition(".")[0] == name for module, _, _ in imported("py", text, (name,)))
    plain = normal_name(name)
    return any(plain in package.partition(":")[2] for package, _ in declared(path, text) if package.startswith("pypi:"))
