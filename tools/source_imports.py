"""The modules that a source text imports, with their lines: a quick regex, then for Python the syntax tree."""

import ast
import re
import warnings
from collections.abc import Callable, Iterator

_PYTHON = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(.*)|import[ \t]+(.+))$", re.MULTILINE)
_COMMENT = re.compile(r"[ \t]*(?://|\*|/\*)")
_OTHERS = {
    "js": re.compile(r"""\b(?:from|import|require)\b\s{0,20}\(?\s{0,20}["']([^"'\n]+)["']"""),
    "go": re.compile(r"""^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([^"\n]+)"[ \t]*(?://.*)?$""", re.MULTILINE),
    "jvm": re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)", re.MULTILINE),
    "rb": re.compile(r"""^[ \t]*require[ \t]*\(?[ \t]*["']([^"'\n]+)["']""", re.MULTILINE),
    "php": re.compile(r"^[ \t]*use[ \t]+\\?([\w\\]+)", re.MULTILINE),
    "rs": re.compile(r"^[ \t]*(?:pub[ \t]+)?use[ \t]+([\w:]+)", re.MULTILINE),
    "cs": re.compile(r"^[ \t]*(?:global[ \t]+)?using[ \t]+(?:static[ \t]+)?([\w.]+)", re.MULTILINE),
    "ex": re.compile(r"^[ \t]*(?:use|import|alias)[ \t]+([\w.]+)", re.MULTILINE),
}


def imported(dialect: str, text: str, prefixes: tuple[str, ...]) -> Iterator[tuple[str, int, bool]]:
    """Imports of the modules in `prefixes` as (module, line from 1, certain); dialects as in `stack_rules`."""
    if prefixes:
        yield from imports(dialect, text, lambda name: name.startswith(prefixes))


def imports(dialect: str, text: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bool]]:
    """Imports of the modules that are wanted as (module, line from 1, certain)."""
    if dialect == "py":
        yield from _python(text, wanted)
        return
    # A Go import block ends where the code begins: a string alone on a line below it is not an import.
    end = len(text)
    if dialect == "go" and (code := re.search(r"^(func|type|var|const)\b", text, re.MULTILINE)):
        end = code.start()
    for match in _OTHERS[dialect].finditer(text, 0, end):
        name = match.group(1).rstrip(":.\\")
        if wanted(name) and not (dialect == "js" and _COMMENT.match(text, text.rfind("\n", 0, match.start()) + 1)):
            yield name, text.count("\n", 0, match.start(1)) + 1, True


def _python(text: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bool]]:
    """Names by regex first, since parsing is slow; then the tree, so that a docstring's example is no import."""
    rough = [(name, text.count("\n", 0, at) + 1) for name, at in _rough_python(text) if wanted(name)]
    if not rough:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the repository's strings are not our business
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from ((name, line, False) for name, line in rough)
        return
    yield from ((name, line, True) for name, line in _tree_imports(tree) if wanted(name))


def _rough_python(text: str) -> Iterator[tuple[str, int]]:
    """Names with the offsets of their statements."""
    for match in _PYTHON.finditer(text):
        at = match.start()
        module, names, plain = match.groups()
        if module is None:
            yield from ((part.split()[0], at) for part in plain.split(",") if part.split())
            continue
        yield module, at
        if names.lstrip().startswith("("):
            # Bounded: a bracket that is never closed would be read again for each line.
            names = text[match.start(2) : match.start(2) + 5_000].partition(")")[0]
        yield from ((f"{module}.{name}", at) for name in re.findall(r"\w+", names))


def _tree_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
