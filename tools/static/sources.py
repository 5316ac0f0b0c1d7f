"""The files that a reading may look at: what is the product's own, of bounded size."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath

#: Larger files are generated; no route or model was ever written by hand in one.
SIZE_LIMIT = 1_000_000
_NOT_OWN = re.compile(
    r"(^|/)(node_modules|site-packages|\.?venv|env|vendor|third_party|\.git|\.tox|__pycache__|dist|build|\.next)/"
)
_TESTS = re.compile(
    r"(^|/)(tests?|specs?|__tests__|__mocks__|testing|e2e|fixtures|testdata)/"
    r"|(^|/)(test_[^/]*|[^/]*_test|conftest|tests)\.(py|go|rb|php)$"
    r"|[._-](test|spec|e2e-spec|stories)\.[cm]?[jt]sx?$|(^|/)src/test/|(Test|Tests|IT)\.java$|Test\.php$"
)


class Sources:
    """A view of a repository's files by path: no tests, no vendored code, nothing too large.

    `files` may read lazily: each file is asked for once in the search for words and again when it is parsed.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.paths = frozenset(path for path in files if not _TESTS.search(path) and not _NOT_OWN.search(path))
        self._parts: dict[str, tuple[str, ...]] = {}

    def read(self, path: str) -> bytes:
        """The bytes of a file; empty for one that is missing, unreadable, too large or not the product's own."""
        if path not in self.paths:
            return b""
        try:
            content = self._files[path]
        except (KeyError, OSError):
            return b""
        return b"" if len(content) > SIZE_LIMIT or b"\0" in content[:1024] else content

    @cached_property
    def by_suffix(self) -> Mapping[str, tuple[str, ...]]:
        """The paths, sorted, by the suffix of their names."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.paths):
            found.setdefault(PurePosixPath(path).suffix, []).append(path)
        return {suffix: tuple(paths) for suffix, paths in found.items()}

    def mentioning(self, suffixes: tuple[str, ...], words: tuple[bytes, ...]) -> Iterator[str]:
        """The files with one of the suffixes that hold one of the words."""
        for suffix in suffixes:
            for path in self.by_suffix.get(suffix, ()):
                content = self.read(path)
                if any(word in content for word in words):
                    yield path
