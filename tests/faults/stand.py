"""A broker with trouble around it, and what must hold when the trouble is over."""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.core import log
from ops import table
from tests.support.clocks import MovableClock
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import SHORT, Api, RunningBroker
from tests.support.upstream_process import KEY, RunningUpstream

PRESIGN = ("POST", "/v2/assets/upload")
REGISTER = ("POST", "/v2/assets")
LOOK = ("GET", "/v2/assets")
SETTLED = 200  # seconds after which a lost registration can't be carried out any more
DAY = 100_000  # seconds after which every address has expired, and its grace is over
NOWHERE = "http://127.0.0.1:1"


class Stand(RunningBroker):
    """The broker behind the local gateway, between a faulty DynamoDB and a faulty sync."""

    upstream: RunningUpstream
    dynamodb: FaultyDynamoDB
    timeouts = SHORT
    _calls = ""
    _tables = 0
    _client: Any = None

    def renew(self) -> None:
        """Start anew: the real time, an empty log, and a sync. that is empty and in order."""
        self.dynamodb.heal()
        self.upstream.call("POST", "/_sandbox/reset")
        self.upstream.behave(presignsPerMinute=1_000_000)
        self.clock = MovableClock()
        self.log = io.StringIO()
        # What an earlier test left behind must not be due here.
        Stand._tables += 1
        self.table = f"uploads-in-trouble-{Stand._tables}"
        if self._client is None:
            self._client = clients.dynamodb()
        table.create(self._client, self.table)
        self.point()

    def point(self, base_url: str | None = None) -> None:
        """Put a new container in place that calls sync. at an address; its clock runs on."""
        self._calls = base_url or self.upstream.url
        environment = self.environment(
            self.upstream,
            SYNC_BASE_URL=self._calls,
            PUBLIC_URL_EXCEPTIONS=f"http://localhost:{self.upstream.port}",
            SWEEP_REGISTERS_PER_MINUTE="10000",
        )
        bootstrap.use(bootstrap.build(environment, clock=self.clock, timeouts=self.timeouts))
        log.configure("INFO", self.log)

    def wait_until_quiet(self) -> None:
        """Wait until sync. has carried out what it was asked for, also what nobody waits for."""
        wait_for(lambda: not any(map(unfinished, self.upstream.journal())))

    def heal(self) -> None:
        """End all trouble."""
        self.upstream.call("DELETE", "/_sandbox/faults")
        self.dynamodb.heal()
        wait_for(lambda: self.dynamodb.busy == 0)
        self.wait_until_quiet()
        if self._calls != self.upstream.url:
            self.point()

    def sweep_all(self, pause: float = 90, idle: int = 2) -> None:
        """Let time pass and sweep, until some sweeps in a row have found nothing to do."""
        found_nothing = 0
        while found_nothing < idle:
            self.clock.advance(pause)
            found_nothing = 0 if self.sweep().found else found_nothing + 1

    def finish(self) -> dict[str | None, list[str]]:
        """Let every upload's time pass and sweep; give the ids of all assets by their names."""
        self.clock.advance(DAY)
        self.sweep_all(pause=4000, idle=1)  # longer than the longest pause between two looks
        made: dict[str | None, list[str]] = {}
        for asset in self.assets():
            made.setdefault(asset["name"], []).append(asset["id"])
        return made

    def posts(self) -> int:
        """Count the registrations that reached sync."""
        calls = [(one["method"], one["path"]) for one in self.upstream.journal()]
        return calls.count(REGISTER)

    def assets(self) -> list[dict[str, Any]]:
        """List all that sync. holds, newest first."""
        found: list[dict[str, Any]] = []
        query = {"limit": "100"}
        while True:
            page = self.upstream.call("GET", "/v2/assets", params=query).json()
            found += page["items"]
            if not page.get("nextCursor"):
                return found
            query["cursor"] = page["nextCursor"]


class Caller(Api):
    """A caller who gives each upload a name of its own, and to whom the key must never show."""

    def __init__(self, stand: RunningBroker, subject: str | None = None) -> None:
        super().__init__(stand, subject)
        self.landed_names: set[str] = set()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request, and look for the key in its answer."""
        answer = super().call(method, path, **arguments)
        assert KEY not in answer.text
        assert KEY not in str(answer.headers)
        return answer

    def land(self, name: str) -> dict[str, Any]:
        """Begin an upload and PUT its bytes."""
        upload = self.landed(name=name)
        self.landed_names.add(name)
        return upload

    def post_url(self, url: str, name: str) -> requests.Response:
        """Register a public URL."""
        return self.call("POST", "/assets", json={"url": url, "type": "VIDEO", "name": name})

    def status(self, upload: dict[str, Any]) -> str:
        """Read where an upload stands."""
        found: str = self.call("GET", f"/uploads/{upload['id']}").json()["status"]
        return found

    def places_left(self) -> int:
        """Read how many more uploads may be open."""
        left: int = self.call("GET", "/limits").json()["openUploads"]["left"]
        return left

    def uploads(self) -> list[dict[str, Any]]:
        """List all uploads."""
        found: list[dict[str, Any]] = []
        path = "/uploads?limit=100"
        while True:
            page = self.call("GET", path).json()
            found += page["items"]
            if "nextCursor" not in page:
                return found
            path = f"/uploads?limit=100&cursor={page['nextCursor']}"


def unfinished(entry: Mapping[str, Any]) -> bool:
    """Say whether sync. is still at a request, as its journal tells."""
    waits = ("in progress", "delay-before", "delay-after")
    return entry["status"] is None and entry["outcome"].endswith(waits)


def wait_for(happened: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def assert_settled(stand: Stand, callers: Iterable[Caller]) -> None:
    """Hold the rules: what landed has one asset, recorded; nothing else has one; no place is lost.

    Bytes that never landed are given up first, by letting their time pass.
    """
    made = stand.finish()
    known = {name for caller in callers for name in assert_own_settled(caller, made)}
    assert set(made) <= known, "an asset that no upload stands for"
    assert KEY not in stand.log.getvalue()


def assert_own_settled(caller: Caller, made: Mapping[str | None, list[str]]) -> set[str | None]:
    """Hold the rules for one caller, and name all of the uploads.

    Args:
        caller: The caller.
        made: The ids of the assets that sync. holds, by their names.
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
    if caller.places_left() != 1000:
        # What a killed request had reserved is given back by the caller's next request.
        last = caller.begin()
        assert caller.call("DELETE", f"/uploads/{last['id']}").status_code == 204
        assert caller.places_left() == 1000
    return known
