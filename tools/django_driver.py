"""Runs in the box, in the repository's own Python and with its Django (3.2 and later), as the text of `python -c`.

manage.py is run as a person runs it, up to the point where it hands over to Django's command line. There every database
of the settings is replaced by the scratch one, and `migrate` is told exactly which migrations to run: a person's
`migrate app name` cannot say "these two of three branches", and takes a name for a prefix. Imports nothing of this
program and needs no newer Python than Django 3.2 does.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Options that say where inside a database things are; all others (sslmode, service, …) say how to reach the person's.
_KEPT_OPTIONS = ("options", "init_command", "transaction_mode")
_FAMILIES = {"sqlite": ("sqlite", "spatialite"), "postgresql": ("postg", "psql", "pgsql")}
_CANNOT = "-- THIS OPERATION CANNOT BE WRITTEN AS SQL"
# On a database that the same script makes there are no permissions yet for it to move.
_IDLE_WHEN_NEW = (("auth", "0011_update_proxy_permissions"), ("auth", "0001_initial"))


def main() -> None:
    """Runs manage.py with Django's command line replaced by what the file in the first argument asks for."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # Path is no shorter here
        given = json.load(file)
    sys.argv[:] = ["manage.py", "migrate"]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # as Python does for a script
    from django.core import management

    reached = []

    def execute(self: Any) -> None:
        reached.append(self)
        lead(given["database"])
        _do(given)

    management.ManagementUtility.execute = execute
    runpy.run_path("manage.py", run_name="__main__")
    if not reached:
        sys.exit("manage.py ended without calling Django's execute_from_command_line()")


def lead(database: dict[str, str]) -> None:
    """Every alias of the settings becomes the scratch database; routers still say what is migrated there."""
    from django.conf import settings
    from django.db import DEFAULT_DB_ALIAS, connections, router

    was = settings.DATABASES or {}
    first = was.get(DEFAULT_DB_ALIAS) or {}
    settings.DATABASES = {alias: _database(database, first) for alias in {*was, DEFAULT_DB_ALIAS}}
    if "settings" in connections.__dict__:
        for alias in list(connections):
            connections[alias].close()
            del connections[alias]
        del connections.__dict__["settings"]
        connections._settings = None

    def only(model: Any, **hints: Any) -> str:
        return str(DEFAULT_DB_ALIAS)

    # A second connection would not see what an open transaction of the first has made.
    router.db_for_read = router.db_for_write = only


def led(application: Any, database: dict[str, str]) -> None:
    """Nothing is left to do once the application is there."""


def _database(given: dict[str, str], was: dict[str, Any]) -> dict[str, Any]:
    dialect, engine = given["DIALECT"], str(was.get("ENGINE", ""))
    if not any(part in engine.lower() for part in _FAMILIES[dialect]):
        engine = {"sqlite": "django.db.backends.sqlite3", "postgresql": "django.db.backends.postgresql"}[dialect]
        was = {}
    options = {name: value for name, value in (was.get("OPTIONS") or {}).items() if name in _KEPT_OPTIONS}
    parts = {name: value for name, value in given.items() if name != "DIALECT"}
    kept = {"TIME_ZONE": was["TIME_ZONE"]} if was.get("TIME_ZONE") else {}
    return {"ENGINE": engine, "OPTIONS": options, **kept, **parts}


def _do(given: dict[str, Any]) -> None:
    import django

    django.setup()
    from django.core.management.base import CommandError

    try:
        {"up": _up, "down": _down, "sql": _sql}[given["do"]](given)
    except CommandError as error:
        sys.exit(f"CommandError: {error}")


def _up(given: dict[str, Any]) -> None:
    executor = _executor()
    _note(given, executor)
    _migrate(_targets(executor, given), False)


def _down(given: dict[str, Any]) -> None:
    _migrate(_way_back(_executor(), given), True)


def _note(given: dict[str, Any], executor: Any) -> None:
    """Remembers which third-party migrations ran before, for the way back."""
    with open(given["note"], "w") as file:  # noqa: PTH123  # Path is no shorter here
        json.dump(_foreign(executor, given), file)


def _noted(given: dict[str, Any]) -> Any:
    with open(given["note"]) as file:  # noqa: PTH123  # as above
        return json.load(file)


def _way_back(executor: Any, given: dict[str, Any]) -> list[tuple[str, str]]:
    """The files from the last to the first, then the third-party migrations that going up ran on the way."""
    before, applied = _noted(given), executor.loader.applied_migrations
    keys = [key for key in reversed(_keys(given["files"])) if key in applied]
    late = [(app, name) for app, name in _foreign(executor, given) if before is not None and [app, name] not in before]
    return keys + [key for key in late if key in executor.loader.graph.nodes and _reversible(executor, key)]


def _targets(executor: Any, given: dict[str, Any]) -> list[tuple[str, str]]:
    """The files; on the way from nothing also every third-party migration, as `migrate` without a target does."""
    files = _keys(given["files"])
    if given["start"]:
        return files
    graph, ours, allowed = executor.loader.graph, set(given["labels"]), set(files)
    leaves = [key for key in graph.leaf_nodes() if key[0] not in ours]
    return files + [
        key for key in leaves if all(one[0] not in ours or one in allowed for one in graph.forwards_plan(key))
    ]


def _foreign(executor: Any, given: dict[str, Any]) -> list[list[str]]:
    return sorted([app, name] for app, name in executor.loader.applied_migrations if app not in given["labels"])


def _reversible(executor: Any, key: tuple[str, str]) -> bool:
    graph, applied = executor.loader.graph, executor.loader.applied_migrations
    behind = [graph.nodes[one] for one in graph.backwards_plan(key) if one in applied]
    return all(one.reversible for migration in behind for one in _flat(migration.operations))


def _executor() -> Any:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    return MigrationExecutor(connection)


def _plan(executor: Any, keys: Iterable[tuple[str, str]], backwards: bool) -> list[tuple[Any, bool]]:
    """These migrations with all that they stand on, or back with all that stands on them, as Django plans it."""
    graph, applied = executor.loader.graph, set(executor.loader.applied_migrations)
    found = []
    for key in keys:
        if key not in graph.nodes:
            sys.exit(f"{'.'.join(key)} is not in Django's graph: its app is not installed, or a squash replaces it")
        for one in graph.backwards_plan(key) if backwards else graph.forwards_plan(key):
            if (one in applied) == backwards:
                found.append((graph.nodes[one], backwards))
                (applied.remove if backwards else applied.add)(one)
    return found


def _migrate(keys: Sequence[tuple[str, str]], backwards: bool) -> None:
    """`manage.py migrate` for exactly these."""
    from django.core.management import call_command
    from django.db.migrations.executor import MigrationExecutor

    usual = MigrationExecutor.migration_plan

    def exact(self: Any, targets: Any, clean_start: bool = False) -> Any:
        return usual(self, targets, clean_start) if clean_start else _plan(self, keys, backwards)

    MigrationExecutor.migration_plan = exact
    try:
        call_command("migrate", interactive=False, verbosity=1)
    finally:
        MigrationExecutor.migration_plan = usual


def _sql(given: dict[str, Any]) -> None:
    """Writes the SQL of the files, each rendered where the ones before it ran: names of constraints are looked up."""
    backwards = given["backwards"]
    start, files = _keys(given["start"]), _keys(given["files"])
    if backwards and not start and _noted(given) is None:
        _note(given, _executor())
    _settle(given, start + files if backwards else start)
    found: dict[str, Any] = {"segments": [], "why": None, "linted": []}
    executor = _executor()
    if not backwards:
        _note(given, executor)
    if not (backwards or executor.recorder.has_table()):
        found["segments"].append([_own_table(executor), True])
    keys = _way_back(executor, given) if backwards else _targets(executor, given)
    done: list[tuple[str, str]] = []
    for migration, _ in _plan(executor, keys, backwards):
        key = (migration.app_label, migration.name)
        done.append(key)
        if not backwards and key in files:
            found["linted"] += _linted(migration)
        why = None if _is_idle(key, done) and not backwards else _why_not(migration, backwards)
        if why:
            found["why"] = f"{key[0]}.{key[1]}: {why}"
            break
        found["segments"] += _segments(migration, backwards)
        _executor().migrate(None, plan=[(migration, backwards)])
    with open(given["out"], "w") as file:  # noqa: PTH123  # as above
        json.dump(found, file)


def _settle(given: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    """Brings an empty database, or one that an earlier rendering left elsewhere, to where rendering starts."""
    executor = _executor()
    applied, graph = executor.loader.applied_migrations, executor.loader.graph
    extra = [key for key in applied if key[0] in given["labels"] and key in graph.nodes and key not in wanted]
    if extra:
        _migrate(sorted(extra), True)
    if any(key not in applied for key in wanted):
        executor = _executor()
        others = _others(executor, given)
        all_targets = _targets(executor, {**given, "start": [], "files": wanted}) if others is None else wanted + others
        _migrate(all_targets, False)


def _others(executor: Any, given: dict[str, Any]) -> list[tuple[str, str]] | None:
    """The third-party migrations that the database to come from had; None where no database was asked."""
    if given["others"] is None:
        return None
    had, loader = set(_keys(given["others"])), executor.loader
    had |= {key for key, one in loader.replacements.items() if set(one.replaces) <= had}
    return sorted(key for key in had if key in loader.graph.nodes)


def _keys(given: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return [(app, name) for app, name in given]


def _is_idle(key: tuple[str, str], done: list[tuple[str, str]]) -> bool:
    return key == _IDLE_WHEN_NEW[0] and _IDLE_WHEN_NEW[1] in done


def _why_not(migration: Any, backwards: bool) -> str | None:
    from django.db.migrations import RunPython

    called = []
    for one in _flat(migration.operations):
        if backwards and not one.reversible:
            return f"{one.describe()} has no way back"
        code = getattr(one, "reverse_code" if backwards else "code", None)
        if not (one.reduces_to_sql or code is RunPython.noop):
            called.append(f"RunPython({getattr(code, '__name__', one.describe())})")
    return f"{', '.join(called)} runs Python code, which cannot be written as SQL" if called else None


def _flat(operations: Iterable[Any]) -> Iterator[Any]:
    """With those inside SeparateDatabaseAndState, which says nothing of them: Django runs them as it collects SQL."""
    for one in operations:
        if hasattr(one, "database_operations"):
            yield from _flat(one.database_operations)
        else:
            yield one


def _segments(migration: Any, backwards: bool) -> list[list[Any]]:
    from django.db import connection

    statements = _statements(migration, backwards)
    head = f"-- {migration.app_label}.{migration.name}"
    rows = _rows(migration, backwards)
    if migration.atomic and connection.features.can_rollback_ddl:
        return [["\n".join([head, *statements, *rows]), True]]
    segments, waiting = [], [head]
    for statement in statements:
        waiting.append(statement)
        if not statement.startswith("--"):
            segments.append(["\n".join(waiting), False])
            waiting = []
    return [*segments, ["\n".join([*waiting, *rows]), True]]


def _statements(migration: Any, backwards: bool) -> list[str]:
    """As sqlmigrate collects them, but from the state that `migrate` starts from, so that other apps' keys are seen."""
    from django.db import connection
    from django.db.migrations.state import ProjectState

    executor = _executor()
    applied, graph = executor.loader.applied_migrations, executor.loader.graph
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    for one, _ in executor.migration_plan(graph.leaf_nodes(), clean_start=True):
        if backwards and one == migration:
            break
        if (one.app_label, one.name) in applied:
            one.mutate_state(state, preserve=False)
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        (migration.unapply if backwards else migration.apply)(state, editor, collect_sql=True)
    return ["-- (nothing to do)" if line == _CANNOT else line for line in editor.collected_sql if line != "--"]


def _linted(migration: Any) -> list[str]:
    """What django-migration-linter, where it is installed, says of one migration; its own comments silence nothing."""
    try:
        from django_migration_linter import MigrationLinter
        from django_migration_linter.sql_analyser.analyser import analyse_sql_statements, get_sql_analyser_class
    except ImportError:
        return []
    from django.db import connection

    name = f"{migration.app_label}.{migration.name}"
    try:
        analyser = get_sql_analyser_class(connection.settings_dict["ENGINE"])
        of_sql = analyse_sql_statements(analyser, _statements(migration, False), [])
        of_code = MigrationLinter(no_cache=True, no_output=True).analyse_data_migration(migration)
    except Exception as error:  # noqa: BLE001  # a program of others, in whatever version the repository has
        return [f"{name}: it did not run: {error}"]
    found = (*of_sql[0], *of_code[0], *of_sql[2], *of_code[2])
    return [f"{name}: {one.message} ({one.code})" for one in found]


def _own_table(executor: Any) -> str:
    from django.db import connection

    with connection.schema_editor(collect_sql=True) as editor:
        editor.create_model(executor.recorder.Migration)
    text = "\n".join(editor.collected_sql)
    return text.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)


def _rows(migration: Any, backwards: bool) -> list[str]:
    """What Django writes into its own table; a squashed migration is recorded with those that it replaces."""
    keys = [*migration.replaces, (migration.app_label, migration.name)]
    quoted = [tuple("'" + str(part).replace("'", "''") + "'" for part in key) for key in keys]
    if backwards:
        return [f"DELETE FROM django_migrations WHERE app = {app} AND name = {name};" for app, name in quoted]
    into = "INSERT INTO django_migrations (app, name, applied) VALUES"
    return [f"{into} ({app}, {name}, CURRENT_TIMESTAMP);" for app, name in quoted]


if __name__ == "__main__":
    main()
