"""Endpoints of Laravel: the files in routes/, with prefixes, groups, controllers, middleware and resources."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework, joined
from backend_crew.tools.index.grammars import parse
from backend_crew.tools.static.javascript_tree import written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_VERBS = ("get", "post", "put", "patch", "delete", "options", "any", "match", "view", "redirect")
_API = (("index", "GET", ""), ("store", "POST", ""), ("show", "GET", "/{}"), ("update", "PUT", "/{}"), ("update", "PATCH", "/{}"),
        ("destroy", "DELETE", "/{}"))  # fmt: skip
_PAGES = (("create", "GET", "/create"), ("edit", "GET", "/{}/edit"))
_GUARDS = re.compile(
    r"^(auth|can|role|permission|ability|abilities|scope|scopes|jwt|admin|verified|password)\b|auth", re.I
)
_API_PREFIX = re.compile(r"apiPrefix:\s*['\"]([^'\"]*)['\"]")


@dataclass(frozen=True)
class _Scope:
    """What stands before the routes of a group."""

    prefix: str = ""
    controller: str = ""
    auth: tuple[str, ...] = ()
    certain: bool = True
    known: bool = True


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints that the files in routes/ define."""
    reading = _Reading()
    prefix = "api"
    for path in project.sources.by_suffix.get(".php", ()):
        if path.endswith("bootstrap/app.php"):
            match = _API_PREFIX.search(project.sources.read(path).decode("utf-8", "replace"))
            prefix = match[1] if match else prefix
    for path in paths:
        if re.search(r"(^|/)[Rr]outes/", path):
            start = f"/{prefix}" if re.search(r"(^|/)[Rr]outes/api(\.php$|/)", path) else ""
            reading.file(path, parse("PHP", project.sources.read(path)).root_node, _Scope(start))
    return EndpointScan(tuple(reading.endpoints), tuple(reading.unresolved))


FRAMEWORK = Framework("Laravel", (".php",), (b"Route::",), (), read)


class _Reading:
    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self.unresolved: list[Unresolved] = []
        self._path = ""

    def file(self, path: str, root: Node, scope: _Scope) -> None:
        """Reads one file of routes."""
        self._path = path
        self._block(root, scope)

    def _block(self, node: Node, scope: _Scope) -> None:
        for one in node.named_children:
            if one.type == "expression_statement" and one.named_children:
                self._statement(one.named_children[0], scope)
            elif one.type in ("if_statement", "switch_statement", "else_clause", "else_if_clause"):
                self._block(one, replace(scope, certain=False))
            elif one.type in ("foreach_statement", "for_statement", "while_statement") and b"Route::" in (
                one.text or b""
            ):
                self._open(one, "routes that a loop defines")
            elif one.type in ("compound_statement", "colon_block"):
                self._block(one, scope)

    def _open(self, node: Node, why: str) -> None:
        self.unresolved.append(Unresolved(self._path, node.start_point.row + 1, why))

    def _statement(self, node: Node, scope: _Scope) -> None:
        """One chain of calls that begins with Route::."""
        chain = list(_chain(node))
        if not chain or not chain[0][2]:
            return
        inner = self._scoped(chain, scope)
        for name, call, _ in chain:
            given = _arguments(call)
            if name == "group" and given:
                self._group(given, inner, call)
            elif name in _VERBS:
                self._route(name, given, inner, call)
            elif name in ("resource", "apiResource", "singleton", "apiSingleton"):
                self._resource(name, given, inner, call, chain)
            elif name in ("resources", "apiResources") and given:
                for pair in given[0].named_children:
                    self._resource(name.removesuffix("s"), list(pair.named_children), inner, call, chain)

    def _scoped(self, chain: Sequence[tuple[str, Node, bool]], scope: _Scope) -> _Scope:
        for name, call, _ in chain:
            given = _arguments(call)
            if name == "prefix" and given:
                text = _text(given[0])
                scope = replace(scope, prefix=joined(scope.prefix, text or ""), known=scope.known and text is not None)
            elif name == "middleware" and given:
                scope = replace(scope, auth=(*scope.auth, *_guards(given)))
            elif name == "controller" and given:
                scope = replace(scope, controller=_class(given[0]))
        return scope

    def _group(self, given: list[Node], scope: _Scope, call: Node) -> None:
        """`group(function)`, or the older `group([...], function)`."""
        options = {_text(key) or "": value for key, value in _pairs(given[0])} if len(given) > 1 else {}
        if "prefix" in options:
            text = _text(options["prefix"])
            scope = replace(scope, prefix=joined(scope.prefix, text or ""), known=scope.known and text is not None)
        if "middleware" in options:
            scope = replace(scope, auth=(*scope.auth, *_guards([options["middleware"]])))
        body = given[-1].child_by_field_name("body")
        if not scope.known:
            self._open(call, "a group whose prefix is not a text that the source tells")
        elif body is not None:
            self._block(body, scope)
        else:
            self._open(call, f"a group of routes in {written(given[-1])[:60]}, which is not read")

    def _route(self, verb: str, given: list[Node], scope: _Scope, call: Node) -> None:
        methods = [verb.upper()]
        if verb == "match" and given:
            methods = [text.upper() for one in _elements(given[0]) if (text := _text(one)) is not None]
            given = given[1:]
        elif verb in ("any", "redirect"):
            methods = [ANY]
        elif verb == "view":
            methods = ["GET"]
        text = _text(given[0]) if given else None
        if text is None or not scope.known:
            self._open(call, "a route whose path is not a text that the source tells")
            return
        handler = _handler(given[1], scope.controller) if len(given) > 1 and verb not in ("view", "redirect") else verb
        for method in methods:
            self._add(method, joined(scope.prefix, text), handler, call, scope)

    def _resource(
        self, kind: str, given: list[Node], scope: _Scope, call: Node, chain: Sequence[tuple[str, Node, bool]]
    ) -> None:
        text = _text(given[0]) if given else None
        if text is None or len(given) < 2:
            self._open(call, "a resource whose name is not a text that the source tells")
            return
        limits = {
            name: [_text(one) for part in _arguments(each) for one in (_elements(part) or [part])]
            for name, each, _ in chain
        }
        for key, value in _pairs(given[2]) if len(given) > 2 else ():
            limits[_text(key) or ""] = [_text(one) for one in (_elements(value) or [value])]
        rows = (*_API, *(() if kind.startswith("api") else _PAGES))
        base = scope.prefix
        *outer, last = text.strip("/").split(".")
        for one in outer:
            base = joined(base, one, f"{{{_singular(one)}}}")
        for action, method, rest in rows:
            if ("only" in limits and action not in limits["only"]) or action in limits.get("except", ()):
                continue
            path = joined(base, last) + rest.format(f"{{{_singular(last.rpartition('/')[2])}}}")
            self._add(method, path, f"{_class(given[1])}@{action}", call, scope)

    def _add(self, method: str, path: str, handler: str, call: Node, scope: _Scope) -> None:
        whole = path.rstrip("/") or "/"
        line = call.start_point.row + 1
        auth = ", ".join(dict.fromkeys(scope.auth))
        self.endpoints.append(
            Endpoint(method, whole, handler, self._path, line, auth=auth, framework="Laravel", certain=scope.certain)
        )


def _chain(node: Node) -> Iterator[tuple[str, Node, bool]]:
    """The calls of `Route::a()->b()->c()` from the left: name, call, and whether it is the one on Route itself."""
    if node.type == "member_call_expression":
        inner = node.child_by_field_name("object")
        if inner is not None:
            yield from _chain(inner)
        yield written(node.child_by_field_name("name")), node, False
    elif (
        node.type == "scoped_call_expression"
        and written(node.child_by_field_name("scope")).rpartition("\\")[2] == "Route"
    ):
        yield written(node.child_by_field_name("name")), node, True


def _arguments(call: Node) -> list[Node]:
    given = call.child_by_field_name("arguments")
    found = [one for one in given.named_children if one.type == "argument"] if given is not None else []
    return [one.named_children[-1] for one in found if one.named_children]


def _text(node: Node) -> str | None:
    if node.type == "string" or (node.type == "encapsed_string" and "$" not in written(node)):
        return written(node)[1:-1]
    return None


def _elements(node: Node) -> list[Node]:
    if node.type != "array_creation_expression":
        return []
    return [one.named_children[-1] for one in node.named_children if one.named_children]


def _pairs(node: Node) -> Iterator[tuple[Node, Node]]:
    for one in node.named_children if node.type == "array_creation_expression" else ():
        if len(one.named_children) == 2:
            yield one.named_children[0], one.named_children[1]


def _guards(nodes: Sequence[Node]) -> tuple[str, ...]:
    texts = [_text(one) or _class(one) for node in nodes for one in (_elements(node) or [node])]
    return tuple(one for one in texts if _GUARDS.search(one))


def _class(node: Node) -> str:
    """`X` of X::class."""
    return written(node).removesuffix("::class").strip("'\"").rpartition("\\")[2]


def _handler(node: Node, controller: str) -> str:
    parts = _elements(node)
    if len(parts) == 2:
        return f"{_class(parts[0])}@{_text(parts[1])}"
    text = _text(node)
    if text is not None:
        return f"{controller}@{text}" if controller and "@" not in text else text
    return (
        "inline"
        if node.type in ("anonymous_function", "arrow_function", "anonymous_function_creation_expression")
        else _class(node)
    )


def _singular(name: str) -> str:
    """The parameter of a resource, for names in regular plural."""
    name = name.replace("-", "_")
    if name.endswith("ies"):
        return name[:-3] + "y"
    if name.endswith(("sses", "shes", "ches", "xes")):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
