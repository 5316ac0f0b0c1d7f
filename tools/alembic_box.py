"""Alembic inside a sandbox box, pointed at a scratch database there; and that database brought out again."""

import posixpath
import re
import shutil
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.alembic_config import AlembicConfig, read_config, with_url
from backend_crew.tools.errors import ToolFault, ToolRefused
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box, Limits

SCRATCH = ".rehearsal"  # a folder of the box; the repository never has it
# One name for rehearsing and for applying: code that could tell the two apart could behave for the rehearsal.
DATABASE = f"{SCRATCH}/rehearsal.sqlite3"
_EXCERPT = 1_500
# As Alembic's console script, where a repository's own folder "alembic" hides nothing, but with the folder it runs in
# still on sys.path, at its end, for projects whose people run `python -m alembic`.
_LAUNCH = (
    "import os, sys; sys.path[:] = [item for item in sys.path if item] + [os.getcwd()]; "
    "from alembic.config import main; sys.exit(main(prog='alembic'))"
)
# Bytecode in the repository's __pycache__ can say something else than the source that was shown.
_NO_COMPILED = ("-X", "pycache_prefix=/tmp/home/pycache")
_ENGINES = {"postgresql": "PostgreSQL", "postgres": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB",
            "mssql": "SQL Server", "oracle": "Oracle", "cockroachdb": "CockroachDB"}  # fmt: skip


@dataclass(frozen=True)
class AlembicRun:
    """One box, one scratch database in it (`database`, relative), and the environment that leads Alembic there."""

    box: Box
    config: AlembicConfig
    database: str
    env: Mapping[str, str] = field(repr=False)
    limits: Limits = field(default_factory=Limits)
    stop: Callable[[], bool] | None = None


def plain_config(root: Path, tool: MigrationTool) -> AlembicConfig:
    """The configuration of a tool that Alembic's own command line drives; ToolRefused for any other."""
    if tool.name != "alembic" or tool.config is None or not tool.can_rehearse:
        raise ToolRefused(f"{tool.name} ({tool.evidence}) cannot be run here; only Alembic's own command line can")
    return read_config(root, tool.config)


def point_at(
    box: Box,
    config: AlembicConfig,
    database: str,
    *,
    url_names: Collection[str],
    env: Mapping[str, str],
    stop: Callable[[], bool] | None = None,
) -> AlembicRun:
    """Leads Alembic to `database` of the box, by the named variables and by the box's alembic.ini."""
    if box.runtime.python is None:
        raise ToolFault("no Python was found for this repository: create its virtual environment, or name one")
    url = f"{_driver(config, url_names, env)}:///{box.layout.at / database}"
    ini = posixpath.join(config.base, "alembic.ini") if config.path.endswith(".toml") else config.path
    text = box.read(ini)
    # Every way that env.py may take to its URL has to end at the scratch database.
    if text is not None:
        box.put(ini, with_url(text.decode("utf-8", errors="replace"), url).encode())
    elif not url_names:
        box.put(ini, (with_url("", url) + _LOGGING).encode())
    return AlembicRun(box, config, database, {**env, **dict.fromkeys(url_names, url)}, stop=stop)


def alembic(run: AlembicRun, *arguments: str) -> Completed:
    """Runs one Alembic command in the box, in the folder a person would run it in; ToolFault without Alembic."""
    python = str(run.box.runtime.python)
    name = run.config.path.rsplit("/", 1)[-1]
    done = run.box.run(
        (python, *_NO_COMPILED, "-c", _LAUNCH, "-c", name, *arguments),
        env=run.env,
        limits=run.limits,
        stop=run.stop,
        cwd=run.config.base or ".",
    )
    if done.exit_code and done.stderr.rstrip().endswith("No module named 'alembic'"):
        raise ToolFault(f"{python} has no Alembic: make the repository's .venv, or name its interpreter with --python")
    return done


def limits_for(database: Path) -> Limits:
    """Limits with room and time for a migration that rewrites every table of this database."""
    size, usual = database.stat().st_size, Limits()
    return Limits(timeout_s=usual.timeout_s + size / 2**21, file_bytes=max(usual.file_bytes, 4 * size))


def other_engine(config: AlembicConfig, url_names: Collection[str], env: Mapping[str, str]) -> str | None:
    """The engine the project's URL names when it is not SQLite, None when it is SQLite or nothing names one."""
    for url in (*(env.get(name, "") for name in url_names), config.url or ""):
        scheme = url.split(":", 1)[0].split("+", 1)[0].lower()
        if scheme == "sqlite":
            return None
        if scheme in _ENGINES:
            return _ENGINES[scheme]
        # "driver" stands in the file that `alembic init` writes
        if re.match(r"(?!driver:)[a-z][a-z0-9+]*://", url, re.IGNORECASE):
            return "an engine that is not known here"
    return None


def bring_out(box: Box, database: str, target: Path) -> Path | None:
    """Copies the box's database (and its WAL) to `target`, following no link that the box made; None when missing."""
    for suffix in ("", "-wal", "-journal"):
        source = _regular(box.files, database + suffix)
        if source is not None:
            shutil.copyfile(source, f"{target}{suffix}")
        elif not suffix:
            return None
    return target


def excerpt(done: Completed) -> str:
    """The end of what a failed command said, at most 1,500 characters, without the values that SQLAlchemy prints."""
    if done.timed_out:
        return f"it did not finish within {done.seconds:.0f} s"
    if done.stopped:
        return "it was stopped"
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    if name := _unset_variable(lines):
        return (
            f"its code reads the environment variable {name}, which is not set here. If {name} holds the URL of the "
            f"database, the person names it when the run is started: --database-url-env {name}"
        )
    kept = [line for line in lines if not line.startswith(("[parameters:", "(Background on this error", "INFO  "))]
    return "\n".join(kept[-12:])[-_EXCERPT:] or f"exit code {done.exit_code} and no message"


def _unset_variable(lines: Sequence[str]) -> str | None:
    """The variable that a traceback ends on, by os.environ itself or by the libraries that read settings from it."""
    last = lines[-1] if lines else ""
    found = re.match(
        r"(?:KeyError: '(\w+)'|KeyError: \"Config '(\w+)' is missing|.*UndefinedValueError: (\w+) not found)", last
    )
    if found is None or (found[1] and not any("frozen os" in line or "/os.py" in line for line in lines)):
        return None
    return found[1] or found[2] or found[3]


def _driver(config: AlembicConfig, url_names: Collection[str], env: Mapping[str, str]) -> str:
    """The SQLite driver the project uses, so that an async env.py gets an async URL."""
    for url in (*(env.get(name, "") for name in url_names), config.url or ""):
        if match := re.match(r"sqlite(\+\w+)?(?=:)", url):
            return match[0]
    return "sqlite"


def _regular(root: Path, rel: str) -> Path | None:
    """A regular file below `root` reached without links; the box's processes are gone, so looking first is enough."""
    path = root
    parts = rel.split("/")
    for index, part in enumerate(parts):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        wanted = stat.S_ISREG(mode) if index == len(parts) - 1 else stat.S_ISDIR(mode)
        if not wanted:
            raise ToolFault(f"code in the sandbox replaced {rel} with something that is not a plain file")
    return path


_LOGGING = """[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARNING
handlers =
"""
