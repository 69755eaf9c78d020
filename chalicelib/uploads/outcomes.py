"""The outcome of a registration, and the errors that explain it to the caller. Pure."""

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
    """The outcome of a request to register an upload.

    Attributes:
        upload: The upload.
        retry_after: Seconds until the caller should ask again; None when it is registered.
    """

    upload: Upload
    retry_after: int | None = None


_STATES = {
    Status.PENDING: "is a link, not a file",
    Status.REGISTERING: "is still being processed",
    Status.REGISTERED: "is uploaded already",
    Status.FAILED: "could not be used; choose another file",
}
# Sync's final refusals by its `errorCode`: what each means for an upload, and why.
_FINAL: dict[str, tuple[type[errors.RequestError], str]] = {
    "file_size_exceeds_plan_limit": (FileTooLarge, "is larger than Sync allows"),
    "file_not_in_org_storage": (FileRejected, "was refused by Sync"),
    "project_not_found": (ProjectNotFound, "can't be added: Sync does not know its project"),
}
_STATUSES_OF_URL = frozenset({404, 405, 410})  # statuses that say nothing about the file


def presign_refused(
    file_name: str, content_type: str, error: sync_errors.UpstreamRefused
) -> errors.BrokerError:
    """Return Sync's refusal of a presign in words that name the file and its type.

    If Sync does not know the URL, the file is not to blame, and another one would not help.
    """
    if error.is_final:
        return refused(wording.quoted(file_name), error)
    if error.upstream_status in _STATUSES_OF_URL:
        return sync_errors.UpstreamRefused(
            "Sync does not take uploads from this service. Tell those who run it."
        )
    return FileRejected(
        f"Sync does not accept {wording.quoted(file_name)} ({content_type})."
        f"{wording.said(error.detail)}"
    )


def refused(label: str, error: sync_errors.UpstreamRefused) -> errors.BrokerError:
    """Return Sync's refusal of a registration in words that name the file."""
    kind, reason = _FINAL.get(error.upstream_code or "", (FileRejected, "was refused by Sync"))
    return kind(f"{label} {reason}.{wording.said(error.detail)}")


def outcome_of(upload: Upload, now: int) -> Outcome:
    """Return the outcome for a request that could not take the upload's lease.

    Raises:
        BrokerError: The upload has ended without an asset, or Sync saw no file a moment ago.
    """
    refuse_early(upload, now)
    if upload.status is Status.REGISTERED:
        return Outcome(upload)
    if upload.status in {Status.PENDING, Status.REGISTERING}:
        return Outcome(upload, BUSY_RETRY_AFTER)
    if upload.status is Status.FAILED and upload.error is not None:
        raise errors.by_code(upload.error["code"])(upload.error["detail"])
    raise not_pending(upload, 0)


def refuse_early(upload: Upload, now: int) -> None:
    """Refuse an attempt by the record alone while the pause after a refusal lasts.

    Raises:
        FileNotUploaded: Sync saw no file a moment ago.
    """
    if upload.status is Status.PENDING and upload.next_try_at > now:
        raise FileNotUploaded(
            f"{upload.label} has not arrived at Sync yet. Try again in a moment.",
            retry_after=(upload.next_try_at - now) / 1000,
        )


def not_pending(upload: Upload, now: int) -> errors.BrokerError:
    """Return why a request that needs a pending upload can't be carried out."""
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
    return UploadNotPending(f"{upload.label} {_STATES[upload.status]}.")


def is_posting(upload: Upload, now: int) -> bool:
    """Whether an attempt is running that is not ambiguous yet: it may end as pending."""
    attempt = upload.attempt
    return attempt is not None and attempt.id == attempt.post_id and attempt.lease_until >= now
