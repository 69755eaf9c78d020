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
from dataclasses import dataclass

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core.types import Json
from chalicelib.core.urls import canonical
from chalicelib.uploads.errors import TooManyUnknownUrls
from chalicelib.uploads.models import Upload

REGISTERING = "urls#registering"
MOST_URLS = 50
MOST_URLS_OF_ONE = 5
DELETION_MILLISECONDS = 60_000  # longer than Sync is waited for, and the clocks' margin
URLS_RETRY_AFTER = 10  # seconds; most URLs are fetched within it
_KEEP_SECONDS = 30 * 86_400  # an upload whose outcome is unknown for longer waits for a person


@dataclass(frozen=True)
class AssetOwners:
    """Which uploads recorded an asset.

    Attributes:
        owners: The uploads; several where Sync gives one asset for one public URL.
        is_file: Whether it was a file, not a public URL.
        address: The address by which it was registered; None where sync. gave it another one.
        deleting_until: Until when an attempt to delete it at Sync may be under way.
    """

    owners: frozenset[str]
    is_file: bool
    address: str | None
    deleting_until: int = 0


def claim(upload: Upload, asset: Json, *, looked_up: bool, now: int) -> Change:
    """Make an upload an owner of an asset.

    Args:
        upload: The upload.
        asset: Sync's asset.
        looked_up: Whether the asset was found in Sync's list. Then no other upload may own it. What
            a 201 returned is the upload's in any case, unless it is being deleted.
        now: The time.
    """
    unowned = "attribute_not_exists(#owners) OR contains(#owners, :upload)"
    staying = "attribute_not_exists(#deletingUntil) OR #deletingUntil < :now"
    return Change(
        pk=f"claim#{asset['id']}",
        condition=unowned if looked_up else staying,
        values={"upload": upload.id} if looked_up else {"now": now},
        sets={
            "isFile": upload.is_file,
            "address": asset["url"] if upload.is_at(asset["url"]) else None,
        },
        adds={"owners": frozenset({upload.id})},
    )


def delete(upload: Upload, asset_id: str, now: int) -> Change:
    """Keep others from becoming owners while an asset is deleted, if the upload is the only one.

    Who is told of the asset in that time would record one that is about to vanish.
    """
    return Change(
        pk=f"claim#{asset_id}",
        condition="#owners = :only",
        values={"only": frozenset({upload.id})},
        sets={"deletingUntil": now + DELETION_MILLISECONDS},
    )


def read(table: Table, asset_ids: list[str]) -> dict[str, AssetOwners]:
    """Say by which upload each of these assets was recorded; the others are left out."""
    found: dict[str, AssetOwners] = {}
    # DynamoDB refuses a batch that names one item twice.
    keys = [f"claim#{asset_id}" for asset_id in dict.fromkeys(asset_ids)]
    for start in range(0, len(keys), 100):
        for pk, item in table.batch(keys[start : start + 100]).items():
            one = codec.plain(item)
            found[pk.removeprefix("claim#")] = AssetOwners(
                one["owners"], one["isFile"], one["address"], one.get("deletingUntil", 0)
            )
    return found


def url_key(upload: Upload) -> str:
    """Name the item of all uploads whose assets look alike."""
    # Without the name, since nobody documents that sync. keeps it.
    same = json.dumps([canonical(upload.source_url or ""), upload.type, upload.project_id])
    return f"url#{hashlib.sha256(same.encode()).hexdigest()}"


def enter(upload: Upload) -> tuple[Change, ...]:
    """Say that an upload of a public URL is about to be registered; nothing for a file.

    The first change is refused where too many public URLs are in work.
    """
    if upload.is_file:
        return ()
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    settle_at = upload.attempt.settle_at
    sets = {upload.id: settle_at, "ttl": settle_at // 1000 + _KEEP_SECONDS}
    own = f"by#{upload.owner}"
    room = (
        "(attribute_not_exists(#{0}) OR size(#{0}) < :most_{0} OR contains(#{0}, :upload))".format
    )
    return (
        Change(
            pk=REGISTERING,
            condition=f"{room('all')} AND {room('own')}",
            names={"own": own},
            values={"most_all": MOST_URLS, "most_own": MOST_URLS_OF_ONE, "upload": upload.id},
            adds={name: frozenset({upload.id}) for name in ("all", own)},
        ),
        Change(pk=url_key(upload), sets=sets),
    )


def others_registering(table: Table, upload: Upload) -> dict[str, int]:
    """Name the other uploads of a public URL, and until when sync. may be at each."""
    item = codec.plain(table.get(url_key(upload)) or {})
    return {one: at for one, at in item.items() if one not in {"pk", "ttl", upload.id}}


def leave(upload: Upload) -> tuple[Change, ...]:
    """Say that a registration is over: part of the transaction that ends it; nothing for a file."""
    if upload.is_file:
        return ()
    own = frozenset({upload.id})
    return (
        Change(pk=REGISTERING, drops={"all": own, f"by#{upload.owner}": own}),
        Change(pk=url_key(upload), removes=(upload.id,)),
    )


def refusal() -> TooManyUnknownUrls:
    """Explain why `enter` was refused."""
    return TooManyUnknownUrls(
        "Too many links are being added at once. Wait until the earlier ones are done, then try "
        "again.",
        retry_after=URLS_RETRY_AFTER,
    )
