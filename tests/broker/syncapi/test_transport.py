"""A place in the line is taken when the connection to sync. is open, not before."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient

ADDRESS = "https://storage.example/one.mp4"
PRESIGN = json.dumps({"uploadUrl": ADDRESS, "url": ADDRESS, "expiresIn": 3600}).encode()


class Server(ThreadingHTTPServer):
    """Answers presigns, and knows what came."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.is_connected = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers each POST alike."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Count a connection."""
        super().setup()
        self.server.connections += 1
        self.server.is_connected.set()

    def do_POST(self) -> None:
        """Answer a presign."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.send_response(201)
        self.send_header("Content-Length", str(len(PRESIGN)))
        self.end_headers()
        self.wfile.write(PRESIGN)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A sync. that only presigns."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join(timeout=5)


@pytest.fixture
def sync(server: Server) -> Iterator[SyncClient]:
    """The client of it."""
    client = SyncClient(server.url, CachedSecret(lambda: "a-key", Clock()), Clock())
    yield client
    client._client._session.close()  # noqa: SLF001 - else the server would wait for it


def test_open_before(server: Server, sync: SyncClient) -> None:
    """When the place is taken the connection is there, and nothing has been sent yet."""
    seen: list[tuple[bool, int]] = []

    def admit() -> None:
        seen.append((server.is_connected.wait(timeout=5), server.requests))

    for _ in range(2):
        assert sync.presign("one.mp4", "video/mp4", 5, admit).expires_in == 3600
    assert seen == [(True, 0), (True, 1)]
    assert server.connections == 1, "the second request used the first one's connection"


def test_refused(server: Server, sync: SyncClient) -> None:
    """Without a place nothing is sent, and the refusal comes as it was said."""

    def refuse() -> None:
        raise errors.QueueFull("Too many wait.", retry_after=9)

    with pytest.raises(errors.QueueFull, match="Too many wait"):
        sync.presign("one.mp4", "video/mp4", 5, refuse)
    assert server.requests == 0
    assert sync.presign("one.mp4", "video/mp4", 5, lambda: None).url == ADDRESS


def test_unreachable() -> None:
    """Where no connection comes about, no place is taken."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    taken: list[int] = []
    client = SyncClient(f"http://127.0.0.1:{port}", CachedSecret(lambda: "a-key", Clock()), Clock())
    with pytest.raises(sync_errors.UpstreamUnreachable):
        client.presign("one.mp4", "video/mp4", 5, lambda: taken.append(1))
    assert taken == []
