"""Endpoints of Starlette and Litestar: route tables, mounts, controllers and handlers by their decorators."""

import ast
from collections.abc import Iterator, Sequence

from backend_crew.tools.endpoints.protocol import ANY, WEBSOCKET, Endpoint, EndpointScan, Framework, joined
from backend_crew.tools.endpoints.python_guards import decorator_guards
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import FUNCTIONS, Block, Event, Module, called, keywords
from backend_crew.tools.static.python_objects import Class, External, Function, Made, Text
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved

_APPS = frozenset(
    {"starlette.applications.Starlette", "starlette.routing.Router", "litestar.Litestar", "litestar.app.Litestar"}
)
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options")
_DEEP = 20


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    return _Reading(project.python, project.python.python.load(paths)).scan()


FRAMEWORK = Framework("Starlette", (".py",), (b"starlette", b"litestar"), (b"Mount(", b"Route("), read)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._endpoints: list[Endpoint] = []
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        made = [(event, one) for module in self._modules for event in module.calls for one in self._apps(event)]
        inner = {id(one.node) for _, app in made for one in self._mounted(app)}
        for event, app in made:
            if id(app.node) not in inner:
                self._app(app, "", event.certain, (), 0)
        return EndpointScan(tuple(self._endpoints), tuple(self._unresolved))

    def _open(self, node: ast.AST, block: Block, why: str) -> None:
        self._unresolved.append(Unresolved(block.module.path, getattr(node, "lineno", 1), why))

    def _apps(self, event: Event) -> list[Made]:
        if not isinstance(event.node, ast.Call) or not called(event.node)[:1].isupper():
            return []
        values = self._values.of(event.node, event.block)
        return [
            one
            for one in values
            if isinstance(one, Made) and one.node is event.node and self._values.types(one) & _APPS
        ]

    def _mounted(self, app: Made) -> Iterator[Made]:
        """The apps that stand within the calls of an app's routes."""
        items = self._routes(app)
        for node, block in items:
            if isinstance(node, ast.Call) and called(node) == "Mount":
                target = keywords(node).get("app") or next(iter(node.args[1:2]), None)
                for one in self._values.of(target, block) if target is not None else ():
                    if isinstance(one, Made):
                        yield one

    def _routes(self, app: Made) -> Sequence[tuple[ast.expr, Block]]:
        if not isinstance(app.node, ast.Call):
            return ()
        named = keywords(app.node)
        given = named.get("routes") or named.get("route_handlers") or next(iter(app.node.args[:1]), None)
        items = self._values.items(given, app.block)
        if items is None and given is not None and not isinstance(given, ast.Constant):
            self._open(app.node, app.block, "routes that the source does not list")
        return items.parts if items is not None else ()

    def _app(self, app: Made, prefix: str, certain: bool, auth: tuple[str, ...], depth: int) -> None:
        assert isinstance(app.node, ast.Call)
        guards = (*auth, *self._listed_guards(keywords(app.node).get("guards"), app.block))
        own = self._values.text(keywords(app.node).get("path"), app.block)
        start = joined(prefix, own.value) if own is not None else prefix
        for node, block in self._routes(app) if depth < _DEEP else ():
            self._entry(node, block, start, certain, guards, depth + 1)

    def _entry(
        self, node: ast.expr, block: Block, prefix: str, certain: bool, auth: tuple[str, ...], depth: int
    ) -> None:
        if depth > _DEEP:
            return
        for value in self._values.of(node, block):
            if isinstance(value, Function):
                self._handler(value, prefix, certain, auth)
            elif isinstance(value, Class):
                self._controller(value, prefix, certain, auth)
            elif isinstance(value, Made) and isinstance(value.node, ast.Call):
                name = value.of.name.rpartition(".")[2] if isinstance(value.of, External) else ""
                if name in ("Route", "WebSocketRoute"):
                    self._route(value.node, value.block, prefix, certain, auth)
                elif name == "Mount":
                    self._mount(value.node, value.block, prefix, certain, auth, depth)
                elif name == "Router":
                    self._app(value, prefix, certain, auth, depth)

    # Starlette.

    def _route(self, node: ast.Call, block: Block, prefix: str, certain: bool, auth: tuple[str, ...]) -> None:
        named = keywords(node)
        path = self._values.text(next(iter(node.args[:1]), None) or named.get("path"), block)
        target = next(iter(node.args[1:2]), None) or named.get("endpoint")
        if path is None or target is None:
            self._open(node, block, "a route whose path is not a text that the source tells")
            return
        values = self._values.of(target, block)
        function = next((one for one in values if isinstance(one, Function)), None)
        of = next((one for one in values if isinstance(one, Class)), None)
        methods = [text.value.upper() for text in self._texts(named.get("methods"), block)]
        if called(node) == "WebSocketRoute":
            methods = [WEBSOCKET]
        elif of is not None and not methods:
            methods = [one.upper() for one in _VERBS[:5] if self._values.attribute(of, one)] or [ANY]
        decorators = function.node.decorator_list if function is not None else []
        guards = [*decorator_guards(self._values, decorators, function.block if function is not None else block)]
        name = function.node.name if function is not None else of.node.name if of is not None else ast.unparse(target)
        for method in methods or ["GET"]:
            handler = f"{name}.{method.lower()}" if of is not None and method not in (ANY, WEBSOCKET) else name
            self._add(method, joined(prefix, path.value), handler, node, block, (*auth, *guards), certain)

    def _mount(
        self, node: ast.Call, block: Block, prefix: str, certain: bool, auth: tuple[str, ...], depth: int
    ) -> None:
        named = keywords(node)
        path = self._values.text(next(iter(node.args[:1]), None) or named.get("path"), block)
        if path is None:
            self._open(node, block, "a mount whose path is not a text that the source tells")
            return
        start = joined(prefix, path.value.rstrip("/")) if path.value.strip("/") else prefix
        items = self._values.items(named.get("routes"), block)
        for part in items.parts if items is not None else ():
            self._entry(*part, start, certain and path.certain, auth, depth)
        target = named.get("app") or next(iter(node.args[1:2]), None)
        for one in self._values.of(target, block) if target is not None else ():
            if isinstance(one, Made) and self._values.types(one) & _APPS:
                self._app(one, start, certain, auth, depth)

    def _texts(self, node: ast.expr | None, block: Block) -> Iterator[Text]:
        items = self._values.items(node, block)
        for part in items.parts if items is not None else ():
            text = self._values.text(*part)
            if text is not None:
                yield text

    # Litestar.

    def _listed_guards(self, node: ast.expr | None, block: Block) -> Iterator[str]:
        items = self._values.items(node, block)
        yield from (ast.unparse(part[0]) for part in (items.parts if items is not None else ()))

    def _controller(self, of: Class, prefix: str, certain: bool, auth: tuple[str, ...]) -> None:
        found = self._values.attribute(of, "path")
        path = self._values.text(found[0].to, found[1]) if found and isinstance(found[0].to, ast.expr) else None
        if found is not None and path is None:
            self._open(of.node, of.block, f"the path of {of.node.name} is not a text that the source tells")
            return
        start = joined(prefix, path.value) if path is not None else prefix
        given = self._values.attribute(of, "guards")
        own = self._listed_guards(given[0].to, given[1]) if given and isinstance(given[0].to, ast.expr) else ()
        guards = (*auth, *own)
        body = self._values.body(of)
        for node in of.node.body:
            if isinstance(node, FUNCTIONS):
                self._handler(Function(node, body), start, certain, guards, of.node.name)

    def _handler(self, function: Function, prefix: str, certain: bool, auth: tuple[str, ...], owner: str = "") -> None:
        for one in function.node.decorator_list:
            target = one.func if isinstance(one, ast.Call) else one
            outside = [each.name for each in self._values.of(target, function.block) if isinstance(each, External)]
            name = outside[0].rpartition(".")[2] if outside and outside[0].startswith("litestar") else ""
            if name not in (*_VERBS, "route", "websocket"):
                continue
            named = keywords(one) if isinstance(one, ast.Call) else {}
            first = (next(iter(one.args[:1]), None) if isinstance(one, ast.Call) else None) or named.get("path")
            several = self._values.items(first, function.block)
            texts = (
                [self._values.text(*part) for part in several.parts]
                if several
                else [self._values.text(first, function.block)]
            )
            methods = [text.value for text in self._texts(named.get("http_method"), function.block)] or [name.upper()]
            guards = (*auth, *self._listed_guards(named.get("guards"), function.block))
            for text in texts:
                if text is None and first is not None:
                    self._open(one, function.block, "a route whose path is not a text that the source tells")
                    continue
                whole = joined(prefix, text.value if text is not None else "").rstrip("/") or "/"
                handler = f"{owner}.{function.node.name}" if owner else function.node.name
                for method in methods:
                    self._add(method, whole, handler, one, function.block, guards, certain, function)

    def _add(
        self, method: str, path: str, handler: str, node: ast.AST, block: Block, auth: Sequence[str], certain: bool,
        function: Function | None = None,
    ) -> None:  # fmt: skip
        request = response = ""
        if function is not None:
            response = ast.unparse(function.node.returns) if function.node.returns is not None else ""
            data = [
                one.annotation for one in function.node.args.args if one.arg == "data" and one.annotation is not None
            ]
            request = ast.unparse(data[0]) if data else ""
        line = getattr(node, "lineno", 1)
        framework = "Litestar" if function is not None else "Starlette"
        names = ", ".join(dict.fromkeys(auth))
        self._endpoints.append(
            Endpoint(method, path, handler, block.module.path, line, request, response, names, framework, certain)
        )
