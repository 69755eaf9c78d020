"""Every move that an upload's state does not allow, tried on the real store."""

from dataclasses import replace

from chalicelib.uploads.models import Attempt, Status, Target
from tests.machine.surroundings import World


def try_illegal_moves(world: World, upload_id: str, foreign: str) -> int:
    """Try them all on one upload, and see each refused and nothing changed.

    Args:
        world: Where it is.
        upload_id: Which.
        foreign: Somebody else.

    Returns:
        How many were tried.
    """
    before = world.look()
    record, store, now = before.uploads[upload_id], world.admin.repository, world.now()
    plan = Attempt("f" * 16, now + 60_000, now, now + 150_000, "f" * 16)
    forged, asset = replace(record, attempt=plan), {"id": "forged", "url": None, "size": 1}
    problem, target = {"code": "file_rejected", "detail": ""}, Target("u", "v", now, now + 9)
    # Nobody moves what is somebody else's, or what another attempt holds.
    claims = [
        store.lease_post(record.id, foreign, plan, now),
        store.cancel(record.id, foreign, now),
        store.lease_again(forged, plan),
        store.release(forged, now),
        store.reopen(forged, now),
        store.fail(forged, problem, now),
        store.fail(forged, problem, now, refused=asset),
        store.record(forged, asset, looked_up=False, now=now),
        store.record(forged, asset, looked_up=True, now=now),
    ]
    store.discard(forged, None, was_sent=True)
    if record.status is not Status.PENDING:
        claims.append(store.lease_post(record.id, record.owner, plan, now))
        claims.append(store.renew(record, target, now))
        claims.append(store.cancel(record.id, record.owner, now))
        claims.append(store.expire(record, 0, now))
    if record.attempt is None or record.attempt.lease_until >= now:
        claims.append(store.lease_look(record, plan, now))
    assert not any(claim.granted for claim in claims)
    assert world.look().items == before.items
    return len(claims) + 1
