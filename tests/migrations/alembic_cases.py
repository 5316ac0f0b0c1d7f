"""Alembic on both engines."""

import shutil
from functools import partial
from pathlib import Path
from textwrap import indent

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

_SHOP = Path(__file__).parents[1] / "data" / "alembic_shop"
_VERSIONS = "migrations/versions"


def _lay(dialect: str, root: Path) -> Path:
    """users and orders, at a002; on PostgreSQL alembic.ini names one."""
    shutil.copytree(_SHOP, root)
    ini = root / "alembic.ini"
    if dialect == POSTGRESQL:
        ini.write_text(ini.read_text().replace("sqlite:///shop.db", "postgresql+psycopg://shop@localhost/shop"))
    return root


def revision(up: str, down: str | None, *, name: str = '"a003"', after: str = '"a002"', top: str = "") -> str:
    """The text of a revision; `name` and `after` as they are written."""
    parts = [
        f"import sqlalchemy as sa\nfrom alembic import context, op\n{top}\nrevision = {name}\ndown_revision = {after}\n"
    ]
    parts += [f"def upgrade() -> None:\n{indent(up, '    ')}\n"]
    parts += [] if down is None else [f"def downgrade() -> None:\n{indent(down, '    ')}\n"]
    return "\n\n".join(parts)


def _case(
    dialect: str,
    kind: str,
    name: str,
    must: Verdict,
    up: str,
    down: str | None = "pass",
    *more: tuple[str, str],
    top: str = "",
) -> Case:
    """A case of one new revision, and `more` files with their text."""
    files = {f"{_VERSIONS}/a003_new.py": revision(up, down, top=top)}
    files |= {f"{_VERSIONS}/{path}": text for path, text in more}
    return Case(name, "alembic", dialect, kind, must, partial(_lay, dialect), files)


_lite, _pg = partial(_case, SQLITE), partial(_case, POSTGRESQL)
_PHONE = ('op.add_column("users", sa.Column("phone", sa.String(30)))', 'op.drop_column("users", "phone")')


def _broken(name: str, said: str, *more: tuple[str, str], text: str = "") -> Case:
    """A folder of versions that Alembic would stumble over; nothing runs."""
    files = {f"{_VERSIONS}/{path}": content for path, content in more}
    if text:
        files[f"{_VERSIONS}/a003_new.py"] = text
    return Case(name, "alembic", SQLITE, STRUCTURE, Verdict(NOT_REHEARSED, said), partial(_lay, SQLITE), files)


ALEMBIC: tuple[Case, ...] = (
    _lite(SAFE, "add-nullable-column", Verdict(CLEAN), *_PHONE),
    _lite(
        SAFE,
        "rename-by-expand",
        Verdict(CLEAN),
        'op.add_column("users", sa.Column("display_name", sa.String(80)))\n'
        'op.execute("UPDATE users SET display_name = name WHERE display_name IS NULL")',
        'with op.batch_alter_table("users") as batch:\n    batch.drop_column("display_name")',
    ),
    _lite(
        SAFE,
        "add-required-column-in-a-batch",
        Verdict(CLEAN),
        'with op.batch_alter_table("orders") as batch:\n'
        '    batch.add_column(sa.Column("paid", sa.Boolean, nullable=False, server_default=sa.false()))',
        'with op.batch_alter_table("orders") as batch:\n    batch.drop_column("paid")',
    ),
    _lite(
        UNSAFE,
        "not-null-without-default",
        Verdict(FAILED, "'up'"),
        'op.add_column("users", sa.Column("phone", sa.String(30), nullable=False))',
        'op.drop_column("users", "phone")',
    ),
    _lite(
        UNSAFE,
        "unique-without-dedupe",
        Verdict(FINDINGS, "unique-not-safe"),
        'with op.batch_alter_table("users") as batch:\n    batch.create_unique_constraint("one_name", ["name"])',
        'with op.batch_alter_table("users") as batch:\n    batch.drop_constraint("one_name", type_="unique")',
    ),
    _lite(
        IRREVERSIBLE,
        "way-back-raises",
        Verdict(CLEAN, "is irreversible"),
        _PHONE[0],
        'raise NotImplementedError("there is no way back")',
    ),
    _lite(IRREVERSIBLE, "way-back-is-missing", Verdict(CLEAN, "is irreversible"), _PHONE[0], None),
    _lite(IRREVERSIBLE, "empty-way-back", Verdict(FAILED, "does not restore the schema"), _PHONE[0], "pass"),
    _lite(
        LOSSY,
        "drop-column-and-make-it-again",
        Verdict(FINDINGS, "column users.name is dropped"),
        'op.drop_column("users", "name")',
        'op.add_column("users", sa.Column("name", sa.String(80)))',
    ),
    _lite(
        LOSSY,
        "delete-by-an-expression",
        Verdict(FINDINGS, "rows of orders are gone"),
        'orders = sa.table("orders", sa.column("placed_at", sa.DateTime))\n'
        'op.execute(orders.delete().where(orders.c.placed_at < sa.literal("2001-01-01", sa.String)))',
    ),
    _lite(
        LOSSY,
        "delete-by-an-expression-that-made-up-rows-lack",
        Verdict(FINDINGS, "orders"),
        'orders = sa.table("orders", sa.column("total", sa.Numeric))\nop.execute(orders.delete().where(orders.c.total < 0))',
    ),
    _lite(
        LOSSY,
        "delete-through-the-connection",
        Verdict(FINDINGS, "delete-rows"),
        'orders = sa.table("orders", sa.column("total", sa.Numeric))\nbind = op.get_bind()\n'
        "doomed = sa.delete(orders).where(orders.c.total < 0)\nbind.execute(doomed)",
    ),
    _lite(
        LOSSY,
        "overwrite-by-an-expression",
        Verdict(FINDINGS, "update-without-where"),
        'users = sa.table("users", sa.column("name", sa.String))\nop.execute(users.update().values(name="x"))',
    ),
    _lite(
        SAFE,
        "repair-by-an-expression",
        Verdict(CLEAN),
        'users = sa.table("users", sa.column("name", sa.String))\n'
        'op.execute(users.update().where(users.c.name.is_(None)).values(name=""))',
    ),
    _lite(
        SAFE,
        "fill-a-new-column-by-an-expression",
        Verdict(CLEAN),
        'op.add_column("users", sa.Column("phone", sa.String(30)))\nusers = sa.table("users", sa.column("phone", sa.String))\n'
        'op.execute(users.update().values(phone=""))',
        'op.drop_column("users", "phone")',
    ),
    _lite(
        SAFE,
        "delete-from-what-it-makes",
        Verdict(CLEAN),
        'tags = op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))\n'
        'op.bulk_insert(tags, [{"name": "a"}, {"name": ""}])\nop.execute(tags.delete().where(tags.c.name == ""))',
        'op.drop_table("tags")',
    ),
    _lite(
        LOSSY,
        "text-to-integer",
        Verdict(FINDINGS, "values of users.name"),
        'with op.batch_alter_table("users") as batch:\n    batch.alter_column("name", type_=sa.Integer())',
        'with op.batch_alter_table("users") as batch:\n    batch.alter_column("name", type_=sa.String(80))',
    ),
    _lite(
        HALF_WAY,
        "second-operation-fails",
        Verdict(FAILED, "'up'"),
        f"{_PHONE[0]}\nop.execute(\"INSERT INTO users (id, email) VALUES (1, 'system@example.org')\")",
        _PHONE[1],
    ),
    _lite(
        RACING,
        "loss-only-where-there-is-much",
        Verdict(FINDINGS, "delete-without-where"),
        'bind = op.get_bind()\nif bind.execute(sa.text("SELECT count(*) FROM orders")).scalar() > 1000:\n'
        '    op.execute("DELETE FROM orders")',
    ),
    _lite(
        RACING,
        "another-thing-when-rendered",
        Verdict(FINDINGS, "the rendered SQL and the tool's own run differ"),
        f"if context.is_offline_mode():\n    {_PHONE[0]}\nelse:\n    {_PHONE[0].replace('String(30)', 'String(20)')}",
        _PHONE[1],
    ),
    _broken(
        "two-heads",
        "there are 2 heads",
        ("b003_other.py", revision("pass", "pass", name='"b003"')),
        text=revision(*_PHONE),
    ),
    _broken("missing-parent", "which no file in the versions folder has", text=revision(*_PHONE, after='"a00x"')),
    _broken("computed-revision", "computes revision", text=revision(*_PHONE, name='"a" + "003"')),
    _broken(
        "two-files-of-one-revision",
        "both have revision 'a002'",
        text=revision(*_PHONE, name='"a002"', after='"a001"'),
    ),
    _broken("circle", "follows itself", ("a001_users.py", revision("pass", "pass", name='"a001"', after='"a002"'))),
    _pg(
        SAFE,
        "concurrent-index",
        Verdict(CLEAN),
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("by_status", "orders", ["status"], postgresql_concurrently=True)',
        "with op.get_context().autocommit_block():\n"
        '    op.drop_index("by_status", "orders", postgresql_concurrently=True)',
    ),
    _pg(
        UNSAFE,
        "index-that-blocks-writes",
        Verdict(FINDINGS, "index-not-concurrent"),
        'op.create_index("by_status", "orders", ["status"])',
        'op.drop_index("by_status", "orders")',
    ),
    _pg(
        HALF_WAY,
        "fails-behind-an-autocommit-block",
        Verdict(FAILED, "'up'"),
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("by_status", "orders", ["status"], postgresql_concurrently=True)\n'
        'op.execute("ALTER TABLE orders ADD COLUMN status TEXT")',
        'op.drop_index("by_status", "orders")',
    ),
    _pg(
        RACING,
        "another-thing-when-rendered",
        Verdict(FINDINGS, "the rendered SQL and the tool's own run differ"),
        f"{_PHONE[0]}\nif not context.is_offline_mode():\n    op.execute(\"UPDATE users SET name = 'x' WHERE id = 1\")",
        _PHONE[1],
    ),
)
