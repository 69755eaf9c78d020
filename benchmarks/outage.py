"""Measure an outage of Sync: `python -m benchmarks.outage` prints a table.

Callers upload files, and readers read uploads and lists, through several brokers. For some time
Sync accepts connections and responds to nothing. The table compares the phases before, during and
after that. Each broker stands for the containers of a part of the callers: its circuit breaker is
theirs, and it serves requests in threads, so the callers whose requests wait are counted as the
containers that would be busy.
"""

import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import jwt
import requests

from benchmarks.parts import HOST, SECRET, end_broker, listens, running_dynamodb, start_broker
from ops import table
from tests.support.upstream_process import RunningUpstream, free_port

BROKERS, CALLERS, READERS = 4, 200, 20
BEFORE_SECONDS, OUTAGE_SECONDS, AFTER_SECONDS = 30, 60, 45
PAUSE_SECONDS = 25.0  # of a caller between two uploads
READ_PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 60.0  # until a caller gives a request up
HANG = {"match": {"method": "*", "path": "/v2/*"}, "do": {"kind": "delay", "seconds": 300}}
PHASES = ("before", "outage", "after")


@dataclass
class Run:
    """What is measured.

    Attributes:
        ports: The brokers' ports.
        phase: The current phase.
        reads: The seconds of each read, by phase.
        statuses: The responses to calls that need Sync, by phase.
        waiting: How many calls that need Sync are open now.
        most_waiting: The largest such number, by phase.
        begun: The ids of uploads that a broker acknowledged, with the headers of their callers.
        registered: The times at which uploads were registered, in seconds.
    """

    ports: list[int]
    phase: str = PHASES[0]
    reads: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    statuses: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in PHASES}
    )
    waiting: int = 0
    most_waiting: Counter[str] = field(default_factory=Counter)
    begun: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    registered: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Caller:
    """A caller that uploads one file after the other, and repeats what fails."""

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._url = f"http://{HOST}:{run.ports[number % BROKERS]}"
        self._session = requests.Session()
        claims = {"sub": f"caller {number}", "exp": int(time.time()) + 10**6}
        self.headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}

    def act(self) -> None:
        """Upload until the run has ended."""
        time.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311 - a simulation
        while not self._run.ended.is_set():
            body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
            upload = self._repeat("/uploads", json=body)
            if upload is not None:
                self._run.begun.append((upload["id"], self.headers))
                # Storage belongs to the same stand-in, but it works during the outage.
                requests.put(upload["uploadUrl"], b"hello", headers=upload["headers"], timeout=40)
                if self._repeat(f"/uploads/{upload['id']}/complete") is not None:
                    self._run.registered.append(time.monotonic())
            self._run.ended.wait(random.uniform(0.5, 1.5) * PAUSE_SECONDS)  # noqa: S311 - as above

    def read(self, path: str) -> None:
        """Read until the run has ended."""
        while not self._run.ended.wait(READ_PAUSE_SECONDS):
            phase, started = self._run.phase, time.monotonic()
            response = self._session.get(self._url + path, headers=self.headers, timeout=40)
            response.raise_for_status()
            self._run.reads[phase].append(time.monotonic() - started)

    def _repeat(self, path: str, **arguments: Any) -> dict[str, Any] | None:
        """Send a request until it succeeds, as the browser client does."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends and not self._run.ended.is_set():
            response = self._send(path, arguments)
            if response.status_code in {200, 201}:
                found: dict[str, Any] = response.json()
                return found
            self._run.ended.wait(int(response.headers.get("Retry-After", "2")))
        return None

    def _send(self, path: str, arguments: dict[str, Any]) -> requests.Response:
        run, phase = self._run, self._run.phase
        with run.lock:
            run.waiting += 1
            run.most_waiting[phase] = max(run.most_waiting[phase], run.waiting)
        try:
            response = self._session.post(
                self._url + path, headers=self.headers, timeout=60, **arguments
            )
        finally:
            with run.lock:
                run.waiting -= 1
        code = "" if response.ok else f" {response.json()['code']}"
        run.statuses[phase][f"{response.status_code}{code}"] += 1
        return response


def _states(run: Run) -> Counter[str]:
    """Return how many of the acknowledged uploads are in which state."""
    found: Counter[str] = Counter()
    url = f"http://{HOST}:{run.ports[0]}/uploads"
    for upload_id, headers in run.begun:
        found[requests.get(f"{url}/{upload_id}", headers=headers, timeout=40).json()["status"]] += 1
    return found


def _play(run: Run, upstream: RunningUpstream) -> float:
    """Let all phases pass, and return the time at which the outage ended."""
    threads = [threading.Thread(target=Caller(run, number).act) for number in range(CALLERS)]
    for number in range(READERS):
        path = "/uploads" if number % 2 else "/assets"
        threads.append(threading.Thread(target=Caller(run, number).read, args=(path,)))
    for thread in threads:
        thread.start()
    time.sleep(BEFORE_SECONDS)
    run.phase = "outage"
    upstream.call("POST", "/_sandbox/faults", json={**HANG, "times": None})
    time.sleep(OUTAGE_SECONDS)
    upstream.call("DELETE", "/_sandbox/faults")
    ended = time.monotonic()
    run.phase = "after"
    time.sleep(AFTER_SECONDS)
    run.ended.set()
    for thread in threads:
        thread.join()
    return ended


def _report(run: Run, ended: float) -> None:
    print("| phase | reads | p50 ms | p99 ms | p99 to before | waiting at most | responses |")
    print("|---|---|---|---|---|---|---|")
    first = 0.0
    for phase in PHASES:
        times = sorted(run.reads[phase])
        p99 = times[int(len(times) * 0.99)]
        first = first or p99
        responses = ", ".join(f"{count} x {of}" for of, count in run.statuses[phase].most_common())
        print(
            f"| {phase} | {len(times)} | {statistics.median(times) * 1000:.0f} | {p99 * 1000:.0f}"
            f" | {p99 / first:.2f} | {run.most_waiting[phase]} | {responses} |"
        )
    recovered = [at - ended for at in run.registered if at > ended]
    states = ", ".join(f"{count} {state}" for state, count in _states(run).items())
    print(f"\nThe first upload was registered {min(recovered):.1f} s after the outage.")
    print(f"Acknowledged uploads: {len(run.begun)}; at the end: {states}.")


def main() -> None:
    """Start everything, and measure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        table.create(boto3.client("dynamodb"), "outage")
        upstream = RunningUpstream(folder, SANDBOX_BEHAVIOR='{"presignsPerMinute": 1000000}')
        stack.callback(upstream.stop)
        (folder / "clock").write_text("0")
        run = Run([free_port() for _ in range(BROKERS)])
        settings = {
            "UPLOADS_TABLE": "outage",
            "PRESIGNS_PER_MINUTE": "300",
            "IS_PATIENT": "1",
        }
        for number, port in enumerate(run.ports):
            broker = start_broker(folder, number, port, upstream, **settings)
            stack.callback(end_broker, broker)
        while not all(map(listens, run.ports)):
            time.sleep(0.1)
        _report(run, _play(run, upstream))


if __name__ == "__main__":
    main()
