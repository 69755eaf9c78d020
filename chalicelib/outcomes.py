"""What a registration has come to, and what its caller is told of it. Pure."""

from dataclasses import dataclass

from chalicelib import errors
from chalicelib.uploads import Status, Upload

BUSY_RETRY_AFTER = 2  # seconds, while another attempt runs


@dataclass(frozen=True)
class Outcome:
    """Where a registration stands.

    Attributes:
        upload: The upload.
        retry_after: Seconds until the caller should ask again; None when it is registered.
    """

    upload: Upload
    retry_after: int | None = None


def standing(upload: Upload, now: int) -> Outcome:
    """Say where an upload stands for somebody who could not take its lease.

    Raises:
        BrokerError: It has ended without an asset, or Sync saw no file a moment ago.
    """
    refuse_early(upload, now)
    if upload.status is Status.REGISTERED:
        return Outcome(upload)
    if upload.status in {Status.PENDING, Status.REGISTERING}:
        return Outcome(upload, BUSY_RETRY_AFTER)
    if upload.status is Status.FAILED and upload.error is not None:
        raise errors.by_code(upload.error["code"])(upload.error["detail"])
    raise no_longer_pending(upload, 0)


def refuse_early(upload: Upload, now: int) -> None:
    """Answer from the record while the pause after a refusal lasts.

    Raises:
        FileNotUploaded: Sync saw no file a moment ago.
    """
    if upload.status is Status.PENDING and upload.next_try_at > now:
        raise errors.FileNotUploaded(
            "Sync did not see the file a moment ago; ask again a little later.",
            retry_after=(upload.next_try_at - now) / 1000,
        )


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
