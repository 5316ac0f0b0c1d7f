"""Which paths a repository's `.crewignore` keeps from agents; its syntax is that of `.gitignore`."""

from collections.abc import Callable
from pathlib import Path

from pathspec import GitIgnoreSpec

from backend_crew.tools.deny import fold
from backend_crew.tools.errors import ToolError, ToolRefused
from backend_crew.tools.workspace import MissingPathError, read_file

NAME = ".crewignore"
_LIMIT = 200_000


def ignored_by(*roots: Path) -> Callable[[str], bool]:
    """Read `.crewignore` at the top of each root and give a test of paths; what any of them names is ignored.

    Compared without case, so that no careless file system gives another name for the same file. Folders below have
    no ignore files of their own. Raises ToolRefused when one is there and cannot be read: then nobody knows what it
    would hide.
    """
    specs = [GitIgnoreSpec.from_lines(_folded(lines)) for root in roots if (lines := _lines(root))]
    return lambda path: any(spec.match_file(fold(path)) for spec in specs)


def _lines(root: Path) -> list[str]:
    try:
        return read_file(root, NAME, _LIMIT)[0].decode("utf-8").splitlines()
    except MissingPathError:
        return []
    except (ToolError, UnicodeDecodeError) as error:
        raise ToolRefused(
            f"{root / NAME} cannot be read as UTF-8 text, so nobody knows what it hides: {error}"
        ) from None


def _folded(lines: list[str]) -> list[str]:
    return [line.casefold() for line in lines]
