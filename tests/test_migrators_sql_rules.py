"""Each tool's own rules for names, order, text and its own table: what is refused, what is named, and with which words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sql_projects import write
from sql_scratch import SqliteScratch

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.dialect_hint import dialect_hint
from backend_crew.tools.migrators.flyway import checksum, version_key
from backend_crew.tools.migrators.forms import closed, one_call
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Move, Script, Segment
from backend_crew.tools.migrators.sql import SqlMigrator

UP, DOWN = "-- migrate:up\n", "-- migrate:down\n"
GUP, GDOWN = "-- +goose Up\n", "-- +goose Down\n"
JOURNAL = '{"entries": [%s]}'


def made(root: Path, name: str, files: Mapping[str, str], config: str | None = None) -> SqlMigrator:
    """A migrator over these files in the folder m."""
    write(root, {f"m/{path}": text for path, text in files.items()})
    return SqlMigrator(root, MigrationTool(name, config, "m", False, (), "m:1"))


def entry(tag: str, when: int) -> str:
    return f'{{"tag": "{tag}", "when": {when}, "breakpoints": true}}'


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("goose", {"1_a.sql": GUP, "01_b.sql": GUP}, r"m/01_b\.sql and m/1_a\.sql both have version 1"),
        ("goose", {"1_a.sql": "SELECT 1;\n"}, r"m/1_a\.sql:1: there is SQL before"),
        ("goose", {"1_a.sql": "-- nothing\n"}, r"has no `-- \+goose Up`"),
        ("goose", {"1_a.sql": f"{GUP}SELECT 1\n{GDOWN}"}, r"m/1_a\.sql:3: the statement before it has no end"),
        ("goose", {"1_a.sql": f"{GUP}SELECT 1"}, r"m/1_a\.sql:2: the statement before it has no end"),
        ("goose", {"1_a.sql": f"{GUP}{GUP}"}, r"m/1_a\.sql:2: write one"),
        ("goose", {"1_a.sql": f"{GDOWN}{GUP}"}, r"m/1_a\.sql:1: write one"),
        ("goose", {"1_a.sql": f"{GUP}-- +goose Upp\n"}, r"m/1_a\.sql:2: '-- \+goose Upp' is none of goose's"),
        ("goose", {"1_a.sql": f"{GUP}  -- +goose Down\n"}, r"m/1_a\.sql:2: .* at a line's start"),
        ("goose", {"1_a.sql": f"{GUP}-- +goose StatementBegin\nSELECT 1;\n"}, "ends inside StatementBegin"),
        ("goose", {"1_a.sql": f"{GUP}-- +goose StatementEnd\n"}, r"m/1_a\.sql:2: StatementEnd does not fit"),
        ("golang-migrate", {"1_a.up.sql": "", "01_b.up.sql": ""}, "both have an up file of version 1"),
        ("golang-migrate", {"1_a.down.sql": "", "001_a.down.sql": ""}, "both have a down file of version 1"),
        ("dbmate", {"1_a.sql": UP}, r"m/1_a\.sql has the blocks \['up'\]"),
        ("dbmate", {"1_a.sql": f"{DOWN}{UP}"}, r"m/1_a\.sql has the blocks \['down', 'up'\]"),
        ("dbmate", {"1_a.sql": ""}, r"m/1_a\.sql has the blocks \[\]"),
        ("dbmate", {"1_a.sql": f"SELECT 1;\n{UP}{DOWN}"}, "has SQL before its first"),
        ("dbmate", {"1_a.sql": UP + DOWN, "1_b.sql": UP + DOWN}, r"m/1_a\.sql and m/1_b\.sql both have version 1"),
        ("yoyo", {"b.sql": "-- depends: a\n"}, r"m/b\.sql depends on 'a', and there is no such"),
        ("yoyo", {"a.sql": "-- depends: b\n", "b.sql": "-- depends: a\n"}, r"m/a\.sql, m/b\.sql depend on one another"),
        ("yoyo", {"a.sql": "-- transactional: maybe\n"}, "write true or false"),
        ("yoyo", {"a.sql": "", "a.py": ""}, r"m/a\.sql has the same name as m/a\.py"),
        ("flyway", {"V1__a.sql": "", "V1.0__b.sql": ""}, r"m/V1\.0__b\.sql and m/V1__a\.sql both have version 1"),
        ("flyway", {"U1__a.sql": "", "U01__b.sql": ""}, "both have version 1"),
        ("flyway", {"V1__a.sql": "", "flyway.toml": "x ="}, r"m/flyway\.toml is not TOML"),
        ("drizzle", {"0_a.sql": ""}, r"there is no m/meta/_journal\.json"),
        ("drizzle", {"meta/_journal.json": "{"}, r"m/meta/_journal\.json is not JSON"),
        ("drizzle", {"meta/_journal.json": "[]"}, 'has no list "entries"'),
        ("drizzle", {"meta/_journal.json": '{"entries": [{"tag": "../x", "when": 1}]}'}, "an entry needs a tag"),
        ("drizzle", {"meta/_journal.json": JOURNAL % entry("a", 1)}, r"lists a, and there is no m/a\.sql"),
        (
            "drizzle",
            {"meta/_journal.json": JOURNAL % f"{entry('a', 2)},{entry('b', 1)}", "a.sql": "", "b.sql": ""},
            "`when` of b is 1, and an entry before it has 2",
        ),
        (
            "drizzle",
            {"meta/_journal.json": JOURNAL % f"{entry('a', 1)},{entry('a', 2)}", "a.sql": ""},
            "lists a twice",
        ),
    ],
)
def test_what_the_tool_would_not_start_with_is_refused(
    tmp_path: Path, name: str, files: dict[str, str], message: str
) -> None:
    with pytest.raises(ToolRetry, match=message):
        made(tmp_path, name, files).history()


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("goose", {"a.sql": "", "0_z.sql": GUP}, "does not begin with a number above 0"),
        ("goose", {"1_a.go": "package m\n"}, "m/1_a.go is Go"),
        ("goose", {"1_a.sql": f"{GUP}-- +goose ENVSUB ON\nSELECT '${{A}}';\n"}, "takes values from the environment"),
        ("golang-migrate", {"a.sql": "", "1_a.up.sql": ""}, "m/a.sql is no NUMBER_name.up.sql"),
        ("golang-migrate", {"1_a.down.sql": ""}, "m/1_a.down.sql has no up file"),
        ("dbmate", {"a.sql": ""}, "m/a.sql does not begin with a number"),
        ("dbmate", {"1_a.sql": UP + DOWN, "10_b.sql": UP + DOWN}, "differ in length"),
        ("yoyo", {"a.rollback.sql": ""}, "m/a.rollback.sql has no migration"),
        ("yoyo", {"post-apply.sql": "SELECT 1"}, "post-apply files are run after every"),
        ("flyway", {"V1_a.sql": ""}, "m/V1_a.sql is no name that Flyway knows"),
        ("flyway", {"B1__a.sql": ""}, "m/B1__a.sql is a baseline file"),
        ("flyway", {"U1__a.sql": ""}, "m/U1__a.sql has no V file"),
        ("flyway", {"V1__a.java": "", "V2__b.sql": "SELECT '${schema}';"}, "m/V1__a.java is Java"),
        ("flyway", {"V2__b.sql": "SELECT '${schema}';"}, "placeholder ${schema}"),
        ("flyway", {"V2__b.sql": "", "V2__b.sql.conf": "shouldExecute=${x}==1"}, "shouldExecute"),
        ("prisma", {"loose.sql": ""}, "m/loose.sql is not NAME/migration.sql"),
        ("drizzle", {"meta/_journal.json": JOURNAL % "", "a.sql": ""}, "m/a.sql is not in m/meta/_journal.json"),
        (
            "drizzle",
            {
                "meta/_journal.json": JOURNAL.replace("{", '{"dialect": "sqlite", ', 1) % entry("a", 1),
                "a.sql": "SELECT 1;SELECT 2",
            },
            "several statements between two breakpoints",
        ),
    ],
)
def test_what_would_never_run_is_named(tmp_path: Path, name: str, files: dict[str, str], message: str) -> None:
    migrator = made(tmp_path, name, files)
    assert any(message in warning for warning in migrator.warnings), migrator.warnings
    history = migrator.history()
    for file in history.files:
        step = migrator.loaded.by_revision()[file.revision]
        script = migrator.script(SQLITE, Move((), (), (file,)), "up")
        assert (script == step.refused) if step.refused else isinstance(script, Script)


@pytest.mark.parametrize(
    ("name", "names", "order"),
    [
        ("goose", {"10_a.sql": GUP, "9_b.sql": GUP, "001_c.sql": GUP}, ["1", "9", "10"]),
        ("golang-migrate", {"10_a.up.sql": "", "9_b.up.sql": "", "001_c.up.sql": ""}, ["1", "9", "10"]),
        ("dbmate", {"10_a.sql": UP + DOWN, "9_b.sql": UP + DOWN}, ["10", "9"]),
        (
            "flyway",
            {f"V{version}__x.sql": "" for version in ("2", "1_10", "1.9", "1")} | {"R__b.sql": "", "R__a_z.sql": ""},
            ["1", "1.9", "1.10", "2", "R a z", "R b"],
        ),
        (
            "yoyo",
            {"1.sql": "-- depends: 4\n", "2.sql": "", "3.sql": "--depends: 1\n-- depends: 2", "4.sql": "", "5.sql": ""},
            ["2", "4", "1", "3", "5"],
        ),
        ("prisma", {"2_b/migration.sql": "", "10_a/migration.sql": "", "readme/x.md": ""}, ["10_a", "2_b"]),
        (
            "drizzle",
            {"meta/_journal.json": JOURNAL % f"{entry('z', 1)},{entry('a', 2)}", "a.sql": "", "z.sql": ""},
            ["z", "a"],
        ),
    ],
)
def test_order(tmp_path: Path, name: str, names: dict[str, str], order: list[str]) -> None:
    history = made(tmp_path, name, names).history()
    assert [file.revision for file in history.files] == order
    assert history.files[-1].revision in history.heads


def test_yoyo_itself_orders_them_so(tmp_path: Path) -> None:
    yoyo = pytest.importorskip("yoyo", reason="yoyo is not installed")
    files = {"1.sql": "-- depends: 4\n", "2.sql": "", "3.sql": "--depends: 1\n-- depends: 2", "4.sql": "", "5.sql": ""}
    migrator = made(tmp_path, "yoyo", files)
    theirs = yoyo.migrations.topological_sort(yoyo.read_migrations(str(tmp_path / "m")))
    assert [file.revision for file in migrator.history().files] == [one.id for one in theirs]


@pytest.mark.parametrize(
    ("name", "files", "empty", "irreversible"),
    [
        ("goose", {"1_a.sql": f"{GUP}SELECT 1;\n", "2_b.sql": f"{GUP}SELECT 1;\n{GDOWN}-- no\n"}, {"2"}, {"1"}),
        ("golang-migrate", {"1_a.up.sql": "SELECT 1", "2_b.up.sql": "SELECT 1", "2_b.down.sql": "-- no"}, {"2"}, {"1"}),
        ("dbmate", {"1_a.sql": f"{UP}SELECT 1;\n{DOWN}\n", "2_b.sql": f"{UP}{DOWN}"}, {"1"}, set()),
        ("yoyo", {"1.sql": "SELECT 1", "2.sql": "SELECT 1", "2.rollback.sql": "-- no"}, {"2"}, {"1"}),
        ("flyway", {"V1__a.sql": "SELECT 1", "V2__b.sql": "SELECT 1", "U2__b.sql": ""}, {"2"}, {"1"}),
    ],
)
def test_ways_back_that_are_none(
    tmp_path: Path, name: str, files: dict[str, str], empty: set[str], irreversible: set[str]
) -> None:
    history = made(tmp_path, name, files).history()
    assert set(history.empty_downgrades) == empty and set(history.irreversible) == irreversible


def segments(migrator: SqlMigrator, dialect: str, direction: str = "up") -> Sequence[Segment]:
    """What runs, without making the tool's own table."""
    history = migrator.history()
    script = migrator.script(dialect, Move(("x",), (), history.files), direction)
    assert isinstance(script, Script), script
    return script.segments


CONCURRENTLY = "CREATE INDEX CONCURRENTLY a ON b (c);\n"


@pytest.mark.parametrize(
    ("name", "files", "dialect", "expected"),
    [
        ("goose", {"1_a.sql": f"{GUP}SELECT 1;\nSELECT 2;\n"}, POSTGRESQL, [True]),
        ("goose", {"1_a.sql": f"-- +goose NO TRANSACTION\n{GUP}{CONCURRENTLY}SELECT 2;\n"}, POSTGRESQL,
         [False, False, True]),
        ("golang-migrate", {"1_a.up.sql": "SELECT 1; SELECT 2"}, POSTGRESQL, [True]),
        ("golang-migrate", {"1_a.up.sql": CONCURRENTLY}, POSTGRESQL, [True, False, True]),
        ("golang-migrate", {"1_a.up.sql": f"BEGIN; SELECT 1; COMMIT; {CONCURRENTLY}"}, POSTGRESQL, [True, False, True]),
        ("golang-migrate", {"1_a.up.sql": "SELECT 1; SELECT 2"}, SQLITE, [True]),
        ("golang-migrate", {"1_a.up.sql": " \n"}, SQLITE, [True]),
        ("dbmate", {"1_a.sql": f"{UP}SELECT 1;\n{DOWN}{UP}SELECT 2;\n{DOWN}"}, SQLITE, [True, True]),
        ("dbmate", {"1_a.sql": f"-- migrate:up transaction:false\n{CONCURRENTLY}{DOWN}"}, POSTGRESQL, [False, True]),
        # PostgreSQL makes a transaction of several statements in one call, so that CONCURRENTLY fails: as with dbmate.
        ("dbmate", {"1_a.sql": f"-- migrate:up transaction:false\nSELECT 1;\n{CONCURRENTLY}{DOWN}"}, POSTGRESQL,
         [True, True]),
        ("yoyo", {"a.sql": "-- transactional: false\nSELECT 1; SELECT 2"}, POSTGRESQL, [False, False, True]),
        ("yoyo", {"a.sql": "SELECT 1; SELECT 2"}, POSTGRESQL, [True]),
        ("flyway", {"V1__a.sql": f"{CONCURRENTLY}VACUUM;"}, POSTGRESQL, [False, False, True]),
        ("flyway", {"V1__a.sql": f"SELECT 1;{CONCURRENTLY}"}, POSTGRESQL, [True]),
        ("flyway", {"V1__a.sql": "SELECT 1;", "V1__a.sql.conf": "executeInTransaction=false\n"}, SQLITE, [False, True]),
        ("prisma", {"a/migration.sql": "SELECT 1; SELECT 2;"}, POSTGRESQL, [True]),
        ("prisma", {"a/migration.sql": "SELECT 1; SELECT 2;"}, SQLITE, [True, False, True]),
        ("prisma", {"a/migration.sql": CONCURRENTLY}, POSTGRESQL, [True, False, True]),
        ("drizzle", {"meta/_journal.json": JOURNAL % f"{entry('a', 1)},{entry('b', 2)}",
                     "a.sql": "SELECT 1;\n--> statement-breakpoint\nSELECT 2", "b.sql": "SELECT 3"}, SQLITE, [True]),
    ],
)  # fmt: skip
def test_transactions_are_the_tool_s(
    tmp_path: Path, name: str, files: dict[str, str], dialect: str, expected: list[bool]
) -> None:
    found = segments(made(tmp_path, name, files), dialect)
    assert [one.transactional for one in found] == expected, found
    assert all(closed(one.sql, dialect) == one.sql for one in found)


def test_goose_cuts_at_lines_and_keeps_blocks_whole(tmp_path: Path) -> None:
    text = (
        "-- +goose NO TRANSACTION\n-- a file\n\n-- +goose UP\r\n-- first\nCREATE TABLE a (b INT); -- and; so\n\n"
        "INSERT INTO a\n  VALUES (1);\n-- +goose StatementBegin\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n"
        "  SELECT 1;\nEND;\n-- +goose StatementEnd\n-- +goose Down\nDROP TABLE a;\n"
    )
    migrator = made(tmp_path, "goose", {"1_a.sql": text})
    assert [body.sql for body in migrator.loaded.steps[0].up] == [
        "CREATE TABLE a (b INT); -- and; so",
        "INSERT INTO a\n  VALUES (1);",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\nEND;",
    ]
    assert segments(migrator, SQLITE, "down")[0].sql == "DROP TABLE a;\n"


def test_flyway_fills_in_what_its_configuration_says(tmp_path: Path) -> None:
    files = {
        "V1__a.sql": "SELECT '${Schema}';",
        "flyway.conf": "# x\nflyway.placeholders.schema=shop\nflyway.table=moved\n",
    }
    migrator = made(tmp_path, "flyway", files)
    (segment,) = segments(migrator, SQLITE)
    assert segment.sql.startswith("SELECT 'shop';\nINSERT INTO \"moved\"") and migrator.tables == {"moved"}
    off = made(tmp_path, "flyway", {"flyway.conf": "flyway.placeholderReplacement=false"})
    assert "${Schema}" in segments(off, SQLITE)[0].sql


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", -390611389), ("a\nb\r\n", -1635563411), ("\ufeffa", -390611389), ("ab", -1635563411)],
)
def test_flyway_checksums_count_no_line_ends(text: str, expected: int) -> None:
    assert checksum(text) == expected


def test_flyway_versions_are_numbers_part_by_part() -> None:
    assert version_key("1_10") == version_key("001.10.0") == (1, 10)
    assert version_key("1.9") < version_key("1.10") < version_key("2")
    with pytest.raises(ToolRetry, match="no version"):
        version_key("1.x")


def test_statements_are_closed() -> None:
    assert closed("SELECT 1 -- a; b", SQLITE) == "SELECT 1 -- a; b\n;\n"
    assert closed("SELECT 1; -- a", SQLITE) == "SELECT 1; -- a\n"
    assert closed("-- a\n\n", SQLITE) == "-- a\n"
    assert closed("SELECT $$;", POSTGRESQL).endswith("\n;\n")
    assert one_call("SELECT 1", POSTGRESQL).transactional is False


STANDING: list[tuple[str, dict[str, str], str, str]] = [
    ("golang-migrate", {"1_a.up.sql": ""}, "UPDATE schema_migrations SET dirty = 1", r"version 1 is dirty.* force 1"),
    ("golang-migrate", {"1_a.up.sql": ""}, "UPDATE schema_migrations SET version = 7", "at version 7, and m has no file"),
    ("flyway", {"V1__a.sql": ""}, "UPDATE flyway_schema_history SET success = 0", r"V1__a\.sql failed.*flyway repair"),
    ("flyway", {"V1__a.sql": ""}, "UPDATE flyway_schema_history SET checksum = 5", r"m/V1__a\.sql is not as it was"),
    ("flyway", {"V1__a.sql": ""}, "UPDATE flyway_schema_history SET version = '0.5'", "version 0.5 was applied here"),
    ("flyway", {"V1__a.sql": ""}, "UPDATE flyway_schema_history SET version = '2'", r"m/V1__a\.sql is older than version 2"),
    ("prisma", {"a/migration.sql": ""}, "UPDATE _prisma_migrations SET finished_at = NULL", "a began and did not finish"),
    ("goose", {"1_a.sql": GUP}, "UPDATE goose_db_version SET version_id = 2 WHERE version_id = 1",
     r"m/1_a\.sql is older than version 2"),
    ("drizzle", {"meta/_journal.json": JOURNAL % entry("a", 5), "a.sql": ""},
     "UPDATE __drizzle_migrations SET created_at = 1", r"says 1, and every entry of m/meta/_journal\.json is later"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "change", "message"), STANDING)
def test_where_the_tool_refuses_to_go_on(
    tmp_path: Path, name: str, files: dict[str, str], change: str, message: str
) -> None:
    migrator, database = applied(tmp_path, name, files)
    changed(database, change)
    with pytest.raises(ToolRetry, match=message):
        migrator.recorded(database.ask)


@pytest.mark.parametrize(
    ("name", "files", "change", "message"),
    [
        ("dbmate", {"2_a.sql": UP + DOWN}, "UPDATE schema_migrations SET version = '3'", "version 3 was applied here"),
        ("goose", {"1_a.sql": GUP}, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (2, 1)",
         "version 2 was applied here and has no file"),
        ("yoyo", {"a.sql": ""}, "UPDATE _yoyo_migration SET migration_id = 'b'", "b was applied here and has no file"),
        ("prisma", {"a/migration.sql": ""}, "UPDATE _prisma_migrations SET checksum = 'x'", "is not as it was"),
        ("prisma", {"a/migration.sql": ""}, "UPDATE _prisma_migrations SET migration_name = 'b'", "b was applied here"),
        ("drizzle", {"meta/_journal.json": JOURNAL % entry("a", 5), "a.sql": ""},
         "UPDATE __drizzle_migrations SET hash = 'x'", "m/a.sql is not as it was"),
        ("flyway", {"V1__a.sql": ""}, "INSERT INTO flyway_schema_history SELECT 2, '2', description, type, script, "
         "checksum, '', '', 0, 1 FROM flyway_schema_history", "version 2 was applied here and has no file"),
    ],
)  # fmt: skip
def test_where_only_a_person_may_wonder(
    tmp_path: Path, name: str, files: dict[str, str], change: str, message: str
) -> None:
    migrator, database = applied(tmp_path, name, files)
    assert migrator.concerns(database.ask) == ()
    changed(database, change)
    assert any(message in concern for concern in migrator.concerns(database.ask)), migrator.concerns(database.ask)


@pytest.mark.parametrize(
    ("name", "had", "late", "runs"),
    [
        ("dbmate", {"2_a.sql": UP + DOWN}, {"1_b.sql": UP + DOWN}, True),
        ("yoyo", {"b.sql": ""}, {"a.sql": ""}, True),
        ("prisma", {"b/migration.sql": ""}, {"a/migration.sql": ""}, True),
        ("goose", {"2_a.sql": GUP}, {"1_b.sql": GUP}, False),
        ("flyway", {"V2__a.sql": ""}, {"V1__b.sql": ""}, False),
    ],
)
def test_a_file_that_comes_late(
    tmp_path: Path, name: str, had: dict[str, str], late: dict[str, str], runs: bool
) -> None:
    _, database = applied(tmp_path, name, had)
    migrator = made(tmp_path, name, late)
    if not runs:
        with pytest.raises(ToolRetry, match="is older than version 2"):
            migrator.recorded(database.ask)
        return
    recorded = migrator.recorded(database.ask)
    assert len(migrator.concerns(database.ask)) == 1
    pending = migrator.history().ahead_of(recorded)
    assert [file.path for file in pending] == [f"m/{path}" for path in late]
    assert migrator.history().before([pending[0].path]) == recorded


@pytest.mark.parametrize(("name", "had"), [("goose", {"1_a.sql": GUP}), ("flyway", {"V1__a.sql": ""})])
def test_a_new_file_needs_the_last_place(tmp_path: Path, name: str, had: dict[str, str]) -> None:
    later = {"2_b.sql": GUP} if name == "goose" else {"V2__b.sql": ""}
    history = made(tmp_path, name, had | later).history()
    assert history.before([history.files[1].path]) == ("1",)
    with pytest.raises(ToolRetry, match="give the new one the later place"):
        history.before([history.files[0].path])


def test_flyway_runs_a_repeatable_file_again_when_it_changed(tmp_path: Path) -> None:
    migrator, database = applied(tmp_path, "flyway", {"V1__a.sql": "", "R__view.sql": "DROP VIEW IF EXISTS v;\n"})
    assert migrator.recorded(database.ask) == ("1", "R view")
    again = made(tmp_path, "flyway", {"R__view.sql": "DROP VIEW IF EXISTS v;\nCREATE VIEW v AS SELECT 1;\n"})
    recorded = again.recorded(database.ask)
    assert recorded == ("1",)
    pending = again.history().ahead_of(recorded)
    assert [file.path for file in pending] == ["m/R__view.sql"]
    assert again.up(database, Move(recorded, ("1", "R view"), pending)).ok
    assert again.recorded(database.ask) == ("1", "R view")


def test_flyway_baselines_stand_for_all_before_them(tmp_path: Path) -> None:
    migrator, database = applied(tmp_path, "flyway", {"V1__a.sql": ""})
    changed(database, "UPDATE flyway_schema_history SET type = 'BASELINE', version = '3'")
    migrator = made(tmp_path, "flyway", {"V2__b.sql": "", "V4__c.sql": ""})
    assert migrator.recorded(database.ask) == ("1", "2")


def test_prisma_forgets_what_was_marked_as_rolled_back(tmp_path: Path) -> None:
    migrator, database = applied(tmp_path, "prisma", {"a/migration.sql": ""})
    changed(database, "UPDATE _prisma_migrations SET finished_at = NULL, rolled_back_at = 'now'")
    assert migrator.recorded(database.ask) == ()


def applied(root: Path, name: str, files: dict[str, str]) -> tuple[SqlMigrator, SqliteScratch]:
    """A database that has had all of these."""
    migrator = made(root, name, files)
    database = SqliteScratch(root / "x.sqlite3")
    history = migrator.history()
    done = migrator.up(database, Move((), history.after((), history.files), history.files))
    assert done.ok, done.stderr
    return migrator, database


def changed(database: SqliteScratch, sql: str) -> None:
    done: Any = database.execute(Script((Segment(sql),)))
    assert done.ok, done.stderr


@pytest.mark.parametrize(
    ("name", "files", "config", "expected"),
    [
        ("prisma", {"migration_lock.toml": 'provider = "mysql"\n'}, None, "mysql"),
        ("prisma", {"schema.prisma": 'datasource db {\n provider = "postgresql"\n}'}, "m/schema.prisma", "postgresql"),
        ("drizzle", {"d.ts": "dialect: 'turso'", "meta/_journal.json": JOURNAL % ""}, "m/d.ts", SQLITE),
        ("drizzle", {"meta/_journal.json": '{"dialect": "pg", "entries": []}'}, None, "postgresql"),
        ("flyway", {"flyway.conf": "flyway.url=jdbc:oracle:thin:@x", "V1__a.sql": ""}, None, "oracle"),
        (
            "yoyo",
            {"yoyo.ini": "[DEFAULT]\ndatabase = postgresql+psycopg://me:secret@h/d\n"},
            "m/yoyo.ini",
            "postgresql",
        ),
        ("yoyo", {"yoyo.ini": "[DEFAULT]\n", "a.sql": "CREATE TABLE a (b SERIAL);"}, "m/yoyo.ini", "postgresql"),
        ("goose", {"1_a.sql": f"{GUP}CREATE TABLE a (b INT);\n"}, None, SQLITE),
    ],
)
def test_the_engine_that_is_named(
    tmp_path: Path, name: str, files: dict[str, str], config: str | None, expected: str | None
) -> None:
    assert made(tmp_path, name, files, config).engine() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)", "sqlite"),
        ("PRAGMA foreign_keys = ON;", "sqlite"),
        ("CREATE TABLE a (b INT) WITHOUT ROWID;", "sqlite"),
        ("CREATE TABLE a (id BIGSERIAL PRIMARY KEY)", "postgresql"),
        ("ALTER TABLE a ALTER b TYPE jsonb USING b::jsonb", "postgresql"),
        ("DO $$ BEGIN NULL; END $$;", "postgresql"),
        ("CREATE INDEX CONCURRENTLY a ON b (c)", "postgresql"),
        ("CREATE TABLE a (b INT AUTO_INCREMENT) ENGINE=InnoDB", "mysql"),
        ("CREATE TABLE a (b INTEGER PRIMARY KEY, c TEXT)", None),
        ("-- SERIAL\nINSERT INTO a VALUES ('AUTOINCREMENT x::y') /* JSONB */", None),
        ("CREATE TABLE a (id SERIAL); CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT)", None),
    ],
)
def test_words_that_only_one_database_has(text: str, expected: str | None) -> None:
    assert dialect_hint([text]) == expected


@pytest.mark.parametrize(
    ("down", "refuses"),
    [
        ("DO $$ BEGIN RAISE EXCEPTION 'no way back'; END $$;", True),
        ("-- why\nDO LANGUAGE plpgsql $x$\nBEGIN\n  RAISE 'it''s; gone %', 1 USING HINT = 'END;';\nEND;\n$x$;\n", True),
        ("DO $$ BEGIN RAISE no_data_found; END $$", True),
        ("DO $$ BEGIN RAISE NOTICE 'nothing is done'; END $$;", False),
        ("DO $$ BEGIN RAISE WARNING 'nothing is done'; END $$;", False),
        ("DO $$ BEGIN IF now() > '2030-01-01' THEN RAISE EXCEPTION 'late'; END IF; END $$;", False),
        ("DO $$ BEGIN DELETE FROM users; RAISE EXCEPTION 'no way back'; END $$;", False),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; EXCEPTION WHEN OTHERS THEN NULL; END $$;", False),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$; DROP TABLE users;", False),
        ("SELECT 'RAISE EXCEPTION';", False),
    ],
)
def test_a_way_back_that_only_raises_is_none(tmp_path: Path, down: str, refuses: bool) -> None:
    migrator = made(tmp_path, "golang-migrate", {"1_a.up.sql": "SELECT 1", "1_a.down.sql": down})
    history = migrator.history()
    assert bool(history.irreversible) == refuses
    rendered = migrator.script("postgresql", Move((), history.heads, history.files), "down")
    assert ("no way back" in rendered) == refuses if isinstance(rendered, str) else not refuses
