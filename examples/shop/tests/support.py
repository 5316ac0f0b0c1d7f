"""What the tests and their fixtures share."""

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi.testclient import TestClient

from shop.models import Account

PASSWORD = "correct horse battery"
NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

MakeAccount = Callable[..., Account]
Login = Callable[[Account], TestClient]
