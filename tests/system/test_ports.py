"""Every attack of a web page, with every method, on every port of a running sandbox, is refused.

Each request has the key, the token and the body that a program needs. It differs from a program's
request only by the headers in which browsers describe the page.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tests.support.broken_http import LONGEST_LINE, SECRET, broken_requests, exchange
from tests.support.raw_http import RawResponse, send
from tests.support.running_sandbox import Sandbox, sandbox
from tests.support.upstream_process import free_port

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KEY = "the-key-that-the-attacker-knows"
EVIL = "http://evil.example"
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
FAULT = {"do": {"kind": "answer", "status": 200, "body": "<script>", "headers": {}}}
# A request that reaches the upstream uses up this fault.
CANARY = {"do": {"kind": "delay", "seconds": 0}, "skip": 0, "times": 1}
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-amz-target, x-api-key",
}
NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
    "Upgrade-Insecure-Requests": "1",
}
FORM = {**NAVIGATION, "Content-Type": "application/x-www-form-urlencoded"}
PICTURE = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
VIDEO = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "video", "Range": "bytes=0-"}
SAME, CROSS = {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}

# The headers in which a page's request differs from a program's. A header of "" is left out;
# `{port}` is the attacked port, and `{other}` is the port of a page that is not listed.
ATTACKS: dict[str, dict[str, str]] = {
    "foreign Origin": {"Origin": EVIL, **CROSS},
    "foreign Origin, old browser": {"Origin": EVIL},
    "foreign https Origin": {"Origin": "https://evil.example", **CROSS},
    "Origin null": {"Origin": "null", **CROSS},
    "Origin null, old browser": {"Origin": "null"},
    "empty Origin": {"Origin": ""},
    "Origin of an unlisted port": {"Origin": "http://127.0.0.1:{other}", **SAME},
    "Origin of an unlisted port, as localhost": {"Origin": "http://localhost:{other}", **CROSS},
    "Origin of this very port": {"Origin": "http://127.0.0.1:{port}", **SAME},
    "Origin with a listed one's beginning": {"Origin": "http://localhost:5173.evil.example"},
    "foreign Host": {"Host": "evil.example"},
    "rebound Host": {"Host": "evil.example:{port}", "Sec-Fetch-Site": "same-origin"},
    "rebound Host, own Origin": {
        "Host": "evil.example:{port}",
        "Origin": "http://evil.example:{port}",
        "Sec-Fetch-Site": "same-origin",
    },
    "Host with another port": {"Host": "127.0.0.1:{other}"},
    "Host without a port": {"Host": "127.0.0.1"},
    "no Host's name": {"Host": ""},
    "IPv6 Host": {"Host": "[::1]:{port}"},
    "cross-site": CROSS,
    "same-site": SAME,
    "form": {"Origin": EVIL, **FORM, **CROSS},
    "form of a sandboxed frame": {"Origin": "null", **FORM, **CROSS},
    "form of an unlisted port": {"Origin": "http://127.0.0.1:{other}", **FORM, **SAME},
    "form with a file": {
        "Origin": EVIL,
        **FORM,
        **CROSS,
        "Content-Type": "multipart/form-data; boundary=x",
    },
    "form as text": {"Origin": EVIL, **FORM, **CROSS, "Content-Type": "text/plain"},
    "body without a type": {"Origin": EVIL, **CROSS, "Content-Type": ""},
    "preflight": {"Origin": EVIL, **PREFLIGHT, **CROSS},
    "preflight of an unlisted port": {"Origin": "http://127.0.0.1:{other}", **PREFLIGHT, **SAME},
    "preflight to loopback": {
        "Origin": EVIL,
        **PREFLIGHT,
        "Access-Control-Request-Private-Network": "true",
    },
    "navigation": {**NAVIGATION, **CROSS, "Referer": f"{EVIL}/"},
    "navigation without Referer": {**NAVIGATION, **CROSS},
    "navigation of an unlisted port": {
        **NAVIGATION,
        **SAME,
        "Referer": "http://127.0.0.1:{other}/",
    },
    "frame": {**NAVIGATION, **CROSS, "Sec-Fetch-Dest": "iframe"},
    "picture": {**PICTURE, **CROSS, "Referer": f"{EVIL}/"},
    "picture without Referer": {**PICTURE, **CROSS},
    "picture of an unlisted port": {**PICTURE, **SAME, "Referer": "http://127.0.0.1:{other}/"},
    "video": {**VIDEO, **CROSS, "Referer": f"{EVIL}/"},
    "script": {**PICTURE, **CROSS, "Sec-Fetch-Dest": "script"},
    "script as a module": {"Origin": EVIL, **CROSS, "Sec-Fetch-Dest": "script"},
    "beacon": {"Origin": EVIL, **PICTURE, **CROSS, "Content-Type": "text/plain"},
}
# Without a browser's headers, these types pass with other methods, which no form can send.
BARE_FORMS = ("application/x-www-form-urlencoded", "text/plain; charset=UTF-8")


@dataclass(frozen=True)
class Target:
    """A request that a page might send.

    Attributes:
        port: The variable of its port.
        path: Path and query.
        body: A valid JSON body.
        headers: The headers of a program that may call it.
    """

    port: str
    path: str
    body: Any
    headers: dict[str, str]


JSON = {"Content-Type": "application/json"}
UPSTREAM = {**JSON, "x-api-key": KEY}


def dynamodb(operation: str, body: Any, target: str = "DynamoDB_20120810") -> Target:
    """Return a call of the emulator."""
    amazon = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"{target}.{operation}"}
    return Target("DYNAMODB_PORT", "/", body, amazon)


TARGETS = {
    "broker, uploads": Target("BROKER_PORT", "/uploads", FILE, JSON),
    "broker, health": Target("BROKER_PORT", "/health", {}, JSON),
    "upstream, description": Target("UPSTREAM_PORT", "/", {}, JSON),
    "upstream, presign": Target("UPSTREAM_PORT", "/v2/assets/upload", FILE, UPSTREAM),
    "upstream, assets": Target("UPSTREAM_PORT", "/v2/assets", {"url": EVIL}, UPSTREAM),
    "upstream, faults": Target("UPSTREAM_PORT", "/_sandbox/faults", FAULT, JSON),
    "upstream, behaviour": Target("UPSTREAM_PORT", "/_sandbox/behavior", {"expiresIn": 1}, JSON),
    "upstream, reset": Target("UPSTREAM_PORT", "/_sandbox/reset", {}, JSON),
    "upstream, storage": Target("UPSTREAM_PORT", "/storage/x/y", {}, JSON),
    "upstream, media": Target("UPSTREAM_PORT", "{asset}", {}, JSON),
    "emulator, scan": dynamodb("Scan", {"TableName": "uploads"}),
    "emulator, delete": dynamodb("DeleteTable", {"TableName": "uploads"}),
    "emulator, function": Target("DYNAMODB_PORT", "/2015-03-31/functions", {}, JSON),
    "emulator, reset": Target("DYNAMODB_PORT", "/_ministack/reset", {}, JSON),
    "demo, page": Target("DEMO_PORT", "/", {}, {}),
    "demo, token": Target("DEMO_PORT", "/token?sub=alice", {}, {}),
    "demo, settings": Target("DEMO_PORT", "/config.json", {}, {}),
}


class AttackedSandbox:
    """A running sandbox with one asset, and its state before the attacks."""

    def __init__(self, started: Sandbox) -> None:
        self.started = started
        self.other = str(free_port())
        self.asset = self._store(b"hello")
        self.token = self._token()
        self._client = boto3.client(
            "dynamodb",
            endpoint_url=started.url("DYNAMODB_PORT"),
            region_name="us-east-1",
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
            config=Config(proxies={}),
        )
        self._control("DELETE", "faults")
        self._control("POST", "faults", CANARY)
        self._before = self._all()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _token(self) -> str:
        response = requests.get(f"{self.started.url('DEMO_PORT')}/token?sub=alice", timeout=9)
        token: str = response.json()["token"]
        return token

    def _store(self, data: bytes) -> str:
        upstream = self.started.url("UPSTREAM_PORT")
        presigned = requests.post(
            f"{upstream}/v2/assets/upload", json=FILE, headers={"x-api-key": KEY}, timeout=9
        ).json()
        kind = {"Content-Type": "video/mp4"}
        assert requests.put(presigned["uploadUrl"], data=data, headers=kind, timeout=9).ok
        path: str = presigned["url"].removeprefix(upstream)
        return path

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.started.url('UPSTREAM_PORT')}/_sandbox/{path}"
        response = requests.request(method, url, json=body, timeout=9)
        assert response.ok, response.text
        return response.json() if response.text else None

    def _all(self) -> dict[str, Any]:
        """Return everything that an attack could change."""
        scanned = self._client.scan(TableName="uploads", ConsistentRead=True)
        # The sweeper writes its own items from time to time.
        items = [item for item in scanned["Items"] if "upload" in item["pk"]["S"]]
        return {
            "journal": self._control("GET", "requests"),
            "faults": self._control("GET", "faults"),
            "behaviour": self._control("GET", "behavior"),
            "tables": self._client.list_tables()["TableNames"],
            "uploads": sorted(items, key=lambda item: item["pk"]["S"]),
        }

    def assert_unchanged(self) -> None:
        """Assert that no request since the start changed anything."""
        assert self._all() == self._before

    def attack(self, method: str, target: Target, changed: dict[str, str]) -> RawResponse:
        """Send a program's request, with the headers that a browser sends for a page."""
        port = self.started.ports[target.port]
        sent = {"Host": f"127.0.0.1:{port}", **target.headers}
        if target.port == "BROKER_PORT":
            sent["Authorization"] = f"Bearer {self.token}"
        for name, value in changed.items():
            sent[name] = value.replace("{port}", port).replace("{other}", self.other)
        # An empty `Host` or `Origin` is sent; any other empty header is left out.
        headers = [pair for pair in sent.items() if pair[1] or pair[0] in {"Host", "Origin"}]
        body = b"" if method in {"GET", "HEAD", "OPTIONS"} else json.dumps(target.body).encode()
        path = target.path.replace("{asset}", self.asset)
        return send(int(port), method, path, headers, body)


def assert_refused(response: RawResponse, method: str) -> None:
    """Assert that the response is a refusal that no page can read."""
    if response.status is None:
        return
    assert response.status == 403, response
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["connection"] == "close"
    # The reason is one or two sentences, for a developer who sees a refusal.
    assert method == "HEAD" or re.fullmatch(r"[A-Z][^\n]{20,}\.\n", response.body), response


@pytest.fixture(scope="module")
def page_port() -> str:
    """The port of a developer's page."""
    return str(free_port())


@pytest.fixture(scope="module", params=["jwt", "open"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, page_port: str
) -> Iterator[AttackedSandbox]:
    """A sandbox whose broker requires tokens, and one whose broker does not."""
    pages = f"http://localhost:{page_port},http://127.0.0.1:{page_port}"
    folder = tmp_path_factory.mktemp("sandbox")
    mode = {"AUTH_MODE": request.param, "SYNC_API_KEY": KEY, "SANDBOX_ORIGINS": pages}
    with sandbox(folder, **mode) as started:
        attacked = AttackedSandbox(started)
        yield attacked
        attacked.close()


CELLS = [
    (target, attack)
    for target, what in TARGETS.items()
    for attack in ATTACKS
    # On the demo's port, this origin is the demo page itself.
    if (what.port, attack) != ("DEMO_PORT", "Origin of this very port")
]


@pytest.mark.parametrize(("target", "attack"), CELLS)
def test_attack_is_refused(system: AttackedSandbox, target: str, attack: str) -> None:
    """No method of this request changes anything or shows anything to its page."""
    for method in METHODS:
        response = system.attack(method, TARGETS[target], ATTACKS[attack])
        assert_refused(response, method)
    system.assert_unchanged()


@pytest.mark.parametrize(
    ("name", "part", "target"),
    [("BROKER_PORT", "broker", "/uploads"), ("DYNAMODB_PORT", "dynamodb", "/")],
)
def test_part_logs_one_line_per_broken_request(
    system: AttackedSandbox, name: str, part: str, target: str
) -> None:
    """A part logs one line for an invalid request, without any bytes of it."""
    port = int(system.started.ports[name])
    log = system.started.folder / "logs" / f"{part}.log"
    before = len(log.read_text())
    operation = "X-Amz-Target: DynamoDB_20120810.GetItem"
    kind = "application/json" if part == "broker" else "application/x-amz-json-1.0"
    head = (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{operation}\r\nContent-Type: {kind}"
    )
    broken = broken_requests(port, lambda more: f"{head}\r\n{more}\r\n".encode())
    for parts in broken:
        exchange(port, *parts)
    # The broker also writes a line for each request.
    lines = log.read_text()[before:].splitlines()
    assert len(lines) <= 2 * len(broken)
    assert not [line for line in lines if SECRET in line or len(line) > LONGEST_LINE]
    system.assert_unchanged()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("content_type", BARE_FORMS)
def test_form_of_old_browser_is_refused(
    system: AttackedSandbox, target: str, content_type: str
) -> None:
    """A form's body is refused, even if the browser sends no header about the page."""
    changed = {"Content-Type": content_type, "x-api-key": ""}
    assert_refused(system.attack("POST", TARGETS[target], changed), "POST")
    system.assert_unchanged()


def test_header_after_malformed_line_is_refused(system: AttackedSandbox) -> None:
    """No port ignores a malformed line in the head, which could hide an Origin."""
    for name, port in system.started.ports.items():
        host = ("Host", f"127.0.0.1:{port}")
        hidden = ("no colon is in this line\r\nOrigin", EVIL)
        response = send(int(port), "GET", "/health", [host, hidden], b"")
        assert response.status in {None, 400, 403}, name
    system.assert_unchanged()


def test_listed_pages_may_call(system: AttackedSandbox, page_port: str) -> None:
    """A listed page and the demo page may call broker, storage and `/token`, under either host."""
    ports = (page_port, system.started.ports["DEMO_PORT"])
    for origin in [
        f"http://{name}:{port}" for name in ("localhost", "127.0.0.1") for port in ports
    ]:
        preflight = {"Origin": origin, **PREFLIGHT, **CROSS}
        calls = {"Origin": origin, **CROSS}
        for target, method, changed, status in (
            ("broker, health", "GET", calls, 200),
            ("broker, uploads", "GET", calls, 200),
            ("broker, uploads", "OPTIONS", preflight, 204),
            ("upstream, storage", "OPTIONS", preflight, 200),
            ("upstream, media", "GET", calls, 200),
            ("demo, token", "GET", calls, 200),
        ):
            response = system.attack(method, TARGETS[target], changed)
            assert response.status in {status, 200}, (target, response)
            assert response.headers["access-control-allow-origin"] == origin
            assert "Origin" in response.headers["vary"]
        for picture in (PICTURE, VIDEO, NAVIGATION):
            shown = {**picture, **CROSS, "Referer": f"{origin}/"}
            response = system.attack("GET", TARGETS["upstream, media"], shown)
            assert response.status in {200, 206}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_programs_and_address_bar_pass(system: AttackedSandbox, name: str) -> None:
    """A program may use both hosts, and so may the developer in the address bar."""
    for target, status in {
        "broker, health": 200,
        "upstream, description": 200,
        "upstream, assets": 200,
        "upstream, faults": 200,
        "upstream, media": 200,
        "demo, page": 200,
        "demo, token": 200,
        "demo, settings": 200,
    }.items():
        port = TARGETS[target].port
        named = {"Host": f"{name}:{system.started.ports[port]}"}
        assert system.attack("GET", TARGETS[target], named).status == status
        typed = {**named, **NAVIGATION, "Sec-Fetch-Site": "none"}
        assert system.attack("GET", TARGETS[target], typed).status == status
        reloaded = {**named, "Sec-Fetch-Site": "same-origin"}
        assert system.attack("GET", TARGETS[target], reloaded).status == status
    scan = TARGETS["emulator, scan"]
    named = {"Host": f"{name}:{system.started.ports[scan.port]}"}
    response = system.attack("POST", scan, named)
    assert response.status == 200
    assert "Items" in response.body


def test_attacks_work_for_programs(system: AttackedSandbox) -> None:
    """The same requests have an effect if a program sends them."""
    for target, status in {
        "broker, uploads": 201,
        "upstream, presign": 201,
        "upstream, behaviour": 405,
        "upstream, reset": 204,
        "upstream, faults": 201,
        "emulator, scan": 200,
        "emulator, delete": 200,
    }.items():
        assert system.attack("POST", TARGETS[target], {}).status == status, target
