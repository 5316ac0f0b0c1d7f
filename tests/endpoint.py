"""An OpenAI-compatible endpoint on loopback that answers from a list: for tests of the real client and of processes."""

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from backend_crew.crew.recording import Reply


@dataclass
class Endpoint:
    """Where it listens, and every request that it saw."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def _message(reply: Reply) -> dict[str, Any]:
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
        for index, one in enumerate(reply.tool_calls)
    ]
    return {"role": "assistant", "content": reply.content, **({"tool_calls": calls} if calls else {})}


@contextmanager
def serving(replies: Sequence[Reply | int]) -> Iterator[Endpoint]:
    """Answer with the replies in order (a number is an HTTP error), then with the last one for ever."""
    endpoint = Endpoint("")
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                reply = replies[min(len(endpoint.requests), len(replies) - 1)]
                endpoint.requests.append(body)
                endpoint.keys.append(self.headers.get("Authorization", ""))
            if isinstance(reply, int):
                self._send(reply, {"error": {"message": f"simulated {reply}", "type": "simulated"}})
                return
            choice = {
                "index": 0,
                "message": _message(reply),
                "finish_reason": "tool_calls" if reply.tool_calls else "stop",
            }
            usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
            usage["total_tokens"] = sum(usage.values())
            head = {"id": "x", "object": "chat.completion", "created": 0, "model": body.get("model", "x")}
            self._send(200, {**head, "choices": [choice], "usage": usage})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
