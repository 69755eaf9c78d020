"""Measure a warm container: `python benchmarks/warm.py [rounds]`.

The real app is called as Lambda calls it, with API Gateway's events, in one process and one thread,
as in a container; DynamoDB and sync. are on this machine, in processes of their own. The routes
take turns. From the whole time of each call its waiting for sync. is taken out, and in the second
pair of columns its calls of DynamoDB too: what is left is the handler's own. The third pair is the
CPU time of the whole call, which is the truer one on a busy machine.
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

import requests
from parts import HOST, KEY, SECRET, RunningUpstream, running_dynamodb

# The import above lets these be found.
import jwt  # isort: skip
from app import app  # isort: skip
from chalicelib.core.clock import Clock  # isort: skip
from chalicelib.core import log  # isort: skip
from chalicelib import bootstrap  # isort: skip
from chalicelib.aws import clients  # isort: skip
from ops import table  # isort: skip

TABLE = "warm"
UNCOUNTED = 20  # rounds, until connections are open and everything is loaded
PAUSE = 600  # milliseconds between two presigns, of which there are 120 a minute
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def event(token: str, method: str, route: str, body: Any = None, **params: str) -> dict[str, Any]:
    """Make what API Gateway sends."""
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
    """The real time, and what the benchmark does not wait for."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        """Return the time."""
        return time.time_ns() // 1_000_000 + self.ahead


class Container:
    """A container that is asked, and what it took by route, in milliseconds."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float, float]]] = {}
        self._log = io.StringIO()
        log.configure("INFO", self._log, table=TABLE)

    def ask(self, name: str, sent: dict[str, Any], status: int) -> Any:
        """Call the handler, and keep what it took."""
        self._log.seek(0)
        self._log.truncate()
        started, worked = time.perf_counter(), time.thread_time()
        answer = app(sent, None)
        took = (time.perf_counter() - started) * 1000
        cpu = (time.thread_time() - worked) * 1000
        if answer["statusCode"] != status:
            sys.exit(f"{name} answered {answer['statusCode']}: {answer['body']}")
        (line,) = (
            one for one in map(json.loads, self._log.getvalue().splitlines()) if "route" in one
        )
        without_sync = took - line["upstreamMs"]
        times = (without_sync, without_sync - line["dynamodbMs"], cpu)
        self.times.setdefault(name, []).append(times)
        return json.loads(answer["body"] or "null")


def one_round(container: Container, public: str) -> None:
    """Ask for every route once, as somebody new."""
    now = int(time.time())
    token = jwt.encode({"sub": uuid.uuid4().hex, "exp": now + 600}, SECRET, "HS256")
    url = {"url": public, "type": "VIDEO"}
    upload = container.ask("POST /uploads", event(token, "POST", "/uploads", FILE), 201)
    with requests.put(
        upload["uploadUrl"], data=b"hello", headers=upload["headers"], timeout=9
    ) as put:
        put.raise_for_status()
    one, here = "/uploads/{upload_id}", {"upload_id": upload["id"]}
    preflight = event(token, "OPTIONS", f"{one}/complete", **here)
    container.ask("preflight", preflight, 204)
    renew = event(token, "POST", f"{one}/renew", **here)
    container.ask("POST renew, still fresh", renew, 200)
    complete = event(token, "POST", f"{one}/complete", **here)
    container.ask("POST complete, first", complete, 200)
    container.ask("POST complete, repeated", complete, 200)
    container.ask("GET /uploads/{id}", event(token, "GET", one, **here), 200)
    container.ask("GET /uploads", event(token, "GET", "/uploads"), 200)
    container.ask("GET /limits", event(token, "GET", "/limits"), 200)
    container.ask("POST /assets", event(token, "POST", "/assets", url), 201)
    container.ask("GET /health", event(token, "GET", "/health"), 200)


def measure(upstream: RunningUpstream, rounds: int) -> None:
    """Ask in rounds, and print the table."""
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
    heads = ("without sync.", "and DynamoDB", "CPU")
    print(f"\nms, of {rounds:<19}" + "".join(f"{head:>16}" for head in heads))
    print(" " * 26 + f"{'p50':>8}{'p99':>8}" * len(heads))
    for name, times in container.times.items():
        cuts = [statistics.quantiles(column, n=100) for column in zip(*times, strict=True)]
        print(f"{name:26}" + "".join(f"{cut[49]:8.1f}{cut[98]:8.1f}" for cut in cuts))


def main() -> None:
    """Start DynamoDB's emulator and sync.'s stand-in, measure, and stop them."""
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
