"""Which migration tools are found, by which line, and which changed paths are theirs."""

import os
import shutil
from pathlib import Path

import pytest

from backend_crew.tools.alembic_config import read_config, with_url
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.migrations import detect, new_files

REHEARSED = {"django", "goose", "golang-migrate", "dbmate", "yoyo", "flyway", "prisma", "drizzle"}
SHOP = Path(__file__).parent / "data" / "alembic_shop"


def write(root: Path, files: dict[str, str]) -> Path:
    """A repository with these files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "files", "theirs", "other", "evidence"),
    [
        ("django", {"manage.py": "import os\nos.environ['DJANGO_SETTINGS_MODULE']"}, "shop/migrations/0002_x.py",
         "shop/migrations/__init__.py", "manage.py:2"),
        ("aerich", {"pyproject.toml": "[project]\n[tool.aerich]\nlocation = './db/m'\n"}, "db/m/models/3_2024_x.py",
         "db/models.py", "pyproject.toml:2"),
        ("prisma", {"prisma/schema.prisma": ""}, "prisma/migrations/2024_x/migration.sql", "prisma/schema.prisma",
         "prisma/schema.prisma:1"),
        ("drizzle", {"drizzle.config.ts": "export default { out: './src/sql' }"}, "src/sql/0001_x.sql", "src/x.ts",
         "drizzle.config.ts:1"),
        ("knex", {"knexfile.js": "module.exports = { migrations: { directory: './db/steps' } }"}, "db/steps/2024_x.js",
         "db/index.js", "knexfile.js:1"),
        ("typeorm", {"src/data-source.ts": "// a\nimport { DataSource } from 'typeorm'"}, "src/migrations/1-x.ts",
         "src/user.ts", "src/data-source.ts:2"),
        ("sequelize", {".sequelizerc": ""}, "migrations/2024-x.js", "models/x.js", ".sequelizerc:1"),
        ("rails", {"db/schema.rb": ""}, "db/migrate/2024_x.rb", "db/seeds.rb", "db/schema.rb:1"),
        ("ecto", {"mix.exs": "\n{:ecto_sql, \"~> 3\"}"}, "priv/repo/migrations/2024_x.exs", "lib/x.ex", "mix.exs:2"),
        ("efcore", {"Api/Migrations/ShopModelSnapshot.cs": ""}, "Api/Migrations/2024_X.cs", "Api/Program.cs",
         "Api/Migrations/ShopModelSnapshot.cs:1"),
        ("liquibase", {"db/changelog.xml": "<?xml?>\n<databaseChangeLog/>"}, "db/002.sql", "src/a.java",
         "db/changelog.xml:2"),
        ("atlas", {"db/atlas.sum": "h1:x=\n"}, "db/20240101_a.sql", "atlas.hcl", "db/atlas.sum:1"),
        ("flyway", {"sql/V1__a.sql": ""}, "sql/V1_2__b.sql", "sql/readme.md", "sql/V1__a.sql:1"),
        ("golang-migrate", {"m/001_a.up.sql": "", "m/001_a.down.sql": ""}, "m/002_b.down.sql", "m/main.go",
         "m/001_a.up.sql:1"),
        ("goose", {"m/001_a.sql": "\n-- +goose Up\n"}, "m/002_b.go", "main.go", "m/001_a.sql:2"),
        ("dbmate", {"db/migrations/001_a.sql": "-- migrate:up\n"}, "db/migrations/002_b.sql", "db/schema.sql",
         "db/migrations/001_a.sql:1"),
        ("yoyo", {"yoyo.ini": "[DEFAULT]\nsources = %(here)s/db/steps\n"}, "db/steps/1.a.sql", "steps/1.a.sql", "yoyo.ini:1"),
        ("yoyo", {"db/steps/1.a.sql": "\n-- depends:\nSELECT 1"}, "db/steps/2.b.py", "db/x.sql", "db/steps/1.a.sql:2"),
        ("yoyo", {"migrations/1.a.py": "from yoyo import group, step\n"}, "migrations/2.b.sql", "app.py",
         "migrations/1.a.py:1"),
        ("sql", {"migrations/001_a.sql": "CREATE TABLE a (b int)"}, "migrations/002_b.sql", "schema.sql",
         "migrations/001_a.sql:1"),
    ],
)  # fmt: skip
def test_each_tool_is_found_and_knows_its_files(
    tmp_path: Path, name: str, files: dict[str, str], theirs: str, other: str, evidence: str
) -> None:
    tools = detect(write(tmp_path, files))
    assert [tool.name for tool in tools] == [name]
    assert tools[0].evidence == evidence
    assert tools[0].can_rehearse == (name in REHEARSED)
    assert bool(tools[0].apply_command) == (name != "sql")
    assert new_files(tools[0], [other, theirs]) == (theirs,)


def test_alembic_is_found_by_its_ini() -> None:
    (tool,) = detect(SHOP)
    assert (tool.name, tool.config, tool.folder) == ("alembic", "alembic.ini", "migrations")
    assert (tool.evidence, tool.can_rehearse) == ("alembic.ini:2", True)
    assert tool.apply_command == ("alembic", "upgrade", "head")
    changed = ["shop/models.py", "migrations/env.py", "migrations/versions/b.py", "migrations/versions/__init__.py"]
    assert new_files(tool, changed) == ("migrations/versions/b.py",)


def test_alembic_is_found_in_pyproject_and_below(tmp_path: Path) -> None:
    toml = (
        '[tool.alembic]\nscript_location = "%(here)s/db"\nversion_locations = ["%(here)s/db/one", "%(here)s/db/two"]\n'
    )
    write(tmp_path, {"api/pyproject.toml": toml, "api/db/env.py": ""})
    (tool,) = detect(tmp_path)
    assert (tool.config, tool.folder, tool.evidence) == ("api/pyproject.toml", "api/db", "api/pyproject.toml:2")
    assert tool.versions == ("api/db/one", "api/db/two")
    assert new_files(tool, ["api/db/two/x.py", "api/db/three/x.py"]) == ("api/db/two/x.py",)


def test_flask_migrate_is_found(tmp_path: Path) -> None:
    write(tmp_path, {"migrations/alembic.ini": "[alembic]\n", "migrations/env.py": "from flask import current_app\n"})
    (tool,) = detect(tmp_path)
    assert (tool.folder, tool.can_rehearse, tool.apply_command) == ("migrations", True, ("flask", "db", "upgrade"))
    assert new_files(tool, ["migrations/versions/x.py"]) == ("migrations/versions/x.py",)


@pytest.mark.parametrize("location", ["../outside", "/etc", "%(home)s/x"])
def test_a_script_location_that_cannot_be_followed_is_found_but_not_run(tmp_path: Path, location: str) -> None:
    write(tmp_path, {"alembic.ini": f"[alembic]\nscript_location = {location}\n"})
    (tool,) = detect(tmp_path)
    assert (tool.folder, tool.can_rehearse) == (None, False)
    with pytest.raises(ToolRetry):
        read_config(tmp_path, "alembic.ini")


def test_a_schema_without_a_tool_is_no_tool(tmp_path: Path) -> None:
    write(tmp_path, {"schema.sql": "CREATE TABLE a (b int);", "app.py": "Base.metadata.create_all(engine)\n"})
    assert detect(tmp_path) == ()


def test_dependencies_pipes_and_links_are_not_looked_into(tmp_path: Path) -> None:
    write(tmp_path, {"node_modules/x/knexfile.js": "", ".venv/lib/alembic.ini": "[alembic]\nscript_location = x\n"})
    os.mkfifo(tmp_path / "manage.py")
    shutil.copy(SHOP / "alembic.ini", tmp_path.parent / "outside.ini")
    (tmp_path / "alembic.ini").symlink_to(tmp_path.parent / "outside.ini")
    assert detect(tmp_path) == ()


def test_with_url_changes_the_url_and_hooks_alone() -> None:
    text = (
        "[alembic]\nscript_location = m\nsqlalchemy.url = a\n  b\n[post_write_hooks]\nhooks = ruff\n[x]\nkeys = root\n"
    )
    changed = with_url(text, "sqlite:////x/100%")
    assert changed == (
        "[alembic]\nsqlalchemy.url = sqlite:////x/100%%\nscript_location = m\n[post_write_hooks]\n[x]\nkeys = root\n"
    )
