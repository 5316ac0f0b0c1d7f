"""Which files are not the service itself: tests and what only tests use, examples, scripts, migrations."""

import re

_TEST = re.compile(
    r"(^|/)(tests?|testing|specs?|__tests__|__mocks__|fixtures|cypress|e2e)/|(^|/)(test_|conftest\.)[^/]*$"
    r"|(_test|_spec|Tests?|\.test|\.spec|\.stories)\.\w+$"
)

_ASIDE = re.compile(
    r"(^|/)(docs?|examples?|samples?|scripts?|bench(marks?)?|migrations?|versions|alembic|seeds?|static)/"
)


def is_test(path: str) -> bool:
    """Whether a path is that of a test or of what only tests use."""
    return _TEST.search(path) is not None


def is_aside(path: str) -> bool:
    """Whether a path is that of documentation, an example, a script or a migration."""
    return _ASIDE.search(path) is not None
