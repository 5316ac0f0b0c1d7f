"""Where an Alembic project keeps its parts, read from alembic.ini or pyproject.toml without running anything."""

import configparser
import posixpath
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRetry

_SEPARATORS = {"space": " ", "newline": "\n", "os": ":", ":": ":", ";": ";"}
_OPTION = re.compile(r"^(?P<key>[\w.]+)\s*[=:]")


@dataclass(frozen=True)
class AlembicConfig:
    """One Alembic project; every path is relative to the repository, "" being its root."""

    path: str  # alembic.ini, or pyproject.toml where [tool.alembic] is all there is
    base: str  # the folder Alembic is run in
    folder: str  # script_location
    versions: tuple[str, ...]  # folders that hold revision files
    search: tuple[str, ...]  # folders that are on sys.path when env.py runs
    url: str | None  # sqlalchemy.url as written
    line: int  # where script_location stands in `path`
    flask: bool  # Flask-Migrate: env.py wants an application
    several: bool  # its template for several databases: env.py goes through SQLALCHEMY_BINDS
    recursive: bool  # revision files are looked for in sub-folders too


def has_alembic(path: str, text: str) -> bool:
    """Whether a file with this name and content configures Alembic."""
    name = posixpath.basename(path)
    if name == "pyproject.toml":
        return re.search(r"^\[tool\.alembic\]", text, re.MULTILINE) is not None
    return name.endswith(".ini") and re.search(r"^\[alembic\]", text, re.MULTILINE) is not None


def read_config(root: Path, path: str) -> AlembicConfig:
    """The configuration in `path`; ToolRetry where it cannot be understood without running code."""
    base = posixpath.dirname(path)
    ini = path if path.endswith(".ini") else posixpath.join(base, "alembic.ini")
    options = _toml_options(root / base / "pyproject.toml")
    options.update(_ini_options(root / ini))
    location = options.get("script_location")
    if location is None and (root / base / "env.py").is_file():
        location = "%(here)s"  # Flask-Migrate passes the folder on its command line
    if location is None:
        raise ToolRetry(f"{path} has no script_location: name the folder that holds env.py there")
    if options.get("sourceless", "").lower() == "true":
        raise ToolRetry(f"{path} sets sourceless = true: revisions without source cannot be reviewed; turn it off")
    folder = _place(root, base, location)
    versions = tuple(_place(root, base, item) for item in _listed(options, "version_locations"))
    prepended = tuple(_place(root, base, item) for item in _listed(options, "prepend_sys_path"))
    # `python -m alembic` has the folder it runs in on sys.path, whatever prepend_sys_path says.
    search = tuple(dict.fromkeys((*prepended, base)))
    env = _text(root / folder / "env.py")
    return AlembicConfig(
        path=path,
        base=base,
        folder=folder,
        versions=versions or (posixpath.join(folder, "versions"),),
        search=search,
        url=options.get("sqlalchemy.url") or None,
        line=_line_of(root / path),
        flask="current_app" in env,
        several="current_app" in env and ("SQLALCHEMY_BINDS" in env or "bind_names" in env),
        recursive=options.get("recursive_version_locations", "").lower() == "true",
    )


def with_url(text: str, url: str) -> str:
    """The text of an alembic.ini whose sqlalchemy.url is `url` and whose post-write hooks are off."""
    kept: list[str] = []
    section, dropping, seen = "", False, False
    replaced = {("alembic", "sqlalchemy.url"), ("post_write_hooks", "hooks")}
    setting = f"sqlalchemy.url = {url.replace('%', '%%')}"
    for line in text.splitlines():
        if header := re.match(r"^\[(?P<name>[^\]]+)\]", line):
            section, dropping = header["name"], False
            kept.append(line)
            if section == "alembic":
                seen = True
                kept.append(setting)
            continue
        if option := _OPTION.match(line):
            dropping = (section, option["key"].lower()) in replaced
        # A line that starts with a space continues the option above it.
        if not dropping:
            kept.append(line)
    if not seen:
        kept += ["[alembic]", setting]
    return "\n".join(kept) + "\n"


def _ini_options(path: Path) -> dict[str, str]:
    """The [alembic] options of an ini file, uninterpolated."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_text(path))
    except configparser.Error as error:
        raise ToolRetry(f"{path.name} is not a valid ini file: {str(error).splitlines()[0]}") from error
    return dict(parser.items("alembic")) if parser.has_section("alembic") else {}


def _toml_options(path: Path) -> dict[str, str]:
    """The [tool.alembic] options, lists joined with newlines."""
    try:
        table = tomllib.loads(_text(path)).get("tool", {}).get("alembic", {})
    except tomllib.TOMLDecodeError as error:
        raise ToolRetry(f"{path.name} is not valid TOML: {error}") from error
    options: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, str):
            options[key] = value
        elif isinstance(value, bool):
            options[key] = str(value)
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            options[key] = "\n".join(value)
    return options


def _listed(options: Mapping[str, str], key: str) -> list[str]:
    value = options.get(key, "")
    separator = _SEPARATORS.get(options.get("path_separator", options.get("version_path_separator", "")))
    if "\n" in value.strip():
        separator = "\n"
    parts = (
        value.split(separator) if separator else re.split(r"[, :]+" if key == "prepend_sys_path" else r"[, ]+", value)
    )
    return [part.strip() for part in parts if part.strip()]


def _place(root: Path, base: str, value: str) -> str:
    """A configured folder as a path inside the repository."""
    value = value.strip()
    if re.fullmatch(r"[\w.]+:[\w./-]+", value):  # package:folder
        package, inner = value.split(":", 1)
        candidates = [posixpath.join(base, start, package.replace(".", "/"), inner) for start in ("", "src")]
        value = next((item for item in candidates if (root / item).is_dir()), candidates[0])
        base = ""
    value = re.sub(r"^%\(here\)s/?", "", value) or "."
    if "%(" in value:
        raise ToolRetry(f"the setting {value!r} uses interpolation; only %(here)s at its start is understood")
    place = posixpath.normpath(posixpath.join(base, value))
    if place.startswith(("..", "/")):
        raise ToolRetry(f"the configured folder {value!r} lies outside the repository")
    return "" if place == "." else place


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _line_of(path: Path) -> int:
    """The line a reader would look at first: script_location, or the section's header."""
    lines = _text(path).splitlines()
    for start in ("script_location", "[alembic]", "[tool.alembic]"):
        for number, line in enumerate(lines, start=1):
            if line.startswith(start):
                return number
    return 1
