"""Injected faults, and the journal of the requests."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.upstream_process import RunningUpstream, put

REGISTER = {"method": "POST", "path": "/v2/assets"}


def is_reset(upstream: RunningUpstream, url: str) -> bool:
    """Whether the connection of a registration is reset."""
    try:
        upstream.register(url)
    except requests.ConnectionError:
        return True
    return False


@pytest.mark.parametrize(("when", "assets"), [("before", 0), ("after", 1)])
def test_cut_before_or_after_registration(
    upstream: RunningUpstream, when: str, assets: int
) -> None:
    """A fault can reset the connection once, before or after the request is handled."""
    url = upstream.upload()
    upstream.order({"kind": "cut", "when": when}, **REGISTER)
    assert is_reset(upstream, url)
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == assets
    entry = next(entry for entry in upstream.journal() if entry["path"] == "/v2/assets")
    assert entry["status"] is None
    assert entry["outcome"].endswith(f"fault: cut-{when}")
    assert entry["outcome"].startswith("asset ") == (when == "after")
    assert upstream.register(url).status_code == 201


@pytest.mark.parametrize(("when", "assets"), [("before", 0), ("after", 1)])
def test_response_replaces_registration(upstream: RunningUpstream, when: str, assets: int) -> None:
    """A fault can send any response, before or after the request is handled."""
    url = upstream.upload()
    page = {"Content-Type": "text/html", "X-Of": "test"}
    upstream.order(
        {"kind": "answer", "status": 502, "body": "<html>", "headers": page, "when": when},
        **REGISTER,
    )
    response = upstream.register(url)
    assert (response.status_code, response.text, response.headers["X-Of"]) == (
        502,
        "<html>",
        "test",
    )
    assert response.headers["Content-Type"] == "text/html"
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == assets
    assert f"fault: answer-{when}" in upstream.outcomes()[2]
    assert upstream.journal()[2]["status"] == 502


@pytest.mark.parametrize("path", ["/v2/assets", "/storage/x/y", "/assets/x/y", "/nowhere"])
def test_fault_response_runs_no_scripts(upstream: RunningUpstream, path: str) -> None:
    """A fault's page has no origin and no scripts, even if the fault sets other headers."""
    headers = {
        "Content-Type": "text/html",
        "content-security-policy": "script-src *",
        "Content-Security-Policy": "default-src *",
        "X-CONTENT-TYPE-OPTIONS": "none",
    }
    page = {"kind": "answer", "status": 200, "body": "<script>1</script>", "headers": headers}
    upstream.order(page, "GET", path)
    response = upstream.call("GET", path)
    assert response.text == "<script>1</script>"
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")
    assert "script" not in response.headers["Content-Security-Policy"]
    assert "*" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/v2/assets", "/_sandbox/requests", "/storage/x"]
)
def test_every_response_runs_no_scripts(upstream: RunningUpstream, path: str) -> None:
    """The upstream's own responses have no origin and no scripts either."""
    response = upstream.call("GET", path)
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "received"),
    [('{"id": "x', '{"id": "x'), ({"id": 7}, '{"id": 7}'), ([], "[]"), (None, "null"), ("", "")],
)
def test_fault_body_is_sent_unchanged(
    upstream: RunningUpstream, body: object, received: str
) -> None:
    """A string is sent unchanged, so JSON can be truncated; any other body is sent as JSON."""
    upstream.order({"kind": "answer", "status": 200, "body": body})
    assert upstream.call("GET", "/v2/assets").text == received


def test_fault_429_with_retry_after(upstream: RunningUpstream) -> None:
    """A fault can send a 429 with or without `Retry-After`."""
    headers = {"Retry-After": "7"}
    upstream.order({"kind": "answer", "status": 429, "headers": headers})
    upstream.order({"kind": "answer", "status": 429})
    first, second = (upstream.call("GET", "/v2/assets") for _ in range(2))
    assert [first.status_code, second.status_code] == [429, 429]
    assert first.headers["Retry-After"] == "7"
    assert "Retry-After" not in second.headers


@pytest.mark.parametrize("when", ["before", "after"])
def test_delay_before_or_after_registration(upstream: RunningUpstream, when: str) -> None:
    """A fault can delay a response, before or after the request is handled."""
    url = upstream.upload()
    upstream.order({"kind": "delay", "seconds": 1.5, "when": when}, **REGISTER)
    with ThreadPoolExecutor(1) as threads:
        start = time.monotonic()
        response = threads.submit(upstream.register, url)
        while not upstream.outcomes()[-1].endswith(f"delay-{when}"):
            time.sleep(0.02)
        done = upstream.call("GET", "/v2/assets").json()["totalCount"]
        assert done == (1 if when == "after" else 0)
        assert response.result().status_code == 201
        assert time.monotonic() - start > 1.5


def test_delayed_request_ends_with_its_client(upstream: RunningUpstream) -> None:
    """If the client leaves before its body has arrived, the journal says so."""
    upstream.order({"kind": "delay", "seconds": 0}, **REGISTER)
    head = (
        f"POST /v2/assets HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\nContent-Length: 9\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", upstream.port)) as connection:
        connection.sendall(head.encode() + b"{")
        while upstream.outcomes() != ["fault: delay-before"]:
            time.sleep(0.02)
    while (outcome := upstream.outcomes()[0]) == "fault: delay-before":
        time.sleep(0.02)
    assert outcome == "fault: delay-before; the client went away"
    assert upstream.journal()[0]["status"] is None


def test_fault_combines_actions(upstream: RunningUpstream) -> None:
    """A fault can combine actions, such as a delay and a reset after the request is handled."""
    url = upstream.upload()
    late = [{"kind": "delay", "seconds": 0.3, "when": "after"}, {"kind": "cut", "when": "after"}]
    upstream.order(late, **REGISTER)
    start = time.monotonic()
    assert is_reset(upstream, url)
    assert time.monotonic() - start > 0.3
    assert "fault: delay-after; fault: cut-after" in upstream.outcomes()[2]


def test_slow_limits_put(upstream: RunningUpstream) -> None:
    """A fault can read a PUT slowly."""
    url = upstream.presign()["uploadUrl"]
    upstream.order({"kind": "slow", "bytesPerSecond": 100_000}, "PUT", "/storage/*")
    start = time.monotonic()
    assert put(url, bytes(60_000)).ok
    assert 0.5 < time.monotonic() - start < 3


def test_cut_body_stores_nothing(upstream: RunningUpstream) -> None:
    """A fault can reset a PUT after some bytes; nothing is stored, and the next PUT works."""
    presigned = upstream.presign()
    upstream.order({"kind": "cut-body", "afterBytes": 1000}, "PUT")
    with pytest.raises(requests.ConnectionError):
        put(presigned["uploadUrl"], bytes(5_000_000))
    assert upstream.journal()[-1]["status"] is None
    assert upstream.journal()[-1]["outcome"] == "fault: cut-body"
    assert requests.get(presigned["url"], timeout=5).status_code == 404
    assert put(presigned["uploadUrl"], b"hello").ok


def test_fault_counts_skip_and_times(upstream: RunningUpstream) -> None:
    """A fault skips some requests, affects some requests, and is then deleted."""
    upstream.order({"kind": "answer", "status": 500}, path="/v2/*", skip=1, times=2)
    statuses = [upstream.call("GET", "/v2/assets").status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    assert upstream.call("GET", "/_sandbox/faults").json() == []


def test_fault_matches_method_and_path(upstream: RunningUpstream) -> None:
    """A fault affects only its method and path, and the list has its remaining counts."""
    upstream.order({"kind": "answer", "status": 500}, times=None, **REGISTER)
    assert upstream.call("GET", "/v2/assets").status_code == 200
    assert upstream.call("POST", "/v2/assets/batch", json={"ids": ["x"]}).status_code == 200
    assert upstream.call("POST", "/v2/assets").status_code == 500
    assert upstream.call("GET", "/_sandbox/faults").json() == [
        {"match": REGISTER, "do": {"kind": "answer", "status": 500}, "times": None, "skip": 0}
    ]
    assert upstream.call("DELETE", "/_sandbox/faults").status_code == 204
    assert upstream.call("POST", "/v2/assets", json={}).status_code == 400


def test_fault_counts_exactly_under_load(upstream: RunningUpstream) -> None:
    """Of many simultaneous requests, a fault affects exactly as many as it should."""
    upstream.order({"kind": "answer", "status": 500}, times=7)
    with ThreadPoolExecutor(16) as threads:
        responses = threads.map(lambda _: upstream.call("GET", "/v2/assets"), range(50))
        assert sorted(response.status_code for response in responses) == [200] * 43 + [500] * 7


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ([], "JSON object"),
        ({}, "must have the field 'do'"),
        ({"do": {}}, "delay, answer, cut, slow, cut-body"),
        ({"do": []}, "at least one"),
        ({"do": {"kind": ["cut"]}}, "delay, answer"),
        ({"do": {"kind": "cut", "when": "never"}}, "'before' or 'after'"),
        ({"do": {"kind": "cut", "wen": "after"}}, "its fields are kind, when"),
        ({"do": {"kind": "delay", "seconds": -1}}, "0 to 3600"),
        ({"do": {"kind": "delay"}}, "must have the field 'seconds'"),
        ({"do": {"kind": "answer", "status": 99}}, "200 to 599"),
        ({"do": {"kind": "answer", "status": 500, "headers": {"a": "b\n"}}}, "do.headers"),
        ({"do": {"kind": "slow", "bytesPerSecond": 0}}, "do.bytesPerSecond"),
        ({"do": {"kind": "cut-body", "afterBytes": "1"}}, "do.afterBytes"),
        ({"do": {"kind": "cut"}, "times": 0}, "times must be"),
        ({"do": {"kind": "cut"}, "skip": True}, "skip must be"),
        ({"do": {"kind": "cut"}, "match": {"method": "post"}}, "POST"),
        ({"do": {"kind": "cut"}, "match": {"path": "v2"}}, "begin with '/'"),
        ({"do": {"kind": "cut"}, "match": {"host": "x"}}, "its fields are method, path"),
    ],
)
def test_bad_fault_is_refused(upstream: RunningUpstream, fault: object, hint: str) -> None:
    """An invalid fault is a 400 whose message lists what is valid."""
    response = upstream.call("POST", "/_sandbox/faults", json=fault)
    assert response.status_code == 400
    assert hint in response.json()["message"]
    assert upstream.call("GET", "/_sandbox/faults").json() == []


def test_journal_records_requests(upstream: RunningUpstream) -> None:
    """The journal has time, method, path, status and outcome, oldest first, and no secrets."""
    before = time.time()
    presigned = upstream.presign()
    put(presigned["uploadUrl"], b"hello", "a/b")
    put(presigned["uploadUrl"], b"hello")
    asset = upstream.register(presigned["url"]).json()
    requests.get(presigned["url"], timeout=5)
    requests.get(f"{upstream.url}/v2/assets?limit=1", timeout=5)
    entries = upstream.journal()
    assert [(entry["method"], entry["status"], entry["outcome"]) for entry in entries] == [
        ("POST", 201, "presigned"),
        ("PUT", 403, "refused: SignatureDoesNotMatch"),
        ("PUT", 200, "stored 5 bytes"),
        ("POST", 201, f"asset {asset['id']}"),
        ("GET", 401, "refused: 401"),
    ]
    times = [entry["time"] for entry in entries]
    assert before < times[0]
    assert times == sorted(times)
    assert entries[4]["path"] == "/v2/assets"
    text = upstream.call("GET", "/_sandbox/requests").text
    assert "X-Amz" not in text
    assert "test-key" not in text
    assert entries[0].keys() == {"time", "method", "path", "status", "outcome"}
