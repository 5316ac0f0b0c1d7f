"""What PostgreSQL's ALTER TABLE does to a table that is in use."""

from collections.abc import Callable, Mapping
from typing import Any

from backend_crew.tools import pg_tree
from backend_crew.tools.lint_context import Context
from backend_crew.tools.lint_rules import words
from backend_crew.tools.pg_tree import Fields

_SERIAL = frozenset({"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"})
# Functions whose value is the same for every row of one statement, or that PostgreSQL marks as stable.
_STABLE = words(
    "now current_timestamp transaction_timestamp statement_timestamp current_setting current_user session_user"
    " to_timestamp to_char lower upper length md5 coalesce concat jsonb_build_object jsonb_build_array json_build_object"
    " json_build_array make_interval make_date array timezone date_trunc"
)
_UNBOUNDED = frozenset({"text", "varchar"})
_REWRITES = frozenset({"AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod", "AT_SetExpression"})
_TRIGGERS_OFF = frozenset({"AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser"})
_QUIET = frozenset({"AT_SetStatistics", "AT_SetOptions", "AT_SetStorage", "AT_ValidateConstraint", "AT_SetCompression"})


def alter_table(fields: Fields, line: int, context: Context) -> None:
    """Every command of an AlterTableStmt of a table."""
    table = pg_tree.relation(fields.get("relation"))
    commands = [node for kind, node in map(pg_tree.inner, fields.get("cmds", ())) if kind == "AlterTableCmd"]
    context.changed(table, line)
    if any(command.get("subtype") not in _QUIET for command in commands):
        context.locks(table, line)
    for command in commands:
        _command(command, table, line, context)


def _command(command: Fields, table: str, line: int, context: Context) -> None:
    subtype, column = str(command.get("subtype", "")), str(command.get("name", ""))
    if subtype == "AT_ValidateConstraint":
        _validated(table, column, line, context)
    elif subtype in _TRIGGERS_OFF:
        context.add("constraints-off", line, f"Triggers of {table} are disabled")
    elif context.is_new(table):
        return
    elif subtype in _ADDS:
        _ADDS[subtype](pg_tree.inner(command.get("def"))[1], table, column, line, context)
    elif subtype in _REWRITES:
        context.add("table-rewrite", line, f"{table} is stored anew")
    elif subtype == "AT_DropColumn" and (table, column) not in context.known.added:
        context.add("drop-column", line, f"Column {table}.{column} is dropped")
    elif subtype == "AT_DropConstraint":
        checked = context.known.not_null_checks.pop((table, column), None)
        context.known.validated.discard((table, checked or ""))
        if checked is None:
            context.add("drop-constraint", line, f"Constraint {column} of {table} is dropped")
    elif subtype == "AT_SetNotNull" and (table, column) not in context.known.validated:
        context.add("set-not-null", line, f"{table}.{column} becomes NOT NULL")


def _validated(table: str, name: str, line: int, context: Context) -> None:
    if (table, name) in context.unvalidated and context.in_transaction:
        context.add("validate-with-add", line, f"Constraint {name} of {table} is validated right here")
    checked = context.known.not_null_checks.get((table, name))
    if checked is not None:
        context.known.validated.add((table, checked))


def _change_type(definition: Fields, table: str, column: str, line: int, context: Context) -> None:
    new = definition.get("typeName", {})
    unbounded = pg_tree.type_name(new) in _UNBOUNDED and not new.get("typmods") and not definition.get("raw_default")
    if unbounded:
        context.add("widen-type", line, f"{table}.{column} becomes {pg_tree.type_name(new)}")
    else:
        context.add("change-type", line, f"{table}.{column} becomes {pg_tree.type_name(new)}")


def _add_column(definition: Fields, table: str, _: str, line: int, context: Context) -> None:
    column = str(definition.get("colname", ""))
    context.known.added.add((table, column))
    given = [node for kind, node in map(pg_tree.inner, definition.get("constraints", ())) if kind == "Constraint"]
    kinds = {str(one.get("contype")) for one in given}
    where = f"{table}.{column}"
    serial = pg_tree.type_name(definition.get("typeName")) in _SERIAL
    if kinds & {"CONSTR_GENERATED", "CONSTR_IDENTITY"} or serial:
        context.add("table-rewrite", line, f"Column {where} computes a value for every row that is there")
    elif "CONSTR_NOTNULL" in kinds and not _defaults(given):
        context.add("add-not-null", line, f"Column {where} is NOT NULL without a default")
    for one in given:
        kind = one.get("contype")
        if kind == "CONSTR_DEFAULT" and volatile(one.get("raw_expr")):
            context.add("table-rewrite", line, f"Column {where} has a default that differs from row to row")
        elif kind in {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_CHECK"} or (
            kind == "CONSTR_FOREIGN" and _defaults(given)
        ):
            add_constraint(one, table, column, line, context)


def _defaults(given: list[Fields]) -> list[Fields]:
    """The defaults that are a value: DEFAULT NULL is none."""
    defaults = [one.get("raw_expr") for one in given if one.get("contype") == "CONSTR_DEFAULT"]
    return [one for one in defaults if one and not pg_tree.inner(one)[1].get("isnull")]


def volatile(expression: Any) -> bool:
    """Whether a default calls a function that is not known to give one value for the whole statement."""
    return any(pg_tree.function_name(call) not in _STABLE for call in pg_tree.walk(expression, "FuncCall"))


def add_constraint(constraint: Fields, table: str, column: str, line: int, context: Context) -> None:
    """A constraint on a table that has rows; `column` is where a column's own constraint stands, else ""."""
    kind, name = constraint.get("contype"), str(constraint.get("conname", ""))
    named = f"Constraint {name} of {table}" if name else f"A constraint of {table}{'.' + column if column else ''}"
    later = bool(constraint.get("skip_validation"))
    if later:
        context.unvalidated.add((table, name))
        required = _required(constraint.get("raw_expr"))
        if required:
            context.known.not_null_checks[table, name] = required
    elif kind in {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_EXCLUSION"} and not constraint.get("indexname"):
        context.add("unique-not-safe", line, f"{named} builds its index while writes wait")
    elif kind == "CONSTR_FOREIGN":
        context.add("foreign-key-not-safe", line, f"{named} is added without NOT VALID")
    elif kind == "CONSTR_CHECK":
        context.add("check-not-safe", line, f"{named} is added without NOT VALID")
    elif kind == "CONSTR_NOTNULL":
        context.add("set-not-null", line, f"{named} requires a value in every row")


def _required(expression: Any) -> str:
    """The column of CHECK (column IS NOT NULL); "" for any other check."""
    kind, test = pg_tree.inner(expression)
    if kind != "NullTest" or test.get("nulltesttype") != "IS_NOT_NULL":
        return ""
    return ".".join(pg_tree.names(pg_tree.inner(test.get("arg"))[1].get("fields")))


_ADDS: Mapping[str, Callable[[Fields, str, str, int, Context], None]] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": add_constraint,
    "AT_AlterColumnType": _change_type,
}
