"""A container loads only the modules that its first request needs."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import ROOT, RunningUpstream

CONTAINER = """
import json
import sys
from app import app

answer = app(json.loads(sys.argv[1]), None)
print(json.dumps([answer["statusCode"], sorted(sys.modules)]))
"""
# The modules for calls to Sync, for bodies, and for the keys of an identity provider.
HEAVY = {"requests", "jsonschema", "chalicelib.auth.jwks"}
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def first_request(
    settings: dict[str, str], method: str, route: str, **fields: Any
) -> tuple[int, set[str]]:
    """Call a new container; return the status, and the heavy modules that it loaded."""
    event = {
        "headers": {"content-type": "application/json", "authorization": f"Bearer {token('cold')}"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"httpMethod": method, "resourcePath": route, "path": f"/api{route}"},
        "body": None,
        "isBase64Encoded": False,
        **fields,
    }
    done = subprocess.run(
        [sys.executable, "-c", CONTAINER, json.dumps(event)],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    return status, HEAVY & set(loaded)


@pytest.mark.parametrize(
    ("method", "route", "expected"),
    [
        ("OPTIONS", "/uploads", 204),
        ("GET", "/health", 200),
        ("GET", "/limits", 200),
        ("GET", "/uploads", 200),
        ("GET", "/assets", 200),
        ("GET", "/uploads/{upload_id}", 200),
        ("DELETE", "/uploads/{upload_id}", 204),
    ],
)
def test_plain_request_loads_no_heavy_module(
    broker: RunningBroker, upstream: RunningUpstream, method: str, route: str, expected: int
) -> None:
    """A request without a body and without a call to Sync loads neither requests nor jsonschema."""
    caller = Api(broker, "cold")
    parameters = {"upload_id": caller.begin()["id"]} if "{" in route else None
    settings = broker.environment(upstream)
    assert first_request(settings, method, route, pathParameters=parameters) == (expected, set())


def test_complete_loads_no_jsonschema(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Completing an upload calls Sync, and checks no body."""
    parameters = {"upload_id": Api(broker, "cold").landed()["id"]}
    route = "/uploads/{upload_id}/complete"
    loaded = first_request(broker.environment(upstream), "POST", route, pathParameters=parameters)
    assert loaded == (200, {"requests"})


def test_begin_loads_heavy_modules(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Beginning an upload loads both modules, so the tests above would notice them."""
    loaded = first_request(broker.environment(upstream), "POST", "/uploads", body=json.dumps(FILE))
    assert loaded == (201, {"requests", "jsonschema"})


def test_refused_body_loads_no_requests(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A refused body causes no call to Sync."""
    body = json.dumps({**FILE, "size": 0})
    loaded = first_request(broker.environment(upstream), "POST", "/uploads", body=body)
    assert loaded == (422, {"jsonschema"})
