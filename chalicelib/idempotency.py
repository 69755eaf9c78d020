"""Requests that are sent again with one `Idempotency-Key`: they give the same upload.

    key#<caller>#<hash>     which upload the key stands for, and what the body was

The key is taken by one conditional write before anything else, and bound in the transaction that
writes the upload. A request that was refused gives it back; one that was killed loses it to the
next request after two minutes.
"""

import hashlib
from collections.abc import Callable

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors
from chalicelib.ports import Binding
from chalicelib.uploads import RequestKey

KEEP_SECONDS = 25 * 3600  # the promise is 24 hours; DynamoDB's TTL is never early
RUNNING_MILLISECONDS = 120_000  # twice what a request can take, the clocks' margin included
BUSY_RETRY_AFTER = 2  # seconds
_FREE = "attribute_not_exists(#pk) OR #ttl < :now OR (#done = :no AND #at < :stale)"


class Bindings:
    """Which upload each key stands for.

    Args:
        table: The broker's table.
        now: Milliseconds since 1970.
    """

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now

    def take(self, caller_id: str, key: RequestKey, upload_id: str) -> Binding:
        """Take a key for a new upload, or find the upload that it stands for.

        Raises:
            RequestInProgress: The first request with this key still runs.
            IdempotencyKeyReused: The first request with this key had another body.
        """
        now = self._now()
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
            return Binding(pk, upload_id, is_done=False)
        found = codec.plain(written.item or {})
        # boto3 repeats a write whose answer was lost; the repetition finds the first one.
        if found["uploadId"] == upload_id:
            return Binding(pk, upload_id, is_done=False)
        if found["fingerprint"] != key.fingerprint:
            raise errors.IdempotencyKeyReused("This key was used with another body.")
        if not found["done"]:
            raise errors.RequestInProgress(
                "This upload is starting already. Try again in a moment.",
                retry_after=BUSY_RETRY_AFTER,
            )
        return Binding(pk, str(found["uploadId"]), is_done=True)

    def release(self, binding: Binding, *, even_if_bound: bool = False) -> None:
        """Give a key back, because the request was refused."""
        condition = "#uploadId = :upload" + ("" if even_if_bound else " AND #done = :no")
        values = {"upload": binding.upload_id} | ({} if even_if_bound else {"no": False})
        self._table.write(Change(pk=binding.pk, condition=condition, values=values, delete=True))


def bound(binding: Binding) -> Change:
    """Let the key stand for the upload: part of the transaction that writes the upload."""
    return Change(
        pk=binding.pk,
        condition="#uploadId = :upload",
        values={"upload": binding.upload_id},
        sets={"done": True},
    )


def unbound(binding: Binding) -> Change:
    """Free the key: part of the transaction that takes the upload's record back."""
    return Change(
        pk=binding.pk,
        condition="#uploadId = :upload",
        values={"upload": binding.upload_id},
        delete=True,
    )
