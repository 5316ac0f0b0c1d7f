"""What a repository is built with, found without running any of it: each fact has the line that shows it."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePosixPath

from backend_crew.tools import stack_rules
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.excerpt import head
from backend_crew.tools.manifests import declared, is_manifest
from backend_crew.tools.source_imports import imported
from backend_crew.tools.stack_rules import FileRule, Library, LineRule

_FILE_LIMIT = 500_000
_SOURCE_FILES = 3_000
_OTHER_FILES = 3_000
_WALK_LIMIT = 60_000
_QUOTE = 200

_KINDS = ("language", "package_manager", "build", "framework", "server", "api", "orm", "database", "cache", "queue",
          "migrations", "validation", "auth", "tests", "lint", "ci", "container")  # fmt: skip
_TEST_PATH = re.compile(r"(^|/)(tests?|spec|specs|__tests__|examples?|docs?|bench)/|(^|/)test_|_test\.|\.(test|spec)\.")
_SECRET = re.compile(r"://[^\s/@\"']+@|(password|passwd|secret|token|api_?key)[\"']?\s*[:=]", re.IGNORECASE)


@dataclass(frozen=True)
class Fact:
    """One thing the repository is built with; `quote` is a part of line `line` (from 1) of `path`.

    A library that is declared but never imported is "likely"; one that is imported is "certain".
    """

    kind: str
    value: str
    path: str
    line: int
    quote: str
    confidence: str


@dataclass
class _Found:
    """The best fact so far for each (kind, value)."""

    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        known = self.facts.get((fact.kind, fact.value))
        if known is None or (known.confidence == "likely" and fact.confidence == "certain"):
            self.facts[fact.kind, fact.value] = fact

    def certain(self, kind: str, value: str) -> bool:
        known = self.facts.get((kind, value))
        return known is not None and known.confidence == "certain"

    def known(self, kind: str, value: str) -> bool:
        return (kind, value) in self.facts


@dataclass(frozen=True)
class _File:
    """A file with its text, LF lines only."""

    path: str
    text: str

    def fact(self, kind: str, value: str, line: int, confidence: str, shown: str = "") -> Fact:
        """A fact at a line; `shown` is the part that proves it, quoted alone where the line may hold a secret."""
        whole = self.text.split("\n")[line - 1].strip()
        if _SECRET.search(whole) and shown:
            quote = shown.strip()
        elif len(whole) > _QUOTE and shown:
            start = whole.find(shown.strip())
            quote = whole[max(start, 0) :]
        else:
            quote = whole
        return Fact(kind, value, self.path, line, head(quote, _QUOTE).strip(), confidence)

    def line_at(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


def detect(root: Path) -> tuple[Fact, ...]:
    """The facts of a repository, best evidence each, ordered by kind; bounded; ToolRefused for a missing folder."""
    if not root.is_dir():
        raise ToolRefused(f"{root} is not a folder; give the root of a repository")
    paths = _walk(root)
    found = _Found()
    _from_languages(root, paths, found)
    imports = _import_table()
    for path in paths:
        file = _read(root, path)
        if file is None:
            continue
        _from_rules(file, found)
        if is_manifest(path):
            _from_manifest(file, found)
        _from_imports(file, found, imports)
    return _ordered(found)


def has_backend(facts: Sequence[Fact]) -> bool:
    """Whether the facts show a server side: a web framework, a server or an object mapper."""
    return any(fact.kind in ("framework", "server", "orm") for fact in facts)


def _ordered(found: _Found) -> tuple[Fact, ...]:
    facts = list(found.facts.values())
    named = {fact.path for fact in facts if fact.kind == "migrations" and fact.value != "sql"}
    # Plain SQL is what is left when no tool is known: a tool's own .sql files are not a second way.
    facts = [fact for fact in facts if not (fact.kind == "migrations" and fact.value == "sql" and named)]
    rank = {kind: position for position, kind in enumerate(_KINDS)}
    return tuple(sorted(facts, key=lambda fact: (rank[fact.kind], fact.confidence != "certain", fact.value.lower())))


def _walk(root: Path) -> list[str]:
    """Relative paths of the regular files worth reading, sources outside of test folders first, bounded."""
    sources: list[str] = []
    others: list[str] = []
    seen = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if _entered(folder, name))
        for name in sorted(files):
            seen += 1
            path = PurePosixPath(Path(folder).relative_to(root).as_posix(), name).as_posix()
            if not is_read_denied(path):
                (sources if PurePosixPath(name).suffix in stack_rules.LANGUAGES else others).append(path)
        if seen > _WALK_LIMIT:
            break
    sources.sort(key=lambda path: (_TEST_PATH.search(path) is not None, path))
    others.sort(key=lambda path: (path.count("/"), path))
    return [*others[:_OTHER_FILES], *sources[:_SOURCE_FILES]]


def _entered(folder: str, name: str) -> bool:
    # A virtual environment may have any name; its marker gives it away.
    return name not in stack_rules.SKIPPED_FOLDERS and not Path(folder, name, "pyvenv.cfg").exists()


def _read(root: Path, path: str) -> _File | None:
    """The text of a small regular file that some rule can use; links are not followed."""
    if not _wanted(path):
        return None
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _FILE_LIMIT:
            return None
        data = stream.read(_FILE_LIMIT)
    if b"\0" in data:
        return None
    return _File(path, data.decode("utf-8", errors="replace").replace("\r\n", "\n"))


def _wanted(path: str) -> bool:
    return (
        PurePosixPath(path).suffix in stack_rules.LANGUAGES
        or is_manifest(path)
        or any(_matches(rule.glob, path) for rule in stack_rules.FILES)
        or any(_matches(glob, path) for glob in _LINE_GLOBS)
    )


_LINE_GLOBS = tuple(dict.fromkeys(glob for rule in stack_rules.LINES for glob in rule.globs))
_COMPILED_GLOBS = {
    glob: re.compile("(?:.*/)?" + translate(glob) if "/" in glob else translate(glob))
    for glob in dict.fromkeys([*(rule.glob for rule in stack_rules.FILES), *_LINE_GLOBS])
}
_COMPILED_LINES = {
    line: re.compile(line, re.MULTILINE)
    for line in dict.fromkeys(rule.line for rule in (*stack_rules.FILES, *stack_rules.LINES))
}


def _matches(glob: str, path: str) -> bool:
    """Whether a path (a glob with a slash) or its name (a glob without one) matches."""
    subject = path if "/" in glob else path.rpartition("/")[2]
    return _COMPILED_GLOBS[glob].match(subject) is not None


def _from_languages(root: Path, paths: Sequence[str], found: _Found) -> None:
    """Languages by their files; one with less than a tenth of the sources is only likely the project's own."""
    by_language: dict[str, list[str]] = {}
    for path in paths:
        language = stack_rules.LANGUAGES.get(PurePosixPath(path).suffix)
        if language:
            by_language.setdefault(language, []).append(path)
    total = sum(map(len, by_language.values()))
    for language, sources in by_language.items():
        confidence = "certain" if len(sources) * 10 >= total else "likely"
        for path in sources[:50]:
            file = _read(root, path)
            if file is not None and (start := re.search(r"\S", file.text)):
                found.add(file.fact("language", language, file.line_at(start.start()), confidence))
                break


def _from_rules(file: _File, found: _Found) -> None:
    for rule in stack_rules.FILES:
        if not found.certain(rule.kind, rule.value) and _matches(rule.glob, file.path):
            _add_file_rule(file, rule, found)
    if file.path.rpartition("/")[2] in stack_rules.LOCK_FILES:
        return
    for line_rule in stack_rules.LINES:
        done = found.known if line_rule.likely else found.certain
        if not done(line_rule.kind, line_rule.value) and any(_matches(glob, file.path) for glob in line_rule.globs):
            _add_line_rule(file, line_rule, found)


def _add_file_rule(file: _File, rule: FileRule, found: _Found) -> None:
    match = _COMPILED_LINES[rule.line].search(file.text) if rule.line else re.search(r"\S", file.text)
    if match is not None:
        found.add(file.fact(rule.kind, rule.value, file.line_at(_shown_at(match)), "certain", match.group()))


def _add_line_rule(file: _File, rule: LineRule, found: _Found) -> None:
    if rule.needs and not any(text in file.text for text in rule.needs):
        return
    match = _COMPILED_LINES[rule.line].search(file.text)
    if match is not None:
        # The named group is the part of the line without what may be a password.
        part: str | int = "shown" if "shown" in match.re.groupindex else 0
        start = match.start(part) if part else _shown_at(match)
        confidence = "likely" if rule.likely else "certain"
        found.add(file.fact(rule.kind, rule.value, file.line_at(start), confidence, match.group(part)))


def _shown_at(match: re.Match[str]) -> int:
    """The offset of the first character that is not white space: `^\\s*` may begin on blank lines before."""
    return match.start() + len(match.group()) - len(match.group().lstrip())


def _from_manifest(file: _File, found: _Found) -> None:
    by_package = _package_table()
    for name, line in declared(file.path, file.text):
        for library in _declared_libraries(by_package, name):
            # A linter is used by being declared: it is never imported.
            confidence = "certain" if library.kind == "lint" else "likely"
            found.add(file.fact(library.kind, library.value, line, confidence, name.partition(":")[2]))


def _package_table() -> dict[str, list[Library]]:
    table: dict[str, list[Library]] = {}
    for library in stack_rules.LIBRARIES:
        for package in library.packages:
            table.setdefault(package, []).append(library)
    return table


def _declared_libraries(table: dict[str, list[Library]], name: str) -> list[Library]:
    if name.startswith("go:"):  # a module may carry its major version or be a folder of the repository: …/echo/v4
        return [library for package, libraries in table.items() if _below(name, package, "/") for library in libraries]
    return table.get(name, [])


_SEPARATORS = {"py": ".", "js": "/", "go": "/", "jvm": ".", "rb": "/", "php": "\\", "rs": "::", "cs": ".", "ex": "."}


def _below(name: str, prefix: str, separator: str) -> bool:
    return name == prefix or name.startswith(prefix + separator)


def _import_table() -> dict[str, list[tuple[str, Library]]]:
    table: dict[str, list[tuple[str, Library]]] = {}
    for library in stack_rules.LIBRARIES:
        for rule in library.imports:
            dialect, _, prefix = rule.partition(":")
            table.setdefault(dialect, []).append((prefix, library))
    return table


def _from_imports(file: _File, found: _Found, table: dict[str, list[tuple[str, Library]]]) -> None:
    dialect = stack_rules.IMPORT_DIALECT.get(stack_rules.LANGUAGES.get(PurePosixPath(file.path).suffix, ""))
    if dialect is None:
        return
    open_rules = [(prefix, lib) for prefix, lib in table.get(dialect, ()) if not found.certain(lib.kind, lib.value)]
    prefixes = tuple(prefix for prefix, _ in open_rules)
    for name, line, certain in imported(dialect, file.text, prefixes):
        for library in _imported_libraries(open_rules, name, _SEPARATORS[dialect]):
            confidence = "certain" if certain else "likely"
            found.add(file.fact(library.kind, library.value, line, confidence, name))


def _imported_libraries(rules: Sequence[tuple[str, Library]], name: str, separator: str) -> Iterator[Library]:
    for prefix, library in rules:
        if _below(name, prefix, separator):
            yield library
