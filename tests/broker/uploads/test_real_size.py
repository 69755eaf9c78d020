"""Storage does not enforce the declared size, so the broker checks the real one."""

import pytest

from chalicelib.auth.caller import Caller
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream, put

pytestmark = pytest.mark.usefixtures("nothing_due")


@pytest.fixture
def small(broker: RunningBroker, upstream: RunningUpstream) -> Api:
    """A caller who may upload 10 bytes."""
    broker.configure(
        upstream,
        MAX_UPLOAD_BYTES="10",
        PUBLIC_URL_EXCEPTIONS=upstream.url,
        SYNC_STORAGE_HOSTS="a.example",
        BYTES_PER_DAY="1000",
    )
    return Api(broker)


def caller(api: Api) -> Caller:
    """Return the broker's record of a caller."""
    return api.broker.parts().authenticator.caller(f"Bearer {api.token}")


def assets(upstream: RunningUpstream) -> list[str]:
    """Return the ids of Sync's assets."""
    return [asset["id"] for asset in upstream.call("GET", "/v2/assets").json()["items"]]


def test_too_large_file_is_deleted(small: Api, upstream: RunningUpstream) -> None:
    """A file of eleven bytes that was declared as one fails for good, and its asset is deleted."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    for _ in range(2):
        response = small.complete(upload)
        assert response.status_code == 413
        assert response.json()["code"] == "file_too_large"
        words = '"clip.mp4" is 11 bytes. The largest file allowed is 10 bytes.'
        assert response.json()["detail"] == words
    assert small.call("GET", f"/uploads/{upload['id']}").json()["status"] == "failed"
    assert assets(upstream) == []
    limits = small.call("GET", "/limits").json()
    assert limits["bytesPerDay"]["left"] == 989, "the real bytes are charged"
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]


def test_larger_file_within_limit_is_registered(small: Api) -> None:
    """A file that is larger than declared and within the limit is registered."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 10)
    assert small.complete(upload).json()["asset"]["size"] == 10


def test_too_large_url_is_deleted(small: Api, upstream: RunningUpstream) -> None:
    """A public URL that is too large fails too, and its asset is deleted."""
    url = upstream.upload(b"x" * 11)
    response = small.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert response.status_code == 413
    assert assets(upstream) == []


def test_empty_file_fails(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A PUT that stored nothing fails for good as empty, and its asset is deleted."""
    upload = small.begin(b"x" * 10)
    small.put(upload, b"")
    for _ in range(2):
        response = small.complete(upload)
        assert (response.status_code, response.json()["code"]) == (422, "file_empty")
        assert response.json()["detail"] == '"clip.mp4" arrived empty. Upload it again.'
        assert response.json()["retryable"] is False
    read = small.call("GET", f"/uploads/{upload['id']}").json()
    assert (read["status"], read["asset"]) == ("failed", None)
    assert (read["error"]["code"], read["error"]["detail"]) == (
        "file_empty",
        '"clip.mp4" arrived empty. Upload it again.',
    )
    assert assets(upstream) == []
    assert len(broker.lines("asset_deleted")) == 1
    limits = small.call("GET", "/limits").json()
    assert limits["bytesPerDay"]["left"] == 1000, "the real bytes are charged"
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]


def test_reconciled_empty_file_fails(small: Api, upstream: RunningUpstream) -> None:
    """An empty asset that reconciliation finds fails and is deleted too."""
    upload = small.begin(b"x")
    small.put(upload, b"")
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    assert small.complete(upload).json()["code"] == "file_empty"
    assert assets(upstream) == []


def test_sweep_ends_empty_file(
    small: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The sweep ends an empty upload without its browser, and repeats a deletion that failed."""
    upload = small.begin(b"x")
    small.put(upload, b"")
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    broker.clock.advance(61)
    broker.sweep()
    read = small.call("GET", f"/uploads/{upload['id']}").json()
    assert (read["status"], read["error"]["code"]) == ("failed", "file_empty")
    assert len(assets(upstream)) == 1
    broker.clock.advance(61)
    broker.sweep()
    assert assets(upstream) == []


def empty_url(upstream: RunningUpstream) -> str:
    """Store an empty file, and return its URL."""
    ticket = upstream.presign(size=1)
    assert put(ticket["uploadUrl"], b"").status_code == 200
    url: str = ticket["url"]
    return url


@pytest.mark.parametrize("size", [0, 0.0, "0"])
@pytest.mark.parametrize("whose", ["own", "foreign"])
def test_empty_url_fails(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, whose: str, size: object
) -> None:
    """An empty public URL fails too; its asset is deleted only if this POST has made it."""
    url = empty_url(upstream)
    if whose == "foreign":
        upstream.behave(duplicateUrl="same")
        theirs = upstream.register(url, name="theirs").json()
        broker.clock.advance(31)
        respond_with_size(upstream, url, size)
    body = {"url": url, "type": "VIDEO", "name": "Take 1"}
    response = small.call("POST", "/assets", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "file_empty")
    assert response.json()["detail"] == '"Take 1" is empty.'
    kept = [line["code"] for line in broker.lines("refused_kept")]
    assert assets(upstream) == ([theirs["id"]] if whose == "foreign" else [])
    assert kept == (["file_empty"] if whose == "foreign" else [])


NO_SIZE = [None, True, False, -100, 11.5, 1e300, 10**40, "-11", "eleven", "²", "", [11], {}]


def respond_with_size(upstream: RunningUpstream, url: str, size: object) -> None:
    """Let Sync make a file's asset, and respond to the broker with another size."""
    asset = upstream.register(url).json()
    body = {**asset, "size": size}
    upstream.order({"kind": "answer", "status": 201, "body": body}, "POST", "/v2/assets")


@pytest.mark.parametrize("size", ["11", *NO_SIZE], ids=str)
def test_unreadable_size_is_read_again(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, size: object
) -> None:
    """A size in digits is parsed; without one, the broker reads the asset once more."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    record = broker.parts().uploads.get(caller(small), upload["id"])
    respond_with_size(upstream, record.targets[-1].url, size)
    before = len(upstream.journal())
    response = small.complete(upload)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    methods = [one["method"] for one in upstream.journal()[before:]]
    assert methods == (["POST", "DELETE"] if size == "11" else ["POST", "GET", "DELETE"])
    assert assets(upstream) == []
    assert small.call("GET", "/limits").json()["bytesPerDay"]["left"] == 989


@pytest.mark.parametrize("size", NO_SIZE, ids=str)
@pytest.mark.parametrize("again", ["down", "odd"])
def test_unknown_size_counts_as_declared(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, size: object, again: str
) -> None:
    """An asset whose size stays unknown is kept, and is charged as declared, never less."""
    upload = small.begin(b"x" * 9)
    small.put(upload, b"x" * 9)
    record = broker.parts().uploads.get(caller(small), upload["id"])
    respond_with_size(upstream, record.targets[-1].url, size)
    fault = {"kind": "answer", "status": 500} if again == "down" else None
    alarms = {"kind": "answer", "status": 200, "body": {"id": "x", "size": size}}
    upstream.order(fault or alarms, "GET", "/v2/assets/*")
    response = small.complete(upload)
    assert response.status_code == 200
    assert response.json()["asset"]["size"] is None
    assert small.call("GET", "/limits").json()["bytesPerDay"]["left"] == 991
    assert [line["uploadId"] for line in broker.lines("size_unknown")] == [upload["id"]]


def test_reconciled_too_large_file_is_deleted(small: Api, upstream: RunningUpstream) -> None:
    """A reconciled asset that is too large fails and is deleted too."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    assert small.complete(upload).status_code == 413
    assert assets(upstream) == []


def test_failed_deletion_is_retried(
    small: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """The sweep deletes an asset that could not be deleted at once."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small.complete(upload).status_code == 413
    assert len(assets(upstream)) == 1
    broker.clock.advance(1)
    broker.sweep()
    assert assets(upstream) == []
    before = [one["method"] for one in upstream.journal()].count("DELETE")
    broker.clock.advance(100_000)
    broker.sweep()
    assert [one["method"] for one in upstream.journal()].count("DELETE") == before


def test_refused_deletion_does_not_block_sweep(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Deletions that Sync refuses are retried at growing intervals, and do not block the sweep."""
    broker.configure(upstream, SWEEP_REGISTERS_PER_MINUTE="2", MAX_UPLOAD_BYTES="10")
    upstream.behave(deleteForbidden=True)
    api = Api(broker)
    for _ in range(3):
        upload = api.begin(b"x")
        api.put(upload, b"x" * 11)
        assert api.complete(upload).status_code == 413
    good = api.landed()
    broker.clock.advance(61)
    minutes = 0
    while api.call("GET", f"/uploads/{good['id']}").json()["status"] != "registered":
        minutes += 1
        assert minutes < 5, "the small file is never tried"
        broker.sweep()
        broker.clock.advance(60)
    alarms = broker.lines("asset_not_deleted")
    assert {line["level"] for line in alarms} == {"ERROR"}
    assert {line["code"] for line in alarms} == {"upstream_unauthorized"}
    for _ in range(24):
        broker.sweep()
        broker.clock.advance(300)
    tries = [one["method"] for one in upstream.journal()].count("DELETE")
    assert 3 * 4 < tries < 3 * 20
    upstream.behave(deleteForbidden=False)
    broker.clock.advance(3600)
    for _ in range(3):
        broker.sweep()
        broker.clock.advance(60)
    assert [asset["size"] for asset in upstream.call("GET", "/v2/assets").json()["items"]] == [5]


def test_asset_of_other_upload_is_kept(
    small: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """An asset that another upload has recorded is never deleted."""
    upstream.behave(duplicateUrl="same")
    url = upstream.upload(b"x" * 11)
    body = {"url": url, "type": "VIDEO"}
    settings = {"PUBLIC_URL_EXCEPTIONS": upstream.url, "SYNC_STORAGE_HOSTS": "a.example"}
    broker.configure(upstream, **settings)
    theirs = Api(broker).call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    broker.configure(upstream, MAX_UPLOAD_BYTES="10", **settings)
    assert small.call("POST", "/assets", json=body).status_code == 413
    assert assets(upstream) == [theirs.json()["asset"]["id"]]


def test_asset_recorded_since_is_kept(
    small: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """An asset whose deletion failed is kept once another upload has recorded it."""
    upstream.behave(duplicateUrl="same")
    url = upstream.upload(b"x" * 11)
    body = {"url": url, "type": "VIDEO"}
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small.call("POST", "/assets", json=body).status_code == 413
    ahead = broker.clock.ahead
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    broker.clock.advance(61)
    theirs = Api(broker).call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    broker.clock.advance(ahead + 1)
    broker.sweep()
    assert assets(upstream) == [theirs.json()["asset"]["id"]]
