"""A move that an upload's state does not allow can't be written to DynamoDB."""

from collections.abc import Iterator

import pytest
from illegal_moves import try_illegal_moves
from surroundings import Surroundings, World

from chalicelib.uploads import MOVES, Attempt, NewFile, Status

PROBLEM = {"code": "file_rejected", "detail": ""}


@pytest.fixture
def world(around: Surroundings) -> Iterator[World]:
    """A run of its own."""
    made = World(around)
    yield made
    made.close()


def moved(world: World, state: Status) -> str:
    """Bring a new upload into a state by legal moves."""
    caller, store, now = world.callers[0], world.admin.store, world.now()
    upload, _ = world.admin.lifecycle.begin(caller, NewFile("a.mp4", "video/mp4", 5, "VIDEO"))
    if state in {Status.REGISTERING, Status.REGISTERED, Status.FAILED}:
        attempt = Attempt("a" * 16, now + 60_000, now, now + 150_000)
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
        assert store.expire(upload, now).granted
    assert world.fresh(upload.id).status is state
    return upload.id


@pytest.mark.parametrize("state", MOVES)
def test_refused(world: World, state: Status) -> None:
    """In every state each illegal move is refused, and changes nothing."""
    assert try_illegal_moves(world, moved(world, state), world.callers[1].id) >= 11
