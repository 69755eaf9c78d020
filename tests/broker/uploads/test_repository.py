"""The fields of upload records: when they are due, and how long they are kept."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws import clients, codec
from chalicelib.core.errors import NotFound
from chalicelib.syncapi.models import Asset
from chalicelib.uploads import items
from chalicelib.uploads.models import Lease, Status
from tests.support.running_broker import Api, RunningBroker
from tests.support.scripted_sync import Received, Reply, ScriptedSync, presigned
from tests.support.upstream_process import RunningUpstream

MINUTE = 60_000  # milliseconds
SETTLED = 200  # seconds after which Sync no longer carries out an ambiguous registration

pytestmark = pytest.mark.usefixtures("nothing_due")


def record_of(broker: RunningBroker, upload: dict[str, Any]) -> dict[str, Any]:
    """Return an upload's record as the table has it."""
    key = {"pk": {"S": f"upload#{upload['id']}"}}
    return codec.plain(clients.dynamodb().get_item(TableName=broker.table, Key=key)["Item"])


def owner_of(api: Api) -> str:
    """Return a caller's id."""
    caller_id: str = api.broker.parts().authenticator.caller(f"Bearer {api.token}").id
    return caller_id


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
    record = record_of(broker, upload)
    assert (record["status"], record["attempt"]) == (end, None)
    # The sweep's index has only what is unfinished.
    assert ("dueAt" in record, "dueShard" in record) == (end == "pending", end == "pending")
    if end in {"pending", "registered"}:
        assert "ttl" not in record
    else:
        assert record["ttl"] == record["updatedAt"] // 1000 + 30 * 86_400


def test_leased_upload_is_due_after_lease(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """If a request is killed while it calls Sync, the upload is due when its lease is over."""
    sync.script = lambda _: presigned()
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    upload = api.begin()
    seen: list[tuple[str, dict[str, Any]]] = []

    def script(one: Received) -> Reply:
        seen.append((one.method, record_of(broker, upload)))
        return Reply(504) if one.method == "POST" else Reply(200, {"items": []})

    sync.script = script
    for _ in range(2):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(SETTLED)
    assert [method for method, _ in seen] == ["POST", "GET", "GET", "POST", "GET"]
    for _, record in seen:
        assert record["status"] == "registering"
        assert record["dueAt"] == record["attempt"]["lease_until"]
    posts = [record["attempt"] for method, record in seen if method == "POST"]
    assert [attempt["posts"] for attempt in posts] == [1, 2]
    assert posts[0]["id"] != posts[1]["id"]
    assert posts[1]["settle_at"] - posts[0]["settle_at"] >= SETTLED * 1000
    assert seen[0][1]["dueShard"] in items.FILE_SHARDS


def test_changed_upload_is_due_again(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """After each change an unfinished upload is due again, a new one about a minute later."""
    upload = api.begin()
    record = record_of(broker, upload)
    assert record["dueAt"] == record["createdAt"] + MINUTE
    broker.clock.advance(30)
    assert api.complete(upload).status_code == 409
    record = record_of(broker, upload)
    assert (record["status"], record["attempt"]) == ("pending", None)
    assert record["dueAt"] == record["updatedAt"] + MINUTE
    assert record["nextTryAt"] == record["updatedAt"] + 1000
    broker.clock.advance(2000)
    assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 200
    record = record_of(broker, upload)
    pause = (record["updatedAt"] - record["createdAt"]) // 2
    assert record["dueAt"] == record["updatedAt"] + pause
    assert record["nextTryAt"] == 0
    upstream.order({"kind": "cut"}, "POST", "/v2/assets")
    assert api.complete(upload).status_code == 202
    record = record_of(broker, upload)
    assert record["attempt"]["lease_until"] == 0
    assert record["dueAt"] > record["updatedAt"] + pause
    broker.clock.advance(SETTLED)
    done = api.complete(upload)
    assert done.json()["code"] == "file_not_uploaded"
    assert api.put(upload).status_code == 200
    broker.clock.advance(2)
    assert api.complete(upload).status_code == 200
    record = record_of(broker, upload)
    assert not {"dueAt", "dueShard"} & set(record)
    assert record["attempt"] is None


def test_lists_have_pages_without_gaps(api: Api, broker: RunningBroker) -> None:
    """Each list has pages without gaps, and ends without a cursor."""
    made = [api.registered()["id"] for _ in range(3)]
    repository = broker.parts().repository
    for read in (repository.list_uploads, repository.list_assets):
        first = read(owner_of(api), 2, None)
        second = read(owner_of(api), 2, first.next_cursor)
        assert [one.id for one in (*first.items, *second.items)] == made[::-1]
        assert second.next_cursor is None


def test_concurrent_renewals_record_one_url(api: Api, broker: RunningBroker) -> None:
    """Of two concurrent renewals of one upload one is recorded, and both return it."""
    upload = api.begin()
    repository = broker.parts().repository
    found = repository.get(upload["id"], owner_of(api))
    target = found.targets[0]
    first = repository.renew(found, target, broker.clock.now())
    broker.clock.advance(1)
    assert repository.renew(found, target, broker.clock.now()) == first
    assert len(first.targets) == len(record_of(broker, upload)["targets"]) == 2


def test_renewed_upload_does_not_expire(api: Api, broker: RunningBroker) -> None:
    """An upload that is renewed at the same time does not expire."""
    upload = api.begin()
    for _ in range(2):
        broker.clock.advance(20_000)
        assert api.complete(upload).status_code == 409
    repository = broker.parts().repository
    old = repository.get(upload["id"], owner_of(api))
    now = broker.clock.now()
    fresh = repository.renew(old, old.targets[0], now)
    assert not repository.expire(old, old.ends_at, now)
    assert not repository.expire(fresh, now, now), "Sync has refused it only once after this end"
    assert repository.expire(fresh, old.ends_at, now)
    assert record_of(broker, upload)["status"] == "expired"


def test_other_caller_changes_nothing(api: Api, broker: RunningBroker) -> None:
    """For every other caller an upload does not exist, whatever the call."""
    upload = api.landed()
    now = broker.clock.now()
    repository = broker.parts().repository
    attempt = broker.parts().registration.plan()
    with pytest.raises(NotFound):
        repository.lease_to_post(upload["id"], "somebody", attempt, now)
    with pytest.raises(NotFound):
        repository.cancel(upload["id"], "somebody", now)
    with pytest.raises(NotFound):
        repository.get(upload["id"], "somebody")
    assert record_of(broker, upload)["status"] == "pending"


def test_only_leased_upload_fails(api: Api, broker: RunningBroker) -> None:
    """An attempt that has lost its lease moves nothing to failed."""
    upload_id, owner = api.landed()["id"], owner_of(api)
    repository, registration = broker.parts().repository, broker.parts().registration
    now = broker.clock.now()
    problem = {"code": "file_rejected", "detail": "Sync does not accept it."}
    lost = repository.lease_to_post(upload_id, owner, registration.plan(), now)
    assert isinstance(lost, Lease)
    assert repository.reopen(lost, now)
    assert repository.fail(lost, problem, now) is None
    assert repository.get(upload_id, owner).status is Status.PENDING
    held = repository.lease_to_post(upload_id, owner, registration.plan(), now)
    assert isinstance(held, Lease)
    failed = repository.fail(held, problem, now)
    assert failed is not None
    assert failed.status is repository.get(upload_id, owner).status is Status.FAILED


def test_failed_preparation_begins_scan_anew(api: Api, broker: RunningBroker) -> None:
    """After an unfinished scan the next is soon; after a failed preparation it begins anew."""
    upload_id, owner = api.landed()["id"], owner_of(api)
    repository, registration = broker.parts().repository, broker.parts().registration
    lease = repository.lease_to_post(upload_id, owner, registration.plan(), broker.clock.now())
    assert isinstance(lease, Lease)
    now = broker.clock.now()
    repository.release(lease, now, "a scan")
    unknown = repository.get(upload_id, owner)
    assert unknown.due_at == now + MINUTE
    again = repository.lease_to_reconcile(unknown, registration.plan(), now)
    assert isinstance(again, Lease)
    assert again.attempt.scan == "a scan"
    repeated = repository.lease_to_repost(again, replace(registration.plan(), posts=2))
    assert repeated is not None
    repository.undo_repost(repeated, again.attempt, now)
    undone = repository.get(upload_id, owner).attempt
    assert undone == replace(again.attempt, lease_until=0, scan=None)


def test_recorded_upload_is_returned(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Recording an asset returns the upload as the table has it."""
    upload_id, owner = api.landed()["id"], owner_of(api)
    repository, registration = broker.parts().repository, broker.parts().registration
    lease = repository.lease_to_post(upload_id, owner, registration.plan(), broker.clock.now())
    assert isinstance(lease, Lease)
    asset = Asset.parse(upstream.register(lease.upload.url_at(0)).json())
    recorded = repository.record(lease, asset, is_reconciled=False, now=broker.clock.now())
    assert recorded == repository.get(upload_id, owner)
