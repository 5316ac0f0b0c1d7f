"""Where migrations are tried: boxes, each with one scratch database in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.migrators.protocol import SQLITE, Scratch
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratch import SqliteScratch, limits_for


@dataclass(frozen=True)
class Place:
    """One repository as commands meet it: `tree` is what boxes are made of, `at` where they show it."""

    sandbox: Sandbox
    tree: Path
    at: Path
    runtime: Runtime
    stop: Callable[[], bool] | None = None


@contextmanager
def scratch_of(  # what the box holds, and how much room it has, are the caller's to say
    place: Place, dialect: str, private: Path, *, code: bool = True, whole: bool = False, size: int = 0
) -> Iterator[Scratch]:
    """A box with a scratch database that is still to be made, for data of `size` bytes.

    Without `code` the box holds nothing of the repository, and our own Python: for SQL that is run as it stands. With
    `whole` the box's files are a copy of the tree, never changes laid over it.
    """
    if dialect != SQLITE:
        raise ToolRefused(f"only SQLite can be rehearsed, and this is {dialect}")
    private.mkdir(exist_ok=True)
    tree, runtime = place.tree, place.runtime
    if not code:
        tree = private / "empty"
        tree.mkdir(exist_ok=True)
        runtime = find_runtime(tree, python=Path(sys.executable))
    with place.sandbox.box(tree, place.at, runtime, layered=code and not whole) as box:
        yield SqliteScratch(box, private, limits_for(size), place.stop)
