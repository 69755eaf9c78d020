"""What a registration has come to, and the words in which its caller hears of it. Pure."""

from dataclasses import dataclass

from chalicelib.core import errors, wording
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import (
    FileNotUploaded,
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    UploadBusy,
    UploadCancelled,
    UploadExpired,
    UploadNotPending,
)
from chalicelib.uploads.models import Status, Upload

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


_PAST = {
    Status.PENDING: "is a link, not a file",
    Status.REGISTERING: "is still being processed",
    Status.REGISTERED: "is uploaded already",
    Status.FAILED: "could not be used; choose another file",
}
# Sync's refusals of a file, or of its project, that are final.
FINAL = (FileTooLarge, FileRejected, ProjectNotFound)
_OF_THE_ADDRESS = frozenset({404, 405, 410})  # statuses that say nothing of the file


def presign_refused(file_name: str, content_type: str, error: errors.BrokerError) -> Exception:
    """Return Sync's refusal of a presign in words that name the file and its type.

    Where Sync does not know the address, the file is not to blame, and another one would not help.
    """
    if isinstance(error, FINAL):
        return refused(wording.quoted(file_name), error)
    if isinstance(error, sync_errors.UpstreamError) and (error.upstream_status in _OF_THE_ADDRESS):
        return sync_errors.UpstreamRefused(
            "Sync does not take uploads from this service. Tell those who run it."
        )
    return FileRejected(
        f"Sync does not accept {wording.quoted(file_name)} ({content_type})."
        f"{wording.said(error.detail)}"
    )


def refused(label: str, error: errors.BrokerError) -> errors.BrokerError:
    """Return Sync's final refusal of a registration in words that name the file."""
    words = {
        FileTooLarge.code: f"{label} is larger than Sync allows.",
        ProjectNotFound.code: f"{label} can't be added: Sync does not know its project.",
    }.get(error.code, f"{label} was refused by Sync.")
    kind = FileRejected if isinstance(error, sync_errors.UpstreamError) else type(error)
    return kind(words + wording.said(error.detail))


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
        raise FileNotUploaded(
            f"{upload.label} has not arrived at Sync yet. Try again in a moment.",
            retry_after=(upload.next_try_at - now) / 1000,
        )


def no_longer_pending(upload: Upload, now: int) -> errors.BrokerError:
    """Say why what needs a pending upload can't be done."""
    if upload.status is Status.CANCELLED:
        return UploadCancelled(f"{upload.label} was cancelled. Choose the file to upload it again.")
    if upload.status is Status.EXPIRED:
        return UploadExpired(
            f"{upload.label} did not arrive in time. Choose the file to upload it again."
        )
    if is_posting(upload, now):
        return UploadBusy(
            f"{upload.label} is being processed. Try again in a moment.",
            retry_after=BUSY_RETRY_AFTER,
        )
    return UploadNotPending(f"{upload.label} {_PAST[upload.status]}.")


def is_posting(upload: Upload, now: int) -> bool:
    """Say whether an attempt runs of which nothing is unknown yet: it may end as pending."""
    attempt = upload.attempt
    return attempt is not None and attempt.id == attempt.post_id and attempt.lease_until >= now
