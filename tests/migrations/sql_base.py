"""A shop as each tool of plain SQL files lays it out, with one migration that has run, and new ones beside it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from migrations.cases import Case, Verdict
from sql_projects import POSTGRESQL, SQLITE, write

_KEY = {SQLITE: "INTEGER PRIMARY KEY AUTOINCREMENT", POSTGRESQL: "BIGSERIAL PRIMARY KEY"}


def base(dialect: str) -> str:
    """The tables that are there, with rows when the new migrations come."""
    return (
        f"CREATE TABLE users (\n  id {_KEY[dialect]},\n  email TEXT NOT NULL UNIQUE,\n  name VARCHAR(80)\n);\n"
        f"CREATE TABLE orders (\n  id {_KEY[dialect]},\n  user_id BIGINT NOT NULL REFERENCES users (id),\n"
        "  status VARCHAR(20) NOT NULL,\n  total INTEGER NOT NULL,\n  note TEXT,\n  placed TIMESTAMP\n);\n"
        "CREATE TABLE coupons (\n  code VARCHAR(20) PRIMARY KEY,\n  order_id BIGINT,\n  percent INTEGER\n);\n"
    )


_BACK = "DROP TABLE coupons;\nDROP TABLE orders;\nDROP TABLE users;\n"


#: Where tools that keep the way back in a file of its own have both.
_PAIRS = {
    "golang-migrate": ("migrations/{number:06}_{name}.up.sql", "migrations/{number:06}_{name}.down.sql"),
    "flyway": ("sql/V{number}__{name}.sql", "sql/U{number}__{name}.sql"),
    "yoyo": ("migrations/2024010{number}_01_{name}.sql", "migrations/2024010{number}_01_{name}.rollback.sql"),
}


def files_of(tool: str, number: int, up: str, down: str | None, mark: str = "") -> Mapping[str, str]:
    """One migration as a tool wants it; `mark` is what the tool reads about transactions."""
    name = "base" if number == 1 else f"step{number}"
    stamp = f"2024010{number}120000"
    way_back = {} if down is None else {"": down}
    if tool == "goose":
        back = "".join(f"\n-- +goose Down\n{one}" for one in way_back.values())
        return {f"db/migrations/{number:05}_{name}.sql": f"{mark}-- +goose Up\n{up}{back}"}
    if tool == "dbmate":
        return {f"db/migrations/{stamp}_{name}.sql": f"-- migrate:up{mark}\n{up}\n-- migrate:down{mark}\n{down or ''}"}
    if tool == "prisma":
        return {f"prisma/migrations/{stamp}_{name}/migration.sql": up}
    if tool == "yoyo":
        before = f"2024010{number - 1}_01_{'base' if number == 2 else f'step{number - 1}'}" if number > 1 else ""
        up = f"-- depends: {before}\n{mark}\n{up}"
    there, back = _PAIRS[tool]
    names = {"number": number, "name": name}
    return {there.format(**names): up, **{back.format(**names): one for one in way_back.values()}}


def lay(tool: str, dialect: str, root: Path) -> Path:
    """The repository with its first migration alone."""
    settings = {
        "yoyo": {"yoyo.ini": f"[DEFAULT]\nsources = %(here)s/migrations\ndatabase = {dialect}://localhost/shop\n"},
        "flyway": {"flyway.toml": f'[environments.default]\nurl = "jdbc:{dialect}://localhost/shop"\n'},
        "prisma": {
            "prisma/schema.prisma": f'datasource db {{\n  provider = "{dialect}"\n  url = env("DATABASE_URL")\n}}\n',
            "prisma/migrations/migration_lock.toml": f'provider = "{dialect}"\n',
        },
    }
    files = {**settings.get(tool, {}), **files_of(tool, 1, base(dialect), _BACK)}
    return write(root, files)


def sql_case(
    dialect: str,
    kind: str,
    name: str,
    must: Verdict,
    *ways: tuple[str, str | None],
    tool: str = "goose",
    mark: str = "",
    live: str = "",
) -> Case:
    """A case of new migrations, each given as its way up and its way down (None: there is none)."""
    files: dict[str, str] = {}
    for number, (up, down) in enumerate(ways, 2):
        files |= files_of(tool, number, _ended(up), None if down is None else _ended(down), mark)
    return Case(name, "sql", dialect, kind, must, partial(lay, tool, dialect), files, live)


def _ended(sql: str) -> str:
    text = sql.strip()
    return f"{text}\n" if not text or text.endswith((";", "*/")) else f"{text};\n"


def drizzle(root: Path, dialect: str, *, missing: bool) -> Path:
    """A drizzle folder; `missing`: its journal names a file that is not there."""
    tags = ["0000_base", *(["0001_gone"] if missing else [])]
    entries = [
        {"idx": number, "version": "7", "when": 1704106800000 + number, "tag": tag, "breakpoints": True}
        for number, tag in enumerate(tags)
    ]
    return write(
        root,
        {
            "drizzle.config.ts": f"export default {{ dialect: '{dialect}', out: './drizzle' }};\n",
            "drizzle/0000_base.sql": base(dialect),
            "drizzle/meta/_journal.json": json.dumps({"version": "7", "dialect": dialect, "entries": entries}),
        },
    )
