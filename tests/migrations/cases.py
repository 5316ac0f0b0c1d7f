"""What one case of the corpus is: a repository, new migrations in it, and the verdict that they must get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools.guard import CLEAN, FAILED, FINDINGS, NOT_REHEARSED

__all__ = ["CLEAN", "FAILED", "FINDINGS", "NOT_REHEARSED", "Case", "Verdict"]

SAFE, UNSAFE, IRREVERSIBLE, LOSSY, HALF_WAY, RACING, STRUCTURE = KINDS = (
    "safe",
    "unsafe",
    "irreversible",
    "lossy",
    "half-way",
    "racing",
    "structure",
)


@dataclass(frozen=True)
class Verdict:
    """A status of the guard, and what has to be said with it: a rule's name or a part of a finding or of the reason."""

    status: str
    because: str = ""


@dataclass(frozen=True)
class Case:
    """One migration, or several that are pending together.

    `miss` says why the guard gets it wrong today, and `today` what it says instead.
    """

    name: str
    family: str  # alembic, django or sql
    engine: str  # sqlite or postgresql
    kind: str  # one of KINDS
    must: Verdict
    lay: Callable[[Path], Path]  # writes the repository without the new files
    files: Mapping[str, str]
    live: str = ""  # SQL that makes the SQLite database to start from, where rows made up for the rehearsal will not do
    miss: str = ""
    today: Verdict | None = None

    @property
    def title(self) -> str:
        """Unlike any other's."""
        return f"{self.family}-{self.engine}-{self.name}"


def missed(case: Case, why: str, today: Verdict) -> Case:
    """A case that the guard gets wrong today."""
    return replace(case, miss=why, today=today)


def beside(case: Case, files: Mapping[str, str]) -> Case:
    """A case with more new files."""
    return replace(case, files={**case.files, **files})
