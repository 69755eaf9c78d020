"""The gate's policy: which requests may reach which port, by the headers of browsers."""

from collections.abc import Iterable

import pytest

from sandbox import gate
from sandbox.gate import Gate

PORT = 8001
DEMO = "http://127.0.0.1:8080"
PAGES = (*gate.origins_at(8080), "http://localhost:5173")
BROKER = gate.broker_gate(PORT, PAGES)
UPSTREAM = gate.upstream_gate(PORT, PAGES)
DYNAMODB = gate.dynamodb_gate(PORT)
DEMO_GATE = gate.demo_gate(8080, PAGES)
GET_ITEM = {
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
    "Content-Type": "application/x-amz-json-1.0",
}


def refusal(port_gate: Gate, method: str, target: str, **headers: str) -> str | None:
    """Ask a gate about a request with a valid `Host`. In header names, `_` means a hyphen."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return port_gate.refusal(method, target, [("Host", f"127.0.0.1:{port_gate.port}"), *pairs])


@pytest.mark.parametrize("name", ["127.0.0.1:8001", "localhost:8001"])
def test_own_hosts_pass(name: str) -> None:
    """A program may use either host of the port."""
    assert UPSTREAM.refusal("GET", "/", [("host", name)]) is None


@pytest.mark.parametrize(
    "names",
    [
        [],
        [""],
        ["evil.example:8001"],
        ["localhost.evil.example:8001"],
        ["127.0.0.1"],
        ["127.0.0.1:8002"],
        ["127.0.0.1:80011"],
        ["127.1:8001"],
        ["0.0.0.0:8001"],
        ["[::1]:8001"],
        ["localhost.:8001"],
        ["LOCALHOST:8001"],
        ["127.0.0.1:8001, evil.example"],
        ["127.0.0.1:8001", "evil.example"],
        ["127.0.0.1:8001", "127.0.0.1:8001"],
    ],
)
@pytest.mark.parametrize("port_gate", [BROKER, UPSTREAM])
def test_other_hosts_are_refused(port_gate: Gate, names: list[str]) -> None:
    """Any other `Host` is refused, and so are two: a foreign name means DNS rebinding."""
    reason = port_gate.refusal("GET", "/", [("Host", name) for name in names])
    assert reason is not None
    assert "127.0.0.1:8001" in reason


@pytest.mark.parametrize("origin", PAGES)
@pytest.mark.parametrize("site", ["same-site", "cross-site", "same-origin"])
@pytest.mark.parametrize(
    ("port_gate", "target"),
    [
        (BROKER, "/uploads"),
        (DEMO_GATE, "/token?sub=alice"),
        *((UPSTREAM, f"{path}x/y") for path in gate.STORAGE_PATHS),
    ],
)
def test_listed_pages_pass(port_gate: Gate, target: str, origin: str, site: str) -> None:
    """Listed pages may call the broker, the storage and `/token`, with preflights."""
    for method in ("GET", "OPTIONS", "PUT", "DELETE"):
        assert refusal(port_gate, method, target, Origin=origin, Sec_Fetch_Site=site) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "*",
        "http://127.0.0.1:8081",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080, http://evil.example",
        "http://localhost:8080.evil.example",
        "HTTP://LOCALHOST:8080",
        "https://evil.example",
        "chrome-extension://abc",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_other_origins_are_refused(origin: str, method: str) -> None:
    """Any other origin is refused for every method."""
    for port_gate, target in (
        (BROKER, "/health"),
        (UPSTREAM, "/storage/x/y"),
        (DEMO_GATE, "/token"),
    ):
        assert refusal(port_gate, method, target, Origin=origin)
        assert refusal(port_gate, method, target, Origin=origin, Sec_Fetch_Site="same-origin")
        assert refusal(port_gate, method, target, Origin=origin, Referer=f"{DEMO}/")


def test_two_origins_are_refused() -> None:
    """Two origins are refused, even if each is allowed."""
    headers = [("Host", f"localhost:{PORT}"), ("Origin", DEMO), ("origin", DEMO)]
    assert BROKER.refusal("GET", "/", headers)


@pytest.mark.parametrize("origin", [*PAGES, "http://127.0.0.1:8001", "null"])
@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v2/assets",
        "/_sandbox/faults",
        "/storage",
        "/storage/../_sandbox/faults",
        "/storage/%2e%2e/_sandbox/faults",
        "/storage/%2E./v2/assets",
        "/storage%2fx",
        "http://127.0.0.1:8001/storage/x",
        "//storage/x",
    ],
)
def test_pages_reach_no_api_or_control(target: str, origin: str) -> None:
    """Pages may not call the upstream's API or controls, whatever the spelling of the path."""
    for method in ("GET", "POST", "OPTIONS"):
        assert refusal(UPSTREAM, method, target, Origin=origin)


def test_demo_serves_its_own_page_only() -> None:
    """Only the demo page may read the demo's settings; other pages get tokens only."""
    assert refusal(DEMO_GATE, "GET", "/config.json", Origin=DEMO) is None
    for target in ("/config.json", "/", "/token/x", "/tokens"):
        assert refusal(DEMO_GATE, "GET", target, Origin="http://localhost:5173")


def test_any_origin_excludes_null() -> None:
    """Even if all origins are allowed, `null` is not."""
    port_gate = gate.broker_gate(PORT, ["*"])
    assert refusal(port_gate, "POST", "/uploads", Origin="https://app.example") is None
    assert refusal(port_gate, "POST", "/uploads", Origin="null")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, none", "new-value"])
@pytest.mark.parametrize(
    ("port_gate", "target"),
    [(BROKER, "/health"), (UPSTREAM, "/"), (UPSTREAM, "/assets/x/y"), (DEMO_GATE, "/")],
)
def test_other_sites_are_refused(port_gate: Gate, target: str, site: str) -> None:
    """A request that another site causes is refused, even without an `Origin`."""
    assert refusal(port_gate, "GET", target, Sec_Fetch_Site=site)
    reason = refusal(port_gate, "GET", target, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")
    assert reason is not None
    assert "paste the URL into the address bar" in reason


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_address_bar_passes(site: str) -> None:
    """The developer may open the ports in the address bar, and the demo page may load its files."""
    for port_gate in (BROKER, UPSTREAM, DEMO_GATE):
        assert (
            refusal(port_gate, "GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") is None
        )


@pytest.mark.parametrize("path", gate.STORAGE_PATHS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_media_passes_by_referrer(path: str, site: str) -> None:
    """`Referer` decides which pages may load media without an `Origin`."""

    def load(method: str, target: str, *referrers: str) -> str | None:
        headers = [("Host", f"127.0.0.1:{PORT}"), ("Sec-Fetch-Site", site)]
        named = [("Referer", one) for one in referrers]
        return UPSTREAM.refusal(method, target, [*headers, *named])

    for page in PAGES:
        for method in ("GET", "HEAD"):
            assert load(method, f"{path}x.mp4", f"{page}/") is None
            assert load(method, f"{path}x.mp4", f"{page}/some/page?q=1") is None
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert load(method, f"{path}x.mp4", f"{page}/")
        assert load("GET", "/_sandbox/requests", f"{page}/")
        assert load("GET", "/v2/assets", f"{page}/")
    for foreign in (
        "http://127.0.0.1:1/",
        "http://evil.example/",
        "http://evil.example/http://127.0.0.1:8080/",
        "http://127.0.0.1:8080@evil.example/",
        "http://127.0.0.1:80801/",
        "http://[/",
        "null",
        "about:blank",
        "",
    ):
        assert load("GET", f"{path}x.mp4", foreign), foreign
    assert load("GET", f"{path}x.mp4", f"{DEMO}/", "http://evil.example/")
    assert load("GET", f"{path}x.mp4")


def test_referrer_opens_storage_only() -> None:
    """`Referer` does not open the broker and `/token`: scripts send an `Origin`."""
    for port_gate in (BROKER, DEMO_GATE):
        assert refusal(port_gate, "GET", "/token", Sec_Fetch_Site="same-site", Referer=f"{DEMO}/")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "TEXT/PLAIN;charset=UTF-8",
        " text/plain ; application/json",
    ],
)
def test_forms_are_refused(content_type: str) -> None:
    """A form's content types are refused on every port, and the reason names `curl --json`."""
    for port_gate in (BROKER, UPSTREAM, DEMO_GATE):
        reason = refusal(port_gate, "POST", "/v2/assets", Content_Type=content_type)
        assert reason is not None
        assert "curl --json" in reason
    assert refusal(UPSTREAM, "PUT", "/storage/x/y", Content_Type=content_type) is None


def test_second_content_type_is_refused() -> None:
    """A form's content type is refused even beside another one."""
    types = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    assert UPSTREAM.refusal("POST", "/v2/assets", [("Host", f"localhost:{PORT}"), *types])


def test_sdk_uploads_pass() -> None:
    """The official SDKs send files like a form, but with the key, which a form can't send."""
    form = {"Content_Type": "multipart/form-data; boundary=x"}
    assert refusal(UPSTREAM, "POST", "/v2/generate", x_api_key="k", **form) is None
    plain = {"Content_Type": "text/plain"}
    assert refusal(UPSTREAM, "POST", "/v2/generate", x_api_key="k", **plain)


@pytest.mark.parametrize("body", [{"Content_Length": "2"}, {"Transfer_Encoding": "chunked"}])
def test_control_accepts_json_only(body: dict[str, str]) -> None:
    """The controls accept a body only as JSON, for every method."""
    for method in ("POST", "PATCH", "DELETE", "GET"):
        for kind in ({}, {"Content_Type": "text/json"}, {"Content_Type": "application/jsonx"}):
            reason = refusal(UPSTREAM, method, "/_sandbox/faults", **body, **kind)
            assert reason is not None
            assert "curl --json" in reason
        json = {"Content_Type": "application/json; charset=utf-8"}
        assert refusal(UPSTREAM, method, "/_sandbox/faults", **body, **json) is None
    assert refusal(UPSTREAM, "POST", "/_sandbox/reset", Content_Length="0") is None
    assert refusal(UPSTREAM, "DELETE", "/_sandbox/faults") is None


def sdk_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of an SDK, some of them replaced."""
    return {**GET_ITEM, **dict(headers)}


def test_dynamodb_accepts_sdk_calls() -> None:
    """A call of boto3 passes."""
    sent = [("Host", f"127.0.0.1:{PORT}"), *GET_ITEM.items()]
    assert DYNAMODB.refusal("POST", "/", sent) is None


@pytest.mark.parametrize(
    ("method", "target", "changed"),
    [
        ("GET", "/", {}),
        ("PUT", "/", {}),
        ("OPTIONS", "/", {}),
        ("POST", "/?Action=Invoke", {}),
        ("POST", "/2015-03-31/functions", {}),
        ("POST", "/_ministack/reset", {}),
        ("POST", "//", {}),
        ("POST", "/", {"X-Amz-Target": "AWSLambda.Invoke"}),
        ("POST", "/", {"X-Amz-Target": ""}),
        ("POST", "/", {"Content-Type": "text/plain"}),
        ("POST", "/", {"Content-Type": "application/x-amz-json-1.1"}),
        ("POST", "/", {"Origin": DEMO}),
        ("POST", "/", {"Origin": f"http://127.0.0.1:{PORT}"}),
        ("POST", "/", {"Origin": "null"}),
        ("POST", "/", {"Sec-Fetch-Site": "none"}),
        ("POST", "/", {"Sec-Fetch-Site": "same-origin"}),
        ("POST", "/", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_dynamodb_refuses_other_requests(method: str, target: str, changed: dict[str, str]) -> None:
    """Calls of other services, of pages and of the emulator's controls are refused."""
    sent = [("Host", f"127.0.0.1:{PORT}"), *sdk_headers(changed.items()).items()]
    assert DYNAMODB.refusal(method, target, sent)


@pytest.mark.parametrize("name", ["X-Amz-Target", "Content-Type"])
def test_dynamodb_refuses_repeated_headers(name: str) -> None:
    """A repeated header is refused: the emulator might read another one than the gate."""
    sent = [("Host", f"127.0.0.1:{PORT}"), *GET_ITEM.items(), (name, GET_ITEM[name])]
    assert DYNAMODB.refusal("POST", "/", sent)


def test_default_port_is_left_out() -> None:
    """Browsers leave port 80 out of `Host` and `Origin`."""
    port_gate = gate.demo_gate(80, gate.origins_at(80))
    sent = [("Host", "localhost"), ("Origin", "http://127.0.0.1"), ("Sec-Fetch-Site", "cross-site")]
    assert port_gate.refusal("GET", "/token", sent) is None
    assert port_gate.refusal("GET", "/token", [("Host", "localhost:8080")]) is not None


def test_absolute_target_is_refused() -> None:
    """A target with scheme and host is refused, since its path would match no rule."""
    port_gate = gate.upstream_gate(8001, ())
    sent = [
        ("Host", "127.0.0.1:8001"),
        ("Content-Type", "application/foo"),
        ("Content-Length", "2"),
    ]
    target = "http://127.0.0.1:8001/_sandbox/reset"
    assert port_gate.refusal("POST", target, sent) is not None
