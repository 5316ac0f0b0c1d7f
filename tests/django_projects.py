"""Small Django projects of the shapes that real ones have, written into a folder for tests."""

from pathlib import Path
from textwrap import dedent

MANAGE = """
import os, sys
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as exc:
        raise ImportError("Couldn't import Django.") from exc
    execute_from_command_line(sys.argv)
if __name__ == "__main__":
    main()
"""
SETTINGS = """
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
INSTALLED_APPS = [{apps}]
AUTH_USER_MODEL = "people.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {databases}
"""
CONTRIB = ("django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions")
LIVE = """{"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "live.sqlite3"}}"""
PEOPLE = """
from django.db import models
class User(models.Model):
    email = models.CharField(max_length=120, unique=True)
    name = models.CharField(max_length=80, null=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    is_anonymous = False
    is_authenticated = True
"""
SHOP = """
from django.conf import settings
from django.db import models
class Order(models.Model):
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="orders")
    status = models.CharField(max_length=10)
    total = models.IntegerField(default=0)
"""
FIELDS = '("id", models.BigAutoField(primary_key=True, serialize=False, auto_created=True, verbose_name="ID"))'
USER = f"""migrations.CreateModel("User", [{FIELDS}, ("email", models.CharField(max_length=120, unique=True)),
    ("name", models.CharField(max_length=80, null=True))])"""
ORDER = f"""migrations.CreateModel("Order", [{FIELDS}, ("status", models.CharField(max_length=10)),
    ("buyer", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="orders"))])"""
TOTAL = 'migrations.AddField("order", "total", models.IntegerField(default=0))'
STATUS = 'migrations.AlterField("order", "status", models.CharField(max_length=20))'
BUYER = "migrations.swappable_dependency(settings.AUTH_USER_MODEL)"


def write(root: Path, files: dict[str, str]) -> Path:
    """Writes these files below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(dedent(text).lstrip("\n"))
    return root


def migration(*operations: str, after: tuple[str, ...] = (), replaces: str = "", extra: str = "", top: str = "") -> str:
    """A migration file; `after` are its dependencies as they are written, "app.name" for short."""
    written = [one if "(" in one else "({!r}, {!r})".format(*one.split(".", 1)) for one in after]
    body = [f"    replaces = [{replaces}]"] if replaces else []
    body += [f"    {extra}"] if extra else []
    body += [f"    dependencies = [{', '.join(written)}]", f"    operations = [{', '.join(operations)}]"]
    head = f"from django.conf import settings\nfrom django.db import migrations, models\n{top}\n"
    return f"{head}class Migration(migrations.Migration):\n" + "\n".join(body) + "\n"


def project(
    root: Path,
    files: dict[str, str] | None = None,
    *,
    apps: tuple[str, ...] = ("people", "shop"),
    contrib: tuple[str, ...] = (),
    databases: str = LIVE,
    base: str = "",
) -> Path:
    """Two apps with a foreign key between them: people.0001_initial, shop.0001_initial and shop.0002_total."""
    start = f"{base}/" if base else ""
    named = ", ".join(map(repr, (*contrib, *apps)))
    plain = {
        "manage.py": MANAGE,
        "project/__init__.py": "",
        "project/settings.py": SETTINGS.format(apps=named, databases=databases),
        "people/__init__.py": "",
        "people/models.py": PEOPLE,
        "people/migrations/__init__.py": "",
        "people/migrations/0001_initial.py": migration(USER, extra="initial = True"),
        "shop/__init__.py": "",
        "shop/models.py": SHOP,
        "shop/migrations/__init__.py": "",
        "shop/migrations/0001_initial.py": migration(ORDER, after=(BUYER,), extra="initial = True"),
        "shop/migrations/0002_total.py": migration(TOTAL, after=("shop.0001_initial",)),
    }
    return write(root, {f"{start}{path}": text for path, text in {**plain, **(files or {})}.items()})


def shop(name: str, *operations: str, after: tuple[str, ...] = ("shop.0002_total",), **more: str) -> dict[str, str]:
    """One more migration of the app shop."""
    return {f"shop/migrations/{name}.py": migration(*operations, after=after, **more)}


DATA = "def fill(apps, editor):\n    apps.get_model('shop', 'Order').objects.filter(status='old').update(total=1)\n"


def data_migration() -> dict[str, str]:
    """shop.0003_fill: runs Python, and going back does nothing."""
    return shop("0003_fill", "migrations.RunPython(fill, migrations.RunPython.noop)", top=DATA)


def irreversible() -> dict[str, str]:
    """shop.0003_fill without a way back."""
    return shop("0003_fill", "migrations.RunPython(fill)", top=DATA)


def squashed() -> dict[str, str]:
    """shop.0001_squashed_0002_total in place of the two, whose files are still there, and shop.0003_status after them."""
    both = '("shop", "0001_initial"), ("shop", "0002_total")'
    return {
        **shop("0001_squashed_0002_total", ORDER, TOTAL, after=(BUYER,), replaces=both),
        **shop("0003_status", STATUS),
    }


def conflict() -> dict[str, str]:
    """Two branches of the app shop that nobody merged."""
    return {**shop("0003_status", STATUS), **shop("0003_note", "migrations.RunSQL('SELECT 1', '')")}


def merged() -> dict[str, str]:
    """The same with shop.0004_merge over both."""
    return {**conflict(), **shop("0004_merge", after=("shop.0003_status", "shop.0003_note"))}
