"""One value that a schema allows, to call an operation with; not random, so that a call can be repeated."""

import json
from collections.abc import Mapping
from urllib.parse import quote

from backend_crew.tools.contract.operations import Operation
from backend_crew.tools.contract.shapes import Shape, read_schema

_TEXTS = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "uuid": "5b1f7c8e-8a44-4a1e-9d3b-0f6f6d2f7c11",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "duration": "P1D",
    "hostname": "example.com",
}
_DEPTH = 8


def sample_path(document: Mapping[str, object], operation: Operation) -> str:
    """The operation's path with a value in each place, and the query parameters that it cannot be called without."""
    path, number = "", 0
    rest = operation.path
    while "{" in rest and "}" in rest:
        before, _, rest = rest.partition("{")
        _, _, rest = rest.partition("}")
        number += 1
        raw = next((one.raw for one in operation.parameters if one.name == f"{{{number}}}"), {"type": "string"})
        path += before + _word(sample(document, raw))
    query = [
        f"{quote(one.name)}={_word(sample(document, one.raw))}"
        for one in operation.parameters
        if one.place == "query" and one.required
    ]
    return path + rest + ("?" + "&".join(query) if query else "")


def sample_body(document: Mapping[str, object], operation: Operation) -> object:
    """A JSON body; None where the operation takes none."""
    raw = operation.body.get("application/json")
    return sample(document, raw) if raw is not None else None


def sample(document: Mapping[str, object], raw: object, depth: int = 0) -> object:
    """One value; what a pattern asks for is not made up."""
    schema = read_schema(document, raw)
    shape = (schema.plain or schema.shapes)[0]
    if shape.enum:
        return json.loads(shape.enum[0])
    match shape.type:
        case "object":
            if depth > _DEPTH:
                return {}
            return {name: sample(document, shape.fields.get(name), depth + 1) for name in sorted(shape.required)}
        case "array":
            number = int(shape.limits.get("minItems", 0))
            return [sample(document, shape.items, depth + 1)] * min(number, 5) if depth <= _DEPTH else []
        case "string":
            return _text(shape)
        case "boolean":
            return True
        case "null":
            return None
    return _number(shape)


def _text(shape: Shape) -> str:
    text = _TEXTS.get(shape.format, "sample")
    text = text.ljust(int(min(shape.limits.get("minLength", 0), 1000)), "x")
    most = shape.limits.get("maxLength")
    return text if most is None or shape.format else text[: int(most)]


def _number(shape: Shape) -> int | float:
    least = shape.limits.get("minimum", shape.limits.get("exclusiveMinimum", 0) + 1)
    most = shape.limits.get("maximum", max(least, 1))
    value = max(least, min(1, most))
    return int(value) if shape.type == "integer" or float(value).is_integer() else value


def _word(value: object) -> str:
    return quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")
