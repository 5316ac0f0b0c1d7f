"""Django's migrations read without being run: what stands on what, what is refused, what a table of a database means."""

from pathlib import Path

import pytest
from django_projects import (
    BUYER,
    CONTRIB,
    MANAGE,
    ORDER,
    STATUS,
    TOTAL,
    USER,
    conflict,
    data_migration,
    irreversible,
    merged,
    migration,
    project,
    shop,
    squashed,
    write,
)

from backend_crew.tools.django_settings import engine_of, read_settings
from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.migrators.django_graph import DjangoGraph, read_graph
from backend_crew.tools.migrators.history import History

FIRST = ("people.0001_initial", "shop.0001_initial", "shop.0002_total")


def graph(root: Path, files: dict[str, str] | None = None) -> DjangoGraph:
    """The graph of the project with these files besides."""
    return read_graph(project(root, files), "")


def names(history: History) -> list[str]:
    """The migrations in their order."""
    return [file.revision for file in history.files]


def test_apps_follow_one_another_through_the_user_model(tmp_path: Path) -> None:
    found = graph(tmp_path)
    assert names(found.history) == list(FIRST)
    assert [file.parents for file in found.history.files] == [(), ("people.0001_initial",), ("shop.0001_initial",)]
    assert (found.history.heads, sorted(found.labels)) == (("shop.0002_total",), ["people", "shop"])
    assert found.history.before(["shop/migrations/0002_total.py"]) == FIRST[:2]


def test_nothing_of_the_repository_is_imported(tmp_path: Path) -> None:
    top = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()"
    found = graph(tmp_path, shop("0003_status", STATUS, top=top))
    assert "shop.0003_status" in names(found.history)
    assert not list(tmp_path.rglob("ran"))


def test_several_leaves_of_one_app_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ToolRetry) as caught:
        graph(tmp_path, conflict())
    assert "the app shop has 2 leaf migrations: 0003_note (shop/migrations/0003_note.py), 0003_status" in str(
        caught.value
    )
    assert "makemigrations --merge shop" in str(caught.value)
    assert names(graph(tmp_path, merged()).history)[-1] == "shop.0004_merge"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            shop("0003_x", STATUS, after=("shop.0002_gone",)),
            "shop/migrations/0003_x.py stands on shop.0002_gone, which",
        ),
        (
            {"people/migrations/0001_initial.py": migration(USER, after=("shop.0002_total",))},
            "in a circle: people.0001_initial -> shop.0002_total -> shop.0001_initial -> people.0001_initial",
        ),
        (
            {"shop/migrations/0003_x.py": "class Migration:\n    dependencies = [] + []\n    operations = []\n"},
            "0003_x.py:2 computes dependencies",
        ),
        (shop("0003_x", after=("(APP, '0002_total')",)), "(APP, '0002_total') in dependencies is no plain"),
        ({"shop/migrations/0003_x.py": "X = 1\n"}, "has 0 classes Migration"),
        ({"shop/migrations/0003_x.py": "class Migration(\n"}, "does not parse"),
        (
            {"shop/migrations/0003_x.py": "class Migration(Base):\n    operations = []\n"},
            "Migration inherits its dependencies",
        ),
        (
            {
                "shop/migrations/0003_x.py": "class Migration(Migration):\n    dependencies = []\n    dependencies += [1]\n"
            },
            "dependencies is not set exactly once",
        ),
        (
            {"shop/apps.py": "class ShopConfig(AppConfig):\n    name = 'shop'\n    label = 'people'\n"},
            "people/migrations and shop/migrations both belong to an app labelled 'people'",
        ),
        ({"shop/apps.py": "class ShopConfig(AppConfig):\n    label = f'x'\n"}, "computes the label"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(ToolRetry) as caught:
        graph(tmp_path, files)
    assert said in str(caught.value)


def test_a_folder_that_django_does_not_see_is_told(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "shop/migrations/__init__.py").unlink()
    with pytest.raises(ToolRetry, match="shop/migrations has no __init__"):
        read_graph(tmp_path, "")


def test_a_linked_migration_is_refused(tmp_path: Path) -> None:
    project(tmp_path / "repo")
    (tmp_path / "other.py").write_text(migration(STATUS, after=("shop.0002_total",)))
    (tmp_path / "repo/shop/migrations/0003_x.py").symlink_to(tmp_path / "other.py")
    with pytest.raises(ToolRefused, match="is a link or no plain file"):
        read_graph(tmp_path / "repo", "")


def test_third_party_apps_first_latest_and_run_before(tmp_path: Path) -> None:
    files = {
        **shop("0003_a", after=("shop.0002_total", "auth.0001_initial", "people.__latest__")),
        "people/migrations/0002_x.py": migration(after=("people.0001_initial", "contenttypes.__first__")),
        "people/migrations/0003_y.py": migration(after=("people.0002_x", "people.__first__"),
                                                 extra="run_before = [('shop', '0002_total'), ('admin', '0001')]"),
        # Not installed, so none of its migrations ever run.
        "tests/testapp/migrations/__init__.py": "",
        "tests/testapp/migrations/0001_initial.py": migration(after=("testapp.nowhere",)),
        "shop/migrations/_helper.py": "X = 1",
    }  # fmt: skip
    found = graph(tmp_path, files)
    parents = {file.revision: file.parents for file in found.history.files}
    assert parents["shop.0003_a"] == ("people.0003_y", "shop.0002_total")
    assert parents["shop.0002_total"] == ("people.0003_y", "shop.0001_initial")
    assert parents["people.0002_x"] == ("people.0001_initial",)
    assert set(parents) == {*FIRST, "shop.0003_a", "people.0002_x", "people.0003_y"}


def test_labels_moved_modules_and_a_subfolder(tmp_path: Path) -> None:
    settings = 'SECRET_KEY = "x"\nINSTALLED_APPS = ["crm.apps.CrmConfig", "shop"]\n'
    files = {
        "project/settings.py": f'{settings}MIGRATION_MODULES = {{"crm": "history.crm", "people": None}}\n',
        "crm/__init__.py": "",
        "crm/apps.py": "class CrmConfig(AppConfig):\n    name = 'crm'\nclass Other(AppConfig):\n    label = 'other'\n",
        "history/crm/__init__.py": "",
        "history/crm/0001_initial.py": migration(USER),
    }
    root = project(tmp_path, files, base="back end")
    found = read_graph(root, "back end")
    assert found.history.files[0].path == "back end/history/crm/0001_initial.py"
    assert found.labels == {"crm", "shop"}


def test_ways_back_as_far_as_literals_tell(tmp_path: Path) -> None:
    noop, raises = "def back(apps, editor):\n    '''Nothing.'''\n", "def back(apps, editor):\n    raise ValueError\n"
    run, fill = "migrations.RunPython(fill, back)", "def fill(a, b):\n    print(a)\n"
    both = "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL('DELETE FROM shop_order')])"
    cases = {
        "0003": (data_migration()["shop/migrations/0003_fill.py"], "empty"),
        "0004": (irreversible()["shop/migrations/0003_fill.py"], "refuses"),
        "0005": (migration(run, top=fill + noop), "empty"),
        "0006": (migration(run, STATUS, top=fill + noop), "yes"),
        "0007": (migration(run, top=fill + raises), "refuses"),
        "0008": (migration(both), "refuses"),
        "0009": (migration("migrations.RunSQL('DELETE FROM x', migrations.RunSQL.noop)"), "empty"),
        "0010": (migration("migrations.RunSQL(['A'], reverse_sql=['B'])"), "yes"),
        "0011": (migration(), "yes"),
        "0012": (migration("*COMPUTED"), "yes"),
        "0013": (migration("migrations.RunPython(migrations.RunPython.noop, lambda a, b: None)"), "yes"),
    }
    last = "0002_total"
    files = {}
    for number, (text, _) in cases.items():
        empty = text.index("dependencies = [")
        rest = text[text.index("]", empty) :]
        files[f"shop/migrations/{number}_x.py"] = f"{text[:empty]}dependencies = [('shop', '{last}'){rest}"
        last = f"{number}_x"
    history = graph(tmp_path, files).history
    found = {
        number: "empty" if f"shop.{number}_x" in history.empty_downgrades
        else "refuses" if f"shop.{number}_x" in history.irreversible else "yes"
        for number in cases
    }  # fmt: skip
    assert found == {number: way for number, (_, way) in cases.items()}


def rows(*names: str) -> list[tuple[str, str]]:
    """Rows of django_migrations."""
    return [(name.split(".")[0], name.split(".")[1]) for name in names]


def test_a_squash_stands_for_what_it_replaces(tmp_path: Path) -> None:
    found = graph(tmp_path, squashed())
    squash = "shop.0001_squashed_0002_total"
    assert names(found.history) == ["people.0001_initial", squash, "shop.0003_status"]
    parents = {file.revision: file.parents for file in found.history.files}
    assert (parents[squash], parents["shop.0003_status"]) == (("people.0001_initial",), (squash,))
    # Django's record of it is the record of what it replaces.
    assert found.had(rows(*FIRST)) == ("people.0001_initial", squash)
    assert found.had(rows(*FIRST, squash)) == ("people.0001_initial", squash)
    assert found.had(rows("people.0001_initial", squash)) == ("people.0001_initial",)
    with pytest.raises(
        ToolRetry, match=r"1 of the 2 migrations that shop.0001_squashed_0002_total replaces .*0002_total"
    ):
        found.had(rows(*FIRST[:2]))
    for path in ("0001_initial", "0002_total"):
        (tmp_path / f"shop/migrations/{path}.py").unlink()
    assert names(read_graph(tmp_path, "").history) == names(found.history)
    both = '("shop", "0001_initial"), ("shop", "0002_total")'
    with pytest.raises(ToolRetry, match="both replace shop"):
        graph(tmp_path, {**squashed(), **shop("0001_again", ORDER, TOTAL, after=(BUYER,), replaces=both)})


def test_other_apps_are_left_out_and_names_without_a_file_stay(tmp_path: Path) -> None:
    found = graph(tmp_path)
    assert found.had([]) == ()
    assert found.had(rows("auth.0001_initial", *FIRST, "sessions.0001_initial")) == FIRST
    # Another branch went further: the database is ahead of these files.
    assert found.had(rows(*FIRST, "shop.0003_theirs")) == (*FIRST, "shop.0003_theirs")


@pytest.mark.parametrize(
    ("written", "engines", "variables"),
    [
        (
            '{"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["DB_NAME"], '
            '"HOST": os.getenv("DB_HOST", "db"), "OPTIONS": {"sslmode": os.environ["SSL"]}}}',
            ["postgresql"],
            {"DB_NAME": "NAME", "DB_HOST": "HOST"},
        ),
        (
            '{"default": dj_database_url.config(default="sqlite:///db.sqlite3")}',
            ["sqlite"],
            {"DATABASE_URL": "URL"},
        ),
        (
            '{"default": env.db("MAIN_URL", default="clickhouse://x/y")}',
            ["an engine that is not known here (clickhouse)"],
            {"MAIN_URL": "URL"},
        ),
        ('{"default": dj_database_url.parse(os.environ["PG_URL"])}', [], {"PG_URL": "URL"}),
        (
            '{"default": {"ENGINE": config("DB_ENGINE", default="django.db.backends.mysql")}}',
            ["MySQL"],
            {"DB_ENGINE": "ENGINE"},
        ),
        ("{}\nDATABASES['default'] = env.db_url()", [], {"DATABASE_URL": "URL"}),
        ("{}\nURL = os.environ['THE_URL']\nDATABASES['default'] = parse(URL)", [], {"THE_URL": "URL"}),
    ],
)
def test_what_databases_is_made_of(tmp_path: Path, written: str, engines: list[str], variables: dict[str, str]) -> None:
    found = read_settings(project(tmp_path, databases=written), "")
    assert ([engine_of(text) for text in found.engines], found.variables) == (engines, variables)
    assert (found.module, found.secrets) == ("project.settings", ("DJANGO_SECRET_KEY",))


def test_settings_in_parts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "manage.py": MANAGE.replace("project.settings", "config.settings.local"),
            "config/settings/__init__.py": "",
            "config/settings/base.py": "AUTH_USER_MODEL = 'a.User'\nLOCAL = ['x']\nDATABASES = {'default': env.db()}\n",
            "config/settings/local.py": "from .base import *\nAUTH_USER_MODEL = 'b.User'\n",
            "config/settings/parts/db.py": "X = 'django.contrib.auth'\n",
        },
    )
    found = read_settings(tmp_path, "")
    assert found.values["AUTH_USER_MODEL"] == "b.User"
    assert found.variables == {"DATABASE_URL": "URL"}
    assert CONTRIB[1] in found.texts
