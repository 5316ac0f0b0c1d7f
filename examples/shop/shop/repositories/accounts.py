"""Queries on accounts."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shop.models import Account


class AccountRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, account: Account) -> None:
        """Insert. Raises IntegrityError when the email is taken."""
        self._session.add(account)
        self._session.flush()

    def by_email(self, email: str) -> Account | None:
        return self._session.scalar(select(Account).where(Account.email == email))

    def count(self) -> int:
        return self._session.scalar(select(func.count()).select_from(Account)) or 0
