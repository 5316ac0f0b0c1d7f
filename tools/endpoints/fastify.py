"""Endpoints of Fastify: routes of instances, and of plugins by the prefix that they are registered with."""

from collections.abc import Iterator, Sequence

from tree_sitter import Node

from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.javascript_guards import guard_name, handler_name
from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework
from backend_crew.tools.static.javascript import SUFFIXES, JavaScript, JsMade, JsNode
from backend_crew.tools.static.javascript_tree import FUNCTIONS, JsModule, arguments, pair, parameter_index, written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_VERBS = ("get", "post", "put", "patch", "delete", "options", "head", "all")
_WRAPPERS = ("fp", "fastifyPlugin", "plugin")
_HOOKS = ("preHandler", "onRequest", "preValidation", "beforeHandler")


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every instance that these files make."""
    values = project.javascript
    return _Reading(values, values.load(paths)).scan()


FRAMEWORK = Framework(
    "Fastify",
    SUFFIXES,
    (b"'fastify'", b'"fastify"'),
    (b"fastify.", b".register(", b"server.route(", b"app.route("),
    read,
)


class _Reading:
    def __init__(self, values: JavaScript, modules: Sequence[JsModule]) -> None:
        self._values = values
        self._modules = modules
        self._places: dict[int, Place] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        waiting = list(self._modules)
        while waiting:
            for module in waiting:
                for call in module.calls:
                    self._call(call, module)
            waiting = self._values.followed()
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, node: Node, module: JsModule, why: str) -> None:
        self._unresolved.append(Unresolved(module.path, node.start_point.row + 1, why))

    def _place(self, node: Node, module: JsModule, *, root: bool = False) -> Place:
        return self._places.setdefault(node.id, Place(module.path, node.start_point.row + 1, root))

    def _instances(self, node: Node, module: JsModule) -> Iterator[Place]:
        """The instances that an expression is: made by the package, or the first parameter of a plugin."""
        plugin = _plugin_of(node)
        if plugin is not None and plugin.id in self._places:
            yield self._places[plugin.id]
            return
        found = False
        for value in self._values.of(node, module):
            if isinstance(value, JsMade) and value.of.split("()")[0] in (
                "fastify",
                "fastify.fastify",
                "fastify.default",
            ):
                inner = value.node.child_by_field_name("function")
                target = inner.child_by_field_name("object") if inner is not None and "()" in value.of else None
                found = True
                if target is not None:
                    yield from self._instances(target, value.module)
                else:
                    yield self._place(value.node, value.module, root=True)
        if not found and plugin is not None and written(node) in ("fastify", "app", "server", "instance", "f"):
            yield self._place(plugin, module)

    def _call(self, call: Node, module: JsModule) -> None:
        callee = call.child_by_field_name("function")
        if callee is None or callee.type != "member_expression":
            return
        name, target = written(callee.child_by_field_name("property")), callee.child_by_field_name("object")
        given = arguments(call)
        if target is None or not given or name not in (*_VERBS, "route", "register", "addHook"):
            return
        for place in list(self._instances(target, module)):
            if name == "register":
                self._registered(call, given, place, module)
            elif name == "addHook" and len(given) > 1:
                guard = guard_name(self._values, given[1], module)
                place.auth += (guard,) if guard and guard not in place.auth else ()
            elif name == "route" and given[0].type == "object":
                self._full(call, given[0], place, module)
            elif name in _VERBS and len(given) > 1:
                options = given[1] if len(given) > 2 and given[1].type == "object" else None
                method = ANY if name == "all" else name.upper()
                self._add(call, [method], given[0], given[-1], options, place, module)

    def _registered(self, call: Node, given: list[Node], outer: Place, module: JsModule) -> None:
        options = given[1] if len(given) > 1 and given[1].type == "object" else None
        node = pair(options, "prefix") if options is not None else None
        prefix = self._values.text(node, module) if node is not None else ""
        for plugin, place in self._plugins(given[0], module):
            inner = self._place(plugin, place)
            if prefix is None:
                self._open(call, module, "a prefix that is not a text that the source tells")
                inner.mounted = True
            elif inner is not outer:
                outer.mount(Mount(inner, prefix))

    def _plugins(self, node: Node, module: JsModule) -> Iterator[tuple[Node, JsModule]]:
        """The functions of the repository that a plugin expression leads to, through fastify-plugin."""
        if node.type == "call_expression" and written(node.child_by_field_name("function")) in (*_WRAPPERS, "import"):
            given = arguments(node)
            if written(node.child_by_field_name("function")) != "import" and given:
                yield from self._plugins(given[0], module)
                return
        for value in self._values.of(node, module):
            if isinstance(value, JsNode) and value.node.type in FUNCTIONS:
                yield value.node, value.module
            elif isinstance(value, JsMade) and value.of == "fastify-plugin" and arguments(value.node):
                yield from self._plugins(arguments(value.node)[0], value.module)

    def _full(self, call: Node, options: Node, place: Place, module: JsModule) -> None:
        """`route({ method, url, handler })`."""
        method, url = pair(options, "method"), pair(options, "url") or pair(options, "path")
        handler = pair(options, "handler")
        listed = method.named_children if method is not None and method.type == "array" else [method]
        methods = [self._values.text(one, module) for one in listed if one is not None]
        if url is None or handler is None or None in methods or not methods:
            self._open(call, module, "a route whose method or url is not a text that the source tells")
            return
        self._add(call, [one.upper() for one in methods if one is not None], url, handler, options, place, module)

    def _add(
        self,
        call: Node,
        methods: list[str],
        url: Node,
        handler: Node,
        options: Node | None,
        place: Place,
        module: JsModule,
    ) -> None:
        path = self._values.text(url, module)
        if path is None:
            self._open(call, module, f"a route whose path is {written(url)[:60]}, not a text that the source tells")
            return
        guards = [name for one in self._hooks(options) if (name := guard_name(self._values, one, module))]
        schema = pair(options, "schema") if options is not None else None
        body = written(pair(schema, "body"))[:60] if schema is not None and schema.type == "object" else ""
        name = "inline" if handler.type == "method_definition" else handler_name(handler)
        for method in methods:
            place.routes.append(
                Endpoint(
                    method, path, name, module.path, call.start_point.row + 1, request=body if body.isidentifier() else "",
                    auth=", ".join(dict.fromkeys(guards)), framework="Fastify",
                )
            )  # fmt: skip

    @staticmethod
    def _hooks(options: Node | None) -> Iterator[Node]:
        for hook in _HOOKS if options is not None else ():
            found = pair(options, hook) if options is not None else None
            if found is not None:
                yield from found.named_children if found.type == "array" else [found]


def _plugin_of(node: Node) -> Node | None:
    """The function around an identifier that has it as its first parameter."""
    place = node.parent
    while place is not None and node.type == "identifier":
        if place.type in FUNCTIONS and parameter_index(place, written(node)) == 0:
            return place
        place = place.parent
    return None
