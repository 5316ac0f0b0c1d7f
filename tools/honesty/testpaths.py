"""Which paths of a repository are tests, what supports them, and the languages that are read here."""

import re
from pathlib import PurePosixPath

_FOLDERS = frozenset({"test", "tests", "testing", "__tests__", "spec", "specs", "e2e", "__mocks__", "testutils"})
_PYTHON_TEST = re.compile(r"(^test_.*|.*_test|^tests?|^conftest)\.py$")
_SCRIPT_TEST = re.compile(r".*[._-](test|tests|spec|e2e-spec|e2e)\.[cm]?[jt]sx?$|^test([._-].*)?\.[cm]?[jt]sx?$")
_MIGRATIONS = frozenset({"migrations", "alembic"})
SCRIPTS = frozenset({".js", ".jsx", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx"})


def is_python(path: str) -> bool:
    """Whether a path is Python."""
    return path.endswith(".py")


def is_script(path: str) -> bool:
    """Whether a path is JavaScript or TypeScript, declarations apart."""
    return PurePosixPath(path).suffix in SCRIPTS and not path.endswith((".d.ts", ".d.mts", ".d.cts"))


def is_test_path(path: str) -> bool:
    """Whether a file is test code: a test, a fixture, or a helper in a folder of tests."""
    found = PurePosixPath(path)
    if _FOLDERS & {part.lower() for part in found.parts[:-1]}:
        return True
    return bool(_PYTHON_TEST.match(found.name) or _SCRIPT_TEST.match(found.name))


def is_migration(path: str) -> bool:
    """Whether a file changes the database's schema once: tests that make their tables from the models never run it."""
    parts = PurePosixPath(path).parts[:-1]
    return bool(_MIGRATIONS & set(parts)) or parts[-2:] == ("db", "migrate")


def is_product_code(path: str) -> bool:
    """Whether a file is code of the service itself, in a language that is read here."""
    return (is_python(path) or is_script(path)) and not is_test_path(path)
