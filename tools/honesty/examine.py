"""Whether the tests of a change are honest: everything this package knows, asked in one place."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError
from backend_crew.tools.honesty import collected, criteria, mutation, newly, testpaths
from backend_crew.tools.honesty.compare import Compared, Sources, compare
from backend_crew.tools.honesty.criteria import CriterionShown, Evidence
from backend_crew.tools.honesty.mutation import Mutation
from backend_crew.tools.honesty.newly import Shown, Trees
from backend_crew.tools.honesty.testids import files_of, key_of, known_as, outcomes
from backend_crew.tools.honesty.trial import RunTests
from backend_crew.tools.workspace import read_file

_FILE = 1_000_000
_FILES = 50_000
_SUPPORT, _SUPPORT_BYTES = 400, 8_000_000
_SKIPPED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", "dist", "build", "site-packages"})


@dataclass(frozen=True)
class Bounds:
    """How far the trials may go: mutants at most, and seconds for all trials together; none of them, no mutants."""

    mutants: int = 24
    seconds: float = 240.0


@dataclass(frozen=True)
class Change:
    """A finished change: the tree before it, the one after it, and the paths that differ.

    `before` and `after` are the outcomes of the recorded runs by test id, empty where a runner does not name its tests.
    `criteria` are the ids of the acceptance criteria, `named` the test ids that were named for each.
    """

    base: Path
    tree: Path
    paths: Sequence[str]
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    criteria: Sequence[str] = ()
    named: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Examined:
    """What was found. `accounted` are ids that ran before and are gone for a reason that the code shows (a rename, a
    removal with what was tested); they are no loss. `shown` and `mutation` say in `reason` what was not tried.
    """

    findings: tuple[ChangeFinding, ...]
    criteria: tuple[CriterionShown, ...]
    shown: Shown
    mutation: Mutation
    accounted: frozenset[str]


def examine(change: Change, run: RunTests | None, bounds: Bounds | None = None) -> Examined:
    """Compares, tries the new tests, makes mutants, and traces the criteria; without `run` nothing is tried.

    Raises nothing for what a repository holds: files that cannot be read count as missing, and what could not be tried
    is said.
    """
    limits = bounds or Bounds()
    sources = read_sources(change)
    compared = compare(sources)
    trees = Trees(change.base, change.tree, sources.before, sources.after)
    new = new_tests(compared, change.before, change.after)
    weak = {one: why for one in change.after if (why := _weakness(one, compared))}
    cited = [one for ids in change.named.values() for one in ids if change.after.get(one) == "passed"]
    touched = _touched_tests(change)
    shown, tried = Shown(reason="nothing was tried"), Mutation(reason="nothing was tried")
    ends = time.monotonic() + limits.seconds
    if run is not None and _has_code(sources):
        tests = tuple(dict.fromkeys((*sorted(new), *cited)))
        if tests:
            shown = newly.show(trees, tests, files_of(tests, sources.paths), run, limits.seconds)
        if limits.mutants:
            files = files_of((*tests, *touched), sources.paths)
            left = max(ends - time.monotonic(), limits.seconds / 4)
            tried = mutation.mutate(trees, files, run, limits.mutants, left)
    # A plugin reports its own items beside the tests: the lint of a file is no test that could show something.
    written = frozenset(one for one in new if not _is_read(one) or known_as(one, compared.names) is not None)
    only_new = Shown(idle=shown.idle & written, whole=shown.whole, unknown=shown.unknown)
    findings = (
        *compared.findings,
        *collected.compare_runs(compared, change.before, change.after),
        *newly.judge(only_new, weak, compared.names),
        *mutation.judge(tried),
    )
    traced = criteria.trace(change.criteria, change.named, Evidence(change.before, change.after, weak, shown, tried))
    return Examined(findings, traced, shown, tried, collected.accounted(compared, change.before, change.after))


def new_tests(compared: Compared, before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """The ids that pass now and were not there before, but for tests that only got another name or place."""
    if not before or not after:
        return frozenset()
    renamed = {key for key in compared.became.values() if key is not None}
    fresh = [one for one in outcomes(after, "passed") if one not in before]
    return frozenset(one for one in fresh if known_as(one, renamed) is None)


def _weakness(test_id: str, compared: Compared) -> str:
    key = known_as(test_id, compared.weak)
    return compared.weak[key] if key is not None else ""


def _is_read(test_id: str) -> bool:
    path = key_of(test_id)[0]
    return testpaths.is_python(path) or testpaths.is_script(path)


def _has_code(sources: Sources) -> bool:
    return any(testpaths.is_product_code(path) for path in sources.after)


def _touched_tests(change: Change) -> list[str]:
    """The tests that passed and whose files the change touched; all that passed where ids do not tell their files."""
    paths = {"", *change.paths}
    return [one for one in sorted(outcomes(change.after, "passed")) if key_of(one)[0] in paths]


def read_sources(change: Change) -> Sources:
    """The texts of the changed files on both sides, and the other test code of the changed tree."""
    before = {path: text for path in change.paths if (text := _text(change.base, path)) is not None}
    after = {path: text for path in change.paths if (text := _text(change.tree, path)) is not None}
    paths = _listed(change.tree)
    support: dict[str, str] = {}
    size = 0
    for path in sorted(paths - set(change.paths)):
        if testpaths.is_test_path(path) and (testpaths.is_python(path) or testpaths.is_script(path)):
            text = _text(change.tree, path) or ""
            size += len(text)
            if len(support) >= _SUPPORT or size > _SUPPORT_BYTES:
                break
            support[path] = text
    return Sources(before, after, support, paths)


def _text(root: Path, path: str) -> str | None:
    """A file's text, None for what is missing or no plain file of a bounded size."""
    try:
        data, _ = read_file(root, path, _FILE)
    except (ToolError, OSError, ValueError):
        return None
    return data.decode("utf-8", "replace")


def _listed(root: Path) -> frozenset[str]:
    """The files of a tree, installed packages apart, up to a bound; links are not followed."""
    found: set[str] = set()
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in sorted(folders) if one not in _SKIPPED]
        place = Path(folder).relative_to(root)
        found.update((place / name).as_posix() for name in names)
        if len(found) > _FILES:
            break
    return frozenset(found)
