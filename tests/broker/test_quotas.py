"""How much a caller may upload: exact under parallel requests, and given back in the end."""

import threading
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from running_broker import Api, RunningBroker, token
from upstream_process import RunningUpstream

from chalicelib import quotas
from chalicelib.callers import Limits

FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}


def left(api: Api) -> tuple[int, int]:
    """Read how many uploads may still be open, and begun today."""
    body = api.call("GET", "/limits").json()
    return body["openUploads"]["left"], body["uploadsPerDay"]["left"]


def begin(api: Api) -> requests.Response:
    """Try to begin an upload."""
    return api.call("POST", "/uploads", json=FILE)


def parallel(api: Api, number: int) -> list[int]:
    """Begin uploads at once, each on a connection of its own; return the statuses."""
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


def test_open(narrow: Api, upstream: RunningUpstream) -> None:
    """One more than may be open is refused with what is left, and sync. is not asked."""
    for expected in (2, 1, 0):
        answer = begin(narrow)
        assert f'"open";r={expected}' in answer.headers["RateLimit"]
        assert '"open";q=3' in answer.headers["RateLimit-Policy"]
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
def test_none_at_all(api: Api, upstream: RunningUpstream, claim: str, path: str) -> None:
    """Who may upload nothing is refused from the first request on, and sync. is not asked."""
    api.token = token(upload={claim: 0})
    url = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    for _ in range(2):
        answer = api.call("POST", path, json=FILE if path == "/uploads" else url)
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
        assert "RateLimit" in answer.headers
    assert upstream.journal() == []


def test_parallel(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A quota of fifty serves fifty parallel requests without an error, and not one more."""
    broker.configure(upstream, MAX_OPEN_UPLOADS="50")
    api = Api(broker)
    assert parallel(api, 50) == [201] * 50
    assert left(api)[0] == 0
    assert parallel(api, 5) == [429] * 5


def test_exact(narrow: Api) -> None:
    """Of fifty parallel requests exactly as many are served as there are places."""
    statuses = parallel(narrow, 50)
    assert sorted(statuses) == [201] * 3 + [429] * 47


@pytest.mark.parametrize("end", ["registered", "cancelled", "failed"])
def test_given_back(narrow: Api, upstream: RunningUpstream, end: str) -> None:
    """However an upload ends, its open place is given back once; the day's count is not."""
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


def test_day(narrow: Api, broker: RunningBroker) -> None:
    """Presign, PUT and cancel is not free: the day's count stays until the day is over."""
    for _ in range(5):
        narrow.call("DELETE", f"/uploads/{narrow.begin()['id']}")
    refused = begin(narrow)
    assert refused.status_code == 429
    assert "today" in refused.json()["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    broker.clock.advance(int(refused.headers["Retry-After"]))
    assert begin(narrow).status_code == 201


@pytest.mark.parametrize("status", [500, 429, 401, 415])
def test_refused_presign(narrow: Api, upstream: RunningUpstream, status: int) -> None:
    """Where no address was handed out, everything is given back."""
    fault = {"kind": "answer", "status": status}
    upstream.order(fault, "POST", "/v2/assets/upload", times=2)
    assert begin(narrow).status_code != 201
    assert left(narrow) == (3, 5)


def test_killed(narrow: Api, broker: RunningBroker) -> None:
    """A place that a killed request took is free again two minutes later."""
    ledger = broker.wired().lifecycle._ledger  # noqa: SLF001 - the kill leaves just this behind
    caller = broker.wired().authenticator.caller(f"Bearer {narrow.token}")
    for number in range(3):
        ledger.reserve(caller.id, caller.limits, f"{number:032d}", 5)
    assert begin(narrow).status_code == 429
    broker.clock.advance(121)
    assert begin(narrow).status_code == 201
    assert left(narrow) == (2, 4)


def test_bytes(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The day's bytes are counted as declared, and corrected when the real size is known."""
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
    assert whole.status_code in {413, 429}


def test_headers_everywhere(api: Api) -> None:
    """What is left is told on the answer to `/limits` too."""
    answer = api.call("GET", "/limits")
    assert '"open";r=1000, "day";r=10000;t=' in answer.headers["RateLimit"]
    assert answer.headers["RateLimit-Policy"] == '"open";q=1000, "day";q=10000;w=86400'


@given(
    st.integers(0, 10), st.integers(0, 10), st.integers(0, 10), st.integers(0, 4_102_444_800_000)
)
def test_refusal_is_honest(opened: int, begun: int, size: int, now: int) -> None:
    """Whatever is used up, the refusal names it and says when it is over."""
    limits = Limits(100, ("*/*",), frozenset(), 5, 5, 5)
    used = quotas.Standing(opened, begun, size, (), ())
    error: Any = quotas.refusal(used, limits, 1, now)
    assert 0 < error.retry_after <= 86_400
    assert quotas.day_of(now + quotas.seconds_left(now) * 1000) > quotas.day_of(now)
    assert set(error.headers) == {"RateLimit", "RateLimit-Policy"}
