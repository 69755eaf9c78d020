"""Overload real brokers: `python benchmarks/line_system.py [seconds] [sliding|fixed] [wait]`.

Several broker processes share the DynamoDB emulator and a sync. that holds its documented limit,
120 presigns a minute. For three minutes unless told otherwise, callers begin more uploads than
that, each with several requests at once; they come back when `Retry-After` says, with their
ticket. sync. must answer 429 to none of the presigns. With a longest wait of 20 seconds in place of
300, a part of them is refused instead of promised a turn.
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
from parts import (
    HOST,
    SECRET,
    RunningUpstream,
    end_broker,
    free_port,
    running_dynamodb,
    start_broker,
)

# The import above lets these be found.
from crowd import jain, most_in_a_minute  # isort: skip
from chalicelib.aws import clients  # isort: skip
from chalicelib.ratelimit.policy import WINDOW  # isort: skip
from ops import table  # isort: skip

TABLE = "line"
BROKERS = 4
CALLERS, AT_ONCE = 24, 3  # callers, and requests that each of them has under way
PER_MINUTE = 120  # the documented limit
START = 12  # seconds in which all of the callers come
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


@dataclass
class Overload:
    """What the callers do, and what they saw.

    Attributes:
        ports: The brokers'.
        ends: When to stop, by the monotonic clock.
        statuses: How many answers there were, by status and code.
        got: How many addresses each caller got.
        later: How many of them after the first window, whose burst is for whoever comes first.
        began: When the first of them came, by the same clock.
        waits: How long each upload waited for its address, in seconds.
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
        """Begin one upload after the other, as a client that obeys does."""
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
            answer = session.post(url, json=FILE, headers=headers, timeout=60)
            body = answer.json()
            code = body.get("code", "") if answer.status_code >= requests.codes.bad_request else ""
            with self._lock:
                detail = f": {body['detail']}" if code == "store_unavailable" else ""
                self.statuses[f"{answer.status_code} {code}{detail}".strip()] += 1
                if answer.ok:
                    self.got[caller] += 1
                    self.later[caller] += time.monotonic() > self.began + WINDOW / 1000
                    self.waits.append(time.monotonic() - asked)
            if answer.ok:
                return
            ticket = body.get("ticket", "")
            pause = float(answer.headers.get("Retry-After", "1"))
            time.sleep(max(0, min(pause, self.ends - time.monotonic())))


def answers(port: int) -> bool:
    """Say whether a broker answers."""
    try:
        return requests.get(f"http://{HOST}:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def requests_logged(folder: Path) -> list[dict[str, Any]]:
    """Read what the brokers wrote of each `POST /uploads`, and how often DynamoDB was away."""
    lines = [
        json.loads(line)
        for path in sorted(folder.glob("broker-*.log"))
        for line in path.read_text().splitlines()
        if line.startswith('{"')
    ]
    away = sum(line.get("event") == "line_unavailable" for line in lines)
    slower = sum(line.get("event") == "line_slower" for line in lines)
    print(f"line_unavailable {away}, line_slower {slower}")
    return [
        line
        for line in lines
        if line.get("event") == "request"
        and (line["method"], line["route"]) == ("POST", "/uploads")
    ]


def report(folder: Path, overload: Overload, upstream: RunningUpstream) -> bool:
    """Print what happened, and say whether sync. answered 429 to nothing."""
    presigns = [
        one
        for one in upstream.journal()
        if (one["method"], one["path"]) == ("POST", "/v2/assets/upload")
    ]
    refused = sum(one["status"] == requests.codes.too_many_requests for one in presigns)
    times = sorted(one["time"] for one in presigns)
    print("answers:", dict(overload.statuses.most_common()))
    print(f"presigns at sync. {len(presigns)}, of them 429: {refused}")
    most = most_in_a_minute(one * 1000 for one in times)
    print(f"most in any 60 s: {most} of {PER_MINUTE}")
    took = times[-1] - times[0]
    could = PER_MINUTE * (1 + int(took * 1000 / WINDOW))
    print(f"use: {len(times)} of {could}, the most that the line grants in {took:.0f} s")
    for when, got in (("", overload.got), (" after the first window", overload.later)):
        shares = [got[caller] for caller in range(CALLERS)]
        told = f"each caller got {min(shares)} to {max(shares)}"
        print(f"Jain's index{when} {jain(shares):.3f}; {told}")
    waits = sorted(overload.waits)
    at = [waits[int(part * (len(waits) - 1))] for part in (0.5, 0.95, 1)]
    print(f"wait for an address: median {at[0]:.1f} s, 95 % {at[1]:.1f} s, longest {at[2]:.1f} s")
    calls: dict[str, list[int]] = defaultdict(list)
    for line in requests_logged(folder):
        calls[f"{line['status']} {line.get('code', '')}".strip()].append(line["dynamodbCalls"])
    print("DynamoDB calls by answer (201: one more for the quota, one for the upload's record):")
    for kind, found in sorted(calls.items()):
        mean = sum(found) / len(found)
        print(f"  {kind:22} mean {mean:.2f}   {dict(sorted(Counter(found).items()))}")
    return refused == 0


def run(folder: Path, upstream: RunningUpstream, seconds: float, wait: str) -> bool:
    """Start the brokers, overload them, and look at what came of it."""
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
        while not all(map(answers, ports)):
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
    """Start everything, overload it, and stop it."""
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
        print(f"{seconds:.0f} s, {window} window, longest wait {wait} s")
        fine = run(folder, upstream, seconds, wait)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
