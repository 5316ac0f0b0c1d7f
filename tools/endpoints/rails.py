"""Endpoints of Rails: what config/routes.rb draws, with resources, namespaces, scopes, members and concerns."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework, joined
from backend_crew.tools.index.grammars import parse
from backend_crew.tools.static.javascript_tree import written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_VERBS = ("get", "post", "put", "patch", "delete")
_MANY = (("index", "GET", ""), ("create", "POST", ""), ("new", "GET", "/new"), ("edit", "GET", "/:id/edit"), ("show", "GET", "/:id"),
         ("update", "PATCH", "/:id"), ("update", "PUT", "/:id"), ("destroy", "DELETE", "/:id"))  # fmt: skip
_ONE = (("new", "GET", "/new"), ("edit", "GET", "/edit"), ("show", "GET", ""), ("update", "PATCH", ""), ("update", "PUT", ""),
        ("destroy", "DELETE", ""), ("create", "POST", ""))  # fmt: skip
_PLAIN = frozenset({"draw", "constraints", "defaults", "shallow", "with_options", "unauthenticated"})
_LIBRARIES = re.compile(
    r"^(devise_\w+|mount|use_doorkeeper|mount_devise_token_auth_for|direct|resolve|authenticate|authenticated)$"
)


@dataclass(frozen=True)
class _Scope:
    """Where a line of routes stands: the path and module before it, and the resources around it."""

    path: str = ""
    module: str = ""
    controller: str = ""
    nested: str = ""
    """What comes before what is nested: the path with the outer resource's id."""
    member: str = ""
    api: bool = False
    certain: bool = True


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints that these files draw."""
    api = any(b"api_only = true" in project.sources.read(path) for path in project.sources.by_suffix.get(".rb", ())
              if path.endswith("config/application.rb"))  # fmt: skip
    reading = _Reading(project, api)
    for path in paths:
        if path.endswith("config/routes.rb"):
            reading.file(path, _Scope(api=api))
    return EndpointScan(tuple(reading.endpoints), tuple(reading.unresolved))


FRAMEWORK = Framework("Rails", (".rb",), (b"routes.draw",), (), read)


class _Reading:
    def __init__(self, project: Project, api: bool) -> None:
        self._project = project
        self._api = api
        self._concerns: dict[str, Node] = {}
        self.endpoints: list[Endpoint] = []
        self.unresolved: list[Unresolved] = []
        self._path = ""

    def file(self, path: str, scope: _Scope) -> None:
        """Reads one file of routes."""
        outer, self._path = self._path, path
        self._block(parse("Ruby", self._project.sources.read(path)).root_node, scope)
        self._path = outer

    def _open(self, node: Node, why: str) -> None:
        self.unresolved.append(Unresolved(self._path, node.start_point.row + 1, why))

    def _block(self, node: Node, scope: _Scope) -> None:
        for one in node.named_children:
            if one.type == "call":
                self._call(one, scope)
            elif one.type in ("if", "unless", "if_modifier", "unless_modifier", "case"):
                self._block(one, replace(scope, certain=False))
            elif one.type in ("program", "do_block", "block", "body_statement", "block_body", "then", "else", "when"):
                self._block(one, scope)

    def _call(self, node: Node, scope: _Scope) -> None:
        name = written(node.child_by_field_name("method"))
        body = node.child_by_field_name("block")
        if name in ("resources", "resource"):
            self._resources(node, name == "resource", scope)
        elif name in ("namespace", "scope"):
            self._scope(node, name, scope)
        elif name == "root":
            self._root(node, scope)
        elif name in (*_VERBS, "match"):
            self._verb(node, name, scope)
        elif name == "concerns":
            self._shared(_symbols(node), scope)
        elif _LIBRARIES.match(name):
            self._open(node, f"the routes of {name}, which come from a library")
            if body is not None:
                self._block(body, scope)
        elif body is not None:
            self._within(node, name, body, scope)
        elif name == "draw":
            self._drawn(node, scope)

    def _within(self, node: Node, name: str, body: Node, scope: _Scope) -> None:
        """A block that changes where its routes stand, or nothing."""
        names = _symbols(node)
        if name == "concern":
            self._concerns.update({one: body for one in names[:1]})
        elif name in ("member", "collection", "new"):
            self._block(body, replace(scope, path=scope.member if name == "member" else scope.path, nested=""))
        elif name == "controller":
            self._block(body, replace(scope, controller=next(iter(names), "")))
        elif name in _PLAIN:
            self._block(body, scope)

    def _drawn(self, node: Node, scope: _Scope) -> None:
        """`draw(:admin)` reads config/routes/admin.rb."""
        for one in _symbols(node):
            path = f"{self._path.rpartition('/')[0]}/routes/{one}.rb"
            if path in self._project.sources.paths:
                self.file(path, scope)

    def _scope(self, node: Node, kind: str, scope: _Scope) -> None:
        options = _options(node)
        names = _symbols(node)
        body = node.child_by_field_name("block")
        segment = _value(options.get("path"), names[0] if names else "")
        module = _value(options.get("module"), names[0] if kind == "namespace" and names else "")
        if segment is None:
            self._open(node, "a scope whose path is not a text that the source tells")
            return
        start = scope.nested or scope.path
        inner = replace(
            scope,
            path=joined(start, segment) if segment else start,
            module="/".join(one for one in (scope.module, module or "") if one),
            controller=_value(options.get("controller"), scope.controller) or "",
            nested="",
        )
        if body is not None:
            self._block(body, inner)

    def _resources(self, node: Node, single: bool, scope: _Scope) -> None:
        options = _options(node)
        for name in _symbols(node):
            segment = _value(options.get("path"), name)
            parameter = _value(options.get("param"), "id")
            if segment is None or parameter is None:
                self._open(node, f"resources :{name} with a path that the source does not tell")
                continue
            base = joined(scope.nested or scope.path, segment)
            module = "/".join(one for one in (scope.module, _value(options.get("module"), "") or "") if one)
            controller = (
                _value(options.get("controller"), f"{name}s" if single and not name.endswith("s") else name) or name
            )
            whole = "/".join(one for one in (module, controller) if one)
            allowed = self._allowed(options, single)
            for action, method, rest in _ONE if single else _MANY:
                if action in allowed:
                    self._add(method, base + rest.replace(":id", f":{parameter}"), f"{whole}#{action}", node, scope)
            member = base if single else f"{base}/:{parameter}"
            around = re.sub(r"ies$", "y", name).removesuffix("s")
            nested = base if single else f"{base}/:{around}_{parameter}"
            inner = replace(scope, path=base, module=module, controller=controller, nested=nested, member=member)
            body = node.child_by_field_name("block")
            if body is not None:
                self._block(body, inner)
            if "concerns" in options:
                self._shared(_listed(options["concerns"]), inner)

    def _allowed(self, options: dict[str, Node], single: bool) -> set[str]:
        everything = {action for action, _, _ in (_ONE if single else _MANY)}
        if self._api:
            everything -= {"new", "edit"}
        if "only" in options:
            return everything & set(_listed(options["only"]))
        return everything - set(_listed(options["except"])) if "except" in options else everything

    def _shared(self, names: Sequence[str], scope: _Scope) -> None:
        for one in names:
            if one in self._concerns:
                self._block(self._concerns[one], scope)

    def _root(self, node: Node, scope: _Scope) -> None:
        options = _options(node)
        target = _value(options.get("to"), next(iter(_texts(node)), "")) or "?"
        self._add("GET", scope.path or "/", _handler(scope.module, target), node, scope)

    def _verb(self, node: Node, verb: str, scope: _Scope) -> None:
        options = _options(node)
        pairs = [(key, value) for key, value in options.items() if key.startswith("/")]
        texts = [(text, options.get("to")) for text in (_texts(node) or _symbols(node))] or pairs
        if not texts and not pairs:
            self._open(node, "a route whose path is not a text that the source tells")
        on = _value(options.get("on"), "")
        start = scope.member if on == "member" else scope.path if on or not scope.nested else scope.nested
        methods = [one.upper() for one in _listed(options["via"])] if "via" in options else [ANY]
        for text, target in texts:
            action = _value(options.get("action"), text.strip("/").replace("/", "_")) or text
            controller = _value(options.get("controller"), scope.controller) or ""
            to = _value(target, "") or (
                text.strip("/").replace("/", "#") if "/" in text.strip("/") and not controller else ""
            )
            if to and "#" not in to and controller:
                to = f"{controller}#{to}"
            path = joined(start, text.replace("(.:format)", ""))
            for method in methods if verb == "match" else [verb.upper()]:
                handler = _handler(scope.module, to or (f"{controller}#{action}" if controller else action))
                self._add("ANY" if method == "ALL" else method, path, handler, node, scope)

    def _add(self, method: str, path: str, handler: str, node: Node, scope: _Scope) -> None:
        line = node.start_point.row + 1
        self.endpoints.append(
            Endpoint(
                method,
                path if path.startswith("/") else f"/{path}",
                handler,
                self._path,
                line,
                framework="Rails",
                certain=scope.certain,
            )
        )


def _handler(module: str, target: str) -> str:
    return target.lstrip("/") if target.startswith("/") or not module or target == "?" else f"{module}/{target}"


def _arguments(node: Node) -> list[Node]:
    given = node.child_by_field_name("arguments")
    return list(given.named_children) if given is not None else []


def _name(node: Node) -> str | None:
    if node.type in ("simple_symbol", "hash_key_symbol"):
        return written(node).lstrip(":")
    if node.type == "string" and not any(one.type == "interpolation" for one in node.named_children):
        return written(node)[1:-1]
    return None


def _symbols(node: Node) -> list[str]:
    return [text for one in _arguments(node) if (text := _name(one)) is not None]


def _texts(node: Node) -> list[str]:
    return [text for one in _arguments(node) if one.type == "string" and (text := _name(one)) is not None]


def _pairs(node: Node) -> Iterator[tuple[str, Node]]:
    for one in _arguments(node):
        for pair in one.named_children if one.type == "hash" else [one]:
            key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
            if pair.type == "pair" and key is not None and value is not None:
                name = _name(key)
                yield (f"/{name.lstrip('/')}" if key.type == "string" else name) if name else written(key), value


def _options(node: Node) -> dict[str, Node]:
    return dict(_pairs(node))


def _value(node: Node | None, default: str) -> str | None:
    """An option's text; "" for nil, None where the source does not tell it."""
    if node is None:
        return default
    return "" if node.type in ("nil", "false") else _name(node)


def _listed(node: Node) -> list[str]:
    if node.type in ("array", "symbol_array", "string_array"):
        return [written(one).strip(":'\"") for one in node.named_children]
    return [written(node).strip(":'\"")]
