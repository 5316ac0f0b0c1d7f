"""What is known of the interface that a tree has: a document, a list of routes, or nothing and the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.contract.operations import Operation, operations_of, path_key

ANY = "ANY"
"""The method of a route that answers every method, or whose handler asks for itself."""


@dataclass(frozen=True)
class Route:
    """One route that is served, of any method for the method ANY; `line` is 0 where it is not known."""

    method: str
    path: str
    file: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What compares equal to an operation's key."""
        return self.method, path_key(self.path)


@dataclass(frozen=True)
class BuiltApi:
    """The interface of one tree.

    "openapi" has bodies and statuses; "graphql" has the schema's text in `sdl`; "routes" comes from a run of the application, "static routes" from its source,
    and both know methods and paths alone; "none" knows nothing. `reason` says why there is not more.
    """

    source: Literal["openapi", "graphql", "routes", "static routes", "none"]
    framework: str = ""
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    routes: tuple[Route, ...] = ()
    reason: str = ""
    sdl: str = field(default="", repr=False)
    left_open: int = 0  # routes that the source makes in a way that it does not tell

    def operations(self, named: Sequence[Operation] = ()) -> tuple[Operation, ...]:
        """The operations of the document, then those routes that it does not have.

        A route of any method counts as the operations at its path that are `named`, else as one of the method ANY.
        """
        described = operations_of(self.document)
        keys = {one.key for one in described}
        served: dict[tuple[str, str], Operation] = {}
        for one in self.routes:
            methods = [one.method]
            if one.method == ANY:
                methods = [other.method for other in (*named, *described) if other.key[1] == one.key[1]] or methods
            for method in methods:
                if (method, one.key[1]) not in keys:
                    served.setdefault((method, one.path), Operation(method, one.path))
        return (*described, *served.values())

    def route(self, operation: Operation) -> Route | None:
        """Where an operation is served; None where that is not known."""
        found = [one for one in self.routes if one.key[1] == operation.key[1] and one.method in (operation.method, ANY)]
        return next((one for one in found if one.path == operation.path), found[0] if found else None)


def nothing(reason: str, framework: str = "") -> BuiltApi:
    """An interface of which nothing is known."""
    return BuiltApi("none", framework, reason=reason)
