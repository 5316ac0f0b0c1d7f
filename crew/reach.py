"""Where a run's repository and its commands can reach; what decides about them must lie elsewhere."""

from collections.abc import Iterable
from pathlib import Path

from backend_crew.crew import settings
from backend_crew.crew.chain import KEY_FILE
from backend_crew.crew.errors import UsageError

PIN = "@sha256:"
"""Between the name of a policy's file and the hash that its content must have."""
#: Mounted into every sandbox.
_SYSTEM = tuple(Path("/") / name for name in ("usr", "bin", "sbin", "lib", "lib64", "lib32", "libx32"))


def check_outside(what: str, path: Path, places: Iterable[Path], instead: str = "") -> None:
    """Raises UsageError when a file, links followed, lies in one of these folders or in a system folder."""
    real = path.resolve()
    for place in (*places, *_SYSTEM):
        if real.is_relative_to(place.resolve()):
            raise UsageError(
                f"{what}: {path} lies in {place}, which a run can read or write; keep it in a folder outside of the "
                f"repository, the state folder and the interpreter{instead}"
            )


def names_below(root: Path, path: Path) -> frozenset[str]:
    """Under which names below `root` a file can be opened: as it is written, and with its links followed."""
    whole = path.expanduser().absolute()
    tries = [(root, whole), (root.resolve(), whole), (root.resolve(), whole.resolve())]
    tries += [(root.resolve(), whole.parent.resolve() / whole.name)]
    return frozenset(name.relative_to(top).as_posix() for top, name in tries if name.is_relative_to(top))


def check_key(places: Iterable[Path]) -> None:
    """Raises UsageError when the key that seals decisions is within reach."""
    path = settings.key_file()
    if path is not None:
        check_outside(KEY_FILE, path, places)
