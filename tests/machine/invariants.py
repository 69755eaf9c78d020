"""The five rules of an upload's life, checked against a snapshot after each step."""

import json
from collections import Counter

from chalicelib.uploads.models import Status, Upload
from chalicelib.uploads.transitions import TRANSITIONS
from tests.machine.system import Snapshot
from tests.support.upstream_process import KEY

FINAL = frozenset(state for state, targets in TRANSITIONS.items() if not targets)
UNFINISHED = frozenset(TRANSITIONS) - FINAL
NEVER_LOGGED = ("asset_orphaned", "sweep_poisoned", KEY, "X-Amz-Signature")
LONGEST_PAUSE = 3_700_000  # milliseconds until the sweep looks again, the skew included


def reachable(state: Status) -> set[Status]:
    """Return the states that transitions lead to, the state itself included."""
    found, new = {state}, {state}
    while new:
        new = {target for one in new for target in TRANSITIONS[one]} - found
        found |= new
    return found


def assert_one_asset(seen: Snapshot, urls_used: Counter[str]) -> None:
    """Rule 1: an upload makes at most one asset, and none in a state without one."""
    for upload in seen.uploads.values():
        if not upload.is_file:
            continue
        made = seen.assets_of(upload)
        assert len(made) <= 1, f"{len(made)} assets of {upload}"
        alive = made - seen.deleted
        if upload.status is Status.REGISTERED:
            assert upload.asset is not None
            assert made == {upload.asset.id}, f"{made} made, and recorded {upload.asset.id}"
            assert alive, f"the asset of {upload} was deleted"
        elif upload.status is Status.FAILED:
            assert alive <= {upload.discarded}, f"an asset is left of {upload}"
        elif upload.status is not Status.REGISTERING:
            assert not made, f"{upload.status} upload has an asset: {upload}"
    for url, times in urls_used.items():
        made = seen.assets_at(url)
        assert len(made) <= times, f"{len(made)} assets of {times} uploads of {url}"


def assert_recorded_assets_kept(seen: Snapshot, *, shared: bool) -> None:
    """Rule 1, for public URLs: no recorded asset is deleted, or recorded for a second upload."""
    recorded = Counter(
        upload.asset.id for upload in seen.uploads.values() if upload.asset is not None
    )
    assert not recorded.keys() & seen.deleted, "an asset that is recorded was deleted"
    assert shared or not recorded or max(recorded.values()) == 1, "two uploads share an asset"


def assert_legal_changes(before: Snapshot, after: Snapshot) -> None:
    """Rule 2: only legal transitions are made; a final state and an asset id never change."""
    for upload_id, old in before.uploads.items():
        new = after.uploads.get(upload_id)
        if new is None:
            taken_back = old.source_url is not None and old.status is Status.REGISTERING
            assert taken_back, f"{old} is gone"
            continue
        assert new.status in reachable(old.status), f"{old.status} became {new.status}"
        if old.status in FINAL:
            assert _final_fields(old) == _final_fields(new)


def _final_fields(upload: Upload) -> tuple[object, ...]:
    asset = json.dumps(upload.asset and upload.asset.fields, sort_keys=True)
    return upload.status, asset, upload.error and upload.error["code"], upload.targets


def assert_unfinished_are_due(seen: Snapshot, now: int) -> None:
    """Rule 3: an unfinished upload is in the sweep's index, and is due soon."""
    for upload in seen.uploads.values():
        item = seen.items[f"upload#{upload.id}"]
        if upload.status in UNFINISHED:
            assert upload.due_at is not None, f"the sweep will never find {upload}"
            assert "dueShard" in item
            assert upload.due_at <= now + LONGEST_PAUSE
            assert "ttl" not in item
        elif upload.discarded is None:
            assert "dueAt" not in item
            assert "dueShard" not in item


def assert_records_agree(seen: Snapshot) -> None:
    """Rule 4: a registered upload has its asset, copy and owner; quotas count unfinished ones."""
    for upload in seen.uploads.values():
        assert (upload.attempt is not None) == (upload.status is Status.REGISTERING)
        assert (upload.asset is not None) == (upload.status is Status.REGISTERED)
        assert (upload.error is not None) == (upload.status is Status.FAILED)
        if upload.asset is not None:
            copy = seen.items[f"asset#{upload.owner}#{upload.asset.id}"]
            assert copy["status"] == "registered"
            assert f"claim#{upload.asset.id}" in seen.items
    unfinished = Counter(u.owner for u in seen.uploads.values() if u.status in UNFINISHED)
    for pk, item in seen.items.items():
        if pk.startswith("quota#"):
            reserved = sum(name.startswith("creating#") for name in item)
            owner = pk.removeprefix("quota#")
            assert item["open"] == unfinished[owner] + reserved, f"{item} and {unfinished[owner]}"


def assert_key_is_secret(seen: Snapshot, log: str) -> None:
    """Rule 5: the key is in no item and no log line."""
    assert KEY not in json.dumps(seen.items, default=str)
    for word in NEVER_LOGGED:
        assert word not in log, log


def must_finish(upload: Upload, now: int) -> bool:
    """Whether bytes that land now must be registered or refused.

    Not in the last minute of the upload's life: the clocks may differ by that much.
    """
    return upload.status in UNFINISHED and now < upload.ends_at - 60_000
