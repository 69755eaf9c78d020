"""Count what the broker costs at AWS: `python benchmarks/cost.py` prints the runbook's tables.

The real app answers real requests, with DynamoDB and sync. on this machine. What is counted:
invocations, DynamoDB's calls and request units, bytes of log and of answers, bytes that stay in
the table. What is assumed, since it can't be counted here, is named below.
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
from parts import ROOT, RunningUpstream, running_dynamodb
from request_units import ENTRY_OVERHEAD, Meter, Spent, entry, indexes, weigh

# The import above lets these be found.
from tests.support.running_broker import ORIGIN, Api, RunningBroker  # isort: skip
from chalicelib.aws import clients  # isort: skip
from chalicelib.aws import codec  # isort: skip
from chalicelib.core import log  # isort: skip
from chalicelib.ratelimit.slots import Event  # isort: skip
from chalicelib.ratelimit.slots import Slot  # isort: skip
from ops import table  # isort: skip

MILLION = 1_000_000
GB = 1024**3
# US dollars, us-east-1, as publicly known in November 2026, without any free tier.
PRICES = {
    "API Gateway (REST), a million requests": 3.50,
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
    "a GB out to the internet": 0.09,
}
# Assumed. The name stands in both addresses: they are as long as they may be at sync.
FILE_NAME = "holiday-in-the-mountains-second-day-the-long-way-down-to-the-valley-afternoon.mp4"
BUDGET = 120  # presigns a minute
MEMORY_GB = 0.5  # .chalice/config.json
# What the handler takes at 512 MB, which is 0.29 of a CPU: three and a half times the CPU time that
# benchmarks/warm.py finds. The answers' way is on top.
OWN_MS = 5
DYNAMODB_MS = 16  # a call
SYNC_MS = {"presign": 300, "register": 1000}  # nobody publishes them; the log's upstreamMs tells
LAMBDA_LOG = 420  # bytes of START, END and REPORT
LINE_OVERHEAD = 26  # bytes that CloudWatch adds to a line
GATEWAY_HEADERS = 350  # bytes that the gateway adds to an answer
TRACED = 0.05  # of the requests, by X-Ray's default rule, beside one in each second
SECONDS = 30 * 86_400  # of a month
METRICS = 40  # series that a month sees: those that are always written, and common codes


@dataclass
class Call:
    """What one request costs.

    Attributes:
        name: The request.
        spent: At DynamoDB.
        log: Bytes.
        out: Bytes.
        milliseconds: That Lambda charges.
    """

    name: str
    spent: Spent
    log: int
    out: int
    milliseconds: float

    @property
    def dollars(self) -> dict[str, float]:
        """What a million of them cost, by what is paid for."""
        price = PRICES
        lambdas = self.milliseconds / 1000 * MEMORY_GB * price["Lambda (arm64), a GB second"]
        return {
            # The sweep answers nobody.
            "API Gateway": price["API Gateway (REST), a million requests"] if self.out else 0,
            "Lambda": price["Lambda, a million invocations"] + MILLION * lambdas,
            "DynamoDB": self.spent.writes * price["DynamoDB on demand, a million writes"]
            + self.spent.reads * price["DynamoDB on demand, a million reads"],
            "logs": self.log * MILLION / GB * price["CloudWatch, a GB of log"],
            "traffic": self.out * MILLION / GB * price["a GB out to the internet"],
        }


def _line(budget: int) -> dict[str, Any]:
    """Write the line's item as it is after an hour: every slot has been granted once."""
    used = Slot(Event(int(time.time() * 1000) - 3_600_000, 1), nonce=1).encode()
    slots = {f"s{number}": used for number in range(budget)}
    return codec.values({"pk": "line#presign", "secret": b"s" * 32, **slots})


class Counting:
    """A broker whose costs are counted, one request after the other.

    Args:
        broker: It serves; its secrets and settings are the tests' own.
        upstream: sync.
        beside: A client of another session.
    """

    def __init__(self, broker: RunningBroker, upstream: RunningUpstream, beside: Any) -> None:
        # The meter has to be there before the broker's client is made.
        clients.session.cache_clear()
        self._meter = Meter(clients.session().events, beside, table.definition(broker.table))
        settings = {"PUBLIC_URL_EXCEPTIONS": f"http://localhost:{upstream.port}"}
        broker.configure(upstream, PRESIGNS_PER_MINUTE=str(BUDGET), **settings)
        # A grant whose write takes long costs another one, which is not what is counted here.
        broker.clock.tick()
        beside.put_item(TableName=broker.table, Item=_line(BUDGET))
        log.configure("INFO", broker.log, table="sync-upload-broker-prod")
        self._broker = broker
        self.api = Api(broker)
        self.calls: dict[str, Call] = {}

    def count(self, name: str, sync: str | None, send: Callable[[], requests.Response]) -> Any:
        """Send one request, count it, and return the answer."""
        began = self._begin()
        answer = send()
        self.api.line(answer)
        head = sum(len(f"{name}: {value}\r\n") for name, value in answer.headers.items())
        self._end(name, began, sync, out=len(answer.content) + head + GATEWAY_HEADERS)
        return answer

    def sweep(self, name: str, sync: str | None) -> None:
        """Run a sweep, and count it."""
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


def count(broker: RunningBroker, upstream: RunningUpstream, beside: Any) -> dict[str, Call]:
    """Take one caller through all that callers do, and count each request."""
    counting = Counting(broker, upstream, beside)
    api = counting.api
    # The very first request of a table and of a caller costs more.
    api.registered(fileName=FILE_NAME)
    body = {"fileName": FILE_NAME, "contentType": "video/mp4", "size": 5}
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

    def call(method: str, path: str, **more: Any) -> Callable[[], requests.Response]:
        return lambda: api.call(method, path, **more)

    counting.count("preflight", None, call("OPTIONS", "/uploads", headers=preflight))
    counting.count("GET /limits", None, call("GET", "/limits"))
    key = {"Idempotency-Key": "0.1234567890123456"}  # as the browser client makes it
    keyed = call("POST", "/uploads", json=body, headers=key)
    upload = counting.count("POST /uploads", "presign", keyed).json()
    api.put(upload)
    path = f"/uploads/{upload['id']}"
    counting.count("first complete", "register", call("POST", f"{path}/complete"))
    counting.count("repeated complete", None, call("POST", f"{path}/complete"))
    counting.count("GET /uploads/{id}", None, call("GET", path))
    counting.count("GET /uploads, of two", None, call("GET", "/uploads"))
    public = {"url": upstream.upload().replace("127.0.0.1", "localhost"), "type": "VIDEO"}
    counting.count("POST /assets", "register", call("POST", "/assets", json=public))
    keyless = call("POST", "/uploads", json=body)
    api.put(counting.count("POST /uploads, without a key", "presign", keyless).json())
    broker.clock.advance(90)
    counting.sweep("sweep, of one upload", "register")
    counting.sweep("sweep, nothing due", None)
    return counting.calls


def stored(name: str, beside: Any) -> float:
    """Weigh what stays of one registered upload, index entries included."""
    among = indexes(table.definition(name))
    size = uploads = 0
    for item in beside.scan(TableName=name)["Items"]:
        kind = item["pk"]["S"].partition("#")[0]
        if kind in {"upload", "asset", "claim"}:
            parts = [item, *(entry(index, item) for index in among)]
            size += sum(weigh(part) + ENTRY_OVERHEAD for part in parts if part)
            uploads += kind == "asset"
    return size / uploads


# A page of its own for every upload, which is the dearest: the browser asks before each kind of
# request, and the client reads the limits and sends a key.
UPLOAD = {"preflight": 3, "GET /limits": 1, "POST /uploads": 1, "first complete": 1}


def rows_of_calls(calls: dict[str, Call]) -> list[tuple[str, ...]]:
    """Say what each request takes, and a million of them cost."""
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
    """Say what a million uploads in a month cost, by what is paid for."""
    sums: dict[str, float] = {}
    for name, number in UPLOAD.items():
        for service, dollars in calls[name].dollars.items():
            sums[service] = sums.get(service, 0) + number * dollars
    requests_sent = MILLION * sum(UPLOAD.values())
    traced = min(requests_sent, SECONDS) + TRACED * max(0, requests_sent - SECONDS)
    sums["X-Ray"] = traced / MILLION * PRICES["X-Ray, a million traces"]
    whole = sum(sums.values())
    a_month = (
        PRICES["DynamoDB, a GB stored for a month"]
        + PRICES["DynamoDB, a GB of point-in-time recovery for a month"]
    )
    return [
        *((name, f"{dollars:.2f}") for name, dollars in sums.items()),
        ("together", f"{whole:.2f}"),
        ("and for each month that they are kept", f"{kept * MILLION / GB * a_month:.2f}"),
    ]


def rows_of_months(calls: dict[str, Call], alarms: int) -> list[tuple[str, str]]:
    """Say what a month costs although nobody uploads."""
    runs = SECONDS / 60
    idle = calls["sweep, nothing due"].dollars
    swept = sum(idle[name] for name in ("Lambda", "DynamoDB", "logs")) * runs / MILLION
    traces = runs / MILLION * PRICES["X-Ray, a million traces"]
    rows = {
        "the sweep, every minute": swept + traces,
        f"{alarms} alarms": alarms * PRICES["CloudWatch, an alarm for a month"],
        "the dashboard": PRICES["CloudWatch, a dashboard for a month"],
        f"{METRICS} metrics": METRICS * PRICES["CloudWatch, a metric for a month"],
    }
    return [*((name, f"{dollars:.2f}") for name, dollars in rows.items())]


def alarms() -> int:
    """Count the stack's alarms."""
    template = (ROOT / ".chalice" / "template.yaml").read_text()
    return template.count("Type: AWS::CloudWatch::Alarm\n")


def report(calls: dict[str, Call], kept: float) -> str:
    """Write the tables as they stand in operations.md."""
    heads = ("DynamoDB calls", "reads", "writes", "log bytes", "Lambda ms", "US$ a million")
    return "\n\n".join(
        [
            _table(("call", *heads), rows_of_calls(calls)),
            _table(("a million uploads", "US$"), rows_of_uploads(calls, kept)),
            _table(("a month", "US$"), rows_of_months(calls, alarms())),
            _table(("public price", "US$"), [(name, f"{one:g}") for name, one in PRICES.items()]),
        ]
    )


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def main() -> None:
    """Start DynamoDB's emulator and sync.'s stand-in, count, and stop them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        upstream = RunningUpstream(folder)
        stack.callback(upstream.stop)
        beside = boto3.client("dynamodb")
        table.create(clients.dynamodb(), "cost")
        broker = RunningBroker("cost")
        stack.callback(broker.stop)
        calls = count(broker, upstream, beside)
        print(report(calls, stored("cost", beside)))


if __name__ == "__main__":
    main()
