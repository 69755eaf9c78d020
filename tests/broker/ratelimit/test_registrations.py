"""The limits of registrations, for one caller and for all callers together."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core.clock import MINUTE, Clock
from chalicelib.ratelimit.limiter import RateLimiter
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")

POST = ("POST", "/v2/assets")
REFUSED_KEY = {"kind": "answer", "status": 401}
SETTLED = 200  # seconds after which Sync no longer carries out an ambiguous registration


def count_posts(upstream: RunningUpstream) -> int:
    """Return how many registrations reached Sync."""
    return [(one["method"], one["path"]) for one in upstream.journal()].count(POST)


def in_parallel(calls: list[Any], workers: int = 16) -> list[requests.Response]:
    """Call everything at once, and return the responses in the order of the calls."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda call: call(), calls))


def use_up(broker: RunningBroker, budget: int) -> None:
    """Take a budget of permits in another container, one for each caller."""
    registrations = RateLimiter(
        Table(clients.dynamodb(), broker.table, Clock()),
        broker.clock,
        "registrations",
        budget,
        MINUTE,
        busy="Busy.",
    )
    for number in range(budget):
        registrations.commit(registrations.acquire(f"{number:08x}" + "0" * 24))


def test_one_caller_is_limited_in_two_seconds(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """However often a caller completes, Sync gets a third of the registrations in two seconds."""
    broker.configure(upstream, REGISTRATIONS_PER_MINUTE="30")
    uploads = [api.begin() for _ in range(8)]
    # A refused API key says nothing about the file, so no pause of an upload slows this down.
    upstream.order(REFUSED_KEY, *POST, times=None)
    broker.clock.tick()  # so that the two seconds last, however slow the machine is
    responses = []
    for _ in range(3):
        responses += in_parallel([lambda upload=one: api.complete(upload) for one in uploads])
    assert count_posts(upstream) == 10
    assert Counter(one.status_code for one in responses) == {502: 10, 429: 14}
    limited = [one for one in responses if one.status_code == 429]
    assert {one.json()["code"] for one in limited} == {"rate_limited"}
    assert all(1 <= int(one.headers["Retry-After"]) <= 62 for one in limited)
    assert not any("ticket" in one.json() for one in limited)
    broker.clock.advance(2)
    assert api.complete(uploads[0]).status_code == 502
    assert count_posts(upstream) == 11


def test_all_callers_share_registrations(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """All callers together get as many registrations in a minute as the setting allows."""
    broker.configure(upstream, REGISTRATIONS_PER_MINUTE="5")
    callers = [Api(broker) for _ in range(8)]
    uploads = [one.landed() for one in callers]
    responses = [one.complete(upload) for one, upload in zip(callers, uploads, strict=True)]
    assert [one.status_code for one in responses] == [200] * 5 + [429] * 3
    detail = responses[5].json()["detail"]
    assert detail.startswith("Many files are being added. Try again in ")
    pauses = [int(one.headers["Retry-After"]) for one in responses[5:]]
    assert all(55 <= pause <= 62 for pause in pauses)
    broker.clock.advance(max(pauses))
    for one, upload in zip(callers[5:], uploads[5:], strict=True):
        assert one.complete(upload).status_code == 200


def test_obedient_caller_registers_many_files(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """A caller that obeys Retry-After registers 122 finished files within a minute."""
    upstream.behave(presignsPerMinute=600)
    waiting = in_parallel([api.landed for _ in range(61)])
    broker.clock.advance(3)  # One caller may presign a third of the budget in two seconds.
    waiting += in_parallel([api.landed for _ in range(61)])
    waited = 0
    while waiting:
        responses = in_parallel([lambda upload=one: api.complete(upload) for one in waiting])
        assert {response.status_code for response in responses} <= {200, 429}
        refused = [response for response in responses if response.status_code == 429]
        pause = max((int(response.headers["Retry-After"]) for response in refused), default=0)
        broker.clock.advance(pause)
        waited += pause
        pairs = zip(waiting, responses, strict=True)
        waiting = [upload for upload, response in pairs if response.status_code == 429]
    assert waited <= 10
    assert count_posts(upstream) == 122
    assert upstream.call("GET", "/v2/assets?limit=1").json()["totalCount"] == 122


def test_limited_caller_gets_recorded_asset(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """A repeated `complete` gets the recorded response, though its caller is limited."""
    done = api.registered()
    pending = api.landed()
    broker.configure_again(REGISTRATIONS_PER_MINUTE="6")
    broker.clock.advance(62)  # because the registration may have taken one of the six slots
    use_up(broker, 6)
    assert api.complete(pending).status_code == 429
    assert api.complete(done).json() == done
    assert count_posts(upstream) == 1


def test_known_refusal_costs_one_read(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """Once a container knows that a caller is limited, a refusal costs at most one read."""
    pending = api.landed()
    broker.configure_again(REGISTRATIONS_PER_MINUTE="3")
    use_up(broker, 3)
    broker.clock.advance(10)
    others = [Api(broker) for _ in range(3)]
    uploads = [one.landed() for one in others]
    for one, upload in zip(others, uploads, strict=True):
        assert one.complete(upload).status_code == 429
    known = api.complete(pending)
    assert known.status_code == 429
    assert api.line(known)["dynamodbCalls"] == 1
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    public = api.call("POST", "/assets", json=body)
    assert (public.status_code, public.json()["code"]) == (429, "rate_limited")
    assert api.line(public)["dynamodbCalls"] == 0
    assert count_posts(upstream) == 0
    assert api.call("GET", f"/uploads/{pending['id']}").json()["status"] == "pending"


def test_limited_caller_keeps_its_file(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If DynamoDB fails too, the response is the limiter's, and the file is registered later."""
    broker.configure(upstream, REGISTRATIONS_PER_MINUTE="6")
    api = Api(broker)
    pending = api.landed()
    use_up(broker, 6)
    fault = faulty_dynamodb.order("500", "UpdateItem", pending["id"], "refusals")
    refused = api.complete(pending)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert fault.reached.is_set(), "the lease could not be given up"
    faulty_dynamodb.heal()
    broker.clock.advance(SETTLED)
    assert api.complete(pending).status_code == 200
    assert count_posts(upstream) == 1


def test_missing_file_pauses_upload(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """After Sync saw no file, the recorded response is sent for 1, 2, 4 ... 30 seconds."""
    upload = api.begin()
    pauses = []
    for number in range(1, 8):
        first = api.complete(upload)
        again = api.complete(upload)
        for response in (first, again):
            assert (response.status_code, response.json()["code"]) == (409, "file_not_uploaded")
        assert count_posts(upstream) == number
        assert api.line(again)["dynamodbCalls"] == 1
        pauses.append(int(first.headers["Retry-After"]))
        assert 1 <= int(again.headers["Retry-After"]) <= pauses[-1]
        broker.clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    api.put(upload)
    assert api.complete(upload).status_code == 200


def test_renewed_url_ends_pause(broker: RunningBroker, api: Api, upstream: RunningUpstream) -> None:
    """A renewed URL may be tried at once, in spite of the old URL's pause."""
    upload = api.begin()
    assert api.complete(upload).status_code == 409
    broker.clock.advance(1900)
    assert api.complete(upload).status_code == 409
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert renewed["uploadUrl"] != upload["uploadUrl"]
    api.put(renewed)
    assert api.complete(renewed).status_code == 200
    assert count_posts(upstream) == 3


def test_429_pauses_all_containers(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """After Sync's 429 no container registers anything until the time that Sync named."""
    first, second = api.landed(), api.landed()
    other = Api(broker)
    third = other.landed()
    busy = {"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}}
    upstream.order(busy, *POST)
    assert api.complete(first).status_code == 503
    # The other container has its own copy of the item.
    broker.configure_again()
    for caller, upload in ((api, second), (other, third)):
        response = caller.complete(upload)
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 7
    assert count_posts(upstream) == 1
    (event,) = broker.lines("rate_limiter_slower")
    assert event["limiter"] == "registrations"
    broker.clock.advance(7)
    for caller, upload in ((api, first), (api, second), (other, third)):
        assert caller.complete(upload).status_code == 200


def test_refunds_are_bounded(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Refused registrations are released from the caller's quota, but only a bounded number."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    broker.clock.to_noon()
    api = Api(broker)
    api.token = token(upload={"perDay": 3})
    upstream.order(REFUSED_KEY, *POST, times=None)
    body = {"url": f"{upstream.url}/x.mp4", "type": "VIDEO"}
    responses = []
    for _ in range(30):
        responses.append(api.call("POST", "/assets", json=body))
        broker.clock.advance(1)
    assert [one.status_code for one in responses] == [502] * 13 + [429] * 17
    assert {one.json()["code"] for one in responses[13:]} == {"quota_exceeded"}
    assert count_posts(upstream) == 13
    limits = api.call("GET", "/limits").json()
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]
    assert api.call("GET", "/uploads").json()["items"] == []


def test_storage_hosts_reach_all_containers(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A storage host in one container's presign is known to another container at once."""
    settings = {"SYNC_STORAGE_HOSTS": "a.example", "PUBLIC_URL_EXCEPTIONS": upstream.url}
    broker.configure(upstream, **settings)
    owner, stranger = Api(broker), Api(broker)
    first = broker.parts()
    broker.configure_again(**settings)
    other = broker.parts()
    bootstrap.use(first)
    upload = owner.landed()
    assert broker.lines("storage_host_unknown")
    bootstrap.use(other)
    url = next(
        target["M"]["url"]["S"]
        for target in (
            Table(clients.dynamodb(), broker.table, Clock()).get(f"upload#{upload['id']}") or {}
        )["targets"]["L"]
    )
    response = stranger.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/url"
    assert count_posts(upstream) == 0
    assert stranger.call("GET", "/limits").json()["uploadsPerDay"]["left"] == 10_000
