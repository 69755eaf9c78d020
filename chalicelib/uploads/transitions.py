"""The moves of an upload as changes of its item: what each sets, and under which condition.

A move that `MOVES` does not have can't be built, and each carries the state that it starts from.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.aws import codec
from chalicelib.aws.table import Change
from chalicelib.core.types import Json
from chalicelib.uploads import items
from chalicelib.uploads.models import Status, Upload, next_look, try_pause

MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.REGISTERING, Status.EXPIRED, Status.CANCELLED}),
    Status.REGISTERING: frozenset({Status.REGISTERED, Status.FAILED, Status.PENDING}),
    Status.REGISTERED: frozenset(),
    Status.FAILED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def sources(target: Status) -> tuple[Status, ...]:
    """Return the states from which `target` may be reached, in the order of the life."""
    return tuple(state for state in Status if target in MOVES[state])


UNFINISHED = ("dueShard", "dueAt")  # what holds an upload in the sweep's index
OWN_PENDING = "#owner = :owner AND #status = :pending"
_HELD = "#status = :registering AND #attempt.#id = :attempt"
# What a 201 returned is taken even if a look holds the lease meanwhile, until the next POST.
_POSTED = "#status = :registering AND #attempt.#post_id = :attempt"
_SOURCE = re.compile(r"#status = :(\w+)")
_CLOSED_SECONDS = 30 * 86_400  # how long what ended without an asset is kept


def change(
    upload_id: str,
    condition: str,
    values: Mapping[str, Any],
    sets: Mapping[str, Any],
    removes: tuple[str, ...] = (),
) -> Change:
    """Build a move."""
    if "status" in sets:
        named = _SOURCE.findall(condition)
        legal = sources(Status(sets["status"]))
        if not named or not all(values[name] in legal for name in named):
            raise ValueError(f"no move leads to {sets['status']} under {condition!r}")
    pk = f"upload#{upload_id}"
    return Change(pk=pk, condition=condition, values=values, sets=sets, removes=removes)


def held(upload: Upload) -> tuple[str, Json]:
    """Say that the lease is still this attempt's."""
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    return _HELD, {"registering": Status.REGISTERING.value, "attempt": upload.attempt.id}


def posted(upload: Upload) -> tuple[str, Json]:
    """Say that nobody has POSTed since this attempt did."""
    if upload.attempt is None:
        raise ValueError("this upload holds no lease")
    return _POSTED, {"registering": Status.REGISTERING.value, "attempt": upload.attempt.post_id}


def reopening(upload: Upload, now: int, tried: frozenset[int], *, is_refused: bool) -> Json:
    """Say what the way back to pending sets; `Store.reopen` says what the arguments are."""
    is_round_over = len(tried) >= len(upload.addresses)
    refusals = upload.refusals + is_refused
    sets: Json = {
        "status": Status.PENDING.value,
        "attempt": None,
        "updatedAt": now,
        "dueAt": next_look(upload.created_at, now),
        "tried": [] if is_round_over else sorted(tried),
        "refusals": refusals,
        "nextTryAt": now + try_pause(refusals) if is_refused else 0,
    }
    return sets | ({"refusedAt": now, "refusedBefore": upload.refused_at} if is_round_over else {})


def registering(upload: Upload, asset: Json, now: int) -> tuple[Upload, Json, Change]:
    """Return the registered upload, what the move to it sets, and its copy as an asset."""
    done = replace(
        upload, status=Status.REGISTERED, attempt=None, asset=asset, updated_at=now, due_at=None
    )
    sets = {
        "status": Status.REGISTERED.value,
        "attempt": None,
        "asset": json.dumps(asset),
        "updatedAt": now,
    }
    pk = f"asset#{upload.owner}#{asset['id']}"
    place = codec.list_place(f"assets#{upload.owner}", now, upload.id)
    return done, sets, Change(pk=pk, put=items.from_upload(done, pk) | codec.values(place))


def failing(problem: Json, now: int) -> Json:
    """Say what the move to failed sets."""
    return ending(Status.FAILED, now) | {"attempt": None, "error": json.dumps(problem)}


def ending(status: Status, now: int) -> Json:
    """Say what a move to an end without an asset sets."""
    return {"status": status.value, "updatedAt": now, "ttl": now // 1000 + _CLOSED_SECONDS}
