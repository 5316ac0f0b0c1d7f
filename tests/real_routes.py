"""Run in a process of its own, in the folder of a sample: the routes that the framework itself has, as JSON lists."""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

Route = tuple[str, str]


def _fastapi(app: Any, prefix: str = "") -> Iterator[Route]:
    from fastapi.routing import iter_route_contexts
    from starlette.routing import Mount

    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, Mount):
            yield from _fastapi(route.app, prefix + route.path)
        elif context.methods is None:
            yield "WEBSOCKET", prefix + str(context.path)
        elif context.path not in ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"):
            yield from ((method, prefix + str(context.path)) for method in sorted(context.methods))


def _flask(app: Any) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            yield from ((method, rule.rule) for method in sorted(rule.methods - {"HEAD", "OPTIONS"}))


def _django(_settings: Any) -> Iterator[Route]:
    """Views that are functions have "?" as their method: Django does not know what they refuse."""
    import django
    from django.urls import get_resolver

    django.setup()
    yield from _django_patterns(get_resolver().url_patterns, "/")


def _django_patterns(patterns: Any, prefix: str) -> Iterator[Route]:
    for one in patterns:
        path = prefix + _readable(one.pattern)
        if hasattr(one, "url_patterns"):
            if getattr(one, "app_name", None) != "admin":
                yield from _django_patterns(one.url_patterns, path)
        elif "format" not in path:
            yield from ((method, path) for method in _django_methods(one.callback))


def _readable(pattern: Any) -> str:
    text = str(pattern)
    if type(pattern).__name__ == "RoutePattern":
        return text
    return re.sub(r"\\[AZ]|[$^]", "", re.sub(r"\((?:\?P(<\w+>))?[^()]*\)", lambda m: m[1] or "<arg>", text))


def _django_methods(view: Any) -> list[str]:
    cls: Any = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if actions := getattr(view, "actions", None):
        return [one.upper() for one in actions if one in cls.http_method_names and one != "head"]
    while cls is None and hasattr(view, "__wrapped__"):
        view = view.__wrapped__
        cls = getattr(view, "view_class", None)
    known = [one for one in getattr(cls, "http_method_names", []) if hasattr(cls, one)]
    return [one.upper() for one in known if one not in ("head", "options")] or ["?"]


def _starlette(app: Any, prefix: str = "") -> Iterator[Route]:
    for route in app.routes:
        if hasattr(route, "routes"):
            yield from _starlette(route, prefix + route.path)
        elif methods := getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in sorted(methods - {"HEAD"}))
        elif isinstance(route.endpoint, type):
            found = [one for one in ("GET", "POST", "PUT", "PATCH", "DELETE") if hasattr(route.endpoint, one.lower())]
            yield from ((method, prefix + route.path) for method in found)
        else:
            yield "WEBSOCKET", prefix + route.path


def _aiohttp(app: Any) -> Iterator[Route]:
    for route in app.router.routes():
        path = route.resource.canonical
        if route.method == "*":
            yield from ((one, path) for one in ("GET", "POST", "PUT", "DELETE") if hasattr(route.handler, one.lower()))
        elif route.method != "HEAD":
            yield route.method, path


READERS = {"starlette": _starlette, "aiohttp": _aiohttp, "fastapi": _fastapi, "flask": _flask, "django": _django}


if __name__ == "__main__":
    kind, *targets = sys.argv[1:]
    sys.path.insert(0, "")
    found: list[Route] = []
    os.environ["DJANGO_SETTINGS_MODULE"] = targets[0]
    for target in targets:
        module, _, name = target.partition(":")
        app = getattr(importlib.import_module(module), name.removesuffix("()") or "__name__")
        found += READERS[kind](app() if name.endswith("()") else app)
    print(json.dumps(found))
