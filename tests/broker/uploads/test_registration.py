"""At most one asset, whatever responses get lost."""

import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.uploads.models import Lease
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import SHORT, Api, RunningBroker, token
from tests.support.scripted_sync import (
    PATIENT,
    Held,
    Received,
    Reply,
    ScriptedSync,
    asset,
    presigned,
)
from tests.support.upstream_process import RunningUpstream

POST = ("POST", "/v2/assets")
LIST = ("GET", "/v2/assets")
AMBIGUOUS = [
    pytest.param({"kind": "cut", "when": "after"}, id="reset"),
    pytest.param({"kind": "delay", "seconds": 1.5, "when": "after"}, id="time-out"),
    pytest.param({"kind": "answer", "status": 500, "when": "after"}, id="500"),
    pytest.param({"kind": "answer", "status": 408, "when": "after"}, id="408"),
    pytest.param({"kind": "answer", "status": 503, "body": "<html>", "when": "after"}, id="html"),
    pytest.param(
        {"kind": "answer", "status": 201, "body": '{"id": "a', "when": "after"}, id="half"
    ),
    pytest.param({"kind": "answer", "status": 201, "body": {"id": 5}, "when": "after"}, id="types"),
    pytest.param({"kind": "answer", "status": 201, "body": [], "when": "after"}, id="list"),
]


_PRESIGN = '{"uploadUrl": "https://a.example/", "url": "https://a.example/", "expiresIn": %s}'
INVALID_PRESIGNS = [
    _PRESIGN % seconds for seconds in ("NaN", "-1e400", "0", "true", '"3600"', "null")
]


def count_posts(upstream: RunningUpstream) -> int:
    """Return how many registrations reached Sync."""
    calls = [(one["method"], one["path"]) for one in upstream.journal()]
    return calls.count(POST)


def assets(upstream: RunningUpstream) -> list[dict[str, Any]]:
    """Return Sync's assets."""
    items: list[dict[str, Any]] = upstream.call("GET", "/v2/assets").json()["items"]
    return items


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_ambiguous_outcome_is_reconciled_at_once(
    api: Api, upstream: RunningUpstream, fault: dict[str, Any]
) -> None:
    """An asset whose response was lost is found at once."""
    upload = api.landed()
    api.broker.configure_again(timeouts=SHORT)
    upstream.order(fault, *POST)
    response = api.complete(upload)
    assert response.status_code == 200
    assert [response.json()["asset"]["id"]] == [asset["id"] for asset in assets(upstream)]
    assert api.complete(upload).json() == response.json()
    assert count_posts(upstream) == 1


@pytest.mark.parametrize(
    "fault",
    [{"kind": "cut"}, {"kind": "answer", "status": 502}, {"kind": "answer", "status": 500}],
    ids=["reset", "502", "500"],
)
def test_no_second_post_before_settle_time(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, fault: dict[str, Any]
) -> None:
    """An ambiguous registration is repeated only after the settle time and a reconciliation."""
    upload = api.landed()
    upstream.order(fault, *POST)
    first = api.complete(upload)
    assert first.status_code == 202
    assert first.json()["status"] == "registering"
    broker.clock.advance(100)
    assert api.complete(upload).status_code == 202
    assert count_posts(upstream) == 1, "Sync may still carry it out"
    broker.clock.advance(60)
    final = api.complete(upload)
    assert final.status_code == 200
    assert count_posts(upstream) == 2
    assert len(assets(upstream)) == 1


def test_asset_listed_late_is_found(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """An asset that the list shows late is found by a later call, and not made again."""
    upload = api.landed()
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.behave(listLagSeconds=0)
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 1


def test_asset_without_url_is_undecided(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """An asset that may be the upload's, but has no URL, never leads to a second POST."""
    upload = api.landed()
    upstream.behave(assetUrl="absent")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert count_posts(upstream) == 1
    assert broker.lines("outcome_undecided")
    upstream.behave(assetUrl="same")
    assert api.complete(upload).status_code == 200


def test_changed_urls_are_undecided(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If Sync changes the URLs of assets, an ambiguous outcome never leads to a second POST."""
    upload = api.landed()
    upstream.behave(assetUrl="rewritten")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert count_posts(upstream) == 1
    assert broker.lines("outcome_undecided")


def test_kept_urls_exclude_other_assets(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Assets of other programs do not matter once Sync is known to keep URLs."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.asset()
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 202, "the other asset may be the upload's"
    api.registered()
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert len(assets(upstream)) == 3


def test_kept_urls_exclude_asset_of_same_name(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Files of any name show that Sync keeps URLs, so an asset of the same name does not matter."""
    upload = api.landed(name="Intro")
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.asset(name="Intro")
    api.registered(name="Outro")
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize("kept", ["url", "file"])
def test_partly_changed_urls_are_undecided(
    broker: RunningBroker, upstream: RunningUpstream, kept: str
) -> None:
    """Neither a public URL that was kept nor one file of two shows that Sync keeps files' URLs."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    if kept == "url":
        body = {"url": upstream.upload(), "type": "VIDEO"}
        assert api.call("POST", "/assets", json=body).status_code == 201
    else:
        api.registered()
    upstream.behave(assetUrl="rewritten")
    if kept == "file":
        api.registered()
    upload = api.landed()
    before = count_posts(upstream)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert count_posts(upstream) == before + 1


def test_renamed_asset_is_found_by_url(api: Api, upstream: RunningUpstream) -> None:
    """A file's asset is found by its URL even if Sync gave it another name."""
    upstream.behave(unnamedAsset="fileName")
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 1


@pytest.mark.parametrize("shown", ["absent", "rewritten"])
def test_renamed_asset_without_url_is_undecided(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, shown: str
) -> None:
    """An asset with another name and no known URL is never made again."""
    upstream.behave(unnamedAsset="fileName", assetUrl=shown)
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert count_posts(upstream) == 1
    upstream.behave(assetUrl="same")
    assert api.complete(upload).status_code == 200


def test_reconciliation_resumes_on_next_page(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A reconciliation reads all pages; if its time is over, the next one resumes there."""
    uploads = [api.landed() for _ in range(2)]
    api.registered()
    for upload in uploads:
        upstream.order({"kind": "cut", "when": "after"}, *POST)
        upstream.order({"kind": "answer", "status": 500}, *LIST, times=2)
        assert api.complete(upload).status_code == 202
    url = upstream.upload()
    for _ in range(250):
        assert upstream.register(url, name="of another program").status_code == 201
    assert api.complete(uploads[0]).status_code == 200, "three pages fit into one call"
    broker.clock.advance(1000)
    broker.configure_again(timeouts=SHORT)
    upstream.order({"kind": "delay", "seconds": 0.6}, *LIST, times=3)
    before = count_posts(upstream)
    assert api.complete(uploads[1]).status_code == 202
    assert broker.lines("scan_unfinished")
    assert api.complete(uploads[1]).status_code == 200
    assert count_posts(upstream) == before


def test_asset_of_project_is_found(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset of a project is found though the plain list leaves projects out."""
    broker.configure(upstream, ALLOWED_PROJECT_IDS="sandbox-project")
    upstream.behave(projectAssetsInUnfilteredList=False)
    api = Api(broker)
    upload = api.landed(projectId="sandbox-project")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize("skew", [-600, 600])
def test_asset_is_found_with_skewed_clock(api: Api, upstream: RunningUpstream, skew: int) -> None:
    """The asset is found though Sync's clock is ten minutes off."""
    upstream.behave(clockSkewSeconds=skew)
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200


def test_two_callers_of_a_url_get_own_assets(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Two callers of one public URL never get each other's asset, even if a response is lost."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    one, other = Api(broker), Api(broker)
    body = {"url": url, "type": "VIDEO"}
    upstream.order({"kind": "cut"}, *POST)
    ambiguous = one.call("POST", "/assets", json=body)
    assert ambiguous.status_code == 202
    theirs = other.call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    assert one.complete(ambiguous.json()).status_code == 202
    broker.clock.advance(1000)
    mine = one.complete(ambiguous.json())
    assert mine.status_code == 200
    assert mine.json()["asset"]["id"] != theirs.json()["asset"]["id"]
    assert len(assets(upstream)) == 2


class SlowLibrary:
    """The script of a Sync that makes an asset of each URL and keeps its first caller waiting."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.is_made, self.released = threading.Event(), threading.Event()
        self.is_lost = False

    def __call__(self, one: Received) -> Reply | None:
        """Register, list and delete; drop the next registration if a test sets `is_lost`."""
        if one.method == "DELETE":
            self.made = [kept for kept in self.made if not one.path.endswith(kept["id"])]
            return Reply(200)
        if one.method == "GET":
            return Reply(200, {"items": self.made[::-1]})
        if self.is_lost:
            self.is_lost = False
            return None
        self.made.append(asset(**one.body))
        if not self.is_made.is_set():
            self.is_made.set()
            self.released.wait(20)
        return Reply(201, self.made[-1])


@pytest.mark.parametrize("name", [{}, {"name": "another"}], ids=["same-name", "other-name"])
@pytest.mark.parametrize("max_bytes", [None, 3], ids=["any-size", "too-large"])
def test_asset_of_running_registration_is_kept(
    broker: RunningBroker,
    upstream: RunningUpstream,
    sync: ScriptedSync,
    max_bytes: int | None,
    name: dict[str, str],
) -> None:
    """A reconciliation neither records nor deletes an asset whose own 201 is still under way."""
    library = SlowLibrary()
    sync.script = library
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    bob, alice = Api(broker), Api(broker)
    if max_bytes is not None:
        alice.token = token(upload={"maxBytes": max_bytes})
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(bob.call, "POST", "/assets", json=body)
        assert library.is_made.wait(10)
        library.is_lost = True
        ambiguous = alice.call("POST", "/assets", json=body | name)
        library.released.set()
    assert ambiguous.status_code == 202
    assert not broker.lines("outcome_undecided"), "no alarm is needed"
    assert slow.result().status_code == 201
    broker.clock.advance(300)
    final = alice.complete(ambiguous.json())
    mine = {slow.result().json()["asset"]["id"]}
    assert final.status_code == (200 if max_bytes is None else 413)
    assert {one["id"] for one in library.made} == mine | (
        {final.json()["asset"]["id"]} if max_bytes is None else set()
    )


def test_two_ambiguous_callers_get_own_assets(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If both responses are lost, each of the two callers gets its own asset."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    callers = (Api(broker), Api(broker))
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, *POST, times=2)
    body = {"url": url, "type": "VIDEO"}
    ambiguous = [caller.call("POST", "/assets", json=body).json() for caller in callers]
    upstream.behave(listLagSeconds=0)
    for caller, upload in zip(callers, ambiguous, strict=True):
        assert caller.complete(upload).status_code == 202, "the other's response may still come"
    broker.clock.advance(1000)
    final = [
        caller.complete(upload).json()["asset"]["id"]
        for caller, upload in zip(callers, ambiguous, strict=True)
    ]
    assert sorted(final) == sorted(asset["id"] for asset in assets(upstream))


def test_shared_asset_goes_to_every_caller(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If Sync returns the old asset for an old URL, every caller gets it."""
    upstream.behave(duplicateUrl="same")
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    ids = set()
    for caller in (Api(broker), Api(broker)):
        response = caller.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
        assert response.status_code == 201
        asset_id = response.json()["asset"]["id"]
        assert caller.call("GET", f"/assets/{asset_id}").json() == response.json()
        ids.add(asset_id)
    assert len(ids) == 1


def test_parallel_completes_make_one_post(api: Api, upstream: RunningUpstream) -> None:
    """Fifty completes of one upload at once make one POST, and all get the same asset."""
    upload = api.landed()
    statuses: list[int] = []

    def complete() -> None:
        caller = Api(api.broker)
        caller.token = api.token
        statuses.append(caller.complete(upload).status_code)

    threads = [threading.Thread(target=complete) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) + statuses.count(202) == 50
    assert 200 in statuses, "the caller that POSTs gets the asset"
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 1


def begin_scripted(api: Api, sync: ScriptedSync) -> dict[str, Any]:
    """Begin an upload at a Sync that is only a script."""
    sync.script = lambda _: presigned()
    return api.begin()


def test_one_attempt_at_a_time(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """While an attempt runs, no other caller tries; afterwards every caller gets its asset."""
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    upload = begin_scripted(api, sync)
    held = Held(Reply(201, asset()))
    sync.script = held
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.complete, upload)
        assert held.reached.wait(10)
        waiting = other.complete(upload)
        held.released.set()
    assert (waiting.status_code, waiting.headers["Retry-After"]) == (202, "2")
    assert first.result().status_code == 200
    assert other.complete(upload).json() == first.result().json()
    assert sync.count(*POST) == 1
    assert sync.count(*LIST) == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "answer", "status": 401}, 502, "upstream_unauthorized"),
        ({"kind": "answer", "status": 402}, 502, "upstream_unauthorized"),
        ({"kind": "answer", "status": 403}, 502, "upstream_unauthorized"),
        ({"kind": "answer", "status": 429}, 503, "upstream_busy"),
        (
            {"kind": "answer", "status": 400, "body": {"errorCode": "rate_limit_exceeded"}},
            503,
            "upstream_busy",
        ),
        ({"kind": "answer", "status": 409, "body": {"message": "x"}}, 409, "file_not_uploaded"),
        ({"kind": "answer", "status": 418, "body": "tea"}, 409, "file_not_uploaded"),
    ],
)
def test_temporary_refusal_leaves_upload_pending(
    api: Api,
    broker: RunningBroker,
    upstream: RunningUpstream,
    fault: dict[str, Any],
    status: int,
    code: str,
) -> None:
    """A refusal that is not known to be final leaves the upload pending and completable."""
    upload = api.landed()
    upstream.order(fault, *POST)
    response = api.complete(upload)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"
    broker.clock.advance(int(response.headers.get("Retry-After", 0)))
    assert api.complete(upload).status_code == 200


def test_failed_connection_sends_nothing(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If no connection came about, nothing was sent, and the upload can be completed at once."""
    api = Api(broker)
    upload = api.landed()
    broker.configure(upstream, SYNC_BASE_URL="http://127.0.0.1:1")
    response = api.complete(upload)
    assert (response.status_code, response.json()["code"]) == (502, "upstream_unreachable")
    broker.configure(upstream)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize(
    ("fault", "times", "status", "code"),
    [
        ({"kind": "answer", "status": 500}, 1, 201, None),
        ({"kind": "cut"}, 1, 201, None),
        ({"kind": "answer", "status": 500}, 2, 502, "upstream_fault"),
        ({"kind": "cut", "when": "after"}, 2, 502, "upstream_fault"),
        ({"kind": "answer", "status": 504}, 2, 504, "upstream_timeout"),
        ({"kind": "answer", "status": 200, "body": "<html>"}, 2, 502, "upstream_fault"),
        ({"kind": "answer", "status": 201, "body": {"url": "x"}}, 1, 502, "upstream_fault"),
        ({"kind": "answer", "status": 302, "headers": {"Location": "/"}}, 2, 502, "upstream_fault"),
        *(
            ({"kind": "answer", "status": 201, "body": body}, 1, 502, "upstream_fault")
            for body in INVALID_PRESIGNS
        ),
        ({"kind": "answer", "status": 401}, 1, 502, "upstream_unauthorized"),
        ({"kind": "answer", "status": 429}, 1, 503, "upstream_busy"),
        (
            {"kind": "answer", "status": 415, "body": {"message": ["a", "b"]}},
            1,
            422,
            "file_rejected",
        ),
    ],
)
def test_failed_presign_leaves_nothing_behind(
    api: Api,
    upstream: RunningUpstream,
    fault: dict[str, Any],
    times: int,
    status: int,
    code: str | None,
) -> None:
    """A presign is repeated once where that may help; a refusal leaves nothing behind."""
    upstream.order(fault, "POST", "/v2/assets/upload", times=times)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert response.status_code == status, response.text
    if code is not None:
        assert response.json()["code"] == code
        assert api.call("GET", "/uploads").json() == {"items": []}
    if code == "file_rejected":
        words = 'Sync does not accept "a.mp4" (video/mp4). Sync says: a; b.'
        assert response.json()["detail"] == words


def test_slow_presign_is_given_up(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A presign that Sync does not respond to in time leaves nothing behind."""
    broker.configure_again(timeouts=SHORT)
    upstream.order({"kind": "delay", "seconds": 3}, "POST", "/v2/assets/upload", times=2)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (504, "upstream_timeout")
    assert api.call("GET", "/uploads").json() == {"items": []}


@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", None])
def test_busy_sync_is_503_with_seconds(
    api: Api, upstream: RunningUpstream, retry_after: str | None
) -> None:
    """A busy Sync is reported as 503 with whole seconds, however Sync writes the time."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    upstream.order(
        {"kind": "answer", "status": 429, "headers": headers}, "POST", "/v2/assets/upload"
    )
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert response.status_code == 503
    seconds = int(response.headers["Retry-After"])
    # A date may be far away, but no caller has to wait longer than an hour.
    assert seconds == {"7": 7, "soon": 10, None: 10}.get(retry_after, 3600)


class SlowServer(socketserver.BaseRequestHandler):
    """Responds with one byte after the other, for ever."""

    def handle(self) -> None:
        """Send until the client closes the connection."""
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(OSError):
            while True:
                self.request.sendall(b" ")
                time.sleep(0.05)


def test_slow_response_is_given_up(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A response that comes byte by byte is given up in time, and its outcome is ambiguous."""
    upload = api.landed()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        broker.configure(upstream, timeouts=SHORT, SYNC_BASE_URL=url)
        started = time.monotonic()
        response = api.complete(upload)
        assert time.monotonic() - started < 10
        server.shutdown()
    assert response.status_code == 202
    broker.configure(upstream)
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200


def renew(api: Api, upload: dict[str, Any]) -> dict[str, Any]:
    """Renew the upload's URL, an hour later by the broker's clock."""
    api.broker.clock.advance(3000)
    response = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert response.status_code == 200, response.text
    return {**upload, **response.json()}


def test_lease_of_killed_process_is_ambiguous(api: Api, broker: RunningBroker) -> None:
    """The lease of a killed process makes the outcome ambiguous."""
    upload, parts = api.landed(), broker.parts()
    owner = parts.authenticator.caller(f"Bearer {api.token}").id
    plan = parts.registration.plan()
    repository = parts.repository
    lease = repository.lease_to_post(upload["id"], owner, plan, broker.clock.now())
    assert isinstance(lease, Lease)
    broker.clock.advance(61)
    assert api.complete(upload).status_code == 202
    assert broker.lines("outcome_unknown")[0]["code"] == "interrupted"
    broker.clock.advance(100)
    assert api.complete(upload).status_code == 200


def test_newest_url_is_registered(api: Api, upstream: RunningUpstream) -> None:
    """Of two URLs with bytes the newest is registered, and the other is not tried."""
    upload = api.landed()
    fresh = renew(api, upload)
    assert api.put(fresh, b"newer").status_code == 200
    key = api.complete(upload).json()["asset"]["url"].split("/")[-2]
    assert key in fresh["uploadUrl"]
    assert key not in upload["uploadUrl"]
    assert count_posts(upstream) == 1


def test_ambiguous_url_blocks_other_urls(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """While the outcome of one URL is ambiguous, no other URL is POSTed."""
    upload = api.landed()
    renew(api, upload)
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    assert count_posts(upstream) == 1
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 3


def test_second_post_has_own_settle_time(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The second POST has its own settle time, and is reconciled at once if it is ambiguous."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST, times=2)
    assert api.complete(upload).status_code == 202
    broker.clock.advance(200)
    for _ in range(2):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(100)
    assert count_posts(upstream) == 2
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 3


def test_early_reconciliation_proves_nothing(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """A reconciliation that began before the end of the settle time proves nothing after it."""
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    upload = begin_scripted(api, sync)
    sync.script = lambda one: Reply(504) if one.method == "POST" else Reply(200, {"items": []})
    assert api.complete(upload).status_code == 202

    def settle(one: Received) -> Reply:
        assert one.method == "GET"
        broker.clock.advance(1000)
        return Reply(200, {"items": []})

    sync.script = settle
    assert api.complete(upload).status_code == 202
    assert sync.count(*POST) == 1


def test_frozen_container_sends_no_post(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """A container that was frozen between its lease and its POST does not send the POST."""
    broker.configure(upstream)
    api = Api(broker)
    upload = api.landed()
    lease = faulty_dynamodb.order(
        "slow-after", "UpdateItem", upload["id"], lasting=False, seconds=0.3
    )
    with ThreadPoolExecutor() as pool:
        completed = pool.submit(api.complete, upload)
        assert lease.reached.wait(10)
        broker.clock.advance(40)
        assert completed.result().status_code == 202
    assert count_posts(upstream) == 0
    assert api.complete(upload).status_code == 200


def test_unreadable_key_sends_nothing(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If the API key can't be read, nothing is sent, and nothing is ambiguous."""
    upload = api.landed()

    def unreadable() -> str:
        raise errors.SecretsUnavailable("SSM is away.")

    sync = broker.parts().sync
    readable, sync._api_key = sync._api_key, CachedSecret(unreadable, Clock())  # type: ignore[attr-defined] # noqa: SLF001 - as above
    response = api.complete(upload)
    assert (response.status_code, response.json()["code"]) == (503, "secrets_unavailable")
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    assert api.call("POST", "/assets", json=body).status_code == 503
    assert len(api.call("GET", "/uploads").json()["items"]) == 1
    sync._api_key = readable  # type: ignore[attr-defined] # noqa: SLF001 - as above
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 1


def test_running_attempt_blocks_cancel_and_renew(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """A cancel or renewal during an attempt gets a 409 with a time to come back."""
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    upload = begin_scripted(api, sync)
    path = f"/uploads/{upload['id']}"
    held = Held(Reply(404))
    sync.script = held
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(other.complete, upload)
        assert held.reached.wait(10)
        responses = [api.call("POST", f"{path}/renew"), api.call("DELETE", path)]
        held.released.set()
    for response in responses:
        assert (response.status_code, response.json()["code"]) == (409, "upload_busy")
        assert response.json()["retryable"] is True
        assert response.headers["Retry-After"] == "2"
    assert trying.result().json()["code"] == "file_not_uploaded"
    assert api.call("DELETE", path).status_code == 204


def test_window_limits_expiry(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If Sync's URLs live longer than the broker's window, the response has the window."""
    upstream.behave(expiresIn=604_800)
    broker.configure(upstream, UPLOAD_WINDOW_SECONDS="3600")
    assert 3500 < Api(broker).begin()["expiresIn"] <= 3600


def test_infinite_size_is_ignored(api: Api, upstream: RunningUpstream) -> None:
    """An infinite number in Sync's response is ignored."""
    upload = api.landed()
    body = '{"id": "a1", "createdAt": "2026-01-01T00:00:00Z", "type": "VIDEO", "size": 1e999, '
    body += '"durationSeconds": 1e999}'
    upstream.order({"kind": "answer", "status": 201, "body": body}, *POST)
    asset = api.complete(upload).json()["asset"]
    assert (asset["size"], asset["durationSeconds"]) == (None, None)
