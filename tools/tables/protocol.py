"""What is read of tables, whatever the ORM."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend_crew.tools.static.unresolved import Unresolved

if TYPE_CHECKING:  # who only asks what was found does not read sources
    from backend_crew.tools.static.project import Project


@dataclass(frozen=True)
class Column:
    """One column as the database has it. `type` is in the ORM's words; `references` is "table.column" or "".

    `nullable` is None where the source does not say. `default` is the source of the default, "" for none.
    """

    name: str
    type: str
    nullable: bool | None
    default: str = ""
    primary_key: bool = False
    unique: bool = False
    references: str = ""
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """An attribute of a model that leads to others: `kind` is the ORM's word, `through` a table between them."""

    name: str
    target: str
    kind: str
    through: str = ""


@dataclass(frozen=True)
class Table:
    """One table, its name with its schema where one is written; `model` is "" for a table that has no class."""

    name: str
    model: str
    file: str
    line: int
    columns: tuple[Column, ...]
    relations: tuple[Relation, ...] = ()
    constraints: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    orm: str = ""
    certain: bool = True


@dataclass(frozen=True)
class TableScan:
    """All that was found, sorted by file and line, and what the source leaves open."""

    tables: tuple[Table, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


@dataclass(frozen=True)
class Orm:
    """An ORM: only files with one of the suffixes and one of the words are given to `read`."""

    name: str
    suffixes: tuple[str, ...]
    words: tuple[bytes, ...]
    also: tuple[bytes, ...]
    """Words that mean nothing by themselves, for further files of a repository that has one of `words`."""
    read: Callable[["Project", tuple[str, ...]], TableScan]
