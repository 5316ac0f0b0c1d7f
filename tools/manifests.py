"""The packages that a dependency manifest declares, each as ecosystem:name with its line; nothing of it is run."""

import ast
import json
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

Declared = Iterator[tuple[str, int]]

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PYPI_NAME = re.compile(r"(?:^\s*|[\"'])([A-Za-z0-9](?:[\w.-]*\w)?)(?=\s*(?:[\"'=<>!~;\[ (@]|$))")
_KEY = re.compile(r"^\s*[\"']?([\w.-]+)[\"']?\s*=")
_JSON_KEY = re.compile(r'"([^"]+)"\s*:')
_CARGO_NAME = re.compile(r"^\s*(?:\[[\w.-]*dependencies\.)?[\"']?([\w-]+)[\"'\].]?\s*(?:=|\.|$)")
_LINE_PATTERNS = {
    "go": r"^\s*(?:require\s+)?([a-z0-9.-]+\.[a-z]+/\S+)\s+v\d",
    "maven": r"<artifactId>\s*([^<\s]+)\s*</artifactId>",
    "gradle": r"[\"'](?:[\w.-]+:([\w.-]+)(?::[^\"']*)?|(org\.springframework\.boot))[\"']",
    "gem": r"^\s*gem\s*\(?\s*[\"']([^\"']+)[\"']",
    "nuget": r"<PackageReference\s[^>]{0,300}Include=\"([^\"]+)\"",
    "hex": r"\{\s*:(\w+)\s*,",
}


def is_manifest(path: str) -> bool:
    """Whether a path is a manifest that `declared` can read."""
    return _reader(path) is not None


def declared(path: str, text: str) -> Declared:
    """Each declared package as (ecosystem:name, line from 1); a manifest that cannot be parsed declares nothing."""
    reader = _reader(path)
    if reader is not None:
        yield from reader(text)


def borrowed(path: str, text: str) -> frozenset[str]:
    """The packages of `declared` that stand in a manifest only because others need them, as the tool that wrote it noted."""
    name = PurePosixPath(path).name
    if name == "go.mod":
        return frozenset(
            f"go:{match}"
            for match in re.findall(r"^[ \t]*(?:require[ \t]+)?(\S+)[ \t]+v\S+[ \t]*//[ \t]*indirect", text, re.M)
        )
    if _reader(path) is not _requirements:
        return frozenset()
    found: set[str] = set()
    current = None
    via: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if package := requirement_name(line):
            current = package
        if current and (noted := re.search(r"#\s*(via\s+)?(\S.*)?$", line)) and (noted.group(1) or current in via):
            via.setdefault(current, []).append(noted.group(2) or "")
        elif current and re.search(r"#\s*via\s*$", line):
            via.setdefault(current, [])
    for package, parents in via.items():
        if not any(re.search(r"-r\b|\.(in|toml|txt|cfg|py)\b", parent) for parent in parents):
            found.add(f"pypi:{package}")
    return frozenset(found)


def normal_name(name: str) -> str:
    """A Python package's name in the one spelling that compares equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str | None:
    """The normalised package name of a requirement line, None for an option, a comment or a path."""
    match = _REQUIREMENT.match(requirement)
    return normal_name(match.group(1)) if match else None


def _reader(path: str) -> Callable[[str], Declared] | None:
    name = path.rpartition("/")[2]
    if name.endswith((".txt", ".in")) and (name.startswith("requirements") or path.endswith(f"requirements/{name}")):
        return _requirements
    if name.endswith(".csproj"):
        return _lines("nuget", "nuget")
    return _READERS.get(name)


def _lines(pattern: str, ecosystem: str) -> Callable[[str], Declared]:
    compiled = re.compile(_LINE_PATTERNS[pattern])

    def read(text: str) -> Declared:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.lstrip().startswith(("#", "//")):
                continue
            for match in compiled.finditer(line):
                yield f"{ecosystem}:{next(group for group in match.groups() if group)}", number

    return read


def _requirements(text: str) -> Declared:
    for number, line in enumerate(text.split("\n"), start=1):
        if name := requirement_name(line):
            yield f"pypi:{name}", number


def _toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(value: object, *keys: str) -> Mapping[str, object]:
    """The table at a path of keys, empty where something else stands there."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def python_requirements(document: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Each dependency of a pyproject document as (where, normalised name, requirement)."""
    lists: list[tuple[str, object]] = [("project.dependencies", _table(document, "project").get("dependencies"))]
    extras = _table(document, "project", "optional-dependencies")
    lists += [(f"project.optional-dependencies.{extra}", value) for extra, value in extras.items()]
    lists += [(f"dependency-groups.{group}", value) for group, value in _table(document, "dependency-groups").items()]
    for where, value in lists:
        for requirement in _strings(value):
            if name := requirement_name(requirement):
                yield where, name, requirement
    poetry = _table(document, "tool", "poetry")
    tables = [("tool.poetry.dependencies", _table(poetry, "dependencies"))]
    tables += [("tool.poetry.dev-dependencies", _table(poetry, "dev-dependencies"))]
    tables += [
        (f"tool.poetry.group.{group}.dependencies", _table(poetry, "group", group, "dependencies"))
        for group in _table(poetry, "group")
    ]
    for where, table in tables:
        for name, value in table.items():
            yield where, normal_name(name), json.dumps(value, sort_keys=True, default=str)


def _located(ecosystem: str, names: Iterable[str], text: str, written: re.Pattern[str]) -> Declared:
    """Each name with the first line where it is written as a name (group 1); nothing where it is spelled otherwise."""
    normal = normal_name if ecosystem == "pypi" else str
    lines: dict[str, int] = {}
    # One pass over the text: a search for each name would cost names times lines.
    for number, line in enumerate(text.split("\n"), start=1):
        for match in written.finditer(line):
            lines.setdefault(normal(match.group(1)), number)
    for name in names:
        if name in lines:
            yield f"{ecosystem}:{name}", lines[name]


def _pyproject(text: str) -> Declared:
    names = dict.fromkeys(name for _, name, _ in python_requirements(_toml(text)))
    yield from _located("pypi", names, text, _PYPI_NAME)


def _pipfile(text: str) -> Declared:
    document = _toml(text)
    names = [normal_name(name) for key in ("packages", "dev-packages") for name in _table(document, key)]
    yield from _located("pypi", names, text, _KEY)


def _setup_cfg(text: str) -> Declared:
    """Entries of install_requires and of the extras: the lines below a key, or what stands on its own line."""
    inside = extras = False
    for number, line in enumerate(text.split("\n"), start=1):
        if re.match(r"\[", line):
            inside = extras = line.strip() == "[options.extras_require]"
        elif key := re.match(r"(\w+)\s*=\s*(.*)$", line):
            inside = key.group(1) == "install_requires" or extras
            if key.group(1) == "install_requires" and (name := requirement_name(key.group(2))):
                yield f"pypi:{name}", number
        elif inside and line[:1].isspace() and (name := requirement_name(line)):
            yield f"pypi:{name}", number


def _setup_py(text: str) -> Declared:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require", "tests_require"):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    name = requirement_name(part.value)
                    if name:
                        yield f"pypi:{name}", part.lineno


def _json_tables(ecosystem: str, keys: tuple[str, ...]) -> Callable[[str], Declared]:
    def read(text: str) -> Declared:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return
        names = dict.fromkeys(name for key in keys for name in _table(document, key))
        yield from _located(ecosystem, names, text, _JSON_KEY)

    return read


def _cargo(text: str) -> Declared:
    document = _toml(text)
    places = (("dependencies",), ("workspace", "dependencies"), ("dev-dependencies",))
    tables = [_table(document, *keys) for keys in places]
    names = dict.fromkeys(name for table in tables for name in table)
    yield from _located("cargo", names, text, _CARGO_NAME)


_READERS: Mapping[str, Callable[[str], Declared]] = {
    "pyproject.toml": _pyproject,
    "Pipfile": _pipfile,
    "setup.cfg": _setup_cfg,
    "setup.py": _setup_py,
    "package.json": _json_tables(
        "npm", ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
    ),
    "composer.json": _json_tables("composer", ("require", "require-dev")),
    "go.mod": _lines("go", "go"),
    "pom.xml": _lines("maven", "maven"),
    "build.gradle": _lines("gradle", "maven"),
    "build.gradle.kts": _lines("gradle", "maven"),
    "Gemfile": _lines("gem", "gem"),
    "mix.exs": _lines("hex", "hex"),
    "Cargo.toml": _cargo,
}
