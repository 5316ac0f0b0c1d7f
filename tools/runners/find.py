"""Which runner a command is, and which commands a package.json's script stands for."""

from backend_crew.tools.runners.node import NODE
from backend_crew.tools.runners.protocol import Argv, Runner
from backend_crew.tools.runners.pytest import PYTEST
from backend_crew.tools.runners.unittest import DJANGO, UNITTEST

RUNNERS = (PYTEST, UNITTEST, DJANGO, NODE)


def runner_of(argv: Argv) -> Runner | None:
    """The runner that a command starts; None where its report cannot be had, so that its exit code is all there is."""
    return next((runner for runner in RUNNERS if runner.owns(argv)), None)
