"""Runs in the box, in the repository's own Python, as the text of `python -c`: says which interface the application has.

Reads what to do from the file that its first argument names, and writes one JSON object to the file named there. The
document is made from the routes that are served, never by a method of the application that the change could replace.
Imports nothing of this program, and needs no newer Python than the frameworks do.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
_TEXT = 2_000
# What Flask-Smorest and APIFlask serve about themselves.
_OWN_PAGES = ("api-docs.", "openapi.")


def main() -> None:
    """Tries one way to the application after the other until one works."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # Path is no shorter here
        given = json.load(file)
    os.unlink(sys.argv[1])  # noqa: PTH108  # what runs from here on is the repository's code
    output, sys.stdout = sys.stdout, sys.stderr
    result: dict[str, Any] = {"faults": []}
    for one in given["applications"]:
        try:
            result.update(_described(one, _application(one)))
            break
        except BaseException as error:  # noqa: BLE001  # whatever the repository's code raises is a reason to be told
            result["faults"].append(_fault(one, error))
    with open(given["out"], "w") as file:  # noqa: PTH123  # Path is no shorter here
        json.dump(result, file, default=str)
    output.flush()
    os._exit(0)


def _fault(one: Any, error: BaseException) -> dict[str, str]:
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    where = f"{one['module']}:{one['name']}"
    said = f"{type(error).__name__}: {error}"[:_TEXT]
    return {"where": where, "said": said, "trace": "".join(lines)[-_TEXT * 3 :]}


def _application(one: Any) -> Any:
    for folder in reversed([one["folder"] or ".", ".", "src"]):
        place = os.path.abspath(folder)  # noqa: PTH100  # Path is one more import
        if place not in sys.path and os.path.isdir(place):  # noqa: PTH112  # as above
            sys.path.insert(0, place)
    for name, value in one["env"].items():
        os.environ.setdefault(name, value)
    if one["framework"] == "Django":
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", one["module"])
        import django

        django.setup()
        return django
    found = getattr(importlib.import_module(one["module"]), one["name"])
    return found() if one["call"] else found


def _described(one: Any, app: Any) -> dict[str, Any]:
    if one["framework"] == "Django":
        return _django()
    if one["framework"] == "GraphQL":
        # Strawberry's own method, or Graphene's text.
        return {"framework": "GraphQL", "sdl": app.as_str() if hasattr(app, "as_str") else str(app)}
    if hasattr(app, "url_map"):
        return _flask(app)
    if hasattr(app, "routes") and hasattr(app, "openapi"):
        return _fastapi(app)
    raise TypeError(f"{one['module']}:{one['name']} is a {type(app).__name__}, which is no application that is known")


def _fastapi(app: Any) -> dict[str, Any]:
    from fastapi.openapi.utils import get_openapi

    document = get_openapi(title="built", version="0", openapi_version="3.1.0", routes=app.routes)
    for prefix, inner in _mounted(app.routes, ""):
        if hasattr(inner, "openapi"):
            more = get_openapi(title="built", version="0", openapi_version="3.1.0", routes=inner.routes)
            _lay(document, more, prefix)
    return {"framework": "FastAPI", "document": document, "routes": list(_starlette_routes(app.routes, ""))}


def _lay(document: dict[str, Any], more: dict[str, Any], prefix: str) -> None:
    """A mounted application's document below its prefix, its schemas under names of their own."""
    own, marked = "#/components/schemas/", f"#/components/schemas/{len(document.get('paths', {}))}."
    more = json.loads(json.dumps(more).replace(f'"{own}', f'"{marked}'))
    there = document.setdefault("components", {})
    for kind, named in more.get("components", {}).items():
        mark = marked[len(own) :] if kind == "schemas" else ""
        there.setdefault(kind, {}).update({mark + name: value for name, value in named.items()})
    for path, item in more.get("paths", {}).items():
        document.setdefault("paths", {})[prefix + path] = item


def _mounted(routes: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for route in routes:
        inner: Any = getattr(route, "app", None)
        if type(route).__name__ == "Mount" and hasattr(inner, "routes"):
            yield prefix + route.path, inner
            yield from _mounted(inner.routes, prefix + route.path)


def _starlette_routes(routes: Any, prefix: str) -> Iterator[dict[str, Any]]:
    documents = ("openapi", "swagger_ui_html", "swagger_ui_redirect", "redoc_html")
    for route in routes:
        handler = getattr(route, "endpoint", None)
        if type(route).__name__ == "Mount":
            yield from _starlette_routes(getattr(route, "routes", None) or [], prefix + route.path)
        elif handler is not None and getattr(route, "methods", None):
            module = getattr(handler, "__module__", "")
            if module.startswith("fastapi.") and getattr(route, "name", "") in documents:
                continue
            for method in sorted(set(route.methods) & set(_METHODS)):
                yield {"method": method, "path": prefix + route.path, **_place(handler)}


def _place(handler: Any) -> dict[str, Any]:
    """Where a handler is defined, below decorators that say what they wrap."""
    for _ in range(20):
        handler = getattr(handler, "__wrapped__", None) or getattr(handler, "func", None) or handler
    code = getattr(handler, "__code__", None)
    if code is None:
        return {"file": "", "line": 0}
    return {"file": os.path.relpath(os.path.realpath(code.co_filename)), "line": code.co_firstlineno}


def _flask(app: Any) -> dict[str, Any]:
    routes = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static" or rule.endpoint.endswith(".static") or rule.endpoint.startswith(_OWN_PAGES):
            continue
        view = app.view_functions.get(rule.endpoint)
        for method in sorted(set(rule.methods or ()) & set(_METHODS)):
            handler = getattr(getattr(view, "view_class", None), method.lower(), None) or view
            routes.append({"method": method, "path": rule.rule, **_place(handler)})
    return {"framework": "Flask", "document": _apispec(app), "routes": routes}


def _apispec(app: Any) -> Any:
    """What Flask-Smorest or APIFlask know of the views; None where the application has neither."""
    found = app.extensions.get("flask-smorest") or {}
    for one in found.get("apis", {}).values():
        return one["ext_obj"].spec.to_dict()
    return app.spec if type(app).__name__ == "APIFlask" else None


def _django() -> dict[str, Any]:
    from django.apps import apps
    from django.urls import get_resolver

    routes = list(_django_routes(get_resolver().url_patterns, "/"))
    document = None
    if apps.is_installed("drf_spectacular"):
        from drf_spectacular.generators import SchemaGenerator

        document = SchemaGenerator().get_schema(request=None, public=True)
    return {"framework": "Django", "document": document, "routes": routes}


def _django_routes(patterns: Any, prefix: str) -> Iterator[dict[str, Any]]:
    for one in patterns:
        path = prefix + _django_path(str(one.pattern))
        if hasattr(one, "url_patterns"):
            if getattr(one, "app_name", None) != "admin":
                yield from _django_routes(one.url_patterns, path)
        elif "{format}" not in path:
            view = one.callback
            kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
            module = getattr(kind, "__module__", "")
            if module.startswith("drf_spectacular.") or getattr(kind, "__name__", "") == "APIRootView":
                continue
            for method, handler in _django_methods(view, kind):
                place = _place(handler)
                if kind is not None and place["file"].startswith(".."):  # inherited from a library
                    place = {"file": os.path.relpath(getattr(sys.modules[module], "__file__", "")), "line": 0}
                yield {"method": method, "path": path, **place}


def _django_path(pattern: str) -> str:
    """A route as it is, a regular expression as the path that a reader would write for it."""
    path = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", pattern)
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path).lstrip("^").replace("\\Z", "").rstrip("$").replace("/?", "/")


def _django_methods(view: Any, kind: Any) -> Iterator[tuple[str, Any]]:
    """The methods that a view answers; ANY for a function, which looks for itself."""
    actions = getattr(view, "actions", None)
    if actions:
        for method, name in actions.items():
            if method.upper() in _METHODS:
                yield method.upper(), getattr(kind, name, view)
    elif kind is not None:
        names = [name for name in getattr(kind, "http_method_names", ()) if hasattr(kind, name)]
        for name in names:
            if name.upper() in _METHODS:
                yield name.upper(), getattr(kind, name)
    else:
        yield "ANY", view


if __name__ == "__main__":
    main()
