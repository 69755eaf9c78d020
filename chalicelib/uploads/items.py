"""An Upload as an item of the table. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chalicelib.aws import codec
from chalicelib.uploads.models import Attempt, Status, Target, Upload

# One shard takes 1,000 writes a second, and each shard is a query of every sweep.
FILE_SHARDS = tuple(f"due#{number}" for number in range(8))
URL_SHARD = "due#url"


def due_place(upload_id: str, due_at: int, *, is_file: bool) -> dict[str, Any]:
    """Return the place of an unfinished upload in the sweep's index.

    Files are spread over shards. The few public URLs have a shard of their own, because the sweep
    takes files first.
    """
    shard = FILE_SHARDS[int(upload_id[:2], 16) % len(FILE_SHARDS)] if is_file else URL_SHARD
    return {"dueShard": shard, "dueAt": due_at}


def from_upload(upload: Upload, pk: str) -> codec.Item:
    """Write an Upload as an item."""
    members: dict[str, Any] = {
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
        "targets": [asdict(target) for target in upload.targets],
        "attempt": asdict(upload.attempt) if upload.attempt else None,
        # As JSON text, because DynamoDB's numbers are decimals and Sync's are not.
        "asset": json.dumps(upload.asset) if upload.asset else None,
        "error": json.dumps(upload.error) if upload.error else None,
        "tried": upload.tried,
        "refusedAt": upload.refused_at,
        "refusedBefore": upload.refused_before,
        "refusals": upload.refusals,
        "nextTryAt": upload.next_try_at,
    }
    members |= codec.list_place(f"uploads#{upload.owner}", upload.created_at, upload.id)
    if upload.due_at is not None:
        members |= due_place(upload.id, upload.due_at, is_file=upload.is_file)
    if upload.discarded is not None:
        members["discarded"] = upload.discarded
    return codec.values(members)


def to_upload(item: Mapping[str, Any]) -> Upload:
    """Read an item as an Upload."""
    members = codec.plain(item)
    attempt = members["attempt"]
    return Upload(
        id=members["id"],
        owner=members["owner"],
        status=Status(members["status"]),
        created_at=members["createdAt"],
        updated_at=members["updatedAt"],
        type=members["type"],
        max_bytes=members["maxBytes"],
        file_name=members["fileName"],
        content_type=members["contentType"],
        size=members["size"],
        name=members["name"],
        project_id=members["projectId"],
        source_url=members["sourceUrl"],
        targets=tuple(Target(**target) for target in members["targets"]),
        attempt=Attempt(**attempt) if attempt else None,
        asset=json.loads(members["asset"]) if members["asset"] else None,
        error=json.loads(members["error"]) if members["error"] else None,
        due_at=members.get("dueAt"),
        discarded=members.get("discarded"),
        tried=tuple(members["tried"]),
        refused_at=members["refusedAt"],
        refused_before=members["refusedBefore"],
        refusals=members["refusals"],
        next_try_at=members["nextTryAt"],
    )
