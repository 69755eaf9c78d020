"""The storage: how bytes are stored and served."""

import http.client
import random
import re
import socket
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.upstream_process import PAGE, RunningUpstream, free_port, put


def send_head(
    upstream: RunningUpstream, url: str, length: int, begun: bytes = b""
) -> socket.socket:
    """Send the head of a PUT and some bytes of its body, and return the connection."""
    parts = urlsplit(url)
    connection = socket.create_connection(("127.0.0.1", upstream.port), timeout=10)
    connection.sendall(
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n".encode()
        + begun
    )
    return connection


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def read_all(connection: socket.socket) -> bytes:
    """Return everything that is received until the other side closes the connection."""
    response = b""
    while part := connection.recv(65_536):
        response += part
    return response


def files(upstream: RunningUpstream) -> list[str]:
    """Return the names of all stored files."""
    folder = upstream.folder / "upstream"
    return [path.name for part in ("tmp", "objects") for path in (folder / part).iterdir()]


NAMES = [
    "{take}.mp4",
    "{key}",
    "{}",
    "%2F.mp4",
    "%2e%2e%2fa.mp4",
    "%7Btake%7D.mp4",
    "100%.mp4",
    "a?b#c.mp4",
    "..mp4",
    "...",
    ".mp4",
    " ",
    " spaces . ",
    "a  b.mp4",
    "con.mp4",
    "NUL",
    "~",
    "~a.mp4",
    "a&b=c;d+e,f@g$h!.mp4",
    'it\'s "q" `b` <c> |d| ^e:f.mp4',
    "[x]*.mp4",
    "http:a.mp4",
    "é.mp4",
    unicodedata.normalize("NFD", "é 한국어 파일 이름.mp4"),
    "שלום.mp4",
    "\u2028\u2029\ufeff\u3000.mp4",
    "\uffff\ufffd\U0010ffff.mp4",
    "\U0001f469\u200d\U0001f467.mp4",
    "\U0001f3ac" * 255,
    "한" * 255,
    "%" * 255,
    "a" * 251 + ".mp4",
]


def random_names(count: int) -> list[str]:
    """Return random names that the broker accepts. They are the same in each run."""
    dice = random.Random(12)  # noqa: S311 - it need not be a secret
    kinds = [range(0x20, 0x7F), range(0xA0, 0x600), range(0x1F300, 0x1F700), range(0x20, 0xD800)]
    refused = {"Cc", "Cs"}
    names = []
    while len(names) < count:
        drawn = [chr(dice.choice(dice.choice(kinds))) for _ in range(dice.randint(1, 40))]
        name = "".join(
            one for one in drawn if unicodedata.category(one) not in refused and one not in "/\\"
        )
        names += [name] if name not in {"", ".", ".."} else []
    return names


@pytest.mark.parametrize("names", [NAMES, random_names(100)], ids=["chosen", "drawn"])
def test_any_file_name_is_stored(upstream: RunningUpstream, names: list[str]) -> None:
    """A page can upload a file of any name that the broker accepts, register it and fetch it."""
    upstream.behave(presignsPerMinute=1000)
    with requests.Session() as session:
        for number, name in enumerate(names):
            data = f"{number} {name}".encode(errors="replace")
            presigned = upstream.presign(name, size=len(data))
            headers = {"Content-Type": "video/mp4", "Origin": PAGE}
            preflight_headers = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
            preflight = session.options(
                presigned["uploadUrl"], headers=preflight_headers, timeout=5
            )
            stored = session.put(presigned["uploadUrl"], data=data, headers=headers, timeout=5)
            for response in (preflight, stored):
                assert response.status_code == 200, (name, response.text)
                assert response.headers["Access-Control-Allow-Origin"] == PAGE, name
            asset = upstream.register(presigned["url"], name=name).json()
            assert (asset["url"], asset["name"]) == (presigned["url"], name)
            assert session.get(asset["url"], timeout=5).content == data, name


def test_file_on_disk_has_random_name(upstream: RunningUpstream) -> None:
    """A file on disk never has the name of an upload."""
    upstream.upload(name="\U0001f3ac" * 255)
    (name,) = files(upstream)
    assert re.fullmatch(r"[0-9a-f]{32}", name)


@pytest.mark.parametrize("path", ["/storage/", "/storage/x", "/storage/x/y/z", "/storage/x/%0A"])
def test_any_storage_path_has_s3_errors(upstream: RunningUpstream, path: str) -> None:
    """Every request to the storage gets S3's XML, which a listed page may read."""
    for method in ("PUT", "GET", "POST", "DELETE", "PATCH"):
        response = requests.request(
            method, upstream.url + path, headers={"Origin": PAGE}, timeout=5
        )
        assert response.status_code == 403
        assert "<Code>AccessDenied</Code>" in response.text
        assert response.headers["Access-Control-Allow-Origin"] == PAGE


def test_put_returns_etag(upstream: RunningUpstream) -> None:
    """A PUT returns the MD5 as ETag, which a page may read."""
    response = put(upstream.presign()["uploadUrl"], b"hello", origin=PAGE)
    assert response.headers["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert "ETag" in response.headers["Access-Control-Expose-Headers"]


def test_second_put_replaces_object(upstream: RunningUpstream) -> None:
    """A second PUT to one URL replaces the object, and leaves one file."""
    presigned = upstream.presign()
    put(presigned["uploadUrl"], b"first")
    put(presigned["uploadUrl"], b"second")
    assert requests.get(presigned["url"], timeout=5).content == b"second"
    assert len(files(upstream)) == 1


def test_cut_put_stores_nothing(upstream: RunningUpstream) -> None:
    """A PUT that ends early stores nothing, and its status in the journal is null."""
    presigned = upstream.presign()
    with send_head(upstream, presigned["uploadUrl"], 100) as connection:
        connection.sendall(b"x" * 60)
        wait_until(lambda: len(files(upstream)) == 1)
        time.sleep(0.2)  # usually enough to receive the bytes
    wait_until(lambda: files(upstream) == [])
    assert upstream.register(presigned["url"]).status_code == 400
    entry = upstream.journal()[-2]
    assert entry["status"] is None
    left = "the client went away after"
    assert entry["outcome"] in {f"{left} 60 bytes", f"{left} 0 bytes"}


def test_put_refuses_chunked_body(upstream: RunningUpstream) -> None:
    """A chunked body is refused with S3's code and the header's name."""
    headers = {"Content-Type": "video/mp4"}
    url = upstream.presign()["uploadUrl"]
    response = requests.put(url, data=iter([b"hel", b"lo"]), headers=headers, timeout=5)
    assert response.status_code == 501
    assert "<Code>NotImplemented</Code>" in response.text
    assert "<Header>Transfer-Encoding</Header>" in response.text


def test_put_refuses_missing_length(upstream: RunningUpstream) -> None:
    """A PUT without a length is refused with S3's code."""
    parts = urlsplit(upstream.presign()["uploadUrl"])
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=10) as connection:
        connection.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: video/mp4\r\n\r\n".encode()
        )
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 411")
    assert b"<Code>MissingContentLength</Code>" in response


def test_put_refuses_short_body(upstream: RunningUpstream) -> None:
    """A connection that stops sending gets S3's 400, and nothing is stored."""
    upstream.behave(storageIdleSeconds=0.05)
    presigned = upstream.presign()
    # The bytes are sent at once, since bytes after the refusal would reset the connection.
    with send_head(upstream, presigned["uploadUrl"], 100, b"x" * 60) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 400
        assert response.headers["Connection"] == "close"
        assert b"<Code>RequestTimeout</Code>" in response.read()
    assert files(upstream) == []


@pytest.mark.parametrize(
    ("content_type", "statuses"), [("video/mp4", [b"100", b"200"]), ("a/b", [b"403"])]
)
def test_put_supports_expect_continue(
    upstream: RunningUpstream, content_type: str, statuses: list[bytes]
) -> None:
    """With `Expect: 100-continue`, the URL is checked before the client sends the body."""
    presigned = upstream.presign()
    parts = urlsplit(presigned["uploadUrl"])
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=10) as connection:
        connection.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        response = connection.recv(65_536)
        if b" 100 " in response:
            connection.sendall(b"hello")
            response += read_all(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", response) == statuses


def test_put_stores_encoded_body_unchanged(upstream: RunningUpstream) -> None:
    """Bytes are stored as they were sent, whatever the `Content-Encoding`."""
    presigned = upstream.presign()
    headers = {"Content-Type": "video/mp4", "Content-Encoding": "gzip"}
    assert requests.put(presigned["uploadUrl"], data=b"plain", headers=headers, timeout=5).ok
    assert requests.get(presigned["url"], timeout=5).content == b"plain"


def test_refused_body_is_read(upstream: RunningUpstream) -> None:
    """The body of a refused PUT is read, so that its sender sees the response."""
    parts = urlsplit(upstream.presign()["uploadUrl"])
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
    connection.request(
        "PUT", f"{parts.path}?{parts.query}", bytes(32 * 1024 * 1024), {"Content-Type": "a/b"}
    )
    response = connection.getresponse()
    assert response.status == 403
    assert response.headers["Connection"] == "close"
    connection.close()


@pytest.mark.parametrize("path", ["/storage/x/y", "/assets/x/y"])
def test_preflight_allows_put(upstream: RunningUpstream, path: str) -> None:
    """A listed page may PUT with the header that it requests, unless CORS is off."""
    preflight_headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    response = requests.options(upstream.url + path, headers=preflight_headers, timeout=5)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Vary"] == "Origin"
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == "content-type"
    upstream.behave(storageCors=False)
    response = requests.options(upstream.url + path, headers=preflight_headers, timeout=5)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("Access-Control")]


def test_all_storage_responses_have_cors(upstream: RunningUpstream) -> None:
    """A listed page can read a success, a refusal and an injected failure."""
    presigned = upstream.presign()
    refused = put(presigned["uploadUrl"], b"hello", "a/b", PAGE)
    stored = put(presigned["uploadUrl"], b"hello", origin=PAGE)
    served = requests.get(presigned["url"], headers={"Origin": PAGE}, timeout=5)
    upstream.order({"kind": "answer", "status": 503, "body": "<html>"}, "PUT")
    failed = put(presigned["uploadUrl"], b"hello", origin=PAGE)
    assert [response.status_code for response in (refused, stored, served, failed)] == [
        403,
        200,
        200,
        503,
    ]
    for response in (refused, stored, served, failed):
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Vary"] == "Origin"


def test_get_serves_ranges(upstream: RunningUpstream) -> None:
    """A media element gets the range that it requests."""
    url = upstream.upload(b"0123456789")
    response = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=5)
    assert (response.status_code, response.content) == (206, b"234")
    assert response.headers["Content-Range"] == "bytes 2-4/10"
    assert requests.head(url, timeout=5).headers["Content-Length"] == "10"


def test_uploaded_page_runs_no_scripts(upstream: RunningUpstream) -> None:
    """An uploaded page can be opened, but its policy forbids scripts."""
    page = b"<script>alert(1)</script>"
    response = requests.get(upstream.upload(page, "x.html", "text/html"), timeout=5)
    assert response.content == page
    assert "sandbox;" in response.headers["Content-Security-Policy"]
    assert "script" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_get_missing_object_is_404(upstream: RunningUpstream) -> None:
    """An object without bytes, or another file name, is a 404."""
    assert requests.get(upstream.presign()["url"], timeout=5).status_code == 404
    url = upstream.upload()
    assert requests.get(url.replace("clip", "clap"), timeout=5).status_code == 404


def test_stored_objects_survive_kill(start: Callable[..., RunningUpstream]) -> None:
    """After kill -9, all acknowledged objects exist, and a partial PUT does not."""
    port = free_port()
    first = start(port=port)
    asset = first.asset(b"hello", name="kept")
    url = first.presign()["uploadUrl"]
    with send_head(first, url, 100) as connection:
        connection.sendall(b"x" * 60)
        wait_until(lambda: len(files(first)) == 2)
        first.kill()
    second = start(port=port)
    assert second.call("GET", f"/v2/assets/{asset['id']}").json() == asset
    assert requests.get(asset["url"], timeout=5).content == b"hello"
    assert len(files(second)) == 1
    assert second.journal()[0]["path"] == f"/v2/assets/{asset['id']}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_put_needs_little_memory(start: Callable[..., RunningUpstream]) -> None:
    """A PUT of 256 MiB keeps the process's peak memory under 200 MB."""
    upstream = start()
    size = 256 * 1024 * 1024
    url = upstream.presign(size=size)["uploadUrl"]
    block = bytes(1024 * 1024)
    with send_head(upstream, url, size) as connection:
        for _ in range(256):
            connection.sendall(block)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    status = Path(f"/proc/{upstream.process.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])
    assert peak * 1024 < 200_000_000
