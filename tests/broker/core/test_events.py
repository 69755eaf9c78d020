"""The Lambda handler, called with events that API Gateway sends and with others.

In API Gateway's events every field that Chalice reads is present; `headers`, `multiValueHeaders`,
`multiValueQueryStringParameters`, `pathParameters` and `body` may be null; values are strings or
lists of strings, never empty lists; `resourcePath` and `httpMethod` are those of a deployed route.
The broker itself responds to each of these. Other events come from the console's test button or
from an invocation by hand: the handler must neither raise nor return 500, and an event without a
known route gets a complete 404.
"""

import base64
import json
import os
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app import app
from tests.support.running_broker import ORIGIN, RunningBroker, token
from tests.support.upstream_process import RunningUpstream

ROUTES = sorted((method, path) for path, methods in app.routes.items() for method in methods)
TOKEN = token("the-caller-of-all-events")
EXAMPLES = int(os.environ.get("EVENT_EXAMPLES", "200"))  # `make soak` sets more
BODY = json.dumps({"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5})
RUN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def event(method: str, path: str, **fields: Any) -> dict[str, Any]:
    """Return an event as API Gateway writes it."""
    headers = {
        "authorization": f"Bearer {TOKEN}",
        "origin": ORIGIN,
        "content-type": "application/json",
    }
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"upload_id": "0" * 32, "asset_id": "x"},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": method,
            "path": f"/stage{path}",
            "stage": "stage",
            "requestId": "5b1c5b1c-0000-4000-8000-000000000000",
            "identity": {"sourceIp": "192.0.2.1"},
        },
        "body": None,
        "isBase64Encoded": False,
        **fields,
    }


def call(given_event: Any) -> dict[str, Any]:
    """Call the handler; check that Lambda and API Gateway can pass its response on."""
    response: dict[str, Any] = app(given_event, None)
    json.dumps(response).encode()
    response["body"].encode()
    assert 200 <= response["statusCode"] <= 599
    assert response["multiValueHeaders"] == {}
    for name, value in response["headers"].items():
        assert isinstance(value, str)
        assert not set(name + value) & {"\r", "\n", "\x00"}
    return response


any_text = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["", "\r\nX-Evil: yes", "\ud800", "é", "../..", "%2e%2e", "%00", "a" * 70_000, "null", "0" * 32]
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(any_text | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(
    [
        *("Authorization", "authorization", "Content-Type", "Origin", "Accept", "traceparent"),
        *("Idempotency-Key", "Upload-Ticket", "X-Forwarded-Host", "X-HTTP-Method-Override"),
    ]
)
values = any_text | st.sampled_from(
    [f"Bearer {TOKEN}", "Bearer", "application/json", "application/json; charset=utf-16", ORIGIN]
)
bodies = st.sampled_from([None, "", BODY, BODY[:-1], "[" * 60_000, BODY * 2000]) | any_text
query = st.dictionaries(
    st.sampled_from(["limit", "cursor"]) | any_text, st.lists(any_text, min_size=1, max_size=3)
)


@st.composite
def gateway_event(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event that API Gateway can send, for a deployed route."""
    method, path = draw(st.sampled_from(ROUTES))
    several = draw(
        st.none() | st.dictionaries(names | any_text, st.lists(values, min_size=1, max_size=3))
    )
    single = None if several is None else {name: given[-1] for name, given in several.items()}
    made = event(method, path)
    if draw(st.booleans()):
        made |= {"headers": single, "multiValueHeaders": several}
    body = draw(bodies)
    if body is not None and draw(st.booleans()):
        encoded = base64.b64encode(body.encode("utf-8", "replace")).decode()
        made |= {"body": encoded[: draw(st.integers(0, 9)) or None], "isBase64Encoded": True}
    else:
        made["body"] = body
    made["multiValueQueryStringParameters"] = draw(st.none() | query)
    made["pathParameters"] = {"upload_id": draw(any_text), "asset_id": draw(any_text)}
    return made


@st.composite
def other_event(draw: st.DrawFn) -> Any:
    """Draw an event of a known shape whose fields are partly missing or of another type."""
    method, path = draw(st.sampled_from(ROUTES))
    made = event(draw(st.just(method) | any_text), draw(st.just(path) | any_text))
    for where in (made, made["requestContext"]):
        for name in draw(st.lists(st.sampled_from(sorted(where)), max_size=4, unique=True)):
            if draw(st.booleans()):
                del where[name]
            else:
                where[name] = draw(
                    junk
                    | st.dictionaries(names, junk, max_size=3)
                    | st.dictionaries(any_text, st.lists(junk, max_size=2), max_size=2)
                )
    return made


def _route(given_event: Any) -> tuple[Any, Any]:
    context = given_event.get("requestContext") if isinstance(given_event, dict) else None
    context = context if isinstance(context, dict) else {}
    return context.get("httpMethod"), context.get("resourcePath")


@pytest.fixture
def unlimited(broker: RunningBroker, upstream: RunningUpstream) -> RunningBroker:
    """A broker with limits that no test reaches."""
    upstream.behave(presignsPerMinute=1_000_000)
    return broker


def test_gateway_events_get_a_response(unlimited: RunningBroker) -> None:
    """Every event that API Gateway can send gets a response, never 500, and one log line."""
    seen: Counter[int] = Counter()

    @RUN
    @given(made=gateway_event())
    @example(made=event("POST", "/uploads", body=BODY))
    def run(made: dict[str, Any]) -> None:
        before = unlimited.log.tell()
        response = call(made)
        seen[response["statusCode"]] += 1
        assert response["statusCode"] != 500
        assert response["headers"]["Cache-Control"] == "no-store"
        assert response["headers"]["X-Request-Id"] == made["requestContext"]["requestId"]
        if response["statusCode"] >= 400 and made["httpMethod"] != "HEAD":
            problem = json.loads(response["body"])
            assert problem["status"] == response["statusCode"]
            assert problem["instance"] == quote(f"/stage{made['path']}")
        written = unlimited.log.getvalue()[before:]
        lines = [json.loads(text) for text in written.splitlines()]
        [line] = [line for line in lines if line["event"] == "request"]
        assert line["status"] == response["statusCode"]
        assert line["route"] == made["path"]

    run()
    assert seen.total() >= EXAMPLES
    assert {201, 401, 405} <= set(seen)


def test_other_events_never_raise(unlimited: RunningBroker) -> None:
    """No other event makes the handler raise or return 500."""
    seen: Counter[int] = Counter()

    @RUN
    @given(made=other_event() | junk)
    @example(made={})
    @example(made=None)
    @example(made={"requestContext": None})
    @example(made={"Records": [{"eventSource": "aws:sqs", "body": "{}"}]})
    @example(made={"requestContext": {}})
    @example(made={"requestContext": {"resourcePath": "/uploads"}})
    @example(made=event("FROBNICATE", "/uploads"))
    @example(made=event("OPTIONS", "/nowhere"))
    @example(made={"version": "2.0", "rawPath": "/uploads", "requestContext": {"http": {}}})
    def run(made: Any) -> None:
        response = call(made)
        seen[response["statusCode"]] += 1
        assert response["statusCode"] < 500
        assert response["headers"]["X-Request-Id"]
        assert response["headers"]["Cache-Control"] == "no-store"
        assert response["headers"]["Vary"] == "Origin"
        if _route(made) not in ROUTES:
            assert response["statusCode"] == 404
            assert response["body"] == "" or json.loads(response["body"])["code"] == "not_found"

    run()
    assert seen.total() >= EXAMPLES
    assert all(json.loads(line) for line in unlimited.log.getvalue().splitlines())


@pytest.mark.parametrize(
    "several",
    [
        {"Authorization": [f"Bearer {TOKEN}", f"Bearer {TOKEN}"]},
        {"Authorization": ["Bearer x", f"Bearer {TOKEN}"]},
        {"Authorization": [f"Bearer {TOKEN}", ""]},
        {"Authorization": [f"Bearer {TOKEN}"], "authorization": [f"Bearer {TOKEN}"]},
        {"AUTHORIZATION": ["", f"Bearer {TOKEN}"]},
    ],
)
def test_two_authorization_headers_are_refused(
    unlimited: RunningBroker,  # noqa: ARG001 - the handler's own broker
    several: dict[str, list[str]],
) -> None:
    """Two `Authorization` headers are refused, also equal ones."""
    single = {name: given[-1] for name, given in several.items()}
    for method, path in ROUTES:
        response = call(event(method, path, headers=single, multiValueHeaders=several))
        is_open = method == "OPTIONS" or path in {"/", "/health", "/openapi.json"}
        assert is_open or response["statusCode"] in {401, 405}
        if response["statusCode"] == 401:
            assert response["headers"]["WWW-Authenticate"].startswith("Bearer ")


def test_two_content_types_are_refused(unlimited: RunningBroker) -> None:  # noqa: ARG001 - the handler's own broker
    """A body with two `Content-Type` headers is refused."""
    made = event("POST", "/uploads", body=BODY)
    made["multiValueHeaders"]["content-type"] = ["application/json", "application/json"]
    assert call(made)["statusCode"] == 415


def test_urls_start_with_stage(unlimited: RunningBroker) -> None:  # noqa: ARG001 - the handler's own broker
    """URLs start with the gateway's stage, and never with text that a client made up."""
    began = call(event("POST", "/uploads", body=BODY))
    assert began["headers"]["Location"] == f"/stage/uploads/{json.loads(began['body'])['id']}"
    for path in ("//evil.example/uploads", "/a\r\nb/uploads", "https://evil.example/uploads", 5):
        made = event("POST", "/uploads", body=BODY)
        made["requestContext"]["path"] = path
        assert call(made)["headers"]["Location"].startswith("/uploads/")
        made["body"] = "{}"
        assert json.loads(call(made)["body"])["instance"][1:2] != "/"


@pytest.mark.parametrize(
    ("outside", "prefix"),
    [("/stage/", "/stage"), ("/stage", "/stage"), ("/", ""), ("", ""), ("/a/b/", "/a/b")],
)
def test_root_paths_start_with_stage(unlimited: RunningBroker, outside: str, prefix: str) -> None:  # noqa: ARG001 - the handler's own broker
    """The root returns the paths of its documents behind the stage or the base path."""
    made = event("GET", "/", headers=None, multiValueHeaders=None)
    made["requestContext"]["path"] = outside
    response = call(made)
    assert response["statusCode"] == 200
    assert json.loads(response["body"]) == {
        "service": "sync-upload-broker",
        "version": "0.1.0",
        "openapi": f"{prefix}/openapi.json",
        "health": f"{prefix}/health",
    }
