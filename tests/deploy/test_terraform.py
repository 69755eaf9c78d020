"""The files for Terraform fit the stack's template, the table, and what Chalice writes beside them.

No Terraform that reads Chalice's file can be installed here: the files are parsed, and compared.
"""

import json
import re
from typing import Any

import hcl2
import pytest
import yaml

from ops import table
from tests.support.project import Project
from tests.support.upstream_process import ROOT

FOLDER = ROOT / "docs" / "examples" / "terraform"
NAME = "sync-upload-broker-prod"


def plain(value: Any) -> Any:
    """Take away the parser's quotes and marks."""
    if isinstance(value, dict):
        return {plain(name): plain(one) for name, one in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.strip('"') if isinstance(value, str) else value


def read(name: str) -> dict[str, Any]:
    """Parse a file."""
    return dict(plain(hcl2.loads((FOLDER / name).read_text())))


def resources(name: str) -> dict[str, dict[str, Any]]:
    """Give a file's resources by their addresses."""
    return {
        f"{kind}.{label}": body
        for resource in read(name).get("resource", [])
        for kind, labelled in resource.items()
        for label, body in labelled.items()
    }


@pytest.fixture(scope="module")
def chalices(project: Project) -> dict[str, Any]:
    """What Chalice writes for Terraform."""
    out = project.folder / "infra"
    project.chalice("package", "--stage", "prod", "--pkg-format", "terraform", str(out))
    written: dict[str, Any] = json.loads((out / "chalice.tf.json").read_text())
    return written


def test_table() -> None:
    """The table is the one that ops/table.py makes, and it can't get lost."""
    made = resources("table.tf")["aws_dynamodb_table.uploads"]
    kinds = {one["name"]: one["type"] for one in made["attribute"]}
    definition = table.definition(NAME)
    assert made["billing_mode"] == definition["BillingMode"]
    assert kinds == {
        one["AttributeName"]: one["AttributeType"] for one in definition["AttributeDefinitions"]
    }
    assert definition["KeySchema"] == [{"AttributeName": made["hash_key"], "KeyType": "HASH"}]
    indexes = []
    for one in made["global_secondary_index"]:
        projection: dict[str, Any] = {"ProjectionType": one["projection_type"]}
        if "non_key_attributes" in one:
            projection["NonKeyAttributes"] = one["non_key_attributes"]
        keys = [
            {"AttributeName": one["hash_key"], "KeyType": "HASH"},
            {"AttributeName": one["range_key"], "KeyType": "RANGE"},
        ]
        indexes.append({"IndexName": one["name"], "KeySchema": keys, "Projection": projection})
    assert indexes == definition["GlobalSecondaryIndexes"]
    assert made["ttl"] == [{"attribute_name": "ttl", "enabled": True}]
    assert made["point_in_time_recovery"] == made["server_side_encryption"] == [{"enabled": True}]
    assert made["deletion_protection_enabled"] is True
    assert made["lifecycle"] == [{"prevent_destroy": True}]


# What the template's names are called here.
SAME = {
    "AlarmDescription": "description",
    "Namespace": "namespace",
    "MetricName": "metric",
    "Statistic": "statistic",
    "Period": "period",
    "EvaluationPeriods": "periods",
    "Threshold": "threshold",
    "ComparisonOperator": "comparison",
    "TreatMissingData": "missing",
}
VALUES = {"Sweep": "${local.name}-sweep", "AWS::StackName": "${local.name}"}


def test_alarms() -> None:
    """There are the stack's alarms, each as it is there."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    (mine,) = read("alarms.tf")["locals"]
    stack = {
        name: one["Properties"]
        for name, one in yaml.safe_load(text)["Resources"].items()
        if one.get("Type") == "AWS::CloudWatch::Alarm"
    }
    assert set(mine["alarms"]) == set(stack)
    for name, theirs in stack.items():
        alarm = mine["alarms"][name]
        assert {here: theirs[there] for there, here in SAME.items()} == {
            here: alarm[here] for here in SAME.values()
        }
        datapoints = theirs.get("DatapointsToAlarm", theirs["EvaluationPeriods"])
        assert alarm["datapoints"] == datapoints
        dimensions = {one["Name"]: one["Value"] for one in theirs["Dimensions"]}
        assert alarm["dimensions"] == {
            key: "${local.table}" if isinstance(value, list) else VALUES.get(value, value)
            for key, value in dimensions.items()
        }


def test_names(chalices: dict[str, Any]) -> None:
    """Names that are written twice are the same: of the functions, their logs, and the table."""
    functions = chalices["resource"]["aws_lambda_function"]
    assert {one["function_name"] for one in functions.values()} == {NAME, f"{NAME}-sweep"}
    logs = resources("service.tf")["aws_cloudwatch_log_group.broker"]
    assert logs["name"] == "/aws/lambda/${local.name}${each.key}"
    assert logs["for_each"] == '${toset(["", "-sweep"])}'
    for one in functions.values():
        assert one["environment"]["variables"]["UPLOADS_TABLE"] == NAME
    (names,) = read("variables.tf")["locals"]
    assert names["name"].replace("${var.stage}", "prod") == NAME
    (variables,) = [one for one in read("variables.tf")["variable"] if "stage" in one]
    assert variables["stage"]["default"] == "prod"


def test_references(chalices: dict[str, Any]) -> None:
    """What is referred to is there, and what is laid over is Chalice's."""
    theirs = {
        f"{kind}.{label}" for kind, labelled in chalices["resource"].items() for label in labelled
    }
    files = [path.name for path in FOLDER.glob("*.tf")]
    over = set(resources("chalice_override.tf"))
    mine = {address for name in files for address in resources(name)} - over
    assert over <= theirs
    assert not mine & theirs
    used: set[str] = set()
    for path in FOLDER.glob("*.tf"):
        used |= set(re.findall(r"\b(aws_\w+\.[\w-]+)\.", path.read_text()))
    assert used <= theirs | mine
    assert used, "something is referred to"


def test_versions(chalices: dict[str, Any]) -> None:
    """Chalice's own bounds are those that the override is for; when they change, it has to."""
    assert chalices["terraform"]["required_version"] == ">= 0.12.26, < 1.4.0"
    assert chalices["terraform"]["required_providers"]["aws"]["version"] == ">= 3.61.0, < 5"
    (over,) = read("chalice_override.tf")["terraform"]
    assert over["required_version"] == ">= 1.0"
    assert over["required_providers"][0]["aws"]["version"] == ">= 5.10, < 6"


def test_throttling() -> None:
    """A flood ends where it ends in the stack."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    (stack,) = yaml.safe_load(text)["Resources"]["RestAPI"]["Properties"]["MethodSettings"]
    (mine,) = resources("service.tf")["aws_api_gateway_method_settings.broker"]["settings"]
    assert mine["throttling_rate_limit"] == stack["ThrottlingRateLimit"]
    assert mine["throttling_burst_limit"] == stack["ThrottlingBurstLimit"]
