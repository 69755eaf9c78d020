"""What a stage was deployed as: by `chalice deploy`, or as a CloudFormation stack.

Both come to the same, functions behind an API, under names that differ: here they are told apart
once, so that no check has to.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.account import Account, code_of
from ops.stage import API, SWEEP, Stage
from ops.terminal import Problem

# The stack's parameters: the setting that each of them is.
PARAMETERS = {
    "Table": "UPLOADS_TABLE",
    "AllowedOrigins": "ALLOWED_ORIGINS",
    "ApiKeyParameter": "SYNC_API_KEY_PARAMETER",
    "JwtSecretParameter": "JWT_SECRET_PARAMETER",
}
_FUNCTIONS = {API: "APIHandler", SWEEP: "Sweep"}
_LOGS = {API: "APILogs", SWEEP: "SweepLogs"}


@dataclass(frozen=True)
class Deployment:
    """What was deployed.

    Attributes:
        environment: The settings that the functions must have.
        functions: Lambda's names by Chalice's.
        log_groups: Where the functions write, by Chalice's names.
        url: Where AWS says that the API is, without a slash at the end.
        region: Where it was deployed to.
        is_stack: Whether it is a CloudFormation stack.
        again: The command that deploys it anew.
        status: How the stack's last change ended, in CloudFormation's word; nothing for others.
    """

    environment: Mapping[str, str]
    functions: Mapping[str, str]
    log_groups: Mapping[str, str]
    url: str
    region: str
    is_stack: bool
    again: str
    status: str = ""


def plain_resources(stage: Stage) -> dict[str, dict[str, str]]:
    """Read what `chalice deploy` made, by Chalice's names; nothing where it made nothing."""
    try:
        content = json.loads(stage.record.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(stage, error) from error
    try:
        return {one["name"]: one for one in content.get("resources", [])}
    except (AttributeError, KeyError, TypeError) as error:
        raise _broken(stage, error) from error


def _broken(stage: Stage, error: Exception) -> Problem:
    message = f"{stage.record} can't be read as Chalice's record ({type(error).__name__})."
    return Problem(message, "Put it back from a copy; Chalice knows by it what it deployed.")


def recorded_region(stage: Stage) -> str | None:
    """Read which region `chalice deploy` went to; None where it was not run in this folder.

    Raises:
        Problem: Its record can't be read.
    """
    arn = plain_resources(stage).get(API, {}).get("lambda_arn", "")
    return arn.split(":")[3] if arn.count(":") > 3 else None  # noqa: PLR2004 - where it stands


def plain(stage: Stage) -> Deployment:
    """Read what `chalice deploy` made.

    Raises:
        Problem: It was not run in this folder, or `chalice delete` was run since.
    """
    command = f"chalice deploy --stage {stage.name}"
    found = plain_resources(stage)
    try:
        arns = {one: found[one]["lambda_arn"] for one in (API, SWEEP)}
        url = found["rest_api"]["rest_api_url"].rstrip("/")
    except KeyError as error:
        message = f"The stage {stage.name} was not deployed from this folder."
        advice = (
            f"Run `{command}`. If it was deployed elsewhere, or by Terraform, say --url URL;"
            " if as a CloudFormation stack, --stack NAME."
        )
        raise Problem(message, advice) from error
    functions = {one: arn.rpartition(":")[2] for one, arn in arns.items()}
    return Deployment(
        environment=stage.environment,
        functions=functions,
        log_groups={one: f"/aws/lambda/{name}" for one, name in functions.items()},
        url=url,
        region=arns[API].split(":")[3],
        is_stack=False,
        again=command,
    )


def elsewhere(stage: Stage, region: str, url: str) -> Deployment:
    """Assume what `chalice deploy` made from another folder, or Terraform, by Chalice's names."""
    name = f"{stage.app}-{stage.name}"
    functions = {API: name, SWEEP: f"{name}-{SWEEP}"}
    return Deployment(
        environment=stage.environment,
        functions=functions,
        log_groups={one: f"/aws/lambda/{name}" for one, name in functions.items()},
        url=url,
        region=region,
        is_stack=False,
        again=f"chalice deploy --stage {stage.name}, or Terraform",
    )


def stack(stage: Stage, account: Account, name: str) -> Deployment:
    """Read what a stack made.

    Raises:
        Problem: There is no such stack of the broker.
    """
    client = account.client("cloudformation")
    advice = "`aws cloudformation describe-stacks` lists the stacks of this region."
    try:
        description: Any = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if code_of(error) == "ValidationError":  # CloudFormation's word for "there is none"
            raise Problem(f"There is no stack {name} in {account.region}.", advice) from error
        raise
    pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
    made = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for page in pages
        for one in page["StackResourceSummaries"]
        if "PhysicalResourceId" in one
    }
    given = {
        one["ParameterKey"]: one["ParameterValue"] for one in description.get("Parameters", [])
    }
    outputs = {one["OutputKey"]: one["OutputValue"] for one in description.get("Outputs", [])}
    try:
        functions = {one: made[logical] for one, logical in _FUNCTIONS.items()}
        log_groups = {one: made[logical] for one, logical in _LOGS.items()}
        url = outputs["EndpointURL"].rstrip("/")
    except KeyError as error:
        message = f"The stack {name} is not the broker's, or not finished: no {error}."
        raise Problem(message, advice) from error
    overrides = {setting: given[one] for one, setting in PARAMETERS.items() if one in given}
    return Deployment(
        environment={**stage.environment, **overrides},
        functions=functions,
        log_groups=log_groups,
        url=url,
        region=account.region,
        is_stack=True,
        again="your pipeline, or the commands of docs/deploy.md",
        status=description["StackStatus"],
    )


def is_there(stage: Stage, account: Account) -> bool:
    """Say whether functions of the stage's name are deployed, from wherever that was done."""
    if plain_resources(stage):
        return True
    name = f"{stage.app}-{stage.name}"
    try:
        account.client("lambda").get_function_configuration(FunctionName=name)
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return False
        raise
    return True


def users(account: Account, names: Collection[str]) -> list[str]:
    """Name the functions whose settings name a table or parameter, whatever deployed them."""
    pages = account.client("lambda").get_paginator("list_functions").paginate()
    return [
        one["FunctionName"]
        for page in pages
        for one in page["Functions"]
        if not set(names).isdisjoint(one.get("Environment", {}).get("Variables", {}).values())
    ]


def stack_is_there(account: Account, name: str) -> bool:
    """Say whether a stack has not been deleted yet."""
    try:
        found = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if code_of(error) == "ValidationError":
            return False
        raise
    return any(one["StackStatus"] != "DELETE_COMPLETE" for one in found)
