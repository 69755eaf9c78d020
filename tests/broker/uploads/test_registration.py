"""At most one asset, whatever answers get lost."""

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
from tests.support.running_broker import Api, RunningBroker, token
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
LOST = [
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


_HERE = '{"uploadUrl": "https://a.example/", "url": "https://a.example/", "expiresIn": %s}'
NO_PRESIGNS = [_HERE % seconds for seconds in ("NaN", "-1e400", "0", "true", '"3600"', "null")]


def posts(upstream: RunningUpstream) -> int:
    """Count the registrations that reached sync."""
    calls = [(one["method"], one["path"]) for one in upstream.journal()]
    return calls.count(POST)


def assets(upstream: RunningUpstream) -> list[dict[str, Any]]:
    """List what sync. holds."""
    items: list[dict[str, Any]] = upstream.call("GET", "/v2/assets").json()["items"]
    return items


@pytest.mark.parametrize("fault", LOST)
def test_lost_answer(api: Api, upstream: RunningUpstream, fault: dict[str, Any]) -> None:
    """An answer that was lost after the work was done is found out at once."""
    upload = api.landed()
    upstream.order(fault, *POST)
    answer = api.complete(upload)
    assert answer.status_code == 200
    assert [answer.json()["asset"]["id"]] == [asset["id"] for asset in assets(upstream)]
    assert api.complete(upload).json() == answer.json()
    assert posts(upstream) == 1


@pytest.mark.parametrize(
    "fault",
    [{"kind": "cut"}, {"kind": "answer", "status": 502}, {"kind": "answer", "status": 500}],
    ids=["reset", "502", "500"],
)
def test_settle(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, fault: dict[str, Any]
) -> None:
    """A registration of unknown outcome is repeated only after the settle time and a look."""
    upload = api.landed()
    upstream.order(fault, *POST)
    first = api.complete(upload)
    assert first.status_code == 202
    assert first.json()["status"] == "registering"
    broker.clock.advance(100)
    assert api.complete(upload).status_code == 202
    assert posts(upstream) == 1, "sync. may still be at it"
    broker.clock.advance(60)
    final = api.complete(upload)
    assert final.status_code == 200
    assert posts(upstream) == 2
    assert len(assets(upstream)) == 1


def test_found_late(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset that the list shows late is found by a later call, and not made again."""
    upload = api.landed()
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.behave(listLagSeconds=0)
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 1


def test_undecided(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset that may be it, but does not tell its address, never leads to a second POST."""
    upload = api.landed()
    upstream.behave(assetUrl="absent")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert posts(upstream) == 1
    assert broker.lines("outcome_undecided")
    upstream.behave(assetUrl="same")
    assert api.complete(upload).status_code == 200


def test_moved(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where sync. gives assets other addresses, a lost answer never leads to a second POST."""
    upload = api.landed()
    upstream.behave(assetUrl="rewritten")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert posts(upstream) == 1
    assert broker.lines("outcome_undecided")


def test_not_moved(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Assets of other programs do not stand in the way once sync. is seen to keep addresses."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.asset()
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 202, "the other one may be it"
    api.registered()
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert len(assets(upstream)) == 3


def test_not_moved_by_others(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """That sync. keeps addresses is shown by files of any name, so no namesake is in the way."""
    upload = api.landed(name="Intro")
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    upstream.asset(name="Intro")
    api.registered(name="Outro")
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize("kept", ["url", "file"])
def test_moved_in_part(broker: RunningBroker, upstream: RunningUpstream, kept: str) -> None:
    """A public URL that kept its address proves nothing for files, nor does one file of two."""
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
    before = posts(upstream)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert posts(upstream) == before + 1


def test_renamed(api: Api, upstream: RunningUpstream) -> None:
    """A file's asset is found by its address even if sync. gave it a name of its own."""
    upstream.behave(unnamedAsset="fileName")
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 1


@pytest.mark.parametrize("shown", ["absent", "rewritten"])
def test_renamed_elsewhere(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, shown: str
) -> None:
    """An asset that got a name of its own, and tells no address of ours, is never made again."""
    upstream.behave(unnamedAsset="fileName", assetUrl=shown)
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(1000)
    assert posts(upstream) == 1
    upstream.behave(assetUrl="same")
    assert api.complete(upload).status_code == 200


def test_many_pages(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The look goes through all pages; where its time is over, the next one goes on there."""
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
    upstream.order({"kind": "delay", "seconds": 0.6}, *LIST, times=3)
    before = posts(upstream)
    assert api.complete(uploads[1]).status_code == 202
    assert broker.lines("look_unfinished")
    assert api.complete(uploads[1]).status_code == 200
    assert posts(upstream) == before


def test_project_look(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset of a project is found though the plain list leaves projects out."""
    broker.configure(upstream, ALLOWED_PROJECT_IDS="sandbox-project")
    upstream.behave(projectAssetsInUnfilteredList=False)
    api = Api(broker)
    upload = api.landed(projectId="sandbox-project")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize("skew", [-600, 600])
def test_upstream_clock(api: Api, upstream: RunningUpstream, skew: int) -> None:
    """The look finds the asset though sync.'s clock is ten minutes off."""
    upstream.behave(clockSkewSeconds=skew)
    upload = api.landed()
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200


def test_same_url_twice(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Two callers of one public URL never get each other's asset, even if an answer is lost."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    one, other = Api(broker), Api(broker)
    body = {"url": url, "type": "VIDEO"}
    upstream.order({"kind": "cut"}, *POST)
    lost = one.call("POST", "/assets", json=body)
    assert lost.status_code == 202
    theirs = other.call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    assert one.complete(lost.json()).status_code == 202
    broker.clock.advance(1000)
    mine = one.complete(lost.json())
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
        """Register, list and delete; lose the next registration if a test says so."""
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
@pytest.mark.parametrize("most", [None, 3], ids=["any-size", "too-large"])
def test_same_url_at_once(
    broker: RunningBroker,
    upstream: RunningUpstream,
    sync: ScriptedSync,
    most: int | None,
    name: dict[str, str],
) -> None:
    """A look takes, or deletes, no asset whose maker is about to be told of it."""
    library = SlowLibrary()
    sync.script = library
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    bob, alice = Api(broker), Api(broker)
    if most is not None:
        alice.token = token(upload={"maxBytes": most})
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(bob.call, "POST", "/assets", json=body)
        assert library.is_made.wait(10)
        library.is_lost = True
        lost = alice.call("POST", "/assets", json=body | name)
        library.released.set()
    assert lost.status_code == 202
    assert not broker.lines("outcome_undecided"), "nobody is needed for this"
    assert slow.result().status_code == 201
    broker.clock.advance(300)
    final = alice.complete(lost.json())
    mine = {slow.result().json()["asset"]["id"]}
    assert final.status_code == (200 if most is None else 413)
    assert {one["id"] for one in library.made} == mine | (
        {final.json()["asset"]["id"]} if most is None else set()
    )


def test_same_url_both_lost(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where nobody will be told any more, each of two callers gets an asset of its own."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    callers = (Api(broker), Api(broker))
    upstream.behave(listLagSeconds=1)
    upstream.order({"kind": "cut", "when": "after"}, *POST, times=2)
    body = {"url": url, "type": "VIDEO"}
    lost = [caller.call("POST", "/assets", json=body).json() for caller in callers]
    upstream.behave(listLagSeconds=0)
    for caller, upload in zip(callers, lost, strict=True):
        assert caller.complete(upload).status_code == 202, "the other's answer may still come"
    broker.clock.advance(1000)
    final = [
        caller.complete(upload).json()["asset"]["id"]
        for caller, upload in zip(callers, lost, strict=True)
    ]
    assert sorted(final) == sorted(asset["id"] for asset in assets(upstream))


def test_same_asset_again(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where sync. gives the old asset back for an old URL, every caller gets it."""
    upstream.behave(duplicateUrl="same")
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    ids = set()
    for caller in (Api(broker), Api(broker)):
        answer = caller.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
        assert answer.status_code == 201
        asset_id = answer.json()["asset"]["id"]
        assert caller.call("GET", f"/assets/{asset_id}").json() == answer.json()
        ids.add(asset_id)
    assert len(ids) == 1


def test_parallel(api: Api, upstream: RunningUpstream) -> None:
    """Fifty completes of one upload at once make one POST, and all end with one answer."""
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
    assert 200 in statuses, "whoever POSTs gets the asset"
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 1


def begun(api: Api, sync: ScriptedSync) -> dict[str, Any]:
    """Begin an upload at a Sync that only a script answers for."""
    sync.script = lambda _: presigned()
    return api.begin()


def test_lease_over(broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync) -> None:
    """While an attempt runs, nobody else tries; afterwards everybody gets its asset."""
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    upload = begun(api, sync)
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
def test_refused_for_now(
    api: Api,
    broker: RunningBroker,
    upstream: RunningUpstream,
    fault: dict[str, Any],
    status: int,
    code: str,
) -> None:
    """A refusal that is not known to be final leaves the upload pending, and it can go on."""
    upload = api.landed()
    upstream.order(fault, *POST)
    answer = api.complete(upload)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"
    broker.clock.advance(int(answer.headers.get("Retry-After", 0)))
    assert api.complete(upload).status_code == 200


def test_no_connection(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where no connection came about, nothing was sent, and the upload goes on at once."""
    api = Api(broker)
    upload = api.landed()
    broker.configure(upstream, SYNC_BASE_URL="http://127.0.0.1:1")
    answer = api.complete(upload)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unreachable")
    broker.configure(upstream)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize(
    ("fault", "times", "status", "code"),
    [
        ({"kind": "answer", "status": 500}, 1, 201, None),
        ({"kind": "cut"}, 1, 201, None),
        ({"kind": "answer", "status": 500}, 2, 502, "upstream_fault"),
        ({"kind": "cut", "when": "after"}, 2, 502, "upstream_fault"),
        ({"kind": "delay", "seconds": 3}, 2, 504, "upstream_timeout"),
        ({"kind": "answer", "status": 504}, 2, 504, "upstream_timeout"),
        ({"kind": "answer", "status": 200, "body": "<html>"}, 2, 502, "upstream_fault"),
        ({"kind": "answer", "status": 201, "body": {"url": "x"}}, 1, 502, "upstream_fault"),
        ({"kind": "answer", "status": 302, "headers": {"Location": "/"}}, 2, 502, "upstream_fault"),
        *(
            ({"kind": "answer", "status": 201, "body": body}, 1, 502, "upstream_fault")
            for body in NO_PRESIGNS
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
def test_presign_faults(
    api: Api,
    upstream: RunningUpstream,
    fault: dict[str, Any],
    times: int,
    status: int,
    code: str | None,
) -> None:
    """A presign is repeated once where that may help; what is refused leaves nothing behind."""
    upstream.order(fault, "POST", "/v2/assets/upload", times=times)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    answer = api.call("POST", "/uploads", json=body)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["code"] == code
        assert api.call("GET", "/uploads").json() == {"items": []}
    if code == "file_rejected":
        words = 'Sync does not accept "a.mp4" (video/mp4). Sync says: a; b.'
        assert answer.json()["detail"] == words


@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", None])
def test_retry_after(api: Api, upstream: RunningUpstream, retry_after: str | None) -> None:
    """A busy sync. is told as 503 with whole seconds, whichever way sync. says it."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    upstream.order(
        {"kind": "answer", "status": 429, "headers": headers}, "POST", "/v2/assets/upload"
    )
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    answer = api.call("POST", "/uploads", json=body)
    assert answer.status_code == 503
    seconds = int(answer.headers["Retry-After"])
    # A date is as far away as it is; nobody is told to wait longer than an hour.
    assert seconds == {"7": 7, "soon": 10, None: 10}.get(retry_after, 3600)


class Trickle(socketserver.BaseRequestHandler):
    """Answers with one byte after the other, for ever."""

    def handle(self) -> None:
        """Send until the other side has had enough."""
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(OSError):
            while True:
                self.request.sendall(b" ")
                time.sleep(0.05)


def test_trickle(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An answer that comes byte by byte is given up in time, and its outcome is unknown."""
    upload = api.landed()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        broker.configure(upstream, SYNC_BASE_URL=f"http://127.0.0.1:{server.server_address[1]}")
        started = time.monotonic()
        answer = api.complete(upload)
        assert time.monotonic() - started < 10
        server.shutdown()
    assert answer.status_code == 202
    broker.configure(upstream)
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200


def renewed(api: Api, upload: dict[str, Any]) -> dict[str, Any]:
    """Get a fresh address, an hour later by the broker's clock."""
    api.broker.clock.advance(3000)
    answer = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert answer.status_code == 200, answer.text
    return {**upload, **answer.json()}


def test_interrupted(api: Api, broker: RunningBroker) -> None:
    """Who finds the lease of a process that was killed says that its outcome is unknown."""
    upload, wired = api.landed(), broker.wired()
    owner = wired.authenticator.caller(f"Bearer {api.token}").id
    plan = wired.registration.plan()
    store = wired.repository
    lease = store.lease_to_post(upload["id"], owner, plan, broker.clock.now())
    assert isinstance(lease, Lease)
    broker.clock.advance(61)
    assert api.complete(upload).status_code == 202
    assert broker.lines("outcome_unknown")[0]["code"] == "interrupted"
    broker.clock.advance(100)
    assert api.complete(upload).status_code == 200


def test_newest_first(api: Api, upstream: RunningUpstream) -> None:
    """Of two addresses with bytes the newest is registered, and the other is not tried."""
    upload = api.landed()
    fresh = renewed(api, upload)
    assert api.put(fresh, b"newer").status_code == 200
    key = api.complete(upload).json()["asset"]["url"].split("/")[-2]
    assert key in fresh["uploadUrl"]
    assert key not in upload["uploadUrl"]
    assert posts(upstream) == 1


def test_unknown_stops(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """While the outcome on one address is unknown, nobody POSTs another one."""
    upload = api.landed()
    renewed(api, upload)
    upstream.order({"kind": "cut"}, *POST)
    assert api.complete(upload).status_code == 202
    assert posts(upstream) == 1
    broker.clock.advance(1000)
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 3


def test_settle_anew(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The repetition has a settle time of its own, and is looked for at once if it is lost."""
    upload = api.landed()
    upstream.order({"kind": "cut"}, *POST, times=2)
    assert api.complete(upload).status_code == 202
    broker.clock.advance(200)
    for _ in range(2):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(100)
    assert posts(upstream) == 2
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 3


def test_settled_meanwhile(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """A look that began before the settle time was over proves nothing after it."""
    broker.configure(upstream, SYNC_BASE_URL=sync.url)
    api = Api(broker)
    upload = begun(api, sync)
    sync.script = lambda one: Reply(504) if one.method == "POST" else Reply(200, {"items": []})
    assert api.complete(upload).status_code == 202

    def settle(one: Received) -> Reply:
        assert one.method == "GET"
        broker.clock.advance(1000)
        return Reply(200, {"items": []})

    sync.script = settle
    assert api.complete(upload).status_code == 202
    assert sync.count(*POST) == 1


def test_frozen(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A container that was frozen between its lease and its POST does not send it any more."""
    upload = api.landed()
    clock = broker.pace(upstream, 40)
    assert api.complete(upload).status_code == 202
    assert posts(upstream) == 0
    clock.seconds = 0
    assert api.complete(upload).status_code == 200


def test_no_key(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where the key can't be read nothing is sent, and nothing is unknown."""
    upload = api.landed()

    def unreadable() -> str:
        raise errors.SecretsUnavailable("SSM is away.")

    sync = broker.wired().sync
    readable, sync._api_key = sync._api_key, CachedSecret(unreadable, Clock())  # type: ignore[attr-defined] # noqa: SLF001 - as above
    answer = api.complete(upload)
    assert (answer.status_code, answer.json()["code"]) == (503, "secrets_unavailable")
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    assert api.call("POST", "/assets", json=body).status_code == 503
    assert len(api.call("GET", "/uploads").json()["items"]) == 1
    sync._api_key = readable  # type: ignore[attr-defined] # noqa: SLF001 - as above
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 1


def test_tried_now(broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync) -> None:
    """Who cancels or renews while a registration is tried is told to ask again."""
    broker.configure(upstream, timeouts=PATIENT, SYNC_BASE_URL=sync.url)
    api, other = Api(broker), Api(broker)
    other.token = api.token
    upload = begun(api, sync)
    path = f"/uploads/{upload['id']}"
    held = Held(Reply(404))
    sync.script = held
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(other.complete, upload)
        assert held.reached.wait(10)
        answers = [api.call("POST", f"{path}/renew"), api.call("DELETE", path)]
        held.released.set()
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_busy")
        assert answer.json()["retryable"] is True
        assert answer.headers["Retry-After"] == "2"
    assert trying.result().json()["code"] == "file_not_uploaded"
    assert api.call("DELETE", path).status_code == 204


def test_window(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where sync.'s addresses live longer than the broker's window, the window is told."""
    upstream.behave(expiresIn=604_800)
    broker.configure(upstream, UPLOAD_WINDOW_SECONDS="3600")
    assert 3500 < Api(broker).begin()["expiresIn"] <= 3600


def test_size_without_end(api: Api, upstream: RunningUpstream) -> None:
    """A number that no JSON can hold is none."""
    upload = api.landed()
    body = '{"id": "a1", "createdAt": "2026-01-01T00:00:00Z", "type": "VIDEO", "size": 1e999, '
    body += '"durationSeconds": 1e999}'
    upstream.order({"kind": "answer", "status": 201, "body": body}, *POST)
    asset = api.complete(upload).json()["asset"]
    assert (asset["size"], asset["durationSeconds"]) == (None, None)
