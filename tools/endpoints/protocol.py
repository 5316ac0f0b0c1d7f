"""What is read of endpoints, whatever the framework."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend_crew.tools.static.unresolved import Unresolved

if TYPE_CHECKING:  # who only asks what was found does not read sources
    from backend_crew.tools.static.project import Project

ANY = "ANY"
"""The method of an endpoint that answers every method."""
WEBSOCKET = "WEBSOCKET"
UNKNOWN = "unknown"
"""What stands in `auth` where something guards an endpoint that the source does not tell."""

_PARAMETER = re.compile(
    r"<(?:[^<>:]*:)?\s*(\w+)>"  # <int:id> of Flask and Django
    r"|\{\*?(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\??\}"  # {id}, {path:path}, {id:[0-9]{4}}, {id?}
    r"|(?<=[/.\-~(])[:*](\w+)(?:\((?:[^()]|\([^()]*\))*\)|\{[^{}]*\})?[?*+]?"  # :id, :id(\d+), :id{[0-9]+}, *path
    r"|\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)"  # (?P<id>[0-9]+)
)


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `path` is whole, prefixes included, in the framework's own notation.

    `request` and `response` name the types of the body and of the answer, "" where the source names none. `auth` names
    what guards it (dependency, decorator, guard, middleware, permission class), "" where nothing was found. An endpoint
    that depends on a condition, or on a value that another may replace, is not certain.
    """

    method: str
    path: str
    handler: str
    file: str
    line: int
    request: str = ""
    response: str = ""
    auth: str = ""
    framework: str = ""
    certain: bool = True

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: every parameter as {name}."""
        return _PARAMETER.sub(lambda match: "{" + next(one for one in match.groups() if one) + "}", self.path)


@dataclass(frozen=True)
class EndpointScan:
    """All that was found, sorted by file and line, each once."""

    endpoints: tuple[Endpoint, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


@dataclass(frozen=True)
class Framework:
    """A family of frameworks: only files with one of the suffixes and one of the words are given to `read`."""

    name: str
    suffixes: tuple[str, ...]
    words: tuple[bytes, ...]
    also: tuple[bytes, ...]
    """Words that mean nothing by themselves, for further files of a repository that has one of `words`."""
    read: Callable[["Project", tuple[str, ...]], EndpointScan]


def joined(*parts: str) -> str:
    """A path of prefixes and a rest, with one slash between them; what was written at its end stays."""
    whole = ""
    for part in parts:
        if part:
            whole = f"{whole.rstrip('/')}/{part.lstrip('/')}" if whole else part
    return whole if whole.startswith("/") else f"/{whole}"
