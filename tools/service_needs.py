"""Which servers a repository's tests talk to, and by which variables, read from its files; nothing is executed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import read_file

POSTGRESQL, REDIS = "PostgreSQL", "Redis"
_FILE_LIMIT, _FILES = 200_000, 200
#: What runs the tests, and what they are configured by; code first.
_GLOBS = (
    ".github/workflows/*.yml", ".github/workflows/*.yaml", ".gitlab-ci.yml", ".circleci/config.yml", "azure-pipelines.yml",
    "docker-compose*.yml", "docker-compose*.yaml", "compose*.yml", "compose*.yaml",
    ".env.example", ".env.sample", ".env.dist", "env.example", "*/.env.example",
    "tox.ini", "pytest.ini", "setup.cfg", "pyproject.toml", "package.json", "jest.config.*", "vitest.config.*",
    "conftest.py", "*/conftest.py", "settings.py", "*/settings.py", "*/settings/*.py", "*/*/settings/*.py",
    "*config*.py", "*/*config*.py", "*/*/*config*.py", "*database*.py", "*/*database*.py", "*/*db*.py", "test*/*.py",
    "src/*config*.[jt]s", "src/*/*config*.[jt]s", "config/*.[jt]s", "src/db*.[jt]s", "src/*database*.[jt]s", "test*/*.[jt]s",
)  # fmt: skip
_CI = (".github/", ".gitlab-ci", ".circleci/", "azure-pipelines")
_SCHEMES = {
    "postgres": POSTGRESQL, "postgresql": POSTGRESQL, "postgis": POSTGRESQL, "redis": REDIS, "mysql": "MySQL",
    "mariadb": "MariaDB", "mongodb": "MongoDB", "amqp": "RabbitMQ",
}  # fmt: skip
_IMAGES = {
    "postgres": POSTGRESQL, "postgis/postgis": POSTGRESQL, "redis": REDIS, "mysql": "MySQL", "mariadb": "MariaDB",
    "mongo": "MongoDB", "rabbitmq": "RabbitMQ", "elasticsearch": "Elasticsearch",
}  # fmt: skip
_URL = re.compile(
    r"(?P<scheme>postgres|postgresql|postgis|redis|mysql|mariadb|mongodb|amqp)(?P<driver>\+\w+)?://"
    r"(?:(?P<user>[\w.-]*)(?::(?P<password>[\w.-]*))?@)?(?P<host>[\w.-]*)(?::\d+)?(?:/(?P<name>[\w.-]*))?"
)
# NAME: url, NAME=url, getenv("NAME", "url"), env("NAME", default="url"), process.env.NAME || 'url'
_BEFORE = re.compile(
    r"(?<![\w$])([A-Za-z_]\w{2,60})[\"']?\s*(?:[:=,]|\|\||\?\?)\s*(?:str\s*=\s*)?(?:default\s*=\s*)?[\"'`]?$"
)
_IMAGE = re.compile(
    rf"^[ \t-]*image:\s*[\"']?(?:docker\.io/)?(?:library/)?({'|'.join(_IMAGES)})(?::(\d+)[\w.-]*)?[\"']?\s*$",
    re.MULTILINE,
)
_PART = re.compile(
    r"[\"'.](?P<name>(?:[A-Z]+_)?(?P<family>PG|POSTGRES|DB|DATABASE|REDIS)_?"
    r"(?P<part>HOST|PORT|USER|USERNAME|PASSWORD|PASS|DB|NAME|DATABASE))\b"
)
_COMPOSE = re.compile(r"POSTGRES_(USER|PASSWORD|DB)\s*[:=]\s*[\"']?([\w.-]+)")


@dataclass
class Need:
    """A kind of server: the variables that hold its URL (with the URL's scheme), and those that hold a part of one."""

    kind: str
    urls: dict[str, str]
    parts: dict[str, str]
    user: str = ""
    password: str = ""
    name: str = ""
    major: int | None = None
    #: Whether tests are known to want it, not only the service in production.
    certain: bool = False


def needs(tree: Path) -> tuple[Need, ...]:
    """Every server that the files name as one for tests or as the default of the code, ordered by kind."""
    found: dict[str, Need] = {}
    for path, text in _texts(tree):
        _from_urls(text, path.startswith(_CI), found)
        _from_images(text, path.startswith(_CI), found)
        _from_parts(path, text, found)
    return tuple(found[kind] for kind in sorted(found) if found[kind].certain)


def _need(found: dict[str, Need], kind: str) -> Need:
    return found.setdefault(kind, Need(kind, {}, {}))


def _from_urls(text: str, ci: bool, found: dict[str, Need]) -> None:
    for match in _URL.finditer(text):
        need = _need(found, _SCHEMES[match["scheme"]])
        name = _BEFORE.search(text[max(0, match.start() - 120) : match.start()])
        if name is None or not _local(match["host"], ci):
            continue
        need.certain = True
        if name[1].isupper():
            need.urls.setdefault(name[1], match["scheme"] + (match["driver"] or ""))
        need.user = need.user or match["user"] or ""
        need.password = need.password or match["password"] or ""
        need.name = need.name or match["name"] or ""


def _local(host: str, ci: bool) -> bool:
    """Whether a URL is one for a developer's or a pipeline's machine; a real server is nothing to stand in for."""
    return ci or "." not in host or host.startswith("127.")


def _from_images(text: str, ci: bool, found: dict[str, Need]) -> None:
    for match in _IMAGE.finditer(text):
        need = _need(found, _IMAGES[match[1]])
        need.certain = need.certain or ci
        need.major = need.major or (int(match[2]) if match[2] and len(match[2]) < 4 else None)
    for part, value in _COMPOSE.findall(text):
        need = _need(found, POSTGRESQL)
        field = {"USER": "user", "PASSWORD": "password", "DB": "name"}[part]
        setattr(need, field, getattr(need, field) or value)


def _from_parts(path: str, text: str, found: dict[str, Need]) -> None:
    """Variables for host, port, user and so on, which only code can be known to read."""
    if not path.endswith((".py", ".js", ".ts")):
        return
    for match in _PART.finditer(text):
        kind = REDIS if match["family"] == "REDIS" else POSTGRESQL
        if kind in found:
            found[kind].parts.setdefault(match["name"], match["part"])
            # What it is for is known from elsewhere: a DB_HOST alone can be any database's.
            found[kind].certain = found[kind].certain or match["part"] == "HOST"


def _texts(tree: Path) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for pattern in _GLOBS:
        for place in sorted(tree.glob(pattern)):
            path = place.relative_to(tree).as_posix()
            if path in seen or "node_modules" in place.parts or "site-packages" in place.parts:
                continue
            if len(seen) >= _FILES:
                return
            seen.add(path)
            try:
                data, _ = read_file(tree, path, _FILE_LIMIT)
            except (ToolError, OSError):
                continue
            yield path, data.decode("utf-8", errors="replace")
