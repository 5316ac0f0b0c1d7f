"""Queries on login sessions."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shop.models import LoginSession


class SessionRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, login: LoginSession) -> None:
        self._session.add(login)
        self._session.flush()

    def by_digest(self, token_sha256: str) -> LoginSession | None:
        query = select(LoginSession).where(LoginSession.token_sha256 == token_sha256)
        return self._session.scalar(query)

    def delete(self, token_sha256: str) -> None:
        self._session.execute(delete(LoginSession).where(LoginSession.token_sha256 == token_sha256))

    def delete_expired(self, account_id: int, now: datetime) -> None:
        self._session.execute(
            delete(LoginSession).where(
                LoginSession.account_id == account_id, LoginSession.expires_at <= now
            )
        )
