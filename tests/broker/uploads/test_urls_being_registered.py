"""Public URLs that never respond fail in the end, are few, and block no other caller."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.uploads import asset_owners
from chalicelib.uploads.models import Lease
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")

POST = ("POST", "/v2/assets")
# The request was sent, Sync made nothing, and the response does not show that.
AMBIGUOUS = {"kind": "answer", "status": 504}
SLOW_AMBIGUOUS = [{"kind": "delay", "seconds": 0.8}, AMBIGUOUS]
SETTLED = 200  # seconds: the longest attempt, the clocks' margin and SETTLE_SECONDS


@pytest.fixture
def site(broker: RunningBroker, upstream: RunningUpstream) -> str:
    """A site whose URLs may be registered."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    return upstream.url


def register(api: Api, url: str) -> requests.Response:
    """Register a public URL."""
    return api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})


def register_with_key(api: Api, url: str) -> requests.Response:
    """Register a public URL with a key that is the same for each call."""
    headers = {"Idempotency-Key": "once"}
    return api.call("POST", "/assets", json={"url": url, "type": "VIDEO"}, headers=headers)


def count_posts(upstream: RunningUpstream) -> int:
    """Return how many registrations reached Sync."""
    return [(one["method"], one["path"]) for one in upstream.journal()].count(POST)


def in_work(broker: RunningBroker) -> set[str]:
    """Return the ids of the public URLs in work."""
    item = Table(clients.dynamodb(), broker.table, Clock()).get(asset_owners.REGISTERING) or {}
    return set(item.get("all", {}).get("SS", []))


def test_second_ambiguous_outcome_fails_url(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A URL that never responds is tried twice and then fails, also without a call."""
    broker.clock.to_noon()
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST, times=None)
    first = register(api, f"{site}/never.mp4")
    assert first.status_code == 202
    assert in_work(broker) == {first.json()["id"]}
    for _ in range(2):
        broker.clock.advance(SETTLED)
        broker.sweep()
    failed = api.call("GET", f"/uploads/{first.json()['id']}").json()
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "url_timeout"
    assert api.complete(first.json()).json()["code"] == "url_timeout"
    assert count_posts(upstream) == 2
    assert in_work(broker) == set()
    limits = api.call("GET", "/limits").json()
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]
    assert limits["uploadsPerDay"]["left"] == limits["uploadsPerDay"]["limit"] - 1
    broker.clock.advance(7200)
    broker.sweep()
    assert count_posts(upstream) == 2


@pytest.mark.usefixtures("site")
def test_undecided_url_raises_one_alarm(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If no lookup can decide whether an asset is the URL's, the URL fails, with one alarm."""
    # Another program's asset of this URL, which Sync lists without its URL, may be the upload's.
    upstream.behave(assetUrl="absent")
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST)
    first = register(api, upstream.upload())
    upstream.asset(b"theirs")
    for _ in range(8):
        broker.clock.advance(SETTLED)
        broker.sweep()
    failed = api.call("GET", f"/uploads/{first.json()['id']}").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "url_timeout")
    assert len(broker.lines("outcome_undecided")) == 1
    assert count_posts(upstream) == 2, "the upload's own and the other program's"


def test_late_asset_is_recorded(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """An asset that Sync finishes after the second POST was given up is recorded."""
    api = Api(broker)
    url = upstream.upload()
    assert url.startswith(site)
    upstream.order(AMBIGUOUS, *POST)
    upstream.order({"kind": "answer", "status": 504, "when": "after"}, *POST)
    upstream.order({"kind": "answer", "status": 500}, "GET", "/v2/assets", skip=2, times=2)
    upload = register(api, url).json()
    broker.clock.advance(SETTLED)
    assert api.complete(upload).status_code == 202
    broker.clock.advance(60)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 2
    assert in_work(broker) == set()


def test_caller_has_five_urls_in_work(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A burst leaves five URLs of one caller in work, and the others have to wait."""
    api = Api(broker)
    upstream.order(SLOW_AMBIGUOUS, *POST, times=None)
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda n: register(api, f"{site}/{n}.mp4"), range(20)))
    taken = [one for one in responses if one.status_code == 202]
    refused = [one for one in responses if one.status_code == 429]
    assert (len(taken), len(refused)) == (5, 15)
    assert {one.json()["code"] for one in refused} == {"too_many_unknown_urls"}
    assert {one.headers["Retry-After"] for one in refused} == {"10"}
    assert count_posts(upstream) == 5
    assert len(in_work(broker)) == 5
    limits = api.call("GET", "/limits").json()
    assert limits["uploadsPerDay"]["left"] == limits["uploadsPerDay"]["limit"] - 5
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"] - 5
    upstream.call("DELETE", "/_sandbox/faults")
    other = register(Api(broker), upstream.upload())
    assert other.status_code == 201, "another caller does not wait"
    files = api.landed()
    assert api.complete(files).status_code == 200, "nor is a file of the same caller"


def test_all_callers_have_fifty_urls_in_work(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """However many callers come, 50 URLs are in work, also in a burst of 60."""
    upstream.order(SLOW_AMBIGUOUS, *POST, times=None)
    callers = [Api(broker) for _ in range(60)]
    with ThreadPoolExecutor(60) as pool:
        responses = list(pool.map(lambda api: register(api, f"{site}/x.mp4"), callers))
    statuses = [one.status_code for one in responses]
    assert statuses.count(202) + statuses.count(429) == 60, statuses
    assert statuses.count(202) <= 50
    assert len(in_work(broker)) == statuses.count(202)
    # Requests that were refused only because of conflicts succeed until 50 URLs are in work.
    for api, response in zip(callers, responses, strict=True):
        if response.status_code == 429:
            register(api, f"{site}/x.mp4")
    assert len(in_work(broker)) == 50


def test_reconciliations_take_permits(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """However often a caller completes its URLs, Sync's list is read as often as permitted."""
    broker.configure_again(REGISTRATIONS_PER_MINUTE="30")
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST, times=None)
    uploads = [register(api, f"{site}/{number}.mp4").json() for number in range(5)]
    broker.clock.advance(11)
    broker.clock.tick()  # so that no permit is released, however slow the machine is
    before = len(upstream.journal())
    responses = [api.complete(uploads[number % 5]) for number in range(60)]
    assert {one.status_code for one in responses} == {202}
    assert all(1 <= int(one.headers["Retry-After"]) <= 3 * 62 for one in responses)
    reads = [one for one in upstream.journal()[before:] if one["method"] == "GET"]
    assert len(reads) == 10, "a third of the permits"


def test_refused_url_takes_no_permit(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A URL that is refused by number leaves the permits to its caller's files."""
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST, times=None)
    for number in range(5):
        assert register(api, f"{site}/{number}.mp4").status_code == 202
    for number in range(40):
        assert register(api, f"{site}/more-{number}.mp4").json()["code"] == "too_many_unknown_urls"
    upstream.call("DELETE", "/_sandbox/faults")
    assert api.complete(api.landed()).status_code == 200
    limits = api.call("GET", "/limits").json()
    assert limits["uploadsPerDay"]["left"] == limits["uploadsPerDay"]["limit"] - 6


def test_frozen_request_enters_no_url(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A request that was frozen until others have finished does not enter its URL any more."""
    api = Api(broker)
    upstream.order({"kind": "answer", "status": 504}, *POST)
    upload = register(api, upstream.upload()).json()
    service = broker.parts().uploads
    caller = broker.parts().authenticator.caller(f"Bearer {api.token}")
    frozen = service.get(caller, upload["id"])
    assert frozen.source_url is not None
    assert frozen.source_url.startswith(site)
    broker.clock.advance(SETTLED)
    assert api.complete(upload).status_code == 200
    assert frozen.attempt is not None
    with pytest.raises(errors.StoreUnavailable):
        broker.parts().repository.begin_registering(Lease(frozen, frozen.attempt))
    assert in_work(broker) == set()


def test_key_gets_asset_though_limited(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A repeated request with its key gets its asset, also if its caller has no permit left."""
    broker.configure_again(REGISTRATIONS_PER_MINUTE="2")
    api = Api(broker)
    url = upstream.upload()
    assert url.startswith(site)
    first = register_with_key(api, url)
    assert first.status_code == 201
    broker.clock.tick()  # as above
    assert register(api, url).status_code == 429
    again = register_with_key(api, url)
    assert (again.status_code, again.json()) == (201, first.json())


def test_key_of_failed_url_gets_its_problem(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A repeated request whose upload has failed meanwhile gets the problem of the failure."""
    api, url = Api(broker), f"{site}/never.mp4"
    upstream.order(AMBIGUOUS, *POST, times=None)
    assert register_with_key(api, url).status_code == 202
    for _ in range(2):
        broker.clock.advance(SETTLED)
        broker.sweep()
    again = register_with_key(api, url)
    assert (again.status_code, again.json()["code"]) == (422, "url_timeout")
    assert count_posts(upstream) == 2


@pytest.mark.usefixtures("site")
def test_key_of_cancelled_url_gets_its_problem(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A repeated request whose upload was cancelled meanwhile is 410, and registers nothing."""
    api, url = Api(broker), upstream.upload()
    upstream.order(AMBIGUOUS, *POST)
    upload = register_with_key(api, url).json()
    broker.clock.advance(SETTLED)
    upstream.order({"kind": "answer", "status": 401}, *POST)
    assert api.complete(upload).status_code == 502
    assert api.call("DELETE", f"/uploads/{upload['id']}").status_code == 204
    before = count_posts(upstream)
    again = register_with_key(api, url)
    assert (again.status_code, again.json()["code"]) == (410, "upload_cancelled")
    assert count_posts(upstream) == before


def test_reopened_url_counts_again(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """A URL that went back to pending is counted again when it is tried again."""
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST)
    upload = register(api, upstream.upload()).json()
    broker.clock.advance(SETTLED)
    upstream.order({"kind": "answer", "status": 401}, *POST)
    assert api.complete(upload).status_code == 502
    assert in_work(broker) == set()
    upstream.order(AMBIGUOUS, *POST, times=None)
    for number in range(5):
        assert register(api, f"{site}/{number}.mp4").status_code == 202
    refused = api.complete(upload)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_unknown_urls")
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"


def test_sweep_tries_files_first(
    broker: RunningBroker, upstream: RunningUpstream, site: str
) -> None:
    """The sweep tries all files before the URLs, which may occupy every worker."""
    upstream.order(AMBIGUOUS, *POST, times=None)
    for _ in range(2):
        api = Api(broker)
        for number in range(5):
            assert register(api, f"{site}/{number}.mp4").status_code == 202
    upstream.call("DELETE", "/_sandbox/faults")
    callers = [Api(broker) for _ in range(3)]
    files = [one.landed() for one in callers]
    broker.clock.advance(SETTLED)
    upstream.order(SLOW_AMBIGUOUS, *POST, skip=3, times=None)
    before = len(upstream.journal())
    started = time.time()
    broker.sweep()
    tried = [one for one in upstream.journal()[before:] if one["path"] == "/v2/assets"]
    made = [one for one in tried if one["method"] == "POST"]
    assert [one["outcome"].startswith("asset") for one in made] == [True] * 3 + [False] * 10
    assert all(one["time"] >= started for one in made)
    for one, file in zip(callers, files, strict=True):
        assert one.call("GET", f"/uploads/{file['id']}").json()["status"] == "registered"


def test_sweep_shares_cap_among_callers(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A caller with many older unfinished files does not use up the sweep's cap."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="4")
    greedy, light = Api(broker), Api(broker)
    for _ in range(12):
        greedy.landed()
    broker.clock.advance(5)
    upload = light.landed()
    broker.clock.advance(61)
    broker.sweep()
    assert light.call("GET", f"/uploads/{upload['id']}").json()["status"] == "registered"


@pytest.mark.parametrize("status", [401, 429])
def test_refused_url_is_no_longer_in_work(
    broker: RunningBroker,
    upstream: RunningUpstream,
    site: str,
    status: int,
) -> None:
    """A URL whose record is deleted again, because Sync made nothing, is not in work any more."""
    upstream.order({"kind": "answer", "status": status}, *POST)
    assert register(Api(broker), f"{site}/refused.mp4").status_code >= 500
    assert in_work(broker) == set()


def test_failed_preparation_is_no_second_post(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """If the second POST can't be prepared, the next call sends it at once, and Sync is asked."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    api = Api(broker)
    upstream.order(AMBIGUOUS, *POST)
    upload = register(api, upstream.upload()).json()
    broker.clock.advance(SETTLED)
    faulty_dynamodb.order("throttled", "TransactWriteItems", asset_owners.REGISTERING)
    assert api.complete(upload).status_code == 503
    assert count_posts(upstream) == 1
    faulty_dynamodb.heal()
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 2
