"""Django's migration operations, judged from the source of a migration."""

import ast
from collections.abc import Callable, Iterator

from backend_crew.tools import orm_rows, sql_lint
from backend_crew.tools.lint_context import Context, Known
from backend_crew.tools.lint_rules import LintFinding, words
from backend_crew.tools.python_literals import argument, is_constant, last_name, literal_text, text_line, written

_QUIET = words(
    "AlterModelOptions AlterModelManagers AlterModelTableComment AlterOrderWithRespectTo RenameIndex"
    " ValidateConstraint AddConstraintNotValid AlterIndexTogether CreateCollation RemoveCollation"
)
_EXTENSIONS = ("Extension", "CreateExtension")


def lint_tree(path: str, tree: ast.Module, dialect: str, known: Known) -> list[LintFinding]:
    """What the operations of class Migration do; models that the same file makes are free of what hurts tables in use."""
    context = Context(path, True, dialect, known=known)
    context.lock_timeout = True
    migration = next((one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Migration"), None)
    if migration is None:
        context.add("opaque-statement", 1, "There is no class Migration here")
        return context.found
    atomic = _assigned(migration, "atomic")
    if is_constant(atomic, False):
        context.transactional = False
        context.add("not-atomic", atomic.lineno if atomic else 1, "atomic = False")
    operations = _assigned(migration, "operations")
    if operations is None:
        return context.found
    _operations(operations, context)
    _code(operations, tree, context)
    context.transaction_over()
    return context.found


def _code(operations: ast.expr, tree: ast.Module, context: Context) -> None:
    """What the functions that RunPython is given do to rows, with those of the file that they call."""
    source = orm_rows.Source.of(tree)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    runs = [one for one in ast.walk(operations) if isinstance(one, ast.Call) and last_name(one.func) == "RunPython"]
    waiting = [argument(one, "code", 0) for one in runs]
    seen: set[str] = set()
    while waiting:
        code: ast.AST | None = waiting.pop(0)
        if isinstance(code, ast.Name):
            code = None if code.id in seen else functions.get(code.id)
        if code is None:
            continue
        seen |= {code.name} if isinstance(code, ast.FunctionDef) else set()
        for call in [one for one in ast.walk(code) if isinstance(one, ast.Call)]:
            orm_rows.judge(call, source, context)
            text = literal_text(call.args[0]) if last_name(call.func) == "execute" and call.args else None
            if text is not None:
                sql_lint.judge(text, context, text_line(call.args[0]))
            waiting.append(call.func)


def _assigned(migration: ast.ClassDef, name: str) -> ast.expr | None:
    for one in migration.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if isinstance(one, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id == name for target in targets
        ):
            return one.value
    return None


def _operations(given: ast.expr | None, context: Context) -> None:
    if not isinstance(given, ast.List | ast.Tuple):
        if given is not None:
            context.add("opaque-statement", given.lineno, "The list of operations is built at run time")
        return
    for one in given.elts:
        name = last_name(one.func) if isinstance(one, ast.Call) else ""
        if not isinstance(one, ast.Call):
            context.add("opaque-statement", one.lineno, "An operation is built at run time")
        elif name in _OPERATIONS:
            _OPERATIONS[name](one, context)
        elif name.endswith(_EXTENSIONS):
            context.add("create-extension", one.lineno, name)
        elif name not in _QUIET:
            context.add(
                "opaque-statement", one.lineno, f"The operation {name or ast.unparse(one.func)} is not known here"
            )


def _model(call: ast.Call) -> str:
    return written(argument(call, "model_name", 0)).lower()


def _create_model(call: ast.Call, context: Context) -> None:
    context.known.created.add(written(argument(call, "name", 0)).lower())


def _delete_model(call: ast.Call, context: Context) -> None:
    name = written(argument(call, "name", 0))
    if not context.is_new(name.lower()):
        context.add("drop-table", call.lineno, f"The table of {name} is dropped")
        context.changed(name.lower(), call.lineno)


def _rename_model(call: ast.Call, context: Context) -> None:
    old, new = written(argument(call, "old_name", 0)), written(argument(call, "new_name", 1))
    if context.is_new(old.lower()):
        context.known.created.add(new.lower())
        return
    context.add("rename-table", call.lineno, f"The table of {old} becomes that of {new}")
    context.changed(old.lower(), call.lineno)


def _alter_model_table(call: ast.Call, context: Context) -> None:
    name = written(argument(call, "name", 0))
    if not context.is_new(name.lower()):
        context.add("rename-table", call.lineno, f"The table of {name} becomes {written(argument(call, 'table', 1))}")
        context.changed(name.lower(), call.lineno)


def _in_use(judge: Callable[[ast.Call, str, Context], None]) -> Callable[[ast.Call, Context], None]:
    """An operation on a model, left out where this migration made the model."""

    def judged(call: ast.Call, context: Context) -> None:
        model = _model(call)
        if not context.is_new(model):
            context.changed(model, call.lineno)
            judge(call, model, context)

    return judged


def _remove_field(call: ast.Call, model: str, context: Context) -> None:
    context.add("drop-column", call.lineno, f"Column {model}.{written(argument(call, 'name', 1))} is dropped")


def _rename_field(call: ast.Call, model: str, context: Context) -> None:
    old, new = written(argument(call, "old_name", 1)), written(argument(call, "new_name", 2))
    context.add("rename-column", call.lineno, f"{model}.{old} becomes {new}")


def _add_field(call: ast.Call, model: str, context: Context) -> None:
    name, made = written(argument(call, "name", 1)), argument(call, "field", 2)
    where = f"{model}.{name}"
    if not isinstance(made, ast.Call):
        context.add("opaque-statement", call.lineno, f"The field {where} is built at run time")
        return
    if last_name(made.func) in {"ManyToManyField", "GeneratedField"}:
        return
    context.known.added.add((model, name))
    required = not is_constant(argument(made, "null"), True)
    if required and argument(made, "db_default") is None:
        if argument(made, "default") is None:
            context.add("add-not-null", call.lineno, f"Column {where} is NOT NULL without a default")
        else:
            context.add(
                "default-in-python-alone", call.lineno, f"Column {where} is NOT NULL with a default of Django's"
            )
    if is_constant(argument(made, "unique"), True) or last_name(made.func) == "OneToOneField":
        context.add("unique-not-safe", call.lineno, f"Column {where} is unique")


def _alter_field(call: ast.Call, model: str, context: Context) -> None:
    context.add("alter-field", call.lineno, f"{model}.{written(argument(call, 'name', 1))} is altered")


def _add_index(call: ast.Call, model: str, context: Context) -> None:
    if context.dialect == "postgresql":
        context.add(
            "index-not-concurrent", call.lineno, f"An index of {model} is added; AddIndexConcurrently does not wait"
        )


def _remove_index(call: ast.Call, model: str, context: Context) -> None:
    if context.dialect == "postgresql":
        context.add(
            "drop-index-not-concurrent",
            call.lineno,
            f"An index of {model} is dropped; RemoveIndexConcurrently waits less",
        )


def _concurrent(call: ast.Call, context: Context) -> None:
    if context.transactional:
        context.add("needs-no-transaction", call.lineno, f"{last_name(call.func)} stands in an atomic migration")


def _add_constraint(call: ast.Call, model: str, context: Context) -> None:
    made = argument(call, "constraint", 1)
    kind = last_name(made.func) if isinstance(made, ast.Call) else ""
    rule = "check-not-safe" if kind == "CheckConstraint" else "unique-not-safe"
    named = written(argument(made, "name")) if isinstance(made, ast.Call) else "(built at run time)"
    context.add(rule, call.lineno, f"Constraint {named} of {model} is added")


def _remove_constraint(call: ast.Call, model: str, context: Context) -> None:
    context.add(
        "drop-constraint", call.lineno, f"Constraint {written(argument(call, 'name', 1))} of {model} is dropped"
    )


def _unique_together(call: ast.Call, context: Context) -> None:
    name, given = written(argument(call, "name", 0)).lower(), argument(call, "unique_together", 1)
    empty = isinstance(given, ast.Set | ast.List | ast.Tuple) and not given.elts
    empty = empty or (isinstance(given, ast.Call) and last_name(given.func) == "set" and not given.args)
    if not (context.is_new(name) or empty):
        context.changed(name, call.lineno)
        context.add("unique-not-safe", call.lineno, f"{name} must be unique over more than one column")


def _run_python(call: ast.Call, context: Context) -> None:
    code = argument(call, "code", 0)
    if code is not None and last_name(code) == "noop":
        return
    context.wrote("rows", call.lineno)
    context.add("data-in-schema-migration", call.lineno, f"RunPython calls {written(code)}()")
    if argument(call, "reverse_code", 1) is None:
        context.add("no-way-back", call.lineno, "RunPython has no reverse_code")


def _run_sql(call: ast.Call, context: Context) -> None:
    for given in _texts(argument(call, "sql", 0)):
        text = literal_text(given)
        if text is None:
            context.add("opaque-statement", call.lineno, "SQL is built at run time")
        else:
            sql_lint.judge(text, context, text_line(given))
    if argument(call, "reverse_sql", 1) is None:
        context.add("no-way-back", call.lineno, "RunSQL has no reverse_sql")
    _operations(argument(call, "state_operations"), Context(context.path, True, context.dialect))


def _texts(given: ast.expr | None) -> Iterator[ast.expr]:
    """RunSQL's text, or the texts of its list, where each can be a pair with parameters."""
    for one in given.elts if isinstance(given, ast.List | ast.Tuple) else [given] if given else []:
        yield one.elts[0] if isinstance(one, ast.Tuple | ast.List) and one.elts else one


def _separate(call: ast.Call, context: Context) -> None:
    context.add("state-without-database", call.lineno, "SeparateDatabaseAndState")
    _operations(argument(call, "database_operations", 0), context)


_OPERATIONS: dict[str, Callable[[ast.Call, Context], None]] = {
    "AddConstraint": _in_use(_add_constraint),
    "AddField": _in_use(_add_field),
    "AddIndex": _in_use(_add_index),
    "AddIndexConcurrently": _concurrent,
    "AlterField": _in_use(_alter_field),
    "AlterModelTable": _alter_model_table,
    "AlterUniqueTogether": _unique_together,
    "CreateModel": _create_model,
    "DeleteModel": _delete_model,
    "RemoveConstraint": _in_use(_remove_constraint),
    "RemoveField": _in_use(_remove_field),
    "RemoveIndex": _in_use(_remove_index),
    "RemoveIndexConcurrently": _concurrent,
    "RenameField": _in_use(_rename_field),
    "RenameModel": _rename_model,
    "RunPython": _run_python,
    "RunSQL": _run_sql,
    "SeparateDatabaseAndState": _separate,
}
