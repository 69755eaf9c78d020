"""An upload as an item of the table. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.aws import codec
from chalicelib.syncapi.models import Asset
from chalicelib.uploads.models import Attempt, Status, Target, Upload

# One shard takes 1,000 writes a second, and each shard is a query of every sweep.
FILE_SHARDS = tuple(f"due#{number}" for number in range(8))
URL_SHARD = "due#url"


def due_keys(upload_id: str, due_at: int, *, is_file: bool) -> dict[str, Any]:
    """Return the attributes that put an unfinished upload into the index `by-due`.

    Files are spread over shards. Public URLs have a separate shard, because the sweep takes
    files first.
    """
    shard = FILE_SHARDS[int(upload_id[:2], 16) % len(FILE_SHARDS)] if is_file else URL_SHARD
    return {"dueShard": shard, "dueAt": due_at}


def from_upload(upload: Upload, pk: str) -> codec.Item:
    """Return an upload as an item."""
    attributes: dict[str, Any] = {
        "pk": pk,
        "id": upload.id,
        "owner": upload.owner,
        "status": upload.status.value,
        "createdAt": upload.created_at,
        "updatedAt": upload.updated_at,
        "type": upload.type,
        "maxBytes": upload.max_bytes,
        "fileName": upload.file_name,
        "contentType": upload.content_type,
        "size": upload.size,
        "name": upload.name,
        "projectId": upload.project_id,
        "sourceUrl": upload.source_url,
        # Their fields are plain values, so they need no deep copy, as `asdict` makes it.
        "targets": [vars(target) for target in upload.targets],
        "attempt": vars(upload.attempt) if upload.attempt else None,
        # As JSON text, because DynamoDB's numbers are decimals and Sync's are not.
        "asset": json.dumps(upload.asset.fields) if upload.asset else None,
        "error": json.dumps(upload.error) if upload.error else None,
        "tried": upload.tried,
        "refusedAt": upload.refused_at,
        "refusedBefore": upload.refused_before,
        "refusals": upload.refusals,
        "nextTryAt": upload.next_try_at,
    }
    attributes |= codec.list_keys(f"uploads#{upload.owner}", upload.created_at, upload.id)
    if upload.due_at is not None:
        attributes |= due_keys(upload.id, upload.due_at, is_file=upload.is_file)
    if upload.discarded is not None:
        attributes["discarded"] = upload.discarded
    return codec.values(attributes)


def to_upload(item: Mapping[str, Any]) -> Upload:
    """Return an item as an upload."""
    attributes = codec.plain(item)
    attempt, asset, error = attributes["attempt"], attributes["asset"], attributes["error"]
    return Upload(
        id=attributes["id"],
        owner=attributes["owner"],
        status=Status(attributes["status"]),
        created_at=attributes["createdAt"],
        updated_at=attributes["updatedAt"],
        type=attributes["type"],
        max_bytes=attributes["maxBytes"],
        file_name=attributes["fileName"],
        content_type=attributes["contentType"],
        size=attributes["size"],
        name=attributes["name"],
        project_id=attributes["projectId"],
        source_url=attributes["sourceUrl"],
        targets=tuple(Target(**target) for target in attributes["targets"]),
        attempt=Attempt(**attempt) if attempt else None,
        asset=Asset(json.loads(asset)) if asset else None,
        error=json.loads(error) if error else None,
        due_at=attributes.get("dueAt"),
        discarded=attributes.get("discarded"),
        tried=tuple(attributes["tried"]),
        refused_at=attributes["refusedAt"],
        refused_before=attributes["refusedBefore"],
        refusals=attributes["refusals"],
        next_try_at=attributes["nextTryAt"],
    )
