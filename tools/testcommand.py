"""How a repository runs its tests, read from its files; nothing is executed to find out."""

import re
from collections.abc import Iterator
from pathlib import Path

from backend_crew.tools.errors import ToolError
from backend_crew.tools.runners.find import runner_of
from backend_crew.tools.runners.protocol import TestCommand, words
from backend_crew.tools.runners.scripts import scripts_of
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.stack import detect
from backend_crew.tools.workspace import read_file

_ON_NODE = ("node", "jest", "vitest", "mocha")
_SHELL = re.compile(r"[|&;<>$`*?\\]")


def find_command(root: Path, runtime: Runtime) -> TestCommand | None:
    """The command for the tests of `root`: pytest where it is used or declared, else what its manifests propose."""
    if runtime.python is not None and (evidence := _pytest_evidence(root)) is not None:
        return TestCommand((str(runtime.python), "-m", "pytest"), "pytest", evidence)
    for proposed in propose_commands(root):
        if proposed.argv[0] == "python":
            if runtime.python is not None:
                return TestCommand((str(runtime.python), *proposed.argv[1:]), proposed.runner, proposed.evidence)
        elif runtime.kind == ("node" if proposed.argv[0] == "npm" or proposed.runner in _ON_NODE else "other"):
            return proposed
    return None


def propose_commands(root: Path) -> tuple[TestCommand, ...]:
    """The usual test command of each manifest in the root folder, for a person to choose from."""
    return tuple(_proposals(root))


def with_interpreter(argv: tuple[str, ...], runtime: Runtime) -> tuple[str, ...]:
    """The command with the repository's own interpreter where it says just `python`."""
    if argv[0] in ("python", "python3") and runtime.python is not None:
        return (str(runtime.python), *argv[1:])
    return argv


def label_path(root: Path, label: str) -> str:
    """The path and names of a dotted label, such as a.tests.test_x.Case.test_y; "" where no file or folder has it."""
    parts = label.split(".")
    if not all(part.isidentifier() for part in parts):
        return ""
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length])
        if (root / f"{path}.py").is_file():
            return "::".join([f"{path}.py", *parts[length:]])
        if (root / path).is_dir():
            return path if length == len(parts) else ""
    return ""


def propose_checks(root: Path) -> tuple[TestCommand, ...]:
    """The usual checks (lint, types, build) that the manifests in the root folder declare; runner "check"."""
    return tuple(_checks(root))


def _checks(root: Path) -> Iterator[TestCommand]:
    if (text := _text(root, "manage.py")) is not None and (line := _line(text, "DJANGO_SETTINGS_MODULE")):
        yield TestCommand(("python", "manage.py", "check"), "check", f"manage.py:{line}")
    if (text := _text(root, "package.json")) is not None:
        for name in ("typecheck", "type-check", "lint", "check"):
            if name in scripts_of(text):
                line = _line(text, rf'"{name}"\s*:') or 1
                yield TestCommand(("npm", "run", "--silent", name), "check", f"package.json:{line}")
    if (text := _text(root, "go.mod")) is not None and (line := _line(text, r"^module ")):
        yield TestCommand(("go", "vet", "./..."), "check", f"go.mod:{line}")


def _pytest_evidence(root: Path) -> str | None:
    for fact in detect(root):
        if fact.kind == "tests" and fact.value == "pytest":
            return f"{fact.path}:{fact.line}"
    return None


def _text(root: Path, name: str) -> str | None:
    """A manifest's text, None when it is missing or not a plain file."""
    try:
        data, _ = read_file(root, name)
    except (ToolError, OSError):
        return None
    return data.decode("utf-8", errors="replace")


def _line(text: str, pattern: str) -> int | None:
    match = re.search(pattern, text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else None


def _proposals(root: Path) -> Iterator[TestCommand]:
    if (text := _text(root, "manage.py")) is not None and (line := _line(text, "DJANGO_SETTINGS_MODULE")):
        yield TestCommand(("python", "manage.py", "test"), "django", f"manage.py:{line}")
    if (text := _text(root, "package.json")) is not None:
        yield from _package_json(root, text)
    yield from _unittest(root)
    for name, pattern, argv in _FIXED:
        if (text := _text(root, name)) is not None and (line := _line(text, pattern)):
            wrapper = _WRAPPERS.get(name)
            own = (f"./{wrapper}",) if wrapper and (root / wrapper).is_file() else argv[:1]
            command = (*own, *argv[1:])
            found = runner_of(command, root)
            yield TestCommand(command, found.runner.name if found else "generic", f"{name}:{line}")


_WRAPPERS = {"pom.xml": "mvnw", "build.gradle": "gradlew", "build.gradle.kts": "gradlew"}
_FIXED = (
    ("go.mod", r"^module ", ("go", "test", "./...")),
    ("pom.xml", r"<project", ("mvn", "-q", "-o", "test")),
    ("build.gradle", r"\S", ("gradle", "--offline", "test")),
    ("build.gradle.kts", r"\S", ("gradle", "--offline", "test")),
    ("Gemfile", r"^\s*gem\s*\(?\s*[\"']rspec", ("bundle", "exec", "rspec")),
    ("Gemfile", r"^\s*gem\s*\(?\s*[\"']rails[\"']", ("bundle", "exec", "rails", "test")),
    ("composer.json", r"phpunit/phpunit", ("vendor/bin/phpunit",)),
    ("Cargo.toml", r"^\[(package|workspace)\]", ("cargo", "test", "--offline")),
    ("mix.exs", r"use Mix\.Project", ("mix", "test")),
)


def _package_json(root: Path, text: str) -> Iterator[TestCommand]:
    script = scripts_of(text).get("test")
    if script is None or "no test specified" in script:
        yield from _declared(root, text)
        return
    line = _line(text, r'"test"\s*:')
    evidence = f"package.json:{line or 1}"
    argv = words(script)
    found = runner_of(argv, root)
    # A script that is one plain command is named as that; others stay npm's business.
    if found is not None and found.argv == argv and not _SHELL.search(script):
        yield TestCommand(argv, found.runner.name, evidence)
        return
    npm = ("npm", "test", "--silent")
    found = runner_of(npm, root)
    yield TestCommand(npm, found.runner.name if found else "generic", evidence)


def _declared(root: Path, text: str) -> Iterator[TestCommand]:
    """Runners that a package.json or a configuration of their own names, where no script runs tests."""
    for name in ("vitest", "jest", "mocha"):
        line = _line(text, rf'"{name}"\s*:')
        config = next((one for one in _CONFIGS[name] if _text(root, one) is not None), None)
        if line or config:
            yield TestCommand((name,), name, f"{config}:1" if config else f"package.json:{line}")
            return


_CONFIGS = {
    "vitest": tuple(f"vitest.config.{end}" for end in ("ts", "mts", "js", "mjs")),
    "jest": tuple(f"jest.config.{end}" for end in ("ts", "js", "mjs", "cjs", "json")),
    "mocha": (".mocharc.json", ".mocharc.yml", ".mocharc.yaml", ".mocharc.js", ".mocharc.cjs"),
}


def _unittest(root: Path) -> Iterator[TestCommand]:
    facts = [fact for fact in detect(root) if fact.kind == "tests"]
    if any(fact.value == "pytest" for fact in facts):
        return
    for fact in facts:
        if fact.value == "unittest" and fact.confidence == "certain":
            yield TestCommand(("python", "-m", "unittest", "discover"), "unittest", f"{fact.path}:{fact.line}")
