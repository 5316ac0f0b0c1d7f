from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.errors import Conflict, Unauthenticated
from shop.models import Account, LoginSession, Role
from shop.security import hash_password, verify_password
from shop.services.auth import SESSION_LIFETIME, AuthService
from tests.support import NOW, PASSWORD


def test_password_hash_is_salted_and_verifies() -> None:
    first, second = hash_password("a long password"), hash_password("a long password")
    assert first != second
    assert verify_password("a long password", first)
    assert not verify_password("a wrong password", first)


def test_register_makes_a_customer_and_keeps_no_password(session: Session) -> None:
    account = AuthService(session, lambda: NOW).register(
        email="new@example.com", name="New", password=PASSWORD
    )
    assert account.role is Role.CUSTOMER
    assert account.created_at == NOW
    assert PASSWORD not in account.password_hash


def test_register_refuses_a_taken_email(session: Session, ada: Account) -> None:
    with pytest.raises(Conflict) as refused:
        AuthService(session).register(email=ada.email, name="Other", password=PASSWORD)
    assert refused.value.code == "email_taken"


def test_log_in_stores_only_the_digest_of_the_token(session: Session, ada: Account) -> None:
    issued = AuthService(session, lambda: NOW).log_in(email=ada.email, password=PASSWORD)
    login = session.scalars(select(LoginSession)).one()
    assert login.token_sha256 != issued.token
    assert login.expires_at == issued.expires_at == NOW + SESSION_LIFETIME


@pytest.mark.parametrize(
    ("email", "password"),
    [("ada@example.com", "not the password"), ("nobody@example.com", PASSWORD)],
)
def test_log_in_does_not_say_what_was_wrong(
    session: Session, ada: Account, email: str, password: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        AuthService(session).log_in(email=email, password=password)
    assert refused.value.code == "wrong_credentials"


def test_token_expires(session: Session, ada: Account) -> None:
    token = AuthService(session, lambda: NOW).issue(ada).token
    just_before = NOW + SESSION_LIFETIME - timedelta(seconds=1)
    assert AuthService(session, lambda: just_before).authenticate(token).id == ada.id
    with pytest.raises(Unauthenticated):
        AuthService(session, lambda: NOW + SESSION_LIFETIME).authenticate(token)


def test_next_login_clears_expired_sessions(session: Session, ada: Account) -> None:
    AuthService(session, lambda: NOW).issue(ada)
    AuthService(session, lambda: NOW + 2 * SESSION_LIFETIME).issue(ada)
    assert len(session.scalars(select(LoginSession)).all()) == 1
