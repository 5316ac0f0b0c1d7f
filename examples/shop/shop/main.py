"""The application: `uvicorn --factory shop.main:create_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shop.api import accounts, orders
from shop.api.errors import add_error_handlers
from shop.config import Settings
from shop.db import make_engine, make_session_factory


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application on one database, which has to be migrated already."""
    engine = make_engine((settings or Settings.from_env()).database_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = FastAPI(title="shop", version="0.4.0", lifespan=lifespan)
    app.state.session_factory = make_session_factory(engine)
    add_error_handlers(app)
    app.include_router(accounts.router)
    app.include_router(orders.router)
    return app
