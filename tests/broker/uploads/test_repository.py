"""The fields of upload records, and how long the records are kept."""

import pytest

from chalicelib.aws import clients, codec
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")


@pytest.mark.parametrize("end", ["cancelled", "failed", "expired", "pending", "registered"])
def test_ended_record_expires(broker: RunningBroker, upstream: RunningUpstream, end: str) -> None:
    """A record that ended without an asset is kept for thirty days; all others stay."""
    api = Api(broker)
    upload = api.begin() if end == "expired" else api.landed()
    if end == "cancelled":
        api.call("DELETE", f"/uploads/{upload['id']}")
    elif end == "failed":
        upstream.behave(planMaxBytes=1)
        api.complete(upload)
    elif end == "registered":
        api.complete(upload)
    elif end == "expired":
        for _ in range(2):
            broker.clock.advance(20_000)
            broker.sweep()
    key = {"pk": {"S": f"upload#{upload['id']}"}}
    found = clients.dynamodb().get_item(TableName=broker.table, Key=key)["Item"]
    record = codec.plain(found)
    assert record["status"] == end
    if end in {"pending", "registered"}:
        assert "ttl" not in record
    else:
        assert record["ttl"] == record["updatedAt"] // 1000 + 30 * 86_400
