"""Variables and modules that a failed program's code wanted and did not have, as its traceback names them."""

import itertools
import re
from collections.abc import Sequence

# The last line of a traceback, by os.environ itself, Starlette, django-environ, decouple, environs, django-configurations.
_ONE = re.compile(
    r"KeyError: '(?P<key>\w+)'|KeyError: \"Config '(\w+)' is missing|.*Set the (\w+) environment variable"
    r"|.*UndefinedValueError: (\w+) not found|.*[Ee]nvironment variable [\"'](\w+)[\"'] (?:is )?not set"
    r"|.*to be set as the environment variable '(\w+)'"
)
# pydantic-settings, and pydantic 1 before it: a heading, then each field on a line of its own, what is wrong below it.
_SETTINGS = re.compile(r"[\w.]*ValidationError: \d+ validation errors? for (\w+)")
_READS_SETTINGS = ("pydantic_settings", "env_settings")
_REQUIRED = re.compile(r"\s+field required \W?type=(?:missing|value_error\.missing)", re.IGNORECASE)


_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def module(lines: Sequence[str]) -> str | None:
    """Which module could not be imported and how it is given, where a traceback ends on that."""
    if not lines or not (found := _MODULE.match(lines[-1])):
        return None
    return (
        f"its code imports {found[1]}, which is not installed in the environment that commands run with. Name that of the "
        "repository with --python; where it is a package of the repository itself, name the folder that holds it: "
        "--sandbox-env PYTHONPATH=FOLDER, for example PYTHONPATH=src"
    )


def told(lines: Sequence[str]) -> str | None:
    """What is missing and how it is given, where a traceback ends on it; None where it ends on something else.

    `lines` are without blank ones. Values are never repeated.
    """
    if lines and (found := _ONE.match(lines[-1])):
        if found["key"] and not any("frozen os" in line or "/os.py" in line for line in lines):
            return None
        return _words([next(name for name in found.groups() if name)], "")
    return _of_settings(lines)


def _of_settings(lines: Sequence[str]) -> str | None:
    last = max((number for number, line in enumerate(lines) if _SETTINGS.match(line)), default=None)
    if last is None or not any(name in line for line in lines[:last] for name in _READS_SETTINGS):
        return None
    below = lines[last + 1 :]
    fields = [name.strip() for name, said in itertools.pairwise(below) if _REQUIRED.match(said)]
    heading = _SETTINGS.match(lines[last])
    if not fields or heading is None:
        return None
    # as people write them: settings do not mind the case unless they are told to
    names = [name.upper() for name in fields]
    return _words(
        names, f" (required by the settings class {heading[1]}, before whose names a prefix of its own comes)"
    )


def _words(names: Sequence[str], more: str) -> str:
    many = len(names) > 1
    what = f"the environment variable{'s' if many else ''} {', '.join(names)}"
    return (
        f"its code reads {what}, which {'are' if many else 'is'} not set here{more}: the sandbox has neither .env files "
        f"nor your variables. Give a made-up value with --sandbox-env {names[0]}=VALUE; a variable that holds the URL of "
        f"the database is named when the run is started: --database-url-env {_likely(names)}"
    )


def _likely(names: Sequence[str]) -> str:
    """Which of them holds the URL of the database, to go by its name."""
    return next((name for name in names if re.search(r"DATABASE|DB|DSN|URL|URI", name)), names[0])
