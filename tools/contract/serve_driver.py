"""Runs in the box, in the repository's own Python, as the text of `python -c`: serves the application on the loopback.

No server has to be installed: the standard library speaks HTTP, and this speaks ASGI or WSGI to the application. The
port is written to the file that the order names once the application has started.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import unquote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

_SECONDS = 30
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "QUERY")


def main() -> None:
    """Serves until the process is ended from outside."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # Path is no shorter here
        given = json.load(file)
    os.unlink(sys.argv[1])  # noqa: PTH108  # what runs from here on is the repository's code
    driver = types.ModuleType("leading")
    exec(given["driver"], driver.__dict__)  # noqa: S102  # a text of this program
    app = _application(given["application"], driver, given["database"])
    server = _wsgi(app) if given["application"]["framework"] in ("Flask", "Django") else _asgi(app)
    part = given["port_file"] + ".part"
    with open(part, "w") as file:  # noqa: PTH123  # Path is no shorter here
        file.write(str(server.server_address[1]))
    os.replace(part, given["port_file"])  # noqa: PTH105  # whole, or not there
    server.serve_forever()


def _application(one: Any, driver: Any, database: Any) -> Any:
    for folder in reversed([one["folder"] or ".", ".", "src"]):
        place = os.path.abspath(folder)  # noqa: PTH100  # Path is one more import
        if place not in sys.path and os.path.isdir(place):  # noqa: PTH112  # as above
            sys.path.insert(0, place)
    for name, value in one["env"].items():
        os.environ.setdefault(name, value)
    if one["framework"] == "Django":
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", one["module"])
        from django.core.wsgi import get_wsgi_application

    if hasattr(driver, "lead"):
        driver.lead(database)
    if one["framework"] == "Django":
        return get_wsgi_application()
    found = getattr(importlib.import_module(one["module"]), one["name"])
    app = found() if one["call"] else found
    if hasattr(driver, "led"):
        driver.led(app, database)
    return app


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the log is for what the application writes."""


class _ThreadingWsgi(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def _wsgi(app: Any) -> Any:
    server = _ThreadingWsgi(("127.0.0.1", 0), _Quiet)
    server.set_app(app)
    return server


def _asgi(app: Any) -> Any:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    started = asyncio.run_coroutine_threadsafe(_start(app), loop)
    state = started.result(_SECONDS)

    def answer(self: Any) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.command,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()],
            "client": self.client_address,
            "server": self.server.server_address,
            "state": dict(state),
        }
        status, headers, content = asyncio.run_coroutine_threadsafe(_call(app, scope, body), loop).result(_SECONDS)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in (b"content-length", b"transfer-encoding"):
                self.send_header(name.decode("latin-1"), value.decode("latin-1"))
        bare = status in (204, 304) or status < 200
        if not bare:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if not bare and self.command != "HEAD":
            self.wfile.write(content)

    names: dict[str, Any] = {f"do_{method}": answer for method in _METHODS}
    names.update(protocol_version="HTTP/1.1", log_message=lambda self, *given: None, disable_nagle_algorithm=True)
    return ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), names))


async def _start(app: Any) -> dict[str, Any]:
    """The lifespan's first half; an application that knows none is served without."""
    state: dict[str, Any] = {}
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    await waiting.put({"type": "lifespan.startup"})

    async def send(message: dict[str, Any]) -> None:
        if not ready.done():
            failed = message["type"] == "lifespan.startup.failed"
            ready.set_result(str(message.get("message") or "failed") if failed else "")

    async def run() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, waiting.get, send)
        finally:
            if not ready.done():
                ready.set_result("")

    _RUNNING.append(asyncio.ensure_future(run()))
    if failure := await ready:
        raise RuntimeError(failure)
    return state


async def _call(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """One request; an exception that comes out of the application is a server error, as servers have it."""
    sent: dict[str, Any] = {"status": 500, "headers": [], "content": b""}
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent["status"], sent["headers"] = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            sent["content"] += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception:  # noqa: BLE001  # whatever the application raises is a server error
        import traceback

        traceback.print_exc()
        return 500, [(b"content-type", b"text/plain")], b"Internal Server Error"
    return sent["status"], sent["headers"], sent["content"]


_RUNNING: list[Any] = []  # tasks that nobody holds are collected

if __name__ == "__main__":
    main()
