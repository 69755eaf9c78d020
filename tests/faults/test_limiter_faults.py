"""The rate limiter, when DynamoDB's responses get lost."""

import pytest

from tests.faults.faulty_broker import Caller, FaultyBroker

BODY = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def free(caller: Caller) -> int:
    """Return how many uploads a caller could begin now."""
    permits: int = caller.call("GET", "/limits").json()["line"]["free"]
    return permits


@pytest.mark.parametrize("kind", ["cut-after", "cut-before", "slow-after"])
def test_ambiguous_permit_counts_once(broker: FaultyBroker, kind: str) -> None:
    """A permit whose response was lost belongs to the request, which takes one permit, not two."""
    caller = Caller(broker)
    before = free(caller)
    fault = broker.dynamodb.order(kind, "UpdateItem", "line#presign", "ReturnValues", lasting=False)
    assert caller.call("POST", "/uploads", json=BODY).status_code == 201
    assert fault.reached.is_set()
    assert free(caller) == before - 1


def test_limiter_without_table_refuses(broker: FaultyBroker) -> None:
    """Without its table the limiter refuses every request, and logs that."""
    caller = Caller(broker)
    assert free(caller) > 0
    broker.dynamodb.refuse()
    response = caller.call("POST", "/uploads", json=BODY)
    assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
    assert broker.lines("line_unavailable")
    assert broker.upstream.journal() == []
