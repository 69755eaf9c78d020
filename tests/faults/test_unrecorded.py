"""No 2xx before DynamoDB has confirmed the write, and a sweep that outlives a failing table."""

import threading

import pytest

from chalicelib.core import errors
from tests.faults.stand import Caller, Stand, assert_settled, wait_for

TRANSACT, UPDATE = "TransactWriteItems", "UpdateItem"
RECORD = (TRANSACT, "claim#")


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
def test_no_answer_before_record(stand: Stand, written: bool) -> None:  # noqa: FBT001 - a parameter
    """Between sync.'s 201 and the confirmed record nothing is answered, and then a 503."""
    caller = Caller(stand)
    upload = caller.land("unrecorded")
    kind = "pause-after" if written else "pause-before"
    pause = stand.dynamodb.order(kind, *RECORD, lasting=False)
    lasting = stand.dynamodb.order("cut-after" if written else "cut-before", *RECORD)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(caller.complete(upload).status_code))
    thread.start()
    wait_for(pause.reached.is_set)
    assert len(stand.assets()) == 1, "sync. has said 201"
    thread.join(timeout=0.5)
    assert answers == [], "nothing is said before the write is confirmed"
    # The connection is cut there, and so is each repetition.
    pause.released.set()
    thread.join(timeout=20)
    assert lasting.reached.is_set()
    assert answers == [503]
    reader = Caller(stand)
    reader.token = caller.token
    assert reader.status(upload) == ("registered" if written else "registering")
    stand.heal()
    stand.clock.advance(61)
    again = caller.complete(upload)
    assert again.status_code == 200
    assert stand.posts() == 1
    assert_settled(stand, [caller])


def test_url_record_cut(stand: Stand) -> None:
    """A public URL whose asset could not be recorded is 202, and its caller goes on by its id."""
    caller = Caller(stand)
    url = stand.upstream.upload().replace("127.0.0.1", "localhost")
    stand.dynamodb.order("cut-before", *RECORD)
    answer = caller.post_url(url, "unrecorded")
    caller.landed_names.add("unrecorded")
    assert (answer.status_code, answer.json()["asset"]) == (202, None)
    stand.heal()
    stand.clock.advance(61)
    assert caller.complete(answer.json()).status_code == 200
    assert stand.posts() == 1
    assert_settled(stand, [caller])


@pytest.mark.parametrize("kind", ["500", "cut-before", "cut-after", "slow-after"])
def test_sweep_on_failing_table(stand: Stand, kind: str) -> None:
    """A table that fails for some uploads does not keep the sweep from the others."""
    caller = Caller(stand)
    steps = {
        "read": ("GetItem",),
        "lease": (UPDATE, ":pending"),
        "record": (TRANSACT, "claim#"),
        "reopen": (UPDATE, "#attempt.#id = :attempt"),
    }
    struck = {step: caller.land(step) for step in steps if step != "reopen"}
    struck["reopen"] = caller.begin(name="reopen")
    fine = caller.land("fine")
    for step, (operation, *holding) in steps.items():
        stand.dynamodb.order(kind, operation, f"upload#{struck[step]['id']}", *holding)
    stand.clock.advance(61)
    stand.sweep()
    assert caller.status(fine) == "registered"
    stand.heal()
    stand.sweep_all()
    assert caller.status(struck["record"]) == "registered"
    assert_settled(stand, [caller])


@pytest.mark.parametrize("operation", ["Query", "GetItem", UPDATE])
@pytest.mark.parametrize("kind", ["throttled", "cut-before", "cut-after"])
def test_sweep_without_table(stand: Stand, operation: str, kind: str) -> None:
    """A sweep that can't read what is due, or what it may do, ends, and the next one works."""
    caller = Caller(stand)
    upload = caller.land("due")
    stand.clock.advance(61)
    holding = ("due#",) if operation == "Query" else ("minute#sweep",)
    rule = stand.dynamodb.order(kind, operation, *holding)
    with pytest.raises(errors.StoreUnavailable):
        stand.sweep()
    assert rule.reached.is_set()
    assert caller.status(upload) == "pending"
    stand.heal()
    stand.sweep_all()
    assert caller.status(upload) == "registered"
    assert_settled(stand, [caller])
