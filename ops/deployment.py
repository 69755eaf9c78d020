"""A stage's deployment: by `chalice deploy`, by Terraform, or as a CloudFormation stack.

The resources are the same, but their names differ. This module finds the names, so that no check
has to distinguish the ways to deploy.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.account import Account, code_of
from ops.stage import API, SWEEP, Stage
from ops.terminal import Problem

# The setting that each parameter of the stack replaces.
PARAMETERS = {
    "Table": "UPLOADS_TABLE",
    "AllowedOrigins": "ALLOWED_ORIGINS",
    "ApiKeyParameter": "SYNC_API_KEY_PARAMETER",
    "JwtSecretParameter": "JWT_SECRET_PARAMETER",
}
OTHER_ACCOUNT_ADVICE = (
    "Sign in to that account. To deploy to this one too, use another stage, since a record belongs"
    " to one account."
)
_RECORDED = {API: "lambda_arn", SWEEP: "lambda_arn", "rest_api": "rest_api_url"}
_FUNCTIONS = {API: "APIHandler", SWEEP: "Sweep"}
_LOGS = {API: "APILogs", SWEEP: "SweepLogs"}


@dataclass(frozen=True)
class Deployment:
    """The resources of a deployed stage.

    Attributes:
        environment: The settings that the functions must have.
        functions: The names of the functions at AWS, by Chalice's names.
        log_groups: The functions' log groups, by Chalice's names.
        url: The API's URL according to AWS, without a slash at the end.
        region: The region.
        is_stack: Whether it is a CloudFormation stack.
        deploy_command: The command that deploys the stage again.
        status: CloudFormation's status of the stack; empty if it is not a stack.
        account: The number of the account; None unless Chalice's record names it.
    """

    environment: Mapping[str, str]
    functions: Mapping[str, str]
    log_groups: Mapping[str, str]
    url: str
    region: str
    is_stack: bool
    deploy_command: str
    status: str = ""
    account: str | None = None


def recorded_resources(stage: Stage) -> dict[str, dict[str, str]]:
    """Return the resources that `chalice deploy` created, by Chalice's names.

    Raises:
        Problem: The record can't be read, or lacks what each deployment has.
    """
    try:
        content = json.loads(stage.record.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(stage, error) from error
    try:
        found = {one["name"]: one for one in content.get("resources", [])}
        if found:  # after `chalice delete` it is empty
            for name, field in _RECORDED.items():
                found[name][field].strip()
    except (AttributeError, KeyError, TypeError) as error:
        raise _broken(stage, error) from error
    return found


def _broken(stage: Stage, error: Exception) -> Problem:
    message = f"{stage.record} can't be read as Chalice's record ({type(error).__name__})."
    return Problem(
        message, "Restore it from a copy: Chalice needs it to update or delete the stage."
    )


def recorded_account(stage: Stage) -> str | None:
    """Return the number of the account that `chalice deploy` used; None without a record.

    Raises:
        Problem: Chalice's record can't be read.
    """
    return _recorded_arn(stage)[4] or None


def _recorded_arn(stage: Stage) -> list[str]:
    """Return the parts of the function's ARN; empty ones without a record."""
    arn = recorded_resources(stage).get(API, {}).get("lambda_arn", "")
    return [*arn.split(":"), *[""] * 5]


def function_names(stage: Stage) -> dict[str, str]:
    """Return the names that `chalice deploy` and Terraform give the functions."""
    name = f"{stage.app}-{stage.name}"
    return {API: name, SWEEP: f"{name}-{SWEEP}"}


def refuse_unrecorded(stage: Stage, account: Account, terraform: str) -> None:
    """Refuse to continue if the stage is deployed, and this folder has no record of it.

    Functions that no API may call are what an interrupted deployment leaves. It can be repeated.

    Args:
        stage: The stage.
        account: The AWS account.
        terraform: What holds if Terraform deploys the stage, which then has no record.

    Raises:
        Problem: `chalice deploy` would create a second API here, and `chalice delete` would then
            delete the functions of both.
    """
    if not recorded_resources(stage) and apis(account, function_names(stage)[API]):
        raise Problem(
            f"The stage {stage.name} is deployed, but this folder has no record of it.",
            f"Do not run `chalice deploy`: it would create a second API. Get {record_name(stage)}"
            " from where the stage was deployed, for example by `git pull`. If it is lost, run"
            f" `python -m ops record --stage {stage.name}`. If Terraform deploys the stage,"
            f" {terraform}.",
        )


def apis(account: Account, function: str) -> set[str]:
    """Return the ids of the existing APIs that may call a function, which need not exist."""
    try:
        policy = account.client("lambda").get_policy(FunctionName=function)["Policy"]
    except ClientError as error:
        # AWS gives the same code for a function without a policy.
        if code_of(error) == "ResourceNotFoundException":
            return set()
        raise
    named = set(re.findall(r"arn:[\w-]+:execute-api:[\w-]+:\d+:(\w+)/", policy))
    pages = account.client("apigateway").get_paginator("get_rest_apis").paginate()
    return named & {one["id"] for page in pages for one in page["items"]}


def region(stage: Stage, account: Account) -> str | None:
    """Return the region that the stage was deployed to; None if that is not known.

    The record names it. Without a record, IAM, which has no regions, knows where the API's role was
    used, hours after its first use.

    Raises:
        Problem: Chalice's record can't be read.
    """
    recorded = _recorded_arn(stage)[3]
    if recorded or stage.policy_file is None:
        return recorded or None
    role = f"{stage.app}-{stage.name}-{API}"
    try:
        found: Any = account.client("iam").get_role(RoleName=role)["Role"]
    except ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return None
        raise
    used: str | None = found.get("RoleLastUsed", {}).get("Region")
    return used


def record_name(stage: Stage) -> str:
    """Return the record's name in the project."""
    return str(stage.record.relative_to(stage.folder))


def from_record(stage: Stage) -> Deployment:
    """Return what `chalice deploy` deployed from this folder.

    Raises:
        Problem: It was not run in this folder, or `chalice delete` was run since.
    """
    found = recorded_resources(stage)
    try:
        arns = {one: found[one]["lambda_arn"] for one in (API, SWEEP)}
        url = found["rest_api"]["rest_api_url"].rstrip("/")
    except KeyError as error:
        message = f"The stage {stage.name} is not deployed."
        advice = (
            f"Run `{stage.deploy_command}`. If it was deployed as a CloudFormation stack, add"
            " --stack NAME."
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
        deploy_command=stage.deploy_command,
        account=recorded_account(stage),
    )


def from_names(stage: Stage, region: str, url: str) -> Deployment:
    """Return what `chalice deploy`, in another folder, or Terraform deploys by Chalice's names."""
    functions = function_names(stage)
    return Deployment(
        environment=stage.environment,
        functions=functions,
        log_groups={one: f"/aws/lambda/{name}" for one, name in functions.items()},
        url=url,
        region=region,
        is_stack=False,
        deploy_command=(
            f"chalice deploy --stage {stage.name}, in a folder with {record_name(stage)}, or"
            " Terraform"
        ),
    )


def from_stack(stage: Stage, account: Account, name: str) -> Deployment:
    """Return what a CloudFormation stack deployed.

    Raises:
        Problem: There is no such stack, or it is not the broker's.
    """
    client = account.client("cloudformation")
    advice = "`aws cloudformation describe-stacks` lists the stacks of this region."
    try:
        description: Any = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if code_of(error) == "ValidationError":  # CloudFormation's code for an unknown name
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
        message = f"The stack {name} is not the broker's, or is incomplete: it has no {error}."
        raise Problem(message, advice) from error
    overrides = {setting: given[one] for one, setting in PARAMETERS.items() if one in given}
    return Deployment(
        environment={**stage.environment, **overrides},
        functions=functions,
        log_groups=log_groups,
        url=url,
        region=account.region,
        is_stack=True,
        deploy_command="your pipeline, or the commands of docs/deploy.md",
        status=description["StackStatus"],
    )


def is_deployed(stage: Stage, account: Account) -> bool:
    """Whether functions with the stage's name exist, whatever deployed them."""
    if recorded_resources(stage):
        return True
    return any(_exists(account, name) for name in function_names(stage).values())


def _exists(account: Account, name: str) -> bool:
    try:
        account.client("lambda").get_function_configuration(FunctionName=name)
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return False
        raise
    return True


def functions_using(account: Account, names: Collection[str]) -> list[str]:
    """Return the functions whose settings contain one of the names, whatever deployed them."""
    pages = account.client("lambda").get_paginator("list_functions").paginate()
    return [
        one["FunctionName"]
        for page in pages
        for one in page["Functions"]
        if not set(names).isdisjoint(one.get("Environment", {}).get("Variables", {}).values())
    ]


def stack_exists(account: Account, name: str) -> bool:
    """Whether a stack exists."""
    try:
        found = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if code_of(error) == "ValidationError":
            return False
        raise
    return any(one["StackStatus"] != "DELETE_COMPLETE" for one in found)
