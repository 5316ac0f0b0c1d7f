"""What a Flask project says by its literals: where its application is and how it comes to its database."""

import ast
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.python_literals import last_name, parsed, variable_read

#: What of a variable's value ends up in the database's URL: all of it, or a part.
WHOLE, PART = "URL", "part"
_SKIPPED = frozenset({".git", ".venv", "venv", "env", "node_modules", "__pycache__", "migrations", "tests", "test"})
_CONVENTIONS = ("wsgi.py", "app.py")  # where Flask itself looks, in this order
_NAMES = frozenset({"app", "application"})
_FACTORIES = frozenset({"create_app", "make_app"})  # which Flask calls by itself
_FOUND, _MAKERS = _NAMES | _FACTORIES, _FACTORIES | {"Flask", "APIFlask", "OpenAPI"}
_SETTINGS = frozenset({"SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_BINDS"})
_MAX_FILES = 2_000


@dataclass(frozen=True)
class FlaskSettings:
    """One Flask application; every path is relative to the repository, "" being its root."""

    base: str  # the folder that `flask` is run in
    app: str | None  # as FLASK_APP names it; None where Flask finds wsgi.py or app.py by itself
    env: Mapping[str, str]  # what .flaskenv sets
    urls: tuple[str, ...]  # that the database's settings are made of, those of tests left out
    variables: Mapping[str, str]  # what these settings read from the environment -> WHOLE or PART
    secrets: tuple[str, ...]  # names that end in SECRET_KEY: no database depends on one, and many settings need it


def read_flask(root: Path, folder: str, named: str | None = None) -> FlaskSettings:
    """The application whose migrations are in `folder`; `named` is the person's own FLASK_APP.

    ToolRetry where no literal says where it is.
    """
    base, app = _application(root, folder, named)
    texts: set[str] = set()
    urls: list[str] = []
    variables: dict[str, str] = {}
    for path in _sources(root / base):
        tree = parsed(path)
        if tree is None:
            continue
        texts |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for node, part in _database_parts(tree):
            if part == WHOLE and (text := _url(node)) and text not in urls:
                urls.append(text)
            if isinstance(node, ast.expr) and (name := variable_read(node)):
                variables.setdefault(name, part)
    secrets = {text for text in texts if re.fullmatch(r"[A-Z0-9_]*SECRET_KEY", text)}
    return FlaskSettings(
        base, app, _flaskenv(root / base), tuple(urls), variables, tuple(sorted({"SECRET_KEY", *secrets}))
    )


def _application(root: Path, folder: str, named: str | None) -> tuple[str, str | None]:
    """(folder that `flask` is run in, FLASK_APP): by .flaskenv, else by Flask's conventions, else the only one there."""
    above = [base for base in _above(folder) if not (root / base / "__init__.py").is_file()]
    for base in above:
        if (root / base / ".flaskenv").is_file():
            app = named or _flaskenv(root / base).get("FLASK_APP")
            if app or _conventional(root, base):
                return base, app
    if named:
        start = named.partition(":")[0].split(".")[0]
        places = [base for base in above if any((root / base / f"{start}{end}").exists() for end in ("", ".py"))]
        return (places or above)[0], named
    found = next(((base, None) for base in above if _conventional(root, base)), None)
    return found or _guessed(root, above, folder)


def _guessed(root: Path, above: Sequence[str], folder: str) -> tuple[str, str | None]:
    for base in above:
        found = _candidates(root / base)
        if len(found) == 1:
            return base, found[0]
        if found:
            raise ToolRetry(
                f"{', '.join(found[:6])} could each be the Flask application: name one as FLASK_APP in a .flaskenv"
            )
    for base in above:  # made in a way that is not known here: Flask tries them
        if any((root / base / name).is_file() for name in _CONVENTIONS):
            return base, None
    raise ToolRetry(
        f"no Flask application was found for {folder or 'the migrations'}: there is no wsgi.py or app.py, and no file at "
        "the top makes an app or has a create_app(). Name it as FLASK_APP in a .flaskenv"
    )


def _above(folder: str) -> Iterator[str]:
    """The folders above one, the nearest first."""
    while folder:
        folder = posixpath.dirname(folder)
        yield folder


def _conventional(root: Path, base: str) -> bool:
    return any(_makes_app(root / base / name) for name in _CONVENTIONS)


def _candidates(base: Path) -> list[str]:
    """Modules and packages at the top that have an application, else those that have a factory Flask can call."""
    patterns = ("*.py", "*/__init__.py", "*/app.py", "src/*/__init__.py", "src/*/app.py")
    files = [path for pattern in patterns for path in sorted(base.glob(pattern)) if path.parent.name not in _SKIPPED]
    ready = [path for path in files if _makes_app(path, factories=False)]
    return [path.relative_to(base).as_posix() for path in ready or files if ready or _makes_app(path)]


def _makes_app(path: Path, *, factories: bool = True) -> bool:
    """Whether a module has what Flask takes for its application."""
    tree = parsed(path)
    return any(_is_app(node, factories) for node in (tree.body if tree else ()))


def _is_app(node: ast.stmt, factories: bool) -> bool:
    match node:
        case ast.FunctionDef(name=name):
            return factories and name in _FACTORIES
        case ast.ImportFrom(names=names):
            return factories and not _FOUND.isdisjoint(one.asname or one.name for one in names)
        case ast.Assign(targets=targets, value=ast.Call(func=function)):
            made = last_name(function)
            named = not _NAMES.isdisjoint(last_name(target) for target in targets)
            return made in _MAKERS or (named and re.match("(create|make|build|get|init)_", made) is not None)
    return False


def _flaskenv(base: Path) -> dict[str, str]:
    """NAME=value lines, as python-dotenv reads the plain ones."""
    path = base / ".flaskenv"
    if path.is_symlink() or not path.is_file():
        return {}
    lines = re.findall(
        r"(?m)^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\n#]*))",
        path.read_text(encoding="utf-8", errors="replace"),
    )
    return {name: double or single or plain.strip() for name, double, single, plain in lines}


def _sources(base: Path) -> Iterator[Path]:
    """The Python files of the application, its tests and migrations left out; settings first, by their names."""
    found: list[Path] = []
    for place, folders, names in os.walk(base):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        found += [Path(place) / name for name in sorted(names) if name.endswith(".py") and not _is_test(name)]
        if len(found) > _MAX_FILES:
            break
    yield from sorted(found[:_MAX_FILES], key=lambda path: not re.search(r"config|settings", path.as_posix()))


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name in {"conftest.py", "testing.py"}


def _database_parts(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every expression below what SQLALCHEMY_DATABASE_URI or SQLALCHEMY_BINDS is set to, with what it stands for."""
    names: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names.setdefault(last_name(node.targets[0]), node.value)
    for value in _values(tree, in_test=False):
        yield from _below(value, WHOLE, names, 0)


def _below(node: ast.AST, part: str, names: Mapping[str, ast.expr], depth: int) -> Iterator[tuple[ast.AST, str]]:
    yield node, part
    name = last_name(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    if name in names and depth < 4:
        yield from _below(names[name], part, names, depth + 1)
    if (
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod))
        or (isinstance(node, ast.Call) and last_name(node.func) in {"format", "create", "URL"})
    ):
        part = PART
    for child in ast.iter_child_nodes(node):
        yield from _below(child, part, names, depth)


def _values(node: ast.AST, *, in_test: bool) -> Iterator[ast.expr]:
    """What the settings are set to, in every way that Flask offers; a class for tests has a database of its own."""
    in_test = in_test or (isinstance(node, ast.ClassDef) and "test" in node.name.lower())
    if not in_test:
        yield from _set_by(node)
    for child in ast.iter_child_nodes(node):
        yield from _values(child, in_test=in_test)


def _set_by(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Assign(targets=targets, value=value):
            if any(_is_setting(target) for target in targets):
                yield value
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            if _is_setting(target):
                yield value
        case ast.keyword(arg=name, value=value) if name in _SETTINGS:
            yield value
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value in _SETTINGS:
                    yield value
        case ast.FunctionDef(name=name) if name in _SETTINGS:  # a property of a settings class
            yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value)


def _is_setting(target: ast.expr) -> bool:
    if isinstance(target, ast.Subscript):
        return isinstance(target.slice, ast.Constant) and target.slice.value in _SETTINGS
    return last_name(target) in _SETTINGS


def _url(node: ast.AST) -> str | None:
    """A text that is a URL, or how one begins."""
    texts: Sequence[ast.AST] = (node, *node.values[:1]) if isinstance(node, ast.JoinedStr) else (node,)
    if isinstance(node, ast.BinOp):
        texts = (node.left,)
    for one in texts:
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and re.match(r"[a-z][a-z0-9+]*://", one.value):
            return one.value
    return None
