"""Django as a migration tool: files read by their literals, and moved by its own `migrate` in the box.

What `recorded` and every `Move` name are migrations of the repository's own apps. Those of third-party apps are no files
of the repository, and Django runs them where a file stands on one: a move from nothing runs all of them, as `migrate`
without a target does; a later move runs only those that its files stand on, and going back undoes exactly these.
"""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.alembic_box import excerpt
from backend_crew.tools.django_files import Key
from backend_crew.tools.django_settings import engine_of, read_settings
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.facts import Ask
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.django_box import asked, check, drive, forget, led, remarks, rendered
from backend_crew.tools.migrators.django_graph import DjangoGraph, key_of, read_graph
from backend_crew.tools.migrators.history import History
from backend_crew.tools.migrators.protocol import SQLITE, Led, Move, Pointing, Scratch, Script
from backend_crew.tools.migrators.whole import whole_tree
from backend_crew.tools.process import Completed

_ROWS = "SELECT app, name FROM django_migrations"


@dataclass(frozen=True)
class DjangoMigrator:
    """One manage.py and the apps below it."""

    tree: Path
    tool: MigrationTool
    pointing: Pointing = field(default_factory=Pointing, repr=False)

    def __post_init__(self) -> None:
        if self.tool.name != "django" or self.tool.config is None:
            raise ToolRefused(f"{self.tool.name} ({self.tool.evidence}) is not a Django project")

    @property
    def tables(self) -> frozenset[str]:
        """Its own table, and the two that `migrate` fills by itself from the models once it is done."""
        return frozenset({"django_migrations", "django_content_type", "auth_permission"})

    @property
    def runs_code(self) -> bool:
        """Migrations are Python."""
        return True

    def history(self) -> History:
        """Every migration of the repository's own apps."""
        return self._graph().history

    def recorded(self, ask: Ask) -> tuple[str, ...]:
        """What `django_migrations` says of the repository's own apps; squashed ones as `History` counts them."""
        return self._graph().had([(str(app), str(name)) for app, name in ask(_ROWS)])

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what is wrong with the files ends the reading."""
        return ()

    def concerns(self, ask: Ask) -> tuple[str, ...]:
        """None: no checksums are recorded."""
        return ()

    def others(self, ask: Ask) -> tuple[str, ...]:
        """What `django_migrations` says of third-party apps."""
        own = self._graph().labels
        return tuple(sorted(f"{app}.{name}" for app, name in ask(_ROWS) if app not in own))

    def engine(self) -> str:
        """By the URL in a named variable, else by the first ENGINE or URL that the settings write out."""
        urls = [url for name in self.pointing.url_names if ":" in (url := self.pointing.env.get(name, ""))]
        engines = urls or read_settings(self.tree, self._base).engines
        return engine_of(engines[0]) if engines else SQLITE

    def lead(self, scratch: Scratch) -> Led:
        """Nothing has to be prepared: the variables of the settings name the scratch database, and the driver replaces
        all of DATABASES besides."""
        check(scratch)
        return led(scratch, read_settings(self.tree, self._base), self.pointing)

    def up(self, scratch: Scratch, move: Move) -> Completed:
        """`manage.py migrate` with exactly the files of the move as its plan."""
        return self._drive(scratch, "up", move)

    def down(self, scratch: Scratch, move: Move) -> Completed:
        """The same backwards, the third-party migrations that `up` ran on the way included."""
        return self._drive(scratch, "down", move)

    def render(self, scratch: Scratch, move: Move, direction: str) -> Script | str:
        """The SQL that `migrate` would run, with the rows of `django_migrations`; a text where code has to run.

        The scratch database is empty, or stands at either end of the move, and holds no rows: rendering moves it step
        by step, because Django looks the names of constraints up in the database, and leaves it at the other end.
        """
        forget(scratch)
        done = self._drive(scratch, "sql", move, backwards=direction == "down")
        found = rendered(scratch) if done.ok else None
        return found if found is not None else f"Django could not render it: {excerpt(done)}"

    def remarks(self, scratch: Scratch) -> tuple[str, ...]:
        """What django-migration-linter said, where the repository has it installed."""
        return remarks(scratch)

    def manifest(self) -> tuple[tuple[str, str], ...]:
        """All files: settings name modules in strings and every app is imported, so which ones run cannot be read."""
        return whole_tree(self.tree)

    def command(self, move: Move, direction: str) -> str:
        """One `migrate app name` for each app; "" where going back to several leaves of an app cannot be typed."""
        graph = self._graph()
        goals = _last_of_each(move) if direction == "up" else _starts(graph, move)
        if not goals:
            return ""
        typed = " && ".join(f"python manage.py migrate {app} {name}" for app, name in goals)
        return f"cd {shlex.quote(self._base)} && {typed}" if self._base else typed

    @property
    def _base(self) -> str:
        return os.path.dirname(self.tool.config or "")  # noqa: PTH120  # a name inside, not a path of this machine

    def _graph(self) -> DjangoGraph:
        return read_graph(self.tree, self._base)

    def _drive(self, scratch: Scratch, do: str, move: Move, **more: bool) -> Completed:
        graph, start = self._graph(), set(move.start)
        before = [key_of(file.revision) for file in graph.history.files if file.revision in start]
        files = [key_of(file.revision) for file in move.files]
        others = None if move.others is None else [key_of(one) for one in move.others]
        order = asked(do, before, files, tuple(graph.labels), others=others, **more)
        return drive(scratch, self._base, read_settings(self.tree, self._base), self.pointing, order)


def _last_of_each(move: Move) -> list[Key]:
    last = dict(key_of(file.revision) for file in move.files)
    return list(last.items())


def _starts(graph: DjangoGraph, move: Move) -> list[Key]:
    """Where each app of the move goes back to, what stands on others first; empty where a name would not do."""
    start = set(move.start)
    goals: dict[str, str] = {}
    for file in reversed(move.files):
        app = key_of(file.revision)[0]
        own = [one for one in graph.history.files if one.revision in start and key_of(one.revision)[0] == app]
        behind = {parent for one in own for parent in one.parents}
        leaves = [one.revision for one in own if one.revision not in behind]
        if len(leaves) > 1 or not _reached(graph, move, app, leaves):
            return []
        goals.setdefault(app, key_of(leaves[0])[1] if leaves else "zero")
    return list(goals.items())


def _reached(graph: DjangoGraph, move: Move, app: str, leaves: list[str]) -> bool:
    """Whether `migrate app leaf` takes back all files of the app: it takes back what stands on the leaf."""
    own = [file.revision for file in move.files if key_of(file.revision)[0] == app]
    return all(graph.history.follows(name, leaf) for name in own for leaf in leaves)
