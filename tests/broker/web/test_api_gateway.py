"""The broker behind API Gateway as AWS runs it, played by a test double."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from chalicelib import api as routes
from tests.deploy.test_template import RESPONSES
from tests.support.api_gateway import RENAMED, ApiGateway
from tests.support.running_broker import Api, RunningBroker, check

TOKEN = "Bearer eyJhbGciOiJIUzI1NiJ9.marked-token-of-the-tests.signature"


@pytest.fixture
def gateway(broker: RunningBroker) -> Iterator[ApiGateway]:
    """A gateway with the responses of the stack's template."""
    paths = [operation.path for module in routes.ALL for operation in module.operations]
    made = ApiGateway(broker.url, paths, RESPONSES)
    yield made
    made.stop()


@dataclass(frozen=True)
class At:
    """A broker at another URL."""

    url: str


def test_renamed_header_is_documented(gateway: ApiGateway) -> None:
    """A 401 whose header API Gateway has renamed still fits the OpenAPI document."""
    response = requests.get(gateway.url + "/uploads", timeout=9)
    assert response.status_code == 401
    assert response.headers[RENAMED].startswith("Bearer ")
    assert "WWW-Authenticate" not in response.headers
    check("GET", "/uploads", response)


def test_upload_passes_gateway(gateway: ApiGateway, broker: RunningBroker) -> None:
    """An upload is registered through the gateway."""
    caller: Any = Api(broker)
    caller.broker = At(gateway.url)
    assert caller.registered()["status"] == "registered"


@pytest.mark.parametrize("path", ["/no/such/path", "/upload", "/uploads/1/2/3"])
@pytest.mark.parametrize(
    "kind", ["MISSING_AUTHENTICATION_TOKEN", "INVALID_SIGNATURE", "ACCESS_DENIED", "EXPIRED_TOKEN"]
)
def test_unknown_path_is_404(gateway: ApiGateway, kind: str, path: str) -> None:
    """An unknown path is 404, with a token and without."""
    gateway.refusal = kind
    for headers in ({}, {"Authorization": TOKEN}):
        response = requests.get(gateway.url + path, headers=headers, timeout=9)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("kind", [*RESPONSES, "WAF_FILTERED", "BAD_REQUEST_BODY"])
def test_gateway_repeats_no_header(gateway: ApiGateway, kind: str) -> None:
    """No response of the gateway repeats a header of the request, whatever its own message says."""
    gateway.broken = kind
    headers = {"Authorization": TOKEN, "X-Marked": "another-marked-value"}
    response = requests.get(gateway.url + "/uploads", headers=headers, timeout=9)
    assert response.status_code >= 400
    assert response.json()["requestId"] == response.headers["X-Request-Id"]
    for secret in ("marked-token", "another-marked-value"):
        assert secret not in response.text + str(response.headers)


def test_local_gateway_repeats_no_header(broker: RunningBroker) -> None:
    """On this machine an unknown path is the same 404, with a token and without."""
    for headers in ({}, {"Authorization": TOKEN}):
        response = requests.post(broker.url + "/no/such/path", headers=headers, timeout=9)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert "marked-token" not in response.text + str(response.headers)
