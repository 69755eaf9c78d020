"""How much a caller may upload: exact under parallel requests, and released at the end."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core.errors import NotFound, StoreUnavailable
from chalicelib.quotas import store, usage
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.usage import MOST_REFUNDS, Usage
from chalicelib.uploads.models import Status, Upload
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}


def left(api: Api) -> tuple[int, int]:
    """Return how many uploads may still be open, and begun today."""
    body = api.call("GET", "/limits").json()
    return body["openUploads"]["left"], body["uploadsPerDay"]["left"]


def begin(api: Api) -> requests.Response:
    """Try to begin an upload."""
    return api.call("POST", "/uploads", json=FILE)


def parallel(api: Api, number: int) -> list[int]:
    """Begin uploads at once, each on its own connection; return the statuses."""
    statuses: list[int] = []

    def one() -> None:
        caller = Api(api.broker)
        caller.token = api.token
        statuses.append(begin(caller).status_code)

    threads = [threading.Thread(target=one) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


@pytest.fixture
def narrow(broker: RunningBroker, upstream: RunningUpstream) -> Api:
    """A caller who may have three uploads open and begin five a day."""
    broker.configure(upstream, MAX_OPEN_UPLOADS="3", UPLOADS_PER_DAY="5")
    return Api(broker)


def test_open_quota_refuses_one_more(narrow: Api, upstream: RunningUpstream) -> None:
    """One upload more than may be open is refused with what is left, and Sync is not called."""
    for expected in (2, 1, 0):
        response = begin(narrow)
        assert f'"open";r={expected}' in response.headers["RateLimit"]
        assert '"open";q=3' in response.headers["RateLimit-Policy"]
    refused = begin(narrow)
    assert refused.status_code == 429
    assert refused.json()["code"] == "quota_exceeded"
    assert refused.json()["retryable"] is True
    assert refused.headers["Retry-After"] == "60"
    assert '"open";r=0' in refused.headers["RateLimit"]
    assert narrow.line(refused)["dynamodbCalls"] == 1
    assert upstream.outcomes() == ["presigned"] * 3
    assert left(narrow) == (0, 2)


@pytest.mark.parametrize("claim", ["maxOpen", "perDay", "bytesPerDay"])
@pytest.mark.parametrize("path", ["/uploads", "/assets"])
def test_caller_without_quota_is_refused(
    api: Api, upstream: RunningUpstream, claim: str, path: str
) -> None:
    """A caller without any quota is refused from the first request on, and Sync is not called."""
    api.token = token(upload={claim: 0})
    url = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    for _ in range(2):
        response = api.call("POST", path, json=FILE if path == "/uploads" else url)
        assert (response.status_code, response.json()["code"]) == (429, "quota_exceeded")
        assert "RateLimit" in response.headers
    assert upstream.journal() == []


def test_quota_allows_parallel_requests(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A quota of fifty allows fifty parallel requests, and not one more."""
    broker.configure(upstream, MAX_OPEN_UPLOADS="50")
    api = Api(broker)
    assert parallel(api, 50) == [201] * 50
    assert left(api)[0] == 0
    assert parallel(api, 5) == [429] * 5


def test_quota_is_exact_in_parallel(narrow: Api) -> None:
    """Exactly as many of fifty parallel requests succeed as the quota allows."""
    statuses = parallel(narrow, 50)
    assert sorted(statuses) == [201] * 3 + [429] * 47


@pytest.mark.parametrize("end", ["registered", "cancelled", "failed"])
def test_each_end_releases_once(narrow: Api, upstream: RunningUpstream, end: str) -> None:
    """Each end of an upload releases its open upload once; the day's count stays."""
    upload = narrow.landed()
    assert left(narrow) == (2, 4)
    if end == "cancelled":
        for _ in range(2):
            narrow.call("DELETE", f"/uploads/{upload['id']}")
    else:
        if end == "failed":
            upstream.behave(planMaxBytes=1)
        for _ in range(2):
            narrow.complete(upload)
    assert narrow.call("GET", f"/uploads/{upload['id']}").json()["status"] == end
    assert left(narrow) == (3, 4)


def test_cancelled_upload_counts_in_day(narrow: Api, broker: RunningBroker) -> None:
    """Presign, PUT and cancel count: the day's count stays until the day is over."""
    for _ in range(5):
        narrow.call("DELETE", f"/uploads/{narrow.begin()['id']}")
    refused = begin(narrow)
    assert refused.status_code == 429
    assert "today" in refused.json()["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    broker.clock.advance(int(refused.headers["Retry-After"]))
    assert begin(narrow).status_code == 201


@pytest.mark.parametrize("status", [500, 429, 401, 415])
def test_refused_presign_releases_quota(
    narrow: Api, upstream: RunningUpstream, status: int
) -> None:
    """If no upload URL was returned, the whole reservation is released."""
    fault = {"kind": "answer", "status": status}
    upstream.order(fault, "POST", "/v2/assets/upload", times=2)
    assert begin(narrow).status_code != 201
    assert left(narrow) == (3, 5)


def kill(api: Api, number: int) -> str:
    """Leave reservations behind, as killed requests do. Return their caller."""
    quotas = api.broker.parts().quotas
    caller = api.broker.parts().authenticator.caller(f"Bearer {api.token}")
    for _ in range(number):
        quotas.reserve(caller.id, caller.limits, uuid.uuid4().hex, 5)
    return caller.id


def test_killed_request_releases_quota(narrow: Api, broker: RunningBroker) -> None:
    """A killed request's reservation is free after two minutes, in `/limits` too."""
    kill(narrow, 3)
    assert begin(narrow).status_code == 429
    assert left(narrow) == (0, 2)
    broker.clock.advance(121)
    assert left(narrow) == (3, 5)
    response = begin(narrow)
    assert response.status_code == 201
    assert '"open";r=2, "day";r=4;' in response.headers["RateLimit"]
    assert left(narrow) == (2, 4)


def test_release_counts_once(narrow: Api) -> None:
    """A reservation that is released twice is released once."""
    quotas = narrow.broker.parts().quotas
    caller = narrow.broker.parts().authenticator.caller(f"Bearer {narrow.token}")
    kill(narrow, 1)
    used = quotas.reserve(caller.id, caller.limits, uuid.uuid4().hex, 5)
    for _ in range(2):
        quotas.release(caller.id, used.reservations[-1])
    assert left(narrow) == (2, 4)
    assert counted(narrow, caller.id)["open"] == 1


def test_repeated_reservation_counts_once(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If boto3 repeats a reservation whose response was lost, it counts once."""
    broker.configure(upstream, MAX_OPEN_UPLOADS="3", UPLOADS_PER_DAY="5")
    api = Api(broker)
    lost = faulty_dynamodb.order(
        "cut-after", "UpdateItem", "not_exists(#reservation)", lasting=False
    )
    assert begin(api).status_code == 201
    assert lost.carried_out
    assert left(api) == (2, 4)


@pytest.fixture
def at_noon(broker: RunningBroker, upstream: RunningUpstream) -> Api:
    """A caller with a quota of bytes, at noon (UTC), so that no day ends during a test."""
    broker.configure(upstream, UPLOADS_PER_DAY="5", BYTES_PER_DAY="1000")
    broker.clock.to_noon()
    return Api(broker)


def counted(api: Api, caller: str) -> dict[str, Any]:
    """Return a caller's stored counters, without the reservations."""
    found = clients.dynamodb().get_item(
        TableName=api.broker.table, Key={"pk": {"S": f"quota#{caller}"}}
    )["Item"]
    return {name: int(value["N"]) for name, value in found.items() if "N" in value}


def test_killed_request_releases_its_own_day(at_noon: Api) -> None:
    """A killed request's reservation is released on its own day, not on the next one."""
    at_noon.broker.clock.advance(43_200 - 60)
    yesterday = usage.day_of(at_noon.broker.clock.now())
    caller = kill(at_noon, 2)
    assert counted(at_noon, caller)[f"uploads#{yesterday}"] == 2
    at_noon.broker.clock.advance(300)
    today = usage.day_of(at_noon.broker.clock.now())
    assert today > yesterday
    # The day's count can't exceed the day's reservations.
    limits = at_noon.call("GET", "/limits").json()
    assert (limits["uploadsPerDay"]["left"], limits["bytesPerDay"]["left"]) == (5, 1000)
    assert limits["openUploads"]["left"] == 1000
    response = begin(at_noon)
    assert '"open";r=999, "day";r=4;' in response.headers["RateLimit"]
    found = counted(at_noon, caller)
    assert (found["open"], found[f"uploads#{today}"], found[f"bytes#{today}"]) == (1, 1, 5)
    assert found.get(f"uploads#{yesterday}", 0) == found.get(f"bytes#{yesterday}", 0) == 0


def test_late_request_keeps_new_day(at_noon: Api) -> None:
    """A request that starts before midnight and ends after it leaves the new day's count alone."""
    broker = at_noon.broker
    broker.clock.advance(43_200 - 60)
    quotas = bootstrap.broker().quotas
    caller = bootstrap.broker().authenticator.caller(f"Bearer {at_noon.token}")
    broker.clock.advance(70)
    for _ in range(3):
        at_noon.begin()
    broker.clock.advance(-70)
    used = quotas.reserve(caller.id, caller.limits, "0" * 32, 5)
    broker.clock.advance(70)
    assert not used.outdated, "tomorrow is not outdated"
    today = usage.day_of(broker.clock.now())
    assert counted(at_noon, caller.id)[f"uploads#{today}"] == 3


def test_old_days_are_outdated() -> None:
    """A day's counts are removed two days later, not before."""
    kept = {f"uploads#2026-11-{day}": 1 for day in (20, 21, 22, 23, 24)}
    used = usage.read_usage({"pk": "quota#a", "open": 1, **kept}, "2026-11-23")
    assert used.outdated == ("uploads#2026-11-20", "uploads#2026-11-21")
    assert usage.read_usage({"bytes#2026-12-31": 1}, "2027-01-01").outdated == ()


def test_outdated_days_are_removed(at_noon: Api) -> None:
    """A new upload removes the counts of the days before yesterday."""
    caller = at_noon.broker.parts().authenticator.caller(f"Bearer {at_noon.token}").id
    days = []
    for _ in range(4):
        days.append(usage.day_of(at_noon.broker.clock.now()))
        at_noon.begin()
        at_noon.broker.clock.advance(86_400)
    kept = {f"{name}#{day}" for name in ("uploads", "bytes") for day in days[2:]}
    assert set(counted(at_noon, caller)) == {"open", *kept}


def test_real_bytes_count_on_begin_day(at_noon: Api) -> None:
    """The real bytes count on the day on which the upload was begun."""
    upload = at_noon.begin(b"x" * 10)
    at_noon.put(upload, b"x" * 30)
    at_noon.broker.clock.advance(86_400)
    assert at_noon.complete(upload).status_code == 200
    assert at_noon.call("GET", "/limits").json()["bytesPerDay"]["left"] == 1000
    begun = usage.day_of(at_noon.broker.clock.now() - 86_400_000)
    caller = at_noon.broker.parts().authenticator.caller(f"Bearer {at_noon.token}")
    assert counted(at_noon, caller.id)[f"bytes#{begun}"] == 30


def test_upload_without_reservation_is_not_written(narrow: Api) -> None:
    """An upload whose reservation was released is not written."""
    broker = narrow.broker.parts()
    caller = broker.authenticator.caller(f"Bearer {narrow.token}")
    upload_id = uuid.uuid4().hex
    used = broker.quotas.reserve(caller.id, caller.limits, upload_id, 5)
    broker.quotas.release(caller.id, *used.reservations)
    at = used.reservations[0].at
    upload = Upload(upload_id, caller.id, Status.PENDING, at, at, "VIDEO", 5, size=5)
    with pytest.raises(StoreUnavailable, match="took too long"):
        broker.repository.create(upload, used)
    with pytest.raises(NotFound):
        broker.repository.get(upload_id, caller.id)
    assert left(narrow) == (3, 5)


def test_bytes_quota_uses_real_size(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The day's bytes are counted as declared, and corrected by the real size."""
    broker.configure(upstream, BYTES_PER_DAY="100")
    api = Api(broker)
    upload = api.begin(b"x" * 60)
    assert api.call("GET", "/limits").json()["bytesPerDay"]["left"] == 40
    refused = api.call("POST", "/uploads", json={**FILE, "size": 41})
    assert refused.status_code == 429
    assert "bytes" in refused.json()["detail"]
    assert '"bytes";r=40' in refused.headers["RateLimit"]
    api.put(upload, b"x" * 20)
    assert api.complete(upload).status_code == 200
    assert api.call("GET", "/limits").json()["bytesPerDay"]["left"] == 80
    whole = api.call("POST", "/uploads", json={**FILE, "size": 101})
    assert (whole.status_code, whole.json()["code"]) == (429, "quota_exceeded")


@pytest.fixture
def url_caller(broker: RunningBroker, upstream: RunningUpstream) -> Api:
    """A caller who may register two public URLs at once, three a day, with 10 bytes."""
    broker.configure(
        upstream,
        MAX_OPEN_UPLOADS="2",
        UPLOADS_PER_DAY="3",
        BYTES_PER_DAY="10",
        PUBLIC_URL_EXCEPTIONS=upstream.url,
        SYNC_STORAGE_HOSTS="a.example",
    )
    return Api(broker)


def register(api: Api, url: str) -> requests.Response:
    """Try to register a public URL."""
    return api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})


def test_urls_count_in_day(url_caller: Api, upstream: RunningUpstream) -> None:
    """Public URLs count in the day's uploads."""
    url = upstream.upload(b"x")
    for expected in (2, 1, 0):
        response = register(url_caller, url)
        assert response.status_code == 201
        assert f'"day";r={expected};' in response.headers["RateLimit"]
        assert response.headers["RateLimit-Policy"].startswith('"open";q=2, "day";q=3;w=86400')
    refused = register(url_caller, url)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert '"day";r=0;' in refused.headers["RateLimit"]
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 3


def test_ambiguous_urls_count_as_open(url_caller: Api, upstream: RunningUpstream) -> None:
    """Public URLs with an ambiguous outcome count as open uploads."""
    url = upstream.upload(b"x")
    upstream.order({"kind": "cut"}, "POST", "/v2/assets", times=2)
    for _ in range(2):
        assert register(url_caller, url).status_code == 202
    assert register(url_caller, url).status_code == 429


def test_urls_count_real_bytes(url_caller: Api, upstream: RunningUpstream) -> None:
    """Public URLs count with their real bytes."""
    for size in (9, 1):
        assert register(url_caller, upstream.upload(b"x" * size)).status_code == 201
    refused = register(url_caller, upstream.upload(b"x"))
    assert refused.status_code == 429
    assert "bytes" in refused.json()["detail"]


@pytest.mark.parametrize("status", [401, 429])
def test_refused_url_releases_quota(
    url_caller: Api, broker: RunningBroker, upstream: RunningUpstream, status: int
) -> None:
    """If Sync made nothing, and the caller knows no id, the whole reservation is released."""
    url = upstream.upload(b"x")
    upstream.order({"kind": "answer", "status": status}, "POST", "/v2/assets", times=3)
    for _ in range(3):
        assert register(url_caller, url).status_code == {401: 502, 429: 503}[status]
        broker.clock.advance(10)  # the pause after a 429 without `Retry-After`
    assert left(url_caller) == (2, 3)
    assert url_caller.call("GET", "/limits").json()["bytesPerDay"]["left"] == 10
    assert register(url_caller, url).status_code == 201


def test_limits_response_has_quota_headers(api: Api) -> None:
    """The response to `/limits` has the quota headers too."""
    response = api.call("GET", "/limits")
    assert '"open";r=1000, "day";r=10000;t=' in response.headers["RateLimit"]
    expected = '"open";q=1000, "day";q=10000;w=86400, "presigns";q=300;w=60'
    assert response.headers["RateLimit-Policy"] == expected


@given(
    st.integers(0, 10), st.integers(0, 10), st.integers(0, 10), st.integers(0, 4_102_444_800_000)
)
def test_quota_refusal_names_reset(opened: int, begun: int, size: int, now: int) -> None:
    """A refusal names the exhausted quota and when it is available again."""
    limits = Limits(100, ("*/*",), frozenset(), 5, 5, 5)
    used = Usage(opened, begun, size, (), ())
    error: Any = usage.refusal(used, limits, 1, now)
    assert 0 < error.retry_after <= 86_400
    assert usage.day_of(now + usage.seconds_left(now) * 1000) > usage.day_of(now)
    assert set(error.headers) == {"RateLimit", "RateLimit-Policy"}
    forbidden = usage.refusal(used, replace(limits, uploads_per_day=0), 1, now)
    assert forbidden.retry_after == usage.seconds_left(now), "nothing that ends sooner helps"


@pytest.mark.parametrize(
    ("size", "of_file"), [(4_100_000, ", and this file is 4.1 MB"), (0, "")], ids=["file", "url"]
)
def test_bytes_refusal_has_numbers(size: int, of_file: str) -> None:
    """A refusal by the day's bytes names what was used, what is allowed, and the file's size."""
    limits = Limits(10**7, ("*/*",), frozenset(), 5, 5, 10**7)
    noon = 1_795_953_600_000  # 2026-11-29T12:00:00Z
    error = usage.refusal(Usage(0, 1, 6_000_000, (), ()), limits, size, noon)
    uploaded = "You have uploaded 6 MB of the 10 MB that you can upload in a day"
    assert error.detail == f"{uploaded}{of_file}. Try again in 12 hours."


def test_containers_share_cap_of_a_minute(broker: RunningBroker) -> None:
    """All containers share one minute's cap, also if one clock is ahead."""
    quotas, purpose = broker.parts().quotas, uuid.uuid4().hex
    assert [quotas.allow(purpose, 10, wanted, 5) for wanted in (3, 3, 3)] == [3, 2, 0]
    assert quotas.allow(purpose, 10, 3, 4) == 0, "the cap is less than the use"
    assert quotas.allow(purpose, 9, 3, 5) == 0, "this clock is behind"
    assert quotas.allow(purpose, 11, 1, 5) == 1
    assert quotas.allow(purpose, 10, 9, 5) == 4, "the next minute has begun elsewhere"
    assert quotas.allow(purpose, 13, 9, 5) == 5


def test_cap_is_not_granted_twice(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If another container uses the cap between a read and a write, nothing is granted."""
    broker.configure(upstream)
    quotas, purpose = broker.parts().quotas, uuid.uuid4().hex
    assert quotas.allow(purpose, 10, 1, 5) == 1
    slow = faulty_dynamodb.order("slow-before", "UpdateItem", purpose, lasting=False, seconds=1.5)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(quotas.allow, purpose, 10, 2, 5)
        assert slow.reached.wait(10)
        assert quotas.allow(purpose, 10, 2, 5) == 2
        slow.released.set()
    assert late.result() == 0
    assert quotas.allow(purpose, 10, 9, 5) == 2


def test_nothing_is_left() -> None:
    """A quota that is used up, or overdrawn by a narrower claim, has 0 left."""
    limits = Limits(100, ("*/*",), frozenset(), 5, 5, 5)
    for used in (5, 9):
        headers = usage.rate_limit(Usage(used, used, used, (), ()), limits, 0)
        state = '"open";r=0, "day";r=0;t=86400, "bytes";r=0;t=86400'
        assert headers["RateLimit"] == state


def test_refund(at_noon: Api) -> None:
    """A refund gives everything back; counted ones do so ten times a day."""
    broker = at_noon.broker
    table = Table(clients.dynamodb(), broker.table, broker.clock)
    caller, now = uuid.uuid4().hex, broker.clock.now()
    day = usage.day_of(now)
    for _ in range(MOST_REFUNDS):
        assert table.transact(store.refund(caller, now, 5, is_counted=True)) is None
    assert table.transact(store.refund(caller, now, 5, is_counted=True)) is not None
    assert table.transact(store.refund(caller, now, 5, is_counted=False)) is None
    given = MOST_REFUNDS + 1
    assert counted(at_noon, caller) == {
        "open": -given,
        f"uploads#{day}": -given,
        f"bytes#{day}": -5 * given,
        f"refunds#{day}": MOST_REFUNDS,
    }
    tomorrow = now + 86_400_000
    assert table.transact(store.refund(caller, tomorrow, 5, is_counted=True)) is None


@pytest.mark.parametrize(("real", "more"), [(7, {"bytes#1970-01-01": 2}), (5, {}), (None, {})])
def test_only_other_size_corrects_bytes(real: int | None, more: dict[str, int]) -> None:
    """The declared bytes stay if the real size equals them, or is unknown."""
    assert store.byte_correction(1000, 5, real) == more
