"""The stack's template fits the code: its table, its metrics, its gateway's own answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.core import errors, metrics
from ops import table
from ops.deployment import PARAMETERS
from tests.support.upstream_process import ROOT

TEMPLATE: dict[str, Any] = yaml.safe_load(
    # Which function it is does not matter here, only what it is applied to.
    re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
)
STACK = TEMPLATE["Resources"]
TABLE = "Table"
ALARMS = {
    name: resource["Properties"]
    for name, resource in STACK.items()
    if resource.get("Type") == "AWS::CloudWatch::Alarm"
}
# What sync.'s 429 and a table that can't be reached are told by already.
TOLD_OTHERWISE = {"line_slower", "line_unavailable"}


def emitted() -> dict[str, set[str]]:
    """Name what the code counts: each metric with the dimensions that it comes by."""
    found: dict[str, set[str]] = {}
    for groups in metrics.GROUPS.values():
        for group in groups:
            for name in group.units:
                found.setdefault(name, set()).add(group.by or "")
    return found


def test_table() -> None:
    """The table's own template protects what it holds, and the stack defines no second one."""
    (made,) = yaml.safe_load(table.TEMPLATE.read_text())["Resources"].values()
    properties = made["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties["SSESpecification"]["SSEEnabled"] is True
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["TableName"] == {"Ref": "TableName"}
    assert made["DeletionPolicy"] == made["UpdateReplacePolicy"] == "Retain"
    assert "AWS::DynamoDB::Table" not in {one.get("Type") for one in STACK.values()}


def test_default_names() -> None:
    """The stack's defaults are what `provision` makes for the stage prod."""
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    made = config["stages"]["prod"]["environment_variables"]
    for parameter, setting in PARAMETERS.items():
        assert TEMPLATE["Parameters"][parameter].get("Default", "") == made[setting]


def test_alarms_on_what_is_counted() -> None:
    """Every alarm on a metric of the broker's own is on one that the code writes, by its name."""
    own = {name: one for name, one in ALARMS.items() if one.get("Namespace") == metrics.NAMESPACE}
    assert len(own) >= 7
    for name, alarm in own.items():
        dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
        assert dimensions.pop("table") == TABLE, name
        (by,) = dimensions or {""}
        assert by in emitted()[alarm["MetricName"]], name
    codes = {kind.code for kind in errors.all_kinds()}
    named = (dimension["Value"] for one in own.values() for dimension in one["Dimensions"])
    watched = {value for value in named if value != TABLE}
    assert watched - codes <= set(metrics.GROUPS)
    seen = {event for event, groups in metrics.GROUPS.items() if groups[0].by == "event"}
    assert watched >= (seen - TOLD_OTHERWISE) | {"upstream_unauthorized", "upstream_busy"}


def test_events_exist() -> None:
    """Every event that is counted is written somewhere, and every event is documented."""
    code = "".join(path.read_text() for path in (ROOT / "chalicelib").rglob("*.py"))
    written = set(re.findall(r"\b(?:event|failure)\(\s*\"(\w+)\"", code))
    assert set(metrics.GROUPS) <= written
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The log's events")[2]
    documented = set(re.findall(r"`(\w+)`", page.partition("## The table")[0]))
    assert written <= documented


def test_dimensions_are_few() -> None:
    """No metric is told apart by anything that grows with callers, uploads or requests."""
    assert {group.by for groups in metrics.GROUPS.values() for group in groups} == {
        *(None, "event", "state", "code")
    }


def test_alarms_tell_somebody() -> None:
    """Every alarm goes to the topic, and says in words what it means."""
    for alarm in ALARMS.values():
        assert ["AlarmTopic"] in alarm["AlarmActions"]
        assert alarm["AlarmDescription"].endswith(".")
        assert alarm["TreatMissingData"] in {"notBreaching", "breaching"}


def test_dashboard() -> None:
    """It is JSON, and shows every metric that the code writes."""
    body = STACK["Dashboard"]["Properties"]["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    shown = json.dumps([widget["properties"] for widget in widgets])
    for name in set(emitted()) - {"requests", "faults", "found", "settled"}:
        assert name in shown, name
    taken = {(x, y) for one in widgets for x, y in _squares(one)}
    assert len(taken) == sum(one["width"] * one["height"] for one in widgets), "two overlap"


def _squares(widget: dict[str, Any]) -> list[tuple[int, int]]:
    across = range(widget["x"], widget["x"] + widget["width"])
    down = range(widget["y"], widget["y"] + widget["height"])
    assert across.stop <= 24
    return [(x, y) for x in across for y in down]


RESPONSES = STACK["RestAPI"]["Properties"]["GatewayResponses"]


@pytest.mark.parametrize("kind", RESPONSES)
def test_gateways_own_answers(kind: str) -> None:
    """Each is a problem with CORS, whose code is documented; a page says which statuses."""
    response = RESPONSES[kind]
    headers = response["ResponseParameters"]["Headers"]
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Access-Control-Allow-Origin"] == "'*'"
    template = response["ResponseTemplates"]["application/json"]
    problem = json.loads(template.replace("$context.error.messageString", '"words"'))
    assert problem.get("status") == response.get("StatusCode")
    assert ("Retry-After" in headers) == (problem.get("status") == 429)
    assert problem["type"].endswith(":" + problem["code"])
    own = {code.code: code for code in errors.all_kinds()}
    page = (ROOT / "docs" / "errors.md").read_text()
    if problem["code"] in own:
        assert problem["status"] == own[problem["code"]].status
        assert problem["retryable"] is own[problem["code"]].retryable
    retryable = "yes" if problem["retryable"] else "no"
    row = f"| {kind} | {problem.get('status', 'its own')} | `{problem['code']}` | {retryable} |"
    assert row in page


def test_no_aliases() -> None:
    """CloudFormation knows no aliases, so the template has none of its own."""
    text = Path(ROOT / ".chalice" / "template.yaml").read_text()
    assert not re.search(r"[:\s-]\s[&*][a-z]+\s*$", text, re.MULTILINE)


def test_runbook_has_every_alarm() -> None:
    """Each alarm has its place in the runbook, and no place is left of one that is gone."""
    page = (ROOT / "docs" / "operations.md").read_text()
    part = page.partition("## When an alarm rings")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", part, re.MULTILINE)) == sorted(ALARMS)
