"""The two ways in which files are opened beneath a folder, as a fixture: each test runs with both."""

import pytest

from backend_crew.tools import confine

WAYS = ("openat2", "walk")


def choose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Open files in one of the ways from here on; the first is skipped where the kernel has no such call."""
    if name == "openat2" and not confine.has_openat2():
        pytest.skip("this kernel, or its seccomp filter, has no openat2")
    monkeypatch.setattr(confine, "has_openat2", lambda: name == "openat2")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way in force during the test."""
    choose(monkeypatch, str(request.param))
    return str(request.param)
