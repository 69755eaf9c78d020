"""The stack's template matches the code: its table, its metrics, its gateway responses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.core import errors, metrics, urls
from ops import table
from ops.deployment import PARAMETERS
from tests.support.upstream_process import ROOT

TEMPLATE: dict[str, Any] = yaml.safe_load(
    # The tests need only the arguments of CloudFormation's functions.
    re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
)
STACK = TEMPLATE["Resources"]
TABLE = "Table"
ALARMS = {
    name: resource["Properties"]
    for name, resource in STACK.items()
    if resource.get("Type") == "AWS::CloudWatch::Alarm"
}
# Other alarms cover these events: those on Sync's 429 and on an unreachable table.
COVERED_BY_OTHERS = {"rate_limiter_slower"}


def emitted() -> dict[str, set[str]]:
    """Return the metrics that the code emits, each with its dimensions."""
    found: dict[str, set[str]] = {}
    for groups in metrics.GROUPS.values():
        for group in groups:
            for name in group.units:
                found.setdefault(name, set()).add(group.by or "")
    return found


def test_table_template_protects_data() -> None:
    """The table's template protects its items, and the stack's template defines no table."""
    (resource,) = yaml.safe_load(table.TEMPLATE.read_text())["Resources"].values()
    properties = resource["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties["SSESpecification"]["SSEEnabled"] is True
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["TableName"] == {"Ref": "TableName"}
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert "AWS::DynamoDB::Table" not in {one.get("Type") for one in STACK.values()}


def test_stack_has_no_names_of_a_stage() -> None:
    """The stack's table, secrets and origins are required, and no name of a stage is a default."""
    for parameter in PARAMETERS:
        assert "Default" not in TEMPLATE["Parameters"][parameter], parameter
    defaults = str([one.get("Default") for one in TEMPLATE["Parameters"].values()])
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    for stage in config["stages"]:
        assert stage not in defaults


SCHEMES = ("https://", "http://", "ftp://", "//", "")
HOSTS = (
    "app.example.com",
    "localhost",
    "192.0.2.1",
    "[2001:db8::1]",
    "[2001:80::443]",
    "a-b.c-d.example",
    "1.x",
)
PORTS = ("", ":80", ":443", ":8080", ":4430", ":801", ":65535", ":0", ":08", ":123456", ":")
ORIGINS = [f"{scheme}{host}{port}" for scheme in SCHEMES for host in HOSTS for port in PORTS]
ORIGINS += ["https://", "https://-a.com", "https://a.com.", "https://user@a.com", "null", "**"]
ENDS = (
    "",
    "/",
    "/path",
    "?q",
    "#x",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x1f",
    "\u00a0",
    "\u3000",
    " x",
    "*",
)
JOINTS = (",", " , ", ",\n", ",,", " ", ";", "\n", ", *,", "|", ",x,")


def spellings() -> Iterator[str]:
    """Yield right and wrong values of ALLOWED_ORIGINS."""
    yield from ("", " ", ",", "*", " * ", "*,*", "*,https://a.com", "\n")
    for origin in ORIGINS:
        for end in ENDS:
            yield from (origin + end, end + origin)
        yield from (origin.upper(), f"x{origin}")
        yield from (f"{origin}{joint}https://b.example.com" for joint in JOINTS)
        yield from (f"https://b.example.com{joint}{origin}" for joint in JOINTS)


def test_origin_pattern_matches_brokers_rule() -> None:
    """The stack's pattern refuses no valid list of origins, and only few that are not valid."""
    pattern = TEMPLATE["Parameters"]["AllowedOrigins"]["AllowedPattern"]
    looser = set()
    for value in spellings():
        try:
            urls.origins(value)
        except ValueError:
            if re.fullmatch(pattern, value):
                looser.add(value)
        else:
            assert re.fullmatch(pattern, value), repr(value)
    # A pattern can't tell which numbers are ports or addresses.
    known = (":123456", "//1.x")
    assert not [value for value in looser if not any(one in value for one in known)]


@pytest.mark.parametrize(
    "value",
    [
        "https://app.example.com/",
        "https://app.example.com/path",
        "app.example.com",
        "https://app.example.com https://b.example.com",
        "https://app.example.com\nhttps://b.example.com",
        "https://app. example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "ftp://app.example.com",
        "*,https://app.example.com",
    ],
)
def test_origin_pattern_refuses_usual_mistakes(value: str) -> None:
    """The stack's pattern refuses the usual mistakes, and its description names the right form."""
    parameter = TEMPLATE["Parameters"]["AllowedOrigins"]
    assert not re.fullmatch(parameter["AllowedPattern"], value)
    assert "such as https://app.example.com" in parameter["ConstraintDescription"]


def test_alarms_watch_emitted_metrics() -> None:
    """Each alarm on a metric of the broker watches one that the code emits."""
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
    assert watched >= (seen - COVERED_BY_OTHERS) | {"upstream_unauthorized", "upstream_busy"}


def test_counted_events_are_logged_and_documented() -> None:
    """The code logs each counted event, and the page documents each logged event."""
    code = "".join(path.read_text() for path in (ROOT / "chalicelib").rglob("*.py"))
    written = set(re.findall(r"\b(?:event|failure)\(\s*\"(\w+)\"", code))
    assert set(metrics.GROUPS) <= written
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The log's events")[2]
    documented = set(re.findall(r"`(\w+)`", page.partition("## The table")[0]))
    assert written <= documented


def test_metrics_have_bounded_dimensions() -> None:
    """No dimension of a metric grows with callers, uploads or requests."""
    assert {group.by for groups in metrics.GROUPS.values() for group in groups} == {
        *(None, "event", "state", "code")
    }


def test_alarms_notify_topic() -> None:
    """Each alarm notifies the topic, and has a description."""
    for alarm in ALARMS.values():
        assert ["AlarmTopic"] in alarm["AlarmActions"]
        assert alarm["AlarmDescription"].endswith(".")
        assert alarm["TreatMissingData"] in {"notBreaching", "breaching"}


def test_dashboard_shows_every_metric() -> None:
    """The dashboard shows each metric that the code emits, and its widgets do not overlap."""
    body = STACK["Dashboard"]["Properties"]["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    shown = json.dumps([widget["properties"] for widget in widgets])
    for name in set(emitted()) - {"found", "settled"}:
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
def test_gateway_responses_are_documented_problems(kind: str) -> None:
    """Each gateway response is a problem with CORS, which docs/errors.md documents."""
    response = RESPONSES[kind]
    headers = response["ResponseParameters"]["Headers"]
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Access-Control-Allow-Origin"] == "'*'"
    problem = json.loads(response["ResponseTemplates"]["application/json"])
    assert problem.get("status") == response.get("StatusCode")
    assert ("Retry-After" in headers) == (problem.get("status") == 429)
    assert problem["type"].endswith(":" + problem["code"])
    own = {code.code: code for code in errors.all_kinds()}
    page = (ROOT / "docs" / "errors.md").read_text()
    if problem["code"] in own:
        assert problem["status"] == own[problem["code"]].status
        assert problem["retryable"] is own[problem["code"]].retryable
    # The gateway's own message may repeat a header of the request.
    assert re.findall(r"\$[\w.]+", json.dumps(response)) == ["$context.requestId"]
    retryable = "yes" if problem["retryable"] else "no"
    row = f"| {kind} | {problem.get('status', 'its own')} | `{problem['code']}` | {retryable} |"
    assert row in page


def test_template_has_no_aliases() -> None:
    """The template has no YAML aliases, which CloudFormation does not know."""
    text = Path(ROOT / ".chalice" / "template.yaml").read_text()
    assert not re.search(r"[:\s-]\s[&*][a-z]+\s*$", text, re.MULTILINE)


def test_runbook_has_every_alarm() -> None:
    """The runbook has a section for each alarm, and no other."""
    page = (ROOT / "docs" / "operations.md").read_text()
    part = page.partition("## When an alarm rings")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", part, re.MULTILINE)) == sorted(ALARMS)
