"""What holds for every test: one sandbox for all that need one, and no verdict that depends on the machine's speed."""

from collections.abc import Iterator

import postgres_server
import pytest
from hypothesis import HealthCheck, settings

from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox of this machine; a test that needs one is skipped where there is none."""
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(f"no working sandbox here: {found.reason}. {found.fix}")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """A PostgreSQL of this test process on loopback; skipped, with the reason, where there is none."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: postgres_server.Server) -> str:
    """The URL of a new, empty database, owned by a superuser."""
    return postgres_server.fresh_database(postgres)
