"""Apps, routers and blueprints as places with routes, mounted in one another: from these come the whole paths."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from backend_crew.tools.endpoints.protocol import Endpoint, joined
from backend_crew.tools.static.unresolved import Unresolved

_DEEP = 12


@dataclass(frozen=True)
class Mount:
    """A place within another. With `replaces` the prefix stands instead of the inner place's own, else before it."""

    child: "Place"
    prefix: str = ""
    auth: tuple[str, ...] = ()
    certain: bool = True
    replaces: bool = False


@dataclass(eq=False)
class Place:
    """Something that routes are put on; `prefix` is None where the source does not tell it. Routes have paths of its own."""

    file: str
    line: int
    root: bool = False
    prefix: str | None = ""
    auth: tuple[str, ...] = ()
    certain: bool = True
    routes: list[Endpoint] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    mounted: bool = False
    mount_lines: list[tuple[str, int]] = field(default_factory=list)
    """Where each mount is made, for guards that count from their own line on."""

    def mount(self, mount: Mount) -> None:
        """Puts another place within this one."""
        self.mounts.append(mount)
        mount.child.mounted = True


def expanded(places: Iterable[Place], unresolved: list[Unresolved]) -> Iterator[Endpoint]:
    """The endpoints of all places that a root leads to; what no root leads to is added to `unresolved`."""
    known = list(places)
    for place in known:
        if place.root and not place.mounted:
            yield from _below(place, "", (), place.certain, (), unresolved)
        elif not place.mounted and (count := _count(place, ())):
            why = f"{count} route(s) on something that was not seen to be mounted"
            unresolved.append(Unresolved(place.file, place.line, why))


def _count(place: Place, within: tuple[Place, ...]) -> int:
    """How many routes a place and those within it have."""
    if place in within or len(within) > _DEEP:
        return 0
    return len(place.routes) + sum(_count(one.child, (*within, place)) for one in place.mounts)


def _below(
    place: Place,
    prefix: str,
    auth: tuple[str, ...],
    certain: bool,
    within: tuple[Place, ...],
    unresolved: list[Unresolved],
) -> Iterator[Endpoint]:
    if place in within or len(within) > _DEEP:
        return
    guards = (*auth, *place.auth)
    for route in place.routes:
        named = (*guards, *(one for one in (route.auth,) if one))
        names = dict.fromkeys(name for one in named for name in one.split(", "))
        yield replace(
            route, path=joined(prefix, route.path), auth=", ".join(names), certain=route.certain and certain and place.certain
        )  # fmt: skip
    for mount in place.mounts:
        own = "" if mount.replaces else mount.child.prefix
        if own is None:
            why = "a prefix that is not a text that the source tells"
            unresolved.append(Unresolved(mount.child.file, mount.child.line, why))
            continue
        start = "" if not (prefix or mount.prefix or own) else joined(prefix, mount.prefix, own)
        inner = (*guards, *mount.auth)
        yield from _below(mount.child, start, inner, certain and mount.certain, (*within, place), unresolved)
