"""What a database holds, in words that are the same for every engine: schema lines, rows, values, checksums."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Runs one SELECT and returns its rows; no rows where the table that it names is missing.
Ask = Callable[[str], list[tuple[Any, ...]]]


class Bookkeeping(Protocol):
    """What a migration tool keeps in a database for itself."""

    @property
    def tables(self) -> frozenset[str]:
        """Its own tables, without their schema, in lower case: no part of what is compared."""

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        """What a database's own table says was applied, sorted; () where no migration ever ran."""


@dataclass(frozen=True)
class TableFacts:
    """What one table holds: rows, non-null values a column, and an order-free checksum a column (None: too large)."""

    rows: int
    non_null: Mapping[str, int]
    checksums: Mapping[str, int] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DatabaseFacts:
    """What a migration tool recorded, the schema as sorted readable lines, and the facts of each table.

    Lines begin with "table T", "column T.C TYPE", "check T: ", "foreign key T references O ", "unique", "index … on T",
    "view", "trigger"; `rehearsal_findings` reads them.
    """

    recorded: tuple[str, ...]
    schema: tuple[str, ...]
    tables: Mapping[str, TableFacts]
    broken: Mapping[str, int]  # rows whose foreign key points nowhere, by table

    @property
    def digest(self) -> str:
        """SHA-256 of the schema lines; equal for schemas that differ only in spelling or in the order of columns."""
        return digest_of(self.schema)


def digest_of(schema: Sequence[str]) -> str:
    """SHA-256 of sorted schema lines."""
    return hashlib.sha256("\n".join(schema).encode()).hexdigest()


@dataclass(frozen=True)
class SchemaChange:
    """The schema lines that a migration added and removed, where it was rehearsed on an engine of this major version."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    major: int | None = None

    @classmethod
    def between(cls, before: Sequence[str], after: Sequence[str], major: int | None) -> "SchemaChange":
        """What leads from one to the other."""
        old, new = Counter(before), Counter(after)
        return cls(tuple(sorted((new - old).elements())), tuple(sorted((old - new).elements())), major)

    def made_on(self, schema: Sequence[str]) -> tuple[str, ...] | None:
        """The lines of another schema after the same change; None where it lacks what is removed or has what is added."""
        lines, taken, given = Counter(schema), Counter(self.removed), Counter(self.added)
        if taken - lines or (lines - taken) & given:
            return None
        return tuple(sorted((lines - taken + given).elements()))
