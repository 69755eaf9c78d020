"""A Sync on loopback whose every response a test writes, and that counts requests at its socket."""

import json
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chalicelib.syncapi.client import Timeouts
from tests.support.faulty_dynamodb import reset

STORAGE = "https://storage.example"
PATIENT = Timeouts(presign=40, register=40, lookup=40)  # seconds; a held request is not given up


@dataclass(frozen=True)
class Received:
    """A request.

    Attributes:
        method: HTTP method.
        path: The path, without the query.
        query: The query's parameters.
        body: The JSON body, or None.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """A response.

    Attributes:
        status: HTTP status.
        body: What to send as JSON, or the bytes to send as they are.
        headers: Further headers.
    """

    status: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[Received], Reply | None]


def presigned(name: str = "one.mp4", expires_in: Any = 3600) -> Reply:
    """Return the response to a presign."""
    url = f"{STORAGE}/{name}"
    return Reply(201, {"uploadUrl": f"{url}?signed", "url": url, "expiresIn": expires_in})


def asset(**fields: Any) -> dict[str, Any]:
    """Return an asset that no other test uses: a video of five bytes, newer than all others."""
    made = {"id": uuid.uuid4().hex, "createdAt": "2099-01-01T00:00:00Z"}
    return {**made, "type": "VIDEO", "size": 5, **fields}


class Held:
    """A script that keeps each request waiting until a test releases it.

    Args:
        reply: The response afterwards.

    Attributes:
        reached: Set when a request waits.
        released: Set it to let all of them continue.
    """

    def __init__(self, reply: Reply) -> None:
        self._respond = reply
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, _: Received) -> Reply:
        """Wait, and return the response."""
        self.reached.set()
        self.released.wait(PATIENT.register / 2)
        return self._respond


class ScriptedSync:
    """The server. The script returns the response to a request, or None to reset the connection.

    Args:
        script: The script.
        context: For TLS, or None.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Received] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.sync = self
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def count(self, method: str, path: str) -> int:
        """Return how many requests of one kind have arrived."""
        return [(one.method, one.path) for one in self.requests].count((method, path))

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    sync: ScriptedSync
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(content) if content else None
        received = Received(self.command, parts.path, dict(parse_qsl(parts.query)), body)
        self.server.sync.requests.append(received)
        reply = self.server.sync.script(received)
        if reply is None:
            self.close_connection = True
            reset(self.connection)
            return
        sent = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response_only(reply.status)
        for name, value in {"Content-Length": str(len(sent)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.wfile.flush()

    def do_GET(self) -> None:
        """Respond by the script."""
        self._respond()

    def do_POST(self) -> None:
        """Respond by the script."""
        self._respond()

    def do_DELETE(self) -> None:
        """Respond by the script."""
        self._respond()

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""
