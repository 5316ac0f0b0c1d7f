"""Searches the text of a repository with ripgrep, and finds where a name is defined."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import process
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolError, ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.excerpt import head
from backend_crew.tools.ripgrep import ENVIRONMENT, QUIET, find_rg
from backend_crew.tools.workspace import JUNK_FOLDERS, MissingPathError, NoSecrets, Redacts, read_file, shown_lines

MAX_LIMIT = 500
_COLUMNS = 300
_A_FILE = 50
_READ_A_FILE = 5_000
_TIMEOUT_S = 30.0
_COMMON_HIDDEN = """
    .github .gitlab .gitlab-ci.yml .circleci .gitignore .gitattributes .gitmodules .dockerignore .editorconfig
    .env.example .env.sample .env.template .flake8 .coveragerc .pylintrc .python-version .ruby-version .node-version
    .nvmrc .tool-versions .pre-commit-config.yaml .eslintrc .eslintrc.js .eslintrc.json .eslintrc.yml .prettierrc
    .babelrc .rubocop.yml .rspec .sqlfluff .crewignore .golangci.yml .travis.yml .storybook .config"""
_KEYWORDS = (
    "func function class interface type struct enum trait fn def module record object const let var message service "
    "static final"
)


@dataclass(frozen=True)
class Match:
    """One line that matches; `line` counts from 1, `text` is cut at 300 columns."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class _Sight:
    """What an agent sees of a tree: which files, and their lines with NUL for each character of a secret."""

    root: Path
    redact: Redacts
    hides: Callable[[str], bool] | None
    wanted: re.Pattern[str] | None = None
    _masked: dict[str, list[str]] = field(default_factory=dict)

    def of(self, output: str) -> Iterator[Match]:
        """The lines that ripgrep printed, where they may be seen, with secrets masked."""
        for match in _matches(output.split("\n")):
            path, hides = match.path, self.hides
            if _is_hidden(path) or is_read_denied(path) or (hides is not None and hides(path)):
                continue
            if self.wanted is not None and not self.wanted.fullmatch(path):
                continue
            # the whole file at once: a line of a key says nothing by itself
            if path not in self._masked:
                self._masked[path] = self._read(path)
            if match.line <= len(self._masked[path]):
                yield Match(path, match.line, self._masked[path][match.line - 1].removesuffix("\r"))

    def _read(self, path: str) -> list[str]:
        try:
            text = read_file(self.root, path)[0].decode("utf-8", "replace")
        except ToolError:
            return []
        return self.redact.mask(text).split("\n")


def search(
    root: Path,
    pattern: str,
    *,
    glob: str | None = None,
    literal: bool = False,
    limit: int = 100,
    search_path: str = process.SEARCH_PATH,
    hides: Callable[[str], bool] | None = None,
    redact: Redacts | None = None,
) -> tuple[Match, ...]:
    """Give the lines below root that match a regular expression (or literal text), `limit` and 50 a file at most.

    A line in which `redact` finds a secret is searched as it is shown, with a mark in its place: otherwise what matches
    would tell the secret, a character at a time.

    Honours .gitignore and .crewignore; leaves out denied files, those that `hides` names and hidden ones but the
    common. `glob` such as `app/**/*.py` or `*.{js,ts}` narrows the paths. Raises ToolRetry on a bad pattern or one that takes over 30 s.
    """
    if not pattern or "\n" in pattern or "\0" in pattern:
        raise ToolRetry("the pattern is empty or holds a line end or NUL: search for text within one line.")
    wanted = _glob_regex(glob) if glob else None
    how = [*(["--fixed-strings"] if literal else []), f"--regexp={pattern}"]
    sight = _Sight(root, redact or NoSecrets(), hides, wanted)
    return _found(sight, how, _file_flags(root, glob), min(max(limit, 1), MAX_LIMIT), search_path)


def find_symbol(
    root: Path,
    name: str,
    *,
    limit: int = 50,
    search_path: str = process.SEARCH_PATH,
    hides: Callable[[str], bool] | None = None,
    redact: Redacts | None = None,
) -> tuple[Match, ...]:
    """Give the lines where a function, class, type, table or constant of that name is defined, in files not hidden.

    Python is parsed; other languages are matched by the form of their declarations.
    """
    plain = name.rsplit(".", 1)[-1].rsplit("::", 1)[-1]
    if not re.fullmatch(r"[A-Za-z_$][\w$]*", plain, re.ASCII):
        raise ToolRetry(f"{name!r} is no identifier: give the bare name of a function, class, type or table.")
    sight = _Sight(root, redact or NoSecrets(), hides)
    found = _found(sight, [f"--regexp={_definition(plain)}"], _file_flags(root, None), 5_000, search_path)
    parsed: dict[str, frozenset[int] | None] = {}
    kept: list[Match] = []
    for match in found:
        if match.path not in parsed:
            parsed[match.path] = _defined_at(root, match.path, plain)
        defined = parsed[match.path]
        if defined is None or match.line in defined:
            kept.append(match)
    return tuple(kept[: min(max(limit, 1), MAX_LIMIT)])


def _file_flags(root: Path, glob: str | None) -> list[str]:
    flags = ["--iglob=!.git"]
    flags += [f"--iglob=!{name}" for name in sorted(JUNK_FOLDERS - {".git"})]
    if (root / ".crewignore").is_file():
        flags.append("--ignore-file=.crewignore")
    if glob and "{" in glob and "/" in glob:
        raise ToolRetry(f"the glob {glob!r} has braces and folders; search once for each part, by file name")
    if glob:
        # A type narrows by the file name without overriding .gitignore, which `--glob` would do.
        name = glob.rsplit("/", 1)[-1]
        if name and "**" not in name:
            flags += [f"--type-add=wanted:{name}", "--type=wanted"]
    return flags


def _found(sight: _Sight, how: Sequence[str], files: Sequence[str], limit: int, search_path: str) -> tuple[Match, ...]:
    """The matches among lines without a secret, and among the others as they are shown."""
    found = [match for match in sight.of(_in_files(sight.root, [*files, *how], search_path)) if "\0" not in match.text]
    if patterns := sight.redact.patterns():
        # Which lines hold secrets is asked without the agent's pattern, or the answer would depend on both.
        held = _in_files(sight.root, [*files, "--file=-"], search_path, "\n".join(patterns))
        found += _as_shown([match for match in sight.of(held) if "\0" in match.text], how, sight.root, search_path)
    found.sort(key=lambda match: (match.path.split("/"), match.line))
    kept: list[Match] = []
    in_file: dict[str, int] = {}
    for match in found:
        in_file[match.path] = in_file.get(match.path, 0) + 1
        if in_file[match.path] <= _A_FILE:
            kept.append(Match(match.path, match.line, head(match.text, _COLUMNS)))
    return tuple(kept[:limit])


def _as_shown(lines: Sequence[Match], how: Sequence[str], root: Path, search_path: str) -> list[Match]:
    """Those of some masked lines that match with a mark in the place of each secret."""
    shown = [Match(one.path, one.line, "".join(shown_lines(one.text))) for one in lines]
    if not shown:
        return []
    text = "\n".join(one.text for one in shown)
    output = _ripgrep(root, ["--text", *how, "--", "-"], search_path, text)
    numbers = (line.partition(":")[0] for line in output.split("\n"))
    return [shown[int(number) - 1] for number in numbers if number.isdigit()]


def _in_files(root: Path, flags: Sequence[str], search_path: str, stdin: str = "") -> str:
    if not root.is_dir():
        raise ToolFault(f"{root} is not a folder: there is nothing to search.")
    wide = ("--null", "--sort=path", "--hidden", "--no-require-git", "--no-ignore-parent", "--no-ignore-global")
    bounds = (f"--max-columns={_COLUMNS}", "--max-columns-preview", "--max-filesize=2M", f"--max-count={_READ_A_FILE}")
    return _ripgrep(root, [*wide, *bounds, *flags, "--", "."], search_path, stdin)


def _ripgrep(root: Path, flags: Sequence[str], search_path: str, stdin: str) -> str:
    argv = [str(find_rg(search_path)), *QUIET, "--no-heading", "--line-number"]
    given = stdin.encode("utf-8", "replace")
    done = process.run(
        [*argv, *flags], cwd=root, env=ENVIRONMENT, timeout_s=_TIMEOUT_S, output_limit=8_000_000, stdin=given or None
    )
    if done.timed_out:
        raise ToolRetry(f"the search took over {_TIMEOUT_S:.0f} s: narrow it by a glob or a longer pattern.")
    if done.exit_code == 2 and done.stderr.strip():
        raise ToolRetry(f"ripgrep does not take this search: {done.stderr.strip()[:1_000]}")
    if done.exit_code is None or done.exit_code not in (0, 1, 2):
        raise ToolFault(f"ripgrep ended with {done.exit_code}: {done.stderr.strip()[:1_000]}")
    return done.stdout


def _matches(lines: Iterable[str]) -> Iterator[Match]:
    for line in lines:
        path, _, rest = line.partition("\0")
        number, _, text = rest.partition(":")
        if number.isdigit():
            yield Match(path.removeprefix("./"), int(number), text.rstrip("\r"))


def _is_hidden(path: str) -> bool:
    common = _COMMON_HIDDEN.split()
    return any(part.startswith(".") and part not in common for part in path.split("/"))


def _glob_regex(glob: str) -> re.Pattern[str]:
    """Translate a gitignore-like glob: without a slash it names files at any depth."""
    if glob.startswith(("!", "/")) or ".." in glob.split("/") or "\0" in glob or "\n" in glob:
        raise ToolRetry(f"{glob!r} is no glob for this search: use one such as '*.py' or 'app/**/*.py'.")
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    text = glob.removeprefix("./")
    depth, made = 0, "" if "/" in text else "(?:.*/)?"
    for token in re.findall(r"\*\*/|\*\*|\[!?[^\]/]+\]|.", text):
        if token.startswith("[") and len(token) > 1:
            body = token[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
            made += f"[{'^' + body[1:] if body.startswith('!') else body}]"
            continue
        depth += {"{": 1, "}": -1}.get(token, 0)
        made += tokens[token] if token in tokens and (token != "," or depth > 0) else re.escape(token)
    try:
        return re.compile(made + ("(?:.*)" if text.endswith("/") else ""), re.S)
    except re.error as error:
        raise ToolRetry(f"{glob!r} is no glob: {error}. Use one such as '*.py' or 'app/**/*.py'.") from None


def _definition(name: str) -> str:
    exact = re.escape(name) if "$" in name else name
    words = "|".join(_KEYWORDS.split())
    forms = (
        rf"\b(?:{words})\s+(?:\([^)]*\)\s*)?{exact}(?:[^\w$]|$)",  # the bracket is the receiver of a Go method
        rf"^\s*(?:(?:public|private|protected|internal|static|final|abstract|async|override|virtual)\s+)+"
        rf"(?:[\w<>\[\],.?]+\s+)?{exact}\s*\(",
        rf"^\s*(?:async\s+)?{exact}\s*\([^)]*\)\s*(?::\s*[^=]+)?\{{\s*$",  # a method of a JavaScript class
        rf"^\s*{exact}\s*(?::[^=]+)?=[^=]",
        rf"(?i:\bcreate\s+(?:or\s+replace\s+)?(?:table|view|function|type|index)\s+(?:if\s+not\s+exists\s+)?[\"`]?){exact}\b",
    )
    return "|".join(f"(?:{form})" for form in forms)


def _defined_at(root: Path, path: str, name: str) -> frozenset[int] | None:
    """Give the lines of a Python file that define the name; None for another language or what cannot be parsed."""
    if not path.endswith((".py", ".pyi")):
        return None
    try:
        tree = ast.parse(read_file(root, path)[0])
    except (SyntaxError, ValueError, RecursionError, MissingPathError, ToolRefused):
        return None
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            lines.add(node.lineno)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
            if name in names and all(isinstance(target, ast.Name | ast.Tuple) for target in targets):
                lines.add(node.lineno)
    return frozenset(lines)
