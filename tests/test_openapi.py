"""Contract checks: a good document passes, each fault is named in plain words, hostile documents cost nothing."""

import socket
import time
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.openapi import PROBLEM_LIMIT, Operation, check_contract, operations

GOOD = """openapi: 3.1.0
info: {title: Shop, version: 2024-01-01}
security: [{bearer: []}]
paths:
  /orders/{id}/refunds:
    post:
      summary: Refund an order
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      requestBody:
        content: {application/json: {schema: {$ref: "#/components/schemas/Refund"}}}
      responses:
        201: {description: made, content: {application/json: {schema: {$ref: "#/components/schemas/Refund"}}}}
        404: {description: none, content: {application/json: {schema: {$ref: "#/components/schemas/Error"}}}}
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
  schemas:
    Refund: {type: object, required: [amount], properties: {amount: {type: integer, default: 3}}}
    Error: {type: object, properties: {detail: {type: string}}}
"""
ERROR_CONTENT = 'content: {application/json: {schema: {$ref: "#/components/schemas/Error"}}}'
OPERATION = "#/paths/~1orders~1{id}~1refunds/post"


def problems(before: str, after: str) -> tuple[str, ...]:
    assert before in GOOD
    return check_contract(GOOD.replace(before, after))


def test_a_good_contract_has_no_problems_in_either_version_and_notation() -> None:
    assert check_contract(GOOD) == ()
    assert problems("3.1.0", "3.0.3") == ()
    as_json = '{"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "paths": {"/a": {"get": {"summary": "A",'
    as_json += ' "security": [], "responses": {"200": {"description": "fine"}}}}}}'
    assert check_contract(as_json) == ()


def test_operations_are_listed() -> None:
    assert operations(GOOD) == (Operation("POST", "/orders/{id}/refunds", "Refund an order"),)
    with pytest.raises(ToolRetry, match="not an OpenAPI document"):
        operations("- a list")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("summary: Refund an order", "tags: [a]", f"{OPERATION}: has neither summary nor operationId"),
        ("        201:", "        302:", f"{OPERATION}: has no 2xx response"),
        ("        404:", "        202:", f"{OPERATION}: takes a body but has no 4xx response"),
        ("security: [{bearer: []}]\n", "", f"{OPERATION}: does not say who may call it"),
        ("{bearer: {type", "{other: {type", f"{OPERATION}: security scheme 'bearer' is not in"),
        ("title: Shop, ", "", "#/info: 'title' is missing; add it"),
        ("summary: Refund", "summery: Refund", "Keys that do not belong here ('summery' was unexpected)"),
        ("name: id", "name: ident", "Path parameter 'id' for 'post'"),
        ("default: 3", "default: many", "'many' is not of type 'integer'"),
        ("type: string", "type: text", "'text' is not a type; expected one of string"),
        ("3.1.0", "2.0", '#/openapi: found 2.0, expected "3.1.0"'),
        ("schemas/Error", "schemas/Oops", "$ref '#/components/schemas/Oops' leads nowhere"),
        ("    post:", "    post: {}\n    post:", "the key 'post' is there twice"),
        (ERROR_CONTENT, "x-a: 1", "no 4xx response has a schema"),
    ],
)  # fmt: skip
def test_each_fault_is_named(before: str, after: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(before, after)), problems(before, after)


@pytest.mark.parametrize("text", ["", "[]", "a: [", '{"a": 1,}', "just words", "a: !!python/object:os.system x"])
def test_what_is_no_document_is_one_problem(text: str) -> None:
    assert len(check_contract(text)) == 1


def test_a_document_without_operations_is_a_problem() -> None:
    assert check_contract('openapi: 3.1.0\ninfo: {title: a, version: "1"}\npaths: {}\n') == (
        "#/paths: no operation; describe each endpoint that the feature adds or changes",
    )


def test_problems_are_bounded_and_said_once() -> None:
    paths = "".join(f"  /p{number}:\n    get: {{responses: {{}}}}\n" for number in range(40))
    found = check_contract(f'openapi: 3.1.0\ninfo: {{title: a, version: "1"}}\npaths:\n{paths}')
    assert len(found) == PROBLEM_LIMIT == len(set(found))
    assert "more problems" in found[-1]


def test_nothing_outside_is_read_or_fetched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.json"
        for reference in (address, "file:///etc/hostname", "other.yaml#/a"):
            found = problems('"#/components/schemas/Error"', f'"{reference}"')
            assert any("leads outside" in problem for problem in found)
        with pytest.raises(TimeoutError):
            server.accept()
    # The weak control: the validator alone reads the file that a reference names.
    planted = tmp_path / "planted.yaml"
    planted.write_text("Refund: {type: object, allOf: [{type: object}], required: [leaked]}\n")
    document = yaml.safe_load(GOOD.replace("201:", '"201":').replace("404:", '"404":'))
    document["info"]["version"] = "1"
    document["components"]["schemas"]["Refund"] = {"$ref": f"{planted.as_uri()}#/Refund"}
    assert any("leaked" in error.message for error in OpenAPIV31SpecValidator(document).iter_errors())


def quickly(text: str) -> tuple[str, ...]:
    started = time.monotonic()
    found = check_contract(text)
    assert time.monotonic() - started < 10
    return found


def test_alias_bombs_depth_and_size_are_refused() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert yaml.safe_load(bomb)["b"][8] == ["x"] * 9  # the weak control unfolds it
    assert "anchors and aliases" in quickly(bomb)[0]
    assert "deeper" in quickly("a: " + "[" * 50_000)[0]
    assert "deeper" in quickly("[" * 90_000 + "]" * 90_000)[0]
    assert "200 kB" in quickly("a" * 300_000)[0]
    assert "cannot be read" in quickly('{"a": ' + "1" * 5_000 + "}")[0]


def test_references_that_unfold_without_end_are_refused() -> None:
    schemas = "".join(
        f'    S{n}: {{allOf: [{{$ref: "#/components/schemas/S{n + 1}"}}, {{$ref: "#/components/schemas/S{n + 1}"}}]}}\n'
        for n in range(40)
    )
    found = quickly(GOOD + schemas + "    S40: {type: object}\n")
    assert any("in circles or too often" in problem for problem in found)
    assert any(
        "in circles" in problem for problem in quickly(GOOD + '    A: {allOf: [{$ref: "#/components/schemas/A"}]}\n')
    )
    tree = (
        '    Node: {type: object, properties: {children: {type: array, items: {$ref: "#/components/schemas/Node"}}}}\n'
    )
    assert check_contract(GOOD + tree) == ()


def test_a_pattern_that_runs_for_hours_is_not_matched() -> None:
    slow = "{type: string, pattern: '^(a+)+$', default: '" + "a" * 40 + "!'}"
    assert quickly(GOOD.replace("{type: integer, default: 3}", slow)) == ()


@pytest.mark.parametrize("odd", ["5", "[1]", "{a: 1}", "null", "true", '{$ref: "#/info/title"}', '{$ref: "#"}'])
def test_odd_shapes_end_in_problems_and_never_in_an_exception(odd: str) -> None:
    for place in ("{type: integer, default: 3}", "[amount]", "{type: http, scheme: bearer}", "[{bearer: []}]"):
        for version in ("3.1.0", "3.0.3"):
            check_contract(GOOD.replace(place, odd).replace("3.1.0", version))
