"""Whether a stage is deployed, from this folder or from elsewhere, by Chalice's names.

Chalice updates and deletes only what its record names. Without the record, `chalice deploy` creates
a second API beside the first one, so this module looks at AWS before anybody runs it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.account import Account, code_of
from ops.config_file import API, SWEEP
from ops.stage import Stage
from ops.terminal import Problem

REST_API = "rest_api"  # Chalice's name
# What a record must have, so that Chalice finds the function and the API again.
_RECORDED = ((API, "lambda_arn"), (REST_API, "rest_api_id"), (REST_API, "rest_api_url"))
_ARN = re.compile(r"arn:[\w-]+:lambda:[\w-]+:\d{12}:function:\S+")


@dataclass(frozen=True)
class Role:
    """A role of the stage.

    Attributes:
        name: Its name.
        region: Where it was last used, which IAM knows some hours after the first use; or None.
    """

    name: str
    region: str | None


def recorded_resources(stage: Stage) -> dict[str, dict[str, str]]:
    """Return the resources that `chalice deploy` created, by Chalice's names.

    After `chalice delete` there are none.

    Raises:
        Problem: The record can't be read, or lacks what each deployment has.
    """
    try:
        content = json.loads(stage.record.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(stage, f"is not JSON ({type(error).__name__})") from error
    try:
        found = {one["name"]: one for one in content.get("resources", [])}
        missing = [
            f"{name}'s {field}"
            for name, field in _RECORDED
            if found and not found.get(name, {}).get(field)
        ]
        arn = found[API]["lambda_arn"] if found and not missing else None
    except (AttributeError, KeyError, TypeError) as error:
        raise _broken(stage, f"has another form ({type(error).__name__})") from error
    if missing:
        raise _broken(stage, f"lacks {', '.join(missing)}")
    if arn is not None and not _ARN.fullmatch(arn):
        raise _broken(stage, f"names no function: {arn}")
    return found


def _broken(stage: Stage, reason: str) -> Problem:
    return Problem(
        f"{stage.record} can't be used as Chalice's record: it {reason}.",
        "Restore it, for example by `git checkout`: Chalice needs it to update or delete the stage."
        f" If nobody has it, move it away, and run `python -m ops record --stage {stage.name}`.",
    )


def recorded_region(stage: Stage) -> str | None:
    """Return the region that `chalice deploy` used; None without a record.

    Raises:
        Problem: Chalice's record can't be used.
    """
    return _recorded_arn(stage)[3] or None


def recorded_account(stage: Stage) -> str | None:
    """Return the number of the account that `chalice deploy` used; None without a record.

    Raises:
        Problem: Chalice's record can't be used.
    """
    return _recorded_arn(stage)[4] or None


def _recorded_arn(stage: Stage) -> list[str]:
    """Return the parts of the function's ARN; empty ones without a record."""
    arn = recorded_resources(stage).get(API, {}).get("lambda_arn", "")
    return [*arn.split(":"), *[""] * 5]


def record_name(stage: Stage) -> str:
    """Return the record's name in the project."""
    return str(stage.record.relative_to(stage.folder))


def function_names(stage: Stage) -> dict[str, str]:
    """Return the names that `chalice deploy` and Terraform give the functions."""
    name = f"{stage.app}-{stage.name}"
    return {API: name, SWEEP: f"{name}-{SWEEP}"}


def refuse_unrecorded(stage: Stage, account: Account, terraform: str) -> None:
    """Refuse to continue if the stage is deployed here, and this folder has no record of it.

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
            " from where the stage was deployed, for example by `git pull`. If it is lost, or your"
            " own deployment was interrupted, run"
            f" `python -m ops record --stage {stage.name}`. If Terraform deploys the stage,"
            f" {terraform}.",
        )


def not_deployed(stage: Stage) -> Problem:
    """Return the advice to deploy a stage of which nothing was found."""
    return Problem(
        f"The stage {stage.name} is not deployed.",
        f"Run `{stage.deploy_command}`. If it was deployed as a CloudFormation stack, add --stack"
        " NAME.",
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


def leftover_role(stage: Stage, account: Account) -> Role | None:
    """Return the role of the API's function if it exists, and nothing else of the stage here.

    IAM has no regions. So the stage is deployed to another region, or a deployment was interrupted.
    """
    if stage.policy_file is None or is_deployed(stage, account):
        return None
    name = f"{stage.app}-{stage.name}-{API}"
    try:
        found: Any = account.client("iam").get_role(RoleName=name)["Role"]
    except ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return None
        raise
    return Role(name, found.get("RoleLastUsed", {}).get("Region"))
