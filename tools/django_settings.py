"""What a Django project's settings say by their literals; no file of the repository is imported."""

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.imports import closure
from backend_crew.tools.python_literals import VARIABLE, last_name, parsed, variable_read

_NAME = "DJANGO_SETTINGS_MODULE"
_PARTS = frozenset({"NAME", "USER", "PASSWORD", "HOST", "PORT"})
_SETTINGS_FOLDERS = frozenset({"settings", "config", "conf"})
# By what stands in the ENGINE or in the scheme of a URL; cockroachdb's own scheme and backends name PostgreSQL's too.
_ENGINES = (("cockroach", "CockroachDB"), ("sqlite", "sqlite"), ("spatialite", "sqlite"), ("postg", "postgresql"),
            ("psql", "postgresql"), ("pgsql", "postgresql"), ("mysql", "MySQL"), ("mariadb", "MariaDB"),
            ("mssql", "SQL Server"), ("sql_server", "SQL Server"), ("oracle", "Oracle"))  # fmt: skip


@dataclass(frozen=True)
class DjangoSettings:
    """The settings files of one project and what their literals say, the settings module itself first."""

    module: str | None  # as manage.py names it; None where it computes the name
    files: tuple[str, ...]
    texts: frozenset[str]  # every string in them: an installed app is named by one
    values: Mapping[str, object]  # settings that are plain literals; the first file that has one wins
    engines: tuple[str, ...]  # ENGINE values and URLs that DATABASES is made of
    variables: Mapping[str, str]  # what DATABASES reads from the environment -> NAME, USER, …, ENGINE or URL

    @property
    def secrets(self) -> tuple[str, ...]:
        """Variables that hold a SECRET_KEY: no database depends on it, and without one no settings load."""
        named = {text for text in self.texts if re.fullmatch(r"[A-Z0-9_]*SECRET_KEY", text)}
        return tuple(sorted({"DJANGO_SECRET_KEY", *named}))  # as django-configurations calls it without writing it out


def read_settings(root: Path, base: str) -> DjangoSettings:
    """The settings that the manage.py in folder `base` names, from literals alone."""
    module = _named(root / base / "manage.py")
    files = _files(root, base, module)
    trees = {path: tree for path in files if (tree := parsed(root / path)) is not None}
    values: dict[str, object] = {}
    for tree in trees.values():
        for name, value in _literals(tree):
            values.setdefault(name, value)
    databases = [_Databases(tree) for tree in trees.values()]
    variables: dict[str, str] = {}
    for one in databases:
        for name, part in one.variables.items():
            variables.setdefault(name, part)
    return DjangoSettings(
        module=module,
        files=tuple(trees),
        texts=frozenset(text for tree in trees.values() for text in _strings(tree)),
        values=values,
        engines=tuple(text for one in databases for text in one.engines),
        variables=variables,
    )


def engine_of(text: str) -> str:
    """The engine that an ENGINE or a URL names: "sqlite", "postgresql" or another's name."""
    said = text.split(":", 1)[0].lower()
    return next((name for part, name in _ENGINES if part in said), f"an engine that is not known here ({said})")


def _named(manage: Path) -> str | None:
    """The module in os.environ.setdefault("DJANGO_SETTINGS_MODULE", "…") or in an assignment to that key."""
    tree = parsed(manage)
    for node in ast.walk(tree) if tree else ():
        key: ast.expr | None = None
        if isinstance(node, ast.Call) and last_name(node.func) == "setdefault" and len(node.args) == 2:
            key, value = node.args
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key, value = node.targets[0].slice, node.value
        if key is not None and _text(key) == _NAME and (found := _text(value)):
            return found
    return None


def _files(root: Path, base: str, module: str | None) -> tuple[str, ...]:
    """The settings module, what it imports, and its neighbours in a folder of settings (django-split-settings)."""
    if module is None:
        found = sorted((root / base).glob("*/settings*.py")) + sorted((root / base).glob("*/settings/*.py"))
        return tuple(path.relative_to(root).as_posix() for path in found if not path.is_symlink())
    stem = posixpath.join(base, *module.split("."))
    own = [path for path in (f"{stem}.py", f"{stem}/__init__.py") if (root / path).is_file()]
    folder = stem if own and own[0].endswith("__init__.py") else posixpath.dirname(stem)
    beside: list[str] = []
    if posixpath.basename(folder) in _SETTINGS_FOLDERS:
        beside = [path.relative_to(root).as_posix() for path in sorted((root / folder).rglob("*.py"))]
    return tuple(dict.fromkeys((*own, *closure(root, own, (base,)).files, *beside)))


def _literals(tree: ast.Module) -> Iterator[tuple[str, object]]:
    for node in ast.walk(tree):
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and target.id.isupper() and isinstance(node, ast.Assign | ast.AnnAssign):
            try:
                yield target.id, ast.literal_eval(node.value) if node.value else None
            except (ValueError, TypeError):
                continue


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (text := _text(node)) is not None:
            yield text


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@dataclass
class _Databases:
    """What one file's DATABASES is made of."""

    tree: ast.Module
    variables: dict[str, str] = field(default_factory=dict)
    engines: list[str] = field(default_factory=list)
    _names: dict[str, ast.expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._names.setdefault(node.targets[0].id, node.value)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and _root(node.targets[0]) == "DATABASES":
                self._visit(node.value, _key(node.targets[0]))
            elif isinstance(node, ast.AnnAssign) and _root(node.target) == "DATABASES" and node.value:
                self._visit(node.value, "URL")

    def _visit(self, node: ast.expr, part: str, depth: int = 0) -> None:
        """Notes every variable and engine below an expression that stands for this part of a database."""
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                # "default" and other aliases lead on; OPTIONS and the like name no database.
                name = _text(key) or ""
                known = name in _PARTS or name == "ENGINE"
                self._visit(value, name if known else part if not name.isupper() else "", depth)
            return
        if isinstance(node, ast.Name) and node.id in self._names and depth < 4:
            self._visit(self._names[node.id], part, depth + 1)
            return
        if (text := _text(node)) is not None:
            if (part == "ENGINE" and not re.fullmatch(VARIABLE, text)) or (
                part == "URL" and re.match(r"[a-z][a-z0-9+]*:", text)
            ):
                self.engines.append(text)
            return
        if part and (read := variable_read(node)):
            self.variables.setdefault(read, part)
        for child in ast.iter_child_nodes(node):
            inner = child.value if isinstance(child, ast.keyword) else child
            if isinstance(inner, ast.expr):
                self._visit(inner, part, depth)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _key(node: ast.expr) -> str:
    name = (_text(node.slice) or "") if isinstance(node, ast.Subscript) else ""
    return name if name in _PARTS or name == "ENGINE" else "" if name.isupper() else "URL"
