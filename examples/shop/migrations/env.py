"""Alembic environment: migrates the database named by SHOP_DATABASE_URL."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool

from shop.config import DEFAULT_DATABASE_URL
from shop.models import Base

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

database_url = os.environ.get("SHOP_DATABASE_URL", DEFAULT_DATABASE_URL)
# SQLite cannot ALTER most things, so there a batch copies the table.
batch = database_url.startswith("sqlite")


def run_offline() -> None:
    """Print the SQL instead of running it (`alembic upgrade head --sql`)."""
    context.configure(
        url=database_url,
        target_metadata=Base.metadata,
        render_as_batch=batch,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the migrations against the database."""
    # Not shop.db.make_engine: it turns SQLite's foreign keys on, and then the DROP TABLE in a
    # batch would delete the rows that refer to the table.
    engine = create_engine(database_url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=batch,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
