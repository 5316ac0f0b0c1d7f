"""One Django migration file as its literals describe it: what it stands on, what it replaces, whether it goes back."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.python_literals import argument, is_constant, last_name, literal_text

#: ("app label", "migration name"); the name may be "__first__" or "__latest__".
Key = tuple[str, str]

# These change no table, so a migration of nothing else has nothing to take back.
_NOTHING = frozenset({"AlterModelOptions", "AlterModelManagers"})


@dataclass(frozen=True)
class MigrationSource:
    """A migration by its literals; `down` is "yes", "empty" (it did something, going back does nothing) or "refuses"."""

    path: str
    key: Key
    sha256: str
    dependencies: tuple[Key, ...]
    swappable: tuple[str, ...]  # settings, or "app.Model" itself, that swappable_dependency() was given
    run_before: tuple[Key, ...]
    replaces: tuple[Key, ...]
    down: str


def read_migration(root: Path, path: str, key: Key) -> MigrationSource:
    """Reads one file; ToolRetry where what it stands on is computed, ToolRefused for a link."""
    data = plain_bytes(root, path)
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolRetry(f"{path} does not parse: {error}") from error
    classes = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Migration"]
    if len(classes) != 1:
        raise ToolRetry(
            f"{path} has {len(classes)} classes Migration at its top, and Django takes exactly one from each file of a "
            "migrations folder: write it, or start the file's name with _ if it is no migration"
        )
    values = {name: _assigned(path, classes[0], name) for name in ("dependencies", "run_before", "replaces")}
    bases = [last_name(base) for base in classes[0].bases]
    if bases != ["Migration"] and values["dependencies"] is None:
        raise ToolRetry(f"{path}:{classes[0].lineno}: Migration inherits its dependencies; write them in this class")
    swappable: list[str] = []
    return MigrationSource(
        path=path,
        key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        dependencies=_keys(path, "dependencies", values["dependencies"], swappable),
        swappable=tuple(swappable),
        run_before=_keys(path, "run_before", values["run_before"], None),
        replaces=_keys(path, "replaces", values["replaces"], None),
        down=_down(tree, _assigned(path, classes[0], "operations")),
    )


def plain_bytes(root: Path, path: str) -> bytes:
    """The bytes of a file of the repository; ToolRefused for a link or anything else."""
    target = root / path
    if target.is_symlink() or not target.is_file():
        raise ToolRefused(
            f"{path} is a link or no plain file; what runs in a migration has to be a file of the repository"
        )
    return target.read_bytes()


def _assigned(path: str, migration: ast.ClassDef, name: str) -> ast.expr | None:
    stores = [
        node
        for node in ast.walk(migration)
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
    ]
    values = [
        one.value
        for one in migration.body
        if (isinstance(one, ast.Assign) and len(one.targets) == 1 and one.targets[0] in stores)
        or (isinstance(one, ast.AnnAssign) and one.target in stores and one.value is not None)
    ]
    if len(stores) != len(values) or len(values) > 1:
        line = stores[0].lineno if stores else migration.lineno
        raise ToolRetry(f"{path}:{line}: {name} is not set exactly once; write it once, in the body of the class")
    return values[0] if values else None


def _keys(path: str, name: str, value: ast.expr | None, swappable: list[str] | None) -> tuple[Key, ...]:
    """The pairs of a list literal; swappable_dependency() is put aside, to be looked up in the settings."""
    if value is None:
        return ()
    if not isinstance(value, ast.List | ast.Tuple):
        raise ToolRetry(f"{path}:{value.lineno} computes {name}; write it as a plain list of (app, name) pairs")
    found: list[Key] = []
    for one in value.elts:
        if swappable is not None and isinstance(one, ast.Call) and last_name(one.func) == "swappable_dependency":
            given = one.args[0] if one.args else None
            setting = literal_text(given) or (last_name(given) if given is not None else "")
            if not setting:
                raise ToolRetry(f"{path}:{one.lineno} computes what swappable_dependency() is given; name a setting")
            swappable.append(setting)
            continue
        pair = [literal_text(item) for item in one.elts] if isinstance(one, ast.Tuple | ast.List) else []
        if len(pair) != 2 or not pair[0] or not pair[1]:
            raise ToolRetry(f'{path}:{one.lineno}: {ast.unparse(one)[:80]} in {name} is no plain ("app", "name") pair')
        found.append((pair[0], pair[1]))
    return tuple(found)


def _down(tree: ast.Module, operations: ast.expr | None) -> str:
    """What going back does, as far as literals tell; an operation that is not known here is taken at its word."""
    ways = [_way_back(tree, one) for one in _each(operations)]
    if "refuses" in ways:
        return "refuses"
    effective = [way for way in ways if way != "nothing"]
    return "empty" if effective and all(way == "empty" for way in effective) else "yes"


def _each(operations: ast.expr | None) -> Iterator[ast.Call]:
    """The operations that touch the database."""
    for one in operations.elts if isinstance(operations, ast.List | ast.Tuple) else ():
        if not isinstance(one, ast.Call):
            continue
        if last_name(one.func) == "SeparateDatabaseAndState":
            yield from _each(argument(one, "database_operations", 0))
        else:
            yield one


def _way_back(tree: ast.Module, call: ast.Call) -> str:
    name = last_name(call.func)
    if name == "RunPython":
        code, back = argument(call, "code", 0), argument(call, "reverse_code", 1)
        up = _function(tree, code)
        if back is None or is_constant(back, None):
            return "refuses"
        down = _function(tree, back)
        return down if down == "refuses" else "nothing" if up == down == "empty" else down
    if name == "RunSQL":
        back = argument(call, "reverse_sql", 1)
        if back is None or is_constant(back, None):
            return "refuses"
        return "nothing" if _no_sql(argument(call, "sql", 0)) else "empty" if _no_sql(back) else "yes"
    return "nothing" if name in _NOTHING else "yes"


def _no_sql(node: ast.expr | None) -> bool:
    if isinstance(node, ast.List | ast.Tuple):
        return all(_no_sql(one) for one in node.elts)
    return (last_name(node) == "noop" if node is not None else True) or (literal_text(node) or "-").strip() == ""


def _function(tree: ast.Module, given: ast.expr | None) -> str:
    """Whether a function that RunPython is given does something ("yes"), nothing ("empty") or only raises."""
    if given is None or last_name(given) == "noop":
        return "empty"
    if isinstance(given, ast.Lambda):
        return "empty" if isinstance(given.body, ast.Constant) else "yes"
    named = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == last_name(given)]
    if not named:
        return "yes"
    body = [
        one
        for one in named[-1].body
        if not isinstance(one, ast.Pass) and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    if not body or (isinstance(body[0], ast.Return) and (body[0].value is None or is_constant(body[0].value, None))):
        return "empty"
    return "refuses" if isinstance(body[0], ast.Raise) else "yes"
