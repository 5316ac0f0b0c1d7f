"""Runs in the box, in a Python that imports nothing of the repository: starts the application and calls it.

First every protected operation without credentials and with made-up ones, then schemathesis where there is one. Writes
one JSON object to the file that the order names; imports nothing but the standard library.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess  # noqa: TID251  # this is the door inside the box
import sys
import time
from typing import Any

_START_S = 40.0
_CALL_S = 15.0
_TAIL = 20_000


def main() -> None:
    """Starts, calls, ends."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # Path is no shorter here
        given = json.load(file)
    result: dict[str, Any] = {"started": False, "calls": [], "ended": None, "log": ""}
    with open(given["log"], "wb") as log:  # noqa: PTH123  # as above
        server = subprocess.Popen(given["server"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            port = _port(server, given["port_file"])
            result["started"] = port is not None
            if port is not None:
                result["calls"] = [_called(port, one) for one in given["calls"]]
                if given["tool"]:
                    result["ended"] = _tested(given, port)
        finally:
            server.kill()
            server.wait()
    with open(given["log"], "rb") as file:  # noqa: PTH123  # as above
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        result["log"] = file.read().decode("utf-8", errors="replace")
    with open(given["out"], "w") as file:  # noqa: PTH123  # as above
        json.dump(result, file)


def _port(server: subprocess.Popen[bytes], place: str) -> int | None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        if os.path.exists(place):  # noqa: PTH110  # Path is one more import
            with open(place) as file:  # noqa: PTH123  # as above
                return int(file.read())
        time.sleep(0.02)
    return None


def _called(port: int, one: Any) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CALL_S)
    try:
        body = None if one["body"] is None else json.dumps(one["body"]).encode()
        headers = {**one["headers"], **({"Content-Type": "application/json"} if body is not None else {})}
        connection.request(one["method"], one["path"], body=body, headers=headers)
        return {"name": one["name"], "status": connection.getresponse().status}
    except (OSError, http.client.HTTPException) as error:
        return {"name": one["name"], "status": 0, "why": f"{type(error).__name__}: {error}"[:300]}
    finally:
        connection.close()


def _tested(given: Any, port: int) -> Any:
    argv = [*given["tool"], "--url", f"http://127.0.0.1:{port}{given['prefix']}"]
    try:
        # A folder without settings of the tool, which it would look for around it.
        done = subprocess.run(
            argv, cwd="/tmp", stdin=subprocess.DEVNULL, capture_output=True, timeout=given["seconds"], check=False
        )
    except subprocess.TimeoutExpired:
        return {"code": None, "said": "ended after its time"}
    return {"code": done.returncode, "said": (done.stderr or done.stdout)[-1_500:].decode("utf-8", errors="replace")}


if __name__ == "__main__":
    main()
