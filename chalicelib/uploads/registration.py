"""Registering what has landed: at most one asset for one upload.

Who wants to POST holds a lease, taken by one conditional write. After an answer that was lost
the asset is looked for, at once and on each later call. Nobody POSTs again before sync. must have
finished the lost request, and then only after one more look. A candidate that can't be decided
never leads to a POST.
"""

import logging
import math
import secrets
from contextlib import suppress
from dataclasses import replace

from chalicelib.core import errors, log, wording
from chalicelib.core.clock import Clock
from chalicelib.ratelimit.registrations import RegistrationLimiter
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.uploads.errors import NO_UPLOAD, FileNotUploaded, UrlTimeout
from chalicelib.uploads.models import Attempt, Status, Upload, try_pause
from chalicelib.uploads.outcomes import BUSY_RETRY_AFTER, Outcome, refuse_early, refused, standing
from chalicelib.uploads.reconciliation import Reconciliation, ScanCursor, find_matches, reconcile
from chalicelib.uploads.recording import Recording
from chalicelib.uploads.repository import UploadRepository

CLOCK_MARGIN_SECONDS = 30  # how far apart the clocks of two containers may be
ATTEMPT_SECONDS = 30  # the longest an attempt can run: the Lambda function's time-out
LOOK_BACK_SECONDS = 15 * 60  # how far behind sync.'s clock may be
# API Gateway gives up after 29 s, and the slowest POST takes 18 s, the slowest look 7 s. So this
# long after its beginning a call may still try a further address, or look at once.
MORE_ADDRESSES_SECONDS = 9
LOOK_BY_SECONDS = 20
UNKNOWN_RETRY_AFTER = 5  # seconds, while an outcome is being found out


def plan_attempt(now: int, settle_seconds: int) -> Attempt:
    """Plan an attempt that starts now."""
    longest = (ATTEMPT_SECONDS + CLOCK_MARGIN_SECONDS) * 1000
    name = secrets.token_hex(8)
    return Attempt(
        id=name,
        lease_until=now + longest,
        first_post_at=now,
        settle_at=now + longest + settle_seconds * 1000,
        post_id=name,
    )


class Registration:
    """Tries to register, and finds out what became of a try.

    Args:
        repository: The records.
        sync: Sync's API.
        limiter: Permits each POST.
        clock: The time.
        settle_seconds: How long sync. may go on with a registration after the longest attempt.
    """

    def __init__(
        self,
        repository: UploadRepository,
        sync: SyncClient,
        limiter: RegistrationLimiter,
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
        """Plan an attempt that starts now."""
        return plan_attempt(self._clock.now(), self._settle_seconds)

    def complete(self, owner: str, upload_id: str) -> Outcome:
        """Register an upload whose bytes are there; repeatable for ever with the same answer.

        Raises:
            BrokerError: There is no such upload of this owner, it has ended without an asset, or
                it can't be registered now.
        """
        self._refuse_known(owner, upload_id)
        now = self._clock.now()
        attempt = self.plan()
        claim = self._repository.lease_post(upload_id, owner, attempt, now)
        upload = claim.upload
        if upload is None or upload.owner != owner:
            raise errors.NotFound(NO_UPLOAD)
        if claim.granted or _holds(upload, attempt):
            self._permit(upload)
            log.moved(upload.id, Status.REGISTERING)
            return self.post(upload)
        if upload.attempt is not None and upload.attempt.lease_until < now:
            was_let_go = upload.attempt.lease_until == 0
            try:
                # A look asks Sync too, so it takes a permit like a POST.
                self._limiter.acquire(owner)
            except errors.RateLimited as error:
                return Outcome(upload, math.ceil(error.retry_after or BUSY_RETRY_AFTER))
            claim = self._repository.lease_look(upload, attempt, now)
            upload = claim.upload or upload
            if claim.granted or _holds(upload, attempt):
                if not was_let_go:
                    _lost(upload, "interrupted")  # Whoever held the lease was killed.
                return self.look(upload, now)
        return standing(upload, now)

    def _refuse_known(self, owner: str, upload_id: str) -> None:
        """Refuse what is known to come too early, before a lease is written for it."""
        try:
            self._limiter.check_cached_refusal(owner)
        except errors.RateLimited:
            upload = self._repository.get(upload_id, owner)
            # What needs no POST is answered as ever.
            if upload is not None and upload.status is Status.PENDING:
                refuse_early(upload, self._clock.now())
                raise

    def _permit(self, upload: Upload) -> None:
        """Take the permit for the first POST of a lease, or let go of the lease."""
        try:
            # In this order a URL that finds no room takes no permit.
            self._repository.enter(upload)
            self._limiter.acquire(upload.owner)
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                self._repository.reopen(upload, self._clock.now(), frozenset(upload.tried))
            raise

    def post(
        self, upload: Upload, *, is_first_call: bool = False, began: int | None = None
    ) -> Outcome:
        """Register an upload whose lease is held, and the permit for its first POST.

        Args:
            upload: The upload, with the attempt that holds the lease.
            is_first_call: Whether the caller does not know the upload's id yet. Then nothing is
                moved back to pending: `Lifecycle.register_url` takes the record back instead.
            began: When the call began, if not with the attempt.

        Raises:
            BrokerError: Nothing was made, or what was made could not be recorded.
        """
        attempt = _attempt(upload)
        began = attempt.first_post_at if began is None else began
        tried = frozenset(upload.tried)
        refusal: sync_errors.UpstreamRefused | None = None
        for place in upload.untried:
            now = self._clock.now()
            # Whoever was frozen so long that its lease may be over must not POST any more.
            if now > attempt.first_post_at + ATTEMPT_SECONDS * 1000:
                self._reopen(upload, tried)
                return Outcome(upload, BUSY_RETRY_AFTER)
            if refusal is not None and not self._may_go_on(upload, now - began):
                break
            address = upload.address(place)
            try:
                asset = self._sync.register(address, upload.type, upload.name, upload.project_id)
            except sync_errors.OutcomeUnknown as error:
                _lost(upload, error.code)
                has_time = self._clock.now() - began <= LOOK_BY_SECONDS * 1000
                return self.look(upload, began) if has_time else self._keep_looking(upload)
            except sync_errors.UpstreamRefused as error:
                if error.is_final:
                    raise self._fail(upload, refused(upload.label, error)) from error
                refusal = error
                tried |= {place}
            except errors.BrokerError as error:
                # Nothing was sent, or sync. said that it did nothing.
                self._back_off_if_busy(error)
                if not is_first_call:
                    self._reopen(upload, tried)
                raise
            else:
                return self._recording.record(upload, asset, looked_up=False)
        return self._refused(upload, refusal or sync_errors.UpstreamRefused(), tried)

    def _back_off_if_busy(self, error: errors.BrokerError) -> None:
        if isinstance(error, sync_errors.UpstreamBusy):
            with suppress(errors.StoreUnavailable):
                self._limiter.back_off(error.retry_after or 0)

    def _may_go_on(self, upload: Upload, elapsed: int) -> bool:
        """Whether there is time, and a permit, for a further address."""
        if elapsed > MORE_ADDRESSES_SECONDS * 1000:
            return False
        try:
            self._limiter.acquire(upload.owner)
        except errors.RateLimited:
            return False
        return True

    def look(self, upload: Upload, began: int) -> Outcome:
        """Find out what became of a lost registration; the lease is held.

        Args:
            upload: The upload, with the attempt that holds the lease.
            began: When the call began.
        """
        attempt = _attempt(upload)
        scan = ScanCursor.read(attempt.scan, self._clock.now())
        since = attempt.first_post_at - LOOK_BACK_SECONDS * 1000
        try:
            found = find_matches(self._sync, upload, since, scan.cursor)
        except errors.BrokerError as error:
            log.event("look_failed", level=logging.WARNING, uploadId=upload.id, code=error.code)
            # A cursor that sync. does not take any more would never be taken.
            is_refused = scan.cursor is None or isinstance(error, sync_errors.UpstreamRefused)
            return self._keep_looking(upload, None if is_refused else scan)
        verdict = reconcile(self._repository, upload, found, scan, self._clock.now())
        if verdict.asset is not None:
            return self._recording.record(upload, verdict.asset, looked_up=True)
        if not upload.is_file and _is_over(verdict, attempt):
            if verdict.is_undecided:
                _alarm_undecided(upload)
            raise self._fail(
                upload,
                UrlTimeout(
                    "Sync could not load the link in time. Check that it opens quickly, and add it "
                    "again."
                ),
            )
        if verdict.is_undecided and upload.is_file:
            _alarm_undecided(upload)
        if verdict.continues_at is not None:
            log.event("look_unfinished", level=logging.WARNING, uploadId=upload.id)
        if verdict.is_undecided or verdict.may_come or verdict.continues_at is not None:
            return self._keep_looking(upload, verdict.continues_at)
        return self._post_again(upload, attempt, began)

    def _post_again(self, upload: Upload, attempt: Attempt, began: int) -> Outcome:
        """POST once more, since the lost POST is known to have made no asset."""
        try:
            self._limiter.acquire(upload.owner)
        except errors.RateLimited:
            return self._keep_looking(upload)
        claim = self._repository.lease_again(upload, replace(self.plan(), posts=attempt.posts + 1))
        if claim.upload is None or not claim.granted:
            return Outcome(upload, BUSY_RETRY_AFTER)
        try:
            self._repository.enter(claim.upload)
        except errors.BrokerError:
            with suppress(errors.StoreUnavailable):
                self._repository.release(claim.upload, self._clock.now())
            raise
        return self.post(claim.upload, began=began)

    def discard(self, upload: Upload) -> None:
        """Delete the asset of an upload that failed because it is too large, or empty.

        Raises:
            BrokerError: It may still be there; the sweep tries again.
        """
        self._recording.discard(upload)

    def _keep_looking(self, upload: Upload, scan: ScanCursor | None = None) -> Outcome:
        """Let go of the lease; the next call looks again, or goes on where this one stopped."""
        self._repository.release(upload, self._clock.now(), scan.write() if scan else None)
        return Outcome(upload, UNKNOWN_RETRY_AFTER)

    def _refused(
        self, upload: Upload, refusal: sync_errors.UpstreamRefused, tried: frozenset[int]
    ) -> Outcome:
        """Decide what a refusal that is not known to be final means."""
        if not upload.is_file:
            raise self._fail(upload, refused(upload.label, refusal)) from refusal
        # Nobody documents how sync. says "not uploaded yet", so any refusal may mean just that.
        self._reopen(upload, tried, is_refused=True)
        raise FileNotUploaded(
            f"{upload.label} has not arrived at Sync yet.{wording.said(refusal.detail)}",
            retry_after=try_pause(upload.refusals + 1) / 1000,
        ) from refusal

    def _reopen(self, upload: Upload, tried: frozenset[int], *, is_refused: bool = False) -> None:
        if self._repository.reopen(upload, self._clock.now(), tried, is_refused=is_refused).granted:
            log.moved(upload.id, Status.PENDING)

    def _fail(self, upload: Upload, error: errors.BrokerError) -> errors.BrokerError:
        self._repository.fail(
            upload, {"code": error.code, "detail": error.detail}, self._clock.now()
        )
        log.moved(upload.id, Status.FAILED, code=error.code)
        return error


def _attempt(upload: Upload) -> Attempt:
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    return upload.attempt


def _is_over(verdict: Reconciliation, attempt: Attempt) -> bool:
    """Whether a public URL's outcome stays unknown although all was done to find it out."""
    return verdict.is_settled and (verdict.is_undecided or attempt.posts > 1)


def _alarm_undecided(upload: Upload) -> None:
    """Call a person, who must see which asset is this upload's."""
    log.event("outcome_undecided", level=logging.ERROR, uploadId=upload.id)


def _lost(upload: Upload, code: str) -> None:
    """Say that nobody knows what became of a POST."""
    log.event("outcome_unknown", level=logging.WARNING, uploadId=upload.id, code=code)


def _holds(upload: Upload, attempt: Attempt) -> bool:
    """Say whether a refused write was our own: boto3 repeats one whose answer was lost."""
    return upload.attempt is not None and upload.attempt.id == attempt.id
