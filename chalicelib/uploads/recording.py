"""What becomes of an asset that Sync has made for an upload: it is recorded, or deleted again."""

import logging
from contextlib import suppress

from chalicelib.core import errors, log, wording
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import made_at, size_of
from chalicelib.uploads.errors import FileEmpty, FileTooLarge
from chalicelib.uploads.models import Status, Upload
from chalicelib.uploads.outcomes import BUSY_RETRY_AFTER, Outcome
from chalicelib.uploads.repository import UploadRepository


class Recording:
    """Records assets.

    Args:
        repository: The records.
        sync: Sync's API.
        clock: The time.
    """

    def __init__(self, repository: UploadRepository, sync: SyncClient, clock: Clock) -> None:
        self._repository = repository
        self._sync = sync
        self._clock = clock

    def record(self, upload: Upload, asset: Json, *, looked_up: bool) -> Outcome:
        """Record an asset as the upload's; the lease is held.

        Args:
            upload: The upload.
            asset: Sync's asset.
            looked_up: Whether it was found in Sync's list, and not returned by the POST.

        Raises:
            FileEmpty: Nothing is stored of it.
            FileTooLarge: Its real size is over the caller's limit.
        """
        asset = self._sized(upload, asset)
        is_ours = not looked_up and _is_ours(upload, asset)
        size = size_of(asset)
        refusal = _refusal(upload, size)
        if refusal is not None:
            raise self._refuse(upload, asset, refusal, may_delete=upload.is_file or is_ours)
        if not (upload.is_file or is_ours):
            # Another caller's label, or another program's, is not for this caller to see.
            asset = {**asset, "name": upload.name}
        claim = self._repository.record(upload, asset, looked_up=looked_up, now=self._clock.now())
        if claim.granted and claim.upload is not None:
            log.moved(upload.id, Status.REGISTERED, lookedUp=looked_up, bytes=size)
            return Outcome(claim.upload)
        if not looked_up:
            self._explain_unrecorded(upload, asset["id"])
        return Outcome(upload, BUSY_RETRY_AFTER)

    def _explain_unrecorded(self, upload: Upload, asset_id: str) -> None:
        """Deal with an asset that a 201 returned and that was not recorded."""
        claimed = self._repository.claims([asset_id]).get(asset_id)
        if claimed is not None and claimed.deleting_until >= self._clock.now():
            # It will be gone in a moment, so the next attempt registers the URL anew.
            self._repository.reopen(upload, self._clock.now())
            log.moved(upload.id, Status.PENDING)
        elif claimed is None or upload.id not in claimed.owners:
            # The lease outlives every attempt, so this needs a clock that jumped or a container
            # that was frozen in mid-request. A person must see which asset nobody recorded.
            log.event("asset_orphaned", level=logging.ERROR, uploadId=upload.id, assetId=asset_id)

    def _sized(self, upload: Upload, asset: Json) -> Json:
        """Ask once more for the real size where sync. has not told it."""
        size = size_of(asset)
        if size is None:
            with suppress(errors.BrokerError):
                size = size_of(self._sync.read(asset["id"]))
        if size is None:
            # The bytes are there and paid for, so the asset is not thrown away for it.
            log.event(
                "size_unknown", level=logging.WARNING, uploadId=upload.id, assetId=asset["id"]
            )
        return {**asset, "size": size}

    def _refuse(
        self, upload: Upload, asset: Json, error: errors.BrokerError, *, may_delete: bool
    ) -> errors.BrokerError:
        """Fail an upload because of its real size, and delete its asset.

        An asset that another program may have made stays.
        """
        if not may_delete:
            log.event(
                "refused_kept",
                level=logging.WARNING,
                uploadId=upload.id,
                assetId=asset["id"],
                code=error.code,
            )
        problem = {"code": error.code, "detail": error.detail}
        claim = self._repository.fail(
            upload, problem, self._clock.now(), asset if may_delete else None
        )
        log.moved(upload.id, Status.FAILED, code=error.code)
        if claim.granted and claim.upload is not None and claim.upload.discarded is not None:
            with suppress(errors.BrokerError):
                self.discard(claim.upload)
        return error

    def discard(self, upload: Upload) -> None:
        """Delete the asset of an upload that failed because it is too large, or empty.

        Raises:
            BrokerError: It may still be there; the sweep tries again.
        """
        asset_id = upload.discarded
        # Where sync. gives one asset for one URL, another caller may have registered it since.
        if asset_id is not None and self._repository.begin_deletion(
            upload, asset_id, self._clock.now()
        ):
            self._sync.delete(asset_id)
            log.event("asset_deleted", uploadId=upload.id, assetId=asset_id)
        self._repository.forget(upload.id)


def _refusal(upload: Upload, size: int | None) -> errors.BrokerError | None:
    """Return why a file of a real size can't be used; None where it can, or the size is unknown."""
    if size == 0:
        reason = wording.arrived_empty if upload.is_file else wording.empty
        return FileEmpty(reason(upload.label))
    if size is not None and size > upload.max_bytes:
        return FileTooLarge(wording.too_large(upload.label, size, upload.max_bytes))
    return None


def _is_ours(upload: Upload, asset: Json) -> bool:
    """Whether the asset that a POST of a public URL returned was made by this very POST.

    Where Sync gives one asset for one URL, another program may have made it, or another caller. No
    margin for the clocks is granted: it would let a caller delete what was made just before, while
    without it, where Sync's clock is behind, an asset that is too large stays.
    """
    made = made_at(asset)
    since = None if upload.attempt is None else upload.attempt.first_post_at
    is_new = made is not None and since is not None and made >= since
    return is_new and asset["name"] == upload.name
