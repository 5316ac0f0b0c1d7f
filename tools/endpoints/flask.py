"""Endpoints of Flask and Quart: apps, blueprints, class-based views, and the APIs of Smorest, RESTful and RESTX."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backend_crew.tools.endpoints.graph import Mount, Place, expanded
from backend_crew.tools.endpoints.protocol import Endpoint, EndpointScan, Framework
from backend_crew.tools.endpoints.python_guards import called_guards, decorator_guards, refuses
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import FUNCTIONS, Block, Event, Module, called, keywords
from backend_crew.tools.static.python_names import heirs, mentions
from backend_crew.tools.static.python_objects import Class, Function, Given, Made, Text
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved

_APPS = frozenset({"flask.Flask", "flask.app.Flask", "quart.Quart", "apiflask.APIFlask", "flask_openapi3.OpenAPI"})
_BLUEPRINTS = frozenset(
    {"flask.Blueprint", "flask.blueprints.Blueprint", "flask_smorest.Blueprint", "quart.Blueprint",
     "apiflask.APIBlueprint", "flask_openapi3.APIBlueprint", "flask_smorest.blueprint.Blueprint"}
)  # fmt: skip
_APIS = frozenset({"flask_smorest.Api", "flask_restful.Api", "flask_restx.Api", "flask_restplus.Api"})
_SPACES = frozenset(
    {"flask_restx.Namespace", "flask_restplus.Namespace", "flask_restx.Api.namespace", "flask_restplus.Api.namespace"}
)
_OURS = _APPS | _BLUEPRINTS | _APIS | _SPACES
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
_HOOKS = ("before_request", "before_app_request")
_REGISTER = frozenset({"register_blueprint", "add_namespace", "init_app", "register_api"})
_RULES = ("add_url_rule", "add_resource")
# What is read in a file that makes nothing itself.
_TELLING = (
    rf"@[^\n]{{0,200}}\.(?:{'|'.join(('route', *_VERBS, *_HOOKS))})\b",
    rf"\.(?:{'|'.join((*_RULES, *sorted(_REGISTER)))})\b",
)


@dataclass(frozen=True)
class _View:
    """What answers: a function, or a class with its methods; `auth` is what was put around it."""

    function: Function | None = None
    of: Class | None = None
    name: str = ""
    auth: tuple[str, ...] = ()


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    ours = {name.rpartition(".")[2] for name in _OURS}
    names = heirs(project.sources, paths, ours, FRAMEWORK.words)
    modules = project.python.python.load(paths, mentions(names, *_TELLING))
    return _Reading(project.python, modules, names).scan()


FRAMEWORK = Framework(
    "Flask",
    (".py",),
    (b"flask", b"quart"),
    (b".route(", b"register_blueprint", b"add_url_rule", b"add_resource", b".before_request", b"add_namespace"),
    read,
)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module], names: frozenset[str]) -> None:
        self._values = values
        self._names = names
        self._modules = modules
        self._places: dict[int, Place] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for module in self._modules:
            for event in module.calls:
                self._call(event)
            for event in (*module.functions, *module.classes):
                self._decorated(event)
        endpoints = tuple(expanded(self._places.values(), self._unresolved))
        return EndpointScan(endpoints, tuple(self._unresolved))

    def _open(self, node: ast.AST, block: Block, why: str) -> None:
        self._unresolved.append(Unresolved(block.module.path, getattr(node, "lineno", 1), why))

    # Places.

    def _receivers(self, node: ast.expr, block: Block, given: Given | None = None) -> list[Made] | None:
        """The apps, blueprints and APIs that an expression may be; None where nothing at all is known of it."""
        values = self._values.of(node, block, given)
        if not values:
            return None
        return [one for one in values if isinstance(one, Made) and self._values.types(one) & _OURS]

    def _place(self, made: Made) -> Place:
        known = self._places.get(id(made.node))
        if known is None:
            types = self._values.types(made)
            prefix = self._prefix(made, types)
            root = bool(types & _APPS)
            path, certain = made.block.module.path, made.certain and (prefix is None or prefix.certain)
            known = Place(path, made.node.lineno, root, None if prefix is None else prefix.value, certain=certain)
            self._places[id(made.node)] = known
            self._hold(made, known, types)
        return known

    def _prefix(self, made: Made, types: frozenset[str]) -> Text | None:
        if types & _APPS or not isinstance(made.node, ast.Call):
            return Text("")
        named = keywords(made.node)
        if types & _SPACES:
            name = next(iter(made.node.args[:1]), None) or named.get("name")
            text = self._values.text(named.get("path") or name, made.block)
            return Text(f"/{text.value.lstrip('/')}", text.certain) if text is not None else None
        given = named.get("prefix" if types & _APIS else "url_prefix")
        return Text("") if given is None else self._values.text(given, made.block)

    def _hold(self, made: Made, place: Place, types: frozenset[str]) -> None:
        """An API lies within the app or blueprint that it is made with, a namespace within the API that makes it."""
        if not isinstance(made.node, ast.Call):
            return
        outer: ast.expr | None = None
        if types & _APIS:
            outer = next(iter(made.node.args[:1]), None) or keywords(made.node).get("app")
        elif types & _SPACES and called(made.node) == "namespace" and isinstance(made.node.func, ast.Attribute):
            outer = made.node.func.value
        for one in (self._receivers(outer, made.block) or ()) if outer is not None else ():
            self._place(one).mount(Mount(place))

    # What is collected.

    def _call(self, event: Event) -> None:
        node = event.node
        if not isinstance(node, ast.Call):
            return
        name = called(node)
        if name in _REGISTER and isinstance(node.func, ast.Attribute):
            self._registered(event, node, node.func)
        elif name in _RULES and isinstance(node.func, ast.Attribute):
            self._ruled(event, node, node.func)
        elif (name[:1].isupper() or name == "namespace") and self._can_be_ours(name, node, event.block):
            for made in self._receivers(node, event.block) or ():  # an app may have no route of its own
                self._place(made)

    def _can_be_ours(self, name: str, node: ast.Call, block: Block) -> bool:
        return name in self._names or not self._values.defined(node.func, block)

    def _ruled(self, event: Event, node: ast.Call, function: ast.Attribute) -> None:
        if function.attr == "add_resource":
            handler, rules = next(iter(node.args[:1]), None), node.args[1:]
        else:
            handler, rules = keywords(node).get("view_func") or next(iter(node.args[2:3]), None), node.args[:1]
        for given in self._values.turns(event):
            for made in self._receivers(function.value, event.block, given) or ():
                self._add(made, event, node, self._view(handler, event.block, given), rules, given)

    def _registered(self, event: Event, node: ast.Call, function: ast.Attribute) -> None:
        named = keywords(node)
        argument = next(iter(node.args[:1]), None) or named.get("blueprint")
        given_prefix = named.get("url_prefix") or named.get("path")
        for given in self._values.turns(event) if argument is not None else ():
            assert argument is not None
            parents = self._receivers(function.value, event.block, given)
            children = self._receivers(argument, event.block, given)
            if function.attr == "init_app":
                parents, children = children, [one for one in parents or () if self._values.types(one) & _APIS]
            elif not children and parents != []:
                self._open(node, event.block, f"{function.attr} of {ast.unparse(argument)[:60]}, which is not known")
            prefix = Text("") if given_prefix is None else self._values.text(given_prefix, event.block, given)
            for child in (one for one in children or () if parents):
                if prefix is None:
                    self._open(node, event.block, "a prefix that is not a text that the source tells")
                    self._place(child).mounted = True
                for parent in (parents or ()) if prefix is not None else ():
                    assert prefix is not None
                    certain = event.certain and prefix.certain
                    inner, outer = self._place(child), self._place(parent)
                    if inner is not outer and not (function.attr == "init_app" and inner.mounted):
                        replaces = given_prefix is not None
                        outer.mount(Mount(inner, prefix.value, certain=certain, replaces=replaces))

    def _decorated(self, event: Event) -> None:
        if isinstance(event.node, ast.Call):
            return
        for decorator in event.node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if not isinstance(target, ast.Attribute):
                continue
            if target.attr in _HOOKS and isinstance(event.node, FUNCTIONS):
                self._before(event, target)
            elif isinstance(decorator, ast.Call) and target.attr in ("route", *_VERBS):
                self._routed(event, decorator, target)

    def _before(self, event: Event, target: ast.Attribute) -> None:
        function = self._values.function_of(event)
        guards = [*decorator_guards(self._values, function.node.decorator_list, event.block)]
        for made in self._receivers(target.value, event.block) or ():
            if guards or refuses(function):
                self._place(made).auth += (function.node.name,)

    def _routed(self, event: Event, decorator: ast.Call, target: ast.Attribute) -> None:
        for given in self._values.turns(event):
            receivers = self._receivers(target.value, event.block, given)
            for made in receivers or ():
                if isinstance(event.node, ast.ClassDef):
                    view = _View(of=self._values.class_of(event), name=event.node.name)
                else:
                    function = self._values.function_of(event)
                    view = _View(function, name=function.node.name)
                self._add(made, event, decorator, view, decorator.args, given)
            if receivers is None and target.attr == "route" and _imports_flask(event.block.module):
                receiver = ast.unparse(target.value)
                self._open(
                    decorator, event.block, f"a route on {receiver}, which is not known to be an app or blueprint"
                )

    def _view(self, node: ast.expr | None, block: Block, given: Given | None) -> _View:
        """What a view expression leads to: a function, a class with or without as_view, or one that is wrapped."""
        if node is None:
            return _View()
        if isinstance(node, ast.Call):
            if called(node) == "as_view" and isinstance(node.func, ast.Attribute):
                return self._view(node.func.value, block, given)
            if node.args:
                guards = tuple(decorator_guards(self._values, [node.func], block))
                inner = self._view(node.args[0], block, given)
                return replace(inner, auth=(*guards, *inner.auth))
        for value in self._values.of(node, block, given):
            if isinstance(value, Function):
                return _View(value, name=value.node.name)
            if isinstance(value, Class):
                return _View(of=value, name=value.node.name)
        for alias, place in self._values.written(node, block):
            if isinstance(alias, ast.Call):
                return self._view(alias, place, given)
        return _View(name=ast.unparse(node))

    def _add(
        self, made: Made, event: Event, call: ast.Call, view: _View, rules: Sequence[ast.expr], given: Given | None
    ) -> None:
        texts = [self._values.text(one, event.block, given) for one in rules]
        if not texts and (rule := keywords(call).get("rule")) is not None:
            texts = [self._values.text(rule, event.block, given)]
        restx = self._values.types(made) & (_SPACES | _APIS)
        for text in texts if restx or called(call) == "add_resource" else texts[:1]:
            if text is None:
                self._open(call, event.block, "a route whose rule is not a text that the source tells")
                continue
            answers = list(self._answers(view, call, event.block))
            if not answers:
                self._open(call, event.block, f"the methods of {text.value} are not told by the source")
            for method, handler, function in answers:
                self._place(made).routes.append(self._endpoint(method, text, handler, function, view, event, call))

    def _endpoint(
        self,
        method: str,
        rule: Text,
        handler: str,
        function: Function | None,
        view: _View,
        event: Event,
        call: ast.Call,
    ) -> Endpoint:
        guards = [*view.auth]
        if view.of is not None:
            guards += self._class_guards(view.of)
        decorators = function.node.decorator_list if function is not None else []
        if function is not None:
            guards += decorator_guards(self._values, decorators, function.block)
            guards += called_guards(self._values, function)
        request, response = _schemas(decorators)
        returned = function.node.returns if function is not None else None
        return Endpoint(
            method,
            rule.value,
            handler,
            event.block.module.path,
            call.lineno,
            request,
            response or (ast.unparse(returned) if returned is not None else ""),
            ", ".join(dict.fromkeys(guards)),
            "Flask",
            event.certain and rule.certain,
        )

    def _class_guards(self, of: Class) -> Iterator[str]:
        for name in ("decorators", "method_decorators"):
            found = self._values.attribute(of, name)
            items = self._values.items(found[0].to, found[1]) if found and isinstance(found[0].to, ast.expr) else None
            for node, block in items.parts if items is not None else ():
                yield from decorator_guards(self._values, [node], block)
        yield from decorator_guards(self._values, of.node.decorator_list, of.block)

    def _answers(self, view: _View, call: ast.Call, block: Block) -> Iterator[tuple[str, str, Function | None]]:
        """Each method with its handler: as the call says, else the methods of the class, else GET."""
        verb = called(call)
        if verb in _VERBS:
            yield verb.upper(), view.name, view.function
            return
        given = keywords(call).get("methods")
        found = self._values.attribute(view.of, "methods") if view.of is not None and given is None else None
        if found is not None and isinstance(found[0].to, ast.expr):
            given, block = found[0].to, found[1]
        if given is not None:
            items = self._values.items(given, block)
            texts = [self._values.text(*part) for part in items.parts] if items is not None else [None]
            for text in texts if None not in texts else ():
                method = text.value.upper() if text is not None else ""
                function = self._method(view.of, method.lower()) or view.function
                yield (
                    method,
                    view.name if function in (None, view.function) else f"{view.name}.{method.lower()}",
                    function,
                )
        elif view.of is not None:
            own = [(verb, self._method(view.of, verb)) for verb in _VERBS]
            yield from ((verb.upper(), f"{view.name}.{verb}", one) for verb, one in own if one is not None)
        else:
            yield "GET", view.name, view.function

    def _method(self, of: Class | None, name: str) -> Function | None:
        found = self._values.attribute(of, name) if of is not None else None
        return Function(found[0].to, found[1]) if found is not None and isinstance(found[0].to, FUNCTIONS) else None


def _schemas(decorators: Sequence[ast.expr]) -> tuple[str, str]:
    """Request and response as decorators of Smorest, APIFlask and RESTX name them."""
    request = response = ""
    for one in decorators:
        if not isinstance(one, ast.Call):
            continue
        name = called(one)
        if name in ("arguments", "input", "body", "expect") and one.args:
            request = request or ast.unparse(one.args[0])
        elif name in ("response", "output", "marshal_with", "marshal_list_with"):
            schema = [*one.args, *keywords(one).values()]
            named = [node for node in schema if not isinstance(node, ast.Constant)]
            response = response or (ast.unparse(named[0]) if named else "")
    return request, response


def _imports_flask(module: Module) -> bool:
    names = [binding.to for found in module.block.bindings.values() for binding in found]
    return any(getattr(one, "module", "").partition(".")[0] in ("flask", "quart") for one in names)
