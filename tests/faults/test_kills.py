"""A broker's process is killed at every step, and another one takes over."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.faulty_broker import (
    LIST,
    PRESIGN,
    REGISTER,
    SETTLED,
    Caller,
    FaultyBroker,
    assert_settled,
    wait_for,
)
from tests.support.upstream_process import ROOT, free_port

UPDATE, TRANSACT = "UpdateItem", "TransactWriteItems"


class BrokerProcess:
    """A broker process that shares table, upstream and clock with the broker in this process."""

    def __init__(self, broker: FaultyBroker, folder: Path) -> None:
        self.clock = folder / "clock"
        self.set_clock(broker)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        environment = broker.environment(
            broker.upstream, PUBLIC_URL_EXCEPTIONS=f"http://localhost:{broker.upstream.port}"
        )
        self._environment = {
            **os.environ,
            **environment,
            "BROKER_PORT": str(self.port),
            "CLOCK_FILE": str(self.clock),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> None:
        """Start it, and wait until it responds."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "faults" / "broker_process.py")],
                cwd=ROOT,
                env={**self._environment, **more},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        wait_for(self._responds)

    def _responds(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def set_clock(self, broker: FaultyBroker) -> None:
        """Set its clock to the other broker's."""
        self.clock.write_text(str(broker.clock.ahead))

    def kill(self) -> None:
        """Kill it, so that it cleans up nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None


@pytest.fixture
def process(broker: FaultyBroker, tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker process to be killed."""
    process = BrokerProcess(broker, tmp_path)
    yield process
    process.kill()


@dataclass(frozen=True)
class KillPoint:
    """The point at which the process is killed.

    Attributes:
        route: The request: `begin`, `complete`, `url` or `renew`; `sweep` for no request.
        pause: The call to DynamoDB at which it waits, with texts that only this call contains.
        delay: The call to Sync at which it waits.
        after: Whether the call has been carried out when the process is killed.
        landed: Whether the bytes have landed.
        lost: Whether an earlier registration is ambiguous.
    """

    route: str
    pause: tuple[str, ...] = ()
    delay: tuple[str, str] | None = None
    after: bool = False
    landed: bool = True
    lost: bool = False


def _kill_points() -> dict[str, KillPoint]:
    pauses: dict[str, tuple[str, tuple[str, ...]]] = {
        "begin-reserve": ("begin", (UPDATE, "not_exists(#reservation)")),
        "begin-permit": ("begin", (UPDATE, "limit#presigns")),
        "begin-write": ("begin", (TRANSACT, "creating#")),
        "complete-lease": ("complete", (UPDATE, ":pending")),
        "complete-permit": ("complete", (UPDATE, "limit#registrations")),
        "complete-record": ("complete", (TRANSACT, "claim#")),
        "url-reserve": ("url", (UPDATE, "not_exists(#reservation)")),
        "url-write": ("url", (TRANSACT, "creating#")),
        "url-record": ("url", (TRANSACT, "claim#")),
        "renew-write": ("renew", (UPDATE, "size(#targets)")),
        "sweep-cap": ("sweep", (UPDATE, "minute#sweep")),
        "sweep-lease": ("sweep", (UPDATE, ":pending")),
        "sweep-record": ("sweep", (TRANSACT, "claim#")),
    }
    delays = {
        "begin-presign": ("begin", PRESIGN),
        "complete-post": ("complete", REGISTER),
        "url-post": ("url", REGISTER),
        "renew-presign": ("renew", PRESIGN),
        "sweep-post": ("sweep", REGISTER),
    }
    unfinished = (UPDATE, "#attempt.#id = :attempt")
    found: dict[str, KillPoint] = {}
    for is_after in (False, True):
        when = "after" if is_after else "before"
        for name, (route, pause) in pauses.items():
            found[f"{when}-{name}"] = KillPoint(route, pause=pause, after=is_after)
        for name, (route, delay) in delays.items():
            found[f"{when}-{name}"] = KillPoint(route, delay=delay, after=is_after)
        found[f"{when}-reopen"] = KillPoint("complete", unfinished, after=is_after, landed=False)
        found[f"{when}-release"] = KillPoint("complete", unfinished, after=is_after, lost=True)
        found[f"{when}-reconcile-lease"] = KillPoint(
            "complete", (UPDATE, "#lease_until <"), after=is_after, lost=True
        )
    found["list"] = KillPoint("complete", delay=LIST, lost=True)
    return found


KILL_POINTS = _kill_points()


def prepare(
    broker: FaultyBroker, process: BrokerProcess, caller: Caller, point: KillPoint
) -> Callable[[], Any]:
    """Prepare the upload, and return the request during which the process is killed."""
    begins = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": "killed"}
    if point.route == "begin":
        return sender(process, caller, "/uploads", begins)
    if point.route == "url":
        url = broker.upstream.upload().replace("127.0.0.1", "localhost")
        return sender(process, caller, "/assets", {"url": url, "type": "VIDEO", "name": "killed"})
    upload = caller.land("killed") if point.landed else caller.begin(name="killed")
    if point.lost:
        broker.upstream.order({"kind": "cut"}, *REGISTER)
        assert caller.complete(upload).status_code == 202
    if point.route == "renew":
        broker.clock.advance(1900)
    elif point.route == "sweep":
        broker.clock.advance(61)
        return lambda: process.start(SWEEP_SECONDS="0.1")
    return sender(process, caller, f"/uploads/{upload['id']}/{point.route}")


def sender(
    process: BrokerProcess, caller: Caller, path: str, body: Any = None
) -> Callable[[], Any]:
    """Return a request in the background, which must get no response."""

    def send() -> None:
        headers = {"Authorization": f"Bearer {caller.token}"}
        try:
            requests.post(process.url + path, json=body, headers=headers, timeout=30)
        except requests.ConnectionError:
            return
        raise AssertionError("it responded before it was killed")

    return threading.Thread(target=send).start


@pytest.mark.parametrize("name", KILL_POINTS)
def test_killed_process_loses_nothing(
    broker: FaultyBroker, process: BrokerProcess, name: str
) -> None:
    """Others finish a killed process's work, once, and release its reservations."""
    point, caller = KILL_POINTS[name], Caller(broker)
    request = prepare(broker, process, caller, point)
    process.set_clock(broker)
    when = "after" if point.after else "before"
    if point.route != "sweep":
        process.start()
    if point.delay:
        broker.upstream.order({"kind": "delay", "seconds": 1.2, "when": when}, *point.delay)
        seen = len(broker.upstream.journal())
        request()
        wait_for(lambda: len(broker.upstream.journal()) > seen)
        if point.after:
            # It is killed after Sync's work is done, not while the body is still on the way.
            wait_for(lambda: "delay-after" in broker.upstream.journal()[-1]["outcome"])
    else:
        operation, *contains = point.pause
        rule = broker.dynamodb.order(f"pause-{when}", operation, *contains, lasting=False)
        request()
        wait_for(rule.reached.is_set)
        if point.after:
            wait_for(lambda: rule.carried_out)
    process.kill()
    broker.heal()
    if point.route == "url":
        # Its caller got no response; if the record was written, the sweep continues with it.
        caller.landed_names = {one["name"] for one in caller.uploads()}
    broker.clock.advance(SETTLED)
    for upload in caller.uploads():
        caller.complete(upload)
    assert_settled(broker, [caller])


def test_new_process_finishes_upload(broker: FaultyBroker, process: BrokerProcess) -> None:
    """A new process finishes with its own sweep what a killed one had begun."""
    caller = Caller(broker)
    upload = caller.land("killed")
    process.start()
    broker.upstream.order({"kind": "delay", "seconds": 1, "when": "after"}, *REGISTER)
    sender(process, caller, f"/uploads/{upload['id']}/complete")()
    # The journal lists the POST from its first line on: wait until it is carried out.
    wait_for(lambda: "delay-after" in broker.upstream.journal()[-1]["outcome"])
    process.kill()
    broker.heal()
    broker.clock.advance(SETTLED)
    process.set_clock(broker)
    process.start(SWEEP_SECONDS="0.1")
    wait_for(lambda: caller.status(upload) == "registered")
    assert broker.count_posts() == 1
    process.kill()
    assert_settled(broker, [caller])
