"""An approved script cut into the steps that can be told apart after a crash, and what the database tells of each."""

import re
from dataclasses import dataclass
from typing import Any, cast

import psycopg

from backend_crew.tools import pg_tree
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.migrators.protocol import Script
from backend_crew.tools.pg_identity import Connection, one
from backend_crew.tools.sql_statements import Statement, split

_NAME = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_QUALIFIED = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*")
_REPEATABLE = frozenset(("REINDEX", "VACUUM", "ANALYZE", "ANALYSE", "CLUSTER", "CHECKPOINT"))
_OUTSIDE = frozenset(("DATABASE", "TABLESPACE", "SYSTEM", "SUBSCRIPTION"))
# The same columns, without rows and without anybody else seeing it.
_SCRATCH = "backend_crew_definition"
_INDEXES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), i.indisvalid, CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
  || split_part(pg_get_indexdef(c.oid), '.' || quote_ident(t.relname) || ' USING ', 2), c.relname::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
"""


@dataclass(frozen=True)
class Step:
    """Statements that are committed together; `alone` names the kind of one that PostgreSQL runs in no transaction.

    "index" and "drop" (CONCURRENTLY) can be looked up afterwards, "again" may be repeated, "unknown" neither.
    """

    segment: int
    statements: tuple[str, ...]
    alone: str = ""
    settings: tuple[str, ...] = ()  # SET for the session: later steps may need them when this one is skipped


def steps_of(script: Script) -> tuple[Step, ...]:
    """The same for the same approved bytes; ToolRefused names a statement that would get out of its transaction."""
    steps: list[Step] = []
    for number, segment in enumerate(script.segments):
        statements = split(segment.sql, "postgresql")
        for one_of in statements:
            _check(one_of, segment.transactional)
        groups = [statements] if segment.transactional else [(each,) for each in statements]
        for group in groups:
            if group:
                alone = "" if segment.transactional else _alone(group[0].words)
                settings = tuple(each.text for each in group if _sets(each.words))
                steps.append(Step(number, tuple(each.text for each in group), alone, settings))
    if not steps:
        raise ToolRefused("the approved script holds no statement; nothing was applied")
    return tuple(steps)


def shortened(statement: str) -> str:
    """A statement as a message names it."""
    text = " ".join(statement.split())
    return text if len(text) <= 120 else f"{text[:117]}..."


def _check(statement: Statement, transactional: bool) -> None:
    words = statement.words
    if statement.kind in {"meta", "rows"} or ("COPY" in words[:1] and "STDIN" in words):
        raise ToolRefused(
            f"{shortened(statement.text)!r} is for psql only, and migrations are applied without psql; "
            "nothing was applied. Write it as SQL"
        )
    within = words[:1] in {("SAVEPOINT",), ("RELEASE",)} or (words[:1] == ("ROLLBACK",) and "TO" in words)
    ends = statement.kind == "transaction" and not (within and transactional)
    if ends or words[:2] in {("PREPARE", "TRANSACTION"), ("COMMIT", "PREPARED")}:
        raise ToolRefused(
            f"{shortened(statement.text)!r} begins or ends a transaction by itself, so the migration could be applied in "
            "half; nothing was applied. Take it out and let the tool do so"
        )


def _alone(words: tuple[str, ...]) -> str:
    plain = tuple(word for word in words if word != "UNIQUE")
    if plain[:3] == ("CREATE", "INDEX", "CONCURRENTLY"):
        return "index"
    if words[:3] == ("DROP", "INDEX", "CONCURRENTLY"):
        return "drop"
    if words[:1] and words[0] in _REPEATABLE:
        return "again"
    detaches = "DETACH" in words and "CONCURRENTLY" in words
    outside = words[:1] and words[0] in {"CREATE", "ALTER", "DROP"} and words[1:2] and words[1] in _OUTSIDE
    # A procedure and a DO may commit by themselves where nobody opened a transaction for them.
    return "unknown" if detaches or outside or words[:1] in {("CALL",), ("DO",)} else ""


def _sets(words: tuple[str, ...]) -> bool:
    return words[:1] in {("SET",), ("RESET",)} and words[1:2] not in {("LOCAL",), ("TRANSACTION",), ("CONSTRAINTS",)}


def finished(connection: Connection, step: Step, begun: bool) -> bool:
    """Whether the database shows that a step outside transactions is done; ToolRefused when a person has to look."""
    statement = step.statements[0]
    if step.alone == "index":
        return _index_there(connection, statement, begun)
    if step.alone == "drop":
        return begun and not _exists(connection, _dropped(statement))  # PostgreSQL drops but one so
    if step.alone == "unknown" and begun:
        raise ToolRefused(
            f"an earlier try was interrupted at {shortened(statement)!r}, and nothing in the database tells whether it ran. "
            "Look, finish by hand what is missing, and rehearse again"
        )
    return False


def invalid_indexes(connection: Connection) -> dict[str, str]:
    """Every index that is not valid, with the command that removes it."""
    rows = connection.execute(cast(Any, f"{_INDEXES} WHERE NOT i.indisvalid")).fetchall()
    return {str(row[0]): f"DROP INDEX CONCURRENTLY {row[0]};" for row in rows}


def _index_there(connection: Connection, statement: str, begun: bool) -> bool:
    try:
        fields = pg_tree.parse(statement)[0][1]
    except pg_tree.UnreadableSQL:
        fields = {}
    table = _table(statement, fields)
    if table is None:
        if begun:
            raise ToolRefused(
                f"an earlier try was interrupted at {shortened(statement)!r}, which cannot be read here. Look whether the "
                "index is there and valid, remove it (DROP INDEX CONCURRENTLY) if not, and rehearse again"
            )
        return False
    head, behind = table
    where = " WHERE i.indrelid = to_regclass(%s)"
    rows = connection.execute(cast(Any, f"{_INDEXES}{where}"), (head,)).fetchall()
    wanted = fields.get("idxname")
    rows = [row for row in rows if wanted is None or row[3] == wanted]
    if not rows or (wanted is None and not begun):
        return False
    definition = _definition(connection, head, statement[behind:], bool(fields.get("unique")))
    for shown, valid, found, _ in rows:
        same = found == definition
        if not valid and (same or wanted is not None):
            raise ToolRefused(
                f"the index {shown} is there but INVALID: building it was interrupted or failed. Remove it with "
                f"DROP INDEX CONCURRENTLY {shown}; and apply again"
            )
        if same:
            return True
    if wanted is None:
        return False
    raise ToolRefused(
        f"there is another index {rows[0][0]} ({rows[0][2]}) than the approved "
        f"{shortened(statement)!r} makes. Rename or remove it and apply again"
    )


def _table(statement: str, fields: pg_tree.Fields) -> tuple[str, int] | None:
    """The table's name as written, and where the text behind it begins."""
    location = fields.get("relation", {}).get("location")
    if not isinstance(location, int):
        return None
    start = len(statement.encode()[:location].decode("utf-8", "ignore"))
    match = _QUALIFIED.match(statement, start)
    return (match.group(), match.end()) if match else None


def _definition(connection: Connection, table: str, rest: str, unique: bool) -> str | None:
    """How PostgreSQL itself would write this index, found on an empty twin of the table that is rolled back."""
    kind = "UNIQUE INDEX" if unique else "INDEX"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(cast(Any, f"CREATE TEMPORARY TABLE {_SCRATCH} (LIKE {table})"))
            connection.execute(cast(Any, f"CREATE {kind} ON pg_temp.{_SCRATCH} {rest}"))
            return str(one(connection, f"{_INDEXES} WHERE t.oid = 'pg_temp.{_SCRATCH}'::regclass")[2])
    except psycopg.Error:
        return None


def _dropped(statement: str) -> str:
    name = _QUALIFIED.match(re.sub(r"(?is)\A\s*DROP\s+INDEX\s+CONCURRENTLY\s+(?:IF\s+EXISTS\s+)?", "", statement))
    return name.group() if name else ""


def _exists(connection: Connection, name: str) -> bool:
    return bool(one(connection, "SELECT to_regclass(%s) IS NOT NULL", name)[0])
