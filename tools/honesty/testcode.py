"""A test file as what it promises: its tests, their assertions, and what turns them off; one form for all languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal[
    "equal",
    "raises",
    "custom",
    "close",
    "partial",
    "contains",
    "one of",
    "order",
    "differs",
    "called",
    "type",
    "present",
    "truth",
    "nothing",
]

STRENGTH: Mapping[Kind, int] = {
    "equal": 6,
    "raises": 6,
    "custom": 6,
    "close": 5,
    "partial": 4,
    "contains": 3,
    "one of": 3,
    "order": 2,
    "differs": 2,
    "called": 2,
    "type": 1,
    "present": 1,
    "truth": 1,
    "nothing": 0,
}
"""How much a value can be off without the assertion noticing: the less, the higher."""


@dataclass(frozen=True)
class Assertion:
    """One thing that a test demands. `subject` is what is looked at, `expected` what it has to be, both as code.

    `names` are the attributes, keys and functions of the subject: they stay when a local variable is renamed.
    `slack` is a tolerance, a number of accepted alternatives, or of wildcards in the expected value; more is looser.
    `guards` are the conditions under which it is reached; `swallowed` where its failure is caught and dropped; `via` is
    the helper or fixture that makes it.
    """

    line: int
    kind: Kind
    subject: str
    expected: str
    names: frozenset[str]
    text: str
    slack: float = 0.0
    guards: tuple[str, ...] = ()
    swallowed: bool = False
    via: str = ""

    @property
    def strength(self) -> int:
        """Its place in STRENGTH; nothing where its failure is dropped."""
        return 0 if self.swallowed else STRENGTH[self.kind]


@dataclass(frozen=True)
class Disabled:
    """What keeps a test from counting. `certain` is False where a condition decides, which is then in `text`."""

    kind: Literal["skip", "xfail", "todo"]
    line: int
    text: str
    certain: bool


@dataclass(frozen=True)
class Patch:
    """A name that a test replaces, dotted and resolved through the file's imports."""

    target: str
    line: int


@dataclass(frozen=True)
class Test:
    """One test. `cases` are its literal parameters, one text each; `exit_line` is where it ends before its assertions.

    `calls` are the functions it calls, resolved through imports; `words` all names and strings of its body.
    """

    __test__ = False  # the name begins like a test class, and pytest would collect it

    name: str
    line: int
    assertions: tuple[Assertion, ...]
    disabled: tuple[Disabled, ...] = ()
    patches: tuple[Patch, ...] = ()
    calls: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    cases: tuple[str, ...] = ()
    exit_line: int = 0
    focused: bool = False
    empty: bool = False

    @property
    def demands(self) -> tuple[Assertion, ...]:
        """The assertions that can fail."""
        return tuple(one for one in self.assertions if one.strength)


@dataclass(frozen=True)
class TestFile:
    """The tests of one file by qualified name; `exits` are lines that end the test process, `broken` no syntax tree.

    `imports` are the names that it imports, resolved, and `defines` the names that it gives a meaning itself, by line.
    """

    __test__ = False  # as above

    path: str
    tests: Mapping[str, Test] = field(default_factory=dict)
    exits: tuple[int, ...] = ()
    autouse_patches: tuple[Patch, ...] = ()
    broken: bool = False
    imports: Mapping[str, str] = field(default_factory=dict)
    defines: Mapping[str, int] = field(default_factory=dict)


def in_either(first: Sequence[Assertion], second: Sequence[Assertion], guards: tuple[str, ...]) -> list[Assertion]:
    """The assertions of two branches, of which one is taken: what both look at is reached under `guards` alone."""
    both = {one.subject for one in first} & {one.subject for one in second}
    return [replace(one, guards=guards) if one.subject in both else one for one in (*first, *second)]
