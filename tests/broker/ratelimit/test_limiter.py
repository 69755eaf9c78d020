"""The rate limiter through the real app: several containers, one table, and a Sync that counts."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.shared_item import SharedItem
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors
from chalicelib.core.clock import HOUR, MINUTE, Clock
from chalicelib.ratelimit import limiter, policy
from chalicelib.ratelimit.limiter import MOST_PERMITS, RateLimiter, RateLimitState
from chalicelib.ratelimit.slots import LONGEST_PAUSE, Event, Slots, Slowdown, write_grant
from tests.support.clocks import ManualClock, ShiftedClock
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
PRESIGN = ("POST", "/v2/assets/upload")
KEY = "0123456789abcdef"
CALLER, OTHER, THIRD = "1" * 32, "2" * 32, "3" * 32


def begin(api: Api, ticket: str | None = None, key: str | None = None) -> requests.Response:
    """Try to begin an upload."""
    headers = {} if ticket is None else {"Upload-Ticket": ticket}
    headers |= {"Idempotency-Key": key} if key else {}
    return api.call("POST", "/uploads", json=FILE, headers=headers)


def calls(api: Api, response: requests.Response) -> int:
    """Return how many calls of DynamoDB a request took."""
    made: int = api.line(response)["dynamodbCalls"]
    return made


def available(api: Api) -> int:
    """Return how many uploads a caller could begin now."""
    permits: int = api.call("GET", "/limits").json()["presigns"]["available"]
    return permits


def table_of(broker: RunningBroker, clock: Clock | None = None) -> Table:
    """Return the broker's table."""
    return Table(clients.dynamodb(), broker.table, clock or broker.clock)


def one_limiter(
    broker: RunningBroker,
    budget: int = 3,
    window: int = MINUTE,
    longest_wait: int | None = None,
    clock: Clock | None = None,
    table: Table | None = None,
    name: str = "presigns",
) -> RateLimiter:
    """Return another container's limiter."""
    clock = clock or broker.clock
    return RateLimiter(
        table or table_of(broker, clock),
        clock,
        name,
        budget,
        window,
        longest_wait,
        busy="Much is asked.",
        has_tickets=True,
    )


def take(one: RateLimiter, caller: str = CALLER, ticket: str | None = None) -> None:
    """Acquire a permit and take it."""
    one.commit(one.acquire(caller, ticket))


def refused(one: RateLimiter, caller: str = CALLER, ticket: str | None = "") -> errors.RateLimited:
    """Return a refusal."""
    with pytest.raises(errors.RateLimited) as raised:
        take(one, caller, ticket)
    return raised.value


@pytest.fixture
def six(broker: RunningBroker, upstream: RunningUpstream) -> RunningBroker:
    """A broker with six presigns in a minute: two of them for one caller in two seconds."""
    upstream.behave(presignsPerMinute=6)
    broker.configure(upstream, PRESIGNS_PER_MINUTE="6")
    return broker


def fill(broker: RunningBroker, permits: int = 6) -> None:
    """Begin uploads, each by another caller."""
    for _ in range(permits):
        assert begin(Api(broker)).status_code == 201


def promised(six: RunningBroker, upstream: RunningUpstream) -> tuple[Api, str]:
    """Return a caller who has come back for its promise, and its ticket."""
    fill(six)
    api = Api(six)
    first = begin(api, "")
    six.clock.advance(int(first.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")  # the broker's minute is over, but not Sync's
    return api, first.json()["ticket"]


def test_refused_caller_succeeds_with_ticket(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A caller in a full minute gets a time to come back, and then succeeds with its ticket."""
    fill(six)
    api = Api(six)
    first = begin(api, "")
    problem = first.json()
    assert (first.status_code, problem["code"]) == (429, "rate_limited")
    assert problem["position"] == 1
    assert problem["detail"].startswith("Many uploads are starting. Try again in ")
    seconds = int(first.headers["Retry-After"])
    assert 58 <= seconds <= 61
    assert first.headers["RateLimit"] == f'"presigns";r=0;t={seconds}'
    assert calls(api, first) == 1, "the container has a copy of the item"
    assert api.line(first)["queueLength"] == 1
    six.clock.advance(seconds - 10)
    early = begin(api, problem["ticket"])
    assert early.status_code == 429
    assert early.json()["ticket"] == problem["ticket"]
    assert early.headers["Retry-After"] in {"9", "10", "11"}
    assert calls(api, early) == 0
    six.clock.advance(int(early.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")  # the broker's minute is over, but not Sync's
    admitted = begin(api, problem["ticket"])
    assert admitted.status_code == 201
    assert calls(api, admitted) == 3


def test_ticket_needs_no_read(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A container that has never read the item takes the permit that a ticket names."""
    api, ticket = promised(six, upstream)
    six.configure_again(PRESIGNS_PER_MINUTE="6")
    admitted = begin(api, ticket)
    assert admitted.status_code == 201
    assert calls(api, admitted) == 3


def test_calls_of_a_lone_container(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An upload takes four calls in a cold container and three in a warm one, and one for a key."""
    api = Api(broker)
    begin(api)  # The container reads the secret of the caller ids once.
    broker.parts().presigns.item.copy = {}
    broker.parts().presigns.item._copied_at = None  # noqa: SLF001 - as in a new container
    assert [calls(api, begin(api)) for _ in range(3)] == [4, 3, 3]
    broker.clock.advance(600)
    upstream.call("POST", "/_sandbox/reset")
    assert calls(api, begin(api)) == 3, "however old the copy is"
    assert calls(api, begin(api, key=KEY)) == 4
    assert calls(api, begin(Api(broker))) == 3


def test_client_without_tickets_succeeds_in_time(
    six: RunningBroker, upstream: RunningUpstream
) -> None:
    """A caller without tickets that comes back in time succeeds too."""
    fill(six)
    api = Api(six)
    first = begin(api)
    six.clock.advance(int(first.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")
    fill(six, 5)
    assert begin(api).status_code == 201


@pytest.mark.parametrize("kind", ["shared", "used", "nonsense", "other moment", "other slot"])
def test_bad_ticket_is_ignored(six: RunningBroker, upstream: RunningUpstream, kind: str) -> None:
    """A ticket of another caller, or one that was used, is ignored."""
    fill(six)
    owner, other = Api(six), Api(six)
    first = begin(owner, "")
    ticket = first.json()["ticket"]
    rivals = [begin(Api(six), "") for _ in range(5)]
    assert {one.status_code for one in rivals} == {429}
    six.clock.advance(int(first.headers["Retry-After"]))
    upstream.call("POST", "/_sandbox/reset")
    moment, _, slot = ticket.partition(".")
    if kind == "used":
        assert begin(owner, ticket).status_code == 201
    sent = {
        "nonsense": "\u00e9.\u00e9",
        "other moment": f"{int(moment, 16) + 1:x}.{slot}",
        "other slot": f"{moment}.{(int(slot) + 1) % 6}",
    }.get(kind, ticket)
    api = other if kind == "shared" else owner
    response = begin(api, sent.encode("latin-1"))  # type: ignore[arg-type] - a header of any bytes
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert response.json().get("ticket") != ticket


@pytest.mark.parametrize(
    "ticket", ["", ".", "1", "1.", "zz.0", "1.\u00e9", "9" * 5000, "1.-1", "1.99", "ffffffffffff.0"]
)
def test_impossible_ticket_counts_as_none(six: RunningBroker, ticket: str) -> None:
    """A text that names no slot, or a moment that nothing is promised for, is no ticket."""
    one = one_limiter(six)
    take(one, CALLER, ticket)
    far = six.clock.now() + 3 * MINUTE
    take(one, OTHER, f"{far:x}.0")
    take(one, THIRD, f"{six.clock.now() - policy.GRACE - 50:x}.0")


def test_full_queue_refuses_without_call(six: RunningBroker) -> None:
    """While the queue is full, a container refuses everybody without a call for a second."""
    fill(six)
    callers = [Api(six) for _ in range(12)]
    responses = [begin(api, "") for api in callers]
    codes = [one.json()["code"] for one in responses]
    assert codes[:6] == ["rate_limited"] * 6
    assert {one.json().get("position") for one in responses[:6]} == set(range(1, 7))
    assert "ticket" not in responses[6].json(), "it gets the moment when the next slot is free"
    while (response := begin(Api(six), "")).status_code != 503:
        assert response.json()["code"] == "rate_limited"
        codes.append(response.json()["code"])
        assert len(codes) < 25
    assert response.json()["code"] == "queue_full"
    pauses = set()
    for _ in range(20):
        late = Api(six)
        response = begin(late, "", key=KEY)
        assert response.json()["code"] == "queue_full"
        assert calls(late, response) == 0
        pauses.add(int(response.headers["Retry-After"]))
    assert len(pauses) > 5, "they must not all come back at the same time"
    assert min(pauses) >= 118
    assert max(pauses) <= 184
    six.clock.advance(2)
    late = Api(six)
    assert calls(late, begin(late)) == 1, "the copy is old, and is read again"


def test_full_queue_keeps_keys(six: RunningBroker) -> None:
    """A refusal does not write the request's key; a key that began an upload stays valid."""
    known, other = Api(six), Api(six)
    first = begin(known, key=KEY)
    assert first.status_code == 201
    fill(six, 5)
    while begin(Api(six), "").status_code != 503:
        pass
    for caller in (other, known):
        response = begin(caller, key=KEY)
        assert (response.status_code, response.json()["code"]) == (503, "queue_full")
        assert calls(caller, response) == 0
    six.clock.advance(2)
    again = begin(known, key=KEY)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert begin(other, key=KEY).status_code in {429, 503}, "its key was never written"


def test_fresh_copy_refuses_no_promise(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A caller whose promise is due is not refused by the copy of the item."""
    api, ticket = promised(six, upstream)
    fill(six, 5)
    assert begin(Api(six), "").status_code == 429
    assert begin(api, ticket, key=KEY).status_code == 201


def test_fresh_copy_refuses_request_without_its_ticket(broker: RunningBroker) -> None:
    """A due promise counts by the copy too only for a ticket, or a client that knows of none."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    promise = refused(one)
    clock.advance(promise.retry_after or 0)
    one.item.read()
    with pytest.raises(errors.RateLimited):
        one.check_cached_refusal(CALLER, "")
    one.check_cached_refusal(CALLER, str(promise.fields["ticket"]))
    one.check_cached_refusal(CALLER)


def test_limits_report_presigns(six: RunningBroker) -> None:
    """`GET /limits` reports what is left of the rate limit, and each upload does in its headers."""
    api = Api(six)
    state = api.call("GET", "/limits").json()["presigns"]
    assert state == {"perMinute": 6, "available": 2, "waiting": 0, "waitSeconds": 0}
    spender = Api(six)
    responses = [begin(spender) for _ in range(2)]
    left = [one.headers["RateLimit"].rpartition(", ")[2] for one in responses]
    assert left[0] == '"presigns";r=1'
    assert re.fullmatch(r'"presigns";r=0;t=[12]', left[1])
    assert responses[0].headers["RateLimit-Policy"].endswith('"presigns";q=6;w=60')
    fill(six, 4)
    begin(api)
    state = api.call("GET", "/limits").json()["presigns"]
    assert (state["available"], state["waiting"]) == (0, 1)
    assert 59 <= state["waitSeconds"] <= 62


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


def test_burst_holds_across_containers(six: RunningBroker) -> None:
    """Parallel requests of one caller get a third of the budget, in containers with old copies."""
    six.clock.tick()  # so that the burst lasts, however slow the machine is
    containers = [one_limiter(six, budget=30) for _ in range(15)]
    for one in containers:
        one.item.read()

    def attempt(one: RateLimiter) -> bool:
        try:
            take(one)
        except errors.RateLimited:
            return False
        return True

    with ThreadPoolExecutor(15) as pool:
        assert sum(pool.map(attempt, [*containers, *containers])) == 10


def test_two_containers_share_budget(six: RunningBroker, upstream: RunningUpstream) -> None:
    """Another container, whose clock is a second ahead, keeps to the same budget."""
    fill(six, 3)
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
    assert available(api) == 1
    broker.clock.advance(1801)
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert renewed.status_code == 200
    assert renewed.headers["RateLimit"] == '"presigns";r=2'
    assert available(api) == 2
    upstream.order({"kind": "cut", "when": "after"}, *PRESIGN, times=1)
    assert begin(api).status_code == 201
    response = begin(api)
    assert response.status_code == 429, "the caller's third is used up"
    assert int(response.headers["Retry-After"]) <= 2


def test_quota_is_checked_before_permit(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A request over its quota takes no permit; a request that must wait leaves no reservation."""
    six.configure_again(PRESIGNS_PER_MINUTE="6", UPLOADS_PER_DAY="1")
    api = Api(six)
    assert begin(api).status_code == 201
    assert begin(api).json()["code"] == "quota_exceeded"
    assert len([one for one in upstream.journal() if one["path"] == PRESIGN[1]]) == 1
    fill(six, 5)
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
    response = begin(Api(broker))
    assert (response.status_code, response.json()["code"]) == (503, "upstream_busy")
    (event,) = broker.lines("rate_limiter_slower")
    assert event["limiter"] == "presigns"
    clock = broker.clock
    environment = broker.environment(upstream, PRESIGNS_PER_MINUTE="30")
    bootstrap.use(bootstrap.build(environment, clock=clock))
    waiting = begin(Api(broker))
    assert waiting.status_code == 429
    pause = int(retry_after or 10)
    assert pause - 2 <= int(waiting.headers["Retry-After"]) <= pause + 1
    clock.advance(pause)
    assert begin(Api(broker)).status_code == 201
    assert available(Api(broker)) == 10
    clock.advance(100)
    fill(broker, 20)


def test_pause_revokes_found_permit(six: RunningBroker) -> None:
    """A permit that was found before Sync's 429 is not taken after it."""
    one = six.parts().presigns
    permit = one.acquire(CALLER, "")
    one.back_off(20)
    with pytest.raises(errors.RateLimited) as raised:
        one.commit(permit)
    assert 17 < (raised.value.retry_after or 0) <= 20


def test_pause_of_wrong_clock_is_ignored(six: RunningBroker) -> None:
    """A pause that a clock far ahead has written closes nothing, and a real pause replaces it."""
    ahead = ShiftedClock(six.clock, LONGEST_PAUSE + 100_000)
    one_limiter(six, 6, clock=ahead).back_off(10)
    assert begin(Api(six)).status_code == 201
    six.parts().presigns.back_off(20)
    assert 15 < int(begin(Api(six)).headers["Retry-After"]) <= 21


def test_longer_pause_counts(six: RunningBroker) -> None:
    """Of two pauses that are written at the same time, the longer one counts."""
    one = six.parts().presigns
    threads = [threading.Thread(target=one.back_off, args=(pause,)) for pause in (1, 60, 2, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 58 < one.state("0" * 32).wait_seconds <= 60


def test_shortest_pause_is_a_second(six: RunningBroker) -> None:
    """A 429 that asks for no pause pauses for a second."""
    one = one_limiter(six)
    one.back_off(0)
    item = table_of(six).get("limit#presigns") or {}
    until = int(item["slow"]["M"]["until"]["N"])
    assert 0 <= six.clock.now() + 1000 - until <= 500


def test_request_is_held_for_its_slot(six: RunningBroker, upstream: RunningUpstream) -> None:
    """A request whose promise is due is held until the slot is free."""
    fill(six)
    api = Api(six)
    first = begin(api, "")
    six.clock.advance(int(first.headers["Retry-After"]) - 0.6)
    upstream.call("POST", "/_sandbox/reset")
    admitted = begin(api, first.json()["ticket"])
    assert admitted.status_code == 201
    assert api.line(admitted)["durationMs"] > 100


@pytest.mark.parametrize("slow_writes", [1, 3])
def test_slow_grant_gets_new_time(broker: RunningBroker, slow_writes: int) -> None:
    """A grant whose write is slow is written again, so that its time is that of its request."""
    clock = ManualClock()
    writes: list[Change] = []

    class SlowTable(Table):
        def write(self, change: Change) -> Any:
            writes.append(change)
            written = super().write(change)
            clock.advance(0.9 if len(writes) <= slow_writes else 0)
            return written

    slow = one_limiter(
        broker, 1, clock=clock, table=SlowTable(clients.dynamodb(), broker.table, clock)
    )
    take(slow)
    assert len(writes) == 2 if slow_writes == 1 else 3
    granted_at = Slots.unused(1).read(slow.item.copy, {}).granted_at[0]
    assert 0 <= clock.now() - granted_at <= policy.LAG
    assert len(writes) <= 1 + limiter.STAMPS


def test_slow_table_is_remembered(broker: RunningBroker) -> None:
    """While the writes are slow, a container writes each grant once, with a time that is ahead."""
    clock = ManualClock()
    delays = [0.9, 0.9, 0.9, 0, 0, 0.9, 0.9, 0]
    written_at: list[int] = []

    class SlowTable(Table):
        def write(self, change: Change) -> Any:
            written_at.append(clock.now())
            written = super().write(change)
            clock.advance(delays.pop(0))
            return written

    table = SlowTable(clients.dynamodb(), broker.table, clock)
    slow = one_limiter(broker, 8, clock=clock, table=table)

    def writes(pause: float) -> tuple[int, int]:
        clock.advance(pause)
        before, asked_at = len(written_at), clock.now()
        take(slow, f"{before:08x}")
        return len(written_at) - before, clock.now() - asked_at

    assert writes(0) == (2, 1_800), "the first one could not know"
    assert writes(0) == (1, 900)
    assert writes(0) == (1, 900), "the table is fast again, which this one could not know"
    assert writes(0) == (1, 0)
    assert writes(0) == (2, 1_800), "slow again"
    assert writes(2) == (1, 0), "what was so long ago does not count"
    assert not delays


def test_endlessly_slow_table_is_given_up(broker: RunningBroker) -> None:
    """If every write takes longer than the one before, the request is refused after some tries."""
    clock = ManualClock()
    writes: list[Change] = []

    class SlowerTable(Table):
        def write(self, change: Change) -> Any:
            writes.append(change)
            written = super().write(change)
            clock.advance(4.0 ** len(writes))
            return written

    table = SlowerTable(clients.dynamodb(), broker.table, clock)
    with pytest.raises(errors.StoreUnavailable) as raised:
        take(one_limiter(broker, 1, clock=clock, table=table))
    assert raised.value.detail == "Much is asked. Try again in a moment."
    assert raised.value.retry_after == 1
    assert len(writes) == limiter.STAMPS


def test_slow_grant_is_lost_to_promise(broker: RunningBroker) -> None:
    """A slow grant whose slot was promised by its earlier time is not used, and sends nothing."""
    clock = ManualClock()
    other = one_limiter(broker, 1, clock=clock)
    writes: list[Change] = []

    class SlowTable(Table):
        def write(self, change: Change) -> Any:
            writes.append(change)
            written = super().write(change)
            if len(writes) == 1:
                clock.advance(0.9)
                assert refused(other, OTHER).fields["position"] == 1
            return written

    table = SlowTable(clients.dynamodb(), broker.table, clock)
    response = refused(one_limiter(broker, 1, clock=clock, table=table))
    assert "ticket" not in response.fields
    found = Slots.unused(1).read(other.item.copy, {})
    assert found.promises[0].caller == int(OTHER[:8], 16)
    assert found.promises[0].at == found.granted_at[0] + policy.Budget(1, MINUTE, 0).spacing


def test_overslept_grant_gets_new_time(broker: RunningBroker) -> None:
    """A request that was held for too long writes its grant again before it is sent."""

    class Oversleeping(ManualClock):
        def sleep(self, seconds: float) -> None:
            self.advance(seconds + (0 if slept else 3))
            slept.append(seconds)

    slept: list[float] = []
    clock = Oversleeping()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    first = refused(one)
    clock.advance(first.retry_after or 0)
    take(one, CALLER, str(first.fields["ticket"]))
    granted_at = Slots.unused(1).read(one.item.copy, {}).granted_at[0]
    assert 0 <= clock.now() - granted_at <= policy.LAG
    assert len(slept) == 2


def test_threads_share_one_copy(broker: RunningBroker) -> None:
    """A copy that another thread replaces while one decides does not grant a slot twice."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    other = one_limiter(broker, 1, clock=clock)
    sent = []

    class Interleaved(ManualClock):
        def now(self) -> int:
            moments.append(clock.now())
            if len(moments) == interrupted:
                with suppress(errors.RateLimited):
                    take(other, OTHER)
                    sent.append(OTHER)
                one.item.read()
            return clock.now()

    for interrupted in range(1, 9):
        clock.advance(100)
        moments: list[int] = []
        one = one_limiter(broker, 1, clock=Interleaved(), table=table_of(broker, clock))
        one.item.read()
        sent.clear()
        with suppress(errors.RateLimited):
            take(one)
            sent.append(CALLER)
        assert len(sent) == 1, interrupted


def test_decision_and_condition_are_of_one_copy(broker: RunningBroker) -> None:
    """A copy that another thread replaces after the decision is not what the write compares."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    one.item.read()
    old = one.item.copy
    take(one_limiter(broker, 1, clock=clock), OTHER)
    one.item.read()
    copies = [old, one.item.copy]

    class Replaced(SharedItem):
        @property
        def copy(self) -> Any:
            return copies.pop(0) if len(copies) > 1 else copies[0]

        @copy.setter
        def copy(self, item: Any) -> None:
            copies[:] = [item]

    replaced = Replaced.__new__(Replaced)
    replaced.__dict__.update(vars(one.item) | {"pk": "limit#presigns"})
    replaced.__dict__.pop("copy", None)
    one.item = replaced
    assert refused(one).fields["position"] == 1


def test_void_promise_is_replaced(broker: RunningBroker) -> None:
    """The next promise of a slot takes the place of one that was not used."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    lost = refused(one).fields["ticket"]
    clock.advance(64)
    grant = write_grant(Event(clock.now(), 7), 1)
    table_of(broker, clock).write(Change(pk="limit#presigns", sets={"s0": grant}))
    ticket = refused(one, THIRD).fields["ticket"]
    assert ticket != lost
    clock.advance(61)
    take(one, THIRD, str(ticket))


def test_ticket_is_valid_to_the_end_of_its_promise(broker: RunningBroker) -> None:
    """A ticket that comes in the last moment in which its promise is kept is used."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    ticket = str(refused(one).fields["ticket"])
    moment = int(ticket.partition(".")[0], 16)
    clock.milliseconds = moment + policy.GRACE
    permit = one_limiter(broker, 1, clock=clock).acquire(CALLER, ticket)
    assert permit.slot_is is None, "it was not read"
    one.commit(permit)


def test_headers_report_at_least_a_second() -> None:
    """A wait of less than a second is reported as one."""
    state = RateLimitState("names", policy.Budget(3, MINUTE, MINUTE), 0, 0, 0.4)
    assert state.headers()["RateLimit"] == '"names";r=0;t=1'


def test_recovering_slot_is_not_wasted(broker: RunningBroker) -> None:
    """A permit for a slot that the end of a slowdown opens in a moment is used at that moment."""
    clock = ManualClock()
    one = one_limiter(broker, 4, clock=clock)
    one.back_off(10)
    clock.advance(9)
    take(one, OTHER)
    assert clock.now() >= 1_800_000_000_000 + 10_000
    clock.advance(29.2)  # The third of the four slots opens after 30 of the 60 seconds.
    for caller in (CALLER, THIRD):
        take(one, caller)
    assert clock.now() >= 1_800_000_000_000 + 40_000
    found = Slots.unused(4).read(one.item.copy, {})
    assert sum(at > 0 for at in found.granted_at) == 3


def test_last_permit_reports_wait(broker: RunningBroker) -> None:
    """After its last permit a caller learns when the next one is free."""
    clock = ManualClock()
    one = one_limiter(broker, 3, clock=clock)
    first = one.commit(one.acquire(CALLER))
    assert (first.available, first.wait_seconds) == (0, 2)
    take(one, OTHER)
    last = one.commit(one.acquire(THIRD))
    assert last.available == 0
    assert 61 < last.wait_seconds <= 61.3
    many = one_limiter(broker, 9, clock=clock, name="many")
    state = many.commit(many.acquire(CALLER))
    assert (state.available, state.wait_seconds) == (2, 0)
    assert state == many.state(CALLER)


@pytest.mark.parametrize(("pause", "kind"), [(0, errors.QueueFull), (5, errors.RateLimited)])
def test_refused_requests_come_back_at_random(
    broker: RunningBroker, pause: int, kind: type[errors.RateLimited]
) -> None:
    """Requests beyond the moments of two windows come back spread over the next one."""
    clock = ManualClock()
    one = one_limiter(broker, 3, clock=clock)
    for caller in (OTHER, THIRD, "c" * 32):
        take(one, caller)
    known = [refused(one) for _ in range(4)]
    assert [round(each.retry_after or 0) for each in known] == [60, 63, 65, 122]
    assert [bool(each.fields.get("ticket")) for each in known] == [True, False, False, False]
    clock.advance(pause)
    more = [refused(one) for _ in range(40)]
    assert {type(each) for each in more} == {kind}
    waits = [(each.retry_after or 0) + pause for each in more]
    first = 2 * 61.201 - 0.5
    assert all(first <= wait <= first + 61.3 + pause for wait in waits)
    assert max(waits) - min(waits) > 30


def test_nobody_waits_for_internal_permit(broker: RunningBroker) -> None:
    """If nobody would come again, a permit is not promised."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    with pytest.raises(errors.RateLimited):
        one.acquire(CALLER, may_wait=False)
    one.item.read()
    assert not Slots.unused(1).read(one.item.copy, {}).promises
    refused(one, OTHER)
    before = one.state(THIRD).wait_seconds
    with pytest.raises(errors.RateLimited):
        one.acquire(CALLER, may_wait=False)
    assert one.state(THIRD).wait_seconds == before, "no moment is kept for it either"


def test_nobody_waits_for_lost_internal_permit(broker: RunningBroker) -> None:
    """The same if another container takes the permit that was found."""
    clock = ManualClock()
    one, other = (one_limiter(broker, 1, clock=clock) for _ in range(2))
    found = one.acquire(CALLER, may_wait=False)
    take(other, OTHER)
    with pytest.raises(errors.RateLimited):
        one.commit(found)
    one.item.read()
    assert not Slots.unused(1).read(one.item.copy, {}).promises


@pytest.mark.parametrize("is_ticket", [False, True])
def test_repeated_write_takes_one_permit(broker: RunningBroker, is_ticket: bool) -> None:  # noqa: FBT001
    """If boto3 repeats a write whose response was lost, the request takes one permit."""
    clock = ManualClock()

    class Repeating(Table):
        def write(self, change: Change) -> Any:
            super().write(change)
            return super().write(change)

    one = one_limiter(broker, 2, clock=clock)
    ticket: Any = None
    if is_ticket:
        for caller in (OTHER, THIRD):
            take(one, caller)
        first = refused(one)
        ticket = first.fields["ticket"]
        clock.advance(first.retry_after or 0)
    table = Repeating(clients.dynamodb(), broker.table, clock)
    take(one_limiter(broker, 2, clock=clock, table=table), CALLER, ticket)
    one.item.read()
    found = Slots.unused(2).read(one.item.copy, {})
    assert found.callers.count(int(CALLER[:8], 16)) == 1
    assert not found.promises


def test_grant_removes_void_promise(broker: RunningBroker) -> None:
    """A grant of a slot whose promise was not used removes the promise."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    assert "ticket" in refused(one).fields
    clock.advance(64)
    take(one, THIRD)
    found = Slots.unused(1).read(one.item.copy, {})
    assert not found.promises
    assert found.callers == [int(THIRD[:8], 16)]


def test_promise_belongs_to_its_caller(broker: RunningBroker) -> None:
    """The promise of one caller is kept from others, with the same ticket and without."""
    clock = ManualClock()
    one = one_limiter(broker, 1, clock=clock)
    take(one, OTHER)
    first = refused(one)
    ticket: Any = first.fields["ticket"]
    clock.advance((first.retry_after or 0) + 0.5)
    for stranger in (ticket, "", None):
        assert (
            refused(one_limiter(broker, 1, clock=clock), THIRD, stranger).fields.get("ticket")
            != ticket
        )
    take(one_limiter(broker, 1, clock=clock), CALLER, ticket)


@pytest.mark.parametrize("is_free", [True, False])
def test_lost_race_for_every_slot_is_given_up(broker: RunningBroker, is_free: bool) -> None:  # noqa: FBT001
    """A request whose slot is always changed by somebody faster is refused after some tries."""
    clock = ManualClock()
    lost: list[Change] = []

    class Unlucky(Table):
        def write(self, change: Change) -> Any:
            lost.append(change)
            grant = write_grant(Event(1 if is_free else clock.now(), 7), len(lost))
            super().write(Change(pk=change.pk, sets={"s0": grant}))
            return super().write(change)

    table = Unlucky(clients.dynamodb(), broker.table, clock)
    one = one_limiter(broker, 1, clock=clock, table=table)
    response = refused(one)
    assert response.detail == "Much is asked. Try again in 1 second."
    assert response.retry_after == 1
    assert len(lost) == limiter.TRIES + (not is_free), "the first try was for a grant"


@pytest.mark.parametrize(
    ("budget", "window"), [(301, HOUR), (300, MINUTE - 1), (6, 1000), (60, 10_000)]
)
def test_too_much_for_one_item_is_refused(broker: RunningBroker, budget: int, window: int) -> None:
    """More than 300 permits, or 300 a minute, are refused with the reason."""
    reason = "names: at most 300 permits, and 300 in a minute, since a partition of DynamoDB"
    with pytest.raises(ValueError, match=reason):
        one_limiter(broker, budget, window, name="names")
    one_limiter(broker, MOST_PERMITS, MINUTE)


def test_setting_beyond_one_item_is_refused() -> None:
    """A setting of more than 300 a minute is refused with the reason."""
    for name in ("PRESIGNS_PER_MINUTE", "REGISTRATIONS_PER_MINUTE"):
        with pytest.raises(errors.Misconfigured) as raised:
            bootstrap.build({name: "301"})
        wanted = (
            f"{name} is not valid: it must be a whole number from 1 to 300, since one item of "
            "DynamoDB can't be written often enough for more"
        )
        assert wanted in raised.value.detail


def test_voices_queue_tells_true_time(broker: RunningBroker) -> None:
    """With ten permits an hour, a full queue tells when the next one is free."""
    clock = ManualClock()
    voices = one_limiter(broker, 10, HOUR, 5_000, clock=clock, name="voices")
    for number in range(10):
        take(voices, f"{number:08x}" + "0" * 24)
        clock.advance(60)
    response = refused(voices)
    assert isinstance(response, errors.QueueFull)
    true_time = 50 * 60 + 1.201
    assert true_time - policy.LEAD / 1000 <= (response.retry_after or 0) <= true_time + 5
    assert "q=10;w=3600" in response.headers["RateLimit-Policy"]
    assert response.headers["RateLimit"].startswith('"voices";r=0;t=30')
    clock.advance(true_time - 4)
    soon = refused(voices)
    assert not isinstance(soon, errors.QueueFull)
    clock.advance((soon.retry_after or 0) + 0.5)
    take(voices, CALLER, str(soon.fields["ticket"]))


def test_two_limiters_have_two_budgets(broker: RunningBroker) -> None:
    """A rate limiter counts what has its name, and nothing else."""
    take(one_limiter(broker, 1, name="estimates"))
    take(one_limiter(broker, 1, name="voices"))
    assert refused(one_limiter(broker, 1, name="estimates"), OTHER).fields["position"] == 1


def test_refusal_without_tickets_has_none(broker: RunningBroker) -> None:
    """A rate limiter whose clients send no tickets gives none."""
    one = RateLimiter(table_of(broker), broker.clock, "plain", 1, MINUTE, busy="Busy.")
    take(one)
    response = refused(one, OTHER, None)
    assert response.fields == {}
    assert response.detail.startswith("Busy. Try again in ")


def test_wrong_machine_keeps_budget(broker: RunningBroker) -> None:
    """A container whose machine is 15 s behind grants no slot anew before its time."""

    class WrongMachine(Clock):
        def __init__(self, behind: float) -> None:
            self.behind = behind

        def machine_time(self) -> int:
            return super().machine_time() - int(self.behind * 1000)

    right, wrong = Clock(), WrongMachine(15)
    first = one_limiter(broker, 1, clock=wrong)
    before = right.now()
    take(first)
    granted_at = Slots.unused(1).read(first.item.copy, {}).granted_at[0]
    assert before <= granted_at <= right.now() + 2100
    assert 0 <= wrong.uncertainty <= 2100
    assert abs(wrong.now() - right.now()) <= 2100
    second = one_limiter(broker, 1, clock=WrongMachine(-15))
    wait = refused(second, OTHER).retry_after or 0
    assert 58 <= wait <= 65.5


def test_unused_slowdown_is_forgotten(six: RunningBroker) -> None:
    """A slowdown that is over changes nothing."""
    one = one_limiter(six, 6)
    one.back_off(1)
    six.clock.advance(70)
    assert one.state(CALLER).available == 2
    assert Slowdown(0, 1).is_over(60_001)
