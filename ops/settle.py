"""Settles an upload whose registration has an outcome that the broker can't find out.

It uses the broker's own conditional writes: a lease first, so that no attempt of the broker is
running, and an asset only if no other upload owns it.
"""

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
from chalicelib.uploads.registration import LOOK_BACK_SECONDS, plan_attempt
from chalicelib.uploads.repository import UploadRepository
from ops import parameters
from ops.account import Account
from ops.terminal import UNREACHABLE, Problem, Terminal

_SCANS = 20  # parts of Sync's list, of up to 2,000 assets each
_SHOWN = ("id", "createdAt", "type", "name", "projectId", "size", "url")


@dataclass(frozen=True)
class Candidate:
    """An asset of Sync's that may be the upload's.

    Attributes:
        why: `same` URL, name and project; `unclear`, since it has no URL, or another name or
            project; `elsewhere`, with another URL.
        asset: The fields of the asset that help to decide.
        recorded_by: The uploads that own it, or None.
    """

    why: str
    asset: Json
    recorded_by: str | None


class Settler:
    """Shows an operator what is known of such an upload, and settles it.

    Args:
        repository: The uploads.
        table: The table, to read an upload whoever its caller is.
        sync: Sync's API.
        clock: The time.
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
        """Read an upload, whoever its caller is.

        Raises:
            Problem: There is none.
        """
        item = self._table.get(f"upload#{upload_id}")
        if item is None:
            raise Problem(f"There is no upload {upload_id}.", "Is it this stage's?")
        return items.to_upload(item)

    def candidates(self, upload: Upload) -> list[Candidate]:
        """Return the assets that may be the upload's, from the whole list."""
        if upload.attempt is None:
            return []
        since = upload.attempt.first_post_at - LOOK_BACK_SECONDS * SECOND
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
        return [_candidate(why, one, owners) for why, one in found]

    def register(self, upload: Upload, asset_id: str) -> None:
        """Record an asset as the upload's.

        Raises:
            Problem: It can't be this upload's, or another upload owns it.
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
                f"The asset {asset_id} is recorded as another upload's.",
                f"`claim#{asset_id}` in the table names it.",
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
            "detail": "Nobody could find out what became of it. Upload it again.",
        }
        lease = self._lease(upload)
        if self._repository.fail(lease, problem, self._clock.now()) is None:
            raise Problem("The upload was changed in the meantime.", "Look at it again.")

    def _lease(self, upload: Upload) -> Lease:
        if upload.status is not Status.REGISTERING:
            raise Problem(f"The upload is {upload.status}: there is nothing to settle.")
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
            raise Problem(f"It is of the type {asset.type}, and the upload of {upload.type}.")
        if asset.size is not None and asset.size > upload.max_bytes:
            raise Problem(
                f"It has {asset.size} bytes, and its caller may upload {upload.max_bytes}.",
                "Delete it at Sync, and settle the upload with --failed.",
            )
        since = lease.attempt.first_post_at - LOOK_BACK_SECONDS * SECOND
        if created is not None and created < since:
            made_at = asset.fields["createdAt"]
            raise Problem(f"It was made at {made_at}, before the registration was sent.")


def _explained(error: Exception, asset_id: str) -> Problem:
    if isinstance(error, Problem):
        return Problem(f"The asset {asset_id} can't be it. {error.message}", error.advice)
    if isinstance(error, sync_errors.UpstreamRefused):
        return Problem(f"Sync knows no asset {asset_id} of this key.", "Check the id.")
    detail = getattr(error, "detail", "")
    return Problem(f"Sync can't be asked: {detail}", "Try again in a minute.", UNREACHABLE)


def _candidate(why: str, asset: Asset, owners: Mapping[str, AssetOwners]) -> Candidate:
    owner = owners.get(asset.id)
    shown = {name: asset.fields[name] for name in _SHOWN}
    return Candidate(why, shown, ", ".join(sorted(owner.upload_ids)) if owner else None)


def settler(
    environment: Mapping[str, str], account: Account, terminal: Terminal, clock: Clock
) -> Settler:
    """Make a settler of a stage.

    Raises:
        Problem: The key can't be read, or the settings are wrong.
    """
    wanted = {one.variable: one for one in parameters.of(environment)}
    parameter = wanted.get("SYNC_API_KEY")
    found = parameters.read(account.client("ssm"), parameter) if parameter else None
    if found is None or found.state is not parameters.State.FINE:
        raise Problem("There is no key to ask sync. with.", "`python -m ops doctor` says why.")
    terminal.hide(found.value or "")
    try:
        chosen = settings.load(environment)
    except errors.Misconfigured as error:
        raise Problem(error.detail, "Put .chalice/config.json right.") from error
    client: Any = account.client("dynamodb")
    table = Table(client, chosen.uploads_table, clock)
    upstream = SyncClient(chosen.sync_base_url, secrets.fixed(found.value or "", clock), clock)
    return Settler(UploadRepository(table), table, upstream, clock, chosen.settle_seconds)


def told(upload: Upload, found: list[Candidate], outcome: str | None) -> list[str]:
    """Write in words what is known."""
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
        "begun": _time(upload.created_at),
        "first registration": _time(upload.attempt.first_post_at) if upload.attempt else None,
        "URLs": ", ".join(upload.urls),
    }
    lines += [f"  {name:19}{value}" for name, value in about.items() if value is not None]
    lines.append(f"  {len(found)} assets at Sync may be its own:")
    for one in found:
        owner = f", of the upload {one.recorded_by}" if one.recorded_by else ", nobody's"
        members = ", ".join(f"{name} {one.asset[name]}" for name in _SHOWN[1:])
        lines.append(f"    {one.asset['id']} ({one.why}{owner}): {members}")
    if upload.status is Status.REGISTERING:
        lines.append("Settle it with --asset ID, or with --failed.")
    return lines


def document(upload: Upload, found: list[Candidate], outcome: str | None) -> dict[str, object]:
    """Write the same for machines."""
    return {
        "command": "settle",
        "uploadId": upload.id,
        "status": outcome or upload.status,
        "type": upload.type,
        "name": upload.name,
        "projectId": upload.project_id,
        "urls": list(upload.urls),
        "firstPostAt": _time(upload.attempt.first_post_at) if upload.attempt else None,
        "candidates": [asdict(one) for one in found],
        "settled": outcome,
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
