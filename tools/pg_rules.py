"""What each kind of PostgreSQL statement does that hurts, told from its tree."""

from collections.abc import Callable

from backend_crew.tools import pg_alter, pg_tree
from backend_crew.tools.lint_context import Context
from backend_crew.tools.lint_rules import words
from backend_crew.tools.pg_tree import Fields

_REACHING = words(
    "pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file pg_file_write pg_file_unlink pg_file_rename lo_import"
    " lo_export dblink dblink_exec dblink_connect dblink_connect_u dblink_send_query pg_terminate_backend"
    " pg_cancel_backend pg_reload_conf pg_rotate_logfile pg_promote query_to_xml database_to_xml"
    " pg_execute_server_program pg_switch_wal pg_create_restore_point"
)
_PLAIN_CALLS = words(
    "set_config setval nextval currval lastval current_setting now count min max sum coalesce version array_agg"
    " pg_get_serial_sequence pg_advisory_lock pg_advisory_unlock pg_advisory_xact_lock pg_try_advisory_lock"
    " pg_try_advisory_xact_lock current_database current_schema to_regclass generate_series"
)
_TABLE_LIKE = frozenset({"OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"})
_CLUSTER = (
    "AlterDatabaseStmt AlterDatabaseSetStmt AlterDatabaseRefreshCollStmt AlterRoleStmt AlterRoleSetStmt CreateRoleStmt"
    " DropRoleStmt GrantRoleStmt CreatedbStmt DropdbStmt CreateTableSpaceStmt DropTableSpaceStmt"
    " AlterTableSpaceOptionsStmt ReassignOwnedStmt"
)
_EXTERNAL = (
    "CreateForeignServerStmt AlterForeignServerStmt CreateUserMappingStmt CreateFdwStmt CreateForeignTableStmt"
    " ImportForeignSchemaStmt CreateSubscriptionStmt AlterSubscriptionStmt CreatePublicationStmt AlterPublicationStmt"
)


def targets(fields: Fields) -> list[str]:
    """What a DropStmt or TruncateStmt names."""
    if "relations" in fields:
        return [pg_tree.relation(pg_tree.inner(one)[1]) for one in fields["relations"]]
    return pg_tree.dropped(fields)


def writes(kind: str, fields: Fields, line: int, context: Context) -> None:
    """A statement that writes rows, wherever it stands inside another one."""
    table = pg_tree.relation(fields.get("relation"))
    context.wrote(table, line)
    if context.is_new(table) or kind in {"InsertStmt", "MergeStmt"}:
        return
    where = fields.get("whereClause")
    if kind == "DeleteStmt":
        context.deletes(table, line, pg_tree.always_true(where) and not fields.get("usingClause"))
    if kind == "UpdateStmt" and pg_tree.always_true(where) and not fields.get("fromClause"):
        columns = [str(target.get("name")) for _, target in map(pg_tree.inner, fields.get("targetList", ()))]
        new = bool(columns) and all((table, column) in context.known.added for column in columns)
        rule = "backfill-in-one-statement" if new else "update-without-where"
        context.add(rule, line, f"UPDATE {table} sets {', '.join(columns)} in every row")


def calls(name: str, fields: Fields, line: int, context: Context) -> None:
    """Functions that reach out of the database, and those whose work is all that a SELECT is for."""
    called = {pg_tree.function_name(call) for call in pg_tree.walk(fields, "FuncCall")}
    for function in sorted(called & _REACHING):
        context.add("server-function", line, f"{function}() is called")
    shown = [pg_tree.inner(one)[1].get("val") for one in fields.get("targetList", ())] if name == "SelectStmt" else []
    direct = {pg_tree.function_name(call) for kind, call in map(pg_tree.inner, shown) if kind == "FuncCall"}
    unknown = sorted(direct - _REACHING - _PLAIN_CALLS) if not fields.get("fromClause") else []
    if unknown:
        context.add("calls-function", line, f"{', '.join(unknown)}() is called")


def _drop(fields: Fields, line: int, context: Context) -> None:
    kind = str(fields.get("removeType", ""))
    named = [name for name in pg_tree.dropped(fields) if not context.is_new(name)]
    said = ", ".join(named)
    if not named:
        return
    if kind in _TABLE_LIKE:
        context.add("drop-table", line, f"{kind.removeprefix('OBJECT_').capitalize()} {said} is dropped")
    elif kind == "OBJECT_SCHEMA":
        context.add("drop-schema", line, f"Schema {said} is dropped")
    elif kind != "OBJECT_INDEX":
        context.add("drop-object", line, f"{kind.removeprefix('OBJECT_').capitalize()} {said} is dropped")
    elif not fields.get("concurrent"):
        context.add("drop-index-not-concurrent", line, f"Index {said} is dropped without CONCURRENTLY")
    if fields.get("concurrent"):
        _outside(line, context, "DROP INDEX CONCURRENTLY")
    else:
        context.changed(named[0], line)
        context.locks(named[0], line)


def _outside(line: int, context: Context, what: str) -> None:
    if context.in_transaction:
        context.add("needs-no-transaction", line, f"{what} stands in a transaction")


def _truncate(fields: Fields, line: int, context: Context) -> None:
    named = [name for name in targets(fields) if not context.is_new(name)]
    for name in named:
        context.wrote(name, line)
        context.locks(name, line)
    if named:
        context.add("truncate", line, f"TRUNCATE empties {', '.join(named)}")


def _rename(fields: Fields, line: int, context: Context) -> None:
    kind, table = fields.get("renameType"), pg_tree.relation(fields.get("relation"))
    if context.is_new(table):
        if kind == "OBJECT_TABLE":
            context.known.created.add(str(fields.get("newname")))
        return
    if kind in _TABLE_LIKE or kind == "OBJECT_VIEW":
        context.add("rename-table", line, f"{table} becomes {fields.get('newname')}")
    elif kind in {"OBJECT_COLUMN", "OBJECT_ATTRIBUTE"}:
        context.add("rename-column", line, f"{table}.{fields.get('subname')} becomes {fields.get('newname')}")
    else:
        return
    context.changed(table, line)
    context.locks(table, line)


def _alter_table(fields: Fields, line: int, context: Context) -> None:
    if fields.get("objtype") in {"OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"}:
        pg_alter.alter_table(fields, line, context)


def _index(fields: Fields, line: int, context: Context) -> None:
    table = pg_tree.relation(fields.get("relation"))
    if fields.get("concurrent"):
        return _outside(line, context, "CREATE INDEX CONCURRENTLY")
    if context.is_new(table):
        return None
    name = fields.get("idxname") or "(unnamed)"
    context.changed(table, line)
    context.locks(table, line)
    rule = "unique-not-safe" if fields.get("unique") else "index-not-concurrent"
    context.add(rule, line, f"Index {name} on {table} is built without CONCURRENTLY")
    return None


def _create(fields: Fields, line: int, context: Context) -> None:
    context.known.created.add(pg_tree.relation(fields.get("relation") or fields.get("into", {}).get("rel")))


def _copy(fields: Fields, line: int, context: Context) -> None:
    table = pg_tree.relation(fields.get("relation"))
    if fields.get("is_from"):
        context.wrote(table, line)
    if fields.get("is_program"):
        context.add("copy-program", line, f"COPY {table} … PROGRAM")
    elif fields.get("filename"):
        context.add("server-file", line, f"COPY {table} names a file of the server")


def _set(fields: Fields, line: int, context: Context) -> None:
    name = str(fields.get("name", "")).lower()
    if name == "lock_timeout" and fields.get("kind") == "VAR_SET_VALUE":
        context.lock_timeout = True
    elif name == "session_replication_role":
        context.add("constraints-off", line, "session_replication_role is set")
    elif name in {"role", "session_authorization"}:
        context.add("changes-role", line, f"SET {name}")


def _transaction(fields: Fields, line: int, context: Context) -> None:
    kind = str(fields.get("kind", ""))
    if kind in {"TRANS_STMT_BEGIN", "TRANS_STMT_START"}:
        context.begins()
    elif kind in {"TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK", "TRANS_STMT_PREPARE"}:
        context.ends(line)


def _vacuum(fields: Fields, line: int, context: Context) -> None:
    if fields.get("is_vacuumcmd"):
        context.add("maintenance", line, "VACUUM")
        _outside(line, context, "VACUUM")


def _reindex(fields: Fields, line: int, context: Context) -> None:
    context.add("maintenance", line, "REINDEX")
    if pg_tree.option({"options": fields.get("params", ())}, "concurrently") is not None:
        _outside(line, context, "REINDEX CONCURRENTLY")


def _alter_system(_fields: Fields, line: int, context: Context) -> None:
    context.add("alter-system", line, "ALTER SYSTEM")
    _outside(line, context, "ALTER SYSTEM")


def _refresh(fields: Fields, line: int, context: Context) -> None:
    if not fields.get("concurrent"):
        context.add("maintenance", line, f"REFRESH {pg_tree.relation(fields.get('relation'))} without CONCURRENTLY")


#: What is told from more than the kind of statement.
HANDLERS: dict[str, Callable[[Fields, int, Context], None]] = {
    "AlterSystemStmt": _alter_system,
    "AlterTableStmt": _alter_table,
    "CopyStmt": _copy,
    "CreateStmt": _create,
    "CreateTableAsStmt": _create,
    "DropStmt": _drop,
    "IndexStmt": _index,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "RenameStmt": _rename,
    "TransactionStmt": _transaction,
    "TruncateStmt": _truncate,
    "VacuumStmt": _vacuum,
    "VariableSetStmt": _set,
}

#: What is told by the kind of statement alone: the rule and the words.
SENTENCES: dict[str, tuple[str, str]] = {
    **{name: ("cluster-wide", f"{name.removesuffix('Stmt')} statement") for name in _CLUSTER.split()},
    **{name: ("external-connection", f"{name.removesuffix('Stmt')} statement") for name in _EXTERNAL.split()},
    "CallStmt": ("opaque-statement", "CALL runs a procedure"),
    "ClusterStmt": ("maintenance", "CLUSTER"),
    "CreateEventTrigStmt": ("create-trigger", "An event trigger is made"),
    "CreateExtensionStmt": ("create-extension", "An extension is made"),
    "CreatePLangStmt": ("load-extension", "A language is made"),
    "CreateTrigStmt": ("create-trigger", "A trigger is made"),
    "DropOwnedStmt": ("drop-schema", "DROP OWNED"),
    "DropSubscriptionStmt": ("external-connection", "A subscription is dropped"),
    "ExecuteStmt": ("opaque-statement", "EXECUTE runs what was prepared"),
    "LoadStmt": ("load-extension", "LOAD"),
    "RuleStmt": ("create-trigger", "A rule is made"),
}
