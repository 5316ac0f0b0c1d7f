"""The files of a repository that stack rules can use, bounded: no links followed, nothing installed, no secrets."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import stack_rules
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.excerpt import head
from backend_crew.tools.manifests import is_manifest
from backend_crew.tools.stack_facts import Fact

_FILE_LIMIT = 500_000
_LOCK_HEAD = 4_096
_SOURCE_FILES = 2_000
_OTHER_FILES = 3_000
_TEST_FILES = 60
_EXAMPLE_FILES = 20
_WALK_LIMIT = 200_000
_QUOTE = 200
_DEPTH_LIMIT = 40

_ASIDE = re.compile(
    r"(^|/)(tests?|spec|specs|__tests__|e2e|examples?|samples?|docs?|bench|benchmarks?|fixtures|testdata|testing)/"
    r"|(^|/)scripts?/[^/]+\.(py|js|ts|mjs|rb|go)$"
    r"|(^|/)(test_[^/]*|conftest\.py)$|_test\.\w+$|\.(test|spec|e2e-spec)\.\w+$|_spec\.rb$|Tests?\.(java|kt|php|cs)$"
)
_TESTS = re.compile(
    r"(^|/)(tests?|spec|specs|__tests__|e2e|testing)/|(^|/)test_|(^|/)conftest\.py$|_test\.|\.(test|spec)\."
)
_GENERATED = re.compile(r"\.min\.js$|\.d\.ts$|\.pb\.go$|_pb2(_grpc)?\.py$|(^|/)(static|assets|public|wwwroot)/.*\.js$")
# A script of a build or of a tool says little of the language that a service is written in.
_TOOLING = re.compile(r"(^|/)(\.[^/]+|[^/]+\.config\.\w+|gulpfile\.\w+|Gruntfile\.\w+|setup\.py)$|(^|/)\.[^/]+/")
_SLASHES = ("//", "/*", "* ")
_COMMENTS = {
    **dict.fromkeys((".py", ".rb", ".ex", ".exs"), ("#",)),
    **dict.fromkeys((".js", ".ts", ".mjs", ".cjs", ".mts", ".go", ".java", ".kt", ".rs", ".cs", ".php"), _SLASHES),
}
_SECRET = re.compile(r"://[^\s/@\"']+@|(password|passwd|secret|token|api_?key)[\"']?\s*[:=]", re.IGNORECASE)


def is_aside(path: str) -> bool:
    """Whether a file is a test, an example or documentation: what it uses is not what the service is built with."""
    # Below src/main the folders are packages: org/springframework/samples is no sample.
    before, main, name = path.rpartition("src/main/")
    return _ASIDE.search(before if main else path) is not None or (
        bool(main) and _ASIDE.search(name.rpartition("/")[2]) is not None
    )


@dataclass(frozen=True)
class File:
    """A file with its text, LF lines only."""

    path: str
    text: str

    def fact(self, kind: str, value: str, at: int, rule: str, *, likely: bool = False, shown: str = "") -> Fact:
        """A fact at a line; `shown` is the part that proves it, quoted alone where the line may hold a secret."""
        whole = self.line(at).strip()
        if _SECRET.search(whole) and shown:
            quote = shown.strip()
        elif len(whole) > _QUOTE and shown:
            quote = whole[max(whole.find(shown.strip()), 0) :]
        else:
            quote = whole
        # What was matched may go over several lines; a quote is of one.
        quote = head(quote.split("\n")[0], _QUOTE).strip()
        return Fact(kind, value, self.path, at, quote, "likely" if likely else "certain", rule)

    def line(self, at: int) -> str:
        """The text of a line (from 1)."""
        return self.text.split("\n", at)[at - 1]

    def is_comment(self, match: re.Match[str]) -> bool:
        """Whether what was matched stands in a line that is a comment, in the languages whose comments are known here."""
        mark = _COMMENTS.get(stack_rules.suffix(self.path))
        if mark is None:
            return False
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        return self.text[self.text.rfind("\n", 0, start) + 1 : start + 2].lstrip().startswith(mark)

    def line_at(self, offset: int) -> int:
        """The line (from 1) at an offset."""
        return self.text.count("\n", 0, offset) + 1


@dataclass
class Tree:
    """Paths worth reading and the sizes of the source files by language; `complete` unless a bound was reached."""

    root: Path
    paths: list[str] = field(default_factory=list)
    languages: dict[str, list[str]] = field(default_factory=dict)
    complete: bool = True


def walk(root: Path) -> Tree:
    """The tree of a repository: manifests and configuration by depth, then sources, those of tests last."""
    rules = stack_rules.rules()
    index = stack_rules.globs()
    tree = Tree(root)
    sources: list[str] = []
    others: list[str] = []
    seen = 0
    stack = [""]
    while stack and seen <= _WALK_LIMIT:
        folder = stack.pop()
        files, inner = _listed(root, folder, rules.skipped)
        stack += reversed(inner)
        seen += len(files) + len(inner)
        for path in files:
            if stack_rules.suffix(path) in rules.languages:
                sources.append(path)
            elif is_manifest(path) or path.rpartition("/")[2] in rules.locks or index.of(path):
                others.append(path)
    sources = sorted(path for path in sources if not _GENERATED.search(path))
    own = [path for path in sources if not is_aside(path)]
    for path in own:
        if not _TOOLING.search(path):
            tree.languages.setdefault(rules.languages[stack_rules.suffix(path)], []).append(path)
    others.sort(key=lambda path: (path.count("/"), path))
    # An example of an environment file says least, so it is asked last.
    examples = [path for path in others if "env" in path.rpartition("/")[2]]
    late = set(examples)
    first = [path for path in others[:_OTHER_FILES] if path not in late]
    tree.paths = [*first, *_share(own), *_tests(sources, own), *examples[:_EXAMPLE_FILES]]
    tree.complete = seen <= _WALK_LIMIT and len(others) <= _OTHER_FILES and len(own) <= _SOURCE_FILES
    return tree


def _listed(root: Path, folder: str, skipped: frozenset[str]) -> tuple[list[str], list[str]]:
    """Files with something in them and folders to go into, sorted; a virtual environment is known by its marker."""
    files: list[str] = []
    inner: list[str] = []
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if not entry.name.isprintable():  # not UTF-8, or made to deceive: no fact can point at it
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in skipped and path.count("/") < _DEPTH_LIMIT:
                        inner.append(path)
                elif entry.name == "pyvenv.cfg":
                    return [], []
                elif entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size:
                    files.append(path)
    except OSError:
        return [], []
    return sorted(files), sorted(inner)


def _share(own: Sequence[str]) -> list[str]:
    """The sources of the service: all where they are few, else an equal share of each part, shallow ones first."""
    if len(own) <= _SOURCE_FILES:
        return list(own)
    parts: dict[str, list[str]] = {}
    for path in own:
        parts.setdefault("/".join(path.split("/")[:2]) if path.count("/") > 1 else "", []).append(path)
    share = max(_SOURCE_FILES // len(parts), 1)
    kept = [path for part in parts.values() for path in sorted(part, key=lambda one: one.count("/"))[:share]]
    return sorted(kept[:_SOURCE_FILES])


def _tests(sources: Sequence[str], own: Sequence[str]) -> list[str]:
    """A few of the other sources: tests first, which tell the runner; examples tell nothing that counts."""
    aside = sorted(set(sources).difference(own))
    return sorted(aside, key=lambda path: _TESTS.search(path) is None)[:_TEST_FILES]


def read(root: Path, path: str) -> File | None:
    """The text of a small regular file that may be read; links are not followed."""
    if is_read_denied(path):
        return None
    try:
        descriptor = os.open(f"{root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        lock = path.rpartition("/")[2] in stack_rules.rules().locks
        if not stat.S_ISREG(status.st_mode) or (status.st_size > _FILE_LIMIT and not lock):
            return None
        data = stream.read(_LOCK_HEAD if lock else _FILE_LIMIT)
    if b"\0" in data:
        return None
    return File(path, data.decode("utf-8", errors="replace").replace("\r\n", "\n"))
