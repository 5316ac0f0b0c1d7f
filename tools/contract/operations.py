"""The operations of an OpenAPI document in one form: parameters, body, answers and who may call it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from backend_crew.tools.contract.shapes import resolved

_METHODS = ("get", "put", "post", "delete", "patch")
# Said by other parts of a document, or by every client.
_HEADERS = frozenset({"authorization", "accept", "content-type", "cookie"})
_Document = Mapping[str, object]


@dataclass(frozen=True)
class Parameter:
    """One parameter; `raw` is its schema as it stands in the document."""

    name: str
    place: str  # "query", "path", "header" or "cookie"
    required: bool
    raw: object
    repeated: bool = True  # a list as ?a=1&a=2


@dataclass(frozen=True)
class Operation:
    """One operation; `key` is what compares equal whatever its path parameters are called."""

    method: str  # in capitals
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, object] = field(default_factory=dict)  # media type -> schema
    body_required: bool = False
    answers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # status -> media type -> schema
    security: tuple[frozenset[str], ...] | None = None  # alternatives of schemes in words; None where nothing is said

    @property
    def title(self) -> str:
        """As a person reads it."""
        return f"{self.method} {self.path}"

    @property
    def key(self) -> tuple[str, str]:
        """Method and path without the names of parameters and without a slash at the end."""
        return self.method, path_key(self.path)

    @property
    def protected(self) -> bool | None:
        """Whether a caller has to show who they are; None where the document does not say."""
        return None if self.security is None else bool(self.security) and frozenset() not in self.security


def path_key(path: str) -> str:
    """A path in which every parameter is the same, whatever it is called and however it is converted."""
    path = re.sub(r"\{[^{}/]*\}|<[^<>/]*>|(?<=/):[A-Za-z_]\w*(\([^()]*\))?", "{}", path)
    return re.sub(r"/{2,}", "/", path).rstrip("/") or "/"


def operations_of(document: _Document) -> tuple[Operation, ...]:
    """Every operation of a document; what is not as OpenAPI wants it is passed over."""
    paths = document.get("paths")
    found: list[Operation] = []
    prefix = _prefix(document)
    for path, raw in paths.items() if isinstance(paths, Mapping) else ():
        item = resolved(document, raw)
        for method in _METHODS:
            body = item.get(method)
            if isinstance(body, Mapping):
                full = str(path) if prefix and str(path).startswith(prefix + "/") else prefix + str(path)
                found.append(_operation(document, method, full, item, body))
    return tuple(found)


def _prefix(document: _Document) -> str:
    """The path of the first server, below which all paths are."""
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, Mapping) else None
    if not isinstance(url, str) or "{" in url:
        return ""
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""


def _operation(document: _Document, method: str, path: str, item: _Document, raw: _Document) -> Operation:
    body = resolved(document, raw.get("requestBody"))
    answers = raw.get("responses")
    return Operation(
        method=method.upper(),
        path=path,
        parameters=tuple(_parameters(document, path, item, raw)),
        body=_content(body),
        body_required=body.get("required") is True,
        answers={
            str(status).upper(): _content(resolved(document, answer))
            for status, answer in (answers.items() if isinstance(answers, Mapping) else ())
        },
        security=_security(document, raw.get("security", document.get("security"))),
    )


def _content(holder: _Document) -> Mapping[str, object]:
    content = holder.get("content")
    return {
        str(media).partition(";")[0].strip().lower(): (inner.get("schema") if isinstance(inner, Mapping) else None)
        for media, inner in (content.items() if isinstance(content, Mapping) else ())
    }


def _parameters(document: _Document, path: str, item: _Document, raw: _Document) -> Iterator[Parameter]:
    found: dict[tuple[str, str], Parameter] = {}
    # Of an operation's parameters and those of its path, its own win.
    for source in (item.get("parameters"), raw.get("parameters")):
        for one in source if isinstance(source, list) else ():
            given = resolved(document, one)
            name, place = str(given.get("name")), str(given.get("in"))
            if place == "header" and name.lower() in _HEADERS:
                continue
            content = _content(given)
            schema = given.get("schema") if "schema" in given else next(iter(content.values()), None)
            key = (place, name.lower().replace("_", "-") if place == "header" else name)
            needed = given.get("required") is True or place == "path"
            found[key] = Parameter(name, place, needed, schema, given.get("explode", True) is not False)
    yield from _in_order(path, found.values())


def _in_order(path: str, given: Iterable[Parameter]) -> Iterator[Parameter]:
    """Parameters of the path under the place where they stand in it: their names are nobody's business."""
    names = re.findall(r"\{([^{}/:]*)[^{}/]*\}", path)
    for one in given:
        if one.place != "path":
            yield one
        elif one.name in names:
            yield Parameter(f"{{{names.index(one.name) + 1}}}", "path", True, one.raw)


def _security(document: _Document, raw: object) -> tuple[frozenset[str], ...] | None:
    if not isinstance(raw, list):
        return None
    components = resolved(document, document.get("components"))
    schemes = resolved(document, components.get("securitySchemes"))
    return tuple(
        frozenset(_family(resolved(document, schemes.get(name)), str(name)) for name in one)
        for one in raw
        if isinstance(one, Mapping)
    )


def _family(scheme: _Document, name: str) -> str:
    """What a caller sends, in words: OAuth2, OpenID Connect and HTTP bearer all send a bearer token."""
    kind, way = str(scheme.get("type", "")), str(scheme.get("scheme", "")).lower()
    where, called = str(scheme.get("in", "")), str(scheme.get("name", ""))
    if kind in ("oauth2", "openIdConnect") or (kind == "http" and way == "bearer"):
        return "bearer token"
    if kind == "apiKey":
        authorization = where == "header" and called.lower() == "authorization"
        return "bearer token" if authorization else f"API key in {where} {called}"
    return f"HTTP {way}" if kind == "http" else f"scheme {name}"
