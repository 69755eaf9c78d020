"""The use cases: begin, complete, renew, cancel, register a public URL, read."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from chalicelib import errors
from chalicelib.callers import Caller
from chalicelib.ports import Ledger, Store, Upstream
from chalicelib.quotas import Reservation, Standing
from chalicelib.registration import Outcome, Registration, no_longer_pending
from chalicelib.uploads import NewFile, NewUrl, Page, Status, Target, Upload, next_look

MAX_TARGETS = 5  # addresses for one upload


class Lifecycle:
    """An upload from its first request to its asset.

    Args:
        store: The records.
        ledger: The quotas.
        upstream: sync.
        registration: Registers what has landed.
        now: Milliseconds since 1970.
        storage_hosts: Hosts of sync.'s storage; those seen in presigns are added.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: Store,
        ledger: Ledger,
        upstream: Upstream,
        registration: Registration,
        now: Callable[[], int],
        storage_hosts: tuple[str, ...],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._upstream = upstream
        self._registration = registration
        self._now = now
        self.storage_hosts = set(storage_hosts)

    def begin(self, caller: Caller, file: NewFile) -> tuple[Upload, Standing]:
        """Reserve a place, presign an address and write the upload.

        Returns:
            The pending upload, whose last target is what the browser gets; and what the caller
            has used.
        """
        upload_id, used = self._reserve(caller, file.size)
        try:
            target = self._presign(file.file_name, file.content_type, file.size)
        except errors.BrokerError:
            self._give_back(caller, upload_id, used)
            raise
        now = self._now()
        upload = Upload(
            id=upload_id,
            owner=caller.id,
            status=Status.PENDING,
            created_at=_reservation(upload_id, used).at,
            updated_at=now,
            type=file.type,
            max_bytes=caller.limits.max_upload_bytes,
            file_name=file.file_name,
            content_type=file.content_type,
            size=file.size,
            name=file.name,
            project_id=file.project_id,
            targets=(target,),
            due_at=next_look(now, now),
        )
        self._store.create(upload, used)
        return upload, used

    def renew(self, caller: Caller, upload_id: str) -> Upload:
        """Give a pending upload a fresh address, or the old one while half its life is left."""
        upload = self.get(caller, upload_id)
        if upload.status is not Status.PENDING or not upload.is_file:
            raise no_longer_pending(upload)
        if upload.targets[-1].is_fresh(self._now()):
            return upload
        if len(upload.targets) >= MAX_TARGETS:
            raise errors.UploadNotPending(
                f"The upload has had {MAX_TARGETS} addresses; begin a new upload."
            )
        target = self._presign(upload.file_name or "", upload.content_type or "", upload.size or 0)
        claim = self._store.renew(upload, target, self._now())
        if claim.upload is None:
            raise errors.NotFound("There is no such upload.")
        # Where somebody else renewed in the same moment, theirs is as fresh as ours.
        if claim.upload.status is not Status.PENDING:
            raise no_longer_pending(claim.upload)
        return claim.upload

    def cancel(self, caller: Caller, upload_id: str) -> None:
        """Cancel a pending upload; a cancelled one stays so."""
        claim = self._store.cancel(upload_id, caller.id, self._now())
        if not claim.granted:
            upload = _own(claim.upload, caller)
            if upload.status is not Status.CANCELLED:
                raise no_longer_pending(upload)

    def get(self, caller: Caller, upload_id: str) -> Upload:
        """Read one of the caller's uploads."""
        return _own(self._store.get(upload_id, caller.id), caller)

    def get_asset(self, caller: Caller, asset_id: str) -> Upload:
        """Read the upload that the caller registered as this asset."""
        return _own(self._store.get_asset(asset_id, caller.id), caller)

    def list_uploads(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """List the caller's uploads, newest first."""
        return self._store.list_uploads(caller.id, limit, cursor)

    def list_assets(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """List the caller's registered uploads, the last registered first."""
        return self._store.list_assets(caller.id, limit, cursor)

    def complete(self, caller: Caller, upload_id: str) -> Outcome:
        """Register an upload whose bytes are there; repeatable for ever with the same answer."""
        return self._registration.complete(caller.id, upload_id)

    def used(self, caller: Caller) -> Standing:
        """Read what the caller has used of the quotas."""
        return self._ledger.read(caller.id)

    def register_url(self, caller: Caller, new: NewUrl) -> tuple[Outcome, Standing]:
        """Register a public URL. The record is written first, so that a crash loses nothing."""
        upload_id, used = self._reserve(caller, 0)
        now = self._now()
        attempt = self._registration.plan()
        upload = Upload(
            id=upload_id,
            owner=caller.id,
            status=Status.REGISTERING,
            created_at=_reservation(upload_id, used).at,
            updated_at=now,
            type=new.type,
            max_bytes=caller.limits.max_upload_bytes,
            name=new.name,
            project_id=new.project_id,
            source_url=new.url,
            attempt=attempt,
            due_at=attempt.lease_until,
        )
        self._store.create(upload, used)
        try:
            return self._registration.post(upload, is_first_call=True), used
        except errors.UpstreamError:
            # Nothing was made, and the caller knows no id: it is as if the request never came.
            # A lost answer does not get here; its record stays.
            with suppress(errors.StoreUnavailable):
                self._store.discard(upload)
            raise

    def _reserve(self, caller: Caller, size: int) -> tuple[str, Standing]:
        upload_id = secrets.token_hex(16)
        return upload_id, self._ledger.reserve(caller.id, caller.limits, upload_id, size)

    def _give_back(self, caller: Caller, upload_id: str, used: Standing) -> None:
        # What can't be given back now is given back by the caller's next request.
        with suppress(errors.StoreUnavailable):
            self._ledger.give_back(caller.id, _reservation(upload_id, used))

    def _presign(self, file_name: str, content_type: str, size: int) -> Target:
        issued_at = self._now()
        try:
            presigned = self._upstream.presign(file_name, content_type, size)
        except errors.UpstreamRefused as error:
            raise errors.FileRejected(error.detail or "sync. gave no reason.") from error
        for address in (presigned.url, presigned.upload_url):
            self.storage_hosts.add(urlsplit(address).netloc.lower())
        return Target(
            presigned.upload_url, presigned.url, issued_at, issued_at + presigned.expires_in * 1000
        )


def _own(upload: Upload | None, caller: Caller) -> Upload:
    """Return the caller's upload; somebody else's is as good as none."""
    if upload is None or upload.owner != caller.id:
        raise errors.NotFound("There is no such upload.")
    return upload


def _reservation(upload_id: str, used: Standing) -> Reservation:
    return next(one for one in used.reservations if one.upload_id == upload_id)
