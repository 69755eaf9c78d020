"""The limiter through the real app: several containers, one table, and a Sync that counts."""

import re
import threading
from collections import Counter

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.ratelimit import limiter, policy
from chalicelib.ratelimit.policy import Budget
from chalicelib.ratelimit.slots import Slot
from tests.support.clocks import ManualClock, ShiftedClock
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
PRESIGN = ("POST", "/v2/assets/upload")


def begin(api: Api, ticket: str | None = None, key: str | None = None) -> requests.Response:
    """Try to begin an upload."""
    headers = {} if ticket is None else {"Upload-Ticket": ticket}
    headers |= {"Idempotency-Key": key} if key else {}
    return api.call("POST", "/uploads", json=FILE, headers=headers)


@pytest.fixture
def six(broker: RunningBroker, upstream: RunningUpstream) -> RunningBroker:
    """A broker with six presigns in a minute: two of them for one caller in ten seconds."""
    upstream.behave(presignsPerMinute=6)
    broker.configure(upstream, PRESIGNS_PER_MINUTE="6", MAX_WAIT_SECONDS="90")
    begin(Api(broker))  # a table's first request writes the secret of the tickets
    return broker


def fill(broker: RunningBroker, places: int = 5) -> None:
    """Begin uploads, each by another caller."""
    for _ in range(places):
        assert begin(Api(broker)).status_code == 201


def test_refused_caller_succeeds_with_ticket(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A caller in a full minute gets a time to come back, and then succeeds with its ticket."""
    fill(six)
    api = Api(six)
    refused = begin(api, "")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (429, "rate_limited")
    assert problem["position"] == 1
    seconds = int(refused.headers["Retry-After"])
    assert 55 <= seconds <= 62
    assert refused.headers["RateLimit"] == f'"presigns";r=0;t={seconds}'
    assert api.line(refused)["dynamodbCalls"] == 2
    assert api.line(refused)["lineLength"] == 1
    six.clock.advance(seconds - 10)
    early = begin(api, problem["ticket"])
    assert early.status_code == 429
    assert early.json()["ticket"] == problem["ticket"]
    assert early.headers["Retry-After"] in {"9", "10", "11"}
    assert api.line(early)["dynamodbCalls"] == 0
    six.clock.advance(int(early.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")  # the broker's minute is over, but not Sync's
    admitted = begin(api, problem["ticket"])
    assert admitted.status_code == 201
    assert api.line(admitted)["dynamodbCalls"] == 4


def test_client_without_tickets_succeeds_in_time(
    six: RunningBroker, upstream: RunningUpstream
) -> None:
    """A caller without tickets that comes back in time succeeds too."""
    fill(six)
    api = Api(six)
    refused = begin(api)
    six.clock.advance(int(refused.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")
    assert begin(api).status_code == 201


@pytest.mark.parametrize("kind", ["forged", "shared", "used", "nonsense", "other moment"])
def test_bad_ticket_is_ignored(six: RunningBroker, upstream: RunningUpstream, kind: str) -> None:
    """A ticket of another caller, or one that was used, is ignored."""
    fill(six)
    owner, other = Api(six), Api(six)
    refused = begin(owner, "")
    ticket = refused.json()["ticket"]
    rivals = [begin(Api(six), "") for _ in range(5)]
    assert {one.status_code for one in rivals} == {429}
    six.clock.advance(int(refused.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")
    moment, _, signature = ticket.partition(".")
    if kind == "used":
        assert begin(owner, ticket).status_code == 201
    sent = {
        "forged": f"{moment}.{signature[::-1]}",
        "nonsense": "\u00e9.\u00e9",
        "other moment": f"{int(moment, 16) + 1:x}.{signature}",
    }.get(kind, ticket)
    api = other if kind == "shared" else owner
    response = begin(api, sent.encode("latin-1"))  # type: ignore[arg-type] - a header of any bytes
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert response.json()["ticket"] != ticket


def test_full_queue_refuses_without_read(six: RunningBroker) -> None:
    """Beyond the longest wait every caller is refused at once, soon without a read of the table."""
    six.configure_again(MAX_WAIT_SECONDS="20", PRESIGNS_PER_MINUTE="6")
    fill(six)
    first, second = Api(six), Api(six)
    refused = begin(first)
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert 50 <= int(refused.headers["Retry-After"]) <= 62 + 20 // 10
    assert first.line(refused)["dynamodbCalls"] == 1
    again = begin(second)
    assert again.status_code == 503
    assert second.line(again)["dynamodbCalls"] == 0
    assert begin(first, "1.nonsense").status_code == 503
    pauses = {begin(second).headers["Retry-After"] for _ in range(30)}
    assert len(pauses) > 1, "they must not all come back at the same time"
    six.clock.advance(2)
    read = begin(second)
    assert second.line(read)["dynamodbCalls"] == 1


def test_full_queue_keeps_keys(six: RunningBroker) -> None:
    """A refusal does not write the request's key; a key that began an upload stays valid."""
    six.configure_again(MAX_WAIT_SECONDS="20", PRESIGNS_PER_MINUTE="6")
    known, other = Api(six), Api(six)
    fill(six, 4)
    first = begin(known, key="0123456789abcdef")
    assert first.status_code == 201
    assert begin(other).status_code == 503
    for caller in (other, known):
        refused = begin(caller, key="0123456789abcdef")
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
        assert caller.line(refused)["dynamodbCalls"] == 0
    six.clock.advance(2)
    again = begin(known, key="0123456789abcdef")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert begin(other, key="0123456789abcdef").status_code == 503, "its key was never written"


def test_full_queue_keeps_turns(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A caller with a turn or an old ticket is refused without a call too, and keeps its turn."""
    six.configure_again(MAX_WAIT_SECONDS="70", PRESIGNS_PER_MINUTE="6")
    fill(six)
    waiting = [Api(six) for _ in range(6)]
    responses = [begin(api, "") for api in waiting]
    assert {one.status_code for one in responses} == {429}
    assert begin(Api(six)).status_code == 503
    again = begin(waiting[0], "")
    assert again.status_code == 503
    assert waiting[0].line(again)["dynamodbCalls"] == 0
    six.clock.advance(int(responses[0].headers["Retry-After"]) + 30)
    upstream.call("POST", "/_sandbox/reset")
    fill(six, 6)
    for api in (Api(six) for _ in range(6)):
        begin(api, "")
    assert begin(Api(six)).status_code == 503
    old = begin(waiting[0], responses[0].json()["ticket"])
    assert old.status_code == 503
    assert waiting[0].line(old)["dynamodbCalls"] == 0


def test_caller_over_share_needs_no_ticket(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A caller over its share of a short queue comes back for a free place without a ticket."""
    upstream.behave(presignsPerMinute=12)
    broker.configure(upstream, PRESIGNS_PER_MINUTE="12")
    api = Api(broker)
    responses = [begin(api, "") for _ in range(9)]
    assert [one.status_code for one in responses] == [201] * 4 + [429] * 5
    without = [one for one in responses[4:] if "ticket" not in one.json()]
    assert without
    assert {one.json()["code"] for one in without} == {"rate_limited"}
    broker.clock.advance(max(int(one.headers["Retry-After"]) for one in without))
    assert begin(api, "").status_code == 201


def test_limits_show_queue(six: RunningBroker) -> None:
    """`GET /limits` returns the length of the queue."""
    api = Api(six)
    limiter = api.call("GET", "/limits").json()["line"]
    assert limiter == {"perMinute": 6, "free": 2, "waiting": 0, "waitSeconds": 0}
    spender = Api(six)
    left = [begin(spender).headers["RateLimit"].rpartition(", ")[2] for _ in range(2)]
    assert left[0] == '"presigns";r=1'
    assert re.fullmatch(r'"presigns";r=0;t=([1-9]|10)', left[1])
    fill(six, 3)
    begin(api)
    limiter = api.call("GET", "/limits").json()["line"]
    assert (limiter["free"], limiter["waiting"]) == (0, 1)
    assert 55 <= limiter["waitSeconds"] <= 62


def test_burst_uses_whole_budget(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """From idle a whole budget of parallel requests is admitted, and Sync refuses none."""
    upstream.behave(presignsPerMinute=60)
    broker.configure(upstream, PRESIGNS_PER_MINUTE="60")
    statuses: list[int] = []

    def one(api: Api) -> None:
        caller = Api(broker)
        caller.token = api.token
        statuses.append(begin(caller).status_code)

    callers = [Api(broker) for _ in range(4)]
    threads = [threading.Thread(target=one, args=(callers[n % 4],)) for n in range(72)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(statuses) == {201: 60, 429: 12}
    assert {one["status"] for one in upstream.journal() if one["path"] == PRESIGN[1]} == {201}


def test_two_containers_share_budget(six: RunningBroker, upstream: RunningUpstream) -> None:
    """Another container, whose clock is a second off, keeps to the same budget."""
    fill(six, 2)
    clock = six.clock
    ahead = bootstrap.build(
        six.environment(upstream, PRESIGNS_PER_MINUTE="6"),
        clock=ShiftedClock(clock, 1000),
    )
    bootstrap.use(ahead)
    fill(six, 3)
    assert begin(Api(six)).status_code == 429


def test_repeated_presign_counts(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A presign that is sent again counts twice, and a renewal counts too."""
    broker.configure(upstream, PRESIGNS_PER_MINUTE="9")
    api = Api(broker)
    upstream.order({"kind": "cut", "when": "after"}, *PRESIGN, times=1)
    upload = api.begin()
    assert api.call("GET", "/limits").json()["line"]["free"] == 1
    broker.clock.advance(1801)
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert renewed.status_code == 200
    assert renewed.headers["RateLimit"] == '"presigns";r=2'
    assert api.call("GET", "/limits").json()["line"]["free"] == 2
    upstream.order({"kind": "cut", "when": "after"}, *PRESIGN, times=1)
    assert begin(api).status_code == 201
    refused = begin(api)
    assert refused.status_code == 429, "the caller's third is used up"
    assert int(refused.headers["Retry-After"]) <= 12


def test_quota_is_checked_first(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A request over its quota takes no place; a request that must wait leaves no reservation."""
    six.configure_again(PRESIGNS_PER_MINUTE="6", UPLOADS_PER_DAY="1")
    api = Api(six)
    assert begin(api).status_code == 201
    assert begin(api).json()["code"] == "quota_exceeded"
    assert len([one for one in upstream.journal() if one["path"] == PRESIGN[1]]) == 2
    fill(six, 4)
    waiting = Api(six)
    assert begin(waiting).status_code == 429
    assert waiting.call("GET", "/limits").json()["uploadsPerDay"]["left"] == 1


@pytest.mark.parametrize("retry_after", ["20", None])
def test_429_pauses_all_containers(
    broker: RunningBroker, upstream: RunningUpstream, retry_after: str | None
) -> None:
    """After a 429 of Sync every container waits; two minutes later none does."""
    broker.configure(upstream, PRESIGNS_PER_MINUTE="30")
    headers = {"Retry-After": retry_after} if retry_after else {}
    upstream.order({"kind": "answer", "status": 429, "headers": headers}, *PRESIGN, times=1)
    refused = begin(Api(broker))
    assert (refused.status_code, refused.json()["code"]) == (503, "upstream_busy")
    assert broker.lines("line_slower")
    clock = broker.clock
    environment = broker.environment(upstream, PRESIGNS_PER_MINUTE="30")
    bootstrap.use(bootstrap.build(environment, clock=clock))
    waiting = begin(Api(broker))
    assert waiting.status_code == 429
    pause = int(retry_after or 10)
    assert pause - 2 <= int(waiting.headers["Retry-After"]) <= pause + 1
    clock.advance(pause)
    assert begin(Api(broker)).status_code == 201
    assert Api(broker).call("GET", "/limits").json()["line"]["free"] == 10
    clock.advance(100)
    fill(broker, 20)


def test_pause_revokes_found_place(six: RunningBroker) -> None:
    """A place that was found before Sync's 429 is not taken after it."""
    limiter = six.parts().line
    opening = limiter.enter("0" * 32, "")
    limiter.slow_down(20)
    with pytest.raises(errors.RateLimited) as raised:
        limiter.take(opening)
    assert 18 < (raised.value.retry_after or 0) <= 20


def test_pause_of_wrong_clock_is_ignored(six: RunningBroker) -> None:
    """A pause that a clock far ahead has written closes nothing, and a real pause replaces it."""
    clock = six.clock
    far = limiter.Line(
        Table(clients.dynamodb(), six.table, Clock()),
        Budget(6, 90_000),
        ShiftedClock(clock, 10**7),
    )
    far.slow_down(10)
    assert begin(Api(six)).status_code == 201
    six.parts().line.slow_down(20)
    assert 15 < int(begin(Api(six)).headers["Retry-After"]) <= 21


def test_longer_pause_counts(six: RunningBroker) -> None:
    """Of two pauses that are written at the same time, the longer one counts."""
    limiter = six.parts().line
    threads = [
        threading.Thread(target=limiter.slow_down, args=(pause,)) for pause in (1, 60, 2, 30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 58 < limiter.standing("0" * 32).wait_seconds <= 60


def test_request_is_held_for_its_turn(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A request whose turn has come is held until the place is free."""
    fill(six)
    api = Api(six)
    refused = begin(api, "")
    seconds = int(refused.headers["Retry-After"])
    six.clock.advance(seconds - 0.9)
    upstream.call("POST", "/_sandbox/reset")
    admitted = begin(api, refused.json()["ticket"])
    assert admitted.status_code == 201
    assert api.line(admitted)["durationMs"] > 100


@pytest.mark.parametrize("slow_writes", [1, 3, 9])
def test_slow_grant_gets_new_time(broker: RunningBroker, slow_writes: int) -> None:
    """A slow grant gets a new time, also if its slot is promised to another caller meanwhile."""
    clock = ManualClock()
    table = Table(clients.dynamodb(), broker.table, clock)
    reads = []

    def promise() -> None:
        other = limiter.Line(table, Budget(1, 300_000), clock)
        with pytest.raises(errors.RateLimited):
            other.enter("2" * 32, None)

    class SlowWrites(Clock):
        def now(self) -> int:
            reads.append(clock.now())
            if len(reads) == 3:  # the grant is written
                promise()
            if 3 <= len(reads) < 3 + slow_writes:
                clock.advance(0.9)
            return clock.now()

        def sleep(self, seconds: float) -> None:
            clock.sleep(seconds)

    slow = limiter.Line(table, Budget(1, 300_000), SlowWrites())
    opening = slow.enter("1" * 32, None)
    reads.clear()
    slow.take(opening)
    item = table.get(limiter.PK) or {}
    slot = Slot.decode(bytes(item["s0"]["B"]))
    assert 0 <= clock.now() - slot.granted.at <= policy.LAG
    assert len(slot.turns) == 1
    assert len(reads) <= 2 + limiter.STAMPS
