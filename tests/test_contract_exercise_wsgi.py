"""Flask and Django started on a scratch database that their own migrations made, SQLite and PostgreSQL, and called."""

import sys
from pathlib import Path

import django_projects
import flask_projects
import pytest

from backend_crew.tools.contract.exercise import Exercise, Subject, exercise
from backend_crew.tools.migrations import detect
from backend_crew.tools.migrators.find import migrator_of
from backend_crew.tools.migrators.protocol import Pointing
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratches import Place

CONTRACT = """
openapi: 3.1.0
info: {title: shop, version: "1"}
components: {securitySchemes: {bearer: {type: http, scheme: bearer}}}
security: [{bearer: []}]
paths:
  /users: {get: {responses: {'200': {description: All}, '401': {description: No credentials}}}}
  /open: {get: {responses: {'200': {description: All}, '401': {description: No credentials}}}}
"""
# Which answers come first says whether the database was reached: only a query with rows' shape gives 401 here.
FLASK = """
from flask import Blueprint
from sqlalchemy import select
from shop import db

orders = Blueprint("orders", __name__)

class User(db.Model):
    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(120), nullable=False, unique=True)
    phone = db.Column(db.String(30))

@orders.get("/users")
def users():
    return {"users": [one.phone for one in db.session.scalars(select(User))]}, 401

@orders.get("/open")
def open_to_all():
    return {"users": [one.phone for one in db.session.scalars(select(User))]}
"""
DJANGO = """
from django.http import JsonResponse
from django.urls import path
from shop.models import Order

def found(request, status=401):
    return JsonResponse({"totals": [one.total for one in Order.objects.all()]}, status=status)

urlpatterns = [path("users", found), path("open", found, {"status": 200})]
"""
POSTGRES = """{"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "live", "HOST": "db.example.org"}}"""


def called(sandbox: Sandbox, tree: Path, pointing: Pointing | None = None) -> Exercise:
    place = Place(sandbox, tree, tree, find_runtime(tree, python=Path(sys.executable)))
    named = pointing or Pointing()
    return exercise(CONTRACT, Subject(place, migrator_of(tree, detect(tree)[0], named), named))


def expect(result: Exercise) -> None:
    assert result.status == "failed", (result.reason, result.log_tail)
    assert {one.text.partition(":")[0] for one in result.findings} == {"GET /open"}
    assert {one.rule for one in result.findings} == {"unauthenticated"}
    assert result.called == 2


def test_flask_meets_the_scratch_database_whatever_its_settings_name(sandbox: Sandbox, tmp_path: Path) -> None:
    expect(called(sandbox, flask_projects.project(tmp_path, {"shop/orders.py": FLASK})))


def test_flask_meets_it_by_a_variable_too(sandbox: Sandbox, tmp_path: Path) -> None:
    tree = flask_projects.project(tmp_path, {"shop/orders.py": FLASK, "shop/config.py": flask_projects.FROM_ENV})
    url = f"sqlite:///{tmp_path}/live.db"
    expect(called(sandbox, tree, Pointing(("SHOP_DATABASE",), {"SHOP_DATABASE": url})))


@pytest.mark.parametrize("databases", [django_projects.LIVE, POSTGRES], ids=["sqlite", "postgresql"])
def test_django_meets_the_scratch_database_of_its_engine(sandbox: Sandbox, tmp_path: Path, databases: str) -> None:
    settings = django_projects.SETTINGS.format(apps="'people', 'shop'", databases=databases)
    files = {"project/settings.py": settings + '\nROOT_URLCONF = "project.urls"\n', "project/urls.py": DJANGO}
    expect(called(sandbox, django_projects.project(tmp_path, files)))
    assert not (tmp_path / "live.sqlite3").exists()
