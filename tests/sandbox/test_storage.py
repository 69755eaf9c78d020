"""The bytes: how they come in, and how they are served."""

import http.client
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from upstream_process import PAGE, RunningUpstream, free_port, put


def send_head(upstream: RunningUpstream, url: str, length: int) -> socket.socket:
    """Start a PUT, and give the connection."""
    parts = urlsplit(url)
    connection = socket.create_connection(("127.0.0.1", upstream.port), timeout=10)
    connection.sendall(
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return connection


def files(upstream: RunningUpstream) -> list[str]:
    """Give the names of all files that hold bytes."""
    folder = upstream.folder / "upstream"
    return [path.name for part in ("tmp", "objects") for path in (folder / part).iterdir()]


def test_etag(upstream: RunningUpstream) -> None:
    """A PUT answers the MD5 as ETag, readable by a page."""
    answer = put(upstream.presign()["uploadUrl"], b"hello", origin=PAGE)
    assert answer.headers["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]


def test_second_put(upstream: RunningUpstream) -> None:
    """A second PUT on one URL replaces the object, and leaves one file."""
    ticket = upstream.presign()
    put(ticket["uploadUrl"], b"first")
    put(ticket["uploadUrl"], b"second")
    assert requests.get(ticket["url"], timeout=5).content == b"second"
    assert len(files(upstream)) == 1


def test_cut_put(upstream: RunningUpstream) -> None:
    """A PUT that ends early leaves nothing, and is null in the journal."""
    ticket = upstream.presign()
    with send_head(upstream, ticket["uploadUrl"], 100) as connection:
        connection.sendall(b"x" * 60)
        time.sleep(0.2)
    time.sleep(0.2)
    assert upstream.register(ticket["url"]).status_code == 400
    assert files(upstream) == []
    entry = upstream.journal()[-2]
    assert entry["status"] is None
    assert entry["outcome"] == "the client went away after 60 bytes"


def test_chunked_body(upstream: RunningUpstream) -> None:
    """A body without a length is refused like S3 does."""
    headers = {"Content-Type": "video/mp4"}
    url = upstream.presign()["uploadUrl"]
    answer = requests.put(url, data=iter([b"hel", b"lo"]), headers=headers, timeout=5)
    assert answer.status_code == 411
    assert "<Code>MissingContentLength</Code>" in answer.text


def test_encoded_body(upstream: RunningUpstream) -> None:
    """Bytes are stored as they were sent, whatever their encoding is said to be."""
    ticket = upstream.presign()
    headers = {"Content-Type": "video/mp4", "Content-Encoding": "gzip"}
    assert requests.put(ticket["uploadUrl"], data=b"plain", headers=headers, timeout=5).ok
    assert requests.get(ticket["url"], timeout=5).content == b"plain"


def test_refused_body_is_read(upstream: RunningUpstream) -> None:
    """A refused PUT's body is read, so its sender sees the refusal, and the connection closes."""
    parts = urlsplit(upstream.presign()["uploadUrl"])
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
    connection.request(
        "PUT", f"{parts.path}?{parts.query}", bytes(32 * 1024 * 1024), {"Content-Type": "a/b"}
    )
    answer = connection.getresponse()
    assert answer.status == 403
    assert answer.headers["Connection"] == "close"
    connection.close()


@pytest.mark.parametrize("path", ["/storage/x/y", "/assets/x/y"])
def test_preflight(upstream: RunningUpstream, path: str) -> None:
    """A page in use may PUT with the header it asks for, until CORS is off."""
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = requests.options(upstream.url + path, headers=asked, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Vary"] == "Origin"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    upstream.behave(storageCors=False)
    answer = requests.options(upstream.url + path, headers=asked, timeout=5)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_cors_of_all_answers(upstream: RunningUpstream) -> None:
    """A page in use can read a success, a refusal and an ordered failure alike."""
    ticket = upstream.presign()
    refused = put(ticket["uploadUrl"], b"hello", "a/b", PAGE)
    stored = put(ticket["uploadUrl"], b"hello", origin=PAGE)
    served = requests.get(ticket["url"], headers={"Origin": PAGE}, timeout=5)
    upstream.order({"kind": "answer", "status": 503, "body": "<html>"}, "PUT")
    failed = put(ticket["uploadUrl"], b"hello", origin=PAGE)
    assert [answer.status_code for answer in (refused, stored, served, failed)] == [
        403,
        200,
        200,
        503,
    ]
    for answer in (refused, stored, served, failed):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Vary"] == "Origin"


def test_ranges(upstream: RunningUpstream) -> None:
    """A media element gets the range it asks for."""
    url = upstream.upload(b"0123456789")
    answer = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=5)
    assert (answer.status_code, answer.content) == (206, b"234")
    assert answer.headers["Content-Range"] == "bytes 2-4/10"
    assert requests.head(url, timeout=5).headers["Content-Length"] == "10"


def test_hostile_upload(upstream: RunningUpstream) -> None:
    """An uploaded page may be opened, but is told to run nothing."""
    page = b"<script>alert(1)</script>"
    answer = requests.get(upstream.upload(page, "x.html", "text/html"), timeout=5)
    assert answer.content == page
    assert "sandbox;" in answer.headers["Content-Security-Policy"]
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_there(upstream: RunningUpstream) -> None:
    """What has not landed, and what has another name, is not found."""
    assert requests.get(upstream.presign()["url"], timeout=5).status_code == 404
    url = upstream.upload()
    assert requests.get(url.replace("clip", "clap"), timeout=5).status_code == 404


def test_killed(start: Callable[..., RunningUpstream]) -> None:
    """After kill -9 all that was acknowledged is found again, and a half PUT is gone."""
    port = free_port()
    first = start(port=port)
    asset = first.asset(b"hello", name="kept")
    url = first.presign()["uploadUrl"]
    with send_head(first, url, 100) as connection:
        connection.sendall(b"x" * 60)
        time.sleep(0.2)
        assert len(files(first)) == 2
        first.kill()
    second = start(port=port)
    assert second.call("GET", f"/v2/assets/{asset['id']}").json() == asset
    assert requests.get(asset["url"], timeout=5).content == b"hello"
    assert len(files(second)) == 1
    assert second.journal()[0]["path"] == f"/v2/assets/{asset['id']}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory(start: Callable[..., RunningUpstream]) -> None:
    """A PUT of 256 MiB leaves the process's peak of memory under 200 MB."""
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
