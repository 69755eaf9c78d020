"""Finding out what became of a registration whose outcome is ambiguous.

Sync has no idempotency key for registrations, and no other way to ask: the asset must be found in
the list of assets by its URL. Nobody documents that Sync keeps URLs, names and projects as they
were sent, so the list is only evidence. If it does not decide the outcome, a person must.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import Asset
from chalicelib.uploads.models import Lease, Upload
from chalicelib.uploads.repository import UploadRepository

MOST_WITNESSES = 100  # so many listed assets show whether Sync keeps URLs
MOST_CARRIED = 10  # assets of one public URL that a scan remembers until its end


@dataclass(frozen=True)
class Evidence:
    """What the part of the list that has been read shows.

    Attributes:
        is_unclear: Whether an asset that may be the upload's has no URL, or another name or
            project.
        is_elsewhere: Whether an asset that may be the upload's has another URL.
        are_urls_kept: Whether a recorded asset of the same kind has the URL that it was recorded
            with.
        are_urls_changed: Whether a recorded asset of the same kind has another URL.
    """

    is_unclear: bool = False
    is_elsewhere: bool = False
    are_urls_kept: bool = False
    are_urls_changed: bool = False

    def plus(self, other: "Evidence") -> "Evidence":
        """Return what two parts of the list show."""
        return Evidence(*(a or b for a, b in zip(_flags(self), _flags(other), strict=True)))

    @property
    def may_have_moved(self) -> bool:
        """Whether an asset with another URL may be the upload's.

        If all recorded assets of its kind have kept their URLs, Sync keeps URLs.
        """
        return self.is_elsewhere and not (self.are_urls_kept and not self.are_urls_changed)


def _flags(evidence: Evidence) -> tuple[bool, ...]:
    return (
        evidence.is_unclear,
        evidence.is_elsewhere,
        evidence.are_urls_kept,
        evidence.are_urls_changed,
    )


@dataclass(frozen=True)
class ScanCursor:
    """How far the list has been read. One scan may take several requests to the broker.

    Attributes:
        began_at: When the scan's first page was read: it may lack what was registered later.
        cursor: Sync's cursor; None for the newest asset.
        matching: The assets of a public URL that were found so far, oldest first.
        evidence: What else was found so far.
    """

    began_at: int
    cursor: str | None = None
    matching: tuple[Asset, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    @classmethod
    def read(cls, text: str | None, now: int) -> "ScanCursor":
        """Return what `write` wrote, or the cursor of a new scan."""
        if text is None:
            return cls(now)
        began_at, cursor, matching, flags = json.loads(text)
        return cls(began_at, cursor, tuple(map(Asset, matching)), Evidence(*flags))

    def write(self) -> str:
        """Return it as text, for an item."""
        matching = [asset.fields for asset in self.matching]
        return json.dumps([self.began_at, self.cursor, matching, _flags(self.evidence)])


@dataclass(frozen=True)
class Matches:
    """Assets of the upload's type in a part of the list.

    Attributes:
        matching: Those with its URL, name and project, oldest first.
        unclear: Those that may be it, without a URL, or with its URL and another name or project.
        elsewhere: Those with another URL whose name and project may be the same.
        witnesses: All of them, whatever their names. The recorded ones show whether Sync keeps
            URLs.
        next_cursor: Sync's cursor for the rest of the list; None if it was read to its end.
    """

    matching: tuple[Asset, ...]
    unclear: tuple[Asset, ...]
    elsewhere: tuple[Asset, ...]
    witnesses: tuple[Asset, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Reconciliation:
    """What is known of an ambiguous outcome.

    Attributes:
        asset: The upload's asset, if it was found.
        is_undecided: Whether a person must decide which asset is the upload's.
        may_come: Whether it is too early to conclude that no asset was made.
        is_settled: Whether the whole list was read, and so late that no asset can come any more.
        continues_at: Where the next reconciliation continues, if the list was not read to its end.
    """

    asset: Asset | None = None
    is_undecided: bool = False
    may_come: bool = False
    is_settled: bool = False
    continues_at: ScanCursor | None = None


def find_matches(sync: SyncClient, upload: Upload, since: int, cursor: str | None) -> Matches:
    """Read Sync's list of assets, newest first, as far as time allows.

    Args:
        sync: Sync's API.
        upload: The upload, any of whose URLs may have been in the ambiguous request.
        since: Milliseconds since 1970; older assets can't be the upload's.
        cursor: Sync's cursor where an earlier scan stopped; None for the newest asset.

    Raises:
        BrokerError: Nothing of the list could be read, so nothing more is known.
    """
    found: dict[str, list[Asset]] = {"matching": [], "unclear": [], "elsewhere": []}
    witnesses: dict[str, Asset] = {}
    for page, next_cursor in sync.newest_assets(upload.type, upload.project_id, cursor):
        cursor = next_cursor
        for asset in page:
            created = asset.created_at
            if created is not None and created < since:
                cursor = None
                break
            # The list may grow between two pages, and show one asset on both.
            if asset.type == upload.type and asset.id not in witnesses:
                witnesses[asset.id] = asset
                if kind := _kind(upload, asset):
                    found[kind].append(asset)
        # A file's URL is its alone, so one match ends the scan.
        if cursor is None or (upload.is_file and found["matching"]):
            cursor = None
            break
    return Matches(
        tuple(reversed(found["matching"])),
        tuple(found["unclear"]),
        tuple(found["elsewhere"]),
        tuple(witnesses.values())[:MOST_WITNESSES],
        cursor,
    )


def reconcile(
    repository: UploadRepository, lease: Lease, found: Matches, scan: ScanCursor, now: int
) -> Reconciliation:
    """Decide which of the listed assets is the upload's.

    Args:
        repository: The owners of assets.
        lease: The lease of the upload whose outcome is ambiguous.
        found: What this part of the list contains.
        scan: What earlier parts contained.
        now: The time.
    """
    upload = lease.upload
    # Earlier parts of the list are newer, and the oldest asset comes first.
    found = replace(found, matching=(*found.matching, *scan.matching))
    # Read before the owners: an upload that has been removed since then owns its asset by now.
    is_shared = bool(found.matching or found.unclear) and not upload.is_file
    others = repository.others_registering(upload) if is_shared else {}
    matches = _unowned_matches(repository, upload, found)
    if any(until >= now for until in others.values()):
        return Reconciliation(may_come=True)  # The response to one of them may still come.
    if matches and upload.is_file:
        return Reconciliation(matches[0])
    evidence = scan.evidence.plus(_evidence(repository, upload, found))
    if found.next_cursor is not None:
        carried = found.matching[-MOST_CARRIED:]
        return Reconciliation(
            continues_at=ScanCursor(scan.began_at, found.next_cursor, carried, evidence)
        )
    # A list is as old as the request for its first page.
    is_settled = scan.began_at > lease.attempt.settle_at
    if matches:
        # The matches are indistinguishable, so each upload takes the oldest without an owner.
        # More matches than uploads mean that another program registered one.
        if len(matches) <= 1 + len(others):
            return Reconciliation(matches[0])
        return Reconciliation(is_undecided=True, is_settled=is_settled)
    is_undecided = evidence.is_unclear or (is_settled and evidence.may_have_moved)
    may_come = not (is_undecided or is_settled)
    return Reconciliation(is_undecided=is_undecided, may_come=may_come, is_settled=is_settled)


def _evidence(repository: UploadRepository, upload: Upload, found: Matches) -> Evidence:
    """Return what this part of the list shows beside matches."""
    is_unclear = bool(_unowned(repository, found.unclear))
    if not found.elsewhere:
        return Evidence(is_unclear)
    urls = {asset.id: asset.url for asset in (*found.elsewhere, *found.witnesses)}
    owners = repository.asset_owners(list(urls))
    # An asset may have kept its URL at first, and have another one by now.
    are_kept = [
        owner.url is not None and owner.url == urls[asset_id]
        for asset_id, owner in owners.items()
        if owner.is_file is upload.is_file
    ]
    return Evidence(
        is_unclear=is_unclear,
        is_elsewhere=any(asset.id not in owners for asset in found.elsewhere),
        are_urls_kept=any(are_kept),
        are_urls_changed=not all(are_kept),
    )


def _unowned_matches(repository: UploadRepository, upload: Upload, found: Matches) -> list[Asset]:
    """Return the assets that are this upload's if no other upload owns them."""
    matches = _unowned(repository, found.matching)
    if not matches and upload.is_file:
        # Nobody else registers a file's URL, so the asset may have been given another name.
        matches = _unowned(repository, (one for one in found.unclear if upload.is_at(one.url)))
    return matches


def _unowned(repository: UploadRepository, assets: Iterable[Asset]) -> list[Asset]:
    found = list(assets)
    owners = repository.asset_owners([asset.id for asset in found]) if found else {}
    return [asset for asset in found if asset.id not in owners]


def _kind(upload: Upload, asset: Asset) -> str | None:
    """Return what an asset of the upload's type may be to it, by the names of `Matches`."""
    is_same = (asset.name, asset.project_id) == (upload.name, upload.project_id)
    may_be = _may_be(asset.name, upload.name) and _may_be(asset.project_id, upload.project_id)
    is_here = upload.is_at(asset.url)
    if is_here and is_same:
        return "matching"
    if is_here or (not asset.url and may_be):
        return "unclear"
    return "elsewhere" if may_be else None


def _may_be(returned: str | None, sent: str | None) -> bool:
    """Whether Sync may return a text for what was sent; spaces and case may have changed."""
    if returned is None or sent is None:
        return True
    return returned.casefold().split() == sent.casefold().split()
