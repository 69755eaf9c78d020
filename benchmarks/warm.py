"""Measure a warm container: `python -m benchmarks.warm [rounds]`.

The benchmark calls the app as Lambda does: with events of API Gateway, in one process and one
thread. The emulator of DynamoDB and the stand-in for Sync run in other processes on this machine.
The routes take turns. The first pair of columns is the time of a call without the calls of Sync,
the second pair also without those of DynamoDB: the handler's own time. The third pair is the CPU
time of the whole call, which is more reliable on a busy machine.
"""

import io
import json
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import requests

from app import app
from benchmarks.parts import HOST, SECRET, running_dynamodb
from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.core import log
from chalicelib.core.clock import Clock
from ops import table
from tests.support.upstream_process import KEY, RunningUpstream

TABLE = "warm"
UNCOUNTED = 20  # rounds until connections are open and all modules are loaded
PAUSE = 600  # milliseconds between two presigns: 100 a minute, of 120 allowed
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def event(token: str, method: str, route: str, body: Any = None, **params: str) -> dict[str, Any]:
    """Return an event of API Gateway."""
    path = route.format(**params)
    headers = {"authorization": f"Bearer {token}", "origin": "https://app.example.com"}
    return {
        "resource": route,
        "path": path,
        "requestContext": {
            "httpMethod": method,
            "resourcePath": route,
            "path": f"/api{path}",
            "requestId": str(uuid.uuid4()),
        },
        "headers": headers | ({"content-type": "application/json"} if body else {}),
        "multiValueQueryStringParameters": None,
        "pathParameters": params or None,
        "stageVariables": None,
        "body": json.dumps(body) if body else None,
        "isBase64Encoded": False,
    }


class SkippingClock(Clock):
    """The real time, plus the pauses that the benchmark skips."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        """Return the time."""
        return time.time_ns() // 1_000_000 + self.ahead


class Container:
    """A container, with the times of its calls by route, in milliseconds."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float, float]]] = {}
        self._log = io.StringIO()
        log.configure("INFO", self._log, table=TABLE)

    def call(self, name: str, sent: dict[str, Any], status: int) -> Any:
        """Call the handler, record its time, and return the body of its response."""
        self._log.seek(0)
        self._log.truncate()
        started, worked = time.perf_counter(), time.thread_time()
        response = app(sent, None)
        took = (time.perf_counter() - started) * 1000
        cpu = (time.thread_time() - worked) * 1000
        if response["statusCode"] != status:
            sys.exit(f"{name} returned {response['statusCode']}: {response['body']}")
        (line,) = (
            one for one in map(json.loads, self._log.getvalue().splitlines()) if "route" in one
        )
        without_sync = took - line.get("upstreamMs", 0.0)
        times = (without_sync, without_sync - line.get("dynamodbMs", 0.0), cpu)
        self.times.setdefault(name, []).append(times)
        return json.loads(response["body"] or "null")


def one_round(container: Container, public: str) -> None:
    """Call each route once, as a new caller."""
    now = int(time.time())
    token = jwt.encode({"sub": uuid.uuid4().hex, "exp": now + 600}, SECRET, "HS256")
    url = {"url": public, "type": "VIDEO"}
    upload = container.call("POST /uploads", event(token, "POST", "/uploads", FILE), 201)
    with requests.put(
        upload["uploadUrl"], data=b"hello", headers=upload["headers"], timeout=9
    ) as put:
        put.raise_for_status()
    one, here = "/uploads/{upload_id}", {"upload_id": upload["id"]}
    preflight = event(token, "OPTIONS", f"{one}/complete", **here)
    container.call("preflight", preflight, 204)
    renew = event(token, "POST", f"{one}/renew", **here)
    container.call("POST renew, still fresh", renew, 200)
    complete = event(token, "POST", f"{one}/complete", **here)
    container.call("POST complete, first", complete, 200)
    container.call("POST complete, repeated", complete, 200)
    container.call("GET /uploads/{id}", event(token, "GET", one, **here), 200)
    container.call("GET /uploads", event(token, "GET", "/uploads"), 200)
    container.call("GET /limits", event(token, "GET", "/limits"), 200)
    container.call("POST /assets", event(token, "POST", "/assets", url), 201)
    container.call("GET /health", event(token, "GET", "/health"), 200)


def measure(upstream: RunningUpstream, rounds: int) -> None:
    """Run the rounds, and print the table."""
    upstream.behave(presignsPerMinute=1_000_000)
    clock = SkippingClock()
    bootstrap.use(
        bootstrap.build(
            {
                "UPLOADS_TABLE": TABLE,
                "AUTH_MODE": "jwt",
                "JWT_SECRET": SECRET,
                "SYNC_API_KEY": KEY,
                "SYNC_BASE_URL": upstream.url,
                "SYNC_STORAGE_HOSTS": f"{HOST}:{upstream.port}",
                "ALLOWED_ORIGINS": "https://app.example.com",
                "PUBLIC_URL_EXCEPTIONS": f"http://localhost:{upstream.port}",
            },
            clock=clock,
        )
    )
    public = upstream.upload().replace("127.0.0.1", "localhost")
    container = Container()
    for _ in range(UNCOUNTED):
        one_round(container, public)
        clock.ahead += PAUSE
    container.times.clear()
    for _ in range(rounds):
        one_round(container, public)
        clock.ahead += PAUSE
    heads = ("without Sync", "and DynamoDB", "CPU")
    print(f"\nms, of {rounds:<19}" + "".join(f"{head:>16}" for head in heads))
    print(" " * 26 + f"{'p50':>8}{'p99':>8}" * len(heads))
    for name, times in container.times.items():
        cuts = [statistics.quantiles(column, n=100) for column in zip(*times, strict=True)]
        print(f"{name:26}" + "".join(f"{cut[49]:8.1f}{cut[98]:8.1f}" for cut in cuts))


def main() -> None:
    """Start the emulator of DynamoDB and the stand-in for Sync, and measure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        table.create(clients.dynamodb(), TABLE)
        upstream = RunningUpstream(folder)
        stack.callback(upstream.stop)
        measure(upstream, rounds)


if __name__ == "__main__":
    main()
