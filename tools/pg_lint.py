"""PostgreSQL's statements judged one by one, with what blocks and functions hold."""

from backend_crew.tools import pg_rules, pg_tree
from backend_crew.tools.lint_context import Context, Known
from backend_crew.tools.lint_rules import words
from backend_crew.tools.pg_bodies import queries
from backend_crew.tools.pg_tree import Fields
from backend_crew.tools.sql_statements import Statement

_WRITES = ("DeleteStmt", "UpdateStmt", "MergeStmt", "InsertStmt")
# What neither loses rows nor waits long; anything that is in no list here is a red flag.
_QUIET = words(
    "AlterDefaultPrivilegesStmt AlterEnumStmt AlterExtensionStmt AlterFunctionStmt AlterObjectSchemaStmt AlterOwnerStmt"
    " AlterPolicyStmt AlterSeqStmt AlterTypeStmt ClosePortalStmt CommentStmt CompositeTypeStmt ConstraintsSetStmt"
    " CreateDomainStmt CreateEnumStmt CreatePolicyStmt CreateRangeStmt CreateSchemaStmt CreateSeqStmt CreateStatsStmt"
    " DefineStmt ExplainStmt GrantStmt ListenStmt LockStmt NotifyStmt UnlistenStmt VariableShowStmt ViewStmt"
    " InsertStmt UpdateStmt DeleteStmt MergeStmt SelectStmt"
    " CreateCastStmt CreateTransformStmt CreateConversionStmt AlterStatsStmt DiscardStmt SecLabelStmt"
)
_NO_TRANSACTION = frozenset({"CreatedbStmt", "DropdbStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt"})


def lint_statement(statement: Statement, context: Context) -> None:
    """Adds what one statement of the migration's own text does."""
    if statement.kind == "meta":
        context.add("psql-command", statement.line, f"{_beginning(statement.text)} is a command of psql")
    elif statement.kind != "rows":
        _lint(statement.text, statement.line, context, False)


def _beginning(text: str) -> str:
    return " ".join(text.split()[:3])[:60]


def _lint(sql: str, line: int, context: Context, body: bool) -> None:
    try:
        parsed = pg_tree.parse(sql)
    except pg_tree.UnreadableSQL as error:
        context.add("opaque-statement", line, f"{_beginning(sql)} … is not understood ({error})")
        return
    for name, fields, offset in parsed:
        piece = sql[offset:]
        at = line + pg_tree.line_in(sql, offset + len(piece) - len(piece.lstrip()))
        for kind in _WRITES:
            for one in pg_tree.walk({name: fields}, kind):
                pg_rules.writes(kind, one, at, context)
        pg_rules.calls(name, fields, at, context)
        if body and name in {"DropStmt", "TruncateStmt"}:
            context.add("drop-in-body", at, f"It drops or empties {', '.join(pg_rules.targets(fields))}")
        elif name == "DoStmt":
            _body(fields, sql, at, context, "DO")
        elif name == "CreateFunctionStmt":
            function = (pg_tree.names(fields.get("funcname")) or ["?"])[-1]
            context.add("create-function", at, f"Function {function} is made")
            _body(fields, sql, at, context, f"Function {function}")
        else:
            _judge(name, fields, at, context)


def _judge(name: str, fields: Fields, line: int, context: Context) -> None:
    what = name.removesuffix("Stmt")
    if name in pg_rules.HANDLERS:
        pg_rules.HANDLERS[name](fields, line, context)
    elif name in pg_rules.SENTENCES:
        rule, words = pg_rules.SENTENCES[name]
        context.add(rule, line, words)
    elif name not in _QUIET:
        context.add("opaque-statement", line, f"The statement {what} is not known here")
    if name in _NO_TRANSACTION and context.in_transaction:
        context.add("needs-no-transaction", line, f"{what} stands in a transaction")


def _body(fields: Fields, sql: str, line: int, context: Context, what: str) -> None:
    # What a body does happens later, or under its own conditions: it neither makes nor excuses anything outside.
    known = Known(set(context.known.created), set(context.known.added))
    inside = Context(context.path, transactional=False, known=known)
    inside.lock_timeout, inside.later = True, what != "DO"
    for one in queries(sql, fields):
        if one.sql is None:
            context.add("opaque-statement", line + one.line, f"{what} {one.why}")
        else:
            _lint(one.sql, line + one.line, inside, True)
    context.found += inside.found
