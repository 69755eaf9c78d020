"""Registering what has landed: at most one asset for one upload.

Who wants to POST holds a lease, taken by one conditional write. After an answer that was lost
the asset is looked for, at once and on each later call. Nobody POSTs again before sync. must have
finished the lost request, and then only after one more look. A candidate that can't be decided
never leads to a POST.
"""

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chalicelib import errors, observability
from chalicelib.attempts import Attempt, Walk
from chalicelib.ports import Store, Upstream
from chalicelib.uploads import Json, Status, Upload, made_at, size_of
from chalicelib.verdict import judge

ATTEMPT_SECONDS = 30  # the longest an attempt can run: the Lambda function's time-out
CLOCK_MARGIN_SECONDS = 30  # how far apart the clocks of two containers may be
LOOK_BACK_SECONDS = 15 * 60  # how far behind sync.'s clock may be
# API Gateway gives up after 29 s, and the slowest POST takes 18 s, the slowest look 7 s. So this
# long after its beginning a call may still try a further address, or look at once.
MORE_ADDRESSES_SECONDS = 9
LOOK_BY_SECONDS = 20
BUSY_RETRY_AFTER = 2  # seconds, while another attempt runs
UNKNOWN_RETRY_AFTER = 5  # seconds, while an outcome is being found out


@dataclass(frozen=True)
class Outcome:
    """Where a registration stands.

    Attributes:
        upload: The upload.
        retry_after: Seconds until the caller should ask again; None when it is registered.
    """

    upload: Upload
    retry_after: int | None = None


class Registration:
    """Tries to register, and finds out what became of a try.

    Args:
        store: The records.
        upstream: sync.
        now: Milliseconds since 1970.
        settle_seconds: How long sync. may go on with a registration after the longest attempt.
    """

    def __init__(
        self, store: Store, upstream: Upstream, now: Callable[[], int], settle_seconds: int
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._now = now
        self._settle_seconds = settle_seconds

    def plan(self) -> Attempt:
        """Plan an attempt that starts now."""
        now = self._now()
        longest = (ATTEMPT_SECONDS + CLOCK_MARGIN_SECONDS) * 1000
        name = secrets.token_hex(8)
        return Attempt(
            id=name,
            lease_until=now + longest,
            first_post_at=now,
            settle_at=now + longest + self._settle_seconds * 1000,
            post_id=name,
        )

    def complete(self, owner: str, upload_id: str) -> Outcome:
        """Register an upload whose bytes are there; repeatable for ever with the same answer.

        Raises:
            BrokerError: There is no such upload of this owner, it has ended without an asset, or
                it can't be registered now.
        """
        now = self._now()
        attempt = self.plan()
        claim = self._store.lease_post(upload_id, owner, attempt, now)
        upload = claim.upload
        if upload is None or upload.owner != owner:
            raise errors.NotFound("There is no such upload.")
        if claim.granted or _holds(upload, attempt):
            observability.moved(upload.id, Status.REGISTERING)
            self._store.enter(upload)
            return self.post(upload)
        if upload.attempt is not None and upload.attempt.lease_until < now:
            was_let_go = upload.attempt.lease_until == 0
            claim = self._store.lease_look(upload, attempt, now)
            upload = claim.upload or upload
            if claim.granted or _holds(upload, attempt):
                if not was_let_go:
                    _lost(upload, "interrupted")  # Whoever held the lease was killed.
                return self.look(upload, now)
        return standing(upload)

    def post(
        self, upload: Upload, *, is_first_call: bool = False, began: int | None = None
    ) -> Outcome:
        """Register an upload whose lease is held.

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
        refusal: errors.UpstreamRefused | None = None
        for place in upload.untried:
            now = self._now()
            # Whoever was frozen so long that its lease may be over must not POST any more.
            if now > attempt.first_post_at + ATTEMPT_SECONDS * 1000:
                self._reopen(upload, tried)
                return Outcome(upload, BUSY_RETRY_AFTER)
            if refusal is not None and now - began > MORE_ADDRESSES_SECONDS * 1000:
                break
            address = upload.address(place)
            try:
                asset = self._upstream.register(
                    address, upload.type, upload.name, upload.project_id
                )
            except errors.OutcomeUnknown as error:
                _lost(upload, error.code)
                has_time = self._now() - began <= LOOK_BY_SECONDS * 1000
                return self.look(upload, began) if has_time else self._keep_looking(upload)
            except errors.UpstreamRefused as error:
                refusal = error
                tried |= {place}
            except errors.RequestError as error:
                raise self._fail(upload, error) from error
            except errors.BrokerError:
                # Nothing was sent, or sync. said that it did nothing.
                if not is_first_call:
                    self._reopen(upload, tried)
                raise
            else:
                return self._record(upload, asset, looked_up=False)
        return self._refused(upload, refusal or errors.UpstreamRefused(), tried)

    def look(self, upload: Upload, began: int) -> Outcome:
        """Find out what became of a lost registration; the lease is held.

        Args:
            upload: The upload, with the attempt that holds the lease.
            began: When the call began.
        """
        attempt = _attempt(upload)
        walk = Walk.read(attempt.walk, self._now())
        since = attempt.first_post_at - LOOK_BACK_SECONDS * 1000
        try:
            found = self._upstream.look(upload, since, walk.cursor)
        except errors.BrokerError as error:
            observability.event(
                "look_failed", level=logging.WARNING, uploadId=upload.id, code=error.code
            )
            # A cursor that sync. does not take any more would never be taken.
            is_refused = walk.cursor is None or isinstance(error, errors.UpstreamRefused)
            return self._keep_looking(upload, None if is_refused else walk)
        verdict = judge(self._store, upload, found, walk, self._now())
        if verdict.asset is not None:
            return self._record(upload, verdict.asset, looked_up=True)
        if verdict.is_undecided:
            # The alarm: a person must see which asset is this upload's.
            observability.event("outcome_undecided", level=logging.ERROR, uploadId=upload.id)
        if verdict.goes_on is not None:
            observability.event("look_unfinished", level=logging.WARNING, uploadId=upload.id)
        if verdict.is_undecided or verdict.may_come or verdict.goes_on is not None:
            return self._keep_looking(upload, verdict.goes_on)
        claim = self._store.lease_again(upload, self.plan())
        if claim.upload is None or not claim.granted:
            return Outcome(upload, BUSY_RETRY_AFTER)
        self._store.enter(claim.upload)
        return self.post(claim.upload, began=began)

    def _keep_looking(self, upload: Upload, walk: Walk | None = None) -> Outcome:
        """Let go of the lease; the next call looks again, or goes on where this one stopped."""
        self._store.release(upload, self._now(), walk)
        return Outcome(upload, UNKNOWN_RETRY_AFTER)

    def discard(self, upload: Upload) -> None:
        """Delete the asset of an upload that failed because it is too large.

        Raises:
            BrokerError: It may still be there; the sweep tries again.
        """
        asset_id = upload.discarded
        # Where sync. gives one asset for one URL, another caller may have registered it since.
        if asset_id is not None and self._is_claimed_by(upload, asset_id):
            self._upstream.delete(asset_id)
            observability.event("asset_deleted", uploadId=upload.id, assetId=asset_id)
        self._store.forget(upload.id)

    def _is_claimed_by(self, upload: Upload, asset_id: str) -> bool:
        """Say whether an asset is this upload's, recorded or to be deleted."""
        claimed = self._store.claims([asset_id]).get(asset_id)
        return claimed is not None and claimed.upload_id == upload.id

    def _record(self, upload: Upload, asset: Json, *, looked_up: bool) -> Outcome:
        asset = self._sized(upload, asset)
        size = size_of(asset)
        if size is not None and size > upload.max_bytes:
            raise self._too_large(upload, asset)
        claim = self._store.record(upload, asset, looked_up=looked_up, now=self._now())
        if claim.granted and claim.upload is not None:
            observability.moved(upload.id, Status.REGISTERED, lookedUp=looked_up, bytes=size)
            return Outcome(claim.upload)
        if not looked_up and not self._is_claimed_by(upload, asset["id"]):
            # The lease outlives every attempt, so this needs a clock that jumped or a container
            # that was frozen in mid-request. A person must see which asset nobody recorded.
            observability.event(
                "asset_orphaned", level=logging.ERROR, uploadId=upload.id, assetId=asset["id"]
            )
        return Outcome(upload, BUSY_RETRY_AFTER)

    def _sized(self, upload: Upload, asset: Json) -> Json:
        """Ask once more for the real size where sync. has not told it."""
        size = size_of(asset)
        if size is None:
            with suppress(errors.BrokerError):
                size = size_of(self._upstream.read(asset["id"]))
        if size is None:
            # The bytes are there and paid for, so the asset is not thrown away for it.
            observability.event(
                "size_unknown", level=logging.WARNING, uploadId=upload.id, assetId=asset["id"]
            )
        return {**asset, "size": size}

    def _too_large(self, upload: Upload, asset: Json) -> errors.BrokerError:
        """Fail an upload whose real size is over its caller's limit, and delete its asset.

        Where sync. gives one asset for one URL it may be another program's, and then stays.
        """
        error = errors.FileTooLarge(
            f"The file has {asset['size']} bytes, and you may upload {upload.max_bytes}."
        )
        problem = {"code": error.code, "detail": error.detail}
        made = made_at(asset)
        since = _attempt(upload).first_post_at - LOOK_BACK_SECONDS * 1000
        is_ours = upload.is_file or made is None or made >= since
        oversize = asset if is_ours else None
        claim = self._store.fail(upload, problem, self._now(), oversize)
        observability.moved(upload.id, Status.FAILED, code=error.code)
        if claim.granted and claim.upload is not None and claim.upload.discarded is not None:
            with suppress(errors.BrokerError):
                self.discard(claim.upload)
        return error

    def _refused(
        self, upload: Upload, refusal: errors.UpstreamRefused, tried: frozenset[int]
    ) -> Outcome:
        """Decide what a refusal that is not known to be final means."""
        reason = refusal.detail or "sync. gave no reason."
        if not upload.is_file:
            error = errors.FileRejected(reason)
            raise self._fail(upload, error) from refusal
        # Nobody documents how sync. says "not uploaded yet", so any refusal may mean just that.
        self._reopen(upload, tried)
        raise errors.FileNotUploaded(
            f"sync. does not see the file yet. It says: {reason}"
        ) from refusal

    def _reopen(self, upload: Upload, tried: frozenset[int]) -> None:
        if self._store.reopen(upload, self._now(), tried).granted:
            observability.moved(upload.id, Status.PENDING)

    def _fail(self, upload: Upload, error: errors.BrokerError) -> errors.BrokerError:
        self._store.fail(upload, {"code": error.code, "detail": error.detail}, self._now())
        observability.moved(upload.id, Status.FAILED, code=error.code)
        return error


def _attempt(upload: Upload) -> Attempt:
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    return upload.attempt


def _lost(upload: Upload, code: str) -> None:
    """Say that nobody knows what became of a POST."""
    observability.event("outcome_unknown", level=logging.WARNING, uploadId=upload.id, code=code)


def _holds(upload: Upload, attempt: Attempt) -> bool:
    """Say whether a refused write was our own: boto3 repeats one whose answer was lost."""
    return upload.attempt is not None and upload.attempt.id == attempt.id


def standing(upload: Upload) -> Outcome:
    """Say where an upload stands for somebody who could not take its lease.

    Raises:
        BrokerError: It has ended without an asset.
    """
    if upload.status is Status.REGISTERED:
        return Outcome(upload)
    if upload.status in {Status.PENDING, Status.REGISTERING}:
        return Outcome(upload, BUSY_RETRY_AFTER)
    if upload.status is Status.FAILED and upload.error is not None:
        raise errors.by_code(upload.error["code"])(upload.error["detail"])
    raise no_longer_pending(upload, 0)


def no_longer_pending(upload: Upload, now: int) -> errors.BrokerError:
    """Say why what needs a pending upload can't be done."""
    if upload.status is Status.CANCELLED:
        return errors.UploadCancelled("The upload was cancelled; begin a new one.")
    if upload.status is Status.EXPIRED:
        return errors.UploadExpired("The upload has expired; begin a new one.")
    if is_posting(upload, now):
        return errors.UploadBusy(
            "A registration is being tried; ask again when it is over.",
            retry_after=BUSY_RETRY_AFTER,
        )
    return errors.UploadNotPending(f"The upload is {upload.status}.")


def is_posting(upload: Upload, now: int) -> bool:
    """Say whether an attempt runs of which nothing is unknown yet: it may end as pending."""
    attempt = upload.attempt
    return attempt is not None and attempt.id == attempt.post_id and attempt.lease_until >= now
