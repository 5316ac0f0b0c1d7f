"""Small projects as each tool of plain SQL files lays them out: three migrations, for SQLite and for PostgreSQL.

The second adds a column and the third an index; what they make is the same in every project of one dialect.
"""

import json
from collections.abc import Callable
from pathlib import Path

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_KEY = {SQLITE: "INTEGER PRIMARY KEY AUTOINCREMENT", POSTGRESQL: "BIGSERIAL PRIMARY KEY"}
_MOMENT = {SQLITE: "TEXT", POSTGRESQL: "TIMESTAMPTZ"}


def ups(dialect: str) -> tuple[str, str, str]:
    """The SQL of the three ways up."""
    return (
        f"CREATE TABLE users (\n  id {_KEY[dialect]},\n  email TEXT NOT NULL UNIQUE\n);\n\n"
        f"CREATE TABLE orders (\n  id {_KEY[dialect]},\n  user_id BIGINT NOT NULL REFERENCES users (id),\n"
        f"  placed {_MOMENT[dialect]} -- when; or never\n);\n",
        "ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT 'no; one';\n",
        "CREATE INDEX orders_user ON orders (user_id);\n",
    )


DOWNS = (
    "DROP TABLE orders;\nDROP TABLE users;\n",
    "ALTER TABLE users DROP COLUMN name;\n",
    "DROP INDEX orders_user;\n",
)
NAMES = ("users_and_orders", "user_name", "orders_index")


def write(root: Path, files: dict[str, str]) -> Path:
    """These files below `root`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def goose(root: Path, dialect: str) -> Path:
    """db/migrations with 0000N_name.sql; the second in a StatementBegin block."""
    files = {}
    for number, (name, up, down) in enumerate(zip(NAMES, ups(dialect), DOWNS, strict=True), 1):
        block = f"-- +goose StatementBegin\n{up}-- +goose StatementEnd\n" if number == 2 else up
        files[f"db/migrations/{number:05}_{name}.sql"] = f"-- +goose Up\n{block}\n-- +goose Down\n{down}"
    return write(root, files)


def golang_migrate(root: Path, dialect: str) -> Path:
    """migrations with 00000N_name.up.sql and .down.sql."""
    files = {}
    for number, (name, up, down) in enumerate(zip(NAMES, ups(dialect), DOWNS, strict=True), 1):
        files[f"migrations/{number:06}_{name}.up.sql"] = up
        files[f"migrations/{number:06}_{name}.down.sql"] = down
    return write(root, files)


def dbmate(root: Path, dialect: str) -> Path:
    """db/migrations with TIMESTAMP_name.sql."""
    files = {}
    for number, (name, up, down) in enumerate(zip(NAMES, ups(dialect), DOWNS, strict=True), 1):
        files[f"db/migrations/2024010{number}120000_{name}.sql"] = f"-- migrate:up\n{up}\n-- migrate:down\n{down}"
    return write(root, files)


def yoyo(root: Path, dialect: str) -> Path:
    """yoyo.ini and migrations with NAME.sql and NAME.rollback.sql."""
    files = {"yoyo.ini": f"[DEFAULT]\nsources = %(here)s/migrations\ndatabase = {dialect}://localhost/shop\n"}
    before = ""
    for number, (name, up, down) in enumerate(zip(NAMES, ups(dialect), DOWNS, strict=True), 1):
        mine = f"2024010{number}_01_{name.replace('_', '-')}"
        files[f"migrations/{mine}.sql"] = f"-- {name}\n-- depends: {before}\n\n{up}"
        files[f"migrations/{mine}.rollback.sql"] = f"-- {name}\n\n{down}"
        before = mine
    return write(root, files)


def flyway(root: Path, dialect: str) -> Path:
    """sql with V1__, V1_2__ and V1.10__ (in this order) and their U files."""
    files = {"flyway.toml": f'[environments.default]\nurl = "jdbc:{dialect}://localhost/shop"\n'}
    for version, name, up, down in zip(("1", "1_2", "1.10"), NAMES, ups(dialect), DOWNS, strict=True):
        files[f"sql/V{version}__{name}.sql"] = up
        files[f"sql/U{version}__{name}.sql"] = down
    return write(root, files)


def prisma(root: Path, dialect: str) -> Path:
    """prisma/schema.prisma and prisma/migrations; there is no way back."""
    files = {
        "prisma/schema.prisma": f'datasource db {{\n  provider = "{dialect}"\n  url = env("DATABASE_URL")\n}}\n',
        "prisma/migrations/migration_lock.toml": f'provider = "{dialect}"\n',
    }
    for number, (name, up) in enumerate(zip(NAMES, ups(dialect), strict=True), 1):
        files[f"prisma/migrations/2024010{number}120000_{name}/migration.sql"] = up
    return write(root, files)


def drizzle(root: Path, dialect: str) -> Path:
    """drizzle.config.ts and drizzle with a journal; there is no way back."""
    files = {
        "drizzle.config.ts": "import { defineConfig } from 'drizzle-kit';\nexport default defineConfig({\n"
        f"  dialect: '{dialect}',\n  schema: './src/schema.ts',\n  out: './drizzle',\n}});\n"
    }
    entries = []
    for number, (name, up) in enumerate(zip(NAMES, ups(dialect), strict=True)):
        tag = f"{number:04}_{name}"
        files[f"drizzle/{tag}.sql"] = up.replace(";\n\n", ";--> statement-breakpoint\n")
        when = 1704106800000 + number * 86_400_000
        entries.append({"idx": number, "version": "7", "when": when, "tag": tag, "breakpoints": True})
    journal = {"version": "7", "dialect": dialect, "entries": entries}
    return write(root, {**files, "drizzle/meta/_journal.json": json.dumps(journal, indent=2)})


PROJECTS: dict[str, Callable[[Path, str], Path]] = {
    "goose": goose,
    "golang-migrate": golang_migrate,
    "dbmate": dbmate,
    "yoyo": yoyo,
    "flyway": flyway,
    "prisma": prisma,
    "drizzle": drizzle,
}
ONE_WAY = {"prisma", "drizzle"}
