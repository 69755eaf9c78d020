"""The log queries of the runbook and the dashboard use events and fields that the log has."""

import io
import json
import re
from contextlib import redirect_stdout
from typing import Any

import jwt
import pytest
import yaml

from chalicelib import bootstrap
from chalicelib.aws import clients, codec
from chalicelib.core import metrics
from ops import table
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import ROOT, RunningUpstream

TABLE = "uploads-of-the-runbook"


def runbook() -> dict[str, str]:
    """Return the runbook's queries by their headings."""
    page = (ROOT / "docs" / "operations.md").read_text()
    return dict(re.findall(r"\n### ([^\n]+)\n\n```cloudwatch\n(.+?)```", page, re.DOTALL))


def dashboard() -> dict[str, str]:
    """Return the dashboard's queries by their titles."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    body = yaml.safe_load(text)["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    widgets = [one["properties"] for one in json.loads(body)["widgets"] if one["type"] == "log"]
    return {one["title"]: re.sub(r"SOURCE '\S+' \| ", "", one["query"]) for one in widgets}


QUERIES = {**runbook(), **dashboard()}
LANGUAGE = {"fields", "filter", "stats", "sort", "limit", "and", "in", "as", "by", "asc", "desc"}
LANGUAGE |= {"ispresent", "count", "count_distinct", "pct"}


def values(query: str) -> set[str]:
    """Return the events and states that a query compares with."""
    return set(re.findall(r"""["'](\w+)["']""", query)) - {"UPLOAD_ID"}


def fields(query: str) -> set[str]:
    """Return the fields that a query reads: words that are no value, no label and no keyword."""
    text = re.sub(r"""["'].*?["']""", "", query)
    labels = set(re.findall(r" as (\w+)", text))
    return set(re.findall(r"(?<![@\w])[a-zA-Z]\w*", text)) - labels - LANGUAGE


@pytest.fixture(scope="module")
def log(dynamodb: None, running_upstream: RunningUpstream) -> list[dict[str, Any]]:  # noqa: ARG001 - it must be up
    """The log of a day with many faults, from a broker with its own table."""
    table.create(clients.dynamodb(), TABLE)
    running_upstream.call("POST", "/_sandbox/reset")
    broker = RunningBroker(TABLE)
    try:
        broker.configure(running_upstream)
        make_every_event(broker, running_upstream)
        written = [json.loads(line) for line in broker.log.getvalue().splitlines()]
    finally:
        broker.stop()
        clients.dynamodb().delete_table(TableName=TABLE)
    with redirect_stdout(io.StringIO()) as output:
        bootstrap.start({"UPLOADS_TABLE": TABLE})
    bootstrap.use(None)
    return written + [json.loads(line) for line in output.getvalue().splitlines()]


def make_every_event(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Make every event of uploads happen once."""
    api = Api(broker)
    done = api.registered()
    too_large = {"message": "no", "errorCode": "file_size_exceeds_plan_limit"}
    failing = api.landed()
    order_response(upstream, "/v2/assets", 400, too_large)
    assert api.complete(failing).status_code == 413
    assert api.call("DELETE", f"/uploads/{api.begin()['id']}").status_code == 204
    order_response(upstream, "/v2/assets/upload", 401, {"message": "Unauthorized"})
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    assert api.call("POST", "/uploads", json=body).status_code == 502
    unsized = api.landed()
    sizeless = {**done["asset"], "id": "00000000-0000-4000-8000-000000000000", "size": None}
    order_response(upstream, "/v2/assets", 201, sizeless)
    assert api.complete(unsized).status_code == 200
    broker.configure_again(JWT_AUDIENCE="uploads,more")
    forged = jwt.encode({"sub": "a"}, "s" * 64, headers={"kid": "old"})
    for wrong in (token(aud="x"), forged):
        api.token = wrong
        assert api.call("GET", "/uploads", headers={}).status_code == 401
    broker.configure_again()
    api.token = token()
    api.begin()
    _poison(broker)
    for _ in range(2):  # the first sweep finds nothing, and in the second the upload expires
        broker.clock.advance(20_000)
        broker.sweep()
    broker.configure_again(SYNC_API_KEY="", SYNC_API_KEY_PARAMETER="/there/is/none")
    api.line(api.call("POST", "/uploads", json=body))


def order_response(upstream: RunningUpstream, path: str, status: int, body: dict[str, Any]) -> None:
    """Let Sync respond so, once."""
    upstream.order({"kind": "answer", "status": status, "body": body}, "POST", path, times=1)


def _poison(broker: RunningBroker) -> None:
    """Write an unreadable record that the sweep finds."""
    item = {
        "pk": "upload#poisoned",
        "id": "poisoned",
        "owner": "x",
        "dueShard": "due#0",
        "dueAt": 1,
    }
    clients.dynamodb().put_item(TableName=broker.table, Item=codec.values(item))


@pytest.mark.parametrize("title", QUERIES)
def test_query_fields_are_logged(log: list[dict[str, Any]], title: str) -> None:
    """Every field that a query reads is in some line of the query's events."""
    seen = {line["event"] for line in log}
    events = values(QUERIES[title]) & (seen | set(metrics.GROUPS))
    # Some events are too rare for this log: then any line counts.
    lines = [line for line in log if not events or events - seen or line["event"] in events]
    assert fields(QUERIES[title]) <= {name for line in lines for name in line}
    assert fields(QUERIES[title]), "the query has fields"


@pytest.mark.parametrize("title", QUERIES)
def test_query_values_are_logged(log: list[dict[str, Any]], title: str) -> None:
    """Every event and state in a query is in some line, or is a counted event."""
    written = {line.get(name) for line in log for name in ("event", "state")}
    assert values(QUERIES[title]) <= written | set(metrics.GROUPS)


def test_query_names_every_alarm() -> None:
    """The query for events that need a person names every event with an alarm."""
    alarms = {event for event, groups in metrics.GROUPS.items() if groups[0].by == "event"}
    # Single ambiguous outcomes, and events that other alarms report, need nobody.
    without_alarm = {"outcome_unknown", "rate_limiter_slower"}
    assert values(QUERIES["Events that need a person"]) == alarms - without_alarm
