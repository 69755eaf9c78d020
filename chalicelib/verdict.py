"""What a look at sync.'s list says about a registration whose answer was lost."""

from dataclasses import dataclass

from chalicelib.ports import Store
from chalicelib.uploads import Candidates, Json, Upload


@dataclass(frozen=True)
class Verdict:
    """What is known.

    Attributes:
        asset: The upload's asset, if it was found.
        is_undecided: Whether a person must see which asset is the upload's.
        may_come: Whether it is too early to say that there is none.
    """

    asset: Json | None = None
    is_undecided: bool = False
    may_come: bool = False


def judge(
    store: Store, upload: Upload, found: Candidates, now: int, *, is_settled: bool
) -> Verdict:
    """Say which of the assets that were found is the upload's.

    Args:
        store: Who has recorded what.
        upload: The upload.
        found: What the list showed.
        now: The time.
        is_settled: Whether sync. had finished the lost request before it was asked for the list.
    """
    # Read before the claims: who has left since then has claimed what it had.
    is_shared = bool(found.matching) and not upload.is_file
    others = store.others_registering(upload) if is_shared else {}
    candidates = _candidates(store, upload, found)
    if candidates and any(until >= now for until in others.values()):
        return Verdict(may_come=True)  # It may be theirs, and their answer may still come.
    if candidates and (upload.is_file or len(candidates) <= 1 + len(others)):
        return Verdict(candidates[0])
    if candidates or _not_taken(store, found.undecided):
        return Verdict(is_undecided=True)
    if not is_settled:
        return Verdict(may_come=True)
    return Verdict(is_undecided=_may_have_moved(store, found.elsewhere))


def _candidates(store: Store, upload: Upload, found: Candidates) -> list[Json]:
    """Name the assets that are this upload's, if no other upload has them."""
    candidates = _not_taken(store, found.matching)
    if not candidates and upload.is_file:
        # Nobody else registers a file's address, so it may have been given another name.
        known = (asset for asset in found.undecided if asset["url"] in upload.addresses)
        candidates = _not_taken(store, tuple(known))
    return candidates


def _not_taken(store: Store, assets: tuple[Json, ...]) -> list[Json]:
    """Leave out the assets that other uploads have recorded."""
    if not assets:
        return []
    taken = store.claims([asset["id"] for asset in assets])
    return [asset for asset in assets if asset["id"] not in taken]


def _may_have_moved(store: Store, elsewhere: tuple[Json, ...]) -> bool:
    """Say whether one of these may be the asset, under an address that sync. gave it.

    Where the assets that were recorded in the same time have kept theirs, sync. keeps them.
    """
    if not elsewhere:
        return False
    taken = store.claims([asset["id"] for asset in elsewhere])
    keeps_addresses = bool(taken) and all(one.kept_address for one in taken.values())
    return len(taken) < len(elsewhere) and not keeps_addresses
