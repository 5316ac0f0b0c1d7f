"""Django on both engines."""

from functools import partial
from pathlib import Path

from django_projects import LIVE, conflict, merged, project, shop
from migrations.cases import (
    CLEAN,
    FAILED,
    FINDINGS,
    HALF_WAY,
    IRREVERSIBLE,
    LOSSY,
    NOT_REHEARSED,
    RACING,
    SAFE,
    STRUCTURE,
    UNSAFE,
    Case,
    Verdict,
)
from sql_projects import POSTGRESQL, SQLITE

_DATABASES = {
    SQLITE: LIVE,
    POSTGRESQL: '{"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "localhost"}}',
}


def _lay(dialect: str, root: Path) -> Path:
    """People and orders: people.0001, shop.0001 and shop.0002."""
    return project(root, databases=_DATABASES[dialect])


def _case(
    dialect: str,
    kind: str,
    name: str,
    must: Verdict,
    *operations: str,
    top: str = "",
    extra: str = "",
    files: dict[str, str] | None = None,
) -> Case:
    """A case of one new migration of the app shop, or of `files`."""
    new = shop("0003_new", *operations, top=top, extra=extra) if files is None else files
    return Case(name, "django", dialect, kind, must, partial(_lay, dialect), new)


_lite, _pg = partial(_case, SQLITE), partial(_case, POSTGRESQL)
_NOTE = 'migrations.AddField("order", "note", models.TextField(null=True))'
_CLOSE = "def run(apps, editor):\n    apps.get_model('shop', 'Order').objects.{}\n"

DJANGO: tuple[Case, ...] = (
    _lite(SAFE, "add-nullable-field", Verdict(CLEAN), _NOTE),
    _lite(
        SAFE,
        "add-model",
        Verdict(CLEAN),
        'migrations.CreateModel("Coupon", [("id", models.BigAutoField(primary_key=True)), '
        '("code", models.CharField(max_length=20, unique=True))])',
    ),
    _lite(
        SAFE,
        "fill-a-new-field",
        Verdict(CLEAN, "data-in-schema-migration"),
        _NOTE,
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top=_CLOSE.format("filter(note=None).update(note='')"),
    ),
    _lite(
        SAFE,
        "widen",
        Verdict(CLEAN, "alter-field"),
        'migrations.AlterField("order", "status", models.CharField(max_length=20))',
    ),
    _lite(
        UNSAFE,
        "required-field-without-default",
        Verdict(FAILED, "'up'"),
        'migrations.AddField("order", "note", models.CharField(max_length=20))',
    ),
    _lite(
        UNSAFE,
        "unique-without-dedupe",
        Verdict(FINDINGS, "unique-not-safe"),
        'migrations.AddConstraint("order", models.UniqueConstraint(fields=["status"], name="one_status"))',
    ),
    _lite(
        UNSAFE,
        "rename-in-place",
        Verdict(FINDINGS, "rename-column"),
        'migrations.RenameField("order", "status", "state")',
    ),
    _lite(
        IRREVERSIBLE,
        "python-without-a-way-back",
        Verdict(CLEAN, "is irreversible"),
        _NOTE,
        "migrations.RunPython(run)",
        top=_CLOSE.format("filter(note=None).update(note='')"),
    ),
    _lite(
        LOSSY,
        "remove-field",
        Verdict(FINDINGS, "column shop_order.total is dropped"),
        'migrations.RemoveField("order", "total")',
    ),
    _lite(LOSSY, "delete-model", Verdict(FINDINGS, "table shop_order is dropped"), 'migrations.DeleteModel("Order")'),
    _lite(
        LOSSY,
        "delete-in-python",
        Verdict(FINDINGS, "rows of shop_order are gone"),
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top=_CLOSE.format("filter(total__gt=1).delete()"),
    ),
    _lite(
        LOSSY,
        "delete-in-python-that-made-up-rows-lack",
        Verdict(FINDINGS, "shop_order"),
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top=_CLOSE.format("filter(status='cancelled').delete()"),
    ),
    _lite(
        LOSSY,
        "delete-in-a-loop",
        Verdict(FINDINGS, "Rows of shop_order are deleted"),
        "migrations.RunPython(forwards, migrations.RunPython.noop)",
        top="def forwards(apps, editor):\n    Order = apps.get_model('shop', 'Order')\n"
        "    for order in Order.objects.filter(status='cancelled'):\n        order.delete()\n",
    ),
    _lite(
        LOSSY,
        "delete-by-sql-in-python",
        Verdict(FINDINGS, "delete-rows"),
        "migrations.RunPython(forwards, migrations.RunPython.noop)",
        top="def forwards(apps, editor):\n    with editor.connection.cursor() as cursor:\n"
        "        cursor.execute(\"DELETE FROM shop_order WHERE status = 'cancelled'\")\n",
    ),
    _lite(
        SAFE,
        "fill-a-new-field-in-python",
        Verdict(CLEAN),
        _NOTE,
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top=_CLOSE.format("update(note='')"),
    ),
    _lite(
        SAFE,
        "empty-a-cache-in-python",
        Verdict(CLEAN),
        "migrations.RunPython(forwards, migrations.RunPython.noop)",
        top="from django.core.cache import cache\n\n\ndef forwards(apps, editor):\n    seen = {}\n    seen.update(a=1)\n"
        "    cache.delete('orders')\n",
    ),
    _lite(
        LOSSY,
        "overwrite-in-python",
        Verdict(FINDINGS, "values of shop_order.status"),
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top=_CLOSE.format("update(status='x')"),
    ),
    _lite(
        LOSSY,
        "delete-in-sql",
        Verdict(FINDINGS, "delete-rows"),
        "migrations.RunSQL(\"DELETE FROM shop_order WHERE status = 'cancelled'\", migrations.RunSQL.noop)",
    ),
    _lite(
        HALF_WAY,
        "second-operation-fails",
        Verdict(FAILED, "'up'"),
        _NOTE,
        'migrations.RunSQL("UPDATE shop_order SET nothing = 1", "")',
        extra="atomic = False",
    ),
    _lite(
        RACING,
        "loss-only-where-there-is-much",
        Verdict(FINDINGS, "shop_order"),
        "migrations.RunPython(run, migrations.RunPython.noop)",
        top="def run(apps, editor):\n    orders = apps.get_model('shop', 'Order').objects\n"
        "    if orders.count() > 1000:\n        orders.all().delete()\n",
    ),
    _lite(
        STRUCTURE,
        "two-leaves",
        Verdict(NOT_REHEARSED, "leaf"),
        files=conflict(),
    ),
    _lite(SAFE, "two-leaves-merged", Verdict(CLEAN), files=merged()),
    _lite(
        STRUCTURE,
        "missing-parent",
        Verdict(NOT_REHEARSED, "0002_gone"),
        files=shop("0003_new", _NOTE, after=("shop.0002_gone",)),
    ),
    _lite(
        STRUCTURE,
        "computed-dependency",
        Verdict(NOT_REHEARSED, "dependencies"),
        files=shop("0003_new", _NOTE, after=("('shop', max(['0002_total']))",)),
    ),
    _pg(SAFE, "add-nullable-field", Verdict(CLEAN), _NOTE),
    _pg(
        SAFE,
        "concurrent-index",
        Verdict(CLEAN),
        'AddIndexConcurrently("order", models.Index(fields=["status"], name="by_status"))',
        top="from django.contrib.postgres.operations import AddIndexConcurrently\n",
        extra="atomic = False",
    ),
    _pg(
        UNSAFE,
        "index-that-blocks-writes",
        Verdict(FINDINGS, "index-not-concurrent"),
        'migrations.AddIndex("order", models.Index(fields=["status"], name="by_status"))',
    ),
    _pg(
        UNSAFE,
        "type-change-that-rewrites",
        Verdict(FINDINGS, "total"),
        'migrations.AlterField("order", "total", models.BigIntegerField(default=0))',
    ),
    _pg(
        LOSSY,
        "shorten",
        Verdict(FAILED, "'up'"),
        'migrations.AlterField("order", "status", models.CharField(max_length=4))',
    ),
)
