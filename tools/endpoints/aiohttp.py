"""Endpoints of aiohttp: routes that are added to an application's router, route tables, and sub-applications."""

import ast
from collections.abc import Iterator, Sequence

from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework
from backend_crew.tools.endpoints.python_guards import decorator_guards
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import Block, Event, Module, called
from backend_crew.tools.static.python_objects import Class, External, Function, Given, Made
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved

_APP, _TABLE = "aiohttp.web.Application", "aiohttp.web.RouteTableDef"
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "view", "route")
_ADDERS = {"add_get": "GET", "add_post": "POST", "add_put": "PUT", "add_patch": "PATCH", "add_delete": "DELETE",
           "add_view": "view", "add_route": "route"}  # fmt: skip


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every application that these files make."""
    return _Reading(project.python, project.python.python.load(paths)).scan()


FRAMEWORK = Framework("aiohttp", (".py",), (b"aiohttp",), (b"add_routes", b"router.add_"), read)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._places: dict[int, Place] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for module in self._modules:
            for event in module.calls:
                for given in self._values.turns(event):
                    self._call(event, given)
            for event in (*module.functions, *module.classes):
                self._decorated(event)
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, node: ast.AST, block: Block, why: str) -> None:
        self._unresolved.append(Unresolved(block.module.path, getattr(node, "lineno", 1), why))

    def _made(self, node: ast.expr, block: Block, given: Given | None = None) -> Iterator[Place]:
        """The applications and tables that an expression may be; `app.router` is its application."""
        values = self._values.of(node, block, given)
        if isinstance(node, ast.Attribute) and node.attr == "router" and External(f"{_APP}.router") in values:
            yield from self._made(node.value, block, given)
        for one in values:
            if isinstance(one, Made) and (kinds := self._values.types(one) & {_APP, _TABLE}):
                path = one.block.module.path
                yield self._places.setdefault(
                    id(one.node), Place(path, one.node.lineno, _APP in kinds, certain=one.certain)
                )

    def _call(self, event: Event, given: Given | None) -> None:
        node = event.node
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            return
        name = node.func.attr
        if name == "add_routes":
            for place in self._made(node.func.value, event.block, given):
                self._listed(node.args[0], place, event, given)
        elif name in _ADDERS:
            for place in self._made(node.func.value, event.block, given):
                self._added(node, _ADDERS[name], place, event, event.block, given)
        elif name == "add_subapp" and len(node.args) > 1:
            self._within(event, node, node.func.value, given)

    def _within(self, event: Event, node: ast.Call, outer: ast.expr, given: Given | None) -> None:
        """`add_subapp(prefix, inner)`."""
        prefix = self._values.text(node.args[0], event.block, given)
        for place in self._made(outer, event.block, given):
            for inner in self._made(node.args[1], event.block, given):
                if prefix is None:
                    self._open(node, event.block, "a prefix that is not a text that the source tells")
                    inner.mounted = True
                elif inner is not place:
                    place.mount(Mount(inner, prefix.value, certain=event.certain))

    def _listed(self, node: ast.expr, place: Place, event: Event, given: Given | None) -> None:
        """`add_routes` of a table, or of a list of web.get(…)."""
        for table in self._made(node, event.block, given):
            place.mount(Mount(table, certain=event.certain))
        items = self._values.items(node, event.block, given)
        for part, block in items.parts if items is not None else ():
            if isinstance(part, ast.Call) and called(part) in _VERBS:
                self._added(part, called(part), place, event, block, None)

    def _added(self, call: ast.Call, kind: str, place: Place, event: Event, block: Block, given: Given | None) -> None:
        arguments = call.args
        if kind == "route" and len(arguments) > 2:
            method = self._values.text(arguments[0], block, given)
            kind, arguments = method.value if method is not None else "?", arguments[1:]
        path = self._values.text(arguments[0], block, given) if len(arguments) > 1 else None
        if path is None or kind == "?":
            self._open(call, block, "a route whose path or method is not a text that the source tells")
            return
        found = self._values.of(arguments[1], block, given)
        for verb, handler, auth in self._answers(
            kind, arguments[1], [one for one in found if isinstance(one, (Function, Class))]
        ):
            place.routes.append(
                Endpoint(verb, path.value, handler, block.module.path, call.lineno, auth=auth, framework="aiohttp",
                         certain=event.certain and path.certain)
            )  # fmt: skip

    def _answers(self, kind: str, node: ast.expr, found: Sequence[Function | Class]) -> Iterator[tuple[str, str, str]]:
        """Methods with their handlers and guards; a view answers what it defines."""
        target = found[0] if found else None
        name = target.node.name if target is not None else ast.unparse(node)
        if isinstance(target, Class):
            methods = [one for one in _VERBS[:5] if self._values.attribute(target, one)]
            yield from ((one.upper(), f"{name}.{one}", "") for one in methods)
            return
        guards = decorator_guards(self._values, target.node.decorator_list, target.block) if target is not None else ()
        yield ANY if kind in ("view", "*") else kind.upper(), name, ", ".join(guards)

    def _decorated(self, event: Event) -> None:
        """`@routes.get("/x")` on a function, `@routes.view("/x")` on a class."""
        if isinstance(event.node, ast.Call):
            return
        for one in event.node.decorator_list:
            if not (
                isinstance(one, ast.Call)
                and isinstance(one.func, ast.Attribute)
                and one.func.attr in _VERBS
                and one.args
            ):
                continue
            for place in self._made(one.func.value, event.block):
                target = (
                    self._values.class_of(event)
                    if isinstance(event.node, ast.ClassDef)
                    else self._values.function_of(event)
                )
                kind, first = one.func.attr, one.args[0]
                if kind == "route" and len(one.args) > 1:
                    method = self._values.text(one.args[0], event.block)
                    kind, first = method.value if method is not None else "?", one.args[1]
                path = self._values.text(first, event.block)
                if path is None or kind == "?":
                    self._open(one, event.block, "a route whose path or method is not a text that the source tells")
                    continue
                for verb, handler, auth in self._answers(kind, first, [target]):
                    place.routes.append(
                        Endpoint(verb, path.value, handler, event.block.module.path, one.lineno, auth=auth,
                                 framework="aiohttp", certain=event.certain and path.certain)
                    )  # fmt: skip
