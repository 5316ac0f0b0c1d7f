"""Whether a migration only adds: judged twice, by what its text can do and by what a rehearsal saw it do."""

import ast
from collections.abc import Iterator

from backend_crew.tools.facts import DatabaseFacts, TableFacts

_OPERATIONS = frozenset({"add_column", "create_table", "create_index"})
_MODULES = ("alembic", "sqlalchemy", "typing", "collections.abc", "__future__")
#: Lower-case names of SQLAlchemy and Alembic that only describe a column; classes (Column, String, …) do so too.
_DESCRIBING = frozenset({"text", "false", "true", "null", "f", "now", "current_timestamp", "func", "current_date"})


def adds_only(text: str) -> bool:
    """Whether a migration's upgrade() is nothing but op.create_table, op.create_index and op.add_column.

    The text is parsed, never run. Anything else (another import, a loop, op.execute, a batch, code at module level)
    is not known to add only, and so is False.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    upgrades = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "upgrade"]
    return len(upgrades) == 1 and all(_harmless(one) for one in tree.body) and any(_operations(upgrades[0]))


def added_only(before: DatabaseFacts, after: DatabaseFacts) -> bool:
    """Whether everything that was in a database is still there with the same values, and under no new rules."""
    if not set(before.schema) <= set(after.schema):
        return False
    new = [line for line in after.schema if line not in before.schema]
    if any(_binds(line, table) for line in new for table in before.tables):
        return False
    return all(name in after.tables and _same(old, after.tables[name]) for name, old in before.tables.items())


def _harmless(node: ast.stmt) -> bool:
    """A statement at module level: words, imports of the two libraries, plain values, the two functions."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Import):
        return all(_known(name.name) for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and _known(node.module or "") and all(name.name != "*" for name in node.names)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(node, ast.AnnAssign) and not _annotation(node.annotation):
            return False
        return all(_own_name(target) for target in targets) and (node.value is None or _plain(node.value))
    if not isinstance(node, ast.FunctionDef) or not _bare(node):
        return False
    # going back is judged by the rehearsal; it does not run when a migration is applied
    return node.name == "downgrade" or (node.name == "upgrade" and all(_step(one) for one in node.body))


def _bare(node: ast.FunctionDef) -> bool:
    """No decorator, argument, default or annotation: each of them would be code that runs at the import."""
    typed = bool(getattr(node, "type_params", ()))
    returns = node.returns is None or (isinstance(node.returns, ast.Constant) and node.returns.value is None)
    return not (node.decorator_list or ast.unparse(node.args) or typed) and returns


def _annotation(node: ast.expr) -> bool:
    """Names, subscripts and unions; a call in an annotation would run."""
    parts = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.Constant, ast.BinOp, ast.BitOr, ast.expr_context)
    return all(isinstance(one, parts) for one in ast.walk(node))


def _own_name(target: ast.expr) -> bool:
    """A name of the file's own: `op = …` would put something else behind every operation."""
    return isinstance(target, ast.Name) and target.id not in {"op", "sa", "upgrade"}


def _known(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _MODULES)


def _plain(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _step(node: ast.stmt) -> bool:
    if isinstance(node, ast.Pass):
        return True
    if not isinstance(node, ast.Expr):
        return False
    return isinstance(node.value, ast.Constant) or _operation(node.value)


def _operations(upgrade: ast.FunctionDef) -> Iterator[bool]:
    return (_operation(one.value) for one in upgrade.body if isinstance(one, ast.Expr))


def _operation(node: ast.expr) -> bool:
    """op.create_table(…) and its like, with arguments that only describe."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    named = isinstance(owner, ast.Name) and owner.id == "op" and node.func.attr in _OPERATIONS
    return named and all(_description(one) for one in _given(node))


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(one.value for one in call.keywords)]


def _description(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant | ast.Name):
        return True
    if isinstance(node, ast.List | ast.Tuple):
        return all(_description(one) for one in node.elts)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.Attribute):
        return _dotted(node)
    return isinstance(node, ast.Call) and _dotted(node.func) and all(_description(one) for one in _given(node))


def _dotted(node: ast.expr) -> bool:
    """Column, sa.Column, sa.func.now, op.f, postgresql.UUID: names that describe; eval and open are none."""
    if isinstance(node, ast.Name):
        return _describes(node.id)
    if not isinstance(node, ast.Attribute) or not _describes(node.attr):
        return False
    return isinstance(node.value, ast.Name) or _dotted(node.value)


def _describes(name: str) -> bool:
    return name[:1].isupper() or name in _DESCRIBING


def _binds(line: str, table: str) -> bool:
    """A schema line that lays a new rule on a table: rows that could be written before may be refused now."""
    ruled = line.startswith(("unique", f"check {table}: ")) and (
        f" on {table} (" in line or line.startswith(f"check {table}: ")
    )
    return ruled or (line.startswith("trigger ") and f" on {table.lower()} " in f"{line.lower()} ")


def _same(old: TableFacts, new: TableFacts) -> bool:
    """Every row and every value of the columns that were there; tables too large for checksums are not known."""
    if old.checksums is None or new.checksums is None or old.rows != new.rows:
        return False
    return all(new.checksums.get(column) == number for column, number in old.checksums.items())
