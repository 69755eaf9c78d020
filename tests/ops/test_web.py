"""The doctor's preflights: it accepts the responses that a browser accepts."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.checks import web

ORIGIN = "https://app.example.com"
RIGHT = {"Origin": ORIGIN, "Methods": "GET, PUT", "Headers": "Content-Type"}


class Server(ThreadingHTTPServer):
    """A host with the same response to every request.

    Attributes:
        status: The status of the response.
        allowed: The headers of the response; `Access-Control-Allow-` is added to their names.
        passwords: The `Authorization` headers of the requests.
    """

    status: int
    allowed: dict[str, str]
    passwords: list[str | None]

    @property
    def url(self) -> str:
        """The host's URL."""
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    """A running host."""

    class Handler(BaseHTTPRequestHandler):
        server: Server

        def do_OPTIONS(self) -> None:
            self.server.passwords.append(self.headers.get("Authorization"))
            self.send_response(self.server.status)
            for name, value in self.server.allowed.items():
                self.send_header(f"Access-Control-Allow-{name}", value)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    started = Server(("127.0.0.1", 0), Handler)
    started.passwords = []
    thread = threading.Thread(target=started.serve_forever, args=(0.02,))
    thread.start()
    yield started
    started.shutdown()
    started.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "other", "reason"),
    [
        (200, {}, ""),
        (204, {"Origin": "*", "Methods": "*", "Headers": "*"}, ""),
        (299, {}, ""),
        (301, {}, "it returns 301"),
        (307, {}, "it returns 307"),
        (403, {}, "it returns 403"),
        (500, {}, "it returns 500"),
        (200, {"Origin": "https://other.example.com"}, "it allows https://other.example.com"),
        (200, {"Origin": ""}, "it allows no origin"),
        (200, {"Methods": "GET, POST"}, "it does not allow PUT"),
        (200, {"Headers": "content"}, "it does not allow the header content-type"),
    ],
)
def test_preflight_needs_status_and_headers(
    server: Server, status: int, other: dict[str, str], reason: str
) -> None:
    """A preflight passes only with a 2xx status, the origin, the method and the header."""
    server.status, server.allowed = status, RIGHT | other
    assert web.preflight(server.url, ORIGIN, "PUT", "content-type") == reason


def test_preflight_sends_no_password(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preflight does not send the host's password from the operator's .netrc."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.status, server.allowed = 200, RIGHT
    assert web.preflight(server.url, ORIGIN, "PUT", "content-type") == ""
    assert server.passwords == [None]
