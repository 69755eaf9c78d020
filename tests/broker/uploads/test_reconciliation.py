"""How the broker reconciles an ambiguous registration by Sync's list."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.running_broker import Api, RunningBroker
from tests.support.scripted_sync import PATIENT, Received, Reply, ScriptedSync, asset, presigned
from tests.support.upstream_process import RunningUpstream

POST = ("POST", "/v2/assets")
PRESIGN = ("POST", "/v2/assets/upload")
LIST = ("GET", "/v2/assets")
# No other test registers it: an ambiguous outcome of the same URL would have to be waited for.
URL = f"https://media.example.com/{uuid.uuid4().hex}.mp4"
SETTLED = 200  # seconds after which Sync no longer carries out an ambiguous registration

pytestmark = pytest.mark.usefixtures("nothing_due")


def register(api: Api, url: str) -> Any:
    """Register a public URL."""
    return api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})


def ids(upstream: RunningUpstream) -> list[str]:
    """Return the ids of Sync's assets, newest first."""
    return [one["id"] for one in upstream.call("GET", "/v2/assets").json()["items"]]


def written(seconds: float) -> str:
    """Return a time as Sync writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize("is_reopened", [False, True], ids=["again", "reopened"])
def test_repeated_registration_reserves_its_asset(
    broker: RunningBroker,
    upstream: RunningUpstream,
    is_reopened: bool,  # noqa: FBT001 - a parameter
) -> None:
    """While Sync may still carry out a repeated registration, no other upload takes its asset."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    url = upstream.upload()
    alice, bob = Api(broker), Api(broker)
    upstream.order({"kind": "answer", "status": 504}, *POST, times=2)
    hers, his = (register(api, url).json() for api in (alice, bob))
    broker.clock.advance(SETTLED)
    if is_reopened:
        upstream.order({"kind": "answer", "status": 401}, *POST)
        assert alice.complete(hers).status_code == 502
        assert alice.call("GET", f"/uploads/{hers['id']}").json()["status"] == "pending"
    # A pending upload is registered without a reconciliation before.
    upstream.order({"kind": "answer", "status": 504, "when": "after"}, *POST)
    failing = {"kind": "answer", "status": 500}
    upstream.order(failing, *LIST, skip=0 if is_reopened else 1, times=2)
    assert alice.complete(hers).status_code == 202
    [made] = ids(upstream)
    assert bob.complete(his).status_code == 202, "the asset may be Alice's"
    assert alice.complete(hers).json()["asset"]["id"] == made
    final = bob.complete(his)
    assert final.status_code == 200
    assert {made, final.json()["asset"]["id"]} == set(ids(upstream))
    assert len(ids(upstream)) == 2


def test_two_matches_are_undecided(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If two assets may be the one URL's, neither is recorded, and an alarm is logged."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    url = upstream.upload()
    api = Api(broker)
    upstream.order({"kind": "answer", "status": 504}, *POST)
    upload = register(api, url).json()
    for _ in range(2):
        assert upstream.register(url).status_code == 201
    assert api.complete(upload).status_code == 202
    broker.clock.advance(SETTLED)
    failed = api.complete(upload)
    assert (failed.status_code, failed.json()["code"]) == (422, "url_timeout")
    assert [line["uploadId"] for line in broker.lines("outcome_undecided")] == [upload["id"]]
    assert api.call("GET", "/assets").json() == {"items": []}


def test_asset_on_two_pages_is_one_match(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """An asset that a growing list shows on two pages is one match, not two."""
    made = asset(url=URL)
    pages = {
        None: {"items": [made], "nextCursor": "1"},
        "1": {"items": [made, asset(url="https://b.example/")]},
    }

    def script(one: Received) -> Reply:
        return Reply(504) if one.method == "POST" else Reply(200, pages[one.query.get("cursor")])

    sync.script = script
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    response = register(Api(broker), URL)
    assert (response.status_code, response.json()["asset"]["id"]) == (201, made["id"])
    assert sync.count(*LIST) == 2


@pytest.mark.parametrize(("seconds", "reads"), [(19, 1), (21, 0)])
def test_late_call_leaves_list_to_next_call(
    broker: RunningBroker,
    upstream: RunningUpstream,
    sync: ScriptedSync,
    seconds: float,
    reads: int,
) -> None:
    """After a POST of 20 seconds the call has no time for the list, and the next one reads it."""

    def script(one: Received) -> Reply:
        if (one.method, one.path) == PRESIGN:
            return presigned()
        if one.method == "GET":
            return Reply(200, {"items": []})
        broker.clock.advance(seconds)
        return Reply(504)

    sync.script = script
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    upload = api.begin()
    response = api.complete(upload)
    assert (response.status_code, response.headers["Retry-After"]) == (202, "5")
    assert sync.count(*LIST) == reads
    assert api.complete(upload).status_code == 202
    assert sync.count(*LIST) == reads + 1
    assert sync.count(*POST) == 1


@pytest.mark.parametrize(("seconds", "posts"), [(8, 2), (10, 1)])
def test_further_url_is_tried_in_time(
    broker: RunningBroker,
    upstream: RunningUpstream,
    sync: ScriptedSync,
    seconds: float,
    posts: int,
) -> None:
    """After a refusal the next URL is tried within nine seconds, and otherwise by the next call."""

    def script(one: Received) -> Reply:
        if (one.method, one.path) == PRESIGN:
            return presigned(f"{len(sync.requests)}.mp4", expires_in=600)
        broker.clock.advance(seconds)
        return Reply(404)

    sync.script = script
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    upload = api.begin()
    broker.clock.advance(400)
    assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 200
    assert api.complete(upload).status_code == 409
    assert sync.count(*POST) == posts
    tried = [one.body["url"].rpartition("/")[2] for one in sync.requests if one.path == POST[1]]
    assert tried == ["2.mp4", "1.mp4"][:posts]
    broker.clock.advance(2)
    assert api.complete(upload).status_code == 409
    tried = [one.body["url"].rpartition("/")[2] for one in sync.requests if one.path == POST[1]]
    assert tried[posts] == ("2.mp4" if posts == 2 else "1.mp4")


def test_sixth_registration_of_five_urls(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A URL that is one of the five in work may be registered again."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    upstream.order({"kind": "answer", "status": 504}, *POST, times=5)
    uploads = [register(api, upstream.upload()).json() for _ in range(5)]
    assert register(api, upstream.upload()).json()["code"] == "too_many_unknown_urls"
    broker.clock.advance(SETTLED)
    assert api.complete(uploads[0]).status_code == 200


def test_other_url_is_not_waited_for(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """While Sync may be at one URL, the asset of another one, or of another type, is recorded."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    url = upstream.upload()
    upstream.order({"kind": "answer", "status": 504}, *POST)
    assert register(Api(broker), url).status_code == 202
    upstream.order({"kind": "answer", "status": 504, "when": "after"}, *POST, times=2)
    assert register(Api(broker), upstream.upload()).status_code == 201
    other = {"url": url, "type": "IMAGE"}
    assert Api(broker).call("POST", "/assets", json=other).status_code == 201


def test_long_list_is_read_in_parts(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """After twenty pages the call ends, and the next one reads on where this one stopped."""
    wanted = asset(url=URL)

    def script(one: Received) -> Reply:
        if one.method == "POST":
            return Reply(504)
        page = int(one.query.get("cursor", 0))
        items = [wanted] if page == 21 else [asset(url="https://b.example/")]
        return Reply(200, {"items": items, "nextCursor": str(page + 1) if page < 21 else None})

    sync.script = script
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    unclear = register(api, URL)
    assert unclear.status_code == 202
    assert sync.count(*LIST) == 20
    assert api.complete(unclear.json()).json()["asset"]["id"] == wanted["id"]
    cursors = [one.query.get("cursor") for one in sync.requests if one.method == "GET"]
    assert cursors == [None, *(str(page) for page in range(1, 22))]


def test_scan_ends_before_first_attempt(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """An asset that Sync made more than 15 minutes before the first attempt ends the scan."""
    now = broker.clock.now() / 1000
    pages = [
        asset(url="https://b.example/", createdAt="just now"),
        asset(url="https://b.example/", createdAt=written(now - 14 * 60)),
        asset(url="https://b.example/", createdAt=written(now - 16 * 60)),
        asset(url=URL, createdAt=written(now - 17 * 60)),
    ]

    def script(one: Received) -> Reply:
        if one.method == "POST":
            return Reply(504)
        page = int(one.query.get("cursor", 0))
        return Reply(200, {"items": [pages[page]], "nextCursor": str(page + 1)})

    sync.script = script
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    assert register(Api(broker), URL).status_code == 202
    cursors = [one.query.get("cursor") for one in sync.requests if one.method == "GET"]
    assert cursors == [None, "1", "2"]
