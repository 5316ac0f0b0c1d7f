"""Whether changed files can be read and imported: parsed by trusted code, imported and linted inside the sandbox."""

import ast
import json
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend_crew.tools import importcheck
from backend_crew.tools.documents import yaml_error
from backend_crew.tools.errors import ToolError
from backend_crew.tools.excerpt import head
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Box, Limits, NoSandbox, Sandbox
from backend_crew.tools.workspace import read_file

_FILE_LIMIT = 2_000_000
_TEXT = 400
_NODE = (".js", ".mjs", ".cjs")
_LIMITS = Limits(timeout_s=120)
# Unused imports and variables and placeholder-free f-strings break nothing, and old ones are not the change's fault.
_HARMLESS = "F401,F841,F541"


@dataclass(frozen=True)
class Problem:
    """What is wrong at a line (from 1) of a file."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Checked:
    """The problems of changed files, empty where nothing is known against them, and whether ruff looked at them too."""

    problems: tuple[Problem, ...]
    linted: bool = False


def check_files(
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    paths: Sequence[str],
    *,
    beside: importcheck.Beside | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Problem, ...]:
    """The problems of changed files of `tree`, as `checked` finds them."""
    return checked(sandbox, tree, at, runtime, paths, beside=beside, stop=stop).problems


def checked(
    sandbox: Sandbox | NoSandbox,
    tree: Path,
    at: Path,
    runtime: Runtime,
    paths: Sequence[str],
    *,
    beside: importcheck.Beside | None = None,
    stop: Callable[[], bool] | None = None,
) -> Checked:
    """Reads and imports changed files of `tree`.

    Python is parsed, imported (no tests, no migrations) and linted with ruff (E9, F) where the runtime has it; JSON,
    YAML and TOML are parsed; JavaScript is checked by node where it is there. Without a sandbox nothing is run, only
    parsed. Raises ToolFault when the sandbox breaks.
    """
    wrong = {path: problem for path in dict.fromkeys(paths) if (problem := _parsed(tree, path)) is not None}
    python = [path for path in dict.fromkeys(paths) if path.endswith(".py") and (tree / path).is_file()]
    node = [path for path in dict.fromkeys(paths) if path.endswith(_NODE) and (tree / path).is_file()]
    if isinstance(sandbox, NoSandbox) or not (node or (python and runtime.python)):
        return Checked(_sorted(wrong.values()))
    found: list[Problem] = []
    linted: list[Problem] | None = None
    with sandbox.box(tree, at, runtime, layered=True) as box:
        if python and runtime.python is not None:
            # The repository's interpreter may know newer syntax than ours: it has the last word.
            for path in importcheck.compiled(box, runtime.python, [path for path in python if path in wrong], stop):
                wrong.pop(path, None)
            sound = [path for path in python if path not in wrong]
            linted = _ruff(box, runtime.python, sound, stop)
            found += linted or ()
            broken = importcheck.failures(box, tree, runtime.python, sound, stop, beside)
            found += [Problem(one.path, one.line, head(one.text, _TEXT)) for one in broken]
        found += [problem for path in node for problem in _node(box, path, stop)]
    return Checked(_sorted([*wrong.values(), *found]), linted is not None)


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda one: (one.path, one.line, one.text)))


def _parsed(tree: Path, path: str) -> Problem | None:
    """The first problem that parsing shows; links and other things that are no plain files are problems too."""
    parser = _PARSERS.get(PurePosixPath(path).suffix)
    if parser is None:
        return None
    try:
        data, _ = read_file(tree, path, _FILE_LIMIT)
        text = data.decode("utf-8")
    except ToolError as error:
        return Problem(path, 1, str(error))
    except UnicodeDecodeError:
        return Problem(path, 1, "is not UTF-8 text")
    wrong = parser(text)
    return None if wrong is None else Problem(path, max(wrong[0], 1), head(wrong[1], _TEXT))


def _python_error(text: str) -> tuple[int, str] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # compile() finds what parsing alone does not, such as a return outside of a function; nothing is run.
            compile(ast.parse(text), "file", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.lineno or 1, f"{type(error).__name__}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return 1, f"cannot be compiled: {type(error).__name__}: {error}"
    return None


def _json_error(text: str) -> tuple[int, str] | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.lineno, f"not valid JSON: {error.msg}"
    except (ValueError, RecursionError) as error:
        return 1, f"not readable JSON: {error}"
    return None


def _toml_error(text: str) -> tuple[int, str] | None:
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        return int(line[1]) if line else 1, f"not valid TOML: {error}"
    return None


def _yaml_error(text: str) -> tuple[int, str] | None:
    wrong = yaml_error(text)
    return None if wrong is None else (wrong[0], f"not valid YAML: {wrong[1]}")


_PARSERS: dict[str, Callable[[str], tuple[int, str] | None]] = {
    ".py": _python_error,
    ".pyi": _python_error,
    ".json": _json_error,
    ".toml": _toml_error,
    ".yaml": _yaml_error,
    ".yml": _yaml_error,
}


def _ruff(box: Box, python: Path, paths: Sequence[str], stop: Callable[[], bool] | None) -> list[Problem] | None:
    """What ruff finds of real errors, None where it did not look; the repository's own ignores count."""
    if not paths:
        return None
    options = ("check", "--no-cache", "--select", "E9,F", "--ignore", _HARMLESS, "--output-format", "json")
    done = box.run((str(python), "-m", "ruff", *options, "--", *paths), limits=_LIMITS, stop=stop)
    try:
        findings = json.loads(done.stdout)
    except ValueError:  # no ruff there, or one that cannot read the repository's settings
        return None
    if not isinstance(findings, list):
        return None
    return [problem for one in findings if isinstance(one, dict) for problem in _finding(one, paths)]


def _finding(finding: dict[str, object], paths: Sequence[str]) -> Iterator[Problem]:
    file, place, code = str(finding.get("filename", "")), finding.get("location"), str(finding.get("code"))
    path = next((path for path in paths if file == path or file.endswith("/" + path)), None)
    row = place.get("row") if isinstance(place, dict) else None
    if path is not None and code.startswith(("E9", "F", "invalid-syntax", "None")):
        yield Problem(path, row if isinstance(row, int) else 1, head(f"{code} {finding.get('message')}", _TEXT))


def _node(box: Box, path: str, stop: Callable[[], bool] | None) -> Iterator[Problem]:
    """What node says against a file's syntax; nothing where node is missing or ended for another reason."""
    done = box.run(("node", "--check", path), limits=_LIMITS, stop=stop)
    error = re.search(r"^(SyntaxError: .*)$", done.stderr, re.MULTILINE)
    if done.exit_code == 1 and error is not None:
        line = re.search(re.escape(path) + r":(\d+)", done.stderr)
        yield Problem(path, int(line[1]) if line else 1, head(error[1], _TEXT))
