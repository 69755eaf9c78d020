"""Registering an upload at Sync: at most one asset for one upload.

A request that wants to POST holds a lease, taken by one conditional write. After an ambiguous
outcome the asset is searched for in Sync's list, at once and on each later request. Nobody POSTs
again before Sync must have finished the ambiguous request, and then only after one more scan of the
list. While the list is undecided, nobody POSTs at all.
"""

import logging
import math
import secrets
from contextlib import suppress
from dataclasses import replace

from chalicelib.core import errors, log, wording
from chalicelib.core.clock import SECOND, Clock
from chalicelib.ratelimit.limiter import RateLimiter
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.uploads.errors import FileNotUploaded, UrlTimeout
from chalicelib.uploads.models import Attempt, Lease, Status, Upload, try_pause
from chalicelib.uploads.outcomes import (
    BUSY_RETRY_AFTER,
    Outcome,
    outcome_of,
    refuse_early,
    refused,
)
from chalicelib.uploads.reconciliation import (
    Reconciliation,
    ScanCursor,
    find_matches,
    reconcile,
)
from chalicelib.uploads.recording import Recording
from chalicelib.uploads.repository import UploadRepository

CLOCK_MARGIN_SECONDS = 30  # how far apart the clocks of two containers may be
ATTEMPT_SECONDS = 30  # the longest an attempt can run: the Lambda function's time-out
LOOKBACK_SECONDS = 15 * 60  # how far behind Sync's clock may be
# API Gateway gives up after 29 s, the slowest POST takes 18 s and the slowest scan of the list 7 s.
# So this long after it began, a request may still try a further URL, or scan at once.
MORE_URLS_SECONDS = 9
SCAN_BY_SECONDS = 20
UNKNOWN_RETRY_AFTER = 5  # seconds, while an outcome is ambiguous


def plan_attempt(now: int, settle_seconds: int) -> Attempt:
    """Return a new attempt that starts now."""
    longest = (ATTEMPT_SECONDS + CLOCK_MARGIN_SECONDS) * SECOND
    name = secrets.token_hex(8)
    return Attempt(
        id=name,
        lease_until=now + longest,
        first_post_at=now,
        settle_at=now + longest + settle_seconds * SECOND,
        post_id=name,
    )


class Registration:
    """Registers uploads, and reconciles ambiguous registrations.

    Args:
        repository: The uploads.
        sync: Sync's API.
        limiter: Permits each POST.
        clock: The time.
        settle_seconds: How long Sync may still carry out a registration after the longest attempt.
    """

    def __init__(
        self,
        repository: UploadRepository,
        sync: SyncClient,
        limiter: RateLimiter,
        clock: Clock,
        settle_seconds: int,
    ) -> None:
        self._repository = repository
        self._sync = sync
        self._limiter = limiter
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._recording = Recording(repository, sync, clock)

    def plan(self) -> Attempt:
        """Return a new attempt that starts now."""
        return plan_attempt(self._clock.now(), self._settle_seconds)

    def complete(self, owner: str, upload_id: str, *, may_wait: bool = True) -> Outcome:
        """Register an upload whose bytes are there. It is idempotent.

        Args:
            owner: Whose upload.
            upload_id: The upload's id.
            may_wait: As in `RateLimiter.acquire`.

        Raises:
            BrokerError: The caller has no such upload, it has ended without an asset, or it can't
                be registered now.
        """
        now = self._clock.now()
        if (refusal := self._early_refusal(owner)) is not None:
            upload = self._repository.get(upload_id, owner)
            # An upload in another state needs no POST.
            if upload.status is Status.PENDING:
                refuse_early(upload, now)
                raise refusal
            if not isinstance(refusal, errors.RateLimited):
                return _unchanged(upload, refusal, now)
        attempt = self.plan()
        found = self._repository.lease_to_post(upload_id, owner, attempt, now)
        if isinstance(found, Lease):
            self._acquire(found, may_wait=may_wait)
            log.transition(upload_id, Status.REGISTERING)
            return self.post(found)
        earlier = found.attempt
        if earlier is not None and earlier.lease_until < now:
            try:
                # Reconciling asks Sync too, so it takes a permit like a POST.
                self._take_permit(owner, may_wait=may_wait)
            except errors.RateLimited as error:
                return Outcome(found, math.ceil(error.retry_after or BUSY_RETRY_AFTER))
            leased = self._repository.lease_to_reconcile(found, attempt, now)
            if isinstance(leased, Lease):
                if earlier.lease_until:
                    _log_ambiguous(found, "interrupted")  # The lease's holder was killed.
                return self.reconcile(leased, now)
            found = leased
        return outcome_of(found, now)

    def post(
        self, lease: Lease, *, is_first_request: bool = False, began: int | None = None
    ) -> Outcome:
        """Register an upload; the permit for its first POST is taken already.

        Args:
            lease: The upload's lease.
            is_first_request: Whether the caller does not know the upload's id yet. Then an error
                does not reopen the upload: `UploadService.register_url` deletes it instead.
            began: When the request began, if not with the attempt.

        Raises:
            BrokerError: No asset was made, or it could not be recorded.
        """
        upload, attempt = lease.upload, lease.attempt
        began = attempt.first_post_at if began is None else began
        tried = frozenset(upload.tried)
        refusal: sync_errors.UpstreamRefused | None = None
        for index in upload.untried:
            now = self._clock.now()
            # A process that was frozen so long that its lease may be over must not POST any more.
            if now > attempt.first_post_at + ATTEMPT_SECONDS * SECOND:
                self._reopen(lease, tried)
                return Outcome(upload, BUSY_RETRY_AFTER)
            if refusal is not None and not self._may_try_more(upload, now - began):
                break
            try:
                asset = self._sync.register(
                    upload.url_at(index), upload.type, upload.name, upload.project_id
                )
            except sync_errors.OutcomeUnknown as error:
                return self._reconcile_at_once(lease, began, error)
            except sync_errors.UpstreamRefused as error:
                if error.is_final:
                    raise self._fail(lease, refused(upload.label, error)) from error
                refusal = error
                tried |= {index}
            except errors.BrokerError as error:
                # Nothing was sent, or Sync reported that it did nothing.
                self._back_off_if_busy(error)
                if not is_first_request:
                    self._reopen(lease, tried)
                raise
            else:
                return self._recording.record(lease, asset, is_reconciled=False)
        return self._refused(lease, refusal or sync_errors.UpstreamRefused(), tried)

    def reconcile(self, lease: Lease, began: int) -> Outcome:
        """Find out what became of an ambiguous registration.

        Args:
            lease: The upload's lease.
            began: When the request began.
        """
        upload, attempt = lease.upload, lease.attempt
        scan = ScanCursor.read(attempt.scan, self._clock.now())
        since = attempt.first_post_at - LOOKBACK_SECONDS * SECOND
        try:
            found = find_matches(self._sync, upload, since, scan.cursor)
        except errors.BrokerError as error:
            log.event("scan_failed", level=logging.WARNING, uploadId=upload.id, code=error.code)
            # A cursor that Sync refuses once would be refused for ever.
            is_refused = isinstance(error, sync_errors.UpstreamRefused)
            return self._stay_unknown(lease, None if scan.cursor is None or is_refused else scan)
        known = reconcile(self._repository, lease, found, scan, self._clock.now())
        if known.asset is not None:
            return self._recording.record(lease, known.asset, is_reconciled=True)
        if not upload.is_file and _is_over(known, attempt):
            if known.is_undecided:
                _alarm_undecided(upload)
            raise self._fail(
                lease,
                UrlTimeout(
                    "Sync could not load the link in time. Check that it opens quickly, and add it "
                    "again."
                ),
            )
        if known.is_undecided and upload.is_file:
            _alarm_undecided(upload)
        if known.continues_at is not None:
            log.event("scan_unfinished", level=logging.WARNING, uploadId=upload.id)
        if known.is_undecided or known.may_come or known.continues_at is not None:
            return self._stay_unknown(lease, known.continues_at)
        return self._repost(lease, began)

    def discard(self, upload: Upload) -> None:
        """Delete the asset of an upload that failed because it is too large, or empty.

        Raises:
            BrokerError: It may still be there; the sweep tries again.
        """
        self._recording.discard(upload)

    def _early_refusal(self, owner: str) -> errors.BrokerError | None:
        """Return why a POST would be refused now, before a lease is written for it."""
        try:
            self._sync.check_available()
            self._limiter.check_cached_refusal(owner)
        except errors.BrokerError as refusal:
            return refusal
        return None

    def _acquire(self, lease: Lease, *, may_wait: bool) -> None:
        """Acquire the permit for the first POST of a lease, or give up the lease."""
        try:
            # In this order a public URL that is one too many takes no permit.
            self._repository.begin_registering(lease)
            self._take_permit(lease.upload.owner, may_wait=may_wait)
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                tried = frozenset(lease.upload.tried)
                self._repository.reopen(lease, self._clock.now(), tried)
            raise

    def _take_permit(self, owner: str, *, may_wait: bool) -> None:
        """Take the permit for one request; `may_wait` as in `RateLimiter.acquire`."""
        self._limiter.commit(self._limiter.acquire(owner, may_wait=may_wait))

    def _back_off_if_busy(self, error: errors.BrokerError) -> None:
        if isinstance(error, sync_errors.UpstreamBusy):
            with suppress(errors.StoreUnavailable):
                self._limiter.back_off(error.retry_after or 0)

    def _may_try_more(self, upload: Upload, elapsed: int) -> bool:
        """Whether there is time, and a permit, for a further URL."""
        if elapsed > MORE_URLS_SECONDS * SECOND:
            return False
        try:
            self._take_permit(upload.owner, may_wait=False)
        except errors.RateLimited:
            return False
        return True

    def _reconcile_at_once(
        self, lease: Lease, began: int, error: sync_errors.OutcomeUnknown
    ) -> Outcome:
        _log_ambiguous(lease.upload, error.code)
        has_time = self._clock.now() - began <= SCAN_BY_SECONDS * SECOND
        return self.reconcile(lease, began) if has_time else self._stay_unknown(lease)

    def _repost(self, lease: Lease, began: int) -> Outcome:
        """POST once more, since the ambiguous POST is known to have made no asset."""
        upload = lease.upload
        try:
            self._take_permit(upload.owner, may_wait=False)
        except errors.RateLimited:
            return self._stay_unknown(lease)
        attempt = replace(self.plan(), posts=lease.attempt.posts + 1)
        renewed = self._repository.lease_to_repost(lease, attempt)
        if renewed is None:
            return Outcome(upload, BUSY_RETRY_AFTER)
        try:
            self._repository.begin_registering(renewed)
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                self._repository.undo_repost(renewed, lease.attempt, self._clock.now())
            raise
        return self.post(renewed, began=began)

    def _stay_unknown(self, lease: Lease, scan: ScanCursor | None = None) -> Outcome:
        """Give up the lease; the next request scans the list anew, or continues this scan."""
        text = scan.write() if scan else None
        self._repository.release(lease, self._clock.now(), text)
        return Outcome(lease.upload, UNKNOWN_RETRY_AFTER)

    def _refused(
        self, lease: Lease, refusal: sync_errors.UpstreamRefused, tried: frozenset[int]
    ) -> Outcome:
        """Decide what a refusal that is not known to be final means."""
        upload = lease.upload
        if not upload.is_file:
            raise self._fail(lease, refused(upload.label, refusal)) from refusal
        # Nobody documents how Sync reports "not uploaded yet", so any refusal may mean it.
        self._reopen(lease, tried, is_refused=True)
        raise FileNotUploaded(
            f"{upload.label} has not arrived at Sync yet.{wording.said(refusal.detail)}",
            retry_after=try_pause(upload.refusals + 1) / SECOND,
        ) from refusal

    def _reopen(self, lease: Lease, tried: frozenset[int], *, is_refused: bool = False) -> None:
        if self._repository.reopen(lease, self._clock.now(), tried, is_refused=is_refused):
            log.transition(lease.upload.id, Status.PENDING)

    def _fail(self, lease: Lease, error: errors.BrokerError) -> errors.BrokerError:
        problem = {"code": error.code, "detail": error.detail}
        if self._repository.fail(lease, problem, self._clock.now()):
            log.transition(lease.upload.id, Status.FAILED, code=error.code)
        return error


def _unchanged(upload: Upload, refusal: errors.BrokerError, now: int) -> Outcome:
    """Return the outcome of an upload by its record alone, while Sync can't be asked."""
    outcome = outcome_of(upload, now)
    if outcome.retry_after is None:
        return outcome
    return replace(outcome, retry_after=math.ceil(refusal.retry_after or BUSY_RETRY_AFTER))


def _is_over(known: Reconciliation, attempt: Attempt) -> bool:
    """Whether a public URL's outcome stays unknown although everything was done to find it out."""
    return known.is_settled and (known.is_undecided or attempt.posts > 1)


def _alarm_undecided(upload: Upload) -> None:
    """Call a person, who must decide which asset is this upload's."""
    log.event("outcome_undecided", level=logging.ERROR, uploadId=upload.id)


def _log_ambiguous(upload: Upload, code: str) -> None:
    log.event("outcome_unknown", level=logging.WARNING, uploadId=upload.id, code=code)
