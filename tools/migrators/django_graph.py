"""All migrations of a Django project's own apps, read without running them, and what a database's own table means.

What the history knows are the repository's files. Migrations of third-party apps (django.contrib.auth, …) are no files
of the repository: dependencies on them are left out here, and Django itself runs them on the way. A squashed migration
stands for those that it replaces, as on a new database; a database that had all of those has had it.
"""

import ast
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.django_files import Key, MigrationSource, read_migration
from backend_crew.tools.django_settings import DjangoSettings, read_settings
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.migrations import MigrationFile
from backend_crew.tools.migrators.history import History
from backend_crew.tools.python_literals import last_name, literal_text, parsed

_SKIPPED = {".git", ".hg", ".venv", "venv", "env", "node_modules", "__pycache__", "site-packages", ".tox"}
_FIRST, _LATEST = "__first__", "__latest__"


@dataclass(frozen=True)
class DjangoGraph:
    """The history, the labels of the repository's apps, and which migrations a squashed one replaces."""

    history: History
    labels: frozenset[str]
    replaces: Mapping[str, tuple[Key, ...]]  # by revision, of those in the history
    replaced: frozenset[Key]

    def had(self, rows: Sequence[Key]) -> tuple[str, ...]:
        """What `django_migrations` says of the repository's apps, as `History` counts.

        A squashed migration was applied when all that it replaces were; ToolRetry where only some were, as Django then
        takes another way. Names without a file are kept: a completed squash leaves some, and so does another branch.
        """
        ran = set(rows)
        found = {text_of(key) for key in ran if key[0] in self.labels and key not in self.replaced}
        for name, replaced in self.replaces.items():
            missing = [key for key in replaced if not self._ran(key, ran)]
            found.discard(name)
            if not missing:
                found.add(name)
            elif len(missing) < len(replaced):
                raise ToolRetry(
                    f"the database had {len(replaced) - len(missing)} of the {len(replaced)} migrations that {name} "
                    f"replaces ({', '.join(map(text_of, missing))} missing): bring it past all of them first"
                )
        return tuple(sorted(found))

    def _ran(self, key: Key, ran: set[Key]) -> bool:
        nested = self.replaces.get(text_of(key))
        return key in ran or bool(nested and all(self._ran(one, ran) for one in nested))


@dataclass(frozen=True)
class _App:
    label: str
    folder: str  # of its migrations


def text_of(key: Key) -> str:
    """A migration's name across apps: "app.name"."""
    return f"{key[0]}.{key[1]}"


def key_of(revision: str) -> Key:
    """The other way round; a label has no dot."""
    app, _, name = revision.partition(".")
    return app, name


def read_graph(root: Path, base: str) -> DjangoGraph:
    """The migrations of the project whose manage.py lies in folder `base`; ToolRetry names what is dynamic or missing."""
    settings = read_settings(root, base)
    apps = _apps(root, base, settings)
    sources: dict[Key, MigrationSource] = {}
    for app in apps:
        for path in _migration_paths(root, app.folder):
            key = (app.label, posixpath.basename(path).removesuffix(".py"))
            sources[key] = read_migration(root, path, key)
    labels = frozenset(app.label for app in apps)
    standing = _Standing(sources, labels, settings)
    return DjangoGraph(
        history=standing.history(),
        labels=labels,
        replaces={text_of(key): sources[key].replaces for key in standing.alive if sources[key].replaces},
        replaced=frozenset(standing.replaced),
    )


def _apps(root: Path, base: str, settings: DjangoSettings) -> list[_App]:
    """The repository's installed apps that have migrations; where no setting names any, all that have."""
    moved = settings.values.get("MIGRATION_MODULES")
    modules = moved if isinstance(moved, dict) else {}
    found: list[tuple[_App, bool]] = []
    for folder, is_app in _candidates(root, base):
        label = _label(root, folder, settings)
        migrations = posixpath.join(folder, "migrations")
        if label in modules:
            if modules[label] is None:
                continue
            migrations = posixpath.join(base, *str(modules[label]).split("."))
        elif not is_app:
            continue
        if _migration_paths(root, migrations):
            found.append((_App(label, migrations), _installed(folder, settings)))
    kept = [app for app, installed in found if installed] or [app for app, _ in found]
    twins: dict[str, _App] = {}
    for app in kept:
        if (twin := twins.setdefault(app.label, app)) is not app:
            raise ToolRetry(
                f"{twin.folder} and {app.folder} both belong to an app labelled {app.label!r}: give one another label "
                "in its AppConfig"
            )
        if not (root / app.folder / "__init__.py").is_file():
            raise ToolRetry(f"{app.folder} has no __init__.py, so Django does not see its migrations: add an empty one")
    return kept


def _candidates(root: Path, base: str) -> list[tuple[str, bool]]:
    """Folders of packages below `base`, and whether a folder "migrations" lies in them."""
    found: list[tuple[str, bool]] = []
    for place, folders, names in os.walk(root / base):
        folders[:] = sorted(one for one in folders if one not in _SKIPPED and not (Path(place) / one).is_symlink())
        folder = Path(place).relative_to(root).as_posix()
        if "migrations" in folders or "apps.py" in names or "models.py" in names:
            found.append(("" if folder == "." else folder, "migrations" in folders))
    return found


def _label(root: Path, folder: str, settings: DjangoSettings) -> str:
    """The label in the app's AppConfig, else the folder's name; ToolRetry when it is computed or ambiguous."""
    path = posixpath.join(folder, "apps.py")
    tree = parsed(root / path)
    configs = [
        one
        for one in (tree.body if tree else ())
        if isinstance(one, ast.ClassDef) and any(last_name(base).endswith("Config") for base in one.bases)
    ]
    named = [one for one in configs if any(text.endswith(f".apps.{one.name}") for text in settings.texts)]
    labels: set[str] = set()
    for one in named or configs:
        values = {
            target.id: item.value
            for item in one.body
            if isinstance(item, ast.Assign)
            for target in item.targets
            if isinstance(target, ast.Name)
        }
        if "label" in values and not literal_text(values["label"]):
            raise ToolRetry(f"{path}:{one.lineno} computes the label of the app; write it as a plain string")
        name = literal_text(values.get("name")) or posixpath.basename(folder)
        labels.add(literal_text(values.get("label")) or name.rpartition(".")[2])
    if len(labels) > 1:
        raise ToolRetry(f"{path} has several AppConfigs ({', '.join(sorted(labels))}): name one in INSTALLED_APPS")
    return labels.pop() if labels else posixpath.basename(folder)


def _installed(folder: str, settings: DjangoSettings) -> bool:
    """Whether a text of the settings names the app, by any of the dotted paths it may be imported under."""
    parts = folder.split("/")
    names = {".".join(parts[start:]) for start in range(len(parts))}
    return any(text in names or text.rpartition(".apps.")[0] in names for text in settings.texts if text)


def _migration_paths(root: Path, folder: str) -> list[str]:
    """Django's own rule: every module of the folder whose name starts with neither _ nor ~."""
    place = root / folder
    if not place.is_dir():
        return []
    names = sorted(item.name for item in place.iterdir() if item.suffix == ".py" and item.stem.isidentifier())
    numbered = sorted(item.name for item in place.iterdir() if item.suffix == ".py" and item.stem[:1].isdigit())
    return [posixpath.join(folder, name) for name in sorted({*names, *numbered}) if name[0] not in "_~."]


class _Standing:
    """What stands on what, as in Django's graph of a new database."""

    def __init__(
        self, sources: Mapping[Key, MigrationSource], labels: frozenset[str], settings: DjangoSettings
    ) -> None:
        self._sources, self._labels, self._settings = sources, labels, settings
        self.replaced: dict[Key, Key] = {}
        for key, source in sources.items():
            for one in source.replaces:
                other = self.replaced.setdefault(one, key)
                if other != key:
                    raise ToolRetry(
                        f"{text_of(key)} and {text_of(other)} both replace {text_of(one)}: keep one of them"
                    )
        self.alive = [key for key in sorted(sources) if key not in self.replaced]
        self._internal = {key: self._same_app(key) for key in self.alive}
        self._parents = {key: set(self._wanted(key)) for key in self.alive}
        for key, source in sources.items():
            for child in source.run_before:
                if (met := self._met(key, child)) is not None:
                    self._parents[met].add(self._final(key))

    def history(self) -> History:
        """Parents before children; ToolRetry for several leaves in one app and for a circle."""
        self._check_leaves()
        order = self._ordered()
        parents = {parent for key in order for parent in self._parents[key]}
        down = {text_of(key): self._sources[key].down for key in order}
        return History(
            files=tuple(self._file(key) for key in order),
            heads=tuple(text_of(key) for key in order if key not in parents),
            empty_downgrades=frozenset(name for name, way in down.items() if way == "empty"),
            irreversible=frozenset(name for name, way in down.items() if way == "refuses"),
        )

    def _file(self, key: Key) -> MigrationFile:
        source = self._sources[key]
        return MigrationFile(source.path, text_of(key), tuple(sorted(map(text_of, self._parents[key]))), source.sha256)

    def _final(self, key: Key) -> Key:
        seen: set[Key] = set()
        while key in self.replaced and key not in seen:
            seen.add(key)
            key = self.replaced[key]
        return key

    def _behind(self, key: Key) -> list[MigrationSource]:
        """A migration and, for a squashed one, those that it replaces and that still have files."""
        own = self._sources[key]
        return [own, *(one for name in own.replaces if name in self._sources for one in self._behind(name))]

    def _same_app(self, key: Key) -> set[Key]:
        found = {self._final(one) for source in self._behind(key) for one in source.dependencies if one[0] == key[0]}
        return {one for one in found if one[1] not in (_FIRST, _LATEST)} - {key}

    def _wanted(self, key: Key) -> list[Key]:
        wanted = [(source, one) for source in self._behind(key) for one in source.dependencies]
        for source in self._behind(key):
            for setting in source.swappable:
                if model := self._swapped(setting):
                    wanted.append((source, (model.split(".", 1)[0], _FIRST)))
        found = [self._met(source.key, one) for source, one in wanted]
        return [one for one in found if one is not None and one != key]

    def _swapped(self, setting: str) -> str | None:
        """The "app.Model" that a setting names; None where that is not written in the repository."""
        if "." in setting:
            return setting
        value = self._settings.values.get(setting)
        return value if isinstance(value, str) else None

    def _met(self, asking: Key, wanted: Key) -> Key | None:
        """The migration that a dependency means, None for an app that is not the repository's."""
        app, name = wanted
        if app not in self._labels or (app == asking[0] and name == _FIRST):
            return None
        if name in (_FIRST, _LATEST):
            own = [key for key in self.alive if key[0] == app]
            behind = {parent for key in own for parent in self._internal[key]}
            ends = [key for key in own if (key not in behind if name == _LATEST else not self._internal[key])]
            if ends:
                return ends[0]
        found = self._final(wanted)
        if found not in self._sources:
            path = self._sources[asking].path
            raise ToolRetry(
                f"{path} stands on {text_of(wanted)}, which no file of the repository has: correct the name"
            )
        return found

    def _check_leaves(self) -> None:
        for app in sorted(self._labels):
            own = [key for key in self.alive if key[0] == app]
            behind = {parent for key in own for parent in self._parents[key]}
            leaves = [key for key in own if key not in behind]
            if len(leaves) > 1:
                named = ", ".join(f"{name} ({self._sources[app, name].path})" for _, name in leaves)
                raise ToolRetry(
                    f"the app {app} has {len(leaves)} leaf migrations: {named}. Run `python manage.py makemigrations "
                    f"--merge {app}`, or change the dependencies so that one follows the other"
                )

    def _ordered(self) -> list[Key]:
        done: dict[Key, None] = {}
        entered: list[Key] = []

        def visit(key: Key) -> None:
            if key in done:
                return
            if key in entered:
                circle = " -> ".join(text_of(one) for one in (*entered[entered.index(key) :], key))
                raise ToolRetry(f"migrations stand on one another in a circle: {circle}; break it")
            entered.append(key)
            for parent in sorted(self._parents[key]):
                visit(parent)
            entered.pop()
            done[key] = None

        for key in self.alive:
            visit(key)
        return list(done)
