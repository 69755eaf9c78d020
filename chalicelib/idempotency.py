"""Idempotency-Key: requests that are repeated with one key get the same upload.

    key#<caller>#<hash>     the upload that the key belongs to, and a hash of the request

The record is begun by one conditional write before anything else, and completed in the transaction
that writes the upload. A refused request releases its key; the key of a killed request is free for
the next request after two minutes.
"""

import hashlib
from dataclasses import dataclass

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors
from chalicelib.core.clock import REQUEST_OVER_AFTER, SECOND, Clock

KEEP_SECONDS = 25 * 3600  # the promise is 24 hours; DynamoDB's TTL is never early
BUSY_RETRY_AFTER = 2  # seconds
_FREE = "attribute_not_exists(#pk) OR #ttl < :now OR (#done = :no AND #at < :stale)"


@dataclass(frozen=True)
class RequestKey:
    """The identity of a request that may be repeated.

    Attributes:
        text: The `Idempotency-Key` as it was sent.
        fingerprint: Hash of the route and the body: the same key with another one is an error.
    """

    text: str
    fingerprint: str


@dataclass(frozen=True)
class IdempotencyRecord:
    """A caller's key and its upload.

    Attributes:
        pk: The record's key in the table.
        upload_id: The upload that the key belongs to, or will belong to.
        is_done: Whether the upload was written.
    """

    pk: str
    upload_id: str
    is_done: bool


class IdempotencyRecords:
    """The upload of each key.

    Args:
        table: The broker's table.
        clock: The time.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def begin(self, caller_id: str, key: RequestKey, upload_id: str) -> IdempotencyRecord:
        """Take a key for a new upload, or return the record of the upload that it belongs to.

        Raises:
            RequestInProgress: The first request with this key is still running.
            IdempotencyKeyReused: The first request with this key had another body.
        """
        now = self._clock.now()
        digest = hashlib.sha256(key.text.encode()).hexdigest()
        pk = f"key#{caller_id}#{digest}"
        item = {
            "pk": pk,
            "uploadId": upload_id,
            "fingerprint": key.fingerprint,
            "done": False,
            "at": now,
            "ttl": now // SECOND + KEEP_SECONDS,
        }
        values = {"now": now // SECOND, "no": False, "stale": now - REQUEST_OVER_AFTER}
        new = Change(pk=pk, condition=_FREE, values=values, put=codec.values(item))
        written = self._table.write(new)
        if written.granted:
            return IdempotencyRecord(pk, upload_id, is_done=False)
        found = codec.plain(written.item or {})
        # boto3 repeats a write whose response was lost, and the first one refuses the second.
        if found["uploadId"] == upload_id:
            return IdempotencyRecord(pk, upload_id, is_done=False)
        if found["fingerprint"] != key.fingerprint:
            raise errors.IdempotencyKeyReused("This key was used with another body.")
        if not found["done"]:
            raise in_progress()
        return IdempotencyRecord(pk, str(found["uploadId"]), is_done=True)

    def release(self, record: IdempotencyRecord, *, even_if_done: bool = False) -> None:
        """Delete a record, because the request was refused.

        Args:
            record: The record.
            even_if_done: Whether to delete it although the upload was written.
        """
        condition, values = _of_upload(record)
        if not even_if_done:
            condition, values = f"{condition} AND #done = :no", {**values, "no": False}
        self._table.write(Change(pk=record.pk, condition=condition, values=values, delete=True))


def in_progress() -> errors.RequestInProgress:
    """Return the error for a request whose key belongs to a request that is still running."""
    return errors.RequestInProgress(
        "This upload is starting already. Try again in a moment.", retry_after=BUSY_RETRY_AFTER
    )


def complete(record: IdempotencyRecord) -> Change:
    """Return the change that completes a record, for the transaction that writes the upload."""
    condition, values = _of_upload(record)
    return Change(pk=record.pk, condition=condition, values=values, sets={"done": True})


def delete(record: IdempotencyRecord) -> Change:
    """Return the change that deletes a record, for the transaction that deletes the upload."""
    return Change(pk=record.pk, delete=True)


def _of_upload(record: IdempotencyRecord) -> tuple[str, dict[str, str | bool]]:
    """Return the condition that the record still belongs to the upload, with its values."""
    return "#uploadId = :upload", {"upload": record.upload_id}
