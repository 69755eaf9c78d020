"""The relay of `docs/examples/relay.conf` in nginx, in front of a storage without CORS."""

import hashlib
import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from tests.deploy.relay import Relay, certificate
from tests.support.emulated_aws import wait_until
from tests.support.upstream_process import ROOT, RunningUpstream, free_port

APP = "https://my-project-git-feature-branch-name-team.example.com"
STRANGER = "https://elsewhere.example.com"
ASKED = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """The stand-in for Sync, whose storage refuses preflights and has no CORS headers."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("storage"))
    upstream.behave(storageCors=False)
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, storage: RunningUpstream) -> Iterator[Relay]:
    """The relay in front of the storage."""
    started = Relay(tmp_path_factory.mktemp("relay"), free_port(), storage.url, APP)
    yield started
    assert started.stop() == 0


def send(relay: Relay, method: str, url: str, **arguments: Any) -> requests.Response:
    """Send a request to the relay, for a URL of storage or a path."""
    path = "/" + url.split("/", 3)[3] if "://" in url else url
    headers = {"Origin": APP, "Content-Type": "video/mp4"} | arguments.pop("headers", {})
    return requests.request(
        method, relay.url + path, headers=headers, verify=relay.certificate, timeout=60, **arguments
    )


def seen(storage: RunningUpstream) -> int:
    """Return the number of requests that reached storage."""
    return len(storage.journal())


@pytest.mark.parametrize("name", ["clip.mp4", "a bü%2F+&=;~'(1).mp4", "..", "%00", "x" * 200])
def test_relay_forwards_put_unchanged(name: str, relay: Relay, storage: RunningUpstream) -> None:
    """The relay forwards a signed PUT unchanged, and the page may read the response."""
    data = random.Random(name).randbytes(300_000)  # noqa: S311 - any bytes
    ticket = storage.presign(name, size=len(data))
    response = send(relay, "PUT", ticket["uploadUrl"], data=data)
    assert response.status_code == 200, response.text
    assert response.headers["Access-Control-Allow-Origin"] == APP
    stored = requests.get(ticket["url"], timeout=9).content
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()


def test_relay_allows_only_app_origin(relay: Relay, storage: RunningUpstream) -> None:
    """The relay responds to preflights itself, and allows only the app's origin."""
    before, path = seen(storage), storage.presign()["uploadUrl"]
    granted = send(relay, "OPTIONS", path, headers=ASKED)
    assert granted.status_code == 204
    assert granted.headers["Access-Control-Allow-Origin"] == APP
    assert granted.headers["Access-Control-Allow-Methods"] == "PUT"
    assert granted.headers["Access-Control-Allow-Headers"] == "Content-Type"
    for origin in (STRANGER, f"{APP}.evil.example", "null", ""):
        refused = send(relay, "OPTIONS", path, headers={**ASKED, "Origin": origin})
        assert refused.status_code == 403
        assert not [name for name in refused.headers if name.startswith("Access-Control")]
        assert refused.headers["Vary"] == "Origin"
    assert seen(storage) == before + 1, "only the presign"


def test_relay_replaces_cors_of_storage(relay: Relay, storage: RunningUpstream) -> None:
    """The relay drops storage's CORS headers, and adds its own only for the app's origin."""
    storage.behave(storageCors=True)
    try:
        responses = {
            origin: send(
                relay,
                "PUT",
                storage.presign()["uploadUrl"],
                data=b"hello",
                headers={"Origin": origin},
            )
            for origin in (APP, STRANGER)
        }
    finally:
        storage.behave(storageCors=False)
    assert responses[APP].headers["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Origin" not in responses[STRANGER].headers


@pytest.mark.parametrize("change", ["signature", "path", "type"])
def test_storage_checks_signature(change: str, relay: Relay, storage: RunningUpstream) -> None:
    """Storage refuses a changed request, and the app's page can read the refusal."""
    url = storage.presign(size=2_000_000)["uploadUrl"]
    if change == "signature":
        url = url[:-1] + ("0" if url[-1] != "0" else "1")
    if change == "path":
        url = url.replace("clip.mp4", "clop.mp4")
    content_type = "video/webm" if change == "type" else "video/mp4"
    headers = {"Content-Type": content_type}
    response = send(relay, "PUT", url, data=b"x" * 2_000_000, headers=headers)
    assert response.status_code == 403
    assert "SignatureDoesNotMatch" in response.text
    assert response.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_relay_refuses_other_methods(method: str, relay: Relay, storage: RunningUpstream) -> None:
    """The relay forwards only PUT."""
    url = storage.presign()["uploadUrl"]
    before = seen(storage)
    response = send(relay, method, url)
    assert response.status_code == 405
    assert method == "TRACE" or response.headers["Allow"] == "PUT, OPTIONS"
    assert seen(storage) == before


@pytest.mark.parametrize("path", ["/", "/v2/assets", "/storage/a/b", "/x?X-Amz-Signature=", "/?a"])
def test_relay_refuses_unsigned_urls(path: str, relay: Relay, storage: RunningUpstream) -> None:
    """The relay refuses a URL without a signature, and does not forward it."""
    before = seen(storage)
    assert send(relay, "PUT", path, data=b"x").status_code == 403
    assert seen(storage) == before


@pytest.mark.parametrize("line", ["PUT {other}{path}", "PUT //127.0.0.1:{port}{path}"])
def test_relay_is_no_open_proxy(line: str, relay: Relay, storage: RunningUpstream) -> None:
    """The relay never connects to a host that a request names."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        port = other.getsockname()[1]
        path = "/" + storage.presign()["uploadUrl"].split("/", 3)[3]
        start = line.format(other=f"http://127.0.0.1:{port}", path=path, port=port)
        head = f"{start} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        assert exchange(relay, head + "Content-Length: 0\r\n\r\n").startswith("HTTP/1.1 ")
        with pytest.raises(TimeoutError):
            other.accept()


def test_relay_refuses_too_large_body(relay: Relay, storage: RunningUpstream) -> None:
    """The relay refuses more than 5 GiB before it reads the body; the page can read the refusal."""
    headers = {"Content-Length": str(5 * 1024**3 + 1)}
    response = send(relay, "PUT", storage.presign()["uploadUrl"], headers=headers)
    assert response.status_code == 413
    assert response.headers["Access-Control-Allow-Origin"] == APP


def incoming(storage: RunningUpstream) -> int:
    """Return the number of bytes that storage has received of unfinished uploads."""
    return sum(path.stat().st_size for path in (storage.folder / "upstream" / "tmp").iterdir())


class HalfByHalf:
    """A body whose second half is sent after the first one has arrived."""

    def __init__(self, data: bytes, has_arrived: Callable[[], bool]) -> None:
        self._data = data
        self._has_arrived = has_arrived

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        half = len(self._data) // 2
        yield self._data[:half]
        wait_until(self._has_arrived, 10)
        yield self._data[half:]


def test_relay_streams_body(relay: Relay, storage: RunningUpstream) -> None:
    """The relay forwards bytes before it has received all, and writes none to its disk."""
    data = random.Random(50).randbytes(50_000_000)  # noqa: S311 - any bytes
    ticket = storage.presign(size=len(data))
    body = HalfByHalf(data, lambda: incoming(storage) > 20_000_000)
    response = send(relay, "PUT", ticket["uploadUrl"], data=body)
    assert response.status_code == 200, response.text
    assert not [path for path in (relay.folder / "body").rglob("*") if path.is_file()]
    stored = requests.get(ticket["url"], timeout=60).content
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()


def test_relay_does_not_retry(relay: Relay, storage: RunningUpstream) -> None:
    """If storage closes the connection, the relay returns 502, and does not send the PUT again."""
    url, before = storage.presign()["uploadUrl"], seen(storage)
    storage.order({"kind": "cut", "when": "before"}, "PUT", times=1)
    response = send(relay, "PUT", url, data=b"hello")
    assert response.status_code == 502
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert [one["method"] for one in storage.journal()[before:]] == ["PUT"]
    assert send(relay, "PUT", url, data=b"hello").status_code == 200


def test_relay_logs_no_signatures(relay: Relay, storage: RunningUpstream) -> None:
    """The relay logs no signature, neither of a forwarded nor of a refused PUT."""
    url = storage.presign()["uploadUrl"]
    assert send(relay, "PUT", url, data=b"hello").status_code == 200
    assert send(relay, "PUT", url + "&X-Amz-Signature=" + "f" * 64, data=b"x").status_code == 403
    wait_until(lambda: url.partition("?")[0].rpartition("/")[2] in relay.logged(), 5)
    assert "Signature" not in relay.logged()


class SecureStorage(BaseHTTPRequestHandler):
    """A storage with HTTPS that records its requests."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[list[tuple[str, list[tuple[str, str]], bytes]]] = []

    def do_PUT(self) -> None:
        """Record the request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.requestline, sorted(self.headers.items()), body))
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The origin of a storage with HTTPS, and its certificate."""
    pem, key = certificate(tmp_path, "storage")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), SecureStorage)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    SecureStorage.received.clear()
    yield f"https://127.0.0.1:{server.server_port}", pem
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_relay_verifies_storage_certificate(
    *, is_trusted: bool, secure: tuple[str, Path], tmp_path: Path
) -> None:
    """The relay verifies storage's certificate, and forwards only the bytes and signed headers."""
    origin, trusted = secure
    relay = Relay(tmp_path, free_port(), origin, APP, trusted if is_trusted else None)
    try:
        personal = {"Cookie": "session=1", "Authorization": "Bearer x", "x-api-key": "k"}
        path = "/a%2Fb/ü%20'?X-Amz-Date=1&X-Amz-Signature=ab&x=%2f%2F".replace("ü", "%C3%BC")
        response = put_exactly(relay, path, personal)
    finally:
        assert relay.stop() == 0
    assert response.count(f"Access-Control-Allow-Origin: {APP}") == 1
    if not is_trusted:
        assert response.startswith("HTTP/1.1 502 ")
        assert not SecureStorage.received
        return
    assert response.startswith("HTTP/1.1 200 ")
    assert "Set-Cookie" not in response
    ((line, headers, body),) = SecureStorage.received
    assert line == f"PUT {path} HTTP/1.1"
    assert dict(headers) == {
        "Connection": "close",
        "Content-Length": "5",
        "Content-Type": "video/webm;codecs=vp9",
        "Host": origin.partition("//")[2],
    }
    assert body == b"hello"


def put_exactly(relay: Relay, path: str, headers: dict[str, str]) -> str:
    """Send a PUT whose path no library normalises, and return the response."""
    sent = {
        "Host": "127.0.0.1",
        "Origin": APP,
        "Content-Type": "video/webm;codecs=vp9",
        "Content-Length": "5",
        "Connection": "close",
        **headers,
    }
    lines = [f"PUT {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return exchange(relay, "\r\n".join(lines) + "hello")


def exchange(relay: Relay, request: str) -> str:
    """Send a request, and return all bytes until the relay closes the connection."""
    trusted = ssl.create_default_context(cafile=str(relay.certificate))
    address = ("127.0.0.1", int(relay.url.rpartition(":")[2]))
    with (
        socket.create_connection(address) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as sender,
    ):
        sender.sendall(request.encode())
        response = b""
        while received := sender.recv(65_536):
            response += received
    return response.decode()


def test_page_sets_all_variables() -> None:
    """The page's commands set and substitute each variable of the file, and no other."""
    folder = ROOT / "docs"
    block = (folder / "relay.md").read_text().partition("```sh\nexport")[2].partition("```")[0]
    named = set(re.findall(r"\$\{(\w+)\}", (folder / "examples" / "relay.conf").read_text()))
    assert set(re.findall(r"([A-Z_]+)=", block)) == named
    (filled,) = re.findall(r"printf '\S+ ' ([A-Z_ ]+)\)", block)
    assert set(filled.split()) == named
