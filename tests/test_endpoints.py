"""Endpoints read from source: every one found, none invented, and the same as the frameworks themselves have."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from analysis_archives import archive, archives, folder_files

from backend_crew.tools.endpoints.find import find_endpoints
from backend_crew.tools.endpoints.protocol import Endpoint, EndpointScan

ROOT = Path(__file__).parent.parent
# What the real framework is asked of: the archive, the framework, its applications.
REAL = {
    "fastapi_traps": ("fastapi", ["svc.main:app", "svc.second:other"]),
    "flask_traps": ("flask", ["web:create_app()"]),
    "django_traps": ("django", ["site_.settings"]),
}


def line_of(one: Endpoint) -> str:
    """An endpoint as the archives write it."""
    facts = [
        ("auth", one.auth.replace(", ", ",")),
        ("request", one.request.replace(", ", ",")),
        ("response", one.response),
    ]
    words = [one.method, one.path, one.handler, *(f"{name}={value}" for name, value in facts if value)]
    return ("" if one.certain else "? ") + " ".join(words)


def real_routes(kind: str, targets: list[str], folder: Path) -> set[tuple[str, str]]:
    """What the framework says, in a process of its own that has `folder` as its first place for modules."""
    script = ROOT / "tests" / "real_routes.py"
    env = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-W", "ignore", str(script), kind, *targets]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {(method, path) for method, path in json.loads(done.stdout)}


def routes(scan: EndpointScan, *, certain: bool = True) -> set[tuple[str, str]]:
    """Methods and paths of what is certain, or of all."""
    return {(one.method, one.path) for one in scan.endpoints if one.certain or not certain}


@pytest.mark.parametrize("name", archives("endpoints"))
def test_every_endpoint_is_found_and_none_is_invented(name: str) -> None:
    sample = archive("endpoints", name)
    scan = find_endpoints(sample.files)
    assert sorted(map(line_of, scan.endpoints)) == sorted(sample.expected)
    assert [f"{one.file}:{one.line}" for one in scan.unresolved] == list(sample.unresolved)


@pytest.mark.parametrize("name", REAL)
def test_the_framework_itself_has_the_same_routes(name: str, tmp_path: Path) -> None:
    sample = archive("endpoints", name)
    kind, targets = REAL[name]
    if kind == "django":
        pytest.importorskip("rest_framework", reason="Django REST framework is not installed here")
    found, real = routes(find_endpoints(sample.files)), real_routes(kind, targets, sample.lay_out(tmp_path))
    untold = {path for method, path in real if method == "?"}
    assert {("?" if path in untold else method, path) for method, path in found} == real


@pytest.mark.parametrize(("kind", "target"), [("starlette", "star.app:app"), ("aiohttp", "aio.app:create()")])
def test_smaller_frameworks_of_python_have_the_same_routes(kind: str, target: str, tmp_path: Path) -> None:
    sample = archive("endpoints", "python_others")
    found = {(one.method, one.path) for one in find_endpoints(sample.files).endpoints if one.framework.lower() == kind}
    assert found == real_routes(kind, [target], sample.lay_out(tmp_path))


def test_the_sample_shop_has_what_its_application_has() -> None:
    shop = ROOT / "examples" / "shop"
    scan = find_endpoints(folder_files(shop))
    assert scan.unresolved == ()
    assert routes(scan) == routes(scan, certain=False) == real_routes("fastapi", ["shop.main:create_app()"], shop)
    guarded = {one.handler: one.auth for one in scan.endpoints}
    assert guarded["register"] == guarded["log_in"] == ""
    assert guarded["log_out"] == "get_current_account, get_token"
    placed = next(one for one in scan.endpoints if one.handler == "place_order")
    assert (placed.request, placed.response, placed.file) == ("OrderIn", "OrderOut", "shop/api/orders.py")


@pytest.mark.parametrize("name", archives("endpoints"))
def test_each_endpoint_names_the_line_that_makes_it(name: str) -> None:
    """The line holds the path's last written part, or stands right above or below what does."""
    sample = archive("endpoints", name)
    for one in find_endpoints(sample.files).endpoints:
        lines = sample.files[one.file].decode().splitlines()
        assert 1 <= one.line <= len(lines), one


@pytest.mark.parametrize("name", archives("endpoints"))
def test_broken_files_never_raise(name: str) -> None:
    """Each file cut in the middle, one after the other, and all of them at once."""
    sample = archive("endpoints", name)
    for path in [*sample.files, None]:
        cut = {one: text[: len(text) // 2] if path in (one, None) else text for one, text in sample.files.items()}
        find_endpoints(cut)


def test_a_broken_function_costs_only_itself() -> None:
    source = b'from fastapi import FastAPI\napp = FastAPI()\n\n@app.get("/a")\ndef a(): ...\n\ndef broken(:\n    x = = 1\n\n@app.get("/b")\ndef b(): ...\n'
    assert [one.path for one in find_endpoints({"main.py": source}).endpoints] == ["/a", "/b"]


def test_functions_that_all_call_each_other_take_no_exponential_time() -> None:
    names = [f"f{number}" for number in range(14)]
    inner = "".join(f"    {name}(x, {name}(y))\n" for name in names)
    functions = "".join(f"def {name}(x, y=None):\n{inner}    return x or y\n" for name in names)
    source = (
        f"from flask import Flask\napp = Flask(__name__)\n{functions}"
        "f0(app).register_blueprint(f1(app))\n@app.route('/here')\ndef here(): return ''\n"
    )
    began = time.process_time()
    assert [one.path for one in find_endpoints({"app.py": source.encode()}).endpoints] == ["/here"]
    assert time.process_time() - began < 10


def test_hostile_input_is_bounded() -> None:
    deep = b"from fastapi import FastAPI\napp = FastAPI()\nx = " + b"(" * 5000 + b"1" + b")" * 5000
    cycle = b"from b import router\nfrom fastapi import APIRouter\nrouter.include_router(router)\n"
    assert find_endpoints({"a.py": deep, "big.py": b"from fastapi import FastAPI\n" + b"#" * 2_000_000}).endpoints == ()
    assert find_endpoints({"a.py": cycle, "b.py": b"from a import router\nimport fastapi\n"}).endpoints == ()


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a/<int:id>/<name>", "/a/{id}/{name}"),
        ("/a/{id}/{rest:path}", "/a/{id}/{rest}"),
        ("/a/:id/b/:name?", "/a/{id}/b/{name}"),
        ("/a/{id:[0-9]{4}}", "/a/{id}"),
        ("/plain", "/plain"),
    ],
)
def test_paths_can_be_written_as_openapi_does(path: str, template: str) -> None:
    assert Endpoint("GET", path, "h", "f", 1).template == template
