"""The rate limiter, when DynamoDB's responses get lost."""

import pytest

from tests.faults.faulty_broker import Caller, FaultyBroker

BODY = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def available(caller: Caller) -> int:
    """Return how many uploads a caller could begin now."""
    permits: int = caller.call("GET", "/limits").json()["presigns"]["available"]
    return permits


@pytest.mark.parametrize("kind", ["cut-after", "cut-before", "slow-after"])
def test_ambiguous_permit_counts_once(broker: FaultyBroker, kind: str) -> None:
    """A permit whose response was lost belongs to the request, which takes one permit, not two."""
    caller = Caller(broker)
    before = available(caller)
    fault = broker.dynamodb.order(
        kind, "UpdateItem", "limit#presigns", "ReturnValues", lasting=False
    )
    assert caller.call("POST", "/uploads", json=BODY).status_code == 201
    assert fault.reached.is_set()
    assert available(caller) == before - 1


def test_limiter_without_table_refuses(broker: FaultyBroker) -> None:
    """Without its table the limiter refuses every request, and logs that."""
    caller = Caller(broker)
    assert available(caller) > 0
    broker.dynamodb.order("500", "", "limit#presigns")
    response = caller.call("POST", "/uploads", json=BODY)
    assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
    assert broker.lines("table_unavailable")
    assert broker.upstream.journal() == []
