"""Settle an upload if the broker can't find out the outcome of its registration.

The command uses the broker's own conditional writes: it takes the lease, so that no attempt of the
broker is running, and records an asset only if no other upload owns it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.aws import secrets
from chalicelib.aws.table import Table
from chalicelib.core import errors, settings
from chalicelib.core.clock import SECOND, Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import Asset
from chalicelib.uploads import items
from chalicelib.uploads.asset_owners import AssetOwners
from chalicelib.uploads.errors import FileRejected
from chalicelib.uploads.models import Lease, Status, Upload
from chalicelib.uploads.reconciliation import find_matches
from chalicelib.uploads.recording import size_refusal
from chalicelib.uploads.registration import LOOKBACK_SECONDS, plan_attempt
from chalicelib.uploads.repository import UploadRepository
from ops import parameters
from ops.account import Account
from ops.terminal import UNREACHABLE, Problem, Terminal

_SCANS = 20  # a scan reads up to 2,000 assets of Sync's list
_SHOWN = ("id", "createdAt", "type", "name", "projectId", "size", "url")


@dataclass(frozen=True)
class Match:
    """An asset that may belong to the upload.

    Attributes:
        why: `same` if its URL, name and project match; `unclear` if it has no URL, or another name
            or project; `elsewhere` if it has another URL.
        asset: The fields of the asset that help to decide.
        recorded_by: The ids of the uploads that own it, or None.
        seconds: When Sync made it, in seconds after the first registration; None if that is
            unknown. It is negative if the asset is older.
        is_older: Whether Sync made it before the upload began, so that it belongs to another one,
            unless the clocks differ.
    """

    why: str
    asset: Json
    recorded_by: str | None
    seconds: float | None
    is_older: bool


class Settler:
    """Find the assets that may belong to an upload, and settle it.

    Args:
        repository: The uploads.
        table: The table, to read the uploads of every caller.
        sync: A client of Sync.
        clock: The clock.
        settle_seconds: The broker's `SETTLE_SECONDS`.
    """

    def __init__(
        self,
        repository: UploadRepository,
        table: Table,
        sync: SyncClient,
        clock: Clock,
        settle_seconds: int,
    ) -> None:
        self._repository = repository
        self._table = table
        self._sync = sync
        self._clock = clock
        self._settle_seconds = settle_seconds

    def read(self, upload_id: str) -> Upload:
        """Return an upload of any caller.

        Raises:
            Problem: There is no such upload.
        """
        item = self._table.get(f"upload#{upload_id}")
        if item is None:
            raise Problem(f"There is no upload {upload_id}.", "Check the id and the stage.")
        return items.to_upload(item)

    def matches(self, upload: Upload) -> list[Match]:
        """Return the assets that may belong to the upload, the nearest in time first."""
        if upload.attempt is None:
            return []
        since = upload.attempt.first_post_at - LOOKBACK_SECONDS * SECOND
        found: list[tuple[str, Asset]] = []
        cursor: str | None = None
        for _ in range(_SCANS):
            part = find_matches(self._sync, upload, since, cursor)
            found += [("same", one) for one in part.matching]
            found += [("unclear", one) for one in part.unclear]
            found += [("elsewhere", one) for one in part.elsewhere]
            cursor = part.next_cursor
            if cursor is None:
                break
        owners = self._repository.asset_owners([one.id for _, one in found])
        matches = [_match(upload, why, one, owners) for why, one in found]
        return sorted(matches, key=_distance)

    def register(self, upload: Upload, asset_id: str) -> None:
        """Record that an asset belongs to the upload.

        Raises:
            Problem: It can't belong to this upload, or another upload owns it.
        """
        lease = self._lease(upload)
        try:
            asset = self._sync.read(asset_id)
            self._check(lease, asset)
        except (Problem, errors.BrokerError) as error:
            self._repository.release(lease, self._clock.now())
            raise _explained(error, asset_id) from error
        done = self._repository.record(lease, asset, is_reconciled=True, now=self._clock.now())
        if done is None:
            self._repository.release(lease, self._clock.now())
            raise Problem(
                f"The asset {asset_id} belongs to another upload.",
                f"The item `claim#{asset_id}` in the table names it.",
            )

    def fail(self, upload: Upload) -> None:
        """Fail the upload, because it has no asset.

        Raises:
            Problem: Sync may still carry out its registration.
        """
        attempt = upload.attempt
        if attempt is not None and attempt.settle_at >= self._clock.now():
            until = _time(attempt.settle_at)
            raise Problem(
                f"Sync may still carry out the registration until {until}.",
                "Wait until then: no upload would own an asset that Sync makes later.",
            )
        problem = {
            "code": FileRejected.code,
            "detail": "The outcome of its registration is unknown. Upload it again.",
        }
        lease = self._lease(upload)
        if self._repository.fail(lease, problem, self._clock.now()) is None:
            raise Problem("The upload has changed in the meantime.", "Run this again.")

    def _lease(self, upload: Upload) -> Lease:
        if upload.status is not Status.REGISTERING:
            raise Problem(f"The upload is {upload.status}, so there is nothing to settle.")
        now = self._clock.now()
        attempt = plan_attempt(now, self._settle_seconds)
        lease = self._repository.lease_to_reconcile(upload, attempt, now)
        if not isinstance(lease, Lease):
            raise Problem("The broker is working on this upload now.", "Try again in a minute.")
        return lease

    @staticmethod
    def _check(lease: Lease, asset: Asset) -> None:
        upload, created = lease.upload, asset.created_at
        if asset.type != upload.type:
            raise Problem(f"Its type is {asset.type}, but the upload's is {upload.type}.")
        if size_refusal(upload, asset.size) is not None:
            raise Problem(
                f"It has {asset.size} bytes, but must have 1 to {upload.max_bytes}.",
                "Delete it at Sync, and settle the upload with --failed.",
            )
        since = lease.attempt.first_post_at - LOOKBACK_SECONDS * SECOND
        if created is not None and created < since:
            created_at = asset.fields["createdAt"]
            raise Problem(f"It was created at {created_at}, before the registration was sent.")


def _explained(error: Exception, asset_id: str) -> Problem:
    if isinstance(error, Problem):
        message = f"The asset {asset_id} can't belong to this upload. {error.message}"
        return Problem(message, error.advice)
    if isinstance(error, sync_errors.UpstreamRefused):
        return Problem(f"Sync has no asset {asset_id} for this key.", "Check the id.")
    detail = getattr(error, "detail", "")
    return Problem(f"Sync can't be reached: {detail}", "Try again in a minute.", UNREACHABLE)


def _match(upload: Upload, why: str, asset: Asset, owners: Mapping[str, AssetOwners]) -> Match:
    owner, created = owners.get(asset.id), asset.created_at
    seconds = None
    if created is not None and upload.attempt is not None:
        seconds = (created - upload.attempt.first_post_at) / SECOND
    return Match(
        why,
        {name: asset.fields[name] for name in _SHOWN},
        ", ".join(sorted(owner.upload_ids)) if owner else None,
        seconds=seconds,
        is_older=created is not None and created < upload.created_at,
    )


def _distance(match: Match) -> float:
    return math.inf if match.seconds is None else abs(match.seconds)


def _when(match: Match) -> str:
    """Return when Sync made an asset, in relation to the upload."""
    if match.seconds is None:
        return "made at an unknown time"
    relation = "before" if match.seconds < 0 else "after"
    made = f"made {abs(match.seconds):.0f} s {relation} the first registration"
    return f"{made}, OLDER than the upload" if match.is_older else made


def settler(
    environment: Mapping[str, str], account: Account, terminal: Terminal, clock: Clock
) -> Settler:
    """Return a settler for a stage.

    Raises:
        Problem: The key can't be read, or the settings are wrong.
    """
    wanted = {one.variable: one for one in parameters.of(environment)}
    parameter = wanted.get("SYNC_API_KEY")
    found = parameters.read(account.client("ssm"), parameter) if parameter else None
    if found is None or found.state is not parameters.State.VALID:
        advice = "Run `python -m ops doctor` to see why."
        raise Problem("The stage has no valid Sync API key.", advice)
    terminal.hide(found.value or "")
    try:
        chosen = settings.load(environment)
    except errors.Misconfigured as error:
        raise Problem(error.detail, "Fix .chalice/config.json.") from error
    client: Any = account.client("dynamodb")
    table = Table(client, chosen.uploads_table, clock)
    upstream = SyncClient(chosen.sync_base_url, secrets.fixed(found.value or "", clock), clock)
    return Settler(UploadRepository(table), table, upstream, clock, chosen.settle_seconds)


def to_lines(upload: Upload, found: list[Match], outcome: str | None) -> list[str]:
    """Return the upload and its matches, or the outcome, as lines of text."""
    lines = [f"upload {upload.id}: {outcome or upload.status}"]
    if outcome is not None:
        return lines
    about = {
        "caller": upload.owner,
        "type": upload.type,
        "name": upload.name,
        "project": upload.project_id,
        "file": upload.file_name,
        "size": upload.size,
        "created": _time(upload.created_at),
        "first registration": _time(upload.attempt.first_post_at) if upload.attempt else None,
        "URLs": ", ".join(upload.urls),
    }
    lines += [f"  {name:19}{value}" for name, value in about.items() if value is not None]
    lines.append(f"  {len(found)} assets at Sync may belong to it:")
    for one in found:
        owner = f", owned by upload {one.recorded_by}" if one.recorded_by else ", not owned"
        fields = ", ".join(f"{name} {one.asset[name]}" for name in _SHOWN[1:])
        lines.append(f"    {one.asset['id']} ({one.why}{owner}; {_when(one)}): {fields}")
    if upload.status is Status.REGISTERING:
        lines.append("Settle it with --asset ID, or with --failed.")
    return lines


def to_document(upload: Upload, found: list[Match], outcome: str | None) -> dict[str, object]:
    """Return the upload and its matches, or the outcome, as a JSON document."""
    return {
        "command": "settle",
        "uploadId": upload.id,
        "status": outcome or upload.status,
        "type": upload.type,
        "name": upload.name,
        "projectId": upload.project_id,
        "urls": list(upload.urls),
        "firstPostAt": _time(upload.attempt.first_post_at) if upload.attempt else None,
        "matches": [asdict(one) for one in found],
        "settled": outcome,
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
