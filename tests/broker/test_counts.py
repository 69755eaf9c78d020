"""The documentation has the real numbers of calls."""

import re

import requests

from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "architecture.md").read_text()
FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
HALF_A_LIFE = 1900  # seconds, a little more than half of a URL's life


def documented() -> dict[str, tuple[int, int]]:
    """Return the table: calls to DynamoDB and to Sync by request."""
    _, _, table = PAGE.partition("| call | DynamoDB calls | calls to Sync |\n")
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    return {name: (int(dynamodb), int(sync)) for name, dynamodb, sync in rows}


def test_call_counts_are_documented(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Each route makes exactly the calls that the documentation names."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=f"http://localhost:{upstream.port}")
    api = Api(broker)
    warm = api.begin()  # a container's first permit of each rate limiter also reads its item
    api.put(warm)
    api.complete(warm)

    def call(method: str, path: str, **more: object) -> requests.Response:
        return api.call(method, path, **more)

    begun = call("POST", "/uploads", json=FILE)
    upload = begun.json()
    api.put(upload)
    first, again = api.complete(upload), api.complete(upload)
    pending, aging = api.begin(), api.begin()
    public = {"url": upstream.upload().replace("127.0.0.1", "localhost"), "type": "VIDEO"}
    reading = "reading, listing, cancelling"
    responses = [
        ("`POST /uploads`", begun),
        (
            "`POST /uploads`, with a key",
            call("POST", "/uploads", json=FILE, headers={"Idempotency-Key": "0.123456789"}),
        ),
        ("first `complete`", first),
        ("repeated `complete`", again),
        ("`POST /assets`", call("POST", "/assets", json=public)),
        (reading, call("GET", f"/uploads/{upload['id']}")),
        (reading, call("GET", "/uploads")),
        (reading, call("GET", "/assets")),
        (reading, call("GET", f"/assets/{again.json()['asset']['id']}")),
        (
            "`renew`, with the old URL still fresh",
            call("POST", f"/uploads/{pending['id']}/renew"),
        ),
        (reading, call("DELETE", f"/uploads/{pending['id']}")),
        ("`GET /limits`", call("GET", "/limits")),
        ("`GET /health`", call("GET", "/health")),
    ]
    broker.clock.advance(HALF_A_LIFE)
    responses.append(("`renew`", call("POST", f"/uploads/{aging['id']}/renew")))
    page = documented()
    for name, response in responses:
        line = api.line(response)
        assert response.ok, name
        assert (line["dynamodbCalls"], line["upstreamCalls"]) == page[name], name
    assert {name for name, _ in responses} == set(page)
