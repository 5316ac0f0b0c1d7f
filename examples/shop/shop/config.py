"""Settings, read from the environment once at start."""

import os
from dataclasses import dataclass

DEFAULT_DATABASE_URL = "sqlite:///shop.db"


@dataclass(frozen=True)
class Settings:
    """What differs between installations."""

    database_url: str = DEFAULT_DATABASE_URL

    @classmethod
    def from_env(cls) -> "Settings":
        return cls(database_url=os.environ.get("SHOP_DATABASE_URL", DEFAULT_DATABASE_URL))
