"""DynamoDB refuses every transition that an upload's state does not allow."""

from collections.abc import Iterator

import pytest

from chalicelib.aws import codec
from chalicelib.aws.table import Table
from chalicelib.quotas.store import QuotaStore
from chalicelib.uploads.models import Attempt, Lease, NewFile, Status, Target, Upload
from chalicelib.uploads.transitions import TRANSITIONS
from tests.machine.illegal_transitions import asset, try_illegal_transitions
from tests.machine.system import Services, System
from tests.support.clocks import ManualClock

PROBLEM = {"code": "file_rejected", "detail": ""}


@pytest.fixture
def system(services: Services) -> Iterator[System]:
    """A system that only this test uses."""
    made = System(services)
    yield made
    made.close()


def upload_in_state(system: System, state: Status) -> str:
    """Bring a new upload into a state by legal transitions."""
    caller, repository, now = system.callers[0], system.admin.repository, system.now()
    upload, *_ = system.admin.uploads.begin(
        caller, NewFile("a.mp4", "video/mp4", 5, "VIDEO"), None, None
    )
    if state in {Status.REGISTERING, Status.REGISTERED, Status.FAILED}:
        lease = lease_upload(system, upload)
        if state is Status.REGISTERED:
            assert repository.record(lease, asset("b", 5), is_reconciled=False, now=now)
        if state is Status.FAILED:
            assert repository.fail(lease, PROBLEM, now)
    if state is Status.CANCELLED:
        assert repository.cancel(upload.id, caller.id, now) is None
    if state is Status.EXPIRED:
        for _ in range(2):
            assert repository.reopen(lease_upload(system, upload), now, frozenset({0}))
        assert repository.expire(upload, now - 1, now)
    assert system.read_upload(upload.id).status is state
    return upload.id


@pytest.mark.parametrize("state", TRANSITIONS)
def test_illegal_transitions_are_refused(system: System, state: Status) -> None:
    """In every state each illegal transition is refused, and changes nothing."""
    assert (
        try_illegal_transitions(system, upload_in_state(system, state), system.callers[1].id) >= 11
    )


def pending(system: System) -> Upload:
    """Begin an upload."""
    file = NewFile("a.mp4", "video/mp4", 5, "VIDEO")
    return system.admin.uploads.begin(system.callers[0], file, None, None)[0]


def lease_upload(system: System, upload: Upload, name: str = "a") -> Lease:
    """Take the lease to POST."""
    now = system.now()
    attempt = Attempt(name * 16, now + 60_000, now, now + 150_000, name * 16)
    lease = system.admin.repository.lease_to_post(upload.id, upload.owner, attempt, now)
    assert isinstance(lease, Lease)
    return lease


def test_found_asset_is_recorded_once(system: System) -> None:
    """One upload records a reconciled asset; every upload records the asset of its own 201."""
    repository, found = system.admin.repository, asset("b", 5)
    first, second = (lease_upload(system, pending(system)) for _ in range(2))
    assert repository.record(first, found, is_reconciled=True, now=system.now())
    assert not repository.record(second, found, is_reconciled=True, now=system.now())
    assert repository.record(second, found, is_reconciled=False, now=system.now())


def test_concurrent_renewals_keep_one_url(system: System) -> None:
    """Of two concurrent renewals one is written, so that no URL is lost."""
    repository, upload, now = system.admin.repository, pending(system), system.now()
    first, second = Target("u", "v", now, now + 9), Target("x", "y", now, now + 9)
    assert repository.renew(upload, first, now).targets[-1] == first
    assert repository.renew(upload, second, now).targets[-1] == first


def test_renewed_upload_does_not_expire(system: System) -> None:
    """An upload that is renewed at the same time does not expire."""
    repository, upload, now = system.admin.repository, pending(system), system.now()
    for _ in range(2):
        assert repository.reopen(lease_upload(system, upload), now, frozenset({0}))
        upload = system.read_upload(upload.id)
    repository.renew(upload, Target("u", "v", now, now + 9), now)
    assert not repository.expire(upload, now - 1, now)
    renewed = system.read_upload(upload.id)
    assert not repository.expire(renewed, now, now), "Sync has not refused it after its end"
    assert repository.expire(renewed, now - 1, now)


def test_late_201_is_recorded_unless_reposted(system: System) -> None:
    """A 201 is recorded during a reconciliation, but not after a second POST."""
    repository, found = system.admin.repository, asset("b", 5)
    for is_posted_again in (False, True):
        posting = lease_upload(system, pending(system))
        system.advance(61)
        now = system.now()
        attempt = Attempt("c" * 16, now + 60_000, now, now + 150_000, "c" * 16)
        reconciling = repository.lease_to_reconcile(posting.upload, attempt, now)
        assert isinstance(reconciling, Lease)
        if is_posted_again:
            assert repository.lease_to_repost(reconciling, attempt)
        done = repository.record(posting, found, is_reconciled=False, now=now)
        assert (done is None) is is_posted_again


def test_forget_keeps_pending_upload_due(system: System) -> None:
    """`forget` leaves an upload in the sweep's index unless its asset was discarded."""
    upload = pending(system)
    system.admin.repository.forget(upload.id)
    assert system.read_upload(upload.id).due_at == upload.due_at


def test_skewed_containers_share_cap(system: System) -> None:
    """Two containers whose clocks are in different minutes share one minute's cap."""
    quotas = system.admin.quotas
    granted = [quotas.allow("sweep", minute, 2, 3) for minute in (100, 101, 100, 101, 102)]
    assert granted == [2, 2, 1, 0, 2]


def test_cap_is_not_granted_twice(system: System) -> None:
    """A cap that another container uses between a read and a write is not granted twice."""

    class OvertakenTable(Table):
        def get(self, pk: str) -> codec.Item | None:
            found = super().get(pk)
            system.admin.quotas.allow("sweep", 100, 2, 3)
            return found

    clock = ManualClock(system.now())
    quotas = QuotaStore(OvertakenTable(system.services.client, system.table, clock), clock)
    system.admin.quotas.allow("sweep", 100, 0, 3)
    assert quotas.allow("sweep", 100, 2, 3) == 0
