"""What a look at sync.'s list says about a registration whose answer was lost."""

import json
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.types import Json
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import asset_of, made_at
from chalicelib.uploads.models import Upload
from chalicelib.uploads.repository import UploadRepository

MOST_WITNESSES = 100  # recorded assets among so many show whether Sync keeps URLs
MOST_CARRIED = 10  # assets of one public URL that a look remembers until it comes to the end


@dataclass(frozen=True)
class ScanCursor:
    """A look that goes through sync.'s list in several calls.

    Attributes:
        began_at: When its first page was asked for: what was registered later may not be seen.
        cursor: Where it goes on; None at the newest asset.
        matching: What has been found of a public URL so far.
        signs: What else has been seen so far; the names are those of `verdict.py`.
    """

    began_at: int
    cursor: str | None = None
    matching: tuple[dict[str, Any], ...] = ()
    signs: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str | None, now: int) -> "ScanCursor":
        """Read what `write` wrote; begin anew where there is nothing."""
        if text is None:
            return cls(now)
        began_at, cursor, matching, signs = json.loads(text)
        return cls(began_at, cursor, tuple(matching), frozenset(signs))

    def write(self) -> str:
        """Write it as text, which an item can hold."""
        return json.dumps([self.began_at, self.cursor, self.matching, sorted(self.signs)])


@dataclass(frozen=True)
class Matches:
    """What a look-up at sync. found.

    Attributes:
        matching: Assets with the same address, type, name and project, oldest first.
        undecided: Assets that may be it: they tell no address, or have another name or project.
        elsewhere: Assets of the type with another address, whose name and project may be the same.
            Nobody documents that sync. keeps the address, so each may be it.
        witnesses: Assets of the type, whatever they are called. Those that were recorded show
            whether sync. keeps addresses.
        next_cursor: Where the list goes on, if it was not read to its end.
    """

    matching: tuple[dict[str, Any], ...]
    undecided: tuple[dict[str, Any], ...]
    elsewhere: tuple[dict[str, Any], ...]
    witnesses: tuple[dict[str, Any], ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Reconciliation:
    """What is known.

    Attributes:
        asset: The upload's asset, if it was found.
        is_undecided: Whether a person must see which asset is the upload's.
        may_come: Whether it is too early to say that there is none.
        is_settled: Whether the whole list was read, and so late that nothing can come any more.
        continues_at: Where the next look goes on, if the list was not read to its end.
    """

    asset: Json | None = None
    is_undecided: bool = False
    may_come: bool = False
    is_settled: bool = False
    continues_at: ScanCursor | None = None


# What a part of the list shows, and what counts when all of it was read.
UNCLEAR = "unclear"  # an asset that may be it tells no address, or nobody knows its name
STRANGE = "strange"  # an asset that may be it has another address
KEPT = "kept"  # a recorded asset of the same kind has its address
MOVED = "moved"  # a recorded asset of the same kind was given another address


def reconcile(
    repository: UploadRepository, upload: Upload, found: Matches, scan: ScanCursor, now: int
) -> Reconciliation:
    """Say which of the assets that were found is the upload's.

    Args:
        repository: Who has recorded what.
        upload: The upload, with the attempt whose outcome is unknown.
        found: What this part of the list showed.
        scan: What earlier parts showed, and when the first of them was asked for.
        now: The time.
    """
    # What was found first is newer: oldest first, as in one look.
    found = replace(found, matching=(*found.matching, *scan.matching))
    # Read before the claims: who has left since then has claimed what it had.
    is_shared = bool(found.matching or found.undecided) and not upload.is_file
    others = repository.others_registering(upload) if is_shared else {}
    candidates = _candidates(repository, upload, found)
    if any(until >= now for until in others.values()):
        return Reconciliation(may_come=True)  # It may be theirs, and their answer may still come.
    if candidates and upload.is_file:
        return Reconciliation(candidates[0])
    signs = scan.signs | _signs(repository, upload, found)
    if found.next_cursor is not None:
        carried = found.matching[-MOST_CARRIED:]
        return Reconciliation(
            continues_at=ScanCursor(scan.began_at, found.next_cursor, carried, signs)
        )
    # What a list shows counts from when it was asked for, not from when it was read.
    is_settled = upload.attempt is not None and scan.began_at > upload.attempt.settle_at
    if candidates:
        # Where nobody is told any more whose is whose, each takes the oldest that is left.
        is_enough = len(candidates) <= 1 + len(others)
        if is_enough:
            return Reconciliation(candidates[0])
        return Reconciliation(is_undecided=True, is_settled=is_settled)
    # Where all files, or all public URLs, that were recorded in the same time have kept their
    # addresses, sync. keeps them.
    may_have_moved = STRANGE in signs and not (KEPT in signs and MOVED not in signs)
    is_undecided = UNCLEAR in signs or (is_settled and may_have_moved)
    may_come = not (is_undecided or is_settled)
    return Reconciliation(is_undecided=is_undecided, may_come=may_come, is_settled=is_settled)


def _signs(repository: UploadRepository, upload: Upload, found: Matches) -> frozenset[str]:
    """Name what else this part of the list shows."""
    signs = {UNCLEAR} if _not_taken(repository, found.undecided) else set()
    if found.elsewhere:
        listed = {asset["id"]: asset["url"] for asset in (*found.elsewhere, *found.witnesses)}
        taken = repository.claims(list(listed))
        signs |= {STRANGE} if any(asset["id"] not in taken for asset in found.elsewhere) else set()
        # The address of an asset may have been kept at first, and be another one by now.
        signs |= {
            KEPT if one.address is not None and one.address == listed[asset_id] else MOVED
            for asset_id, one in taken.items()
            if one.is_file is upload.is_file
        }
    return frozenset(signs)


def _candidates(repository: UploadRepository, upload: Upload, found: Matches) -> list[Json]:
    """Name the assets that are this upload's, if no other upload has them."""
    candidates = _not_taken(repository, found.matching)
    if not candidates and upload.is_file:
        # Nobody else registers a file's address, so it may have been given another name.
        known = (asset for asset in found.undecided if upload.is_at(asset["url"]))
        candidates = _not_taken(repository, tuple(known))
    return candidates


def _not_taken(repository: UploadRepository, assets: tuple[Json, ...]) -> list[Json]:
    """Leave out the assets that other uploads have recorded."""
    if not assets:
        return []
    taken = repository.claims([asset["id"] for asset in assets])
    return [asset for asset in assets if asset["id"] not in taken]


def find_matches(sync: SyncClient, upload: Upload, since: int, cursor: str | None) -> Matches:
    """Read Sync's list of assets, newest first, as far as time allows.

    Args:
        sync: Sync's API.
        upload: The upload, any of whose URLs may have been in the ambiguous request.
        since: Milliseconds since 1970; older assets can't be the upload's.
        cursor: Where an earlier scan stopped; None to begin with the newest asset.

    Raises:
        BrokerError: Nothing of the list could be read, so nothing more is known.
    """
    found: dict[str, list[Json]] = {"matching": [], "undecided": [], "elsewhere": []}
    witnesses: dict[str, Json] = {}
    for page, next_cursor in sync.newest_assets(upload.type, upload.project_id, cursor):
        cursor = next_cursor
        for asset in map(asset_of, page):
            created = made_at(asset)
            if created is not None and created < since:
                cursor = None
                break
            # The list may grow between two pages, and show one asset on both.
            if asset["type"] == upload.type and asset["id"] not in witnesses:
                witnesses[asset["id"]] = asset
                if kind := _kind(upload, asset):
                    found[kind].append(asset)
        # A file's URL is its alone, so one match ends the scan.
        if cursor is None or (upload.is_file and found["matching"]):
            cursor = None
            break
    return Matches(
        tuple(reversed(found["matching"])),
        tuple(found["undecided"]),
        tuple(found["elsewhere"]),
        tuple(witnesses.values())[:MOST_WITNESSES],
        cursor,
    )


def _kind(upload: Upload, asset: Json) -> str | None:
    """Say what an asset of the upload's type may be to it, by the names of `Matches`."""
    is_same = (asset["name"], asset["projectId"]) == (upload.name, upload.project_id)
    # Nobody documents that sync. tells names and projects always, keeps them as they were sent, and
    # adds none of its own.
    may_be = _may_be(asset["name"], upload.name) and _may_be(asset["projectId"], upload.project_id)
    is_here = upload.is_at(asset["url"])
    if is_here and is_same:
        return "matching"
    if is_here or (not asset["url"] and may_be):
        return "undecided"
    return "elsewhere" if may_be else None


def _may_be(told: Any, sent: str | None) -> bool:
    """Say whether sync. may tell this of what was sent; spaces and case may have changed."""
    if told is None or sent is None:
        return True
    return str(told).casefold().split() == sent.casefold().split()
