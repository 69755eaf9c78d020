"""Where Sync gives one asset for one public URL, what others made is neither deleted nor shown."""

import pytest

from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

pytestmark = pytest.mark.usefixtures("nothing_due")


@pytest.fixture
def url(broker: RunningBroker, upstream: RunningUpstream) -> str:
    """A public URL of eleven bytes, of which Sync makes one asset."""
    upstream.behave(duplicateUrl="same")
    # Under this name it is not the upstream's own storage, so a deletion leaves the bytes.
    site = f"http://localhost:{upstream.port}"
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=site)
    return upstream.upload(b"x" * 11).replace(upstream.url, site)


def ids(upstream: RunningUpstream) -> list[str]:
    """List what Sync holds."""
    return [one["id"] for one in upstream.call("GET", "/v2/assets").json()["items"]]


def small(broker: RunningBroker) -> Api:
    """A caller who may upload ten bytes."""
    api = Api(broker)
    api.token = token(upload={"maxBytes": 10})
    return api


def test_another_programs_asset_stays(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """A caller whose limit is small deletes nothing that another program has just made."""
    theirs = upstream.register(url, name="theirs").json()
    answer = small(broker).call("POST", "/assets", json={"url": url, "type": "VIDEO", "name": "x"})
    assert answer.status_code == 413
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_older_asset_stays(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
    """Nor one of the same name that was made before the caller's own POST."""
    theirs = upstream.register(url, name="same").json()
    broker.clock.advance(31)
    answer = small(broker).call(
        "POST", "/assets", json={"url": url, "type": "VIDEO", "name": "same"}
    )
    assert answer.status_code == 413
    assert ids(upstream) == [theirs["id"]]


def test_fresh_asset_without_name_stays(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """Nor one that was made a moment ago, and that has no name either."""
    theirs = upstream.register(url).json()
    answer = small(broker).call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert answer.status_code == 413
    assert broker.lines("refused_kept")[0]["assetId"] == theirs["id"]
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_looked_up_asset_stays(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
    """What was found in Sync's list after a lost answer may be another program's, and stays."""
    upstream.behave(duplicateUrl="new")
    upstream.order({"kind": "answer", "status": 504}, "POST", "/v2/assets")
    api = small(broker)
    unclear = api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert unclear.status_code == 202
    theirs = upstream.register(url).json()
    assert api.complete(unclear.json()).status_code == 413
    broker.clock.advance(3600)
    broker.sweep()
    assert ids(upstream) == [theirs["id"]]


def test_own_asset_goes(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
    """What the caller's own POST has made too large is deleted."""
    answer = small(broker).call("POST", "/assets", json={"url": url, "type": "VIDEO", "name": "x"})
    assert answer.status_code == 413
    assert ids(upstream) == []


def test_label_is_ones_own(broker: RunningBroker, upstream: RunningUpstream, url: str) -> None:
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


def test_shared_asset_is_not_deleted(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """An asset that its first owner may not have stays, because it has a second owner."""
    body = {"url": url, "type": "VIDEO", "name": "x"}
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small(broker).call("POST", "/assets", json=body).status_code == 413
    broker.clock.advance(61)
    theirs = Api(broker).call("POST", "/assets", json=body)
    assert theirs.status_code == 201
    broker.clock.advance(7200)
    broker.sweep()
    assert ids(upstream) == [theirs.json()["asset"]["id"]]


def test_nobody_records_what_is_being_deleted(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """While a deletion may be under way, its asset is nobody's; the next try makes a new one."""
    body = {"url": url, "type": "VIDEO", "name": "x"}
    upstream.order({"kind": "answer", "status": 500}, "DELETE", "/v2/assets/*", times=2)
    assert small(broker).call("POST", "/assets", json=body).status_code == 413
    doomed = ids(upstream)
    other = Api(broker)
    unclear = other.call("POST", "/assets", json=body)
    assert unclear.status_code == 202
    assert not broker.lines("asset_orphaned")
    broker.clock.advance(20)
    broker.sweep()
    assert ids(upstream) == [], "the deletion is repeated"
    done = other.complete(unclear.json())
    assert done.status_code == 200
    assert done.json()["asset"]["id"] not in doomed
