"""Flask-Migrate: Alembic's files, moved through the application that Flask's own loader finds.

The driver in the box replaces what Flask-SQLAlchemy reads, whatever the application set it to; alembic.ini and the
variables that the settings read lead to the scratch database as well.
"""

import dataclasses
import json
import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.alembic_box import check_variables, driver_in, engine_in, engine_named
from backend_crew.tools.alembic_config import read_config, with_url
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.flask_settings import PART, WHOLE, FlaskSettings, read_flask
from backend_crew.tools.migrators.alembic import AlembicMigrator
from backend_crew.tools.migrators.protocol import Led, Move, Scratch
from backend_crew.tools.migrators.whole import whole_tree
from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.process import Completed

_ORDER = ".rehearsal/flask-order.json"  # of the box; the repository never has it
_DRIVER = Path(__file__).parent.with_name("flask_driver.py")
_MADE_UP = "made-up-for-a-scratch-database"
_NUMBER = "0"  # a part of a URL can be a port
_FOLDER = "migrations"  # as Flask-Migrate calls it where nobody says otherwise


@dataclass(frozen=True)
class FlaskMigrator(AlembicMigrator):
    """One Flask application with Flask-SQLAlchemy, and the revisions that its Migrate(app, db) runs."""

    def __post_init__(self) -> None:
        if not self.tool.flask or not self.tool.can_rehearse:
            raise ToolRefused(f"{self.tool.name} ({self.tool.evidence}) is no Flask-Migrate project for one database")

    def engine(self) -> str:
        """By the URL in a named variable, else by the first URL that SQLALCHEMY_DATABASE_URI is made of."""
        return engine_in(self._urls(self._settings()), self.texts())

    def lead(self, scratch: Scratch) -> Led:
        """By the box's alembic.ini, for an env.py that reads it; the driver leads all the rest."""
        url = self._lead(scratch)
        return Led(self._environment(self._settings(), url), _DRIVER.read_text(encoding="utf-8"), url)

    def manifest(self) -> tuple[tuple[str, str], ...]:
        """All files: the whole application is imported, and factories name modules in strings."""
        return whole_tree(self.tree)

    def command(self, move: Move, direction: str) -> str:
        """`flask db upgrade REV` in the application's folder."""
        settings = self._settings()
        folder = self._folder(settings)
        place = move.goal if direction == "up" else move.start
        words = ["flask", "db", "upgrade" if direction == "up" else "downgrade"]
        words += ["-d", shlex.quote(folder)] if folder != _FOLDER else []
        text = " ".join([*words, place[0] if place else "base"])
        return f"cd {shlex.quote(settings.base)} && {text}" if settings.base else text

    def draft(self, scratch: Scratch, message: str, revision: str) -> Completed:
        """`flask db migrate`."""
        words = (f"--message={message}", f"--rev-id={revision}")
        return self._asked(scratch, "migrate", {"message": message, "rev_id": revision}, words)

    def _call(self, scratch: Scratch, command: str, *arguments: str) -> Completed:
        options: dict[str, str | bool] = {"revision": arguments[0], "sql": "--sql" in arguments}
        return self._asked(scratch, command, options, arguments)

    def _asked(
        self, scratch: Scratch, command: str, options: Mapping[str, str | bool], shown: tuple[str, ...]
    ) -> Completed:
        settings, url = self._settings(), self._lead(scratch)
        box = scratch.box
        asked = {
            "app": settings.app,
            "command": command,
            "directory": self._folder(settings),
            "options": options,
            "url": url,
        }
        box.put(_ORDER, json.dumps(asked).encode())
        python = str(box.runtime.python)
        program = only_sources(box, _DRIVER.read_text(encoding="utf-8"))
        done = scratch.run(
            (python, "-c", program, str(box.layout.at / _ORDER)),
            # An app.run() at the top of a module does nothing then.
            env={**self._environment(settings, url), "FLASK_RUN_FROM_CLI": "true"},
            cwd=settings.base or ".",
        )
        for package, name in (("flask", "Flask"), ("flask_migrate", "Flask-Migrate")):
            if done.exit_code and done.stderr.rstrip().endswith(f"No module named '{package}'"):
                raise ToolFault(
                    f"{python} has no {name}: make the repository's .venv, or name its interpreter with --python"
                )
        check_variables(done, options.get("sql") is True)
        # The driver's own text is no news, and it is long.
        return dataclasses.replace(done, argv=(python, "-m", "flask", "db", command, *shown))

    def _lead(self, scratch: Scratch) -> str:
        """Writes the box's alembic.ini; returns the scratch database's URL with the project's own driver."""
        if scratch.box.runtime.python is None:
            raise ToolFault("no Python was found for this repository: create its virtual environment, or name one")
        urls = self._urls(self._settings())
        url = scratch.url(driver_in([one for one in urls if engine_named(one) == scratch.dialect]))
        config = self.tool.config or ""
        text = scratch.box.read(config)
        if text is not None:
            scratch.box.put(config, with_url(text.decode("utf-8", errors="replace"), url).encode())
        return url

    def _environment(self, settings: FlaskSettings, url: str) -> Mapping[str, str]:
        """In which the application loads; no database depends on a secret key, and the person's never comes here."""
        whole = [name for name, part in settings.variables.items() if part == WHOLE]
        parts = [name for name, part in settings.variables.items() if part == PART]
        usual = {**dict.fromkeys(settings.secrets, _MADE_UP), **dict.fromkeys(parts, _NUMBER)}
        return {**usual, **settings.env, **self.pointing.env, **dict.fromkeys((*whole, *self.pointing.url_names), url)}

    def _settings(self) -> FlaskSettings:
        folder = read_config(self.tree, self.tool.config or "").folder
        return read_flask(self.tree, folder, self.pointing.env.get("FLASK_APP"))

    def _folder(self, settings: FlaskSettings) -> str:
        """The migrations as seen from the application's folder."""
        return posixpath.relpath(self.tool.folder or ".", settings.base or ".")

    def _urls(self, settings: FlaskSettings) -> tuple[str, ...]:
        return (*(self.pointing.env.get(name, "") for name in self.pointing.url_names), *settings.urls)
