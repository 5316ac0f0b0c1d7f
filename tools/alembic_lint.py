"""Alembic's operations in upgrade(), judged from the source of a revision."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from backend_crew.tools import orm_rows, sql_lint
from backend_crew.tools.lint_context import Context, Known
from backend_crew.tools.lint_rules import LintFinding, words
from backend_crew.tools.python_literals import argument, is_constant, last_name, literal_text, text_line, written

_SESSION = frozenset({"execute", "scalar", "scalars", "query", "bulk_save_objects", "add_all"})
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class _Revision:
    context: Context
    functions: dict[str, ast.FunctionDef]
    source: orm_rows.Source
    ops: set[str]
    # names that stand for op, and for one table's batch: the table, else "" for all of them
    batches: dict[str, str] = field(default_factory=dict)
    bound: bool = False
    seen: set[str] = field(default_factory=set)

    def add(self, rule: str, node: ast.AST, what: str) -> None:
        """A finding where a node begins."""
        self.context.add(rule, getattr(node, "lineno", 1), what)


def lint_tree(path: str, tree: ast.Module, dialect: str, known: Known) -> list[LintFinding]:
    """What upgrade() and the functions of the file that it calls do; no downgrade, or an empty one, is told as well."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    revision = _Revision(
        Context(path, True, dialect, known=known), functions, orm_rows.Source.of(tree), _names_of_op(tree)
    )
    # SQLite has no lock_timeout; elsewhere the rendered SQL is where it is looked for.
    revision.context.lock_timeout = True
    if "upgrade" not in functions:
        revision.context.add("opaque-statement", 1, "There is no function upgrade() here")
        return revision.context.found
    _handed_on(tree, revision)
    _block(functions["upgrade"].body, revision)
    back = functions.get("downgrade")
    if back is None or _does_nothing(back):
        revision.context.add(
            "no-way-back", back.lineno if back else functions["upgrade"].lineno, "downgrade() is empty"
        )
    revision.context.transaction_over()
    return revision.context.found


def _names_of_op(tree: ast.Module) -> set[str]:
    """op, and what else a file calls it."""
    imports = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one.module == "alembic"]
    return {"op"} | {name.asname for one in imports for name in one.names if name.name == "op" and name.asname}


def _handed_on(tree: ast.Module, revision: _Revision) -> None:
    """op under a name that is made up at run time, or given to code that is not read here."""
    going_back = {id(one) for name, part in revision.functions.items() if name == "downgrade" for one in ast.walk(part)}
    called = {id(one.func) for one in ast.walk(tree) if isinstance(one, ast.Call)}
    owners = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Attribute) and id(one) in called}
    for one in ast.walk(tree):
        if isinstance(one, ast.Name) and one.id in revision.ops and id(one) not in owners | going_back:
            revision.add("opaque-statement", one, f"{one.id} is handed on to code that is not read here")


def _does_nothing(function: ast.FunctionDef) -> bool:
    return all(
        isinstance(one, ast.Pass | ast.Raise) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in function.body
    )


def _block(body: list[ast.stmt], revision: _Revision) -> None:
    for node in body:
        if isinstance(node, _FUNCTIONS | ast.ClassDef):
            continue
        if isinstance(node, ast.With):
            _with(node, revision)
            continue
        for call in _calls(node):
            _call(call, revision)
            orm_rows.judge(call, revision.source, revision.context)
        _elsewhere(node, revision)
        if revision.bound and isinstance(node, ast.For | ast.While):
            revision.context.wrote("rows", node.lineno)
        for _, inner in ast.iter_fields(node):
            if isinstance(inner, list):
                statements = [one for one in inner if isinstance(one, ast.stmt)]
                _block(statements, revision)
                for handler in [one for one in inner if isinstance(one, ast.ExceptHandler | ast.match_case)]:
                    _block(handler.body, revision)


def _elsewhere(node: ast.stmt, revision: _Revision) -> None:
    """A call for its effect alone, of a function that is not in this file."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        name = node.value.func.id
        if name not in revision.functions and name != "print":
            revision.add("calls-function", node, f"{name}() is called")


def _calls(node: ast.stmt) -> Iterator[ast.Call]:
    """The calls of a statement itself, in the order of the text; those of the statements inside it come later."""
    calls: list[ast.Call] = []
    pending: list[ast.AST] = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]
    while pending:
        one = pending.pop()
        if isinstance(one, ast.Call):
            calls.append(one)
        pending.extend(ast.iter_child_nodes(one))
    return iter(sorted(calls, key=lambda call: (call.lineno, call.col_offset)))


def _with(node: ast.With, revision: _Revision) -> None:
    batches, autocommit = dict(revision.batches), revision.context.transactional
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and last_name(call.func) == "batch_alter_table":
            if isinstance(item.optional_vars, ast.Name):
                revision.batches[item.optional_vars.id] = written(argument(call, "table_name", 0))
        elif isinstance(call, ast.Call) and last_name(call.func) == "autocommit_block":
            revision.context.transactional = False
        elif isinstance(call, ast.Call):
            _call(call, revision)
    _block(node.body, revision)
    revision.batches, revision.context.transactional = batches, autocommit


def _call(call: ast.Call, revision: _Revision) -> None:
    name = last_name(call.func)
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if owner is None:
        called = revision.functions.get(name)
        if called is not None and name not in revision.seen:
            revision.seen.add(name)
            _block(called.body, revision)
        return
    base = last_name(owner)
    if base in revision.ops or base in revision.batches:
        table = revision.batches.get(base)
        if name in _OPERATIONS:
            _OPERATIONS[name](call, table, revision)
        elif name == "get_bind":
            revision.bound = True
        elif name not in _QUIET:
            revision.add("opaque-statement", call, f"op.{name}() is not known here")
    elif name in _SESSION and (revision.bound or base in {"connection", "conn", "session", "bind"}):
        _session(call, revision)


_QUIET = words(
    "get_context f inline_literal batch_alter_table create_table_comment drop_table_comment invoke"
    " autocommit_block create_foreign_table"
)


def _session(call: ast.Call, revision: _Revision) -> None:
    """A statement by way of op.get_bind(): SQL is judged as SQL, anything else is code that touches rows."""
    given = call.args[0] if call.args else None
    if given is not None and literal_text(given) is not None:
        _sql(call, given, revision)
        return
    revision.add("data-in-schema-migration", call, f"{ast.unparse(call.func)}() works on rows")
    revision.context.wrote("rows", call.lineno)


def _sql(call: ast.Call, given: ast.expr, revision: _Revision) -> None:
    text, context = literal_text(given), revision.context
    if text is None:
        revision.add("opaque-statement", call, "SQL is built at run time")
        return
    sql_lint.judge(text, context, text_line(given))


def _execute(call: ast.Call, _table: str | None, revision: _Revision) -> None:
    given = argument(call, "sqltext", 0)
    if given is None or (isinstance(given, ast.Call) and literal_text(given) is None and _is_expression(given)):
        revision.add("data-in-schema-migration", call, "op.execute() runs an expression of SQLAlchemy")
        revision.context.wrote("rows", call.lineno)
    else:
        _sql(call, given, revision)


def _is_expression(call: ast.Call) -> bool:
    """users.update().where(…): SQLAlchemy's own language, not a text put together."""
    names = {last_name(one.func) for one in ast.walk(call) if isinstance(one, ast.Call)}
    return bool(names & {"insert", "update", "delete", "select"}) and "format" not in names


def _table_of(call: ast.Call, batch: str | None, position: int, name: str = "table_name") -> tuple[str, int]:
    """The table a call is about, and how far the positions of its other arguments are moved by it."""
    return (batch, -1) if batch is not None else (written(argument(call, name, position)), 0)


def _create_table(call: ast.Call, _table: str | None, revision: _Revision) -> None:
    revision.context.known.created.add(written(argument(call, "table_name", 0)))


def _drop_table(call: ast.Call, _table: str | None, revision: _Revision) -> None:
    table = written(argument(call, "table_name", 0))
    if not revision.context.is_new(table):
        revision.add("drop-table", call, f"Table {table} is dropped")
        revision.context.changed(table, call.lineno)


def _drop_column(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, moved = _table_of(call, batch, 0)
    if not revision.context.is_new(table):
        column = written(argument(call, "column_name", 1 + moved))
        revision.add("drop-column", call, f"Column {table}.{column} is dropped")
        revision.context.changed(table, call.lineno)


def _rename_table(call: ast.Call, _table: str | None, revision: _Revision) -> None:
    old, new = written(argument(call, "old_table_name", 0)), written(argument(call, "new_table_name", 1))
    if revision.context.is_new(old):
        revision.context.known.created.add(new)
        return
    revision.add("rename-table", call, f"{old} becomes {new}")
    revision.context.changed(old, call.lineno)


def _add_column(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, moved = _table_of(call, batch, 0)
    column = argument(call, "column", 1 + moved)
    if revision.context.is_new(table):
        return
    revision.context.changed(table, call.lineno)
    if not isinstance(column, ast.Call) or last_name(column.func) != "Column":
        revision.add("opaque-statement", call, f"A column of {table} is built at run time")
        return
    name = written(argument(column, "name", 0))
    revision.context.known.added.add((table, name))
    default = argument(column, "server_default")
    computed = any(isinstance(one, ast.Call) and last_name(one.func) in {"Computed", "Identity"} for one in column.args)
    no_default = default is None or is_constant(default, None)
    if is_constant(argument(column, "nullable"), False) and no_default and not computed:
        revision.add("add-not-null", call, f"Column {table}.{name} is NOT NULL without server_default")
    if is_constant(argument(column, "unique"), True):
        revision.add("unique-not-safe", call, f"Column {table}.{name} is unique")
    if any(isinstance(one, ast.Call) and last_name(one.func) == "ForeignKey" for one in column.args) and not no_default:
        revision.add("foreign-key-not-safe", call, f"Column {table}.{name} points to another table and has a default")


def _alter_column(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, moved = _table_of(call, batch, 0)
    if revision.context.is_new(table):
        return
    column = written(argument(call, "column_name", 1 + moved))
    where = f"{table}.{column}"
    revision.context.changed(table, call.lineno)
    new = argument(call, "new_column_name")
    if new is not None and not is_constant(new, None):
        revision.add("rename-column", call, f"{where} becomes {written(new)}")
    kind = argument(call, "type_")
    if kind is not None and not is_constant(kind, None):
        rule = (
            "widen-type"
            if last_name(kind.func if isinstance(kind, ast.Call) else kind) in _UNBOUNDED
            else "change-type"
        )
        revision.add(rule, call, f"{where} becomes {ast.unparse(kind)}")
    if is_constant(argument(call, "nullable"), False) and (table, column) not in revision.context.known.validated:
        revision.add("set-not-null", call, f"{where} becomes NOT NULL")


_UNBOUNDED = frozenset({"Text", "TEXT", "UnicodeText"})


def _create_index(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, moved = _table_of(call, batch, 1)
    concurrently = is_constant(argument(call, "postgresql_concurrently"), True)
    unique = is_constant(argument(call, "unique", 4 + moved), True)
    context = revision.context
    if concurrently and context.dialect == "postgresql":
        if context.transactional:
            revision.add("needs-no-transaction", call, f"An index of {table} is built concurrently")
        return
    if context.is_new(table):
        return
    context.changed(table, call.lineno)
    named = f"Index {written(argument(call, 'index_name', 0))} on {table}"
    if unique:
        revision.add("unique-not-safe", call, f"{named} is unique")
    elif context.dialect == "postgresql":
        revision.add("index-not-concurrent", call, f"{named} is built without postgresql_concurrently")


def _drop_index(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, _ = _table_of(call, batch, 1)
    context = revision.context
    if context.dialect != "postgresql" or context.is_new(table):
        return
    if not is_constant(argument(call, "postgresql_concurrently"), True):
        revision.add("drop-index-not-concurrent", call, f"Index {written(argument(call, 'index_name', 0))} is dropped")
    elif context.transactional:
        revision.add("needs-no-transaction", call, "An index is dropped concurrently")


def _constraint(rule: str, position: int, name: str) -> Callable[[ast.Call, str | None, _Revision], None]:
    def judge(call: ast.Call, batch: str | None, revision: _Revision) -> None:
        table, _ = _table_of(call, batch, position, name)
        safe = is_constant(argument(call, "postgresql_not_valid"), True) or argument(call, "postgresql_using_index")
        if revision.context.is_new(table):
            return
        revision.context.changed(table, call.lineno)
        if not (safe and revision.context.dialect == "postgresql"):
            named = written(argument(call, "constraint_name", 0))
            what = f"A constraint of {table}" if named == "None" else f"Constraint {named} of {table}"
            revision.add(rule, call, f"{what} is added")

    return judge


def _drop_constraint(call: ast.Call, batch: str | None, revision: _Revision) -> None:
    table, _ = _table_of(call, batch, 1)
    if not revision.context.is_new(table):
        name = written(argument(call, "constraint_name", 0))
        revision.add("drop-constraint", call, f"Constraint {name} of {table} is dropped")
        revision.context.changed(table, call.lineno)


def _bulk_insert(call: ast.Call, _table: str | None, revision: _Revision) -> None:
    given = argument(call, "table", 0)
    revision.context.wrote(written(argument(given, "name", 0) if isinstance(given, ast.Call) else given), call.lineno)


_OPERATIONS: dict[str, Callable[[ast.Call, str | None, _Revision], None]] = {
    "add_column": _add_column,
    "alter_column": _alter_column,
    "bulk_insert": _bulk_insert,
    "create_check_constraint": _constraint("check-not-safe", 1, "table_name"),
    "create_exclude_constraint": _constraint("unique-not-safe", 1, "table_name"),
    "create_foreign_key": _constraint("foreign-key-not-safe", 1, "source_table"),
    "create_index": _create_index,
    "create_primary_key": _constraint("unique-not-safe", 1, "table_name"),
    "create_table": _create_table,
    "create_unique_constraint": _constraint("unique-not-safe", 1, "table_name"),
    "drop_column": _drop_column,
    "drop_constraint": _drop_constraint,
    "drop_index": _drop_index,
    "drop_table": _drop_table,
    "execute": _execute,
    "rename_table": _rename_table,
}
