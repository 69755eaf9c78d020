"""The use cases: begin, complete, renew, cancel, register a public URL, read."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from chalicelib import errors
from chalicelib.callers import Caller
from chalicelib.ports import Store, Upstream
from chalicelib.registration import Outcome, Registration, no_longer_pending, standing
from chalicelib.uploads import NewFile, NewUrl, Page, Status, Target, Upload

MAX_TARGETS = 5  # addresses for one upload


class Lifecycle:
    """An upload from its first request to its asset.

    Args:
        store: The records.
        upstream: sync.
        registration: Registers what has landed.
        now: Milliseconds since 1970.
        storage_hosts: Hosts of sync.'s storage; those seen in presigns are added.
    """

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        registration: Registration,
        now: Callable[[], int],
        storage_hosts: tuple[str, ...],
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._registration = registration
        self._now = now
        self.storage_hosts = set(storage_hosts)

    def begin(self, caller: Caller, file: NewFile) -> Upload:
        """Reserve an upload and presign its address.

        Returns:
            The pending upload; its last target is what the browser gets.
        """
        now = self._now()
        upload = Upload(
            id=secrets.token_hex(16),
            owner=caller.id,
            status=Status.CREATING,
            created_at=now,
            updated_at=now,
            type=file.type,
            file_name=file.file_name,
            content_type=file.content_type,
            size=file.size,
            name=file.name,
            project_id=file.project_id,
        )
        self._store.create(upload)
        try:
            target = self._presign(upload)
        except errors.BrokerError:
            # What can't be taken back now was never shown to anybody.
            with suppress(errors.StoreUnavailable):
                self._store.discard(upload)
            raise
        return self._store.open(upload, target, self._now())

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
        claim = self._store.renew(upload, self._presign(upload), self._now())
        if claim.upload is None:
            raise errors.NotFound("There is no such upload.")
        # Where somebody else renewed in the same moment, theirs is as fresh as ours.
        if claim.upload.status is not Status.PENDING:
            raise no_longer_pending(claim.upload)
        return claim.upload

    def cancel(self, caller: Caller, upload_id: str) -> None:
        """Cancel a pending upload; a cancelled one stays so."""
        claim = self._store.cancel(upload_id, caller.id, self._now())
        upload = _own(claim.upload, caller)
        if not claim.granted and upload.status is not Status.CANCELLED:
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
        now = self._now()
        attempt = self._registration.plan()
        claim = self._store.lease_post(upload_id, caller.id, attempt, now)
        upload = _own(claim.upload, caller)
        if claim.granted:
            return self._registration.post(upload)
        if upload.attempt is not None and upload.attempt.lease_until < now:
            claim = self._store.lease_look(upload, attempt, now)
            upload = claim.upload or upload
            if claim.granted:
                return self._registration.look(upload)
        return standing(upload)

    def register_url(self, caller: Caller, new: NewUrl) -> Outcome:
        """Register a public URL. The record is written first, so that a crash loses nothing."""
        now = self._now()
        upload = Upload(
            id=secrets.token_hex(16),
            owner=caller.id,
            status=Status.REGISTERING,
            created_at=now,
            updated_at=now,
            type=new.type,
            name=new.name,
            project_id=new.project_id,
            source_url=new.url,
            attempt=self._registration.plan(),
        )
        self._store.create(upload)
        try:
            return self._registration.post(upload, is_first_call=True)
        except errors.UpstreamError:
            # Nothing was made, and the caller knows no id: it is as if the request never came.
            # A lost answer does not get here; its record stays.
            with suppress(errors.StoreUnavailable):
                self._store.discard(upload)
            raise

    def _presign(self, upload: Upload) -> Target:
        issued_at = self._now()
        try:
            presigned = self._upstream.presign(
                upload.file_name or "", upload.content_type or "", upload.size or 0
            )
        except errors.UpstreamRefused as error:
            raise errors.FileRejected(error.detail or "sync. gave no reason.") from error
        for address in (presigned.url, presigned.upload_url):
            self.storage_hosts.add(urlsplit(address).netloc.lower())
        return Target(
            presigned.upload_url, presigned.url, issued_at, issued_at + presigned.expires_in * 1000
        )


def _own(upload: Upload | None, caller: Caller) -> Upload:
    """Return the caller's upload; somebody else's, or one never shown, is as good as none."""
    if upload is None or upload.owner != caller.id or upload.status is Status.CREATING:
        raise errors.NotFound("There is no such upload.")
    return upload
