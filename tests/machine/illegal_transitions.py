"""Every transition that an upload's state does not allow, tried on the real repository."""

from contextlib import suppress

from chalicelib.core.errors import NotFound
from chalicelib.syncapi.models import Asset
from chalicelib.uploads.models import Attempt, Lease, Status, Target
from tests.machine.system import System


def asset(asset_id: str, size: int | None = None) -> Asset:
    """Return an asset without a URL."""
    return Asset.parse({"id": asset_id, "size": size})


def try_illegal_transitions(system: System, upload_id: str, foreign: str) -> int:
    """Try each of them on one upload; assert that it is refused and nothing changes.

    Args:
        system: The run's system.
        upload_id: The upload.
        foreign: Another caller.

    Returns:
    How many were tried.
    """
    before = system.snapshot()
    upload, repository, now = before.uploads[upload_id], system.admin.repository, system.now()
    plan = Attempt("f" * 16, now + 60_000, now, now + 150_000, "f" * 16)
    forged, found = Lease(upload, plan), asset("forged", 1)
    problem, target = {"code": "file_rejected", "detail": ""}, Target("u", "v", now, now + 9)
    granted: list[object] = [
        repository.lease_to_repost(forged, plan),
        repository.reopen(forged, now),
        repository.fail(forged, problem, now),
        repository.fail(forged, problem, now, discarded=found),
        repository.record(forged, found, is_reconciled=False, now=now),
        repository.record(forged, found, is_reconciled=True, now=now),
    ]
    repository.release(forged, now)
    repository.delete(forged, None, was_sent=True)
    tried = len(granted) + 4
    # Another caller's upload is not found.
    with suppress(NotFound):
        granted.append(repository.lease_to_post(upload.id, foreign, plan, now))
    with suppress(NotFound):
        granted.append(repository.cancel(upload.id, foreign, now))
    if upload.status is not Status.PENDING:
        tried += 4
        granted += [
            isinstance(repository.lease_to_post(upload.id, upload.owner, plan, now), Lease),
            target in repository.renew(upload, target, now).targets,
            repository.cancel(upload.id, upload.owner, now) is None,
            repository.expire(upload, 0, now),
        ]
    if upload.attempt is None or upload.attempt.lease_until >= now:
        tried += 1
        granted.append(isinstance(repository.lease_to_reconcile(upload, plan, now), Lease))
    assert not any(granted)
    assert system.snapshot().items == before.items
    return tried
