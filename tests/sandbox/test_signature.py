"""The storage's checks of presigned URLs, and its refusals."""

import re
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import requests

from tests.support.upstream_process import PAGE, RunningUpstream, free_port, put


def refusal(response: requests.Response) -> tuple[int, str | None, str | None]:
    """Return status, code and message of a refusal, which must be S3's XML."""
    assert response.headers["Content-Type"].startswith("application/xml")
    error = ET.fromstring(response.text)  # noqa: S314 - our own server sends it
    assert error.tag == "Error"
    return response.status_code, error.findtext("Code"), error.findtext("Message")


def is_mismatch(response: requests.Response) -> bool:
    """Whether a PUT was refused for its signature."""
    return refusal(response)[:2] == (403, "SignatureDoesNotMatch")


def test_presigned_url_signs_headers(upstream: RunningUpstream) -> None:
    """The presigned URL is SigV4 and signs the content type and the host."""
    url = upstream.presign()["uploadUrl"]
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-SignedHeaders=content-type%3Bhost" in url
    assert re.search(r"X-Amz-Signature=[0-9a-f]{64}$", url)


@pytest.mark.parametrize("content_type", ["video/webm;codecs=vp9", "Audio/X-M4A", 'a/b; c="d,e"'])
def test_put_accepts_declared_content_type(upstream: RunningUpstream, content_type: str) -> None:
    """The PUT needs the declared content type, and a GET returns it unchanged."""
    presigned = upstream.presign(content_type=content_type)
    assert put(presigned["uploadUrl"], b"hello", content_type).status_code == 200
    served = requests.get(presigned["url"], timeout=5)
    assert served.headers["Content-Type"] == content_type


@pytest.mark.parametrize(
    "sent", ["video/webm", "video/webm; codecs=vp9", "video/WebM;codecs=vp9", "", None]
)
def test_put_refuses_other_content_type(upstream: RunningUpstream, sent: str | None) -> None:
    """Another content type or none does not match the signature, and nothing is stored."""
    presigned = upstream.presign(content_type="video/webm;codecs=vp9")
    headers = {} if sent is None else {"Content-Type": sent}
    assert is_mismatch(
        requests.put(presigned["uploadUrl"], data=b"hello", headers=headers, timeout=5)
    )
    assert upstream.register(presigned["url"]).status_code == 400


def test_put_refuses_changed_url(upstream: RunningUpstream) -> None:
    """One changed character in the signature, the path or a signed value is a mismatch."""
    url = upstream.presign("clip.mp4")["uploadUrl"]
    starts = [
        url.index("/storage/") + 9,
        url.index("clip"),
        url.index("T", url.index("X-Amz-Date")) + 6,
        url.index("3600"),
        url.index("content-type"),
        len(url) - 1,
    ]
    for start in starts:
        other = "1" if url[start] != "1" else "2"
        assert is_mismatch(put(url[:start] + other + url[start + 1 :], b"hello"))


def test_put_refuses_changed_query(upstream: RunningUpstream) -> None:
    """A query with an added, repeated or missing parameter is refused."""
    url = upstream.presign()["uploadUrl"]
    assert is_mismatch(put(f"{url}&x-id=PutObject", b"hello"))
    assert is_mismatch(put(f"{url}&X-Amz-Signature=0", b"hello"))
    assert is_mismatch(put(f"{url}&X-Amz-Expires=999", b"hello"))
    assert is_mismatch(put(url.replace("X-Amz-Date", "x=%FF&X-Amz-Date"), b"hello"))
    assert refusal(put(url.partition("?")[0], b"hello"))[:2] == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("before", "after", "status", "code", "words"),
    [
        ("X-Amz-Expires=3600&", "", 400, "AuthorizationQueryParametersError", "requires the"),
        ("X-Amz-Algorithm=", "x=", 400, "AuthorizationQueryParametersError", "requires the"),
        ("=AWS4-HMAC", "=AWS5", 400, "AuthorizationQueryParametersError", "only supports"),
        ("=3600", "=soon", 400, "AuthorizationQueryParametersError", "should be a number"),
        ("=3600", "=-1", 400, "AuthorizationQueryParametersError", "must be non-negative"),
        ("=3600", "=604801", 400, "AuthorizationQueryParametersError", "less than a week"),
        ("X-Amz-Date=20", "X-Amz-Date=x", 400, "AuthorizationQueryParametersError", "ISO8601"),
        ("us-east-1", "us-east-2", 400, "AuthorizationQueryParametersError", "region"),
        ("%2Fs3%2F", "%2F", 400, "AuthorizationQueryParametersError", "mal-formed"),
        ("=SANDBOX", "=%FFBOX", 403, "InvalidAccessKeyId", "does not exist"),
        ("%3Bhost", "", 403, "AccessDenied", "were not signed"),
    ],
)
def test_put_refuses_malformed_query(
    upstream: RunningUpstream, before: str, after: str, status: int, code: str, words: str
) -> None:
    """An invalid query parameter is refused with S3's code."""
    url = upstream.presign()["uploadUrl"]
    found = refusal(put(url.replace(before, after), b"hello"))
    assert found[:2] == (status, code)
    assert words in str(found[2])


@pytest.mark.parametrize(
    ("value", "query"), [("Bearer x", True), ("Basic e=", True), ("Bearer x", False), ("", True)]
)
def test_put_refuses_authorization_header(
    upstream: RunningUpstream,
    value: str,
    query: bool,  # noqa: FBT001 - a parameter
) -> None:
    """An `Authorization` header is refused, with and without a signed query."""
    url = upstream.presign()["uploadUrl"]
    headers = {"Content-Type": "video/mp4", "Authorization": value}
    response = requests.put(
        url if query else url.partition("?")[0], data=b"hello", headers=headers, timeout=5
    )
    assert refusal(response)[:2] == (400, "InvalidArgument")
    assert ("Only one auth mechanism allowed" in response.text) == query
    assert f"<ArgumentValue>{value}</ArgumentValue>" in response.text


@pytest.mark.parametrize(
    "name", ["x-amz-acl", "X-Amz-Meta-User", "x-amz-security-token", "Content-MD5"]
)
def test_put_refuses_unsigned_header(upstream: RunningUpstream, name: str) -> None:
    """A header that S3 requires to be signed is refused by name, and nothing is stored."""
    presigned = upstream.presign()
    headers = {"Content-Type": "video/mp4", name: "x"}
    response = requests.put(presigned["uploadUrl"], data=b"hello", headers=headers, timeout=5)
    message = "There were headers present in the request which were not signed"
    assert refusal(response) == (403, "AccessDenied", message)
    assert f"<HeadersNotSigned>{name.lower()}</HeadersNotSigned>" in response.text
    assert upstream.register(presigned["url"]).status_code == 400


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", 200),
        ("x-amz-content-sha256", "0" * 64, 403),
        ("X-Amzn-Trace-Id", "Root=1", 200),
        ("Cache-Control", "no-store", 200),
        ("x-custom", "1", 200),
    ],
)
def test_put_accepts_unrelated_headers(
    upstream: RunningUpstream, name: str, value: str, status: int
) -> None:
    """Headers without a meaning for S3 pass unsigned; the payload's hash must match."""
    url = upstream.presign()["uploadUrl"]
    headers = {"Content-Type": "video/mp4", name: value}
    response = requests.put(url, data=b"hello", headers=headers, timeout=5)
    assert response.status_code == status
    assert status == 200 or is_mismatch(response)


def test_refusal_has_s3_shape(upstream: RunningUpstream) -> None:
    """A refusal has what was signed; all responses have S3's ids; a listed page may read them."""
    url = upstream.presign()["uploadUrl"]
    refused, stored = (
        put(url, b"hello", content_type, PAGE) for content_type in ("video/webm", "video/mp4")
    )
    error = ET.fromstring(refused.text)  # noqa: S314 - our own server sends it
    assert error.findtext("RequestId") == refused.headers["x-amz-request-id"]
    assert error.findtext("HostId") == refused.headers["x-amz-id-2"]
    assert "content-type:video/webm" in str(error.findtext("CanonicalRequest"))
    assert str(error.findtext("StringToSign")).startswith("AWS4-HMAC-SHA256")
    assert re.fullmatch(r"[0-9A-F]{16}", stored.headers["x-amz-request-id"])
    assert refused.headers["Access-Control-Allow-Origin"] == PAGE


def test_put_refuses_future_url(upstream: RunningUpstream) -> None:
    """A URL with a date in the future is refused with S3's message."""
    upstream.behave(clockSkewSeconds=1000)
    url = upstream.presign()["uploadUrl"]
    upstream.behave(clockSkewSeconds=0)
    assert refusal(put(url, b"hello")) == (403, "AccessDenied", "Request is not yet valid")


def test_presigned_url_is_for_put_only(upstream: RunningUpstream) -> None:
    """The URL is valid for PUT only."""
    presigned = upstream.presign()
    assert put(presigned["uploadUrl"], b"hello").ok
    headers = {"Content-Type": "video/mp4"}
    assert is_mismatch(requests.get(presigned["uploadUrl"], headers=headers, timeout=5))


def test_put_refuses_other_host(upstream: RunningUpstream) -> None:
    """The host is signed too."""
    headers = {"Content-Type": "video/mp4", "Host": f"localhost:{upstream.port}"}
    url = upstream.presign()["uploadUrl"]
    assert is_mismatch(requests.put(url, data=b"hello", headers=headers, timeout=5))


def test_put_accepts_other_escapes(upstream: RunningUpstream) -> None:
    """As in S3, a client may escape other characters than the signer did."""
    url = upstream.presign("it's.mp4")["uploadUrl"]
    parts = urlsplit(url)
    target = f"{parts.path.replace('%27', chr(39))}?{parts.query}"
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=5) as connection:
        connection.sendall(
            f"PUT {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: video/mp4\r\n"
            "Content-Length: 5\r\nConnection: close\r\n\r\nhello".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_put_refuses_expired_url(upstream: RunningUpstream) -> None:
    """An expired URL is refused with S3's message, by the upstream's clock."""
    url = upstream.presign()["uploadUrl"]
    upstream.behave(clockSkewSeconds=3599)
    assert put(url, b"hello").status_code == 200
    upstream.behave(clockSkewSeconds=3601)
    assert refusal(put(url, b"hello")) == (403, "AccessDenied", "Request has expired")
    upstream.behave(expiresIn=604_800)
    assert upstream.presign()["expiresIn"] == 604_800
    assert "X-Amz-Expires=604800" in upstream.presign()["uploadUrl"]


def test_slow_put_may_end_after_expiry(upstream: RunningUpstream) -> None:
    """The signature is checked when a PUT begins, so a slow PUT may end after the expiry."""
    upstream.behave(expiresIn=1)
    presigned = upstream.presign()
    upstream.order({"kind": "slow", "bytesPerSecond": 3}, "PUT", "/storage/*")
    start = time.monotonic()
    assert put(presigned["uploadUrl"], b"hello").status_code == 200
    assert time.monotonic() - start > 1.2
    assert refusal(put(presigned["uploadUrl"], b"hello"))[2] == "Request has expired"
    assert requests.get(presigned["url"], timeout=5).content == b"hello"


def test_presigned_url_survives_restart(start: Callable[..., RunningUpstream]) -> None:
    """URLs that were signed before a restart are valid after it, but not after a reset."""
    port = free_port()
    first = start(port=port)
    url = first.presign()["uploadUrl"]
    assert first.stop() == 0
    second = start(port=port)
    assert put(url, b"hello").status_code == 200
    second.call("POST", "/_sandbox/reset")
    assert is_mismatch(put(url, b"hello"))
