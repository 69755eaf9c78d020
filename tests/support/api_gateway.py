"""API Gateway before a broker: what AWS does, and the emulator and Chalice's local gateway do not.

It renames `WWW-Authenticate`. It answers an unknown path itself, with the gateway responses of the
stack's template. If such a request has an `Authorization` header, AWS takes it for a signature, and
its message repeats it. (Amazon API Gateway Developer Guide: "Gateway response types", "Important
notes".)
"""

import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

RENAMED = "x-amzn-Remapped-WWW-Authenticate"


class ApiGateway:
    """The gateway.

    Args:
        url: The broker's URL.
        routes: The patterns of the paths that it knows, such as `/uploads/{upload_id}`.
        responses: The gateway responses by their types, as in a template.

    Attributes:
        refusal: The type of its response to an unknown path with an `Authorization` header.
        broken: The type of a response to each request, instead of the broker's; None for the
            broker's.
    """

    def __init__(self, url: str, routes: list[str], responses: dict[str, Any]) -> None:
        self.refusal = "INVALID_SIGNATURE"
        self.broken: str | None = None
        self._broker = url
        self._known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route)) for route in routes]
        self._responses = responses
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = gateway.respond(
                    self.command, self.path, dict(self.headers), body
                )
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body of a response."""
        token = headers.get("Authorization")
        if self.broken is not None:
            return self._own(self.broken, 400, f"{self.broken}: {headers}")
        if not any(one.fullmatch(path.partition("?")[0]) for one in self._known):
            if token is None:
                return self._own(
                    "MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token"
                )
            words = f"'{token}' not a valid key=value pair (missing equal-sign) in Authorization."
            return self._own(self.refusal, 403, words)
        response = requests.request(
            method, self._broker + path, headers=headers, data=body, timeout=30
        )
        kept = {
            RENAMED if name == "WWW-Authenticate" else name: value
            for name, value in response.headers.items()
            if name not in {"Content-Length", "Connection", "Date", "Server"}
        }
        return response.status_code, kept, response.content

    def _own(self, kind: str, status: int, words: str) -> tuple[int, dict[str, str], bytes]:
        """Return one of the gateway's own responses."""
        response = self._responses.get(kind) or self._responses["DEFAULT_4XX"]
        request_id = str(uuid.uuid4())
        headers = {
            name: request_id if value == "context.requestId" else value.strip("'")
            for name, value in response["ResponseParameters"]["Headers"].items()
        }
        content = response["ResponseTemplates"]["application/json"]
        content = content.replace("$context.requestId", request_id)
        content = content.replace("$context.error.messageString", f'"{words}"')
        return int(response.get("StatusCode", status)), headers, content.encode()

    def stop(self) -> None:
        """Stop the gateway."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
