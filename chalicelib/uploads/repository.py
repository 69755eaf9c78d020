"""Uploads in DynamoDB: each move is one conditional write.

Items by their key `pk`:

    upload#<id>                 the Upload; in the index `by-list` under its caller, and while it is
                                unfinished in the index `by-due` for the sweep
    asset#<caller>#<assetId>    a copy of the registered Upload, made in the same transaction:
                                a registered upload never changes, so the copies never differ
    claim#<assetId>, url#<hash>, urls#registering
                                whose an asset is; `claims.py` says what they hold
    limit#registration          who may register how much; `registration_limiter.py` has it
    quota#<caller>              what the caller has used; `quotas.py` says what it holds
    key#<caller>#<hash>         an Idempotency-Key; `idempotency.py` says what it holds
    secret#callers              what caller ids are keyed with; `caller_ids.py` says why

The time-line that the conditions protect, for two completes A and B of one upload:

    A lease (pending -> registering, attempt.id=A) ── POST ── record (needs attempt.id=A)
    B        lease refused: registering, not over ─► 202
    A is killed after its POST.
    B        lease refused until lease_until is over; then look lease (attempt.id=B): B looks,
             never POSTs before settle_at. A, if it was only slow, finds B and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from chalicelib import idempotency
from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors
from chalicelib.core.clock import MINUTE
from chalicelib.core.types import Json
from chalicelib.idempotency import IdempotencyRecord
from chalicelib.quotas import store as quota_store
from chalicelib.quotas.usage import Usage
from chalicelib.syncapi.models import size_of
from chalicelib.uploads import asset_owners, items, transitions
from chalicelib.uploads.asset_owners import AssetOwners
from chalicelib.uploads.models import Attempt, Page, Status, Target, Upload, next_look

LIST_INDEX = "by-list"


@dataclass(frozen=True)
class Claim:
    """What a conditional write came to.

    Attributes:
        granted: Whether it was written.
        upload: The upload after the write, or as it stood when the write was refused; None if
            there is none, or if the refusal does not tell.
    """

    granted: bool
    upload: Upload | None


class UploadRepository:
    """Uploads in DynamoDB.

    Args:
        table: The broker's table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, upload: Upload, used: Usage, binding: IdempotencyRecord | None = None) -> None:
        """Write a new upload in place of its reservation; its id is random, so it is new.

        Raises:
            TooManyUnknownUrls: Too many public URLs are in work; nothing was written.
            StoreUnavailable: The reservation, or the key, was given to somebody else meanwhile;
                nothing was written.
        """
        pk = f"upload#{upload.id}"
        new = Change(
            pk=pk, condition="attribute_not_exists(#pk)", put=items.from_upload(upload, pk)
        )
        keys = [idempotency.bound(binding)] if binding else []
        entering = asset_owners.enter(upload)
        refused = self._table.transact(
            new, quota_store.settle(upload.owner, upload.id, used), *keys, *entering
        )
        if refused is None:
            return
        if entering and refused[2 + len(keys)] is not None:
            raise asset_owners.refusal()
        raise errors.StoreUnavailable(
            "The start took too long. Try again in a moment.", retry_after=1
        )

    def discard(self, upload: Upload, binding: IdempotencyRecord | None, *, was_sent: bool) -> None:
        """Take back the record of a public URL that its caller was not told of.

        The quota is given back as well; if Sync was asked, not more than a few times in a day.
        """
        held, values = transitions.held(upload)
        keys = [idempotency.unbound(binding)] if binding else []
        refund = quota_store.refund(
            upload.owner, upload.created_at, upload.size or 0, is_counted=was_sent
        )
        for charge in (refund, quota_store.close(upload.owner)):
            refused = self._table.transact(
                Change(pk=f"upload#{upload.id}", condition=held, values=values, delete=True),
                charge,
                *asset_owners.leave(upload),
                *keys,
            )
            if refused is None or refused[1] is None:
                return

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
        """Take the lease that allows to POST: only of a pending upload whose pause is over."""
        return self._move(
            upload_id,
            f"{transitions.OWN_PENDING} AND #nextTryAt <= :now",
            {"owner": owner, "pending": Status.PENDING.value, "now": now},
            {
                "status": Status.REGISTERING.value,
                "attempt": asdict(attempt),
                "updatedAt": now,
                # If the process is killed, the sweep finds out what became of it.
                "dueAt": attempt.lease_until,
            },
        )

    def lease_look(self, upload: Upload, attempt: Attempt, now: int) -> Claim:
        """Take over a registration whose lease is over, to find out what became of it.

        When the lost POST was sent, and when it is settled, stay as they are.
        """
        return self._move(
            upload.id,
            "#status = :registering AND #attempt.#lease_until < :now",
            {"registering": Status.REGISTERING.value, "now": now},
            {
                "attempt.id": attempt.id,
                "attempt.lease_until": attempt.lease_until,
                "dueAt": attempt.lease_until,
            },
        )

    def lease_again(self, upload: Upload, attempt: Attempt) -> Claim:
        """Turn a held lease that found nothing into one that allows to POST."""
        return self._held(upload, {"attempt": asdict(attempt), "dueAt": attempt.lease_until})

    def release(self, upload: Upload, now: int, scan: str | None = None) -> Claim:
        """Let go of the lease while the outcome stays unknown.

        Args:
            upload: The upload whose lease is held.
            now: The time.
            scan: Where the next look goes on, which is soon; None if it begins anew.
        """
        due_at = now + MINUTE if scan else next_look(upload.created_at, now)
        sets = {"attempt.lease_until": 0, "attempt.scan": scan, "dueAt": due_at}
        return self._held(upload, sets)

    def reopen(
        self,
        upload: Upload,
        now: int,
        tried: frozenset[int] = frozenset(),
        *,
        is_refused: bool = False,
    ) -> Claim:
        """Move back to pending: the POST is known not to have made an asset.

        Args:
            upload: The upload whose lease is held.
            now: The time.
            tried: The places of the addresses that sync. refused in this round.
            is_refused: Whether Sync saw no file, so that the next attempt has to wait.
        """
        sets = transitions.reopening(upload, now, tried, is_refused=is_refused)
        if upload.is_file:
            return self._held(upload, sets)
        refused = self._table.transact(
            transitions.change(upload.id, *transitions.held(upload), sets),
            *asset_owners.leave(upload),
        )
        return Claim(granted=refused is None, upload=None)

    def fail(self, upload: Upload, problem: Json, now: int, refused: Json | None = None) -> Claim:
        """Move to failed, with the problem that is repeated from now on.

        Args:
            upload: The upload whose lease is held.
            problem: `code` and `detail`.
            now: The time.
            refused: The asset that Sync made of a file that is empty, or larger than its caller may
                upload.
                It is marked to be deleted, unless another upload has recorded it.
        """
        sets = transitions.failing(problem, now)
        closed = transitions.change(
            upload.id, *transitions.held(upload), sets, transitions.UNFINISHED
        )
        over = asset_owners.leave(upload)
        if refused is None:
            return self._end(closed, quota_store.close(upload.owner), *over)
        charged = quota_store.close(upload.owner, _correction(upload, refused))
        marked = transitions.change(
            upload.id, *transitions.held(upload), {**sets, "discarded": refused["id"], "dueAt": now}
        )
        claim = asset_owners.claim(upload, refused, looked_up=True, now=now)
        if self._table.transact(marked, claim, charged, *over) is None:
            return Claim(granted=True, upload=replace(upload, discarded=refused["id"]))
        return self._end(closed, charged, *over)

    def record(self, upload: Upload, asset: Json, *, looked_up: bool, now: int) -> Claim:
        """Move to registered and record the asset, in one transaction.

        Args:
            upload: The upload whose lease is held.
            asset: sync.'s asset.
            looked_up: Whether the asset was found by a look-up. Then it is taken only if no
                other upload has it; what a 201 returned is taken unless it is being deleted.
            now: The time.

        Returns:
            Not granted if the lease was lost, or the asset belongs to another upload or is being
            deleted.
        """
        done, sets, copy = transitions.registering(upload, asset, now)
        refused = self._table.transact(
            transitions.change(
                upload.id,
                *(transitions.held if looked_up else transitions.posted)(upload),
                sets,
                transitions.UNFINISHED,
            ),
            copy,
            asset_owners.claim(upload, asset, looked_up=looked_up, now=now),
            quota_store.close(upload.owner, _correction(upload, asset)),
            *asset_owners.leave(upload),
        )
        return Claim(granted=refused is None, upload=done if refused is None else None)

    def claims(self, asset_ids: list[str]) -> dict[str, AssetOwners]:
        """Say by which uploads each of these assets was recorded; the others are left out."""
        return asset_owners.read(self._table, asset_ids)

    def begin_deletion(self, upload: Upload, asset_id: str, now: int) -> bool:
        """Keep others from becoming owners of an asset; refused unless the upload is the only."""
        return self._table.write(asset_owners.delete(upload, asset_id, now)).granted

    def enter(self, upload: Upload) -> None:
        """Say that an upload whose lease is held is about to be registered; nothing for a file.

        One transaction, under the lease: whoever was frozen before it, or whose first try is
        carried out late, would else leave a place behind that nobody takes back.

        Raises:
            TooManyUnknownUrls: Too many public URLs are in work.
            StoreUnavailable: The lease is lost, or the table can't be reached.
        """
        if upload.is_file or upload.attempt is None:
            return
        kept = {"attempt.id": upload.attempt.id}
        lease = transitions.change(upload.id, *transitions.held(upload), kept)
        refused = self._table.transact(lease, *asset_owners.enter(upload))
        if refused is None:
            return
        if refused[0] is not None:
            raise errors.StoreUnavailable(
                "The file is being processed. Try again in a moment.", retry_after=1
            )
        raise asset_owners.refusal()

    def others_registering(self, upload: Upload) -> dict[str, int]:
        """Name the other uploads of a public URL, and until when sync. may be at each."""
        return asset_owners.others_registering(self._table, upload)

    def renew(self, upload: Upload, target: Target, now: int) -> Claim:
        """Add a fresh address to a pending upload."""
        targets = [asdict(one) for one in (*upload.targets, target)]
        return self._move(
            upload.id,
            "#status = :pending AND size(#targets) = :count",
            {"pending": Status.PENDING.value, "count": len(upload.targets)},
            {
                "targets": targets,
                "updatedAt": now,
                "dueAt": next_look(upload.created_at, now),
                # What was sent to the fresh address need not wait because of the old one.
                "nextTryAt": 0,
            },
        )

    def cancel(self, upload_id: str, owner: str, now: int) -> Claim:
        """Move a pending upload to cancelled."""
        return self._close_pending(upload_id, owner, Status.CANCELLED, now)

    def expire(self, upload: Upload, ends_at: int, now: int) -> Claim:
        """Move a pending upload to expired, if sync. refused it twice after its end.

        One refusal may mean anything. A renewal in the same moment gives it a later end.
        """
        return self._close_pending(
            upload.id,
            upload.owner,
            Status.EXPIRED,
            now,
            " AND size(#targets) = :count AND #refusedBefore > :end",
            {"count": len(upload.targets), "end": ends_at},
        )

    def forget(self, upload_id: str) -> None:
        """Take a finished upload, of which nothing is left to do, out of the sweep's index."""
        self._table.write(
            Change(
                pk=f"upload#{upload_id}",
                condition="attribute_exists(#discarded)",
                removes=(*transitions.UNFINISHED, "discarded"),
            )
        )

    def _close_pending(  # noqa: PLR0913, PLR0917 - the last two belong together
        self,
        upload_id: str,
        owner: str,
        status: Status,
        now: int,
        more: str = "",
        values: Mapping[str, Any] = {},
    ) -> Claim:
        move = transitions.change(
            upload_id,
            transitions.OWN_PENDING + more,
            {"owner": owner, "pending": Status.PENDING.value, **values},
            transitions.ending(status, now),
            transitions.UNFINISHED,
        )
        return self._end(move, quota_store.close(owner))

    def _end(self, move: Change, *more: Change) -> Claim:
        """Close an upload and, in the same transaction, give its open place back."""
        refused = self._table.transact(move, *more)
        old = refused[0] if refused else None
        return Claim(granted=refused is None, upload=items.to_upload(old) if old else None)

    def _held(self, upload: Upload, sets: Json) -> Claim:
        return self._move(upload.id, *transitions.held(upload), sets)

    def _move(self, upload_id: str, condition: str, values: Mapping[str, Any], sets: Json) -> Claim:
        written = self._table.write(transitions.change(upload_id, condition, values, sets))
        upload = items.to_upload(written.item) if written.item else None
        return Claim(written.granted, upload)

    def _read(self, key: str, owner: str) -> Upload | None:
        item = self._table.get(key)
        upload = items.to_upload(item) if item else None
        return upload if upload is not None and upload.owner == owner else None

    def _list(self, list_key: str, limit: int, cursor: str | None) -> Page:
        start = {} if cursor is None else {"ExclusiveStartKey": codec.start_key(list_key, cursor)}
        answer = self._table.query(
            LIST_INDEX,
            "listKey = :list",
            ExpressionAttributeValues=codec.values({":list": list_key}),
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        last = answer.get("LastEvaluatedKey")
        uploads = tuple(items.to_upload(item) for item in answer["Items"])
        return Page(uploads, codec.cursor(last) if last else None)


def _correction(upload: Upload, asset: Json) -> dict[str, int]:
    return quota_store.byte_correction(upload.created_at, upload.size or 0, size_of(asset))
