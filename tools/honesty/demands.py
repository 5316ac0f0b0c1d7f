"""What a test demanded and demands: its assertions paired, each with the one that took its place."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty import python_tests
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.testcode import Assertion, Test

_COARSE = 0.005
"""A tolerance from here on accepts wrong values; below it, floating point needs one."""
_WARNS = frozenset({"warns", "assertWarns"})
_FALSY = frozenset({"False", "None", "0", "''", '""', "[]", "{}", "()", "set()", "false", "null", "undefined", "0.0"})
_TRUTHY = frozenset({"True", "true", "1"})
_PLATFORM = (
    "platform",
    "version",
    "sys.",
    "os.name",
    "environ",
    "django.VERSION",
    "PY3",
    "HAS_",
    "process.",
    "engine",
    "isWindows",
)


class Elsewhere(Protocol):
    """What of the change may account for a loss."""

    def accounted(self, lost: Assertion, was: Test) -> Literal["", "moved", "gone"]:
        """Whether a lost demand stands elsewhere now, or what it looked at went too."""

    def broader(self, was: str, now: str) -> bool:
        """Whether exceptions `now` take in more than `was`."""


def weakened(path: str, name: str, was: Test, now: Test, elsewhere: Elsewhere) -> Iterator[ChangeFinding]:
    """What the demands of one test lost."""
    pairs, lost = paired(was.demands, now.assertions)
    for old, new in pairs:
        for rule, severity, text, fix in _looser(name, old, new, elsewhere):
            # A test that got more cases may demand one thing of some, and another of others.
            by_case = rule == "assertion-conditional" and len(now.cases) > len(was.cases)
            yield finding(rule, "warning" if by_case else severity, path, new.line, text, fix)
    sums = [sum(one.strength for one in test.demands) for test in (was, now)]
    grew = bool(sums[1]) and sums[1] >= sums[0]
    for old in (one for one in lost if not _implied(one, now.demands)):
        reason = elsewhere.accounted(old, was)
        if reason != "moved":
            why = "; what it looked at was removed too" if reason else "; others were added" if grew else ""
            if not why and old.subject in _WARNS:
                why = "; a warning that code gives is no promise of what it does"
            elif not why and now.demands and _was_preparation(old, now):
                why = f"; it was part of {old.via}, which is no longer called"
            text = f"{name} no longer demands: {old.text}{why}"
            fix = "Put it back, or say why it may go."
            yield finding("assertion-removed", "warning" if why else "error", path, now.line, text, fix)


def _was_preparation(lost: Assertion, now: Test) -> bool:
    """Whether a demand was made by a helper that only prepared the test, and that the test does without now."""
    called = any(one.rpartition(".")[2] == lost.via for one in now.calls) or lost.via in now.words
    return (
        bool(lost.via) and not called and not re.match(r"_?(assert|check|expect|verify|ensure|should)", lost.via, re.I)
    )


def paired(
    was: Sequence[Assertion], now: Sequence[Assertion]
) -> tuple[list[tuple[Assertion, Assertion]], list[Assertion]]:
    """Old assertions with the new ones in their place, equal ones first, then by subject, then by its names."""
    free, left = list(now), list(was)
    pairs: list[tuple[Assertion, Assertion]] = []
    for alike in (_same, _same_subject, _same_names, _much_the_same):
        for old in list(left):
            match = next((new for new in free if alike(old, new)), None)
            if match is not None:
                pairs.append((old, match))
                free.remove(match)
                left.remove(old)
    # A test that made one demand and makes one: whatever it is now, it took the place of the other.
    if len(left) == 1 and len(free) == 1 and len(was) == 1 and len(now) == 1:
        pairs.append((left.pop(), free.pop()))
    return pairs, left


def _same(one: Assertion, other: Assertion) -> bool:
    return (one.kind, one.subject, one.expected, one.swallowed, one.guards) == (
        other.kind,
        other.subject,
        other.expected,
        other.swallowed,
        other.guards,
    )


def _same_subject(one: Assertion, other: Assertion) -> bool:
    return one.subject == other.subject and (one.kind == "raises") == (other.kind == "raises")


def _same_names(one: Assertion, other: Assertion) -> bool:
    return bool(one.names) and one.names == other.names and (one.kind == "raises") == (other.kind == "raises")


def _much_the_same(one: Assertion, other: Assertion) -> bool:
    """Whether most names are the same, in demands of one kind: a value was given a name, or another place."""
    both = one.names | other.names
    return bool(both) and one.kind == other.kind and len(one.names & other.names) > len(both) / 2


def _implied(lost: Assertion, now: Sequence[Assertion]) -> bool:
    """Whether another demand of the test cannot hold unless the lost one does, as far as code can tell."""
    for one in now:
        if one.strength < lost.strength or one.guards:
            continue
        inside = lost.subject.startswith((one.subject + "[", one.subject + ".")) or lost.names <= one.names
        if one.subject == lost.subject or (inside and one.kind in ("equal", "partial", "custom")):
            return True
        if lost.strength <= 2 and (one.subject.startswith(lost.subject) or lost.subject in one.subject):
            return True
    return False


_Said = tuple[str, Literal["error", "warning"], str, str]
"""Rule, severity, text and fix."""
_SAME = "Demand the same as before, or say why less is right."


def _looser(name: str, old: Assertion, new: Assertion, elsewhere: Elsewhere) -> Iterator[_Said]:
    shown = f"{name}: `{old.text}` became `{new.text}`"
    if new.swallowed and not old.swallowed:
        text = f"{name}: the failure of `{new.text}` is now caught and dropped"
        yield "assertion-swallowed", "error", text, "Let it fail."
    elif old.kind == "raises" and new.kind == "raises":
        yield from _raising(old, new, shown, elsewhere)
    elif new.kind == "nothing" and old.kind != "nothing":
        yield "tautology", "error", f"{shown}, which cannot fail", "Assert what the code returns or changes."
    elif new.kind == "close" and old.kind in ("equal", "close"):
        if old.kind == "equal" or new.slack > old.slack:
            fix = "Keep the tolerance, or say why the value may be further off."
            yield "tolerance-widened", "error" if new.slack >= _COARSE else "warning", shown, fix
    elif not _is_style(old, new):
        yield from _weaker(old, new, shown)
    if len(new.guards) > len(old.guards) and new.strength:
        yield _guarded(name, old, new)


def _weaker(old: Assertion, new: Assertion, shown: str) -> Iterator[_Said]:
    alike = old.subject == new.subject or old.names == new.names
    if new.strength < old.strength:
        yield "assertion-loosened", "error" if alike and old.kind != "custom" else "warning", shown, _SAME
    elif new.kind == old.kind and new.slack > old.slack and not _only_new_keys(old, new):
        yield "assertion-loosened", "error" if alike else "warning", f"{shown}, which accepts more", _SAME
    elif new.kind == old.kind == "order" and old.expected != new.expected and old.subject == new.subject:
        yield "bound-changed", "warning", shown, "Check that the new bound is meant."


_WILD_KEY = re.compile(
    r"""['"]?([\w$-]+)['"]?\s*[:=]\s*(?:\w+\.)*(?:ANY\b|expect\.(?:any|anything|\w+Containing|stringMatching)\b)"""
)


def _only_new_keys(old: Assertion, new: Assertion) -> bool:
    """Whether every wildcard of an expected value stands at a key that was not looked at before."""
    keys = _WILD_KEY.findall(new.expected)
    return len(keys) >= new.slack and not any(re.search(rf"\b{re.escape(key)}\b", old.expected) for key in keys)


def _guarded(name: str, old: Assertion, new: Assertion) -> _Said:
    added = [one for one in new.guards if one not in old.guards]
    known = any(sign in one for one in added for sign in _PLATFORM)
    text = f"{name}: `{new.text}` is now only reached where {' and '.join(added)}"
    fix = "Make the demand in every case, or in a test for each case."
    return "assertion-conditional", "warning" if known else "error", text, fix


def _raising(old: Assertion, new: Assertion, shown: str, elsewhere: Elsewhere) -> Iterator[_Said]:
    fix = "Name the exact exception, and its message where it was named."
    if old.expected != new.expected and elsewhere.broader(old.expected, new.expected):
        yield "exception-broadened", "error", shown, fix
    elif new.slack > old.slack and old.expected == new.expected:
        yield "exception-broadened", "error", f"{shown}, without its message", fix


def _is_style(old: Assertion, new: Assertion) -> bool:
    """Whether both demand the same but for its spelling: `== []` and `not`, `is True` and plain truth."""
    if old.kind != "equal" or new.kind != "truth" or old.subject != new.subject:
        return False
    wanted = _FALSY if new.expected == "falsy" else _TRUTHY
    return old.expected in wanted


@dataclass(frozen=True)
class Exceptions:
    """Which exception classes derive from which, by bare name: Python's own and those of the change's files."""

    bases: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Exceptions":
        """Reads the classes of Python texts."""
        found = {
            name: frozenset(one.__name__ for one in kind.__mro__[1:-1])
            for name, kind in vars(builtins).items()
            if isinstance(kind, type) and issubclass(kind, BaseException)
        }
        for text in texts:
            tree = python_tests.parse(text) if "class " in text else None
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.ClassDef) and node.bases:
                    found[node.name] = frozenset(_bare(ast.unparse(base)) for base in node.bases)
        return cls(found)

    def broader(self, was: str, now: str) -> bool:
        """Whether each exception of `was` is caught by `now`, and `now` names another that is no kind of those."""
        old, new = _named(was), _named(now)
        if not old or not new or new == old:
            return not new and bool(old)
        return all(one in new or self._above(one) & new for one in old) and bool(new - old)

    def _above(self, name: str) -> frozenset[str]:
        found: set[str] = {"Exception", "BaseException", "Error"}
        waiting = [name]
        while waiting:
            for base in self.bases.get(waiting.pop(), ()):
                if base not in found:
                    found.add(base)
                    waiting.append(base)
        return frozenset(found)


def _bare(name: str) -> str:
    return name.strip().rpartition(".")[2]


def _named(text: str) -> set[str]:
    inner = text.partition(" (")[0] if not text.startswith("(") else text
    return {_bare(one) for one in inner.strip("()").split(",") if one.strip() and one.strip(" ()")}
