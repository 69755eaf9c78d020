"""Clocks that disagree, and callbacks that come twice, late, in another order, or never."""

import threading
from collections.abc import Callable

import pytest

from chalicelib import bootstrap
from chalicelib.core import errors
from chalicelib.uploads.models import Status
from chalicelib.uploads.outcomes import Outcome
from tests.faults.stand import (
    DAY,
    LOOK,
    REGISTER,
    SETTLED,
    Caller,
    Stand,
    assert_settled,
    wait_for,
)
from tests.support.clocks import MovableClock
from tests.support.running_broker import SHORT

APART = 20  # seconds


class Container:
    """A second container with a clock of its own, called without a gateway."""

    def __init__(self, stand: Stand, ahead: float) -> None:
        self.clock = MovableClock()
        self.clock.advance(ahead)
        self._broker = bootstrap.build(
            stand.environment(stand.upstream), clock=self.clock, timeouts=SHORT
        )

    def complete(self, caller: Caller, upload: dict[str, str]) -> Outcome:
        """Complete an upload as its caller would."""
        who = self._broker.authenticator.caller(f"Bearer {caller.token}")
        return self._broker.uploads.complete(who, upload["id"])

    def sweep(self) -> None:
        """Sweep."""
        self._broker.sweeper.run(60)


@pytest.mark.parametrize("ahead", [-APART, APART])
def test_apart_while_posting(stand: Stand, ahead: int) -> None:
    """While one container POSTs, another whose clock is 20 seconds off neither POSTs nor looks."""
    caller, other = Caller(stand), Container(stand, ahead)
    upload = caller.land("apart")
    record = stand.dynamodb.order("pause-before", "TransactWriteItems", "claim#", lasting=False)
    thread = threading.Thread(target=caller.complete, args=(upload,))
    thread.start()
    wait_for(record.reached.is_set)
    # By its own clock half a minute has passed: as long as an attempt can take.
    other.clock.advance(30)
    outcome = other.complete(caller, upload)
    assert outcome.upload.status is Status.REGISTERING
    other.sweep()
    record.released.set()
    thread.join()
    assert caller.status(upload) == "registered"
    assert stand.posts() == 1
    assert not [one for one in stand.upstream.journal() if (one["method"], one["path"]) == LOOK]
    assert_settled(stand, [caller])


@pytest.mark.parametrize("ahead", [-APART, APART])
def test_apart_after_loss(stand: Stand, ahead: int) -> None:
    """A container whose clock is 20 seconds off keeps to the settle time of a lost POST."""
    caller, other = Caller(stand), Container(stand, ahead)
    upload = caller.land("apart")
    stand.upstream.order({"kind": "cut"}, *REGISTER)
    assert caller.complete(upload).status_code == 202
    # sync. may be at it for 120 seconds from here: an attempt of 30, and 90 to settle.
    for _ in range(4):
        other.clock.advance(30)
        assert other.complete(caller, upload).retry_after
        assert stand.posts() == 1
    other.clock.advance(61 - ahead)
    assert other.complete(caller, upload).retry_after is None
    assert stand.posts() == 2
    assert_settled(stand, [caller])


def test_apart_in_turns(stand: Stand) -> None:
    """Two containers 20 seconds apart that complete in turns, with losses, make one asset each."""
    caller, other = Caller(stand), Container(stand, APART)
    uploads = [caller.land(f"turn {number}") for number in range(6)]
    stand.upstream.order({"kind": "cut"}, *REGISTER, times=3)
    stand.upstream.order({"kind": "cut", "when": "after"}, *REGISTER, times=3)
    for turn in range(8):
        for upload in uploads:
            if turn % 2:
                caller.complete(upload)
            else:
                other.complete(caller, upload)
        stand.clock.advance(45)
        other.clock.advance(45)
    assert {caller.status(upload) for upload in uploads} == {"registered"}
    assert_settled(stand, [caller])


@pytest.mark.parametrize("skew", [-600, 600])
@pytest.mark.parametrize("made", [True, False], ids=["made", "not-made"])
def test_upstream_off(stand: Stand, skew: int, made: bool) -> None:  # noqa: FBT001 - a parameter
    """With sync.'s clock ten minutes off, a lost registration is still found, and made once."""
    stand.upstream.behave(clockSkewSeconds=skew)
    caller = Caller(stand)
    upload = caller.land("off")
    stand.upstream.order({"kind": "cut", "when": "after" if made else "before"}, *REGISTER)
    # The first look fails too, so that only a later one can find it.
    stand.upstream.order({"kind": "answer", "status": 500}, *LOOK, times=2)
    assert caller.complete(upload).status_code == 202
    stand.clock.advance(SETTLED)
    assert caller.complete(upload).status_code == 200
    assert stand.posts() == (1 if made else 2)
    assert_settled(stand, [caller])


def test_duplicate_callbacks(stand: Stand) -> None:
    """Callbacks that come twice, one by one or at once, make one asset and get one answer."""
    caller = Caller(stand)
    upload = caller.land("twice")
    threads = [threading.Thread(target=Caller.complete, args=(caller, upload)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = caller.complete(upload)
    assert first.status_code == 200
    assert caller.complete(upload).json() == first.json()
    assert stand.posts() == 1
    assert_settled(stand, [caller])


def test_late_callback(stand: Stand) -> None:
    """A callback that comes a day late gets what the sweep has registered meanwhile."""
    caller = Caller(stand)
    upload = caller.land("late")
    stand.clock.advance(61)
    stand.sweep()
    stand.clock.advance(DAY)
    answer = caller.complete(upload)
    assert (answer.status_code, answer.json()["status"]) == (200, "registered")
    assert stand.posts() == 1
    assert_settled(stand, [caller])


def test_too_late_callback(stand: Stand) -> None:
    """A callback after the expiry of what never landed is 410, however often it comes."""
    caller = Caller(stand)
    upload = caller.begin(name="never")
    stand.clock.advance(DAY)
    stand.sweep_all(pause=4000, idle=1)
    for _ in range(2):
        answer = caller.complete(upload)
        assert (answer.status_code, answer.json()["code"]) == (410, "upload_expired")
    assert_settled(stand, [caller])


Move = Callable[[Caller, dict[str, str]], int]


def _complete(caller: Caller, upload: dict[str, str]) -> int:
    return caller.complete(upload).status_code


def _wait(caller: Caller, _upload: dict[str, str]) -> int:
    caller.broker.clock.advance(1)  # as `Retry-After` says
    return 0


def _put(caller: Caller, upload: dict[str, str]) -> int:
    caller.landed_names.add("reordered")
    return caller.put(upload).status_code


def _cancel(caller: Caller, upload: dict[str, str]) -> int:
    return caller.call("DELETE", f"/uploads/{upload['id']}").status_code


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(
            [(_complete, 409), (_put, 200), (_wait, 0), (_complete, 200)], id="before-the-bytes"
        ),
        pytest.param([(_complete, 409), (_complete, 409), (_put, 200)], id="and-never-again"),
        pytest.param([(_cancel, 204), (_complete, 410), (_cancel, 204)], id="after-the-cancel"),
        pytest.param([(_put, 200), (_complete, 200), (_cancel, 409)], id="before-the-cancel"),
    ],
)
def test_reordered(stand: Stand, moves: list[tuple[Move, int]]) -> None:
    """A callback that overtakes its file, or a cancel, is answered by what is there by then."""
    caller = Caller(stand)
    upload = caller.begin(name="reordered")
    for move, status in moves:
        assert move(caller, upload) == status
    assert_settled(stand, [caller])


def test_lost_callbacks(stand: Stand) -> None:
    """Files whose callbacks never come are registered by the sweep a minute later."""
    caller = Caller(stand)
    uploads = [caller.land(f"lost {number}") for number in range(12)]
    stand.clock.advance(61)
    assert stand.sweep().settled == len(uploads)
    assert_settled(stand, [caller])


def test_jumping_clock(stand: Stand) -> None:
    """A container whose clock jumps ahead in the middle of a POST records nothing wrong."""
    caller = Caller(stand)
    upload = caller.land("jump")
    record = stand.dynamodb.order("pause-before", "TransactWriteItems", "claim#", lasting=False)
    thread = threading.Thread(target=caller.complete, args=(upload,))
    thread.start()
    wait_for(record.reached.is_set)
    # Far beyond every lease: another container takes over and looks.
    stand.clock.advance(10_000)
    other = Container(stand, 10_000)
    try:
        other.complete(caller, upload)
    except errors.BrokerError as error:
        raise AssertionError("a look raised") from error
    record.released.set()
    thread.join()
    assert caller.complete(upload).status_code == 200
    assert stand.posts() == 1
    assert_settled(stand, [caller])
