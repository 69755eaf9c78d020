"""Count what the broker costs at AWS: `python -m benchmarks.cost` prints the runbook's tables.

The app serves requests, with the emulator of DynamoDB and the stand-in for Sync. The benchmark
counts invocations, DynamoDB calls and request units, bytes of logs and responses, and bytes that
stay in the table. The assumptions below replace what it can't count.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests

from benchmarks.parts import running_dynamodb
from benchmarks.request_units import ENTRY_OVERHEAD, Meter, Spent, entry, indexes, weigh
from chalicelib.aws import clients, codec
from chalicelib.core import log
from chalicelib.ratelimit.slots import Event, write_grant
from ops import table
from tests.support.running_broker import ORIGIN, Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

MILLION = 1_000_000
GB = 1024**3
# US dollars, us-east-1, as publicly known in November 2026, without any free tier.
PRICES = {
    "API Gateway (REST), a million requests": 3.50,
    "API Gateway (HTTP API), a million requests": 1.00,
    "Lambda, a million invocations": 0.20,
    "Lambda (arm64), a GB second": 0.0000133334,
    "DynamoDB on demand, a million writes": 0.625,
    "DynamoDB on demand, a million reads": 0.125,
    "DynamoDB, a GB stored for a month": 0.25,
    "DynamoDB, a GB of point-in-time recovery for a month": 0.20,
    "CloudWatch, a GB of log": 0.50,
    "CloudWatch, a metric for a month": 0.30,
    "CloudWatch, an alarm for a month": 0.10,
    "CloudWatch, a dashboard for a month": 3.00,
    "X-Ray, a million traces": 5.00,
    "WAF, a web ACL for a month": 5.00,
    "WAF, a rule for a month": 1.00,
    "WAF, a million requests": 0.60,
    "a GB out to the internet": 0.09,
}
# Assumptions. Both URLs of a file contain its name, which makes them as long as at Sync.
FILE_NAME = "holiday-in-the-mountains-second-day-the-long-way-down-to-the-valley-afternoon.mp4"
BUDGET, REGISTRATIONS = 120, 300  # presigns and registrations a minute
MEMORY_GB = 0.5  # .chalice/config.json
# The handler's time at 512 MB, which is 0.29 of a CPU: three and a half times the CPU time that
# benchmarks/warm.py measures. The time for the responses of DynamoDB and Sync is added.
OWN_MS = 5
DYNAMODB_MS = 16  # for a call
SYNC_MS = {"presign": 300, "register": 1000}  # not published; see upstreamMs in the log
LAMBDA_LOG = 420  # bytes of START, END and REPORT
LINE_OVERHEAD = 26  # bytes that CloudWatch adds to a line
GATEWAY_HEADERS = 350  # bytes that the gateway adds to a response
TRACED = 0.05  # X-Ray's default rule: the part of the requests beyond one a second
SECONDS = 30 * 86_400  # in a month
METRICS = 38  # series in a month: those that are always written, and common codes


@dataclass
class Call:
    """The costs of one request.

    Attributes:
        name: The request.
        spent: The calls and request units of DynamoDB.
        log: The bytes of its log lines.
        out: The bytes of its response.
        milliseconds: The time that Lambda charges.
    """

    name: str
    spent: Spent
    log: int
    out: int
    milliseconds: float

    @property
    def dollars(self) -> dict[str, float]:
        """The costs of a million such requests, by service."""
        price = PRICES
        lambdas = self.milliseconds / 1000 * MEMORY_GB * price["Lambda (arm64), a GB second"]
        return {
            # The gateway does not call the sweep, which has no response.
            "API Gateway": price["API Gateway (REST), a million requests"] if self.out else 0,
            "Lambda": price["Lambda, a million invocations"] + MILLION * lambdas,
            "DynamoDB": self.spent.writes * price["DynamoDB on demand, a million writes"]
            + self.spent.reads * price["DynamoDB on demand, a million reads"],
            "logs": self.log * MILLION / GB * price["CloudWatch, a GB of log"],
            "traffic": self.out * MILLION / GB * price["a GB out to the internet"],
        }


def rate_limiter_item(name: str, permits: int) -> dict[str, Any]:
    """Return a rate limiter's item as it is after an hour: each slot was granted once."""
    grant = write_grant(Event(int(time.time() * 1000) - 3_600_000, 1), nonce=1)
    grants = {f"s{slot:x}": grant for slot in range(permits)}
    return codec.values({"pk": f"limit#{name}", **grants})


class Counter:
    """Count the costs of a broker's requests.

    Args:
        broker: The broker, with the secrets and settings of the tests.
        upstream: The stand-in for Sync.
        unmetered: A DynamoDB client of another session.
    """

    def __init__(self, broker: RunningBroker, upstream: RunningUpstream, unmetered: Any) -> None:
        # The meter must be registered before the broker's client is created.
        clients.session.cache_clear()
        self._meter = Meter(
            clients.session().get_component("event_emitter"),
            unmetered,
            table.definition(broker.table),
        )
        settings = {"PUBLIC_URL_EXCEPTIONS": f"http://localhost:{upstream.port}"}
        broker.configure(upstream, PRESIGNS_PER_MINUTE=str(BUDGET), **settings)
        # With a real clock, a slow write could need a second grant, which would be counted too.
        broker.clock.tick()
        for name, permits in (("presigns", BUDGET), ("registrations", REGISTRATIONS)):
            unmetered.put_item(TableName=broker.table, Item=rate_limiter_item(name, permits))
        log.configure("INFO", broker.log, table="sync-upload-broker-prod")
        self._broker = broker
        self.api = Api(broker)
        self.calls: dict[str, Call] = {}

    def count(self, name: str, sync: str | None, send: Callable[[], requests.Response]) -> Any:
        """Send a request, count its costs, and return its response."""
        began = self._begin()
        response = send()
        self.api.line(response)
        head = sum(len(f"{name}: {value}\r\n") for name, value in response.headers.items())
        self._end(name, began, sync, out=len(response.content) + head + GATEWAY_HEADERS)
        return response

    def sweep(self, name: str, sync: str | None) -> None:
        """Run a sweep, and count its costs."""
        began = self._begin()
        self._broker.sweep()
        self._end(name, began, sync, out=0)

    def _begin(self) -> int:
        self._meter.take()
        return len(self._broker.log.getvalue())

    def _end(self, name: str, began: int, sync: str | None, out: int) -> None:
        lines = self._broker.log.getvalue()[began:].splitlines()
        log = sum(len(line.encode()) + 1 + LINE_OVERHEAD for line in lines)
        spent = self._meter.take()
        waits = SYNC_MS[sync] if sync else 0
        self.calls[name] = Call(
            name, spent, log + LAMBDA_LOG, out, OWN_MS + spent.calls * DYNAMODB_MS + waits
        )


def count(broker: RunningBroker, upstream: RunningUpstream, unmetered: Any) -> dict[str, Call]:
    """Send each kind of request as one caller, and return their costs."""
    counter = Counter(broker, upstream, unmetered)
    api = counter.api
    # The first request of a table and of a caller costs more, so it is not counted.
    api.registered(fileName=FILE_NAME)
    body = {"fileName": FILE_NAME, "contentType": "video/mp4", "size": 5}
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

    def call(method: str, path: str, **more: Any) -> Callable[[], requests.Response]:
        return lambda: api.call(method, path, **more)

    counter.count("preflight", None, call("OPTIONS", "/uploads", headers=preflight))
    counter.count("GET /limits", None, call("GET", "/limits"))
    key = {"Idempotency-Key": "0.1234567890123456"}  # as the browser client makes it
    keyed = call("POST", "/uploads", json=body, headers=key)
    upload = counter.count("POST /uploads", "presign", keyed).json()
    api.put(upload)
    path = f"/uploads/{upload['id']}"
    counter.count("first complete", "register", call("POST", f"{path}/complete"))
    counter.count("repeated complete", None, call("POST", f"{path}/complete"))
    counter.count("GET /uploads/{id}", None, call("GET", path))
    counter.count("GET /uploads, of two", None, call("GET", "/uploads"))
    public = {"url": upstream.upload().replace("127.0.0.1", "localhost"), "type": "VIDEO"}
    counter.count("POST /assets", "register", call("POST", "/assets", json=public))
    keyless = call("POST", "/uploads", json=body)
    api.put(counter.count("POST /uploads, without a key", "presign", keyless).json())
    broker.clock.advance(90)
    counter.sweep("sweep, of one upload", "register")
    counter.sweep("sweep, nothing due", None)
    return counter.calls


def stored(name: str, unmetered: Any) -> float:
    """Return the bytes that a registered upload occupies, with its index entries."""
    of_table = indexes(table.definition(name))
    size = uploads = 0
    for item in unmetered.scan(TableName=name)["Items"]:
        kind = item["pk"]["S"].partition("#")[0]
        if kind in {"upload", "asset", "claim"}:
            parts = [item, *(entry(index, item) for index in of_table)]
            size += sum(weigh(part) + ENTRY_OVERHEAD for part in parts if part)
            uploads += kind == "asset"
    return size / uploads


# The most expensive case is a page for each upload: the browser sends a preflight for each kind of
# request, and the client reads the limits and sends an Idempotency-Key.
UPLOAD = {"preflight": 3, "GET /limits": 1, "POST /uploads": 1, "first complete": 1}


def dollars_for_uploads(calls: dict[str, Call]) -> float:
    """Return what a million uploads cost."""
    return sum(sum(calls[name].dollars.values()) * number for name, number in UPLOAD.items())


def rows_of_calls(calls: dict[str, Call]) -> list[tuple[str, ...]]:
    """Return the rows of the table of requests."""
    return [
        (
            one.name,
            str(one.spent.calls),
            f"{one.spent.reads:g}",
            f"{one.spent.writes:g}",
            f"{one.log:,}",
            f"{one.milliseconds:,}",
            f"{sum(one.dollars.values()):.2f}",
        )
        for one in calls.values()
    ]


def rows_of_uploads(calls: dict[str, Call], kept: float) -> list[tuple[str, str]]:
    """Return the costs of a million uploads in a month, by service."""
    sums: dict[str, float] = {}
    for name, number in UPLOAD.items():
        for service, dollars in calls[name].dollars.items():
            sums[service] = sums.get(service, 0) + number * dollars
    a_month = (
        PRICES["DynamoDB, a GB stored for a month"]
        + PRICES["DynamoDB, a GB of point-in-time recovery for a month"]
    )
    return [
        *((name, f"{dollars:.2f}") for name, dollars in sums.items()),
        ("together", f"{sum(sums.values()):.2f}"),
        ("and for each month that they are kept", f"{kept * MILLION / GB * a_month:.2f}"),
    ]


def rows_of_choices(calls: dict[str, Call]) -> list[tuple[str, str]]:
    """Return what a million uploads in a month cost by the operator's choice."""
    requests_sent = sum(UPLOAD.values())  # in millions
    base = dollars_for_uploads(calls)
    rest, http = (
        PRICES[f"API Gateway ({kind}), a million requests"] * requests_sent
        for kind in ("REST", "HTTP API")
    )
    beyond = max(0, requests_sent - SECONDS / MILLION)
    traces = min(requests_sent, SECONDS / MILLION) + TRACED * beyond
    waf = PRICES["WAF, a million requests"] * requests_sent
    waf += PRICES["WAF, a web ACL for a month"] + PRICES["WAF, a rule for a month"]
    rows = {
        "as it is: a REST API, without a WAF and X-Ray": base,
        "with a WAF of one rule": base + waf,
        "with X-Ray": base + traces * PRICES["X-Ray, a million traces"],
        "with an HTTP API instead": base - rest + http,
    }
    return [(name, f"{dollars:.2f}") for name, dollars in rows.items()]


def rows_of_months(calls: dict[str, Call], alarms: int) -> list[tuple[str, str]]:
    """Return the costs of a month without uploads."""
    runs = SECONDS / 60
    idle = calls["sweep, nothing due"].dollars
    swept = sum(idle[name] for name in ("Lambda", "DynamoDB", "logs")) * runs / MILLION
    rows = {
        "the sweep, every minute": swept,
        f"{alarms} alarms": alarms * PRICES["CloudWatch, an alarm for a month"],
        "the dashboard": PRICES["CloudWatch, a dashboard for a month"],
        f"{METRICS} metrics": METRICS * PRICES["CloudWatch, a metric for a month"],
    }
    return [*((name, f"{dollars:.2f}") for name, dollars in rows.items())]


def alarms() -> int:
    """Return the number of the stack's alarms."""
    template = (ROOT / ".chalice" / "template.yaml").read_text()
    return template.count("Type: AWS::CloudWatch::Alarm\n")


def report(calls: dict[str, Call], kept: float) -> str:
    """Return the tables of docs/operations.md."""
    heads = ("DynamoDB calls", "reads", "writes", "log bytes", "Lambda ms", "US$ a million")
    return "\n\n".join(
        [
            markdown(("call", *heads), rows_of_calls(calls)),
            markdown(("a million uploads", "US$"), rows_of_uploads(calls, kept)),
            markdown(("choice, for a million uploads", "US$"), rows_of_choices(calls)),
            markdown(("a month", "US$"), rows_of_months(calls, alarms())),
            markdown(("public price", "US$"), [(name, f"{one:g}") for name, one in PRICES.items()]),
        ]
    )


def markdown(head: tuple[str, ...], rows: Any) -> str:
    """Return a table of Markdown."""
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def main() -> None:
    """Start the emulator of DynamoDB and the stand-in for Sync, and print the costs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        upstream = RunningUpstream(folder)
        stack.callback(upstream.stop)
        unmetered = boto3.client("dynamodb")
        table.create(clients.dynamodb(), "cost")
        broker = RunningBroker("cost")
        stack.callback(broker.stop)
        calls = count(broker, upstream, unmetered)
        print(report(calls, stored("cost", unmetered)))


if __name__ == "__main__":
    main()
