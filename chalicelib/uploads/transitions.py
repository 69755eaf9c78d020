"""The transitions of an upload, as changes of its item: what each sets, and on which condition.

A transition that `TRANSITIONS` lacks can't be built. Each one carries the states that it starts
from.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.aws import codec
from chalicelib.aws.table import Change
from chalicelib.core.clock import DAY_SECONDS
from chalicelib.core.types import Json
from chalicelib.syncapi.models import Asset
from chalicelib.uploads import items
from chalicelib.uploads.models import Lease, Status, Upload, next_due, try_pause

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.REGISTERING, Status.EXPIRED, Status.CANCELLED}),
    Status.REGISTERING: frozenset({Status.REGISTERED, Status.FAILED, Status.PENDING}),
    Status.REGISTERED: frozenset(),
    Status.FAILED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELLED: frozenset(),
}
UNFINISHED = ("dueShard", "dueAt")  # the attributes that put an upload into the sweep's index
OWN_PENDING = "#owner = :owner AND #status = :pending"
_LEASED = "#status = :registering AND #attempt.#id = :attempt"
# The asset of a 201 is recorded even if a reconciliation holds the lease by then, until the next
# POST.
_POSTED = "#status = :registering AND #attempt.#post_id = :attempt"
_SOURCE = re.compile(r"#status = :(\w+)")
_CLOSED_SECONDS = 30 * DAY_SECONDS  # how long an upload that ended without an asset is kept


def sources(target: Status) -> tuple[Status, ...]:
    """Return the states from which `target` may be reached, in the order of an upload's life."""
    return tuple(state for state in Status if target in TRANSITIONS[state])


def change(
    upload_id: str,
    condition: str,
    values: Mapping[str, Any],
    sets: Mapping[str, Any],
    removes: tuple[str, ...] = (),
) -> Change:
    """Return a change of an upload.

    Raises:
        ValueError: It would be a transition that does not exist.
    """
    if "status" in sets:
        named = _SOURCE.findall(condition)
        legal = sources(Status(sets["status"]))
        if not named or not all(values[name] in legal for name in named):
            raise ValueError(f"no transition leads to {sets['status']} if {condition!r}")
    pk = f"upload#{upload_id}"
    return Change(pk=pk, condition=condition, values=values, sets=sets, removes=removes)


def leased(lease: Lease) -> tuple[str, Json]:
    """Return the condition that the lease is still held, with its values."""
    return _LEASED, {"registering": Status.REGISTERING.value, "attempt": lease.attempt.id}


def posted(lease: Lease) -> tuple[str, Json]:
    """Return the condition that nobody has POSTed since this attempt did, with its values."""
    return _POSTED, {"registering": Status.REGISTERING.value, "attempt": lease.attempt.post_id}


def reopening(upload: Upload, now: int, tried: frozenset[int], *, is_refused: bool) -> Json:
    """Return what the transition back to pending sets; the arguments are those of `reopen`."""
    is_round_over = len(tried) >= len(upload.urls)
    refusals = upload.refusals + is_refused
    sets: Json = {
        "status": Status.PENDING.value,
        "attempt": None,
        "updatedAt": now,
        "dueAt": next_due(upload.created_at, now),
        "tried": [] if is_round_over else sorted(tried),
        "refusals": refusals,
        "nextTryAt": now + try_pause(refusals) if is_refused else 0,
    }
    return sets | ({"refusedAt": now, "refusedBefore": upload.refused_at} if is_round_over else {})


def registering(upload: Upload, asset: Asset, now: int) -> tuple[Upload, Json, Change]:
    """Return the registered upload, what its transition sets, and its copy under the asset's id."""
    done = replace(
        upload, status=Status.REGISTERED, attempt=None, asset=asset, updated_at=now, due_at=None
    )
    sets = {
        "status": Status.REGISTERED.value,
        "attempt": None,
        "asset": json.dumps(asset.fields),
        "updatedAt": now,
    }
    pk = f"asset#{upload.owner}#{asset.id}"
    list_keys = codec.list_keys(f"assets#{upload.owner}", now, upload.id)
    return done, sets, Change(pk=pk, put=items.from_upload(done, pk) | codec.values(list_keys))


def failing(problem: Json, now: int) -> Json:
    """Return what the transition to failed sets."""
    return ending(Status.FAILED, now) | {"attempt": None, "error": json.dumps(problem)}


def ending(status: Status, now: int) -> Json:
    """Return what a transition to an end without an asset sets."""
    return {"status": status.value, "updatedAt": now, "ttl": now // 1000 + _CLOSED_SECONDS}
