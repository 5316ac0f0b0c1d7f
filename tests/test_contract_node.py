"""The interface of Node applications: NestJS by its own generator, Express by the routers that it has when it listens."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backend_crew.tools.contract.built import BuiltApi
from backend_crew.tools.contract.check import built_api, check
from backend_crew.tools.contract.node_applications import NodeApplication, find_node_application
from backend_crew.tools.runtime import find_node, find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratches import Place

Files = dict[str, str]
NEST: Files = {
    "package.json": json.dumps({"dependencies": {"@nestjs/core": "^11", "@nestjs/swagger": "^11"}}),
    "tsconfig.json": '{"compilerOptions": {"target": "ES2021", "baseUrl": "./", "paths": {"@app/*": ["src/*"]}}}',
    "src/refund.dto.ts": "import { ApiProperty } from '@nestjs/swagger'\n"
    "export class RefundIn {\n  @ApiProperty({ minLength: 1, maxLength: 500 }) reason: string\n}\n",
    "src/refunds.controller.ts": "import { Body, Controller, Param, ParseIntPipe, Post } from '@nestjs/common'\n"
    "import { ApiBearerAuth } from '@nestjs/swagger'\nimport { RefundIn } from '@app/refund.dto'\n"
    "@ApiBearerAuth()\n@Controller('orders/:order/refunds')\nexport class RefundsController {\n"
    "  @Post() make(@Param('order', ParseIntPipe) order: number, @Body() body: RefundIn): void {}\n}\n",
    "src/app.module.ts": "import { Module } from '@nestjs/common'\nimport { RefundsController } from './refunds.controller'\n"
    "@Module({ controllers: [RefundsController] })\nexport class AppModule {}\n",
    "src/main.ts": "import { NestFactory } from '@nestjs/core'\nimport { AppModule } from './app.module'\n"
    "async function start() {\n  const app = await NestFactory.create(AppModule, { logger: false })\n"
    "  app.setGlobalPrefix('v1')\n  await app.listen(3000)\n}\nstart()\n",
}
EXPRESS: Files = {
    "package.json": json.dumps({"scripts": {"start": "node src/server.js"}, "dependencies": {"express": "*"}}),
    "src/server.js": "const app = require('./app')\napp.listen(3000)\n",
    "src/app.js": "const express = require('express')\nconst orders = express.Router()\n"
    "orders.get('/:id', (q, r) => r.json({}))\norders.route('/:id/refunds').post((q, r) => r.json({}))\n"
    "const app = express()\napp.use(express.json())\napp.all('/any', (q, r) => r.end())\n"
    "app.use('/v1/' + ['or', 'ders'].join(''), orders)\nmodule.exports = app\n",
}
CONTRACT = """
openapi: 3.0.0
info: {title: shop, version: "1"}
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
  schemas: {RefundIn: {type: object, required: [reason], properties: {reason: {type: string, minLength: 1, maxLength: %d}}}}
paths:
  /v1/orders/{order}/refunds:
    post:
      security: [{bearer: []}]
      parameters: [{name: order, in: path, required: true, schema: {type: number}}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/RefundIn'}}}}
      responses: {'201': {description: Made}}
"""


def write(root: Path, files: Files) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (NEST, NodeApplication("NestJS", "src/main.ts")),
        (
            {**NEST, "nest-cli.json": '{"sourceRoot": "apps/shop"}', "apps/shop/main.ts": ""},
            NodeApplication("NestJS", "apps/shop/main.ts"),
        ),
        ({**NEST, "package.json": '{"dependencies": {"@nestjs/core": "11"}}'}, None),
        (EXPRESS, NodeApplication("Express", "src/server.js")),
        ({"package.json": '{"dependencies": {"express": "5"}, "main": "../outside.js"}', "app.js": ""},
         NodeApplication("Express", "app.js")),
        ({"package.json": '{"dependencies": {"koa": "2"}}', "app.js": ""}, None),
        ({"package.json": "[" * 100_000}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_where_an_application_starts(tmp_path: Path, files: Files, found: NodeApplication | None) -> None:
    assert find_node_application(write(tmp_path, files)) == found


Ask = Callable[[Files, str], tuple[Path, Place]]


@pytest.fixture
def place(sandbox: Sandbox, tmp_path: Path) -> Ask:
    """A tree with packages as npm installs them; needs its registry."""

    def made(files: Files, packages: str) -> tuple[Path, Place]:
        root = write(tmp_path / "shop", files)
        argv = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", *packages.split()]
        if shutil.which("npm") is None or subprocess.run(argv, cwd=root, capture_output=True, check=False).returncode:
            pytest.skip("npm, or its registry, is not to be had")
        return root, Place(sandbox, root, root, find_runtime(root, node=find_node(root, os.environ["PATH"])))

    return made


MODULES = "@nestjs/common@11 @nestjs/core@11 @nestjs/platform-express@11 @nestjs/swagger@11 reflect-metadata rxjs typescript@5"


@pytest.mark.tool
def test_nest_is_asked_for_its_own_document(place: Ask) -> None:
    _, there = place(NEST, MODULES)
    same = check(CONTRACT % 500, there, None)
    assert (same.status, same.source, same.framework) == ("same", "openapi", "NestJS"), same
    assert [one for one in same.findings if one.severity == "error"] == []
    assert check(CONTRACT % 100, there, None).status == "different"


@pytest.mark.tool
@pytest.mark.parametrize("version", ["4", "5"])
def test_express_tells_its_routes_even_where_the_source_computes_them(place: Ask, version: str) -> None:
    root, there = place(EXPRESS, f"express@{version}")

    def routes(found: BuiltApi) -> set[tuple[str, str]]:
        return {(one.method, one.path) for one in found.routes}

    found = built_api(there)
    assert (found.source, found.framework) == ("routes", "Express"), found.reason
    assert routes(found) == {("GET", "/v1/orders/{id}"), ("POST", "/v1/orders/{id}/refunds"), ("ANY", "/any")}
    (root / "src/server.js").write_text("throw new Error('no database here')\n")
    found = built_api(there)
    assert (found.source, "no database here" in found.reason) == ("static routes", True), found
