"""Storage does not enforce the declared size, so the real one is held against the limit."""

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
    """Tell who a caller is to the broker."""
    return api.broker.wired().authenticator.caller(f"Bearer {api.token}")


def assets(upstream: RunningUpstream) -> list[str]:
    """List the ids of what sync. holds."""
    return [asset["id"] for asset in upstream.call("GET", "/v2/assets").json()["items"]]


def test_file(small: Api, upstream: RunningUpstream) -> None:
    """A declared byte that turns out as eleven fails for good, and its asset is deleted."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    for _ in range(2):
        answer = small.complete(upload)
        assert answer.status_code == 413
        assert answer.json()["code"] == "file_too_large"
        words = '"clip.mp4" is 11 bytes. The largest file allowed is 10 bytes.'
        assert answer.json()["detail"] == words
    assert small.call("GET", f"/uploads/{upload['id']}").json()["status"] == "failed"
    assert assets(upstream) == []
    limits = small.call("GET", "/limits").json()
    assert limits["bytesPerDay"]["left"] == 989, "the real bytes are charged"
    assert limits["openUploads"]["left"] == limits["openUploads"]["limit"]


def test_file_within(small: Api) -> None:
    """A file that is larger than declared and within the limit is fine."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 10)
    assert small.complete(upload).json()["asset"]["size"] == 10


def test_url(small: Api, upstream: RunningUpstream) -> None:
    """The same holds for a public URL."""
    url = upstream.upload(b"x" * 11)
    answer = small.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert answer.status_code == 413
    assert assets(upstream) == []


def test_empty_file(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A PUT that stored nothing fails for good as empty, and its asset is deleted."""
    upload = small.begin(b"x" * 10)
    small.put(upload, b"")
    for _ in range(2):
        answer = small.complete(upload)
        assert (answer.status_code, answer.json()["code"]) == (422, "file_empty")
        assert answer.json()["detail"] == '"clip.mp4" arrived empty. Upload it again.'
        assert answer.json()["retryable"] is False
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


def test_empty_file_after_lost_answer(small: Api, upstream: RunningUpstream) -> None:
    """The same holds for an empty asset that was found by a look."""
    upload = small.begin(b"x")
    small.put(upload, b"")
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    assert small.complete(upload).json()["code"] == "file_empty"
    assert assets(upstream) == []


def test_empty_file_swept(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
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
    """Store nothing, and return its URL."""
    ticket = upstream.presign(size=1)
    assert put(ticket["uploadUrl"], b"").status_code == 200
    url: str = ticket["url"]
    return url


@pytest.mark.parametrize("size", [0, 0.0, "0"])
@pytest.mark.parametrize("whose", ["own", "foreign"])
def test_empty_url(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, whose: str, size: object
) -> None:
    """An empty public URL fails too; its asset is deleted only if this POST has made it."""
    url = empty_url(upstream)
    if whose == "foreign":
        upstream.behave(duplicateUrl="same")
        theirs = upstream.register(url, name="theirs").json()
        broker.clock.advance(31)
        answer_with(upstream, url, size)
    body = {"url": url, "type": "VIDEO", "name": "Take 1"}
    answer = small.call("POST", "/assets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "file_empty")
    assert answer.json()["detail"] == '"Take 1" is empty.'
    kept = [line["code"] for line in broker.lines("refused_kept")]
    assert assets(upstream) == ([theirs["id"]] if whose == "foreign" else [])
    assert kept == (["file_empty"] if whose == "foreign" else [])


NO_SIZE = [None, True, False, -100, 11.5, 1e300, 10**40, "-11", "eleven", "²", "", [11], {}]


def answer_with(upstream: RunningUpstream, url: str, size: object) -> None:
    """Let sync. make the asset of a file, and answer the broker with another size."""
    asset = upstream.register(url).json()
    body = {**asset, "size": size}
    upstream.order({"kind": "answer", "status": 201, "body": body}, "POST", "/v2/assets")


@pytest.mark.parametrize("size", ["11", *NO_SIZE], ids=str)
def test_odd_size(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, size: object
) -> None:
    """A size that is told in digits is read; where none can be, sync. is asked once more."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    record = broker.wired().uploads.get(caller(small), upload["id"])
    answer_with(upstream, record.targets[-1].url, size)
    before = len(upstream.journal())
    answer = small.complete(upload)
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    asked = [one["method"] for one in upstream.journal()[before:]]
    assert asked == (["POST", "DELETE"] if size == "11" else ["POST", "GET", "DELETE"])
    assert assets(upstream) == []
    assert small.call("GET", "/limits").json()["bytesPerDay"]["left"] == 989


@pytest.mark.parametrize("size", NO_SIZE, ids=str)
@pytest.mark.parametrize("again", ["down", "odd"])
def test_size_unknown(
    small: Api, broker: RunningBroker, upstream: RunningUpstream, size: object, again: str
) -> None:
    """An asset whose size can't be found out is kept, and charged as declared: never less."""
    upload = small.begin(b"x" * 9)
    small.put(upload, b"x" * 9)
    record = broker.wired().uploads.get(caller(small), upload["id"])
    answer_with(upstream, record.targets[-1].url, size)
    fault = {"kind": "answer", "status": 500} if again == "down" else None
    told = {"kind": "answer", "status": 200, "body": {"id": "x", "size": size}}
    upstream.order(fault or told, "GET", "/v2/assets/*")
    answer = small.complete(upload)
    assert answer.status_code == 200
    assert answer.json()["asset"]["size"] is None
    assert small.call("GET", "/limits").json()["bytesPerDay"]["left"] == 991
    assert [line["uploadId"] for line in broker.lines("size_unknown")] == [upload["id"]]


def test_lost_answer(small: Api, upstream: RunningUpstream) -> None:
    """The same holds for an asset that was found by a look."""
    upload = small.begin(b"x")
    small.put(upload, b"x" * 11)
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets")
    assert small.complete(upload).status_code == 413
    assert assets(upstream) == []


def test_delete_retried(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset that could not be deleted at once is deleted by the sweep."""
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


def test_undeletable(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """What sync. will not delete is tried with growing pauses, and does not starve the sweep."""
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
        assert minutes < 5, "the good one is never tried"
        broker.sweep()
        broker.clock.advance(60)
    told = broker.lines("asset_not_deleted")
    assert {line["level"] for line in told} == {"ERROR"}
    assert {line["code"] for line in told} == {"upstream_unauthorized"}
    for _ in range(120):
        broker.sweep()
        broker.clock.advance(60)
    tries = [one["method"] for one in upstream.journal()].count("DELETE")
    assert 3 * 4 < tries < 3 * 20
    upstream.behave(deleteForbidden=False)
    broker.clock.advance(3600)
    for _ in range(3):
        broker.sweep()
        broker.clock.advance(60)
    assert [asset["size"] for asset in upstream.call("GET", "/v2/assets").json()["items"]] == [5]


def test_of_somebody_else(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
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


def test_registered_since(small: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An asset that could not be deleted, and that somebody else registered since, stays."""
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
