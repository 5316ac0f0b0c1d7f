"""The migrations and the demo data."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, inspect, select
from sqlalchemy.orm import Session

from shop import seed
from shop.db import make_engine
from shop.models import Account, Base, Order, OrderStatus
from shop.services.auth import AuthService


def checks(engine: Engine) -> dict[str, set[tuple[str | None, str]]]:
    """Autogenerate does not compare check constraints, so the tests do."""
    inspector = inspect(engine)
    return {
        table: {
            (check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)
        }
        for table in Base.metadata.tables
    }


def test_migrations_make_what_the_models_say(database_url: str) -> None:
    migrated, created = make_engine(database_url), make_engine("sqlite://")
    Base.metadata.create_all(created)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert checks(migrated) == checks(created)
    migrated.dispose()
    created.dispose()


def test_migrations_go_down_and_up_again(alembic_config: Config, database_url: str) -> None:
    engine = make_engine(database_url)
    command.downgrade(alembic_config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    command.upgrade(alembic_config, "head")
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}
    engine.dispose()


def test_seed_fills_an_empty_database_once(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seed.main() == 0
    query = select(Order.status, func.count()).group_by(Order.status)
    counts = {status: count for status, count in session.execute(query)}
    assert set(counts) == set(OrderStatus)
    assert sum(counts.values()) == 12
    assert AuthService(session).log_in(email="ada@shop.example", password="demo-ada-password").token

    assert seed.main() == 1
    assert "not empty" in capsys.readouterr().err
    assert session.scalar(select(func.count()).select_from(Account)) == 4


def test_seed_refuses_a_database_without_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "sqlite://")
    assert seed.main() == 1
    assert "alembic upgrade head" in capsys.readouterr().err
