"""If Sync returns one asset for one URL, other programs' assets are neither deleted nor shown."""

import pytest

from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")


@pytest.fixture
def url(broker: RunningBroker, upstream: RunningUpstream) -> str:
    """A public URL of eleven bytes, of which Sync makes one asset."""
    upstream.behave(duplicateUrl="same")
    # Under this host name it is not the upstream's own storage, so a deletion leaves the bytes.
    site = f"http://localhost:{upstream.port}"
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=site)
    return upstream.upload(b"x" * 11).replace(upstream.url, site)


def ids(upstream: RunningUpstream) -> list[str]:
    """Return the ids of Sync's assets."""
    return [one["id"] for one in upstream.call("GET", "/v2/assets").json()["items"]]


def small(broker: RunningBroker) -> Api:
    """A caller who may upload ten bytes."""
    api = Api(broker)
    api.token = token(upload={"maxBytes": 10})
    return api


def test_asset_of_other_program_is_kept(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """A caller with a small limit does not delete an asset that another program has just made."""
    theirs = upstream.register(url, name="theirs").json()
    response = small(broker).call(
        "POST", "/assets", json={"url": url, "type": "VIDEO", "name": "x"}
    )
    assert response.status_code == 413
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_older_asset_is_kept(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
    """An asset of the same name that is older than the caller's own POST is not deleted."""
    theirs = upstream.register(url, name="same").json()
    broker.clock.advance(31)
    response = small(broker).call(
        "POST", "/assets", json={"url": url, "type": "VIDEO", "name": "same"}
    )
    assert response.status_code == 413
    assert ids(upstream) == [theirs["id"]]


def test_new_asset_without_name_is_kept(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """An asset that was made a moment ago, and has no name either, is not deleted."""
    theirs = upstream.register(url).json()
    response = small(broker).call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert response.status_code == 413
    assert broker.lines("refused_kept")[0]["assetId"] == theirs["id"]
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_reconciled_asset_is_kept(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """A reconciled asset may be another program's, and is not deleted."""
    upstream.behave(duplicateUrl="new")
    upstream.order({"kind": "answer", "status": 504}, "POST", "/v2/assets")
    api = small(broker)
    ambiguous = api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert ambiguous.status_code == 202
    theirs = upstream.register(url).json()
    assert api.complete(ambiguous.json()).status_code == 413
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_own_too_large_asset_is_deleted(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """If the caller's own POST made a too large asset, it is deleted."""
    response = small(broker).call(
        "POST", "/assets", json={"url": url, "type": "VIDEO", "name": "x"}
    )
    assert response.status_code == 413
    assert ids(upstream) == []


def test_each_caller_sees_own_label(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """Two callers share an asset, and each sees its own label."""
    alice, bob, carol = Api(broker), Api(broker), Api(broker)
    body = {"url": url, "type": "VIDEO"}
    first = alice.call("POST", "/assets", json={**body, "name": "Alice's secret"}).json()
    second = bob.call("POST", "/assets", json={**body, "name": "Bob's"}).json()
    third = carol.call("POST", "/assets", json=body).json()
    assert first["asset"]["id"] == second["asset"]["id"] == third["asset"]["id"]
    assert [one["asset"]["name"] for one in (first, second, third)] == [
        "Alice's secret",
        "Bob's",
        None,
    ]
    assert ids(upstream) == [first["asset"]["id"]]


def test_shared_asset_is_kept(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
    """An asset that its first owner may not have is kept, because it has a second owner."""
    body = {"url": url, "type": "VIDEO", "name": "x"}
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small(broker).call("POST", "/assets", json=body).status_code == 413
    broker.clock.advance(61)
    theirs = Api(broker).call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    broker.clock.advance(7200)
    broker.sweep()
    assert ids(upstream) == [theirs.json()["asset"]["id"]]


def test_asset_under_deletion_is_not_recorded(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """While an asset may be under deletion no upload records it; the next try makes a new one."""
    body = {"url": url, "type": "VIDEO", "name": "x"}
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small(broker).call("POST", "/assets", json=body).status_code == 413
    doomed = ids(upstream)
    other = Api(broker)
    ambiguous = other.call("POST", "/assets", json=body)
    assert ambiguous.status_code == 202
    assert not broker.lines("asset_orphaned")
    broker.clock.advance(20)
    broker.sweep()
    assert ids(upstream) == [], "the deletion is repeated"
    final = other.complete(ambiguous.json())
    assert final.status_code == 200
    assert final.json()["asset"]["id"] not in doomed
