"""The Lambda functions: what they may do, how they are set up, and whether the sweep is called."""

import json
from collections.abc import Iterator
from typing import Any

from ops.checks.findings import Finding, Patient, State, judged
from ops.deployment import Deployment
from ops.stage import API, SWEEP, Stage
from ops.terminal import Problem

_SECRET = {"SYNC_API_KEY", "JWT_SECRET"}
Grant = tuple[str, str, str, str]  # effect, action, resource without its account, condition


def configuration(patient: Patient) -> Iterator[Finding]:
    """Compare each function with what the stage asks for."""
    deployment = patient.deployment
    if deployment is None:
        return
    client = patient.account.client("lambda")
    again = f"Deploy again: {patient.deploy}."
    for one, name in deployment.functions.items():
        found: Any = client.get_function_configuration(FunctionName=name)
        wanted = patient.stage.functions[one]
        tracing = found.get("TracingConfig", {}).get("Mode") == "Active"
        for subject, is_state, should in (
            ("memory", found["MemorySize"], wanted.memory),
            ("time-out", found["Timeout"], wanted.seconds),
            ("architecture", found.get("Architectures", ["x86_64"])[0], wanted.architecture),
            ("tracing", "on" if tracing else "off", "on" if wanted.is_traced else "off"),
        ):
            detail = str(is_state) if is_state == should else f"{is_state}, not {should}"
            yield judged(
                "functions",
                f"{name}: {subject}",
                is_right=is_state == should,
                detail=detail,
                advice=again,
            )
        yield from _environment(patient, name, found.get("Environment", {}).get("Variables", {}))
        failed = "Failed" in {found.get("State"), found.get("LastUpdateStatus")}
        reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or ""
        yield judged(
            "functions",
            f"{name}: state",
            is_right=not failed,
            detail=f"failed: {reason}" if failed else found.get("State", "Active").lower(),
            advice=again,
        )


def _environment(patient: Patient, name: str, found: dict[str, str]) -> Iterator[Finding]:
    """Compare the settings. Their names are told, not their values: one might be a secret."""
    # An empty setting is as good as none.
    have = {one: value for one, value in found.items() if value}
    want = {one: value for one, value in patient.environment.items() if value}
    other = sorted(one for one in have.keys() | want.keys() if have.get(one) != want.get(one))
    yield judged(
        "functions",
        f"{name}: settings",
        is_right=not other,
        detail=f"these are not as configured: {', '.join(other)}" if other else "as configured",
        advice=f"Deploy again: {patient.deploy}.",
    )
    secrets = set(patient.secrets.values())
    shown = sorted(one for one, value in have.items() if one in _SECRET or value in secrets)
    yield judged(
        "functions",
        f"{name}: secrets",
        is_right=not shown,
        detail=f"in the clear in {', '.join(shown)}" if shown else "none in the environment",
        advice="Whoever may look at the function reads it. Make a new secret, and deploy again.",
    )


def schedule(patient: Patient) -> Iterator[Finding]:
    """Look whether the sweep is called."""
    if patient.deployment is None:
        return
    functions, events = patient.account.client("lambda"), patient.account.client("events")
    name = patient.deployment.functions[SWEEP]
    arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    rules = events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]
    on = [events.describe_rule(Name=rule) for rule in rules]
    running = [one["ScheduleExpression"] for one in on if one["State"] == "ENABLED"]
    yield judged(
        "schedule",
        name,
        is_right=bool(running),
        detail=", ".join(running) or ("its rule is off" if rules else "nothing calls it"),
        advice=(
            f"Run `aws events enable-rule --name {rules[0]}`."
            if rules
            else f"Deploy again: {patient.deploy}."
        ),
    )


def policy(patient: Patient) -> Iterator[Finding]:
    """Compare what each function's role may do with the stage's policy."""
    deployment, file = patient.deployment, patient.stage.policy_file
    if deployment is None:
        return
    if file is None:
        yield Finding("policy", "roles", State.SKIPPED, "the stage's roles are not the project's")
        return
    try:
        document = json.loads(file.read_text())
        grants(document, "", "")
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        message = f"{file} can't be read as a policy ({type(error).__name__})."
        raise Problem(message, "Put it back from the project's repository.") from error
    functions = patient.account.client("lambda")
    for name in deployment.functions.values():
        arn = functions.get_function_configuration(FunctionName=name)["Role"]
        role, place = arn.rpartition("/")[2], (deployment.region, arn.split(":")[4])
        wanted = grants(document, *place)
        if deployment.is_stack:
            wanted = in_stack(wanted, patient.stage, deployment)
        found = {one for other in _documents(patient, role) for one in grants(other, *place)}
        more, less = _words(found - wanted), _words(wanted - found)
        said = [f"it may also {more}"] if more else []
        said += [f"it may not {less}"] if less else []
        yield judged(
            "policy",
            role,
            is_right=not said,
            detail="; ".join(said) or f"what {file.name} allows, and nothing else",
            advice=f"Deploy again: {patient.deploy}. Detach what was attached by hand.",
        )


def _documents(patient: Patient, role: str) -> Iterator[dict[str, Any]]:
    iam = patient.account.client("iam")
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            yield iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for attached in page["AttachedPolicies"]:
            arn = attached["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
            yield answer["PolicyVersion"]["Document"]


def grants(document: dict[str, Any], region: str, account: str) -> set[Grant]:
    """Take a policy apart, so that two which say the same in another order are equal.

    Args:
        document: The policy.
        region: Where the functions are.
        account: Whose they are.
    """
    found = set()
    for statement in _listed(document["Statement"]):
        known = {"Sid", "Effect", "Action", "Resource"}
        rest = {name: value for name, value in statement.items() if name not in known}
        # NotAction and NotResource are among the rest: they are about all but what they name.
        for action in _listed(statement.get("Action", "*")):
            for resource in _listed(statement.get("Resource", "*")):
                what = _here(resource, region, account)
                condition = json.dumps(rest, sort_keys=True) if rest else ""
                found.add((statement["Effect"], action, what, condition))
    return found


def _here(resource: str, region: str, account: str) -> str:
    """Shorten a resource whose region and account are the functions' own, or any."""
    parts = resource.split(":", 5)
    is_whole = len(parts) == 6  # noqa: PLR2004 - as every ARN
    if not is_whole or parts[3] not in {region, "*"} or parts[4] not in {account, "*"}:
        return resource
    return parts[5].removesuffix(":*")


def in_stack(wanted: set[Grant], stage: Stage, deployment: Deployment) -> set[Grant]:
    """Say what the stage's policy comes to under the names of a stack."""
    own, theirs = stage.environment, deployment.environment
    names = {
        f"log-group:/aws/lambda/{stage.app}-{stage.name}": deployment.log_groups[API],
        f"log-group:/aws/lambda/{stage.app}-{stage.name}-sweep": deployment.log_groups[SWEEP],
    }
    names = {one: f"log-group:{group}" for one, group in names.items()}
    for variable in ("SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"):
        if variable in own:
            there = theirs.get(variable)
            names[f"parameter{own[variable]}"] = f"parameter{there}" if there else ""
    before, after = f"table/{own.get('UPLOADS_TABLE')}", f"table/{theirs.get('UPLOADS_TABLE')}"
    for _, _, resource, _ in wanted:
        if resource.split("/index/")[0] == before:
            names[resource] = after + resource.removeprefix(before)
    return {
        (effect, action, names.get(resource, resource), condition)
        for effect, action, resource, condition in wanted
        # A stack makes the log groups itself, with their retention.
        if action != "logs:CreateLogGroup" and names.get(resource, resource)
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(some: set[Grant]) -> str:
    return ", ".join(
        sorted(
            f"{action} on {what}" + (f" {rest}" if rest else "") for _, action, what, rest in some
        )
    )
