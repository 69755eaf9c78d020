"""The limits of registrations, for one caller and for all callers together."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.table import Change, Table
from chalicelib.core.clock import Clock
from chalicelib.ratelimit import registrations
from chalicelib.ratelimit.registrations import PER_CALLER, PK, RegistrationLimiter
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")

POST = ("POST", "/v2/assets")
REFUSED_KEY = {"kind": "answer", "status": 401}
MINUTE = 60
SETTLED = 200  # seconds after which Sync no longer carries out an ambiguous registration


def count_posts(upstream: RunningUpstream) -> int:
    """Return how many registrations reached Sync."""
    return [(one["method"], one["path"]) for one in upstream.journal()].count(POST)


def in_parallel(calls: list[Any], workers: int = 16) -> list[requests.Response]:
    """Call everything at once, and return the responses in the order of the calls."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda call: call(), calls))


def to_next_minute(broker: RunningBroker) -> None:
    """Advance to the start of the next minute, so that no minute ends within the test."""
    broker.clock.advance(MINUTE - broker.clock.now() / 1000 % MINUTE + 1)


def limiter(broker: RunningBroker, per_minute: int = 600) -> RegistrationLimiter:
    """Return another container's limiter."""
    return RegistrationLimiter(
        Table(clients.dynamodb(), broker.table, Clock()), per_minute, broker.clock
    )


def test_one_caller_is_limited_in_ten_seconds(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """However often a caller completes, Sync gets at most 30 registrations in any ten seconds."""
    uploads = [api.begin() for _ in range(8)]
    # A refused API key says nothing about the file, so no pause of an upload slows this down.
    upstream.order(REFUSED_KEY, *POST, times=None)
    reached = []  # each burst's start, end and number of registrations
    for _ in range(13):
        began, before = broker.clock.now(), count_posts(upstream)
        complete = [lambda upload=one: api.complete(upload) for one in uploads for _ in range(5)]
        responses = in_parallel(complete)
        reached.append((began, broker.clock.now(), count_posts(upstream) - before))
        for response in responses:
            if response.status_code == 429:
                assert response.json()["code"] == "rate_limited"
                assert 1 <= int(response.headers["Retry-After"]) <= 11
        broker.clock.advance(2)
    windows = [
        sum(made for began, ended, made in reached if first <= began and ended <= first + 10_000)
        for first, _, _ in reached
    ]
    assert max(windows) <= PER_CALLER
    assert sum(made for _, _, made in reached) >= 2 * PER_CALLER, "permits are released"


def test_all_callers_are_limited_in_a_minute(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """All callers together get as many registrations in a minute as the setting allows."""
    broker.configure(upstream, REGISTRATIONS_PER_MINUTE="5")
    callers = [Api(broker) for _ in range(8)]
    uploads = [one.landed() for one in callers]
    to_next_minute(broker)
    responses = [
        one.complete(upload).status_code for one, upload in zip(callers, uploads, strict=True)
    ]
    assert responses == [200] * 5 + [429] * 3
    refused = callers[7].complete(uploads[7])
    assert int(refused.headers["Retry-After"]) <= MINUTE
    broker.clock.advance(int(refused.headers["Retry-After"]))
    for one, upload in zip(callers[5:], uploads[5:], strict=True):
        assert one.complete(upload).status_code == 200


def test_obedient_caller_registers_many_files(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """A caller that obeys Retry-After registers 122 finished files within a minute."""
    upstream.behave(presignsPerMinute=600)
    waiting = in_parallel([api.landed for _ in range(61)])
    broker.clock.advance(11)  # One caller may presign a third of the budget in ten seconds.
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
    assert waited <= MINUTE
    assert count_posts(upstream) == 122
    assert upstream.call("GET", "/v2/assets?limit=1").json()["totalCount"] == 122


def test_limited_caller_gets_recorded_asset(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """A repeated `complete` gets the recorded response, though its caller is limited."""
    done = api.registered()
    pending = api.landed()
    limited = limiter(broker)
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}").id
    for _ in range(PER_CALLER - 1):
        limited.acquire(caller)
    assert api.complete(pending).status_code == 429
    assert api.complete(done).json() == done
    assert count_posts(upstream) == 1


def test_known_refusal_costs_one_read(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """Once a container knows that a caller is limited, a refusal costs at most one read."""
    pending = api.landed()
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}").id
    broker.clock.tick()  # so that no permit is released, however slow the machine is
    for _ in range(PER_CALLER):
        limiter(broker).acquire(caller)
    assert api.complete(pending).status_code == 429
    known = api.complete(pending)
    assert known.status_code == 429
    assert api.line(known)["dynamodbCalls"] == 1
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    public = api.call("POST", "/assets", json=body)
    assert public.status_code == 429
    assert api.line(public)["dynamodbCalls"] == 0
    assert count_posts(upstream) == 0
    assert api.call("GET", f"/uploads/{pending['id']}").json()["status"] == "pending"


def test_limited_caller_keeps_its_file(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If DynamoDB fails too, the response is the limiter's, and the file is registered later."""
    broker.configure(upstream)
    api = Api(broker)
    pending = api.landed()
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}").id
    broker.clock.tick()
    for _ in range(PER_CALLER):
        limiter(broker).acquire(caller)
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
    assert len(broker.lines("registrations_paused")) == 1
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


def test_old_permits_are_removed(broker: RunningBroker) -> None:
    """The item does not grow with the number of callers who have ever registered something."""
    one = limiter(broker)
    for number in range(30):
        one.acquire(f"{number:032x}")
    broker.clock.advance(registrations.FORGET_AFTER / 1000 + 1)
    for _ in range(2):
        one.acquire("f" * 32)
    item = Table(clients.dynamodb(), broker.table, Clock()).get(PK) or {}
    assert [name for name in item if name.startswith("by#")] == [f"by#{'f' * 16}"]


def test_two_containers_share_permits(broker: RunningBroker) -> None:
    """Containers that know nothing of each other give one caller 30 permits, not 60."""
    containers = [limiter(broker), limiter(broker)]

    def acquire(number: int) -> bool:
        try:
            containers[number % 2].acquire("a" * 32)
        except registrations.errors.RateLimited:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(acquire, range(100))) == PER_CALLER


def test_repeated_write_takes_one_permit(broker: RunningBroker) -> None:
    """If boto3 repeats a write whose response was lost, it takes one permit."""
    table = Table(clients.dynamodb(), broker.table, Clock())

    class Repeating(Table):
        def write(self, change: Change) -> Any:
            super().write(change)
            return super().write(change)

    repeating = Repeating(clients.dynamodb(), broker.table, broker.clock)
    one = RegistrationLimiter(repeating, 600, broker.clock)
    one.acquire("b" * 32)
    item = table.get(PK) or {}
    assert len(item[f"by#{'b' * 16}"]["B"]) == 8
    assert item["count"]["N"] == "1"


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
