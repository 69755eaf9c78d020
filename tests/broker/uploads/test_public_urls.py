"""Public URLs: which ones are accepted, and how they are registered."""

import http.server
import ipaddress
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.uploads import public_urls
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

STORAGE = ("assets.sync.so", "uploads.sync.so", "127.0.0.1:8001")


@pytest.mark.parametrize(
    "url",
    [
        "https://media.example.com/speaker.mp4",
        "https://media.example.com:8443/a%20b.mp4?x=1&y=2#t=1",
        "https://93.184.215.14/a.mp4",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/a.mp4",
        "https://xn--bcher-kva.example/a.mp4",
        "https://a_b.example.com/a.mp4",
        "HTTPS://MEDIA.EXAMPLE.COM/a.mp4",
        "https://media.example.com./a.mp4",
        "https://notassets.sync.so.example.com/a.mp4",
    ],
)
def test_public_https_url_is_accepted(url: str) -> None:
    """An https URL with a public host is accepted."""
    assert public_urls.refusal(url, STORAGE, ()) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.com/a.mp4",
        "ftp://media.example.com/a.mp4",
        "file:///etc/passwd",
        "data:video/mp4;base64,AAAA",
        "javascript:alert(1)",
        "//media.example.com/a.mp4",
        "media.example.com/a.mp4",
        "https://",
        "https:///a.mp4",
        "https://media.example.com:99999/a.mp4",
        "https://media.example.com:x/a.mp4",
        "https://user@media.example.com/a.mp4",
        "https://user:password@media.example.com/a.mp4",
        "https://@media.example.com/a.mp4",
        "https://media.example.com\\@127.0.0.1/a.mp4",
        "https://media example.com/a.mp4",
        "https://8.8.8.8%2elocalhost/a.mp4",
        "https://8.8.8.8%E3%80%82internal/a.mp4",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c%25eth0]/a.mp4",
        "https://localhost[2606:4700::1111]/a.mp4",
        "https://[2606:4700::1111].localhost/a.mp4",
        "https://media.example.com/a b.mp4",
        "https://media.example.com/\n",
        " https://media.example.com/a.mp4",
        "https://bücher.example/a.mp4",
        "https://①②⑦.⓪.⓪.①/a.mp4",
        "https://[::1",
        "https://-a.example.com/",
        "https://a..example.com/",
    ],
)
def test_malformed_url_is_refused(url: str) -> None:
    """A text that is not an https URL, or is ambiguous, is refused."""
    assert public_urls.refusal(url, STORAGE, ())


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "intranet",
        "intranet.",
        "redis",
        "redis.",
        "printer.local",
        "db.internal",
        "metadata.google.internal",
        "router.lan",
        "nas.home.arpa",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0X7F.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.43518",
        "2852039166",
        "0xa9fea9fe",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "media.example.1",
        "media.example.0x7f",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::169.254.169.254]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[64:ff9b:1::7f00:1]",
        "[::ffff:0:7f00:1]",
        "[fec0::1]",
        "[2606:4700::5efe:7f00:1]",
        "[2606:4700::200:5efe:7f00:1]",
        "168.63.129.16",
        "192.88.99.1",
        "kubernetes.default.svc",
        "host.localdomain",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
    ],
)
def test_private_host_is_refused(host: str) -> None:
    """No spelling of a private, loopback, link-local or metadata address is accepted."""
    assert public_urls.refusal(f"https://{host}/a.mp4", STORAGE, ())


# Every block of https://www.iana.org/assignments/iana-ipv4-special-registry and
# iana-ipv6-special-registry; then multicast, site-local addresses, and unassigned ones.
SPECIAL = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24
198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 224.0.0.0/4
168.63.129.16/32 ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64
2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32
2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48
3fff::/20 5f00::/16 fc00::/7 fe80::/10 ff00::/8 fec0::/10 4000::/3 8000::/3
"""
# The public addresses right before and after these blocks.
ORDINARY = """
9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 169.253.255.255 169.255.0.0 192.0.1.0
192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0 192.175.47.255
192.175.49.0 168.63.129.15 168.63.129.17 2000:ffff::1 2001:200:: 2001:db7:ffff::1 2001:db9::
2003:: 2620:4f:7fff:ffff::1 2620:4f:8001:: 3fff:1000::
"""


def refusal_of(address: object) -> str | None:
    """Return the refusal of a URL with this IP address."""
    host = f"[{address}]" if ":" in str(address) else address
    return public_urls.refusal(f"https://{host}/a.mp4", STORAGE, ())


@pytest.mark.parametrize("block", SPECIAL.split())
def test_special_block_is_refused(block: str) -> None:
    """In every release of Python, no address of IANA's special registries is a public host."""
    network = ipaddress.ip_network(block)
    size = network.num_addresses
    for at in {0, 1, size // 3, size // 2, size - 2, size - 1}:
        if 0 <= at < size:
            assert refusal_of(network[at]) == "must name a public host", network[at]


@pytest.mark.parametrize("address", ORDINARY.split())
def test_address_beside_special_block_is_accepted(address: str) -> None:
    """Each block ends where the registry says."""
    assert refusal_of(address) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://assets.sync.so/uploads/abc/a.mp4",
        "https://ASSETS.sync.so./uploads/abc/a.mp4",
        "https://assets.sync.so:443/uploads/abc/a.mp4",
        "https://assets.sync.so:8443/uploads/abc/a.mp4",
        "https://uploads.sync.so/uploads/abc/a.mp4",
        "http://127.0.0.1:8001/assets/a.mp4",
    ],
)
def test_storage_url_is_refused(url: str) -> None:
    """A file in Sync's storage can't be registered by its URL, not even as an exception."""
    reason = public_urls.refusal(url, STORAGE, ("http://127.0.0.1:8001",))
    assert reason
    assert "storage" in reason


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ("video/mp4,image/*", {"AUDIO"}),
        ("audio/mpeg", {"VIDEO", "IMAGE"}),
        ("*/*", set()),
        ("text/html", {"VIDEO", "AUDIO", "IMAGE"}),
    ],
)
@pytest.mark.parametrize("by", ["setting", "claim"])
def test_url_of_unaccepted_kind_is_refused(
    broker: RunningBroker, upstream: RunningUpstream, accepted: str, refused: set[str], by: str
) -> None:
    """A public URL of a kind that the caller may not upload is refused, and Sync is not called."""
    local = {"PUBLIC_URL_EXCEPTIONS": upstream.url, "SYNC_STORAGE_HOSTS": "a.example"}
    wide = {"ALLOWED_CONTENT_TYPES": accepted if by == "setting" else "*/*"}
    broker.configure(upstream, **local, **wide)
    api = Api(broker)
    if by == "claim":
        api.token = token(upload={"contentTypes": accepted.split(",")})
    url = upstream.upload()
    for kind in ("VIDEO", "AUDIO", "IMAGE"):
        before = len(upstream.journal())
        response = api.call("POST", "/assets", json={"url": url, "type": kind})
        assert (response.status_code == 201) == (kind not in refused), response.text
        if kind in refused:
            assert (response.status_code, response.json()["code"]) == (
                422,
                "content_type_not_accepted",
            )
            assert response.json()["errors"][0]["pointer"] == "/type"
            assert len(upstream.journal()) == before


def test_exception_is_an_exact_origin() -> None:
    """An exact origin of the settings may be plain http and local; other ports may not."""
    exceptions = ("http://127.0.0.1:8080",)
    assert public_urls.refusal("http://127.0.0.1:8080/a.mp4", STORAGE, exceptions) is None
    for url in (
        "http://127.0.0.1:8081/a.mp4",
        "http://127.0.0.1/a.mp4",
        "https://127.0.0.1:8080/a.mp4",
        "http://u@127.0.0.1:8080/a.mp4",
        "http://127.0.0.1:8080@evil.example/a.mp4",
    ):
        assert public_urls.refusal(url, STORAGE, exceptions), url


@given(st.text())
def test_any_text_gets_a_decision(text: str) -> None:
    """No text makes the check raise."""
    for url in (text, "https://" + text, "https://[" + text):
        reason = public_urls.refusal(url, STORAGE, ())
        assert reason is None or reason


@given(st.ip_addresses().filter(lambda address: not address.is_global))
def test_any_private_address_is_refused(address: object) -> None:
    """No address outside the public ranges is accepted."""
    host = f"[{address}]" if ":" in str(address) else str(address)
    assert public_urls.refusal(f"https://{host}/", STORAGE, ())


@pytest.fixture
def public_site(samples: Path) -> Iterator[str]:
    """The origin of a site that serves the samples."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    def handler(*arguments: object) -> Quiet:
        return Quiet(*arguments, directory=str(samples))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def open_api(broker: RunningBroker, upstream: RunningUpstream, public_site: str) -> Api:
    """A caller of a broker that accepts this site."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=public_site)
    return Api(broker)


def test_public_url_becomes_asset(
    open_api: Api, upstream: RunningUpstream, public_site: str
) -> None:
    """A public URL becomes an asset in one call, and is listed like any other."""
    url = f"{public_site}/sample.mp4"
    response = open_api.call("POST", "/assets", json={"url": url, "type": "VIDEO", "name": "Take"})
    assert response.status_code == 201
    upload = response.json()
    assert response.headers["Location"] == f"/uploads/{upload['id']}"
    assert upload["sourceUrl"] == url
    assert upload["fileName"] is None
    assert upload["status"] == "registered"
    assert upload["asset"]["width"] > 0
    assert open_api.call("GET", "/assets").json()["items"] == [upload]
    assert open_api.call("GET", f"/uploads/{upload['id']}").json() == upload
    assert open_api.complete(upload).json() == upload
    assert open_api.line(response)["dynamodbCalls"] == 5
    assert len(upstream.journal()) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
def test_unreachable_url_fails(
    open_api: Api, upstream: RunningUpstream, public_site: str, status: int
) -> None:
    """A URL that Sync can't fetch fails for good, with Sync's message."""
    upstream.behave(unreachableStatus=status)
    body = {"url": f"{public_site}/missing.mp4", "type": "VIDEO"}
    response = open_api.call("POST", "/assets", json=body)
    assert response.status_code == 422
    assert response.json()["code"] == "file_rejected"
    listed = open_api.call("GET", "/uploads").json()["items"]
    assert [item["status"] for item in listed] == ["failed"]
    assert open_api.complete(listed[0]).json()["code"] == "file_rejected"


def test_busy_sync_leaves_nothing_behind(
    open_api: Api, broker: RunningBroker, upstream: RunningUpstream, public_site: str
) -> None:
    """If Sync is busy, nothing is left behind, so that a repetition makes one asset."""
    body = {"url": f"{public_site}/sample.png", "type": "IMAGE"}
    upstream.order(
        {"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}}, "POST", "/v2/assets"
    )
    refused = open_api.call("POST", "/assets", json=body)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "7"
    assert open_api.call("GET", "/uploads").json() == {"items": []}
    broker.clock.advance(7)
    assert open_api.call("POST", "/assets", json=body).status_code == 201
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


def test_ambiguous_url_is_reconciled_at_once(
    open_api: Api, upstream: RunningUpstream, public_site: str
) -> None:
    """An ambiguous registration is reconciled at once."""
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    body = {"url": f"{public_site}/sample.png", "type": "IMAGE"}
    response = open_api.call("POST", "/assets", json=body)
    assert response.status_code == 201
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


def test_unknown_outcome_is_202(open_api: Api, upstream: RunningUpstream, public_site: str) -> None:
    """While the outcome is unknown the caller gets 202, and continues with `complete`."""
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    body = {"url": f"{public_site}/sample.png", "type": "IMAGE"}
    response = open_api.call("POST", "/assets", json=body)
    assert response.status_code == 202
    assert response.headers["Location"] == f"/uploads/{response.json()['id']}"
    assert response.headers["Retry-After"] == "5"
    upstream.behave(listLagSeconds=0)
    final = open_api.complete(response.json())
    assert final.status_code == 200
    assert final.json()["status"] == "registered"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"type": "VIDEO"}, "/url"),
        ({"url": "https://media.example.com/a.mp4"}, "/type"),
        ({"url": 5, "type": "VIDEO"}, "/url"),
        ({"url": "", "type": "VIDEO"}, "/url"),
        ({"url": "https://a.example/" + "a" * 2048, "type": "VIDEO"}, "/url"),
        ({"url": "http://a.example/", "type": "VIDEO"}, "/url"),
        ({"url": "https://169.254.169.254/latest/meta-data", "type": "VIDEO"}, "/url"),
        ({"url": "https://assets.sync.so/uploads/x/a.mp4", "type": "VIDEO"}, "/url"),
        ({"url": "https://a.example/", "type": "TEXT"}, "/type"),
        ({"url": "https://a.example/", "type": "VIDEO", "size": 5}, "/size"),
        ({"url": "https://a.example/", "type": "VIDEO", "projectId": "x"}, "/projectId"),
    ],
)
def test_invalid_url_field_is_refused(
    broker: RunningBroker, upstream: RunningUpstream, body: dict[str, object], pointer: str
) -> None:
    """An invalid field is named, and Sync is not called."""
    broker.configure(upstream, SYNC_STORAGE_HOSTS="assets.sync.so")
    response = Api(broker).call("POST", "/assets", json=body)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert upstream.journal() == []


def test_longest_url_is_accepted(open_api: Api, public_site: str) -> None:
    """A URL of 2,048 characters is accepted."""
    url = f"{public_site}/sample.png?"
    url += "a" * (2048 - len(url))
    body = {"url": url, "type": "IMAGE"}
    assert open_api.call("POST", "/assets", json=body).status_code == 201


def test_presigned_host_is_storage(
    broker: RunningBroker, upstream: RunningUpstream, public_site: str
) -> None:
    """A host in a presign is known as storage from then on, though no setting names it."""
    broker.configure(
        upstream,
        SYNC_STORAGE_HOSTS="assets.sync.so",
        PUBLIC_URL_EXCEPTIONS=f"{public_site},{upstream.url}",
    )
    owner, other = Api(broker), Api(broker)
    url = upstream.upload()
    owner.begin()
    response = other.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert response.status_code == 422
    assert "storage" in response.json()["errors"][0]["detail"]
