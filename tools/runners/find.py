"""Which runner a command is, as it stands or as what it starts in the end."""

from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.runners.go import GO
from backend_crew.tools.runners.javascript import JEST, MOCHA, VITEST
from backend_crew.tools.runners.jvm import GRADLE, MAVEN
from backend_crew.tools.runners.node import NODE
from backend_crew.tools.runners.protocol import Argv, Runner
from backend_crew.tools.runners.pytest import PYTEST
from backend_crew.tools.runners.scripts import unfold
from backend_crew.tools.runners.unittest import DJANGO, UNITTEST

RUNNERS = (PYTEST, UNITTEST, DJANGO, NODE, JEST, VITEST, MOCHA, GO, MAVEN, GRADLE)


@dataclass(frozen=True)
class Found:
    """A runner, the command that it gets its options added to, and what is to stand before that."""

    runner: Runner
    before: Argv
    argv: Argv


def runner_of(argv: Argv, tree: Path) -> Found | None:
    """The runner that a command of the repository at `tree` starts; None where only its exit code can be had."""
    unfolded = unfold(argv, tree)
    runner = next((one for one in RUNNERS if one.owns(unfolded.argv)), None)
    return Found(runner, unfolded.before, unfolded.argv) if runner else None
