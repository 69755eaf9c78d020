"""The real app behind Chalice's local gateway, in this process, and short ways to call it."""

import io
import json
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

import jwt
import requests
from botocore.exceptions import EndpointConnectionError
from jsonschema import Draft202012Validator

from app import app
from chalicelib import bootstrap
from chalicelib.api.health import openapi
from chalicelib.aws import clients
from chalicelib.core import log
from chalicelib.jobs.sweeper import Sweep
from chalicelib.syncapi.client import Timeouts
from sandbox.broker import serve
from tests.support.clocks import MovableClock, PacedClock
from tests.support.upstream_process import KEY, RunningUpstream, free_port

SECRET = "a-secret-of-the-tests-that-is-long-enough"
ORIGIN = "https://app.example.com"
# What all tests share: the limiters' items, and the public URLs in work.
SHARED = ("line#presign", "limit#registration", "urls#registering")
LINE = {"pk": {"S": SHARED[0]}}
SHORT = Timeouts(presign=1.5, register=1.0, look=1.5)
TOKEN_SECONDS = 10**8  # tests move the clock by days
DAY = 86_400  # seconds; nobody is told to wait longer


def token(subject: str | None = None, **claims: Any) -> str:
    """Make a token as an app's backend would."""
    content = {
        "sub": subject or uuid.uuid4().hex,
        "exp": int(time.time()) + TOKEN_SECONDS,
        **claims,
    }
    return jwt.encode(content, SECRET, algorithm="HS256")


class RunningBroker:
    """A gateway whose broker each test replaces by one of its own settings."""

    def __init__(self, table: str) -> None:
        self.table = table
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
            # What is not about the line must not stand in it.
            "PRESIGNS_PER_MINUTE": "600",
            **settings,
        }

    def configure(
        self, upstream: RunningUpstream, *, timeouts: Timeouts = SHORT, **settings: str
    ) -> None:
        """Put a new broker in place: new settings, an empty log, the real time."""
        self.clock = MovableClock()
        self.log = io.StringIO()
        self._environment = environment = self.environment(upstream, **settings)
        with suppress(EndpointConnectionError):  # some tests have it so
            for pk in SHARED:
                clients.dynamodb().delete_item(TableName=self.table, Key={"pk": {"S": pk}})
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=timeouts))
        log.configure("INFO", self.log)

    def configure_again(self, **settings: str) -> None:
        """Put a broker with other settings in place, over the same records."""
        environment = {**self._environment, **settings}
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=SHORT))

    def pace(self, upstream: RunningUpstream, seconds: float) -> PacedClock:
        """Put a broker in place whose clock advances by some seconds at each reading."""
        clock = PacedClock(seconds)
        clock.advance(self.clock.ahead)
        self.clock = clock
        bootstrap.use(bootstrap.build(self.environment(upstream), clock, SHORT))
        return clock

    def wired(self) -> bootstrap.Broker:
        """Return the objects behind the gateway."""
        return bootstrap.broker()

    def sweep(self, seconds: float = 60) -> Sweep:
        """Run the sweep, as the schedule does."""
        return self.wired().sweeper.run(seconds)

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Read the log."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def stop(self) -> None:
        """Stop serving."""
        bootstrap.use(None)
        self._server.shutdown()
        self._server.server.server_close()
        self._thread.join(timeout=5)


class Api:
    """One caller of the broker. Every answer is held against the OpenAPI document."""

    def __init__(self, broker: RunningBroker, subject: str | None = None) -> None:
        self.broker = broker
        self.token = token(subject)
        self._session = requests.Session()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request with the caller's token."""
        headers = {"Authorization": f"Bearer {self.token}", **arguments.pop("headers", {})}
        sent = {name: value for name, value in headers.items() if value is not None}
        answer = self._session.request(
            method, self.broker.url + path, headers=sent, timeout=30, **arguments
        )
        check(method, path, answer)
        return answer

    def begin(self, data: bytes = b"hello", **members: Any) -> dict[str, Any]:
        """Begin an upload, of a video unless told otherwise."""
        body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": len(data), **members}
        answer = self.call("POST", "/uploads", json=body)
        assert answer.status_code == 201, answer.text
        upload: dict[str, Any] = answer.json()
        return upload

    def put(self, upload: dict[str, Any], data: bytes = b"hello") -> requests.Response:
        """PUT the bytes with exactly the headers that the broker named."""
        return requests.put(upload["uploadUrl"], data=data, headers=upload["headers"], timeout=30)

    def landed(self, data: bytes = b"hello", **members: Any) -> dict[str, Any]:
        """Begin an upload and PUT its bytes."""
        upload = self.begin(data, **members)
        assert self.put(upload, data).status_code == 200
        return upload

    def complete(self, upload: dict[str, Any]) -> requests.Response:
        """Complete an upload."""
        return self.call("POST", f"/uploads/{upload['id']}/complete")

    def registered(self, data: bytes = b"hello", **members: Any) -> dict[str, Any]:
        """Take a file all the way to its asset, by one call of each route."""
        answer = self.complete(self.landed(data, **members))
        assert answer.status_code == 200, answer.text
        upload: dict[str, Any] = answer.json()
        return upload

    def line(self, answer: requests.Response) -> dict[str, Any]:
        """Find the log line of an answer."""
        wanted = answer.headers["X-Request-Id"]
        deadline = time.monotonic() + 2
        while True:
            # The answer may arrive before its line is written.
            for line in self.broker.lines():
                if line["requestId"] == wanted:
                    return line
            assert time.monotonic() < deadline, "the request left no line"
            time.sleep(0.01)


def check(method: str, path: str, answer: requests.Response) -> None:
    """Hold an answer against the OpenAPI document: its status, its body, its headers."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]
    if answer.status_code in {202, 429, 503}:
        assert 1 <= int(answer.headers["Retry-After"]) <= DAY
    document = openapi()
    operation = _operation(document, method, path.partition("?")[0])
    if operation is None:
        return
    response = operation["responses"].get(str(answer.status_code))
    assert response, f"{method} {path} answered {answer.status_code}, which is not documented"
    if not answer.content:
        assert "content" not in response
        return
    media_type = answer.headers["Content-Type"]
    schema = response["content"][media_type]["schema"]
    Draft202012Validator(
        {**schema, "components": document["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(answer.json())
    if media_type == "application/problem+json":
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["requestId"] == answer.headers["X-Request-Id"]
        may_wait = problem["retryable"] or answer.status_code in {429, 503}
        assert may_wait or "Retry-After" not in answer.headers
        assert f"`{problem['code']}`" in response["description"], problem["code"]


def _operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    sought = path.strip("/").split("/")
    for pattern, operations in document["paths"].items():
        parts = pattern.strip("/").split("/")
        pairs = zip(parts, sought, strict=False)
        if len(parts) == len(sought) and all(a == b or a.startswith("{") for a, b in pairs):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None
