"""Trees to try tests on: disposable copies of a tree in which some files are others."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend_crew.tools import treecopy
from backend_crew.tools.testrun import TestRun

RunTests = Callable[[Path, Sequence[str], float], TestRun]
"""Runs the tests in some paths of a tree, all where there are none, within so many seconds; in the sandbox."""

# Installed packages are mounted where tests run; a copy of them would only cost time.
_LEFT_OUT = frozenset({"node_modules", ".venv", "venv", "__pycache__", ".git", ".tox", ".mypy_cache", ".pytest_cache"})


@dataclass(frozen=True)
class Trial:
    """A copy of a tree, whose files may be replaced and put back."""

    tree: Path

    @contextmanager
    def with_file(self, path: str, text: str, back: str) -> Iterator[Path]:
        """The copy with one file as `text`; afterwards it is `back` again."""
        self.put(path, text)
        try:
            yield self.tree
        finally:
            self.put(path, back)

    def put(self, path: str, text: str) -> None:
        """Writes a file of the copy; ToolFault where a link is in the way."""
        treecopy.put_file(self.tree, path, text.encode("utf-8", "surrogatepass"), owner=None)


@contextmanager
def trial(tree: Path, files: Mapping[str, str | None]) -> Iterator[Trial]:
    """A copy of `tree` with these files, None for those that are to be missing; removed at the end.

    Raises ToolFault where the tree cannot be copied.
    """
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    try:
        gone = {path for path, text in files.items() if text is None}
        treecopy.copy_tree(tree, folder / "tree", ignore=lambda path: path in gone or _is_left_out(path), owner=None)
        made = Trial(folder / "tree")
        for path, text in files.items():
            if text is not None:
                made.put(path, text)
        yield made
    finally:
        treecopy.remove_tree(folder)


def _is_left_out(path: str) -> bool:
    return PurePosixPath(path).name in _LEFT_OUT


def passed(run: TestRun) -> frozenset[str]:
    """The ids of the tests that passed in a run."""
    return frozenset(case.id for case in run.cases if case.outcome == "passed")
