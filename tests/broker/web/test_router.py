"""Features of every response: CORS, errors, request ids, one log line."""

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from chalicelib import api as routes
from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.web.cors import METHODS
from tests.support.running_broker import ORIGIN, SECRET, Api, RunningBroker
from tests.support.upstream_process import KEY, ROOT, RunningUpstream

OPERATIONS = [operation for one in routes.ALL for operation in one.operations]
PATHS = sorted({operation.path for operation in OPERATIONS})
ROUTES = {(operation.method, operation.path) for operation in OPERATIONS}
PUBLIC = {operation.path for operation in OPERATIONS if operation.is_public}


@pytest.mark.parametrize("path", PATHS)
def test_preflight_needs_no_token(broker: RunningBroker, path: str) -> None:
    """Every path responds to a browser's preflight without a token."""
    response = requests.options(
        broker.url + path.replace("{upload_id}", "0" * 32),
        headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"},
        timeout=9,
    )
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Vary"] == "Origin"
    allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "Idempotency-Key", "Upload-Ticket"} <= set(allowed)
    # All methods, also those with a 405: a browser hides the response to a method that is not
    # listed.
    methods = response.headers["Access-Control-Allow-Methods"].split(", ")
    assert set(methods) == {*METHODS, "OPTIONS"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_other_method_is_405(api: Api, path: str, method: str) -> None:
    """A method that a path does not have is 405 with the allowed ones, under CORS too."""
    here = {method for o in OPERATIONS if o.path == path for method in o.methods}
    if method in here:
        return
    response = api.call(method, path, headers={"Origin": ORIGIN})
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == here | {"OPTIONS"}
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    if method != "HEAD":
        assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("path", [path for path in PATHS if ("GET", path) in ROUTES])
def test_head_is_get_without_body(api: Api, path: str, *, is_known: bool) -> None:
    """The response to HEAD is that to GET without the body, with a token and without one."""
    upload = api.registered()
    filled = path.format(upload_id=upload["id"], asset_id=upload["asset"]["id"])
    sent = {} if is_known else {"Authorization": None}
    got, head = (
        api.call(method, filled, headers={"Origin": ORIGIN, **sent}) for method in ("GET", "HEAD")
    )
    assert got.status_code == (200 if is_known or path in PUBLIC else 401)
    assert (head.status_code, head.content) == (got.status_code, b"")
    # The length of GET's body may be left out, but must not be wrong.
    rest = {"X-Request-Id", "Date", "Content-Length"}
    # A second may pass between the two requests, so values that count down are left out.
    kept = [
        {k: re.sub(r";t=\d+", "", v) for k, v in one.headers.items() if k not in rest}
        for one in (got, head)
    ]
    assert kept[0] == kept[1]
    assert "Content-Length" not in head.headers
    line = api.line(head)
    assert (line["method"], line["route"]) == ("HEAD", path)
    assert line["dynamodbCalls"] == api.line(got)["dynamodbCalls"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example", ""])
def test_other_origin_gets_no_permission(broker: RunningBroker, origin: str) -> None:
    """An origin that is not listed gets no permission."""
    for method, path in (("GET", "/health"), ("OPTIONS", "/uploads"), ("OPTIONS", "/health")):
        response = requests.request(
            method, broker.url + path, headers={"Origin": origin}, timeout=9
        )
        assert not [name for name in response.headers if name.startswith("Access-Control")]
        assert response.headers["Vary"] == "Origin"


def test_public_broker_allows_any_origin(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A public broker allows every origin."""
    broker.configure(upstream, ALLOWED_ORIGINS="*")
    response = requests.get(
        broker.url + "/health", headers={"Origin": "https://x.example"}, timeout=9
    )
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_browser_can_read_errors(api: Api) -> None:
    """A browser can read errors and the headers that it needs."""
    response = api.call("POST", "/uploads", json={}, headers={"Origin": ORIGIN})
    assert response.status_code == 422
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    expected = {"Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "Link"}
    assert set(exposed) == expected
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.json()["instance"] == "/uploads"


def test_head_keeps_connection(api: Api) -> None:
    """A response to HEAD leaves the connection usable."""
    assert api.call("HEAD", "/health").status_code == 200
    assert api.call("HEAD", "/uploads/x/complete").status_code == 405
    assert api.call("GET", "/health").json() == {"status": "ok"}


def test_closed_connection_is_announced(api: Api) -> None:
    """If the server closes the connection, the response says so; else a client would reuse it."""
    for method in ("GET", "HEAD"):
        response = api.call(method, "/health", headers={"Connection": "close"})
        assert response.headers["Connection"] == "close"
        assert "Connection" not in api.call(method, "/health").headers


def test_request_writes_one_log_line(api: Api, broker: RunningBroker) -> None:
    """Each request writes one log line, without secrets."""
    upload = api.registered()
    failed = api.call("POST", "/uploads", json={"fileName": "private-name.mp4"})
    line = api.line(failed)
    assert line["level"] == "INFO"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/uploads", 422)
    assert line["code"] == "invalid_input"
    assert line["durationMs"] > 0
    by_route = {one["route"]: one for one in broker.lines()}
    complete = by_route["/uploads/{upload_id}/complete"]
    assert complete["uploadId"] == upload["id"]
    assert complete["caller"] == line["caller"]
    assert len(complete["caller"]) == 32
    assert complete["upstreamMs"] > 0
    assert complete["dynamodbMs"] > 0
    assert len(broker.lines()) == 3
    text = broker.log.getvalue()
    for secret in (api.token, KEY, SECRET, "X-Amz-Signature", "private-name"):
        assert secret not in text


def test_unreachable_table_is_503(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DynamoDB every request is 503, and Sync is not called."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    broker.configure(upstream)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    for method, path, arguments in (
        ("POST", "/uploads", {"json": body}),
        ("GET", "/uploads", {}),
        ("POST", f"/uploads/{'0' * 32}/complete", {}),
    ):
        response = api.call(method, path, **arguments)
        assert response.status_code == 503
        assert response.json()["code"] == "store_unavailable"
    assert upstream.journal() == []
    reasons = {line["reason"] for line in broker.lines("table_unavailable")}
    assert reasons == {"EndpointConnectionError"}


def test_missing_table_is_logged(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The log distinguishes a missing table from one that does not respond."""
    broker.configure(upstream, UPLOADS_TABLE="missing")
    response = api.call("GET", "/uploads")
    assert response.status_code == 503
    assert response.json()["detail"].startswith("This service can't reach its records.")
    reasons = {line["reason"] for line in broker.lines("table_unavailable")}
    assert reasons == {"ResourceNotFoundException"}


def test_defect_is_500_without_text(api: Api, broker: RunningBroker) -> None:
    """A defect is a 500 with the usual headers, and the log has its stack frames, but no text."""
    upload = api.begin()
    client = clients.dynamodb()
    client.update_item(
        TableName="uploads-of-the-tests",
        Key={"pk": {"S": f"upload#{upload['id']}"}},
        UpdateExpression="SET #status = :broken",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":broken": {"S": "private"}},
    )
    response = api.call("GET", f"/uploads/{upload['id']}", headers={"Origin": ORIGIN})
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    [line] = broker.lines("unexpected")
    assert line["exception"] == "ValueError"
    assert any("items.py" in frame for frame in line["frames"])
    assert "private" not in broker.log.getvalue() + response.text


def test_misconfigured_broker_refuses_all(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker without settings refuses every request, and sends the browser no reason."""
    for name in ("AUTH_MODE", "SYNC_API_KEY", "JWT_SECRET", "UPLOADS_TABLE"):
        monkeypatch.delenv(name, raising=False)
    bootstrap.use(None)
    for path in ("/health", "/uploads", "/openapi.json"):
        response = requests.get(broker.url + path, timeout=9)
        assert response.status_code == 503
        assert response.json()["code"] == "misconfigured"
        assert "SYNC_API_KEY" not in response.text
        assert response.headers["Retry-After"] == "60"


def test_garbage_collector_is_enabled_after_start(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A container enables the garbage collector after its start, successful or not."""
    for environment in ({}, broker.environment(upstream)):
        bootstrap.use(None)
        bootstrap.start(environment)
        assert gc.isenabled()


@pytest.mark.parametrize(
    ("origins", "granted"),
    [(ORIGIN, ORIGIN), ("*", "*"), ("https://b.example", None), ("https://*.example.com", None)],
)
def test_misconfigured_under_cors(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch, origins: str, granted: str | None
) -> None:
    """A browser of an allowed origin can read that the broker is misconfigured."""
    for name in ("AUTH_MODE", "SYNC_API_KEY", "JWT_SECRET", "UPLOADS_TABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALLOWED_ORIGINS", origins)
    bootstrap.use(None)
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = requests.options(broker.url + "/uploads", headers=headers, timeout=9)
    assert preflight.status_code == 204
    assert ("Access-Control-Allow-Methods" in preflight.headers) == (granted is not None)
    response = requests.post(broker.url + "/uploads", headers={"Origin": ORIGIN}, timeout=9)
    assert (response.status_code, response.json()["code"]) == (503, "misconfigured")
    for one in (preflight, response):
        assert one.headers.get("Access-Control-Allow-Origin") == granted


@pytest.mark.parametrize("level", ["debug", "LOUD", "10"])
def test_unknown_log_level_is_reported(
    broker: RunningBroker,
    upstream: RunningUpstream,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
) -> None:
    """An unknown log level is reported with the other mistakes, and every request is refused."""
    for name, value in broker.environment(upstream, LOG_LEVEL=level, MAX_UPLOAD_BYTES="x").items():
        monkeypatch.setenv(name, value)
    bootstrap.use(None)
    for _ in range(2):
        response = requests.get(broker.url + "/health", timeout=9)
        assert (response.status_code, response.json()["code"]) == (503, "misconfigured")
    lines = capsys.readouterr().out.splitlines()
    logged = next(line for line in lines if "misconfigured" in line)
    assert "LOG_LEVEL is not valid: it must be one of INFO, DEBUG, WARNING, ERROR" in logged
    assert "MAX_UPLOAD_BYTES is not valid" in logged


def test_chalice_local_reports_settings() -> None:
    """Plain `chalice local` reports in one message what to set, or to use `make run`."""
    environ = {"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    # These are valid settings of the stage, the only ones that Chalice reads.
    environ |= {"LOG_LEVEL": "LOUD", "AWS_CONFIG_FILE": "/dev/null"}
    process = subprocess.Popen(
        [f"{Path(sys.executable).parent}/chalice", "local", "--port", "0", "--no-autoreload"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        output = ""
        while "Serving on" not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert "make run" in output
    assert output.count("AWS_REGION is not set") == 1
    assert output.count("LOG_LEVEL is not valid") == 1
