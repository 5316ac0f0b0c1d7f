"""Whether new tests show the change: they fail on the code before it, or they reach lines that it added.

Lines are reached if a test no longer passes when everything that the change added inside functions raises at once. That
needs no coverage tool, works for every runner, and a report that names the outcomes is all that is read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError
from backend_crew.tools.honesty import javascript_mutants, python_mutants, testpaths
from backend_crew.tools.honesty.aware import changed_lines
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.pairing import Key
from backend_crew.tools.honesty.testids import key_of, known_as
from backend_crew.tools.honesty.trial import RunTests, passed, trial


@dataclass(frozen=True)
class Shown:
    """What two trials said of some tests, by id; `reason` where a trial said nothing, "" where both did.

    `fails_before` fail with the code before the change; `reaches` do not pass where the added code raises; `idle` do
    neither. `whole` is False where code was added that cannot raise, so that an idle test may still show it. Those of
    the idle in `unknown` could not be run before the change, as where their file imports what is new.
    """

    fails_before: frozenset[str] = frozenset()
    reaches: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    whole: bool = True
    reason: str = ""
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trees:
    """The tree before a change and the one after it, and the changed files' texts; None where there is none."""

    base: Path
    tree: Path
    before: Mapping[str, str]
    after: Mapping[str, str]


def show(trees: Trees, tests: Sequence[str], files: Sequence[str], run: RunTests, seconds: float) -> Shown:
    """Tries the tests with these ids, which `files` hold, on the code before the change and on code that raises."""
    try:
        with trial(trees.base, _with_tests(trees)) as old:
            known = run(old.tree, files, seconds)
        if known.status == "not run" and not known.cases and known.exit_code is None:
            return Shown(reason=f"the tests were not run on the code before the change: {known.reason}")
        raising, whole = _raising(trees)
        if not raising:
            fails = frozenset(tests) - passed(known)
            return Shown(fails, whole=False, reason="" if fails else "the change added no code that could be reached")
        with trial(trees.tree, raising) as new:
            tried = run(new.tree, files, seconds)
    except ToolError as error:
        return Shown(reason=str(error))
    # A file that cannot be imported, as where it names what is new, says nothing of each test in it.
    fails = frozenset(case.id for case in known.cases if case.outcome in ("failed", "error")) & frozenset(tests)
    if tried.status == "not run" and tried.exit_code is None:
        return Shown(fails, reason=f"the tests were not run on code that raises: {tried.reason}")
    reaches = frozenset(tests) - passed(tried)
    idle = frozenset(tests) - fails - reaches
    unknown = idle - passed(known)
    # What is declared (a constraint, a default) cannot raise: of a test that shows it nothing is known then.
    return Shown(fails, reaches, idle if whole else idle - unknown, whole, unknown=unknown if whole else frozenset())


def _with_tests(trees: Trees) -> dict[str, str | None]:
    """The test code of the change, and nothing else of it."""
    paths = {*trees.before, *trees.after}
    return {path: trees.after.get(path) for path in paths if testpaths.is_test_path(path)}


def _raising(trees: Trees) -> tuple[dict[str, str | None], bool]:
    found: dict[str, str | None] = {}
    complete = True
    for path, text in trees.after.items():
        # A migration that raises would keep every test from its tables: that is no way to reach it.
        if testpaths.is_test_path(path) or testpaths.is_migration(path) or text == trees.before.get(path):
            continue
        if not testpaths.is_product_code(path):
            complete = complete and _is_inert(path)
            continue
        lines = changed_lines(trees.before.get(path, ""), text)
        make = python_mutants.raising if testpaths.is_python(path) else javascript_mutants.raising
        changed, whole = make(path, text, lines)
        complete = complete and whole
        if changed != text:
            found[path] = changed
    return found, complete


def _is_inert(path: str) -> bool:
    """Whether a file is no part of what the service does: prose, packaging, settings of tools."""
    return (
        path.endswith((".md", ".rst", ".txt", ".toml", ".cfg", ".ini", ".lock", ".gitignore")) or path == "package.json"
    )


def judge(shown: Shown, weak: Mapping[str, str], names: Collection[Key]) -> Iterator[ChangeFinding]:
    """Findings for new tests that show nothing; `weak` are those that are already held against, by id."""
    fix = "Let it demand something that only the change makes true, or leave it out."
    for test_id in sorted(shown.idle - weak.keys()):
        was = "cannot be run" if test_id in shown.unknown else "passes"
        text = (
            f"the new test {test_id} {was} on the code before the change, and reaches none of the lines that it added"
        )
        where = (known_as(test_id, names) or key_of(test_id))[0]
        yield finding("new-test-shows-nothing", "error" if shown.whole else "warning", where, 0, text, fix)
