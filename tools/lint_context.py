"""What a linter remembers while it reads one migration from its first statement to its last."""

from dataclasses import dataclass, field

from backend_crew.tools.lint_rules import LintFinding, finding, words

# Tables of the migration tools themselves: their rows belong to the schema.
BOOKKEEPING = words(
    "alembic_version django_migrations schema_migrations goose_db_version flyway_schema_history _yoyo_migration"
    " _yoyo_log _yoyo_version yoyo_lock _prisma_migrations __drizzle_migrations schema_version"
)


@dataclass
class Known:
    """What pending migrations did so far, this one and those before it: what comes later stands on it."""

    # Tables they made: nobody reads them yet, so no lock on them holds anybody up.
    created: set[str] = field(default_factory=set)
    # (table, column): columns they made, and columns that a validated CHECK keeps free of NULL
    added: set[tuple[str, str]] = field(default_factory=set)
    validated: set[tuple[str, str]] = field(default_factory=set)
    # (table, constraint): the column of which it says IS NOT NULL
    not_null_checks: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Context:
    """One migration: where it is, whether the tool runs it in a transaction, and what it and those before it did."""

    path: str
    transactional: bool
    dialect: str = "postgresql"
    found: list[LintFinding] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    # Constraints added NOT VALID in the transaction that runs now.
    unvalidated: set[tuple[str, str]] = field(default_factory=set)
    later: bool = False  # the body of a function or trigger: it runs with what the application does
    explicit: bool = False
    lock_timeout: bool = False
    told_timeout: bool = False
    _rows_at: int = 0
    _schema_at: int = 0

    def add(self, rule: str, line: int, what: str) -> None:
        """Records a finding of a rule."""
        self.found.append(finding(rule, self.path, line, what, self.dialect))

    @property
    def in_transaction(self) -> bool:
        """Whether a statement that comes now runs in a transaction."""
        return self.transactional or self.explicit

    def is_new(self, table: str) -> bool:
        """Whether this migration, or one that is pending before it, made the table."""
        return table in self.known.created

    def deletes(self, table: str, line: int, every: bool) -> None:
        """Rows of a table that was there before are deleted, all of them or those of a WHERE."""
        if every:
            self.add("delete-without-where", line, f"DELETE FROM {table} names no rows")
        elif not self.later and not _is_bookkeeping(table):
            self.add("delete-rows", line, f"Rows of {table} are deleted")

    def wrote(self, table: str, line: int) -> None:
        """Rows of a table were changed."""
        if self.in_transaction and not self.is_new(table) and not _is_bookkeeping(table):
            self._rows_at = self._rows_at or line

    def changed(self, table: str, line: int) -> None:
        """The schema of a table that was there before was changed, under a lock."""
        if self.in_transaction and not self.is_new(table):
            self._schema_at = self._schema_at or line

    def locks(self, table: str, line: int) -> None:
        """A strong lock on a table that others use: said once when nothing limits the wait for it."""
        if not (self.is_new(table) or self.lock_timeout or self.told_timeout):
            self.told_timeout = True
            self.add("lock-timeout-missing", line, f"{table} is locked and no lock_timeout is set")

    def begins(self) -> None:
        """BEGIN stands in the text."""
        self.explicit = True

    def ends(self, line: int) -> None:
        """COMMIT or ROLLBACK stands in the text."""
        if self.transactional and not self.explicit:
            self.add("transaction-control", line, "The migration ends a transaction that it did not begin")
        self.explicit = False
        self.transaction_over()

    def transaction_over(self) -> None:
        """Tells whether the transaction held rows and schema together, and forgets it."""
        if self._rows_at and self._schema_at:
            line = max(self._rows_at, self._schema_at)
            first, second = ("rows", "schema") if self._schema_at == line else ("schema", "rows")
            other = min(self._rows_at, self._schema_at)
            self.add("mixed-data-schema", line, f"The {second} change here and the {first} change at line {other}")
        self._rows_at = self._schema_at = 0
        self.unvalidated.clear()


def _is_bookkeeping(table: str) -> bool:
    return table.rpartition(".")[2].lower() in BOOKKEEPING
