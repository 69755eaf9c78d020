"""Decides about an upload whose registration's outcome the broker can't find out.

The same conditional writes as the broker's: a lease first, so that no attempt of the broker is
under way, and an asset only if no other upload has recorded it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.aws import secrets
from chalicelib.aws.table import Table
from chalicelib.core import errors, settings
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import size_of
from chalicelib.uploads import items
from chalicelib.uploads.asset_owners import AssetOwners
from chalicelib.uploads.errors import FileRejected
from chalicelib.uploads.models import Status, Upload
from chalicelib.uploads.reconciliation import find_matches
from chalicelib.uploads.registration import LOOK_BACK_SECONDS, plan_attempt
from chalicelib.uploads.repository import UploadRepository
from ops import parameters
from ops.account import Account
from ops.terminal import UNREACHABLE, Problem, Terminal

_PAGES = 20  # calls for sync.'s list, of up to 2,000 assets each
_SHOWN = ("id", "createdAt", "type", "name", "projectId", "size", "url")


@dataclass(frozen=True)
class Candidate:
    """An asset at sync. that may be the upload's.

    Attributes:
        why: `same` address, name and project; `unclear`, since one of them is not told or another;
            `elsewhere`, with another address.
        asset: sync.'s asset, its telling members.
        recorded_by: The upload that has recorded it, or None.
    """

    why: str
    asset: Json
    recorded_by: str | None


class Settler:
    """What an operator can see of such an upload, and do about it.

    Args:
        store: The records.
        table: The same, for what is read without its caller.
        upstream: sync.
        clock: The time.
        settle_seconds: As the broker's.
    """

    def __init__(
        self,
        store: UploadRepository,
        table: Table,
        upstream: SyncClient,
        clock: Clock,
        settle_seconds: int,
    ) -> None:
        self._repository = store
        self._table = table
        self._sync = upstream
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
        """Look for what may be the upload's asset, as the broker does, to the end of the list."""
        if upload.attempt is None:
            return []
        since = upload.attempt.first_post_at - LOOK_BACK_SECONDS * 1000
        found: list[tuple[str, Json]] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            page = find_matches(self._sync, upload, since, cursor)
            found += [("same", one) for one in page.matching]
            found += [("unclear", one) for one in page.undecided]
            found += [("elsewhere", one) for one in page.elsewhere]
            cursor = page.next_cursor
            if cursor is None:
                break
        claims = self._repository.claims([one["id"] for _, one in found])
        return [_candidate(why, one, claims) for why, one in found]

    def register(self, upload: Upload, asset_id: str) -> None:
        """Record an asset as the upload's.

        Raises:
            Problem: It can't be this upload's, or another upload's it is already.
        """
        leased = self._lease(upload)
        try:
            asset = self._sync.read(asset_id)
            self._check(leased, asset)
        except (Problem, errors.BrokerError) as error:
            self._repository.release(leased, self._clock.now())
            raise _explained(error, asset_id) from error
        claim = self._repository.record(leased, asset, looked_up=True, now=self._clock.now())
        if not claim.granted:
            self._repository.release(leased, self._clock.now())
            raise Problem(
                f"The asset {asset_id} is recorded as another upload's.",
                f"`claim#{asset_id}` in the table says which.",
            )

    def fail(self, upload: Upload) -> None:
        """Let the upload fail: there is no asset of it.

        Raises:
            Problem: sync. may still be at it.
        """
        attempt = upload.attempt
        if attempt is not None and attempt.settle_at >= self._clock.now():
            until = _time(attempt.settle_at)
            raise Problem(
                f"sync. may still carry the registration out, until {until}.",
                "Wait until then: what it makes later would be nobody's.",
            )
        leased = self._lease(upload)
        problem = {
            "code": FileRejected.code,
            "detail": "Nobody could find out what became of it. Upload it again.",
        }
        if not self._repository.fail(leased, problem, self._clock.now()).granted:
            raise Problem("Somebody else moved the upload meanwhile.", "Look at it again.")

    def _lease(self, upload: Upload) -> Upload:
        if upload.status is not Status.REGISTERING:
            raise Problem(f"The upload is {upload.status}: there is nothing to settle.")
        now = self._clock.now()
        claim = self._repository.lease_look(
            upload, plan_attempt(self._clock.now(), self._settle_seconds), now
        )
        if not claim.granted or claim.upload is None:
            raise Problem(
                "The broker is looking at this upload right now.", "Try again in a minute."
            )
        return claim.upload

    @staticmethod
    def _check(upload: Upload, asset: Json) -> None:
        if asset["type"] != upload.type:
            raise Problem(f"It is of the type {asset['type']}, and the upload of {upload.type}.")
        size = size_of(asset)
        if size is not None and size > upload.max_bytes:
            raise Problem(
                f"It has {size} bytes, and its caller may upload {upload.max_bytes}.",
                "Delete it at sync., and settle the upload with --failed.",
            )
        created, attempt = asset["createdAt"], upload.attempt
        with suppress(TypeError, ValueError):  # a time that nobody can read says nothing
            made_at = datetime.fromisoformat(created).timestamp() * 1000
            if attempt and made_at < attempt.first_post_at - LOOK_BACK_SECONDS * 1000:
                raise Problem(f"It was made at {created}, before the registration was sent.")


def _explained(error: Exception, asset_id: str) -> Problem:
    if isinstance(error, Problem):
        return Problem(f"The asset {asset_id} can't be it. {error.message}", error.advice)
    if isinstance(error, sync_errors.UpstreamRefused):
        return Problem(f"sync. knows no asset {asset_id} of this key.", "Look at its id again.")
    detail = getattr(error, "detail", "")
    return Problem(f"sync. can't be asked: {detail}", "Try again in a minute.", UNREACHABLE)


def _candidate(why: str, asset: Json, claims: Mapping[str, AssetOwners]) -> Candidate:
    claimed = claims.get(asset["id"])
    shown = {name: asset.get(name) for name in _SHOWN}
    return Candidate(why, shown, ", ".join(sorted(claimed.owners)) if claimed else None)


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
        "addresses": ", ".join(upload.addresses),
    }
    lines += [f"  {name:19}{value}" for name, value in about.items() if value is not None]
    lines.append(f"  {len(found)} assets at sync. may be its own:")
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
        "addresses": list(upload.addresses),
        "firstPostAt": _time(upload.attempt.first_post_at) if upload.attempt else None,
        "candidates": [asdict(one) for one in found],
        "settled": outcome,
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
