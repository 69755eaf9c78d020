"""Write Chalice's record of a deployed stage again, if it was lost.

Chalice updates and deletes only what its record names. Without the record, `chalice deploy` creates
a second API beside the first one.
"""

import json
from typing import Any

from botocore.exceptions import ClientError

from ops import presence
from ops.account import Account, code_of
from ops.config_file import API, SWEEP
from ops.provision import Step
from ops.stage import Stage
from ops.terminal import USAGE, Problem

_CHINA = "aws-cn"  # the partition whose host names end differently


def run(stage: Stage, account: Account, api_id: str | None, *, is_dry: bool) -> list[Step]:
    """Find the stage's resources by their names, and write the record.

    Args:
        stage: The stage.
        account: The AWS account.
        api_id: The id of its API, if several may call the function.
        is_dry: Whether the command only reports what it would write.

    Raises:
        Problem: There is a record already, nothing is deployed, or the API is not known.
    """
    if presence.recorded_resources(stage):
        raise Problem(
            f"{stage.record} exists already.",
            "Run `python -m ops doctor` to compare it with what is deployed.",
        )
    resources = _resources(stage, account, api_id)
    outcome = "planned" if is_dry else "done"
    if not is_dry:
        stage.record.parent.mkdir(parents=True, exist_ok=True)
        # The form that Chalice 1.34 writes.
        content = {"resources": resources, "schema_version": "2.0", "backend": "api"}
        stage.record.write_text(json.dumps(content, indent=2, separators=(",", ": ")) + "\n")
    detail = f"record {len(resources)} resources, the API {resources[-1]['rest_api_id']} among them"
    return [Step(presence.record_name(stage), outcome, detail)]


def _resources(stage: Stage, account: Account, api_id: str | None) -> list[dict[str, str]]:
    names = presence.function_names(stage)
    functions = account.client("lambda")
    resources = []
    for one in (SWEEP, API):
        try:
            found: Any = functions.get_function_configuration(FunctionName=names[one])
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            if one == SWEEP:  # the next deployment creates it again
                continue
            message = f"There is no function {names[one]} in {account.region}."
            advice = (
                "Check the region and the account. If a deployment was interrupted, deploy again:"
                f" `{stage.deploy_command}`."
            )
            raise Problem(message, advice) from error
        arn, role = found["FunctionArn"], found["Role"]
        if stage.policy_file is not None:  # otherwise Chalice does not manage the roles
            name = role.rpartition("/")[2]
            resources.append(_entry(f"{one}_role", "iam_role", role_arn=role, role_name=name))
        resources.append(_entry(one, "lambda_function", lambda_arn=arn))
        if one == SWEEP:
            rule = f"{names[SWEEP]}-event"
            resources.append(_entry(f"{SWEEP}-event", "cloudwatch_event", rule_name=rule))
    found_id = _api(stage, account, api_id)
    _, partition, _, region, *_ = arn.split(":")
    suffix = "amazonaws.com.cn" if partition == _CHINA else "amazonaws.com"
    url = f"https://{found_id}.execute-api.{region}.{suffix}/{stage.gateway_stage}/"
    resources.append(_entry("rest_api", "rest_api", rest_api_id=found_id, rest_api_url=url))
    return resources


def _entry(name: str, kind: str, **values: str) -> dict[str, str]:
    return {"name": name, "resource_type": kind, **values}


def _api(stage: Stage, account: Account, given: str | None) -> str:
    """Return the id of the API that may call the stage's function, and still exists."""
    function = presence.function_names(stage)[API]
    existing = presence.apis(account, function)
    if not existing:
        raise Problem(
            f"No API may call {function}, so its deployment was interrupted.",
            f"Deploy again: `{stage.deploy_command}`.",
        )
    if given is not None and given not in existing:
        message = f"The API {given} does not exist, or may not call {function}."
        raise Problem(message, f"These may: {', '.join(sorted(existing))}.", USAGE)
    if given is None and len(existing) != 1:
        message = f"{len(existing)} APIs may call {function}: {', '.join(sorted(existing))}."
        raise Problem(
            message,
            "Name the one that your pages use with --api-id, the first label of its URL. Delete"
            " the others by `aws apigateway delete-rest-api`.",
            USAGE,
        )
    return given or existing.pop()
