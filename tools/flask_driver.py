"""Runs in the box, in the repository's own Python and with its Flask-Migrate, as the text of `python -c`.

The application is found and made by Flask's own loader, and Flask-SQLAlchemy's settings (2.x and 3.x) are replaced by
those of the scratch database before it reads them. Imports nothing of this program, and what belongs to the repository
only by that loader.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

# How values are written and where tables are looked for; all others say how to reach the person's own server.
_KEPT_OPTIONS = ("execution_options", "future", "json_deserializer", "json_serializer")
_POOL = ("POOL_SIZE", "POOL_TIMEOUT", "POOL_RECYCLE", "MAX_OVERFLOW", "NATIVE_UNICODE")  # 2.x


def main() -> None:
    """Does what the file in the first argument asks for; only SQL goes to the standard output."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # Path is no shorter here
        given = json.load(file)
    sys.argv[:] = ["flask", "db", given["command"]]
    output, sys.stdout = sys.stdout, sys.stderr
    # From where they are installed: the application's folder comes to the front of sys.path, where it could have any name.
    import flask_migrate
    from flask.cli import NoAppException, ScriptInfo

    library = lead(given["url"])
    try:
        app = ScriptInfo(app_import_path=given["app"]).load_app()
    except NoAppException as error:
        sys.exit(f"Flask cannot load the application: {error.format_message()}")
    led(app, given["url"])
    migrate = _migrate_of(app, library)
    written = io.StringIO()

    def configured(config: Any) -> Any:
        config.output_buffer = written
        return config

    migrate.configure(configured)
    with app.app_context():
        command = getattr(flask_migrate, given["command"])
        # The one inside turns errors into lines of a log, which alembic.ini can silence.
        command = getattr(command, "__wrapped__", command)
        command(directory=given["directory"], **given["options"])
    output.write(written.getvalue())
    output.flush()


def lead(url: str) -> Any:
    """Flask-SQLAlchemy's class, which reads nothing but the scratch database's settings from now on."""
    try:
        from flask_sqlalchemy import SQLAlchemy
    except ImportError:
        return None
    usual = SQLAlchemy.init_app

    def init_app(self: Any, app: Any, *given: Any, **named: Any) -> Any:
        _replace(app.config, url)
        # Those given to SQLAlchemy(engine_options=…).
        options = getattr(self, "_engine_options", None) or {}
        self._engine_options = {name: value for name, value in options.items() if name in _KEPT_OPTIONS}
        return usual(self, app, *given, **named)

    SQLAlchemy.init_app = init_app  # type: ignore[method-assign]  # what a subclass calls, too
    return SQLAlchemy


def led(application: Any, url: str) -> None:
    """The settings once more: 2.x reads them when it connects, and a factory may have set them in between."""
    _replace(application.config, url)


def _replace(config: Any, url: str) -> None:
    """Once before the extension reads them, and once after the application is made: 2.x reads them when it connects."""
    options = config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    config["SQLALCHEMY_DATABASE_URI"] = url
    config["SQLALCHEMY_BINDS"] = dict.fromkeys(config.get("SQLALCHEMY_BINDS") or {}, url)
    config["SQLALCHEMY_ENGINE_OPTIONS"] = {name: value for name, value in options.items() if name in _KEPT_OPTIONS}
    for name in _POOL:
        if "SQLALCHEMY_" + name in config:  # 2.x puts all of them there, and reads None for "not set"
            config["SQLALCHEMY_" + name] = None


def _migrate_of(app: Any, library: Any) -> Any:
    """The application's Migrate; exits where what it migrates cannot be led."""
    found = app.extensions.get("migrate")
    if found is None:
        sys.exit(
            "the application has no Flask-Migrate: Migrate(app, db) or migrate.init_app(app, db) was not called on it"
        )
    kind = type(found.db)
    if library is None or not isinstance(found.db, library):
        sys.exit(
            f"Migrate() was given a {kind.__module__}.{kind.__qualname__}: only Flask-SQLAlchemy's SQLAlchemy can be led "
            "to a scratch database"
        )
    return found.migrate


if __name__ == "__main__":
    main()
