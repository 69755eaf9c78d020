"""What a look at sync.'s list says about a registration whose answer was lost."""

from dataclasses import dataclass, replace

from chalicelib.attempts import Candidates, Walk
from chalicelib.core.types import Json
from chalicelib.ports import Store
from chalicelib.uploads import Upload

MOST_CARRIED = 10  # assets of one public URL that a look remembers until it comes to the end


@dataclass(frozen=True)
class Verdict:
    """What is known.

    Attributes:
        asset: The upload's asset, if it was found.
        is_undecided: Whether a person must see which asset is the upload's.
        may_come: Whether it is too early to say that there is none.
        is_settled: Whether the whole list was read, and so late that nothing can come any more.
        goes_on: Where the next look goes on, if the list was not read to its end.
    """

    asset: Json | None = None
    is_undecided: bool = False
    may_come: bool = False
    is_settled: bool = False
    goes_on: Walk | None = None


# What a part of the list shows, and what counts when all of it was read.
UNCLEAR = "unclear"  # an asset that may be it tells no address, or nobody knows its name
STRANGE = "strange"  # an asset that may be it has another address
KEPT = "kept"  # a recorded asset of the same kind has its address
MOVED = "moved"  # a recorded asset of the same kind was given another address


def judge(store: Store, upload: Upload, found: Candidates, walk: Walk, now: int) -> Verdict:
    """Say which of the assets that were found is the upload's.

    Args:
        store: Who has recorded what.
        upload: The upload, with the attempt whose outcome is unknown.
        found: What this part of the list showed.
        walk: What earlier parts showed, and when the first of them was asked for.
        now: The time.
    """
    # What was found first is newer: oldest first, as in one look.
    found = replace(found, matching=(*found.matching, *walk.matching))
    # Read before the claims: who has left since then has claimed what it had.
    is_shared = bool(found.matching or found.undecided) and not upload.is_file
    others = store.others_registering(upload) if is_shared else {}
    candidates = _candidates(store, upload, found)
    if any(until >= now for until in others.values()):
        return Verdict(may_come=True)  # It may be theirs, and their answer may still come.
    if candidates and upload.is_file:
        return Verdict(candidates[0])
    signs = walk.signs | _signs(store, upload, found)
    if found.next_cursor is not None:
        carried = found.matching[-MOST_CARRIED:]
        return Verdict(goes_on=Walk(walk.began_at, found.next_cursor, carried, signs))
    # What a list shows counts from when it was asked for, not from when it was read.
    is_settled = upload.attempt is not None and walk.began_at > upload.attempt.settle_at
    if candidates:
        # Where nobody is told any more whose is whose, each takes the oldest that is left.
        is_enough = len(candidates) <= 1 + len(others)
        if is_enough:
            return Verdict(candidates[0])
        return Verdict(is_undecided=True, is_settled=is_settled)
    # Where all files, or all public URLs, that were recorded in the same time have kept their
    # addresses, sync. keeps them.
    may_have_moved = STRANGE in signs and not (KEPT in signs and MOVED not in signs)
    is_undecided = UNCLEAR in signs or (is_settled and may_have_moved)
    may_come = not (is_undecided or is_settled)
    return Verdict(is_undecided=is_undecided, may_come=may_come, is_settled=is_settled)


def _signs(store: Store, upload: Upload, found: Candidates) -> frozenset[str]:
    """Name what else this part of the list shows."""
    signs = {UNCLEAR} if _not_taken(store, found.undecided) else set()
    if found.elsewhere:
        listed = {asset["id"]: asset["url"] for asset in (*found.elsewhere, *found.witnesses)}
        taken = store.claims(list(listed))
        signs |= {STRANGE} if any(asset["id"] not in taken for asset in found.elsewhere) else set()
        # The address of an asset may have been kept at first, and be another one by now.
        signs |= {
            KEPT if one.address is not None and one.address == listed[asset_id] else MOVED
            for asset_id, one in taken.items()
            if one.is_file is upload.is_file
        }
    return frozenset(signs)


def _candidates(store: Store, upload: Upload, found: Candidates) -> list[Json]:
    """Name the assets that are this upload's, if no other upload has them."""
    candidates = _not_taken(store, found.matching)
    if not candidates and upload.is_file:
        # Nobody else registers a file's address, so it may have been given another name.
        known = (asset for asset in found.undecided if upload.is_at(asset["url"]))
        candidates = _not_taken(store, tuple(known))
    return candidates


def _not_taken(store: Store, assets: tuple[Json, ...]) -> list[Json]:
    """Leave out the assets that other uploads have recorded."""
    if not assets:
        return []
    taken = store.claims([asset["id"] for asset in assets])
    return [asset for asset in assets if asset["id"] not in taken]
