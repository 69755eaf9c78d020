"""The use cases of uploads: begin, complete, renew, cancel, register a public URL, read."""

import secrets
from contextlib import suppress
from dataclasses import replace

from chalicelib.auth.caller import Caller
from chalicelib.core import errors, log
from chalicelib.core.clock import SECOND, Clock
from chalicelib.idempotency import IdempotencyRecord, IdempotencyRecords, RequestKey, in_progress
from chalicelib.quotas.store import QuotaStore
from chalicelib.quotas.usage import Reservation, Usage
from chalicelib.ratelimit.limiter import Permit, RateLimiter, RateLimitState
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.uploads import outcomes
from chalicelib.uploads.errors import (
    TooManyUnknownUrls,
    UploadBusy,
    UploadCancelled,
    UploadExpired,
    UploadNotPending,
)
from chalicelib.uploads.models import (
    Lease,
    NewFile,
    NewUrl,
    Page,
    Status,
    Target,
    Upload,
    next_due,
)
from chalicelib.uploads.outcomes import Outcome, is_posting, not_pending
from chalicelib.uploads.registration import UNKNOWN_RETRY_AFTER, Registration
from chalicelib.uploads.repository import UploadRepository
from chalicelib.uploads.storage_hosts import StorageHosts

MAX_TARGETS = 5  # presigned URLs for one upload
_NO_LONGER_PENDING = (UploadBusy, UploadNotPending, UploadCancelled, UploadExpired)


class UploadService:
    """The use cases of uploads.

    Args:
        repository: The uploads.
        quotas: What callers have used.
        idempotency: The records of `Idempotency-Key`.
        presigns: The rate limiter for presigns.
        sync: Sync's API.
        registration: Registers uploads.
        registrations: The rate limiter for registrations.
        clock: The time.
        storage_hosts: Hosts of Sync's storage; those that presigns name are added.
        window: How long bytes may arrive at a presigned URL, in milliseconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        repository: UploadRepository,
        quotas: QuotaStore,
        idempotency: IdempotencyRecords,
        presigns: RateLimiter,
        sync: SyncClient,
        registration: Registration,
        registrations: RateLimiter,
        clock: Clock,
        storage_hosts: tuple[str, ...],
        window: int,
    ) -> None:
        self._repository = repository
        self._quotas = quotas
        self._idempotency = idempotency
        self._presigns = presigns
        self._sync = sync
        self._registration = registration
        self._registrations = registrations
        self._clock = clock
        self._storage_hosts = StorageHosts(storage_hosts, registrations.item)
        self._window = window

    @property
    def storage_hosts(self) -> frozenset[str]:
        """The hosts of Sync's storage: those of the settings, and those that presigns named."""
        return self._storage_hosts.known

    def begin(
        self, caller: Caller, file: NewFile, key: RequestKey | None, ticket: str | None
    ) -> tuple[Upload, Usage, RateLimitState | None]:
        """Reserve, presign, and write a new upload.

        Args:
            caller: Who uploads.
            file: The file.
            key: The request's `Idempotency-Key`, if there is one.
            ticket: The request's `Upload-Ticket`, if there is one.

        Returns:
            The pending upload, whose last target is for the browser, or the upload of a key that
            was used before; what the caller has used; and the rate limiter's state, if it was
            asked.
        """
        # They come before the key's record: while the queue is full, or Sync is down, no request
        # costs a call.
        self._sync.check_available()
        if key is not None:
            self._presigns.check_cached_refusal(caller.id, ticket)
        upload_id, record = self._begin_key(caller, key)
        if record is not None and record.is_done:
            upload = self._repeated(caller, upload_id, ticket)
            return upload, self._quotas.read(caller.id), None
        try:
            # In this order a caller over the quota takes no permit, and one without a permit has
            # nothing reserved.
            permit = self._presigns.acquire(caller.id, ticket)
            used = self._quotas.reserve(caller.id, caller.limits, upload_id, file.size)
            try:
                target, state = self._presign(
                    caller, permit, file.file_name, file.content_type, file.size
                )
            except errors.BrokerError:
                self._release_quota(caller, upload_id, used)
                raise
            upload = _new_upload(caller, upload_id, used, file, target)
            self._repository.create(upload, used, record)
        except errors.BrokerError:
            self._release_key(record)
            raise
        log.transition(upload.id, Status.PENDING)
        return upload, used, state

    def renew(
        self, caller: Caller, upload_id: str, ticket: str | None
    ) -> tuple[Upload, RateLimitState | None]:
        """Give a pending upload a fresh URL, or the old one while half of its life is left.

        A fresh URL passes the rate limiter, as the first one did.

        Returns:
            The upload, and the rate limiter's state if it was asked.
        """
        upload = self.get(caller, upload_id)
        if upload.status is not Status.PENDING or not upload.is_file:
            raise not_pending(upload, self._clock.now())
        if upload.targets[-1].is_fresh(self._clock.now()):
            return upload, None
        if len(upload.targets) >= MAX_TARGETS:
            raise UploadNotPending(
                f"{upload.label} took too long. Choose the file to upload it again."
            )
        self._sync.check_available()
        permit = self._presigns.acquire(caller.id, ticket)
        target, state = self._presign(
            caller, permit, upload.file_name or "", upload.content_type or "", upload.size or 0
        )
        # If another request renewed in the same moment, its URL is as fresh as ours.
        renewed = self._repository.renew(upload, target, self._clock.now())
        if renewed.status is not Status.PENDING:
            raise not_pending(renewed, self._clock.now())
        return renewed, state

    def cancel(self, caller: Caller, upload_id: str) -> None:
        """Cancel a pending upload. It is idempotent."""
        refused = self._repository.cancel(upload_id, caller.id, self._clock.now())
        if refused is None:
            log.transition(upload_id, Status.CANCELLED)
        elif refused.status is not Status.CANCELLED:
            raise not_pending(refused, self._clock.now())

    def get(self, caller: Caller, upload_id: str) -> Upload:
        """Return one of the caller's uploads.

        Raises:
            NotFound: The caller has no such upload.
        """
        return self._repository.get(upload_id, caller.id)

    def get_asset(self, caller: Caller, asset_id: str) -> Upload:
        """Return the upload that the caller registered as an asset.

        Raises:
            NotFound: The caller has no such asset.
        """
        return self._repository.get_asset(asset_id, caller.id)

    def list_uploads(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """Return the caller's uploads, newest first."""
        return self._repository.list_uploads(caller.id, limit, cursor)

    def list_assets(self, caller: Caller, limit: int, cursor: str | None) -> Page:
        """Return the caller's registered uploads, the last registered first."""
        return self._repository.list_assets(caller.id, limit, cursor)

    def complete(self, caller: Caller, upload_id: str) -> Outcome:
        """Register an upload whose bytes are there. It is idempotent."""
        return self._registration.complete(caller.id, upload_id)

    def register_url(
        self, caller: Caller, new: NewUrl, key: RequestKey | None = None
    ) -> tuple[Outcome, Usage]:
        """Register a public URL. The record is written first, so that a crash loses nothing."""
        self._sync.check_available()  # as in `begin`
        upload_id, record = self._begin_key(caller, key)
        if record is not None and record.is_done:
            return self._repeated_url(caller, upload_id), self._quotas.read(caller.id)
        try:
            self._registrations.check_cached_refusal(caller.id)
            used = self._quotas.reserve(caller.id, caller.limits, upload_id, 0)
            attempt = self._registration.plan()
            upload = replace(
                _new_upload(caller, upload_id, used, new),
                status=Status.REGISTERING,
                attempt=attempt,
                due_at=attempt.lease_until,
            )
            self._create_url(caller, upload, used, record)
        except errors.BrokerError:
            self._release_key(record)
            raise
        lease = Lease(upload, attempt)
        self._acquire(lease, record)
        log.transition(upload.id, Status.REGISTERING)
        return self._first_post(lease, record), used

    def _create_url(
        self, caller: Caller, upload: Upload, used: Usage, record: IdempotencyRecord | None
    ) -> None:
        try:
            self._repository.create(upload, used, record)
        except TooManyUnknownUrls:
            self._release_quota(caller, upload.id, used)
            raise

    def _acquire(self, lease: Lease, record: IdempotencyRecord | None) -> None:
        """Acquire the permit for the first POST, or delete the upload.

        It comes after the record, so that a URL that is one too many takes no permit.
        """
        try:
            self._registrations.commit(self._registrations.acquire(lease.upload.owner))
            self._storage_hosts.refuse(lease.upload.source_url or "")
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                self._repository.delete(lease, record, was_sent=False)
            raise

    def _first_post(self, lease: Lease, record: IdempotencyRecord | None) -> Outcome:
        try:
            return self._registration.post(lease, is_first_request=True)
        except errors.StoreUnavailable:
            # The upload is recorded, and so may be the asset: the caller continues with its id.
            return Outcome(lease.upload, UNKNOWN_RETRY_AFTER)
        except errors.RequestError:
            self._release_key(record, even_if_done=True)
            raise
        except errors.BrokerError as error:
            # No asset was made, and the caller knows no id, so the upload is deleted. After an
            # ambiguous outcome `post` returns, and the upload stays.
            was_sent = not isinstance(error, sync_errors.UpstreamUnavailable)
            with suppress(errors.StoreUnavailable):
                self._repository.delete(lease, record, was_sent=was_sent)
            raise

    def _repeated(self, caller: Caller, upload_id: str, ticket: str | None) -> Upload:
        """Return the upload of a repeated request, with a fresh URL if the old one is old."""
        upload = self.get(caller, upload_id)
        is_renewable = upload.status is Status.PENDING and len(upload.targets) < MAX_TARGETS
        try:
            return self.renew(caller, upload_id, ticket)[0] if is_renewable else upload
        except _NO_LONGER_PENDING:
            return self.get(caller, upload_id)  # Another request completed or ended it.

    def _repeated_url(self, caller: Caller, upload_id: str) -> Outcome:
        """Return the outcome of a repeated request for a public URL."""
        # The first request may still delete the upload, so its id is not returned yet; or it has
        # just done so.
        with suppress(errors.NotFound):
            outcome = self._registration.complete(caller.id, upload_id)
            if not is_posting(outcome.upload, self._clock.now()):
                return outcome
        raise in_progress()

    def _begin_key(
        self, caller: Caller, key: RequestKey | None
    ) -> tuple[str, IdempotencyRecord | None]:
        """Return the upload's id, and the record of the request's key if it has one."""
        upload_id = secrets.token_hex(16)
        if key is None:
            return upload_id, None
        record = self._idempotency.begin(caller.id, key, upload_id)
        return record.upload_id, record

    def _release_key(self, record: IdempotencyRecord | None, *, even_if_done: bool = False) -> None:
        # If this fails, the key is free again two minutes later.
        if record is not None:
            with suppress(errors.StoreUnavailable):
                self._idempotency.release(record, even_if_done=even_if_done)

    def _release_quota(self, caller: Caller, upload_id: str, used: Usage) -> None:
        # If this fails, the caller's next request releases the reservation.
        with suppress(errors.StoreUnavailable):
            self._quotas.release(caller.id, _find_reservation(upload_id, used))

    def _presign(
        self, caller: Caller, permit: Permit, file_name: str, content_type: str, size: int
    ) -> tuple[Target, RateLimitState]:
        found, states = [permit], list[RateLimitState]()

        def take_permit() -> None:
            # A repeated request, after a lost response or with another key, needs its own permit.
            next_one = found.pop() if found else self._presigns.acquire(caller.id, "")
            states.append(self._presigns.commit(next_one))

        issued_at = self._clock.now()
        try:
            presigned = self._sync.presign(file_name, content_type, size, take_permit)
        except sync_errors.UpstreamRefused as error:
            raise outcomes.presign_refused(file_name, content_type, error) from error
        except sync_errors.UpstreamBusy as error:
            with suppress(errors.StoreUnavailable):
                self._presigns.back_off(error.retry_after or 0)
            raise
        self._storage_hosts.learn(presigned)
        # The browser and the sweep must know the same end.
        life = min(presigned.expires_in * SECOND, self._window)
        target = Target(presigned.upload_url, presigned.url, issued_at, issued_at + life)
        return target, states[-1]


def _new_upload(
    caller: Caller,
    upload_id: str,
    used: Usage,
    new: NewFile | NewUrl,
    target: Target | None = None,
) -> Upload:
    """Return a new upload, created at the moment of its reservation."""
    at, file = _find_reservation(upload_id, used).at, new if isinstance(new, NewFile) else None
    return Upload(
        id=upload_id,
        owner=caller.id,
        status=Status.PENDING,
        created_at=at,
        updated_at=at,
        type=new.type,
        max_bytes=caller.limits.max_upload_bytes,
        name=new.name,
        project_id=new.project_id,
        source_url=new.url if isinstance(new, NewUrl) else None,
        file_name=file.file_name if file else None,
        content_type=file.content_type if file else None,
        size=file.size if file else None,
        targets=(target,) if target else (),
        due_at=next_due(at, at) if target else None,
    )


def _find_reservation(upload_id: str, used: Usage) -> Reservation:
    return next(one for one in used.reservations if one.upload_id == upload_id)
