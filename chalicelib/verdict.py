"""What a look at sync.'s list says about a registration whose answer was lost."""

from dataclasses import dataclass

from chalicelib.attempts import Candidates
from chalicelib.ports import Store
from chalicelib.uploads import Json, Upload


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
    if candidates and upload.is_file:
        return Verdict(candidates[0])
    if candidates and found.next_cursor is None:
        # Where nobody is told any more whose is whose, each takes the oldest that is left.
        is_enough = len(candidates) <= 1 + len(others)
        return Verdict(candidates[0]) if is_enough else Verdict(is_undecided=True)
    is_undecided = bool(_not_taken(store, found.undecided)) or (
        is_settled and _may_have_moved(store, upload, found)
    )
    is_early = not is_settled or found.next_cursor is not None
    return Verdict(is_undecided=is_undecided, may_come=is_early and not is_undecided)


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


def _may_have_moved(store: Store, upload: Upload, found: Candidates) -> bool:
    """Say whether the asset may stand under an address that sync. gave it.

    Where all files, or all public URLs, that were recorded in the same time have kept their
    addresses, sync. keeps them.
    """
    if not found.elsewhere:
        return False
    ids = [asset["id"] for asset in found.elsewhere]
    taken = store.claims([*ids, *found.witnesses])
    of_kind = [one.kept_address for one in taken.values() if one.is_file is upload.is_file]
    keeps_addresses = bool(of_kind) and all(of_kind)
    return not keeps_addresses and any(one not in taken for one in ids)
