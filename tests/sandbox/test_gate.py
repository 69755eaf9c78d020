"""The gate's policy: which requests may pass which port, by what a browser says of them."""

from collections.abc import Iterable

import pytest

from sandbox import gate
from sandbox.gate import Gate

PORT = 8001
DEMO = "http://127.0.0.1:8080"
PAGES = (*gate.origins_at(8080), "http://localhost:5173")
BROKER = gate.before_broker(PORT, PAGES)
UPSTREAM = gate.before_upstream(PORT, PAGES)
DYNAMODB = gate.before_dynamodb(PORT)
DEMO_GATE = gate.before_demo(8080, PAGES)
GET_ITEM = {
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
    "Content-Type": "application/x-amz-json-1.0",
}


def refusal(before: Gate, method: str, target: str, **headers: str) -> str | None:
    """Ask the gate under the port's own name; an underscore stands for a hyphen."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return before.refusal(method, target, [("Host", f"127.0.0.1:{before.port}"), *pairs])


@pytest.mark.parametrize("name", ["127.0.0.1:8001", "localhost:8001"])
def test_own_names_pass(name: str) -> None:
    """A program under one of the port's two names passes."""
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
@pytest.mark.parametrize("before", [BROKER, UPSTREAM])
def test_other_names_refused(before: Gate, names: list[str]) -> None:
    """No other name, and no second one: a foreign name may have been made to point here."""
    reason = before.refusal("GET", "/", [("Host", name) for name in names])
    assert reason is not None
    assert "127.0.0.1:8001" in reason


@pytest.mark.parametrize("origin", PAGES)
@pytest.mark.parametrize("site", ["same-site", "cross-site", "same-origin"])
@pytest.mark.parametrize(
    ("before", "target"),
    [
        (BROKER, "/uploads"),
        (DEMO_GATE, "/token?sub=alice"),
        *((UPSTREAM, f"{path}x/y") for path in gate.STORAGE_PATHS),
    ],
)
def test_pages_in_use_pass(before: Gate, target: str, origin: str, site: str) -> None:
    """The sandbox's pages reach the broker, the storage and the tokens, preflights included."""
    for method in ("GET", "OPTIONS", "PUT", "DELETE"):
        assert refusal(before, method, target, Origin=origin, Sec_Fetch_Site=site) is None


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
def test_other_origins_refused(origin: str, method: str) -> None:
    """No other origin does, whichever it is and whatever it asks for."""
    for before, target in ((BROKER, "/health"), (UPSTREAM, "/storage/x/y"), (DEMO_GATE, "/token")):
        assert refusal(before, method, target, Origin=origin)
        assert refusal(before, method, target, Origin=origin, Sec_Fetch_Site="same-origin")
        assert refusal(before, method, target, Origin=origin, Referer=f"{DEMO}/")


def test_second_origin_refused() -> None:
    """Two origins are none, though each may call."""
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
def test_no_page_reaches_api_or_control(target: str, origin: str) -> None:
    """The upstream's API and its controls are for programs, and no spelling of a path is more."""
    for method in ("GET", "POST", "OPTIONS"):
        assert refusal(UPSTREAM, method, target, Origin=origin)


def test_demo_is_its_own() -> None:
    """Only the demo page itself reads the demo's settings; the others get tokens."""
    assert refusal(DEMO_GATE, "GET", "/config.json", Origin=DEMO) is None
    for target in ("/config.json", "/", "/token/x", "/tokens"):
        assert refusal(DEMO_GATE, "GET", target, Origin="http://localhost:5173")


def test_any_origin_but_null() -> None:
    """Where all origins may call the broker, that of an unknown page still may not."""
    before = gate.before_broker(PORT, ["*"])
    assert refusal(before, "POST", "/uploads", Origin="https://app.example") is None
    assert refusal(before, "POST", "/uploads", Origin="null")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, none", "new-value"])
@pytest.mark.parametrize(
    ("before", "target"),
    [(BROKER, "/health"), (UPSTREAM, "/"), (UPSTREAM, "/assets/x/y"), (DEMO_GATE, "/")],
)
def test_other_sites_refused(before: Gate, target: str, site: str) -> None:
    """What another site causes is refused, though it names no origin."""
    assert refusal(before, "GET", target, Sec_Fetch_Site=site)
    reason = refusal(before, "GET", target, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")
    assert reason is not None
    assert "paste the address into the address bar" in reason


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_address_bar_passes(site: str) -> None:
    """What the developer types is shown, and what the demo page itself loads."""
    for before in (BROKER, UPSTREAM, DEMO_GATE):
        assert refusal(before, "GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") is None


@pytest.mark.parametrize("path", gate.STORAGE_PATHS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_media_by_referrer(path: str, site: str) -> None:
    """A picture on one of the sandbox's pages is told from those elsewhere by its Referer."""

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
    for strange in (
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
        assert load("GET", f"{path}x.mp4", strange), strange
    assert load("GET", f"{path}x.mp4", f"{DEMO}/", "http://evil.example/")
    assert load("GET", f"{path}x.mp4")


def test_referrer_opens_storage_alone() -> None:
    """The broker and the tokens are called by scripts, which name their origin."""
    for before in (BROKER, DEMO_GATE):
        assert refusal(before, "GET", "/token", Sec_Fetch_Site="same-site", Referer=f"{DEMO}/")


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
def test_forms_refused(content_type: str) -> None:
    """What a form can send is refused on every port, and the reason names what can be sent."""
    for before in (BROKER, UPSTREAM, DEMO_GATE):
        reason = refusal(before, "POST", "/v2/assets", Content_Type=content_type)
        assert reason is not None
        assert "curl --json" in reason
    assert refusal(UPSTREAM, "PUT", "/storage/x/y", Content_Type=content_type) is None


def test_second_type_refused() -> None:
    """A form's type is found beside another one."""
    types = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    assert UPSTREAM.refusal("POST", "/v2/assets", [("Host", f"localhost:{PORT}"), *types])


def test_uploads_of_sdks_pass() -> None:
    """The official clients send files as a form does, but with the key, which no form can send."""
    form = {"Content_Type": "multipart/form-data; boundary=x"}
    assert refusal(UPSTREAM, "POST", "/v2/generate", x_api_key="k", **form) is None
    plain = {"Content_Type": "text/plain"}
    assert refusal(UPSTREAM, "POST", "/v2/generate", x_api_key="k", **plain)


@pytest.mark.parametrize("body", [{"Content_Length": "2"}, {"Transfer_Encoding": "chunked"}])
def test_control_takes_json_alone(body: dict[str, str]) -> None:
    """The controls take a body as JSON only, whichever method brings it."""
    for method in ("POST", "PATCH", "DELETE", "GET"):
        for kind in ({}, {"Content_Type": "text/json"}, {"Content_Type": "application/jsonx"}):
            reason = refusal(UPSTREAM, method, "/_sandbox/faults", **body, **kind)
            assert reason is not None
            assert "curl --json" in reason
        json = {"Content_Type": "application/json; charset=utf-8"}
        assert refusal(UPSTREAM, method, "/_sandbox/faults", **body, **json) is None
    assert refusal(UPSTREAM, "POST", "/_sandbox/reset", Content_Length="0") is None
    assert refusal(UPSTREAM, "DELETE", "/_sandbox/faults") is None


def amazon(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers as an SDK sends them, some replaced."""
    return {**GET_ITEM, **dict(headers)}


def test_dynamodb_takes_its_calls() -> None:
    """What boto3 sends passes."""
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
def test_dynamodb_takes_nothing_else(method: str, target: str, changed: dict[str, str]) -> None:
    """No other service, no page, no control of the emulator's own."""
    sent = [("Host", f"127.0.0.1:{PORT}"), *amazon(changed.items()).items()]
    assert DYNAMODB.refusal(method, target, sent)


@pytest.mark.parametrize("name", ["X-Amz-Target", "Content-Type"])
def test_dynamodb_takes_no_second_header(name: str) -> None:
    """Two of what decides are none: gate and emulator might read another one."""
    sent = [("Host", f"127.0.0.1:{PORT}"), *GET_ITEM.items(), (name, GET_ITEM[name])]
    assert DYNAMODB.refusal("POST", "/", sent)


def test_usual_port() -> None:
    """Browsers leave port 80 out of `Host` and `Origin`."""
    before = gate.before_demo(80, gate.origins_at(80))
    sent = [("Host", "localhost"), ("Origin", "http://127.0.0.1"), ("Sec-Fetch-Site", "cross-site")]
    assert before.refusal("GET", "/token", sent) is None
    assert before.refusal("GET", "/token", [("Host", "localhost:8080")]) is not None


def test_absolute_target() -> None:
    """A target with scheme and host would be judged by another rule than its path's."""
    before = gate.before_upstream(8001, ())
    sent = [
        ("Host", "127.0.0.1:8001"),
        ("Content-Type", "application/foo"),
        ("Content-Length", "2"),
    ]
    target = "http://127.0.0.1:8001/_sandbox/reset"
    assert before.refusal("POST", target, sent) is not None
