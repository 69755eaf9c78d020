"""What is due of an upload: to finish it, to let it expire, or to delete what it must not keep."""

import logging
from contextlib import suppress

from chalicelib.aws.due_index import DueIndex, DueItem
from chalicelib.core import errors, log
from chalicelib.core.clock import Clock
from chalicelib.core.tasks import Task
from chalicelib.syncapi.errors import UpstreamError
from chalicelib.uploads.errors import FileNotUploaded, TooManyUnknownUrls
from chalicelib.uploads.models import Status, Upload, next_due
from chalicelib.uploads.registration import Registration
from chalicelib.uploads.repository import UploadRepository

KIND = "upload"


class UploadRecovery:
    """Makes tasks of due uploads. They run the same `complete` that an upload's caller uses.

    Args:
        repository: The uploads.
        index: Where uploads are due.
        registration: Registers.
        clock: The time.
        most_cost: The largest cost of a task.
    """

    def __init__(
        self,
        repository: UploadRepository,
        index: DueIndex,
        registration: Registration,
        clock: Clock,
        most_cost: int,
    ) -> None:
        self._repository = repository
        self._index = index
        self._registration = registration
        self._clock = clock
        self._most_cost = most_cost

    def task(self, due: DueItem) -> Task | None:
        """Return what is due of an upload; None if there is no such upload."""
        try:
            upload = self._repository.get(due.id, due.owner)
        except errors.NotFound:
            return None
        # Each URL that may be tried costs a registration; a deletion costs none.
        cost = 0 if upload.status is Status.FAILED else min(len(upload.untried), self._most_cost)
        return Task(cost, lambda: self._run(upload))

    def _run(self, upload: Upload) -> bool:
        if upload.due_at is None or upload.due_at > self._clock.now():
            return False  # Another request changed it after the index was read.
        if upload.status not in {Status.PENDING, Status.REGISTERING}:
            return self._discard(upload)
        try:
            # A later sweep does not come at the moment of a promise.
            outcome = self._registration.complete(upload.owner, upload.id, may_wait=False)
        except (errors.RateLimited, TooManyUnknownUrls) as error:
            # Otherwise it would be the first again, and block its caller's other uploads.
            self._postpone(upload, self._clock.now() + int((error.retry_after or 0) * 1000))
            raise
        except FileNotUploaded:
            return self._expire(upload)
        except errors.RequestError:
            return True
        is_registered = outcome.upload.status is Status.REGISTERED
        if is_registered:
            log.event("upload_recovered", uploadId=upload.id)
        return is_registered

    def _expire(self, upload: Upload) -> bool:
        """Expire an upload whose bytes can't arrive any more; return whether it is expired."""
        ends_at, now = upload.ends_at, self._clock.now()
        is_expired = now > ends_at and self._repository.expire(upload, ends_at, now)
        if is_expired:
            log.transition(upload.id, Status.EXPIRED)
        return is_expired

    def _discard(self, upload: Upload) -> bool:
        """Delete the asset of an upload that failed by its real size; return whether it is gone."""
        try:
            self._registration.discard(upload)
        except UpstreamError as error:
            # Otherwise it would stay the longest due, and a few of them would use up the cap.
            self._postpone(upload, next_due(upload.updated_at, self._clock.now()))
            log.event(
                "asset_not_deleted",
                level=logging.ERROR,
                uploadId=upload.id,
                assetId=upload.discarded,
                code=error.code,
            )
            return False
        return True

    def _postpone(self, upload: Upload, due_at: int) -> None:
        # If postponing fails, the upload stays first and the next sweep postpones it.
        with suppress(errors.BrokerError):
            self._index.postpone(KIND, upload.id, due_at)
