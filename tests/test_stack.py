"""Stack facts: every quote is opened again, declared is not used, and nothing is followed or read that must not."""

import os
import time
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.stack import detect, has_backend
from backend_crew.tools.stack_facts import Fact

FASTAPI = {
    "pyproject.toml": (
        '[project]\nname = "shop"\ndependencies = [\n  "fastapi>=0.1",\n  "SQLAlchemy>=2",\n'
        '  "celery",\n]\n'
        '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n[tool.ruff]\nline-length = 100\n'
    ),
    "uv.lock": "version = 1\n",
    "alembic.ini": "[alembic]\nscript_location = migrations\nsqlalchemy.url = sqlite:///./shop.db\n",
    "shop/__init__.py": "",
    "shop/api.py": (
        "from fastapi import APIRouter\nfrom fastapi.security import HTTPBearer\n\n"
        "router = APIRouter()\n\n\n"
        '@router.get("/orders")\ndef orders(): ...\n'
    ),
    "shop/models.py": '"""Like this:\n\nimport flask\n"""\nfrom sqlalchemy.orm import (\n    DeclarativeBase,\n)\n',
    "tests/test_api.py": "import pytest\n",
    "Dockerfile": "# syntax\nFROM python:3.12\n",
    ".github/workflows/ci.yml": "name: ci\non: push\n",
}
DJANGO = {
    "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site.settings")\n',
    "requirements.txt": "Django==5.2\ndjangorestframework\n",
    "site/settings.py": (
        'DATABASES = {\n    "default": {\n        "ENGINE": "django.db.backends.postgresql",\n    }\n}\n'
    ),
    "orders/models.py": "from django.db import models\n",
    "orders/views.py": "from rest_framework import viewsets\n",
    "orders/migrations/0001_initial.py": (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration): ...\n"
    ),
}
NEST = {
    "package.json": (
        '{\n  "scripts": {"test": "jest"},\n  "dependencies": {\n    "@nestjs/core": "^10",\n'
        '    "typeorm": "1",\n'
        '    "pg": "8"\n  },\n  "devDependencies": {"jest": "29", "eslint": "9"}\n}\n'
    ),
    "pnpm-lock.yaml": "lockfileVersion: 9\n",
    "src/main.ts": (
        "import { NestFactory } from '@nestjs/core';\nimport { DataSource } from \"typeorm\";\n"
        "// import express from 'express'\n"
    ),
}
GIN = {
    "go.mod": "module shop\n\nrequire (\n\tgithub.com/gin-gonic/gin v1.9.1\n\tgithub.com/jackc/pgx/v5 v5.5.0\n)\n",
    "main.go": (
        'package main\n\nimport (\n\t"github.com/gin-gonic/gin"\n\t"gorm.io/gorm"\n)\n\n'
        'func main() {\n\tr.GET("/x", h)\n}\n'
    ),
    "main_test.go": 'package main\n\nimport "testing"\n\nfunc TestX(t *testing.T) {}\n',
}
OTHERS = {
    "spring": (
        {
            "pom.xml": "<project>\n<artifactId>spring-boot-starter-web</artifactId>\n</project>\n",
            "A.java": "import org.springframework.web.bind.annotation.GetMapping;\n",
        },
        "framework",
        "Spring Boot",
    ),
    "rails": (
        {"Gemfile": 'gem "rails"\n', "config/application.rb": "class App < Rails::Application\n"},
        "framework",
        "Rails",
    ),
    "laravel": (
        {"composer.json": '{"require": {"laravel/framework": "11"}}', "app/A.php": "<?php\nuse Illuminate\\Http\\R;\n"},
        "framework",
        "Laravel",
    ),
    "flask": ({"app.py": "import os, flask\n"}, "framework", "Flask"),
    "express": ({"app.js": "const express = require('express')\n"}, "framework", "Express"),
    "fastify": ({"app.mjs": "import Fastify from 'fastify'\n"}, "framework", "Fastify"),
    "echo": ({"m.go": 'package m\nimport "github.com/labstack/echo/v4"\n'}, "framework", "Echo"),
    "prisma": ({"prisma/schema.prisma": 'datasource db {\n  provider = "mysql"\n}\n'}, "database", "mysql"),
    "axum": (
        {"Cargo.toml": '[package]\n[dependencies]\naxum = "0.7"\n', "src/main.rs": "use axum::Router;\n"},
        "framework",
        "Axum",
    ),
    "node test": ({"package.json": '{"scripts": {"test": "node --test"}}'}, "tests", "node:test"),
    "setup.cfg": ({"setup.cfg": "[options]\ninstall_requires =\n    aiohttp\n    peewee\n"}, "orm", "Peewee"),
}


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def found(root: Path) -> dict[tuple[str, str], Fact]:
    """The facts, each after its quote was looked up where it says."""
    facts = detect(root)
    for fact in facts:
        line = (root / fact.path).read_text().split("\n")[fact.line - 1]
        assert fact.quote, fact
        assert fact.quote in line, fact
    return {(fact.kind, fact.value): fact for fact in facts}


def test_a_fastapi_service(tmp_path: Path) -> None:
    facts = found(put(tmp_path, FASTAPI))
    certain = {key for key, fact in facts.items() if fact.confidence == "certain"}
    assert certain >= {
        ("language", "Python"),
        ("framework", "FastAPI"),
        ("orm", "SQLAlchemy"),
        ("database", "sqlite"),
        ("migrations", "alembic"),
        ("auth", "fastapi.security"),
        ("tests", "pytest"),
        ("lint", "ruff"),
        ("package_manager", "uv"),
        ("container", "Dockerfile"),
        ("ci", "GitHub Actions"),
    }
    assert facts["framework", "FastAPI"].path == "shop/api.py"
    assert facts["api", "REST"].line == 7
    assert facts["container", "Dockerfile"].line == 2
    assert facts["queue", "Celery"] == Fact(
        "queue", "Celery", "pyproject.toml", 6, '"celery",', "likely", "queue.celery.declared"
    )
    assert ("framework", "Flask") not in facts, "an example in a docstring is no import"
    assert "import flask" in (tmp_path / "shop/models.py").read_text().splitlines()  # a search by line would find it


def test_a_django_service(tmp_path: Path) -> None:
    facts = found(put(tmp_path, DJANGO))
    for key in (
        ("framework", "Django"),
        ("framework", "Django REST framework"),
        ("orm", "Django ORM"),
        ("database", "postgresql"),
        ("migrations", "django"),
    ):
        assert facts[key].confidence == "certain", key
    assert facts["package_manager", "pip"].path == "requirements.txt"


def test_a_nest_service(tmp_path: Path) -> None:
    facts = found(put(tmp_path, NEST))
    assert facts["framework", "NestJS"].path == "src/main.ts"
    assert facts["orm", "TypeORM"].confidence == "certain"
    assert facts["database", "postgresql"] == Fact(
        "database", "postgresql", "package.json", 6, '"pg": "8"', "likely", "database.postgresql.declared"
    )
    assert facts["tests", "jest"].line == 2, "the script is better evidence than the declaration"
    assert facts["package_manager", "pnpm"].path == "pnpm-lock.yaml"
    assert ("framework", "Express") not in facts


def test_a_gin_service(tmp_path: Path) -> None:
    facts = found(put(tmp_path, GIN))
    assert facts["framework", "Gin"].confidence == "certain"
    assert facts["orm", "GORM"].path == "main.go"
    assert facts["database", "postgresql"].confidence == "likely"
    assert facts["tests", "go test"].path == "main_test.go"


@pytest.mark.parametrize("name", OTHERS)
def test_other_stacks(tmp_path: Path, name: str) -> None:
    files, kind, value = OTHERS[name]
    assert (kind, value) in found(put(tmp_path, files))


def test_a_backend_is_a_framework_a_server_or_a_mapper(tmp_path: Path) -> None:
    assert has_backend(detect(put(tmp_path / "a", FASTAPI)))
    assert has_backend(detect(put(tmp_path / "b", {"s.py": "from http.server import HTTPServer\n"})))
    assert not has_backend(detect(put(tmp_path / "c", {"tool.py": "import json\n", "README.md": "We love FastAPI\n"})))


def test_a_password_in_a_url_is_not_quoted(tmp_path: Path) -> None:
    put(tmp_path, {"alembic.ini": "sqlalchemy.url = postgresql+psycopg://shop:hunter22@db/shop\n"})
    fact = found(tmp_path)["database", "postgresql"]
    assert fact.confidence == "certain"
    assert fact.quote == "postgresql+psycopg://"
    assert (
        "hunter22" in (tmp_path / fact.path).read_text().splitlines()[fact.line - 1]
    )  # quoting the line would leak it


def test_secrets_links_and_installed_code_are_not_read(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", {"app.py": "import flask\n"})
    root = put(
        tmp_path / "repo",
        {
            ".env": "DATABASE_URL=mysql://a:b@c/d\n",
            "node_modules/express/package.json": '{"dependencies": {"koa": "1"}}',
            "my-env/pyvenv.cfg": "home = /usr\n",
            "my-env/lib/x.py": "import django\n",
            "big.py": "import tornado\n" + "#" * 600_000,
        },
    )
    (root / "linked.py").symlink_to(outside / "app.py")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe.py")
    assert {fact.value for fact in detect(root)} <= {"Python"}


def test_broken_manifests_and_sources_are_survived(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "pyproject.toml": "[project\ndependencies = 5",
            "package.json": "{",
            "sub/package.json": '{"dependencies": ["a"]}',
            "composer.json": "[]",
            "Cargo.toml": "dependencies = 3",
            "app.py": "import flask\ndef (:\n",
        },
    )
    (tmp_path / "latin.py").write_bytes(b"# \xe9\nimport starlette\n")
    (tmp_path / "binary.py").write_bytes(b"import sanic\0")
    facts = detect(tmp_path)
    assert {(fact.value, fact.confidence) for fact in facts if fact.kind == "framework"} == {
        ("Flask", "likely"),
        ("Starlette", "certain"),
    }


def test_a_thousand_files_take_a_moment(tmp_path: Path) -> None:
    body = "import json\nfrom app.db import session\n\n\n" + "def f(a, b):\n    return a + b\n\n\n" * 60
    put(tmp_path, {f"app/m{number}.py": body for number in range(1_000)})
    started = time.process_time()
    detect(tmp_path)
    assert time.process_time() - started < 5  # 0.2 s on an idle machine


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match="not a folder"):
        detect(tmp_path / "nowhere")
