"""All endpoints of a repository: each framework that its files mention, by that framework's rules."""

from collections.abc import Mapping

from backend_crew.tools.endpoints import (
    aiohttp,
    django,
    express,
    fastapi,
    fastify,
    flask,
    go_routers,
    hono,
    koa,
    laravel,
    nestjs,
    rails,
    spring,
    starlette,
)
from backend_crew.tools.endpoints.protocol import Endpoint, EndpointScan, Framework
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

FRAMEWORKS: tuple[Framework, ...] = (
    fastapi.FRAMEWORK,
    flask.FRAMEWORK,
    django.FRAMEWORK,
    starlette.FRAMEWORK,
    aiohttp.FRAMEWORK,
    express.FRAMEWORK,
    nestjs.FRAMEWORK,
    koa.FRAMEWORK,
    hono.FRAMEWORK,
    fastify.FRAMEWORK,
    go_routers.FRAMEWORK,
    spring.FRAMEWORK,
    rails.FRAMEWORK,
    laravel.FRAMEWORK,
)


def find_endpoints(files: Mapping[str, bytes] | Project) -> EndpointScan:
    """The endpoints of a repository's files by path (POSIX, relative), and what the source leaves open.

    Tests, vendored code and files over a megabyte are not looked at. Never raises on what the files hold.
    """
    project = files if isinstance(files, Project) else Project(files)
    endpoints: dict[Endpoint, None] = {}
    unresolved: dict[Unresolved, None] = {}
    for framework in FRAMEWORKS:
        paths = _candidates(project, framework)
        if paths:
            scan = framework.read(project, paths)
            endpoints.update(dict.fromkeys(scan.endpoints))
            unresolved.update(dict.fromkeys(scan.unresolved))
    return EndpointScan(
        tuple(sorted(endpoints, key=lambda one: (one.file, one.line, one.path, one.method))),
        tuple(sorted(unresolved, key=lambda one: (one.file, one.line, one.why))),
    )


def _candidates(project: Project, framework: Framework) -> tuple[str, ...]:
    sources = project.sources
    named = set(sources.mentioning(framework.suffixes, framework.words))
    if named and framework.also:
        named.update(sources.mentioning(framework.suffixes, framework.also))
    return tuple(sorted(named))
