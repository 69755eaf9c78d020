"""Checks of the Lambda functions: their configuration, their policies, and the sweep's schedule."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ops import bytecode, policy_file
from ops import package as packages
from ops.checks import package
from ops.checks.findings import Finding, State, Target, make_finding
from ops.config_file import API, SWEEP
from ops.deployment import Deployment
from ops.stage import Stage

_SECRET = {"SYNC_API_KEY", "JWT_SECRET"}
Grant = tuple[str, str, str, str]  # effect, action, resource without its account, condition


class Place(NamedTuple):
    """Where functions are: the parts of an ARN before the resource."""

    partition: str
    region: str
    account: str


def configuration(target: Target) -> Iterator[Finding]:
    """Compare the configuration of each function with the stage."""
    deployment = target.deployment
    if deployment is None:
        return
    client = target.account.client("lambda")
    advice = f"Deploy again: {target.deploy_command}."
    for one, name in deployment.functions.items():
        found: Any = client.get_function_configuration(FunctionName=name)
        wanted = target.stage.functions[one]
        tracing = found.get("TracingConfig", {}).get("Mode") == "Active"
        for subject, actual, expected in (
            ("memory", found["MemorySize"], wanted.memory),
            ("time-out", found["Timeout"], wanted.seconds),
            ("architecture", found.get("Architectures", ["x86_64"])[0], wanted.architecture),
            ("tracing", "on" if tracing else "off", "on" if wanted.is_traced else "off"),
        ):
            detail = str(actual) if actual == expected else f"{actual}, not {expected}"
            yield make_finding(
                "functions",
                f"{name}: {subject}",
                is_right=actual == expected,
                detail=detail,
                advice=advice,
            )
        yield _runtime(target, name, found["Runtime"])
        yield from _code(target, name, found.get("CodeSha256", ""))
        yield from _environment(target, name, found.get("Environment", {}).get("Variables", {}))
        failed = "Failed" in {found.get("State"), found.get("LastUpdateStatus")}
        reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or ""
        yield make_finding(
            "functions",
            f"{name}: state",
            is_right=not failed,
            detail=f"failed: {reason}" if failed else found.get("State", "Active").lower(),
            advice=advice,
        )


def _runtime(target: Target, name: str, found: str) -> Finding:
    """Compare a function's runtime with the Python that would deploy it next."""
    following = target.stage.next_runtime
    finding = package.runtime(target, found, "functions", f"{name}: runtime")
    if finding.state is State.OK and found != following:
        detail = f"{found}; a deployment with this Python changes it to {following}"
        advice = "Deploy with the Python of the last deployment, or change it on purpose."
        return Finding("functions", f"{name}: runtime", State.WARNING, detail, advice)
    return finding


def _code(target: Target, name: str, code_sha256: str) -> Iterator[Finding]:
    """Check the deployed package, if this folder still has it."""
    archive = packages.deployed_archive(target.stage, code_sha256)
    if archive is None:
        return
    wheels = package.wheels(target.stage.folder, archive, "functions", f"{name}: wheels")
    if wheels.state is not State.OK:
        yield wheels
    found = bytecode.outdated_in(archive)
    subject = f"{name}: bytecode"
    if not found.names:
        yield Finding("functions", subject, State.OK, f"current, for {found.of} modules")
        return
    advice = f"Run `python -m ops compile`. Then deploy again: {target.deploy_command}."
    yield Finding("functions", subject, State.WARNING, found.describe(), advice)


def _environment(target: Target, name: str, found: dict[str, str]) -> Iterator[Finding]:
    """Compare the settings. The findings name no values, since one of them may be a secret."""
    # The broker treats an empty setting like an absent one.
    have = {one: value for one, value in found.items() if value}
    want = {one: value for one, value in target.environment.items() if value}
    other = sorted(one for one in have.keys() | want.keys() if have.get(one) != want.get(one))
    yield make_finding(
        "functions",
        f"{name}: settings",
        is_right=not other,
        detail=f"not as configured: {', '.join(other)}" if other else "as configured",
        advice=f"Deploy again: {target.deploy_command}.",
    )
    secrets = set(target.secrets.values())
    exposed = sorted(one for one, value in have.items() if one in _SECRET or value in secrets)
    yield make_finding(
        "functions",
        f"{name}: secrets",
        is_right=not exposed,
        detail=f"unencrypted in {', '.join(exposed)}" if exposed else "none in the environment",
        advice="Everybody who may view the function can read it. Make a new secret, store it with"
        f" `{target.provision_command} --replace-secrets`, and deploy again.",
    )


def schedule(target: Target) -> Iterator[Finding]:
    """Check that a rule calls the sweep."""
    if target.deployment is None:
        return
    functions, events = target.account.client("lambda"), target.account.client("events")
    name = target.deployment.functions[SWEEP]
    arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    rules = events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]
    described = [events.describe_rule(Name=rule) for rule in rules]
    running = [one["ScheduleExpression"] for one in described if one["State"] == "ENABLED"]
    yield make_finding(
        "schedule",
        name,
        is_right=bool(running),
        detail=", ".join(running) or ("its rule is disabled" if rules else "no rule calls it"),
        advice=(
            f"Run `aws events enable-rule --name {rules[0]}`."
            if rules
            else f"Deploy again: {target.deploy_command}."
        ),
    )


def policy(target: Target) -> Iterator[Finding]:
    """Compare the permissions of each function's role with the stage's policy."""
    deployment, file = target.deployment, target.stage.policy_file
    if deployment is None:
        return
    document = policy_file.read(target.stage)
    if document is None or file is None:
        yield Finding("policy", "roles", State.SKIPPED, "the project does not manage the roles")
        return
    lacks = [] if deployment.is_stack else policy_file.lacks(target.stage)
    if lacks:
        detail = f"it does not name {', '.join(lacks)}"
        advice = f"Write the stage's names into it. Then deploy again: {target.deploy_command}."
        yield Finding("policy", file.name, State.WRONG, detail, advice)
    functions = target.account.client("lambda")
    for name in deployment.functions.values():
        arn = functions.get_function_configuration(FunctionName=name)["Role"]
        role, account = arn.rpartition("/")[2], arn.split(":")[4]
        place = Place(arn.split(":")[1], deployment.region, account)
        wanted = grants(document, place)
        if deployment.is_stack:
            wanted = in_stack(wanted, target.stage, deployment)
        found = {one for other in _documents(target, role) for one in grants(other, place)}
        extra, missing = _list_grants(found - wanted), _list_grants(wanted - found)
        differences = [f"it also allows {extra}"] if extra else []
        differences += [f"it does not allow {missing}"] if missing else []
        yield make_finding(
            "policy",
            role,
            is_right=not differences,
            detail="; ".join(differences) or f"what {file.name} allows, and nothing else",
            advice=f"Deploy again: {target.deploy_command}. Detach policies attached by hand.",
        )


def _documents(target: Target, role: str) -> Iterator[dict[str, Any]]:
    iam = target.account.client("iam")
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            yield iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for attached in page["AttachedPolicies"]:
            arn = attached["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            response = iam.get_policy_version(PolicyArn=arn, VersionId=version)
            yield response["PolicyVersion"]["Document"]


def grants(document: dict[str, Any], place: Place) -> set[Grant]:
    """Return the grants of a policy, so that the order of its statements does not matter.

    Args:
        document: The policy.
        place: The functions' partition, region and account.
    """
    found = set()
    for statement in _as_list(document["Statement"]):
        known = {"Sid", "Effect", "Action", "Resource"}
        rest = {name: value for name, value in statement.items() if name not in known}
        # NotAction and NotResource count as a grant on "*", and are part of the condition.
        for action in _as_list(statement.get("Action", "*")):
            for resource in _as_list(statement.get("Resource", "*")):
                short = _without_account(resource, place)
                condition = json.dumps(rest, sort_keys=True) if rest else ""
                found.add((statement["Effect"], action, short, condition))
    return found


def _without_account(resource: str, place: Place) -> str:
    """Return a resource without its place if that covers the functions' own."""
    parts = resource.split(":", 5)
    is_arn = len(parts) == 6  # noqa: PLR2004 - every ARN has six parts
    given = (parts[1], parts[3], parts[4]) if is_arn else ()
    if not is_arn or any(one not in {own, "*"} for one, own in zip(given, place, strict=True)):
        return resource
    return parts[5].removesuffix(":*")


def in_stack(wanted: set[Grant], stage: Stage, deployment: Deployment) -> set[Grant]:
    """Return the grants of the stage's policy with the names of a stack's resources."""
    own, theirs = stage.environment, deployment.environment
    names = {
        f"log-group:/aws/lambda/{stage.app}-{stage.name}": deployment.log_groups[API],
        f"log-group:/aws/lambda/{stage.app}-{stage.name}-sweep": deployment.log_groups[SWEEP],
    }
    names = {one: f"log-group:{group}" for one, group in names.items()}
    for variable in ("SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"):
        if variable in own:
            used = theirs.get(variable)
            names[f"parameter{own[variable]}"] = f"parameter{used}" if used else ""
    before, after = f"table/{own.get('UPLOADS_TABLE')}", f"table/{theirs.get('UPLOADS_TABLE')}"
    for _, _, resource, _ in wanted:
        if resource.split("/index/")[0] == before:
            names[resource] = after + resource.removeprefix(before)
    return {
        (effect, action, names.get(resource, resource), condition)
        for effect, action, resource, condition in wanted
        # The stack creates the log groups, with their retention, so its roles need not.
        if action != "logs:CreateLogGroup" and names.get(resource, resource)
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _list_grants(some: set[Grant]) -> str:
    return ", ".join(
        sorted(
            f"{action} on {resource}" + (f" {condition}" if condition else "")
            for _, action, resource, condition in some
        )
    )
