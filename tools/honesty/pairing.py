"""Which test of a changed tree is which of the one before: read, then paired by name and by likeness."""

from collections.abc import Mapping

from backend_crew.tools.honesty import python_tests, testpaths
from backend_crew.tools.honesty.javascript_tests import read_script
from backend_crew.tools.honesty.testcode import Test, TestFile

Key = tuple[str, str]
"""A test's path and qualified name."""

_ALIKE = 0.5
_COMPARISONS = 200_000


def read_tests(files: Mapping[str, str], support: Mapping[str, str]) -> dict[str, TestFile]:
    """The test files among some texts, each read with the others and `support` as its helpers."""
    helping = {path: text for path, text in {**support, **files}.items() if testpaths.is_test_path(path)}
    helpers = _helpers(helping)
    scripts = {path: text for path, text in helping.items() if testpaths.is_script(path)}
    found: dict[str, TestFile] = {}
    for path, text in files.items():
        if not testpaths.is_test_path(path):
            continue
        if testpaths.is_python(path):
            found[path] = python_tests.read_python(path, text, helpers)
        elif testpaths.is_script(path):
            found[path] = read_script(path, text, scripts)
    return found


def _helpers(files: Mapping[str, str]) -> dict[str, python_tests.Function]:
    """The functions of Python test code by bare name, tests apart."""
    found: dict[str, python_tests.Function] = {}
    for path, text in files.items():
        tree = python_tests.parse(text) if testpaths.is_python(path) else None
        if tree is not None:
            found |= {name: one for name, one in python_tests.functions_of(tree).items() if not name.startswith("test")}
    return found


def paired(old: Mapping[Key, Test], new: Mapping[Key, Test]) -> tuple[dict[Key, Key], dict[Key, Key | None]]:
    """Which new test each old one is: by path and name, by name in another file, by likeness."""
    pairs = {key: key for key in old if key in new}
    became: dict[Key, Key | None] = {}
    for same_name in (True, False):
        left = [key for key in old if key not in pairs]
        taken = set(pairs.values())
        free = dict.fromkeys(key for key in new if key not in taken)
        by_name: dict[str, list[Key]] = {}
        for one in free:
            by_name.setdefault(_bare(one), []).append(one)
        # Each is held against each of all files only where that does not take long.
        anywhere = len(left) * len(free) <= _COMPARISONS
        for key in left:
            if same_name:
                close = {one: new[one] for one in by_name.get(_bare(key), ()) if one in free}
                match = _same_name(key, old[key], close)
            else:
                match = _most_alike(key, old[key], {one: new[one] for one in free if anywhere or one[0] == key[0]})
            if match is not None:
                pairs[key] = became[key] = match
                del free[match]
    became |= {key: None for key in old if key not in pairs}
    return pairs, became


def _bare(key: Key) -> str:
    return key[1].rpartition(" > " if testpaths.is_script(key[0]) else ".")[2]


def _same_name(key: Key, test: Test, close: Mapping[Key, Test]) -> Key | None:
    """A test of the same name elsewhere: the class or the file was renamed, or the test was moved."""
    exact = {one: other for one, other in close.items() if one[1] == key[1] or one[0] == key[0]}
    if len(exact or close) == 1:
        return next(iter(exact or close))
    return max(exact, key=lambda one: _likeness(test, exact[one]), default=None)


def _most_alike(key: Key, test: Test, free: Mapping[Key, Test]) -> Key | None:
    scored = [(_likeness(test, other) + 0.1 * (one[0] == key[0]), one) for one, other in free.items()]
    best = max(scored, default=(0.0, key))
    return best[1] if best[0] >= _ALIKE else None


def _likeness(one: Test, other: Test) -> float:
    if not one.words or not other.words:
        return 0.0
    return len(one.words & other.words) / len(one.words | other.words)
