"""A JSON schema as the set of values it describes, whatever style it was written in.

`nullable`, `type: [x, null]` and `anyOf: [x, null]` say the same; so do `const` and an enum of one, `allOf` with one
part and the part itself, an enum split over several alternatives and the whole enum. Titles, descriptions and examples
say nothing about values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

#: Where the limits of a schema say the same thing in whole numbers.
LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "multipleOf")
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_DEPTH = 24
_VARIANTS = 64
#: Formats that say which texts are right; the others are about width or display, or nobody agrees on them.
_FORMATS = frozenset({"date", "date-time", "time", "uuid", "email", "uri", "ipv4", "ipv6", "duration", "hostname"})
#: Formats that mean a form of another type, as generators write them.
_FILES = frozenset({"binary", "byte", "base64"})
_Document = Mapping[str, object]


@dataclass(frozen=True)
class Shape:
    """One alternative of a schema: a single type with what is said about its values; `type` "any" says nothing.

    `fields` and `items` are schemas that are read when they are asked for, because schemas can contain themselves.
    """

    type: str
    enum: tuple[str, ...] | None = None  # each value as JSON text
    format: str = ""
    pattern: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = False  # additionalProperties: false
    values: object = None  # the schema of additionalProperties
    items: object = None
    known: bool = True  # whether an object's fields, or an array's items, are described at all


@dataclass(frozen=True)
class Schema:
    """A schema's alternatives; `default` is JSON text, None where there is none."""

    shapes: tuple[Shape, ...]
    default: str | None = None
    secret: bool = False  # writeOnly

    @property
    def nullable(self) -> bool:
        """Whether null is one of its values."""
        return any(shape.type in ("null", "any") for shape in self.shapes)

    @property
    def plain(self) -> tuple[Shape, ...]:
        """The alternatives without null."""
        return tuple(shape for shape in self.shapes if shape.type != "null")

    @property
    def unknown(self) -> bool:
        """Whether nothing is said about its values."""
        return any(shape.type == "any" for shape in self.shapes)


def read_schema(document: _Document, raw: object) -> Schema:
    """The schema that stands in a document; one that is missing, broken or too deep says nothing."""
    node = resolved(document, raw)
    shapes = tuple(_merged_enums(list(_variants(document, node, 0))))[:_VARIANTS]
    default = node.get("default")
    return Schema(
        shapes or (Shape("any"),), None if default is None else as_json(default), node.get("writeOnly") is True
    )


def resolved(document: _Document, value: object) -> _Document:
    """A mapping with its local references followed; what stands beside a reference is laid over what it names."""
    beside: dict[str, object] = {}
    for _ in range(_DEPTH):
        if not isinstance(value, Mapping):
            return beside
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return {**value, **beside} if beside else value
        beside = {**{key: inner for key, inner in value.items() if key != "$ref"}, **beside}
        value = _lookup(document, reference)
    return beside


def as_json(value: object) -> str:
    """One spelling for a value; 1 and 1.0 are the same number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _lookup(document: object, reference: str) -> object:
    if not reference.startswith("#/"):
        return None
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _variants(document: _Document, node: _Document, depth: int) -> Iterator[Shape]:
    """The alternatives of a resolved schema, nested choices opened up."""
    if depth > _DEPTH:
        yield Shape("any")
        return
    node = _together(document, node, depth)
    choices = [inner for key in ("anyOf", "oneOf") for inner in _list(node.get(key))]
    if choices:
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf", "nullable", "default")}
        for inner in choices[:_VARIANTS]:
            # What stands beside a choice holds for each part of it.
            yield from _variants(document, {**rest, **resolved(document, inner)}, depth + 1)
    else:
        yield from _plain(node)
    if node.get("nullable") is True:
        yield Shape("null")


def _together(document: _Document, node: _Document, depth: int) -> _Document:
    """A schema with the parts of its allOf laid together; only what adds up is added up."""
    parts = _list(node.get("allOf"))
    if not parts or depth > _DEPTH:
        return node
    merged: dict[str, object] = {}
    own = {key: value for key, value in node.items() if key != "allOf"}
    for part in (*parts[:_VARIANTS], own):
        found = _together(document, resolved(document, part), depth + 1)
        for key, value in found.items():
            here = merged.get(key)
            if key == "properties" and isinstance(value, Mapping) and isinstance(here, Mapping):
                merged[key] = {**here, **value}
            elif key == "required" and isinstance(value, Sequence) and isinstance(here, Sequence):
                merged[key] = [*here, *value]
            else:
                merged[key] = value
    return merged


def _plain(node: _Document) -> Iterator[Shape]:
    values = [node["const"]] if "const" in node else node.get("enum")
    enum = tuple(dict.fromkeys(as_json(value) for value in values)) if isinstance(values, list) else None
    declared = node.get("type")
    names = declared if isinstance(declared, list) else [declared]
    types = [name for name in names if name in _TYPES] or list(_implied(node, enum))
    for name in dict.fromkeys(types):
        mine = None if enum is None else tuple(value for value in enum if _has_type(value, name))
        if mine != ():
            yield Shape("null") if name == "null" else _shape(node, name, mine)
    if enum is not None and "null" in enum and "null" not in types:
        yield Shape("null")


def _implied(node: _Document, enum: tuple[str, ...] | None) -> Iterator[str]:
    """The types of a schema that does not name one."""
    if enum is not None:
        yield from (name for name in _TYPES if name != "number" and any(_has_type(value, name) for value in enum))
    elif "properties" in node or "additionalProperties" in node:
        yield "object"
    elif "items" in node:
        yield "array"
    else:
        yield "any"


def _has_type(text: str, name: str) -> bool:
    value = json.loads(text)
    kinds: Mapping[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "object": (dict,),
        "array": (list,),
    }
    if isinstance(value, bool) or value is None:
        return name == ("null" if value is None else "boolean")
    return name == "any" or isinstance(value, kinds.get(name, ()))


def _shape(node: _Document, name: str, enum: tuple[str, ...] | None) -> Shape:
    properties, more = node.get("properties"), node.get("additionalProperties")
    format_, required = str(node.get("format") or ""), node.get("required")
    if name == "string" and (format_ in _FILES or "contentMediaType" in node or "contentEncoding" in node):
        format_ = "binary"
    elif format_ not in _FORMATS or name != "string":
        format_ = ""
    fields = {str(key): value for key, value in properties.items()} if isinstance(properties, Mapping) else {}
    return Shape(
        type=name,
        enum=enum,
        format=format_,
        pattern=str(node.get("pattern") or "") if name == "string" else "",
        limits=dict(_limits(node, name)),
        fields=fields if name == "object" else {},
        required=frozenset(str(one) for one in required) if isinstance(required, list) else frozenset(),
        closed=more is False or node.get("unevaluatedProperties") is False,
        values=more if isinstance(more, Mapping) and more else None,
        items=node.get("items"),
        known=bool(fields or more is False or isinstance(more, Mapping)) if name == "object" else "items" in node,
    )


def _limits(node: _Document, name: str) -> Iterator[tuple[str, float]]:
    wanted = {"string": "Length", "array": "Items"}.get(name)
    for key in LIMITS:
        value = node.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if (wanted and key.endswith(wanted)) or (name in ("integer", "number") and key in LIMITS[:2] + LIMITS[-1:]):
            if (key, value) in (("minLength", 0), ("minItems", 0)):
                continue
            yield key, value
    if name in ("integer", "number"):
        yield from _exclusive(node, name)


def _exclusive(node: _Document, name: str) -> Iterator[tuple[str, float]]:
    """Exclusive limits, as 3.1 writes them and as 3.0 does; of integers as the limit that is meant."""
    for key, plain, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        value = node.get(key)
        if value is True:
            value = node.get(plain)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        yield (plain, value + step) if name == "integer" else (key, value)


def _merged_enums(shapes: Sequence[Shape]) -> Iterator[Shape]:
    """Alternatives without repetition, the enums of one type joined into one."""
    joined: dict[str, list[str]] = {}
    for shape in shapes:
        if shape.enum is not None:
            joined.setdefault(shape.type, []).extend(shape.enum)
    seen: list[Shape] = []
    for shape in shapes:
        one = shape
        if shape.enum is not None:
            one = Shape(shape.type, enum=tuple(dict.fromkeys(joined[shape.type])))
        if one not in seen:
            seen.append(one)
            yield one


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
