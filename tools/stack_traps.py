"""From what the rules found in one unit to facts and traps: what is only declared, borrowed, doubled or out of place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backend_crew.tools import stack_rules
from backend_crew.tools.stack_facts import Fact, Trap
from backend_crew.tools.stack_files import is_aside

# Libraries that do their work by being imported; a driver works through a URL, a server or a linter through a command.
_PROVED = frozenset({"framework", "orm", "query", "api", "api_pagination", "auth", "queue", "broker", "cache", "validation", "configuration"})  # fmt: skip
# What a test or an example may show: the runner, and a document of the API.
_FROM_ASIDE = frozenset({"tests", "test_command", "trap"})
_DIALECTS = {"pypi": "py", "npm": "js", "cargo": "rs", "go": "go"}
_LOCKED = (frozenset({"npm", "yarn", "pnpm", "bun"}), frozenset({"uv", "poetry", "pdm", "pipenv"}))
_RUNNERS = {"pytest": "pypi", "jest": "npm", "vitest": "npm", "mocha": "npm"}
_UNMIGRATED = frozenset({"create_all", "AutoMigrate", "synchronize", "sequelize.sync", "hbm2ddl", "EnsureCreated"})

Key = tuple[str, str]


@dataclass
class Found:
    """The best fact so far for each (kind, value) of a unit, apart those of tests and examples and of borrowed packages."""

    unit: str
    facts: dict[Key, Fact] = field(default_factory=dict)
    aside: dict[Key, Fact] = field(default_factory=dict)
    borrowed: dict[Key, Fact] = field(default_factory=dict)
    declared: dict[str, list[Fact]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    dialects: set[str] = field(default_factory=set)
    ecosystems: set[str] = field(default_factory=set)

    def add(self, fact: Fact) -> None:
        """Keep a fact where it is better than what is known."""
        own = fact.kind in _FROM_ASIDE or fact.value == "OpenAPI document" or not is_aside(fact.path)
        facts = self.facts if own else self.aside
        known = facts.get((fact.kind, fact.value))
        if known is None or (known.confidence == "likely" and fact.confidence == "certain"):
            facts[fact.kind, fact.value] = fact

    def declare(self, fact: Fact, package: str) -> None:
        """Keep a fact of a declared package, and every place where it is declared."""
        if not is_aside(fact.path):
            self.declared.setdefault(package, []).append(fact)
        self.add(fact)

    def borrow(self, fact: Fact) -> None:
        """Note a package that is only there for another's sake."""
        self.borrowed.setdefault((fact.kind, fact.value), fact)

    def done(self, kind: str, value: str, *, likely: bool, aside: bool) -> bool:
        """Whether another look can bring nothing better."""
        if aside and kind not in _FROM_ASIDE and value != "OpenAPI document":
            known = self.facts.get((kind, value))
            return (kind, value) in self.aside or (known is not None and known.confidence == "certain")
        known = self.facts.get((kind, value))
        return known is not None and (likely or known.confidence == "certain")


@dataclass(frozen=True)
class Judged:
    """The facts of a unit, what is held back from them, and why."""

    facts: tuple[Fact, ...]
    held: tuple[Fact, ...]
    traps: tuple[Trap, ...]


def judge(found: Found, complete: bool, above: Sequence[Found] = ()) -> Judged:
    """The facts of a unit and its traps; `above` are the units whose manifests count for it too."""
    facts = dict(found.facts)
    declared: dict[str, list[Fact]] = {}
    for one in (found, *above):
        for package, places in one.declared.items():
            declared.setdefault(package, []).extend(places)
    held: list[Fact] = []
    traps: list[Trap] = []
    for fact, trap in (*_unused(found, facts, complete), *_brought(facts)):
        if facts.pop((fact.kind, fact.value), None) is not None:
            held.append(fact)
            traps.append(trap)
    traps += _marked(facts)
    traps += _from_aside(found, facts)
    traps += _borrowed(found, facts)
    traps += _tables(facts)
    traps += _doubled(facts)
    traps += _declared_twice(found)
    traps += _undeclared(facts, declared, frozenset().union(*(one.ecosystems for one in (found, *above))))
    return Judged(tuple(facts.values()), tuple(held), tuple(traps))


def _unused(found: Found, facts: Mapping[Key, Fact], complete: bool) -> Iterator[tuple[Fact, Trap]]:
    """Declared, in a language whose sources were all read, and never imported."""
    if not complete:
        return
    for fact in facts.values():
        if fact.kind not in _PROVED or not fact.rule.endswith(".declared"):
            continue
        packages = [name for name, places in found.declared.items() if fact in places]
        dialects = {_DIALECTS.get(name.partition(":")[0]) for name in packages}
        library = {name.partition(":")[0] for one in stack_rules.rules().libraries
                   if (one.kind, one.value) == (fact.kind, fact.value) for name in one.imports}  # fmt: skip
        if not dialects or not dialects <= (found.dialects & library):
            continue
        seen = found.aside.get((fact.kind, fact.value))
        if seen is not None:
            yield (
                fact,
                Trap(
                    "trap.only-in-tests",
                    f"{fact.value} is declared, and imported by tests or examples alone",
                    (fact, seen),
                ),
            )
        else:
            yield (
                fact,
                Trap("trap.declared-not-imported", f"{fact.value} is declared, and no source imports it", (fact,)),
            )


def _brought(facts: Mapping[Key, Fact]) -> Iterator[tuple[Fact, Trap]]:
    """What comes with another library: a framework below a framework; a mapper where it is not imported by itself."""
    for fact in facts.values():
        for parent in stack_rules.rules().under.get(fact.value, ()):
            over = facts.get((fact.kind, parent))
            if over is None or over.confidence != "certain":
                continue
            if fact.kind in ("framework", "migrations") or (
                fact.kind in ("orm", "query") and fact.confidence != "certain"
            ):
                yield fact, Trap("trap.brought-along", f"{fact.value} is there for the sake of {parent}", (fact, over))
                break


def _marked(facts: dict[Key, Fact]) -> Iterator[Trap]:
    for key in [key for key in facts if key[0] == "trap"]:
        fact = facts.pop(key)
        yield Trap(f"trap.{fact.rule.rpartition('.')[2]}", fact.value, (fact,))


def _from_aside(found: Found, facts: Mapping[Key, Fact]) -> Iterator[Trap]:
    for key, fact in found.aside.items():
        elsewhere = key in facts or key in found.facts or key in found.borrowed
        over = any((fact.kind, parent) in facts for parent in stack_rules.rules().under.get(fact.value, ()))
        if fact.kind in ("framework", "orm") and not (elsewhere or over) and not fact.rule.endswith(".declared"):
            yield Trap("trap.only-in-tests", f"{fact.value} is used by tests or examples alone", (fact,))


def _borrowed(found: Found, facts: Mapping[Key, Fact]) -> Iterator[Trap]:
    for key, fact in found.borrowed.items():
        if fact.kind in ("framework", "orm") and key not in found.facts:
            yield Trap("trap.brought-along", f"{fact.value} stands in {fact.path} for another library's sake", (fact,))


def _doubled(facts: Mapping[Key, Fact]) -> Iterator[Trap]:
    """Two of what a service has one of."""
    languages = stack_rules.rules()
    for kind, name in (("framework", "frameworks"), ("orm", "mappers"), ("migrations", "migration tools")):
        by_dialect: dict[str, list[Fact]] = {}
        for fact in facts.values():
            if fact.kind == kind:
                by_dialect.setdefault(languages.dialect(fact.path) or "", []).append(fact)
        # A manifest names no language of its own: what it shows is counted with the others.
        loose = by_dialect.pop("", [])
        groups = [[*group, *loose] for group in by_dialect.values()] or [loose]
        for group in groups:
            values = {fact.value for fact in group}
            if len(values) > 1 and not any(values <= beside for beside in languages.beside.get(kind, ())):
                yield Trap(
                    f"trap.two-{name.replace(' ', '-')}", f"several {name}: {', '.join(sorted(values))}", tuple(group)
                )
    databases = [fact for fact in facts.values() if fact.kind == "database" and fact.confidence == "certain"]
    if len(databases) > 1:
        names = ", ".join(sorted(fact.value for fact in databases))
        yield Trap(
            "trap.two-databases",
            f"several databases: {names}; a run may use another one than the tests",
            tuple(databases),
        )
    for managers in _LOCKED:
        locks = [
            fact
            for fact in facts.values()
            if fact.kind == "package_manager" and fact.value in managers and fact.rule.endswith(".lock")
        ]
        if len(locks) > 1:
            yield Trap(
                "trap.two-lock-files",
                f"lock files of {' and '.join(sorted(fact.value for fact in locks))}",
                tuple(locks),
            )


def _declared_twice(found: Found) -> Iterator[Trap]:
    """The same framework or mapper in two manifests of a unit, with words that differ."""
    for package, places in found.declared.items():
        # requirements.txt is what pip-compile makes of requirements.in.
        paths = {
            fact.path: fact for fact in places if fact.kind in ("framework", "orm") and not fact.path.endswith(".in")
        }
        if len(paths) > 1 and len({_spelled(fact.quote) for fact in paths.values()}) > 1:
            where = " and ".join(sorted(paths))
            name = package.partition(":")[2]
            yield Trap("trap.declared-twice", f"{name} is declared differently in {where}", tuple(paths.values()))


def _spelled(quote: str) -> str:
    return quote.lower().strip(" \"',").partition(" #")[0].replace(" ", "")


def _undeclared(
    facts: Mapping[Key, Fact], declared: Mapping[str, list[Fact]], ecosystems: frozenset[str]
) -> Iterator[Trap]:
    """Configured or imported, while the manifests, which declare other things, do not have it."""
    known = {(fact.kind, fact.value) for places in declared.values() for fact in places}
    for fact in facts.values():
        if fact.kind == "tests" and _RUNNERS.get(fact.value) in ecosystems and ("tests", fact.value) not in known:
            yield Trap(
                "trap.runner-not-declared",
                f"{fact.value} is configured or imported, and no manifest declares it",
                (fact,),
            )
        if fact.kind in ("framework", "orm") and fact.rule.endswith(".imported"):
            dialect = stack_rules.rules().dialect(fact.path)
            packages = {name.partition(":")[0] for one in stack_rules.rules().libraries
                        if (one.kind, one.value) == (fact.kind, fact.value) for name in one.packages}  # fmt: skip
            usual = next((name for name, one in _DIALECTS.items() if one == dialect), None)
            over = {(fact.kind, parent) for parent in stack_rules.rules().under.get(fact.value, ())}
            if usual in ecosystems and usual in packages and not known & {(fact.kind, fact.value), *over}:
                yield Trap(
                    "trap.imported-not-declared", f"{fact.value} is imported, and no manifest declares it", (fact,)
                )


def _tables(facts: dict[Key, Fact]) -> Iterator[Trap]:
    """How tables come to be: a tool's own .sql files are no second tool; without a tool, what stands in for one."""
    tools = [fact for fact in facts.values() if fact.kind == "migrations" and fact.value != "sql"]
    if tools:
        facts.pop(("migrations", "sql"), None)
    instead = [facts.pop(key) for key in list(facts) if key[0] == "no_migrations"]
    for fact in instead:
        if not tools and ("migrations", "sql") not in facts:
            value = f"none ({fact.value})"
            facts["migrations", value] = Fact(
                "migrations", value, fact.path, fact.line, fact.quote, fact.confidence, fact.rule
            )
        elif tools and fact.value in _UNMIGRATED:
            yield Trap("trap.tables-made-twice", f"{fact.value} makes tables beside {tools[0].value}", (fact, tools[0]))
