"""One caller can't make the broker register without end, and neither can all together."""

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
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")

POST = ("POST", "/v2/assets")
REFUSED_KEY = {"kind": "answer", "status": 401}
MINUTE = 60


def posts(upstream: RunningUpstream) -> int:
    """Count the registrations that reached Sync."""
    return [(one["method"], one["path"]) for one in upstream.journal()].count(POST)


def in_parallel(calls: list[Any], workers: int = 16) -> list[requests.Response]:
    """Call everything at once, and return the answers in the order of the calls."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda call: call(), calls))


def begin_of_a_minute(broker: RunningBroker) -> None:
    """Move the clock to a moment from which a test can't run into the next minute."""
    broker.clock.advance(MINUTE - broker.clock.now() / 1000 % MINUTE + 1)


def limiter(broker: RunningBroker, per_minute: int = 600) -> RegistrationLimiter:
    """Make another container's limiter."""
    return RegistrationLimiter(
        Table(clients.dynamodb(), broker.table, Clock()), per_minute, broker.clock
    )


def test_one_caller_in_any_ten_seconds(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """However often a caller completes, Sync gets at most 30 registrations in any ten seconds."""
    uploads = [api.begin() for _ in range(8)]
    # A refused key says nothing about the file, so no pause of an upload slows this down.
    upstream.order(REFUSED_KEY, *POST, times=None)
    reached = []  # when a burst began and ended, and how many registrations it made
    for _ in range(25):
        began, before = broker.clock.now(), posts(upstream)
        complete = [lambda upload=one: api.complete(upload) for one in uploads for _ in range(5)]
        answers = in_parallel(complete)
        reached.append((began, broker.clock.now(), posts(upstream) - before))
        for answer in answers:
            if answer.status_code == 429:
                assert answer.json()["code"] == "rate_limited"
                assert 1 <= int(answer.headers["Retry-After"]) <= 11
        broker.clock.advance(1)
    windows = [
        sum(made for began, ended, made in reached if first <= began and ended <= first + 10_000)
        for first, _, _ in reached
    ]
    assert max(windows) <= PER_CALLER
    assert sum(made for _, _, made in reached) >= 2 * PER_CALLER, "the permits come back"


def test_all_callers_in_a_minute(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """All callers together get as many registrations in a minute as the setting says."""
    broker.configure(upstream, REGISTRATIONS_PER_MINUTE="5")
    callers = [Api(broker) for _ in range(8)]
    uploads = [one.landed() for one in callers]
    begin_of_a_minute(broker)
    answers = [
        one.complete(upload).status_code for one, upload in zip(callers, uploads, strict=True)
    ]
    assert answers == [200] * 5 + [429] * 3
    refused = callers[7].complete(uploads[7])
    assert int(refused.headers["Retry-After"]) <= MINUTE
    broker.clock.advance(int(refused.headers["Retry-After"]))
    for one, upload in zip(callers[5:], uploads[5:], strict=True):
        assert one.complete(upload).status_code == 200


def test_many_honest_files(broker: RunningBroker, api: Api, upstream: RunningUpstream) -> None:
    """122 files that finish at once are all registered within a minute by who obeys Retry-After."""
    upstream.behave(presignsPerMinute=600)
    waiting = in_parallel([api.landed for _ in range(122)])
    waited = 0
    while waiting:
        answers = in_parallel([lambda upload=one: api.complete(upload) for one in waiting])
        assert {answer.status_code for answer in answers} <= {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        pause = max((int(answer.headers["Retry-After"]) for answer in refused), default=0)
        broker.clock.advance(pause)
        waited += pause
        pairs = zip(waiting, answers, strict=True)
        waiting = [upload for upload, answer in pairs if answer.status_code == 429]
    assert waited <= MINUTE
    assert posts(upstream) == 122
    assert upstream.call("GET", "/v2/assets?limit=1").json()["totalCount"] == 122


def test_what_is_registered_stays_told(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """A repeated `complete` is answered from the record, though its caller is limited."""
    done = api.registered()
    pending = api.landed()
    limited = limiter(broker)
    caller = broker.wired().authenticator.caller(f"Bearer {api.token}").id
    for _ in range(PER_CALLER - 1):
        limited.acquire(caller)
    assert api.complete(pending).status_code == 429
    assert api.complete(done).json() == done
    assert posts(upstream) == 1


def test_known_refusal_writes_nothing(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """Once a container knows that a caller is limited, a refusal costs one read at the most."""
    pending = api.landed()
    caller = broker.wired().authenticator.caller(f"Bearer {api.token}").id
    broker.clock.tick()  # so that no permit comes back, however slow the machine is
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
    assert posts(upstream) == 0
    assert api.call("GET", f"/uploads/{pending['id']}").json()["status"] == "pending"


def test_not_uploaded_yet(broker: RunningBroker, api: Api, upstream: RunningUpstream) -> None:
    """After Sync saw no file, the record answers for 1, 2, 4 ... 30 seconds."""
    upload = api.begin()
    pauses = []
    for number in range(1, 8):
        asked = api.complete(upload)
        again = api.complete(upload)
        for answer in (asked, again):
            assert (answer.status_code, answer.json()["code"]) == (409, "file_not_uploaded")
        assert posts(upstream) == number
        assert api.line(again)["dynamodbCalls"] == 1
        pauses.append(int(asked.headers["Retry-After"]))
        assert 1 <= int(again.headers["Retry-After"]) <= pauses[-1]
        broker.clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    api.put(upload)
    assert api.complete(upload).status_code == 200


def test_fresh_url_ends_the_pause(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """What was sent to a renewed URL need not wait because of the old one."""
    upload = api.begin()
    assert api.complete(upload).status_code == 409
    broker.clock.advance(1900)
    assert api.complete(upload).status_code == 409
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert renewed["uploadUrl"] != upload["uploadUrl"]
    api.put(renewed)
    assert api.complete(renewed).status_code == 200
    assert posts(upstream) == 3


def test_pause_of_all_containers(
    broker: RunningBroker, api: Api, upstream: RunningUpstream
) -> None:
    """After Sync's 429 no container registers anything until the time that Sync named."""
    first, second = api.landed(), api.landed()
    other = Api(broker)
    third = other.landed()
    busy = {"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}}
    upstream.order(busy, *POST)
    assert api.complete(first).status_code == 503
    # Another container has its own copy of the item.
    broker.configure_again()
    for caller, upload in ((api, second), (other, third)):
        answer = caller.complete(upload)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 7
    assert posts(upstream) == 1
    assert len(broker.lines("registrations_paused")) == 1
    broker.clock.advance(7)
    for caller, upload in ((api, first), (api, second), (other, third)):
        assert caller.complete(upload).status_code == 200


def test_no_endless_refunds(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """What Sync refuses is given back to the caller's quota, but not again and again."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    broker.clock.to_noon()
    api = Api(broker)
    api.token = token(upload={"perDay": 3})
    upstream.order(REFUSED_KEY, *POST, times=None)
    body = {"url": f"{upstream.url}/x.mp4", "type": "VIDEO"}
    answers = []
    for _ in range(30):
        answers.append(api.call("POST", "/assets", json=body))
        broker.clock.advance(1)
    assert [one.status_code for one in answers] == [502] * 13 + [429] * 17
    assert {one.json()["code"] for one in answers[13:]} == {"quota_exceeded"}
    assert posts(upstream) == 13
    limits = api.call("GET", "/limits").json()
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]
    assert api.call("GET", "/uploads").json()["items"] == []


def test_permits_of_the_idle_are_removed(broker: RunningBroker) -> None:
    """The item does not grow with the callers who have ever registered something."""
    one = limiter(broker)
    for number in range(30):
        one.acquire(f"{number:032x}")
    broker.clock.advance(registrations.FORGET_AFTER / 1000 + 1)
    for _ in range(2):
        one.acquire("f" * 32)
    item = Table(clients.dynamodb(), broker.table, Clock()).get(PK) or {}
    assert [name for name in item if name.startswith("by#")] == [f"by#{'f' * 16}"]


def test_two_containers_share_the_permits(broker: RunningBroker) -> None:
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
    """A write that boto3 repeats, because its answer was lost, is not taken for a refusal."""
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
    """A host that one container's presign named is storage to another container at once."""
    settings = {"SYNC_STORAGE_HOSTS": "a.example", "PUBLIC_URL_EXCEPTIONS": upstream.url}
    broker.configure(upstream, **settings)
    victim, thief = Api(broker), Api(broker)
    first = broker.wired()
    broker.configure_again(**settings)
    other = broker.wired()
    bootstrap.use(first)
    stolen = victim.landed()
    assert broker.lines("storage_host_unknown")
    bootstrap.use(other)
    url = next(
        target["M"]["url"]["S"]
        for target in (
            Table(clients.dynamodb(), broker.table, Clock()).get(f"upload#{stolen['id']}") or {}
        )["targets"]["L"]
    )
    answer = thief.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/url"
    assert posts(upstream) == 0
    assert thief.call("GET", "/limits").json()["uploadsPerDay"]["left"] == 10_000
