"""The doctor's preflights, judged as a browser judges them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.checks import web

ORIGIN = "https://app.example.com"
RIGHT = {"Origin": ORIGIN, "Methods": "GET, PUT", "Headers": "Content-Type"}


class Server(ThreadingHTTPServer):
    """A host that answers everything in one way.

    Attributes:
        status: With this status.
        allowed: With these headers, each after `Access-Control-Allow-`.
        passwords: What came as `Authorization`.
    """

    status: int
    allowed: dict[str, str]
    passwords: list[str | None]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    """A host."""

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
            """Keep quiet."""

    made = Server(("127.0.0.1", 0), Handler)
    made.passwords = []
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "other", "reason"),
    [
        (200, {}, ""),
        (204, {"Origin": "*", "Methods": "*", "Headers": "*"}, ""),
        (299, {}, ""),
        (301, {}, "it answers 301"),
        (307, {}, "it answers 307"),
        (403, {}, "it answers 403"),
        (500, {}, "it answers 500"),
        (200, {"Origin": "https://other.example.com"}, "it allows https://other.example.com"),
        (200, {"Origin": ""}, "it allows no origin"),
        (200, {"Methods": "GET, POST"}, "it does not allow PUT"),
        (200, {"Headers": "content"}, "it does not allow the header content-type"),
    ],
)
def test_preflight(server: Server, status: int, other: dict[str, str], reason: str) -> None:
    """Status, origin, method and header must all be right; a redirect is none that is."""
    server.status, server.allowed = status, RIGHT | other
    assert web.preflight(server.url, ORIGIN, "PUT", "content-type") == reason


def test_no_password(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of the host's in the operator's .netrc is not sent along."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.status, server.allowed = 200, RIGHT
    assert web.preflight(server.url, ORIGIN, "PUT", "content-type") == ""
    assert server.passwords == [None]
