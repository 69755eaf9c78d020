"""The circuit breaker: when it begins, what it sends meanwhile, and how it ends."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.aws.secrets import fixed
from chalicelib.core import errors
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.breaker import FAILURES, PAUSE_SECONDS, CircuitBreaker
from chalicelib.syncapi.client import SyncClient
from tests.support.clocks import ManualClock
from tests.support.running_broker import Api, RunningBroker
from tests.support.scripted_sync import Held, Reply, ScriptedSync, asset
from tests.support.upstream_process import RunningUpstream, free_port

PROBE = ("GET", "/v2/assets/00000000-0000-0000-0000-000000000000")
URL = "https://storage.example/one.mp4"


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


def check(client: SyncClient) -> None:
    """Do what each use case does before anything else."""
    client.check_available()


def paths(sync: ScriptedSync) -> list[tuple[str, str]]:
    """Return the requests that arrived."""
    return [(one.method, one.path) for one in sync.requests]


@pytest.mark.parametrize(
    "reply", [None, Reply(502), Reply(503), Reply(504), Reply(408), Reply(200, b"<html>")]
)
@pytest.mark.parametrize("call", [read, register])
def test_failures_make_sync_suspect(
    client: SyncClient,
    sync: ScriptedSync,
    reply: Reply | None,
    call: Callable[[SyncClient], Any],
) -> None:
    """After three failures in a row nothing but a probe is sent, and then nothing for a while."""
    sync.script = lambda _: reply
    fail(client, call, FAILURES - 1)
    assert client.responds()
    fail(client, call)
    sync.requests.clear()
    refused(client)
    assert sync.requests == []
    assert not client.responds()
    assert paths(sync) == [PROBE]
    pauses = {refused(client, call) for call in (check, read, register, check, read)}
    assert paths(sync) == [PROBE]
    assert len(pauses) == 5
    assert all(PAUSE_SECONDS < pause <= PAUSE_SECONDS + 5 for pause in pauses)


def test_unreachable_sync_is_down(clock: ManualClock) -> None:
    """Refused connections count too."""
    client = SyncClient(f"http://127.0.0.1:{free_port()}", fixed("a-key", clock), clock)
    fail(client, register, FAILURES)
    refused(client, check)


@pytest.mark.parametrize("reply", [Reply(200, asset()), Reply(404), Reply(429), Reply(500)])
def test_response_between_failures_counts(
    client: SyncClient, sync: ScriptedSync, reply: Reply
) -> None:
    """Any response of Sync itself, even a refusal, begins the count anew."""
    script: list[Reply | None] = [None, None, reply, None, None, reply]
    sync.script = lambda _: script.pop(0)
    while script:
        if script[0] is None or script[0].status != 200:
            fail(client)
        else:
            read(client)
    check(client)
    assert len(sync.requests) == 6


@pytest.mark.parametrize("reply", [None, Reply(504)])
def test_caller_ends_nobodys_requests(
    client: SyncClient, sync: ScriptedSync, reply: Reply | None
) -> None:
    """A caller whose requests always fail causes probes, and everybody else's requests are sent."""
    bad: Any = lambda one: one.path == "/v2/assets" and one.method == "POST"  # noqa: E731 - short
    sync.script = lambda one: reply if bad(one) else Reply(200, asset())
    for _ in range(10 * FAILURES):
        check(client)
        fail(client, register)
    check(client)
    read(client)


@pytest.mark.parametrize("status", [200, 401, 404, 429, 500])
def test_probe_ends_outage(
    client: SyncClient, sync: ScriptedSync, clock: ManualClock, status: int
) -> None:
    """After the pause a probe is sent; whatever Sync responds to it ends the outage."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    assert not client.responds()
    clock.advance(PAUSE_SECONDS)
    sync.requests.clear()
    sync.script = lambda one: Reply(status) if one.path == PROBE[1] else Reply(200, asset())
    check(client)
    read(client)
    check(client)
    assert paths(sync) == [PROBE, ("GET", "/v2/assets/one")]


def test_failed_probe_lengthens_outage(
    client: SyncClient, sync: ScriptedSync, clock: ManualClock
) -> None:
    """After each pause one probe is sent, and a failed one begins the next pause."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    for _ in range(3):
        sync.requests.clear()
        refused(client, check)
        refused(client, register)
        assert paths(sync) == [PROBE]
        clock.advance(PAUSE_SECONDS)


def test_one_failure_after_probe_is_suspect(client: SyncClient, sync: ScriptedSync) -> None:
    """If only probes succeed, one more failure makes Sync suspect again."""
    sync.script = lambda one: Reply(404) if one.path == PROBE[1] else None
    fail(client, times=FAILURES)
    check(client)
    fail(client)
    refused(client)
    check(client)
    assert paths(sync).count(PROBE) == 2


def test_one_request_probes(client: SyncClient, sync: ScriptedSync) -> None:
    """While one request probes, the others are refused at once."""
    sync.script = lambda _: None
    fail(client, times=FAILURES)
    sync.requests.clear()
    sync.script = held = Held(Reply(404))
    probing = threading.Thread(target=client.check_available)
    probing.start()
    assert held.reached.wait(10)
    for call in (check, read, register):
        refused(client, call)
    assert len(sync.requests) == 1
    held.released.set()
    probing.join(10)
    check(client)


def test_broken_probe_leaves_sync_suspect(clock: ManualClock) -> None:
    """If the probe can't be sent, nothing is known of Sync, and the next request probes."""
    probes: list[Exception] = [errors.SecretsUnavailable(), sync_errors.UpstreamRefused()]

    def probe() -> None:
        raise probes.pop(0)

    breaker = CircuitBreaker(probe, clock)
    for _ in range(FAILURES):
        with pytest.raises(sync_errors.UpstreamFault), breaker.counted():
            raise sync_errors.UpstreamFault
    with pytest.raises(errors.SecretsUnavailable):
        breaker.probe()
    with pytest.raises(sync_errors.UpstreamUnavailable):
        breaker.check()
    breaker.probe()
    breaker.check()
    assert probes == []


def test_refusal_before_sending_proves_nothing(client: SyncClient, sync: ScriptedSync) -> None:
    """If the rate limiter refuses a permit, nothing was sent, and nothing is counted."""

    def refuse() -> None:
        raise errors.RateLimited

    for _ in range(FAILURES):
        with pytest.raises(errors.RateLimited):
            client.presign("a.mp4", "video/mp4", 5, refuse)
    check(client)
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
    statuses = [caller.call("POST", "/uploads", json=body).status_code for _ in range(3)]
    assert statuses == [502, 503, 503]
    sent = len(sync.requests)
    assert sent == FAILURES + 1
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
    assert len(sync.requests) == sent + 1
    assert broker.lines("sweep")[-1]["backlog"] == len(landed)
    broker.configure_again(SYNC_BASE_URL=upstream.url)
    assert broker.sweep().settled == len(landed)
