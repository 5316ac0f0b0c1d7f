"""What works on this machine, what does not, and how to fix it."""

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from backend_crew.crew import roles, settings
from backend_crew.crew.errors import BackendCrewError
from backend_crew.crew.journal import Journal
from backend_crew.tools import process, ripgrep
from backend_crew.tools.contract.exercise import find_tools
from backend_crew.tools.errors import ToolError
from backend_crew.tools.process import run
from backend_crew.tools.sandbox import NoSandbox, find_sandbox


@dataclass(frozen=True)
class Condition:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True


def examine(open_journal: Callable[[], Journal]) -> list[Condition]:
    """Look at everything; nothing is changed."""
    own = [_python(), _git(), _sandbox(), _ripgrep(), _state(open_journal), _roles(), _crewai(), _sqlite(), _model()]
    return [*own, _schemathesis()]


def _python() -> Condition:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Condition("Python", (3, 11) <= sys.version_info[:2] < (3, 14), found, "use Python 3.11, 3.12 or 3.13")


def _git() -> Condition:
    path = shutil.which("git", path=process.SEARCH_PATH)
    if path is None:
        return Condition("git", False, "not found", "install git")
    done = run(
        [path, "--version"],
        cwd=Path("/"),
        env={},
        timeout_s=10,
    )
    return Condition("git", done.ok, done.stdout.strip() or done.stderr.strip(), "install git")


def _sandbox() -> Condition:
    try:
        found = find_sandbox()
    except ToolError as error:
        return Condition("sandbox", False, str(error))
    if isinstance(found, NoSandbox):
        return Condition("sandbox", False, f"{found.reason} (without it no command runs)", found.fix)
    said = f"{found.title}, tried: files, network, sockets, environment, processes and signals are closed"
    if found.instead is None:
        return Condition("sandbox", True, said)
    # It holds, but less can be run in it: worth a fix, and no reason to stop.
    lacks = f"what it cannot do: {'; '.join(found.engine.gaps)}; nothing better because {found.instead.reason}"
    return Condition("sandbox", False, f"{said}; {lacks}", found.instead.fix, needed=False)


def _ripgrep() -> Condition:
    try:
        return Condition("ripgrep", True, str(ripgrep.find_rg()))
    except ToolError as error:
        return Condition("ripgrep", False, str(error), "pip install ripgrep==14.1.0")


def _state(open_journal: Callable[[], Journal]) -> Condition:
    try:
        with closing(open_journal()) as journal:
            count = len(journal.runs())
        return Condition("state", True, f"{settings.state_home()} ({count} runs)")
    except BackendCrewError as error:
        return Condition("state", False, str(error), "set BACKEND_CREW_HOME to a folder that you can write")


def _roles() -> Condition:
    spec, faults = roles.inspect(roles.default_folder())
    return Condition(
        "roles and tasks", spec is not None, f"{len(faults)} faults" if faults else "valid", "backend-crew validate"
    )


def _crewai() -> Condition:
    try:
        return Condition("crewai", True, version("crewai"))
    except PackageNotFoundError:
        return Condition("crewai", False, "not installed", "pip install 'crewai[anthropic]>=1.15.30,<1.16'")


def _sqlite() -> Condition:
    return Condition(
        "SQLite", sqlite3.sqlite_version_info >= (3, 35), sqlite3.sqlite_version, "use a newer Python build"
    )


def _schemathesis() -> Condition:
    """What calls the finished application with generated requests; it needs an environment of its own."""
    folder = settings.tool_environment("schemathesis")
    found, why = find_tools(folder)
    how = f"python3 -m venv {folder} && {folder}/bin/pip install 'schemathesis>=4.30,<5'"
    return Condition(
        "schemathesis", found is not None, str(folder) if found else why.partition(";")[0], how, needed=False
    )


def _model() -> Condition:
    name = settings.get("MODEL") or settings.DEFAULT_MODEL
    variable = f"{name.partition('/')[0].upper()}_API_KEY"
    has = settings.get(variable) is not None
    found = f"{name}, {variable} is {'set' if has else 'not set'}"
    return Condition("model", has, found, f"export {variable}=… (the demo needs none)", needed=False)
