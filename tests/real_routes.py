"""Run in a process of its own, in the folder of a sample: the routes that the framework itself has, as JSON lists."""

import importlib
import json
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


READERS = {"fastapi": _fastapi}


if __name__ == "__main__":
    kind, *targets = sys.argv[1:]
    sys.path.insert(0, "")
    found: list[Route] = []
    for target in targets:
        module, _, name = target.partition(":")
        app = getattr(importlib.import_module(module), name.removesuffix("()"))
        found += READERS[kind](app() if name.endswith("()") else app)
    print(json.dumps(found))
