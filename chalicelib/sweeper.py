"""Finishes or expires what was left behind: closed tabs, killed processes, lost answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib import errors, observability
from chalicelib.items import DUE_SHARDS
from chalicelib.ports import Due, Ledger, Store
from chalicelib.registration import Registration
from chalicelib.uploads import HOUR, MINUTE, Status, Upload, next_look

WORKERS = 8  # upstream calls at a time
BATCH = 100  # uploads that are read from one shard at a time


@dataclass(frozen=True)
class Sweep:
    """What one run did.

    Attributes:
        found: Uploads that were due.
        settled: Those of which nothing is left to do.
        oldest_seconds: For how long the oldest of them had been due.
    """

    found: int
    settled: int
    oldest_seconds: float


class Sweeper:
    """Looks after each unfinished upload, through the same `complete` that its caller uses.

    Args:
        store: The records.
        ledger: How much may be registered in a minute.
        registration: Registers.
        now: Milliseconds since 1970.
        window: How long bytes may land at an address, in milliseconds.
        per_minute: Registrations that all sweeps together may try in a minute.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: Store,
        ledger: Ledger,
        registration: Registration,
        now: Callable[[], int],
        window: int,
        per_minute: int,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._registration = registration
        self._now = now
        self._window = window
        self._per_minute = per_minute

    def run(self, seconds: float) -> Sweep:
        """Deal with what is due; what does not fit into the time is left for the next run.

        Args:
            seconds: How long an upload may still be begun with. The longest attempt comes on top.
        """
        # Imported here: what answers browsers never sweeps.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

        ends = time.monotonic() + seconds
        found = settled = 0
        oldest: float = 0
        seen: set[str] = set()
        with ThreadPoolExecutor(WORKERS) as pool:
            while time.monotonic() < ends:
                # The index lags behind the table, so an upload may be read from it again.
                due = [one for one in self._due() if one.id not in seen]
                if not due:
                    break
                now = self._now()
                found += len(due)
                oldest = max(oldest, (now - due[0].at) / 1000)
                given = self._ledger.allow("sweep", now // MINUTE, len(due), self._per_minute)
                settled += sum(pool.map(lambda one: self._deal(one, ends), due[:given]))
                seen |= {one.id for one in due[:given]}
                if given < len(due):
                    break  # the rest is over the cap, and is the next minute's
        if found:
            observability.event(
                "sweep",
                found=found,
                settled=settled,
                backlog=found - len(seen),
                oldestSeconds=oldest,
            )
        return Sweep(found, settled, oldest)

    def _due(self) -> list[Due]:
        """Read some of what is due from every shard, the longest due first."""
        now = self._now()
        due = [one for shard in range(DUE_SHARDS) for one in self._store.due(shard, now, BATCH)]
        return sorted(due, key=lambda one: one.at)

    def _deal(self, due: Due, ends: float) -> bool:
        """Deal with one upload; one that is poisoned must not stop the others."""
        if time.monotonic() > ends:
            return False
        try:
            upload = self._store.get(due.id, due.owner)
            return upload is not None and self._settle(upload)
        except errors.BrokerError as error:
            observability.event("sweep_refused", uploadId=due.id, code=error.code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others come first
            observability.failure("sweep_poisoned", error)
            self._store.postpone(due.id, self._now() + HOUR)
        return False

    def _discard(self, upload: Upload) -> bool:
        """Try to delete what is too large; where sync. will not, not at every turn again."""
        try:
            self._registration.discard(upload)
        except errors.UpstreamError as error:
            # Left as it is, it would stay the longest due, and a few of them take the whole cap.
            self._store.postpone(upload.id, next_look(upload.updated_at, self._now()))
            observability.event(
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
        except errors.FileNotUploaded:
            # One refusal may mean anything. Only the second one after the end, when nothing can
            # land any more, says that nothing has.
            was_refused_after_the_end = upload.updated_at > upload.ends_at(self._window)
            is_expired = (
                was_refused_after_the_end and self._store.expire(upload, self._now()).granted
            )
            if is_expired:
                observability.moved(upload.id, Status.EXPIRED)
            return is_expired
        except errors.RequestError:
            return True
        is_registered = outcome.upload.status is Status.REGISTERED
        if is_registered:
            observability.event("upload_recovered", uploadId=upload.id)
        return is_registered
