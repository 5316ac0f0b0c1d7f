"""The ids of a runner's report and the names of tests in the code: which id is of which test."""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from backend_crew.tools.honesty import testpaths
from backend_crew.tools.honesty.pairing import Key

_PARAMETERS = re.compile(r"\[.*\]$", re.DOTALL)
_JOINTS = re.compile(r"\s*(?:::|>|›|\.|\s)\s*")


@lru_cache(maxsize=20_000)
def key_of(test_id: str) -> Key:
    """A test's path, "" where the runner does not tell it, and its name without parameters.

    `tests/test_a.py::TestA::test_b[1]` is of `TestA.test_b`.
    """
    path, *names = test_id.split("::")
    if not (testpaths.is_python(path) or testpaths.is_script(path)):
        path, names = "", [path, *names]
    if testpaths.is_python(path) and names:
        names[-1] = _PARAMETERS.sub("", names[-1])
    return path, (" > " if testpaths.is_script(path) or not path else ".").join(names)


def known_as(test_id: str, keys: Collection[Key]) -> Key | None:
    """The test of the code that an id is of, however its suites are joined; None where none, or several, could be."""
    path, name = key_of(test_id)
    if (path, name) in keys:
        return path, name
    wanted = _plain(name)
    found = [
        key for key in keys if _plain(key[1]) == wanted and (not path or key[0] == path or path.endswith("/" + key[0]))
    ]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=20_000)
def _plain(name: str) -> str:
    return _JOINTS.sub(" ", name).strip()


def files_of(test_ids: Iterable[str], paths: Collection[str]) -> tuple[str, ...]:
    """The files of some tests, to run them alone; none, which means all tests, where an id does not tell its file."""
    found = dict.fromkeys(key_of(test_id)[0] for test_id in test_ids)
    return tuple(found) if all(path in paths for path in found) else ()


def outcomes(cases: Mapping[str, str], *wanted: str) -> frozenset[str]:
    """The ids whose outcome is one of those."""
    return frozenset(test_id for test_id, outcome in cases.items() if outcome in wanted)
