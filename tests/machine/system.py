"""The system under test: real DynamoDB and HTTP, and brokers that the state machine builds."""

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
from chalicelib.core.clock import MINUTE, Clock
from chalicelib.idempotency import IdempotencyRecords
from chalicelib.jobs.sweeper import Sweeper
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.store import QuotaStore
from chalicelib.ratelimit.limiter import RateLimiter
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
PER_MINUTE = 300  # presigns and registrations: more than any run makes
SETTLE_SECONDS = 90
_MADE = re.compile(r"\basset ([0-9a-f-]{36})")
_DELETED = re.compile(r"\bdeleted ([0-9a-f-]{36})")


class Services:
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
    """The state of the whole system after a step.

    Attributes:
        items: The table's items by their keys, as plain values.
        uploads: The uploads among them by their ids.
        made: Every asset that Sync ever made, and its URL (None: it was deleted at once).
        deleted: The deleted ones among them.
    """

    items: dict[str, dict[str, Any]]
    uploads: dict[str, Upload]
    made: dict[str, str | None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def assets_at(self, *urls: str) -> set[str]:
        """Return the assets that were ever made of these URLs."""
        return {asset for asset, url in self.made.items() if url in urls}

    def assets_of(self, upload: Upload) -> set[str]:
        """Return the assets that were ever made of an upload's file."""
        mine = self.assets_at(*upload.urls)
        # If an asset was deleted before a snapshot saw its URL, its owners decide.
        for asset, url in self.made.items():
            claim = self.items.get(f"claim#{asset}", {})
            if url is None and upload.id in claim.get("owners", ()):
                mine.add(asset)
        return mine


class _RunClock(Clock):
    """One broker's clock in a run.

    Args:
        system: The run's system.
        broker: The broker's number.
    """

    def __init__(self, system: "System", broker: int) -> None:
        self._system = system
        self._broker = broker

    def now(self) -> int:
        """Return the time."""
        return self._system.now(self._broker)

    def sleep(self, seconds: float) -> None:
        """Return at once: conflicts need two writers at the same time, and here only one runs."""


class System:
    """One run's table, clock, callers and brokers.

    Args:
        services: The processes.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.upstream = services.upstream
        self.table = f"run-{secrets.token_hex(6)}"
        services.client.create_table(**table.definition(self.table))
        self.upstream.call("POST", "/_sandbox/reset")
        self.upstream.behave(presignsPerMinute=1_000_000)
        self.begun = int(time.time())
        self.ahead = 0.0
        self.skew = 0  # seconds by which the second broker's clock is ahead
        self.drift = 0  # seconds by which Sync's clock is ahead
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
        """Delete the run's table."""
        self.services.client.delete_table(TableName=self.table)

    def now(self, broker: int = 0) -> int:
        """Return milliseconds since 1970 by a broker's clock. It advances only by `advance`."""
        return int((self.begun + self.ahead + (self.skew if broker else 0)) * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.ahead += seconds
        self.set_upstream_clock()

    def set_upstream_clock(self) -> None:
        """Set Sync's clock to the run's time plus its drift."""
        skew = self.begun + self.ahead + self.drift - time.time()
        self.upstream.behave(clockSkewSeconds=round(skew, 3))

    def parts(self, broker: int, intercept: Callable[[object], Any]) -> Parts:
        """Build a broker whose calls to DynamoDB and Sync pass through interceptors."""
        clock = _RunClock(self, broker)
        reached = Table(intercept(self.services.client), self.table, clock)
        repository, quotas = UploadRepository(reached), QuotaStore(reached, clock)
        sync = intercept(self.services.sync[broker])
        presigns, registrations = (
            RateLimiter(reached, clock, name, PER_MINUTE, MINUTE, busy="Much is asked.")
            for name in ("presigns", "registrations")
        )
        registration = Registration(repository, sync, registrations, clock, SETTLE_SECONDS)
        idempotency = IdempotencyRecords(reached, clock)
        uploads = UploadService(
            repository,
            quotas,
            idempotency,
            presigns,
            sync,
            registration,
            registrations,
            clock,
            (),
            WINDOW,
        )
        index = DueIndex(reached)
        kinds = {recovery.KIND: UploadRecovery(repository, index, registration, clock, 10_000).task}
        sweeper = Sweeper(
            index, kinds, (FILE_SHARDS, (URL_SHARD,)), quotas, clock, 10_000, lambda: False
        )
        return Parts(repository, quotas, uploads, sweeper)

    def snapshot(self) -> Snapshot:
        """Read everything, past all faults."""
        found: dict[str, dict[str, Any]] = {}
        uploads: dict[str, Upload] = {}
        response = self.services.client.scan(TableName=self.table, ConsistentRead=True)
        assert "LastEvaluatedKey" not in response, "a run stays within one page"
        for item in response["Items"]:
            plain = codec.plain(item)
            found[plain["pk"]] = plain
            if plain["pk"].startswith("upload#"):
                uploads[plain["id"]] = items.to_upload(item)
        outcomes = [one["outcome"] for one in self._journal()]
        made = [match[1] for one in outcomes if (match := _MADE.search(one))]
        self._record_urls([one for one in dict.fromkeys(made) if one not in self._made])
        deleted = {match[1] for one in outcomes if (match := _DELETED.search(one))}
        return Snapshot(found, uploads, dict(self._made), deleted)

    def read_upload(self, upload_id: str) -> Upload:
        """Read an upload, past all interceptors."""
        key = codec.key(f"upload#{upload_id}")
        response = self.services.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return items.to_upload(response["Item"])

    def _journal(self) -> list[dict[str, Any]]:
        # One connection for all requests, because each step reads the journal.
        response = self.services.session.get(f"{self.upstream.url}/_sandbox/requests", timeout=30)
        entries: list[dict[str, Any]] = response.json()
        return entries

    def _record_urls(self, assets: list[str]) -> None:
        """Record the URLs of new assets, whatever Sync shows to others."""
        if not assets:
            return
        if self.asset_url != "same":
            self.upstream.behave(assetUrl="same")
        shown = self.upstream.call("POST", "/v2/assets/batch", json={"ids": assets}).json()
        if self.asset_url != "same":
            self.upstream.behave(assetUrl=self.asset_url)
        urls = {asset["id"]: asset["url"] for asset in shown}
        self._made |= {asset: urls.get(asset) for asset in assets}

    def wait_for_slow_put(self, url: str) -> None:
        """Wait until storage has checked the upload URL of a PUT that has begun."""
        path, deadline = urlsplit(url).path, time.monotonic() + 5
        while not any(path == one["path"] for one in self._journal()):
            assert time.monotonic() < deadline, "the PUT did not arrive"
            time.sleep(0.01)

    def wait_until_idle(self) -> None:
        """Wait until Sync has finished every request, also those whose client left."""
        while any(_is_running(one) for one in self._journal()):
            time.sleep(0.05)


def _is_running(entry: dict[str, Any]) -> bool:
    """Whether a call may still be carried out; one whose client left may stay open for ever."""
    is_open = entry["status"] is None and "cut" not in entry["outcome"]
    is_recent = time.time() - entry["time"] < 2 * LONGER_THAN_SHORT
    return is_open and is_recent and entry["path"].startswith("/v2/")
