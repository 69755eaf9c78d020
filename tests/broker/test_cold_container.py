"""What a container loads for its first request: nothing that the route does not need."""

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
# For sync., for bodies, and for the keys of an identity provider.
HEAVY = {"requests", "jsonschema", "chalicelib.auth.jwks"}
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def first(
    settings: dict[str, str], method: str, route: str, **members: Any
) -> tuple[int, set[str]]:
    """Ask a new container; return the status, and which of the heavy modules it loaded."""
    event = {
        "headers": {"content-type": "application/json", "authorization": f"Bearer {token('cold')}"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"httpMethod": method, "resourcePath": route, "path": f"/api{route}"},
        "body": None,
        "isBase64Encoded": False,
        **members,
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
def test_neither_sync_nor_body(
    broker: RunningBroker, upstream: RunningUpstream, method: str, route: str, expected: int
) -> None:
    """What asks nothing of sync. and has no body loads neither requests nor jsonschema."""
    caller = Api(broker, "cold")
    parameters = {"upload_id": caller.begin()["id"]} if "{" in route else None
    settings = broker.environment(upstream)
    assert first(settings, method, route, pathParameters=parameters) == (expected, set())


def test_sync_without_body(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Completing asks sync., and checks no body."""
    parameters = {"upload_id": Api(broker, "cold").landed()["id"]}
    route = "/uploads/{upload_id}/complete"
    loaded = first(broker.environment(upstream), "POST", route, pathParameters=parameters)
    assert loaded == (200, {"requests"})


def test_sync_and_body(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """To begin takes both: so the tests above would see them."""
    loaded = first(broker.environment(upstream), "POST", "/uploads", body=json.dumps(FILE))
    assert loaded == (201, {"requests", "jsonschema"})


def test_refused_body(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A body that is refused never comes to sync."""
    body = json.dumps({**FILE, "size": 0})
    loaded = first(broker.environment(upstream), "POST", "/uploads", body=body)
    assert loaded == (422, {"jsonschema"})
