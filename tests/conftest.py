"""What holds for every test: one sandbox for all that need one, and no verdict that depends on the machine's speed."""

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
