"""Checks of changed files: parsed by us, imported and linted in the sandbox, silent about what is not their fault."""

import shutil
import sys
from pathlib import Path

import pytest

from backend_crew.tools.importcheck import Beside
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.syntax import Problem, check_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    return folder


def put(tree: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(files)


def runtime(tree: Path) -> Runtime:
    return find_runtime(tree, python=Path(sys.executable))


def check(sandbox: Sandbox | NoSandbox, tree: Path, *paths: str) -> tuple[Problem, ...]:
    return check_files(sandbox, tree, tree, runtime(tree), paths)


NONE = NoSandbox("none", "install one")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", "x = 1\ndef f(:\n", 2),
        ("a.py", "x = 1\nreturn x\n", 2),
        ("a.py", "x = '\0'\n", 1),
        ("a.json", '{\n"a": 1\n"b": 2\n}', 3),
        ("a.toml", "a = 1\nb = \n", 2),
        ("a.yaml", "a: 1\nb: [\n", 3),
        ("a.yml", "a: 1\n\tb: 2\n", 2),
    ],
)
def test_broken_files_are_found_at_their_line_without_a_sandbox(tree: Path, name: str, text: str, line: int) -> None:
    put(tree, {name: text})
    found = check(NONE, tree, name)
    assert [(one.path, one.line) for one in found] == [(name, line)], found


def test_sound_files_and_unknown_kinds_have_no_problems(tree: Path) -> None:
    paths = put(
        tree,
        {
            "a.py": "x = 1\n",
            "a.json": "[]",
            "a.toml": "a = 1",
            "a.yaml": "a: !Ref b\n---\nb: &x 1\nc: *x\n",
            "a.rs": "fn (",
            "a.txt": "(",
        },
    )
    assert check(NONE, tree, *paths) == ()


def test_links_and_other_encodings_are_problems_and_not_read(tree: Path) -> None:
    (tree.parent / "outside.json").write_text("{")
    (tree / "a.json").symlink_to(tree.parent / "outside.json")
    (tree / "b.py").write_bytes(b"# \xe9\n")
    found = check(NONE, tree, "a.json", "b.py", "../outside.json")
    assert len(found) == 3
    assert not any("not valid JSON" in one.text for one in found)


def test_a_module_that_cannot_be_imported_is_found(sandbox: Sandbox, tree: Path) -> None:
    paths = put(
        tree,
        {
            "shop/__init__.py": "",
            "shop/models.py": "class Order: ...\n",
            "shop/api.py": "import json\nfrom shop.models import Orders\n",
            "shop/names.py": "x = 1\ny = z\n",
            "shop/gone.py": "import shop.nothing\n",
            "src/lib/core.py": "from lib.other import x\n",
            "src/lib/other.py": "x = 1\n",
        },
    )
    found = {(one.path, one.line): one.text for one in check(sandbox, tree, *paths) if "cannot be imported" in one.text}
    assert set(found) == {("shop/api.py", 2), ("shop/names.py", 2), ("shop/gone.py", 1)}
    assert "cannot import name 'Orders'" in found["shop/api.py", 2]
    assert check(NONE, tree, *paths) == ()  # the weak control: parsing alone sees nothing


def test_folders_without_init_may_be_read_either_way(sandbox: Sandbox, tree: Path) -> None:
    paths = put(tree, {"backend/db.py": "x = 1\n", "backend/models.py": "from db import x\n"})
    paths += put(tree, {"service/a.py": "x = 1\n", "service/b.py": "from service.a import x\n"})
    assert check(sandbox, tree, *paths) == ()


def test_surroundings_and_missing_installs_are_not_the_changes_fault(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"requirements.txt": "Some-Client>=1\n", "other.py": "import used_elsewhere\n"})
    quiet = put(
        tree,
        {
            "settings.py": "import os\nURL = os.environ['DATABASE_URL']\n",
            "uses.py": "import settings\n",
            "declared.py": "import some_client\n",
            "known.py": "import used_elsewhere.part\n",
            "leaves.py": "raise SystemExit(3)\n",
            "reads.py": "open('/nowhere')\n",
            "ends.py": "import os\nos._exit(1)\n",
            "tests/test_a.py": "import nothing_like_it\n",
            "migrations/versions/a1.py": "import nothing_like_it\n",
        },
    )
    assert check(sandbox, tree, *quiet) == ()
    put(tree, {"invented.py": "x = 1\nimport package_nobody_declared\n"})
    (found,) = check(sandbox, tree, "invented.py")
    assert (found.path, found.line) == ("invented.py", 2)


def test_django_models_are_imported_with_their_settings(sandbox: Sandbox, tree: Path) -> None:
    paths = put(
        tree,
        {
            "orders/__init__.py": "",
            "orders/models.py": (
                "from django.db import models\n\n\nclass Order(models.Model):\n    paid = models.BooleanField()\n"
            ),
            "orders/views.py": "from orders.models import Refund\n",
        },
    )
    put(
        tree,
        {
            "site_/__init__.py": "",
            "site_/settings.py": "INSTALLED_APPS = ['orders']\nSECRET_KEY = 'x'\n",
            "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")\n',
        },
    )
    assert [(one.path, one.line) for one in check(sandbox, tree, *paths)] == [("orders/views.py", 1)]


CIRCLE = {
    "main.py": "import shop.models\n",
    "shop/__init__.py": "",
    "shop/models.py": "class User: ...\n\n\nfrom shop.service import serve\n",
    "shop/service.py": "from shop.models import User\n\n\ndef serve():\n    return User()\n",
    "shop/jobs.py": "import shop.service\n",
}


def failed(sandbox: Sandbox, tree: Path, beside: Beside, *paths: str) -> list[tuple[str, int]]:
    found = check_files(sandbox, tree, tree, runtime(tree), paths, beside=beside)
    return [(one.path, one.line) for one in found if "cannot be imported" in one.text]


def test_a_circle_that_the_application_comes_around_is_no_fault(sandbox: Sandbox, tree: Path) -> None:
    put(tree, CIRCLE)
    entries = Beside(entries=lambda: [("", "main")])
    assert failed(sandbox, tree, entries, "shop/service.py") == []
    assert failed(sandbox, tree, Beside(), "shop/service.py") == [("shop/service.py", 1)]  # the weak control
    put(tree, {"shop/service.py": CIRCLE["shop/service.py"].replace("User", "Person")})
    assert failed(sandbox, tree, entries, "shop/service.py") == [("shop/service.py", 1)]
    put(tree, {"main.py": "import os\nos._exit(0)\n"})
    assert failed(sandbox, tree, entries, "shop/service.py") == [("shop/service.py", 1)]


def test_what_failed_in_the_same_way_before_is_not_the_changes_fault(sandbox: Sandbox, tree: Path) -> None:
    put(tree, CIRCLE)
    before = tree.parent / "before"
    shutil.copytree(tree, before)
    beside = Beside(before=lambda folder: (shutil.copytree(before, folder), None)[1])
    put(tree, {"shop/service.py": CIRCLE["shop/service.py"] + "\n# more\n", "shop/new.py": "import shop.service\n"})
    assert failed(sandbox, tree, beside, "shop/service.py", "shop/new.py") == []
    put(tree, {"shop/models.py": "class Person: ...\n"})  # an unchanged file fails now too, as it did not before
    changed = ("shop/models.py", "shop/service.py", "shop/new.py")
    assert failed(sandbox, tree, beside, *changed) == [("shop/new.py", 1), ("shop/service.py", 1)]


def test_django_views_are_tried_after_the_urls(sandbox: Sandbox, tree: Path) -> None:
    circle = {f"site_/{path.removeprefix('shop/')}": text.replace("shop", "site_") for path, text in CIRCLE.items()}
    put(tree, circle)
    settings = "ROOT_URLCONF = 'site_.urls'\nSECRET_KEY = 'x'\n"
    put(tree, {"site_/settings.py": settings, "site_/urls.py": "import site_.models\nurlpatterns = []\n"})
    assert failed(sandbox, tree, Beside(), "site_/service.py") == [("site_/service.py", 1)]  # no project, no settings
    put(tree, {"manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")\n'})
    assert failed(sandbox, tree, Beside(), "site_/service.py") == []


def test_importing_runs_in_the_sandbox_and_the_tree_stays_as_it_was(sandbox: Sandbox, tree: Path) -> None:
    marker = tree.parent / "marker"
    code = f"import pathlib\ntry:\n    pathlib.Path({str(marker)!r}).write_text('')\nexcept OSError:\n    pass\n"
    put(tree, {"a.py": code + "pathlib.Path('made').write_text('')\n"})
    assert check(sandbox, tree, "a.py") == ()
    assert not marker.exists()
    assert [path.name for path in tree.iterdir()] == ["a.py"]
    exec(code)
    assert marker.exists()  # the weak control: the same code outside of the sandbox gets out


def test_what_code_inside_leaves_as_a_result_is_not_trusted(sandbox: Sandbox, tree: Path) -> None:
    forger = "import json, os, sys\nopen(json.loads(sys.argv[1])['result'], 'w').write({!r})\nos._exit(0)\n"
    for written in (
        "{",
        "5",
        '[{"path": "../../etc/passwd", "line": "x"}]',
        "[" * 100_000,
        '[{"path": "a.py", "line": []}]',
    ):
        put(tree, {"a.py": forger.format(written)})
        assert {one.path for one in check(sandbox, tree, "a.py")} <= {"a.py"}


def test_ruff_finds_undefined_names_and_leaves_style_alone(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"a.py": "import os\n\n\ndef f():\n    unused = 1\n    return undefined_name\n"})
    assert [(one.line, one.text[:4]) for one in check(sandbox, tree, "a.py")] == [(6, "F821")]


@pytest.mark.tool
def test_node_checks_javascript(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"good.js": "const a = 1\n", "bad.mjs": "const a = 1\nconst b = (\n"})
    assert [one.path for one in check(sandbox, tree, "good.js", "bad.mjs")] == ["bad.mjs"]
