"""The routes of a tree by its source alone, where no application can be asked."""

import os
from pathlib import Path

from backend_crew.tools.contract.built import BuiltApi, Route, nothing
from backend_crew.tools.endpoints.find import find_endpoints
from backend_crew.tools.endpoints.protocol import WEBSOCKET, EndpointScan
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import JUNK_FOLDERS, read_file

_FILES, _SIZE = 5_000, 1_000_000
_SUFFIXES = (".py", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".json")


def scan_routes(root: Path) -> EndpointScan:
    """The endpoints of a tree with what its source leaves open; bounded, no link followed, nothing run."""
    files: dict[str, bytes] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(one for one in folders if one not in JUNK_FOLDERS)
        for name in sorted(names):
            if not name.endswith(_SUFFIXES) or len(files) >= _FILES:
                continue
            path = (Path(folder) / name).relative_to(root).as_posix()
            try:
                files[path], _ = read_file(root, path, _SIZE)
            except (ToolError, OSError):
                continue
    return find_endpoints(files)


def static_api(root: Path, why: str) -> BuiltApi:
    """The interface as its source says it; `why` it is not known better."""
    scan = scan_routes(root)
    routes = tuple(
        Route(one.method, one.template, one.file, one.line) for one in scan.endpoints if one.method != WEBSOCKET
    )
    if not routes:
        return nothing(why)
    framework = scan.endpoints[0].framework
    reason = f"{why}, so its source was read"
    return BuiltApi("static routes", framework, routes=routes, reason=reason, left_open=len(scan.unresolved))
