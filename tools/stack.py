"""What a repository is built with, found without running any of it: each fact has the line that shows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools import monorepo, stack_rules
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.manifests import borrowed, declared, is_manifest
from backend_crew.tools.source_imports import imports
from backend_crew.tools.stack_facts import Fact, Service, Survey
from backend_crew.tools.stack_files import File, Tree, is_aside, read, walk
from backend_crew.tools.stack_patterns import patterns
from backend_crew.tools.stack_rules import Mark
from backend_crew.tools.stack_traps import Found, Judged, judge

_KINDS = ("language", "package_manager", "build", "framework", "server", "frontend", "architecture", "api",
          "api_versioning", "api_errors", "api_pagination", "orm", "query", "database", "cache", "queue", "broker",
          "migrations", "validation", "auth", "configuration", "tests", "test_command", "lint", "ci", "container")  # fmt: skip
# What prompts show: the demo's recording holds this text, so newer kinds come to them only with a new recording.
_PROMPTED = frozenset(_KINDS) - {
    "frontend", "architecture", "api_versioning", "api_errors", "api_pagination", "query", "broker", "configuration", "test_command"
}  # fmt: skip
_TEST_COMMANDS = {
    "pytest": "pytest",
    "unittest": "python -m unittest",
    "Django test": "python manage.py test",
    "go test": "go test ./...",
    "cargo test": "cargo test",
    "RSpec": "bundle exec rspec",
    "minitest": "bin/rails test",
    "PHPUnit": "vendor/bin/phpunit",
    "Pest": "vendor/bin/pest",
    "ExUnit": "mix test",
    "xUnit": "dotnet test",
    "NUnit": "dotnet test",
}
_SHARED = frozenset(
    {"language", "package_manager", "build", "frontend", "tests", "test_command", "lint", "ci", "container"}
)
_BACKEND = ("framework", "server", "orm")


@dataclass
class _Scan:
    """One pass over the files: what was found in each unit."""

    root: Path
    tree: Tree
    units: dict[str, monorepo.Unit]
    found: dict[str, Found] = field(default_factory=dict)
    own: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, path: str) -> Found:
        return self.found[monorepo.owner(self.units, path).path]

    def judged(self, unit: str) -> Judged:
        above = [self.found[folder] for folder in monorepo.above(unit) if folder in self.found]
        return judge(self.found[unit], self.tree.complete, above)


def survey(root: Path) -> Survey:
    """The facts, traps and services of a repository, found in one bounded pass; ToolRefused for a missing folder."""
    scan = _scan(root)
    parts: list[Service] = []
    for path, found in sorted(scan.found.items()):
        if found.sources or found.facts:
            parts.append(_service(scan, path, found))
    several = [one for one in parts if one.role != "shared"]
    rare = _rare(scan.tree)
    facts = _ordered(
        fact for fact in _merged([_counted(one) for one in parts]) if fact.value not in rare or fact.kind != "language"
    )
    traps = tuple(trap for one in parts for trap in one.traps)
    return Survey(facts, traps, tuple(several or parts), scan.tree.complete)


def detect(root: Path) -> tuple[Fact, ...]:
    """The facts of a repository as prompts show them, what is only declared included; best evidence each, by kind."""
    scan = _scan(root)
    facts: list[tuple[Fact, ...]] = []
    for path in sorted(scan.found):
        judged = scan.judged(path)
        facts += [judged.facts, judged.held]
    return _ordered(fact for fact in _merged(facts) if fact.kind in _PROMPTED)


def has_backend(facts: Sequence[Fact]) -> bool:
    """Whether the facts show a server side: a web framework, a server or an object mapper."""
    return any(fact.kind in _BACKEND for fact in facts)


def _rare(tree: Tree) -> frozenset[str]:
    """Languages with less than one in fifty of a repository's sources: a script in a folder of its own."""
    total = sum(map(len, tree.languages.values()))
    return frozenset(language for language, paths in tree.languages.items() if len(paths) * 50 < total)


def _counted(one: Service) -> tuple[Fact, ...]:
    """The facts of a service that are the repository's too: what a frontend does is not how the backend does it."""
    return tuple(fact for fact in one.facts if one.role != "frontend" or fact.kind in _SHARED)


def _merged(parts: Sequence[tuple[Fact, ...]]) -> Iterator[Fact]:
    """Each (kind, value) once, with certain evidence where some part has it."""
    best: dict[tuple[str, str], Fact] = {}
    for facts in parts:
        for fact in facts:
            known = best.get((fact.kind, fact.value))
            if known is None or (known.confidence == "likely" and fact.confidence == "certain"):
                best[fact.kind, fact.value] = fact
    yield from best.values()


def _ordered(facts: Iterator[Fact]) -> tuple[Fact, ...]:
    rank = {kind: position for position, kind in enumerate(_KINDS)}
    return tuple(sorted(facts, key=lambda fact: (rank[fact.kind], fact.confidence != "certain", fact.value.lower())))


def _service(scan: _Scan, path: str, found: Found) -> Service:
    judged = scan.judged(path)
    facts = list(judged.facts)
    shapes, broken = patterns(scan.root, found.sources)
    facts = [*(_by_manager(fact, judged.facts) for fact in facts), *shapes, *_commands(judged.facts)]
    names = tuple(scan.units[path].names)
    return Service(
        path, _role(found, (*judged.facts, *judged.held)), names, _ordered(iter(facts)), (*judged.traps, *broken)
    )


def _role(found: Found, facts: Sequence[Fact]) -> str:
    # A mapper alone may be a library that several services share.
    if any(
        fact.kind in ("framework", "server") or (fact.kind == "api" and fact.value != "OpenAPI document")
        for fact in facts
    ):
        return "backend"
    if any(fact.kind == "frontend" for fact in facts):
        return "frontend"
    return "library" if found.sources else "shared"


def _by_manager(fact: Fact, facts: Sequence[Fact]) -> Fact:
    """A script of package.json is started by the package manager that the lock file is of."""
    if (fact.kind, fact.value) != ("test_command", "npm test"):
        return fact
    managers = {one.value for one in facts if one.kind == "package_manager"}
    other = next((name for name in ("yarn", "pnpm", "bun") if name in managers and "npm" not in managers), "npm")
    return replace(fact, value=f"{other} {'run ' if other == 'bun' else ''}test")


def _commands(facts: Sequence[Fact]) -> Iterator[Fact]:
    """The test commands of the runners that no script of a manifest starts."""
    managers = {fact.value for fact in facts if fact.kind == "package_manager"}
    runners = [fact for fact in facts if fact.kind == "tests"]
    names = {fact.value for fact in runners}
    for fact in runners:
        command = _TEST_COMMANDS.get(fact.value)
        if fact.value == "JUnit":
            command = "mvn test" if "maven" in managers else "gradle test"
        # pytest runs the cases of the others as well, Django's runner those of unittest.
        better = {"unittest": {"pytest", "Django test"}, "Django test": {"pytest"}}.get(fact.value, set())
        if command and not better & names:
            rule = f"test_command.{fact.value.lower().replace(' ', '-')}.runner"
            yield replace(fact, kind="test_command", value=command, rule=rule)


def _scan(root: Path) -> _Scan:
    if not root.is_dir():
        raise ToolRefused(f"{root} is not a folder; give the root of a repository")
    tree = walk(root)
    scan = _Scan(root, tree, monorepo.units(tree.paths))
    _add_built(scan)
    scan.found = {path: Found(path) for path in scan.units}
    _languages(scan)
    rules, index = stack_rules.rules(), stack_rules.globs()
    for path in tree.paths:
        file = read(root, path)
        if file is None:
            continue
        found = scan.of(path)
        monorepo.name_units(scan.units, file)
        lock, aside = path.rpartition("/")[2] in rules.locks, is_aside(path)
        for mark in index.of(path):
            if not found.done(mark.kind, mark.value, likely=mark.likely, aside=aside):
                _from_mark(file, mark, found, lock)
        if is_manifest(path):
            _from_manifest(file, found)
        if (dialect := rules.dialect(path)) is not None:
            _from_imports(file, dialect, found, scan)
    return scan


def _add_built(scan: _Scan) -> None:
    """Folders that a compose file builds are units, where they hold something of their own."""
    holding = {"/".join(path.split("/")[:depth]) for path in scan.tree.paths for depth in range(1, path.count("/") + 1)}
    for path in scan.tree.paths:
        if "compose" in path.rpartition("/")[2] and (file := read(scan.root, path)) is not None:
            for folder in monorepo.built_folders(file):
                if folder in holding and folder not in scan.units:
                    scan.units[folder] = monorepo.Unit(folder, [folder.rpartition("/")[2]])


def _languages(scan: _Scan) -> None:
    """Languages by their files; in each unit one with less than a tenth of the sources is not the unit's own."""
    counts: dict[str, dict[str, list[str]]] = {}
    for language, paths in scan.tree.languages.items():
        for path in paths:
            unit = monorepo.owner(scan.units, path).path
            counts.setdefault(unit, {}).setdefault(language, []).append(path)
    for unit, by_language in counts.items():
        total = sum(map(len, by_language.values()))
        for language, paths in by_language.items():
            scan.found[unit].sources += paths
            if len(paths) * 10 < total:
                continue
            for path in paths[:50]:
                file = read(scan.root, path)
                if file is not None and (start := stack_rules.TEXT.search(file.text)):
                    rule = stack_rules.rule_id("language", language, "suffix")
                    scan.found[unit].add(file.fact("language", language, file.line_at(start.start()), rule))
                    break
    for unit, found in scan.found.items():
        found.sources.sort()
        scan.own[unit] = frozenset(_local(found.sources, unit))


def _local(sources: Sequence[str], unit: str) -> Iterator[str]:
    """The names of a unit's own Python modules: an import of one of them is not of a library of that name."""
    skip = len(unit) + 1 if unit else 0
    for path in sources:
        parts = path[skip:].removeprefix("src/").split("/")
        if len(parts) == 1 and path.endswith(".py"):
            yield parts[0][:-3]
        elif len(parts) == 2 and parts[1] == "__init__.py":
            yield parts[0]


def _from_mark(file: File, mark: Mark, found: Found, lock: bool) -> None:
    if lock and mark.kind != "package_manager":
        return
    if not mark.possible(file.text):
        return
    match = next((one for one in mark.line.finditer(file.text) if not file.is_comment(one)), None)
    if match is None or (mark.also and not mark.also.search(file.text)):
        return
    if mark.unless and mark.unless.search(file.text):
        return
    # The named group is the part of the line without what may be a password.
    part: str | int = "shown" if "shown" in match.re.groupindex and match.group("shown") else 0
    # `^\s*` may begin on blank lines before.
    start = match.start(part) + len(match.group(part)) - len(match.group(part).lstrip())
    line = file.line_at(start)
    found.add(file.fact(mark.kind, mark.value, line, mark.rule, likely=mark.likely, shown=match.group(part)))


def _from_manifest(file: File, found: Found) -> None:
    rules = stack_rules.rules()
    for_others = borrowed(file.path, file.text)
    for name, line in declared(file.path, file.text):
        found.ecosystems.add(name.partition(":")[0])
        for library in rules.declares(name):
            rule = stack_rules.rule_id(library.kind, library.value, "declared")
            # A linter is used by being declared: it is never imported.
            likely = library.kind not in ("lint", "frontend")
            fact = file.fact(library.kind, library.value, line, rule, likely=likely, shown=name.partition(":")[2])
            if name in for_others:
                found.borrow(fact)
            else:
                found.declare(fact, name)


def _from_imports(file: File, dialect: str, found: Found, scan: _Scan) -> None:
    rules = stack_rules.rules()
    own = scan.own[found.unit] if dialect == "py" else frozenset[str]()
    aside = is_aside(file.path)
    found.dialects.add(dialect)

    def wanted(name: str) -> bool:
        return name.partition(".")[0] not in own and any(
            not found.done(one.kind, one.value, likely=False, aside=aside) for one in rules.imports(dialect, name)
        )

    for name, line, certain in imports(dialect, file.text, wanted):
        for library in rules.imports(dialect, name):
            rule = stack_rules.rule_id(library.kind, library.value, "imported")
            found.add(file.fact(library.kind, library.value, line, rule, likely=not certain, shown=name))
