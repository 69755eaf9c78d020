"""How an Upload lies in DynamoDB, and how a cursor points between two items. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from chalicelib import errors
from chalicelib.uploads import Attempt, Status, Target, Upload

Item = dict[str, Any]

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def key(pk: str) -> Item:
    """Return the table's key."""
    return {"pk": {"S": pk}}


def values(plain: Mapping[str, Any]) -> Item:
    """Write plain values as DynamoDB's typed ones."""
    return {name: _serialize(value) for name, value in plain.items()}


def list_place(list_key: str, when: int, upload_id: str) -> dict[str, str]:
    """Name the list that an item stands in, and its place: by time, and by id in one moment."""
    return {"listKey": list_key, "listOrder": f"{when:015d}#{upload_id}"}


def from_upload(upload: Upload, pk: str) -> Item:
    """Write an Upload as an item; a reservation stands in no list."""
    plain: dict[str, Any] = {
        "pk": pk,
        "id": upload.id,
        "owner": upload.owner,
        "status": upload.status.value,
        "createdAt": upload.created_at,
        "updatedAt": upload.updated_at,
        "type": upload.type,
        "fileName": upload.file_name,
        "contentType": upload.content_type,
        "size": upload.size,
        "name": upload.name,
        "projectId": upload.project_id,
        "sourceUrl": upload.source_url,
        "targets": [asdict(target) for target in upload.targets],
        "attempt": asdict(upload.attempt) if upload.attempt else None,
        # As JSON text, because DynamoDB's numbers are decimals and sync.'s are not.
        "asset": json.dumps(upload.asset) if upload.asset else None,
        "error": json.dumps(upload.error) if upload.error else None,
    }
    if upload.status is not Status.CREATING:
        plain |= list_place(f"uploads#{upload.owner}", upload.created_at, upload.id)
    return values(plain)


def to_upload(item: Mapping[str, Any]) -> Upload:
    """Read an item as an Upload."""
    plain = {name: _deserialize(value) for name, value in item.items()}
    attempt = plain["attempt"]
    return Upload(
        id=plain["id"],
        owner=plain["owner"],
        status=Status(plain["status"]),
        created_at=int(plain["createdAt"]),
        updated_at=int(plain["updatedAt"]),
        type=plain["type"],
        file_name=plain["fileName"],
        content_type=plain["contentType"],
        size=None if plain["size"] is None else int(plain["size"]),
        name=plain["name"],
        project_id=plain["projectId"],
        source_url=plain["sourceUrl"],
        targets=tuple(Target(**_whole(target)) for target in plain["targets"]),
        attempt=Attempt(**_whole(attempt)) if attempt else None,
        asset=json.loads(plain["asset"]) if plain["asset"] else None,
        error=json.loads(plain["error"]) if plain["error"] else None,
    )


def _whole(members: Mapping[str, Any]) -> dict[str, Any]:
    """Turn DynamoDB's decimals, which are all whole here, into integers."""
    return {
        name: value if isinstance(value, str) else int(value) for name, value in members.items()
    }


def cursor(last: Mapping[str, Any]) -> str:
    """Write the place behind the last item of a page."""
    place = json.dumps([last["listOrder"]["S"], last["pk"]["S"]])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def start_key(list_key: str, text: str) -> Item:
    """Read a cursor. The list is the caller's own, whatever the cursor says.

    Raises:
        InvalidInput: It is none that `cursor` wrote.
    """
    try:
        order, pk = json.loads(
            base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        )
        if not (isinstance(order, str) and isinstance(pk, str) and order and pk):
            raise ValueError("a cursor holds two strings")  # noqa: TRY301 - one answer for all
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidInput(
            "The cursor is none that this broker gave out.",
            errors=({"parameter": "cursor", "detail": "must be a nextCursor of an earlier page"},),
        ) from error
    return values({"listKey": list_key, "listOrder": order, "pk": pk})
