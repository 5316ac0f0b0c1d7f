"""The rules on migrations in Python: read as text, never run."""

from pathlib import Path

import pytest

from backend_crew.tools.lint_rules import RULES
from backend_crew.tools.migration_lint import lint_file, lint_files

ALEMBIC = "import sqlalchemy as sa\nfrom alembic import op\n\ndef downgrade():\n    op.drop_column('t', 'c')\n\ndef upgrade():\n"
DJANGO = "from django.db import migrations, models\n\nclass Migration(migrations.Migration):\n    operations = [\n"


def _alembic(body: str, dialect: str = "postgresql") -> set[tuple[str, str, int]]:
    """(rule, severity, line), the first line of the body being 1."""
    text = ALEMBIC + "".join(f"    {line}\n" for line in body.splitlines())
    return {(one.rule, one.severity, one.line - 7) for one in lint_file("v/a.py", text, "alembic", dialect)}


def _django(body: str, dialect: str = "postgresql", head: str = DJANGO) -> set[tuple[str, str, int]]:
    text = head + "".join(f"        {line}\n" for line in body.splitlines()) + "    ]\n"
    first = head.count("\n")
    return {(one.rule, one.severity, one.line - first) for one in lint_file("a/0002.py", text, "django", dialect)}


def _expected(*rules: str) -> set[tuple[str, str, int]]:
    """Rules with their lines, "rule:line", the line being 1 where none is given."""
    split = [rule.partition(":") for rule in rules]
    return {(name, RULES[name].severity, int(line or 1)) for name, _, line in split}


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("op.drop_table('t')", ["drop-table"]),
        ("op.drop_column('t', 'c')", ["drop-column"]),
        ("op.rename_table('t', 'u')", ["rename-table"]),
        ("op.alter_column('t', 'c', new_column_name='d')", ["rename-column"]),
        ("op.alter_column('t', 'c', type_=sa.Integer(), existing_type=sa.Text())", ["change-type"]),
        ("op.alter_column('t', 'c', type_=sa.Text())", ["widen-type"]),
        ("op.alter_column('t', 'c', nullable=False)", ["set-not-null"]),
        ("op.add_column('t', sa.Column('c', sa.Integer(), nullable=False))", ["add-not-null"]),
        ("op.add_column('t', make())", ["opaque-statement"]),
        ("op.create_index(op.f('i'), 't', ['c'])", ["index-not-concurrent"]),
        ("op.create_index('i', 't', ['c'], unique=True)", ["unique-not-safe"]),
        ("op.create_index('i', 't', ['c'], postgresql_concurrently=True)", ["needs-no-transaction"]),
        ("op.drop_index('i', 't')", ["drop-index-not-concurrent"]),
        ("op.create_unique_constraint('u', 't', ['c'])", ["unique-not-safe"]),
        ("op.create_foreign_key('f', 't', 'u', ['c'], ['id'])", ["foreign-key-not-safe"]),
        ("op.create_check_constraint('k', 't', 'c > 0')", ["check-not-safe"]),
        ("op.drop_constraint('k', 't')", ["drop-constraint"]),
        ("with op.batch_alter_table('t') as batch:\n    batch.drop_column('c')\n    batch.alter_column('d', nullable=False)",
         ["drop-column:2", "set-not-null:3"]),
        ("if True:\n    for one in ('a', 'b'):\n        op.drop_table(one)", ["drop-table:3"]),
        ("op.execute('DELETE FROM t')", ["delete-without-where"]),
        ("op.execute(sa.text(\n    '''\n    UPDATE t SET a = 1;\n    TRUNCATE u\n    ''',\n))",
         ["update-without-where:3", "truncate:4"]),
        ("op.execute('DROP ' 'TABLE t')", ["drop-table"]),
        ("op.execute('DROP TABLE ' + 't')", ["drop-table"]),
        ("op.execute(f'DROP TABLE {name}')", ["opaque-statement"]),
        ("op.execute('DROP TABLE %s' % name)", ["opaque-statement"]),
        ("op.execute('DROP TABLE {}'.format(name))", ["opaque-statement"]),
        ("op.execute(users.update().values(a=1))", ["data-in-schema-migration", "update-without-where"]),
        ("op.execute(users.update().where(users.c.a == 2).values(a=1))", ["data-in-schema-migration"]),
        ("op.add_column('users', sa.Column('a', sa.Integer()))\nusers = sa.table('users', sa.column('a'))\n"
         "op.execute(users.update().values({'a': 1}))",
         ["data-in-schema-migration:3", "mixed-data-schema:3", "backfill-in-one-statement:3"]),
        ("op.execute(users.delete())", ["data-in-schema-migration", "delete-rows"]),
        ("users = sa.table('users')\nop.execute(users.delete())",
         ["data-in-schema-migration:2", "delete-without-where:2"]),
        ("op.execute(sa.delete(User).where(User.id == 1))", ["data-in-schema-migration", "delete-rows"]),
        ("session = Session(bind=op.get_bind())\nfor one in session.query(User).filter(User.a == 1):\n    session.delete(one)",
         ["data-in-schema-migration:2", "delete-rows:3"]),
        ("db.session.delete(one)", ["delete-rows"]),
        ("Session().query(User).filter_by(a=1).delete(synchronize_session=False)", ["delete-rows"]),
        ("Session().query(User).update({User.a: 1})", ["update-without-where"]),
        ("new = op.create_table('new', sa.Column('a', sa.Integer()))\nop.execute(new.delete())",
         ["data-in-schema-migration:2"]),
        ("settings = {}\nsettings.update(a=1)\ncache.delete('key')", []),
        ("op.bulk_insert(users, [])\nop.add_column('t', sa.Column('c', sa.Integer()))", ["mixed-data-schema:2"]),
        ("bind = op.get_bind()\nfor row in bind.execute(rows):\n    bind.execute(users.insert(), row)\n"
         "op.add_column('t', sa.Column('c', sa.Integer()))",
         ["data-in-schema-migration:2", "data-in-schema-migration:3", "mixed-data-schema:4"]),
        ("bind = op.get_bind()\nbind.execute(sa.text('DELETE FROM t'))", ["delete-without-where:2"]),
        ("getattr(op, 'drop_table')('t')", ["opaque-statement"]),
        ("other = op\nother.drop_table('t')", ["opaque-statement"]),
        ("op.do_anything()", ["opaque-statement"]),
        ("imported_helper()", ["calls-function"]),
    ],
)  # fmt: skip
def test_alembic(body: str, rules: list[str]) -> None:
    assert _alembic(body) == _expected(*rules)


@pytest.mark.parametrize(
    "body",
    [
        "op.create_table('t', sa.Column('c', sa.Integer(), nullable=False))\nop.create_index('i', 't', ['c'])\n"
        "op.add_column('t', sa.Column('d', sa.Integer(), nullable=False))\nop.drop_table('t')",
        "op.add_column('t', sa.Column('c', sa.Integer(), nullable=False, server_default='0'))",
        "op.add_column('t', sa.Column('c', sa.Integer()))",
        "with op.get_context().autocommit_block():\n    op.create_index('i', 't', ['c'], postgresql_concurrently=True)",
        "op.create_check_constraint('k', 't', 'c > 0', postgresql_not_valid=True)",
        "op.execute('ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL) NOT VALID')\n"
        "with op.get_context().autocommit_block():\n    op.execute('ALTER TABLE t VALIDATE CONSTRAINT k')\n"
        "op.alter_column('t', 'c', nullable=False)",
        "op.execute('UPDATE t SET c = 2 WHERE id = 1')",
        "pass",
    ],
)
def test_alembic_that_is_safe(body: str) -> None:
    assert _alembic(body) == set()


def test_alembic_on_sqlite_has_no_concurrent_indexes() -> None:
    assert _alembic("op.create_index('i', 't', ['c'])\nop.drop_index('i', 't')", "sqlite") == set()
    assert _alembic("op.execute(\"ATTACH 'x' AS y\")", "sqlite") == _expected("attach-database")


def test_helpers_of_the_file_are_followed_and_op_by_another_name() -> None:
    text = (
        "from alembic import op as migrate\ndef upgrade():\n    _drop()\ndef _drop():\n    migrate.drop_table('t')\n"
        "def downgrade():\n    pass\n"
    )
    found = lint_file("v/a.py", text, "alembic", "sqlite")
    assert [(one.rule, one.line) for one in found] == [("drop-table", 5), ("no-way-back", 6)]


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("migrations.RemoveField('m', 'f'),", ["drop-column"]),
        ("migrations.DeleteModel('M'),", ["drop-table"]),
        ("migrations.RenameField('m', 'a', 'b'),", ["rename-column"]),
        ("migrations.RenameModel('M', 'N'),", ["rename-table"]),
        ("migrations.AlterModelTable('M', 'x'),", ["rename-table"]),
        ("migrations.AlterField('m', 'f', models.TextField(unique=True)),", ["alter-field"]),
        ("migrations.AddField('m', 'f', models.IntegerField()),", ["add-not-null"]),
        ("migrations.AddField('m', 'f', models.IntegerField(default=0)),", ["default-in-python-alone"]),
        ("migrations.AddField('m', 'f', models.IntegerField(null=True, unique=True)),", ["unique-not-safe"]),
        ("migrations.AddIndex('m', models.Index(fields=['f'])),", ["index-not-concurrent"]),
        ("AddIndexConcurrently('m', models.Index(fields=['f'])),", ["needs-no-transaction"]),
        ("migrations.AddConstraint('m', models.CheckConstraint(name='k')),", ["check-not-safe"]),
        ("migrations.AddConstraint('m', models.UniqueConstraint(name='k')),", ["unique-not-safe"]),
        ("migrations.RemoveConstraint('m', 'k'),", ["drop-constraint"]),
        ("migrations.AlterUniqueTogether('m', {('a', 'b')}),", ["unique-not-safe"]),
        ("migrations.RunPython(fill),", ["data-in-schema-migration", "no-way-back"]),
        ("migrations.RunPython(fill, migrations.RunPython.noop),", ["data-in-schema-migration"]),
        ("migrations.RunSQL('DELETE FROM t', migrations.RunSQL.noop),", ["delete-without-where"]),
        ("migrations.RunSQL([('DROP TABLE t', None)]),", ["drop-table", "no-way-back"]),
        ("migrations.RunSQL(f'{x}', ''),", ["opaque-statement"]),
        ("migrations.SeparateDatabaseAndState(\n    database_operations=[migrations.DeleteModel('M')],\n),",
         ["state-without-database", "drop-table:2"]),
        ("BtreeGistExtension(),", ["create-extension"]),
        ("OurOwnOperation(),", ["opaque-statement"]),
        ("*built,", ["opaque-statement"]),
        ("migrations.RunPython(fill, fill),\nmigrations.AddField('m', 'f', models.TextField(null=True)),",
         ["data-in-schema-migration", "mixed-data-schema:2"]),
    ],
)  # fmt: skip
def test_django(body: str, rules: list[str]) -> None:
    assert _django(body) == _expected(*rules)


@pytest.mark.parametrize(
    "body",
    [
        "migrations.CreateModel('M', fields=[]),\nmigrations.AddIndex('m', models.Index(fields=['f'])),\n"
        "migrations.AddField('m', 'f', models.IntegerField()),\nmigrations.DeleteModel('M'),",
        "migrations.AddField('m', 'f', models.IntegerField(db_default=0)),",
        "migrations.AddField(model_name='m', name='f', field=models.TextField(null=True)),",
        "migrations.AlterUniqueTogether('m', set()),",
        "migrations.AlterModelOptions('m', {}),",
    ],
)
def test_django_that_is_safe(body: str) -> None:
    assert _django(body) == set()


def test_django_without_a_transaction() -> None:
    head = DJANGO.replace("    operations", "    atomic = False\n    operations")
    found = _django("AddIndexConcurrently('m', models.Index(fields=['f'])),", head=head)
    assert found == {("not-atomic", "info", -1)}


@pytest.mark.parametrize(
    ("path", "text", "tool"),
    [
        ("a.py", "def upgrade(:", "alembic"),
        ("a.py", "x = 1", "alembic"),
        ("a.py", "x = 1", "django"),
        ("a.py", "class Migration:\n    operations = make()", "django"),
        ("a.rb", "drop_table :t", "rails"),
        ("a.py", "x\0", "alembic"),
        ("a.py", "def upgrade():\n    op.execute(" + "'a' + " * 960 + "'b')", "alembic"),
    ],
)
def test_what_cannot_be_read_is_a_red_flag(path: str, text: str, tool: str) -> None:
    assert {one.rule for one in lint_file(path, text, tool, "sqlite")} == {"opaque-statement"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", [("delete-without-where", 3)]),
        ("SQL = 'SELECT 1'\n", [("opaque-statement", 7)]),
        ("def make(SQL): pass\n", [("opaque-statement", 7)]),
        ("from somewhere import *\n", [("opaque-statement", 7)]),
        ("globals()['SQL'] = x\n", [("opaque-statement", 7)]),
    ],
)
def test_a_name_stands_for_a_text_only_where_nothing_else_can_set_it(
    more: str, expected: list[tuple[str, int]]
) -> None:
    text = (
        'from alembic import op\nSQL = """\nDELETE FROM t\n"""\n\ndef upgrade():\n    op.execute(SQL)\n'
        "def downgrade():\n    op.drop_column('t', 'c')\n"
    )
    assert [(one.rule, one.line) for one in lint_file("a.py", text + more, "alembic", "sqlite")] == expected


def test_nothing_of_a_migration_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\nfrom alembic import op\ndef upgrade():\n    op.drop_table('t')\n"
    assert "drop-table" in {one.rule for one in lint_file("a.py", text, "alembic", "sqlite")}
    assert not mark.exists()
    exec(text.partition("from")[0])  # the weak control: an import would have done it
    assert mark.exists()


def test_sql_files_are_linted_by_their_dialect() -> None:
    assert [one.rule for one in lint_file("1.sql", "VACUUM", "goose", "sqlite")] == [
        "maintenance",
        "needs-no-transaction",
    ]


def test_several_files_are_read_in_their_order_as_the_engine_that_they_are_for() -> None:
    files = [("m/1.sql", "DROP TABLE a;"), ("m/2.sql", "DELETE FROM b;"), ("m/3.sql", "SELECT 1;")]
    for engine in ("sqlite", "postgresql", "CockroachDB"):
        found = lint_files(files, "sql", engine)
        assert found is not None
        assert [one.path for one in found if one.severity == "error"] == ["m/1.sql", "m/2.sql"]
    assert lint_files([], "sql", "sqlite") == ()
    for unknown in ("mysql", "", "PostgreSQL"):
        assert lint_files(files, "sql", unknown) is None


def test_a_file_too_long_to_be_read_is_a_red_flag() -> None:
    found = lint_files([("m/1.sql", "SELECT 1;" + " " * 200_000)], "sql", "sqlite")
    assert found is not None
    assert [(one.rule, one.severity) for one in found] == [("opaque-statement", "error")]


BACK = "DROP TABLE users;\n"
INDEX = "CREATE INDEX CONCURRENTLY i ON t (a);\n"


@pytest.mark.parametrize(
    ("tool", "text", "lines"),
    [
        ("goose", f"-- +goose Up\nTRUNCATE a;\n-- +goose Down\n{BACK}", [2]),
        (
            "goose",
            f"-- +goose Up\nTRUNCATE a;\n-- +goose Down of it\n{BACK}",
            [2, 4],
        ),  # goose refuses it; none is hidden
        ("dbmate", f"-- migrate:up\nTRUNCATE a;\n-- migrate:down\n{BACK}", [2]),
        ("dbmate", f"-- migrate:up\n\n-- migrate:down\n{BACK}-- migrate:up\nTRUNCATE a;\n-- migrate:down\n{BACK}", [6]),
        ("dbmate", f"-- migrate:up\nTRUNCATE a;\n-- migrate:downwards\n{BACK}", [2, 4]),
        ("yoyo", f"-- +goose Down\n{BACK}-- migrate:down\n{BACK}", [2, 4]),  # what other tools read means nothing here
    ],
)
def test_the_way_back_in_the_same_file_is_not_linted_and_lines_stay(tool: str, text: str, lines: list[int]) -> None:
    found = lint_file("1.sql", text, tool, "postgresql")
    assert [one.line for one in found if one.rule in {"truncate", "drop-table"}] == lines


@pytest.mark.parametrize(
    ("tool", "text", "refused"),
    [
        ("goose", f"-- +goose Up\n{INDEX}", True),
        ("goose", f"-- +goose NO TRANSACTION\n-- +goose Up\n{INDEX}", False),
        ("dbmate", f"-- migrate:up\n{INDEX}\n-- migrate:down transaction:false\n", True),
        ("dbmate", f"-- migrate:up transaction:false\n{INDEX}\n-- migrate:down\n", False),
        ("yoyo", INDEX, True),
        ("yoyo", f"-- transactional: false\n{INDEX}", False),
        ("golang-migrate", INDEX, False),
        ("golang-migrate", f"{INDEX}SELECT 1;", True),
        ("prisma", INDEX, False),
        ("prisma", f"{INDEX}SELECT 1;", True),
        ("flyway", f"{INDEX}{INDEX}", False),
        ("flyway", f"{INDEX}SELECT 1;", True),
        ("drizzle", INDEX, True),
    ],
)
def test_sql_is_linted_as_its_tool_runs_it(tool: str, text: str, refused: bool) -> None:
    found = lint_file("1.sql", text, tool, "postgresql")
    assert ("needs-no-transaction" in {one.rule for one in found}) == refused


def test_a_table_that_an_earlier_pending_file_makes_is_in_nobodys_way() -> None:
    files = [
        ("m/1.up.sql", "CREATE TABLE notes (id bigint PRIMARY KEY, owner bigint);"),
        (
            "m/2.up.sql",
            "ALTER TABLE notes ADD CONSTRAINT one UNIQUE (owner);\nALTER TABLE users ADD CONSTRAINT two UNIQUE (email);",
        ),
    ]
    found = lint_files(files, "golang-migrate", "postgresql") or ()
    assert {(one.path, one.line) for one in found if one.rule == "unique-not-safe"} == {("m/2.up.sql", 2)}
    alone = lint_files(files[1:], "golang-migrate", "postgresql") or ()
    assert {one.line for one in alone if one.rule == "unique-not-safe"} == {1, 2}, "the control"


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("M.objects.filter(a=1).delete()", "delete-rows"),
        ("M.objects.all().delete()", "delete-without-where"),
        ("M._default_manager.using(alias).delete()", "delete-without-where"),
        ("rows = M.objects.all()\n    rows[:10].delete()", "delete-rows"),
        ("for one in M.objects.all():\n        one.delete()", "delete-rows"),
        ("helper(M)", "delete-rows"),
        ("M.objects.update(a=2)", "update-without-where"),
        ("M.objects.update(new='')", "backfill-in-one-statement"),
        ("M.objects.exclude(a=1).update(a=2)", ""),
        ("N.objects.all().delete()", ""),  # this migration makes it
        ("editor.execute('DELETE FROM app_m WHERE a = 1')", "delete-rows"),
        ("editor.execute(built)", ""),
        ("cache.delete('m')\n    {}.update(a=1)\n    M.objects.create(a=1)", ""),
        ("for one in M.objects.all():\n        one.a = 2\n        one.save()", ""),
    ],
)
def test_what_run_python_does_to_rows(code: str, rule: str) -> None:
    text = (
        "from django.db import migrations, models\n\n\ndef helper(model):\n    model.objects.filter(a=1).delete()\n\n\n"
        "def unused(apps, editor):\n    apps.get_model('app', 'M').objects.all().delete()\n\n\n"
        "def run(apps, editor):\n    M = apps.get_model('app', 'M')\n    N = apps.get_model('app.N')\n"
        f"    {code}\n\n\nclass Migration(migrations.Migration):\n    operations = [\n"
        "        migrations.CreateModel('N', fields=[]),\n"
        "        migrations.AddField('m', 'new', models.TextField(null=True)),\n"
        "        migrations.RunPython(run, unused),\n    ]\n"
    )
    found = {one.rule: one.text for one in lint_file("a/0002.py", text, "django", "sqlite")}
    assert set(found) - {"data-in-schema-migration", "mixed-data-schema"} == ({rule} if rule else set())
    assert not rule or "app_m" in found[rule] or "model." in found[rule]


def test_a_check_of_an_earlier_file_excuses_not_null_while_it_stands() -> None:
    added = "ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL) NOT VALID;"
    valid, needed = "ALTER TABLE t VALIDATE CONSTRAINT k;", "ALTER TABLE t ALTER COLUMN c SET NOT NULL;"
    for texts, excused in (
        ([added, valid + needed], True),
        ([added, valid, needed], True),
        ([added, needed], False),
        ([added, valid + "ALTER TABLE t DROP CONSTRAINT k;", needed], False),
        ([added.replace("(c ", "(d "), valid + needed], False),
    ):
        files = [(f"{number}.sql", text) for number, text in enumerate(texts)]
        found = lint_files(files, "goose", "postgresql") or ()
        assert ("set-not-null" not in {one.rule for one in found}) == excused, texts


def test_a_column_of_an_earlier_file_is_filled() -> None:
    fill = ("2.sql", "UPDATE t SET c = 1;")
    found = lint_files([("1.sql", "ALTER TABLE t ADD COLUMN c INT;"), fill], "goose", "postgresql") or ()
    assert [one.rule for one in found if one.path == "2.sql"] == ["backfill-in-one-statement"]
    assert [one.rule for one in lint_files([fill], "goose", "postgresql") or ()] == ["update-without-where"]
