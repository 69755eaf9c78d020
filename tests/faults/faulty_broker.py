"""A broker between a failing DynamoDB and a failing Sync, and what must hold after the faults."""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import requests

from chalicelib import bootstrap
from chalicelib.core import log
from chalicelib.syncapi.breaker import PAUSE_SECONDS
from chalicelib.syncapi.client import Timeouts
from ops import table
from tests.support.clocks import MovableClock
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import LONG, Api, RunningBroker
from tests.support.upstream_process import KEY, RunningUpstream

PRESIGN = ("POST", "/v2/assets/upload")
REGISTER = ("POST", "/v2/assets")
LIST = ("GET", "/v2/assets")
SETTLED = 200  # seconds after which Sync no longer carries out an unanswered registration
DAY = 100_000  # seconds after which every upload URL and its grace period have expired
NOWHERE = "http://127.0.0.1:1"


class FaultyBroker(RunningBroker):
    """The broker behind the local gateway, between a faulty DynamoDB and a faulty Sync."""

    upstream: RunningUpstream
    dynamodb: FaultyDynamoDB
    timeouts: Timeouts
    _sync_url = ""
    _tables = 0

    def reset(self) -> None:
        """Start over: the real time, an empty log, and a Sync that is empty and works."""
        self.dynamodb.heal()
        self.upstream.call("POST", "/_sandbox/reset")
        self.upstream.behave(presignsPerMinute=1_000_000)
        self.clock = MovableClock()
        self.timeouts = LONG
        self.log = io.StringIO()
        # Due work of an earlier test must not be found here.
        FaultyBroker._tables += 1
        self.table = f"uploads-with-faults-{FaultyBroker._tables}"
        table.create(self._client, self.table)
        self.start_container()

    def start_container(self, base_url: str | None = None) -> None:
        """Start a new container that calls Sync at a URL; its clock continues."""
        self._sync_url = base_url or self.upstream.url
        environment = self.environment(
            self.upstream,
            SYNC_BASE_URL=self._sync_url,
            PUBLIC_URL_EXCEPTIONS=f"http://localhost:{self.upstream.port}",
            SWEEP_REGISTERS_PER_MINUTE="10000",
        )
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=self.timeouts))
        log.configure("INFO", self.log)

    def wait_until_quiet(self) -> None:
        """Wait until Sync has finished every request, also those whose client left."""
        wait_for(lambda: not any(map(is_in_progress, self.upstream.journal())))

    def heal(self) -> None:
        """End all faults, and let the circuit breaker's pause pass."""
        self.clock.advance(PAUSE_SECONDS)
        self.upstream.call("DELETE", "/_sandbox/faults")
        self.dynamodb.heal()
        wait_for(lambda: self.dynamodb.busy == 0)
        self.wait_until_quiet()
        if self._sync_url != self.upstream.url:
            self.start_container()

    def sweep_all(self, pause: float = 90, idle: int = 2) -> None:
        """Advance the clock and sweep, until some sweeps in a row have found nothing to do."""
        found_nothing = 0
        while found_nothing < idle:
            self.clock.advance(pause)
            found_nothing = 0 if self.sweep().found else found_nothing + 1

    def finish(self) -> dict[str | None, list[str]]:
        """Let every upload expire and sweep; return the ids of all assets by their names."""
        self.clock.advance(DAY)
        self.sweep_all(pause=4000, idle=1)  # longer than the longest pause between two attempts
        made: dict[str | None, list[str]] = {}
        for asset in self.assets():
            made.setdefault(asset["name"], []).append(asset["id"])
        return made

    def count_posts(self) -> int:
        """Return how many registrations reached Sync."""
        calls = [(one["method"], one["path"]) for one in self.upstream.journal()]
        return calls.count(REGISTER)

    def assets(self) -> list[dict[str, Any]]:
        """Return all assets at Sync, newest first."""
        found: list[dict[str, Any]] = []
        query = {"limit": "100"}
        while True:
            page = self.upstream.call("GET", "/v2/assets", params=query).json()
            found += page["items"]
            if not page.get("nextCursor"):
                return found
            query["cursor"] = page["nextCursor"]


class Caller(Api):
    """A caller who gives each upload its own name, and whose responses must never show the key."""

    def __init__(self, broker: RunningBroker, subject: str | None = None) -> None:
        super().__init__(broker, subject)
        self.landed_names: set[str] = set()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request, and check that the key is not in its response."""
        response = super().call(method, path, **arguments)
        assert KEY not in response.text
        assert KEY not in str(response.headers)
        return response

    def land(self, name: str) -> dict[str, Any]:
        """Begin an upload and PUT its bytes."""
        upload = self.landed(name=name)
        self.landed_names.add(name)
        return upload

    def post_url(self, url: str, name: str) -> requests.Response:
        """Register a public URL."""
        return self.call("POST", "/assets", json={"url": url, "type": "VIDEO", "name": name})

    def status(self, upload: dict[str, Any]) -> str:
        """Return an upload's status."""
        found: str = self.call("GET", f"/uploads/{upload['id']}").json()["status"]
        return found

    def uploads_left(self) -> int:
        """Return how many more uploads may be open."""
        left: int = self.call("GET", "/limits").json()["openUploads"]["left"]
        return left

    def uploads(self) -> list[dict[str, Any]]:
        """Return all uploads."""
        found: list[dict[str, Any]] = []
        path = "/uploads?limit=100"
        while True:
            page = self.call("GET", path).json()
            found += page["items"]
            if "nextCursor" not in page:
                return found
            path = f"/uploads?limit=100&cursor={page['nextCursor']}"


def is_in_progress(entry: Mapping[str, Any]) -> bool:
    """Whether Sync is still at work on a request, by its journal."""
    waits = ("in progress", "delay-before", "delay-after")
    return entry["status"] is None and entry["outcome"].endswith(waits)


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def assert_settled(broker: FaultyBroker, callers: Iterable[Caller]) -> None:
    """Assert that each landed file has one recorded asset, nothing else has one, no quota leaks.

    Files that never landed expire first.
    """
    made = broker.finish()
    known = {name for caller in callers for name in assert_own_settled(caller, made)}
    assert set(made) <= known, "an asset that belongs to no upload"
    assert KEY not in broker.log.getvalue()


def assert_own_settled(caller: Caller, made: Mapping[str | None, list[str]]) -> set[str | None]:
    """Check one caller's uploads, and return the names of all of them.

    Args:
        caller: The caller.
        made: The ids of the assets at Sync, by their names.
    """
    known: set[str | None] = set()
    for upload in caller.uploads():
        known.add(upload["name"])
        if upload["name"] in caller.landed_names:
            assert upload["status"] == "registered", upload
            assert made.get(upload["name"]) == [upload["asset"]["id"]], upload
            assert caller.complete(upload).json() == upload
        else:
            assert upload["status"] in {"expired", "cancelled", "failed"}, upload
            assert upload["name"] not in made, upload
    assert caller.landed_names <= known, "an upload is lost"
    if caller.uploads_left() != 1000:
        # The caller's next request releases what a killed request had reserved.
        last = caller.begin()
        assert caller.call("DELETE", f"/uploads/{last['id']}").status_code == 204
        assert caller.uploads_left() == 1000
    return known
