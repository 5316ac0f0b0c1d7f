"""What a view of Django or Django REST framework answers: methods, handlers, serializers, and who may ask."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from backend_crew.tools.endpoints.protocol import ANY
from backend_crew.tools.endpoints.python_guards import decorator_guards
from backend_crew.tools.static.python_modules import FUNCTIONS, Block, called, keywords
from backend_crew.tools.static.python_objects import Class, External, Function
from backend_crew.tools.static.python_values import Values

VERBS = ("get", "post", "put", "patch", "delete")
_GENERIC: Mapping[str, tuple[str, ...]] = {
    "TemplateView": ("get",), "ListView": ("get",), "DetailView": ("get",), "RedirectView": VERBS,
    "FormView": ("get", "post", "put"), "CreateView": ("get", "post", "put"), "UpdateView": ("get", "post", "put"),
    "DeleteView": ("get", "post", "delete"), "LoginView": ("get", "post", "put"), "LogoutView": ("post",),
    "PasswordChangeView": ("get", "post", "put"), "PasswordResetView": ("get", "post", "put"),
    "PasswordResetConfirmView": ("get", "post", "put"), "PasswordChangeDoneView": ("get",),
    "PasswordResetDoneView": ("get",), "PasswordResetCompleteView": ("get",), "ArchiveIndexView": ("get",),
    "BaseListView": ("get",), "BaseDetailView": ("get",), "ProcessFormView": ("get", "post", "put"),
    "ListAPIView": ("get",), "CreateAPIView": ("post",), "RetrieveAPIView": ("get",), "DestroyAPIView": ("delete",),
    "UpdateAPIView": ("put", "patch"), "ListCreateAPIView": ("get", "post"), "RetrieveUpdateAPIView": ("get", "put", "patch"),
    "RetrieveDestroyAPIView": ("get", "delete"), "RetrieveUpdateDestroyAPIView": ("get", "put", "patch", "delete"),
    "ObtainAuthToken": ("post",), "TokenObtainPairView": ("post",), "TokenRefreshView": ("post",),
    "TokenVerifyView": ("post",), "TokenObtainSlidingView": ("post",), "TokenRefreshSlidingView": ("post",),
    "TokenBlacklistView": ("post",), "SpectacularAPIView": ("get",), "SpectacularSwaggerView": ("get",),
    "SpectacularRedocView": ("get",), "SpectacularJSONAPIView": ("get",), "SpectacularYAMLAPIView": ("get",),
    "JavaScriptCatalog": ("get",),
}  # fmt: skip
_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "ModelViewSet": ("list", "create", "retrieve", "update", "partial_update", "destroy"),
    "ReadOnlyModelViewSet": ("list", "retrieve"),
    "ListModelMixin": ("list",), "CreateModelMixin": ("create",), "RetrieveModelMixin": ("retrieve",),
    "UpdateModelMixin": ("update", "partial_update"), "DestroyModelMixin": ("destroy",),
}  # fmt: skip
ACTION_METHODS: Mapping[str, str] = {
    "list": "GET", "create": "POST", "retrieve": "GET", "update": "PUT", "partial_update": "PATCH", "destroy": "DELETE",
}  # fmt: skip
_OPEN = frozenset({"AllowAny"})
_MIXINS = (
    "LoginRequiredMixin",
    "PermissionRequiredMixin",
    "UserPassesTestMixin",
    "AccessMixin",
    "SuperuserRequiredMixin",
    "StaffuserRequiredMixin",
)


@dataclass(frozen=True)
class Answer:
    """One method that a view answers."""

    method: str
    handler: str
    request: str = ""
    response: str = ""
    auth: str = ""


@dataclass(frozen=True)
class Extra:
    """An @action of a viewset: where it lies below the viewset, and what it answers."""

    path: str
    detail: bool
    answers: tuple[Answer, ...]


class Views:
    """Reads views; `default` are the permissions that the settings give to views of REST framework."""

    def __init__(self, values: Values, default: tuple[str, ...]) -> None:
        self._values = values
        self._default = default

    def answers(self, node: ast.expr, block: Block) -> list[Answer]:
        """What a view expression in a URL pattern answers."""
        if isinstance(node, ast.Call):
            return self._called(node, block)
        for value in self._values.of(node, block):
            if isinstance(value, Function):
                return list(self._function(value))
            if isinstance(value, Class):  # a class without as_view: an instance or a callable class
                return [Answer(ANY, value.node.name)]
        for alias, place in self._values.written(node, block):
            if isinstance(alias, ast.Call):
                return self.answers(alias, place)
        return [Answer(ANY, ast.unparse(node))]

    def _called(self, node: ast.Call, block: Block) -> list[Answer]:
        if called(node) == "as_view" and isinstance(node.func, ast.Attribute):
            mapping = next(iter(node.args[:1]), None) or keywords(node).get("actions")
            for value in self._values.of(node.func.value, block):
                if isinstance(value, Class):
                    if isinstance(mapping, ast.Dict):
                        return list(self._mapped(value, mapping))
                    return self._class(value)
                if isinstance(value, External):
                    return self._external(value.name)
            return [Answer(ANY, ast.unparse(node.func.value))]
        if node.args:
            guards = list(decorator_guards(self._values, [node.func], block))
            return [replace(one, auth=_merged(*guards, one.auth)) for one in self.answers(node.args[-1], block)]
        return [Answer(ANY, ast.unparse(node))]

    def _external(self, dotted: str) -> list[Answer]:
        name = dotted.rpartition(".")[2]
        methods = _GENERIC.get(name)
        return [Answer(one.upper(), name) for one in methods] if methods else [Answer(ANY, name)]

    def _function(self, function: Function) -> Iterator[Answer]:
        methods: tuple[str, ...] = (ANY,)
        auth = list(decorator_guards(self._values, function.node.decorator_list, function.block))
        rest = False
        for one in function.node.decorator_list:
            target = one.func if isinstance(one, ast.Call) else one
            name = ast.unparse(target).rpartition(".")[2]
            listed = one.args[0] if isinstance(one, ast.Call) and one.args else None
            if name in ("require_http_methods", "api_view"):
                rest = name == "api_view"
                methods = tuple(self._texts(listed, function.block)) or (("GET",) if rest else (ANY,))
            elif name == "require_safe":
                methods = ("GET",)
            elif name in ("require_GET", "require_POST"):
                methods = (name.partition("_")[2],)
            elif name == "permission_classes":
                auth = [
                    *(one for one in auth if not one.endswith("permission_classes")),
                    *self._names(listed, function.block),
                ]
                rest = False
        auth += self._default if rest else ()
        for method in methods:
            if method not in ("HEAD", "OPTIONS"):
                yield Answer(method.upper(), function.node.name, auth=_merged(*auth))

    def _texts(self, node: ast.expr | None, block: Block) -> Iterator[str]:
        items = self._values.items(node, block)
        for part in items.parts if items is not None else ():
            text = self._values.text(*part)
            if text is not None:
                yield text.value.upper()

    def _names(self, node: ast.expr | None, block: Block) -> Iterator[str]:
        """The permission classes in a list, without those that let everybody in."""
        items = self._values.items(node, block)
        for part, _ in items.parts if items is not None else ():
            name = ast.unparse(part)
            if name.rpartition(".")[2] not in _OPEN:
                yield name.rpartition(".")[2] if isinstance(part, ast.Attribute) else name

    # Classes.

    def _class(self, of: Class) -> list[Answer]:
        allowed = self._allowed(of)
        found = []
        for verb in VERBS:
            if verb in allowed and self._has(of, verb, _GENERIC):
                found.append(self._answer(of, verb.upper(), verb))
        return found or [self._answer(of, ANY, "")]

    def _mapped(self, of: Class, mapping: ast.Dict) -> Iterator[Answer]:
        for key, value in zip(mapping.keys, mapping.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                yield self._answer(of, str(key.value).upper(), str(value.value))

    def actions(self, of: Class) -> list[Answer]:
        """The standard actions of a viewset; the handler names the action."""
        allowed = self._allowed(of)
        return [
            self._answer(of, method, action)
            for action, method in ACTION_METHODS.items()
            if method.lower() in allowed and self._has(of, action, _ACTIONS)
        ]

    def extras(self, of: Class) -> Iterator[Extra]:
        """The methods of a viewset that are marked with @action."""
        seen: set[str] = set()
        allowed = self._allowed(of)
        for one in self._values.ancestors(of):
            body = self._values.body(one) if isinstance(one, Class) else None
            for node in one.node.body if isinstance(one, Class) else ():
                if not isinstance(node, FUNCTIONS) or node.name in seen or body is None:
                    continue
                seen.add(node.name)
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and called(decorator) == "action":
                        yield self._extra(of, Function(node, body), decorator, allowed)

    def _extra(self, of: Class, function: Function, decorator: ast.Call, allowed: frozenset[str]) -> Extra:
        named = keywords(decorator)
        name = function.node.name
        detail = named.get("detail") or next(iter(decorator.args[1:2]), None)
        path = self._values.text(named.get("url_path"), function.block)
        methods = [*self._texts(named.get("methods") or next(iter(decorator.args[:1]), None), function.block)] or [
            "GET"
        ]
        handlers = dict.fromkeys(methods, name)
        handlers.update(self._mappings(function))
        answers = []
        for method, handler in handlers.items():
            answer = self._answer(of, method, handler)
            if "permission_classes" in named:
                answer = replace(answer, auth=_merged(*self._names(named["permission_classes"], function.block)))
            if "serializer_class" in named:
                answer = _typed(answer, ast.unparse(named["serializer_class"]))
            if method.lower() in allowed:
                answers.append(answer)
        whole = path.value if path is not None else name
        return Extra(whole, isinstance(detail, ast.Constant) and detail.value is True, tuple(answers))

    def _mappings(self, function: Function) -> Iterator[tuple[str, str]]:
        """Further methods of an action: `@name.mapping.delete`."""
        owner = function.block.node
        for node in owner.body if isinstance(owner, ast.ClassDef) else ():
            for decorator in node.decorator_list if isinstance(node, FUNCTIONS) else ():
                text = ast.unparse(decorator)
                if text.startswith(f"{function.node.name}.mapping.") and isinstance(node, FUNCTIONS):
                    yield text.rpartition(".")[2].upper(), node.name

    def _has(self, of: Class, name: str, outside: Mapping[str, tuple[str, ...]]) -> bool:
        found = self._values.attribute(of, name)
        if found is not None:
            return isinstance(found[0].to, (*FUNCTIONS, ast.expr))
        known = [one.rpartition(".")[2] for one in self._values.types(of)]
        return any(name in outside.get(one, ()) for one in known)

    def _allowed(self, of: Class) -> frozenset[str]:
        found = self._values.attribute(of, "http_method_names")
        if found is None or not isinstance(found[0].to, ast.expr):
            return frozenset(VERBS)
        return frozenset(text.lower() for text in self._texts(found[0].to, found[1]))

    def text(self, of: Class, name: str) -> str | None:
        """A class attribute that is a text."""
        found = self._values.attribute(of, name)
        text = self._values.text(found[0].to, found[1]) if found and isinstance(found[0].to, ast.expr) else None
        return text.value if text is not None else None

    def _answer(self, of: Class, method: str, handler: str) -> Answer:
        found = self._values.attribute(of, handler) if handler else None
        decorators = found[0].to.decorator_list if found is not None and isinstance(found[0].to, FUNCTIONS) else []
        guards = [
            *decorator_guards(self._values, of.node.decorator_list, of.block),
            *decorator_guards(self._values, decorators, of.block),
            *self._permissions(of),
        ]
        answer = Answer(method, f"{of.node.name}.{handler}" if handler else of.node.name, auth=_merged(*guards))
        serializer = self._values.attribute(of, "serializer_class")
        if serializer is not None and isinstance(serializer[0].to, ast.expr):
            answer = _typed(answer, ast.unparse(serializer[0].to))
        return answer

    def _permissions(self, of: Class) -> Iterator[str]:
        types = self._values.types(of)
        names = [one.node.name for one in self._values.ancestors(of) if isinstance(one, Class)]
        names += [one.rpartition(".")[2] for one in types]
        yield from (name for name in names if name in _MIXINS)
        if not any(one.startswith(("rest_framework", "drf_", "rest_framework_simplejwt")) for one in types):
            return
        own = self._values.attribute(of, "permission_classes")
        if self._values.attribute(of, "get_permissions") is not None:
            yield "get_permissions"
        elif own is not None and isinstance(own[0].to, ast.expr):
            yield from self._names(own[0].to, own[1])
        else:
            yield from self._default


def _typed(answer: Answer, serializer: str) -> Answer:
    takes = answer.method in ("POST", "PUT", "PATCH")
    return replace(
        answer, request=serializer if takes else "", response="" if answer.method == "DELETE" else serializer
    )


def _merged(*names: str) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))
