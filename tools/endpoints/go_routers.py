"""Endpoints of Gin, Echo and Chi: routers, groups and mounts, also through functions that are given or return one."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tree_sitter import Node

from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework
from backend_crew.tools.index.grammars import parse
from backend_crew.tools.static.javascript_tree import descendants, written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_MAKERS = {"gin.Default": "Gin", "gin.New": "Gin", "echo.New": "Echo", "chi.NewRouter": "Chi", "chi.NewMux": "Chi"}
_TYPES = {"gin.Engine": "Gin", "gin.RouterGroup": "Gin", "gin.IRouter": "Gin", "gin.IRoutes": "Gin", "echo.Echo": "Echo",
          "echo.Group": "Echo", "chi.Router": "Chi", "chi.Mux": "Chi"}  # fmt: skip
_VERBS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "Get", "Post", "Put", "Patch", "Delete", "Head",
                    "Options", "Any", "HandleFunc"})  # fmt: skip
_GUARDS = re.compile(r"auth(?!or)|jwt|token|login|permission|role|admin|require|guard|protect", re.I)
_FUNCTIONS = ("function_declaration", "method_declaration")
_Env = dict[str, Place]


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every router that these files make."""
    return _Reading({path: parse("Go", project.sources.read(path)).root_node for path in paths}).scan()


FRAMEWORK = Framework("Go", (".go",), (b"gin-gonic/gin", b"labstack/echo", b"go-chi/chi"), (), read)


class _Reading:
    def __init__(self, roots: dict[str, Node]) -> None:
        self._roots = roots
        self._functions: dict[str, list[tuple[str, Node]]] = {}
        self._constants: dict[tuple[str, str], str] = {}
        self._places: dict[object, Place] = {}
        self._fields: dict[tuple[str, str], Place] = {}
        self._names: dict[int, str] = {}
        self._collect = False
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for path, root in self._roots.items():
            for node in root.named_children:
                if node.type in _FUNCTIONS:
                    self._functions.setdefault(written(node.child_by_field_name("name")), []).append((path, node))
                elif node.type in ("const_declaration", "var_declaration"):
                    self._constant(path, node)
        for self._collect in (False, True):  # first what fields hold, then the routes
            for path, root in self._roots.items():
                for node in root.named_children:
                    if node.type in _FUNCTIONS:
                        self._function(path, node)
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, path: str, node: Node, why: str) -> None:
        if self._collect:
            self._unresolved.append(Unresolved(path, node.start_point.row + 1, why))

    def _constant(self, path: str, node: Node) -> None:
        for spec in descendants(node, "const_spec", "var_spec"):
            names, value = spec.child_by_field_name("name"), spec.child_by_field_name("value")
            inner = value.named_children[0] if value is not None and value.named_children else None
            if names is not None and inner is not None and inner.type.endswith("string_literal"):
                self._constants[_folder(path), written(names)] = written(inner)[1:-1]

    def _function(self, path: str, node: Node) -> None:
        body = node.child_by_field_name("body")
        env = {name: place for _, name, place in self._parameters(path, node)}
        if body is not None:
            self._body(path, body, env)

    def _parameters(self, path: str, node: Node) -> Iterator[tuple[int, str, Place]]:
        """The routers among a function's parameters: position, name, place."""
        given = node.child_by_field_name("parameters")
        index = 0
        for one in given.named_children if given is not None else ():
            kind = _TYPES.get(written(one.child_by_field_name("type")).lstrip("*"))
            names = [each for each in one.named_children if each.type == "identifier"]
            for name in names:
                if kind is not None:
                    yield index, written(name), self._place(name.id, path, name, kind)
                index += 1

    def _place(
        self, key: object, path: str, node: Node, kind: str, *, root: bool = False, prefix: str | None = ""
    ) -> Place:
        if key not in self._places:
            self._places[key] = Place(path, node.start_point.row + 1, root, prefix)
            self._names[id(self._places[key])] = kind
        return self._places[key]

    # Statements, in the order of the source.

    def _body(self, path: str, node: Node, env: _Env) -> None:
        for one in node.named_children:
            if one.type in ("short_var_declaration", "assignment_statement", "var_spec"):
                self._assignment(path, one, env)
            elif one.type == "call_expression":
                self._call(path, one, env)
            elif one.type == "func_literal":
                self._body(path, one, dict(env))
            else:
                self._body(path, one, env)

    def _assignment(self, path: str, node: Node, env: _Env) -> None:
        left = node.child_by_field_name("left") or node.child_by_field_name("name")
        right = node.child_by_field_name("right") or node.child_by_field_name("value")
        if left is None or right is None:
            return
        targets = left.named_children if left.type == "expression_list" else [left]
        for target, value in zip(targets, right.named_children, strict=False):
            place = self._value(path, value, env)
            if place is not None and target.type == "selector_expression":
                self._fields[_folder(path), written(target.child_by_field_name("field"))] = place
            elif place is not None:
                env[written(target)] = place
            else:
                self._body(path, value, env)
                self._literal_fields(path, value, env)
                if value.type == "call_expression":
                    self._call(path, value, env)

    def _literal_fields(self, path: str, value: Node, env: _Env) -> None:
        """`&Server{router: r}`"""
        for one in descendants(value, "keyed_element"):
            parts = one.named_children
            if len(parts) == 2:
                inner = (
                    parts[1].named_children[0]
                    if parts[1].type == "literal_element" and parts[1].named_children
                    else parts[1]
                )
                place = self._value(path, inner, env)
                if place is not None:
                    self._fields[_folder(path), written(parts[0])] = place

    def _value(self, path: str, node: Node, env: _Env) -> Place | None:
        """The router that an expression is."""
        if node.type == "identifier":
            return env.get(written(node))
        if node.type == "selector_expression":
            return self._fields.get((_folder(path), written(node.child_by_field_name("field"))))
        if node.type in ("unary_expression", "parenthesized_expression") and node.named_children:
            return self._value(path, node.named_children[0], env)
        if node.type != "call_expression":
            return None
        callee = written(node.child_by_field_name("function"))
        if callee in _MAKERS:
            return self._place(node.id, path, node, _MAKERS[callee], root=True)
        inner = node.child_by_field_name("function")
        if inner is not None and inner.type == "selector_expression":
            outer = self._value(path, _operand(inner), env)
            name = written(inner.child_by_field_name("field"))
            if outer is not None and name in ("Group", "With"):
                return self._group(path, node, outer, name)
        return self._returned(path, node)

    def _group(self, path: str, node: Node, outer: Place, name: str) -> Place:
        if node.id in self._places:
            return self._places[node.id]
        given = _arguments(node)
        kind = self._names.get(id(outer), "Gin")
        text = "" if name == "With" or not given else self._text(path, given[0])
        made = self._place(node.id, path, node, kind, prefix=text)
        outer.mount(Mount(made, auth=_guards(given if name == "With" else given[1:])))
        return made

    def _returned(self, path: str, node: Node) -> Place | None:
        """What a function of the repository returns, if that is a router."""
        for place, function in self._targets(path, node):
            body = function.child_by_field_name("body")
            result = written(function.child_by_field_name("result")).lstrip("*")
            if body is None or not (result in _TYPES or result in ("http.Handler", "(http.Handler)")):
                continue
            for one in descendants(body, "return_statement"):
                values = one.named_children[0].named_children if one.named_children else []
                for made in descendants(body, "short_var_declaration"):
                    names = made.child_by_field_name("left")
                    right = made.child_by_field_name("right")
                    if values and names is not None and right is not None and written(names) == written(values[0]):
                        value = self._value(place, right.named_children[0], {})
                        if value is not None:
                            return value
        return None

    def _targets(self, path: str, call: Node) -> Sequence[tuple[str, Node]]:
        """The functions of the repository that a call may mean: of its package, or of the one that it names."""
        callee = call.child_by_field_name("function")
        if callee is None:
            return ()
        if callee.type == "identifier":
            return [one for one in self._functions.get(written(callee), ()) if _folder(one[0]) == _folder(path)]
        if callee.type != "selector_expression":
            return ()
        name, qualifier = written(callee.child_by_field_name("field")), written(_operand(callee))
        found = self._functions.get(name, [])
        packaged = [
            one
            for one in found
            if PurePosixPath(_folder(one[0])).name == qualifier and one[1].type == "function_declaration"
        ]
        methods = [one for one in found if one[1].type == "method_declaration"]
        return packaged or (
            methods if len(methods) == 1 else [one for one in methods if _folder(one[0]) == _folder(path)][:1]
        )

    # Calls.

    def _call(self, path: str, node: Node, env: _Env) -> None:
        callee = node.child_by_field_name("function")
        outer = None
        if callee is not None and callee.type == "selector_expression":
            outer = self._value(path, _operand(callee), env)
        if outer is None or callee is None:
            self._handed(path, node, env)
            for one in _arguments(node):
                self._body(path, one, dict(env))
            return
        self._method(path, node, written(callee.child_by_field_name("field")), outer, env)

    def _handed(self, path: str, node: Node, env: _Env) -> None:
        """A router given to a function of the repository lies within its parameter."""
        given = [self._value(path, one, env) for one in _arguments(node)]
        if self._collect or not any(given):
            return
        for place, function in self._targets(path, node):
            for index, _, inner in self._parameters(place, function):
                outer = given[index] if index < len(given) else None
                if outer is not None and outer is not inner:
                    outer.mount(Mount(inner))

    def _method(self, path: str, node: Node, name: str, outer: Place, env: _Env) -> None:
        given = _arguments(node)
        if name == "Use":
            if not self._collect:
                outer.auth += _guards(given)
        elif name in ("Route", "Group") and given and given[-1].type == "func_literal":
            self._scoped(path, given, outer, env, node)
        elif name == "Group":
            self._group(path, node, outer, name)
        elif name == "Mount" and len(given) == 2:
            inner, prefix = self._value(path, given[1], env), self._text(path, given[0])
            if inner is not None and prefix is not None and not self._collect:
                outer.mount(Mount(inner, prefix))
            elif inner is None:
                self._open(path, node, f"what is mounted, {written(given[1])[:60]}, is not known")
        elif self._collect and name in _VERBS and len(given) >= 2:
            method = ANY if name in ("Any", "HandleFunc") else name.upper()
            self._route(path, node, method, given[0], given[1:], outer)
        elif self._collect and name in ("Handle", "Method", "MethodFunc", "Add") and len(given) >= 3:
            method = self._text(path, given[0]) or written(given[0]).rpartition("Method")[2]
            self._route(path, node, method.upper(), given[1], given[2:], outer)

    def _scoped(self, path: str, given: list[Node], outer: Place, env: _Env, node: Node) -> None:
        prefix = self._text(path, given[0]) if len(given) > 1 else ""
        inner = self._place(node.id, path, node, "Chi", prefix=prefix)
        if not inner.mounted:
            outer.mount(Mount(inner))
        function = given[-1]
        parameters = function.child_by_field_name("parameters")
        names = [written(one) for one in descendants(parameters, "identifier")] if parameters is not None else []
        body = function.child_by_field_name("body")
        if body is not None:
            self._body(path, body, {**env, **({names[0]: inner} if names else {})})

    def _route(self, path: str, node: Node, method: str, first: Node, rest: list[Node], outer: Place) -> None:
        text = self._text(path, first)
        if text is None:
            self._open(path, node, f"a route whose path is {written(first)[:60]}, not a text that the source tells")
            return
        kind = self._names.get(id(outer), "Gin")
        handler, between = (rest[0], rest[1:]) if kind == "Echo" else (rest[-1], rest[:-1])
        name = "inline" if handler.type == "func_literal" else written(handler)
        line = node.start_point.row + 1
        outer.routes.append(Endpoint(method, text, name, path, line, auth=", ".join(_guards(between)), framework=kind))

    def _text(self, path: str, node: Node) -> str | None:
        if node.type.endswith("string_literal"):
            return written(node)[1:-1]
        if node.type == "identifier":
            return self._constants.get((_folder(path), written(node)))
        if node.type == "selector_expression":
            name, package = written(node.child_by_field_name("field")), written(_operand(node))
            found = [
                text
                for (folder, one), text in self._constants.items()
                if one == name and PurePosixPath(folder).name == package
            ]
            return found[0] if len(found) == 1 else None
        if node.type == "binary_expression":
            parts = [self._text(path, one) for one in node.named_children]
            return "".join(one for one in parts if one is not None) if None not in parts else None
        return None


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _operand(selector: Node) -> Node:
    inner = selector.child_by_field_name("operand")
    return inner if inner is not None else selector


def _arguments(call: Node) -> list[Node]:
    given = call.child_by_field_name("arguments")
    return [one for one in given.named_children if one.type != "comment"] if given is not None else []


def _guards(nodes: Sequence[Node]) -> tuple[str, ...]:
    names = [
        written(one.child_by_field_name("function")) if one.type == "call_expression" else written(one) for one in nodes
    ]
    return tuple(name for name in names if _GUARDS.search(name) and "\n" not in name)
