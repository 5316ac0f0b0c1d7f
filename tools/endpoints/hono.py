"""Endpoints of Hono: apps within apps by `route`, prefixes by `basePath`, routes in chains."""

from backend_crew.tools.endpoints import javascript_routers
from backend_crew.tools.endpoints.javascript_routers import Dialect
from backend_crew.tools.endpoints.protocol import EndpointScan, Framework
from backend_crew.tools.static.javascript import SUFFIXES
from backend_crew.tools.static.project import Project

_DIALECT = Dialect(
    "Hono",
    apps=frozenset({"hono.Hono", "@hono/zod-openapi.OpenAPIHono", "hono/tiny.Hono", "hono/quick.Hono"}),
    routers=frozenset(),
    mounts=frozenset({"use", "route"}),
    scoped="basePath",
)


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    values = project.javascript
    return javascript_routers.read(_DIALECT, values, values.load(paths))


FRAMEWORK = Framework("Hono", SUFFIXES, (b"'hono", b'"hono', b"@hono/"), (b".route(", b"basePath("), read)
