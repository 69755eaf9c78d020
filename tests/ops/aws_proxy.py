"""A proxy in front of the emulated AWS that records calls, and changes responses by rules."""

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Response = tuple[int, Any]  # the status, and the body: JSON, or text if it is XML
Rule = Callable[[Callable[[], Response]], Response]
_DROPPED_HEADERS = {"content-length", "transfer-encoding", "connection", "date", "server"}
_DROPPED_HEADERS |= {"x-amz-crc32"}  # the checksum of the original body


class AwsProxy:
    """The proxy.

    Attributes:
        calls: The operations that were called, in order.
        rules: By operation, a function that returns the response. Its argument forwards the call
            to the emulator, and returns the emulator's response.
    """

    def __init__(self, port: int) -> None:
        self.calls: list[str] = []
        self.rules: dict[str, Rule] = {}
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                # CloudFormation names the operation in the form, and REST services in the path.
                action = parse_qs(body.decode("latin-1")).get("Action", [""])[0]
                operation = target or action or f"{self.command} {self.path.split('/')[2:3]}"
                proxy.calls.append(operation)
                rule = proxy.rules.get(operation)
                if rule is None:
                    self._respond(*self._forward(body))
                    return
                headers: list[tuple[str, str]] = []

                def forward() -> Response:
                    status, found, content = self._forward(body)
                    headers.extend(found)
                    text = content.decode()
                    return status, text if text.startswith("<") else json.loads(text)

                status, response = rule(forward)
                text = response if isinstance(response, str) else json.dumps(response)
                self._respond(status, headers, text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815 - http.server's names

            def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                emulator = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                # The signature covers the Host header, so the proxy does not change it.
                emulator.request(self.command, self.path, body, dict(self.headers.items()))
                response = emulator.getresponse()
                content = response.read()
                emulator.close()
                return response.status, response.getheaders(), content

            def _respond(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in _DROPPED_HEADERS:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def refuse(self, operation: str, code: str, message: str = "", times: int = 1000) -> None:
        """Refuse the next calls of an operation."""
        left = [times]

        def rule(forward: Callable[[], Response]) -> Response:
            left[0] -= 1
            return (400, {"__type": code, "message": message}) if left[0] >= 0 else forward()

        self.rules[operation] = rule

    def stop(self) -> None:
        """Stop the proxy."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
