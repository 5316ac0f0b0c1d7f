"""Which names can stand for a class: the files without one are never parsed, so none may be missing."""

import time
from collections.abc import Mapping

import pytest

from backend_crew.tools.endpoints.find import find_endpoints
from backend_crew.tools.index.graph import Node, rank
from backend_crew.tools.index.outline import Outline, outline
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_names import derives, heirs
from backend_crew.tools.static.sources import Sources
from backend_crew.tools.tables.find import find_tables

_APP = b"from flask import Flask\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (_APP + b"class Shop(Flask): ...\n", "Shop"),
        (_APP + b"class Shop(\n    Mixin(1),  # first\n    Flask,\n): ...\n", "Shop"),
        (b"from flask import Flask as Web\n", "Web"),
        (_APP + b"Web = Flask\n", "Web"),
        (_APP + b"Web: type[Flask] = Flask if quick else Other\n", "Web"),
        (_APP + b"Web = Other if quick else Flask\n", "Web"),
        (_APP + b"def make(Web=Flask): ...\n", "Web"),
        (_APP + b"class One(Flask): ...\nTwo = One\nclass Three(Two): ...\n", "Three"),
    ],
)
def test_subclasses_and_other_names_are_known(text: bytes, name: str) -> None:
    assert name in heirs(Sources({"a.py": text}), ["a.py"], ["Flask"], (b"flask",))


def test_what_has_only_the_word_is_none() -> None:
    files = {"a.py": b"X = 'the Flask of glass'\nY = Flask()\n", "b.py": b"class Bottle(Flask): ...\n"}
    assert heirs(Sources(files), [*files], ["Flask"], (b"flask",)) == {"Flask"}
    assert heirs(Sources({"m.py": b"class A(PageModel): ..."}), ["m.py"], ["*Model"]) == {"A", "PageModel"}


def test_a_base_that_a_function_makes_is_one() -> None:
    text = b"import sqlalchemy\nBase = orm.declarative_base(cls=Any)\nclass User(Base): ...\n"
    names = heirs(Sources({"a.py": text}), ["a.py"], ["Model"], (b"sqlalchemy",), ["declarative_base"])
    assert {"Base", "User"} <= names
    assert derives(names)(b"class Admin(models.User): ...") and not derives(names)(b"class Admin(Other): ...")


@pytest.mark.parametrize(
    "line",
    [
        b"A:",
        b"X=a if ",
        b"@",
        b"class ",
        b"class A(",
        b"class A(b(",
        b"w",
        b"= a.",
        b"Column ",
        b"A  ",
        b"\n\n@a ",
        b"import ",
        b"from a import (",
    ],
)
def test_no_text_takes_more_than_linear_time(line: bytes) -> None:
    def took(size: int) -> float:
        head = b"import flask, sqlalchemy  # declarative_base Model) as b.route( Column\n"
        text = head + line * (size // len(line)) + b" as y"
        files = {"a.py": text}
        began = time.process_time()
        find_endpoints(files)
        find_tables(files)
        outline("Python", text)
        heirs(Sources(files), ["a.py"], ["Flask", "*Model"], (b"flask",), ["declarative_base"])
        return time.process_time() - began

    # Four times the text: about four times as long where it is linear, sixteen where each place looks at all others.
    assert took(400_000) < 9 * took(100_000) + 1


_SHOP = {
    "shop/web.py": _APP + b"class Shop(Flask): ...\n",
    "shop/main.py": b"from shop.web import Shop\napp = Shop(__name__)\n@app.route('/a')\ndef a(): ...\n",
    # Neither makes an app nor has a route: parsed only since it calls the function that takes the prefix.
    "shop/more.py": b"import flask\nfrom shop.parts import add\nadd('/inner')\n",
    "shop/parts.py": b"from flask import Blueprint\nfrom shop.main import app\npart = Blueprint('p', __name__)\n"
    b"@part.route('/b')\ndef b(): ...\ndef add(prefix):\n    app.register_blueprint(part, url_prefix=prefix)\n",
}


def test_routes_on_a_subclass_and_what_another_file_passes_are_found() -> None:
    assert {one.path for one in find_endpoints(_SHOP).endpoints} == {"/a", "/inner/b"}


_MODELS = {
    "db.py": b"from sqlalchemy.orm import declarative_base\nBase = declarative_base()\nclass Kept(Base):\n    __abstract__ = True\n",
    "models.py": b"from db import Kept\nfrom sqlalchemy import Column, Integer\nclass User(Kept):\n    __tablename__ = 'users'\n    id = Column(Integer, primary_key=True)\n",
    "other.py": b"import sqlalchemy\ndef nothing(): ...\n",
    "blog/models.py": b"from django.db import models\nclass Dated(models.Model):\n    class Meta:\n        abstract = True\nclass Post(Dated):\n    title = models.TextField()\n",
    "blog/forms.py": b"from django.db.models import Q\nclass Form(Anything): ...\n",
}


def _parsed(files: Mapping[str, bytes]) -> tuple[set[str], set[str]]:
    project = Project(files)
    names = {one.name for one in find_tables(project).tables}
    return names, {path for path in files if project.python.python.is_parsed(path)}


def test_only_files_that_can_hold_a_model_are_parsed() -> None:
    names, parsed = _parsed(_MODELS)
    assert names == {"users", "blog_post"}
    assert parsed == {"db.py", "models.py", "blog/models.py"}


def test_a_name_that_many_files_define_is_that_of_the_file_that_is_imported() -> None:
    definers = [Node(f"d{number}.py", "Python", Outline((b"run_all",), (), ()), ()) for number in range(9)]
    user = Node("user.py", "Python", Outline((), (b"run_all",), ()), (4,))
    ranked = rank([*definers, user]).definitions
    assert ranked[0][:2] == (4, b"run_all")


def test_imports_after_one_in_brackets_are_read() -> None:
    text = b"from a import (\n    b,  # from x import y\n    import_c,\n)\nfrom d import e\n\tclass F: ...\nfrom open import (g,\n"
    found = outline("Python", text)
    assert found.imports == (b"a:b", b"a:import_c", b"d:e", b"open:g")
    assert found.defined == (b"F",)
