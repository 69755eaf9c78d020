"""The bytes: how they come in, and how they are served."""

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
    """Start a PUT with the first bytes of its body, and give the connection."""
    parts = urlsplit(url)
    connection = socket.create_connection(("127.0.0.1", upstream.port), timeout=10)
    connection.sendall(
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n".encode()
        + begun
    )
    return connection


def received(connection: socket.socket) -> bytes:
    """Give all that comes until the other side closes the connection."""
    answer = b""
    while part := connection.recv(65_536):
        answer += part
    return answer


def files(upstream: RunningUpstream) -> list[str]:
    """Give the names of all files that hold bytes."""
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
    """Make names of characters that the broker accepts, always the same ones."""
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
def test_any_name_is_stored(upstream: RunningUpstream, names: list[str]) -> None:
    """A file of any name that the broker accepts can be sent by a page, registered and fetched."""
    upstream.behave(presignsPerMinute=1000)
    with requests.Session() as session:
        for number, name in enumerate(names):
            data = f"{number} {name}".encode(errors="replace")
            ticket = upstream.presign(name, size=len(data))
            headers = {"Content-Type": "video/mp4", "Origin": PAGE}
            asked = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
            preflight = session.options(ticket["uploadUrl"], headers=asked, timeout=5)
            stored = session.put(ticket["uploadUrl"], data=data, headers=headers, timeout=5)
            for answer in (preflight, stored):
                assert answer.status_code == 200, (name, answer.text)
                assert answer.headers["Access-Control-Allow-Origin"] == PAGE, name
            asset = upstream.register(ticket["url"], name=name).json()
            assert (asset["url"], asset["name"]) == (ticket["url"], name)
            assert session.get(asset["url"], timeout=5).content == data, name


def test_any_name_on_disk(upstream: RunningUpstream) -> None:
    """No file on disk bears the name of an upload."""
    upstream.upload(name="\U0001f3ac" * 255)
    (name,) = files(upstream)
    assert re.fullmatch(r"[0-9a-f]{32}", name)


@pytest.mark.parametrize("path", ["/storage/", "/storage/x", "/storage/x/y/z", "/storage/x/%0A"])
def test_any_storage_path_is_s3s(upstream: RunningUpstream, path: str) -> None:
    """Whatever is sent to the storage gets S3's XML, which a page may read."""
    for method in ("PUT", "GET", "POST", "DELETE", "PATCH"):
        answer = requests.request(method, upstream.url + path, headers={"Origin": PAGE}, timeout=5)
        assert answer.status_code == 403
        assert "<Code>AccessDenied</Code>" in answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


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
    """A chunked body is refused with S3's code, and names the header."""
    headers = {"Content-Type": "video/mp4"}
    url = upstream.presign()["uploadUrl"]
    answer = requests.put(url, data=iter([b"hel", b"lo"]), headers=headers, timeout=5)
    assert answer.status_code == 501
    assert "<Code>NotImplemented</Code>" in answer.text
    assert "<Header>Transfer-Encoding</Header>" in answer.text


def test_put_without_length(upstream: RunningUpstream) -> None:
    """A PUT that names no length is refused with S3's code."""
    parts = urlsplit(upstream.presign()["uploadUrl"])
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=10) as connection:
        connection.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: video/mp4\r\n\r\n".encode()
        )
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 411")
    assert b"<Code>MissingContentLength</Code>" in answer


def test_body_shorter_than_length(upstream: RunningUpstream) -> None:
    """A connection that sends nothing any more gets S3's 400, and nothing is stored."""
    upstream.behave(storageIdleSeconds=0.05)
    ticket = upstream.presign()
    # In one piece: what comes after the refusal would reset the connection.
    with send_head(upstream, ticket["uploadUrl"], 100, b"x" * 60) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 400
        assert answer.headers["Connection"] == "close"
        assert b"<Code>RequestTimeout</Code>" in answer.read()
    assert files(upstream) == []


@pytest.mark.parametrize(
    ("content_type", "statuses"), [("video/mp4", [b"100", b"200"]), ("a/b", [b"403"])]
)
def test_expect_continue(
    upstream: RunningUpstream, content_type: str, statuses: list[bytes]
) -> None:
    """Who asks first is told to send only if the URL is right, and else need not send anything."""
    ticket = upstream.presign()
    parts = urlsplit(ticket["uploadUrl"])
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=10) as connection:
        connection.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = connection.recv(65_536)
        if b" 100 " in answer:
            connection.sendall(b"hello")
            answer += received(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == statuses


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
