"""With `STORAGE_RELAY`, upload URLs name the operator's relay, and nothing else changes."""

from dataclasses import replace

import pytest

from chalicelib.api import serializers
from chalicelib.core import settings
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

RELAY = "https://uploads.example.com"


@pytest.fixture
def api(broker: RunningBroker, upstream: RunningUpstream) -> Api:
    """A caller of a broker with a relay."""
    broker.configure(upstream, STORAGE_RELAY=RELAY)
    return Api(broker)


def storage_url(upload: dict[str, str], upstream: RunningUpstream) -> str:
    """Return the URL at storage to which the relay sends a request."""
    assert upload["uploadUrl"].startswith(RELAY + "/storage/")
    return upload["uploadUrl"].replace(RELAY, upstream.url)


def test_upload_through_relay(api: Api, upstream: RunningUpstream) -> None:
    """The upload URL names the relay, the PUT reaches storage, and Sync gets the URL at storage."""
    upload = api.begin(fileName="a bü%2F?&=.mp4")
    assert api.put({**upload, "uploadUrl": storage_url(upload, upstream)}).status_code == 200
    asset = api.complete(upload).json()["asset"]
    assert asset["url"].startswith(upstream.url)


def test_renewed_url_names_relay(api: Api, upstream: RunningUpstream) -> None:
    """A renewal's URL names the relay too, whether it is the same or new."""
    upload = api.begin()
    renew = f"/uploads/{upload['id']}/renew"
    assert api.call("POST", renew).json()["uploadUrl"] == upload["uploadUrl"]
    api.broker.clock.advance(3000)
    renewed = api.call("POST", renew).json()
    assert renewed["uploadUrl"] != upload["uploadUrl"]
    assert api.put({**renewed, "uploadUrl": storage_url(renewed, upstream)}).status_code == 200


def test_removed_relay_restores_storage_url(api: Api, upstream: RunningUpstream) -> None:
    """The record has storage's URL: without the setting the same upload names storage."""
    upload = api.begin()
    api.broker.configure_again(STORAGE_RELAY="")
    again = api.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert again["uploadUrl"] == storage_url(upload, upstream)


@pytest.mark.parametrize("rest", ["/a%2Fb/c%20d?x=https://h/y&Z=%2B", "/?", "?a=/b", "//e/f#g", ""])
def test_relay_keeps_path_and_query(rest: str, api: Api) -> None:
    """Path and query stay as Sync wrote them, however odd they are."""
    upload_id = api.begin()["id"]
    broker = api.broker.parts()
    upload = broker.uploads.get(broker.authenticator.caller(f"Bearer {api.token}"), upload_id)
    url = f"HTTPS://Storage.example:8443{rest}"
    upload = replace(upload, targets=(replace(upload.targets[0], upload_url=url),))
    assert serializers.pending(upload, RELAY, 0)["uploadUrl"] == RELAY + rest
    assert serializers.pending(upload, None, 0)["uploadUrl"] == url


@pytest.mark.parametrize("origin", [RELAY, "https://127.0.0.1:8443", "http://localhost:9000"])
def test_relay_origin_is_accepted(origin: str) -> None:
    """The relay is an https origin, or one on loopback."""
    needed = {"AUTH_MODE": "jwt", "JWT_SECRET": "s" * 32, "SYNC_API_KEY": "k", "UPLOADS_TABLE": "u"}
    assert settings.load({**needed, "STORAGE_RELAY": origin}).storage_relay == origin
