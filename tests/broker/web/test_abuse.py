"""Hostile requests: the broker neither trusts nor echoes them, and none breaks it."""

import json
import socket
import time
from typing import Any

import pytest
import requests

from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

GOOD = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
TEXT = json.dumps(GOOD)
JSON = {"Content-Type": "application/json"}
EVIL = "evil.example"


def raw(broker: RunningBroker, request: bytes) -> bytes:
    """Send raw bytes, and read until the connection is closed."""
    with socket.create_connection(("127.0.0.1", broker.port), timeout=9) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = b""
        while part := connection.recv(65536):
            response += part
    return response


@pytest.mark.parametrize(
    "names", [("Authorization", "Authorization"), ("authorization", "AUTHORIZATION")]
)
@pytest.mark.parametrize("other", ["Bearer x", "", "same"])
@pytest.mark.parametrize("order", [1, -1])
def test_two_tokens_over_http_are_refused(
    api: Api, broker: RunningBroker, names: tuple[str, str], other: str, order: int
) -> None:
    """Two `Authorization` headers are refused over real HTTP too, whichever is valid."""
    good = f"Bearer {api.token}"
    values = [good, good if other == "same" else other][::order]
    lines = "".join(f"{name}: {value}\r\n" for name, value in zip(names, values, strict=True))
    head = "GET /uploads HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    assert raw(broker, f"{head}{lines}\r\n".encode()).startswith(b"HTTP/1.1 401 ")
    alone = f"{head}{names[0]}: {good}\r\n\r\n"
    assert raw(broker, alone.encode()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
def test_other_encoding_is_refused(api: Api, encoding: str) -> None:
    """A body in another encoding than UTF-8, or with a byte order mark, is refused."""
    body = TEXT.replace("clip", "clíp").encode(encoding)
    response = api.call("POST", "/uploads", data=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_json"


@pytest.mark.parametrize("depth", [50, 900, 1100, 30_000])
@pytest.mark.parametrize("ends", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(api: Api, depth: int, ends: tuple[str, str]) -> None:
    """However deep a body is nested, it is refused and nothing breaks."""
    opening, closing = ends
    nested = opening * depth + "1" + closing * depth
    body = TEXT[:-1] + f', "name": {nested}}}'
    response = api.call("POST", "/uploads", data=body, headers=JSON)
    assert response.status_code in {400, 413, 422}
    assert len(response.content) < 10_000


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json, text/plain",
        "text/plain; application/json",
        "text/plain, application/json",
        "application/jsonp",
        "application/json/x",
        "applicat\xedon/json".encode("latin-1"),
        "*/*",
        ";",
    ],
)
def test_other_content_type_is_refused(api: Api, content_type: str) -> None:
    """A body whose declared type is not JSON alone is refused."""
    response = api.call("POST", "/uploads", data=TEXT, headers={"Content-Type": content_type})
    assert response.status_code == 415


@pytest.mark.parametrize(
    "content_type",
    ["application/json ;charset=UTF-8", 'APPLICATION/JSON;charset="utf-8"', "application/json;"],
)
def test_json_content_type_is_accepted(api: Api, content_type: str) -> None:
    """The case of the type, and its parameters, do not matter."""
    response = api.call("POST", "/uploads", data=TEXT, headers={"Content-Type": content_type})
    assert response.status_code == 201


FORWARDED = {
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Proto": "javascript",
    "X-Forwarded-Prefix": f"//{EVIL}",
    "X-Forwarded-Path": f"/{EVIL}",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Server": EVIL,
    "Forwarded": f"for=6.6.6.6;host={EVIL};proto=https",
    "X-Original-URL": f"/{EVIL}",
    "X-Original-Host": EVIL,
    "X-Rewrite-URL": f"/{EVIL}",
    "X-Host": EVIL,
    "Base-Url": f"https://{EVIL}",
    "X-Request-Id": EVIL,
    "X-Amzn-RequestId": EVIL,
    "Host": EVIL,
    "Referer": f"https://{EVIL}/",
}


def test_forwarded_headers_are_ignored(api: Api, broker: RunningBroker) -> None:
    """No header of a proxy, nor `Host`, changes a URL that the broker returns."""
    began = api.call("POST", "/uploads", json=GOOD, headers=FORWARDED)
    assert began.headers["Location"] == f"/uploads/{began.json()['id']}"
    api.begin()
    listed = api.call("GET", "/uploads?limit=1", headers=FORWARDED)
    assert listed.headers["Link"].startswith("<?limit=1&cursor=")
    document = api.call("GET", "/openapi.json", headers=FORWARDED)
    assert document.json()["servers"] == [{"url": "/"}]
    failed = api.call("POST", "/uploads", json={}, headers=FORWARDED)
    assert failed.json()["instance"] == "/uploads"
    missing = api.call("GET", f"/uploads/{'0' * 32}", headers=FORWARDED)
    for response in (began, listed, document, failed, missing):
        assert EVIL not in response.text + str(response.headers)
    assert EVIL not in broker.log.getvalue()
    assert "6.6.6.6" not in broker.log.getvalue()


def test_absolute_request_target_is_ignored(api: Api, broker: RunningBroker) -> None:
    """A request line that names another host leads to no URL there."""
    request = (
        f"POST http://{EVIL}/uploads HTTP/1.1\r\nHost: {EVIL}\r\nConnection: close\r\n"
        f"Authorization: Bearer {api.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(TEXT)}\r\n\r\n{TEXT}"
    )
    head, _, body = raw(broker, request.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert f"Location: /uploads/{json.loads(body)['id']}".encode() in head
    assert EVIL.encode() not in head
    failed = raw(broker, request.replace(f"{api.token}", "x").encode()).partition(b"\r\n\r\n")[2]
    assert json.loads(failed)["instance"].startswith("/")
    assert not json.loads(failed)["instance"].startswith("//")


@pytest.mark.parametrize(
    "tail",
    [
        "%2e%2e",
        "..%2f..%2fhealth",
        "%00",
        "x%00",
        "%0d%0aSet-Cookie:%20a=b",
        "%252e%252e",
        "%25%32%65",
        "%c0%ae%c0%ae",
        "%ff",
        "é",
        "🎬",
        "%E2%80%AE",
        "__proto__",
        "*",
        "{upload_id}",
        "upload%23x",
        "%20",
        "0" * 31,
        "0" * 33,
        "O" * 32,
        "\u0660" * 32,
        "A" * 5000,
        "0" * 32 + "%0a",
        "0" * 32 + ";x=y",
    ],
)
def test_other_spelling_of_id_is_unknown(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, tail: str
) -> None:
    """An id in any other spelling is unknown, and never reaches Sync."""
    for method, path in (
        ("GET", f"/uploads/{tail}"),
        ("DELETE", f"/uploads/{tail}"),
        ("POST", f"/uploads/{tail}/complete"),
        ("POST", f"/uploads/{tail}/renew"),
        ("GET", f"/assets/{tail}"),
    ):
        response = api.call(method, path)
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
        assert "\r" not in str(dict(response.headers))
        assert "Set-Cookie" not in response.headers
    assert upstream.journal() == []
    assert len(broker.lines()) == 5
    assert {line["route"] for line in broker.lines()} <= {
        "/uploads/{upload_id}",
        "/uploads/{upload_id}/complete",
        "/uploads/{upload_id}/renew",
        "/assets/{asset_id}",
    }


def test_escaped_id_is_unknown(api: Api) -> None:
    """An escaped spelling of an id does not reach the upload's record."""
    upload = api.begin()
    spelled = "%" + f"{ord(upload['id'][0]):02x}" + upload["id"][1:]
    response = raw(
        api.broker,
        f"GET /uploads/{spelled} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {api.token}\r\n\r\n".encode(),
    )
    assert response.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
)
def test_method_override_is_ignored(api: Api, header: str) -> None:
    """No header and no parameter turns one method into another."""
    upload = api.begin()
    path = f"/uploads/{upload['id']}"
    response = api.call("GET", path + "?_method=DELETE", headers={header: "DELETE"})
    assert response.status_code == 200
    assert api.call("POST", path, headers={header: "DELETE"}).status_code == 405
    assert api.call("GET", path).json()["status"] == "pending"


BREAKS = ["\r\n", "\n", "\r", "\u2028", "\u2029", "\u0085", "\x0b", "\x1b[2J", "\x00"]


@pytest.mark.parametrize("mark", BREAKS, ids=repr)
def test_body_is_not_logged(api: Api, broker: RunningBroker, mark: str) -> None:
    """Whatever a body contains, a request writes one log line, and nothing of the body."""
    forged = f'x{mark}{{"event": "request", "forged": true}}'
    for field in ("fileName", "contentType", "name", "projectId", "type", forged):
        response = api.call("POST", "/uploads", json={**GOOD, field: forged})
        assert response.status_code in {201, 422}
    for field in ("url", "name"):
        body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO", field: forged}
        assert api.call("POST", "/assets", json=body).status_code == 422
    written = broker.log.getvalue()
    lines = written.split("\n")
    assert lines.pop() == ""
    assert len(broker.lines()) == 8
    assert {json.loads(line)["event"] for line in lines} <= {"request", "upload"}
    assert "forged" not in written
    assert written.isascii()
    assert written.splitlines() == lines


def test_headers_are_not_logged(api: Api, broker: RunningBroker) -> None:
    """No header that a client makes up gets into the log, or into a response."""
    forged = 'x{"event": "request", "forged": true}\x85\x0b'
    names = (
        *("User-Agent", "Referer", "Origin", "Idempotency-Key", "Upload-Ticket", "traceparent"),
        *("X-Request-Id", "X-Amzn-Trace-Id", "Cookie", "Accept", "Content-Type", "Accept-Language"),
    )
    for name in names:
        response = api.call("GET", "/limits", headers={name: forged.encode("latin-1")})
        assert response.status_code in {200, 400, 422}
        assert "forged" not in str(response.headers) + response.text
    response = api.call("GET", "/limits", headers={"Authorization": f"Bearer {forged}".encode()})
    assert response.status_code == 401
    assert "forged" not in broker.log.getvalue() + str(response.headers) + response.text
    assert len(broker.lines()) == len(names) + 1
    [refused] = broker.lines("token_refused")
    assert refused["reason"] == "several_headers"
    assert len(broker.log.getvalue().splitlines()) == len(broker.lines()) + 1


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("k" * 255, 201),
        ("k" * 256, 400),
        ("k" * 60_000, 400),
        ("a, b", 400),
        ("ké", 400),
        ("k\x85", 400),
        ("k\x1b[2J", 400),
        ('{"event":"request","forged":true}', 201),
        ("upload#" + "0" * 32, 201),
        ("../../key", 201),
    ],
)
def test_idempotency_key_is_not_written(
    api: Api, broker: RunningBroker, key: str, status: int
) -> None:
    """An `Idempotency-Key` of any content is refused or hashed; its text is written nowhere."""
    headers = {"Idempotency-Key": key.encode("latin-1")}
    first = api.call("POST", "/uploads", json=GOOD, headers=headers)
    assert first.status_code == status
    if status == 201:
        again = api.call("POST", "/uploads", json=GOOD, headers=headers)
        assert again.json()["id"] == first.json()["id"]
        other = Api(broker).call("POST", "/uploads", json=GOOD, headers=headers)
        assert other.json()["id"] != first.json()["id"]
    else:
        assert len(first.content) < 2000
    assert "forged" not in broker.log.getvalue()
    assert broker.log.getvalue().isascii()


@pytest.mark.parametrize("query", ["cursor", "limit", "x"])
def test_query_splits_no_response(api: Api, query: str) -> None:
    """No line break of a query gets into a header."""
    for mark in ("%0d%0aX-Evil:%20yes", "%0aX-Evil:yes", "%E5%98%8A%E5%98%8DX-Evil:yes"):
        response = api.call("GET", f"/uploads?limit=1&{query}=x{mark}")
        assert response.status_code == (200 if query == "x" else 422)
        assert "X-Evil" not in str(response.headers)


def test_large_headers_do_no_harm(api: Api, broker: RunningBroker) -> None:
    """A large header changes nothing, and a large token is refused."""
    assert api.call("GET", "/limits", headers={"X-Large": "a" * 60_000}).status_code == 200
    large = {"Authorization": "Bearer " + "a." * 30_000}
    assert api.call("GET", "/limits", headers=large).status_code == 401
    spaces = {"Authorization": "Bearer" + " " * 60_000 + "x"}
    assert api.call("GET", "/limits", headers=spaces).status_code == 401
    assert len(broker.log.getvalue()) < 2000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contentType", "video/mp4" + " ;" * 20_000),
        ("contentType", "video/mp4" + " " * 60_000 + "!"),
        ("contentType", "video/mp4;a=b" * 4000 + "\n"),
        ("contentType", 'video/mp4;a="' + "a" * 60_000),
        ("contentType", "a" * 60_000),
        ("fileName", "a" * 60_000 + "/"),
        ("fileName", "\u0301" * 9000),
        ("name", "\n" * 30_000),
        ("url", "https://" + "a." * 25_000 + "\n"),
        ("url", "https://" + "@" * 50_000),
        ("url", "https://[" + ":" * 50_000),
        ("x" * 60_000, 1),
    ],
)
def test_no_text_slows_checks(api: Api, field: str, value: Any) -> None:
    """No text makes the checks slow, and no response repeats a long text."""
    path = "/assets" if field == "url" else "/uploads"
    good = {"type": "VIDEO"} if field == "url" else GOOD
    started = time.monotonic()
    response = api.call("POST", path, json={**good, field: value})
    assert time.monotonic() - started < 1
    assert response.status_code == 422
    assert len(response.content) < 4000


def test_no_content_type_slows_check(api: Api) -> None:
    """No declared type makes its check slow."""
    for tail in ("; " * 15_000, " " * 60_000, ";a=b" * 15_000, "," * 60_000):
        started = time.monotonic()
        response = api.call(
            "POST",
            "/uploads",
            data=TEXT,
            headers={"Content-Type": f"application/json{tail}!"},
        )
        assert time.monotonic() - started < 1
        assert response.status_code in {201, 415}


@pytest.mark.parametrize("field", [{}, [], {"a": []}, 5, True, None, [["VIDEO"]]])
@pytest.mark.parametrize("name", ["type", "projectId", "name", "fileName", "contentType", "size"])
def test_field_of_other_type_is_refused(api: Api, name: str, field: Any) -> None:
    """A field of any JSON type is refused by its name, and is no internal error."""
    response = api.call("POST", "/uploads", json={**GOOD, name: field})
    assert response.status_code == 201 if (name, field) == ("size", 5) else 422


def test_many_unknown_fields_are_refused_briefly(api: Api) -> None:
    """A body with thousands of unknown fields is refused in a response of bounded size."""
    body = {**GOOD, **{f"m{number}": 1 for number in range(5000)}}
    response = api.call("POST", "/uploads", json=body)
    assert response.status_code == 422
    assert len(response.content) < 64 * 1024


def test_invalid_characters_of_sync_are_sent(api: Api, upstream: RunningUpstream) -> None:
    """A refusal of Sync whose message can't be encoded as UTF-8 reaches the browser."""
    upload = api.landed()
    body = '{"errorCode": "project_not_found", "message": "half \\ud83c of\\r\\nit"}'
    fault = {"kind": "answer", "status": 422, "body": body}
    upstream.order(fault, method="POST", path="/v2/assets")
    response = api.complete(upload)
    assert response.status_code == 422
    assert response.json()["code"] == "project_not_found"
    again = requests.get(
        api.broker.url + f"/uploads/{upload['id']}",
        headers={"Authorization": f"Bearer {api.token}"},
        timeout=9,
    )
    assert again.json()["status"] == "failed"
