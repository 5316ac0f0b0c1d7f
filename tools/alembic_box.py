"""Alembic inside a sandbox box, pointed at the scratch database there."""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import unset
from backend_crew.tools.alembic_config import AlembicConfig, read_config, with_url
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Pointing, Scratch
from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.process import Completed

_EXCERPT = 1_500
# As Alembic's console script, where a repository's own folder "alembic" hides nothing, but with the folder it runs in
# still on sys.path, at its end, for projects whose people run `python -m alembic`.
_LAUNCH = """
import os, sys
sys.path.append(os.getcwd())
from alembic.config import main
sys.exit(main(prog="alembic"))
"""
_ENGINES = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "postgres": POSTGRESQL, "mysql": "MySQL", "mariadb": "MariaDB",
            "mssql": "SQL Server", "oracle": "Oracle", "cockroachdb": "CockroachDB"}  # fmt: skip
# What else PostgreSQL, SQLAlchemy and Python's tracebacks begin a line with.
_AFTER_DETAIL = re.compile(
    r"(HINT|CONTEXT|QUERY|STATEMENT|LOCATION|ERROR|FATAL):|LINE \d+:|\[SQL:|\[parameters:|\(Background on|Traceback \("
    r"|The above exception|During handling"
)


# `postgresql.UUID()`, `postgresql_using=`: what only a revision for that engine says.
_DIALECT = re.compile(r"\b(postgresql|mysql|mssql|oracle)(?:\.[A-Z]|_\w+\s*=)")


@dataclass(frozen=True)
class AlembicRun:
    """One scratch database, and the environment that leads Alembic there."""

    scratch: Scratch
    config: AlembicConfig
    env: Mapping[str, str] = field(repr=False)


def plain_config(root: Path, tool: MigrationTool) -> AlembicConfig:
    """The configuration of a tool that Alembic's own command line drives; ToolRefused for any other."""
    if tool.name != "alembic" or tool.config is None or tool.flask or not tool.can_rehearse:
        raise ToolRefused(f"{tool.name} ({tool.evidence}) cannot be run here; only Alembic's own command line can")
    return read_config(root, tool.config)


def point_at(scratch: Scratch, config: AlembicConfig, pointing: Pointing) -> AlembicRun:
    """Leads Alembic to the scratch database, by the named variables and by the box's alembic.ini."""
    box, names = scratch.box, pointing.url_names
    if box.runtime.python is None:
        raise ToolFault("no Python was found for this repository: create its virtual environment, or name one")
    url = scratch.url(driver_in(_urls(config, pointing)))
    # Every way that env.py may take to its URL has to end at the scratch database.
    ini = posixpath.join(config.base, "alembic.ini") if config.path.endswith(".toml") else config.path
    text = box.read(ini)
    if text is not None:
        box.put(ini, with_url(text.decode("utf-8", errors="replace"), url).encode())
    elif not names:
        box.put(ini, (with_url("", url) + _LOGGING).encode())
    return AlembicRun(scratch, config, {**pointing.env, **dict.fromkeys(names, url)})


def alembic(run: AlembicRun, *arguments: str) -> Completed:
    """Runs one Alembic command in the box, in the folder a person would run it in.

    Raises ToolFault without Alembic, ToolRetry where the code lacks a variable or a module.
    """
    python = str(run.scratch.box.runtime.python)
    name = run.config.path.rsplit("/", 1)[-1]
    argv = (python, "-c", only_sources(run.scratch.box, _LAUNCH), "-c", name, *arguments)
    done = run.scratch.run(argv, env=run.env, cwd=run.config.base or ".")
    if done.exit_code and done.stderr.rstrip().endswith("No module named 'alembic'"):
        raise ToolFault(f"{python} has no Alembic: make the repository's .venv, or name its interpreter with --python")
    check_variables(done, "--sql" in arguments)
    return done


def check_variables(done: Completed, rendered: bool) -> None:
    """Raises ToolRetry where the code lacks a variable or a module: no fault of a migration, as nothing was tried.

    SQL that cannot be `rendered` for this reason is just not there.
    """
    if done.exit_code and not rendered and (missing := unset.told(_lines(done)) or unset.module(_lines(done))):
        raise ToolRetry(missing)


def engine_of(config: AlembicConfig, pointing: Pointing, files: Iterable[str] = ()) -> str:
    """What the project's URL names: SQLITE (also where nothing names one), POSTGRESQL, or another engine's own name.

    Where no URL is to be seen, what the texts of the revisions take from a dialect says it.
    """
    return engine_in(_urls(config, pointing), files)


def engine_in(urls: Sequence[str], files: Iterable[str] = ()) -> str:
    """What the first of these that is a URL names, SQLITE where none is."""
    named = next((found for url in urls if (found := engine_named(url))), None)
    if named is None:
        spoken = {match[1] for text in files for match in _DIALECT.finditer(text)}
        named = _ENGINES[min(spoken)] if len(spoken) == 1 else None
    return named or SQLITE


def engine_named(url: str) -> str | None:
    """SQLITE, POSTGRESQL or another engine's name as a SQLAlchemy URL says it; None for what is no URL."""
    scheme = url.split(":", 1)[0].split("+", 1)[0].lower()
    if scheme in _ENGINES:
        return _ENGINES[scheme]
    # "driver" stands in the file that `alembic init` writes
    if re.match(r"(?!driver:)[a-z][a-z0-9+]*://", url, re.IGNORECASE):
        return f"an engine that is not known here ({scheme})"
    return None


def excerpt(done: Completed) -> str:
    """The end of what a failed command said, at most 1,500 characters, without values of rows."""
    if done.timed_out:
        return f"it did not finish within {done.seconds:.0f} s"
    if done.stopped:
        return "it was stopped"
    lines = _lines(done)
    if missing := unset.told(lines):
        return missing
    kept = [line for line in lines if not line.startswith(("[parameters:", "(Background on this error", "INFO  "))]
    return "\n".join(kept[-12:])[-_EXCERPT:] or f"exit code {done.exit_code} and no message"


def _lines(done: Completed) -> list[str]:
    return [line for line in without_rows(done.stderr or done.stdout).splitlines() if line.strip()]


def reason_in(text: str) -> str:
    """The one line of an excerpt that says what went wrong: of a traceback the error itself, else the last."""
    lines = text.splitlines() or ["no message"]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning)\b.*:|ERROR:", line)]
    return (errors or lines)[-1]


def without_rows(text: str) -> str:
    """Without PostgreSQL's DETAIL, which quotes values of rows, over several lines where these have several."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        inside = line.lstrip(" |").startswith("DETAIL:") or (inside and not _AFTER_DETAIL.match(line))
        kept += [] if inside else [line]
    return "".join(kept)


def driver_in(urls: Sequence[str]) -> str | None:
    """The driver that the project uses, as in "postgresql+asyncpg", so that asynchronous code gets its own."""
    return next((match[0] for url in urls if (match := re.match(r"(sqlite|postgresql)(\+\w+)?(?=:)", url))), None)


def _urls(config: AlembicConfig, pointing: Pointing) -> tuple[str, ...]:
    return (*(pointing.env.get(name, "") for name in pointing.url_names), config.url or "")


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
