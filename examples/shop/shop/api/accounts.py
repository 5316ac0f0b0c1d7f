"""/v1/accounts and /v1/sessions."""

from fastapi import APIRouter

from shop.api.deps import AuthServiceDep, CurrentAccount, Token
from shop.api.errors import error_responses
from shop.schemas.accounts import AccountIn, AccountOut, LoginIn, TokenOut

router = APIRouter(prefix="/v1", tags=["accounts"])


@router.post("/accounts", status_code=201, responses=error_responses(409, 422))
def register(body: AccountIn, auth: AuthServiceDep) -> AccountOut:
    """Open a customer account."""
    account = auth.register(
        email=body.email, name=body.name, password=body.password.get_secret_value()
    )
    return AccountOut.model_validate(account)


@router.get("/accounts/me", responses=error_responses(401))
def me(account: CurrentAccount) -> AccountOut:
    """The account that the token belongs to."""
    return AccountOut.model_validate(account)


@router.post("/sessions", status_code=201, responses=error_responses(401, 422))
def log_in(body: LoginIn, auth: AuthServiceDep) -> TokenOut:
    """Exchange email and password for a bearer token."""
    issued = auth.log_in(email=body.email, password=body.password.get_secret_value())
    return TokenOut.model_validate(issued)


@router.delete("/sessions/current", status_code=204, responses=error_responses(401))
def log_out(_account: CurrentAccount, token: Token, auth: AuthServiceDep) -> None:
    """Forget the token that this request carries."""
    auth.log_out(token)
