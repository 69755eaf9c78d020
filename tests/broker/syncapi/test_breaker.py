"""The circuit breaker: when it begins, what it sends meanwhile, and how it ends."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.aws.secrets import fixed
from chalicelib.core import errors
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.breaker import FAILURES, PAUSE_SECONDS
from chalicelib.syncapi.client import SyncClient
from tests.support.clocks import ManualClock
from tests.support.running_broker import Api, RunningBroker
from tests.support.scripted_sync import Held, Reply, ScriptedSync, asset
from tests.support.upstream_process import RunningUpstream, free_port

LIST = ("GET", "/v2/assets")
URL = "https://storage.example/one.mp4"
PAGE = Reply(200, {"items": []})


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still, so that no probe becomes due by itself."""
    return ManualClock()


@pytest.fixture
def client(sync: ScriptedSync, clock: ManualClock) -> SyncClient:
    """A client of the scripted Sync."""
    return SyncClient(sync.url, fixed("a-key", clock), clock)


def read(client: SyncClient) -> Any:
    """Send a request that is never repeated."""
    return client.read("one")


def register(client: SyncClient) -> Any:
    """Send a registration."""
    return client.register(URL, "VIDEO", None, None)


def fail(client: SyncClient, call: Callable[[SyncClient], Any] = read, times: int = 1) -> None:
    """Send requests that fail."""
    for _ in range(times):
        with pytest.raises(sync_errors.UpstreamError) as raised:
            call(client)
        assert not isinstance(raised.value, sync_errors.UpstreamUnavailable)


def refused(client: SyncClient, call: Callable[[SyncClient], Any] = read) -> float:
    """Send a request that the breaker refuses, and return its `Retry-After`."""
    with pytest.raises(sync_errors.UpstreamUnavailable) as raised:
        call(client)
    return raised.value.retry_after or 0.0


@pytest.mark.parametrize("reply", [None, Reply(502), Reply(503), Reply(504), Reply(408)])
def test_failures_in_row_end_requests(
    client: SyncClient, sync: ScriptedSync, reply: Reply | None
) -> None:
    """After three failures in a row nothing is sent, and `Retry-After` is after the next probe."""
    sync.script = lambda _: reply
    fail(client, times=FAILURES - 1)
    assert not client.is_down
    fail(client)
    assert client.is_down
    sent = len(sync.requests)
    pauses = {refused(client) for _ in range(5)}
    assert len(sync.requests) == sent
    assert len(pauses) == 5
    assert all(PAUSE_SECONDS < pause <= PAUSE_SECONDS + 5 for pause in pauses)


def test_unreachable_sync_ends_requests(clock: ManualClock) -> None:
    """Refused connections count too."""
    client = SyncClient(f"http://127.0.0.1:{free_port()}", fixed("a-key", clock), clock)
    fail(client, register, FAILURES)
    refused(client)


@pytest.mark.parametrize("reply", [Reply(200, asset()), Reply(404), Reply(429), Reply(500)])
def test_response_between_failures_counts(
    client: SyncClient, sync: ScriptedSync, reply: Reply
) -> None:
    """Any response of Sync itself, even a refusal, begins the count anew."""
    script: list[Reply | None] = [None, None, reply, None, None, reply]
    sync.script = lambda _: script.pop(0)
    while script:
        with_failure = script[0] is None or script[0].status != 200
        if with_failure:
            fail(client)
        else:
            read(client)
    assert not client.is_down


@pytest.mark.parametrize("reply", [None, Reply(504)])
def test_registration_proves_no_outage(
    client: SyncClient, sync: ScriptedSync, reply: Reply | None
) -> None:
    """A caller's URL that never responds makes registrations fail, and ends nobody's requests."""
    sync.script = lambda _: reply
    fail(client, register, 10 * FAILURES)
    assert not client.is_down


def test_probe_ends_outage(client: SyncClient, sync: ScriptedSync, clock: ManualClock) -> None:
    """After the pause one harmless read is sent first, and the request follows if it succeeds."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    clock.advance(PAUSE_SECONDS)
    assert not client.is_down
    sync.requests.clear()
    sync.script = lambda sent: PAGE if sent.path == LIST[1] else Reply(200, asset())
    read(client)
    assert [one.path for one in sync.requests] == [LIST[1], "/v2/assets/one"]
    read(client)
    assert len(sync.requests) == 3


def test_failed_probe_lengthens_outage(
    client: SyncClient, sync: ScriptedSync, clock: ManualClock
) -> None:
    """A registration after a failed probe is not sent, and the next pause begins."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    for _ in range(3):
        clock.advance(PAUSE_SECONDS)
        sync.requests.clear()
        refused(client, register)
        assert [(one.method, one.path) for one in sync.requests] == [LIST]
        assert client.is_down


@pytest.mark.parametrize("status", [401, 429, 500])
def test_refused_probe_ends_outage(
    client: SyncClient, sync: ScriptedSync, clock: ManualClock, status: int
) -> None:
    """A probe that Sync refuses proves that Sync responds."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    clock.advance(PAUSE_SECONDS)
    sync.script = lambda sent: Reply(status) if sent.path == LIST[1] else Reply(200, asset())
    read(client)
    assert not client.is_down


def test_one_request_probes(client: SyncClient, sync: ScriptedSync, clock: ManualClock) -> None:
    """While one request probes, the others end at once."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    clock.advance(PAUSE_SECONDS)
    sync.requests.clear()
    sync.script = held = Held(PAGE)
    probing = threading.Thread(target=lambda: client.delete("one"))
    probing.start()
    assert held.reached.wait(10)
    assert client.is_down
    refused(client)
    assert len(sync.requests) == 1
    held.released.set()
    probing.join(10)
    assert not client.is_down


def test_refusal_before_sending_proves_nothing(client: SyncClient, sync: ScriptedSync) -> None:
    """If the rate limiter refuses a permit, nothing was sent, and nothing is counted."""

    def refuse() -> None:
        raise errors.RateLimited

    for _ in range(FAILURES):
        with pytest.raises(errors.RateLimited):
            client.presign("a.mp4", "video/mp4", 5, refuse)
    assert not client.is_down
    assert sync.requests == []


def test_outage_costs_caller_nothing(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """During an outage requests that need Sync get 503 at once and cost nothing; others work."""
    caller = Api(broker, "outage")
    begun = caller.begin()
    broker.configure_again(SYNC_BASE_URL=sync.url)
    sync.script = lambda _: None
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    public = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    assert caller.call("POST", "/uploads", json=body).status_code == 502
    assert caller.call("POST", "/uploads", json=body).status_code == 503
    sent = len(sync.requests)
    assert sent == FAILURES
    for path, sending in (("/uploads", body), ("/assets", public)):
        response = caller.call("POST", path, json=sending)
        assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
        assert caller.line(response)["dynamodbCalls"] == 0
    response = caller.complete(begun)
    assert response.json()["code"] == "upstream_unavailable"
    assert caller.line(response)["dynamodbCalls"] == 1
    assert caller.call("GET", f"/uploads/{begun['id']}").json()["status"] == "pending"
    assert [caller.call("GET", path).status_code for path in ("/uploads", "/limits")] == [200, 200]
    assert len(sync.requests) == sent
    broker.configure_again(SYNC_BASE_URL=upstream.url)
    caller.put(begun)
    assert caller.complete(begun).json()["status"] == "registered"


@pytest.mark.usefixtures("nothing_due")
def test_sweep_stops_during_outage(
    broker: RunningBroker, upstream: RunningUpstream, sync: ScriptedSync
) -> None:
    """During an outage the sweep ends early, and the next one after it registers everything."""
    caller = Api(broker, "outage")
    landed = [caller.landed() for _ in range(5)]
    broker.clock.advance(600)
    broker.configure_again(SYNC_BASE_URL=sync.url)
    sync.script = lambda _: None
    fail(broker.parts().sync, times=FAILURES)
    sent = len(sync.requests)
    assert broker.sweep().settled == 0
    assert len(sync.requests) == sent
    broker.configure_again(SYNC_BASE_URL=upstream.url)
    assert broker.sweep().settled == len(landed)
