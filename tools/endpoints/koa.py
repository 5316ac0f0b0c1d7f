"""Endpoints of Koa with koa-router: routers with prefixes, mounted by their `routes()`."""

from backend_crew.tools.endpoints import javascript_routers
from backend_crew.tools.endpoints.javascript_routers import Dialect
from backend_crew.tools.endpoints.protocol import EndpointScan, Framework
from backend_crew.tools.static.javascript import SUFFIXES
from backend_crew.tools.static.project import Project

_DIALECT = Dialect(
    "Koa",
    apps=frozenset({"koa"}),
    routers=frozenset({"koa-router", "@koa/router", "koa-router.Router", "@koa/router.Router"}),
    mounts=frozenset({"use"}),
    prefix="prefix",
)


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of every app that these files make."""
    values = project.javascript
    return javascript_routers.read(_DIALECT, values, values.load(paths))


FRAMEWORK = Framework("Koa", SUFFIXES, (b"koa-router", b"@koa/router"), (b"'koa'", b'"koa"', b".routes()"), read)
