"""How a repository does things: where each kind of file lives and which habits its lines show, each with examples.

A convention is what at least two places show and most places follow; one example is a coincidence.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from backend_crew.tools.convention_rules import HABITS, ROLES, TEST_PATH, Habit

_ENOUGH = 2
_MOST = 0.7
"""The share of a role's files that one home has to hold; habits may differ by layer, so each needs only two examples."""
_EXAMPLES = 3
_QUOTE = 160
_HOMES = 4
_FILE_LIMIT = 500_000
_MIGRATIONS = re.compile(r"(^|/)(migrations?|alembic|versions)/")


@dataclass(frozen=True)
class Example:
    """A line (from 1) that shows a convention."""

    path: str
    line: int
    quote: str


@dataclass(frozen=True)
class Convention:
    """One thing that the repository does throughout: `pattern` are the globs that new files of `layer` are held to."""

    kind: str
    statement: str
    examples: tuple[Example, ...]
    followed: int
    """How many places follow it; the examples are the first of them."""
    layer: str = ""
    pattern: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deviation:
    """A planned file that no convention of its layer has a place for."""

    path: str
    layer: str
    expected: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}: no file of the layer {self.layer} is kept there; they are in {', '.join(self.expected)}"


def find_conventions(files: Iterable[tuple[str, str]]) -> tuple[Convention, ...]:
    """The conventions that (path, text) pairs show, ordered by kind; linear in the text."""
    roles: dict[str, list[Example]] = defaultdict(list)
    habits: dict[tuple[Habit, str], list[Example]] = defaultdict(list)
    for path, text in files:
        if len(text) > _FILE_LIMIT or _MIGRATIONS.search(path):
            continue
        is_test = TEST_PATH.search(path) is not None
        for role, example in _roles_of(path, text, is_test):
            roles[role].append(example)
        for habit in HABITS:
            if not path.endswith(habit.suffixes) or is_test != (habit.kind in ("fixtures", "test style")):
                continue
            for match in habit.line.finditer(text):
                name = next((part for part in match.groups() if part), match.group().strip())
                habits[habit, name].append(_example(path, text, match.start() + _indent(match)))
    layers = {role.name: role.layer for role in ROLES}
    found = [*_places(roles, layers), *_names(roles), *_habits(habits)]
    rank = {kind: position for position, kind in enumerate(dict.fromkeys(one.kind for one in found))}
    return tuple(sorted(found, key=lambda one: (rank[one.kind], -one.followed, one.statement)))


def deviations(
    conventions: Sequence[Convention], planned: Iterable[tuple[str, str]], taken: Iterable[str] = ()
) -> tuple[Deviation, ...]:
    """Planned new files, as (path, layer), that lie outside of every place where files of their layer are kept.

    Only layers whose places are known, and only files of a suffix that those places hold; `taken` are paths that a
    recorded decision names.
    """
    homes: dict[str, list[str]] = defaultdict(list)
    for one in conventions:
        homes[one.layer] += one.pattern
    excused, found = set(taken), []
    for path, layer in planned:
        expected = [glob for glob in homes.get(layer, ()) if PurePosixPath(glob).suffix == PurePosixPath(path).suffix]
        name = PurePosixPath(path).name
        if not expected or path in excused or name == "__init__.py" or _MIGRATIONS.search(path):
            continue
        if not any(_fits(path, glob) for glob in expected):
            found.append(Deviation(path, layer, tuple(expected)))
    return tuple(found)


def _fits(path: str, glob: str) -> bool:
    """Whether a path lies in a home, or below it: a home that grows folders is still that home."""
    if fnmatchcase(path, glob) and path.count("/") == glob.count("/"):
        return True
    folder, _, name = glob.rpartition("/")
    return "*" not in folder and path.startswith(f"{folder}/") and fnmatchcase(PurePosixPath(path).name, name)


def _roles_of(path: str, text: str, is_test: bool) -> Iterable[tuple[str, Example]]:
    """Each role that a file plays, with its first line that shows it; what stands in tests is only ever a test."""
    seen: set[str] = set()
    for role in ROLES:
        if role.name in seen or not path.endswith(role.suffixes) or is_test != (role.name == "tests"):
            continue
        if role.path is not None and not role.path.search(path):
            continue
        if match := role.line.search(text):
            seen.add(role.name)
            yield role.name, _example(path, text, match.start() + _indent(match))


def _indent(match: re.Match[str]) -> int:
    return len(match.group()) - len(match.group().lstrip())


def _example(path: str, text: str, offset: int) -> Example:
    end = text.find("\n", offset)
    quote = text[offset : end if end >= 0 else len(text)].strip()
    return Example(path, text.count("\n", 0, offset) + 1, quote[:_QUOTE])


def _places(roles: Mapping[str, Sequence[Example]], layers: Mapping[str, str]) -> Iterable[Convention]:
    """Where the files of each role live."""
    for role, shown in roles.items():
        homes = _homes([one.path for one in shown])
        held = [one for one in shown if any(_fits(one.path, glob) for glob in homes)]
        if len(held) < _ENOUGH or len(held) < _MOST * len(shown):
            continue
        where = ", ".join(homes)
        words = f"{role} are in {where} ({len(held)} of {len(shown)} files)"
        yield Convention("layer of files", words, tuple(held[:_EXAMPLES]), len(held), layers[role], tuple(homes))


def _homes(paths: Sequence[str]) -> list[str]:
    """The fewest globs, at most four, that hold most of the paths: folders, or one file name in many folders."""
    left, homes = set(paths), list[str]()
    while left and len(homes) < _HOMES:
        counted = Counter(glob for path in left for glob in _globs(path))
        # among equals the narrower one: it says more
        glob, number = max(counted.items(), key=lambda item: (item[1], -item[0].count("*"), item[0]))
        if number < _ENOUGH and homes:
            break
        homes.append(glob)
        left = {path for path in left if not _fits(path, glob)}
    return homes


def _globs(path: str) -> Iterable[str]:
    """The homes that a file can stand for: its folder, and its name or name's ending in the folders beside it."""
    pure = PurePosixPath(path)
    folder = pure.parent.as_posix()
    yield f"*{pure.suffix}" if folder == "." else f"{folder}/*{pure.suffix}"
    parts = pure.name.split(".")
    ending = f"*.{'.'.join(parts[1:])}" if len(parts) > 2 else pure.name
    if folder != ".":
        above = pure.parent.parent.as_posix()
        yield f"*/{ending}" if above == "." else f"{above}/*/{ending}"


_STYLES = (
    ("snake_case", re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")),
    ("kebab-case", re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")),
    ("camelCase", re.compile(r"[a-z0-9]+([A-Z][a-z0-9]*)+")),
    ("PascalCase", re.compile(r"([A-Z][a-z0-9]+){2,}")),
)


def _names(roles: Mapping[str, Sequence[Example]]) -> Iterable[Convention]:
    """How files of several words are written, and how the names of tests begin or end."""
    by_style: dict[str, list[Example]] = defaultdict(list)
    for role, shown in roles.items():
        for one in shown if role != "tests" else ():
            stem = PurePosixPath(one.path).name.split(".")[0]
            style = next((name for name, pattern in _STYLES if pattern.fullmatch(stem)), "")
            if style:
                by_style[style].append(one)
    total = sum(map(len, by_style.values()))
    for style, shown in by_style.items():
        if len(shown) >= _ENOUGH and len(shown) >= _MOST * total:
            yield Convention("naming", f"file names of several words are {style}", tuple(shown[:_EXAMPLES]), len(shown))
    forms: dict[str, list[Example]] = defaultdict(list)
    for one in roles.get("tests", ()):
        name = PurePosixPath(one.path).name
        known = re.search(r"^test_(?=.*\.py$)|_test(?=\.\w+$)|\.(?:test|spec)(?=\.\w+$)", name)
        if known:
            suffix = PurePosixPath(name).suffix
            forms[f"test_*{suffix}" if known.group() == "test_" else f"*{known.group()}{suffix}"].append(one)
    for form, shown in forms.items():
        if len(shown) >= _ENOUGH and len(shown) >= _MOST * len(roles["tests"]):
            yield Convention("naming", f"test files are named {form}", tuple(shown[:_EXAMPLES]), len(shown))


def _habits(found: Mapping[tuple[Habit, str], Sequence[Example]]) -> Iterable[Convention]:
    """Habits that at least two lines show; where one is followed in one folder alone, that is said."""
    for (habit, name), shown in found.items():
        if len(shown) < _ENOUGH:
            continue
        folders = {PurePosixPath(one.path).parent.as_posix() for one in shown}
        where = f", in {folders.pop()}/" if len(folders) == 1 and folders != {"."} else ""
        # examples of different files say more than three lines of one
        first = list({one.path: one for one in reversed(shown)}.values())[::-1]
        rest = [one for one in shown if one not in first]
        words = f"{habit.statement.format(name=name)}{where} ({len(shown)} places)"
        yield Convention(habit.kind, words, tuple((*first, *rest)[:_EXAMPLES]), len(shown))
