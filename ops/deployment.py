"""A stage's deployment: by `chalice deploy`, by Terraform, or as a CloudFormation stack.

The resources are the same, but their names differ. This module finds the names, so that no check
has to distinguish the ways to deploy.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops import presence
from ops.account import Account, code_of
from ops.config_file import API, SWEEP
from ops.stage import Stage
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


def from_record(stage: Stage) -> Deployment:
    """Return what `chalice deploy` deployed from this folder.

    Raises:
        Problem: It was not run in this folder, or `chalice delete` was run since.
    """
    found = presence.recorded_resources(stage)
    if not found:
        raise presence.not_deployed(stage)
    # A rebuilt record may lack the sweep, if that was missing.
    functions = presence.function_names(stage) | {
        one: found[one]["lambda_arn"].rpartition(":")[2] for one in (API, SWEEP) if one in found
    }
    return Deployment(
        environment=stage.environment,
        functions=functions,
        log_groups={one: f"/aws/lambda/{name}" for one, name in functions.items()},
        url=found["rest_api"]["rest_api_url"].rstrip("/"),
        region=presence.recorded_region(stage) or "",
        is_stack=False,
        deploy_command=stage.deploy_command,
        account=presence.recorded_account(stage),
    )


def from_names(stage: Stage, region: str, url: str) -> Deployment:
    """Return what `chalice deploy`, in another folder, or Terraform deploys by Chalice's names."""
    functions = presence.function_names(stage)
    return Deployment(
        environment=stage.environment,
        functions=functions,
        log_groups={one: f"/aws/lambda/{name}" for one, name in functions.items()},
        url=url,
        region=region,
        is_stack=False,
        deploy_command=(
            f"chalice deploy --stage {stage.name}, in a folder with"
            f" {presence.record_name(stage)}, or Terraform"
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
