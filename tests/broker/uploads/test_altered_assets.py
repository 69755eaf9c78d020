"""Lost answers where sync.'s list shows less than was sent, or something else: never two assets."""

import time

import pytest

from tests.broker.uploads.test_registration import POST, assets, posts
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

PROJECT = "sandbox-project"


def test_moved_later(api: Api, broker: RunningBroker, upstream: RunningUpstream) -> None:
    """An address that was kept at first proves nothing once the list shows another one."""
    api.registered(name="one")
    upload = api.landed(name="two")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    upstream.behave(assetUrl="rewritten")
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(200)
    assert posts(upstream) == 2
    assert broker.lines("outcome_undecided")


@pytest.mark.parametrize("shown", ["absent", "rewritten"])
@pytest.mark.parametrize(
    ("labels", "members"),
    [
        ("absent", {"name": "Take 1"}),
        ("absent", {"projectId": PROJECT}),
        ("absent", {"name": "Take 1", "projectId": PROJECT}),
        ("trimmed", {"name": "Take 1 "}),
    ],
)
def test_other_labels(
    broker: RunningBroker,
    upstream: RunningUpstream,
    shown: str,
    labels: str,
    members: dict[str, str],
) -> None:
    """Name and project are optional in sync.'s answers, so that without them it may be the one."""
    broker.configure(upstream, ALLOWED_PROJECT_IDS=PROJECT)
    upstream.behave(assetUrl=shown, assetLabels=labels)
    api = Api(broker)
    upload = api.landed(**members)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(200)
    assert posts(upstream) == 1
    assert broker.lines("outcome_undecided")


@pytest.mark.parametrize("labels", ["absent", "trimmed"])
def test_other_labels_at_its_address(api: Api, upstream: RunningUpstream, labels: str) -> None:
    """A file is found by its address, whatever the rest."""
    upstream.behave(assetLabels=labels)
    upload = api.landed(name=" Take 1")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert posts(upstream) == 1


@pytest.mark.parametrize("spelling", ["HTTP://{}", "Http://{}"])
def test_normalized(broker: RunningBroker, upstream: RunningUpstream, spelling: str) -> None:
    """A public URL is found in whatever spelling sync. tells it; other URLs do not mislead."""
    origin = upstream.url.removeprefix("http://")
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    upstream.behave(assetUrl="normalized")
    api = Api(broker)
    other = {"url": upstream.upload(), "type": "VIDEO"}
    assert api.call("POST", "/assets", json=other).status_code == 201
    path = upstream.upload().removeprefix(upstream.url)
    body = {"url": spelling.format(origin) + path, "type": "VIDEO"}
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    lost = api.call("POST", "/assets", json=body)
    assert lost.status_code == 201
    assert posts(upstream) == 2
    assert lost.json()["asset"]["id"] == assets(upstream)[0]["id"]


@pytest.mark.parametrize("status", [302, 500, 503])
def test_code_of_a_fault(api: Api, upstream: RunningUpstream, status: int) -> None:
    """Only a refusal says that nothing was done, whatever code a fault carries."""
    upload = api.landed()
    body = {"statusCode": status, "errorCode": "rate_limit_exceeded", "message": "x"}
    answer = {"kind": "answer", "status": status, "body": body, "when": "after"}
    upstream.order(answer, *POST)
    assert api.complete(upload).status_code == 200
    assert len(assets(upstream)) == posts(upstream) == 1


def test_foreign_asset_stays(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Where sync. gives one asset for one URL, an older one is not ours to be deleted."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    upstream.behave(duplicateUrl="same")
    foreign = upstream.register(url, name="of another program").json()
    upstream.behave(clockSkewSeconds=3600)
    broker.clock.advance(3600)
    api = Api(broker)
    api.token = token(upload={"maxBytes": 3}, exp=int(time.time()) + 9000)
    answer = api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert [one["id"] for one in assets(upstream)] == [foreign["id"]]
    assert not broker.lines("asset_deleted")
