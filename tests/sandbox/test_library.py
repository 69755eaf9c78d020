"""Registration and the calls for one asset, with every undocumented behaviour."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.upstream_process import RunningUpstream, put

NOBODY = "550e8400-e29b-41d4-a716-446655440000"


def code(response: requests.Response) -> tuple[int, str | None]:
    """Return the status and the `errorCode`."""
    body: dict[str, Any] = response.json()
    assert body["statusCode"] == response.status_code
    return response.status_code, body.get("errorCode")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_register_before_upload_is_refused(upstream: RunningUpstream, status: int) -> None:
    """Without uploaded bytes, a registration has any of three statuses, with or without a code."""
    url = upstream.presign()["url"]
    upstream.behave(notUploadedStatus=status)
    assert code(upstream.register(url)) == (status, "uploaded_file_not_found")
    upstream.behave(notUploadedCode=False)
    assert code(upstream.register(url)) == (status, None)


def test_register_checks_real_size(upstream: RunningUpstream) -> None:
    """The plan's limit applies to the real size, not to the declared one."""
    upstream.behave(planMaxBytes=10)
    presigned = upstream.presign(size=10)
    put(presigned["uploadUrl"], bytes(11))
    assert code(upstream.register(presigned["url"])) == (422, "file_size_exceeds_plan_limit")
    upstream.behave(oversizeStatus=413, oversizeCode=False)
    assert code(upstream.register(presigned["url"])) == (413, None)
    put(presigned["uploadUrl"], bytes(10))
    assert upstream.register(presigned["url"]).json()["size"] == 10


def test_presign_checks_size_and_type(upstream: RunningUpstream) -> None:
    """A presign with a size over the limit or out of range, or a refused type, is refused."""
    upstream.behave(planMaxBytes=10, sizeRangeStatus=413, refusedContentTypes=["text/*"])
    body = {"fileName": "a", "contentType": "video/mp4", "size": 11}
    path = "/v2/assets/upload"
    assert code(upstream.call("POST", path, json=body)) == (422, "file_size_exceeds_plan_limit")
    assert code(upstream.call("POST", path, json={**body, "size": 0})) == (413, None)
    text = {**body, "size": 1, "contentType": "text/html"}
    assert code(upstream.call("POST", path, json=text)) == (400, None)


def test_register_foreign_object_is_refused(upstream: RunningUpstream) -> None:
    """An unknown key of this storage, or another file name, is foreign."""
    url = upstream.upload()
    for foreign in (f"{upstream.url}/assets/0/a.mp4", url.replace("clip", "clap")):
        assert code(upstream.register(foreign)) == (422, "file_not_in_org_storage")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "", "type": "VIDEO"},
        {"url": 1, "type": "VIDEO"},
        {"url": "file:///etc/passwd", "type": "VIDEO"},
        {"url": "http://[", "type": "VIDEO"},
        {"url": "http://127.0.0.1:1/x"},
        {"url": "http://127.0.0.1:1/x", "type": "video"},
        {"url": "http://127.0.0.1:1/x", "type": "VIDEO", "name": ""},
        {"url": "http://127.0.0.1:1/x", "type": "VIDEO", "visibility": "ALL"},
        {"url": "http://127.0.0.1:1/x", "type": "VIDEO", "projectId": 7},
    ],
)
def test_bad_registration_is_refused(upstream: RunningUpstream, body: object) -> None:
    """An invalid body is a 400."""
    assert upstream.call("POST", "/v2/assets", json=body).status_code == 400


def test_register_checks_project(upstream: RunningUpstream) -> None:
    """A foreign project is refused with its documented code, and a known one is stored."""
    url = upstream.upload()
    foreign = upstream.register(url, projectId="p1")
    assert code(foreign) == (422, "project_not_found")
    upstream.behave(projects=["p1"])
    assert upstream.register(url, projectId="p1").json()["projectId"] == "p1"


def test_register_url_twice(upstream: RunningUpstream) -> None:
    """One URL makes a new asset each time, or always the same one, even for simultaneous calls."""
    url = upstream.upload()
    first, second = (upstream.register(url).json()["id"] for _ in range(2))
    assert first != second
    upstream.behave(duplicateUrl="same")
    url = upstream.upload()
    with ThreadPoolExecutor(8) as threads:
        ids = {response.json()["id"] for response in threads.map(upstream.register, [url] * 8)}
    assert len(ids) == 1


def test_asset_has_each_shape(upstream: RunningUpstream) -> None:
    """An asset's optional fields, URL, name and project have each shape that can be selected."""
    asset = upstream.asset()
    path = f"/v2/assets/{asset['id']}"
    upstream.behave(optionalFields="missing")
    missing = upstream.call("GET", path).json()
    assert missing == {name: value for name, value in asset.items() if value is not None}
    assert "name" not in missing
    upstream.behave(assetUrl="absent")
    assert "url" not in upstream.call("GET", path).json()
    upstream.behave(assetUrl="rewritten")
    rewritten = upstream.call("GET", path).json()["url"]
    assert rewritten != asset["url"]
    assert requests.get(rewritten, timeout=5).content == b"hello"
    upstream.behave(unnamedAsset="fileName", assetUrl="same")
    assert upstream.asset()["name"] == "clip.mp4"
    path = f"/v2/assets/{upstream.asset(name=' Take ', projectId='sandbox-project')['id']}"
    upstream.behave(optionalFields="null")
    shown = upstream.call("GET", path).json()
    assert (shown["name"], shown["projectId"]) == (" Take ", "sandbox-project")
    upstream.behave(assetLabels="trimmed")
    assert upstream.call("GET", path).json()["name"] == "Take"
    upstream.behave(assetLabels="absent")
    hidden = upstream.call("GET", path).json()
    assert hidden == shown | {"name": None, "projectId": None}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server on this machine."""
    (tmp_path / "a b.bin").write_bytes(b"0123456789")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without logging."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_register_fetches_public_url(upstream: RunningUpstream, site: str) -> None:
    """A public URL is really fetched, and is the asset's URL."""
    url = f"{site}/a%20b.bin"
    asset = upstream.register(url, type="IMAGE").json()
    assert (asset["url"], asset["size"], asset["inputType"]) == (url, 10, "URL")
    upstream.behave(planMaxBytes=9)
    assert code(upstream.register(url)) == (422, "file_size_exceeds_plan_limit")


def test_register_unreachable_url(upstream: RunningUpstream, site: str) -> None:
    """A URL without a response or with an error has the configured status."""
    assert upstream.register(f"{site}/missing").status_code == 422
    upstream.behave(unreachableStatus=400)
    assert upstream.register("http://127.0.0.1:1/x").status_code == 400
    # The presigned URL is not a public one.
    assert upstream.register(upstream.presign()["uploadUrl"]).status_code == 400


def test_register_explains_unreachable_url(upstream: RunningUpstream, site: str) -> None:
    """The message has the reason for which a URL could not be fetched, in plain words."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = upstream.register(f"http://127.0.0.1:{port}/a.mp4").json()["message"]
    assert message == "The URL could not be fetched: its host can't be reached"
    message = upstream.register(f"{site}/missing").json()["message"]
    assert message == "The URL could not be fetched: its status is 404"


def test_change_name_and_visibility(upstream: RunningUpstream) -> None:
    """Only the name and the visibility can be changed, and an invalid value is a 422."""
    asset = upstream.asset()
    path = f"/v2/assets/{asset['id']}"
    changed = upstream.call("PATCH", path, json={"name": "new", "size": 1}).json()
    assert changed["updatedAt"] > asset["updatedAt"]
    assert changed == {**asset, "name": "new", "updatedAt": changed["updatedAt"]}
    assert upstream.call("PATCH", path, json={"visibility": "ALL"}).status_code == 422
    assert code(upstream.call("PATCH", f"/v2/assets/{NOBODY}", json={})) == (
        404,
        "asset_not_found",
    )


def test_delete_asset_with_bytes(upstream: RunningUpstream) -> None:
    """Deleting an asset deletes its bytes; if deleting is forbidden, the asset stays."""
    asset = upstream.asset()
    path = f"/v2/assets/{asset['id']}"
    upstream.behave(deleteForbidden=True)
    assert code(upstream.call("DELETE", path)) == (403, "asset_forbidden")
    upstream.behave(deleteForbidden=False)
    assert upstream.call("DELETE", path).json() == {"id": asset["id"]}
    assert code(upstream.call("DELETE", path)) == (404, "asset_not_found")
    assert requests.get(asset["url"], timeout=5).status_code == 404


def test_delete_keeps_shared_object(upstream: RunningUpstream) -> None:
    """The bytes of two assets are deleted with the second asset."""
    url = upstream.upload()
    first, second = (upstream.register(url).json()["id"] for _ in range(2))
    upstream.call("DELETE", f"/v2/assets/{first}")
    assert requests.get(url, timeout=5).status_code == 200
    upstream.call("DELETE", f"/v2/assets/{second}")
    assert requests.get(url, timeout=5).status_code == 404


def test_malformed_asset_id(upstream: RunningUpstream) -> None:
    """A malformed id is a 404, or a 400 with its own code."""
    assert code(upstream.call("GET", "/v2/assets/x")) == (404, "asset_not_found")
    upstream.behave(malformedIdStatus=400)
    assert code(upstream.call("GET", "/v2/assets/x")) == (400, "invalid_asset_id_format")
    assert code(upstream.call("GET", f"/v2/assets/{NOBODY}")) == (404, "asset_not_found")


def test_batch_returns_existing_assets(upstream: RunningUpstream) -> None:
    """A batch returns an array of the assets that exist, for 1 to 100 ids."""
    ids = [upstream.asset()["id"] for _ in range(2)]
    batch = partial(upstream.call, "POST", "/v2/assets/batch")
    found = batch(json={"ids": [ids[1], NOBODY, ids[0]]}).json()
    assert [asset["id"] for asset in found] == [ids[1], ids[0]]
    assert batch(json={"ids": [NOBODY] * 100}).json() == []
    for bad in ([], [NOBODY] * 101, [1], None):
        assert batch(json={"ids": bad}).status_code == 400


def test_uploaded_finds_newest_by_digest(upstream: RunningUpstream) -> None:
    """The newest asset with a digest and a type is found, unless digests are not recorded."""
    assets = [upstream.asset() for _ in range(2)]
    digest = hashlib.sha256(b"hello").hexdigest()
    query = f"/v2/assets/uploaded?contentSha256={digest}&type="
    assert upstream.call("GET", query + "VIDEO").json()["asset"]["id"] == assets[1]["id"]
    upstream.call("DELETE", f"/v2/assets/{assets[1]['id']}")
    assert upstream.call("GET", query + "VIDEO").json()["asset"]["id"] == assets[0]["id"]
    assert upstream.call("GET", query + "AUDIO").json() == {"asset": None}
    assert upstream.call("GET", query.replace(digest, digest.upper()) + "VIDEO").status_code == 400
    upstream.call("POST", "/_sandbox/reset")
    upstream.behave(recordsDigest=False)
    upstream.asset()
    assert upstream.call("GET", query + "VIDEO").json() == {"asset": None}
