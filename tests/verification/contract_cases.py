"""Implementations of one approved contract in FastAPI: honest ones in different styles, and ones that break it.

Every case is a whole small service; a broken one is the plain one with one thing changed, named by the rule that has to
find it.
"""

from dataclasses import dataclass

CONTRACT = """
openapi: 3.1.0
info: {title: shop, version: 1.0.0}
security: [{bearer: []}]
paths:
  /v1/orders/{order_id}/refunds:
    parameters:
      - {name: order_id, in: path, required: true, schema: {type: integer, minimum: 1}}
    post:
      summary: Request a refund.
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/RefundIn'}}}
      responses:
        '201': {description: Made, content: {application/json: {schema: {$ref: '#/components/schemas/Refund'}}}}
        '401': {$ref: '#/components/responses/Error'}
        '404': {$ref: '#/components/responses/Error'}
        '422': {$ref: '#/components/responses/Error'}
  /v1/refunds:
    get:
      summary: All refunds.
      parameters:
        - {name: status, in: query, schema: {$ref: '#/components/schemas/Status'}}
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100, default: 20}}
      responses:
        '200':
          description: A page.
          content:
            application/json:
              schema:
                type: object
                required: [items, total]
                properties:
                  items: {type: array, items: {$ref: '#/components/schemas/Refund'}}
                  total: {type: integer}
        '401': {$ref: '#/components/responses/Error'}
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
  responses:
    Error: {description: Refused, content: {application/json: {schema: {$ref: '#/components/schemas/Error'}}}}
  schemas:
    Status: {type: string, enum: [open, approved, declined]}
    RefundIn:
      type: object
      required: [reason]
      properties:
        reason: {type: string, minLength: 1, maxLength: 500}
        amount_cents: {type: [integer, 'null'], minimum: 1}
    Refund:
      type: object
      required: [id, status, amount_cents, created_at, note]
      properties:
        id: {type: integer}
        status: {$ref: '#/components/schemas/Status'}
        amount_cents: {type: integer}
        created_at: {type: string, format: date-time}
        note: {type: [string, 'null']}
    Error:
      type: object
      required: [error]
      properties:
        error:
          type: object
          required: [code, message]
          properties: {code: {type: string}, message: {type: string}}
"""

BEFORE = """
from typing import Annotated
from fastapi import Depends, FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

app = FastAPI()
User = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]

class Order(BaseModel):
    id: int
    total_cents: int

@app.get("/v1/orders/{order_id}")
def get_order(order_id: int, user: User) -> Order:
    return Order(id=order_id, total_cents=100)
"""

_ADDED = """
from datetime import datetime
from enum import StrEnum
from fastapi import HTTPException, Path, Query
from pydantic import Field

class Status(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    DECLINED = "declined"

class RefundIn(BaseModel):
    reason: str = Field(min_length=1, max_length=500)
    amount_cents: int | None = Field(default=None, ge=1)

class Refund(BaseModel):
    id: int
    status: Status
    amount_cents: int
    created_at: datetime
    note: str | None

class Page(BaseModel):
    items: list[Refund]
    total: int

class ErrorDetail(BaseModel):
    code: str
    message: str

class ErrorBody(BaseModel):
    error: ErrorDetail

ERRORS = {status: {"model": ErrorBody} for status in (401, 404, 422)}

@app.post("/v1/orders/{order_id}/refunds", status_code=201, responses=ERRORS)
def request_refund(order_id: Annotated[int, Path(ge=1)], body: RefundIn, user: User) -> Refund:
    raise HTTPException(404)

@app.get("/v1/refunds", responses={401: {"model": ErrorBody}})
def list_refunds(user: User, status: Status | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Page:
    return Page(items=[], total=0)
"""
PLAIN = BEFORE + _ADDED


@dataclass(frozen=True)
class Case:
    """One implementation; `rule` is what has to be found as an error, "" for an honest one."""

    name: str
    rule: str
    code: str
    contract: str = CONTRACT
    before: str = BEFORE


def changed(*pairs: tuple[str, str], base: str = PLAIN) -> str:
    """The plain implementation with texts replaced, each of which has to be there."""
    for old, new in pairs:
        assert old in base, old
        base = base.replace(old, new)
    return base


_ROUTER = changed(
    ('@app.post("/v1/orders', 'router = APIRouter(prefix="/v1")\n\n@router.post("/orders'),
    ('@app.get("/v1/refunds"', '@router.get("/refunds"'),
    ("import HTTPException, Path", "import APIRouter, HTTPException, Path"),
)
_ROUTER += "\napp.include_router(router)\n"
_OLD_STYLE = changed(
    ("user: User, status: Status | None = None", "user=Depends(oauth2), status: Optional[Status] = Query(None)"),
    ("limit: Annotated[int, Query(ge=1, le=100)] = 20", "limit: int = Query(20, gt=0, lt=101)"),
    ("body: RefundIn, user: User", "body: RefundIn, user=Depends(oauth2)"),
    ("from enum import StrEnum", "from enum import Enum\nfrom typing import List, Optional"),
    ("class Status(StrEnum)", "class Status(str, Enum)"),
    ("items: list[Refund]", "items: List[Refund]"),
    ("note: str | None", "note: Optional[str] = None"),
    (
        "class Status(",
        "from fastapi.security import OAuth2PasswordBearer\noauth2 = OAuth2PasswordBearer('token')\n\nclass Status(",
    ),
)
_LITERALS = changed(
    ("    status: Status\n", '    status: Literal["open", "approved", "declined"]\n'),
    ("from pydantic import Field", "from typing import Literal\nfrom pydantic import Field"),
)
_NO_RESPONSES = changed((", responses=ERRORS", ""), (', responses={401: {"model": ErrorBody}}', ""))
_FACTORY = (
    "from typing import Annotated\nfrom fastapi import Depends, FastAPI\n\ndef create_app(debug: bool = False) -> FastAPI:\n"
    + "\n".join("    " + line for line in PLAIN.splitlines() if line.strip())
    + "\n    return app\n"
)
_CLOSED = CONTRACT.replace("required: [reason]", "additionalProperties: false\n      required: [reason]")
_SERVERS = CONTRACT.replace("paths:\n", "servers: [{url: 'https://api.example.com/v1'}]\npaths:\n", 1).replace(
    "  /v1/", "  /"
)
_OLD_CONTRACT = (
    CONTRACT.replace("openapi: 3.1.0", "openapi: 3.0.3")
    .replace(
        "{type: [integer, 'null'], minimum: 1}", "{type: integer, nullable: true, exclusiveMinimum: true, minimum: 0}"
    )
    .replace("{type: [string, 'null']}", "{type: string, nullable: true}")
)
_ALL_OF = CONTRACT.replace(
    "        status: {$ref: '#/components/schemas/Status'}",
    "        status: {allOf: [{$ref: '#/components/schemas/Status'}], description: Now}",
)
_MODELS = changed(
    ("class Refund(BaseModel):\n    id: int\n", "class Numbered(BaseModel):\n    id: int\n\nclass Refund(Numbered):\n"),
    (
        "amount_cents: int\n    created",
        'amount_cents: int = Field(serialization_alias="amount_cents", title="Cents")\n    created',
    ),
    (
        "class RefundIn(BaseModel):",
        'class RefundIn(BaseModel):\n    model_config = {"extra": "forbid", "title": "Body"}',
    ),
)
_ASYNC = changed(
    ("def request_refund(", "async def request_refund("),
    ("{order_id}/refunds", "{id}/refunds"),
    ("order_id: Annotated[int, Path(ge=1)]", "id: Annotated[int, Path(ge=1)]"),
)
_HANDLER = (
    _NO_RESPONSES
    + """
@app.exception_handler(HTTPException)
def on_error(request, error):
    from fastapi.responses import JSONResponse
    return JSONResponse({"error": {"code": "refused", "message": str(error.detail)}}, error.status_code)
"""
)
_ROUTER_AUTH = changed(
    ("def list_refunds(user: User, ", "def list_refunds("),
    ('@app.get("/v1/refunds", ', '@app.get("/v1/refunds", dependencies=[Depends(HTTPBearer())], '),
)
_MOUNTED = (
    changed(
        ('@app.post("/v1/orders', '@inner.post("/orders'),
        ('@app.get("/v1/refunds"', '@inner.get("/refunds"'),
        ("ERRORS = ", "inner = FastAPI()\nERRORS = "),
    )
    + '\napp.mount("/v1", inner)\n'
)

HONEST = (
    Case("plain", "", PLAIN),
    Case("router with a prefix", "", _ROUTER),
    Case("older annotations and OAuth2", "", _OLD_STYLE),
    Case("literals instead of an enum", "", _LITERALS),
    Case("errors that are raised and not declared", "", _NO_RESPONSES),
    Case("errors in a handler", "", _HANDLER),
    Case("a factory", "", _FACTORY),
    Case("models with titles, inheritance and forbidden fields", "", _MODELS),
    Case("another name for the path parameter", "", _ASYNC),
    Case("authentication as a dependency of the route", "", _ROUTER_AUTH),
    Case("a mounted application", "", _MOUNTED),
    Case("a contract with servers", "", PLAIN, _SERVERS),
    Case("a contract in OpenAPI 3.0", "", PLAIN, _OLD_CONTRACT),
    Case("a contract with allOf", "", PLAIN, _ALL_OF),
    Case("a contract that refuses unknown fields", "", _MODELS, _CLOSED),
)

BROKEN = (
    Case("an operation is missing", "operation-missing", PLAIN.partition('@app.get("/v1/refunds"')[0]),
    Case("another method", "operation-missing", changed(('@app.post("/v1/orders', '@app.put("/v1/orders'))),
    Case("another path", "operation-missing", changed(("{order_id}/refunds", "{order_id}/refund"))),
    Case("a slash at the end", "trailing-slash", changed(('@app.get("/v1/refunds"', '@app.get("/v1/refunds/"'))),
    Case(
        "an operation that nobody approved",
        "operation-extra",
        PLAIN + '\n@app.delete("/v1/refunds")\ndef clear(user: User) -> None: ...\n',
    ),
    Case(
        "a hidden operation",
        "operation-extra",
        PLAIN + '\n@app.get("/v1/dump", include_in_schema=False)\ndef dump(user: User) -> None: ...\n',
    ),
    Case("an old operation is gone", "operation-removed", changed(('@app.get("/v1/orders/{order_id}")', ""))),
    Case("a field of the answer is missing", "field-missing", changed(("    created_at: datetime\n", ""))),
    Case(
        "a field of the answer has another type",
        "type",
        changed(("    amount_cents: int\n", "    amount_cents: str\n")),
    ),
    Case(
        "a field of the answer may be null",
        "null",
        changed(("    amount_cents: int\n", "    amount_cents: int | None\n")),
    ),
    Case(
        "a secret in the answer",
        "field-extra",
        changed(("    note: str | None\n", "    note: str | None\n    password_hash: str\n")),
    ),
    Case(
        "a field of the body is optional",
        "required",
        changed(("reason: str = Field(min", 'reason: str = Field(default="", min')),
    ),
    Case(
        "a new field of the body is required",
        "field-extra",
        changed(("class RefundIn(BaseModel):", "class RefundIn(BaseModel):\n    iban: str")),
    ),
    Case("another limit", "limit", changed(("max_length=500", "max_length=5000"))),
    Case("another value of the enum", "enum", changed(('DECLINED = "declined"', 'DECLINED = "refused"'))),
    Case("a parameter is missing", "parameter-missing", changed((", status: Status | None = None", ""))),
    Case(
        "a parameter is required",
        "parameter-required",
        changed(
            (
                "status: Status | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20",
                "status: Status, limit: Annotated[int, Query(ge=1, le=100)] = 20",
            )
        ),
    ),
    Case("a parameter has another type", "type", changed(("Annotated[int, Query(ge=1, le=100)] = 20", "str = ''"))),
    Case("another default", "default", changed(("le=100)] = 20", "le=100)] = 50"))),
    Case("another status", "status", changed(("status_code=201", "status_code=200"))),
    Case("no credentials are asked for", "auth", changed(("def list_refunds(user: User, ", "def list_refunds("))),
    Case(
        "other credentials",
        "auth",
        changed(
            (
                "def list_refunds(user: User, ",
                'def list_refunds(user: Annotated[str, Depends(APIKeyHeader(name="X-Key"))], ',
            ),
            ("from pydantic import Field", "from fastapi.security import APIKeyHeader\nfrom pydantic import Field"),
        ),
    ),
    Case("a bare list instead of a page", "type", changed((") -> Page:", ") -> list[Refund]:"))),
    Case(
        "a form instead of JSON",
        "media-type",
        changed(
            ("body: RefundIn, user", "reason: Annotated[str, Form()], user"),
            ("import HTTPException, Path", "import Form, HTTPException, Path"),
        ),
    ),
    Case(
        "a document that claims what is not served",
        "operation-missing",
        PLAIN.partition('@app.get("/v1/refunds"')[0]
        + "\ncontract = app.openapi()\ncontract['paths']['/v1/refunds'] = {'get': {'responses': {'200': {'description': 'A page.'}}}}\napp.openapi = lambda: contract\n",
    ),
)
