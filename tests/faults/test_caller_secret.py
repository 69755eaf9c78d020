"""The secret of the caller ids, when DynamoDB fails in the moment that a container starts."""

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.auth.caller import PK
from chalicelib.aws import clients
from tests.faults.stand import Caller, Stand
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api

HOLDING = ("UpdateItem", PK)


def table_secret(stand: Stand) -> bytes:
    """Read the secret from the table."""
    key = {"pk": {"S": PK}}
    item = clients.dynamodb().get_item(TableName=stand.table, Key=key)["Item"]
    return bytes(item["secret"]["B"])


@pytest.mark.parametrize("kind", ["cut-after", "cut-before", "slow-after", "throttled"])
def test_caller_secret_with_lost_answer(stand: Stand, kind: str) -> None:
    """A first write whose answer was lost leaves one secret, which this container uses too."""
    fault = stand.dynamodb.order(kind, *HOLDING, lasting=False)
    caller = Caller(stand)
    upload = caller.begin()
    assert fault.reached.is_set()
    written = table_secret(stand)
    stand.point()  # another container
    assert caller.status(upload) == "pending"
    assert table_secret(stand) == written


def test_start_without_table(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container starts without DynamoDB; who needs the secret gets 503 until it can be read."""
    for name, value in stand.environment(stand.upstream).items():
        monkeypatch.setenv(name, value)
    known = Caller(stand)
    upload = known.begin()
    bootstrap.use(None)
    stand.dynamodb.refuse()
    assert requests.get(stand.url + "/health", timeout=30).status_code == 200
    refused = known.call("GET", "/uploads")
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    stand.dynamodb.accept()
    assert known.status(upload) == "pending"


def test_stranger_reads_no_secret(stand: Stand, dynamodb: FaultyDynamoDB) -> None:
    """A token that does not hold makes a new container read nothing."""
    stranger = Api(stand)
    stranger.token = stranger.token[:-4] + "AAAA"
    dynamodb.calls.clear()
    assert stranger.call("GET", "/uploads").status_code == 401
    assert dynamodb.calls == []
    assert Api(stand).call("GET", "/uploads").status_code == 200
    assert dynamodb.calls == ["GetItem", "UpdateItem", "Query"]
