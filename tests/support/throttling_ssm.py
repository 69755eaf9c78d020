"""An SSM that throttles, for tests and benchmarks of many containers that start at once."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PER_SECOND = 40  # the default quota for an account and a region


class ThrottlingSsm:
    """A server on loopback that knows `GetParameters`.

    Args:
        values: The parameters' values by name; all of them are SecureStrings.
        admits: Whether the next call is served; it is throttled otherwise.

    Attributes:
        calls: The names that each call asked for.
        refuses: For tests, whose `admits` may read it.
    """

    def __init__(self, values: Mapping[str, str], admits: Callable[[], bool]) -> None:
        self.calls: list[list[str]] = []
        self.refuses = False
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805 - the first is the base class's name
                length = int(handler.headers["content-length"])
                asked = json.loads(handler.rfile.read(length))
                assert handler.headers["x-amz-target"] == "AmazonSSM.GetParameters"
                with lock:
                    self.calls.append(asked["Names"])
                    is_served = admits()
                body: dict[str, Any] = {"__type": "ThrottlingException", "message": "Rate exceeded"}
                if is_served:
                    found = [
                        {"Name": name, "Type": "SecureString", "Value": values[name]}
                        for name in asked["Names"]
                        if name in values
                    ]
                    body = {"Parameters": found, "InvalidParameters": []}
                content = json.dumps(body).encode()
                handler.send_response(200 if is_served else 400)
                handler.send_header("content-type", "application/x-amz-json-1.1")
                handler.send_header("content-length", str(len(content)))
                handler.end_headers()
                handler.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Write no log."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 4096

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def quota(per_second: float = PER_SECOND) -> Callable[[], bool]:
    """Return AWS's rule: a bucket of a second's calls, which is refilled evenly."""
    left, filled_at = per_second, time.monotonic()

    def admits() -> bool:
        nonlocal left, filled_at
        now = time.monotonic()
        left, filled_at = min(per_second, left + (now - filled_at) * per_second), now
        if left < 1:
            return False
        left -= 1
        return True

    return admits
