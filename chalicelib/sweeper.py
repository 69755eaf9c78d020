"""Finishes or expires what was left behind: closed tabs, killed processes, lost answers."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING

from chalicelib.core import errors, log
from chalicelib.core.clock import HOUR, MINUTE
from chalicelib.quotas.store import QuotaStore
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import FileNotUploaded, TooManyUnknownUrls
from chalicelib.uploads.items import FILE_SHARDS, URL_SHARD
from chalicelib.uploads.models import Status, Upload, next_look
from chalicelib.uploads.registration import Registration
from chalicelib.uploads.repository import DueUpload, UploadRepository

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WORKERS = 8  # upstream calls at a time
BATCH = 500  # uploads that are found in one shard at a time
CHUNK = 40  # uploads that are read before the first of them is dealt with


@dataclass(frozen=True)
class Sweep:
    """What one run did.

    Attributes:
        found: Uploads that were due.
        settled: Those of which nothing is left to do.
        oldest_seconds: Age of the oldest of them.
    """

    found: int
    settled: int
    oldest_seconds: float

    def plus(self, other: "Sweep") -> "Sweep":
        """Add what was done next."""
        return Sweep(
            self.found + other.found,
            self.settled + other.settled,
            max(self.oldest_seconds, other.oldest_seconds),
        )


@dataclass(frozen=True)
class _Read:
    """A due upload, its age in seconds, and how many registrations it may take."""

    upload: Upload
    age: float
    cost: int


class Sweeper:
    """Looks after each unfinished upload, through the same `complete` that its caller uses.

    Args:
        repository: The records.
        quotas: How much may be registered in a minute.
        registration: Registers.
        now: Milliseconds since 1970.
        per_minute: Registrations that all sweeps together may try in a minute.
    """

    def __init__(
        self,
        repository: UploadRepository,
        quotas: QuotaStore,
        registration: Registration,
        now: Callable[[], int],
        per_minute: int,
    ) -> None:
        self._repository = repository
        self._quotas = quotas
        self._registration = registration
        self._now = now
        self._per_minute = per_minute

    def run(self, seconds: float) -> Sweep:
        """Deal with what is due; what does not fit into the time is left for the next run.

        Args:
            seconds: How long an upload may still be begun with. The longest attempt comes on top.
        """
        # Imported here: what answers browsers never sweeps.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

        ends = time.monotonic() + seconds
        done = Sweep(0, 0, 0.0)
        is_all = True
        with ThreadPoolExecutor(WORKERS) as pool:
            # A public URL may hold a worker until its time-out, so no file waits behind one.
            for shards in (FILE_SHARDS, (URL_SHARD,)):
                some_done, is_all_of_them = self._deal_with_all(shards, pool, ends)
                done, is_all = done.plus(some_done), is_all and is_all_of_them
        if done.found or not is_all:
            log.event(
                "sweep",
                found=done.found,
                settled=done.settled,
                backlog=0 if is_all else self._repository.backlog(self._now()),
                oldestSeconds=done.oldest_seconds,
            )
        return done

    def _deal_with_all(
        self, shards: tuple[str, ...], pool: "ThreadPoolExecutor", ends: float
    ) -> tuple[Sweep, bool]:
        """Deal with what is due in some shards, as far as the cap and the time allow.

        Returns:
            What was done, and whether it was all.
        """
        done = Sweep(0, 0, 0.0)
        seen: set[str] = set()
        while True:
            # The index lags behind the table, so an upload may be read from it again.
            due = [one for one in self._due(shards) if one.id not in seen]
            if not due:
                return done, True
            for start in range(0, len(due), CHUNK):
                if time.monotonic() >= ends:
                    return done, False
                some = due[start : start + CHUNK]
                seen |= {one.id for one in some}
                some_done, is_all = self._deal_with(some, pool, ends)
                done = done.plus(some_done)
                if not is_all:
                    return done, False

    def _due(self, shards: tuple[str, ...]) -> list[DueUpload]:
        """Read some of what is due: each caller's longest due first, then each one's second."""
        now = self._now()
        due = [one for shard in shards for one in self._repository.due(shard, now, BATCH)]
        due.sort(key=lambda one: one.at)
        ranks: Counter[str] = Counter()
        ranked = []
        for one in due:
            ranked.append((ranks[one.owner], one))
            ranks[one.owner] += 1
        return [one for _, one in sorted(ranked, key=itemgetter(0))]

    def _deal_with(
        self, due: list[DueUpload], pool: "ThreadPoolExecutor", ends: float
    ) -> tuple[Sweep, bool]:
        """Deal with some uploads, as far as the cap and the time allow.

        Returns:
            What was done, and whether it was all.
        """
        read = [one for one in pool.map(self._read, due) if one is not None]
        wanted = sum(one.cost for one in read)
        minute = self._now() // MINUTE
        given = self._quotas.allow("sweep", minute, wanted, self._per_minute) if wanted else 0
        spent = list(accumulate(one.cost for one in read))
        chosen = [
            one.upload
            for one, used in zip(read, spent, strict=True)
            if used <= given or not one.cost
        ]
        settled = list(pool.map(lambda one: self._deal(one, ends), chosen))
        oldest = max((one.age for one in read), default=0.0)
        is_all = len(chosen) == len(read) and time.monotonic() < ends
        return Sweep(len(due), sum(settled), oldest), is_all

    def _read(self, due: DueUpload) -> _Read | None:
        """Read an upload; one that can't be read must not stop the others, nor stay the first."""
        read = None
        try:
            upload = self._repository.get(due.id, due.owner)
            if upload is not None:
                # Only what may be registered is under the cap, each address that may be tried.
                is_over = upload.status is Status.FAILED
                cost = 0 if is_over else min(len(upload.untried), self._per_minute)
                read = _Read(upload, (self._now() - upload.created_at) / 1000, cost)
        except errors.BrokerError as error:
            log.event("sweep_refused", uploadId=due.id, code=error.code)
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the others come first
            log.failure("sweep_poisoned", error)
        if read is None:
            self._postpone(due.id, self._now() + HOUR)
        return read

    def _deal(self, upload: Upload, ends: float) -> bool:
        """Deal with one upload; one that is poisoned must not stop the others."""
        if time.monotonic() > ends:
            return False
        try:
            return self._settle(upload)
        except errors.BrokerError as error:
            log.event("sweep_refused", uploadId=upload.id, code=error.code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others come first
            log.failure("sweep_poisoned", error)
            self._postpone(upload.id, self._now() + HOUR)
        return False

    def _postpone(self, upload_id: str, due_at: int) -> None:
        # What can't be pushed back now comes first again, and is pushed back then.
        with suppress(errors.BrokerError):
            self._repository.postpone(upload_id, due_at)

    def _discard(self, upload: Upload) -> bool:
        """Try to delete what is too large; where sync. will not, not at every turn again."""
        try:
            self._registration.discard(upload)
        except sync_errors.UpstreamError as error:
            # Left as it is, it would stay the longest due, and a few of them take the whole cap.
            self._postpone(upload.id, next_look(upload.updated_at, self._now()))
            log.event(
                "asset_not_deleted",
                level=40,
                uploadId=upload.id,
                assetId=upload.discarded,
                code=error.code,
            )
            return False
        return True

    def _settle(self, upload: Upload) -> bool:
        """Try to bring an upload to its end."""
        if upload.due_at is None or upload.due_at > self._now():
            return False  # somebody else was here after the index was read
        if upload.status not in {Status.PENDING, Status.REGISTERING}:
            return self._discard(upload)
        try:
            outcome = self._registration.complete(upload.owner, upload.id)
        except (errors.RateLimited, TooManyUnknownUrls) as error:
            # Left as it is, it would be the first again and keep its caller's others waiting.
            self._postpone(upload.id, self._now() + int((error.retry_after or 0) * 1000))
            raise
        except FileNotUploaded:
            ends_at, now = upload.ends_at, self._now()
            is_expired = now > ends_at and self._repository.expire(upload, ends_at, now).granted
            if is_expired:
                log.moved(upload.id, Status.EXPIRED)
            return is_expired
        except errors.RequestError:
            return True
        is_registered = outcome.upload.status is Status.REGISTERED
        if is_registered:
            log.event("upload_recovered", uploadId=upload.id)
        return is_registered
