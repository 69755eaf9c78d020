"""The real app behind Chalice's local gateway, in this process, and functions to call it."""

import io
import json
import threading
import time
import uuid
from typing import Any

import jwt
import requests
from jsonschema import Draft202012Validator

from app import app
from chalicelib import bootstrap
from chalicelib.api.health import openapi
from chalicelib.aws import clients
from chalicelib.core import log
from chalicelib.jobs.sweeper import Sweep
from chalicelib.syncapi.client import Timeouts
from sandbox.broker import serve
from tests.support.clocks import CountingClock, MovableClock
from tests.support.upstream_process import KEY, RunningUpstream, free_port

SECRET = "a-secret-of-the-tests-that-is-long-enough"
ORIGIN = "https://app.example.com"
# The items that all tests share: the limiters', and that of the public URLs in work.
SHARED = ("limit#presigns", "limit#registrations", "urls#registering", "minute#sweep")
PRESIGNS = {"pk": {"S": SHARED[0]}}
LONG = Timeouts()  # as in production, so that a busy machine makes no time-out
SHORT = Timeouts(presign=1.5, register=1.0, lookup=1.5)  # for tests of time-outs
TOKEN_SECONDS = 10**8  # tests move the clock by days
REGISTER = ("POST", "/v2/assets")
DAY = 86_400  # seconds; the longest `Retry-After`


def token(subject: str | None = None, **claims: Any) -> str:
    """Return a token as an app's back end would make it."""
    content = {
        "sub": subject or uuid.uuid4().hex,
        "exp": int(time.time()) + TOKEN_SECONDS,
        **claims,
    }
    return jwt.encode(content, SECRET, algorithm="HS256")


class RunningBroker:
    """A gateway whose broker each test replaces by one with its own settings."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._client = clients.dynamodb()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = serve(app, self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.log = io.StringIO()
        self.clock = MovableClock()
        self._environment: dict[str, str] = {}

    def environment(self, upstream: RunningUpstream, **settings: str) -> dict[str, str]:
        """Return the settings of a broker in front of an upstream."""
        return {
            "UPLOADS_TABLE": self.table,
            "AUTH_MODE": "jwt",
            "JWT_SECRET": SECRET,
            "SYNC_API_KEY": KEY,
            "SYNC_BASE_URL": upstream.url,
            "SYNC_STORAGE_HOSTS": f"127.0.0.1:{upstream.port}",
            "ALLOWED_ORIGINS": ORIGIN,
            # Only tests of the rate limiter may reach its limit.
            "PRESIGNS_PER_MINUTE": "300",
            **settings,
        }

    def configure(
        self, upstream: RunningUpstream, *, timeouts: Timeouts = LONG, **settings: str
    ) -> None:
        """Start a new broker: new settings, an empty log, the real time."""
        self.clock = MovableClock()
        self.log = io.StringIO()
        self._environment = environment = self.environment(upstream, **settings)
        deletions = [{"DeleteRequest": {"Key": {"pk": {"S": pk}}}} for pk in SHARED]
        self._client.batch_write_item(RequestItems={self.table: deletions})
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=timeouts))
        log.configure("INFO", self.log)

    def configure_again(self, *, timeouts: Timeouts = LONG, **settings: str) -> None:
        """Start a broker with other settings, over the same records."""
        environment = {**self._environment, **settings}
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=timeouts))

    def slow_posts(self, upstream: RunningUpstream, seconds: float) -> None:
        """Start a broker for which each registration at Sync takes some seconds."""

        def count() -> int:
            return [(one["method"], one["path"]) for one in upstream.journal()].count(REGISTER)

        clock = CountingClock(count, seconds)
        clock.advance(self.clock.ahead)
        self.clock = clock
        bootstrap.use(bootstrap.build(self.environment(upstream), clock))

    def parts(self) -> bootstrap.Broker:
        """Return the parts of the broker behind the gateway."""
        return bootstrap.broker()

    def sweep(self, seconds: float = 60) -> Sweep:
        """Run the sweep, as the schedule does."""
        return self.parts().sweeper.run(seconds)

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the log's lines of an event."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def stop(self) -> None:
        """Stop serving."""
        bootstrap.use(None)
        self._server.shutdown()
        self._server.server.server_close()
        self._thread.join(timeout=5)


class Api:
    """One caller of the broker. Every response is checked against the OpenAPI document."""

    def __init__(self, broker: RunningBroker, subject: str | None = None) -> None:
        self.broker = broker
        self.token = token(subject)
        self._session = requests.Session()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request with the caller's token."""
        headers = {"Authorization": f"Bearer {self.token}", **arguments.pop("headers", {})}
        sent = {name: value for name, value in headers.items() if value is not None}
        response = self._session.request(
            method, self.broker.url + path, headers=sent, timeout=30, **arguments
        )
        check(method, path, response)
        return response

    def begin(self, data: bytes = b"hello", **fields: Any) -> dict[str, Any]:
        """Begin an upload, by default of a video."""
        body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": len(data), **fields}
        response = self.call("POST", "/uploads", json=body)
        assert response.status_code == 201, response.text
        upload: dict[str, Any] = response.json()
        return upload

    def put(self, upload: dict[str, Any], data: bytes = b"hello") -> requests.Response:
        """PUT the bytes with exactly the headers that the broker returned."""
        return requests.put(upload["uploadUrl"], data=data, headers=upload["headers"], timeout=30)

    def landed(self, data: bytes = b"hello", **fields: Any) -> dict[str, Any]:
        """Begin an upload and PUT its bytes."""
        upload = self.begin(data, **fields)
        assert self.put(upload, data).status_code == 200
        return upload

    def complete(self, upload: dict[str, Any]) -> requests.Response:
        """Complete an upload."""
        return self.call("POST", f"/uploads/{upload['id']}/complete")

    def registered(self, data: bytes = b"hello", **fields: Any) -> dict[str, Any]:
        """Upload a file and register it, by one call of each route."""
        response = self.complete(self.landed(data, **fields))
        assert response.status_code == 200, response.text
        upload: dict[str, Any] = response.json()
        return upload

    def line(self, response: requests.Response) -> dict[str, Any]:
        """Return the log line of a response."""
        wanted = response.headers["X-Request-Id"]
        deadline = time.monotonic() + 2
        while True:
            # The response may arrive before its line is written.
            for line in self.broker.lines():
                if line["requestId"] == wanted:
                    return line
            assert time.monotonic() < deadline, "the request wrote no line"
            time.sleep(0.01)


def check(method: str, path: str, response: requests.Response) -> None:
    """Check a response against the OpenAPI document: its status, its body, its headers."""
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"]
    if response.status_code in {202, 429, 503}:
        assert 1 <= int(response.headers["Retry-After"]) <= DAY
    document = openapi()
    operation = _operation(document, method, path.partition("?")[0])
    if operation is None:
        return
    documented = operation["responses"].get(str(response.status_code))
    assert documented, f"{method} {path}: {response.status_code} is not documented"
    if not response.content:
        assert "content" not in documented
        return
    media_type = response.headers["Content-Type"]
    schema = documented["content"][media_type]["schema"]
    Draft202012Validator(
        {**schema, "components": document["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(response.json())
    if media_type == "application/problem+json":
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["requestId"] == response.headers["X-Request-Id"]
        may_retry = problem["retryable"] or response.status_code in {429, 503}
        assert may_retry or "Retry-After" not in response.headers
        assert f"`{problem['code']}`" in documented["description"], problem["code"]


def _operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    segments = path.strip("/").split("/")
    for pattern, operations in document["paths"].items():
        parts = pattern.strip("/").split("/")
        pairs = zip(parts, segments, strict=False)
        if len(parts) == len(segments) and all(a == b or a.startswith("{") for a, b in pairs):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None
