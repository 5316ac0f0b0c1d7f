"""What a command comes down to: `npm test`, `FLAG=1 pytest` and `tsc && npx jest` are read as what they start last.

Only what is plain is unfolded. A command that changes its folder, or has anything else that needs a shell, stays as it is.
"""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolError
from backend_crew.tools.runners.protocol import Argv, program, words
from backend_crew.tools.workspace import read_file

_SHELL = re.compile(r"[|;<>$`*?~()\\\n]|(?<!&)&(?!&)|&&&")
_FOLDER = re.compile(r"(^|&&)\s*(cd|pushd|export|source|\.)\s")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_MANAGERS = ("npm", "pnpm", "yarn", "bun")
#: What only looks a program up: where the dependencies are on the PATH, it starts without them, and without a network.
_LAUNCHERS = (
    ("cross-env",),
    ("npx",),
    ("pnpm", "exec"),
    ("yarn", "exec"),
    ("uv", "run"),
    ("poetry", "run"),
    ("pdm", "run"),
    ("pipenv", "run"),
)
_FLAGS = ("--", "--frozen", "--locked", "--no-install", "--no-sync", "--yes", "-y")
_DEPTH = 4


@dataclass(frozen=True)
class Unfolded:
    """A command as `before` (what starts it) and `argv` (the program that ends the work)."""

    before: Argv
    argv: Argv


def scripts_of(text: str) -> dict[str, str]:
    """The scripts of a package.json by name, none where it cannot be read."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    found = document.get("scripts") if isinstance(document, dict) else None
    return {name: one for name, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}


def unfold(argv: Argv, tree: Path, depth: int = _DEPTH) -> Unfolded:
    """The command that a command of the repository at `tree` starts in the end; itself where that is not plain."""
    asis = Unfolded((), argv)
    if depth == 0 or not argv:
        return asis
    if program(argv) == "sh" and argv[1:2] == ("-c",) and len(argv) == 3:
        return _line(argv[2], tree, depth) or asis
    if (script := _script(argv, tree)) is not None:
        return _line(script, tree, depth) or asis
    for launcher in _LAUNCHERS:
        if (program(argv), *argv[1 : len(launcher)]) == launcher:
            rest = argv[len(launcher) :]
            while rest[:1] and rest[0] in _FLAGS:
                rest = rest[1:]
            return _assigned(rest, tree, depth) if rest and not rest[0].startswith("-") else asis
    return asis


def _line(text: str, tree: Path, depth: int) -> Unfolded | None:
    """A line that a shell would read; None where it is more than commands joined by `&&`."""
    plain = re.sub(r"'[^']*'|\"[^\"$`\\]*\"", "", text)
    if _SHELL.search(plain) or _FOLDER.search(plain):
        return None
    *earlier, last = re.split(r"\s*&&\s*", text)
    inner = words(last)
    if not inner or "&&" in "".join(re.findall(r"'[^']*'|\"[^\"]*\"", text)):
        return None
    found = _assigned(inner, tree, depth)
    first = ("sh", "-c", " && ".join([*earlier, '"$@"']), "sh") if earlier else ()
    return Unfolded((*first, *found.before), found.argv)


def _assigned(argv: Argv, tree: Path, depth: int) -> Unfolded:
    """Without the variables in front, which `env` sets as well."""
    number = next((at for at, word in enumerate(argv) if not _ASSIGNMENT.match(word)), len(argv))
    found = unfold(argv[number:], tree, depth - 1)
    return Unfolded(("env", *argv[:number], *found.before), found.argv) if number else found


def _script(argv: Argv, tree: Path) -> str | None:
    """The script that a package manager is asked for, with what comes before and is added; None for anything else."""
    if program(argv) not in _MANAGERS:
        return None
    rest = [word for word in argv[1:] if word not in ("--silent", "-s", "run", "run-script")]
    name = "test" if rest[:1] in (["test"], ["t"]) else rest[0] if rest and len(rest) < len(argv) - 1 else ""
    if len(rest) > 1 and rest[1] != "--":
        return None
    try:
        data, _ = read_file(tree, "package.json")
    except (ToolError, OSError):
        return None
    scripts = scripts_of(data.decode("utf-8", errors="replace"))
    if name not in scripts or f"post{name}" in scripts:
        return None
    added = shlex.join(rest[2:])
    before = f"{scripts[f'pre{name}']} && " if f"pre{name}" in scripts else ""
    return f"{before}{scripts[name]} {added}".strip()
