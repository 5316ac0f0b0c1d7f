"""Whether a pattern of a test runner meets a path, as far as it can be read without the runner."""

import fnmatch
import re
from pathlib import PurePosixPath


def lies_under(pattern: str, path: str, base: str) -> bool:
    """Whether a path lies in a folder, is a file, or meets a glob; `base` is the folder of the settings' file."""
    place = pattern.replace("<rootDir>", ".").rstrip("/").removeprefix("./") or "."
    if place == ".":
        return base == "." or path.startswith(base + "/")
    full = place if base == "." else f"{base}/{place}"
    return path == full or path.startswith(full + "/") or fnmatch.fnmatch(path, full) or matches(pattern, path, base)


def matches(pattern: str, path: str, base: str) -> bool:
    """Whether a glob, or a simple regular expression, meets a path."""
    glob = pattern.replace("<rootDir>", ".").removeprefix("./")
    inside = path if base == "." else path.removeprefix(base + "/")
    for one in _without_braces(glob):
        loose = re.sub(r"[?+*@]\([^()]*\)", "*", re.sub(r"\*\*/?", "*", one))
        if any(fnmatch.fnmatch(name, loose) for name in (inside, path, "/" + path, PurePosixPath(path).name)):
            return True
    return _contains(pattern, path)


def hits(pattern: str, path: str) -> bool:
    """Whether a pattern that leaves tests out meets a test; a test id counts by its file."""
    plain = pattern.partition("::")[0]
    return lies_under(plain, path, ".") or _contains(plain, path)


def _without_braces(pattern: str, left: int = 4) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None or not left:
        return [pattern]
    parts = found[1].split(",")[:10]
    around = pattern[: found.start()], pattern[found.end() :]
    return [one for part in parts for one in _without_braces(around[0] + part + around[1], left - 1)]


def _contains(pattern: str, path: str) -> bool:
    """Whether the pattern's plain text lies in the path."""
    plain = pattern.replace("<rootDir>/", "").replace("\\", "").strip("/^$")
    return bool(plain) and plain in path
