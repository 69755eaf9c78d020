"""The whole upload, from the presign to the asset."""

from urllib.parse import unquote, urlsplit

import pytest
import requests

from tests.support.upstream_process import KEY, RunningUpstream, put


def test_upload_becomes_asset(upstream: RunningUpstream) -> None:
    """A file that is presigned, PUT and registered is an asset that can be listed and read."""
    presigned = upstream.presign("speaker.mp4", "video/mp4", 5)
    assert presigned.keys() == {"uploadUrl", "url", "expiresIn"}
    assert presigned["expiresIn"] == 3600
    response = put(presigned["uploadUrl"], b"hello")
    assert (response.status_code, response.content) == (200, b"")
    asset = upstream.register(presigned["url"], name="Speaker take 1").json()
    assert asset["url"] == presigned["url"]
    assert asset["size"] == 5
    assert asset["inputType"] == "UPLOAD"
    assert asset["visibility"] == "USER"
    assert upstream.call("GET", f"/v2/assets/{asset['id']}").json() == asset
    assert upstream.call("GET", "/v2/assets").json() == {"items": [asset], "totalCount": 1}


def test_uploads_of_one_name_are_separate(upstream: RunningUpstream) -> None:
    """Two files of one name are two objects, and a name can't leave its folder."""
    urls = {upstream.presign("../../etc/passwd")["url"] for _ in range(2)}
    assert len(urls) == 2
    assert {urlsplit(url).path.rpartition("/")[2] for url in urls} == {".._.._etc_passwd"}


@pytest.mark.parametrize("name", ["a b.mp4", 'it\'s "q".mp4', "né.mp4", "\U0001f3ac+%.mp4", ".."])
def test_any_file_name_works(upstream: RunningUpstream, name: str) -> None:
    """Any file name works in the URL, in the signature and for reading."""
    presigned = upstream.presign(name)
    assert put(presigned["uploadUrl"], b"hello").status_code == 200
    assert unquote(presigned["url"]).endswith("/_" if name == ".." else f"/{name}")
    assert requests.get(presigned["url"], timeout=5).content == b"hello"
    assert upstream.register(presigned["url"]).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"contentType": "video/mp4", "size": 1}, "fileName"),
        ({"fileName": "", "contentType": "video/mp4", "size": 1}, "fileName"),
        ({"fileName": "a", "contentType": 7, "size": 1}, "contentType"),
        ({"fileName": "a", "contentType": "a/b\r\nx: y", "size": 1}, "contentType"),
        ({"fileName": "a", "contentType": "video/mp4"}, "size"),
        ({"fileName": "a", "contentType": "video/mp4", "size": "1"}, "size"),
        ({"fileName": "a", "contentType": "video/mp4", "size": True}, "size"),
        ({"fileName": "a", "contentType": "video/mp4", "size": 0}, "size"),
        ({"fileName": "a", "contentType": "video/mp4", "size": 5_368_709_121}, "size"),
    ],
)
def test_presign_refuses_bad_input(
    upstream: RunningUpstream, body: dict[str, object], field: str
) -> None:
    """A presign with a missing or invalid field is a 400 that names the field."""
    response = upstream.call("POST", "/v2/assets/upload", json=body)
    assert response.status_code == 400
    assert response.json()["field"] == field
    assert response.json()["statusCode"] == 400


def test_presign_accepts_largest_size(upstream: RunningUpstream) -> None:
    """A size of exactly 5 GiB may be declared."""
    assert upstream.presign(size=5_368_709_120)


def test_call_without_valid_key_is_401(upstream: RunningUpstream) -> None:
    """A call without a key and one with a wrong key get the two known shapes of a 401."""
    missing = requests.get(f"{upstream.url}/v2/assets", timeout=5)
    assert missing.status_code == 401
    assert missing.json() == {
        "message": "Either Cookie or x-api-key header must be provided",
        "error": "Unauthorized",
        "statusCode": 401,
    }
    wrong = upstream.call("GET", "/v2/assets", headers={"x-api-key": KEY + "x"})
    assert wrong.status_code == 401
    assert wrong.json() == {"message": "Unauthorized", "statusCode": 401}


def test_unknown_path_has_vendor_error(upstream: RunningUpstream) -> None:
    """An unknown path or method is refused in the vendor's shape."""
    assert upstream.call("GET", "/v2/nothing").json()["statusCode"] == 404
    refused = upstream.call("PUT", "/v2/assets")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET,HEAD,POST"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"url": "\\ud83d"}', b"[" * 100_000]
)
def test_body_must_be_json_object(upstream: RunningUpstream, body: bytes) -> None:
    """A body that is not a JSON object is a 400."""
    response = upstream.call("POST", "/v2/assets", data=body)
    assert response.status_code == 400
    assert isinstance(response.json()["message"], str)


@pytest.mark.parametrize(
    ("behavior", "status", "code"),
    [
        ("registered", 201, None),
        ("refused", 422, None),
        ("notFound", 400, "uploaded_file_not_found"),
    ],
)
def test_register_empty_object(
    upstream: RunningUpstream, behavior: str, status: int, code: str | None
) -> None:
    """An empty file is an asset of size 0, or is refused in one of two ways."""
    upstream.behave(emptyObject=behavior)
    presigned = upstream.presign(size=10)
    assert put(presigned["uploadUrl"], b"").status_code == 200
    response = upstream.register(presigned["url"])
    assert (response.status_code, response.json().get("errorCode")) == (status, code)
    assert status != 201 or (response.json()["size"], response.json()["format"]) == (0, None)
    assert put(presigned["uploadUrl"], b"hello").status_code == 200
    assert upstream.register(presigned["url"]).json()["size"] == 5
