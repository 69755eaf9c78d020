"""A move that an upload's state does not allow can't be written to DynamoDB."""

from collections.abc import Iterator

import pytest

from chalicelib.aws import codec
from chalicelib.aws.table import Table
from chalicelib.quotas.store import QuotaStore
from chalicelib.uploads.models import Attempt, Lease, NewFile, Status, Target, Upload
from chalicelib.uploads.transitions import TRANSITIONS
from tests.machine.illegal_moves import asset, try_illegal_moves
from tests.machine.surroundings import Surroundings, World
from tests.support.clocks import ManualClock

PROBLEM = {"code": "file_rejected", "detail": ""}


@pytest.fixture
def world(around: Surroundings) -> Iterator[World]:
    """A run of its own."""
    made = World(around)
    yield made
    made.close()


def moved(world: World, state: Status) -> str:
    """Bring a new upload into a state by legal moves."""
    caller, store, now = world.callers[0], world.admin.repository, world.now()
    upload, *_ = world.admin.uploads.begin(
        caller, NewFile("a.mp4", "video/mp4", 5, "VIDEO"), None, None
    )
    if state in {Status.REGISTERING, Status.REGISTERED, Status.FAILED}:
        lease = leased(world, upload)
        if state is Status.REGISTERED:
            assert store.record(lease, asset("b", 5), is_reconciled=False, now=now)
        if state is Status.FAILED:
            assert store.fail(lease, PROBLEM, now)
    if state is Status.CANCELLED:
        assert store.cancel(upload.id, caller.id, now) is None
    if state is Status.EXPIRED:
        for _ in range(2):
            assert store.reopen(leased(world, upload), now, frozenset({0}))
        assert store.expire(upload, now - 1, now)
    assert world.fresh(upload.id).status is state
    return upload.id


@pytest.mark.parametrize("state", TRANSITIONS)
def test_refused(world: World, state: Status) -> None:
    """In every state each illegal move is refused, and changes nothing."""
    assert try_illegal_moves(world, moved(world, state), world.callers[1].id) >= 11


def pending(world: World) -> Upload:
    """Begin an upload."""
    file = NewFile("a.mp4", "video/mp4", 5, "VIDEO")
    return world.admin.uploads.begin(world.callers[0], file, None, None)[0]


def leased(world: World, upload: Upload, name: str = "a") -> Lease:
    """Take the lease to POST."""
    now = world.now()
    attempt = Attempt(name * 16, now + 60_000, now, now + 150_000, name * 16)
    lease = world.admin.repository.lease_to_post(upload.id, upload.owner, attempt, now)
    assert isinstance(lease, Lease)
    return lease


def test_asset_of_another(world: World) -> None:
    """An asset that a look found is taken by one upload; what a 201 returned by each."""
    store, found = world.admin.repository, asset("b", 5)
    first, second = (leased(world, pending(world)) for _ in range(2))
    assert store.record(first, found, is_reconciled=True, now=world.now())
    assert not store.record(second, found, is_reconciled=True, now=world.now())
    assert store.record(second, found, is_reconciled=False, now=world.now())


def test_two_renewals(world: World) -> None:
    """Of two renewals in one moment one is written, so that no address is lost."""
    store, upload, now = world.admin.repository, pending(world), world.now()
    first, second = Target("u", "v", now, now + 9), Target("x", "y", now, now + 9)
    assert store.renew(upload, first, now).targets[-1] == first
    assert store.renew(upload, second, now).targets[-1] == first


def test_renewed_while_expiring(world: World) -> None:
    """An upload that was renewed in the same moment does not expire."""
    store, upload, now = world.admin.repository, pending(world), world.now()
    for _ in range(2):
        assert store.reopen(leased(world, upload), now, frozenset({0}))
        upload = world.fresh(upload.id)
    store.renew(upload, Target("u", "v", now, now + 9), now)
    assert not store.expire(upload, now - 1, now)
    renewed = world.fresh(upload.id)
    assert not store.expire(renewed, now, now), "it was not refused after its end"
    assert store.expire(renewed, now - 1, now)


def test_late_answer(world: World) -> None:
    """A 201 is recorded though a look has the lease, and not once somebody POSTed again."""
    store, found = world.admin.repository, asset("b", 5)
    for is_posted_again in (False, True):
        posting = leased(world, pending(world))
        world.advance(61)
        now = world.now()
        look = Attempt("c" * 16, now + 60_000, now, now + 150_000, "c" * 16)
        looking = store.lease_to_reconcile(posting.upload, look, now)
        assert isinstance(looking, Lease)
        if is_posted_again:
            assert store.lease_to_repost(looking, look)
        done = store.record(posting, found, is_reconciled=False, now=now)
        assert (done is None) is is_posted_again


def test_forget_only_discarded(world: World) -> None:
    """Only what has nothing left to delete leaves the sweep's index so."""
    upload = pending(world)
    world.admin.repository.forget(upload.id)
    assert world.fresh(upload.id).due_at == upload.due_at


def test_minute_of_a_fast_clock(world: World) -> None:
    """Two containers whose clocks are in different minutes share one minute's cap."""
    quotas = world.admin.quotas
    given = [quotas.allow("sweep", minute, 2, 3) for minute in (100, 101, 100, 101, 102)]
    assert given == [2, 2, 1, 0, 2]


def test_cap_taken_meanwhile(world: World) -> None:
    """What another container takes between the reading and the writing is not given twice."""

    class Late(Table):
        def get(self, pk: str) -> codec.Item | None:
            found = super().get(pk)
            world.admin.quotas.allow("sweep", 100, 2, 3)
            return found

    clock = ManualClock(world.now())
    quotas = QuotaStore(Late(world.around.client, world.table, clock), clock)
    world.admin.quotas.allow("sweep", 100, 0, 3)
    assert quotas.allow("sweep", 100, 2, 3) == 0
