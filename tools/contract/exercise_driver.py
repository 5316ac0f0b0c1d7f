"""Runs in the box, in a Python that imports nothing of the repository: starts the application and calls it.

First every protected operation without credentials and with made-up ones, then schemathesis where there is one. Writes
one JSON object to the file that the order names; imports nothing but the standard library.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
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
    server = _spawned(given["server"], given["log"])
    try:
        port = _port(server, given["port_file"])
        result["started"] = port is not None
        if port is not None:
            result["calls"] = [_called(port, one) for one in given["calls"]]
            if given["tool"]:
                result["ended"] = _tested(given, port)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    with open(given["log"], "rb") as file:  # noqa: PTH123  # as above
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        result["log"] = file.read().decode("utf-8", errors="replace")
    with open(given["out"], "w") as file:  # noqa: PTH123  # as above
        json.dump(result, file)


def _spawned(argv: list[str], output: str) -> int:
    """Starts a program whose output goes to a file; its process id."""
    child = os.fork()
    if child == 0:
        try:
            nothing, log = (
                os.open(os.devnull, os.O_RDONLY),
                os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            )
            for source, target in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    return child


def _exit_code(child: int, seconds: float) -> int | None:
    """How a program ended, once it has; None where it has not within that time. Asked once after it ended."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.02)


def _port(server: int, place: str) -> int | None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and _runs(server):
        if os.path.exists(place):  # noqa: PTH110  # Path is one more import
            with open(place) as file:  # noqa: PTH123  # as above
                return int(file.read())
        time.sleep(0.02)
    return None


def _runs(child: int) -> bool:
    """Whether a program has not ended yet; it stays there to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


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
    output = given["log"] + ".tool"
    os.chdir("/tmp")  # a folder without settings of the tool, which it would look for around it
    child = _spawned(argv, output)
    code = _exit_code(child, given["seconds"])
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return {"code": None, "said": "ended after its time"}
    with open(output, "rb") as file:  # noqa: PTH123  # as above
        return {"code": code, "said": file.read()[-1_500:].decode("utf-8", errors="replace")}


if __name__ == "__main__":
    main()
