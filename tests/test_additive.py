"""What counts as adding only: by the text of a migration, and by what a rehearsal saw."""

from dataclasses import replace

import pytest
import scenario

from backend_crew.tools.additive import added_only, adds_only
from backend_crew.tools.facts import DatabaseFacts, TableFacts

HEAD = 'import sqlalchemy as sa\nfrom alembic import op\n\nrevision: str = "2"\ndown_revision = "1"\n\n\n'
WIDE = (
    "from typing import Sequence, Union\n\nimport sqlalchemy as sa\nfrom alembic import op\nfrom sqlalchemy.dialects import "
    "postgresql\nfrom sqlalchemy.dialects.postgresql import TIMESTAMP\n\nrevision: str = '2'\nSCHEMA = 'shop'\n"
    "down_revision: Union[str, Sequence[str], None] = '1'\n\n\n"
)
DOWN = '\n\ndef downgrade() -> None:\n    op.drop_table("t")\n'


def migration(*body: str, head: str = HEAD, down: str = DOWN) -> str:
    """A migration with this upgrade()."""
    return head + "def upgrade() -> None:\n" + "".join(f"    {line}\n" for line in body) + down


@pytest.mark.parametrize(
    "body",
    [
        ('op.add_column("t", sa.Column("a", sa.Boolean(), nullable=False, server_default=sa.false()))',),
        ('op.add_column("t", sa.Column("a", sa.DateTime, server_default=sa.func.now()))',),
        ('"""Words."""', 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))', "pass"),
        ('op.create_table("t", sa.Column("k", sa.ForeignKey("u.id", ondelete="CASCADE"), nullable=False))',),
        ('op.create_index(op.f("ix_t_a"), "t", ["a"], unique=False)', 'op.create_index("i", "t", [sa.text("a DESC")])'),
        ('op.add_column("t", sa.Column("n", sa.Numeric(10, 2), server_default=sa.text("-1")))',),
        ('op.add_column("t", sa.Column("a", sa.String(9), comment="cents (of a euro); never negative"))',),
        (
            'op.create_table("u", sa.Column("j", postgresql.JSONB(astext_type=sa.Text())), sa.CheckConstraint("n in (1, 2)"))',
        ),
        ('op.create_index("i", "t", [sa.text("lower(a)")], postgresql_where=sa.text("a IS NOT NULL"))',),
        (
            'op.add_column("t", sa.Column("at", TIMESTAMP(), server_default=sa.text("(datetime(\'now\'))")), schema=SCHEMA)',
        ),
    ],
)
def test_adding_operations_add_only(body: tuple[str, ...]) -> None:
    assert adds_only(migration(*body, head=WIDE))


def test_the_scenarios_own_migrations_are_judged_right() -> None:
    assert adds_only(scenario.SECOND)
    assert adds_only(scenario.FIRST)


ADD = 'op.add_column("t", sa.Column("a", sa.Integer))'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not python at all",
        HEAD + DOWN,
        migration("pass"),
        migration('op.drop_column("t", "a")'),
        migration('op.alter_column("t", "a", nullable=False)'),
        migration('op.rename_table("t", "u")'),
        migration(ADD, 'op.execute("DELETE FROM t")'),
        migration(ADD, 'op.bulk_insert(t, [])'),
        migration(ADD, 'op.get_bind().exec_driver_sql("DROP TABLE t")'),
        migration('with op.batch_alter_table("t") as b:', '    b.drop_column("a")'),
        migration(f"if True:\n        {ADD}"),
        migration(f"for _ in (1,):\n        {ADD}"),
        migration(ADD, "import os"),
        migration(ADD, 'x = op.execute("DELETE FROM t")'),
        migration('op.add_column("t", eval("1"))'),
        migration('op.add_column("t", __import__("os").system("id"))'),
        migration('op.add_column("t", sa.Column("a", (lambda: 1)()))'),
        migration('op.add_column("t", sa.Column("a", [op.execute(x) for x in "ab"]))'),
        migration('op.add_column("t", sa.Column(f"{op.drop_table(1)}"))'),
        migration('op.add_column("t", op.drop_column("t", "a"))'),
        migration('op.add_column("t", sa.event.listen(1))'),
        migration('op.add_column("t", **open("x"))'),
        migration('op.add_column(*open("x"))'),
        migration('op.add_column("t", sa.Column("a")) or op.drop_table("t")'),
        migration('other.add_column("t", sa.Column("a"))'),
        migration(ADD, head=HEAD + "import os\n"),
        migration(ADD, head=HEAD + "from app import ops\n"),
        migration(ADD, head=HEAD + "from . import op\n"),
        migration(ADD, head=HEAD + "from alembic import *\n"),
        migration(ADD, head=HEAD + 'op.execute("DELETE FROM t")\n'),
        migration(ADD, head=HEAD + "op = 1\n"),
        migration(ADD, head=HEAD + "a.b = 1\n"),
        migration(ADD, head=HEAD + "x: print(1) = 2\n"),
        migration(ADD, head=HEAD + "if 1:\n    pass\n"),
        migration(ADD, head=HEAD + "class A:\n    pass\n"),
        migration(ADD, head=HEAD + "def helper() -> None:\n    pass\n"),
        migration(ADD, down="\n\ndef downgrade(x=print(1)) -> None:\n    pass\n"),
        migration(ADD, down="\n\ndef downgrade() -> print(1):\n    pass\n"),
        migration(ADD, down="\n\n@print\ndef downgrade() -> None:\n    pass\n"),
        migration(ADD, down=DOWN + '\n\ndef upgrade() -> None:\n    op.drop_table("t")\n'),
        migration(ADD).replace("def upgrade", "async def upgrade"),
        "(" * 500,
    ],
)  # fmt: skip
def test_whatever_else_is_there_is_not_known_to_add_only(text: str) -> None:
    assert not adds_only(text)


def with_import(line: str, *body: str) -> str:
    """A migration with one more import."""
    return migration(*body, head=f"{line}\n{HEAD}")


TRIGGER = "CREATE TRIGGER bomb AFTER INSERT ON/**/t BEGIN DELETE FROM t; END"


@pytest.mark.parametrize(
    "text",
    [
        with_import("from alembic.op import execute as Text", f'op.create_index("i", "t", ["a"], info=Text("{TRIGGER}"))'),
        with_import("from alembic.op import execute as TEXT", f'op.create_index("i", "t", ["a"], info=TEXT("{TRIGGER}"))'),
        with_import("from alembic import op as Column", f'op.add_column("t", Column.text("{TRIGGER}"))'),
        with_import("import alembic.op as Text", ADD),
        with_import("import alembic", ADD),
        with_import("import sqlalchemy as op", ADD),
        with_import("import sqlalchemy as Text", ADD),
        with_import("from alembic import context", ADD),
        with_import("from sqlalchemy import create_engine as Column", ADD),
        with_import("from sqlalchemy import event", ADD),
        with_import("from sqlalchemy import DDL", ADD),
        with_import("from sqlalchemy.sql import text", ADD),
        with_import("from sqlalchemy.dialects import postgresql as Text", ADD),
        with_import("from sqlalchemy.dialects.postgresql import UUID as Column", ADD),
        with_import("from sqlalchemy.dialects.postgresql.base import UUID", ADD),
        with_import("from sqlalchemy.dialects.postgresql import insert", ADD),
        with_import("from typing import cast", ADD),
        migration(f'op.create_table("u", sa.Column("a"), listeners=[("after_create", sa.DDL("{TRIGGER}"))])'),
        migration('op.create_table("u", sa.Column("a"), listeners=[("after_create", downgrade)])'),
        migration('op.create_table("u", sa.Column("a", eval))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.func.DBLINK_EXEC("DELETE FROM t")))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.text("dblink_exec(\'DELETE FROM t\')")))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.text("\\"dblink_exec\\" (\'x\')")))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.text("pg_catalog.lo_unlink(1)")))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.text("0; DELETE FROM t")))'),
        migration('op.add_column("t", sa.Column("a", sa.Integer, server_default=sa.text("lo_unlink/**/(1)")))'),
        migration('op.add_column("t", sa.Column("a", postgresql.INTERVAL(fields="DAY; DELETE FROM t")))', head=WIDE),
        migration('op.add_column("t", sa.Column("a", sa.Integer, sa.Computed("1 / b")))'),
        migration('op.add_column("t", sa.Column("a", sa.event.Text(1)))'),
        migration('op.add_column("t", sa.Column("a", sa.sql.text("1")))'),
        migration('op.add_column("t", Column("a", sa.Integer))'),
        migration('op.add_column("t", op.Column("a"))'),
        migration(ADD, head=HEAD + 'sa = "x"\n'),
        migration(ADD, head=HEAD + 'postgresql = "x"\n'),
        migration('op.add_column(WHERE, sa.Column("a"))', head=HEAD + 'WHERE = "t; DROP TABLE t"\n'),
        migration(ADD, head=HEAD + "x: op.get_bind = 2\n"),
        migration(ADD, head=HEAD + "x: sa.event[1] = 2\n"),
    ],
)  # fmt: skip
def test_under_another_name_or_inside_a_string_nothing_counts_as_describing(text: str) -> None:
    assert not adds_only(text)


T = TableFacts(2, {"id": 2}, {"id": 7})
BEFORE = DatabaseFacts(("1",), ("column t.id INTEGER KEY 1", "table t"), {"t": T}, {})


def after(*lines: str, **tables: TableFacts) -> DatabaseFacts:
    """The database before, with more schema lines and other tables."""
    return replace(BEFORE, schema=tuple(sorted((*BEFORE.schema, *lines))), tables={"t": T, **tables})


def test_what_is_there_besides_what_was_there_is_added() -> None:
    assert added_only(BEFORE, BEFORE)
    wider = TableFacts(2, {"id": 2, "a": 2}, {"id": 7, "a": 1})
    rule = "foreign key u references t update NO ACTION delete CASCADE: t>id"
    lines = ("column t.a BOOLEAN NOT NULL DEFAULT 0", "index i on t (a desc, id)", "table u", "unique on u (x)", rule)
    assert added_only(BEFORE, after(*lines, "column u.x INTEGER NOT NULL", "check u: x > 1", t=wider))
    assert added_only(BEFORE, after("foreign key t references u update NO ACTION delete NO ACTION: a>id", t=wider))


@pytest.mark.parametrize(
    "found",
    [
        replace(BEFORE, schema=("table t",)),
        replace(BEFORE, tables={}),
        after(t=TableFacts(1, {"id": 1}, {"id": 7})),
        after(t=TableFacts(3, {"id": 3}, {"id": 9})),
        after(t=TableFacts(2, {"id": 2}, {"id": 8})),
        after(t=TableFacts(2, {"id": 2}, None)),
        after(t=TableFacts(2, {}, {})),
        after("unique u on t (id)"),
        after("check t: id > 1"),
        after("trigger gone: create trigger gone after insert on t begin delete from t; end"),
        after("trigger gone: create trigger gone after insert on/**/t begin delete from t; end"),
        after("trigger gone: create trigger gone after insert on u begin delete from t; end", "table u"),
        after("trigger gone on u: create trigger gone after insert on u execute function f()", "table u"),
        after("view v: create view v as select * from t"),
        after("materialized view v: select * from t"),
        after("table v: create virtual table v using fts5(x)"),
        after("table u inherits t"),
        after("policy p on t: permissive r to public using false with check none"),
        after("function f(): create function f() …"),
        after("grant SELECT on table t to public"),
        after("column t.g INTEGER GENERATED", t=TableFacts(2, {"id": 2, "g": 2}, {"id": 7, "g": 1})),
        after("column t.g INTEGER NOT NULL", t=TableFacts(2, {"id": 2, "g": 2}, {"id": 7, "g": 1})),
        after("column t.g INTEGER NOT NULL DEFAULT NULL", t=TableFacts(2, {"id": 2, "g": 2}, {"id": 7, "g": 1})),
        after("unique u on t (id) create unique index u on/**/t(id) where id > 1"),
        after("index i on t (id) create index i on/**/t(id) where json(id)"),
        after("index i on t ((expression)) create index i on t(json(id))"),
        after("index i on t (id) WHERE (1 / id) > 0"),
        after("foreign key t references u update NO ACTION delete NO ACTION: id>id", "table u"),
    ],
)
def test_what_is_gone_changed_or_ruled_is_no_addition(found: DatabaseFacts) -> None:
    assert not added_only(BEFORE, found)
