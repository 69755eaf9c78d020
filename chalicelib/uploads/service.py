"""The use cases: begin, complete, renew, cancel, register a public URL, read."""

import secrets
from contextlib import suppress
from dataclasses import replace

from chalicelib.auth.caller import Caller
from chalicelib.core import errors, log
from chalicelib.core.clock import Clock
from chalicelib.idempotency import IdempotencyRecord, IdempotencyRecords, RequestKey
from chalicelib.quotas.store import QuotaStore
from chalicelib.quotas.usage import Reservation, Usage
from chalicelib.ratelimit.limiter import Line, LineStanding, Opening
from chalicelib.ratelimit.registrations import RegistrationLimiter
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.uploads import outcomes
from chalicelib.uploads.errors import (
    NO_UPLOAD,
    TooManyUnknownUrls,
    UploadBusy,
    UploadCancelled,
    UploadExpired,
    UploadNotPending,
)
from chalicelib.uploads.models import NewFile, NewUrl, Page, Status, Target, Upload, next_look
from chalicelib.uploads.outcomes import BUSY_RETRY_AFTER, Outcome, is_posting, no_longer_pending
from chalicelib.uploads.registration import UNKNOWN_RETRY_AFTER, Registration
from chalicelib.uploads.repository import UploadRepository
from chalicelib.uploads.storage_hosts import StorageHosts

MAX_TARGETS = 5  # addresses for one upload
_ENDED = (UploadCancelled, UploadExpired)


class UploadService:
    """An upload from its first request to its asset.

    Args:
        repository: The records.
        quotas: The quotas.
        keys: The keys of requests that may be sent again.
        line: The places for presigns.
        sync: Sync's API.
        registration: Registers what has landed.
        limiter: Permits registrations.
        clock: The time.
        storage_hosts: Hosts of sync.'s storage; those seen in presigns are added.
        window: How long bytes may land at an address, in milliseconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        repository: UploadRepository,
        quotas: QuotaStore,
        keys: IdempotencyRecords,
        line: Line,
        sync: SyncClient,
        registration: Registration,
        limiter: RegistrationLimiter,
        clock: Clock,
        storage_hosts: tuple[str, ...],
        window: int,
    ) -> None:
        self._repository = repository
        self._quotas = quotas
        self._keys = keys
        self._line = line
        self._sync = sync
        self._registration = registration
        self._limiter = limiter
        self._clock = clock
        self._storage_hosts = StorageHosts(storage_hosts, limiter)
        self._window = window

    def begin(
        self, caller: Caller, file: NewFile, key: RequestKey | None, ticket: str | None
    ) -> tuple[Upload, Usage, LineStanding | None]:
        """Find a place in the line, reserve in the quota, presign and write the upload.

        Args:
            caller: Who uploads.
            file: What.
            key: The request's `Idempotency-Key`, if there is one.
            ticket: The request's `Upload-Ticket`, if there is one.

        Returns:
            The pending upload, whose last target is what the browser gets, or for a key that was
            used before its upload as it stands; what the caller has used; and how the line stood
            if a place was needed.
        """
        # Before the key is looked up: in a full line no request costs a call, with a key neither.
        self._line.refuse_known(caller.id, ticket)
        upload_id, binding = self._bind(caller, key)
        if binding is not None and binding.is_done:
            return self._again(caller, upload_id, ticket), self._quotas.read(caller.id), None
        try:
            # In this order a caller over the quota takes no place, and one without a place has
            # nothing reserved.
            opening = self._line.enter(caller.id, ticket)
            used = self._quotas.reserve(caller.id, caller.limits, upload_id, file.size)
            try:
                target = self._presign(
                    caller, opening, file.file_name, file.content_type, file.size
                )
            except errors.BrokerError:
                self._release_quota(caller, upload_id, used)
                raise
            upload = self._new(caller, upload_id, used, file)
            due_at = next_look(upload.created_at, upload.created_at)
            upload = replace(upload, targets=(target,), due_at=due_at)
            self._repository.create(upload, used, binding)
        except errors.BrokerError:
            self._release(binding)
            raise
        log.moved(upload.id, Status.PENDING)
        return upload, used, opening.standing

    def renew(
        self, caller: Caller, upload_id: str, ticket: str | None
    ) -> tuple[Upload, LineStanding | None]:
        """Give a pending upload a fresh address, or the old one while half its life is left.

        A fresh address takes a place in the line, as the first one did.

        Returns:
            The upload, and how the line stood if a place was needed.
        """
        upload = self.get(caller, upload_id)
        if upload.status is not Status.PENDING or not upload.is_file:
            raise no_longer_pending(upload, self._clock.now())
        if upload.targets[-1].is_fresh(self._clock.now()):
            return upload, None
        if len(upload.targets) >= MAX_TARGETS:
            raise UploadNotPending(
                f"{upload.label} took too long. Choose the file to upload it again."
            )
        opening = self._line.enter(caller.id, ticket)
        target = self._presign(
            caller, opening, upload.file_name or "", upload.content_type or "", upload.size or 0
        )
        claim = self._repository.renew(upload, target, self._clock.now())
        if claim.upload is None:
            raise errors.NotFound(NO_UPLOAD)
        # Where somebody else renewed in the same moment, theirs is as fresh as ours.
        if claim.upload.status is not Status.PENDING:
            raise no_longer_pending(claim.upload, self._clock.now())
        return claim.upload, opening.standing

    def cancel(self, caller: Caller, upload_id: str) -> None:
        """Cancel a pending upload; a cancelled one stays so."""
        claim = self._repository.cancel(upload_id, caller.id, self._clock.now())
        if claim.granted:
            log.moved(upload_id, Status.CANCELLED)
            return
        upload = _own(claim.upload, caller)
        if upload.status is not Status.CANCELLED:
            raise no_longer_pending(upload, self._clock.now())

    def get(self, caller: Caller, upload_id: str) -> Upload:
        """Read one of the caller's uploads."""
        return _own(self._repository.get(upload_id, caller.id), caller)

    def get_asset(self, caller: Caller, asset_id: str) -> Upload:
        """Read the upload that the caller registered as this asset."""
        return _own(self._repository.get_asset(asset_id, caller.id), caller)

    def list_uploads(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """List the caller's uploads, newest first."""
        return self._repository.list_uploads(caller.id, limit, cursor)

    def list_assets(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """List the caller's registered uploads, the last registered first."""
        return self._repository.list_assets(caller.id, limit, cursor)

    def complete(self, caller: Caller, upload_id: str) -> Outcome:
        """Register an upload whose bytes are there; repeatable for ever with the same answer."""
        return self._registration.complete(caller.id, upload_id)

    @property
    def storage_hosts(self) -> frozenset[str]:
        """The hosts of Sync's storage: those of the settings, and those that presigns named."""
        return self._storage_hosts.known

    def register_url(
        self, caller: Caller, new: NewUrl, key: RequestKey | None = None
    ) -> tuple[Outcome, Usage]:
        """Register a public URL. The record is written first, so that a crash loses nothing."""
        upload_id, binding = self._bind(caller, key)
        if binding is not None and binding.is_done:
            # The first request may yet take its record back, so no id may be told; or it has done
            # so just now.
            with suppress(errors.NotFound):
                outcome = self._registration.complete(caller.id, upload_id)
                if not is_posting(outcome.upload, self._clock.now()):
                    return outcome, self._quotas.read(caller.id)
            raise errors.RequestInProgress(
                "This upload is starting already. Try again in a moment.",
                retry_after=BUSY_RETRY_AFTER,
            )
        try:
            self._limiter.check_cached_refusal(caller.id)
            used = self._quotas.reserve(caller.id, caller.limits, upload_id, 0)
            attempt = self._registration.plan()
            upload = replace(
                self._new(caller, upload_id, used, new),
                status=Status.REGISTERING,
                attempt=attempt,
                due_at=attempt.lease_until,
            )
            self._create_url(caller, upload, used, binding)
        except errors.BrokerError:
            self._release(binding)
            raise
        self._permit(caller, upload, binding)
        log.moved(upload.id, Status.REGISTERING)
        return self._first_post(upload, binding), used

    def _create_url(
        self, caller: Caller, upload: Upload, used: Usage, binding: IdempotencyRecord | None
    ) -> None:
        try:
            self._repository.create(upload, used, binding)
        except TooManyUnknownUrls:
            self._release_quota(caller, upload.id, used)
            raise

    def _permit(self, caller: Caller, upload: Upload, binding: IdempotencyRecord | None) -> None:
        """Take the permit for the first POST, or take the record back.

        It comes after the record, so that a URL that finds no room takes no permit.
        """
        try:
            self._limiter.acquire(caller.id)
            self._storage_hosts.refuse(upload.source_url or "")
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                self._repository.discard(upload, binding, was_sent=False)
            raise

    def _first_post(self, upload: Upload, binding: IdempotencyRecord | None) -> Outcome:
        try:
            return self._registration.post(upload, is_first_call=True)
        except errors.StoreUnavailable:
            # The record is there, and so may be the asset: the caller goes on by its id.
            return Outcome(upload, UNKNOWN_RETRY_AFTER)
        except errors.RequestError:
            self._release(binding, even_if_bound=True)
            raise
        except errors.BrokerError:
            # Nothing was made, and the caller knows no id: it is as if the request never came.
            # A lost answer does not get here; its record stays.
            with suppress(errors.StoreUnavailable):
                self._repository.discard(upload, binding, was_sent=True)
            raise

    def _again(self, caller: Caller, upload_id: str, ticket: str | None) -> Upload:
        """Answer a repeated request: with a fresh address where the old one gets old."""
        upload = self.get(caller, upload_id)
        is_renewable = upload.status is Status.PENDING and len(upload.targets) < MAX_TARGETS
        try:
            return self.renew(caller, upload_id, ticket)[0] if is_renewable else upload
        except (UploadBusy, UploadNotPending, *_ENDED):
            return self.get(caller, upload_id)  # Somebody completed it, or ended it, meanwhile.

    def _new(self, caller: Caller, upload_id: str, used: Usage, new: NewFile | NewUrl) -> Upload:
        """Make an upload's value at the moment of its reservation."""
        at = _reservation(upload_id, used).at
        upload = Upload(
            id=upload_id,
            owner=caller.id,
            status=Status.PENDING,
            created_at=at,
            updated_at=at,
            type=new.type,
            max_bytes=caller.limits.max_upload_bytes,
            name=new.name,
            project_id=new.project_id,
        )
        if isinstance(new, NewUrl):
            return replace(upload, source_url=new.url)
        return replace(
            upload, file_name=new.file_name, content_type=new.content_type, size=new.size
        )

    def _bind(self, caller: Caller, key: RequestKey | None) -> tuple[str, IdempotencyRecord | None]:
        upload_id = secrets.token_hex(16)
        if key is None:
            return upload_id, None
        binding = self._keys.take(caller.id, key, upload_id)
        return binding.upload_id, binding

    def _release(self, binding: IdempotencyRecord | None, *, even_if_bound: bool = False) -> None:
        # What can't be given back now is free again two minutes later.
        if binding is not None:
            with suppress(errors.StoreUnavailable):
                self._keys.release(binding, even_if_bound=even_if_bound)

    def _release_quota(self, caller: Caller, upload_id: str, used: Usage) -> None:
        # What can't be given back now is given back by the caller's next request.
        with suppress(errors.StoreUnavailable):
            self._quotas.release(caller.id, _reservation(upload_id, used))

    def _presign(
        self, caller: Caller, opening: Opening, file_name: str, content_type: str, size: int
    ) -> Target:
        found = [opening]

        def admit() -> None:
            # What is sent again, after a lost answer or with another key, needs its own place.
            self._line.take(found.pop() if found else self._line.enter(caller.id, ""))

        issued_at = self._clock.now()
        try:
            presigned = self._sync.presign(file_name, content_type, size, admit)
        except sync_errors.UpstreamRefused as error:
            raise outcomes.presign_refused(file_name, content_type, error) from error
        except sync_errors.UpstreamBusy as error:
            with suppress(errors.StoreUnavailable):
                self._line.slow_down(error.retry_after or 0)
            raise
        self._storage_hosts.learn(presigned)
        # What the caller is told, and what the sweep waits for, must be the same.
        life = min(presigned.expires_in * 1000, self._window)
        return Target(presigned.upload_url, presigned.url, issued_at, issued_at + life)


def _own(upload: Upload | None, caller: Caller) -> Upload:
    """Return the caller's upload; somebody else's is as good as none."""
    if upload is None or upload.owner != caller.id:
        raise errors.NotFound(NO_UPLOAD)
    return upload


def _reservation(upload_id: str, used: Usage) -> Reservation:
    return next(one for one in used.reservations if one.upload_id == upload_id)
