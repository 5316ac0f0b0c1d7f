"""Django driven in the box: moved to scratch databases, rendered as SQL, and led nowhere else."""

import contextlib
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django_projects import (
    CONTRIB,
    DATA,
    LIVE,
    MANAGE,
    STATUS,
    data_migration,
    irreversible,
    merged,
    migration,
    project,
    shop,
    squashed,
)

from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool, detect
from backend_crew.tools.migrators.django import DjangoMigrator
from backend_crew.tools.migrators.protocol import SQLITE, Migrator, Move, Pointing, Script
from backend_crew.tools.rehearsal import rehearse
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratch import DATABASE, SqliteScratch
from backend_crew.tools.scratches import Place, scratch_of
from backend_crew.tools.sources import SqliteSource

FIRST = ("people.0001_initial", "shop.0001_initial", "shop.0002_total")
OWNER = 'migrations.AddField("order", "seller", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+"))'


def migrator(root: Path, pointing: Pointing | None = None) -> DjangoMigrator:
    """The one of the only manage.py."""
    return DjangoMigrator(root, detect(root)[0], pointing or Pointing())


def place(sandbox: Sandbox, root: Path, python: str = sys.executable) -> Place:
    """Where boxes are made."""
    return Place(sandbox, root, root, find_runtime(root, python=Path(python)))


@contextmanager
def led(
    sandbox: Sandbox, root: Path, pointing: Pointing | None = None
) -> Iterator[tuple[DjangoMigrator, SqliteScratch]]:
    """A migrator and an empty scratch database in a box of its own."""
    with (
        tempfile.TemporaryDirectory() as private,
        scratch_of(place(sandbox, root), SQLITE, Path(private)) as scratch,
    ):
        assert isinstance(scratch, SqliteScratch)
        scratch.create()
        yield migrator(root, pointing), scratch


def at(one: Migrator, scratch: SqliteScratch) -> tuple[str, ...]:
    """What the scratch database's own table says."""
    found = scratch.facts(one)
    assert found is not None
    return found.recorded


def asked(scratch: SqliteScratch, sql: str) -> list[str]:
    """The first column of what a SELECT finds."""
    with contextlib.closing(sqlite3.connect(scratch.box.files / DATABASE)) as connection:
        return [str(row[0]) for row in connection.execute(sql)]


def tables(scratch: SqliteScratch) -> list[str]:
    """All tables."""
    return asked(scratch, "SELECT name FROM sqlite_master WHERE type = 'table'")


def moves(one: Migrator, *lacking: str) -> tuple[Move, Move]:
    """From nothing to a database that lacks these files, and from there to the heads."""
    history = one.history()
    start = history.before(lacking)
    old, new = history.between((), start), history.ahead_of(start)
    return Move((), start, old), Move(start, history.after(start, new), new)


def live(root: Path) -> Path:
    """A file where the settings' own database would be."""
    path = root / "live.sqlite3"
    path.write_bytes(b"mine")
    return path


def test_up_down_and_up_again_on_the_scratch_database_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, shop("0003_status", STATUS, OWNER), contrib=CONTRIB)
    mine = live(root)
    with led(sandbox, root) as (one, scratch):
        base, move = moves(one, "shop/migrations/0003_status.py")
        assert at(one, scratch) == ()
        assert one.up(scratch, base).ok
        # Third-party migrations ran, and are no part of what the repository's files are compared with.
        assert at(one, scratch) == base.goal == FIRST
        assert "auth_permission" in tables(scratch)
        scratch.fill(one)
        before = scratch.facts(one)
        assert one.up(scratch, move).ok
        assert at(one, scratch) == move.goal == (*FIRST, "shop.0003_status")
        up = scratch.facts(one)
        assert one.down(scratch, move).ok
        down = scratch.facts(one)
    assert before and up and down
    assert (before.schema, before.tables) == (down.schema, down.tables)
    assert "column shop_order.seller_id BIGINT" in "\n".join(set(up.schema) - set(before.schema)).replace(
        "bigint", "BIGINT"
    )
    assert before.tables["shop_order"].rows == 3
    assert mine.read_bytes() == b"mine"


def test_rendered_sql_does_what_the_move_does(sandbox: Sandbox, tmp_path: Path) -> None:
    files = {
        **shop("0003_status", STATUS, OWNER),
        **shop("0004_sql", "migrations.RunSQL(\"UPDATE shop_order SET status = '100%'\", '')", after=("shop.0003_status",),
               extra="atomic = False"),
        **shop("0005_noop", "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)",
               "migrations.RemoveField('order', 'seller')", after=("shop.0004_sql",)),
    }  # fmt: skip
    root = project(tmp_path, files)
    with led(sandbox, root) as (one, scratch), led(sandbox, root) as (_, plain):
        base, move = moves(one, *files)
        whole = Move((), move.goal, (*base.files, *move.files))
        first = one.render(scratch, whole, "up")
        assert isinstance(first, Script)
        # Rendering moved the database itself; what it rendered does the same without Django.
        rendered_at = scratch.facts(one)
        assert plain.execute(first).ok
        assert rendered_at and plain.facts(one) == rendered_at
        assert at(one, plain) == whole.goal
        back = one.render(scratch, move, "down")
        assert isinstance(back, Script)
        assert plain.execute(back).ok
        assert at(one, plain) == base.goal
        up = one.render(plain, move, "up")
        assert isinstance(up, Script)
    assert [segment.transactional for segment in up.segments] == [True, False, True, True]
    assert "status = '100%'" in up.segments[1].sql
    assert (
        "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0003_status', CURRENT_TIMESTAMP)"
        in up.text
    )
    assert "BEGIN" not in up.text and "CANNOT BE WRITTEN" not in up.text
    assert up.text in first.text


def test_python_is_not_rendered(sandbox: Sandbox, tmp_path: Path) -> None:
    hidden = "migrations.SeparateDatabaseAndState([migrations.RunPython(fill)])"
    files = {**data_migration(), **shop("0004_hidden", hidden, after=("shop.0003_fill",), top=DATA)}
    root = project(tmp_path, files)
    with led(sandbox, root) as (one, scratch):
        _, move = moves(one, *files)
        found = one.render(scratch, move, "up")
        assert found == "shop.0003_fill: RunPython(fill) runs Python code, which cannot be written as SQL"
        found = one.render(scratch, Move(move.start, (), move.files[1:]), "down")
        assert isinstance(found, str) and "has no way back" in found
        history = one.history()
        assert (*history.empty_downgrades, *history.irreversible) == ("shop.0003_fill", "shop.0004_hidden")


def test_a_migration_that_fails_says_why(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, irreversible())
    with led(sandbox, root) as (one, scratch):
        base, move = moves(one)
        assert not move.files
        assert one.up(scratch, base).ok
        done = one.down(scratch, Move(FIRST, base.goal, base.files[-1:]))
        assert not done.ok
        assert "Operation <RunPython" in done.stderr and "is not reversible" in done.stderr


def test_a_squash_on_an_old_and_on_a_new_database(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path)
    with led(sandbox, root) as (one, scratch):
        base, _ = moves(one)
        assert one.up(scratch, base).ok
        old = (scratch.box.files / DATABASE).read_bytes()
    project(tmp_path, squashed())
    squash = "shop.0001_squashed_0002_total"
    with led(sandbox, root) as (one, scratch):
        scratch.box.put(DATABASE, old)
        start = at(one, scratch)
        assert start == ("people.0001_initial", squash)
        new = one.history().ahead_of(start)
        move = Move(start, one.history().after(start, new), new)
        assert [file.revision for file in new] == ["shop.0003_status"]
        assert one.up(scratch, move).ok and at(one, scratch) == move.goal
        assert one.down(scratch, move).ok and at(one, scratch) == start
    with led(sandbox, root) as (one, scratch), led(sandbox, root) as (_, plain):
        script = one.render(scratch, Move((), move.goal, one.history().files), "up")
        assert isinstance(script, Script) and plain.execute(script).ok
        assert at(one, plain) == at(one, scratch) == move.goal
        rows = asked(plain, "SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY name")
        assert rows == ["0001_initial", squash.removeprefix("shop."), "0002_total", "0003_status"]


def test_one_of_two_joined_branches_goes_back_exactly(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, merged())
    with led(sandbox, root) as (one, scratch):
        base, move = moves(one, "shop/migrations/0003_note.py", "shop/migrations/0004_merge.py")
        assert one.up(scratch, base).ok
        assert one.up(scratch, move).ok and at(one, scratch) == move.goal
        assert one.down(scratch, move).ok and at(one, scratch) == base.goal
        # `migrate shop 0003_status` would leave 0003_note in place.
        assert one.command(move, "down") == ""
        assert one.command(move, "up") == "python manage.py migrate shop 0004_merge"


def test_third_party_migrations_that_ran_on_the_way_go_back_too(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path)
    with led(sandbox, root) as (one, scratch):
        assert one.up(scratch, moves(one)[0]).ok
        old = (scratch.box.files / DATABASE).read_bytes()
    tagged = (
        'migrations.AddField("order", "kind", models.ForeignKey("contenttypes.ContentType", models.CASCADE, null=True))'
    )
    files = shop("0003_kind", tagged, after=("shop.0002_total", "contenttypes.0001_initial"))
    project(tmp_path, files, contrib=CONTRIB)
    with led(sandbox, root) as (one, scratch):
        scratch.box.put(DATABASE, old)
        _, move = moves(one, *files)
        assert one.up(scratch, move).ok and at(one, scratch) == move.goal
        assert "django_content_type" in tables(scratch) and "auth_group" not in tables(scratch)
        assert one.down(scratch, move).ok and at(one, scratch) == move.start
        assert "django_content_type" not in tables(scratch)


def test_third_party_migrations_that_the_database_lacks_are_in_the_script(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path / "repo")
    with led(sandbox, root) as (one, scratch):
        assert one.up(scratch, moves(one)[0]).ok
        scratch.save(tmp_path / "live.sqlite3")
    tagged = (
        'migrations.AddField("order", "kind", models.ForeignKey("contenttypes.ContentType", models.CASCADE, null=True))'
    )
    files = shop("0003_kind", tagged, after=("shop.0002_total", "contenttypes.0001_initial"))
    project(root, files, contrib=CONTRIB)
    found = rehearse(place(sandbox, root), migrator(root), source=SqliteSource(tmp_path / "live.sqlite3"))
    assert (found.status, [one for one in found.findings if "rendered" in one.text]) == ("passed", [])
    assert 'CREATE TABLE "django_content_type"' in (found.sql_up or "") and "auth_group" not in (found.sql_up or "")
    assert 'DROP TABLE "django_content_type"' in (found.sql_down or "")


def test_every_way_of_the_settings_ends_at_the_scratch_database(sandbox: Sandbox, tmp_path: Path) -> None:
    databases = """{
    "default": {"ENGINE": os.environ["DB_ENGINE"], "NAME": os.environ["DB_NAME"], "PORT": int(os.environ["DB_PORT"]),
                "HOST": os.environ["DB_HOST"], "OPTIONS": {"sslmode": "require"}},
    "replica": {"ENGINE": "django.db.backends.postgresql", "NAME": "elsewhere", "HOST": "10.0.0.1"},
}
DATABASE_ROUTERS = ["project.routers.Split"]
print("settings say things", os.environ["DB_NAME"], os.environ["MY_URL"])
"""
    router = """
    class Split:
        def db_for_read(self, model, **hints):
            return "replica"
        def allow_migrate(self, db, app_label, **hints):
            return False if hints.get("model_name") == "order" else None
    """
    # Read where it was written, in the same transaction.
    read = (
        "def fill(apps, editor):\n    users = apps.get_model('people', 'User').objects\n"
        "    users.create(email='x')\n    assert users.count() == 1\n"
    )
    files = {"project/routers.py": router, **shop("0003_fill", "migrations.RunPython(fill)", top=read)}
    root = project(tmp_path, files, databases=databases)
    secret = "sqlite:///the-persons-own.db"
    pointing = Pointing(("MY_URL",), {"MY_URL": secret, "DB_NAME": "the-persons-own"})
    with led(sandbox, root, pointing) as (one, scratch):
        base, _ = moves(one)
        done = one.up(scratch, base)
        assert done.ok, done.stderr
        assert at(one, scratch) == base.goal
        # What the router keeps from a database is not made there.
        assert "people_user" in tables(scratch) and "shop_order" not in tables(scratch)
        path = f"{root}/{DATABASE}"
        assert f"settings say things {path} sqlite:///{path}" in done.stdout
        assert "the-persons-own" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"project/more.py": 'import os\nX = os.environ["API_TOKEN"]\n'},
            "reads the environment variable API_TOKEN, which is not set here",
        ),
        (
            {"project/more.py": "from django.core.exceptions import ImproperlyConfigured\n"
                                "raise ImproperlyConfigured('Set the API_TOKEN environment variable')\n"},
            "reads the environment variable API_TOKEN, which is not set here",
        ),
        ({"manage.py": "# DJANGO_SETTINGS_MODULE\nprint('hello')\n"}, "without calling Django's execute_from_command_line"),
        ({"project/more.py": "raise KeyError('x')\n"}, "KeyError: 'x'"),
    ],
)  # fmt: skip
def test_settings_that_do_not_load_are_named(
    sandbox: Sandbox, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    root = project(tmp_path, files, databases=f"{LIVE}\nfrom project.more import *")
    with led(sandbox, root) as (one, scratch):
        try:
            done = one.up(scratch, moves(one)[0])
        except ToolRetry as error:  # nothing was tried, so it is no fault of a migration
            assert "environment variable" in said and said in str(error)
        else:
            assert not done.ok and said in done.stderr.rstrip().splitlines()[-1]


def test_compiled_files_of_the_repository_are_not_read(sandbox: Sandbox, tmp_path: Path) -> None:
    import py_compile

    root = project(tmp_path)
    source = root / "shop/models.py"
    honest = source.read_text()
    source.write_text("raise RuntimeError('compiled')\n")
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.write_text(honest)
    with led(sandbox, root) as (one, scratch):
        assert one.up(scratch, moves(one)[0]).ok
        # The weak way runs what was compiled.
        argv = (sys.executable, "manage.py", "check")
        assert "RuntimeError: compiled" in scratch.run(argv, env={"DJANGO_SECRET_KEY": "x"}).stderr


def test_without_django_the_operator_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path / "repo")
    one = migrator(root)
    with scratch_of(place(sandbox, root, "/usr/bin/python3"), SQLITE, tmp_path / "private") as scratch:
        scratch.create()
        with pytest.raises(ToolFault, match="has no Django"):
            one.up(scratch, moves(one)[0])
    with pytest.raises(ToolRefused, match="not a Django project"):
        DjangoMigrator(root, MigrationTool("alembic", "a.ini", None, False, (), "a.ini:1"))


def test_a_whole_rehearsal(sandbox: Sandbox, tmp_path: Path) -> None:
    root = project(tmp_path, shop("0003_status", STATUS, OWNER))
    mine = live(root)
    found = rehearse(place(sandbox, root), migrator(root))
    assert (found.status, [step.name for step in found.steps]) == ("passed", ["up", "down", "up again"]), found
    told = [one.text for one in found.findings if one.severity != "info"]
    assert [one for one in told if not one.startswith("django-migration-linter: ")] == []
    assert (found.from_revision, found.to_revision) == ("shop.0002_total", "shop.0003_status")
    assert "seller_id" in (found.sql_up or "") and "DELETE FROM django_migrations" in (found.sql_down or "")
    assert found.steps[0].tables["shop_order"].rows == 3
    assert mine.read_bytes() == b"mine"


def test_what_is_read_without_running(tmp_path: Path) -> None:
    root = project(tmp_path, {"people/migrations/0002_x.py": migration(after=("people.0001_initial", "shop.0001_initial"))},
                   base="back end")  # fmt: skip
    one = migrator(root)
    history = one.history()
    start, cd = history.after((), history.files[:2]), "cd 'back end' && python manage.py migrate"
    move = Move(start, history.after((), history.files), history.files[2:])
    assert one.command(move, "up") == f"{cd} people 0002_x && python manage.py migrate shop 0002_total"
    assert one.command(move, "down") == f"{cd} shop 0001_initial && python manage.py migrate people 0001_initial"
    whole = Move((), move.goal, history.files)
    assert "migrate shop zero && python manage.py migrate people zero" in one.command(whole, "down")
    assert (one.engine(), one.runs_code) == (SQLITE, True)
    assert migrator(root, Pointing(("URL",), {"URL": "postgres://db/x"})).engine() == "postgresql"
    listed = dict(one.manifest())
    assert {"back end/manage.py", "back end/project/settings.py", "back end/shop/migrations/0001_initial.py"} <= set(
        listed
    )
    (root / "back end/shop/models.py").write_text("\n")
    assert {path for path, digest in one.manifest() if listed.get(path) != digest} == {"back end/shop/models.py"}
    assert "DJANGO_SETTINGS_MODULE" in MANAGE


def test_the_linter_of_the_repository_is_heard_whatever_its_comments_ask_for(sandbox: Sandbox, tmp_path: Path) -> None:
    ignored: dict[str, Any] = {"top": "import django_migration_linter as linter\n"}
    gone = 'migrations.RemoveField("order", "total")'
    files = shop("0003_gone", "linter.IgnoreMigration()", gone, **ignored)
    found = rehearse(place(sandbox, project(tmp_path, files)), migrator(tmp_path))
    told = [one for one in found.findings if one.text.startswith("django-migration-linter: shop.0003_gone: ")]
    assert {one.severity for one in told} == {"warning"}
    assert any("DROP_COLUMN" in one.text for one in told), found
