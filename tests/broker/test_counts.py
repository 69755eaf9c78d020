"""The documented numbers of calls are the ones that are made."""

import re

import requests

from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "architecture.md").read_text()
FILE = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
HALF_A_LIFE = 1900  # seconds, and a little more


def documented() -> dict[str, tuple[int, int]]:
    """Return the table: calls to DynamoDB and to Sync by request."""
    _, _, table = PAGE.partition("| call | DynamoDB calls | calls to Sync |\n")
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    return {name: (int(dynamodb), int(sync)) for name, dynamodb, sync in rows}


def test_counts(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Each route makes as few calls as it can, and as many as the page says."""
    broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=f"http://localhost:{upstream.port}")
    api = Api(broker)
    api.begin()  # the very first request of a table also writes the secret of the line's tickets

    def ask(method: str, path: str, **more: object) -> requests.Response:
        return api.call(method, path, **more)

    begun = ask("POST", "/uploads", json=FILE)
    upload = begun.json()
    api.put(upload)
    first, again = api.complete(upload), api.complete(upload)
    pending, aging = api.begin(), api.begin()
    public = {"url": upstream.upload().replace("127.0.0.1", "localhost"), "type": "VIDEO"}
    reading = "reading, listing, cancelling"
    answers = [
        ("`POST /uploads`", begun),
        (
            "`POST /uploads`, with a key",
            ask("POST", "/uploads", json=FILE, headers={"Idempotency-Key": "0.123456789"}),
        ),
        ("first `complete`", first),
        ("repeated `complete`", again),
        ("`POST /assets`", ask("POST", "/assets", json=public)),
        (reading, ask("GET", f"/uploads/{upload['id']}")),
        (reading, ask("GET", "/uploads")),
        (reading, ask("GET", "/assets")),
        (reading, ask("GET", f"/assets/{again.json()['asset']['id']}")),
        (
            "`renew`, with the old URL still fresh",
            ask("POST", f"/uploads/{pending['id']}/renew"),
        ),
        (reading, ask("DELETE", f"/uploads/{pending['id']}")),
        ("`GET /limits`", ask("GET", "/limits")),
        ("`GET /health`", ask("GET", "/health")),
    ]
    broker.clock.advance(HALF_A_LIFE)
    answers.append(("`renew`", ask("POST", f"/uploads/{aging['id']}/renew")))
    page = documented()
    for name, answer in answers:
        line = api.line(answer)
        assert answer.ok, name
        assert (line["dynamodbCalls"], line["upstreamCalls"]) == page[name], name
    assert {name for name, _ in answers} == set(page)
