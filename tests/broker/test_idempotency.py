"""A request that is sent again with its key gives the same upload."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chalicelib import idempotency
from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.idempotency import IdempotencyRecords, RequestKey
from chalicelib.web import bodies
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker
from tests.support.scripted_sync import PATIENT, Held, Reply, ScriptedSync, asset, presigned
from tests.support.upstream_process import RunningUpstream

FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}


def begin(api: Api, key: str | None, **fields: object) -> requests.Response:
    """Begin an upload with a key."""
    return api.call("POST", "/uploads", json={**FILE, **fields}, headers={"Idempotency-Key": key})


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return str(uuid.uuid4())


def test_same_key_returns_same_upload(api: Api, upstream: RunningUpstream, key: str) -> None:
    """The same key and body give the same upload, and one presign; fields may be reordered."""
    first = begin(api, key)
    body = dict(reversed(FILE.items()))
    again = api.call("POST", "/uploads", json=body, headers={"Idempotency-Key": key})
    assert first.status_code == again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["uploadUrl"] == first.json()["uploadUrl"]
    assert again.headers["Location"] == first.headers["Location"]
    assert upstream.outcomes() == ["presigned"]
    assert len(api.call("GET", "/uploads").json()["items"]) == 1


def test_repeated_request_gets_fresh_url(api: Api, broker: RunningBroker, key: str) -> None:
    """If the URL is about to expire, the same upload is returned with a new URL."""
    first = begin(api, key)
    broker.clock.advance(3000)
    again = begin(api, key)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["uploadUrl"] != first.json()["uploadUrl"]


def test_repeated_request_gets_registered_asset(api: Api, key: str) -> None:
    """After the upload is registered, the same request returns it with its asset."""
    upload = begin(api, key).json()
    api.put(upload)
    api.complete(upload)
    again = begin(api, key)
    assert again.status_code == 201
    assert again.json()["asset"]["id"]
    assert "uploadUrl" not in again.json()


def test_other_body_with_same_key_is_refused(api: Api, key: str) -> None:
    """Another body with the same key is refused, and the first upload is unchanged."""
    first = begin(api, key)
    other = begin(api, key, size=6)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    route = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    mixed = api.call("POST", "/assets", json=route, headers={"Idempotency-Key": key})
    assert mixed.json()["code"] == "idempotency_key_reused"
    assert begin(api, key).json()["id"] == first.json()["id"]


def test_key_is_scoped_to_caller(api: Api, broker: RunningBroker, key: str) -> None:
    """Two callers may use the same key for different uploads."""
    assert begin(api, key).json()["id"] != begin(Api(broker), key, size=6).json()["id"]


@pytest.mark.parametrize("bad", ["", "a b", "x" * 256, "\u00e9"])
def test_malformed_key_is_refused(api: Api, bad: str) -> None:
    """A malformed key is refused by the header's name."""
    response = api.call(
        "POST", "/uploads", json=FILE, headers={"Idempotency-Key": bad.encode("latin-1")}
    )
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_idempotency_key"
    assert response.json()["errors"][0]["header"] == "Idempotency-Key"


def test_refused_request_leaves_key_unused(api: Api, upstream: RunningUpstream, key: str) -> None:
    """A refused request leaves its key unused, also for another body."""
    assert begin(api, key, size=0).status_code == 422
    upstream.order({"kind": "answer", "status": 429}, "POST", "/v2/assets/upload")
    assert begin(api, key).status_code == 503
    api.broker.clock.advance(60)  # After a 429 the limiter is slower for a while.
    assert begin(api, key, size=6).status_code == 201


def test_running_request_blocks_its_key(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync, key: str
) -> None:
    """While the first request runs, the second gets a 409; then both get the same upload."""
    held = Held(presigned())
    sync.script = held
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(begin, api, key)
        assert held.reached.wait(10)
        waiting = begin(other, key)
        held.released.set()
    assert waiting.status_code == 409
    assert waiting.json()["code"] == "request_in_progress"
    assert waiting.headers["Retry-After"] == "2"
    assert begin(other, key).json()["id"] == first.result().json()["id"]
    assert len(sync.requests) == 1


def test_repeated_write_of_key_does_not_block(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB, key: str
) -> None:
    """If boto3 writes a request's key twice, the request does not wait for itself."""
    broker.configure(upstream)
    fault = faulty_dynamodb.order("cut-after", "PutItem", "key#", lasting=False)
    assert begin(Api(broker), key).status_code == 201
    assert fault.carried_out


def test_key_of_killed_request_is_freed(api: Api, broker: RunningBroker, key: str) -> None:
    """The key of a killed request is free again two minutes later."""
    parts = broker.parts()
    caller = parts.authenticator.caller(f"Bearer {api.token}")
    keys = parts.idempotency
    keys.begin(caller.id, RequestKey(key, "a body"), "0" * 32)
    assert begin(api, key).status_code == 422
    broker.clock.advance(121)
    assert begin(api, key).status_code == 201


def test_ambiguous_url_is_registered_once(
    broker: RunningBroker, upstream: RunningUpstream, key: str
) -> None:
    """A public URL is registered once, even if its outcome is ambiguous."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    body = {"url": url, "type": "VIDEO"}
    headers = {"Idempotency-Key": key}
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    first = api.call("POST", "/assets", json=body, headers=headers)
    assert first.status_code == 202
    upstream.behave(listLagSeconds=0)
    for _ in range(2):
        again = api.call("POST", "/assets", json=body, headers=headers)
        assert again.status_code == 201
        assert again.json()["id"] == first.json()["id"]
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


@pytest.mark.parametrize("status", [429, 422])
def test_refused_url_leaves_key_unused(
    broker: RunningBroker, upstream: RunningUpstream, key: str, status: int
) -> None:
    """A refused public URL leaves its key unused too."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    headers = {"Idempotency-Key": key}
    upstream.order({"kind": "answer", "status": status}, "POST", "/v2/assets")
    body = {"url": url, "type": "VIDEO"}
    assert api.call("POST", "/assets", json=body, headers=headers).status_code >= 400
    broker.clock.advance(10)
    other = {**body, "name": "another body"}
    assert api.call("POST", "/assets", json=other, headers=headers).status_code == 201


def test_running_url_returns_no_id(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync, key: str
) -> None:
    """While the first request may still be taken back, its id is not returned."""
    held = Held(Reply(429))
    sync.script = held
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    post = ("POST", "/assets")
    headers = {"Idempotency-Key": key}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.call, *post, json=body, headers=headers)
        assert held.reached.wait(10)
        again = other.call(*post, json=body, headers=headers)
        held.released.set()
    assert (again.status_code, again.json()["code"]) == (409, "request_in_progress")
    assert again.headers["Retry-After"] == "2"
    assert again.json()["detail"] == "This upload is starting already. Try again in a moment."
    assert first.result().status_code == 503
    broker.clock.advance(10)
    sync.script = lambda _: Reply(201, asset(url=body["url"]))
    assert other.call(*post, json=body, headers=headers).status_code == 201
    assert len(sync.requests) == 2


def test_url_taken_back_meanwhile_is_409(
    broker: RunningBroker, upstream: RunningUpstream, key: str
) -> None:
    """If the first request's record was taken back after its key was read, the second is 409."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    body, headers = {"url": url, "type": "VIDEO"}, {"Idempotency-Key": key}
    made = api.call("POST", "/assets", json=body, headers=headers).json()
    record = {"pk": {"S": f"upload#{made['id']}"}}
    clients.dynamodb().delete_item(TableName=broker.table, Key=record)
    again = api.call("POST", "/assets", json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "request_in_progress")


def test_key_with_line_feed_is_refused() -> None:
    """A key that ends in a line feed, which `$` would let pass, is refused."""
    with pytest.raises(errors.InvalidIdempotencyKey):
        bodies.request_key({"idempotency-key": "a\n"}, "POST /uploads", {})


def test_key_is_kept_a_day(api: Api, broker: RunningBroker, key: str) -> None:
    """A key is kept for 24 hours, and is free some time later."""
    first = begin(api, key).json()["id"]
    broker.clock.advance(86_390)
    assert begin(api, key).json()["id"] == first
    broker.clock.advance(7200)
    assert begin(api, key).json()["id"] != first


@pytest.fixture
def records(broker: RunningBroker) -> IdempotencyRecords:
    """The records of keys, without a broker."""
    return IdempotencyRecords(Table(clients.dynamodb(), broker.table, Clock()), broker.clock)


def test_taken_over_request_completes_nothing(
    broker: RunningBroker, records: IdempotencyRecords, key: str
) -> None:
    """A slow request whose key another request has taken over writes nothing."""
    table = Table(clients.dynamodb(), broker.table, Clock())
    first = records.begin("a caller", RequestKey(key, "a body"), "0" * 32)
    broker.clock.advance(121)
    second = records.begin("a caller", RequestKey(key, "a body"), "1" * 32)
    assert table.transact(idempotency.complete(first)) is not None
    assert table.transact(idempotency.complete(second)) is None


@pytest.mark.parametrize("even_if_done", [True, False])
def test_release_keeps_other_requests_key(
    broker: RunningBroker,
    records: IdempotencyRecords,
    key: str,
    even_if_done: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A request that lost its key to another one does not release the other's key."""
    first = records.begin("a caller", RequestKey(key, "a body"), "0" * 32)
    broker.clock.advance(121)
    records.begin("a caller", RequestKey(key, "a body"), "1" * 32)
    records.release(first, even_if_done=even_if_done)
    with pytest.raises(errors.RequestInProgress):
        records.begin("a caller", RequestKey(key, "a body"), "2" * 32)


def test_release_keeps_completed_key(
    broker: RunningBroker, records: IdempotencyRecords, key: str
) -> None:
    """A key whose upload is written stays in use, unless it is released on purpose."""
    table = Table(clients.dynamodb(), broker.table, Clock())
    first = records.begin("a caller", RequestKey(key, "a body"), "0" * 32)
    assert table.transact(idempotency.complete(first)) is None
    records.release(first)
    found = records.begin("a caller", RequestKey(key, "a body"), "1" * 32)
    assert (found.upload_id, found.is_done) == ("0" * 32, True)
    records.release(first, even_if_done=True)
    assert not records.begin("a caller", RequestKey(key, "a body"), "1" * 32).is_done
