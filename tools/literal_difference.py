"""What was added to a long value, or taken out of it: told by its elements, as two cut texts would tell nothing."""

import ast
import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LARGE = 200_000
_TOLD = 2
_SHOWN = 80
_BEFORE = 20


@dataclass(frozen=True)
class _Change:
    kind: str
    place: str
    text: str


def difference(was: str, now: str) -> str | None:
    """The entries that one Python expression has more, less or other than another; None where that is not to be said."""
    if max(len(was), len(now)) > _LARGE:
        return None
    try:
        old, new = (ast.parse(text.strip(), mode="eval").body for text in (was, now))
        if type(old) is not type(new) or not isinstance(old, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Call):
            return None
        found = list(_changes(old, new, ""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not found or any(not one.place and one.kind == "changed" for one in found):
        return None
    return ", ".join(_phrase(kind, [one for one in found if one.kind == kind]) for kind in _kinds(found))


def _kinds(found: Sequence[_Change]) -> list[str]:
    return list(Counter(one.kind for one in found))


def _phrase(kind: str, found: Sequence[_Change]) -> str:
    told = "; ".join(f"{one.text}{f' in {one.place}' if one.place else ''}" for one in found[:_TOLD])
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return f"{len(found)} {'entry' if len(found) == 1 else 'entries'} {kind} ({told}{more})"


def _changes(was: ast.expr, now: ast.expr, place: str) -> Iterator[_Change]:
    if ast.dump(was) == ast.dump(now):
        return
    if isinstance(was, ast.List | ast.Tuple | ast.Set) and type(was) is type(now):
        assert isinstance(now, ast.List | ast.Tuple | ast.Set)
        yield from _in_sequence(was.elts, now.elts, place)
    elif isinstance(was, ast.Dict) and isinstance(now, ast.Dict) and (keyed := _keyed(was, now)):
        yield from _in_mapping(keyed[0], keyed[1], place)
    elif isinstance(was, ast.Call) and isinstance(now, ast.Call) and ast.dump(was.func) == ast.dump(now.func):
        yield from _in_sequence(was.args, now.args, place)
        old, new = ({one.arg or "**": one.value for one in call.keywords} for call in (was, now))
        yield from _in_mapping(old, new, place)
    else:
        yield _Change("changed", place, " -> ".join(parted(ast.unparse(was), ast.unparse(now))))


def _in_sequence(was: Sequence[ast.expr], now: Sequence[ast.expr], place: str) -> Iterator[_Change]:
    old, new = ([ast.dump(one) for one in side] for side in (was, now))
    for kind, start, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "replace" and end - start == last - first:
            for offset in range(end - start):
                yield from _changes(was[start + offset], now[first + offset], f"{place}[{first + offset}]")
        elif kind != "equal":
            yield from (_Change("removed", place, _clipped(ast.unparse(one))) for one in was[start:end])
            yield from (_Change("added", place, _clipped(ast.unparse(one))) for one in now[first:last])


def _keyed(*both: ast.Dict) -> list[dict[str, ast.expr]] | None:
    """Values by the text of their keys; None where a key stands twice or is unpacked."""
    found = []
    for one in both:
        named = {ast.unparse(key): value for key, value in zip(one.keys, one.values, strict=True) if key is not None}
        if len(named) != len(one.keys):
            return None
        found.append(named)
    return found


def _in_mapping(old: dict[str, ast.expr], new: dict[str, ast.expr], place: str) -> Iterator[_Change]:
    for key, value in old.items():
        if key not in new:
            yield _Change("removed", place, _clipped(f"{key}: {ast.unparse(value)}"))
        else:
            yield from _changes(value, new[key], f"{place}[{key}]")
    yield from (_Change("added", place, _clipped(f"{key}: {ast.unparse(new[key])}")) for key in new if key not in old)


def parted(was: str, now: str) -> tuple[str, str]:
    """Two texts, each on one line and cut; long ones from a little before they part, else both would show the same."""
    before, after = (" ".join(text.split()) or "none" for text in (was, now))
    start = 0
    if max(len(before), len(after)) > _SHOWN:
        pairs = enumerate(zip(before, after, strict=False))
        alike = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
        start = max(alike - _BEFORE, 0) if alike > _SHOWN // 2 else 0
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN]
    return ("…" if start else "") + (shown if start + _SHOWN >= len(text) else shown[:-1] + "…")


def _clipped(text: str) -> str:
    return _cut(" ".join(text.split()), 0)
