"""Invalid input is refused, with the field named, before Sync is called."""

import base64
import json
from typing import Any

import pytest
import requests

from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

GOOD = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
DECLARED = {"Content-Type": "application/json"}
GIB = 1024**3


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"fileName": None}, "/fileName"),
        ({"fileName": ""}, "/fileName"),
        ({"fileName": "a" * 256}, "/fileName"),
        ({"fileName": "é" * 256}, "/fileName"),
        ({"fileName": "a/b.mp4"}, "/fileName"),
        ({"fileName": "a\\b.mp4"}, "/fileName"),
        ({"fileName": ".."}, "/fileName"),
        ({"fileName": "a\n.mp4"}, "/fileName"),
        ({"fileName": "a.mp4\n"}, "/fileName"),
        ({"name": "a\n"}, "/name"),
        ({"fileName": "a\u0000.mp4"}, "/fileName"),
        ({"fileName": "a\u007f.mp4"}, "/fileName"),
        ({"fileName": "a\u0085.mp4"}, "/fileName"),
        ({"fileName": "a\u009b.mp4"}, "/fileName"),
        ({"fileName": "a\u2028.mp4"}, "/fileName"),
        ({"fileName": 5}, "/fileName"),
        ({"contentType": "video", "fileName": "clip"}, "/contentType"),
        ({"contentType": "video/", "fileName": "clip"}, "/contentType"),
        ({"contentType": "/mp4", "fileName": "clip"}, "/contentType"),
        ({"contentType": "a b/c", "fileName": "clip"}, "/contentType"),
        ({"contentType": "video/*", "fileName": "clip"}, "/contentType"),
        ({"contentType": "*/*", "fileName": "clip.xyz"}, "/contentType"),
        ({"contentType": "vidéo/mp4", "fileName": "clip"}, "/contentType"),
        ({"contentType": "video/mp4\r\nx: y"}, "/contentType"),
        ({"contentType": "video/mp4\n"}, "/contentType"),
        ({"contentType": "video/mp4\u0000"}, "/contentType"),
        ({"contentType": "video/mp4\u2028"}, "/contentType"),
        ({"contentType": "video/mp4;" + "a" * 246}, "/contentType"),
        ({"contentType": ["video/mp4"]}, "/contentType"),
        ({"contentType": None}, "/contentType"),
        ({"size": -1}, "/size"),
        ({"size": 1.5}, "/size"),
        ({"size": "5"}, "/size"),
        ({"size": True}, "/size"),
        ({"size": None}, "/size"),
        ({"type": "IMAGE"}, "/type"),
        ({"type": "AUDIO", "fileName": "clip.m4v"}, "/type"),
        ({"type": "AUDIO", "contentType": "video/quicktime"}, "/type"),
        ({"type": "video"}, "/type"),
        ({"type": None}, "/type"),
        ({"name": ""}, "/name"),
        ({"name": "a\tb"}, "/name"),
        ({"name": "a" * 256}, "/name"),
        ({"projectId": "somebody-elses"}, "/projectId"),
        ({"url": "https://evil.example"}, "/url"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"__proto__": {}}, "/__proto__"),
    ],
)
def test_invalid_field_is_refused(
    api: Api, upstream: RunningUpstream, change: dict[str, Any], pointer: str
) -> None:
    """An invalid field is named, and Sync is not called."""
    response = api.call("POST", "/uploads", json={**GOOD, **change})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_input"
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert response.json()["errors"][0]["detail"]
    assert upstream.journal() == []
    assert api.call("GET", "/uploads").json() == {"items": []}


DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("character", DIRECTIONS, ids=ascii)
def test_direction_characters_are_refused(
    api: Api, upstream: RunningUpstream, character: str
) -> None:
    """A name with characters that change the reading direction is refused, with a list of them."""
    url = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    shown = f"a{character}gpj.mp4"
    for path, body, pointer in (
        ("/uploads", {**GOOD, "fileName": shown}, "/fileName"),
        ("/uploads", {**GOOD, "name": shown}, "/name"),
        ("/assets", {**url, "name": shown}, "/name"),
    ):
        response = api.call("POST", path, json=body)
        assert response.status_code == 422
        [error] = response.json()["errors"]
        assert error["pointer"] == pointer
        assert "U+202A to U+202E" in error["detail"]
        assert character not in response.text
    assert upstream.journal() == []


@pytest.mark.parametrize(
    "name", ["\u05e9\u05dc\u05d5\u05dd.mp4", "10.14\u202fAM.mp4", "a\u200db\u2065.mp4"]
)
def test_name_in_any_script_is_accepted(api: Api, name: str) -> None:
    """Right-to-left letters are accepted, and so is the space that macOS writes into names."""
    upload = api.begin(fileName=name, name=name)
    assert (upload["fileName"], upload["name"]) == (name, name)


def test_missing_fields_are_named_at_once(api: Api) -> None:
    """Every missing field is named at once."""
    response = api.call("POST", "/uploads", json={})
    pointers = [error["pointer"] for error in response.json()["errors"]]
    assert pointers == ["/contentType", "/fileName", "/size"]


@pytest.mark.parametrize("size", [5 * GIB + 1, 10**30, 1e400])
def test_file_over_5_gib_is_refused(api: Api, size: float) -> None:
    """A file over 5 GiB is too large, and the response has the limit."""
    response = api.call("POST", "/uploads", data=_json(size), headers=DECLARED)
    assert response.status_code == 413
    assert response.json()["code"] == "file_too_large"
    assert response.json()["errors"] == [
        {"pointer": "/size", "detail": f"must be at most {5 * GIB} bytes"}
    ]


def _json(size: float) -> str:
    number = "1e400" if size == float("inf") else str(size)
    return f'{{"fileName": "a.mp4", "contentType": "video/mp4", "size": {number}}}'


def test_file_of_5_gib_is_accepted(api: Api) -> None:
    """Exactly 5 GiB is accepted."""
    assert api.begin(size=5 * GIB)["size"] == 5 * GIB


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("notes.pdf", "application/pdf"),
        ("notes.txt", "text/plain"),
        ("scene", "model/gltf+json"),
        ("notes.xyz", ""),
        ("notes", " "),
    ],
)
def test_unaccepted_kind_is_refused(api: Api, name: str, content_type: str) -> None:
    """A file of a kind that is not accepted is refused with the accepted kinds."""
    body = {**GOOD, "fileName": name, "contentType": content_type}
    response = api.call("POST", "/uploads", json=body)
    assert response.status_code == 422
    assert response.json()["code"] == "content_type_not_accepted"
    [error] = response.json()["errors"]
    assert error["pointer"] == "/contentType"
    assert ("video/*" in error["detail"]) is ("/" in content_type)
    reason = "" if "/" in content_type else ": the kind of file can't be recognised from its name"
    assert response.json()["detail"] == (
        f'"{name}" can\'t be used here{reason}. Choose a video, audio or image file.'
    )


@pytest.mark.parametrize(
    ("size", "code", "detail"),
    [
        (0, "file_empty", '"interview.mp4" is empty.'),
        (
            6_442_450_944,
            "file_too_large",
            '"interview.mp4" is 6.4 GB. The largest file allowed is 5.4 GB.',
        ),
        (
            5 * GIB + 1,
            "file_too_large",
            '"interview.mp4" is slightly larger than 5.4 GB, which is the most allowed.',
        ),
    ],
)
def test_size_refusal_names_file_and_units(
    api: Api, upstream: RunningUpstream, size: int, code: str, detail: str
) -> None:
    """A refusal by size has the name of the file, and units that people use."""
    response = api.call(
        "POST", "/uploads", json={**GOOD, "fileName": "interview.mp4", "size": size}
    )
    assert (response.json()["code"], response.json()["detail"]) == (code, detail)
    assert response.status_code == (422 if size == 0 else 413)
    assert [error["pointer"] for error in response.json()["errors"]] == ["/size"]
    assert upstream.journal() == []


@pytest.mark.parametrize(
    ("change", "decided", "kind"),
    [
        (
            {"contentType": "video/webm;codecs=vp8,opus", "fileName": "upload"},
            "video/webm",
            "VIDEO",
        ),
        ({"contentType": "application/ogg", "fileName": "a.ogg"}, "audio/ogg", "AUDIO"),
        ({"contentType": "", "fileName": "face.JFIF"}, "image/jpeg", "IMAGE"),
        ({"contentType": "audio/X-M4A", "fileName": "a.m4a"}, "audio/mp4", "AUDIO"),
        ({"contentType": "video/webm", "type": "AUDIO"}, "audio/webm", "AUDIO"),
        ({"contentType": "video/x-matroska;codecs=avc1,opus"}, "video/x-matroska", "VIDEO"),
    ],
)
def test_decided_type_is_signed_and_stored(
    api: Api, upstream: RunningUpstream, change: dict[str, Any], decided: str, kind: str
) -> None:
    """The decided type is presigned, returned and sent: the stored object has it byte for byte."""
    upload = api.landed(**change)
    assert (upload["contentType"], upload["type"]) == (decided, kind)
    assert upload["headers"] == {"Content-Type": decided}
    asset = api.complete(upload).json()["asset"]
    assert requests.get(asset["url"], timeout=9).headers["Content-Type"] == decided
    assert upstream.outcomes()[:2] == ["presigned", "stored 5 bytes"]


ALIASES = ("audio/x-wav,image/jpg, VIDEO/AVI", ["audio/wav", "image/jpeg", "video/x-msvideo"])


@pytest.mark.parametrize("by", ["setting", "claim"])
def test_limits_accept_type_aliases(
    broker: RunningBroker, upstream: RunningUpstream, by: str
) -> None:
    """Settings, claims and files may use any spelling; `/limits` has Sync's spelling."""
    written, canonical = ALIASES
    broker.configure(upstream, ALLOWED_CONTENT_TYPES=written if by == "setting" else "*/*")
    api = Api(broker)
    if by == "claim":
        api.token = token(upload={"contentTypes": written.replace(" ", "").split(",")})
    assert api.call("GET", "/limits").json()["contentTypes"] == canonical
    for reported, name in (
        ("audio/vnd.wave", "a.wav"),
        ("audio/wav", "a.wav"),
        ("image/pjpeg", "a.jpg"),
        ("video/msvideo", "a.avi"),
        ("", "a.AVI"),
    ):
        assert api.begin(contentType=reported, fileName=name)["contentType"] in canonical
    refused = api.call("POST", "/uploads", json=GOOD).json()
    assert refused["detail"] == (
        '"clip.mp4" can\'t be used here. Choose a WAV audio, JPEG image or AVI video file.'
    )


@pytest.mark.parametrize(
    "name", ["й" * 251 + ".mp4", "\u1100\u1161\u11a8" * 83 + ".mp4", "🎬" * 255]
)
def test_name_length_counts_characters(api: Api, name: str) -> None:
    """A name has up to 255 characters, however many bytes they take."""
    upload = api.begin(fileName=name, name=name)
    assert (upload["fileName"], upload["name"]) == (name, name)


@pytest.mark.parametrize("name", ["a/b.mp4", "a\\b.mp4", "a\tb.mp4", "\u200f\u05d0.mp4", "a\x85"])
def test_unusable_name_message_has_advice(api: Api, name: str) -> None:
    """The message for an unusable name says what the user can do; `errors` has the exact rule."""
    response = api.call("POST", "/uploads", json={**GOOD, "fileName": name}).json()
    assert response["detail"] == (
        "Rename the file and choose it again: its name has a slash, or an invisible character that "
        "can't be used."
    )
    assert "U+200F" in response["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("path", "changed", "start"),
    [
        ("/assets", {"fileName": "x"}, "fileName is not a known field; known are url, "),
        ("/assets", {"url": None}, "url must be of type string."),
        ("/uploads", {"url": "x"}, "url is not a known field; known are fileName, "),
        ("/uploads", {"fileName": None}, "fileName must be of type string."),
        ("/uploads", {"name": 5}, "name must be of type string."),
    ],
)
def test_mistakes_of_pages_name_field(api: Api, path: str, changed: Any, start: str) -> None:
    """An unknown field or a wrong type gets no advice for an end user, who did not cause it."""
    good = GOOD if path == "/uploads" else {"url": "https://media.example/a.mp4", "type": "VIDEO"}
    response = api.call("POST", path, json={**good, **changed})
    assert response.status_code == 422
    assert response.json()["detail"].startswith(start)


def test_operator_limits_hold(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The operator's limits hold, and `/limits` returns them."""
    broker.configure(upstream, MAX_UPLOAD_BYTES="10", ALLOWED_CONTENT_TYPES="audio/mpeg,image/*")
    api = Api(broker)
    limits = api.call("GET", "/limits").json()
    assert limits["maxUploadBytes"] == 10
    assert limits["contentTypes"] == ["audio/mpeg", "image/*"]
    audio = {"contentType": "AUDIO/mpeg; charset=x", "fileName": "a.mp3"}
    assert api.begin(**audio)["type"] == "AUDIO"
    body = {**GOOD, **audio, "size": 11}
    assert api.call("POST", "/uploads", json=body).status_code == 413
    assert api.call("POST", "/uploads", json=GOOD).json()["code"] == "content_type_not_accepted"


def test_type_is_required_for_ambiguous_content_type(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """If the content type does not determine the asset's type, the caller must name it."""
    broker.configure(upstream, ALLOWED_CONTENT_TYPES="application/mxf")
    api = Api(broker)
    mxf = {"contentType": "application/mxf", "fileName": "clip.mxf"}
    body = {**GOOD, **mxf}
    response = api.call("POST", "/uploads", json=body)
    assert [error["pointer"] for error in response.json()["errors"]] == ["/type"]
    assert api.begin(**mxf, type="VIDEO")["type"] == "VIDEO"


def test_project_must_be_in_settings(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Only projects in the settings are allowed; if Sync does not know one, the upload fails."""
    broker.configure(upstream, ALLOWED_PROJECT_IDS="sandbox-project,stale")
    api = Api(broker)
    upload = api.registered(projectId="sandbox-project")
    assert upload["asset"]["projectId"] == "sandbox-project"
    stale = api.landed(projectId="stale")
    response = api.complete(stale)
    assert response.status_code == 422
    assert response.json()["code"] == "project_not_found"
    assert api.call("GET", f"/uploads/{stale['id']}").json()["status"] == "failed"


@pytest.mark.parametrize("path", ["/uploads", "/assets"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"nonsense",
        b"[]",
        b'"text"',
        b"null",
        b"5",
        b"\xff\xfe",
        b'{"fileName": "\xff"}',
        b'{"fileName": "\\ud800"}',
        b"[" * 30_000,
        b'{"size": ' + b"9" * 5000 + b"}",
    ],
)
def test_body_that_is_no_object_is_refused(api: Api, path: str, body: bytes) -> None:
    """A body that is not a JSON object is refused as a whole."""
    response = api.call("POST", path, data=body, headers=DECLARED)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_json"
    assert response.json()["errors"][0]["pointer"] == ""


def test_body_over_64_kib_is_refused(api: Api) -> None:
    """A body over 64 KiB is refused; one of exactly 64 KiB is parsed."""
    bound = 64 * 1024
    response = api.call("POST", "/uploads", data=b" " * (bound + 1))
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"
    assert api.call("POST", "/uploads", data=b" " * bound).json()["code"] == "invalid_json"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/problem+json", "application/x-www-form-urlencoded"]
)
def test_body_of_other_type_is_refused(api: Api, content_type: str) -> None:
    """A body with another declared type than JSON is refused."""
    response = api.call("POST", "/uploads", json=GOOD, headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize("path", ["/uploads", "/assets"])
def test_body_without_type_is_refused(api: Api, upstream: RunningUpstream, path: str) -> None:
    """A body without a type is refused, because any site's page may send it without a preflight."""
    for body in (json.dumps(GOOD).encode(), b"{}", b"x"):
        response = api.call("POST", path, data=body)
        assert "Content-Type" not in response.request.headers
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert upstream.journal() == []
    missing = api.call("POST", path)
    assert (missing.status_code, missing.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (b"NaN", "invalid_input"),
        (b"-Infinity", "invalid_input"),
        (b"Infinity", "file_too_large"),
        (b"1e400", "file_too_large"),
    ],
)
def test_size_that_is_not_finite_is_named(api: Api, size: bytes, code: str) -> None:
    """A size that Python reads as infinite, or as no number, is refused by its name."""
    body = b'{"fileName": "a.mp4", "contentType": "video/mp4", "size": ' + size + b"}"
    response = api.call("POST", "/uploads", data=body, headers=DECLARED)
    assert (response.status_code, response.json()["code"]) == (
        413 if code == "file_too_large" else 422,
        code,
    )
    assert [one["pointer"] for one in response.json()["errors"]] == ["/size"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_type_with_parameters_is_accepted(api: Api, content_type: str) -> None:
    """Parameters and case of the body's type do not matter."""
    response = api.call("POST", "/uploads", json=GOOD, headers={"Content-Type": content_type})
    assert response.status_code == 201


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.5", "x", "", "²", "9" * 5000])
@pytest.mark.parametrize("path", ["/uploads", "/assets"])
def test_limit_out_of_range_is_refused(api: Api, path: str, limit: str) -> None:
    """A page size out of range is refused by the parameter's name."""
    response = api.call("GET", path, params={"limit": limit})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "limit"


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WzEsMl0", "////", "WyJhIiwiIl0", "🎬"])
def test_unknown_cursor_is_refused(api: Api, cursor: str) -> None:
    """A cursor that the broker never returned is refused by the parameter's name."""
    response = api.call("GET", "/uploads", params={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "cursor"


ORDER = f"{1:015d}#{'0' * 32}"
PK = f"upload#{'0' * 32}"


def cursor_of(*parts: object) -> str:
    """Return a cursor with any content."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", ["/uploads", "/assets"])
@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(cursor_of("1" * 1025, PK), id="a sort key that DynamoDB refuses"),
        pytest.param(cursor_of(ORDER, "upload#" + "0" * 2048), id="a key that DynamoDB refuses"),
        pytest.param(cursor_of(ORDER, "asset#" + "0" * 2048), id="an asset's key that it refuses"),
        pytest.param(cursor_of("x" * 3000, "y" * 3000), id="too long"),
        pytest.param(cursor_of("x", PK), id="another sort key"),
        pytest.param(cursor_of(ORDER, PK + "0"), id="another key"),
        pytest.param(cursor_of(ORDER, "upload#" + "1" * 32), id="the key of another sort key"),
        pytest.param(cursor_of(ORDER, "secret#callers"), id="an item that no list has"),
        pytest.param(cursor_of(ORDER, PK, ""), id="three parts"),
        pytest.param(cursor_of(ORDER + "\n", PK), id="a line feed"),
        pytest.param(cursor_of(ORDER.replace("1", "\u0661"), PK), id="other digits"),
        pytest.param(cursor_of(ORDER, PK + "\ud800"), id="half of a character"),
    ],
)
def test_made_up_cursor_never_reaches_dynamodb(
    api: Api, broker: RunningBroker, path: str, cursor: str
) -> None:
    """A made-up cursor never reaches DynamoDB, which would refuse it as a fault."""
    response = api.call("GET", path, params={"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"][0]["parameter"] == "cursor"
    assert api.line(response)["dynamodbCalls"] == 0
    assert [line for line in broker.lines() if line["status"] >= 500] == []


def test_cursor_in_other_spelling_is_refused(api: Api) -> None:
    """A list accepts only cursors that it returned, and only in the same spelling."""
    for _ in range(2):
        api.registered()
    uploads, assets = (
        api.call("GET", f"{path}?limit=1").json()["nextCursor"] for path in ("/uploads", "/assets")
    )
    for path, cursor, status in (
        ("/uploads", uploads, 200),
        ("/assets", assets, 200),
        ("/uploads", assets, 422),
        ("/assets", uploads, 422),
        ("/uploads", base64.urlsafe_b64encode(b" " + decoded(uploads)).decode(), 422),
        ("/uploads", uploads + "====", 422),
    ):
        assert api.call("GET", path, params={"cursor": cursor}).status_code == status, cursor


def decoded(cursor: str) -> bytes:
    """Return a cursor's bytes."""
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def test_cursor_of_other_caller_shows_nothing(api: Api, broker: RunningBroker) -> None:
    """Another caller's cursor shows nothing of that caller's."""
    owner = Api(broker)
    for _ in range(2):
        owner.begin()
    cursor = owner.call("GET", "/uploads?limit=1").json()["nextCursor"]
    response = api.call("GET", "/uploads", params={"cursor": cursor})
    assert response.json() == {"items": []}
