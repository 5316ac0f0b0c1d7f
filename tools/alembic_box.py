"""Alembic inside a sandbox box, pointed at the scratch database there."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import unset
from backend_crew.tools.alembic_config import AlembicConfig, read_config, with_url
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Pointing, Scratch
from backend_crew.tools.process import Completed

_EXCERPT = 1_500
# As Alembic's console script, where a repository's own folder "alembic" hides nothing, but with the folder it runs in
# still on sys.path, at its end, for projects whose people run `python -m alembic`.
_LAUNCH = (
    "import os, sys; sys.path[:] = [item for item in sys.path if item] + [os.getcwd()]; "
    "from alembic.config import main; sys.exit(main(prog='alembic'))"
)
# Bytecode in the repository's __pycache__ can say something else than the source that was shown.
_NO_COMPILED = ("-X", "pycache_prefix=/tmp/home/pycache")
_ENGINES = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "postgres": POSTGRESQL, "mysql": "MySQL", "mariadb": "MariaDB",
            "mssql": "SQL Server", "oracle": "Oracle", "cockroachdb": "CockroachDB"}  # fmt: skip


@dataclass(frozen=True)
class AlembicRun:
    """One scratch database, and the environment that leads Alembic there."""

    scratch: Scratch
    config: AlembicConfig
    env: Mapping[str, str] = field(repr=False)


def plain_config(root: Path, tool: MigrationTool) -> AlembicConfig:
    """The configuration of a tool that Alembic's own command line drives; ToolRefused for any other."""
    if tool.name != "alembic" or tool.config is None or not tool.can_rehearse:
        raise ToolRefused(f"{tool.name} ({tool.evidence}) cannot be run here; only Alembic's own command line can")
    return read_config(root, tool.config)


def point_at(scratch: Scratch, config: AlembicConfig, pointing: Pointing) -> AlembicRun:
    """Leads Alembic to the scratch database, by the named variables and by the box's alembic.ini."""
    box, names = scratch.box, pointing.url_names
    if box.runtime.python is None:
        raise ToolFault("no Python was found for this repository: create its virtual environment, or name one")
    url = scratch.url(_driver(config, pointing))
    ini = posixpath.join(config.base, "alembic.ini") if config.path.endswith(".toml") else config.path
    text = box.read(ini)
    # Every way that env.py may take to its URL has to end at the scratch database.
    if text is not None:
        box.put(ini, with_url(text.decode("utf-8", errors="replace"), url).encode())
    elif not names:
        box.put(ini, (with_url("", url) + _LOGGING).encode())
    return AlembicRun(scratch, config, {**pointing.env, **dict.fromkeys(names, url)})


def alembic(run: AlembicRun, *arguments: str) -> Completed:
    """Runs one Alembic command in the box, in the folder a person would run it in.

    Raises ToolFault without Alembic, ToolRetry where a variable that the code reads is not set.
    """
    python = str(run.scratch.box.runtime.python)
    name = run.config.path.rsplit("/", 1)[-1]
    done = run.scratch.run(
        (python, *_NO_COMPILED, "-c", _LAUNCH, "-c", name, *arguments), env=run.env, cwd=run.config.base or "."
    )
    if done.exit_code and done.stderr.rstrip().endswith("No module named 'alembic'"):
        raise ToolFault(f"{python} has no Alembic: make the repository's .venv, or name its interpreter with --python")
    # No fault of a migration: nothing was tried. SQL that cannot be rendered for this reason is just not there.
    if done.exit_code and "--sql" not in arguments and (missing := unset.told(_lines(done))):
        raise ToolRetry(missing)
    return done


def engine_of(config: AlembicConfig, pointing: Pointing) -> str:
    """What the project's URL names: SQLITE (also where nothing names one), POSTGRESQL, or another engine's own name."""
    for url in _urls(config, pointing):
        if found := engine_named(url):
            return found
    return SQLITE


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
    """The end of what a failed command said, at most 1,500 characters, without the values that SQLAlchemy prints."""
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
    return [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]


def reason_in(text: str) -> str:
    """The one line of an excerpt that says what went wrong: of a traceback the error itself, else the last."""
    lines = text.splitlines() or ["no message"]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning)\b.*:|ERROR:", line)]
    return (errors or lines)[-1]


def _driver(config: AlembicConfig, pointing: Pointing) -> str | None:
    """The driver the project uses, so that an async env.py gets an async URL."""
    for url in _urls(config, pointing):
        if match := re.match(r"(sqlite|postgresql)(\+\w+)?(?=:)", url):
            return match[0]
    return None


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
