"""Recording an asset that Sync has made for an upload, or deleting it again."""

import logging
from contextlib import suppress

from chalicelib.core import errors, log, wording
from chalicelib.core.clock import Clock
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import Asset
from chalicelib.uploads.errors import FileEmpty, FileTooLarge
from chalicelib.uploads.models import Lease, Status, Upload
from chalicelib.uploads.outcomes import BUSY_RETRY_AFTER, Outcome
from chalicelib.uploads.repository import UploadRepository


class Recording:
    """Records assets.

    Args:
        repository: The uploads.
        sync: Sync's API.
        clock: The time.
    """

    def __init__(self, repository: UploadRepository, sync: SyncClient, clock: Clock) -> None:
        self._repository = repository
        self._sync = sync
        self._clock = clock

    def record(self, lease: Lease, asset: Asset, *, is_reconciled: bool) -> Outcome:
        """Record an asset as the upload's.

        Args:
            lease: The upload's lease.
            asset: Sync's asset.
            is_reconciled: Whether it was found in Sync's list, and not returned by the POST.

        Raises:
            FileEmpty: No byte of it is stored.
            FileTooLarge: Its real size is over the caller's limit.
        """
        upload = lease.upload
        asset = self._with_size(upload, asset)
        is_own = not is_reconciled and _is_own(lease, asset)
        refusal = size_refusal(upload, asset.size)
        if refusal is not None:
            raise self._refuse(lease, asset, refusal, may_delete=upload.is_file or is_own)
        if not (upload.is_file or is_own):
            # The label of another caller, or of another program, is not for this caller to see.
            asset = asset.replace(name=upload.name)
        done = self._repository.record(
            lease, asset, is_reconciled=is_reconciled, now=self._clock.now()
        )
        if done is not None:
            log.transition(
                upload.id, Status.REGISTERED, isReconciled=is_reconciled, bytes=asset.size
            )
            return Outcome(done)
        if not is_reconciled:
            self._explain_unrecorded(lease, asset.id)
        return Outcome(upload, BUSY_RETRY_AFTER)

    def discard(self, upload: Upload) -> None:
        """Delete the asset of an upload that failed because it is too large, or empty.

        Raises:
            BrokerError: It may still be there; the sweep tries again.
        """
        asset_id = upload.discarded
        # If Sync gives one asset for one URL, another caller may have registered it since.
        if asset_id is not None and self._repository.begin_deletion(
            upload, asset_id, self._clock.now()
        ):
            self._sync.delete(asset_id)
            log.event("asset_deleted", uploadId=upload.id, assetId=asset_id)
        self._repository.forget(upload.id)

    def _explain_unrecorded(self, lease: Lease, asset_id: str) -> None:
        """Deal with an asset that a 201 returned and that was not recorded."""
        upload, now = lease.upload, self._clock.now()
        owners = self._repository.asset_owners([asset_id]).get(asset_id)
        if owners is not None and owners.deleting_until >= now:
            # It will be gone in a moment, so the next attempt registers the URL anew.
            self._repository.reopen(lease, now)
            log.transition(upload.id, Status.PENDING)
        elif owners is None or upload.id not in owners.upload_ids:
            # The lease outlives every attempt, so this needs a clock that jumped, or a container
            # that was frozen in the middle of a request. A person must find the asset's upload.
            log.event("asset_orphaned", level=logging.ERROR, uploadId=upload.id, assetId=asset_id)

    def _with_size(self, upload: Upload, asset: Asset) -> Asset:
        """Return the asset with its real size, read once more if Sync did not return it."""
        size = asset.size
        if size is None:
            with suppress(errors.BrokerError):
                size = self._sync.read(asset.id).size
        if size is None:
            # The bytes are there and paid for, so the asset is kept.
            log.event("size_unknown", level=logging.WARNING, uploadId=upload.id, assetId=asset.id)
        return asset.replace(size=size)

    def _refuse(
        self, lease: Lease, asset: Asset, error: errors.BrokerError, *, may_delete: bool
    ) -> errors.BrokerError:
        """Fail an upload because of its real size, and delete its asset.

        An asset that another program may have made is kept.
        """
        upload = lease.upload
        if not may_delete:
            log.event(
                "refused_kept",
                level=logging.WARNING,
                uploadId=upload.id,
                assetId=asset.id,
                code=error.code,
            )
        problem = {"code": error.code, "detail": error.detail}
        failed = self._repository.fail(
            lease, problem, self._clock.now(), asset if may_delete else None
        )
        if failed is not None:
            log.transition(upload.id, Status.FAILED, code=error.code)
            if failed.discarded is not None:
                with suppress(errors.BrokerError):
                    self.discard(failed)
        return error


def size_refusal(upload: Upload, size: int | None) -> errors.BrokerError | None:
    """Return why a file of a real size can't be used; None if it can, or if its size is unknown."""
    if size == 0:
        reason = wording.arrived_empty if upload.is_file else wording.empty
        return FileEmpty(reason(upload.label))
    if size is not None and size > upload.max_bytes:
        return FileTooLarge(wording.too_large(upload.label, size, upload.max_bytes))
    return None


def _is_own(lease: Lease, asset: Asset) -> bool:
    """Whether the asset that a POST of a public URL returned was made by this very POST.

    If Sync gives one asset for one URL, another program, or another caller, may have made it. No
    margin for the clocks is granted: it would let a caller delete an asset that was made just
    before. Without a margin an asset that is too large is kept if Sync's clock is behind.
    """
    created = asset.created_at
    is_new = created is not None and created >= lease.attempt.first_post_at
    return is_new and asset.name == lease.upload.name
