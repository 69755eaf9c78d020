"""The sweep finishes or expires uploads that no browser finishes."""

import threading
from itertools import pairwise
from typing import Any

import pytest

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.due_index import DueIndex, DueItem
from chalicelib.aws.table import Table
from chalicelib.core.clock import SECOND, Clock
from chalicelib.jobs.sweeper import Sweeper
from chalicelib.uploads import items, recovery
from chalicelib.uploads.recovery import UploadRecovery
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

POST = ("POST", "/v2/assets")
# The upload's state, by the status of `complete`.
STATE_BY_STATUS = {
    200: "registered",
    202: "registering",
}


pytestmark = pytest.mark.usefixtures("nothing_due")


def status(api: Api, upload: dict[str, str]) -> str:
    """Return an upload's status."""
    found: str = api.call("GET", f"/uploads/{upload['id']}").json()["status"]
    return found


def test_sweep_registers_after_closed_tab(api: Api, broker: RunningBroker) -> None:
    """A file whose tab was closed before the callback is registered a minute later."""
    upload = api.landed()
    assert broker.sweep().found == 0
    broker.clock.advance(61)
    assert broker.sweep().settled == 1
    assert status(api, upload) == "registered"
    assert broker.lines("upload_recovered")[0]["uploadId"] == upload["id"]
    broker.clock.advance(100_000)
    assert broker.sweep().found == 0


def test_upload_without_bytes_expires(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The sweep tries an upload without bytes at growing intervals, until it expires."""
    upload = api.begin()
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}").id
    tries = []
    while status(api, upload) == "pending":
        due_at = broker.parts().repository.get(upload["id"], caller).due_at
        assert due_at is not None
        broker.clock.advance((due_at - broker.clock.now()) / SECOND - 20)
        assert not broker.sweep().found, "it is tried before it is due"
        broker.clock.advance(20)
        assert broker.sweep().found
        tries.append(due_at)
    assert status(api, upload) == "expired"
    pauses = [round((later - earlier) / SECOND) for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert 5 < len(tries) < 20
    assert api.complete(upload).json()["code"] == "upload_expired"
    assert api.call("GET", "/limits").json()["openUploads"]["left"] == 1000
    assert upstream.call("GET", "/v2/assets").json()["items"] == []


def test_lateness_counts_from_due_time(api: Api, broker: RunningBroker) -> None:
    """The sweep reports how long work has been due, however old the upload is."""
    upload = api.begin()
    broker.clock.advance(5000)
    broker.sweep()
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}").id
    broker.clock.tick()
    for late in (0, 1000):
        due_at = broker.parts().repository.get(upload["id"], caller).due_at
        assert due_at is not None
        broker.clock.advance((due_at - broker.clock.now()) / SECOND + late)
        assert broker.sweep().found == 1
        assert late <= broker.lines("sweep")[-1]["lateSeconds"] < late + 1


@pytest.mark.parametrize("first", [409, 429])
def test_unknown_refusal_after_end_loses_nothing(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, first: int
) -> None:
    """One unknown refusal after the upload's end does not lose a file that has landed."""
    upload = api.landed()
    for status_of_sync in sorted({first, 409}, reverse=True):
        broker.clock.advance(20_000)
        upstream.order({"kind": "answer", "status": status_of_sync}, *POST)
        broker.sweep()
        assert status(api, upload) == "pending"
    broker.clock.advance(20_000)
    broker.sweep()
    assert status(api, upload) == "registered"


def test_sweep_finds_late_bytes(api: Api, broker: RunningBroker) -> None:
    """Bytes that land after the URL's expiry, but within the grace period, are found."""
    upload = api.begin()
    broker.clock.advance(3600 + 1800)
    broker.sweep()
    assert status(api, upload) == "pending"
    assert api.put(upload).status_code == 200
    broker.clock.advance(3600)
    broker.sweep()
    assert status(api, upload) == "registered"


def test_sweep_reconciles_ambiguous_outcome(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The sweep reconciles an ambiguous outcome, and nothing is made twice."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    for _ in range(6):
        broker.clock.advance(60)
        broker.sweep()
    assert status(api, upload) == "registered"
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


def test_sweep_retries_while_sync_is_busy(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """While Sync is busy nothing is lost; the next sweep tries again."""
    upload = api.landed()
    upstream.order({"kind": "answer", "status": 429}, *POST, times=2)
    for _ in range(10):
        broker.clock.advance(60)
        broker.sweep()
    assert status(api, upload) == "registered"


def test_unreadable_item_is_postponed(api: Api, broker: RunningBroker) -> None:
    """An unreadable item is logged and postponed, and does not block the others."""
    poisoned, fine = api.landed(), api.landed()
    clients.dynamodb().update_item(
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


def test_concurrent_sweeps_make_one_asset(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Two sweeps and a caller at once make one asset of each upload."""
    uploads = [api.landed() for _ in range(10)]
    broker.clock.advance(61)
    threads = [threading.Thread(target=broker.sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for upload in uploads:
        response = api.complete(upload)
        assert response.json()["status"] == STATE_BY_STATUS[response.status_code]
    for thread in threads:
        thread.join()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 10
    assert {status(api, upload) for upload in uploads} == {"registered"}


def test_sweep_continues_with_untried_urls(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If refusals take long, each sweep continues with the URLs that were not tried yet."""
    upload = api.landed()
    for _ in range(4):
        broker.clock.advance(3000)
        assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 200
    broker.clock.advance(50_000)  # All URLs have expired.
    broker.slow_posts(upstream, 10)
    for _ in range(5):
        assert status(api, upload) == "pending"
        broker.clock.advance(4000)
        broker.sweep()
    assert status(api, upload) == "registered"


def to_next_minute(broker: RunningBroker) -> None:
    """Advance to the start of the next minute, so that no minute ends within the test."""
    broker.clock.advance(60 - broker.clock.now() / 1000 % 60 + 1)


def test_cap_limits_registrations_of_a_minute(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """All sweeps of a minute together try at most as many registrations as the setting allows."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="3")
    api = Api(broker)
    for _ in range(8):
        api.landed()
    broker.clock.advance(120)
    to_next_minute(broker)
    for _ in range(3):
        broker.sweep()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 3
    assert [line["backlog"] for line in broker.lines("sweep")] == [5, 5, 5]
    assert 60 < broker.lines("sweep")[0]["lateSeconds"] < 140
    for _ in range(4):
        broker.clock.advance(60)
        broker.sweep()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 8


def test_cap_counts_each_url(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Each URL that may be tried counts; a deletion does not."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="3", MAX_UPLOAD_BYTES="10")
    api = Api(broker)
    uploads = [api.begin() for _ in range(3)]
    broker.clock.advance(3000)
    for upload in uploads:
        assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 200
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    large = api.begin()
    assert api.put(large, b"x" * 11).status_code == 200
    assert api.complete(large).status_code == 413
    broker.clock.advance(2000)
    to_next_minute(broker)
    before = [one["path"] for one in upstream.journal() if one["method"] == "POST"]
    broker.sweep()
    after = [one["path"] for one in upstream.journal() if one["method"] == "POST"]
    assert after.count(POST[1]) - before.count(POST[1]) == 2
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 0, "it was deleted"


def test_forbidden_deletion_blocks_nothing(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The sweep retries a forbidden deletion at growing intervals, and blocks no other upload."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="1", MAX_UPLOAD_BYTES="10")
    upstream.behave(deleteForbidden=True)
    api = Api(broker)
    for _ in range(3):
        large = api.begin()
        assert api.put(large, b"x" * 11).status_code == 200
        assert api.complete(large).status_code == 413
    broker.clock.advance(10)
    upload = api.landed()
    broker.clock.advance(61)
    broker.sweep()
    assert status(api, upload) == "registered"
    found = []
    for _ in range(20):
        broker.clock.advance(60)
        found.append(broker.sweep().found)
    assert 3 < sum(found) < 40
    assert found[-1] == 0 or found[-2] == 0


def test_deletion_takes_no_share_of_registrations(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A sweep that only deletes takes nothing of what sweeps may register in a minute."""
    broker.configure(upstream, MAX_UPLOAD_BYTES="10")
    upstream.behave(deleteForbidden=True)
    api = Api(broker)
    large = api.begin()
    assert api.put(large, b"x" * 11).status_code == 200
    assert api.complete(large).status_code == 413
    broker.clock.advance(3600)
    key = {"pk": {"S": "minute#sweep"}}
    before = clients.dynamodb().get_item(TableName=broker.table, Key=key).get("Item")
    refused = broker.sweep()
    assert (refused.found, refused.settled) == (1, 0)
    assert clients.dynamodb().get_item(TableName=broker.table, Key=key).get("Item") == before
    upstream.behave(deleteForbidden=False)
    broker.clock.advance(3600)
    deleted = broker.sweep()
    assert (deleted.found, deleted.settled) == (1, 1)


def remove_owner(broker: RunningBroker, upload: dict[str, Any]) -> None:
    """Remove the fields by which the sweep's index names an upload and its owner."""
    clients.dynamodb().update_item(
        TableName=broker.table,
        Key={"pk": {"S": f"upload#{upload['id']}"}},
        UpdateExpression="REMOVE #owner, id",
        ExpressionAttributeNames={"#owner": "owner"},
    )


def test_item_without_owner_is_postponed(api: Api, broker: RunningBroker) -> None:
    """An item without the index's fields is postponed, and stops no sweep."""
    broken, fine = api.landed(), api.landed()
    remove_owner(broker, broken)
    broker.clock.advance(61)
    broker.sweep()
    assert status(api, fine) == "registered"
    assert broker.sweep().found == 0


def test_failed_postponement_stops_no_sweep(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If an item that can't be read can't be postponed either, the next sweep postpones it."""
    broker.configure(upstream)
    api = Api(broker)
    broken, fine = api.landed(), api.landed()
    remove_owner(broker, broken)
    broker.clock.advance(61)
    fault = faulty_dynamodb.order("500", "UpdateItem", broken["id"])
    broker.sweep()
    assert fault.reached.is_set()
    assert status(api, fine) == "registered"
    faulty_dynamodb.heal()
    assert [broker.sweep().found for _ in range(2)] == [1, 0]


def test_lagging_index_causes_no_call(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If a lagging index lists an upload that is no longer due, the sweep leaves it alone."""
    upload = api.begin()
    broker.clock.advance(61)
    parts = broker.parts()
    shown = {shard: parts.due.due(shard, broker.clock.now(), 100) for shard in items.FILE_SHARDS}

    class Lagging(DueIndex):
        def due(self, shard: str, now: int, limit: int) -> tuple[DueItem, ...]:
            assert now
            assert limit
            return shown.get(shard, ())

    assert api.complete(upload).status_code == 409
    before = len(upstream.journal())
    index = Lagging(Table(clients.dynamodb(), broker.table, Clock()))
    uploads = UploadRecovery(parts.repository, index, parts.registration, broker.clock, 100)
    kinds = {recovery.KIND: uploads.task}
    lagging = Sweeper(
        index, kinds, [items.FILE_SHARDS], parts.quotas, broker.clock, 100, lambda: False
    )
    assert lagging.run(10).found == 1
    assert len(upstream.journal()) == before


def test_sweep_bounds_parallel_registrations(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A sweep makes a few registrations in parallel, however many are due."""
    for _ in range(20):
        api.landed()
    broker.clock.advance(61)
    upstream.order({"kind": "delay", "seconds": 0.5}, *POST, times=20)
    thread = threading.Thread(target=broker.sweep)
    thread.start()
    most = 0
    while thread.is_alive():
        running = [one for one in upstream.journal() if one["status"] is None]
        most = max(most, sum(one["path"] == POST[1] for one in running))
    assert 1 < most <= 8


def test_schedule_keeps_time_margin(api: Api, broker: RunningBroker) -> None:
    """The schedule's function starts no work that the Lambda time-out could cut off."""
    upload = api.landed()
    broker.clock.advance(61)
    bootstrap.sweep(29_000)
    assert status(api, upload) == "pending"
    bootstrap.sweep(90_000)
    assert status(api, upload) == "registered"


def test_sweep_without_time_starts_nothing(api: Api, broker: RunningBroker) -> None:
    """Work that does not fit into the time is left for the next sweep."""
    upload = api.landed()
    broker.clock.advance(61)
    without_time = broker.sweep(seconds=-1)
    assert without_time.settled == 0
    assert 1 <= without_time.late_seconds < 20
    assert status(api, upload) == "pending"
    broker.clock.advance(61)
    assert broker.sweep().settled == 1


def test_task_of_an_upload(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A task of an upload costs one registration for each URL, and waits until it is due."""
    upload = api.begin()
    wired = broker.parts()
    owner = wired.authenticator.caller(f"Bearer {api.token}").id
    created = wired.repository.get(upload["id"], owner).created_at
    tasks = UploadRecovery(wired.repository, wired.due, wired.registration, wired.clock, 100)
    task = tasks.task(DueItem(recovery.KIND, upload["id"], owner, created))
    assert task is not None
    assert task.cost == 1
    before = len(upstream.journal())
    assert task.run() is False, "it is due a minute after its creation"
    assert len(upstream.journal()) == before
    assert tasks.task(DueItem(recovery.KIND, "0" * 32, owner, created)) is None


def test_idle_sweep_logs_nothing(broker: RunningBroker) -> None:
    """A sweep of nothing, which runs every minute, writes no line."""
    assert broker.sweep().found == 0
    assert broker.lines("sweep") == []
