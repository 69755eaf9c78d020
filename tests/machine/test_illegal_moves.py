"""A move that an upload's state does not allow can't be written to DynamoDB."""

from collections.abc import Iterator

import pytest

from chalicelib.aws import codec
from chalicelib.aws.table import Table
from chalicelib.quotas.store import QuotaStore
from chalicelib.uploads.models import Attempt, NewFile, Status, Target, Upload
from chalicelib.uploads.transitions import MOVES
from tests.machine.illegal_moves import try_illegal_moves
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
        attempt = Attempt("a" * 16, now + 60_000, now, now + 150_000, "a" * 16)
        leased = store.lease_post(upload.id, caller.id, attempt, now).upload
        assert leased is not None
        if state is Status.REGISTERED:
            asset = {"id": "b", "url": None, "size": 5}
            assert store.record(leased, asset, looked_up=False, now=now).granted
        if state is Status.FAILED:
            assert store.fail(leased, PROBLEM, now).granted
    if state is Status.CANCELLED:
        assert store.cancel(upload.id, caller.id, now).granted
    if state is Status.EXPIRED:
        for _ in range(2):
            attempt = Attempt("a" * 16, now + 60_000, now, now + 150_000, "a" * 16)
            leased = store.lease_post(upload.id, caller.id, attempt, now).upload
            assert leased is not None
            assert store.reopen(leased, now, frozenset({0})).granted
        assert store.expire(upload, now - 1, now).granted
    assert world.fresh(upload.id).status is state
    return upload.id


@pytest.mark.parametrize("state", MOVES)
def test_refused(world: World, state: Status) -> None:
    """In every state each illegal move is refused, and changes nothing."""
    assert try_illegal_moves(world, moved(world, state), world.callers[1].id) >= 11


def pending(world: World) -> Upload:
    """Begin an upload."""
    file = NewFile("a.mp4", "video/mp4", 5, "VIDEO")
    return world.admin.uploads.begin(world.callers[0], file, None, None)[0]


def leased(world: World, upload: Upload, name: str = "a") -> Upload:
    """Take the lease that allows to POST."""
    now = world.now()
    attempt = Attempt(name * 16, now + 60_000, now, now + 150_000, name * 16)
    held = world.admin.repository.lease_post(upload.id, upload.owner, attempt, now).upload
    assert held is not None
    return held


def test_asset_of_another(world: World) -> None:
    """An asset that a look found is taken by one upload; what a 201 returned by each."""
    store, asset = world.admin.repository, {"id": "b", "url": None, "size": 5}
    first, second = (leased(world, pending(world)) for _ in range(2))
    assert store.record(first, asset, looked_up=True, now=world.now()).granted
    assert not store.record(second, asset, looked_up=True, now=world.now()).granted
    assert store.record(second, asset, looked_up=False, now=world.now()).granted


def test_two_renewals(world: World) -> None:
    """Of two renewals in one moment one is written, so that no address is lost."""
    store, upload, now = world.admin.repository, pending(world), world.now()
    assert store.renew(upload, Target("u", "v", now, now + 9), now).granted
    assert not store.renew(upload, Target("x", "y", now, now + 9), now).granted


def test_renewed_while_expiring(world: World) -> None:
    """An upload that was renewed in the same moment does not expire."""
    store, upload, now = world.admin.repository, pending(world), world.now()
    for _ in range(2):
        assert store.reopen(leased(world, upload), now, frozenset({0})).granted
        upload = world.fresh(upload.id)
    assert store.renew(upload, Target("u", "v", now, now + 9), now).granted
    assert not store.expire(upload, now - 1, now).granted
    renewed = world.fresh(upload.id)
    assert not store.expire(renewed, now, now).granted, "it was not refused after its end"
    assert store.expire(renewed, now - 1, now).granted


def test_late_answer(world: World) -> None:
    """A 201 is recorded though a look has the lease, and not once somebody POSTed again."""
    store, asset = world.admin.repository, {"id": "b", "url": None, "size": 5}
    for is_posted_again in (False, True):
        upload = leased(world, pending(world))
        world.advance(61)
        now = world.now()
        look = Attempt("c" * 16, now + 60_000, now, now + 150_000, "c" * 16)
        looking = store.lease_look(upload, look, now).upload
        assert looking is not None
        if is_posted_again:
            assert store.lease_again(looking, look).granted
        granted = store.record(upload, asset, looked_up=False, now=now).granted
        assert granted is not is_posted_again


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
