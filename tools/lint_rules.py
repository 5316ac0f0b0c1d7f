"""What the linters know: each rule's severity, why it hurts, and the safe way to the same end."""

from dataclasses import dataclass

ERROR, WARNING, INFO = "error", "warning", "info"
_EXPAND = "Expand, backfill, contract: "


@dataclass(frozen=True)
class LintFinding:
    """One place in a migration that can hurt.

    `rule` is a stable kebab-case name ("squawk/…" for what squawk alone says), `severity` "error", "warning" or "info";
    `path` is relative to the repository and `line` counts from 1. `text` says what was found and why it hurts,
    `advice` the safe way.
    """

    rule: str
    severity: str
    path: str
    line: int
    text: str
    advice: str


@dataclass(frozen=True)
class Rule:
    """Severity, harm and advice of one rule, in words for a person."""

    severity: str
    why: str
    advice: str


RULES: dict[str, Rule] = {
    # what takes data away
    "delete-without-where": Rule(
        ERROR,
        "every row is deleted",
        "Name the rows in a WHERE, delete in batches, and keep a copy until it is proven.",
    ),
    "delete-rows": Rule(
        ERROR,
        "they are gone, going back brings none back, and made-up rows of a rehearsal may not be among them",
        "Count them on a copy of the database first, and keep a copy of them until it is proven.",
    ),
    "update-without-where": Rule(
        ERROR,
        "the old value of every row is overwritten and every row is locked until the end of the transaction",
        _EXPAND + "write into a new column, in batches with a WHERE; switch the readers; drop the old column later.",
    ),
    "backfill-in-one-statement": Rule(
        WARNING,
        "it fills a new column in one transaction, which locks every row until its end",
        "Fill it in batches (a WHERE over ranges of the key), outside the migration that adds the column.",
    ),
    "truncate": Rule(ERROR, "all rows are gone at once", "Delete the rows you mean by a WHERE, after a backup."),
    "drop-table": Rule(
        ERROR,
        "its rows are gone, and code that still runs fails",
        "Stop using it in one release, rename or back it up in the next, drop it when nothing has read it for long.",
    ),
    "drop-column": Rule(
        ERROR,
        "its values are gone, and code that still runs fails",
        _EXPAND + "stop reading and writing it in one release, drop it in a later one, after a backup.",
    ),
    "drop-schema": Rule(ERROR, "everything inside goes with it", "Drop what is meant, by its name, after a backup."),
    "drop-object": Rule(
        WARNING, "what still uses it fails", "Check who uses it first; replace it (CREATE OR REPLACE) where that works."
    ),
    "drop-constraint": Rule(
        WARNING,
        "from then on rows may be written that the rule forbade, and going back fails on them",
        "Add the rule that replaces it first (NOT VALID, then VALIDATE), then drop the old one.",
    ),
    "drop-in-body": Rule(
        ERROR,
        "a DROP inside a block or function is easy to overlook",
        "Write it as a statement of its own, so that it can be read, rehearsed and approved as what it is.",
    ),
    "rebuild-filters-rows": Rule(
        ERROR,
        "rows that the copy leaves out are gone with the old table",
        "Copy every row; delete what is not wanted in a statement of its own, with a WHERE.",
    ),
    "table-rebuild": Rule(
        INFO,
        "a table is rebuilt by copy, drop and rename, as SQLite needs it; columns that are not copied are lost",
        "Compare rows and columns before and after (the rehearsal does), and plan for the time of a full copy.",
    ),
    "no-way-back": Rule(
        WARNING, "it cannot be undone", "Write the way back, or say in a comment why there is none and back up first."
    ),
    # what breaks code that runs, or fails on rows that are there
    "rename-table": Rule(
        ERROR,
        "code that still runs asks for the old name",
        _EXPAND + "make the new table or a view with the new name, move readers and writers, drop the old name later.",
    ),
    "rename-column": Rule(
        ERROR,
        "code that still runs asks for the old name",
        _EXPAND + "add the new column, write both, copy in batches, switch the readers, drop the old one later.",
    ),
    "change-type": Rule(
        ERROR,
        "the table is rewritten under an exclusive lock, and a value that does not fit is lost or stops it",
        _EXPAND + "add a column of the new type, write both, copy in batches, switch the readers, drop the old one.",
    ),
    "widen-type": Rule(
        WARNING,
        "from another text type this is quick, from any other type the table is rewritten under an exclusive lock",
        "Check the type it has now; where it is not a text type, add a new column and copy in batches.",
    ),
    "add-not-null": Rule(
        ERROR,
        "a table that has rows refuses it",
        _EXPAND + "add the column nullable or with a constant default, fill it in batches, then require it.",
    ),
    "set-not-null": Rule(
        ERROR,
        "one NULL stops it, and the whole table is read under an exclusive lock",
        "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID, fill the NULLs in batches, VALIDATE CONSTRAINT, then "
        "SET NOT NULL (which then reads nothing) and drop the check.",
    ),
    "unique-not-safe": Rule(
        ERROR,
        "the index is built under a lock that blocks writes, and one duplicate stops it",
        "Find the duplicates, CREATE UNIQUE INDEX CONCURRENTLY outside a transaction, then ADD CONSTRAINT … USING "
        "INDEX.",
    ),
    "foreign-key-not-safe": Rule(
        ERROR,
        "every row is checked while writes to both tables wait, and one orphan stops it",
        "ADD CONSTRAINT … NOT VALID first; repair the orphans; VALIDATE CONSTRAINT in a later transaction.",
    ),
    "check-not-safe": Rule(
        ERROR,
        "every row is checked under an exclusive lock, and one bad row stops it",
        "ADD CONSTRAINT … NOT VALID first; repair the rows; VALIDATE CONSTRAINT in a later transaction.",
    ),
    # what holds others up
    "validate-with-add": Rule(
        WARNING,
        "the constraint is added and validated in one transaction, so the strong lock lasts for the whole scan",
        "Put VALIDATE CONSTRAINT into a migration of its own.",
    ),
    "index-not-concurrent": Rule(
        ERROR,
        "writes to the table wait until it is done",
        "Use CONCURRENTLY, in a migration that runs outside a transaction; look for an INVALID index after a failure.",
    ),
    "drop-index-not-concurrent": Rule(
        WARNING,
        "reads and writes of the table wait behind it while it waits for its lock",
        "Use CONCURRENTLY, in a migration that runs outside a transaction.",
    ),
    "needs-no-transaction": Rule(
        ERROR,
        "the database refuses it inside a transaction, which this migration runs in",
        "Put it into a migration of its own, marked to run without a transaction (Alembic autocommit_block(), Django "
        "atomic = False, the tool's own mark in SQL files).",
    ),
    "table-rewrite": Rule(
        ERROR,
        "the whole table is rewritten under an exclusive lock",
        _EXPAND + "add the column without it, set the default for new rows, fill the old rows in batches.",
    ),
    "mixed-data-schema": Rule(
        WARNING,
        "rows and schema change in one transaction: the locks of the schema change last as long as the data takes",
        "Split it: schema in one migration, data in batches in the next, what depends on the data in a third.",
    ),
    "lock-timeout-missing": Rule(
        INFO,
        "while it waits for its lock, every later query on the table waits behind it",
        "SET lock_timeout = '5s' (or SET LOCAL) before it, and try again when it fires.",
    ),
    "maintenance": Rule(
        WARNING,
        "it works through whole tables with strong locks and changes no schema",
        "Run it outside migrations, when there is time; on PostgreSQL without FULL, with CONCURRENTLY.",
    ),
    # what reaches beyond the migration, or hides what it does
    "copy-program": Rule(
        ERROR, "the database server runs a program", "Load rows from the client (COPY … FROM STDIN), or outside it."
    ),
    "server-file": Rule(
        ERROR, "it reads or writes files of the database server", "Load rows from the client (COPY … FROM STDIN)."
    ),
    "server-function": Rule(
        ERROR,
        "it reaches files, other servers or other sessions from inside the database",
        "Do it outside the migration, with its own review.",
    ),
    "attach-database": Rule(
        ERROR, "the migration then reads and writes another database file", "Move data with a tool of its own."
    ),
    "load-extension": Rule(ERROR, "it loads machine code into the database", "Have the operator install and load it."),
    "alter-system": Rule(ERROR, "it changes the settings of the whole server", "Leave it to the server's operator."),
    "cluster-wide": Rule(
        ERROR,
        "it changes more than this database: roles, databases or storage of the whole server",
        "Leave it to the server's operator, with its own review.",
    ),
    "external-connection": Rule(
        ERROR, "it connects the database to another server", "Leave it to the server's operator, with its own review."
    ),
    "create-extension": Rule(
        WARNING,
        "it needs rights and files on every server, and may run code with the server's rights",
        "Have it installed on every server first, by an operator; name its version.",
    ),
    "create-function": Rule(
        WARNING, "its body runs later, unseen by a rehearsal", "Review the body; pin its search_path; keep it small."
    ),
    "create-trigger": Rule(
        WARNING, "it runs with every later write, unseen by a rehearsal", "Review the body; keep it small; test writes."
    ),
    "calls-function": Rule(
        WARNING, "what the function does is not in this file", "Write what it does as statements, or review its body."
    ),
    "opaque-statement": Rule(
        ERROR,
        "what it does cannot be told from the text, so nothing here vouches for it",
        "Write it as plain statements with literal SQL.",
    ),
    "psql-command": Rule(
        ERROR, "psql alone understands it; a database driver fails on it", "Remove it, or write its SQL."
    ),
    "transaction-control": Rule(
        WARNING,
        "it ends the transaction that the migration tool opened, so a failure leaves half of the migration behind",
        "Leave BEGIN and COMMIT to the tool.",
    ),
    "constraints-off": Rule(
        ERROR, "rows can then be written that break foreign keys", "Keep the checks on and write rows in a valid order."
    ),
    "foreign-keys-off": Rule(
        WARNING,
        "orphans can then be written, and inside a transaction it does nothing at all",
        "Use it only around a table rebuild, outside a transaction, with PRAGMA foreign_key_check at its end.",
    ),
    "writable-schema": Rule(
        ERROR, "a wrong byte in sqlite_schema makes the file unreadable", "Rebuild the table by copy and rename."
    ),
    "database-pragma": Rule(
        WARNING, "it changes how the whole file is stored or kept safe", "Set it where the application connects."
    ),
    "changes-role": Rule(
        WARNING, "what follows runs with another role's rights", "Run the migration as the role that owns the tables."
    ),
    # migrations in Python
    "data-in-schema-migration": Rule(
        WARNING,
        "code reads or writes rows in a migration: it has no SQL to review, and it depends on code that will change",
        "Put data changes into a migration of their own, as literal SQL with a WHERE, in batches.",
    ),
    "state-without-database": Rule(
        WARNING, "Django's state and the database may part", "Check that both halves end in the same schema."
    ),
    "alter-field": Rule(
        WARNING,
        "what the field was is in another file: its type, length, uniqueness or NOT NULL may change, under a lock",
        "Read the rendered SQL; where the type changes, add a new field and copy in batches.",
    ),
    "default-in-python-alone": Rule(
        WARNING,
        "Django takes the default out of the database at once, so inserts of code that still runs fail",
        "Use db_default, or add the field with null=True, fill it in batches, then require it.",
    ),
    "not-atomic": Rule(
        INFO,
        "a failure leaves half of the migration behind",
        "One operation a migration, and one that can be repeated (IF NOT EXISTS).",
    ),
    "not-run": Rule(INFO, "a part of the checks did not run", "Repair what is named and run it again."),
}


_SQLITE_ADVICE = {
    "unique-not-safe": "Find and repair the duplicates first; try it on a copy that holds real rows.",
    "add-not-null": _EXPAND + "add the column nullable or with a constant default, fill it, then rebuild the table.",
    "rename-table": _EXPAND + "make the new table, move readers and writers, drop the old one later.",
    "maintenance": "Run it outside migrations, when there is time: it writes the whole file anew.",
}


def finding(rule: str, path: str, line: int, what: str, dialect: str = "postgresql") -> LintFinding:
    """A finding of one of RULES; `what` names the place, the rule says why it hurts."""
    known = RULES[rule]
    advice = _SQLITE_ADVICE.get(rule, known.advice) if dialect == "sqlite" else known.advice
    return LintFinding(rule, known.severity, path, line, f"{what}: {known.why}.", advice)


def words(text: str) -> frozenset[str]:
    """The words of a text, for lists of names that read better as one."""
    return frozenset(text.split())
