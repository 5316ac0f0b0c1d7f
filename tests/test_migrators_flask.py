"""Flask-Migrate driven in the box through the application: moved on scratch databases, and led nowhere else."""

import contextlib
import py_compile
import sqlite3
import tempfile
from pathlib import Path

import pytest
from flask_projects import FACTORY, FROM_ENV, LITERAL, ORDERS, project, write
from places import place

from backend_crew.tools.alembic_box import excerpt
from backend_crew.tools.alembic_draft import Drift, MadeMigration, find_drift, make_migration
from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.migrations import detect, new_files, why_not_rehearsed
from backend_crew.tools.migrators.find import migrator_of
from backend_crew.tools.migrators.flask import FlaskMigrator
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Move, Pointing
from backend_crew.tools.rehearsal import rehearse
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratches import Place, scratch_of
from backend_crew.tools.sources import SqliteSource

AT_HEAD = (("f002",), "")


def migrator(root: Path, pointing: Pointing | None = None) -> FlaskMigrator:
    """The one of the only migrations folder."""
    found = migrator_of(root, detect(root)[0], pointing)
    assert isinstance(found, FlaskMigrator)
    return found


def moved(sandbox: Sandbox, root: Path, pointing: Pointing | None = None) -> tuple[tuple[str, ...], str]:
    """Where an empty scratch database is once everything ran, and what was said of a failure."""
    one, at = migrator(root, pointing), place(sandbox, root)
    assert isinstance(at, Place)
    with tempfile.TemporaryDirectory() as private, scratch_of(at, SQLITE, Path(private)) as scratch:
        scratch.create()
        files = one.history().files
        try:
            done = one.up(scratch, Move((), (files[-1].revision,), files))
        except ToolRetry as error:
            return (), str(error)
        found = scratch.facts(one)
        assert found is not None
        if done.ok:
            assert "table users" in found.schema
        return found.recorded, "" if done.ok else excerpt(done)


def live(path: Path) -> Path:
    """A database with a row, before f002."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('f001');"
            "CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, email VARCHAR(120) NOT NULL);"
            "INSERT INTO users VALUES (1, 'ann@example.org');"
        )
    return path


def test_an_application_factory_is_rehearsed_and_its_own_database_is_not_touched(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    root = project(tmp_path)
    mine = live(root / "live.db")
    before = mine.read_bytes()
    found = rehearse(place(sandbox, root), migrator(root), source=SqliteSource(mine))
    assert (found.status, [(step.name, step.ok) for step in found.steps]) == (
        "passed",
        [("up", True), ("down", True), ("up again", True)],
    ), found
    assert found.steps[0].tables["users"].rows == 1
    assert (found.from_revision, found.to_revision) == ("f001", "f002")
    # What the application prints is no SQL.
    assert "ADD COLUMN phone" in (found.sql_up or "") and "says things" not in (found.sql_up or "")
    assert "UPDATE alembic_version SET version_num='f002'" in (found.sql_up or "")
    assert "DROP COLUMN phone" in (found.sql_down or "")
    assert mine.read_bytes() == before


def test_variables_that_the_settings_read_are_given_and_others_are_named(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, {"shop/config.py": FROM_ENV})
    assert moved(sandbox, root) == AT_HEAD
    write(root, {"shop/config.py": FROM_ENV.replace("SHOP_DATABASE", "X") + "    MAIL = os.environ['SHOP_MAIL']\n"})
    at, said = moved(sandbox, root)
    assert at == () and "reads the environment variable SHOP_MAIL, which is not set here" in said
    named = Pointing(("X",), {"X": f"sqlite:///{root}/live.db", "SHOP_MAIL": "none"})
    assert moved(sandbox, root, named) == AT_HEAD


def test_what_the_application_does_with_its_engine_leads_nowhere_else(sandbox: Sandbox, tmp_path: Path) -> None:
    options = 'SQLAlchemy(engine_options={"creator": lambda: __import__("sqlite3").connect("other.db")}), Migrate()'
    late = '    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///late.db"\n    db.init_app(app)\n'
    text = FACTORY.replace("SQLAlchemy(), Migrate()", options).replace("    db.init_app(app)\n", late)
    assert moved(sandbox, project(tmp_path, {"shop/__init__.py": text})) == AT_HEAD


def test_compiled_files_of_the_application_are_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path)
    path = root / "migrations/versions/f002_phone.py"
    honest = path.read_text()
    path.write_text(honest.replace("def upgrade():", 'def upgrade():\n    raise SystemExit("compiled")'))
    py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    path.write_text(honest)
    assert moved(sandbox, root) == AT_HEAD


def test_a_project_below_with_its_application_named_in_flaskenv(sandbox: Sandbox, tmp_path: Path) -> None:
    files = {
        ".flaskenv": "# where it is\nexport FLASK_APP='run:web'\nSHOP_MODE=plain  # or not\n",
        "run.py": "import os\nfrom shop import create_app\nassert os.environ['SHOP_MODE'] == 'plain'\n"
        "def web():\n    return create_app()\n",
        "wsgi.py": "raise SystemExit('not this one')\n",
    }
    root = project(tmp_path, files, base="the api")
    one = migrator(root)
    assert moved(sandbox, root) == AT_HEAD
    known = one.history().files
    move = Move(("f001",), ("f002",), known[1:])
    assert one.command(move, "up") == "cd 'the api' && flask db upgrade f002"
    assert one.command(Move((), ("f002",), known), "down") == "cd 'the api' && flask db downgrade base"


def test_an_application_that_fails_says_why(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, {"wsgi.py": "from shop import create_app\nnowhere\napp = create_app()\n"})
    at, said = moved(sandbox, root)
    assert at == () and "name 'nowhere' is not defined" in said
    (root / "wsgi.py").write_text("from shop import create_app\nimport nowhere\napp = create_app()\n")
    at, said = moved(sandbox, root)
    assert at == () and "imports nowhere, which is not installed" in said and "--sandbox-env PYTHONPATH=FOLDER" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FACTORY.replace("    migrate.init_app(app, db)\n", ""), "the application has no Flask-Migrate"),
        (FACTORY.replace("migrate.init_app(app, db)", "migrate.init_app(app, Own())").replace(
            "def create_app", "class Own:\n    engine = metadata = None\n\ndef create_app"),
         "Migrate() was given a shop.Own: only Flask-SQLAlchemy's SQLAlchemy can be led"),
    ],
)  # fmt: skip
def test_what_cannot_be_led_is_named(sandbox: Sandbox, tmp_path: Path, text: str, said: str) -> None:
    at, found = moved(sandbox, project(tmp_path, {"shop/__init__.py": text}))
    assert at == () and said in found


def test_templates_for_several_databases_are_shown_and_not_rehearsed(tmp_path: Path) -> None:
    root = project(tmp_path, template="flask-multidb")
    (tool,) = detect(root)
    assert (tool.flask, tool.can_rehearse, migrator_of(root, tool)) == (True, False, None)
    assert "several databases (SQLALCHEMY_BINDS)" in why_not_rehearsed(tool)
    assert new_files(tool, ["migrations/versions/x.py"]) == ("migrations/versions/x.py",)
    with pytest.raises(ToolRefused):
        FlaskMigrator(root, tool)


def test_the_engine_is_read_from_the_settings(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert migrator(root).engine() == SQLITE
    parts = "import os\nclass Config:\n    SQLALCHEMY_DATABASE_URI = f\"postgresql+psycopg://{os.environ['DB_USER']}@db/shop\"\n"
    write(root, {"shop/config.py": parts})
    assert migrator(root).engine() == POSTGRESQL
    write(root, {"shop/config.py": "import os\nURL = os.getenv('SHOP_DB')\nSQLALCHEMY_DATABASE_URI = URL\n"})
    named = Pointing(("SHOP_DB",), {"SHOP_DB": "mysql+pymysql://db/shop"})
    assert (migrator(root).engine(), migrator(root, named).engine()) == (SQLITE, "MySQL")


def test_the_whole_application_is_in_the_manifest(tmp_path: Path) -> None:
    root = project(tmp_path, {"shop/far/away.py": "", "shop/words.json": "{}"})
    live(root / "live.db")
    found = dict(migrator(root).manifest())
    assert {"shop/far/away.py", "shop/words.json", "migrations/versions/f002_phone.py", "migrations/env.py"} <= set(
        found
    )
    assert "live.db" not in found


def test_an_application_that_is_nowhere_has_to_be_named(tmp_path: Path) -> None:
    root = project(tmp_path, {"shop/__init__.py": "", "shop/config.py": LITERAL})
    with pytest.raises(ToolRetry, match=r"Name it as FLASK_APP in a \.flaskenv"):
        migrator(root).engine()
    write(
        root,
        {"one.py": "from flask import Flask\napp = Flask('one')\n", "two.py": "import one\nvalue = one.app\n"},
    )
    assert migrator(root).engine() == SQLITE
    write(root, {"two.py": "from flask import Flask\nserver = Flask('two')\n"})
    with pytest.raises(ToolRetry, match=r"one\.py, two\.py could each be the Flask application"):
        migrator(root).engine()
    assert migrator(root, Pointing((), {"FLASK_APP": "two"})).engine() == SQLITE


def drafted(sandbox: Sandbox, root: Path, baseline: Drift | None = None) -> MadeMigration:
    at = place(sandbox, root)
    assert isinstance(at, Place)
    with tempfile.TemporaryDirectory() as private, scratch_of(at, SQLITE, Path(private), whole=True) as scratch:
        tool = detect(root)[0]
        return make_migration(
            scratch, tool, message="a nick", rev_id="feed01", database_env={"SHOP_DATABASE": ""}, baseline=baseline
        )


@pytest.mark.parametrize("base", ["", "backend"])
def test_a_migration_is_drafted_from_the_models_through_the_application(
    sandbox: Sandbox, tmp_path: Path, base: str
) -> None:
    nick = "    email = db.Column(db.String(120), nullable=False, unique=True)\n"
    root = project(tmp_path / "shop", {"shop/orders.py": ORDERS}, base=base)
    with tempfile.TemporaryDirectory() as private:
        at = place(sandbox, root)
        assert isinstance(at, Place)
        with scratch_of(at, SQLITE, Path(private), whole=True) as scratch:
            drift = find_drift(scratch, detect(root)[0], database_env={})
    assert drift.upgrade, "the models have no phone"
    models = root / base / "shop/orders.py"
    models.write_text(models.read_text().replace(nick, nick + "    nick = db.Column(db.String(30))\n"))
    made = drafted(sandbox, root, drift)
    assert made.path == str(Path(base, "migrations/versions/feed01_a_nick.py"))
    assert len(made.operations) == 1 and "nick" in made.operations[0] and "phone" not in made.text
    assert not (root / base / "live.db").exists()
    models.write_text(ORDERS)
    with pytest.raises(ToolRetry, match="nothing but what differed before"):
        drafted(sandbox, root, drift)
