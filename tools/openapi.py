"""Checks of an API contract: a valid OpenAPI document that also says what a reviewer needs; nothing is ever fetched."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolRetry

SIZE_LIMIT = 200_000
PROBLEM_LIMIT = 20
_MESSAGE = 300
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# How often one schema may be reached through combinators before the validator's own walk would take for ever.
_WEIGHT_LIMIT = 10_000
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_COMBINATORS = ("allOf", "anyOf", "oneOf")
_Document = Mapping[str, object]


@dataclass(frozen=True)
class Operation:
    """One operation of a contract; `method` in capitals, `summary` falls back to the operationId."""

    method: str
    path: str
    summary: str


@dataclass(frozen=True)
class _Found:
    """An operation with its place in the document."""

    pointer: str
    method: str
    path: str
    body: _Document


class _Error(Protocol):
    """The part of the validator's errors that is shown; `context` holds the errors of each shape of a choice."""

    message: str

    @property
    def absolute_path(self) -> Sequence[object]: ...

    @property
    def context(self) -> Sequence["_Error"]: ...


def operations(text: str) -> tuple[Operation, ...]:
    """The operations of a document (JSON or YAML text) in its own order; ToolRetry when it cannot be read."""
    document = _read(text)
    return tuple(
        Operation(
            found.method.upper(), found.path, str(found.body.get("summary") or found.body.get("operationId") or "")
        )
        for found in _operations(document)
    )


def check_contract(text: str) -> tuple[str, ...]:
    """The problems of an OpenAPI 3.0 or 3.1 document as "pointer: what is wrong and what to do", empty when it is good.

    At most PROBLEM_LIMIT, each once. References outside of the document are refused, never fetched.
    """
    try:
        document = _read(text)
    except ToolRetry as error:
        return (str(error),)
    problems = [*_version(document), *_references(document)]
    if not problems:
        problems = list(_invalid(document))
    problems += _own_rules(document)
    return _bounded(problems)


def _read(text: str) -> _Document:
    if len(text.encode("utf-8", errors="replace")) > SIZE_LIMIT:
        raise ToolRetry(
            f"The contract is larger than {SIZE_LIMIT // 1000} kB; leave out what this feature does not touch."
        )
    document = read_document(text)
    if not isinstance(document, Mapping):
        raise ToolRetry(
            "The contract is not an OpenAPI document: expected a mapping with openapi, info and paths at the top, "
            f"found {_kind(document)}."
        )
    return document


def _kind(value: object) -> str:
    names = {
        type(None): "nothing",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return names.get(type(value), type(value).__name__)


def _bounded(problems: Iterable[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(problems))
    if len(unique) <= PROBLEM_LIMIT:
        return tuple(unique)
    return (*unique[: PROBLEM_LIMIT - 1], f"and {len(unique) - PROBLEM_LIMIT + 1} more problems; repair these first")


def _pointer(parts: Iterable[object]) -> str:
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _version(document: _Document) -> Iterator[str]:
    version = document.get("openapi")
    if not (isinstance(version, str) and re.fullmatch(r"3\.[01]\.\d+", version)):
        yield f'#/openapi: found {version!r}, expected "3.1.0" (or a 3.0 version) in quotation marks'


def _nodes(value: object, parts: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], _Document]]:
    """Every mapping of the document with its place; depth was bounded when the document was read."""
    if isinstance(value, Mapping):
        yield parts, value
        for key, inner in value.items():
            yield from _nodes(inner, (*parts, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nodes(inner, (*parts, index))


def _references(document: _Document) -> Iterator[str]:
    """References that lead out of the document or nowhere, and keywords that would move where references lead."""
    for parts, node in _nodes(document):
        reference = node.get("$ref")
        if isinstance(reference, str):
            if not reference.startswith("#/"):
                yield f"{_pointer(parts)}: $ref {_clip(reference)!r} leads outside; use a local one: #/components/…"
            elif _lookup(document, reference) is None:
                yield f"{_pointer(parts)}: $ref {_clip(reference)!r} leads nowhere; define it or correct the name"
        for key in ("$id", "$schema", "$anchor", "$dynamicRef", "$dynamicAnchor", "jsonSchemaDialect"):
            if isinstance(node.get(key), str):
                yield f"{_pointer(parts)}: {key} is not accepted; use plain local $ref and the default dialect"
    if (heavy := _too_heavy(document)) is not None:
        yield f"{heavy}: schemas contain each other through allOf, anyOf, oneOf or items in circles or too often"


def _clip(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"


def _lookup(document: object, reference: str) -> object:
    """What a local reference points at, None for nothing; percent escapes are not used in contracts."""
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document


def _resolved(document: _Document, value: object) -> _Document:
    """A mapping with its local references followed, empty where something else stands there."""
    for _ in range(20):
        if not isinstance(value, Mapping):
            break
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return value
        value = _lookup(document, reference) if reference.startswith("#/") else None
    return {}


def _too_heavy(document: _Document) -> str | None:
    """The place of a schema that unfolds without end or beyond the limit: the validator walks it at each use."""
    weights: dict[int, int] = {}
    open_now: set[int] = set()

    def weight(node: _Document) -> int:
        key = id(node)
        if key in open_now:
            return _WEIGHT_LIMIT + 1
        if key not in weights:
            open_now.add(key)
            weights[key] = min(1 + sum(weight(child) for child in _combined(document, node)), _WEIGHT_LIMIT + 1)
            open_now.discard(key)
        return weights[key]

    for parts, node in _nodes(document):
        try:
            if weight(node) > _WEIGHT_LIMIT:
                return _pointer(parts)
        except RecursionError:
            return _pointer(parts)
    return None


def _combined(document: _Document, node: _Document) -> Iterator[_Document]:
    """The schemas that the validator walks into again from a schema."""
    if isinstance(node.get("$ref"), str):
        yield _resolved(document, node)
    for key in _COMBINATORS:
        inner = node.get(key)
        if isinstance(inner, list):
            yield from (item for item in inner if isinstance(item, Mapping))
    for key in ("items", "not"):
        single = node.get(key)
        if isinstance(single, Mapping):
            yield single


def _invalid(document: _Document) -> Iterator[str]:
    """What the OpenAPI schema and the validator's further rules find."""
    # Imported late: the validator's own imports take longer than all the rest of a quick command.
    from jsonschema_path import SchemaPath
    from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

    validator_class = OpenAPIV31SpecValidator if str(document["openapi"]).startswith("3.1") else OpenAPIV30SpecValidator
    plain = _without_patterns(document)
    errors = list(validator_class.schema_validator.iter_errors(plain))
    unknown = list(_unknown_types(plain))
    yield from unknown
    for error in errors:
        yield _plain_words(error)
    if errors or unknown:
        return
    # Only on a well-formed document: the further rules take its shape for granted. No handlers: nothing is fetched.
    validator = validator_class(SchemaPath.from_dict(plain, handlers={}))
    try:
        for error in validator.iter_errors():
            yield _plain_words(error)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as stumble:
        # The validator takes the shape of schemas for granted, which OpenAPI 3.1's own schema does not check.
        detail = f"{type(stumble).__name__}: {_clip(str(stumble))}"
        yield f"#: could not be checked to the end ({detail}); give each schema keyword the kind of value it expects"


def _unknown_types(document: _Document) -> Iterator[str]:
    """Schema types that do not exist: OpenAPI 3.1's own schema leaves them unchecked, and the validator stumbles."""
    for parts, node in _nodes(document):
        if not _is_schema(parts):
            continue
        declared = node.get("type")
        for name in declared if isinstance(declared, list) else [declared] if "type" in node else []:
            if name not in _TYPES:
                yield f"{_pointer(parts)}/type: {name!r} is not a type; expected one of {', '.join(_TYPES)}"


def _is_schema(parts: tuple[object, ...]) -> bool:
    if any(part in ("example", "examples", "default", "enum", "const") for part in parts):
        return False
    above = parts[-2] if len(parts) > 1 else None
    if above in ("properties", "schemas", "allOf", "anyOf", "oneOf"):
        return True
    return bool(parts) and above != "parameters" and parts[-1] in ("schema", "items", "not", "additionalProperties")


def _without_patterns(node: _Document) -> dict[str, object]:
    """A copy without regular expressions: a default is matched against them, and one can be made to run for hours."""
    kept: dict[str, object] = {}
    for key, value in node.items():
        if not (key == "pattern" and isinstance(value, str)) and key != "patternProperties":
            kept[key] = _copied(value)
    return kept


def _copied(value: object) -> object:
    if isinstance(value, Mapping):
        return _without_patterns(value)
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _plain_words(error: _Error) -> str:
    """One line for an error: for a choice of shapes, the branch that came closest."""
    while error.context:
        error = max(error.context, key=lambda inner: ("'$ref'" not in inner.message, len(inner.absolute_path)))
    message = " ".join(error.message.split())
    message = message.replace("is a required property", "is missing; add it")
    message = message.replace("Unevaluated properties are not allowed", "Keys that do not belong here")
    if len(message) > _MESSAGE:  # the message begins with the whole value: its end says what is wrong
        message = message[:100] + " … " + message[-180:]
    return f"{_pointer(error.absolute_path)}: {message}"


def _operations(document: _Document) -> Iterator[_Found]:
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, Mapping) else ():
        entry = _resolved(document, item)
        for method in entry:
            body = entry[method]
            if method in _METHODS and isinstance(body, Mapping):
                yield _Found(_pointer(("paths", path, method)), method, str(path), body)


def _own_rules(document: _Document) -> Iterator[str]:
    found = list(_operations(document))
    if not found:
        yield "#/paths: no operation; describe each endpoint that the feature adds or changes"
    schemes = _resolved(document, _resolved(document, document.get("components")).get("securitySchemes"))
    has_error = has_error_schema = False
    for operation in found:
        yield from _named(operation)
        security = operation.body.get("security", document.get("security"))
        yield from _security(operation, security, schemes)
        responses = operation.body.get("responses")
        codes = [str(code) for code in responses] if isinstance(responses, Mapping) else []
        yield from _responses(operation, codes, bool(security))
        for code in codes:
            if code.startswith("4") and isinstance(responses, Mapping):
                has_error = True
                has_error_schema = has_error_schema or _has_schema(document, responses[code])
    if has_error and not has_error_schema:
        yield "#/components/schemas: no 4xx response has a schema; define one error format and use it in them"


def _named(operation: _Found) -> Iterator[str]:
    if not (operation.body.get("summary") or operation.body.get("operationId")):
        yield f"{operation.pointer}: has neither summary nor operationId; add a summary"


def _security(operation: _Found, security: object, schemes: _Document) -> Iterator[str]:
    if security is None:
        yield f"{operation.pointer}: does not say who may call it; add security, or security: [] for everyone"
    for requirement in security if isinstance(security, list) else ():
        for name in requirement if isinstance(requirement, Mapping) else ():
            if name not in schemes:
                yield f"{operation.pointer}: security scheme {name!r} is not in #/components/securitySchemes; add it"


def _responses(operation: _Found, codes: list[str], needs_auth: bool) -> Iterator[str]:
    if not any(code.startswith("2") for code in codes):
        yield f"{operation.pointer}: has no 2xx response; say what success returns"
    reason = "takes a body" if "requestBody" in operation.body else "needs authentication" if needs_auth else ""
    if reason and not any(code.startswith("4") for code in codes):
        yield f"{operation.pointer}: {reason} but has no 4xx response; say how a refused request is answered"


def _has_schema(document: _Document, response: object) -> bool:
    content = _resolved(document, response).get("content")
    media = content.values() if isinstance(content, Mapping) else ()
    return any(isinstance(item, Mapping) and "schema" in item for item in media)
