"""What every test runner can be asked: whether a command is its own, how to have a report written, how to read it.

A report is written under a name that is drawn for each run, and is read outside the sandbox, bounded and as data. Where a
runner has no report file of its own, one of ours is handed to the interpreter as text, so no file of it lies in the box.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

from backend_crew.tools.junit import TestCase

Argv = tuple[str, ...]


@dataclass(frozen=True)
class TestCommand:
    """A command that runs tests: `runner` is the name of one in `find.RUNNERS`, or "generic"; `evidence` is path:line."""

    __test__: ClassVar[bool] = False  # the name begins like a test class, and pytest would collect it

    argv: Argv
    runner: str
    evidence: str


@dataclass(frozen=True)
class Plan:
    """One run: what is executed and how it is shown to people. The report lies at `report` in the box.

    `report` None: what the command prints is the report, so what the tests print is mixed into it.
    """

    argv: Argv
    report: str | None
    shown: Argv


@dataclass(frozen=True)
class Report:
    """What a report says: its cases, how many failures its own totals claim, and why it is not whole, if it is not.

    Not `counted`: the runner ended as it should, and says that it does not know the tests.
    """

    cases: tuple[TestCase, ...]
    claimed: int = 0
    problem: str = ""
    counted: bool = True


@dataclass(frozen=True)
class Place:
    """Where a run took place: the tree that it ran on, and the path at which its commands saw the copy."""

    tree: Path
    at: Path

    def relative(self, path: str) -> str:
        """A path out of a report as the repository names it."""
        pure = PurePosixPath(path)
        return pure.relative_to(self.at).as_posix() if pure.is_relative_to(self.at) else path

    def holds(self, path: str) -> bool:
        """Whether it is a file of the tree; names that no file can have are not."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            return False
        try:
            return (self.tree / path).is_file()
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class Runner:
    """One test runner. Ids are `path::names of what encloses the test::its own name`; a path alone is a whole file."""

    name: str
    #: Whether a command is this runner's, so that the options below can be added to it.
    owns: Callable[[Argv], bool]
    #: The command, what of it to run (paths and ids; nothing: all), and where its report is to lie.
    plan: Callable[[Argv, Sequence[str], str], Plan]
    #: Reads a report; raises ToolRetry for what is none.
    read: Callable[[bytes, Place], Report]
    #: What exit codes mean, where it is more than "failed".
    codes: Mapping[int, str] = field(default_factory=dict)
    #: Exit codes with which a run may end that found no tests.
    none_found: frozenset[int] = frozenset({0})
    #: The exit code after failed tests; None where it is not one number.
    red: int | None = 1
    #: The Python module without which it cannot begin.
    module: str = ""
    #: Whether every case names a file of the repository; one that does not is made up.
    names_files: bool = True
    #: What of its output says why it did not begin; "" where nothing does.
    cause: Callable[[int | None, str], str] = lambda code, output: ""


def program(argv: Argv) -> str:
    """The name of what a command starts, without a folder."""
    return PurePosixPath(argv[0]).name if argv else ""


def is_python(argv: Argv) -> bool:
    """Whether a command starts a Python interpreter."""
    return program(argv).startswith("python")


def words(script: str) -> Argv:
    """A line as a shell would split it; nothing where it cannot be."""
    try:
        return tuple(shlex.split(script))
    except ValueError:
        return ()


def split_id(text: str) -> tuple[str, str]:
    """The file of an id and the rest, "" for a whole file."""
    path, _, rest = text.partition("::")
    return path, rest


def file_id(path: str, names: Iterable[str]) -> str:
    """An id of a file and the names below it."""
    return "::".join([path, *(name for name in names if name)])
