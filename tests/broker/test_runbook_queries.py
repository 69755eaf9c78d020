"""The runbook's log queries, and the dashboard's, run over lines that the broker really wrote."""

import io
import json
import re
from contextlib import redirect_stdout
from typing import Any

import jwt
import pytest
import yaml
from insights import Query
from running_broker import Api, RunningBroker, token
from upstream_process import ROOT, RunningUpstream

from chalicelib import items, metrics, wiring
from ops import table

TABLE = "uploads-of-the-runbook"


def runbook() -> dict[str, str]:
    """Read the runbook's queries by their headings."""
    page = (ROOT / "docs" / "operations.md").read_text()
    return dict(re.findall(r"\n### ([^\n]+)\n\n```cloudwatch\n(.+?)```", page, re.DOTALL))


def dashboard() -> dict[str, str]:
    """Read the dashboard's queries by their titles."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    body = yaml.safe_load(text)["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    widgets = [one["properties"] for one in json.loads(body)["widgets"] if one["type"] == "log"]
    return {one["title"]: re.sub(r"SOURCE '\S+' \| ", "", one["query"]) for one in widgets}


QUERIES = {name: Query(text) for name, text in {**runbook(), **dashboard()}.items()}


@pytest.fixture(scope="module")
def log(dynamodb: None, running_upstream: RunningUpstream) -> list[dict[str, Any]]:  # noqa: ARG001 - it must be up
    """The log of a bad day, of a broker with a table of its own."""
    table.create(wiring.dynamodb_client(), TABLE)
    running_upstream.call("POST", "/_sandbox/reset")
    broker = RunningBroker(TABLE)
    try:
        broker.configure(running_upstream)
        bad_day(broker, running_upstream)
        written = [json.loads(line) for line in broker.log.getvalue().splitlines()]
    finally:
        broker.stop()
        wiring.dynamodb_client().delete_table(TableName=TABLE)
    with redirect_stdout(io.StringIO()) as said:
        wiring.start({"UPLOADS_TABLE": TABLE})
    wiring.use(None)
    return written + [json.loads(line) for line in said.getvalue().splitlines()]


def bad_day(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Let whatever may happen to uploads happen, once."""
    api = Api(broker)
    done = api.registered()
    too_large = {"message": "no", "errorCode": "file_size_exceeds_plan_limit"}
    failing = api.landed()
    answer(upstream, "/v2/assets", 400, too_large)
    assert api.complete(failing).status_code == 413
    assert api.call("DELETE", f"/uploads/{api.begin()['id']}").status_code == 204
    answer(upstream, "/v2/assets/upload", 401, {"message": "Unauthorized"})
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    assert api.call("POST", "/uploads", json=body).status_code == 502
    unsized = api.landed()
    sizeless = {**done["asset"], "id": "00000000-0000-4000-8000-000000000000", "size": None}
    answer(upstream, "/v2/assets", 201, sizeless)
    assert api.complete(unsized).status_code == 200
    broker.configure_again(JWT_AUDIENCE="uploads,more")
    forged = jwt.encode({"sub": "a"}, "s" * 64, headers={"kid": "old"})
    for wrong in (token(aud="x"), token(aud="x"), forged):
        api.token = wrong
        assert api.call("GET", "/uploads", headers={}).status_code == 401
    broker.configure_again()
    api.token = token()
    _poison(broker)
    broker.sweep()
    broker.configure_again(SYNC_API_KEY="", SYNC_API_KEY_PARAMETER="/there/is/none")
    api.line(api.call("POST", "/uploads", json=body))


def answer(upstream: RunningUpstream, path: str, status: int, body: dict[str, Any]) -> None:
    """Let sync. answer so, once."""
    upstream.order({"kind": "answer", "status": status, "body": body}, "POST", path, times=1)


def _poison(broker: RunningBroker) -> None:
    """Put a record that nobody can read where the sweep finds it."""
    item = {
        "pk": "upload#poisoned",
        "id": "poisoned",
        "owner": "x",
        "dueShard": "due#0",
        "dueAt": 1,
    }
    wiring.dynamodb_client().put_item(TableName=broker.table, Item=items.values(item))


def test_fields_exist(log: list[dict[str, Any]]) -> None:
    """Every name that a query reads is a member of some line."""
    written = {name for line in log for name in line}
    for title, query in QUERIES.items():
        assert query.fields <= written, title


def test_one_upload(log: list[dict[str, Any]]) -> None:
    """All that happened to an upload, from its beginning to its end."""
    (failed,) = (line for line in log if line["event"] == "upload" and line["state"] == "failed")
    text = runbook()["What happened to an upload"].replace("UPLOAD_ID", failed["uploadId"])
    found = Query(text).run(log)
    steps = [(one["event"], one["state"] or one["route"]) for one in found]
    moves = [("upload", state) for state in ("pending", "registering", "failed")]
    assert [step for step in steps if step[0] == "upload"] == moves
    assert ("request", "/uploads") in steps
    assert steps[-1][0] == "request"
    assert found[-1]["code"] == "file_too_large"
    assert found[-1]["upstreamCode"] == "file_size_exceeds_plan_limit"


def test_why_uploads_fail(log: list[dict[str, Any]]) -> None:
    """The failed and the cancelled one, with the reason; the dashboard's query agrees."""
    rows = QUERIES["Why uploads fail"].run(log)
    assert {(row["state"], row["code"]): row["uploads"] for row in rows} == {
        ("failed", "file_too_large"): 1,
        ("cancelled", None): 1,
    }
    assert QUERIES["Uploads that failed"].run(log) == [{"code": "file_too_large", "uploads": 1}]


def test_refusals(log: list[dict[str, Any]]) -> None:
    """By code, with what sync. said; the other log widget shows those that are the broker's."""
    rows = QUERIES["Why requests are refused"].run(log)
    found = {row["code"]: (row["requests"], row["callers"], row["upstreamStatus"]) for row in rows}
    assert found["upstream_unauthorized"] == (1, 1, 401)
    assert found["file_too_large"] == (1, 1, 400)
    failed = QUERIES["The last failed requests"].run(log)
    assert {row["code"] for row in failed} >= {"upstream_unauthorized", "secrets_unavailable"}
    assert "file_too_large" not in {row["code"] for row in failed}


def test_tokens_refused(log: list[dict[str, Any]]) -> None:
    """By reason, the most frequent first, with what was expected and seen."""
    rows = QUERIES["Why tokens are refused"].run(log)
    found = [(row["requests"], row["reason"], row["kid"], row["expected"]) for row in rows]
    assert found == [
        (2, "wrong_audience", None, "uploads, more"),
        (1, "wrong_signature", "old", None),
    ]


def test_sync_refuses(log: list[dict[str, Any]]) -> None:
    """Each call that sync. refused for good counts once."""
    rows = QUERIES["What sync. refuses"].run(log)
    assert (rows[0]["errors"], rows[0]["code"]) == (1, "upstream_unauthorized")


def test_times(log: list[dict[str, Any]]) -> None:
    """Every route that was asked has its times."""
    rows = QUERIES["Where the time goes"].run(log)
    asked = {(line["method"], line["route"]) for line in log if line["event"] == "request"}
    assert {(row["method"], row["route"]) for row in rows} == asked
    assert all(row["p50"] <= row["p99"] for row in rows)


def test_needs_a_person(log: list[dict[str, Any]]) -> None:
    """What rings an alarm is found by one query, and it names every such event."""
    text = runbook()["What needs a person"]
    rows = Query(text).run(log)
    assert {row["event"] for row in rows} == {
        *("size_unknown", "sweep_poisoned", "secret_not_read", "misconfigured")
    }
    (unsized,) = (row for row in rows if row["event"] == "size_unknown")
    assert unsized["assetId"]
    named = set(re.findall(r'"(\w+)"', text))
    ringing = {event for event, groups in metrics.GROUPS.items() if groups[0].by == "event"}
    # Single lost answers, and what other alarms tell, are no one's work.
    assert named == ringing - {"outcome_unknown", "line_slower", "line_unavailable"}
