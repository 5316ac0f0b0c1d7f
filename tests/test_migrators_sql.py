"""Directories of plain SQL: moved there and back on real databases, and compared with what the tools themselves wrote."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sql_projects import ONE_WAY, POSTGRESQL, PROJECTS, SQLITE, write
from sql_scratch import Plain, PostgresqlScratch, SqliteScratch

from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool, detect, new_files
from backend_crew.tools.migrators.protocol import Migrator, Move, Script
from backend_crew.tools.migrators.sql import FORMS, SqlMigrator

REAL = json.loads((Path(__file__).parent / "data" / "sql_tools" / "real.json").read_text())
BOTH = [(name, dialect) for name in PROJECTS for dialect in (SQLITE, POSTGRESQL)]


@pytest.fixture
def scratch(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Plain]:
    """Makes an empty database of a dialect."""

    def make(dialect: str) -> Plain:
        if dialect == SQLITE:
            return SqliteScratch(tmp_path / "scratch.sqlite3")
        return PostgresqlScratch(request.getfixturevalue("postgres_url"))

    return make


def project(root: Path, name: str, dialect: str) -> SqlMigrator:
    """The migrator of a sample project, found as the program finds it."""
    (tool,) = detect(PROJECTS[name](root / "repo", dialect))
    assert tool.name == name
    return SqlMigrator(root / "repo", tool)


def moves(migrator: Migrator, count: int) -> tuple[Move, Move]:
    """From nothing to the first `count` files, and from there to the end."""
    history = migrator.history()
    files = history.files
    half, goal = history.after((), files[:count]), history.after((), files)
    return Move((), half, files[:count]), Move(half, goal, files[count:])


@pytest.mark.parametrize(("name", "dialect"), BOTH)
def test_there_and_back_and_there_again(
    tmp_path: Path, scratch: Callable[[str], Plain], name: str, dialect: str
) -> None:
    migrator: Migrator = project(tmp_path, name, dialect)
    database = scratch(dialect)
    assert migrator.recorded(database.ask) == ()
    first, rest = moves(migrator, 2)
    done = migrator.up(database, first)
    assert done.ok, done.stderr
    half = database.facts(migrator)
    assert half is not None and half.recorded == first.goal and half.schema
    done = migrator.up(database, rest)
    assert done.ok, done.stderr
    whole = database.facts(migrator)
    assert whole is not None and whole.recorded == rest.goal and whole.schema != half.schema
    if name in ONE_WAY:
        assert "no way back" in str(migrator.render(database, rest, "down"))
        assert migrator.history().irreversible == {file.revision for file in migrator.history().files}
        with pytest.raises(ToolRetry, match="no way back"):
            migrator.down(database, rest)
        return
    for move, left in ((rest, half), (first, None)):
        done = migrator.down(database, move)
        assert done.ok, done.stderr
        found = database.facts(migrator)
        assert found is not None and found.recorded == move.start
        assert found.schema == (left.schema if left else ())
    everything = Move((), rest.goal, (*first.files, *rest.files))
    assert migrator.up(database, everything).ok
    assert database.facts(migrator) == whole


@pytest.mark.parametrize(
    ("name", "dialect"), [(name, dialect) for name in REAL if name != "about" for dialect in REAL[name]]
)
def test_its_own_tables_are_as_the_tool_leaves_them(
    tmp_path: Path, scratch: Callable[[str], Plain], name: str, dialect: str
) -> None:
    migrator = project(tmp_path, name, dialect)
    database = scratch(dialect)
    done = migrator.up(database, Move((), (), migrator.history().files))
    assert done.ok, done.stderr
    for table, real in REAL[name][dialect].items():
        if dialect == SQLITE:
            asked = database.ask(f'PRAGMA table_info("{table}")')
            columns = [[row[1], row[2], "NO" if row[3] else "YES", row[4]] for row in asked]
        else:
            columns = [
                list(row)
                for row in database.ask(
                    "SELECT column_name, data_type || coalesce('(' || character_maximum_length || ')', ''), is_nullable, "
                    f"column_default FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
                )
            ]
        assert columns == real["columns"], table
        place = f'drizzle."{table}"' if (name, dialect) == ("drizzle", POSTGRESQL) else f'"{table}"'
        names = ", ".join(f'"{column}"' for column in real["shown"])
        rows = [list(row) for row in database.ask(f"SELECT {names} FROM {place}")]
        assert sorted(rows, key=str) == real["rows"], table


@pytest.mark.parametrize("name", list(PROJECTS))
def test_a_failing_file_leaves_what_the_tool_would_leave(tmp_path: Path, name: str) -> None:
    migrator = project(tmp_path, name, SQLITE)
    first, rest = moves(migrator, 2)
    path = tmp_path / "repo" / rest.files[0].path
    text = path.read_text()
    path.write_text(
        text.replace("CREATE INDEX orders_user ON orders", "CREATE TABLE half (id INT);\nCREATE INDEX b ON c")
    )
    database = SqliteScratch(tmp_path / "x")
    migrator = SqlMigrator(migrator.tree, migrator.tool)
    assert migrator.up(database, first).ok
    done = migrator.up(database, rest)
    assert not done.ok and "no such table: main.c" in done.stderr
    left = any("half" in line for line in database.schema())
    if name == "prisma":
        # Prisma has no transaction on SQLite, and its row stays unfinished.
        assert left
        with pytest.raises(ToolRetry, match="began and did not finish"):
            migrator.recorded(database.ask)
    else:
        assert not left and migrator.recorded(database.ask) == first.goal


@pytest.mark.parametrize("name", list(PROJECTS))
def test_what_is_shown_names_files_and_commands(tmp_path: Path, name: str) -> None:
    migrator = project(tmp_path, name, POSTGRESQL)
    first, rest = moves(migrator, 2)
    assert migrator.engine() == POSTGRESQL
    assert project(tmp_path / "other", name, SQLITE).engine() == SQLITE
    assert migrator.warnings == ()
    paths = [path for path, _ in migrator.manifest()]
    repository = migrator.tree
    expected = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    assert set(paths) == expected and paths == sorted(paths)
    up, down = migrator.command(rest, "up"), migrator.command(rest, "down")
    assert up.split()[0] in {"goose", "migrate", "dbmate", "yoyo", "flyway", "npx"}
    assert (down == "") == (name in ONE_WAY)
    script = migrator.script(POSTGRESQL, first, "up")
    assert isinstance(script, Script) and "CREATE TABLE users" in script.text
    assert migrator.script(POSTGRESQL, first, "up") == script
    theirs = [file.path for file in migrator.history().files]
    assert new_files(migrator.tool, theirs) == tuple(theirs)


def test_a_changed_file_changes_the_manifest(tmp_path: Path) -> None:
    migrator = project(tmp_path, "golang-migrate", SQLITE)
    before = migrator.manifest(), migrator.history().files
    path = tmp_path / "repo" / "migrations" / "000002_user_name.down.sql"
    path.write_text(path.read_text() + "-- more\n")
    again = SqlMigrator(migrator.tree, migrator.tool)
    assert again.manifest() != before[0]
    assert again.history().files[1].sha256 != before[1][1].sha256


def test_links_and_other_bytes_are_refused(tmp_path: Path) -> None:
    migrator = project(tmp_path, "golang-migrate", SQLITE)
    folder = tmp_path / "repo" / "migrations"
    (folder / "000004_x.up.sql").symlink_to("/etc/passwd")
    with pytest.raises(ToolRefused, match="000004_x"):
        migrator.history()
    (folder / "000004_x.up.sql").unlink()
    (folder / "000004_x.up.sql").write_bytes(b"SELECT '\xff';")
    with pytest.raises(ToolRetry, match="is not UTF-8"):
        SqlMigrator(migrator.tree, migrator.tool).history()


def test_another_tool_is_refused(tmp_path: Path) -> None:
    tool = MigrationTool("knex", "knexfile.js", "migrations", False, (), "knexfile.js:1")
    with pytest.raises(ToolRefused, match="knex"):
        SqlMigrator(tmp_path, tool).history()
    assert set(FORMS) == set(PROJECTS)


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["dbmate", "yoyo"])
def test_ours_and_the_tool_take_turns(tmp_path: Path, name: str) -> None:
    """The real tool goes on from what ours left, ours takes back what the tool did, and the tool sees both."""
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{name} is not installed")
    migrator = project(tmp_path, name, SQLITE)
    database = SqliteScratch(tmp_path / "x.db")
    folder = str(migrator.tree / (migrator.tool.folder or ""))

    def tool(word: str) -> None:
        if name == "dbmate":
            words = {"up": ["migrate"], "down": ["rollback"]}[word]
            run(program, "--no-dump-schema", "--url", f"sqlite:{database.path}", "-d", folder, *words)
        else:
            words = {"up": ["apply"], "down": ["rollback", "-r", migrator.history().files[2].revision]}[word]
            url = f"sqlite:///{database.path}"
            run(program, words[0], "--batch", "--no-config-file", "--database", url, *words[1:], folder)

    first, rest = moves(migrator, 2)
    assert migrator.up(database, first).ok
    tool("up")
    assert migrator.recorded(database.ask) == rest.goal
    whole = database.schema()
    assert migrator.down(database, rest).ok
    tool("up")
    assert sorted(database.schema()) == sorted(whole)
    tool("down")
    assert migrator.recorded(database.ask) == first.goal
    assert migrator.up(database, rest).ok and migrator.down(database, rest).ok and migrator.down(database, first).ok
    tool("up")
    assert migrator.recorded(database.ask) == rest.goal and sorted(database.schema()) == sorted(whole)


def test_python_files_of_yoyo_find_it_and_are_named(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "db/migrations/0001.a.py": "from yoyo import step\n__depends__ = {}\nstep('CREATE TABLE a (b INT)')\n",
        "db/migrations/0002.b.sql": "-- depends: 0001.a\nCREATE TABLE c (d INT);\n",
    })  # fmt: skip
    (tool,) = detect(root)
    migrator = SqlMigrator(root, tool)
    assert (tool.name, tool.folder, tool.evidence) == ("yoyo", "db/migrations", "db/migrations/0002.b.sql:1")
    assert [file.revision for file in migrator.history().files] == ["0001.a", "0002.b"]
    said = migrator.script(SQLITE, moves(migrator, 1)[0], "up")
    assert said == "db/migrations/0001.a.py is Python (step()): yoyo's own program has to run it"
    assert migrator.warnings == (said,)
    with pytest.raises(ToolRetry, match="is Python"):
        migrator.up(SqliteScratch(tmp_path / "x"), moves(migrator, 1)[0])
