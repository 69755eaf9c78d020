"""Ambiguous outcomes while Sync's list hides or changes fields: never two assets."""

import time

import pytest

from tests.broker.uploads.test_registration import POST, assets, count_posts
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

PROJECT = "sandbox-project"


def test_later_changed_urls_are_undecided(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If Sync kept URLs at first but changes them later, nobody POSTs again."""
    api.registered(name="one")
    upload = api.landed(name="two")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    upstream.behave(assetUrl="rewritten")
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(200)
    assert count_posts(upstream) == 2
    assert broker.lines("outcome_undecided")


@pytest.mark.parametrize("shown", ["absent", "rewritten"])
@pytest.mark.parametrize(
    ("labels", "fields"),
    [
        ("absent", {"name": "Take 1"}),
        ("absent", {"projectId": PROJECT}),
        ("absent", {"name": "Take 1", "projectId": PROJECT}),
        ("trimmed", {"name": "Take 1 "}),
    ],
)
def test_missing_labels_are_undecided(
    broker: RunningBroker,
    upstream: RunningUpstream,
    shown: str,
    labels: str,
    fields: dict[str, str],
) -> None:
    """An asset without the upload's name or project may still be its own, so nobody POSTs again."""
    broker.configure(upstream, ALLOWED_PROJECT_IDS=PROJECT)
    upstream.behave(assetUrl=shown, assetLabels=labels)
    api = Api(broker)
    upload = api.landed(**fields)
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    for _ in range(3):
        assert api.complete(upload).status_code == 202
        broker.clock.advance(200)
    assert count_posts(upstream) == 1
    assert broker.lines("outcome_undecided")


@pytest.mark.parametrize("labels", ["absent", "trimmed"])
def test_asset_is_found_by_url_alone(api: Api, upstream: RunningUpstream, labels: str) -> None:
    """A file's asset is found by its URL, whatever the other fields are."""
    upstream.behave(assetLabels=labels)
    upload = api.landed(name=" Take 1")
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    assert api.complete(upload).status_code == 200
    assert count_posts(upstream) == 1


@pytest.mark.parametrize("spelling", ["HTTP://{}", "Http://{}"])
def test_normalized_url_is_found(
    broker: RunningBroker, upstream: RunningUpstream, spelling: str
) -> None:
    """A public URL's asset is found in any spelling of the URL; other URLs do not mislead."""
    origin = upstream.url.removeprefix("http://")
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    upstream.behave(assetUrl="normalized")
    api = Api(broker)
    other = {"url": upstream.upload(), "type": "VIDEO"}
    assert api.call("POST", "/assets", json=other).status_code == 201
    path = upstream.upload().removeprefix(upstream.url)
    body = {"url": spelling.format(origin) + path, "type": "VIDEO"}
    upstream.order({"kind": "cut", "when": "after"}, *POST)
    ambiguous = api.call("POST", "/assets", json=body)
    assert ambiguous.status_code == 201
    assert count_posts(upstream) == 2
    assert ambiguous.json()["asset"]["id"] == assets(upstream)[0]["id"]


@pytest.mark.parametrize("status", [302, 500, 503])
def test_fault_with_refusal_code_is_ambiguous(
    api: Api, upstream: RunningUpstream, status: int
) -> None:
    """A fault is ambiguous, whatever error code it carries."""
    upload = api.landed()
    body = {"statusCode": status, "errorCode": "rate_limit_exceeded", "message": "x"}
    fault = {"kind": "answer", "status": status, "body": body, "when": "after"}
    upstream.order(fault, *POST)
    assert api.complete(upload).status_code == 200
    assert len(assets(upstream)) == count_posts(upstream) == 1


def test_older_asset_is_not_deleted(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If Sync returns an older asset for the same URL, it is not deleted."""
    url = upstream.upload()
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=upstream.url, SYNC_STORAGE_HOSTS="a.example")
    upstream.behave(duplicateUrl="same")
    older = upstream.register(url, name="of another program").json()
    upstream.behave(clockSkewSeconds=3600)
    broker.clock.advance(3600)
    api = Api(broker)
    api.token = token(upload={"maxBytes": 3}, exp=int(time.time()) + 9000)
    fault = api.call("POST", "/assets", json={"url": url, "type": "VIDEO"})
    assert (fault.status_code, fault.json()["code"]) == (413, "file_too_large")
    assert [one["id"] for one in assets(upstream)] == [older["id"]]
    assert not broker.lines("asset_deleted")
