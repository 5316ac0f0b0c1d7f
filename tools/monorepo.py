"""The parts of a repository that are built by themselves, and which one a feature concerns: by rule, or not at all."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from backend_crew.tools.stack_facts import Service
from backend_crew.tools.stack_files import File, is_aside

_MANIFESTS = frozenset(
    ("pyproject.toml", "setup.py", "requirements.txt", "Pipfile", "package.json", "go.mod", "pom.xml", "build.gradle",
     "build.gradle.kts", "Cargo.toml", "Gemfile", "composer.json", "mix.exs")
)  # fmt: skip
_PYTHON = frozenset({"pyproject.toml", "setup.py", "requirements.txt", "Pipfile"})
_COMPOSE = re.compile(r"(^|/)(docker-)?compose[^/]*\.ya?ml$")
_NAME = re.compile(
    r"""^[ \t]*"?name"?[ \t]*[:=][ \t]*["']([^"'\n]+)["']|^module[ \t]+(\S+)|^[ \t]*<artifactId>([^<\n]+)</artifactId>|^[ \t]*app:[ \t]*:(\w+)""",
    re.MULTILINE,
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
# Words that say nothing about which service is meant.
_EMPTY = frozenset(
    ("an", "and", "api", "app", "apps", "application", "as", "at", "backend", "be", "by", "code", "for", "from", "http",
     "in", "is", "it", "its", "new", "of", "on", "or", "packages", "rest", "server", "service", "services", "should",
     "src", "that", "the", "this", "to", "web", "when", "with", "add", "allow", "endpoint", "endpoints", "feature",
     "let", "may", "must", "can", "get", "list", "create", "update", "delete", "support", "each", "all", "one", "via")
)  # fmt: skip


@dataclass
class Unit:
    """A folder that is built by itself, "" for the root, with the names it goes by."""

    path: str
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """The service that a feature concerns, None where code cannot tell; `reason` says why, to be shown or asked."""

    service: Service | None
    reason: str


def units(paths: Sequence[str]) -> dict[str, Unit]:
    """The units of a repository by folder: the root, and every folder with a manifest of its own, tests aside."""
    folders: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if (name in _MANIFESTS or name == "manage.py" or name.endswith(".csproj")) and not is_aside(path):
            folders.setdefault(folder, set()).add(name)
    found = {"": Unit("")}
    python = {folder for folder, names in folders.items() if names & _PYTHON}
    for folder, names in sorted(folders.items()):
        # Django's manage.py often lies below the folder that declares the dependencies.
        if names != {"manage.py"} or not any(outer in python for outer in above(folder)):
            found[folder] = Unit(folder, [folder.rpartition("/")[2]] if folder else [])
    return found


def above(folder: str) -> Iterable[str]:
    """The folders that a folder or a file lies in, innermost first, the root ("") last."""
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


def owner(known: Mapping[str, Unit], path: str) -> Unit:
    """The innermost unit that a path lies in."""
    for folder in above(path):
        if folder in known:
            return known[folder]
    return known[""]


def name_units(known: dict[str, Unit], file: File) -> None:
    """Add what a file says of its unit's name, and the services and contexts that a compose file builds."""
    folder, _, name = file.path.rpartition("/")
    if _COMPOSE.search(file.path):
        for service, context in _built(file.text):
            place = _joined(folder, context)
            if place in known and service not in known[place].names:
                known[place].names.append(service)
    elif name in _MANIFESTS and folder in known and (match := _NAME.search(file.text)):
        given = next(group for group in match.groups() if group).strip()
        if given not in known[folder].names:
            known[folder].names.append(given)


def built_folders(file: File) -> list[str]:
    """The folders that a compose file builds images from; nothing for other files."""
    folder = file.path.rpartition("/")[0]
    return [_joined(folder, context) for _, context in _built(file.text)] if _COMPOSE.search(file.path) else []


def _built(text: str) -> list[tuple[str, str]]:
    """(service, build context) of a compose file, read by its indentation: anchors and templates may be in it."""
    found: list[tuple[str, str]] = []
    inside, service, building, step = False, "", 0, 0
    for line in text.split("\n"):
        match = re.match(r"( *)([\w.-]+):\s*(\S.*)?$", line)
        if match is None:
            continue
        indent, key, value = len(match.group(1)), match.group(2), (match.group(3) or "").split(" #")[0].strip(" \"'")
        if not indent:
            inside, step, building = key == "services", 0, 0
        elif inside and (not step or indent <= step):
            step, service, building = indent, key, 0
        elif inside and key == "build":
            building = indent
            if inline := re.match(r"\{.{0,200}?context:\s*([^,}\s]+)", value):
                value = inline.group(1).strip("\"'")
            if value and not value.startswith(("&", "*", "{")):
                found.append((service, value))
        elif inside and key == "context" and building and indent > building and value:
            found.append((service, value))
    return found


def _joined(folder: str, context: str) -> str:
    parts: list[str] = []
    for part in PurePosixPath(folder, context).parts:
        if part == "..":
            parts[-1:] = []
        elif part not in (".", "/"):
            parts.append(part)
    return "/".join(parts)


def choose(services: Sequence[Service], feature: str, words: Mapping[str, Iterable[str]] | None = None) -> Choice:
    """The backend service that a feature's text concerns: the only one, or the one that its words name beyond doubt.

    `words` are more words by service path, such as those of its endpoints and tables; they count a third of a name's.
    """
    backends = [one for one in services if one.role == "backend"]
    if len(backends) < 2:
        return (
            Choice(backends[0], "the only backend service")
            if backends
            else Choice(None, "no backend service was found; name the folder that the feature belongs in")
        )
    wanted = _words(feature)
    scored = sorted(((_score(one, wanted, words or {}), one) for one in backends), key=lambda pair: -pair[0])
    (best, service), (second, _) = scored[0], scored[1]
    if best and best > second:
        return Choice(
            service, f"the feature's words name it: {', '.join(sorted(_shared(service, wanted, words or {})))}"
        )
    names = ", ".join(one.path or "." for one in backends)
    why = "its words fit several" if best else "its words name none"
    return Choice(None, f"{why} of {len(backends)} backend services ({names}); say which one the feature belongs in")


def _score(service: Service, wanted: frozenset[str], words: Mapping[str, Iterable[str]]) -> int:
    named = _words(" ".join(service.names))
    return 3 * len(named & wanted) + len((_words(" ".join(words.get(service.path, ()))) - named) & wanted)


def _shared(service: Service, wanted: frozenset[str], words: Mapping[str, Iterable[str]]) -> frozenset[str]:
    return _words(" ".join((*service.names, *words.get(service.path, ())))) & wanted


def _words(text: str) -> frozenset[str]:
    """The telling words of a text in one spelling: lower case, no plural."""
    found = {word.lower() for word in _WORD.findall(text)}
    return frozenset(_singular(word) for word in found if len(word) > 1 and word not in _EMPTY)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
