"""Requests that are sent again with one `Idempotency-Key`: they give the same upload.

    key#<caller>#<hash>     which upload the key stands for, and what the body was

The key is taken by one conditional write before anything else, and bound in the transaction that
writes the upload. A request that was refused gives it back; one that was killed loses it to the
next request after two minutes.
"""

import hashlib
from dataclasses import dataclass

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors
from chalicelib.core.clock import Clock

KEEP_SECONDS = 25 * 3600  # the promise is 24 hours; DynamoDB's TTL is never early
RUNNING_MILLISECONDS = 120_000  # twice what a request can take, the clocks' margin included
BUSY_RETRY_AFTER = 2  # seconds
_FREE = "attribute_not_exists(#pk) OR #ttl < :now OR (#done = :no AND #at < :stale)"


@dataclass(frozen=True)
class RequestKey:
    """What makes two requests one.

    Attributes:
        text: The `Idempotency-Key`, as it was sent.
        fingerprint: Hash of the route and the body: the same key with another one is an error.
    """

    text: str
    fingerprint: str


@dataclass(frozen=True)
class IdempotencyRecord:
    """A caller's `Idempotency-Key` and its upload.

    Attributes:
        pk: The key's item.
        upload_id: The upload that it stands for, or is about to.
        is_done: Whether the upload is there.
    """

    pk: str
    upload_id: str
    is_done: bool


class IdempotencyRecords:
    """Which upload each key stands for.

    Args:
        table: The broker's table.
        clock: The time.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def take(self, caller_id: str, key: RequestKey, upload_id: str) -> IdempotencyRecord:
        """Take a key for a new upload, or find the upload that it stands for.

        Raises:
            RequestInProgress: The first request with this key still runs.
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
            "ttl": now // 1000 + KEEP_SECONDS,
        }
        values = {"now": now // 1000, "no": False, "stale": now - RUNNING_MILLISECONDS}
        new = Change(pk=pk, condition=_FREE, values=values, put=codec.values(item))
        written = self._table.write(new)
        if written.granted:
            return IdempotencyRecord(pk, upload_id, is_done=False)
        found = codec.plain(written.item or {})
        # boto3 repeats a write whose answer was lost; the repetition finds the first one.
        if found["uploadId"] == upload_id:
            return IdempotencyRecord(pk, upload_id, is_done=False)
        if found["fingerprint"] != key.fingerprint:
            raise errors.IdempotencyKeyReused("This key was used with another body.")
        if not found["done"]:
            raise errors.RequestInProgress(
                "This upload is starting already. Try again in a moment.",
                retry_after=BUSY_RETRY_AFTER,
            )
        return IdempotencyRecord(pk, str(found["uploadId"]), is_done=True)

    def release(self, binding: IdempotencyRecord, *, even_if_bound: bool = False) -> None:
        """Give a key back, because the request was refused."""
        condition = "#uploadId = :upload" + ("" if even_if_bound else " AND #done = :no")
        values = {"upload": binding.upload_id} | ({} if even_if_bound else {"no": False})
        self._table.write(Change(pk=binding.pk, condition=condition, values=values, delete=True))


def bound(binding: IdempotencyRecord) -> Change:
    """Let the key stand for the upload: part of the transaction that writes the upload."""
    return Change(
        pk=binding.pk,
        condition="#uploadId = :upload",
        values={"upload": binding.upload_id},
        sets={"done": True},
    )


def unbound(binding: IdempotencyRecord) -> Change:
    """Free the key: part of the transaction that takes the upload's record back."""
    return Change(
        pk=binding.pk,
        condition="#uploadId = :upload",
        values={"upload": binding.upload_id},
        delete=True,
    )
