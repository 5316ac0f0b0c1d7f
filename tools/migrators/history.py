"""All migrations of one tool, parents first, and what of them a database at some place has not had."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.migrations import MigrationFile

_LISTED = 3


@dataclass(frozen=True)
class History:
    """All migrations, parents before children; `heads` are those without children.

    `cumulative`: the tool's table names only the newest ones (Alembic), each standing for all that it follows; else it
    names every migration that ran.
    """

    files: tuple[MigrationFile, ...]
    heads: tuple[str, ...]
    empty_downgrades: frozenset[str] = frozenset()  # the upgrade does something, the downgrade nothing
    irreversible: frozenset[str] = frozenset()  # the downgrade is missing or only raises
    cumulative: bool = False

    def knows(self, revision: str) -> bool:
        """Whether a migration with this full id exists."""
        return any(file.revision == revision for file in self.files)

    def had(self, recorded: Sequence[str]) -> frozenset[str]:
        """Every migration that a database has had whose own table says `recorded`."""
        return frozenset(self._with_ancestors(recorded)) if self.cumulative else frozenset(recorded)

    def ahead_of(self, recorded: Sequence[str]) -> tuple[MigrationFile, ...]:
        """What going from there to the heads would run, in order."""
        done = self.had(recorded)
        return tuple(file for file in self.files if file.revision not in done)

    def between(self, recorded: Sequence[str], targets: Sequence[str]) -> tuple[MigrationFile, ...]:
        """What going from there to `targets`, with all that these stand on, would run, in order."""
        wanted = self._with_ancestors(targets)
        return tuple(file for file in self.ahead_of(recorded) if file.revision in wanted)

    def after(self, recorded: Sequence[str], files: Sequence[MigrationFile]) -> tuple[str, ...]:
        """What the tool's table says once `files` ran on top of `recorded`, sorted."""
        names = {*recorded, *(file.revision for file in files)}
        if self.cumulative:
            behind = {
                parent for file in self.files if file.revision in self.had(tuple(names)) for parent in file.parents
            }
            names -= behind
        return tuple(sorted(names))

    def follows(self, later: str, earlier: str) -> bool:
        """Whether `earlier` is `later` itself or one of its ancestors."""
        return earlier in self._with_ancestors((later,))

    def label(self, recorded: Sequence[str]) -> str:
        """A place in words for a person: the newest of what was recorded, those that nothing recorded stands on."""
        behind = {parent for file in self.files if file.revision in recorded for parent in file.parents}
        names = [name for name in recorded if name not in behind]
        if len(names) > _LISTED:  # tools that number their files say of each only that it ran
            return f"{names[-1]} and {len(names) - 1} before it"
        return ", ".join(names) or "no revision"

    def before(self, paths: Sequence[str]) -> tuple[str, ...]:
        """What the table of a database says that lacks exactly these files; ToolRetry if there can be none."""
        lacking = {file.revision for file in self.files if file.path in set(paths)}
        rest = [file for file in self.files if file.revision not in lacking]
        for file in rest:
            if later := lacking.intersection(file.parents):
                raise ToolRetry(f"{file.path} stands on {min(later)}, which is new: give the new one the later place")
        return self.after((), rest)

    def _with_ancestors(self, names: Sequence[str]) -> set[str]:
        parents = {file.revision: file.parents for file in self.files}
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += parents.get(name, ())
        return found
