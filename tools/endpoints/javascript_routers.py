"""Apps and routers of JavaScript that have methods named after verbs: how they are made, chained and mounted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.javascript_guards import guard_name, handler_name
from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan
from backend_crew.tools.static.javascript import Given, JavaScript, JsMade, JsNode, JsText
from backend_crew.tools.static.javascript_tree import FUNCTIONS, JsModule, arguments, loop_items, pair, written
from backend_crew.tools.static.unresolved import Unresolved

_DEEP = 25
VERBS = ("get", "post", "put", "patch", "delete", "options", "head", "all", "del")


@dataclass(frozen=True)
class Dialect:
    """What a framework calls things; `prefix` is the option of a router's own prefix, `scoped` makes one with a prefix."""

    name: str
    apps: frozenset[str]
    routers: frozenset[str]
    mounts: frozenset[str]
    prefix: str = ""
    scoped: str = ""


@dataclass(frozen=True)
class _Use:
    """A guard that is put on all that comes after it."""

    place: Place
    file: str
    line: int
    name: str


def read(dialect: Dialect, values: JavaScript, modules: Sequence[JsModule]) -> EndpointScan:
    """The endpoints of every app of one framework that these files make."""
    return _Reading(dialect, values, modules).scan()


class _Reading:
    def __init__(self, dialect: Dialect, values: JavaScript, modules: Sequence[JsModule]) -> None:
        self._dialect = dialect
        self._values = values
        self._modules = modules
        self._places: dict[int, Place] = {}
        self._uses: list[_Use] = []
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        waiting = list(self._modules)
        while waiting:
            for module in waiting:
                for call in module.calls:
                    for given in self._turns(call, module):
                        self._call(call, module, given)
            waiting = self._values.followed()
        for use in self._uses:
            self._guarded(use)
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, node: Node, module: JsModule, why: str) -> None:
        self._unresolved.append(Unresolved(module.path, node.start_point.row + 1, why))

    def _guarded(self, use: _Use) -> None:
        """A guard counts for routes below it in its file, and for all that is mounted below it."""
        for index, route in enumerate(use.place.routes):
            if route.file == use.file and route.line > use.line and use.name not in route.auth:
                auth = f"{use.name}, {route.auth}" if route.auth else use.name
                use.place.routes[index] = replace(route, auth=auth)
        for index, (mount, line) in enumerate(zip(use.place.mounts, use.place.mount_lines, strict=True)):
            if line[0] == use.file and line[1] > use.line:
                use.place.mounts[index] = Mount(mount.child, mount.prefix, (use.name, *mount.auth), mount.certain)

    # Loops over literal arrays.

    def _turns(self, call: Node, module: JsModule) -> Iterator[Given | None]:
        place = call.parent
        while place is not None and place.type != "program":
            if place.type in FUNCTIONS or place.type == "for_in_statement":
                found = self._elements(place, module)
                if found:
                    yield from found
                    return
                if place.type in FUNCTIONS and loop_items(place) is None and place.type != "arrow_function":
                    break
            place = place.parent
        yield None

    def _elements(self, place: Node, module: JsModule) -> list[Given]:
        if place.type in FUNCTIONS:
            items = loop_items(place)
            parameters = place.child_by_field_name("parameters") or place.child_by_field_name("parameter")
            pattern = (
                parameters.named_children[0] if parameters is not None and parameters.named_children else parameters
            )
            pattern = (pattern.child_by_field_name("pattern") or pattern) if pattern is not None else None
        else:
            items, pattern = place.child_by_field_name("right"), place.child_by_field_name("left")
        if items is None or pattern is None:
            return []
        found: list[Given] = []
        for value in self._values.of(items, module):
            if isinstance(value, JsNode) and value.node.type == "array":
                found += [
                    _assigned(pattern, one, value.module) for one in value.node.named_children if one.type != "comment"
                ]
        return found

    # Places.

    def _made(self, node: Node, module: JsModule, given: Given | None, depth: int = 0) -> list[Place]:
        """The apps and routers that an expression stands for, through the methods that give them back."""
        found: list[Place] = []
        for value in self._values.of(node, module, given) if depth < _DEEP else ():
            if not isinstance(value, JsMade):
                continue
            base, chained, rest = value.of.partition("()")
            if base not in self._dialect.apps | self._dialect.routers:
                continue
            callee = value.node.child_by_field_name("function")
            inner = callee.child_by_field_name("object") if callee is not None and chained else None
            if not chained:
                found.append(self._place(value))
            elif inner is not None and callee is not None and rest.endswith(f".{self._dialect.scoped or '?'}"):
                found += self._scoped(value, inner, depth)
            elif inner is not None:
                found += self._made(inner, value.module, None, depth + 1)
        return list(dict.fromkeys(found))

    def _place(self, value: JsMade) -> Place:
        if value.node.id not in self._places:
            prefix: str | None = ""
            for one in arguments(value.node)[:1] if self._dialect.prefix else ():
                options = [each for each in self._values.of(one, value.module) if isinstance(each, JsNode)]
                given = pair(options[0].node, self._dialect.prefix) if options else None
                prefix = self._values.text(given, options[0].module) if given is not None else ""
            line = value.node.start_point.row + 1
            root = value.of in self._dialect.apps
            self._places[value.node.id] = Place(value.module.path, line, root, prefix)
        return self._places[value.node.id]

    def _scoped(self, value: JsMade, inner: Node, depth: int) -> list[Place]:
        """`basePath('/x')`: the same app, seen from below a prefix."""
        if value.node.id not in self._places:
            text = self._values.text(next(iter(arguments(value.node)), None), value.module)
            made = Place(value.module.path, value.node.start_point.row + 1, prefix=text)
            self._places[value.node.id] = made
            for outer in self._made(inner, value.module, None, depth + 1):
                self._mount(outer, Mount(made), value.node, value.module)
        return [self._places[value.node.id]]

    def _mount(self, outer: Place, mount: Mount, node: Node, module: JsModule) -> None:
        if outer is not mount.child:
            outer.mount(mount)
            outer.mount_lines.append((module.path, node.start_point.row + 1))

    # Calls.

    def _call(self, call: Node, module: JsModule, given: Given | None) -> None:
        callee = call.child_by_field_name("function")
        if callee is None or callee.type != "member_expression":
            self._made(call, module, given)  # an app without routes of its own is known from here
            return
        name, target = written(callee.child_by_field_name("property")), callee.child_by_field_name("object")
        if target is None:
            return
        if name in VERBS:
            self._route(call, name, target, module, given)
        elif name in self._dialect.mounts:
            self._used(call, target, module, given)
        elif name == "prefix" and self._dialect.prefix:
            text = self._values.text(next(iter(arguments(call)), None), module, given)
            for place in self._made(target, module, given):
                place.prefix = None if text is None or place.prefix is None else place.prefix + text

    def _route(self, call: Node, verb: str, target: Node, module: JsModule, given: Given | None) -> None:
        args = arguments(call)
        chained = _chained_route(target)
        places = self._made(chained[0] if chained else target, module, given)
        if not places or not args:
            return
        first = chained[1] if chained else args[0]
        handlers = args if chained else args[1:]
        named = self._dialect.name == "Koa" and not chained and len(handlers) > 1 and handlers[0].type == "string"
        if named:  # router.get("name", "/path", handler)
            first, handlers = handlers[0], handlers[1:]
        if not handlers:
            return
        paths = self._paths(first, module, given)
        if not paths:
            self._open(call, module, f"a route whose path is {written(first)[:60]}, not a text that the source tells")
        flat = [one for each in handlers for one in self._flat(each, module, given)]
        guards = [name for one, place in flat[:-1] if (name := guard_name(self._values, one, place))]
        request = next((found for one, _ in flat[:-1] if (found := _schema(one))), "")
        for place in places:
            for path in paths:
                method = ANY if verb == "all" else "DELETE" if verb == "del" else verb.upper()
                place.routes.append(
                    Endpoint(
                        method,
                        path,
                        handler_name(flat[-1][0]) if flat else "",
                        module.path,
                        call.start_point.row + 1,
                        request=request,
                        auth=", ".join(dict.fromkeys(guards)),
                        framework=self._dialect.name,
                        certain=not _conditional(call),
                    )
                )

    def _paths(self, node: Node, module: JsModule, given: Given | None) -> list[str]:
        text = self._values.text(node, module, given)
        if text is not None:
            return [text]
        for value in self._values.of(node, module, given):
            if isinstance(value, JsNode) and value.node.type == "array":
                texts = [self._values.text(one, value.module) for one in value.node.named_children]
                return [one for one in texts if one is not None] if None not in texts else []
        return [written(node)] if node.type == "regex" else []

    def _flat(self, node: Node, module: JsModule, given: Given | None) -> Iterator[tuple[Node, JsModule]]:
        """Handlers, those in arrays one by one."""
        arrays = [
            one for one in self._values.of(node, module, given) if isinstance(one, JsNode) and one.node.type == "array"
        ]
        if arrays and node.type in ("array", "identifier", "spread_element"):
            for one in arrays[0].node.named_children:
                yield from self._flat(one, arrays[0].module, None)
        else:
            yield node, module

    def _used(self, call: Node, target: Node, module: JsModule, given: Given | None) -> None:
        outers = self._made(target, module, given)
        args = arguments(call)
        if not outers or not args:
            return
        paths = self._paths(args[0], module, given) if args[0].type != "array" or len(args) > 1 else []
        pathless = not paths and any(not isinstance(one, JsText) for one in self._values.of(args[0], module, given))
        rest = args if pathless or not (paths or len(args) > 1) else args[1:]
        guards: list[str] = []
        children: list[Place] = []
        for node, place in (one for each in rest for one in self._flat(each, module, given)):
            made = self._made(node, place, given)
            children += made
            name = "" if made else guard_name(self._values, node, place)
            guards += [name] if name else []
        if not paths and rest is not args and children:
            self._open(call, module, f"a mount at {written(args[0])[:60]}, which is not a text that the source tells")
            for child in children:
                child.mounted = True
        for outer in outers:
            for child in children:
                for path in paths or ([""] if rest is args else []):
                    certain = not _conditional(call)
                    self._mount(outer, Mount(child, path.rstrip("/"), tuple(guards), certain), call, module)
            if not children and not paths:
                line = call.start_point.row + 1
                self._uses += [_Use(outer, module.path, line, name) for name in guards]


def _chained_route(target: Node) -> tuple[Node, Node] | None:
    """The router and the path of `router.route(path).get(…).post(…)`, from what the last method is called on."""
    node: Node | None = target
    while node is not None and node.type == "call_expression":
        callee = node.child_by_field_name("function")
        if callee is None or callee.type != "member_expression":
            return None
        name = written(callee.child_by_field_name("property"))
        inner, given = callee.child_by_field_name("object"), arguments(node)
        if name == "route" and inner is not None and len(given) == 1:
            return inner, given[0]
        if name not in VERBS:
            return None
        node = inner
    return None


def _conditional(node: Node) -> bool:
    place = node.parent
    while place is not None and (place.type not in FUNCTIONS or loop_items(place) is not None):
        if place.type in ("if_statement", "ternary_expression", "switch_case"):
            return True
        place = place.parent
    return False


def _assigned(pattern: Node, element: Node, module: JsModule) -> Given:
    """What a loop's variable, or the names that it is taken apart into, stand for."""
    if pattern.type == "identifier":
        return {written(pattern): (element, module)}
    found: dict[str, tuple[Node, JsModule]] = {}
    for index, part in enumerate(pattern.named_children):
        if pattern.type == "array_pattern" and element.type == "array" and index < len(element.named_children):
            found[written(part)] = (element.named_children[index], module)
        elif pattern.type == "object_pattern" and (value := pair(element, written(part))) is not None:
            found[written(part)] = (value, module)
    return found


def _schema(node: Node) -> str:
    """What a validating middleware is given."""
    if node.type != "call_expression" or "valid" not in written(node.child_by_field_name("function")).lower():
        return ""
    given = arguments(node)
    return written(given[-1])[:60] if given else ""
