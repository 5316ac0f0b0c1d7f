"""Endpoints of FastAPI: routes of apps and routers, through include_router and mount, with their dependencies."""

import ast
from collections.abc import Sequence

from backend_crew.tools.endpoints.fastapi_types import Guards, body_types, response_type
from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.protocol import WEBSOCKET, Endpoint, EndpointScan, Framework
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import FUNCTIONS, Block, Event, Module, called, keywords
from backend_crew.tools.static.python_objects import Class, External, Function, Given, Made, Text
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved

_APPS = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})
_ROUTERS = frozenset({"fastapi.APIRouter", "fastapi.routing.APIRouter"})
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
_DECORATORS = frozenset({*_VERBS, "api_route", "route", "websocket", "websocket_route"})
_ADDERS = frozenset({"add_api_route", "add_route", "add_api_websocket_route", "add_websocket_route"})


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    modules = project.python.python.load(paths)
    return _Reading(project.python, modules).scan()


FRAMEWORK = Framework(
    "FastAPI",
    (".py",),
    (b"fastapi",),
    (b"APIRouter", b"include_router", b"router.", b"app."),
    read,
)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._guards = Guards(values)
        self._places: dict[int, Place] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for module in self._modules:
            for event in module.calls:
                self._call(event)
            for event in module.functions:
                self._decorated(event)
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, node: ast.AST, block: Block, why: str) -> None:
        self._unresolved.append(Unresolved(block.module.path, getattr(node, "lineno", 1), why))

    def _is_app(self, made: Made) -> bool:
        return bool(self._values.types(made) & _APPS)

    def _place(self, made: Made) -> Place:
        if id(made.node) not in self._places:
            prefix = self._prefix(made)
            self._places[id(made.node)] = Place(
                made.block.module.path,
                made.node.lineno,
                root=self._is_app(made),
                prefix=None if prefix is None else prefix.value,
                auth=self._own_auth(made),
                certain=made.certain and (prefix is None or prefix.certain),
            )
        return self._places[id(made.node)]

    def _receivers(self, node: ast.expr, block: Block, given: Given | None = None) -> list[Made] | None:
        """The apps and routers that an expression may be; None where nothing at all is known of it."""
        values = self._values.of(node, block, given)
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "router"
            and {External(f"{one}.router") for one in _APPS} & {*values}
        ):
            return self._receivers(node.value, block, given)
        if not values:
            return None
        ours = _APPS | _ROUTERS
        return [one for one in values if isinstance(one, Made) and self._values.types(one) & ours]

    # What is collected.

    def _call(self, event: Event) -> None:
        node = event.node
        if not isinstance(node, ast.Call):
            return
        name = called(node)
        if name in ("include_router", "mount") and isinstance(node.func, ast.Attribute):
            self._inclusion(event, node, node.func)
        elif name in _ADDERS and isinstance(node.func, ast.Attribute):
            handler = next(iter(node.args[1:2]), None) or keywords(node).get("endpoint")
            for given in self._values.turns(event):
                for made in self._receivers(node.func.value, event.block, given) or ():
                    self._add(made, event, node, handler, given)
        elif name[:1].isupper():  # something is made: an app may have no route of its own
            for made in self._receivers(node, event.block) or ():
                self._place(made)

    def _decorated(self, event: Event) -> None:
        if not isinstance(event.node, FUNCTIONS):
            return
        for decorator in event.node.decorator_list:
            if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)):
                continue
            if decorator.func.attr not in _DECORATORS:
                continue
            receivers = self._receivers(decorator.func.value, event.block)
            for made in receivers or ():
                handler = self._values.function_of(event)
                for given in self._values.turns(event):
                    self._add(made, event, decorator, handler, given)
            if receivers is None and _starts_with_slash(decorator) and _imports_fastapi(event.block.module):
                receiver = ast.unparse(decorator.func.value)
                self._open(decorator, event.block, f"a route on {receiver}, which is not known to be an app or router")

    def _add(
        self, made: Made, event: Event, call: ast.Call, handler: ast.expr | Function | None, given: Given | None
    ) -> None:
        argument = next(iter(call.args[:1]), None) or keywords(call).get("path")
        path = self._values.text(argument, event.block, given)
        if path is None:
            self._open(call, event.block, "a route whose path is not a text that the source tells")
            return
        methods = self._methods(call, event.block)
        if methods is None:
            self._open(call, event.block, f"the methods of {path.value} are not texts that the source tells")
            return
        function, name = self._handler(handler, event.block, given)
        guards = self._guards.listed(keywords(call).get("dependencies"), event.block)
        guards += self._guards.of_function(function) if function is not None else ()
        for method in methods:
            endpoint = Endpoint(
                method,
                path.value,
                name,
                event.block.module.path,
                call.lineno,
                request=", ".join(body_types(self._values, function, path.value)) if function is not None else "",
                response=response_type(keywords(call).get("response_model"), function),
                auth=", ".join(dict.fromkeys(guards)),
                framework="FastAPI",
                certain=event.certain and path.certain,
            )
            self._place(made).routes.append(endpoint)

    def _handler(
        self, handler: ast.expr | Function | None, block: Block, given: Given | None
    ) -> tuple[Function | None, str]:
        if isinstance(handler, Function):
            owner = handler.block.node
            return handler, f"{owner.name}.{handler.node.name}" if isinstance(
                owner, ast.ClassDef
            ) else handler.node.name
        if handler is None:
            return None, ""
        found = [one for one in self._values.of(handler, block, given) if isinstance(one, Function)]
        if not found:
            return None, ast.unparse(handler)
        return self._handler(found[0], block, given)

    def _methods(self, call: ast.Call, block: Block) -> tuple[str, ...] | None:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in _VERBS:
            return (name.upper(),)
        if "websocket" in name:
            return (WEBSOCKET,)
        given = keywords(call).get("methods") or next(iter(call.args[2:3] if name in _ADDERS else call.args[1:2]), None)
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return ("GET",)
        items = self._values.items(given, block)
        texts = [self._values.text(*part) for part in items.parts] if items is not None else []
        known = [one.value.upper() for one in texts if one is not None]
        return tuple(dict.fromkeys(known)) if known and len(known) == len(texts) else None

    def _inclusion(self, event: Event, node: ast.Call, function: ast.Attribute) -> None:
        named = keywords(node)
        mounted = function.attr == "mount"
        child = next(iter(node.args[1:2] if mounted else node.args[:1]), None)
        child = child or named.get("app" if mounted else "router")
        prefix = (next(iter(node.args[:1]), None) or named.get("path")) if mounted else named.get("prefix")
        if child is None:
            return
        for given in self._values.turns(event):
            parents = self._receivers(function.value, event.block, given)
            children = self._receivers(child, event.block, given)
            if not mounted and not children and parents != []:
                self._open(node, event.block, f"include_router of {ast.unparse(child)[:60]}, which is not known")
                continue
            if not mounted and children and parents is None:
                self._open(node, event.block, f"include_router on {ast.unparse(function.value)}, which is not known")
            where = Text("") if prefix is None else self._values.text(prefix, event.block, given)
            if where is None and parents and children:
                self._open(node, event.block, "a prefix that is not a text that the source tells")
                for one in children:
                    self._place(one).mounted = True
                continue
            auth = () if mounted else self._guards.listed(named.get("dependencies"), event.block)
            for parent in parents or ():
                for one in children or ():
                    if where is not None and one is not parent:
                        certain = event.certain and where.certain
                        self._place(parent).mount(Mount(self._place(one), where.value.rstrip("/"), auth, certain))

    def _own_auth(self, made: Made) -> tuple[str, ...]:
        if not isinstance(made.node, ast.Call):
            return ()
        return self._guards.listed(keywords(made.node).get("dependencies"), made.block)

    def _prefix(self, made: Made) -> Text | None:
        """What the router itself puts before its paths; for a class of the repository also what it passes on."""
        if self._is_app(made) or not isinstance(made.node, ast.Call):
            return Text("")
        given = keywords(made.node).get("prefix")
        if given is not None:
            return self._values.text(given, made.block)
        if isinstance(made.of, Class):
            return self._passed_on(made.of)
        return Text("")

    def _passed_on(self, of: Class) -> Text | None:
        found = self._values.attribute(of, "__init__")
        if found is None or not isinstance(found[0].to, FUNCTIONS):
            return Text("")
        body = found[1].module.blocks[found[0].to]
        for event in body.module.calls:
            if event.block is body and isinstance(event.node, ast.Call):
                given = keywords(event.node).get("prefix")
                if given is not None and ast.unparse(event.node.func) == "super().__init__":
                    return self._values.text(given, body)
        return Text("")


def _starts_with_slash(call: ast.Call) -> bool:
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("/")


def _imports_fastapi(module: Module) -> bool:
    names = [binding.to for found in module.block.bindings.values() for binding in found]
    return any(getattr(one, "module", "").partition(".")[0] == "fastapi" for one in names)
