"""No 2xx before DynamoDB has confirmed the write, and sweeps that survive a failing table."""

import threading

import pytest

from chalicelib.core import errors
from tests.faults.faulty_broker import Caller, FaultyBroker, assert_settled, wait_for

TRANSACT, UPDATE = "TransactWriteItems", "UpdateItem"
RECORD = (TRANSACT, "claim#")


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
def test_no_response_before_record(broker: FaultyBroker, written: bool) -> None:  # noqa: FBT001 - a parameter
    """Between Sync's 201 and the confirmed record the broker sends no response, and then a 503."""
    caller = Caller(broker)
    upload = caller.land("unrecorded")
    kind = "pause-after" if written else "pause-before"
    pause = broker.dynamodb.order(kind, *RECORD, lasting=False)
    lasting = broker.dynamodb.order("cut-after" if written else "cut-before", *RECORD)
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(caller.complete(upload).status_code))
    thread.start()
    wait_for(pause.reached.is_set)
    assert len(broker.assets()) == 1, "Sync has returned 201"
    thread.join(timeout=0.5)
    assert statuses == [], "no response before the write is confirmed"
    # The connection is reset there, and so is each retry's.
    pause.released.set()
    thread.join(timeout=20)
    assert lasting.reached.is_set()
    assert statuses == [503]
    reader = Caller(broker)
    reader.token = caller.token
    assert reader.status(upload) == ("registered" if written else "registering")
    broker.heal()
    broker.clock.advance(61)
    again = caller.complete(upload)
    assert again.status_code == 200
    assert broker.count_posts() == 1
    assert_settled(broker, [caller])


def test_unrecorded_url_is_202(broker: FaultyBroker) -> None:
    """A public URL whose asset could not be recorded is 202, and its caller can use its id."""
    caller = Caller(broker)
    url = broker.upstream.upload().replace("127.0.0.1", "localhost")
    broker.dynamodb.order("cut-before", *RECORD)
    response = caller.post_url(url, "unrecorded")
    caller.landed_names.add("unrecorded")
    assert (response.status_code, response.json()["asset"]) == (202, None)
    broker.heal()
    broker.clock.advance(61)
    assert caller.complete(response.json()).status_code == 200
    assert broker.count_posts() == 1
    assert_settled(broker, [caller])


@pytest.mark.parametrize("kind", ["500", "cut-before", "cut-after", "slow-after"])
def test_failing_uploads_do_not_stop_sweep(broker: FaultyBroker, kind: str) -> None:
    """A table that fails for some uploads does not keep the sweep from the others."""
    caller = Caller(broker)
    steps = {
        "read": ("GetItem",),
        "lease": (UPDATE, ":pending"),
        "record": (TRANSACT, "claim#"),
        "reopen": (UPDATE, "#attempt.#id = :attempt"),
    }
    failing = {step: caller.land(step) for step in steps if step != "reopen"}
    failing["reopen"] = caller.begin(name="reopen")
    fine = caller.land("fine")
    for step, (operation, *contains) in steps.items():
        broker.dynamodb.order(kind, operation, f"upload#{failing[step]['id']}", *contains)
    broker.clock.advance(61)
    broker.sweep()
    assert caller.status(fine) == "registered"
    broker.heal()
    broker.sweep_all()
    assert caller.status(failing["record"]) == "registered"
    assert_settled(broker, [caller])


@pytest.mark.parametrize("operation", ["Query", "GetItem", UPDATE])
@pytest.mark.parametrize("kind", ["throttled", "cut-before", "cut-after"])
def test_sweep_recovers_after_failed_read(broker: FaultyBroker, operation: str, kind: str) -> None:
    """A sweep that can't read its due work or its cap ends, and the next one works."""
    caller = Caller(broker)
    upload = caller.land("due")
    broker.clock.advance(61)
    contains = ("due#",) if operation == "Query" else ("minute#sweep",)
    rule = broker.dynamodb.order(kind, operation, *contains)
    with pytest.raises(errors.StoreUnavailable):
        broker.sweep()
    assert rule.reached.is_set()
    assert caller.status(upload) == "pending"
    broker.heal()
    broker.sweep_all()
    assert caller.status(upload) == "registered"
    assert_settled(broker, [caller])
