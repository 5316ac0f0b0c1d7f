"""Routes that let everyone in where the routes beside them do not."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from backend_crew.tools.audit.rules import RULES
from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.endpoints.protocol import EndpointScan

# What callers use before they have credentials, or what machines ask.
_OPEN = re.compile(
    r"(^|/)(log-?in|sign-?in|sign-?up|register|registration|token|tokens|auth|oauth2?|sessions?|refresh|password-?reset"
    r"|forgot[\w-]*|verify[\w-]*|confirm[\w-]*|health\w*|ready|readiness|live|liveness|ping|status|version|metrics"
    r"|webhooks?|callback|docs|openapi\.json|robots\.txt|favicon\.ico)(/|$)", re.I,
)  # fmt: skip


@dataclass(frozen=True)
class GuardedRoute:
    """One route with what guards it; "" where nothing does. `certain` is false where that is a guess."""

    method: str
    path: str  # with every parameter as {}
    file: str
    line: int
    guard: str
    certain: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """By which a route is known again."""
        return self.method, self.path


def guarded(scan: EndpointScan) -> tuple[GuardedRoute, ...]:
    """What a reading of the source says of the guards of its routes."""
    return tuple(
        GuardedRoute(
            one.method,
            re.sub(r"\{[^{}]*\}", "{}", one.template).rstrip("/") or "/",
            one.file,
            one.line,
            one.auth,
            one.certain,
        )
        for one in scan.endpoints
    )


def unguarded(
    before: Sequence[GuardedRoute], after: Sequence[GuardedRoute], public: Collection[tuple[str, str]]
) -> Iterator[ChangeFinding]:
    """New routes without a guard among guarded neighbours, and old ones that lost theirs.

    Neighbours are the other routes of the file; where it has none, those below the same first parts of the path.
    `public` are the routes that the approved contract opens to everyone.
    """
    old = {one.key: one for one in before}
    for one in after:
        if one.guard or one.key in public:
            continue
        was = old.get(one.key)
        if was is not None:
            if was.guard:
                yield _finding("auth-removed", one, f"{_title(one)} was guarded by {was.guard}")
            continue
        beside = _neighbours(one, after)
        guarded = [other for other in beside if other.guard]
        if guarded and 2 * len(guarded) >= len(beside):
            open_ = _OPEN.search(one.path) is not None or not one.certain
            where = f"{_title(guarded[0])} ({guarded[0].guard})"
            text = f"{_title(one)} has no guard, and {len(guarded)} of {len(beside)} routes beside it have one, such as {where}"
            yield _finding("auth-missing", one, text, open_)


def _neighbours(one: GuardedRoute, routes: Sequence[GuardedRoute]) -> list[GuardedRoute]:
    others = [other for other in routes if other.key != one.key]
    same = [other for other in others if other.file == one.file]
    if same and not any(other.guard for other in same) and len(same) > 1:
        return same
    top = [part for part in one.path.split("/") if part and part != "{}"][:2]
    below = [other for other in others if [part for part in other.path.split("/") if part and part != "{}"][:2] == top]
    return ([other for other in same if other.guard] and same) or below


def _title(one: GuardedRoute) -> str:
    return f"{one.method} {one.path}"


def _finding(rule: str, one: GuardedRoute, text: str, doubtful: bool = False) -> ChangeFinding:
    said = RULES[rule]
    return ChangeFinding(
        "security", rule, "warning" if doubtful else said.severity, one.file, one.line, f"{text}: {said.why}", said.fix
    )
