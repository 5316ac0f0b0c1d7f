"""What SQLite's statements do that hurts; table rebuilds are known as what they are."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.lint_context import Context
from backend_crew.tools.lint_rules import words
from backend_crew.tools.sql_statements import Statement, split

_REACHING = frozenset({"load_extension", "writefile", "readfile", "edit", "fts3_tokenizer"})
_FILE_PRAGMAS = words(
    "journal_mode synchronous page_size auto_vacuum encoding trusted_schema legacy_alter_table application_id"
    " ignore_check_constraints secure_delete locking_mode"
)
_OFF = frozenset({"off", "0", "no", "false"})
_VARYING = re.compile(r"(?i)\bdefault\s*\(|\bdefault\s+current_")
_TRIGGER_BODY = re.compile(r"(?is)\bbegin\b(?P<body>.*)\bend\s*\Z")
# What sqlglot does not read and SQLite writes all the same.
_TABLE_OPTIONS = re.compile(r"(?is)\)\s*(?:(?:without\s+rowid|strict)\s*,?\s*)+\Z")
_OR = re.compile(r"(?i)\A(\s*(?:update|insert))\s+or\s+\w+\b")
_ROWS_LEFT_OUT = ("where", "limit", "having", "group", "distinct", "offset", "joins")


@dataclass
class _Rebuild:
    """A table made anew: `copy` takes the rows of `table`, which is dropped, and then takes its name."""

    table: str
    copy: str
    statements: set[int]
    line: int


def lint_statements(statements: Sequence[Statement], context: Context) -> None:
    """Adds what the statements of one migration do, in order."""
    trees = [_tree(one) for one in statements]
    rebuilds = _rebuilds(statements, trees)
    of_rebuild = {index for one in rebuilds for index in one.statements}
    for one in rebuilds:
        context.known.created.add(one.copy)
    for index, (statement, tree) in enumerate(zip(statements, trees, strict=True)):
        for rebuild in rebuilds:
            if rebuild.line == statement.line and index == min(rebuild.statements):
                context.add("table-rebuild", statement.line, f"{rebuild.table} is made anew by way of {rebuild.copy}")
        if index in of_rebuild:
            _rebuilding(tree, statement, context)
        else:
            _lint(statement, tree, context)


def _tree(statement: Statement) -> Any:
    """The parsed statement; None where sqlglot does not understand it."""
    import sqlglot  # 0.3 s; only where SQLite is linted
    from sqlglot.errors import SqlglotError

    text = _OR.sub(r"\1", _TABLE_OPTIONS.sub(")", statement.text))
    if statement.words[:1] == ("REPLACE",):
        text = f"INSERT{text[len('REPLACE') :]}"
    log = logging.getLogger("sqlglot")
    level, log.level = log.level, logging.CRITICAL  # it warns on the terminal of what becomes a finding here
    try:
        parsed = [one for one in sqlglot.parse(text, dialect="sqlite") if one is not None]
    except (SqlglotError, RecursionError, ValueError):
        return None
    finally:
        log.level = level
    return parsed[0] if len(parsed) == 1 else None


def _rebuilds(statements: Sequence[Statement], trees: Sequence[Any]) -> list[_Rebuild]:
    """Every CREATE copy, INSERT INTO copy SELECT … FROM table, DROP table, RENAME copy TO table."""
    from sqlglot import exp

    found: list[_Rebuild] = []
    made: dict[str, int] = {}
    filled: dict[str, tuple[int, str]] = {}
    gone: dict[str, int] = {}
    for index, tree in enumerate(trees):
        if isinstance(tree, exp.Create) and tree.kind == "TABLE":
            made[_target(tree)] = index
        elif isinstance(tree, exp.Insert) and isinstance(tree.expression, exp.Select):
            sources = [_name(one) for one in tree.expression.find_all(exp.Table)]
            if len(sources) == 1:
                filled[_target(tree)] = (index, sources[0])
        elif isinstance(tree, exp.Drop) and tree.kind == "TABLE":
            gone[_dropped(tree)[0]] = index
        elif (renamed := _renamed(tree)) is not None:
            copy, table = renamed
            source = filled.get(copy, (0, ""))
            parts = [made.get(copy, -1), source[0], gone.get(table, -1), index]
            if source[1] == table and parts[0] >= 0 and parts == sorted(parts):
                found.append(_Rebuild(table, copy, set(parts), statements[parts[0]].line))
    return found


def _rebuilding(tree: Any, statement: Statement, context: Context) -> None:
    """The one step of a rebuild that can lose rows: a copy that leaves some out."""
    from sqlglot import exp

    select = tree.expression if isinstance(tree, exp.Insert) else None
    if select is not None and any(select.args.get(part) for part in _ROWS_LEFT_OUT):
        context.add("rebuild-filters-rows", statement.line, f"The copy into {_target(tree)} does not take every row")


def _name(table: Any) -> str:
    return str(table.name).lower()


def _target(tree: Any) -> str:
    """The table that a CREATE, INSERT, UPDATE, DELETE or ALTER names."""
    from sqlglot import exp

    found = tree.this if isinstance(tree.this, exp.Table) else tree.this.find(exp.Table) if tree.this else None
    return _name(found) if found is not None else ""


def _dropped(tree: Any) -> list[str]:
    from sqlglot import exp

    tables = tree.args.get("tables") or [tree.this]
    return [_name(one) for one in tables if isinstance(one, exp.Expression)] or [""]


def _renamed(tree: Any) -> tuple[str, str] | None:
    from sqlglot import exp

    actions = tree.args.get("actions") or [] if isinstance(tree, exp.Alter) else []
    return (_target(tree), _name(actions[0].this)) if actions and isinstance(actions[0], exp.AlterRename) else None


def _lint(statement: Statement, tree: Any, context: Context) -> None:
    from sqlglot import exp

    line, first = statement.line, statement.words[:1]
    if first == ("CREATE",) and "TRIGGER" in statement.words[1:3]:
        return _trigger(statement, context)
    if statement.kind in {"transaction", "maintenance"}:
        return _plain(statement, context)
    known = statement.kind != "opaque" or first in {("ATTACH",), ("DETACH",)}
    if not known or tree is None or isinstance(tree, exp.Command):
        start = " ".join(statement.text.split()[:3])[:60]
        return context.add("opaque-statement", line, f"{start} … is not understood")
    for name in sorted({str(call.this).lower() for call in tree.find_all(exp.Anonymous)} & _REACHING):
        context.add("load-extension" if name == "load_extension" else "server-function", line, f"{name}() is called")
    for kind, judge in _judges().items():
        if isinstance(tree, kind):
            judge(statement, tree, context)
    return None


def _judges() -> dict[type, Callable[[Statement, Any, Context], None]]:
    from sqlglot import exp

    return {
        exp.Attach: lambda statement, _, context: context.add("attach-database", statement.line, "ATTACH"),
        exp.Pragma: lambda statement, tree, context: _pragma(tree, statement.line, context),
        exp.DML: lambda statement, tree, context: _writes(tree, statement.line, context),
        exp.Create: lambda statement, tree, context: _create(tree, statement.line, context),
        exp.Drop: lambda statement, tree, context: _drop(tree, statement.line, context),
        exp.Alter: _alter,
    }


def _plain(statement: Statement, context: Context) -> None:
    """Transactions and maintenance, told by their first words."""
    first = statement.words[0]
    if first == "BEGIN":
        context.begins()
    elif first in {"COMMIT", "END"} or (first == "ROLLBACK" and "TO" not in statement.words):
        context.ends(statement.line)
    elif first == "VACUUM":
        context.add("maintenance", statement.line, "VACUUM")
        if "INTO" in statement.words:
            context.add("server-file", statement.line, "VACUUM INTO writes another file")
        if context.in_transaction:
            context.add("needs-no-transaction", statement.line, "VACUUM stands in a transaction")


def _trigger(statement: Statement, context: Context) -> None:
    context.add("create-trigger", statement.line, "A trigger is made")
    body = _TRIGGER_BODY.search(statement.text)
    if body is None:
        return context.add("opaque-statement", statement.line, "The trigger's body is not understood")
    inside = Context(context.path, transactional=False, dialect=context.dialect, later=True)
    before = statement.line - 1 + statement.text.count("\n", 0, body.start("body"))
    for one in split(body["body"], "sqlite"):
        at = Statement(one.text, one.line + before, one.start, one.end, one.kind, one.words, one.table)
        # RAISE is known inside triggers alone, and does nothing to rows that are there.
        if "RAISE" not in one.words:
            _lint(at, _tree(at), inside)
    context.found += inside.found
    return None


def _pragma(tree: Any, line: int, context: Context) -> None:
    text = tree.this.sql(dialect="sqlite").lower().rpartition(".")[2].replace('"', "").replace("'", "")
    name, _, value = (part.strip() for part in text.partition("="))
    if name == "foreign_keys" and value in _OFF:
        context.add("foreign-keys-off", line, "PRAGMA foreign_keys = OFF")
    elif name == "writable_schema" and value and value not in _OFF:
        context.add("writable-schema", line, "PRAGMA writable_schema")
    elif name in _FILE_PRAGMAS and value:
        context.add("database-pragma", line, f"PRAGMA {name}")


def _writes(tree: Any, line: int, context: Context) -> None:
    from sqlglot import exp

    table = _target(tree)
    context.wrote(table, line)
    if table in {"sqlite_master", "sqlite_schema"}:
        context.add("writable-schema", line, f"{table} is written")
    if isinstance(tree, exp.Insert) or context.is_new(table):
        return
    if isinstance(tree, exp.Delete):
        context.deletes(table, line, _every_row(tree))
    if isinstance(tree, exp.Delete) or not _every_row(tree):
        return
    columns = [one.this.name.lower() for one in tree.expressions if isinstance(one, exp.EQ)]
    new = bool(columns) and all((table, column) in context.known.added for column in columns)
    rule = "backfill-in-one-statement" if new else "update-without-where"
    context.add(rule, line, f"UPDATE {table} sets {', '.join(columns)} in every row")


def _every_row(tree: Any) -> bool:
    from sqlglot import exp

    if tree.args.get("from_") or tree.args.get("limit"):
        return False
    where = tree.args.get("where")
    kept = where.this.unnest() if where is not None else None
    if kept is None or (isinstance(kept, exp.Boolean) and kept.this):
        return True
    if isinstance(kept, exp.Literal):
        return kept.this not in {"0", ""}
    both = isinstance(kept, exp.EQ) and isinstance(kept.this, exp.Literal)
    return both and kept.this == kept.expression


def _create(tree: Any, line: int, context: Context) -> None:
    if tree.kind == "TABLE":
        context.known.created.add(_target(tree))
    elif tree.kind == "INDEX":
        table = _target(tree)
        context.changed(table, line)
        if tree.args.get("unique") and not context.is_new(table):
            context.add("unique-not-safe", line, f"A unique index is built on {table}")


def _drop(tree: Any, line: int, context: Context) -> None:
    named = [name for name in _dropped(tree) if not context.is_new(name)]
    kind = str(tree.kind)
    if not named or kind == "INDEX":
        return
    context.changed(named[0], line)
    context.add(
        "drop-table" if kind == "TABLE" else "drop-object", line, f"{kind.capitalize()} {', '.join(named)} is dropped"
    )


def _alter(statement: Statement, tree: Any, context: Context) -> None:
    from sqlglot import exp

    line, table = statement.line, _target(tree)
    if context.is_new(table):
        if (renamed := _renamed(tree)) is not None:
            context.known.created.add(renamed[1])
        return
    context.changed(table, line)
    for action in tree.args.get("actions") or []:
        if isinstance(action, exp.AlterRename):
            context.add("rename-table", line, f"{table} becomes {_name(action.this)}")
        elif isinstance(action, exp.RenameColumn):
            context.add("rename-column", line, f"{table}.{action.this.name} becomes {action.args['to'].name}")
        elif isinstance(action, exp.Drop):
            names = [name for name in _dropped(action) if (table, name) not in context.known.added]
            if names:
                context.add("drop-column", line, f"Column {table}.{', '.join(names)} is dropped")
        elif isinstance(action, exp.ColumnDef):
            _add_column(statement, action, table, line, context)
        else:
            context.add("opaque-statement", line, f"What becomes of {table} is not understood")


def _add_column(statement: Statement, action: Any, table: str, line: int, context: Context) -> None:
    from sqlglot import exp

    column = action.name.lower()
    context.known.added.add((table, column))
    kinds = {type(one.kind): one.kind for one in action.args.get("constraints") or []}
    required = kinds.get(exp.NotNullColumnConstraint)
    default = kinds.get(exp.DefaultColumnConstraint)
    empty = default is None or isinstance(default.this, exp.Null)
    if required is not None and not required.args.get("allow_null") and empty:
        context.add("add-not-null", line, f"Column {table}.{column} is NOT NULL without a default")
    elif default is not None and _VARYING.search(statement.text):
        context.add("add-not-null", line, f"Column {table}.{column} has a default that is no constant")
