"""Where a repository's Python application is, found by reading its source; nothing is imported."""

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from backend_crew.tools.contract.factories import Factories, module_names, renamed
from backend_crew.tools.django_settings import read_settings
from backend_crew.tools.errors import ToolError
from backend_crew.tools.python_literals import last_name
from backend_crew.tools.workspace import JUNK_FOLDERS, read_file

_FILES, _SIZE, _CANDIDATES, _HANDED_ON = 3_000, 500_000, 6, 3
#: Constructors of applications by the framework that they are of.
MAKERS = {
    "FastAPI": "FastAPI",
    "Flask": "Flask",
    "APIFlask": "Flask",
    "OpenAPI": "Flask",
    "Schema": "GraphQL",
}
_NOT_APPS = re.compile(
    r"(^|/)(tests?|docs?|examples?|scripts|bench|migrations|alembic)/|(^|/)(test_[^/]*|conftest)\.py$"
)
_NAMED = re.compile(r"(?:uvicorn|gunicorn|hypercorn|FLASK_APP=|flask --app)[^\n]*?\b([A-Za-z_][\w.]*):(\w+)")
_SAYS_HOW = re.compile(r"(^|/)(Dockerfile[^/]*|Procfile|Makefile|[^/]*\.(ya?ml|toml|sh|md|cfg)|\.flaskenv)$")
_MADE_UP = "made-up-for-the-contract-check"
_SECRETS: Mapping[str, str] = {"SECRET_KEY": _MADE_UP}
_USUAL_FILES = ("main", "app", "asgi", "wsgi", "server", "api", "application", "run")
_USUAL_NAMES = ("app", "application")


@dataclass(frozen=True)
class Application:
    """One way to the application: import `module` with `folder` on sys.path and take `name`, or call it."""

    framework: str
    path: str
    folder: str  # relative to the repository, "" for its root
    module: str
    name: str
    call: bool
    env: Mapping[str, str] = field(default_factory=dict)  # what it cannot be imported without, made up


def find_applications(root: Path) -> tuple[Application, ...]:
    """The applications of a tree, the likeliest first, at most a handful; nothing for a tree without one."""
    sources = dict(_sources(root, ".py"))
    trees = {path: tree for path, text in sources.items() if (tree := _parsed(text, MAKERS)) is not None}
    made = {path: {one.name: what for one in _functions(tree) if (what := _makes(one))} for path, tree in trees.items()}
    names = {name for functions in made.values() for name in functions}
    for _ in range(_HANDED_ON if names else 0):  # files that only call, or hand on, what makes one
        more = {path: _parsed(text, names) for path, text in sources.items() if path not in trees}
        trees.update({path: tree for path, tree in more.items() if tree is not None})
        names |= {other for tree in trees.values() for name, other in renamed(tree) if name in names}
    factories = Factories(root, trees, made)
    found = [one for path, tree in trees.items() for one in _in_file(root, path, tree, factories.known(path))]
    named = {(match[1], match[2]) for _, text in _sources(root, "") for match in _NAMED.finditer(text)}
    found += _django(root)
    ranked = sorted(found, key=lambda one: (*_rank(one, named), one.path.count("/"), one.path, one.name))
    return tuple(ranked[:_CANDIDATES])


def _django(root: Path) -> list[Application]:
    """The projects whose manage.py names its settings; their databases are made up, since nothing reads one here."""
    found = []
    for manage in sorted(one for pattern in ("manage.py", "*/manage.py") for one in root.glob(pattern)):
        base = manage.parent.relative_to(root).as_posix().removeprefix(".")
        settings = read_settings(root, base)
        if settings.module is not None:
            values = {"URL": "sqlite:///made-up.db", "ENGINE": "django.db.backends.sqlite3", "PORT": "0"}
            env = {name: values.get(part, "made-up") for name, part in settings.variables.items()}
            env.update(dict.fromkeys(settings.secrets, _MADE_UP))
            path = manage.relative_to(root).as_posix()
            found.append(Application("Django", path, base, settings.module, "", False, env))
    return found


def _rank(one: Application, named: set[tuple[str, str]]) -> tuple[bool, bool, bool, bool]:
    """False comes first: what is started by name, then what has the usual names, then what needs no call."""
    stem = PurePosixPath(one.path).stem
    usual = one.name in _USUAL_NAMES or one.name in ("create_app", "make_app", "get_app", "build_app")
    return ((one.module, one.name) not in named, not usual, stem not in _USUAL_FILES, one.call)


def _sources(root: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Files of one suffix, or with none those that say how the application is started; bounded, no link followed."""
    number = 0
    for folder, folders, names in os.walk(root):
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        folders[:] = sorted(one for one in folders if one not in JUNK_FOLDERS and not one.endswith(".egg-info"))
        for name in sorted(names):
            path = prefix + name
            if not (path.endswith(suffix) if suffix else _SAYS_HOW.search(path)) or (suffix and _NOT_APPS.search(path)):
                continue
            number += 1
            if number > _FILES:
                return
            try:
                data, _ = read_file(root, path, _SIZE)
            except (ToolError, OSError):
                continue
            yield path, data.decode("utf-8", errors="replace")


def _parsed(text: str, names: Iterable[str]) -> ast.Module | None:
    """A file's tree, None where it mentions none of the names or cannot be read."""
    if not any(name in text for name in names):
        return None
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def _in_file(root: Path, path: str, tree: ast.Module, known: Mapping[str, str]) -> Iterator[Application]:
    factories = {node.name: what for node in _functions(tree) if _needs_nothing(node) and (what := _makes(node))}
    for folder, module in module_names(root, path):
        for name, framework in factories.items():
            env = _SECRETS if framework == "Flask" else {}
            yield Application(framework, path, folder, module, name, True, env)
        for node in tree.body:
            for name, value in _assigned(node):
                framework = _made(value, known)
                if framework:
                    env = _SECRETS if framework == "Flask" else {}
                    yield Application(framework, path, folder, module, name, False, env)


def _needs_nothing(node: ast.FunctionDef) -> bool:
    given = node.args
    needed = len(given.posonlyargs) + len(given.args) - len(given.defaults)
    return not needed and not sum(default is None for default in given.kw_defaults)


def _makes(node: ast.FunctionDef) -> str:
    """The framework of a function that makes an application, whatever it needs for it; "" for any other."""
    note = last_name(node.returns) if node.returns is not None else ""
    returned = MAKERS.get(note) if note not in _SHARED else None
    made = {
        name: MAKERS[last_name(value.func)]
        for inner in ast.walk(node)
        for name, value in _assigned(inner)
        if isinstance(value, ast.Call) and _made(value, {})
    }
    for inner in ast.walk(node):
        if isinstance(inner, ast.Return) and inner.value is not None:
            framework = _made(inner.value, {}) or made.get(last_name(inner.value), "")
            if framework:
                return framework
    return returned or ""


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((one.id, node.value) for one in node.targets if isinstance(one, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def _made(value: ast.expr, factories: Mapping[str, str]) -> str:
    """What a call makes; `factories` are the functions that make one by the words that call them, dots included."""
    if not isinstance(value, ast.Call):
        return ""
    name = last_name(value.func)
    if name in MAKERS and (name not in _SHARED or _SHARED[name](value)):
        return MAKERS[name]
    return factories.get(ast.unparse(value.func), "")


def _is_flask_openapi(value: ast.Call) -> bool:
    """flask-openapi3's application, whose name other libraries use for a document; it is given the module's name."""
    return bool(value.args) and isinstance(value.args[0], ast.Name) and value.args[0].id == "__name__"


def _is_graphql(value: ast.Call) -> bool:
    """A schema of Strawberry or Graphene, whose name other libraries use for what checks bodies."""
    owner = last_name(value.func.value) if isinstance(value.func, ast.Attribute) else ""
    return owner in ("strawberry", "graphene", "federation") or any(one.arg == "query" for one in value.keywords)


# Names that other libraries have too, with what tells the application.
_SHARED = {"OpenAPI": _is_flask_openapi, "Schema": _is_graphql}
