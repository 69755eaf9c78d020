"""Whose an asset is, and which uploads of one public URL are being registered.

    claim#<assetId>     which upload recorded an asset, of which kind, and the address that it had
                        kept then
    url#<hash>          the uploads of one public URL, type and project whose registration is
                        under way, each with the time until when sync. may still be at it

Assets of one public URL look alike, so whose they are can't be told while somebody else's answer
may still come. An upload enters before it POSTs, and leaves in the transaction that ends its
registration.
"""

import hashlib
import json

from chalicelib import items
from chalicelib.addresses import canonical
from chalicelib.ports import Claimed
from chalicelib.table import Change, Table
from chalicelib.uploads import Json, Upload

_KEEP_SECONDS = 30 * 86_400  # an upload whose outcome is unknown for longer waits for a person


def claim(upload: Upload, asset: Json) -> Change:
    """Claim an asset for an upload, if no other one has it."""
    pk = f"claim#{asset['id']}"
    item = {
        "pk": pk,
        "uploadId": upload.id,
        "isFile": upload.is_file,
        "address": asset["url"] if upload.is_at(asset["url"]) else None,
    }
    return Change(
        pk=pk,
        condition="attribute_not_exists(#pk) OR #uploadId = :upload",
        values={"upload": upload.id},
        put=items.values(item),
    )


def read(table: Table, asset_ids: list[str]) -> dict[str, Claimed]:
    """Say by which upload each of these assets was recorded; the others are left out."""
    found: dict[str, Claimed] = {}
    # DynamoDB refuses a batch that names one item twice.
    keys = [f"claim#{asset_id}" for asset_id in dict.fromkeys(asset_ids)]
    for start in range(0, len(keys), 100):
        for pk, item in table.batch(keys[start : start + 100]).items():
            one = items.plain(item)
            recorded = Claimed(one["uploadId"], one["isFile"], one.get("address"))
            found[pk.removeprefix("claim#")] = recorded
    return found


def url_key(upload: Upload) -> str:
    """Name the item of all uploads whose assets look alike."""
    # Without the name, since nobody documents that sync. keeps it.
    same = json.dumps([canonical(upload.source_url or ""), upload.type, upload.project_id])
    return f"url#{hashlib.sha256(same.encode()).hexdigest()}"


def enter(upload: Upload) -> tuple[Change, ...]:
    """Say that an upload of a public URL is about to be registered; nothing for a file."""
    if upload.is_file:
        return ()
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    settle_at = upload.attempt.settle_at
    sets = {upload.id: settle_at, "ttl": settle_at // 1000 + _KEEP_SECONDS}
    return (Change(pk=url_key(upload), sets=sets),)


def others_registering(table: Table, upload: Upload) -> dict[str, int]:
    """Name the other uploads of a public URL, and until when sync. may be at each."""
    item = items.plain(table.get(url_key(upload)) or {})
    return {one: at for one, at in item.items() if one not in {"pk", "ttl", upload.id}}


def leave(upload: Upload) -> tuple[Change, ...]:
    """Say that a registration is over: part of the transaction that ends it; nothing for a file."""
    return () if upload.is_file else (Change(pk=url_key(upload), removes=(upload.id,)),)
