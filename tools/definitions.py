"""Which existing definitions a change alters: by syntax tree in Python, by entry in manifests, by file elsewhere."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from backend_crew.tools.literal_difference import difference, parted
from backend_crew.tools.manifest_entries import Entry, entries
from backend_crew.tools.python_definitions import STATEMENT, Definition, Definitions, read_definitions

_LONG = 80
"""Characters of a value that is told by its elements."""
_NAMED = 8
_DOCUMENTS = frozenset({".md", ".rst", ".txt", ".adoc"})


@dataclass(frozen=True)
class Altered:
    """An existing definition whose code changed or vanished.

    `kind` is "function", "class", "assignment", "statement" or "file"; `line` counts from 1 in the new text, in the
    old one where the definition is gone.
    """

    path: str
    name: str
    kind: str
    what: str
    line: int


def altered(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Altered, ...]:
    """What `new` (path to text) changes or removes of the definitions in `old`; additions are not alterations.

    Python is compared without docstrings, comments, formatting and import lines. A renamed or moved definition counts
    as removed. Python that cannot be parsed is compared as a file.
    """
    return tuple(item for path in sorted(old) for item in _in_file(path, old[path], new.get(path)))


def _in_file(path: str, old: str, new: str | None) -> Iterator[Altered]:
    if old == new:
        return
    if new is None:
        yield Altered(path, path, "file", _removed_file(path, old), 1)
        return
    if PurePosixPath(path).suffix in (".py", ".pyi"):
        before, after = read_definitions(old), read_definitions(new)
        if before is not None and after is not None:
            yield from _in_python(path, before, after)
            return
    elif (found := entries(path, old)) is not None and (now := entries(path, new)) is not None:
        yield from _in_manifest(path, found, now)
        return
    elif PurePosixPath(path).suffix.lower() in _DOCUMENTS:
        return  # prose defines nothing; the diff shows it
    yield _whole_file(path, old, new)


def _removed_file(path: str, text: str) -> str:
    found = read_definitions(text) if PurePosixPath(path).suffix == ".py" else None
    names = list(dict.fromkeys(name for name, slot in found or {} if "." not in name and slot != STATEMENT))
    if not names:
        return "removed"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"removed, with {', '.join(names[:_NAMED])}{more}"


def _whole_file(path: str, old: str, new: str) -> Altered:
    before, after = old.splitlines(), new.splitlines()
    pairs = zip(before, after, strict=False)
    line = next((number for number, (was, now) in enumerate(pairs, start=1) if was != now), None)
    if line is None:  # one is the beginning of the other
        line = min(len(before), len(after)) + (len(after) > len(before))
    what = f"changed from line {line} on, {len(before)} -> {len(after)} lines"
    return Altered(path, path, "file", what, max(line, 1))


def _in_python(path: str, old: Definitions, new: Definitions) -> Iterator[Altered]:
    found: list[Altered] = []
    for (name, slot), before in old.items():
        after = new.get((name, slot), [])
        if not after and _inside_removed(name, slot, old, new):
            continue
        what = _difference(slot, before, after)
        if what is not None and not (name == "__all__" and _only_longer(before[-1], after)):
            line = after[-1].line if after else before[0].line
            found.append(Altered(path, name, before[0].kind, what, line))
    yield from sorted(found, key=lambda item: (item.line, item.name))


def _only_longer(was: Definition, now: Sequence[Definition]) -> bool:
    """Whether an `__all__` names everything that it named before: adding a public name alters none."""
    try:
        old, new = (ast.literal_eval(one.parts["value"]) for one in (was, now[-1]))
        return set(old) <= set(new)
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError):
        return False


def _inside_removed(name: str, slot: str, old: Definitions, new: Definitions) -> bool:
    """Whether the class around a definition is gone too: then the class alone is reported."""
    outer = name if slot != STATEMENT else name.partition("(")[0]
    while outer := outer.rpartition(".")[0]:
        if (outer, "") in old and (outer, "") not in new and old[outer, ""][0].kind == "class":
            return True
    return False


def _difference(slot: str, before: list[Definition], after: list[Definition]) -> str | None:
    """The short phrase for how the definitions of one name differ, None where they do not."""
    if not after:
        return "removed"
    if len(after) < len(before):
        return f"there {len(after)} times instead of {len(before)}"
    pairs = list(zip(before, after, strict=False))
    differing = next(((was, now) for was, now in pairs if was.code != now.code), None)
    if differing is not None:
        return _phrase(*differing)
    if len(after) > len(before) and slot != STATEMENT:  # the later definition replaces the earlier one
        return f"defined again at line {after[-1].line}"
    if any(_reordered(was.members, now.members) for was, now in pairs):
        return "order of attributes changed"
    return None


def _reordered(old: Sequence[str], new: Sequence[str]) -> bool:
    return [name for name in old if name in new] != [name for name in new if name in old]


def _phrase(was: Definition, now: Definition) -> str:
    if was.kind != now.kind:
        return f"{was.kind} became {now.kind}"
    changed = [label for label in was.parts if was.parts[label] != now.parts[label]]
    phrases = [_part(label, was.parts[label], now.parts[label]) for label in changed]
    if was.body != now.body:
        phrases.append("body changed")
    return ", ".join(phrases)


def _part(label: str, was: str, now: str) -> str:
    if label == "value" and max(len(was), len(now)) > _LONG and (told := difference(was, now)):
        return f"{label} changed: {told}"
    return f"{label} changed: {' -> '.join(parted(was, now))}"


def _in_manifest(path: str, old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Iterator[Altered]:
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            yield Altered(path, name, "assignment", "removed", was.line)
        elif was.value != now.value:
            yield Altered(path, name, "assignment", _part("value", was.value, now.value), now.line)
