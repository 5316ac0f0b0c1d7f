"""A migrated SQLite database per test, in the test's temporary folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from shop.config import Settings
from shop.db import make_engine, make_session_factory
from shop.main import create_app
from shop.models import Account, Role
from shop.repositories.accounts import AccountRepository
from shop.security import hash_password
from shop.services.auth import AuthService
from tests.support import NOW, PASSWORD, Login, MakeAccount


@pytest.fixture(scope="session")
def alembic_config() -> Config:
    return Config(Path(__file__).parents[1] / "alembic.ini")


@pytest.fixture(scope="session")
def password_hash() -> str:
    """scrypt is slow on purpose; once is enough."""
    return hash_password(PASSWORD)


@pytest.fixture(scope="session")
def migrated_file(alembic_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database made by the migrations, to be copied by each test."""
    file = tmp_path_factory.mktemp("migrated") / "template.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DATABASE_URL", f"sqlite:///{file}")
        command.upgrade(alembic_config, "head")
    return file


@pytest.fixture
def database_url(migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test's own database, which is also what the environment names."""
    url = f"sqlite:///{shutil.copyfile(migrated_file, tmp_path / 'test.db')}"
    monkeypatch.setenv("SHOP_DATABASE_URL", url)
    return url


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """What a service works with; for arranging and for unit tests."""
    engine = make_engine(database_url)
    with make_session_factory(engine)() as session:
        yield session
    engine.dispose()


@pytest.fixture
def app(database_url: str) -> FastAPI:
    return create_app(Settings(database_url))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Nobody in particular."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def make_account(session: Session, password_hash: str) -> MakeAccount:
    """Makes an account whose password is PASSWORD."""

    def make(name: str, role: Role = Role.CUSTOMER) -> Account:
        account = Account(
            email=f"{name.lower()}@example.com",
            name=name,
            role=role,
            password_hash=password_hash,
            created_at=NOW,
        )
        AccountRepository(session).add(account)
        session.commit()
        return account

    return make


@pytest.fixture
def ada(make_account: MakeAccount) -> Account:
    return make_account("Ada")


@pytest.fixture
def ben(make_account: MakeAccount) -> Account:
    return make_account("Ben")


@pytest.fixture
def staff(make_account: MakeAccount) -> Account:
    return make_account("Sam", Role.STAFF)


@pytest.fixture
def login(app: FastAPI, client: TestClient, session: Session) -> Login:
    """Makes a client that sends the account's token."""

    def log_in(account: Account) -> TestClient:
        token = AuthService(session).issue(account).token
        return TestClient(app, headers={"Authorization": f"Bearer {token}"})

    return log_in
