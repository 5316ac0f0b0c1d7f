"""Django inside a sandbox box, led to a scratch database there."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_crew.tools import unset
from backend_crew.tools.alembic_box import without_rows
from backend_crew.tools.django_files import Key
from backend_crew.tools.django_settings import DjangoSettings
from backend_crew.tools.errors import ToolFault, ToolRetry
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Led, Pointing, Scratch, Script, Segment
from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.process import Completed

_FOLDER = ".rehearsal"  # of the box; the repository never has it
_NOTE, _OUT, _ORDER = (f"{_FOLDER}/django-{name}.json" for name in ("before", "sql", "order"))
_DRIVER = Path(__file__).parent.with_name("django_driver.py")
_ENGINE = {SQLITE: "django.db.backends.sqlite3", POSTGRESQL: "django.db.backends.postgresql"}
_REMARKS = 100
_MADE_UP = "made-up-for-a-scratch-database"


def check(scratch: Scratch) -> None:
    """ToolFault where nothing could run."""
    if scratch.box.runtime.python is None:
        raise ToolFault("no Python was found for this repository: create its virtual environment, or name one")
    if scratch.dialect not in (SQLITE, POSTGRESQL):
        raise ToolFault(f"Django cannot be led to a scratch database of {scratch.dialect}")


def drive(
    scratch: Scratch, base: str, settings: DjangoSettings, pointing: Pointing, order: Mapping[str, Any]
) -> Completed:
    """Runs manage.py with the driver in its folder; what it cannot read of the environment is said in plain words."""
    check(scratch)
    box, place = scratch.box, scratch.box.layout.at
    if box.read(_NOTE) is None:
        box.put(_NOTE, b"null")
    files = {"note": str(place / _NOTE), "out": str(place / _OUT)}
    given = {**order, **files, "database": {"DIALECT": scratch.dialect, **scratch.parts()}}
    python = str(box.runtime.python)
    # In a file, because an argument has a limit that a long history passes.
    box.put(_ORDER, json.dumps(given).encode())
    argv = (python, "-c", only_sources(box, _DRIVER.read_text(encoding="utf-8")), str(place / _ORDER))
    done = scratch.run(argv, env=_environment(settings, scratch, pointing), cwd=base or ".")
    if done.exit_code and done.stderr.rstrip().endswith("No module named 'django'"):
        raise ToolFault(f"{python} has no Django: make the repository's .venv, or name its interpreter with --python")
    # The driver's own text is no news, and it is long.
    return dataclasses.replace(_in_words(done), argv=(python, "manage.py", "migrate"))


def led(scratch: Scratch, settings: DjangoSettings, pointing: Pointing) -> Led:
    """What a server of the project is started with."""
    database = {"DIALECT": scratch.dialect, **scratch.parts()}
    return Led(_environment(settings, scratch, pointing), _DRIVER.read_text(encoding="utf-8"), database)


def rendered(scratch: Scratch) -> Script | str | None:
    """What the driver wrote in the box; None when it is not that."""
    data = scratch.box.read(_OUT, limit=20_000_000)
    try:
        found = json.loads(data or b"null")
        if not isinstance(found, dict):
            return None
        if found["why"]:
            return str(found["why"])
        return Script(tuple(Segment(str(sql), bool(transactional)) for sql, transactional in found["segments"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def remarks(scratch: Scratch) -> tuple[str, ...]:
    """What the linter said beside the rendering; read as what the repository's own code could have written."""
    data = scratch.box.read(_OUT, limit=20_000_000)
    try:
        found = json.loads(data or b"null")["linted"][:_REMARKS]
        return tuple(f"django-migration-linter: {str(one)[:500]}" for one in found)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ()


def forget(scratch: Scratch) -> None:
    """Empties what an earlier rendering left."""
    scratch.box.put(_OUT, b"null")


def asked(do: str, start: Sequence[Key], files: Sequence[Key], labels: Sequence[str], **more: Any) -> dict[str, Any]:
    """One order for the driver."""
    return {"do": do, "start": start, "files": files, "labels": sorted(labels), **more}


def _environment(settings: DjangoSettings, scratch: Scratch, pointing: Pointing) -> Mapping[str, str]:
    """In which the settings load and name the scratch database."""
    # dj-database-url and django-environ know no drivers.
    url = re.sub(r"^(\w+)\+\w+:", r"\1:", scratch.url())
    values = {"URL": url, "ENGINE": _ENGINE[scratch.dialect], "PORT": "0", **scratch.parts()}
    found = {name: values.get(part, "") for name, part in settings.variables.items()}
    # No database depends on a secret key, and the person's never comes here.
    secrets = dict.fromkeys(settings.secrets, _MADE_UP)
    return {**secrets, **pointing.env, **found, **dict.fromkeys(pointing.url_names, url)}


def _in_words(done: Completed) -> Completed:
    """Without values of rows. Raises ToolRetry where the code lacks a variable or a module: nothing was tried."""
    done = dataclasses.replace(done, stderr=without_rows(done.stderr))
    said = [line for line in done.stderr.splitlines() if line.strip()] if done.exit_code else []
    missing = unset.told(said) or unset.module(said)
    if missing:
        raise ToolRetry(missing)
    return done
