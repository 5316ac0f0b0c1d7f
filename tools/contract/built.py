"""What is known of the interface that a tree has: a document, a list of routes, or nothing and the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.contract.operations import Operation, operations_of, path_key


@dataclass(frozen=True)
class Route:
    """One route that is served; `described` where the document has it. `line` is 0 where it is not known."""

    method: str
    path: str
    file: str = ""
    line: int = 0
    described: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What compares equal to an operation's key."""
        return self.method, path_key(self.path)


@dataclass(frozen=True)
class BuiltApi:
    """The interface of one tree.

    "openapi" has bodies and statuses; "routes" comes from a run of the application, "static routes" from its source,
    and both know methods and paths alone; "none" knows nothing. `reason` says why there is not more.
    """

    source: Literal["openapi", "routes", "static routes", "none"]
    framework: str = ""
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    routes: tuple[Route, ...] = ()
    reason: str = ""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of the document, then those routes that it does not have."""
        described = operations_of(self.document)
        keys = {one.key for one in described}
        return (*described, *(Operation(one.method, one.path) for one in self.routes if one.key not in keys))

    def route(self, operation: Operation) -> Route | None:
        """Where an operation is served; None where that is not known."""
        found = [one for one in self.routes if one.key == operation.key]
        return next((one for one in found if one.path == operation.path), found[0] if found else None)


def nothing(reason: str, framework: str = "") -> BuiltApi:
    """An interface of which nothing is known."""
    return BuiltApi("none", framework, reason=reason)
