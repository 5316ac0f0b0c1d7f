"""Which migration tools a repository uses, where their files are, and what a person would run to apply them."""

import json
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools.alembic_config import has_alembic, read_config
from backend_crew.tools.errors import ToolRetry

_SKIPPED = {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "vendor", "__pycache__", "dist", "build", "target"}
_MAX_FILES = 50_000
_MAX_READ = 64_000


@dataclass(frozen=True)
class MigrationFile:
    """One revision: its file, its id, the revisions it stands on, and the SHA-256 of its bytes."""

    path: str
    revision: str
    parents: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class MigrationTool:
    """One migration tool as found in a repository; paths are relative to its root."""

    name: str
    config: str | None
    folder: str | None
    can_rehearse: bool
    apply_command: tuple[str, ...]  # what a person would run in the folder of `config`; empty when not known
    evidence: str  # "path:line"
    versions: tuple[str, ...] = ()  # Alembic: the folders that hold revision files

    @property
    def flask(self) -> bool:
        """Whether it is Alembic behind Flask-Migrate, whose env.py wants the application."""
        return self.name == "alembic" and self.apply_command[:1] == ("flask",)


@dataclass(frozen=True)
class _Rule:
    """A tool is there when a file's path matches `marker` and, if given, its text matches `proof`."""

    name: str
    marker: str
    files: str  # what a migration file is called, relative to the folder
    command: str  # {folder}, {config} are filled in; split at spaces
    proof: str | None = None
    folder: str | None = None  # relative to the marker's folder; None = that folder itself; "*" = anywhere below it
    setting: str | None = None  # a pattern in the marker's text whose group 1 names the folder


_YOYO, _YOYO_FILES = "yoyo apply {folder}", r"[^/]+\.(sql|py)"
_RULES = (
    _Rule(
        "django",
        r"manage\.py",
        r"(.+/)?migrations/(?!__init__\.py$)[^/]+\.py",
        "python manage.py migrate",
        proof=r"DJANGO_SETTINGS_MODULE|django\.core\.management",
        folder="*",
    ),
    _Rule("aerich", r"pyproject\.toml", r"(.+/)?\d+_[^/]+\.py", "aerich upgrade", proof=r"^\[tool\.aerich\]",
          folder="migrations", setting=r"(?m)^location\s*=\s*[\"']([^\"']+)"),
    _Rule("prisma", r"schema\.prisma", r"[^/]+/migration\.sql", "npx prisma migrate deploy", folder="migrations"),
    _Rule("drizzle", r"drizzle\.config\.(ts|js|mjs|cjs|json)", r".+\.sql|meta/[^/]+\.json", "npx drizzle-kit migrate",
          folder="drizzle", setting=r"[\"']?\bout[\"']?\s*:\s*[\"'`]([^\"'`]+)"),
    _Rule("knex", r"knexfile\.(js|ts|cjs|mjs)", r"[^/]+\.(js|ts|cjs|mjs)", "npx knex migrate:latest",
          folder="migrations", setting=r"migrations\s*:\s*\{[^}]*directory\s*:\s*[\"'`]([^\"'`]+)"),
    _Rule("typeorm", r"ormconfig\.(json|js|ts)|[\w.-]*data-?source[\w.-]*\.(ts|js)",
          r"(.+/)?migrations?/[^/]+\.(ts|js)", "npx typeorm migration:run -d {config}",
          proof=r"(?i)typeorm|\"migrations\"", folder="*"),
    _Rule("sequelize", r"\.sequelizerc", r"(.+/)?migrations/[^/]+\.(js|cjs|ts)", "npx sequelize-cli db:migrate",
          folder="*"),
    _Rule("sequelize", r"package\.json", r"(.+/)?migrations/[^/]+\.(js|cjs|ts)", "npx sequelize-cli db:migrate",
          proof=r"\"sequelize-cli\"", folder="*"),
    _Rule("rails", r"db/(schema\.rb|structure\.sql)", r"[^/]+\.rb", "bin/rails db:migrate", folder="migrate"),
    _Rule("rails", r"db/migrate/\d+_\w+\.rb", r"[^/]+\.rb", "bin/rails db:migrate"),
    _Rule("ecto", r"priv/repo/migrations/\d+_\w+\.exs", r"[^/]+\.exs", "mix ecto.migrate"),
    _Rule("ecto", r"mix\.exs", r"[^/]+\.exs", "mix ecto.migrate", proof=r":ecto_sql\b", folder="priv/repo/migrations"),
    _Rule("efcore", r"Migrations/\w+ModelSnapshot\.cs", r"[^/]+\.cs", "dotnet ef database update"),
    _Rule("efcore", r"[\w.-]+\.csproj", r"[^/]+\.cs", "dotnet ef database update",
          proof=r"Microsoft\.EntityFrameworkCore\.(Design|Tools)", folder="Migrations"),
    _Rule("liquibase", r"[\w.-]*changelog[\w.-]*\.(xml|ya?ml|json|sql)", r".+\.(xml|ya?ml|json|sql)",
          "liquibase update", proof=r"databaseChangeLog|liquibase formatted sql"),
    _Rule("atlas", r"atlas\.sum", r"[^/]+\.sql", "atlas migrate apply --dir file://{folder} --url $DATABASE_URL"),
    _Rule("flyway", r"V\d[\d._]*__[^/]+\.sql", r"(.+/)?([VU]\d[\d._]*|R)__[^/]+\.(sql|java)",
          "flyway -locations=filesystem:{folder} migrate"),
    _Rule("golang-migrate", r"\d+_[^/]+\.up\.sql", r"\d+_[^/]+\.(up|down)\.sql",
          "migrate -path {folder} -database $DATABASE_URL up"),
    _Rule("goose", r"\d+_[^/]+\.sql", r"\d+_[^/]+\.(sql|go)", "goose -dir {folder} up", proof=r"(?m)^--\s*\+goose Up"),
    _Rule("dbmate", r"\d+_[^/]+\.sql", r"\d+_[^/]+\.sql", "dbmate --migrations-dir {folder} up",
          proof=r"(?m)^--\s*migrate:up"),
    _Rule("yoyo", r"yoyo\.ini", _YOYO_FILES, _YOYO, folder="migrations",
          setting=r"(?m)^\s*sources\s*=\s*(?:%\(here\)s/)?([^\s%]+)"),
    _Rule("yoyo", r"[^/]+\.sql", _YOYO_FILES, _YOYO, proof=r"^--\s*depends\s*:"),
    _Rule("yoyo", r"[^/]*migrations?[^/]*/[^/]+\.py", _YOYO_FILES, _YOYO, proof=r"^from yoyo import .*\bstep\b"),
)  # fmt: skip
# With Alembic, those that `migrators` know how to move; the files of others are shown.
_REHEARSED = frozenset({"django", "goose", "golang-migrate", "dbmate", "yoyo", "flyway", "prisma", "drizzle"})
# Last, and only where no tool above owns the folder: which program runs these files is not known.
_PLAIN_SQL = _Rule("sql", r"migrations?/V?\d+[\w.-]*\.sql", r"[^/]+\.sql", "")


def detect(root: Path) -> tuple[MigrationTool, ...]:
    """Every migration tool found by its files, none of which is run; a schema without a tool gives an empty tuple."""
    paths = _files(root)
    found = [_alembic(root, path) for path in paths if _is_alembic(root, path)]
    for rule in _RULES:
        found += _matches(root, rule, paths)
    owned = [tool.folder for tool in found if tool.folder]
    for tool in _matches(root, _PLAIN_SQL, paths):
        folder = tool.folder or ""
        if not any(folder == owner or folder.startswith(f"{owner}/") for owner in owned):
            found.append(replace(tool, apply_command=_own_script(root)))
    unique: dict[tuple[str, str | None], MigrationTool] = {}
    for tool in found:
        unique.setdefault((tool.name, tool.folder), tool)
    return tuple(unique.values())


def new_files(tool: MigrationTool, changed: Sequence[str]) -> tuple[str, ...]:
    """Those of the changed paths that are migration files of this tool, in the order given."""
    if tool.name == "alembic":
        folders = tool.versions or ((posixpath.join(tool.folder, "versions"),) if tool.folder is not None else ())
        return tuple(path for path in changed if any(_is_revision(path, folder) for folder in folders))
    patterns = [rule.files for rule in (*_RULES, _PLAIN_SQL) if rule.name == tool.name]
    start = f"{tool.folder}/" if tool.folder else ""
    inside = [path for path in changed if path.startswith(start)]
    return tuple(path for path in inside if any(re.fullmatch(one, path.removeprefix(start)) for one in patterns))


def why_not_rehearsed(tool: MigrationTool) -> str:
    """Why a tool's migrations are only shown here, in words for a person."""
    if tool.name == "sql":
        return "these SQL files are run by a program of the repository's own, so they are shown whole and not tried"
    if tool.flask:
        return (
            f"the env.py beside {tool.config} is Flask-Migrate's for several databases (SQLALCHEMY_BINDS), and a rehearsal "
            "knows one: its migrations are shown whole, and not tried"
        )
    if tool.name == "alembic":
        return f"Alembic as it is set up in {tool.config} cannot be driven by its own command line alone"
    return f"rehearsal is not available for {tool.name.capitalize()}: its migrations are shown whole, and not tried"


def _own_script(root: Path) -> tuple[str, ...]:
    """What the repository itself calls its migration command: a script of package.json; empty when there is none."""
    try:
        document = json.loads(_read(root, "package.json"))
    except ValueError:
        return ()
    scripts = document.get("scripts") if isinstance(document, dict) else None
    names = ("migrate", "db:migrate", "migrate:up", "migrate:latest", "migration:run")
    return next((("npm", "run", name) for name in names if isinstance(scripts, dict) and name in scripts), ())


def _is_revision(path: str, folder: str) -> bool:
    # Alembic's own rule: every .py below a versions folder but __init__.py and editors' lock files.
    start = f"{folder}/" if folder else ""
    name = posixpath.basename(path)
    return path.startswith(start) and name.endswith(".py") and not name.startswith((".#", "__init__"))


def _is_alembic(root: Path, path: str) -> bool:
    name = posixpath.basename(path)
    if name == "pyproject.toml":
        # Where both exist alembic.ini is the tool's config and read_config merges the two.
        beside = root / posixpath.dirname(path) / "alembic.ini"
        return has_alembic(path, _read(root, path)) and not beside.is_file()
    return name.startswith("alembic") and has_alembic(path, _read(root, path))


def _alembic(root: Path, path: str) -> MigrationTool:
    try:
        config = read_config(root, path)
    except ToolRetry:
        # Found, but not understood: better reported without a folder than left out.
        return MigrationTool("alembic", path, None, False, ("alembic", "upgrade", "head"), f"{path}:1")
    command: tuple[str, ...] = ("flask", "db", "upgrade") if config.flask else ("alembic", "upgrade", "head")
    if not config.flask and posixpath.basename(path) not in {"alembic.ini", "pyproject.toml"}:
        command = ("alembic", "-c", posixpath.basename(path), "upgrade", "head")
    return MigrationTool(
        name="alembic",
        config=path,
        folder=config.folder,
        can_rehearse=not config.several,
        apply_command=command,
        evidence=f"{path}:{config.line}",
        versions=config.versions,
    )


def _matches(root: Path, rule: _Rule, paths: Sequence[str]) -> list[MigrationTool]:
    marker = re.compile(rf"(?:.*/)?(?:{rule.marker})")
    found: dict[str, MigrationTool] = {}
    for path in paths:
        if not marker.fullmatch(path):
            continue
        text = _read(root, path) if rule.proof or rule.setting else ""
        proof = re.search(rule.proof, text, re.MULTILINE) if rule.proof else None
        if rule.proof and proof is None:
            continue
        folder = _folder(rule, path, text)
        line = text.count("\n", 0, proof.start()) + 1 if proof else 1
        command = rule.command.format(folder=folder or ".", config=path).split()
        able = rule.name in _REHEARSED
        found.setdefault(folder, MigrationTool(rule.name, path, folder, able, tuple(command), f"{path}:{line}"))
    return list(found.values())


def _folder(rule: _Rule, path: str, text: str) -> str:
    base = posixpath.dirname(path)
    if rule.folder is None or rule.folder == "*":
        return base
    named = re.search(rule.setting, text, re.DOTALL) if rule.setting else None
    place = posixpath.normpath(posixpath.join(base, named[1] if named else rule.folder))
    return "" if place == "." else place


def _files(root: Path) -> tuple[str, ...]:
    """The repository's files in order, links and dependency folders left out."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        start = Path(folder).relative_to(root).as_posix()
        found += [name if start == "." else f"{start}/{name}" for name in sorted(names)]
        if len(found) > _MAX_FILES:
            break
    return tuple(found[:_MAX_FILES])


def _read(root: Path, path: str) -> str:
    """The start of a regular file, "" for anything else: a detector must not hang on a pipe or follow a link."""
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(_MAX_READ).decode("utf-8", errors="replace")
