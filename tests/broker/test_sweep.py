"""What is left behind is finished or expired without its browser."""

import threading
from itertools import pairwise

import pytest
from running_broker import Api, RunningBroker
from upstream_process import RunningUpstream

from chalicelib import wiring

POST = ("POST", "/v2/assets")


@pytest.fixture(autouse=True)
def empty(broker: RunningBroker) -> None:
    """Let no other test's upload be due."""
    broker.clock.advance(0)
    client = wiring.dynamodb_client()
    for shard in range(8):
        query = {
            "TableName": broker.table,
            "IndexName": "by-due",
            "KeyConditionExpression": "dueShard = :shard",
            "ExpressionAttributeValues": {":shard": {"S": f"due#{shard}"}},
        }
        for item in client.query(**query)["Items"]:
            client.delete_item(TableName=broker.table, Key={"pk": item["pk"]})


def status(api: Api, upload: dict[str, str]) -> str:
    """Read where an upload stands."""
    found: str = api.call("GET", f"/uploads/{upload['id']}").json()["status"]
    return found


def test_closed_tab(api: Api, broker: RunningBroker) -> None:
    """A file whose tab was closed before the callback is registered a minute later."""
    upload = api.landed()
    assert broker.sweep().found == 0
    broker.clock.advance(61)
    assert broker.sweep().settled == 1
    assert status(api, upload) == "registered"
    assert broker.lines("upload_recovered")[0]["uploadId"] == upload["id"]
    broker.clock.advance(100_000)
    assert broker.sweep().found == 0


def test_nothing_landed(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An upload without bytes is looked after with growing pauses, and expires in the end."""
    upload = api.begin()
    tries = []
    for minute in range(200):
        broker.clock.advance(60)
        if broker.sweep().found:
            tries.append(minute)
    assert status(api, upload) == "expired"
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert 5 < len(tries) < 20
    assert api.complete(upload).json()["code"] == "upload_expired"
    assert api.call("GET", "/limits").json()["openUploads"]["left"] == 1000
    assert upstream.call("GET", "/v2/assets").json()["items"] == []


def test_odd_refusal_at_the_end(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """One refusal that nobody understands, after the end, does not lose what has landed."""
    upload = api.landed()
    broker.clock.advance(20_000)
    upstream.order({"kind": "answer", "status": 409}, *POST)
    broker.sweep()
    assert status(api, upload) == "pending"
    broker.clock.advance(20_000)
    broker.sweep()
    assert status(api, upload) == "registered"


def test_slow_put(api: Api, broker: RunningBroker) -> None:
    """Bytes that land after the address expired, but within the grace, are found."""
    upload = api.begin()
    broker.clock.advance(3600 + 1800)
    broker.sweep()
    assert status(api, upload) == "pending"
    assert api.put(upload).status_code == 200
    broker.clock.advance(3600)
    broker.sweep()
    assert status(api, upload) == "registered"


def test_lost_answer(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An outcome that stayed unknown is found out by the sweep, and nothing is made twice."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    for _ in range(6):
        broker.clock.advance(60)
        broker.sweep()
    assert status(api, upload) == "registered"
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


def test_upstream_down(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """While sync. is busy nothing is lost; the sweep comes back."""
    upload = api.landed()
    upstream.order({"kind": "answer", "status": 429}, *POST, times=2)
    for _ in range(10):
        broker.clock.advance(60)
        broker.sweep()
    assert status(api, upload) == "registered"


def test_poisoned(api: Api, broker: RunningBroker) -> None:
    """An item that can't be read is logged and pushed back, and does not block the others."""
    poisoned, fine = api.landed(), api.landed()
    wiring.dynamodb_client().update_item(
        TableName=broker.table,
        Key={"pk": {"S": f"upload#{poisoned['id']}"}},
        UpdateExpression="SET createdAt = :broken",
        ExpressionAttributeValues={":broken": {"S": "x"}},
    )
    broker.clock.advance(61)
    broker.sweep()
    assert status(api, fine) == "registered"
    assert broker.lines("sweep_poisoned")
    assert broker.sweep().found == 0


def test_two_at_once(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Two sweeps and a caller at once make one asset of each upload."""
    uploads = [api.landed() for _ in range(10)]
    broker.clock.advance(61)
    threads = [threading.Thread(target=broker.sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for upload in uploads:
        assert api.complete(upload).status_code in {200, 202}
    for thread in threads:
        thread.join()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 10
    assert {status(api, upload) for upload in uploads} == {"registered"}


def test_cap(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """All sweeps of a minute together try no more registrations than the setting says."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="3")
    api = Api(broker)
    for _ in range(8):
        api.landed()
    broker.clock.advance(120)
    for _ in range(3):
        broker.sweep()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] <= 6
    for _ in range(4):
        broker.clock.advance(60)
        broker.sweep()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 8


def test_no_time(api: Api, broker: RunningBroker) -> None:
    """What does not fit into the time is left for the next run."""
    upload = api.landed()
    broker.clock.advance(61)
    assert broker.sweep(seconds=-1).settled == 0
    assert status(api, upload) == "pending"
    broker.clock.advance(61)
    assert broker.sweep().settled == 1
