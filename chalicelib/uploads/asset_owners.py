"""Which uploads own an asset, and which uploads of one public URL are being registered.

    claim#<assetId>     the uploads that own an asset, their kind, and the URL that the asset had
                        when it was recorded
    url#<hash>          the uploads of one public URL, type and project whose registration is
                        running, each with the time until when Sync may still carry it out
    urls#registering    all of them, and those of each caller

Assets of one public URL look alike, so nobody can tell them apart while the response to another
upload may still come. An upload is added before it POSTs, and removed in the transaction that ends
its registration.
"""

import hashlib
import json
from dataclasses import dataclass

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core.clock import DAY_SECONDS, SECOND
from chalicelib.core.urls import normalized
from chalicelib.syncapi.models import Asset
from chalicelib.uploads.errors import TooManyUnknownUrls
from chalicelib.uploads.models import Lease, Upload

REGISTERING = "urls#registering"
MOST_URLS = 50
MOST_URLS_OF_ONE = 5
DELETION_MILLISECONDS = 60_000  # longer than Sync is waited for, and the clocks' margin
URLS_RETRY_AFTER = 10  # seconds; Sync fetches most URLs within it
_KEEP_SECONDS = 30 * DAY_SECONDS  # an upload whose outcome is unknown for longer waits for a person
_BATCH = 100  # items that DynamoDB reads at once


@dataclass(frozen=True)
class AssetOwners:
    """Which uploads own an asset.

    Attributes:
        upload_ids: The uploads; several if Sync gives one asset for one public URL.
        is_file: Whether it was a file, not a public URL.
        url: The asset's URL, if it was the one that was registered; None if Sync had rewritten it.
        deleting_until: Until when an attempt to delete it at Sync may be running.
    """

    upload_ids: frozenset[str]
    is_file: bool
    url: str | None
    deleting_until: int = 0


def add(upload: Upload, asset: Asset, *, is_reconciled: bool, now: int) -> Change:
    """Return the change that makes an upload an owner of an asset.

    Args:
        upload: The upload.
        asset: Sync's asset.
        is_reconciled: Whether the asset was found in Sync's list. Then no other upload may own it.
            An asset that a 201 returned is the upload's in any case, unless it is being deleted.
        now: The time.
    """
    unowned = "attribute_not_exists(#owners) OR contains(#owners, :upload)"
    staying = "attribute_not_exists(#deletingUntil) OR #deletingUntil < :now"
    return Change(
        pk=f"claim#{asset.id}",
        condition=unowned if is_reconciled else staying,
        values={"upload": upload.id} if is_reconciled else {"now": now},
        sets={"isFile": upload.is_file, "url": asset.url if upload.is_at(asset.url) else None},
        adds={"owners": frozenset({upload.id})},
    )


def begin_deletion(upload: Upload, asset_id: str, now: int) -> Change:
    """Return the change that keeps others from becoming owners while an asset is deleted.

    It is refused unless the upload is the only owner. Without it, an upload that gets the asset's
    id in that time would record an asset that is about to vanish.
    """
    return Change(
        pk=f"claim#{asset_id}",
        condition="#owners = :only",
        values={"only": frozenset({upload.id})},
        sets={"deletingUntil": now + DELETION_MILLISECONDS},
    )


def read(table: Table, asset_ids: list[str]) -> dict[str, AssetOwners]:
    """Return the owners of assets by the assets' ids; assets without an owner are left out."""
    found: dict[str, AssetOwners] = {}
    # DynamoDB refuses a batch that names one item twice.
    keys = [f"claim#{asset_id}" for asset_id in dict.fromkeys(asset_ids)]
    for start in range(0, len(keys), _BATCH):
        for pk, item in table.batch(keys[start : start + _BATCH]).items():
            one = codec.plain(item)
            found[pk.removeprefix("claim#")] = AssetOwners(
                one["owners"], one["isFile"], one["url"], one.get("deletingUntil", 0)
            )
    return found


def begin_registering(lease: Lease) -> tuple[Change, ...]:
    """Return the changes by which an upload of a public URL is added; none for a file.

    The first change is refused if too many public URLs are being registered.
    """
    upload, settle_at = lease.upload, lease.attempt.settle_at
    if upload.is_file:
        return ()
    sets = {upload.id: settle_at, "ttl": settle_at // SECOND + _KEEP_SECONDS}
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
        Change(pk=_url_key(upload), sets=sets),
    )


def end_registering(upload: Upload) -> tuple[Change, ...]:
    """Return the changes by which an upload of a public URL is removed; none for a file."""
    if upload.is_file:
        return ()
    own = frozenset({upload.id})
    return (
        Change(pk=REGISTERING, drops={"all": own, f"by#{upload.owner}": own}),
        Change(pk=_url_key(upload), removes=(upload.id,)),
    )


def others_registering(table: Table, upload: Upload) -> dict[str, int]:
    """Return the other uploads of a public URL, with the time until when Sync may register each."""
    item = codec.plain(table.get(_url_key(upload)) or {})
    return {one: at for one, at in item.items() if one not in {"pk", "ttl", upload.id}}


def refusal() -> TooManyUnknownUrls:
    """Return the error for a refused `begin_registering`."""
    return TooManyUnknownUrls(
        "Too many links are being added at once. Wait until the earlier ones are done, then try "
        "again.",
        retry_after=URLS_RETRY_AFTER,
    )


def _url_key(upload: Upload) -> str:
    """Return the key of the item for all uploads whose assets look alike."""
    # Without the name, since nobody documents that Sync keeps it.
    same = json.dumps([normalized(upload.source_url or ""), upload.type, upload.project_id])
    return f"url#{hashlib.sha256(same.encode()).hexdigest()}"
