"""The syntax tree of a Python file, also of one that is broken in places: the broken statements are left out."""

import ast
import re
import warnings

_TRIES = 12
_BEGINS = re.compile(rb"[^\s#)\]}]")


def parsed(source: bytes) -> tuple[ast.Module, int]:
    """The tree, and the first line that had to be left out (0 when the file is whole). Lines keep their numbers."""
    first = 0
    for _ in range(_TRIES):
        tree, line = _tree(source)
        if tree is not None:
            return tree, first
        first = first or line
        shorter = _without(source, line)
        if shorter == source:
            break
        source = shorter
    return ast.Module([], []), first


def _tree(source: bytes) -> tuple[ast.Module | None, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the repository's strings is not our business
            return ast.parse(source), 0
    except SyntaxError as error:
        return None, error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return None, 1


def _without(source: bytes, line: int) -> bytes:
    """The text with the statement of the outermost level that holds a line, and its decorators, made empty."""
    lines = source.split(b"\n")
    first = min(line, len(lines)) - 1
    while first > 0 and not _BEGINS.match(lines[first]):
        first -= 1
    last = first + 1
    while last < len(lines) and not _BEGINS.match(lines[last]):
        last += 1
    while first > 0 and lines[first - 1].startswith(b"@"):
        first -= 1
    return b"\n".join([*lines[:first], *(b"" for _ in range(first, last)), *lines[last:]])
