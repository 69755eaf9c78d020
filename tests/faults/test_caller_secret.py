"""The secret of the caller ids, when DynamoDB fails while a container starts."""

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.auth.caller import PK
from chalicelib.aws import clients
from tests.faults.faulty_broker import Caller, FaultyBroker
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api

CALL = ("UpdateItem", PK)


def table_secret(broker: FaultyBroker) -> bytes:
    """Return the secret in the table."""
    key = {"pk": {"S": PK}}
    item = clients.dynamodb().get_item(TableName=broker.table, Key=key)["Item"]
    return bytes(item["secret"]["B"])


@pytest.mark.parametrize("kind", ["cut-after", "cut-before", "slow-after", "throttled"])
def test_ambiguous_write_leaves_one_caller_secret(broker: FaultyBroker, kind: str) -> None:
    """If the response to the first write is lost, the table has one secret, and it is used here."""
    fault = broker.dynamodb.order(kind, *CALL, lasting=False)
    caller = Caller(broker)
    upload = caller.begin()
    assert fault.reached.is_set()
    written = table_secret(broker)
    broker.start_container()  # another container
    assert caller.status(upload) == "pending"
    assert table_secret(broker) == written


def test_container_starts_without_table(
    broker: FaultyBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container starts without DynamoDB; calls that need the secret get 503 meanwhile."""
    for name, value in broker.environment(broker.upstream).items():
        monkeypatch.setenv(name, value)
    caller = Caller(broker)
    upload = caller.begin()
    bootstrap.use(None)
    broker.dynamodb.refuse()
    assert requests.get(broker.url + "/health", timeout=30).status_code == 200
    refused = caller.call("GET", "/uploads")
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    broker.dynamodb.accept()
    assert caller.status(upload) == "pending"


def test_invalid_token_reads_no_secret(broker: FaultyBroker, dynamodb: FaultyDynamoDB) -> None:
    """A request with an invalid token makes a new container read nothing."""
    api = Api(broker)
    api.token = api.token[:-4] + "AAAA"
    dynamodb.calls.clear()
    assert api.call("GET", "/uploads").status_code == 401
    assert dynamodb.calls == []
    assert Api(broker).call("GET", "/uploads").status_code == 200
    assert dynamodb.calls == ["GetItem", "UpdateItem", "Query"]
