"""A file's way from its first request to its asset, through the real app."""

import hashlib
from pathlib import Path

import pytest
import requests

from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream


@pytest.mark.parametrize(
    ("name", "content_type", "kind"),
    [
        ("sample.mp4", "video/mp4", "VIDEO"),
        ("sample.wav", "audio/wav", "AUDIO"),
        ("sample.png", "image/png", "IMAGE"),
    ],
)
def test_real_file_becomes_asset(
    api: Api, upstream: RunningUpstream, samples: Path, name: str, content_type: str, kind: str
) -> None:
    """A real file's bytes arrive unchanged and become an asset with the file's own facts."""
    data = (samples / name).read_bytes()
    upload = api.registered(data, fileName=name, contentType=content_type, name="Take 1")
    asset = upload["asset"]
    assert upload["status"] == "registered"
    assert upload["type"] == asset["type"] == kind
    assert asset["name"] == "Take 1"
    assert asset["size"] == len(data)
    assert asset["format"]
    stored = requests.get(asset["url"], timeout=9).content
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()
    assert upstream.call("GET", f"/v2/assets/{asset['id']}").json()["id"] == asset["id"]


def test_new_upload_describes_put(api: Api, broker: RunningBroker) -> None:
    """A new upload has a URL, a method, headers and an expiry for the PUT."""
    response = api.call(
        "POST",
        "/uploads",
        json={"fileName": "a.webm", "contentType": "video/webm;codecs=vp9,opus", "size": 5},
    )
    upload = response.json()
    assert response.headers["Location"] == f"/uploads/{upload['id']}"
    assert upload["method"] == "PUT"
    assert upload["headers"] == {"Content-Type": "video/webm"}
    assert 3590 <= upload["expiresIn"] <= 3600
    assert upload["asset"] is None
    assert upload["error"] is None
    assert api.put(upload).status_code == 200
    assert api.complete(upload).json()["status"] == "registered"
    assert len(broker.lines()) >= 2


@pytest.mark.parametrize(
    "name", ["ein schöner Clip.mp4", 'it\'s "quoted".mp4', "🎬 映画.mp4", "100% &?#=+.mp4"]
)
def test_names_are_returned_unchanged(api: Api, name: str) -> None:
    """Names with spaces, quotes, other scripts and emoji are returned unchanged."""
    upload = api.registered(fileName=name, name=name)
    assert upload["fileName"] == name
    assert upload["asset"]["name"] == name


def test_repeated_complete_gets_same_asset(api: Api, upstream: RunningUpstream) -> None:
    """Completing twice gives the same response and one asset."""
    upload = api.landed()
    first = api.complete(upload)
    second = api.complete(upload)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("code", [True, False])
def test_missing_file_leaves_upload_pending(
    api: Api,
    broker: RunningBroker,
    upstream: RunningUpstream,
    status: int,
    code: bool,  # noqa: FBT001 - a parameter
) -> None:
    """However Sync reports that the bytes are missing, the upload stays pending."""
    upstream.behave(notUploadedStatus=status, notUploadedCode=code)
    upload = api.begin()
    early = api.complete(upload)
    assert early.status_code == 409
    assert early.json()["code"] == "file_not_uploaded"
    assert early.json()["retryable"] is True
    assert early.headers["Retry-After"] == "1"
    assert api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "pending"
    assert api.put(upload).status_code == 200
    broker.clock.advance(1)
    assert api.complete(upload).status_code == 200


@pytest.mark.parametrize("status", [400, 413, 422])
def test_file_over_plan_fails(api: Api, upstream: RunningUpstream, status: int) -> None:
    """A file over the plan's size fails for good, with Sync's message and the broker's code."""
    upload = api.landed()
    upstream.behave(planMaxBytes=4, oversizeStatus=status)
    for _ in range(2):
        response = api.complete(upload)
        assert response.status_code == 413
        assert response.json()["code"] == "file_too_large"
        assert response.json()["retryable"] is False
    read = api.call("GET", f"/uploads/{upload['id']}").json()
    assert read["status"] == "failed"
    assert read["error"]["code"] == "file_too_large"
    assert read["error"]["detail"] == response.json()["detail"]
    assert read["error"]["detail"].startswith('"clip.mp4" is larger than Sync allows.')
    posts = [one for one in upstream.journal() if one["path"] == "/v2/assets"]
    assert len(posts) == 1, "a failed upload is not tried again"


def test_size_over_plan_leaves_nothing_behind(api: Api, upstream: RunningUpstream) -> None:
    """If Sync refuses a declared size, nothing is left behind."""
    upstream.behave(planMaxBytes=4)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert response.status_code == 413
    assert response.json()["code"] == "file_too_large"
    assert api.call("GET", "/uploads").json() == {"items": []}


def test_cancelled_upload_stays_cancelled(api: Api, upstream: RunningUpstream) -> None:
    """A cancelled upload stays cancelled, can be cancelled again, and makes no asset."""
    upload = api.landed()
    for _ in range(2):
        assert api.call("DELETE", f"/uploads/{upload['id']}").status_code == 204
    late = api.complete(upload)
    assert late.status_code == 410
    assert late.json()["code"] == "upload_cancelled"
    assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 410
    assert upstream.call("GET", "/v2/assets").json()["items"] == []


def test_registered_upload_is_not_cancelled(api: Api) -> None:
    """A registered upload can't be cancelled."""
    upload = api.registered()
    response = api.call("DELETE", f"/uploads/{upload['id']}")
    assert response.status_code == 409
    assert response.json()["code"] == "upload_not_pending"
    assert api.call("POST", f"/uploads/{upload['id']}/renew").status_code == 409


def test_renew_returns_fresh_url(api: Api, upstream: RunningUpstream) -> None:
    """While more than half of the URL's life is left, a renewal returns the same URL."""
    upload = api.begin()
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert renewed["uploadUrl"] == upload["uploadUrl"]
    assert upstream.outcomes() == ["presigned"]


def test_renew_replaces_expiring_url(api: Api, broker: RunningBroker) -> None:
    """After half of its life a new URL replaces the old one, and the file can be PUT there."""
    upload = api.begin()
    broker.clock.advance(1801)
    renewed = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert renewed.status_code == 200
    assert renewed.json()["uploadUrl"] != upload["uploadUrl"]
    assert renewed.json()["id"] == upload["id"]
    assert api.put(renewed.json()).status_code == 200
    assert api.complete(upload).json()["status"] == "registered"


def test_bytes_at_old_url_are_registered(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Bytes that land at the old URL after a renewal are registered."""
    upload = api.begin()
    broker.clock.advance(1801)
    api.call("POST", f"/uploads/{upload['id']}/renew")
    assert api.put(upload).status_code == 200
    assert api.complete(upload).status_code == 200
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 1


def test_upload_has_at_most_five_urls(api: Api, broker: RunningBroker) -> None:
    """One upload gets five URLs and no more."""
    upload = api.begin()
    statuses = []
    for _ in range(5):
        broker.clock.advance(3600)
        statuses.append(api.call("POST", f"/uploads/{upload['id']}/renew").status_code)
    assert statuses == [200, 200, 200, 200, 409]


def test_list_pages_newest_first(api: Api) -> None:
    """Lists have only the caller's uploads, newest first, and each upload is on one page."""
    made = [api.begin(fileName=f"{number}.mp4")["id"] for number in range(5)]
    seen: list[str] = []
    path = "/uploads?limit=2"
    while path:
        response = api.call("GET", path)
        seen += [item["id"] for item in response.json()["items"]]
        link = response.links.get("next")
        assert (link is None) == ("nextCursor" not in response.json())
        path = "/uploads" + link["url"] if link else ""
    assert seen == made[::-1]


def test_assets_are_listed_and_read(api: Api) -> None:
    """Registered uploads are listed and read as assets, the last registered first."""
    first, second = api.registered(), api.registered()
    api.begin()
    listed = api.call("GET", "/assets").json()["items"]
    assert listed == [second, first]
    assert api.call("GET", f"/assets/{first['asset']['id']}").json() == first


def test_other_callers_upload_is_not_found(api: Api, broker: RunningBroker) -> None:
    """The response for another caller's upload is the same as for an unknown id."""
    upload = api.registered()
    other = Api(broker)
    calls = [
        ("GET", "/uploads/{}"),
        ("POST", "/uploads/{}/complete"),
        ("POST", "/uploads/{}/renew"),
        ("DELETE", "/uploads/{}"),
    ]
    for method, path in calls:
        real = other.call(method, path.format(upload["id"]))
        made_up = other.call(method, path.format("0" * 32))
        malformed = other.call(method, path.format("nonsense"))
        bodies = [response.json() for response in (real, made_up, malformed)]
        for body in bodies:
            del body["instance"], body["requestId"]
        assert real.status_code == made_up.status_code == malformed.status_code == 404
        assert bodies[0] == bodies[1] == bodies[2]
        calls_made = [other.line(response)["dynamodbCalls"] for response in (real, made_up)]
        assert calls_made[0] == calls_made[1]
    assert other.call("GET", f"/assets/{upload['asset']['id']}").status_code == 404
    assert other.call("GET", "/uploads").json() == {"items": []}
    assert other.call("GET", "/assets").json() == {"items": []}
