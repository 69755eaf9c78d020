"""Uploads in DynamoDB: each transition is one conditional write.

Items by their key `pk`:

    upload#<id>                 an upload; in the index `by-list` under its caller, and while it is
                                unfinished in the index `by-due` for the sweep
    asset#<caller>#<assetId>    a copy of the registered upload, written in the same transaction:
                                a registered upload never changes, so the copies never differ
    claim#, url#, urls#         see `asset_owners.py`
    key#<caller>#<hash>         see `idempotency.py`
    quota#<caller>              see `quotas/usage.py`
    limit#<name>                see `ratelimit/limiter.py`
    secret#callers              see `auth/caller.py`

The conditions protect this time-line of two requests A and B that complete one upload:

    A lease (pending -> registering, attempt.id=A) ── POST ── record (needs attempt.id=A)
    B        lease refused: registering, not over ─► 202
    A is killed after its POST.
    B        lease refused until lease_until is over; then the lease to reconcile (attempt.id=B):
             B reads Sync's list, and never POSTs before settle_at. If A was only slow, its write
             is refused because of B.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from chalicelib import idempotency
from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table, WriteResult
from chalicelib.core.clock import MINUTE
from chalicelib.core.errors import StoreUnavailable
from chalicelib.core.types import Json
from chalicelib.idempotency import IdempotencyRecord
from chalicelib.quotas import store as quota_store
from chalicelib.quotas.usage import Usage
from chalicelib.syncapi.models import Asset
from chalicelib.uploads import asset_owners, items, transitions
from chalicelib.uploads.asset_owners import AssetOwners
from chalicelib.uploads.errors import no_such_upload
from chalicelib.uploads.models import Attempt, Lease, Page, Status, Target, Upload, next_due

LIST_INDEX = "by-list"


class UploadRepository:
    """Uploads in DynamoDB.

    Args:
        table: The broker's table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, upload: Upload, used: Usage, key: IdempotencyRecord | None = None) -> None:
        """Write a new upload in place of its reservation; its id is random, so it is new.

        Args:
            upload: The upload.
            used: What its caller has used, with the reservation.
            key: The request's `Idempotency-Key`, which belongs to the upload from now on.

        Raises:
            TooManyUnknownUrls: Too many public URLs are being registered; nothing was written.
            StoreUnavailable: The reservation, or the key, was given to another request in the
                meantime; nothing was written.
        """
        pk = f"upload#{upload.id}"
        new = Change(
            pk=pk, condition="attribute_not_exists(#pk)", put=items.from_upload(upload, pk)
        )
        keys = [idempotency.complete(key)] if key else []
        begun = (
            asset_owners.begin_registering(Lease(upload, upload.attempt)) if upload.attempt else ()
        )
        settled = quota_store.settle(upload.owner, upload.id, used)
        refused = self._table.transact(new, settled, *keys, *begun)
        if refused is None:
            return
        if begun and refused[2 + len(keys)] is not None:
            raise asset_owners.refusal()
        raise StoreUnavailable("The start took too long. Try again in a moment.", retry_after=1)

    def delete(self, lease: Lease, key: IdempotencyRecord | None, *, was_sent: bool) -> None:
        """Delete the record of a public URL whose id its caller never got.

        Args:
            lease: The lease.
            key: The request's `Idempotency-Key`, which is deleted as well.
            was_sent: Whether Sync was asked. Then the quota is refunded only a few times in a day.
        """
        upload = lease.upload
        held, values = transitions.leased(lease)
        keys = [idempotency.delete(key)] if key else []
        refund = quota_store.refund(
            upload.owner, upload.created_at, upload.size or 0, is_counted=was_sent
        )
        for charge in (refund, quota_store.close(upload.owner)):
            refused = self._table.transact(
                Change(pk=f"upload#{upload.id}", condition=held, values=values, delete=True),
                charge,
                *asset_owners.end_registering(upload),
                *keys,
            )
            if refused is None or refused[1] is None:
                return

    def get(self, upload_id: str, owner: str) -> Upload:
        """Return an upload.

        Raises:
            NotFound: The caller has no such upload.
        """
        return self._get(f"upload#{upload_id}", owner)

    def get_asset(self, asset_id: str, owner: str) -> Upload:
        """Return the upload that a caller registered as an asset.

        Raises:
            NotFound: The caller has no such asset.
        """
        return self._get(f"asset#{owner}#{asset_id}", owner)

    def list_uploads(self, owner: str, limit: int, cursor: str | None) -> Page:
        """Return a caller's uploads, newest first."""
        return self._list(f"uploads#{owner}", limit, cursor)

    def list_assets(self, owner: str, limit: int, cursor: str | None) -> Page:
        """Return a caller's registered uploads, the last registered first."""
        return self._list(f"assets#{owner}", limit, cursor)

    def lease_to_post(
        self, upload_id: str, owner: str, attempt: Attempt, now: int
    ) -> Lease | Upload:
        """Take the lease to POST, which only a pending upload whose pause is over gives.

        Returns:
            The lease, or the upload that refused it.

        Raises:
            NotFound: The caller has no such upload.
        """
        return self._lease(
            upload_id,
            owner,
            attempt,
            f"{transitions.OWN_PENDING} AND #nextTryAt <= :now",
            {"owner": owner, "pending": Status.PENDING.value, "now": now},
            {
                "status": Status.REGISTERING.value,
                "attempt": asdict(attempt),
                "updatedAt": now,
                # If the process is killed, the sweep reconciles.
                "dueAt": attempt.lease_until,
            },
        )

    def lease_to_reconcile(self, upload: Upload, attempt: Attempt, now: int) -> Lease | Upload:
        """Take over a registration whose lease is over, to find out what became of it.

        When the ambiguous POST was sent, and when it is settled, do not change.

        Returns:
            The lease, or the upload that refused it.
        """
        return self._lease(
            upload.id,
            upload.owner,
            attempt,
            "#status = :registering AND #attempt.#lease_until < :now",
            {"registering": Status.REGISTERING.value, "now": now},
            {
                "attempt.id": attempt.id,
                "attempt.lease_until": attempt.lease_until,
                "dueAt": attempt.lease_until,
            },
        )

    def lease_to_repost(self, lease: Lease, attempt: Attempt) -> Lease | None:
        """Turn a lease to reconcile, which found nothing, into one to POST; None if it is lost."""
        sets = {"attempt": asdict(attempt), "dueAt": attempt.lease_until}
        result = self._change_leased(lease, sets)
        return Lease(result.item, attempt) if result.granted and result.item else None

    def release(self, lease: Lease, now: int, scan: str | None = None) -> None:
        """Give up the lease while the outcome stays unknown.

        Args:
            lease: The lease.
            now: The time.
            scan: Where the next reconciliation continues, which is soon; None if it begins anew.
        """
        due_at = now + MINUTE if scan else next_due(lease.upload.created_at, now)
        self._change_leased(
            lease, {"attempt.lease_until": 0, "attempt.scan": scan, "dueAt": due_at}
        )

    def undo_repost(self, lease: Lease, ambiguous: Attempt, now: int) -> None:
        """Give up the lease of a second POST that was not sent; the first stays the last attempt.

        Args:
            lease: The lease.
            ambiguous: The attempt that had the ambiguous outcome.
            now: The time.
        """
        earlier = replace(ambiguous, lease_until=0, scan=None)
        due_at = next_due(lease.upload.created_at, now)
        self._change_leased(lease, {"attempt": asdict(earlier), "dueAt": due_at})

    def reopen(
        self,
        lease: Lease,
        now: int,
        tried: frozenset[int] = frozenset(),
        *,
        is_refused: bool = False,
    ) -> bool:
        """Move back to pending, because the POST is known not to have made an asset.

        Args:
            lease: The lease.
            now: The time.
            tried: The indexes of the URLs that Sync refused in this round.
            is_refused: Whether Sync saw no file, so that the next attempt has to wait.

        Returns:
            Whether it was written.
        """
        sets = transitions.reopening(lease.upload, now, tried, is_refused=is_refused)
        if lease.upload.is_file:
            return self._change_leased(lease, sets).granted
        refused = self._table.transact(
            transitions.change(lease.upload.id, *transitions.leased(lease), sets),
            *asset_owners.end_registering(lease.upload),
        )
        return refused is None

    def fail(
        self, lease: Lease, problem: Json, now: int, discarded: Asset | None = None
    ) -> Upload | None:
        """Move to failed, with the problem that is repeated from now on.

        Args:
            lease: The lease.
            problem: `code` and `detail`.
            now: The time.
            discarded: The asset of a file that is empty, or larger than its caller may upload. It
                is marked to be deleted, unless another upload owns it.

        Returns:
            The failed upload, which names the asset to delete if there is one; None if the lease
            is lost.
        """
        upload, sets = lease.upload, transitions.failing(problem, now)
        held = transitions.leased(lease)
        closed = transitions.change(upload.id, *held, sets, transitions.UNFINISHED)
        over = asset_owners.end_registering(upload)
        charge = quota_store.close(upload.owner)
        if discarded is not None:
            charge = quota_store.close(upload.owner, _correction(upload, discarded))
            marks = {**sets, "discarded": discarded.id, "dueAt": now}
            marked = transitions.change(upload.id, *held, marks)
            owner = asset_owners.add(upload, discarded, is_reconciled=True, now=now)
            if self._table.transact(marked, owner, charge, *over) is None:
                return replace(upload, status=Status.FAILED, discarded=discarded.id)
        if self._table.transact(closed, charge, *over) is None:
            return replace(upload, status=Status.FAILED)
        return None

    def record(self, lease: Lease, asset: Asset, *, is_reconciled: bool, now: int) -> Upload | None:
        """Move to registered and record the asset, in one transaction.

        Args:
            lease: The lease.
            asset: Sync's asset.
            is_reconciled: Whether the asset was found in Sync's list. Then it is recorded only if
                no other upload owns it. An asset that a 201 returned is recorded unless it is
                being deleted.
            now: The time.

        Returns:
            The registered upload; None if the lease is lost, or the asset belongs to another
            upload or is being deleted.
        """
        upload = lease.upload
        done, sets, copy = transitions.registering(upload, asset, now)
        held = (transitions.leased if is_reconciled else transitions.posted)(lease)
        refused = self._table.transact(
            transitions.change(upload.id, *held, sets, transitions.UNFINISHED),
            copy,
            asset_owners.add(upload, asset, is_reconciled=is_reconciled, now=now),
            quota_store.close(upload.owner, _correction(upload, asset)),
            *asset_owners.end_registering(upload),
        )
        return done if refused is None else None

    def asset_owners(self, asset_ids: list[str]) -> dict[str, AssetOwners]:
        """Return the owners of assets by the assets' ids; assets without an owner are left out."""
        return asset_owners.read(self._table, asset_ids)

    def begin_deletion(self, upload: Upload, asset_id: str, now: int) -> bool:
        """Keep others from becoming owners of an asset; refused unless the upload is the only."""
        return self._table.write(asset_owners.begin_deletion(upload, asset_id, now)).granted

    def begin_registering(self, lease: Lease) -> None:
        """Add a public URL to those that are being registered; nothing for a file.

        It is one transaction under the lease: otherwise a request that was frozen before it, or
        whose first try is carried out late, would leave an entry that nobody removes.

        Raises:
            TooManyUnknownUrls: Too many public URLs are being registered.
            StoreUnavailable: The lease is lost, or the table can't be reached.
        """
        if lease.upload.is_file:
            return
        kept = {"attempt.id": lease.attempt.id}
        unchanged = transitions.change(lease.upload.id, *transitions.leased(lease), kept)
        refused = self._table.transact(unchanged, *asset_owners.begin_registering(lease))
        if refused is None:
            return
        if refused[0] is not None:
            raise StoreUnavailable(
                "The file is being processed. Try again in a moment.", retry_after=1
            )
        raise asset_owners.refusal()

    def others_registering(self, upload: Upload) -> dict[str, int]:
        """Return the other uploads of a public URL, and until when Sync may register each."""
        return asset_owners.others_registering(self._table, upload)

    def renew(self, upload: Upload, target: Target, now: int) -> Upload:
        """Add a fresh URL to a pending upload.

        Returns:
            The upload, with the fresh URL unless another request changed it in this moment.

        Raises:
            NotFound: It was deleted.
        """
        targets = [asdict(one) for one in (*upload.targets, target)]
        result = self._change(
            upload.id,
            "#status = :pending AND size(#targets) = :count",
            {"pending": Status.PENDING.value, "count": len(upload.targets)},
            {
                "targets": targets,
                "updatedAt": now,
                "dueAt": next_due(upload.created_at, now),
                # A refusal of the old URL must not delay the registration of the fresh one.
                "nextTryAt": 0,
            },
        )
        return _own(result.item, upload.owner)

    def cancel(self, upload_id: str, owner: str, now: int) -> Upload | None:
        """Move a pending upload to cancelled.

        Returns:
            The upload that refused it; None if it is cancelled.

        Raises:
            NotFound: The caller has no such upload.
        """
        refused = self._close_pending(upload_id, owner, Status.CANCELLED, now)
        return None if refused is None else _own(refused[0], owner)

    def expire(self, upload: Upload, ends_at: int, now: int) -> bool:
        """Move a pending upload to expired, if Sync refused it twice after its end.

        One refusal may have any reason. A renewal in the same moment gives it a later end.

        Returns:
            Whether it was written.
        """
        refused = self._close_pending(
            upload.id,
            upload.owner,
            Status.EXPIRED,
            now,
            " AND size(#targets) = :count AND #refusedBefore > :end",
            {"count": len(upload.targets), "end": ends_at},
        )
        return refused is None

    def forget(self, upload_id: str) -> None:
        """Remove an ended upload, of which nothing is left to do, from the sweep's index."""
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
    ) -> tuple[Upload | None] | None:
        """End a pending upload; return None, or the upload that refused it."""
        closed = transitions.change(
            upload_id,
            transitions.OWN_PENDING + more,
            {"owner": owner, "pending": Status.PENDING.value, **values},
            transitions.ending(status, now),
            transitions.UNFINISHED,
        )
        refused = self._table.transact(closed, quota_store.close(owner))
        if refused is None:
            return None
        return (items.to_upload(refused[0]) if refused[0] else None,)

    def _lease(  # noqa: PLR0913, PLR0917 - what a change is made of
        self,
        upload_id: str,
        owner: str,
        attempt: Attempt,
        condition: str,
        values: Mapping[str, Any],
        sets: Json,
    ) -> Lease | Upload:
        result = self._change(upload_id, condition, values, sets)
        upload = _own(result.item, owner)
        # boto3 repeats a write whose response was lost, and the first one refuses the second.
        is_held = upload.attempt is not None and upload.attempt.id == attempt.id
        return Lease(upload, upload.attempt) if is_held and upload.attempt else upload

    def _change_leased(self, lease: Lease, sets: Json) -> WriteResult[Upload]:
        return self._change(lease.upload.id, *transitions.leased(lease), sets)

    def _change(
        self, upload_id: str, condition: str, values: Mapping[str, Any], sets: Json
    ) -> WriteResult[Upload]:
        written = self._table.write(transitions.change(upload_id, condition, values, sets))
        return WriteResult(written.granted, items.to_upload(written.item) if written.item else None)

    def _get(self, pk: str, owner: str) -> Upload:
        item = self._table.get(pk)
        return _own(items.to_upload(item) if item else None, owner)

    def _list(self, list_key: str, limit: int, cursor: str | None) -> Page:
        start = {} if cursor is None else {"ExclusiveStartKey": codec.start_key(list_key, cursor)}
        response = self._table.query(
            LIST_INDEX,
            "listKey = :list",
            ExpressionAttributeValues=codec.values({":list": list_key}),
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        last = response.get("LastEvaluatedKey")
        uploads = tuple(items.to_upload(item) for item in response["Items"])
        return Page(uploads, codec.cursor(last) if last else None)


def _own(upload: Upload | None, owner: str) -> Upload:
    """Return the caller's upload; another caller's upload is not found either."""
    if upload is None or upload.owner != owner:
        raise no_such_upload()
    return upload


def _correction(upload: Upload, asset: Asset) -> dict[str, int]:
    return quota_store.byte_correction(upload.created_at, upload.size or 0, asset.size)
