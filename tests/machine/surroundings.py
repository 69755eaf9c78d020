"""What the state machine drives: real DynamoDB and HTTP around brokers that it builds itself."""

import io
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import requests
from botocore.config import Config

from chalicelib.auth.caller import Caller
from chalicelib.aws import codec
from chalicelib.aws.due_index import DueIndex
from chalicelib.aws.secrets import fixed
from chalicelib.aws.table import Table
from chalicelib.core import log
from chalicelib.core.clock import Clock
from chalicelib.idempotency import IdempotencyRecords
from chalicelib.jobs.sweeper import Sweeper
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.store import QuotaStore
from chalicelib.ratelimit.limiter import Line
from chalicelib.ratelimit.policy import Budget
from chalicelib.ratelimit.registrations import RegistrationLimiter
from chalicelib.syncapi.client import SyncClient, Timeouts
from chalicelib.uploads import items, recovery
from chalicelib.uploads.items import FILE_SHARDS, URL_SHARD
from chalicelib.uploads.models import Upload
from chalicelib.uploads.recovery import UploadRecovery
from chalicelib.uploads.registration import Registration
from chalicelib.uploads.repository import UploadRepository
from chalicelib.uploads.service import UploadService
from ops import table
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.upstream_process import KEY, RunningUpstream

SHORT = Timeouts(presign=1.5, register=1.5, lookup=2.0)
LONGER_THAN_SHORT = 1.7  # seconds
WINDOW = 86_400_000  # milliseconds
PRESIGNS = 3000  # a minute: more than any run makes
REGISTRATIONS = 3000  # a minute, as above
SETTLE_SECONDS = 90
_MADE = re.compile(r"\basset ([0-9a-f-]{36})")
_DELETED = re.compile(r"\bdeleted ([0-9a-f-]{36})")


class Surroundings:
    """The processes, started once: a DynamoDB emulator and the sandbox's upstream."""

    def __init__(self, folder: Path) -> None:
        self._emulator = RunningDynamoDB(folder)
        self.upstream = RunningUpstream(folder / "upstream")
        self.client = boto3.client(
            "dynamodb",
            endpoint_url=self._emulator.url,
            region_name="us-east-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
            config=Config(proxies={}, max_pool_connections=32, retries={"total_max_attempts": 3}),
        )
        self.sync = tuple(
            SyncClient(self.upstream.url, fixed(KEY, Clock()), Clock(), SHORT) for _ in range(2)
        )
        self.session = requests.Session()
        self.session.trust_env = False

    def stop(self) -> None:
        """Stop them."""
        self.session.close()
        assert self.upstream.stop() == 0
        self._emulator.stop()
        self.client.close()


@dataclass(frozen=True)
class Parts:
    """A broker's objects, as `bootstrap.build` makes them."""

    repository: UploadRepository
    quotas: QuotaStore
    uploads: UploadService
    sweeper: Sweeper


@dataclass
class Snapshot:
    """All that is there after a step.

    Attributes:
        items: Every item of the table by its key, as plain values.
        uploads: The uploads among them by their id.
        made: Every asset that sync. ever made, and its address (None: it was deleted at once).
        deleted: Those of them that were deleted.
    """

    items: dict[str, dict[str, Any]]
    uploads: dict[str, Upload]
    made: dict[str, str | None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def assets_at(self, *addresses: str) -> set[str]:
        """Name the assets that were ever made of these addresses."""
        return {asset for asset, url in self.made.items() if url in addresses}

    def assets_of(self, upload: Upload) -> set[str]:
        """Name the assets that were ever made of a file."""
        mine = self.assets_at(*upload.urls)
        # The claim tells whose an asset was that is gone before anybody saw its address.
        for asset, url in self.made.items():
            claim = self.items.get(f"claim#{asset}", {})
            if url is None and upload.id in claim.get("owners", ()):
                mine.add(asset)
        return mine


class _RunClock(Clock):
    """One broker's clock in a run.

    Args:
        world: The run.
        broker: The broker's number.
    """

    def __init__(self, world: "World", broker: int) -> None:
        self._world = world
        self._broker = broker

    def now(self) -> int:
        """Return the time."""
        return self._world.now(self._broker)

    def sleep(self, seconds: float) -> None:
        """Wait for nobody: conflicts need two writers at one moment."""


class World:
    """One run's table, clock, callers and brokers.

    Args:
        around: The processes.
    """

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.upstream = around.upstream
        self.table = f"run-{secrets.token_hex(6)}"
        around.client.create_table(**table.definition(self.table))
        self.upstream.call("POST", "/_sandbox/reset")
        self.upstream.behave(presignsPerMinute=1_000_000)
        self.begun = int(time.time())
        self.ahead = 0.0
        self.skew = 0  # seconds that the second broker's clock is ahead
        self.drift = 0  # seconds that sync.'s clock is ahead
        self.asset_url = "same"
        self.log = io.StringIO()
        log.configure("INFO", self.log)
        self.callers = tuple(
            Caller(f"{number:032x}", Limits(most, ("*/*",), frozenset(), 1000, 100_000, None))
            for number, most in enumerate((10, 10, 100))
        )
        self.admin = self.parts(0, lambda target: target)
        self._made: dict[str, str | None] = {}

    def close(self) -> None:
        """Forget the run."""
        self.around.client.delete_table(TableName=self.table)

    def now(self, broker: int = 0) -> int:
        """Return milliseconds since 1970 by a broker's clock. It moves only when a rule says so."""
        return int((self.begun + self.ahead + (self.skew if broker else 0)) * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.ahead += seconds
        self.set_upstream_clock()

    def set_upstream_clock(self) -> None:
        """Let sync. live at the time of the run, give or take its drift."""
        skew = self.begun + self.ahead + self.drift - time.time()
        self.upstream.behave(clockSkewSeconds=round(skew, 3))

    def parts(self, broker: int, gate: Callable[[object], Any]) -> Parts:
        """Build a broker whose calls to DynamoDB and sync. pass through gates."""
        clock = _RunClock(self, broker)
        reached = Table(gate(self.around.client), self.table, clock)
        repository, quotas = UploadRepository(reached), QuotaStore(reached, clock)
        sync = gate(self.around.sync[broker])
        limiter = RegistrationLimiter(reached, REGISTRATIONS, clock)
        registration = Registration(repository, sync, limiter, clock, SETTLE_SECONDS)
        keys = IdempotencyRecords(reached, clock)
        line = Line(reached, Budget(PRESIGNS, 300_000), clock)
        uploads = UploadService(
            repository, quotas, keys, line, sync, registration, limiter, clock, (), WINDOW
        )
        index = DueIndex(reached)
        kinds = {recovery.KIND: UploadRecovery(repository, index, registration, clock, 10_000).task}
        sweeper = Sweeper(index, kinds, (FILE_SHARDS, (URL_SHARD,)), quotas, clock, 10_000)
        return Parts(repository, quotas, uploads, sweeper)

    def look(self) -> Snapshot:
        """Read everything, past all faults."""
        found: dict[str, dict[str, Any]] = {}
        uploads: dict[str, Upload] = {}
        answer = self.around.client.scan(TableName=self.table, ConsistentRead=True)
        assert "LastEvaluatedKey" not in answer, "a run stays within one page"
        for item in answer["Items"]:
            plain = codec.plain(item)
            found[plain["pk"]] = plain
            if plain["pk"].startswith("upload#"):
                uploads[plain["id"]] = items.to_upload(item)
        outcomes = [one["outcome"] for one in self._journal()]
        made = [match[1] for one in outcomes if (match := _MADE.search(one))]
        self._learn([one for one in dict.fromkeys(made) if one not in self._made])
        deleted = {match[1] for one in outcomes if (match := _DELETED.search(one))}
        return Snapshot(found, uploads, dict(self._made), deleted)

    def fresh(self, upload_id: str) -> Upload:
        """Read an upload past all gates."""
        key = codec.key(f"upload#{upload_id}")
        answer = self.around.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return items.to_upload(answer["Item"])

    def _journal(self) -> list[dict[str, Any]]:
        # One connection for all: this is what each step asks for.
        answer = self.around.session.get(f"{self.upstream.url}/_sandbox/requests", timeout=30)
        entries: list[dict[str, Any]] = answer.json()
        return entries

    def _learn(self, assets: list[str]) -> None:
        """Ask for the addresses of new assets, whatever sync. shows to others."""
        if not assets:
            return
        if self.asset_url != "same":
            self.upstream.behave(assetUrl="same")
        shown = self.upstream.call("POST", "/v2/assets/batch", json={"ids": assets}).json()
        if self.asset_url != "same":
            self.upstream.behave(assetUrl=self.asset_url)
        addresses = {asset["id"]: asset["url"] for asset in shown}
        self._made |= {asset: addresses.get(asset) for asset in assets}

    def wait_for_slow_put(self, url: str) -> None:
        """Wait until storage has checked the address of a PUT that has begun."""
        path, deadline = urlsplit(url).path, time.monotonic() + 5
        while not any(path == one["path"] for one in self._journal()):
            assert time.monotonic() < deadline, "the PUT did not arrive"
            time.sleep(0.01)

    def wait_until_idle(self) -> None:
        """Wait until sync. has done all that it was asked, though nobody waits for the answer."""
        while any(_runs(one) for one in self._journal()):
            time.sleep(0.05)


def _runs(entry: dict[str, Any]) -> bool:
    """Say whether a call may still be carried out; one whose client left may stay open for ever."""
    is_open = entry["status"] is None and "cut" not in entry["outcome"]
    is_recent = time.time() - entry["time"] < 2 * LONGER_THAN_SHORT
    return is_open and is_recent and entry["path"].startswith("/v2/")
