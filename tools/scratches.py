"""Where migrations are tried: boxes, each with one scratch database in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Scratch
from backend_crew.tools.pg_scratch import PostgresScratch
from backend_crew.tools.postgres import find_postgres
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
    place: Place,
    dialect: str,
    private: Path,
    *,
    code: bool = True,
    whole: bool = False,
    size: int = 0,
    major: int | None = None,
) -> Iterator[Scratch]:
    """A box with a scratch database that is still to be made, for data of `size` bytes; `major` is of PostgreSQL.

    Without `code` the box holds nothing of the repository, and our own Python: for SQL that is run as it stands. With
    `whole` the box's files are a copy of the tree, never changes laid over it.
    """
    if dialect not in (SQLITE, POSTGRESQL):
        raise ToolRefused(f"only SQLite and PostgreSQL can be rehearsed, and this is {dialect}")
    if dialect == POSTGRESQL and not place.sandbox.loopback:
        raise ToolRefused(f"{place.sandbox.title} gives commands no network of their own, which PostgreSQL needs")
    private.mkdir(exist_ok=True)
    tree, runtime = place.tree, place.runtime
    if not code:
        tree = private / "empty"
        tree.mkdir(exist_ok=True)
        runtime = find_runtime(tree, python=Path(sys.executable))
    installed = find_postgres(major) if dialect == POSTGRESQL else None
    if installed:
        runtime = installed.mounted(runtime, place.at)
    with place.sandbox.box(tree, place.at, runtime, layered=code and not whole) as box:
        if installed:
            yield PostgresScratch.of(box, installed, limits=limits_for(size), stop=place.stop)
        else:
            yield SqliteScratch(box, private, limits_for(size), place.stop)
