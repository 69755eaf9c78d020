"""The only DynamoDB of the request path: each move of an upload is one conditional write.

One table. Items by their key `pk`:

    upload#<id>                 the Upload; in the index `by-list` from the moment it is pending
    asset#<caller>#<assetId>    a copy of the registered Upload, made in the same transaction:
                                a registered upload never changes, so the copies never differ
    claim#<assetId>             which upload an asset was recorded by

The time-line that the conditions protect, for two completes A and B of one upload:

    A lease (pending -> registering, leaseId=A) ── POST ── record (needs leaseId=A)
    B        lease refused: registering, not over ─► 202
    A is killed after its POST.
    B        lease refused until leaseUntil is over; then look lease (leaseId=B): B looks, never
             POSTs before settleAt. A, if it was only slow, finds leaseId=B and writes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import errors, items
from chalicelib.ports import Claim
from chalicelib.uploads import Attempt, Json, Page, Status, Target, Upload, sources

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LIST_INDEX = "by-list"


class Store:
    """Uploads in DynamoDB.

    Args:
        client: A DynamoDB client; its retries are DynamoDB's own business.
        table: Name of the table.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def create(self, upload: Upload) -> None:
        """Write a new upload; its id is random, so it is never there yet."""
        self._send(
            "put_item",
            Item=items.from_upload(upload, f"upload#{upload.id}"),
            ConditionExpression="attribute_not_exists(pk)",
        )

    def open(self, upload: Upload, target: Target, now: int) -> Upload:
        """Move a reserved upload to pending, with its first address; it is listed from now on."""
        claim = self._update(
            upload.id,
            condition="#status = :creating",
            values={":creating": Status.CREATING},
            sets={
                "status": Status.PENDING,
                "targets": [asdict(target)],
                "updatedAt": now,
                **items.list_place(f"uploads#{upload.owner}", upload.created_at, upload.id),
            },
        )
        if claim.upload is None or not claim.granted:
            raise errors.StoreUnavailable("The reservation is gone.", retry_after=1)
        return claim.upload

    def discard(self, upload: Upload) -> None:
        """Take back a record that nobody was told of: without an address, or without an asset."""
        attempt_id = upload.attempt.id if upload.attempt else ""
        self._send(
            "delete_item",
            Key=items.key(f"upload#{upload.id}"),
            ConditionExpression=(
                "#status = :creating OR (#status = :registering AND attempt.id = :attempt)"
            ),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=items.values(
                {
                    ":creating": Status.CREATING,
                    ":registering": Status.REGISTERING,
                    ":attempt": attempt_id,
                }
            ),
        )

    def get(self, upload_id: str, owner: str) -> Upload | None:
        """Read an upload; somebody else's is as good as none."""
        return self._read(f"upload#{upload_id}", owner)

    def get_asset(self, asset_id: str, owner: str) -> Upload | None:
        """Read the upload that this caller registered as an asset."""
        return self._read(f"asset#{owner}#{asset_id}", owner)

    def list_uploads(self, owner: str, limit: int, cursor: str | None) -> Page:
        """Read a caller's uploads, newest first."""
        return self._list(f"uploads#{owner}", limit, cursor)

    def list_assets(self, owner: str, limit: int, cursor: str | None) -> Page:
        """Read a caller's registered uploads, the last registered first."""
        return self._list(f"assets#{owner}", limit, cursor)

    def lease_post(self, upload_id: str, owner: str, attempt: Attempt, now: int) -> Claim:
        """Take the lease that allows to POST: only of a pending upload."""
        return self._update(
            upload_id,
            condition="#owner = :owner AND #status = :pending",
            values={":owner": owner, ":pending": Status.PENDING},
            sets={"status": Status.REGISTERING, "attempt": asdict(attempt), "updatedAt": now},
        )

    def lease_look(self, upload: Upload, attempt: Attempt, now: int) -> Claim:
        """Take over a registration whose lease is over, to find out what became of it.

        When the lost POST was sent, and when it is settled, stay as they are.
        """
        return self._update(
            upload.id,
            condition="#status = :registering AND attempt.lease_until < :now",
            values={":registering": Status.REGISTERING, ":now": now},
            sets={"attempt.id": attempt.id, "attempt.lease_until": attempt.lease_until},
        )

    def lease_again(self, upload: Upload, attempt: Attempt) -> Claim:
        """Turn a held lease that found nothing into one that allows to POST."""
        return self._held(upload, {"attempt": asdict(attempt)})

    def release(self, upload: Upload) -> Claim:
        """Let go of the lease while the outcome stays unknown."""
        return self._held(upload, {"attempt.lease_until": 0})

    def reopen(self, upload: Upload, now: int) -> Claim:
        """Move back to pending: the POST is known not to have made an asset."""
        return self._held(upload, {"status": Status.PENDING, "attempt": None, "updatedAt": now})

    def fail(self, upload: Upload, problem: Json, now: int) -> Claim:
        """Move to failed, with the problem that is repeated from now on."""
        return self._held(
            upload,
            {
                "status": Status.FAILED,
                "attempt": None,
                "error": json.dumps(problem),
                "updatedAt": now,
            },
        )

    def record(self, upload: Upload, asset: Json, *, looked_up: bool, now: int) -> Claim:
        """Move to registered and record the asset, in one transaction.

        Args:
            upload: The upload whose lease is held.
            asset: sync.'s asset.
            looked_up: Whether the asset was found by a look-up. Then it is taken only if no
                other upload has it; what a 201 returned is always taken.
            now: The time.

        Returns:
            Not granted if the lease was lost or the asset belongs to another upload.
        """
        attempt = _attempt_of(upload)
        done = replace(upload, status=Status.REGISTERED, attempt=None, asset=asset, updated_at=now)
        copy = items.from_upload(done, f"asset#{upload.owner}#{asset['id']}") | items.values(
            items.list_place(f"assets#{upload.owner}", now, upload.id)
        )
        claim: dict[str, Any] = {
            "TableName": self._table,
            "Item": items.values({"pk": f"claim#{asset['id']}", "uploadId": upload.id}),
        }
        if looked_up:
            claim["ConditionExpression"] = "attribute_not_exists(pk) OR uploadId = :upload"
            claim["ExpressionAttributeValues"] = items.values({":upload": upload.id})
        move = self._expression(
            upload.id,
            condition="#status = :registering AND attempt.id = :attempt",
            values={":registering": Status.REGISTERING, ":attempt": attempt.id},
            sets={
                "status": Status.REGISTERED,
                "attempt": None,
                "asset": json.dumps(asset),
                "updatedAt": now,
            },
        )
        writes = [
            {"Update": {"TableName": self._table, **move}},
            {"Put": {"TableName": self._table, "Item": copy}},
            {"Put": claim},
        ]
        try:
            self._call("transact_write_items", TransactItems=writes)
        except ClientError as error:
            if error.response["Error"]["Code"] == "TransactionCanceledException" and any(
                reason.get("Code") == "ConditionalCheckFailed"
                for reason in error.response.get("CancellationReasons", [])
            ):
                return Claim(granted=False, upload=None)
            raise _unavailable(error) from error
        return Claim(granted=True, upload=done)

    def unclaimed(self, asset_ids: list[str]) -> set[str]:
        """Say which of these assets (100 at most) no upload has recorded."""
        answer = self._send_batch([f"claim#{asset_id}" for asset_id in asset_ids])
        taken = {item["pk"]["S"].removeprefix("claim#") for item in answer}
        return set(asset_ids) - taken

    def renew(self, upload: Upload, target: Target, now: int) -> Claim:
        """Add a fresh address to a pending upload."""
        return self._update(
            upload.id,
            condition="#status = :pending AND size(targets) = :count",
            values={":pending": Status.PENDING, ":count": len(upload.targets)},
            sets={"targets": [asdict(t) for t in (*upload.targets, target)], "updatedAt": now},
        )

    def cancel(self, upload_id: str, owner: str, now: int) -> Claim:
        """Move a pending upload to cancelled."""
        return self._update(
            upload_id,
            condition="#owner = :owner AND #status = :pending",
            values={":owner": owner, ":pending": Status.PENDING},
            sets={"status": Status.CANCELLED, "updatedAt": now},
        )

    def ping(self) -> None:
        """Read an item that is not there, to see whether the table answers."""
        self._send("get_item", Key=items.key("ping"))

    def _held(self, upload: Upload, sets: Mapping[str, Any]) -> Claim:
        attempt = _attempt_of(upload)
        return self._update(
            upload.id,
            condition="#status = :registering AND attempt.id = :attempt",
            values={":registering": Status.REGISTERING, ":attempt": attempt.id},
            sets=sets,
        )

    def _update(
        self, upload_id: str, *, condition: str, values: Mapping[str, Any], sets: Mapping[str, Any]
    ) -> Claim:
        """Write if the condition holds; the refusal brings the item too, so no second read."""
        move = self._expression(upload_id, condition=condition, values=values, sets=sets)
        try:
            answer = self._call(
                "update_item",
                TableName=self._table,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **move,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise _unavailable(error) from error
            old = cast("items.Item | None", error.response.get("Item"))
            return Claim(granted=False, upload=items.to_upload(old) if old else None)
        return Claim(granted=True, upload=items.to_upload(answer["Attributes"]))

    @staticmethod
    def _expression(
        upload_id: str, *, condition: str, values: Mapping[str, Any], sets: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Build an update of the request: names and values are placeholders throughout."""
        target = sets.get("status")
        if target is not None:
            legal = {str(state) for state in sources(Status(target))}
            if not legal & {str(value) for value in values.values()}:
                raise ValueError(f"no move leads to {target} under the condition {condition!r}")
        names = {"#owner": "owner", "#status": "status"}
        assignments, placeholders = [], dict(values)
        for number, (path, value) in enumerate(sets.items()):
            parts = path.split(".")
            for part in parts:
                names[f"#{part}"] = part
            assignments.append(".".join(f"#{part}" for part in parts) + f" = :set{number}")
            placeholders[f":set{number}"] = value
        update = "SET " + ", ".join(assignments)
        used = {name: real for name, real in names.items() if name in update + " " + condition}
        return {
            "Key": items.key(f"upload#{upload_id}"),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": used,
            "ExpressionAttributeValues": items.values(placeholders),
        }

    def _read(self, key: str, owner: str) -> Upload | None:
        item = self._send("get_item", Key=items.key(key), ConsistentRead=True).get("Item")
        upload = items.to_upload(item) if item else None
        if upload is None or upload.owner != owner or upload.status is Status.CREATING:
            return None
        return upload

    def _list(self, list_key: str, limit: int, cursor: str | None) -> Page:
        request: dict[str, Any] = {
            "IndexName": LIST_INDEX,
            "KeyConditionExpression": "listKey = :list",
            "ExpressionAttributeValues": items.values({":list": list_key}),
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if cursor is not None:
            request["ExclusiveStartKey"] = items.start_key(list_key, cursor)
        answer = self._send("query", **request)
        last = answer.get("LastEvaluatedKey")
        uploads = tuple(items.to_upload(item) for item in answer["Items"])
        return Page(uploads, items.cursor(last) if last else None)

    def _send_batch(self, keys: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        wanted = [items.key(key) for key in keys]
        for _ in range(5):
            request = {self._table: {"Keys": wanted, "ConsistentRead": True}}
            try:
                answer = self._call("batch_get_item", RequestItems=request)
            except ClientError as error:
                raise _unavailable(error) from error
            found += answer["Responses"].get(self._table, [])
            wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not wanted:
                return found
        raise errors.StoreUnavailable("The table does not keep up.", retry_after=1)

    def _send(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            return self._call(operation, TableName=self._table, **request)
        except ClientError as error:
            raise _unavailable(error) from error

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**request)
        except BotoCoreError as error:
            raise errors.StoreUnavailable("The table can't be reached.", retry_after=2) from error
        return answer


def _unavailable(error: ClientError) -> errors.StoreUnavailable:
    return errors.StoreUnavailable(
        f"The table answered {error.response['Error']['Code']}.", retry_after=2
    )


def _attempt_of(upload: Upload) -> Attempt:
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    return upload.attempt
