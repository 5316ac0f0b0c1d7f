"""Endpoints of Django and Django REST framework: URL patterns from the root, includes, routers with their viewsets."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from backend_crew.tools.endpoints.django_patterns import readable
from backend_crew.tools.endpoints.django_routers import own_prefix
from backend_crew.tools.endpoints.django_views import Answer, Views
from backend_crew.tools.endpoints.protocol import Endpoint, EndpointScan, Framework
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import Block, Event, Module, called, keywords
from backend_crew.tools.static.python_objects import Class, External, Made, Package
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved

_PATTERNS = frozenset({"path", "re_path", "url"})
_WRAPPERS = frozenset({"i18n_patterns", "format_suffix_patterns", "list", "tuple", "decorator_include", "patterns"})
_DEEP = 25


@dataclass(frozen=True)
class _Place:
    """Where a pattern is read: what stands before it, and whether it is there in any case."""

    prefix: str
    block: Block
    certain: bool
    depth: int


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every root of URLs that the settings name, or that nothing includes."""
    modules = project.python.python.load(paths)
    return _Reading(project.python, modules).scan()


FRAMEWORK = Framework(
    "Django", (".py",), (b"ROOT_URLCONF", b"urlpatterns"), (b"Router(", b"DEFAULT_PERMISSION_CLASSES"), read
)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._views = Views(values, self._default_permissions())
        self._endpoints: list[Endpoint] = []
        self._unresolved: list[Unresolved] = []
        self._included: set[str] = set()
        self._framework = "Django"

    def scan(self) -> EndpointScan:
        roots = dict.fromkeys(self._roots())
        for root in roots:
            self._module(root, _Place("/", root.block, True, 0))
        if not roots:
            having = [one for one in self._modules if "urlpatterns" in one.block.bindings]
            self._included_by(having)
            for module in having:
                if module.path not in self._included:
                    self._module(module, _Place("/", module.block, False, 0))
        return EndpointScan(tuple(self._endpoints), tuple(self._unresolved))

    def _open(self, node: ast.AST, block: Block, why: str) -> None:
        self._unresolved.append(Unresolved(block.module.path, getattr(node, "lineno", 1), why))

    def _roots(self) -> Iterator[Module]:
        for module in self._modules:
            for binding in module.block.bindings.get("ROOT_URLCONF", ()):
                text = self._values.text(binding.to, module.block) if isinstance(binding.to, ast.expr) else None
                path = self._values.python.locate(text.value, module.path) if text is not None else None
                found = self._values.python.module(path) if path is not None else None
                if found is not None:
                    yield found
                else:
                    named = text.value if text is not None else "something that the source does not tell"
                    why = f"ROOT_URLCONF is {named}, which is not a file here"
                    self._unresolved.append(Unresolved(module.path, 1, why))

    def _default_permissions(self) -> tuple[str, ...]:
        for module in self._modules:
            for binding in module.block.bindings.get("REST_FRAMEWORK", ()):
                for key, value in zip(*_pairs(binding.to), strict=True):
                    if isinstance(key, ast.Constant) and key.value == "DEFAULT_PERMISSION_CLASSES":
                        items = self._values.items(value, module.block)
                        texts = [self._values.text(*part) for part in items.parts] if items is not None else []
                        names = [one.value.rpartition(".")[2] for one in texts if one is not None]
                        return tuple(name for name in names if name != "AllowAny")
        return ()

    def _included_by(self, modules: Sequence[Module]) -> None:
        """Notes which files are included by others, where no settings name the root."""
        for module in modules:
            for event in module.calls:
                if isinstance(event.node, ast.Call) and called(event.node) == "include" and event.node.args:
                    found = self._included_module(event.node.args[0], event.block)
                    if found is not None:
                        self._included.add(found.path)

    # Lists of patterns.

    def _module(self, module: Module, place: _Place) -> None:
        if place.depth > _DEEP:
            return
        inner = _Place(place.prefix, module.block, place.certain, place.depth + 1)
        for name in ("urlpatterns", "+urlpatterns"):
            for binding in module.block.bindings.get(name, ()):
                if isinstance(binding.to, ast.expr):
                    certain = place.certain and binding.certain
                    self._list(binding.to, _Place(place.prefix, module.block, certain, inner.depth))
        for event in module.calls:
            if _adds_to_patterns(event.node):
                at = _Place(place.prefix, event.block, place.certain and event.certain, inner.depth)
                self._list(event.node.args[-1], at)

    def _list(self, node: ast.expr, place: _Place) -> None:
        """One expression of patterns: a list, a sum, a name, a router's urls, one pattern."""
        if place.depth > _DEEP:
            return
        match node:
            case ast.List(elts=nodes) | ast.Tuple(elts=nodes):
                for one in nodes:
                    self._list(one, place)
            case ast.BinOp(left=left, right=right):
                self._list(left, place)
                self._list(right, place)
            case ast.Starred(value=inner):
                self._list(inner, place)
            case ast.Call():
                self._call(node, place)
            case ast.Attribute(attr="urls", value=inner):
                self._router(inner, node, place)
            case ast.Name() | ast.Attribute():
                self._named(node, place)
            case _:
                self._open(node, place.block, "URL patterns that are built where the source does not tell")

    def _named(self, node: ast.expr, place: _Place) -> None:
        found = list(self._values.written(node, place.block))
        for expression, block in found:
            self._list(expression, _Place(place.prefix, block, place.certain, place.depth + 1))
        if isinstance(node, ast.Name):
            for binding in place.block.bindings.get(f"+{node.id}", ()):
                if isinstance(binding.to, ast.expr):
                    self._list(
                        binding.to,
                        _Place(place.prefix, place.block, place.certain and binding.certain, place.depth + 1),
                    )
        if not found:
            self._open(node, place.block, f"URL patterns of {ast.unparse(node)[:60]}, which is not known")

    def _call(self, node: ast.Call, place: _Place) -> None:
        name = called(node)
        if name in _PATTERNS:
            self._pattern(node, name, place)
        elif name == "include":
            self._include(node, place)
        elif name in _WRAPPERS:
            prefix = f"{place.prefix}<language>/" if name == "i18n_patterns" else place.prefix
            for one in node.args[:1] if name == "format_suffix_patterns" else node.args:
                self._list(one, _Place(prefix, place.block, place.certain, place.depth + 1))
        elif name not in ("static", "staticfiles_urlpatterns", "debug_toolbar_urls"):
            self._open(node, place.block, f"URL patterns of {ast.unparse(node.func)[:60]}(…), which is not read")

    def _pattern(self, node: ast.Call, name: str, place: _Place) -> None:
        named = keywords(node)
        argument = next(iter(node.args[:1]), None) or named.get("route") or named.get("regex")
        view = next(iter(node.args[1:2]), None) or named.get("view")
        if isinstance(argument, ast.Call) and argument.args:  # gettext_lazy("…")
            argument = argument.args[0]
        text = self._values.text(argument, place.block)
        if text is None or view is None:
            self._open(node, place.block, "a URL pattern that is not a text that the source tells")
            return
        route = text.value if name == "path" else readable(text.value)
        inner = _Place(place.prefix + route, place.block, place.certain and text.certain, place.depth + 1)
        if isinstance(view, ast.Call) and called(view) == "include":
            self._include(view, inner)
        elif isinstance(view, (ast.List, ast.Tuple)):
            self._list(view.elts[0] if isinstance(view, ast.Tuple) and view.elts else view, inner)
        elif isinstance(view, ast.Attribute) and view.attr == "urls":
            self._router(view.value, view, inner)
        else:
            for answer in self._views.answers(view, place.block):
                self._add(answer, inner.prefix, node, inner)

    def _include(self, node: ast.Call, place: _Place) -> None:
        argument = next(iter(node.args[:1]), None) or keywords(node).get("arg")
        if argument is None:
            return
        if isinstance(argument, ast.Tuple) and argument.elts:
            argument = argument.elts[0]
        module = self._included_module(argument, place.block)
        if module is not None:
            self._module(module, _Place(place.prefix, module.block, place.certain, place.depth + 1))
            return
        text = self._values.text(argument, place.block)
        if text is not None:
            self._open(node, place.block, f"the endpoints of {text.value}, which is not in this repository")
        else:
            self._list(argument, place)

    def _included_module(self, node: ast.expr, block: Block) -> Module | None:
        text = self._values.text(node, block)
        if text is not None:
            path = self._values.python.locate(text.value, block.module.path)
            return self._values.python.module(path) if path is not None else None
        packages = [one for one in self._values.of(node, block) if isinstance(one, Package)]
        return packages[0].module if packages else None

    def _add(self, answer: Answer, path: str, node: ast.AST, place: _Place) -> None:
        self._endpoints.append(
            Endpoint(
                answer.method,
                path,
                answer.handler,
                place.block.module.path,
                getattr(node, "lineno", 1),
                answer.request,
                answer.response,
                answer.auth,
                "Django",
                place.certain,
            )
        )

    # Routers of REST framework.

    def _router(self, node: ast.expr, whole: ast.expr, place: _Place) -> None:
        values = self._values.of(node, place.block)
        routers = [
            one for one in values if isinstance(one, Made) and any("Router" in kind for kind in self._values.types(one))
        ]
        if not routers:
            outside = [one.name for one in values if isinstance(one, External)]
            self._open(
                whole,
                place.block,
                f"the endpoints of {outside[0] if outside else ast.unparse(node)[:60]}, which come from a library",
            )
        for router in routers:
            self._routed(router, place)

    def _routed(self, router: Made, place: _Place) -> None:
        nested = self._nested(router)
        if nested is None:
            self._open(router.node, router.block, "a nested router whose parent is not told by the source")
            return
        slash = "/"
        if isinstance(router.node, ast.Call):
            given = keywords(router.node).get("trailing_slash")
            slash = "" if isinstance(given, ast.Constant) and not given.value else "/"
        types = {one.rpartition(".")[2] for one in self._values.types(router)}
        if types & {"DefaultRouter"} or any(one.node.name == "DefaultRouter" for one in _classes(router)):
            self._add(
                Answer("GET", "APIRootView"), place.prefix, router.node, _Place("", router.block, place.certain, 0)
            )
        own = own_prefix(self._values, router)
        if own is None:
            self._open(
                router.node, router.block, "a router whose own register() changes prefixes in a way that is not read"
            )
            place = replace(place, certain=False)
        for event in self._registrations(router):
            self._registered(event, place, place.prefix + nested + (own or ""), slash)

    def _registrations(self, router: Made) -> Iterator[Event]:
        for event in self._values.python.calls_named("register"):
            function = event.node.func if isinstance(event.node, ast.Call) else None
            if isinstance(function, ast.Attribute) and router in self._values.of(function.value, event.block):
                yield event
        for event in self._values.python.calls_named("extend"):  # router.registry.extend(other.registry)
            node = event.node
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            outer, inner = node.func.value, node.args[0]
            if not (isinstance(outer, ast.Attribute) and outer.attr == "registry" and isinstance(inner, ast.Attribute)):
                continue
            for one in (
                self._values.of(inner.value, event.block) if router in self._values.of(outer.value, event.block) else ()
            ):
                if isinstance(one, Made) and one is not router:
                    yield from self._registrations(one)

    def _registered(self, event: Event, place: _Place, start: str, slash: str) -> None:
        assert isinstance(event.node, ast.Call)
        named = keywords(event.node)
        for given in self._values.turns(event):
            prefix = next(iter(event.node.args[:1]), None) or named.get("prefix")
            viewset = next(iter(event.node.args[1:2]), None) or named.get("viewset")
            text = self._values.text(prefix, event.block, given)
            found = self._values.of(viewset, event.block, given) if viewset is not None else ()
            classes = [one for one in found if isinstance(one, Class)]
            if text is None or not classes:
                self._open(event.node, event.block, "a registration whose prefix or viewset is not told by the source")
                continue
            base = start + readable(text.value)
            at = _Place(base, event.block, place.certain and event.certain and text.certain, place.depth)
            self._viewset(classes[0], at, event, slash)

    def _viewset(self, of: Class, place: _Place, event: Event, slash: str) -> None:
        lookup = self._views.text(of, "lookup_url_kwarg") or self._views.text(of, "lookup_field") or "pk"
        base = place.prefix
        whole = base + slash if not base.endswith("/") else base
        detail = f"{base.rstrip('/')}/<{lookup}>"
        for answer in self._views.actions(of):
            alone = answer.handler.rpartition(".")[2] in ("list", "create")
            self._add(answer, whole if alone else detail + slash, event.node, place)
        for extra in self._views.extras(of):
            below = f"{detail if extra.detail else base.rstrip('/')}/{readable(extra.path)}{slash}"
            for answer in extra.answers:
                self._add(answer, below, event.node, place)

    def _nested(self, router: Made, depth: int = 0) -> str | None:
        """What drf-nested-routers puts before a nested router's own prefixes."""
        if not any("Nested" in one for one in self._values.types(router)) or not isinstance(router.node, ast.Call):
            return ""
        arguments = [*router.node.args, *keywords(router.node).values()]
        lookup = self._values.text(keywords(router.node).get("lookup"), router.block)
        prefix = self._values.text(arguments[1], router.block) if len(arguments) > 1 else None
        parents = (
            [one for one in self._values.of(arguments[0], router.block) if isinstance(one, Made)] if arguments else []
        )
        if lookup is None or prefix is None or not parents or depth > _DEEP:
            return None
        outer = self._nested(parents[0], depth + 1)
        field = "pk"
        for event in self._registrations(parents[0]):
            assert isinstance(event.node, ast.Call)
            text = self._values.text(event.node.args[0], event.block) if event.node.args else None
            if text is not None and text.value == prefix.value and len(event.node.args) > 1:
                classes = [one for one in self._values.of(event.node.args[1], event.block) if isinstance(one, Class)]
                field = (self._views.text(classes[0], "lookup_field") if classes else None) or "pk"
        return None if outer is None else f"{outer}{prefix.value}/<{lookup.value}_{field}>/"


def _adds_to_patterns(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether a call is urlpatterns.append(…) or the like."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return False
    return node.func.attr in ("append", "extend", "insert") and ast.unparse(node.func.value) == "urlpatterns"


def _pairs(node: object) -> tuple[Sequence[ast.expr | None], Sequence[ast.expr]]:
    return (node.keys, node.values) if isinstance(node, ast.Dict) else ((), ())


def _classes(made: Made) -> list[Class]:
    return [made.of] if isinstance(made.of, Class) else []
