"""Servers for tests: what a repository's files name is started in the sandbox; what cannot be had leaves tests not run."""

import sys
from pathlib import Path

import pytest

from backend_crew.tools import services
from backend_crew.tools.runners.protocol import TestCommand
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import Limits, Sandbox
from backend_crew.tools.service_needs import needs
from backend_crew.tools.testrun import TestRun, run_tests

PYTEST = TestCommand((sys.executable, "-m", "pytest"), "pytest", "pytest.ini:1")
WORKFLOW = """
jobs:
  test:
    services:
      db:
        image: postgres:16-alpine
        env: {POSTGRES_USER: shop, POSTGRES_PASSWORD: shop-ci, POSTGRES_DB: shop_test}
    env:
      DATABASE_URL: postgresql+psycopg://shop:shop-ci@localhost:5432/shop_test
"""
TESTS = """
import os, psycopg

def connect():
    return psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", ""), autocommit=True)

def test_rows():
    with connect() as connection:
        connection.execute("CREATE TABLE orders (id int)")
        assert connection.execute("SELECT current_database(), count(*) FROM orders").fetchone() == ("shop_test", 0)

def test_other_databases_can_be_made_as_django_does():
    with connect() as connection:
        connection.execute("CREATE DATABASE test_shop")
"""
CACHE = """
import socket

def test_cached():
    with socket.create_connection(("127.0.0.1", 6379), 5) as redis:
        redis.sendall(b"PING\\r\\n")
        assert redis.recv(7) == b"+PONG\\r\\n"

def test_alone(): pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    put(folder, {"pytest.ini": "[pytest]\n"})
    return folder


def put(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)


def run(sandbox: Sandbox, tree: Path) -> TestRun:
    runtime = find_runtime(tree, python=Path(sys.executable))
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run_tests(sandbox, tree, tree, runtime, PYTEST, env=env, limits=Limits(timeout_s=90))


def test_the_postgresql_that_the_pipeline_names_is_there_and_new_for_each_run(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_orders.py": TESTS})
    assert run(sandbox, tree).status == "failed", "the control: nothing names a server, and none is there"
    put(tree, {".github/workflows/ci.yml": WORKFLOW})
    for _ in range(2):
        result = run(sandbox, tree)
        assert (result.status, result.reason) == ("passed", "2 tests passed"), result
        assert result.services[0].startswith("PostgreSQL 1")
        assert result.command[0] == sys.executable, "the server's script is nothing for people"


def test_tests_that_need_a_server_which_cannot_be_had_are_not_run_and_named(
    sandbox: Sandbox, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_REDIS", ())
    put(tree, {"test_cache.py": CACHE})
    assert run(sandbox, tree).status == "failed", "the control: no file says that a server is wanted"
    put(tree, {".env.example": "CACHE_URL=redis://localhost:6379/0\n"})
    result = run(sandbox, tree)
    assert {case.id: case.outcome for case in result.cases} == {
        "test_cache.py::test_cached": "skipped",
        "test_cache.py::test_alone": "passed",
    }
    assert (result.status, result.complete) == ("passed", True)
    assert result.reason.startswith("1 of 2 tests not run: Redis is not there: no redis-server"), result.reason
    put(tree, {"test_cache.py": CACHE + "\ndef test_red(): assert 1 == 2\n"})
    assert run(sandbox, tree).status == "failed", "another failure is one"


@pytest.mark.tool
def test_redis_is_started_where_it_is_installed(sandbox: Sandbox, tree: Path) -> None:
    put(tree, {"test_cache.py": CACHE, ".env.example": "CACHE_URL=redis://localhost:6379/0\n"})
    result = run(sandbox, tree)
    assert (result.status, result.services) == ("passed", ("Redis",)), result


@pytest.mark.parametrize(
    ("files", "kind", "names"),
    [
        ({".env.example": "DSN=postgres://a:b@localhost/c\n"}, "PostgreSQL", {"DSN": "postgres"}),
        ({"app/config.py": 'X = os.getenv("APP_DSN", "postgresql+asyncpg://a@db/c")\n'}, "PostgreSQL", {"APP_DSN": "postgresql+asyncpg"}),
        ({"src/config.ts": "url: process.env.PG_URL ?? 'postgres://localhost/x'\n"}, "PostgreSQL", {"PG_URL": "postgres"}),
        ({"settings.py": '{"HOST": os.environ["DB_HOST"], "NAME": os.environ["DB_NAME"]}', "compose.yaml": "    image: postgres:15\n"}, "PostgreSQL", {}),
        ({".gitlab-ci.yml": "    image: mysql:8\n"}, "MySQL", {}),
        ({"compose.yaml": "    image: postgres:15\n"}, None, {}),
        ({".env.example": "DATABASE_URL=sqlite:///x.db\n"}, None, {}),
        ({"app/config.py": 'DATABASE_URL = "postgresql://u:p@db.example.com/live"\n'}, None, {}),
    ],
)  # fmt: skip
def test_what_the_files_name_is_read(
    tree: Path, files: dict[str, str], kind: str | None, names: dict[str, str]
) -> None:
    put(tree, files)
    found = needs(tree)
    assert [(one.kind, one.urls) for one in found] == ([(kind, names)] if kind else [])


def test_variables_of_the_person_win_and_parts_are_told(sandbox: Sandbox, tree: Path) -> None:
    settings = 'HOST, NAME, WHO = (os.environ[x] for x in ("DB_HOST", "DB_NAME", "DB_USER"))\n'
    put(tree, {"settings.py": settings, ".github/workflows/ci.yml": WORKFLOW})
    found = services.services_for(tree, sandbox, Runtime(kind="other", env={"DATABASE_URL": "mine"}), tree)
    assert found.env == {"DB_HOST": "127.0.0.1", "DB_NAME": "shop_test", "DB_USER": "shop"}
