"""The relay before a storage that refuses browsers: `docs/examples/relay.conf` in real nginx."""

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
    """Storage as browsers can't use it: it answers no preflight, and grants no origin."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("storage"))
    upstream.behave(storageCors=False)
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, storage: RunningUpstream) -> Iterator[Relay]:
    """The relay in front of it."""
    started = Relay(tmp_path_factory.mktemp("relay"), free_port(), storage.url, APP)
    yield started
    assert started.stop() == 0


def send(relay: Relay, method: str, address: str, **arguments: Any) -> requests.Response:
    """Send a request to the relay; `address` is a whole address at storage, or a path."""
    path = "/" + address.split("/", 3)[3] if "://" in address else address
    headers = {"Origin": APP, "Content-Type": "video/mp4"} | arguments.pop("headers", {})
    return requests.request(
        method, relay.url + path, headers=headers, verify=relay.certificate, timeout=60, **arguments
    )


def seen(storage: RunningUpstream) -> int:
    """Count what reached storage."""
    return len(storage.journal())


@pytest.mark.parametrize("name", ["clip.mp4", "a bü%2F+&=;~'(1).mp4", "..", "%00", "x" * 200])
def test_bytes_arrive(name: str, relay: Relay, storage: RunningUpstream) -> None:
    """A signed PUT goes through unchanged, whatever its path, and the page may read the answer."""
    data = random.Random(name).randbytes(300_000)  # noqa: S311 - any bytes
    ticket = storage.presign(name, size=len(data))
    answer = send(relay, "PUT", ticket["uploadUrl"], data=data)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    stored = requests.get(ticket["url"], timeout=9).content
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()


def test_preflight(relay: Relay, storage: RunningUpstream) -> None:
    """The relay answers it by itself, for the app alone."""
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
    assert seen(storage) == before + 1, "the presign alone"


def test_stranger_reads_nothing(relay: Relay, storage: RunningUpstream) -> None:
    """A page of another origin gets no CORS on the PUT either, and storage's own never counts."""
    storage.behave(storageCors=True)
    try:
        answers = {
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
    assert answers[APP].headers["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Origin" not in answers[STRANGER].headers


@pytest.mark.parametrize("change", ["signature", "path", "type"])
def test_signature_counts(change: str, relay: Relay, storage: RunningUpstream) -> None:
    """What was not signed so is refused by storage, in a way that the app's page can read."""
    url = storage.presign(size=2_000_000)["uploadUrl"]
    if change == "signature":
        url = url[:-1] + ("0" if url[-1] != "0" else "1")
    if change == "path":
        url = url.replace("clip.mp4", "clop.mp4")
    content_type = "video/webm" if change == "type" else "video/mp4"
    headers = {"Content-Type": content_type}
    answer = send(relay, "PUT", url, data=b"x" * 2_000_000, headers=headers)
    assert answer.status_code == 403
    assert "SignatureDoesNotMatch" in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_no_other_method(method: str, relay: Relay, storage: RunningUpstream) -> None:
    """Nothing but PUT gets to storage, signed or not."""
    url = storage.presign()["uploadUrl"]
    before = seen(storage)
    answer = send(relay, method, url)
    assert answer.status_code == 405
    assert method == "TRACE" or answer.headers["Allow"] == "PUT, OPTIONS"
    assert seen(storage) == before


@pytest.mark.parametrize("path", ["/", "/v2/assets", "/storage/a/b", "/x?X-Amz-Signature=", "/?a"])
def test_no_other_path(path: str, relay: Relay, storage: RunningUpstream) -> None:
    """A path that nobody signed is refused before it reaches storage."""
    before = seen(storage)
    assert send(relay, "PUT", path, data=b"x").status_code == 403
    assert seen(storage) == before


@pytest.mark.parametrize("line", ["PUT {other}{path}", "PUT //127.0.0.1:{port}{path}"])
def test_no_other_host(line: str, relay: Relay, storage: RunningUpstream) -> None:
    """It is no open proxy: a request that names another host gets to storage, or nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        port = other.getsockname()[1]
        path = "/" + storage.presign()["uploadUrl"].split("/", 3)[3]
        start = line.format(other=f"http://127.0.0.1:{port}", path=path, port=port)
        head = f"{start} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        assert exchange(relay, head + "Content-Length: 0\r\n\r\n").startswith("HTTP/1.1 ")
        with pytest.raises(TimeoutError):
            other.accept()


def test_too_large(relay: Relay, storage: RunningUpstream) -> None:
    """More than 5 GiB are refused before a byte is read, and the page can read why."""
    headers = {"Content-Length": str(5 * 1024**3 + 1)}
    answer = send(relay, "PUT", storage.presign()["uploadUrl"], headers=headers)
    assert answer.status_code == 413
    assert answer.headers["Access-Control-Allow-Origin"] == APP


def incoming(storage: RunningUpstream) -> int:
    """Count the bytes that storage has received of what is still coming."""
    return sum(path.stat().st_size for path in (storage.folder / "upstream" / "tmp").iterdir())


class HalfByHalf:
    """A body whose second half is sent when the first one has arrived."""

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


def test_not_buffered(relay: Relay, storage: RunningUpstream) -> None:
    """The first of 50 MB reach storage before the last are sent; none lie on the relay's disk."""
    data = random.Random(50).randbytes(50_000_000)  # noqa: S311 - any bytes
    ticket = storage.presign(size=len(data))
    body = HalfByHalf(data, lambda: incoming(storage) > 20_000_000)
    answer = send(relay, "PUT", ticket["uploadUrl"], data=body)
    assert answer.status_code == 200, answer.text
    assert not [path for path in (relay.folder / "body").rglob("*") if path.is_file()]
    stored = requests.get(ticket["url"], timeout=60).content
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()


def test_sent_once(relay: Relay, storage: RunningUpstream) -> None:
    """Where storage cuts the connection, the page reads a 502, and nothing is tried again."""
    url, before = storage.presign()["uploadUrl"], seen(storage)
    storage.order({"kind": "cut", "when": "before"}, "PUT", times=1)
    answer = send(relay, "PUT", url, data=b"hello")
    assert answer.status_code == 502
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert [one["method"] for one in storage.journal()[before:]] == ["PUT"]
    assert send(relay, "PUT", url, data=b"hello").status_code == 200


def test_log_without_signatures(relay: Relay, storage: RunningUpstream) -> None:
    """What may be written with an address stays out of the log, also when storage is gone."""
    url = storage.presign()["uploadUrl"]
    assert send(relay, "PUT", url, data=b"hello").status_code == 200
    assert send(relay, "PUT", url + "&X-Amz-Signature=" + "f" * 64, data=b"x").status_code == 403
    wait_until(lambda: url.partition("?")[0].rpartition("/")[2] in relay.logged(), 5)
    assert "Signature" not in relay.logged()


class SecureStorage(BaseHTTPRequestHandler):
    """Another storage, by https, which keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[list[tuple[str, list[tuple[str, str]], bytes]]] = []

    def do_PUT(self) -> None:
        """Keep the request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.requestline, sorted(self.headers.items()), body))
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its origin, and the certificate by which it is known."""
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
def test_https(is_trusted: bool, secure: tuple[str, Path], tmp_path: Path) -> None:  # noqa: FBT001
    """Storage must prove who it is, and gets the bytes and what was signed: nothing else."""
    origin, known_by = secure
    relay = Relay(tmp_path, free_port(), origin, APP, known_by if is_trusted else None)
    try:
        personal = {"Cookie": "session=1", "Authorization": "Bearer x", "x-api-key": "k"}
        path = "/a%2Fb/ü%20'?X-Amz-Date=1&X-Amz-Signature=ab&x=%2f%2F".replace("ü", "%C3%BC")
        answer = put_exactly(relay, path, personal)
    finally:
        assert relay.stop() == 0
    assert answer.count(f"Access-Control-Allow-Origin: {APP}") == 1
    if not is_trusted:
        assert answer.startswith("HTTP/1.1 502 ")
        assert not SecureStorage.received
        return
    assert answer.startswith("HTTP/1.1 200 ")
    assert "Set-Cookie" not in answer
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
    """PUT to a path that no library may tidy, and return the answer's head."""
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
    """Send bytes, and return what comes back until the relay closes the connection."""
    trusted = ssl.create_default_context(cafile=str(relay.certificate))
    address = ("127.0.0.1", int(relay.url.rpartition(":")[2]))
    with (
        socket.create_connection(address) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as sender,
    ):
        sender.sendall(request.encode())
        answer = b""
        while received := sender.recv(65_536):
            answer += received
    return answer.decode()


def test_page_fills_in_all() -> None:
    """The page's commands set, and fill in, every name in the file's braces and no other."""
    folder = ROOT / "docs"
    block = (folder / "relay.md").read_text().partition("```sh\nexport")[2].partition("```")[0]
    named = set(re.findall(r"\$\{(\w+)\}", (folder / "examples" / "relay.conf").read_text()))
    assert set(re.findall(r"([A-Z_]+)=", block)) == named
    (filled,) = re.findall(r"printf '\S+ ' ([A-Z_ ]+)\)", block)
    assert set(filled.split()) == named
