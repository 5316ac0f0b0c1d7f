"""Whether a migration only adds: judged twice, by what its text can do and by what a rehearsal saw it do."""

import ast
import re
from collections.abc import Iterator, Mapping

from backend_crew.tools.facts import DatabaseFacts, TableFacts
from backend_crew.tools.lint_rules import words

_OPERATIONS = frozenset({"add_column", "create_table", "create_index"})
#: Whole modules a migration may import, each by these names alone: any other alias hides what is called.
_MODULES: Mapping[str, tuple[str | None, ...]] = {"sqlalchemy": (None, "sa")}
_TYPING = words("Iterable Iterator List Mapping Optional Sequence Tuple Union")
_BUILT_IN = frozenset({"str", "int", "bool", "tuple", "list"})
_SA = frozenset({"sa", "sqlalchemy"})
_DIALECTS = frozenset({"mariadb", "mssql", "mysql", "oracle", "postgresql", "sqlite"})
#: Names of SQLAlchemy that only describe; its types in capitals do so too.
_DESCRIBING = words(
    "BigInteger Boolean CheckConstraint Column Date DateTime Double Enum Float ForeignKey ForeignKeyConstraint Identity "
    "Integer Interval LargeBinary Numeric PrimaryKeyConstraint SmallInteger String Text Time Unicode UnicodeText "
    "UniqueConstraint Uuid false null text true"
)
_CAPITALS_THAT_RUN = frozenset({"DDL", "CTE"})
#: Functions that a default, a check or an index may call, and the words of SQL that a bracket may follow.
_FUNCTIONS = words(
    "abs cast coalesce current_date current_time current_timestamp date datetime gen_random_uuid length lower now nullif "
    "round strftime substr trim upper uuid_generate_v4"
)
_WORDS = frozenset({"and", "between", "in", "not", "or"})


def adds_only(text: str) -> bool:
    """Whether a migration's upgrade() is nothing but op.create_table, op.create_index and op.add_column.

    The text is parsed, never run. Anything else (another import, another name for one, a loop, op.execute, a batch, code
    at module level, SQL that calls a function that is not known here) is not known to add only, and so is False.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    try:
        names = frozenset(name for one in tree.body for name in _names(one))
        upgrades = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "upgrade"]
        return len(upgrades) == 1 and all(_harmless(one, names) for one in tree.body) and any(_operations(upgrades[0]))
    except RecursionError:
        return False


def added_only(before: DatabaseFacts, after: DatabaseFacts) -> bool:
    """Whether everything that was in a database is still there with the same values, and under no new rules."""
    if not set(before.schema) <= set(after.schema):
        return False
    new = [line for line in after.schema if line not in before.schema]
    if any(_runs_later(line) for line in new):
        return False
    if not all(name in after.tables and _same(old, after.tables[name]) for name, old in before.tables.items()):
        return False
    return not any(_binds(line, name, old, after.tables[name]) for line in new for name, old in before.tables.items())


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at module level gives to imports and to values of the file's own."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (one.asname or one.name for one in node.names)
    elif isinstance(node, ast.Assign):
        yield from (one.id for one in node.targets if isinstance(one, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _harmless(node: ast.stmt, names: frozenset[str]) -> bool:
    """A statement at module level: words, imports of the two libraries, plain values, the two functions."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Import):
        return all(one.asname in _MODULES.get(one.name, ()) for one in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and all(one.asname is None and _known(node.module or "", one.name) for one in node.names)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(node, ast.AnnAssign) and not _annotation(node.annotation):
            return False
        return all(_own_name(target) for target in targets) and (node.value is None or _plain(node.value))
    if not isinstance(node, ast.FunctionDef) or not _bare(node):
        return False
    # going back is judged by the rehearsal; it does not run when a migration is applied
    return node.name == "downgrade" or (node.name == "upgrade" and all(_step(one, names) for one in node.body))


def _known(module: str, name: str) -> bool:
    """What may be imported from a module, under its own name."""
    if module == "alembic":
        return name == "op"
    if module == "sqlalchemy":
        return _describes(name)
    if module == "sqlalchemy.dialects":
        return name in _DIALECTS
    if module.startswith("sqlalchemy.dialects."):
        return module.removeprefix("sqlalchemy.dialects.") in _DIALECTS and _type(name)
    return (module in ("typing", "collections.abc") and name in _TYPING) or (module, name) == (
        "__future__",
        "annotations",
    )


def _bare(node: ast.FunctionDef) -> bool:
    """No decorator, argument, default or annotation: each of them would be code that runs at the import."""
    typed = bool(getattr(node, "type_params", ()))
    returns = node.returns is None or (isinstance(node.returns, ast.Constant) and node.returns.value is None)
    return not (node.decorator_list or ast.unparse(node.args) or typed) and returns


def _annotation(node: ast.expr) -> bool:
    """Plain types, subscripts and unions; a call, or an attribute of something else, would run."""
    parts = (ast.Name, ast.Subscript, ast.Tuple, ast.Constant, ast.BinOp, ast.BitOr, ast.expr_context)
    known = _TYPING | _BUILT_IN
    return all(isinstance(one, parts) and (not isinstance(one, ast.Name) or one.id in known) for one in ast.walk(node))


def _own_name(target: ast.expr) -> bool:
    """A name of the file's own: `op = …` would put something else behind every operation."""
    return isinstance(target, ast.Name) and target.id not in {"op", "upgrade"} | _SA | _DIALECTS


def _plain(node: ast.expr) -> bool:
    """A literal; its strings may stand where SQL is written, so they are held to the same."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return all(_says_little(one) for one in ast.walk(node) if isinstance(one, ast.Constant))


def _step(node: ast.stmt, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Pass):
        return True
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True
    call = node.value
    return _is_operation(call) and isinstance(call, ast.Call) and all(_description(one, names) for one in _given(call))


def _operations(upgrade: ast.FunctionDef) -> Iterator[bool]:
    return (_is_operation(one.value) for one in upgrade.body if isinstance(one, ast.Expr))


def _is_operation(node: ast.expr) -> bool:
    """A call of op.create_table and its like."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    return isinstance(owner, ast.Name) and owner.id == "op" and node.func.attr in _OPERATIONS


def _given(call: ast.Call) -> list[ast.expr]:
    """All arguments but comments, which always become a string of their own."""
    prose = [one.arg == "comment" and isinstance(one.value, ast.Constant) for one in call.keywords]
    return [*call.args, *(one.value for one, skip in zip(call.keywords, prose, strict=True) if not skip)]


def _description(node: ast.expr, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Constant):
        return _says_little(node)
    if isinstance(node, ast.Name):
        return node.id in names - _SA - _DIALECTS - {"op"}
    if isinstance(node, ast.List | ast.Tuple):
        return all(_description(one, names) for one in node.elts)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.Attribute):
        return _dotted(node, names)
    called = isinstance(node, ast.Call) and _dotted(node.func, names)
    return called and all(_description(one, names) for one in _given(node))  # type: ignore[arg-type]  # a Call here


def _dotted(node: ast.expr, names: frozenset[str]) -> bool:
    """sa.Column, Column, sa.func.now, op.f, postgresql.UUID: names that describe; eval and open are none."""
    if isinstance(node, ast.Name):
        return node.id in names and _describes(node.id)
    if not isinstance(node, ast.Attribute):
        return False
    whole = ast.unparse(node).split(".")
    if len(whole) == 3:
        return whole[0] in _SA and whole[1] == "func" and whole[2] in _FUNCTIONS
    return len(whole) == 2 and (
        (whole[0] in _SA and _describes(whole[1]))
        or (whole[0] in _DIALECTS and _type(whole[1]))
        or whole == ["op", "f"]
    )


def _describes(name: str) -> bool:
    return name in _DESCRIBING or _type(name)


def _type(name: str) -> bool:
    """An SQL type as SQLAlchemy spells it: JSONB, TIMESTAMP."""
    return name.isupper() and name not in _CAPITALS_THAT_RUN


def _says_little(node: ast.Constant) -> bool:
    """No string that, wherever it is put into SQL, ends a statement, hides a part of it or calls an unknown function."""
    if not isinstance(node.value, str):
        return not isinstance(node.value, bytes)
    text = node.value.casefold()
    if ";" in text or "--" in text or "/*" in text or "\\" in text:
        return False
    before = re.findall(r"([^\s(),=<>+*/|%!-]*)\s*\(", text)
    return all(word in _FUNCTIONS | _WORDS or not word for word in before)


def _runs_later(line: str) -> bool:
    """A schema line of what has SQL of its own or reaches into another table: triggers, views, rules, functions, …"""
    kind, _, rest = line.partition(" ")
    if kind == "table":
        return ": " in rest or " inherits " in rest
    return kind not in {"column", "index", "unique", "check", "foreign", "sequence", "enum", "grant"}


def _binds(line: str, name: str, old: TableFacts, now: TableFacts) -> bool:
    """A schema line that lays a new rule on a table that was there: what could be written before may be refused now."""
    if line.startswith("column "):
        required = re.search(r" NOT NULL(?! DEFAULT (?!NULL\b))", line) is not None
        return line.startswith(f"column {name}.") and (required or " GENERATED" in line)
    if line.startswith(f"foreign key {name} references "):
        return any(f" {column}>" in line for column in old.non_null)
    if line.startswith("grant "):
        return f" {name} to " in line
    _, on, keys = line.partition(f" on {name} (")
    # an expression or a condition is worked out at every write, and can fail
    return line.startswith(f"check {name}: ") or (bool(on) and (line.startswith("unique") or not _columns(keys, now)))


def _columns(keys: str, table: TableFacts) -> bool:
    """Whether an index's keys, as a schema line ends with them, are nothing but columns of its table."""
    if not keys.endswith(")"):
        return False
    named = (re.sub(r"(?i) (asc|desc)?( ?nulls (first|last))?$", "", one) for one in keys[:-1].split(", "))
    return all(one in table.non_null for one in named)


def _same(old: TableFacts, new: TableFacts) -> bool:
    """Every row and every value of the columns that were there; tables too large for checksums are not known."""
    if old.checksums is None or new.checksums is None or old.rows != new.rows:
        return False
    return all(new.checksums.get(column) == number for column, number in old.checksums.items())
