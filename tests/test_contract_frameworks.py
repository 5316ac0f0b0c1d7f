"""Interfaces that a run of Flask and Django tells, GraphQL as SDL, and what is done with hostile answers."""

import sys
from pathlib import Path

import pytest
from django_projects import MANAGE, write
from verification.contract_cases import CONTRACT

from backend_crew.tools.contract.applications import find_applications
from backend_crew.tools.contract.built import BuiltApi, Route, nothing
from backend_crew.tools.contract.check import built_api, check, judged, judged_graphql
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.scratches import Place

FLASK = """
import os
from flask import Blueprint, Flask

orders = Blueprint("orders", __name__, url_prefix="/v1")

@orders.post("/orders/<int:order_id>/refunds")
def request_refund(order_id): ...

@orders.get("/refunds")
def list_refunds(): ...

def create_app(config=None):
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    app.register_blueprint(orders)
    return app
"""
SETTINGS = """
import os
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
INSTALLED_APPS = []
ROOT_URLCONF = "project.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["DB_NAME"]}}
"""
URLS = """
from django.http import JsonResponse
from django.urls import include, path, re_path
from django.views import View

def refunds(request):
    return JsonResponse({})

class Requests(View):
    def post(self, request, order_id):
        return JsonResponse({})

urlpatterns = [
    path("v1/", include([path("refunds", refunds), re_path(r"^orders/(?P<order_id>[0-9]+)/refunds$", Requests.as_view())])),
]
"""


def place(sandbox: Sandbox, tree: Path) -> Place:
    return Place(sandbox, tree, tree, find_runtime(tree, python=Path(sys.executable)))


def rules(findings: object) -> list[tuple[str, str]]:
    return [(one.rule, one.severity) for one in findings]  # type: ignore[attr-defined]  # findings of either check


def test_a_flask_application_lists_its_routes_and_the_rest_is_unknown(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, {"shop/__init__.py": FLASK})
    result = check(CONTRACT, place(sandbox, tmp_path), None)
    assert (result.status, result.source, result.framework, result.operations) == ("unknown", "routes", "Flask", 2)
    assert rules(result.findings) == [("not-compared", "warning")]
    assert "compare" in result.findings[0].fix


def test_a_route_that_a_flask_application_lacks_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    write(tmp_path / "before", {"app.py": FLASK.replace('@orders.get("/refunds")', "")})
    write(tmp_path / "after", {"app.py": FLASK.replace('get("/refunds")', 'get("/refunds/all")')})
    result = check(CONTRACT, place(sandbox, tmp_path / "after"), place(sandbox, tmp_path / "before"))
    assert (result.status, sorted(rules(result.findings))[1:]) == (
        "different",
        [("operation-extra", "error"), ("operation-missing", "error")],
    )
    assert [(one.path, one.line > 0) for one in result.findings if one.rule == "operation-extra"] == [("app.py", True)]


def test_a_django_project_lists_its_routes(sandbox: Sandbox, tmp_path: Path) -> None:
    write(
        tmp_path,
        {"manage.py": MANAGE, "project/__init__.py": "", "project/settings.py": SETTINGS, "project/urls.py": URLS},
    )
    api = built_api(place(sandbox, tmp_path))
    assert [(one.method, one.path) for one in api.routes] == [
        ("ANY", "/v1/refunds"), ("POST", "/v1/orders/{order_id}/refunds")
    ]  # fmt: skip
    document = read_document(CONTRACT)
    assert isinstance(document, dict)
    assert judged(document, api, None).status == "unknown"
    assert judged(document, BuiltApi("routes", routes=api.routes[1:], reason="x"), api).status == "different"


def test_what_cannot_be_asked_is_unknown_with_the_reason(sandbox: Sandbox, tmp_path: Path) -> None:
    assert check(CONTRACT, NoSandbox("none here", "get one"), None).status == "unknown"
    (tmp_path / "main.py").write_text(
        'import os\nfrom fastapi import FastAPI\nKEY = os.environ["SHOP_KEY"]\napp = FastAPI()\n'
    )
    result = check(CONTRACT, place(sandbox, tmp_path), None)
    assert (result.status, result.source) == ("unknown", "none")
    assert "--sandbox-env SHOP_KEY=VALUE" in result.reason


def test_an_answer_that_the_application_writes_itself_is_not_believed(sandbox: Sandbox, tmp_path: Path) -> None:
    hostile = (
        "import json, os, sys, glob\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "for name in glob.glob('.contract/*'):\n    os.remove(name); os.mkdir(name)\n"
        "print(json.dumps({'framework': 'FastAPI', 'document': {'paths': {}}}))\n"
    )
    (tmp_path / "main.py").write_text(hostile)
    assert built_api(place(sandbox, tmp_path)).source == "none"


EXPRESS = """
const express = require('express');
const app = express();
const v1 = express.Router();
v1.post('/orders/:id/refunds', (req, res) => res.status(201).json({}));
v1.get('/refunds', (req, res) => res.json([]));
app.use('/v1', v1);
module.exports = app;
"""


def test_an_express_application_is_known_by_its_source(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, {"package.json": '{"dependencies": {"express": "5"}}', "app.js": EXPRESS})
    at = Place(sandbox, tmp_path, tmp_path, find_runtime(tmp_path))
    result = check(CONTRACT, at, at)
    assert (result.status, result.source, rules(result.findings)) == (
        "unknown",
        "static routes",
        [("not-compared", "warning")],
    )
    write(tmp_path, {"app.js": EXPRESS.replace("v1.get('/refunds'", "v1.get('/refund'")})
    assert ("operation-missing", "error") in rules(check(CONTRACT, at, None).findings)


@pytest.mark.parametrize(
    "document",
    [
        {"paths": {"/x": {"get": {"parameters": 1, "responses": [], "security": {}, "requestBody": "no"}}}},
        {"paths": {"/v1/refunds": {"get": {"responses": {"200": {"$ref": "#/paths"}}}}}},
        {"paths": {"/v1/refunds": {"$ref": "#/paths/~1v1~1refunds"}}},
        {"paths": ["/x"]},
        {"paths": {"/v1/refunds": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {
            "allOf": [{"type": 5, "enum": {}, "required": "x", "properties": [], "items": 3, "minimum": "1"}]}}}}}}}}},
    ],
)  # fmt: skip
def test_a_hostile_document_breaks_nothing(document: dict[str, object]) -> None:
    approved = read_document(CONTRACT)
    assert isinstance(approved, dict)
    api = BuiltApi("openapi", "FastAPI", document)
    assert judged(approved, api, api).status == "different"


def test_schemas_without_end_are_compared_to_an_end() -> None:
    node = {
        "type": "object",
        "required": ["next"],
        "properties": {"next": {"anyOf": [{"$ref": "#/components/schemas/N"}] * 9}},
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/N"}}}
    answer = {"200": {"description": "", "content": content}}
    document = {"paths": {"/x": {"get": {"responses": answer}}}, "components": {"schemas": {"N": node}}}
    assert judged(document, BuiltApi("openapi", document=document), nothing("x")).status == "same"


def test_a_route_of_any_method_serves_what_the_contract_names() -> None:
    api = BuiltApi("routes", routes=(Route("ANY", "/a"),), reason="x")
    document: dict[str, object] = {"paths": {"/a": {"get": {"responses": {}}, "post": {"responses": {}}}}}
    found = judged(document, api, api).findings
    assert rules(found) == [("not-compared", "warning")] and "compare" in found[0].fix
    assert "--sandbox-env" in judged_graphql(SDL, api, None).findings[0].fix


SDL = """
type Query { refunds(status: Status, first: Int! = 20): [Refund!]! }
type Mutation { requestRefund(orderId: ID!, reason: String!): Refund! }
enum Status { OPEN DECLINED }
type Refund { id: ID! status: Status! note: String }
"""


def test_an_honest_graphql_schema_is_the_same() -> None:
    built = SDL.replace("note: String", "note: String!").replace("enum Status", '"""Words."""\nenum Status')
    built = "schema { query: Root mutation: Mutation }\n" + built.replace("type Query", "type Root")
    assert (
        judged_graphql(SDL, BuiltApi("graphql", sdl=built), BuiltApi("graphql", sdl="type Query { a: Int }")).status
        == "different"
    )
    before = BuiltApi("graphql", sdl="type Query { refunds: Int }")
    assert judged_graphql(SDL, BuiltApi("graphql", sdl=built), before).status == "same"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("requestRefund(", "askRefund(", "operation-missing"),
        ("reason: String!", "reason: String!, iban: String!", "parameter-extra"),
        ("orderId: ID!", "orderId: ID!, note: Int", None),
        ("reason: String!", "reason: String", None),
        ("status: Status,", "", "parameter-missing"),
        ("note: String", "", "field-missing"),
        ("status: Status!", "status: Status", "type"),
        ("OPEN DECLINED", "OPEN", "enum"),
    ],
)
def test_a_graphql_schema_that_differs_is_told(old: str, new: str, rule: str | None) -> None:
    api = BuiltApi("graphql", sdl=SDL.replace(old, new))
    errors = [one.rule for one in judged_graphql(SDL, api, api).findings if one.severity == "error"]
    assert (rule in errors) if rule else not errors


def test_a_contract_that_is_no_sdl_is_refused() -> None:
    with pytest.raises(ToolRetry, match="not SDL"):
        judged_graphql("type Query {", BuiltApi("graphql", sdl=SDL), None)
    assert judged_graphql(SDL, BuiltApi("graphql", sdl="type {"), None).findings[0].rule == "not-compared"


@pytest.mark.parametrize(
    ("imported", "called"),
    [
        ("from shop import create_app", "create_app"),
        ("from shop import create_app as made", "made"),
        ("from shop.factory import build", "build"),
        ("import shop.factory", "shop.factory.build"),
        ("from shop import factory", "factory.build"),
    ],
)
def test_what_calls_a_factory_elsewhere_is_an_application_whatever_it_gives(
    sandbox: Sandbox, tmp_path: Path, imported: str, called: str
) -> None:
    tree = tmp_path / "tree"
    package = tree / "src" / "shop"
    package.mkdir(parents=True)
    (package / "factory.py").write_text(FLASK.replace("def create_app(config=None)", "def build(config)"))
    (package / "__init__.py").write_text("from .factory import build as create_app\n")
    (tree / "run.py").write_text(f"import os\n{imported}\n\napp = {called}(os.getenv('CONFIG', 'development'))\n")
    (tree / "other.py").write_text("from elsewhere import create_app\n\napp = create_app('x')\n")
    (found,) = find_applications(tree)
    assert (found.path, found.module, found.name, found.call) == ("run.py", "run", "app", False)
    built = built_api(Place(sandbox, tree, tree, find_runtime(tree, python=Path(sys.executable))))
    assert built.source == "routes" and built.routes, built.reason
