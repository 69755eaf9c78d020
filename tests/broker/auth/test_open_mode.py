"""The open mode, which needs no token, does not serve other sites' pages."""

import json
from typing import Any

import pytest
import requests

from chalicelib import api as routes
from chalicelib.aws import clients
from chalicelib.web.cors import METHODS
from chalicelib.web.router import Operation
from tests.support.running_broker import ORIGIN, Api, RunningBroker, check
from tests.support.upstream_process import RunningUpstream

FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
TEXT = json.dumps(FILE)
JSON = "application/json"
OPERATIONS = [operation for one in routes.ALL for operation in one.operations]
PATHS = sorted({operation.path for operation in OPERATIONS})
FOREIGN = "http://evil.example"
# The headers that browsers add to each kind of request that a foreign page can cause.
ATTACKS: dict[str, dict[str, str]] = {
    "fetch": {"Origin": FOREIGN, "Content-Type": JSON, "Sec-Fetch-Site": "cross-site"},
    "form": {"Origin": FOREIGN, "Content-Type": "application/x-www-form-urlencoded"},
    "plain text": {"Origin": FOREIGN, "Content-Type": "text/plain"},
    "no type": {"Origin": FOREIGN},
    "sandboxed frame": {"Origin": "null", "Content-Type": JSON},
    "another loopback port": {"Origin": "http://127.0.0.1:3999", "Sec-Fetch-Site": "same-site"},
    "longer name": {"Origin": ORIGIN + ".evil.example"},
    "other scheme": {"Origin": ORIGIN.replace("https:", "http:")},
    "empty origin": {"Origin": ""},
    "two origins": {"Origin": f"{ORIGIN}, {FOREIGN}"},
    "image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "link": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    "image of another port": {"Sec-Fetch-Site": "same-site"},
    "rebound name": {"Host": "evil.example:8000", "Sec-Fetch-Site": "same-origin"},
    "rebound name with its origin": {"Host": "evil.example", "Origin": FOREIGN},
    "rebound name with our origin": {"Host": "evil.example", "Origin": ORIGIN},
    "name of this machine": {"Host": "developers-laptop.local:8000"},
    "longer host": {"Host": "localhost.evil.example:8000"},
    "host with credentials": {"Host": "localhost@evil.example"},
    "another address": {"Host": "192.168.0.17:8000"},
    "whole network": {"Host": "0.0.0.0:8000"},
}


@pytest.fixture
def opened(broker: RunningBroker, upstream: RunningUpstream) -> RunningBroker:
    """A broker in the open mode."""
    broker.configure(upstream, AUTH_MODE="open", JWT_SECRET="")
    return broker


def send(
    broker: RunningBroker, method: str, path: str, headers: dict[str, str]
) -> requests.Response:
    """Send a request with any headers, and with a body if the method has one."""
    filled = path.replace("{upload_id}", "0" * 32).replace("{asset_id}", "x")
    body = TEXT if method in {"POST", "PUT", "PATCH"} else None
    return requests.request(method, broker.url + filled, headers=headers, data=body, timeout=9)


def items_of(broker: RunningBroker) -> set[str]:
    """Return the keys of the table."""
    pages = clients.dynamodb().get_paginator("scan").paginate(TableName=broker.table)
    return {item["pk"]["S"] for page in pages for item in page["Items"]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_foreign_request_is_refused(
    opened: RunningBroker, upstream: RunningUpstream, attack: str
) -> None:
    """Each method of each path is refused before anything is done, and CORS hides the response."""
    before = items_of(opened)
    for path in PATHS:
        for method in METHODS:
            response = send(opened, method, path, ATTACKS[attack])
            assert response.status_code == 403, f"{method} {path}"
            if "Host" not in ATTACKS[attack]:
                assert "Access-Control-Allow-Origin" not in response.headers
            if method != "HEAD":
                assert response.json()["code"] == "forbidden_origin"
                check(method, path.replace("{upload_id}", "0" * 32), response)
    assert upstream.journal() == []
    assert items_of(opened) == before
    assert {line["dynamodbCalls"] for line in opened.lines()} == {0}


@pytest.mark.parametrize("attack", [one for one in ATTACKS if "Origin" in ATTACKS[one]])
def test_foreign_preflight_gets_no_cors_headers(opened: RunningBroker, attack: str) -> None:
    """A foreign page's preflight gets no CORS headers, so that the browser sends nothing."""
    if ATTACKS[attack]["Origin"] == ORIGIN:
        return
    for path in PATHS:
        headers = {**ATTACKS[attack], "Access-Control-Request-Method": "POST"}
        response = send(opened, "OPTIONS", path, headers)
        assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Host": "localhost:8000"},
        {"Host": "127.0.0.1"},
        {"Host": "LOCALHOST:1"},
        {"Host": "[::1]:8000"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_own_request_is_served(opened: RunningBroker, headers: dict[str, str]) -> None:
    """Programs, the allowed pages and the address bar are served under each loopback name."""
    response = send(opened, "POST", "/uploads", {"Content-Type": JSON, **headers})
    assert response.status_code == 201
    assert response.headers.get("Access-Control-Allow-Origin") == headers.get("Origin")
    for operation in OPERATIONS:
        assert served(opened, operation, headers), operation.path


def served(broker: RunningBroker, operation: Operation, headers: dict[str, str]) -> bool:
    """Whether a request reaches its route."""
    sent: dict[str, Any] = {"Content-Type": JSON, **headers}
    return send(broker, operation.method, operation.path, sent).status_code != 403


def test_own_preflight_is_granted(opened: RunningBroker) -> None:
    """An allowed page's preflight is granted."""
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    response = send(opened, "OPTIONS", "/uploads", headers)
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("attack", ATTACKS)
def test_headers_do_not_matter_with_tokens(api: Api, attack: str) -> None:
    """In the token mode these headers neither replace a token nor make it invalid."""
    headers = {**ATTACKS[attack], "Content-Type": JSON}
    assert send(api.broker, "POST", "/uploads", headers).status_code == 401
    assert api.call("POST", "/uploads", data=TEXT, headers=headers).status_code == 201
