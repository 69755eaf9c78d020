"""Checks of both ways to deploy, for each row of the table in docs/deploy.md."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from ops import stage as stages
from tests.deploy.test_template import ALARMS, TEMPLATE
from tests.support.emulated_aws import EmulatedAws
from tests.support.project import ORIGIN, Project
from tests.support.stack import Stack

WRONG_ORIGIN = f"{ORIGIN}/"
RETRIES = "AWS::Lambda::EventInvokeConfig"


@dataclass(frozen=True)
class Plain:
    """A stage of `chalice deploy`.

    Attributes:
        aws: The account.
        project: The folder that it was deployed from.
        name: The prefix of the functions' names.
        resources: Chalice's record, by its names.
        url: The API's URL.
    """

    aws: EmulatedAws
    project: Project
    name: str
    resources: dict[str, dict[str, str]]
    url: str


def _own_responses_of_plain(plain: Plain) -> None:
    response = requests.get(plain.url + "/no/such/path", headers={"Origin": ORIGIN}, timeout=9)
    assert response.status_code in {403, 404}
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "code" not in response.json()


def _own_responses_of_stack(stack: Stack) -> None:
    response = requests.get(stack.url + "/no/such/path", headers={"Origin": ORIGIN}, timeout=9)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def _throttling(aws: EmulatedAws, api_id: str) -> Any:
    (stage,) = aws.client("apigateway").get_stages(restApiId=api_id)["item"]
    return stage.get("methodSettings", {}).get("*/*", {}).get("throttlingRateLimit")


def _throttling_of_plain(plain: Plain) -> None:
    assert _throttling(plain.aws, plain.resources["rest_api"]["rest_api_id"]) is None


def _throttling_of_stack(stack: Stack) -> None:
    assert _throttling(stack.aws, stack.outputs["RestAPIId"]) == 100


def _retries_of_plain(plain: Plain) -> None:
    client = plain.aws.client("lambda")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.get_function_event_invoke_config(FunctionName=f"{plain.name}-sweep")


def _retries_of_stack(stack: Stack) -> None:
    # The emulator ignores this resource, so the test reads what AWS's transform makes of it.
    resources = stack.translated()["Resources"].values()
    (found,) = [one["Properties"] for one in resources if one["Type"] == RETRIES]
    assert found["FunctionName"] == {"Ref": "Sweep"}
    assert found["MaximumRetryAttempts"] == 0


def _concurrency_of_plain(plain: Plain) -> None:
    # A new account has ten concurrent executions, and AWS refuses to reserve any of them.
    assert "Concurrency" not in plain.aws.client("lambda").get_function(FunctionName=plain.name)
    config = plain.project.config
    plain.project.change_config(reserved_concurrency=50)
    try:
        plain.project.chalice("package", "--stage", "prod", "bounded")
    finally:
        plain.project.change_config(reserved_concurrency=config.get("reserved_concurrency"))
    template = json.loads((plain.project.folder / "bounded" / "sam.json").read_text())
    api = template["Resources"]["APIHandler"]["Properties"]
    assert api["ReservedConcurrentExecutions"] == 50


def _concurrency_of_stack(stack: Stack) -> None:
    # As for the retries.
    api = stack.translated()["Resources"]["APIHandler"]["Properties"]
    condition, chosen, otherwise = api["ReservedConcurrentExecutions"]["Fn::If"]
    assert (condition, chosen) == ("HasReservedConcurrency", {"Ref": "ReservedConcurrency"})
    assert otherwise == {"Ref": "AWS::NoValue"}


def _settings_of_plain(plain: Plain) -> None:
    settings = stages.read(plain.project.folder, "prod").environment
    assert not stages.problems(settings)
    (problem,) = stages.problems({**settings, "ALLOWED_ORIGINS": WRONG_ORIGIN})
    assert problem.startswith("ALLOWED_ORIGINS")


def _settings_of_stack(_: Stack) -> None:
    pattern = TEMPLATE["Parameters"]["AllowedOrigins"]["AllowedPattern"]
    assert re.fullmatch(pattern, ORIGIN)
    assert not re.fullmatch(pattern, WRONG_ORIGIN)


def _alarms_of_plain(plain: Plain) -> None:
    kinds = {one["resource_type"] for one in plain.resources.values()}
    assert kinds == {"iam_role", "lambda_function", "cloudwatch_event", "rest_api"}


def _alarms_of_stack(stack: Stack) -> None:
    alarms = stack.aws.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    names = {one["AlarmName"] for one in alarms}
    assert {stack.resource(name) for name in ALARMS} <= names


def _logs(aws: EmulatedAws, prefix: str) -> list[Any]:
    requested = {"logGroupNamePrefix": prefix}
    groups = aws.client("logs").describe_log_groups(**requested)["logGroups"]
    return [one.get("retentionInDays") for one in groups]


def _logs_of_plain(plain: Plain) -> None:
    requests.get(plain.url + "/health", timeout=30)
    found = _logs(plain.aws, f"/aws/lambda/{plain.name}")
    assert found
    assert set(found) == {None}


def _logs_of_stack(stack: Stack) -> None:
    assert _logs(stack.aws, f"/sync-upload-broker/{stack.name}/") == [30, 30]


def _state_of_plain(plain: Plain) -> None:
    record = plain.project.folder / ".chalice" / "deployed" / "prod.json"
    assert json.loads(record.read_text())["resources"]


def _state_of_stack(stack: Stack) -> None:
    client = stack.aws.client("cloudformation")
    (found,) = client.describe_stacks(StackName=stack.name)["Stacks"]
    assert found["StackStatus"].endswith("_COMPLETE")


ROWS: dict[str, tuple[Callable[[Plain], None], Callable[[Stack], None]]] = {
    "the gateway's own responses (throttled, timed out, unknown path)": (
        _own_responses_of_plain,
        _own_responses_of_stack,
    ),
    "throttling": (_throttling_of_plain, _throttling_of_stack),
    "a sweep that fails": (_retries_of_plain, _retries_of_stack),
    "requests at once": (_concurrency_of_plain, _concurrency_of_stack),
    "a setting that would stop every request": (_settings_of_plain, _settings_of_stack),
    "alarms, dashboard": (_alarms_of_plain, _alarms_of_stack),
    "logs": (_logs_of_plain, _logs_of_stack),
    "state": (_state_of_plain, _state_of_stack),
}


def documented(page: Path) -> list[str]:
    """Return the first cells of the page's table."""
    part = page.read_text().partition("## The two ways compared")[2].partition("\n## ")[0]
    return re.findall(r"^\| ([^|]+?) \|", part, re.MULTILINE)
