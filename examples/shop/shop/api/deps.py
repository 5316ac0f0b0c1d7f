"""What routes depend on: services for this request and the account that asks."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from shop.db import get_session
from shop.errors import Unauthenticated
from shop.models import Account
from shop.services.auth import AuthService
from shop.services.orders import OrderService

# auto_error would answer in FastAPI's own error shape.
_bearer = HTTPBearer(auto_error=False)

SessionDep = Annotated[Session, Depends(get_session)]


def get_auth_service(session: SessionDep) -> AuthService:
    return AuthService(session)


def get_order_service(session: SessionDep) -> OrderService:
    return OrderService(session)


AuthServiceDep = Annotated[AuthService, Depends(get_auth_service)]
OrderServiceDep = Annotated[OrderService, Depends(get_order_service)]


def get_token(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The bearer token of the request, not checked yet."""
    if credentials is None:
        raise Unauthenticated("missing_token", "Send the header 'Authorization: Bearer <token>'.")
    return credentials.credentials


Token = Annotated[str, Depends(get_token)]


def get_current_account(token: Token, auth: AuthServiceDep) -> Account:
    """The account that the token belongs to."""
    return auth.authenticate(token)


CurrentAccount = Annotated[Account, Depends(get_current_account)]
