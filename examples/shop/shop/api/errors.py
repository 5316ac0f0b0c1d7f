"""Every error leaves as {"error": {"code", "message"}}."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shop.errors import Conflict, Forbidden, Invalid, NotFound, ShopError, Unauthenticated
from shop.schemas.errors import ErrorBody, ErrorDetail

_STATUS_OF: dict[type[ShopError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: which errors it documents in OpenAPI."""
    return {status: {"model": ErrorBody} for status in statuses}


def add_error_handlers(app: FastAPI) -> None:
    """Translate domain errors, validation errors and the framework's own."""

    @app.exception_handler(ShopError)
    def on_shop_error(_request: Request, error: ShopError) -> JSONResponse:
        status = _STATUS_OF[type(error)]
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return _response(status, error.code, error.message, headers)

    @app.exception_handler(RequestValidationError)
    def on_validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return _response(422, "invalid_request", "; ".join(problems))

    @app.exception_handler(HTTPException)
    def on_http_exception(_request: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).name.lower()
        return _response(error.status_code, code, str(error.detail), error.headers)


def _response(status: int, code: str, message: str, headers: Any = None) -> JSONResponse:
    body = ErrorBody(error=ErrorDetail(code=code, message=message))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)
