"""What a container does while Lambda starts it, and what it leaves to its first request."""

import json
import os
import socket
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.running_broker import SECRET, Api, RunningBroker, token
from tests.support.throttling_ssm import ThrottlingSsm
from tests.support.upstream_process import KEY, ROOT, RunningUpstream, free_port

CONTAINER = """
import json
import sys
import threading
from app import app

ready = set(sys.modules)
print(json.dumps({"event": f"{threading.active_count()} threads after the start"}))
for text in sys.argv[1:]:
    answer = app(json.loads(text), None)
    print(json.dumps([answer["statusCode"], sorted(set(sys.modules) - ready)]))
"""
API = "app.app"
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


class Served(NamedTuple):
    """The status of a response, and the modules that the request loaded."""

    status: int
    loaded: list[str]


def event(method: str, route: str, **fields: Any) -> dict[str, Any]:
    """Return an event of API Gateway."""
    return {
        "headers": {"content-type": "application/json", "authorization": f"Bearer {token('cold')}"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"httpMethod": method, "resourcePath": route, "path": f"/api{route}"},
        "body": None,
        "isBase64Encoded": False,
        **fields,
    }


def container(
    settings: dict[str, str], *events: dict[str, Any], handler: str = API
) -> tuple[list[Served], list[str]]:
    """Run a new container; return what it served, and the events of its log."""
    done = subprocess.run(
        [sys.executable, "-c", CONTAINER, *map(json.dumps, events)],
        cwd=ROOT,
        env={**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "api", "_HANDLER": handler, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    served = [Served(*line) for line in lines if isinstance(line, list)]
    logged = [line["event"] for line in lines if isinstance(line, dict)]
    return served, [event for event in logged if event != "1 threads after the start"]


@pytest.mark.parametrize(
    ("method", "route", "expected"),
    [
        ("OPTIONS", "/uploads", 204),
        ("GET", "/health", 200),
        ("GET", "/limits", 200),
        ("GET", "/uploads", 200),
        ("GET", "/assets", 200),
        ("POST", "/uploads", 201),
        ("GET", "/uploads/{upload_id}", 200),
        ("DELETE", "/uploads/{upload_id}", 204),
        ("POST", "/uploads/{upload_id}/complete", 200),
    ],
)
def test_request_loads_no_module(
    broker: RunningBroker, upstream: RunningUpstream, method: str, route: str, expected: int
) -> None:
    """A first request loads no module: all are loaded at the full speed of the start."""
    parameters = {"upload_id": Api(broker, "cold").landed()["id"]} if "{" in route else None
    body = json.dumps(FILE) if route == "/uploads" else None
    asked = event(method, route, pathParameters=parameters, body=body)
    served, _ = container(broker.environment(upstream), asked)
    assert served == [(expected, [])]


def test_refused_body_loads_jsonschema(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Only a refused body loads jsonschema, so the test above would notice a module."""
    asked = event("POST", "/uploads", body=json.dumps({**FILE, "size": 0}))
    [served], _ = container(broker.environment(upstream), asked)
    assert served.status == 422
    assert "jsonschema" in served.loaded


def test_start_reads_and_connects(
    broker: RunningBroker, upstream: RunningUpstream, faulty_dynamodb: FaultyDynamoDB
) -> None:
    """The start reads each secret once and opens both connections; the request uses them."""
    secrets = {"/cold/key": KEY, "/cold/secret": SECRET}
    ssm = ThrottlingSsm(secrets, lambda: True)
    settings = broker.environment(
        upstream,
        SYNC_API_KEY="",
        SYNC_API_KEY_PARAMETER="/cold/key",
        JWT_SECRET="",
        JWT_SECRET_PARAMETER="/cold/secret",
        AWS_ENDPOINT_URL_SSM=ssm.url,
    )
    with socket.create_server(("127.0.0.1", 0)) as sync:
        url = f"http://127.0.0.1:{sync.getsockname()[1]}"
        assert container({**settings, "SYNC_BASE_URL": url}) == ([], [])
        sync.accept()[0].close()
    assert ssm.calls == [list(secrets)]
    assert faulty_dynamodb.calls == ["GetItem"]
    served, _ = container(settings, event("POST", "/uploads", body=json.dumps(FILE)))
    ssm.stop()
    assert [one.status for one in served] == [201]
    assert len(ssm.calls) == 2
    # After the start's read of the secret of the caller ids, a request reads only the limiter.
    assert faulty_dynamodb.calls[1:].count("GetItem") == 2


@pytest.mark.parametrize("handler", ["app.sweep", ""])
def test_other_start_connects_to_nothing(
    broker: RunningBroker,
    upstream: RunningUpstream,
    faulty_dynamodb: FaultyDynamoDB,
    handler: str,
) -> None:
    """The sweep's container, and an app that runs elsewhere, open no connection at their start."""
    with socket.create_server(("127.0.0.1", 0)) as sync:
        sync.settimeout(0)
        url = f"http://127.0.0.1:{sync.getsockname()[1]}"
        settings = broker.environment(upstream, SYNC_BASE_URL=url)
        assert container(settings, handler=handler) == ([], [])
        with pytest.raises(BlockingIOError):
            sync.accept()
    assert faulty_dynamodb.calls == []


@pytest.mark.parametrize("down", ["sync", "dynamodb", "ssm", "settings"])
def test_start_survives_outage(broker: RunningBroker, upstream: RunningUpstream, down: str) -> None:
    """A container that starts while a service is down, or misconfigured, serves what it can."""
    closed = f"http://127.0.0.1:{free_port()}"
    broken = {
        "sync": {"SYNC_BASE_URL": closed},
        "dynamodb": {"AWS_ENDPOINT_URL_DYNAMODB": closed},
        "ssm": {"SYNC_API_KEY": "", "SYNC_API_KEY_PARAMETER": "/a", "AWS_ENDPOINT_URL_SSM": closed},
        "settings": {"PRESIGNS_PER_MINUTE": "none"},
    }[down]
    settings = broker.environment(upstream, **broken)
    served, logged = container(settings, event("GET", "/health"), event("GET", "/uploads"))
    expected = {"sync": [200, 200], "dynamodb": [200, 503], "ssm": [200, 200]}
    assert [one.status for one in served] == expected.get(down, [503, 503])
    assert "unexpected" not in logged


def test_start_leaves_hanging_services(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A start that waits for services that hang ends before them, and the container serves.

    Lambda would end it after ten seconds, and begin anew.
    """
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        settings = broker.environment(
            upstream,
            SYNC_API_KEY="",
            SYNC_API_KEY_PARAMETER="/a",
            AWS_ENDPOINT_URL_SSM=url,
            AWS_ENDPOINT_URL_DYNAMODB=url,
        )
        served, logged = container(settings, event("GET", "/health"))
    assert [one.status for one in served] == [200]
    assert "2 threads after the start" in logged
