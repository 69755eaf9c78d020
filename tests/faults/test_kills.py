"""A broker's process is killed at every step, and another one goes on."""

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

from tests.faults.stand import (
    LOOK,
    PRESIGN,
    REGISTER,
    SETTLED,
    Caller,
    Stand,
    assert_settled,
    wait_for,
)
from tests.support.upstream_process import ROOT, free_port

UPDATE, TRANSACT = "UpdateItem", "TransactWriteItems"


class Victim:
    """A broker process that shares everything with the one in this process."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self.clock = folder / "clock"
        self.tell_time(stand)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        environment = stand.environment(
            stand.upstream, PUBLIC_URL_EXCEPTIONS=f"http://localhost:{stand.upstream.port}"
        )
        self._environment = {
            **os.environ,
            **environment,
            "BROKER_PORT": str(self.port),
            "CLOCK_FILE": str(self.clock),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "faults" / "broker_process.py")],
                cwd=ROOT,
                env={**self._environment, **more},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def tell_time(self, stand: Stand) -> None:
        """Let its clock show what the other broker's shows."""
        self.clock.write_text(str(stand.clock.ahead))

    def kill(self) -> None:
        """Give it no chance to tidy up."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process = None


@pytest.fixture
def victim(stand: Stand, tmp_path: Path) -> Iterator[Victim]:
    """A broker to be killed."""
    victim = Victim(stand, tmp_path)
    yield victim
    victim.kill()


@dataclass(frozen=True)
class Point:
    """Where the process is killed.

    Attributes:
        route: What it was asked: `begin`, `complete`, `url`, `renew`, or `sweep` for nothing.
        pause: The call to DynamoDB, with what tells it from others, at which it stands.
        delay: The call to sync. at which it stands.
        after: Whether the call has been carried out when it is killed.
        landed: Whether the bytes are there.
        lost: Whether an earlier registration is of unknown outcome.
    """

    route: str
    pause: tuple[str, ...] = ()
    delay: tuple[str, str] | None = None
    after: bool = False
    landed: bool = True
    lost: bool = False


def _points() -> dict[str, Point]:
    pauses: dict[str, tuple[str, tuple[str, ...]]] = {
        "begin-reserve": ("begin", (UPDATE, "not_exists(#place)")),
        "begin-write": ("begin", (TRANSACT, "creating#")),
        "complete-lease": ("complete", (UPDATE, ":pending")),
        "complete-record": ("complete", (TRANSACT, "claim#")),
        "url-reserve": ("url", (UPDATE, "not_exists(#place)")),
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
    found: dict[str, Point] = {}
    for is_after in (False, True):
        when = "after" if is_after else "before"
        for name, (route, pause) in pauses.items():
            found[f"{when}-{name}"] = Point(route, pause=pause, after=is_after)
        for name, (route, delay) in delays.items():
            found[f"{when}-{name}"] = Point(route, delay=delay, after=is_after)
        found[f"{when}-reopen"] = Point("complete", unfinished, after=is_after, landed=False)
        found[f"{when}-release"] = Point("complete", unfinished, after=is_after, lost=True)
        found[f"{when}-look-lease"] = Point(
            "complete", (UPDATE, "#lease_until <"), after=is_after, lost=True
        )
    found["look"] = Point("complete", delay=LOOK, lost=True)
    return found


POINTS = _points()


def ask(stand: Stand, victim: Victim, caller: Caller, point: Point) -> Callable[[], Any]:
    """Prepare what the process is to be killed in, and return its request."""
    begins = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": "killed"}
    if point.route == "begin":
        return sender(victim, caller, "/uploads", begins)
    if point.route == "url":
        url = stand.upstream.upload().replace("127.0.0.1", "localhost")
        return sender(victim, caller, "/assets", {"url": url, "type": "VIDEO", "name": "killed"})
    upload = caller.land("killed") if point.landed else caller.begin(name="killed")
    if point.lost:
        stand.upstream.order({"kind": "cut"}, *REGISTER)
        assert caller.complete(upload).status_code == 202
    if point.route == "renew":
        stand.clock.advance(1900)
    elif point.route == "sweep":
        stand.clock.advance(61)
        return lambda: victim.start(SWEEP_SECONDS="0.1")
    return sender(victim, caller, f"/uploads/{upload['id']}/{point.route}")


def sender(victim: Victim, caller: Caller, path: str, body: Any = None) -> Callable[[], Any]:
    """Make a request in the background, whose answer never comes."""

    def send() -> None:
        headers = {"Authorization": f"Bearer {caller.token}"}
        try:
            requests.post(victim.url + path, json=body, headers=headers, timeout=30)
        except requests.ConnectionError:
            return
        raise AssertionError("it answered before it was killed")

    return threading.Thread(target=send).start


@pytest.mark.parametrize("name", POINTS)
def test_killed(stand: Stand, victim: Victim, name: str) -> None:
    """What a killed process leaves is finished by others, once, and no place is lost."""
    point, caller = POINTS[name], Caller(stand)
    request = ask(stand, victim, caller, point)
    victim.tell_time(stand)
    when = "after" if point.after else "before"
    if point.route != "sweep":
        victim.start()
    if point.delay:
        stand.upstream.order({"kind": "delay", "seconds": 1.2, "when": when}, *point.delay)
        seen = len(stand.upstream.journal())
        request()
        wait_for(lambda: len(stand.upstream.journal()) > seen)
        if point.after:
            # It is killed with its work done, not while the body is still on the way.
            wait_for(lambda: "delay-after" in stand.upstream.journal()[-1]["outcome"])
    else:
        operation, *holding = point.pause
        rule = stand.dynamodb.order(f"pause-{when}", operation, *holding, lasting=False)
        request()
        wait_for(rule.reached.is_set)
        if point.after:
            wait_for(lambda: rule.carried_out)
    victim.kill()
    stand.heal()
    if point.route == "url":
        # Its caller got no answer; where the record was written, the sweep goes on with it.
        caller.landed_names = {one["name"] for one in caller.uploads()}
    stand.clock.advance(SETTLED)
    for upload in caller.uploads():
        caller.complete(upload)
    assert_settled(stand, [caller])


def test_new_process(stand: Stand, victim: Victim) -> None:
    """A new process finishes with its own sweep what a killed one had begun."""
    caller = Caller(stand)
    upload = caller.land("killed")
    victim.start()
    stand.upstream.order({"kind": "delay", "seconds": 1, "when": "after"}, *REGISTER)
    sender(victim, caller, f"/uploads/{upload['id']}/complete")()
    # The POST counts as one from its first line on: wait until it is carried out.
    wait_for(lambda: "delay-after" in stand.upstream.journal()[-1]["outcome"])
    victim.kill()
    stand.heal()
    stand.clock.advance(SETTLED)
    victim.tell_time(stand)
    victim.start(SWEEP_SECONDS="0.1")
    wait_for(lambda: caller.status(upload) == "registered")
    assert stand.posts() == 1
    victim.kill()
    assert_settled(stand, [caller])
