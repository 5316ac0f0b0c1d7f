"""Endpoints of NestJS: controllers with their prefixes, versions, guards, and the paths of modules."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tree_sitter import Node

from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework, joined
from backend_crew.tools.static.decorators import decorator_arguments, decorator_name, decorators, named
from backend_crew.tools.static.javascript import JavaScript, JsNode
from backend_crew.tools.static.javascript_tree import JsModule, arguments, pair, returns, written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_VERBS = {"Get": "GET", "Post": "POST", "Put": "PUT", "Patch": "PATCH", "Delete": "DELETE", "Head": "HEAD",
          "Options": "OPTIONS", "All": ANY, "Sse": "GET"}  # fmt: skip
_OPEN = re.compile(r"^(Is)?Public$|SkipAuth|AllowAnon|NoAuth|Unauthenticated|^Open$", re.I)
_AUTH = re.compile(r"auth(?!or)|guard|jwt|roles?$|permission|polic|access", re.I)
_NOT_GUARDS = re.compile(r"throttl|^Api|ratelimit", re.I)


@dataclass
class _App:
    """One bootstrap: its folder, what it puts before all paths, and what guards all."""

    folder: str
    prefix: str | None = ""
    excluded: tuple[str, ...] = ()
    versions: bool = False
    version: str = ""
    mark: str = "v"
    guards: list[str] = field(default_factory=list)


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of the controllers in these files."""
    values = project.javascript
    return _Reading(values, values.load(paths)).scan()


FRAMEWORK = Framework(
    "NestJS", (".ts", ".js"), (b"@nestjs/common", b"@nestjs/core"), (b"Controller", b"@Module(", b"registerAs"), read
)


class _Reading:
    def __init__(self, values: JavaScript, modules: Sequence[JsModule]) -> None:
        self._values = values
        self._modules = modules
        self._apps: list[_App] = []
        self._module_paths: dict[str, str] = {}
        self._controllers: dict[str, set[str]] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for module in self._modules:
            self._bootstrap(module)
        for module in self._modules:
            for node in module.classes:
                self._module(node, module)
            for call in module.calls:
                self._routed_modules(call, module)
        endpoints = [
            one for module in self._modules for node in module.classes for one in self._controller(node, module)
        ]
        return EndpointScan(tuple(endpoints), tuple(self._unresolved))

    def _open(self, node: Node, module: JsModule, why: str) -> None:
        self._unresolved.append(Unresolved(module.path, node.start_point.row + 1, why))

    # What holds for a whole application.

    def _bootstrap(self, module: JsModule) -> None:
        calls = {written(call.child_by_field_name("function")).rpartition(".")[2]: call for call in module.calls}
        if not {"setGlobalPrefix", "enableVersioning", "useGlobalGuards"} & calls.keys():
            return
        app = _App(_source_folder(module.path))
        if "setGlobalPrefix" in calls:
            given = arguments(calls["setGlobalPrefix"])
            app.prefix = (self._values.text(given[0], module) or self._configured(given[0], module)) if given else ""
            if app.prefix is None:
                why = "a global prefix that is not a text that the source tells: no endpoint below it is listed"
                self._open(calls["setGlobalPrefix"], module, why)
            app.excluded = tuple(self._excluded(given[1], module)) if len(given) > 1 else ()
        if "enableVersioning" in calls:
            self._versioning(app, arguments(calls["enableVersioning"]), module)
        for one in arguments(calls["useGlobalGuards"]) if "useGlobalGuards" in calls else ():
            app.guards.append(written(one.child_by_field_name("constructor")) or written(one))
        self._apps.append(app)

    def _configured(self, node: Node, module: JsModule) -> str | None:
        """`config.get('app.prefix')`, as `registerAs('app', () => ({ prefix: … }))` of the repository gives it."""
        given = arguments(node) if node.type == "call_expression" else []
        called = written(node.child_by_field_name("function")).rpartition(".")[2]
        key = self._values.text(given[0], module) if given and called in ("get", "getOrThrow") else None
        space, _, name = (key or "").partition(".")
        for place in self._modules if name else ():
            for call in place.calls:
                inner = arguments(call)
                if written(call.child_by_field_name("function")) != "registerAs" or len(inner) < 2:
                    continue
                if self._values.text(inner[0], place) == space:
                    for returned in returns(inner[1]):
                        values = [one for one in self._values.of(returned, place) if isinstance(one, JsNode)]
                        found = pair(values[0].node, name) if values and values[0].node.type == "object" else None
                        return self._values.text(found, place)
        return None

    def _excluded(self, options: Node, module: JsModule) -> Iterator[str]:
        listed = pair(options, "exclude") if options.type == "object" else None
        for one in listed.named_children if listed is not None else ():
            text = self._values.text(pair(one, "path") if one.type == "object" else one, module)
            if text is not None:
                yield text.strip("/")

    def _versioning(self, app: _App, given: list[Node], module: JsModule) -> None:
        options = given[0] if given and given[0].type == "object" else None
        kind = written(pair(options, "type")) if options is not None else ""
        app.versions = not kind or kind.endswith("URI")
        if options is not None:
            app.version = self._values.text(pair(options, "defaultVersion"), module) or ""
            prefix = pair(options, "prefix")
            app.mark = "" if written(prefix) == "false" else self._values.text(prefix, module) or "v"

    def _module(self, node: Node, module: JsModule) -> None:
        """Which controllers a module has, and the guards that it gives the whole application."""
        for one in named(node, "Module"):
            for options in decorator_arguments(one)[:1]:
                name = written(node.child_by_field_name("name"))
                listed = pair(options, "controllers")
                self._controllers.setdefault(name, set()).update(self._names(listed, module))
                for guard in re.findall(
                    r"APP_GUARD,\s*use(?:Class|Existing):\s*(\w+)", written(pair(options, "providers"))
                ):
                    self._app_of(module.path).guards.append(guard)

    def _names(self, listed: Node | None, module: JsModule) -> Iterator[str]:
        if listed is None:
            return
        arrays = [
            one for one in self._values.of(listed, module) if isinstance(one, JsNode) and one.node.type == "array"
        ]
        for array in arrays:
            for one in array.node.named_children:
                yield from (
                    self._names(one.named_children[0], array.module) if one.type == "spread_element" else [written(one)]
                )

    def _app_of(self, path: str) -> _App:
        """The application whose folder a file lies in; of one alone, that one."""
        if not self._apps:
            self._apps.append(_App(""))
        within = [one for one in self._apps if path.startswith(one.folder)]
        return max(within or self._apps[:1], key=lambda one: len(one.folder))

    def _routed_modules(self, call: Node, module: JsModule) -> None:
        if written(call.child_by_field_name("function")) == "RouterModule.register" and arguments(call):
            self._routes(arguments(call)[0], module, "")

    def _routes(self, listed: Node, module: JsModule, prefix: str) -> None:
        for value in self._values.of(listed, module):
            for one in value.node.named_children if isinstance(value, JsNode) and value.node.type == "array" else ():
                if one.type != "object" or not isinstance(value, JsNode):
                    if one.type == "identifier":
                        self._module_paths[written(one)] = prefix
                    continue
                path = joined(prefix, self._values.text(pair(one, "path"), value.module) or "")
                self._module_paths[written(pair(one, "module"))] = path
                children = pair(one, "children")
                if children is not None:
                    self._routes(children, value.module, path)

    # Controllers.

    def _controller(self, node: Node, module: JsModule) -> Iterator[Endpoint]:
        for one in named(node, "Controller"):
            name = written(node.child_by_field_name("name"))
            holders = [each for each, controllers in self._controllers.items() if name in controllers]
            if not holders and any(self._controllers.values()):
                self._open(node, module, f"{name} is in the `controllers` of no module")
                return
            paths, version = self._prefixes(one, module)
            if paths is None:
                self._open(one, module, f"the path of {name} is not a text that the source tells")
                return
            outer = next((self._module_paths[each] for each in holders if each in self._module_paths), "")
            for method, place in self._methods(node, module):
                for path in paths:
                    yield from self._endpoints(node, method, module, joined(outer, path), version, place)

    def _prefixes(self, decorator: Node, module: JsModule) -> tuple[list[str] | None, Node | None]:
        given = decorator_arguments(decorator)
        if not given:
            return [""], None
        if given[0].type == "object":
            inner = pair(given[0], "path")
            return (self._texts(inner, module) if inner is not None else [""]), pair(given[0], "version")
        return self._texts(given[0], module), None

    def _texts(self, node: Node, module: JsModule) -> list[str] | None:
        text = self._values.text(node, module)
        if text is not None:
            return [text]
        for value in self._values.of(node, module):
            if isinstance(value, JsNode) and value.node.type == "array":
                texts = [self._values.text(one, value.module) for one in value.node.named_children]
                return [one for one in texts if one is not None] if None not in texts else None
        return None

    def _methods(
        self, node: Node, module: JsModule, seen: frozenset[str] = frozenset()
    ) -> Iterator[tuple[Node, JsModule]]:
        """The methods of a class and of those that it extends."""
        body = node.child_by_field_name("body")
        own = [one for one in (body.named_children if body is not None else ()) if one.type == "method_definition"]
        names = {written(one.child_by_field_name("name")) for one in own}
        yield from ((one, module) for one in own if written(one.child_by_field_name("name")) not in seen)
        for base in self._values.bases(node, module):
            yield from self._methods(base.node, base.module, seen | names)

    def _endpoints(
        self, node: Node, method: Node, module: JsModule, prefix: str, version: Node | None, place: JsModule
    ) -> Iterator[Endpoint]:
        marks = decorators(method)
        app = self._app_of(module.path)
        for mark in marks:
            verb = _VERBS.get(decorator_name(mark))
            if verb is None or app.prefix is None:
                continue
            given = decorator_arguments(mark)
            paths = self._texts(given[0], place) if given else [""]
            if paths is None:
                self._open(mark, place, "a route whose path is not a text that the source tells")
            own = next((decorator_arguments(one)[0] for one in marks if decorator_name(one) == "Version"), None)
            whole = next((decorator_arguments(one)[0] for one in named(node, "Version")), None)
            for path in paths or ():
                inner = joined(prefix, path).rstrip("/") or "/"
                for versioned in self._versions(app, own or version or whole, module, inner):
                    start = app.prefix if app.prefix and inner.strip("/") not in app.excluded else ""
                    yield Endpoint(
                        verb,
                        joined(start, versioned).rstrip("/") or "/",
                        f"{written(node.child_by_field_name('name'))}.{written(method.child_by_field_name('name'))}",
                        place.path,
                        mark.start_point.row + 1,
                        _body(method),
                        _answer(method),
                        ", ".join(self._guards(node, marks, app)),
                        "NestJS",
                    )

    def _versions(self, app: _App, given: Node | None, module: JsModule, path: str) -> list[str]:
        if not app.versions:
            return [path]
        if given is not None and written(given).endswith("VERSION_NEUTRAL"):
            return [path]
        versions = (self._texts(given, module) if given is not None else None) or ([app.version] if app.version else [])
        return [joined(f"{app.mark}{one}", path) for one in versions] or [path]

    def _guards(self, node: Node, marks: list[Node], app: _App) -> dict[str, None]:
        everything = [*decorators(node), *marks]
        if any(_OPEN.search(decorator_name(one)) for one in marks):
            return {}
        found: dict[str, None] = {}
        if not any(_OPEN.search(decorator_name(one)) for one in everything):
            found.update(dict.fromkeys(one for one in app.guards if not _NOT_GUARDS.search(one)))
        for one in everything:
            name = decorator_name(one)
            if name == "UseGuards":
                for guard in decorator_arguments(one):
                    text = written(guard.child_by_field_name("constructor")) or written(guard)
                    found.update({text: None} if not _NOT_GUARDS.search(text) else {})
            elif _AUTH.search(name) and not _NOT_GUARDS.search(name):
                found[name] = None
        return found


def _body(method: Node) -> str:
    given = method.child_by_field_name("parameters")
    for one in given.named_children if given is not None else ():
        marks = {decorator_name(each): each for each in one.children if each.type == "decorator"}
        kind = one.child_by_field_name("type")
        if "Body" in marks and kind is not None:
            return written(kind).lstrip(": ")
        if marks.keys() & {"UploadedFile", "UploadedFiles"}:
            return "file"
    return ""


def _answer(method: Node) -> str:
    returned = method.child_by_field_name("return_type")
    if returned is not None:
        text = written(returned).lstrip(": ")
        return re.sub(r"^(?:Promise|Observable)<(.*)>$", r"\1", text, flags=re.DOTALL)
    for one in decorators(method):
        if decorator_name(one) in ("ApiOkResponse", "ApiCreatedResponse", "ApiResponse"):
            options = next(iter(decorator_arguments(one)), None)
            kind = pair(options, "type") if options is not None and options.type == "object" else None
            if kind is not None:
                return written(kind)
    return ""


def _source_folder(path: str) -> str:
    """The folder of an application: that of its bootstrap file, or of the `src` around it."""
    parts = PurePosixPath(path).parts[:-1]
    if "src" in parts:
        parts = parts[: len(parts) - parts[::-1].index("src")]
    return "/".join(parts) + "/" if parts else ""
