"""Which test of a changed tree is which of the one before: read, then paired by name and by likeness."""

from collections.abc import Mapping, Sequence

from backend_crew.tools.honesty import python_tests, testpaths
from backend_crew.tools.honesty.javascript_tests import read_script
from backend_crew.tools.honesty.testcode import Test, TestFile

Key = tuple[str, str]
"""A test's path and qualified name."""

_ALIKE = 0.5


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
    taken = set(pairs.values())
    for same_name in (True, False):
        for key, test in old.items():
            if key in pairs:
                continue
            free = [other for other in new if other not in taken]
            match = _same_name(key, free) if same_name else _most_alike(key, test, {one: new[one] for one in free})
            if match is not None:
                pairs[key] = became[key] = match
                taken.add(match)
    became |= {key: None for key in old if key not in pairs}
    return pairs, became


def _same_name(key: Key, free: Sequence[Key]) -> Key | None:
    """A test of the same name elsewhere: the class or the file was renamed, or the test was moved."""
    bare = key[1].rpartition(".")[2]
    close = [one for one in free if one[1].rpartition(".")[2] == bare]
    exact = [one for one in close if one[1] == key[1] or one[0] == key[0]]
    found = exact or close
    return found[0] if len(found) == 1 or exact else None


def _most_alike(key: Key, test: Test, free: Mapping[Key, Test]) -> Key | None:
    scored = [(_likeness(test, other) + 0.1 * (one[0] == key[0]), one) for one, other in free.items()]
    best = max(scored, default=(0.0, key))
    return best[1] if best[0] >= _ALIKE else None


def _likeness(one: Test, other: Test) -> float:
    if not one.words or not other.words:
        return 0.0
    return len(one.words & other.words) / len(one.words | other.words)
