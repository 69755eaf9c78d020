"""The line, when DynamoDB's answers get lost."""

import pytest

from tests.faults.stand import Caller, Stand

BODY = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def free(caller: Caller) -> int:
    """How many uploads a caller could begin now."""
    places: int = caller.call("GET", "/limits").json()["line"]["free"]
    return places


@pytest.mark.parametrize("kind", ["cut-after", "cut-before", "slow-after"])
def test_lost_grant(stand: Stand, kind: str) -> None:
    """A grant whose answer was lost is the request's own, and takes one place, not two."""
    caller = Caller(stand)
    before = free(caller)
    fault = stand.dynamodb.order(kind, "UpdateItem", "line#presign", "ReturnValues", lasting=False)
    assert caller.call("POST", "/uploads", json=BODY).status_code == 201
    assert fault.reached.is_set()
    assert free(caller) == before - 1


def test_line_without_table(stand: Stand) -> None:
    """Without its item the line is closed, and that is counted."""
    caller = Caller(stand)
    assert free(caller) > 0
    stand.dynamodb.refuse()
    answer = caller.call("POST", "/uploads", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert stand.lines("line_unavailable")
    assert stand.upstream.journal() == []
