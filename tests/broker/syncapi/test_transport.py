"""The transport: when it acquires a permit, which connection it uses, and what it reads."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.transport import IDLE_SECONDS, MAX_RESPONSE_BYTES, Response, Transport
from tests.deploy.relay import certificate
from tests.support.clocks import ManualClock

KEY = "the-key-of-this-test"


class Server(ThreadingHTTPServer):
    """A Sync that responds to everything alike, and counts.

    Attributes:
        connections: How many were opened.
        requests: How many were received.
        status: The status of its responses.
        headers: Further headers of its responses.
        pieces: The body of its responses, in the pieces in which it is sent.
        pause: Seconds before each piece.
        idle_seconds: After how many it drops an idle connection; never unless set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.pieces = [b"{}"]
        self.pause = 0.0
        self.idle_seconds: float | None = None
        self.is_connected = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Count the connection."""
        self.timeout = self.server.idle_seconds
        super().setup()
        self.server.connections += 1
        self.server.is_connected.set()

    def do_POST(self) -> None:
        """Send the response."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(sum(map(len, self.server.pieces))))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in self.server.pieces:
                time.sleep(self.server.pause)
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True  # The transport stopped reading.

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on loopback."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join(timeout=5)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def transport(server: Server, clock: ManualClock) -> Transport:
    """A transport to the server."""
    return Transport(f"http://127.0.0.1:{server.server_port}", clock)


@pytest.fixture
def tls_transport(server: Server, clock: ManualClock, tmp_path: Path) -> Transport:
    """A transport that trusts the server's certificate."""
    pem = serve_tls(server, tmp_path)
    trusting = ssl.create_default_context(cafile=pem)
    return Transport(f"https://127.0.0.1:{server.server_port}", clock, trusting)


def serve_tls(server: Server, folder: Path) -> Path:
    """Serve TLS from now on, and return the certificate."""
    pem, key = certificate(folder, "sync")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return pem


def post(transport: Transport, seconds: float = 5) -> Response:
    """Send a request."""
    return transport.send("POST", "/v2/assets", seconds, KEY, body={})


class Permits:
    """Grants permits, and keeps what the server had seen at each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.seen: list[tuple[bool, int]] = []

    def acquire(self) -> None:
        """Grant one."""
        is_connected = self._server.is_connected.wait(timeout=5)
        self.seen.append((is_connected, self._server.requests))


@pytest.mark.parametrize("fixture", ["transport", "tls_transport"])
def test_permit_is_acquired_on_open_connection(
    server: Server, request: pytest.FixtureRequest, fixture: str
) -> None:
    """When a permit is acquired, the connection is open and its request is not sent yet."""
    transport: Transport = request.getfixturevalue(fixture)
    permits = Permits(server)
    for _ in range(2):
        transport.send("POST", "/", 5, KEY, body={}, acquire_permit=permits.acquire)
    assert permits.seen == [(True, 0), (True, 1)]
    assert server.connections == 1, "the second request used the connection of the first one"


def test_refused_permit_sends_nothing(server: Server, transport: Transport) -> None:
    """If no permit is granted, nothing is sent, and the caller gets the limiter's own exception."""

    def refuse() -> None:
        raise errors.QueueFull("Too many wait.", retry_after=9)

    with pytest.raises(errors.QueueFull, match="Too many wait"):
        transport.send("POST", "/", 5, KEY, body={}, acquire_permit=refuse)
    assert server.requests == 0
    assert post(transport).status == 200


def test_refused_connection_acquires_no_permit(server: Server) -> None:
    """If TCP fails, no permit is acquired, and it is known that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    permits = Permits(server)
    with pytest.raises(sync_errors.UpstreamUnreachable):
        Transport(f"http://127.0.0.1:{port}", Clock()).send(
            "POST", "/", 5, KEY, body={}, acquire_permit=permits.acquire
        )
    assert permits.seen == []


def test_failed_tls_acquires_no_permit(server: Server, tmp_path: Path) -> None:
    """If the certificate is not trusted, no permit is acquired, and nothing was sent."""
    serve_tls(server, tmp_path)
    permits = Permits(server)
    with pytest.raises(sync_errors.UpstreamUnreachable):
        Transport(f"https://127.0.0.1:{server.server_port}", Clock()).send(
            "POST", "/", 5, KEY, body={}, acquire_permit=permits.acquire
        )
    assert permits.seen == []
    assert server.requests == 0


def test_silent_tls_acquires_no_permit(server: Server) -> None:
    """If the TLS handshake does not end in time, no permit is acquired, and nothing was sent."""
    permits = Permits(server)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(sync_errors.UpstreamUnreachable):
            Transport(url, Clock()).send(
                "POST", "/", 0.3, KEY, body={}, acquire_permit=permits.acquire
            )
    assert permits.seen == []


def test_old_idle_connection_is_not_reused(
    server: Server, transport: Transport, clock: ManualClock
) -> None:
    """A connection is reused while it is fresh, and replaced when it was idle for too long."""
    post(transport)
    clock.advance(IDLE_SECONDS)
    post(transport)
    assert server.connections == 1
    clock.advance(IDLE_SECONDS + 1)
    post(transport)
    assert server.connections == 2


def test_closed_connection_is_not_reused(server: Server, transport: Transport) -> None:
    """A connection that Sync closes after a response is replaced, and no request fails."""
    server.headers = {"Connection": "close"}
    assert [post(transport).status for _ in range(3)] == [200] * 3
    assert server.connections == 3


def test_dropped_connection_is_not_reused(server: Server, transport: Transport) -> None:
    """A connection that Sync drops while it is idle is replaced, and no request fails."""
    server.idle_seconds = 0.05
    post(transport)
    time.sleep(0.3)
    assert post(transport).status == 200
    assert server.connections == 2


def test_redirect_is_not_followed(server: Server, transport: Transport) -> None:
    """A redirect is a response like any other, so the key stays with Sync."""
    server.status, server.headers = 307, {"Location": "/elsewhere"}
    assert post(transport).status == 307
    assert server.requests == 1


def test_key_is_masked(server: Server, transport: Transport) -> None:
    """If Sync quotes the key, the response does not hold it."""
    server.pieces = [json.dumps({"message": f"{KEY} is wrong"}).encode()]
    assert json.loads(post(transport).content) == {"message": "*** is wrong"}


def test_large_response_is_cut_off(server: Server, transport: Transport) -> None:
    """A response that is too large is not read to its end, and its outcome is unknown."""
    server.pieces = [b" " * 65536] * (MAX_RESPONSE_BYTES // 65536 + 1)
    with pytest.raises(sync_errors.UpstreamFault):
        post(transport)


def test_trickle_ends_at_deadline(server: Server) -> None:
    """A body that arrives byte by byte, each within the timeout, is cut off at the deadline."""
    server.pieces, server.pause = [b" "] * 100, 0.1
    transport = Transport(f"http://127.0.0.1:{server.server_port}", Clock())
    started = time.monotonic()
    with pytest.raises(sync_errors.UpstreamTimeout):
        post(transport, 0.5)
    assert time.monotonic() - started < 2
