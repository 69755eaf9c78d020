"""Clocks that disagree, and callbacks that come twice, late, out of order, or never."""

import threading
from collections.abc import Callable

import pytest

from chalicelib import bootstrap
from chalicelib.core import errors
from chalicelib.uploads.models import Status
from chalicelib.uploads.outcomes import Outcome
from tests.faults.faulty_broker import (
    DAY,
    LIST,
    REGISTER,
    SETTLED,
    Caller,
    FaultyBroker,
    assert_settled,
    wait_for,
)
from tests.support.clocks import MovableClock

APART = 20  # seconds


class Container:
    """A second container with its own clock, called without a gateway."""

    def __init__(self, broker: FaultyBroker, ahead: float) -> None:
        self.clock = MovableClock()
        self.clock.advance(ahead)
        self._broker = bootstrap.build(broker.environment(broker.upstream), clock=self.clock)

    def complete(self, caller: Caller, upload: dict[str, str]) -> Outcome:
        """Complete an upload as its caller would."""
        who = self._broker.authenticator.caller(f"Bearer {caller.token}")
        return self._broker.uploads.complete(who, upload["id"])

    def sweep(self) -> None:
        """Run the sweep."""
        self._broker.sweeper.run(60)


@pytest.mark.parametrize("ahead", [-APART, APART])
def test_skewed_container_waits_for_open_post(broker: FaultyBroker, ahead: int) -> None:
    """While one container POSTs, another 20 seconds off neither POSTs nor reconciles."""
    caller, other = Caller(broker), Container(broker, ahead)
    upload = caller.land("apart")
    record = broker.dynamodb.order("pause-before", "TransactWriteItems", "claim#", lasting=False)
    thread = threading.Thread(target=caller.complete, args=(upload,))
    thread.start()
    wait_for(record.reached.is_set)
    # By its own clock half a minute has passed: the longest that an attempt can take.
    other.clock.advance(30)
    outcome = other.complete(caller, upload)
    assert outcome.upload.status is Status.REGISTERING
    other.sweep()
    record.released.set()
    thread.join()
    assert caller.status(upload) == "registered"
    assert broker.count_posts() == 1
    assert not [one for one in broker.upstream.journal() if (one["method"], one["path"]) == LIST]
    assert_settled(broker, [caller])


@pytest.mark.parametrize("ahead", [-APART, APART])
def test_skewed_container_keeps_settle_time(broker: FaultyBroker, ahead: int) -> None:
    """A container whose clock is 20 seconds off waits for the settle time of an ambiguous POST."""
    caller, other = Caller(broker), Container(broker, ahead)
    upload = caller.land("apart")
    broker.upstream.order({"kind": "cut"}, *REGISTER)
    assert caller.complete(upload).status_code == 202
    # Sync may still carry it out for 120 seconds: an attempt of 30, and 90 to settle.
    for _ in range(4):
        other.clock.advance(30)
        assert other.complete(caller, upload).retry_after
        assert broker.count_posts() == 1
    other.clock.advance(61 - ahead)
    assert other.complete(caller, upload).retry_after is None
    assert broker.count_posts() == 2
    assert_settled(broker, [caller])


def test_skewed_containers_make_one_asset_each(broker: FaultyBroker) -> None:
    """Two containers 20 seconds apart that complete in turn despite faults make one asset each."""
    caller, other = Caller(broker), Container(broker, APART)
    uploads = [caller.land(f"round {number}") for number in range(6)]
    broker.upstream.order({"kind": "cut"}, *REGISTER, times=3)
    broker.upstream.order({"kind": "cut", "when": "after"}, *REGISTER, times=3)
    for number in range(8):
        for upload in uploads:
            if number % 2:
                caller.complete(upload)
            else:
                other.complete(caller, upload)
        broker.clock.advance(45)
        other.clock.advance(45)
    assert {caller.status(upload) for upload in uploads} == {"registered"}
    assert_settled(broker, [caller])


@pytest.mark.parametrize("skew", [-600, 600])
@pytest.mark.parametrize("made", [True, False], ids=["made", "not-made"])
def test_reconcile_with_skewed_sync_clock(broker: FaultyBroker, skew: int, made: bool) -> None:  # noqa: FBT001 - a parameter
    """With Sync's clock ten minutes off, an ambiguous registration is found, and made once."""
    broker.upstream.behave(clockSkewSeconds=skew)
    caller = Caller(broker)
    upload = caller.land("off")
    broker.upstream.order({"kind": "cut", "when": "after" if made else "before"}, *REGISTER)
    # The first reconciliation fails too, so that only a later one can find the asset.
    broker.upstream.order({"kind": "answer", "status": 500}, *LIST, times=2)
    assert caller.complete(upload).status_code == 202
    broker.clock.advance(SETTLED)
    assert caller.complete(upload).status_code == 200
    assert broker.count_posts() == (1 if made else 2)
    assert_settled(broker, [caller])


def test_duplicate_callbacks_make_one_asset(broker: FaultyBroker) -> None:
    """Duplicate callbacks, one after the other or at once, make one asset and get one response."""
    caller = Caller(broker)
    upload = caller.land("twice")
    threads = [threading.Thread(target=Caller.complete, args=(caller, upload)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = caller.complete(upload)
    assert first.status_code == 200
    assert caller.complete(upload).json() == first.json()
    assert broker.count_posts() == 1
    assert_settled(broker, [caller])


def test_late_callback_gets_asset(broker: FaultyBroker) -> None:
    """A callback that comes a day late gets the asset that the sweep has registered."""
    caller = Caller(broker)
    upload = caller.land("late")
    broker.clock.advance(61)
    broker.sweep()
    broker.clock.advance(DAY)
    response = caller.complete(upload)
    assert (response.status_code, response.json()["status"]) == (200, "registered")
    assert broker.count_posts() == 1
    assert_settled(broker, [caller])


def test_callback_after_expiry_is_410(broker: FaultyBroker) -> None:
    """A callback for an expired upload is 410, however often it comes."""
    caller = Caller(broker)
    upload = caller.begin(name="never")
    broker.clock.advance(DAY)
    broker.sweep_all(pause=4000, idle=1)
    for _ in range(2):
        response = caller.complete(upload)
        assert (response.status_code, response.json()["code"]) == (410, "upload_expired")
    assert_settled(broker, [caller])


Action = Callable[[Caller, dict[str, str]], int]


def _complete(caller: Caller, upload: dict[str, str]) -> int:
    return caller.complete(upload).status_code


def _wait(caller: Caller, _upload: dict[str, str]) -> int:
    caller.broker.clock.advance(1)  # as long as `Retry-After` asks
    return 0


def _put(caller: Caller, upload: dict[str, str]) -> int:
    caller.landed_names.add("reordered")
    return caller.put(upload).status_code


def _cancel(caller: Caller, upload: dict[str, str]) -> int:
    return caller.call("DELETE", f"/uploads/{upload['id']}").status_code


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param(
            [(_complete, 409), (_put, 200), (_wait, 0), (_complete, 200)], id="before-the-bytes"
        ),
        pytest.param([(_complete, 409), (_complete, 409), (_put, 200)], id="and-never-again"),
        pytest.param([(_cancel, 204), (_complete, 410), (_cancel, 204)], id="after-the-cancel"),
        pytest.param([(_put, 200), (_complete, 200), (_cancel, 409)], id="before-the-cancel"),
    ],
)
def test_reordered_callback(broker: FaultyBroker, actions: list[tuple[Action, int]]) -> None:
    """A callback that overtakes its file or a cancel gets the response for the current state."""
    caller = Caller(broker)
    upload = caller.begin(name="reordered")
    for action, status in actions:
        assert action(caller, upload) == status
    assert_settled(broker, [caller])


def test_sweep_registers_without_callbacks(broker: FaultyBroker) -> None:
    """The sweep registers files whose callbacks never come a minute later."""
    caller = Caller(broker)
    uploads = [caller.land(f"lost {number}") for number in range(12)]
    broker.clock.advance(61)
    assert broker.sweep().settled == len(uploads)
    assert_settled(broker, [caller])


def test_clock_jump_during_post(broker: FaultyBroker) -> None:
    """A container whose clock jumps ahead in the middle of a POST records nothing wrong."""
    caller = Caller(broker)
    upload = caller.land("jump")
    record = broker.dynamodb.order("pause-before", "TransactWriteItems", "claim#", lasting=False)
    thread = threading.Thread(target=caller.complete, args=(upload,))
    thread.start()
    wait_for(record.reached.is_set)
    # Far beyond every lease: another container takes over and reconciles.
    broker.clock.advance(10_000)
    other = Container(broker, 10_000)
    try:
        other.complete(caller, upload)
    except errors.BrokerError as error:
        raise AssertionError("the reconciliation raised") from error
    record.released.set()
    thread.join()
    assert caller.complete(upload).status_code == 200
    assert broker.count_posts() == 1
    assert_settled(broker, [caller])
