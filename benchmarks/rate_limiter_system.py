"""Overload broker processes: `python -m benchmarks.line_system [seconds] [sliding|fixed] [wait]`.

Several broker processes share the emulator of DynamoDB and a stand-in for Sync that enforces its
documented limit of 120 presigns a minute. For three minutes by default, callers begin more uploads
than that, each with several requests at once. They retry after `Retry-After`, with their tickets.
Sync must refuse no presign with 429. With a maximum wait of 20 seconds instead of 300, the brokers
refuse some callers without a queue position.
"""

import json
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import requests

from benchmarks.crowd import jain, most_in_a_minute
from benchmarks.parts import HOST, SECRET, end_broker, running_dynamodb, start_broker
from chalicelib.aws import clients
from chalicelib.ratelimit.policy import Budget
from ops import table
from tests.support.upstream_process import RunningUpstream, free_port

TABLE = "line"
BROKERS = 4
CALLERS, AT_ONCE = 24, 3  # callers, and concurrent requests of each caller
PER_MINUTE = 120  # the documented limit
START = 12  # seconds until all callers have started
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


@dataclass
class Overload:
    """The callers and their results. Times are those of the monotonic clock.

    Attributes:
        ports: The brokers' ports.
        ends: The time to stop.
        statuses: The number of responses by status and code.
        got: The number of upload URLs for each caller.
        later: The same after the first window, in which the first callers use up the burst.
        began: The time of the start.
        waits: How long each upload waited for its upload URL, in seconds.
    """

    ports: list[int]
    ends: float
    statuses: Counter[str] = field(default_factory=Counter)
    got: Counter[int] = field(default_factory=Counter)
    later: Counter[int] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    waits: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def demand(self, caller: int, number: int) -> None:
        """Begin one upload after the other, and obey `Retry-After`."""
        claims = {"sub": f"caller {caller}", "exp": int(time.time()) + 10**6}
        token = jwt.encode(claims, SECRET)
        url = f"http://{HOST}:{self.ports[number % len(self.ports)]}/uploads"
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {token}"
            while time.monotonic() < self.ends:
                self._begin(session, url, caller)

    def _begin(self, session: requests.Session, url: str, caller: int) -> None:
        asked, ticket = time.monotonic(), ""
        while time.monotonic() < self.ends:
            headers = {"Upload-Ticket": ticket}
            response = session.post(url, json=FILE, headers=headers, timeout=60)
            body = response.json()
            is_refused = response.status_code >= requests.codes.bad_request
            code = body.get("code", "") if is_refused else ""
            with self._lock:
                detail = f": {body['detail']}" if code == "store_unavailable" else ""
                self.statuses[f"{response.status_code} {code}{detail}".strip()] += 1
                if response.ok:
                    self.got[caller] += 1
                    self.later[caller] += time.monotonic() > self.began + WINDOW / 1000
                    self.waits.append(time.monotonic() - asked)
            if response.ok:
                return
            ticket = body.get("ticket", "")
            pause = float(response.headers.get("Retry-After", "1"))
            time.sleep(max(0, min(pause, self.ends - time.monotonic())))


def is_healthy(port: int) -> bool:
    """Whether a broker is healthy."""
    try:
        return requests.get(f"http://{HOST}:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def requests_logged(folder: Path) -> list[dict[str, Any]]:
    """Return the log lines of `POST /uploads`, and print the numbers of two other events."""
    lines = [
        json.loads(line)
        for path in sorted(folder.glob("broker-*.log"))
        for line in path.read_text().splitlines()
        if line.startswith('{"')
    ]
    unavailable = sum(line.get("event") == "line_unavailable" for line in lines)
    slower = sum(line.get("event") == "line_slower" for line in lines)
    print(f"line_unavailable {unavailable}, line_slower {slower}")
    return [
        line
        for line in lines
        if line.get("event") == "request"
        and (line["method"], line["route"]) == ("POST", "/uploads")
    ]


def report(folder: Path, overload: Overload, upstream: RunningUpstream) -> bool:
    """Print the results.

    Returns:
        Whether Sync refused no presign with 429.
    """
    presigns = [
        one
        for one in upstream.journal()
        if (one["method"], one["path"]) == ("POST", "/v2/assets/upload")
    ]
    refused = sum(one["status"] == requests.codes.too_many_requests for one in presigns)
    times = sorted(one["time"] for one in presigns)
    print("responses:", dict(overload.statuses.most_common()))
    print(f"presigns at Sync: {len(presigns)}, refused with 429: {refused}")
    most = most_in_a_minute(one * 1000 for one in times)
    print(f"maximum in any 60 s: {most} of {PER_MINUTE}")
    took = times[-1] - times[0]
    possible = PER_MINUTE * (1 + int(took * 1000 / WINDOW))
    print(f"use: {len(times)} of {possible} presigns that are possible in {took:.0f} s")
    for when, got in (("", overload.got), (" after the first window", overload.later)):
        shares = [got[caller] for caller in range(CALLERS)]
        print(f"Jain's index{when} {jain(shares):.3f}; shares {min(shares)} to {max(shares)}")
    waits = sorted(overload.waits)
    at = [waits[int(part * (len(waits) - 1))] for part in (0.5, 0.95, 1)]
    print(
        f"wait for an upload URL: median {at[0]:.1f} s, 95 % {at[1]:.1f} s, longest {at[2]:.1f} s"
    )
    calls: dict[str, list[int]] = defaultdict(list)
    for line in requests_logged(folder):
        calls[f"{line['status']} {line.get('code', '')}".strip()].append(line["dynamodbCalls"])
    print("DynamoDB calls by response (a 201 has two more, for the quota and the upload):")
    for kind, found in sorted(calls.items()):
        mean = sum(found) / len(found)
        print(f"  {kind:22} mean {mean:.2f}   {dict(sorted(Counter(found).items()))}")
    return refused == 0


def run(folder: Path, upstream: RunningUpstream, seconds: float, wait: str) -> bool:
    """Start the brokers, overload them, and report the results."""
    ports = [free_port() for _ in range(BROKERS)]
    with ExitStack() as stack:
        for number, port in enumerate(ports):
            broker = start_broker(
                folder,
                number,
                port,
                upstream,
                UPLOADS_TABLE=TABLE,
                PRESIGNS_PER_MINUTE=str(PER_MINUTE),
                MAX_WAIT_SECONDS=wait,
            )
            stack.callback(end_broker, broker)
        while not all(map(is_healthy, ports)):
            time.sleep(0.2)
        overload = Overload(ports, time.monotonic() + seconds)
        threads = [
            threading.Thread(target=overload.demand, args=(number % CALLERS, number))
            for number in range(CALLERS * AT_ONCE)
        ]
        for thread in threads:
            thread.start()
            time.sleep(START / len(threads))
        for thread in threads:
            thread.join()
        return report(folder, overload, upstream)


def main() -> None:
    """Start all processes, overload the brokers, and stop the processes."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 180
    window = sys.argv[2] if len(sys.argv) > 2 else "sliding"  # noqa: PLR2004 - the second argument
    wait = sys.argv[3] if len(sys.argv) > 3 else "300"  # noqa: PLR2004 - the third argument
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "clock").write_text("0")
        stack.enter_context(running_dynamodb(folder))
        table.create(clients.dynamodb(), TABLE)
        upstream = RunningUpstream(folder / "upstream")
        stack.callback(upstream.stop)
        upstream.behave(presignsPerMinute=PER_MINUTE, rateWindow=window)
        print(f"{seconds:.0f} s, {window} window, maximum wait {wait} s")
        is_successful = run(folder, upstream, seconds, wait)
    sys.exit(0 if is_successful else 1)


if __name__ == "__main__":
    main()
