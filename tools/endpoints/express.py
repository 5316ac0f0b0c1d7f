"""Endpoints of Express: apps and routers, mounted by `use` over files."""

from backend_crew.tools.endpoints import javascript_routers
from backend_crew.tools.endpoints.javascript_routers import Dialect
from backend_crew.tools.endpoints.protocol import EndpointScan, Framework
from backend_crew.tools.static.javascript import SUFFIXES
from backend_crew.tools.static.project import Project

_DIALECT = Dialect(
    "Express",
    apps=frozenset({"express", "express.default"}),
    routers=frozenset({"express.Router", "express-promise-router", "express-async-router.AsyncRouter"}),
    mounts=frozenset({"use"}),
)


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    values = project.javascript
    return javascript_routers.read(_DIALECT, values, values.load(paths))


FRAMEWORK = Framework(
    "Express",
    SUFFIXES,
    (b"'express'", b'"express"', b"express-promise-router"),
    (
        b".use(",
        b".Router(",
        b"Router()",
        b"outer.get(",
        b"outer.post(",
        b"outer.route(",
        b"app.get(",
        b"app.post(",
        b"outer.put(",
    ),
    read,
)
