"""The interface of a tree, told by its own application in the sandbox; what comes back is read as hostile data."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from backend_crew.tools import unset
from backend_crew.tools.contract.applications import Application
from backend_crew.tools.contract.built import ANY, BuiltApi, Route, nothing
from backend_crew.tools.contract.node_applications import NodeApplication
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolError
from backend_crew.tools.excerpt import head
from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.sandbox import Box, Limits

_LIMITS, _NODE_LIMITS = Limits(timeout_s=60), Limits(timeout_s=30)
_SIZE, _ROUTES = 8_000_000, 5_000
_DRIVER = Path(__file__).with_name("api_driver.py")
_NODE_DRIVER = Path(__file__).with_name("node_driver.cjs")
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


def ask(box: Box, applications: Sequence[Application], env: Mapping[str, str]) -> BuiltApi:
    """The interface of the first application that can be imported; "none" with the reason where none can."""
    if box.runtime.python is None:
        return nothing("no Python was found for this repository: create its virtual environment, or name one")
    # Names that code which was written before the run cannot know.
    token = secrets.token_hex(16)
    order, out = f".contract/order-{token}.json", f".contract/api-{token}.json"
    given = {"applications": [asdict(one) for one in applications], "out": str(box.layout.at / out)}
    box.put(out, b"null")
    box.put(order, json.dumps(given).encode())
    program = only_sources(box, _DRIVER.read_text(encoding="utf-8"))
    done = box.run((str(box.runtime.python), "-c", program, str(box.layout.at / order)), env=env, limits=_LIMITS)
    ended = "in time" if done.timed_out else "with a result"
    said = f"the application did not answer {ended}: {head(done.stderr.strip()[-300:], 300)}"
    return read_answer(box, out, applications) or nothing(said)


def ask_node(box: Box, application: NodeApplication, env: Mapping[str, str]) -> BuiltApi:
    """The interface of a Node application, which is loaded up to where it would listen; "none" with the reason."""
    token = secrets.token_hex(16)
    order, out = f".contract/order-{token}.json", f".contract/api-{token}.json"
    box.put(out, b"null")
    box.put(order, json.dumps({**asdict(application), "out": str(box.layout.at / out)}).encode())
    program = _NODE_DRIVER.read_text(encoding="utf-8")
    done = box.run(("node", "-e", program, str(box.layout.at / order)), env=env, limits=_NODE_LIMITS)
    ended = "in time" if done.timed_out else "with a result"
    said = f"the application did not answer {ended}: {head(done.stderr.strip()[-300:], 300)}"
    found = _read(box, out)
    return _api(found, (), application.framework) if found else nothing(said, application.framework)


def read_answer(box: Box, out: str, applications: Sequence[Application]) -> BuiltApi | None:
    """What the driver wrote to a file of the box; None where it wrote nothing that can be read."""
    found = _read(box, out)
    return _api(found, applications) if found else None


def _read(box: Box, out: str) -> dict[str, Any]:
    try:
        data = box.read(out, _SIZE)
        found = read_document((data or b"").decode("utf-8", errors="replace"))
    except ToolError:
        return {}
    return found if isinstance(found, dict) else {}


def _api(found: Mapping[str, Any], applications: Sequence[Application], known: str = "") -> BuiltApi:
    routes = tuple(_routes(found.get("routes")))
    framework = str(found.get("framework") or (applications[0].framework if applications else known))[:40]
    if "framework" not in found:
        return nothing(_why(found.get("faults")), framework)
    if isinstance(found.get("sdl"), str):
        return BuiltApi("graphql", framework, sdl=found["sdl"])
    document = found.get("document")
    if isinstance(document, dict) and isinstance(document.get("paths"), dict):
        return BuiltApi("openapi", framework, document, routes)
    return BuiltApi("routes", framework, {}, routes, f"this {framework} application does not describe them itself")


def _routes(raw: object) -> list[Route]:
    routes: list[Route] = []
    for one in raw[:_ROUTES] if isinstance(raw, list) else ():
        if isinstance(one, dict) and one.get("method") in (*_METHODS, ANY) and isinstance(one.get("path"), str):
            file, line = str(one.get("file") or ""), one.get("line")
            inside = not PurePosixPath(file).is_absolute() and ".." not in PurePosixPath(file).parts
            routes.append(
                Route(
                    str(one["method"]),
                    "/" + one["path"].lstrip("/")[:500],
                    file[:300] if inside else "",
                    line if inside and isinstance(line, int) and 0 < line < 10**7 else 0,
                )
            )
    return routes


def _why(faults: object) -> str:
    """Why no application could be made, of the first that was tried."""
    for one in faults if isinstance(faults, list) else ():
        if isinstance(one, dict):
            lines = [line for line in str(one.get("trace", "")).splitlines() if line.strip()]
            missing = unset.told(lines)
            return missing or f"{head(str(one.get('where')), 100)} could not be made: {head(str(one.get('said')), 300)}"
    return "the application could not be made"
