"""Registering, logging in and out, and who a token belongs to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shop.clock import Clock, utc_now
from shop.errors import Conflict, Unauthenticated
from shop.models import Account, LoginSession, Role
from shop.repositories.accounts import AccountRepository
from shop.repositories.sessions import SessionRepository
from shop.security import hash_password, new_token, token_digest, verify_password

SESSION_LIFETIME = timedelta(hours=12)


@dataclass(frozen=True)
class IssuedToken:
    """The only moment the token itself is known."""

    token: str
    expires_at: datetime


class AuthService:
    def __init__(self, session: Session, clock: Clock = utc_now) -> None:
        self._session = session
        self._accounts = AccountRepository(session)
        self._logins = SessionRepository(session)
        self._clock = clock

    def register(self, *, email: str, name: str, password: str) -> Account:
        """A new customer account. Staff accounts are not made through the API."""
        account = Account(
            email=email,
            name=name,
            role=Role.CUSTOMER,
            password_hash=hash_password(password),
            created_at=self._clock(),
        )
        try:
            self._accounts.add(account)
        except IntegrityError as error:
            self._session.rollback()
            raise Conflict("email_taken", "An account with this email already exists.") from error
        self._session.commit()
        return account

    def log_in(self, *, email: str, password: str) -> IssuedToken:
        """A token for the right password. A wrong email and a wrong password look the same."""
        account = self._accounts.by_email(email)
        password_hash = account.password_hash if account else _hash_of_nobody()
        if not verify_password(password, password_hash) or account is None:
            raise Unauthenticated("wrong_credentials", "The email or the password is wrong.")
        return self.issue(account)

    def issue(self, account: Account) -> IssuedToken:
        """A token for an account; its expired sessions are cleared away."""
        now = self._clock()
        issued = IssuedToken(token=new_token(), expires_at=now + SESSION_LIFETIME)
        self._logins.delete_expired(account.id, now)
        self._logins.add(
            LoginSession(
                account_id=account.id,
                token_sha256=token_digest(issued.token),
                created_at=now,
                expires_at=issued.expires_at,
            )
        )
        self._session.commit()
        return issued

    def authenticate(self, token: str) -> Account:
        """Whose token this is. Raises Unauthenticated when it is unknown or expired."""
        login = self._logins.by_digest(token_digest(token))
        if login is None or login.expires_at <= self._clock():
            raise Unauthenticated("invalid_token", "The token is unknown or has expired.")
        return login.account

    def log_out(self, token: str) -> None:
        """Forget the token."""
        self._logins.delete(token_digest(token))
        self._session.commit()


@cache
def _hash_of_nobody() -> str:
    """Checked for unknown emails, so that they take as long to refuse as known ones."""
    return hash_password("no account has this password")
